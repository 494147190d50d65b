/* Inbound audio against real time. */
#include "inflow.h"

#include <stdlib.h>
#include <string.h>

enum { FRAME_US = 20000, PASS_US = 300000, CREDIT_US = 2000000, WAITING = 100 };

void cxb_inflow_free(cxb_inflow *f) {
  free(f->waiting);
  *f = (cxb_inflow){0};
}

/* Our second is 1 ‰ shorter than the sender's may be, so that clocks that differ never add up. */
static void pass_time(cxb_inflow *f, int64_t now_us) {
  int64_t gone = f->last_us ? now_us - f->last_us : 0;
  f->last_us = now_us;
  f->ahead_us -= gone + gone / 1000;
  if (f->ahead_us < -CREDIT_US)
    f->ahead_us = -CREDIT_US;
}

void cxb_inflow_poll(cxb_inflow *f, int64_t now_us, cxb_frame_cb cb, void *arg) {
  pass_time(f, now_us);
  while (f->count > 0 && f->ahead_us <= PASS_US) {
    const int16_t *pcm = f->waiting + f->first * f->frame;
    f->first = (f->first + 1) % WAITING;
    f->count--;
    f->ahead_us += FRAME_US;
    cb(arg, pcm, f->frame);
  }
}

unsigned cxb_inflow_push(cxb_inflow *f, const int16_t *pcm, int64_t now_us, cxb_frame_cb cb,
                         void *arg) {
  unsigned dropped = 0;
  cxb_inflow_poll(f, now_us, cb, arg);
  if (f->count == 0 && f->ahead_us <= PASS_US) {
    f->ahead_us += FRAME_US;
    cb(arg, pcm, f->frame);
    return 0;
  }
  if (!f->waiting)
    f->waiting = malloc(WAITING * f->frame * sizeof *pcm);
  if (!f->waiting)
    return 1;
  if (f->count == WAITING) {
    f->first = (f->first + 1) % WAITING;
    f->count--;
    dropped = 1;
  }
  memcpy(f->waiting + (f->first + f->count) % WAITING * f->frame, pcm, f->frame * sizeof *pcm);
  f->count++;
  return dropped;
}

int64_t cxb_inflow_next(const cxb_inflow *f) {
  if (f->count == 0)
    return INT64_MAX;
  return f->last_us + (f->ahead_us > PASS_US ? f->ahead_us - PASS_US : 0);
}
