/* The recorder: a stereo WAV, left the caller, right the bot as it was heard, on one sample clock.
 * What is placed goes to a ring of the last seconds; more than once a second what changed is
 * written, synced and covered by the header on a thread of its own, so a killed process leaves a
 * valid file at most a second short. Times are microseconds of CLOCK_MONOTONIC. Media loop only,
 * but for the opening.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

typedef struct cxb_recorder cxb_recorder;

/* Creates the file (mode 0600, replacing one of that name) with an empty header; from any thread.
 * A descriptor, or CXB_ENOENT (no such folder), CXB_ENOSPC, CXB_EIO. */
int cxb_recorder_open(const char *path);

/* Recording stopped on its own: `why` is "no_space", "io" or "too_big"; or it goes on with a gap:
 * "slow_disk". At most once each. */
typedef void (*cxb_recorder_error_cb)(void *arg, const char *why);

/* Takes `fd` (also on failure). Position 0 of the file is `start_us`. CXB_ENOMEM. */
int cxb_recorder_new(uv_loop_t *loop, int fd, int rate, int64_t start_us,
                     cxb_recorder_error_cb on_error, void *arg, cxb_recorder **out);
/* A frame of the caller whose last sample arrived at `end_us`. */
void cxb_recorder_caller(cxb_recorder *r, const int16_t *pcm, size_t n, int64_t end_us);
/* A frame of the bot, heard from `start_us` on (not more than a second ahead). */
void cxb_recorder_bot(cxb_recorder *r, const int16_t *pcm, size_t n, int64_t start_us);
/* The bot fell silent at `at_us`: what was placed later is wiped. */
void cxb_recorder_cut(cxb_recorder *r, int64_t at_us);
/* While paused both channels are silence. */
void cxb_recorder_pause(cxb_recorder *r, bool pause, int64_t now_us);
/* Bytes of the file that are written and synced. */
int64_t cxb_recorder_bytes(const cxb_recorder *r);
/* Writes the rest up to `end_us`, closes the file and frees the recorder; then `done`. No callback
 * to on_error comes after this call. */
void cxb_recorder_close(cxb_recorder *r, int64_t end_us, void (*done)(void *arg, int64_t bytes),
                        void *arg);
