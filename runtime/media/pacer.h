/* The pacer: gives frames to the wire by an absolute clock. It keeps the far end's play-out clock:
 * `play_end_us` is when everything sent so far will have been played. A frame may leave `lead`
 * before its turn; when the far end ran dry the clock starts anew with the next frame. Its deadline
 * is a frame later where the lead allows that: in the meantime whoever finds the loop awake (the
 * caller's next frame) may have it sent, and the timer wakes nobody. Media loop only; times are
 * microseconds of CLOCK_MONOTONIC. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "histogram.h"

typedef struct cxb_pacer cxb_pacer;

typedef struct cxb_pacer_ops {
  bool (*ready)(void *arg); /* a frame could be had */
  /* Sends the next frame, heard from `play_us`; false: there was none after all. */
  bool (*send)(void *arg, int64_t play_us);
} cxb_pacer_ops;

struct cxb_pacer {
  const cxb_pacer_ops *ops;
  void *arg;
  int fd;
  uv_poll_t poll;
  int64_t lead_us, slack_us; /* slack: from when a frame may leave to its deadline */
  int64_t play_end_us;
  bool armed;   /* the timer runs for the next frame's deadline */
  bool running; /* inside ops->send() */
  bool stopped;
  uint64_t underruns;
  cxb_histogram lateness; /* deadline to send, of frames that waited for their deadline */
};

/* CXB_EIO when there is no timer to be had. */
int cxb_pacer_init(cxb_pacer *p, uv_loop_t *loop, int lead_ms, const cxb_pacer_ops *ops, void *arg);
/* Something may be ready: sends what is due, then waits for the next deadline, or sleeps. */
void cxb_pacer_kick(cxb_pacer *p);
/* The loop is awake for another reason: sends what may leave. */
void cxb_pacer_pass(cxb_pacer *p);
/* What was sent is void (clear): the far end is silent from now on. */
void cxb_pacer_reset(cxb_pacer *p);
/* Never sends again; then `closed` once. Allowed inside ops->send(). */
void cxb_pacer_close(cxb_pacer *p, uv_close_cb closed);
