/* Re-framing: any count of samples in, whole frames of 20 ms out. */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct cxb_framer {
  int16_t *buffer; /* one frame being filled */
  size_t size;     /* samples of a frame */
  size_t used;
} cxb_framer;

/* A frame is whole samples: 8,000–48,000 Hz and a multiple of 50. */
int cxb_rate_valid(int rate);

/* Frames of 20 ms at `rate`. CXB_EINVAL for a rate that has no whole frame, CXB_ENOMEM. */
int cxb_framer_init(cxb_framer *f, int rate);
void cxb_framer_free(cxb_framer *f); /* also of a zeroed one */

typedef void (*cxb_frame_cb)(void *arg, const int16_t *frame, size_t n);
/* Takes `n` samples and calls `cb` once for each frame that became whole; the rest is kept. */
void cxb_framer_push(cxb_framer *f, const int16_t *pcm, size_t n, cxb_frame_cb cb, void *arg);
