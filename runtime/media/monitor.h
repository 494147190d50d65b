/* Listening in: a call's two channels as stereo PCM16 at 16 kHz, left the caller, right the bot as
 * it is heard (after the pacer), on one clock and 200 ms behind it; gaps are silence. Whoever
 * listens has a tap, so a slow listener loses audio and the call loses nothing. Times are
 * microseconds of CLOCK_MONOTONIC. Media loop only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tap.h"

enum {
  CXB_MONITOR_RATE = 16000,
  CXB_MONITOR_TAP_RATE = 2 * CXB_MONITOR_RATE, /* a tap counts samples of both channels */
  CXB_MONITOR_TICK_MS = 20,
  CXB_LISTENERS = 4,
};

typedef struct cxb_monitor cxb_monitor;

/* For a leg of `rate` Hz; CXB_ENOMEM. */
int cxb_monitor_new(int rate, int64_t now_us, cxb_monitor **out);
void cxb_monitor_free(cxb_monitor *m); /* listeners are let go; NULL is fine */
/* Listener `at` (0 … CXB_LISTENERS - 1) from now on; the one before it is let go. NULL: nobody. */
void cxb_monitor_set(cxb_monitor *m, int at, cxb_tap *tap, int64_t now_us);
bool cxb_monitor_idle(const cxb_monitor *m); /* nobody listens */
/* A frame of the caller whose last sample arrived at `end_us`. */
void cxb_monitor_caller(cxb_monitor *m, const int16_t *pcm, size_t n, int64_t end_us);
/* A frame of the bot, heard from `start_us` on (at most half a second ahead). */
void cxb_monitor_bot(cxb_monitor *m, const int16_t *pcm, size_t n, int64_t start_us);
/* The bot fell silent at `at_us`: what was placed later is wiped. */
void cxb_monitor_cut(cxb_monitor *m, int64_t at_us);
/* Hands out what is due; to be called every CXB_MONITOR_TICK_MS while somebody listens. */
void cxb_monitor_tick(cxb_monitor *m, int64_t now_us);
