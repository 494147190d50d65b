/* Re-framing: whole frames pass without a copy; only a remainder is kept. */
#include "frame.h"

#include <stdlib.h>
#include <string.h>

#include "../base/err.h"

enum { FRAMES_PER_SECOND = 50 };

int cxb_rate_valid(int rate) {
  return rate >= 8000 && rate <= 48000 && rate % FRAMES_PER_SECOND == 0;
}

int cxb_framer_init(cxb_framer *f, int rate) {
  if (!cxb_rate_valid(rate))
    return CXB_EINVAL;
  size_t size = (size_t)(rate / FRAMES_PER_SECOND);
  int16_t *buffer = malloc(size * sizeof *buffer);
  if (!buffer)
    return CXB_ENOMEM;
  *f = (cxb_framer){.buffer = buffer, .size = size};
  return 0;
}

void cxb_framer_free(cxb_framer *f) {
  free(f->buffer);
  *f = (cxb_framer){0};
}

void cxb_framer_push(cxb_framer *f, const int16_t *pcm, size_t n, cxb_frame_cb cb, void *arg) {
  if (f->used > 0) {
    size_t take = f->size - f->used < n ? f->size - f->used : n;
    memcpy(f->buffer + f->used, pcm, take * sizeof *pcm);
    f->used += take;
    pcm += take;
    n -= take;
    if (f->used < f->size)
      return;
    f->used = 0;
    cb(arg, f->buffer, f->size);
  }
  for (; n >= f->size; pcm += f->size, n -= f->size)
    cb(arg, pcm, f->size);
  if (n > 0)
    memcpy(f->buffer, pcm, n * sizeof *pcm);
  f->used = n;
}
