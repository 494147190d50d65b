/* The caller's frames against real time: a stall followed by a burst passes, a flood does not. A
 * frame up to 300 ms ahead of real time passes at once; further ones wait for their turn, at most
 * 2 s of them: then the oldest waiting one is dropped. Media loop only. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "frame.h"

typedef struct cxb_inflow {
  size_t frame;
  int64_t ahead_us; /* audio taken minus time gone by, ≥ −2 s */
  int64_t last_us;
  int16_t *waiting; /* 2 s, made at the first flood */
  unsigned first, count;
} cxb_inflow; /* zeroed, then `frame` set */

void cxb_inflow_free(cxb_inflow *f);
/* One frame; `cb` for it, or for none. Returns how many frames were dropped (0 or 1). */
unsigned cxb_inflow_push(cxb_inflow *f, const int16_t *pcm, int64_t now_us, cxb_frame_cb cb,
                         void *arg);
/* Hands out what may pass now. */
void cxb_inflow_poll(cxb_inflow *f, int64_t now_us, cxb_frame_cb cb, void *arg);
/* When the next waiting frame may pass; INT64_MAX: none waits. */
int64_t cxb_inflow_next(const cxb_inflow *f);
