/* Sample-rate conversion by speexdsp: quality 4, a stop band around 80 dB, a few dozen
 * multiplications a sample. */
#include "resample.h"

#include <stdlib.h>
#include <string.h>

#include <speex/speex_resampler.h>

#include "../base/err.h"

enum { QUALITY = 4, RATE_MIN = 1000, RATE_MAX = 192000 };

struct cxb_resampler {
  SpeexResamplerState *speex; /* NULL: the rates are equal */
  uint64_t from, to;
};

int cxb_resampler_new(int from, int to, cxb_resampler **out) {
  if (from < RATE_MIN || from > RATE_MAX || to < RATE_MIN || to > RATE_MAX)
    return CXB_EINVAL;
  cxb_resampler *r = calloc(1, sizeof *r);
  if (!r)
    return CXB_ENOMEM;
  r->from = (uint64_t)from;
  r->to = (uint64_t)to;
  if (from != to) {
    int err = 0;
    r->speex = speex_resampler_init(1, (spx_uint32_t)from, (spx_uint32_t)to, QUALITY, &err);
    if (!r->speex) {
      free(r);
      return CXB_ENOMEM;
    }
    speex_resampler_skip_zeros(r->speex);
  }
  *out = r;
  return 0;
}

void cxb_resampler_free(cxb_resampler *r) {
  if (!r)
    return;
  if (r->speex)
    speex_resampler_destroy(r->speex);
  free(r);
}

size_t cxb_resampler_bound(const cxb_resampler *r, size_t n) {
  return (size_t)((uint64_t)n * r->to / r->from) + 2;
}

size_t cxb_resampler_run(cxb_resampler *r, const int16_t *in, size_t n, int16_t *out) {
  if (!r->speex) {
    memmove(out, in, n * sizeof *in);
    return n;
  }
  size_t room = cxb_resampler_bound(r, n), made = 0;
  while (n > 0) {
    spx_uint32_t in_len = (spx_uint32_t)(n > 1u << 20 ? 1u << 20 : n);
    spx_uint32_t out_len = (spx_uint32_t)(room - made > 1u << 30 ? 1u << 30 : room - made);
    speex_resampler_process_int(r->speex, 0, in, &in_len, out + made, &out_len);
    if (in_len == 0 && out_len == 0)
      break;
    in += in_len;
    n -= in_len;
    made += out_len;
  }
  return made;
}

size_t cxb_resampler_tail(const cxb_resampler *r) {
  return r->speex ? (size_t)speex_resampler_get_output_latency(r->speex) + 2 : 0;
}

size_t cxb_resampler_flush(cxb_resampler *r, int16_t *out) {
  if (!r->speex)
    return 0;
  spx_uint32_t in_len = (spx_uint32_t)speex_resampler_get_input_latency(r->speex);
  spx_uint32_t out_len = (spx_uint32_t)cxb_resampler_tail(r);
  int16_t *zeros = calloc(in_len ? in_len : 1, sizeof *zeros);
  if (!zeros)
    return 0;
  speex_resampler_process_int(r->speex, 0, zeros, &in_len, out, &out_len);
  free(zeros);
  return out_len;
}

int cxb_resample(const int16_t *in, size_t n, int from, int to, int16_t **out, size_t *out_n) {
  cxb_resampler *r = NULL;
  int err = cxb_resampler_new(from, to, &r);
  if (err)
    return err;
  size_t want = (size_t)(((uint64_t)n * r->to + r->from / 2) / r->from);
  size_t room = cxb_resampler_bound(r, n) + cxb_resampler_tail(r);
  int16_t *buffer = calloc(room > want ? room : want + 1, sizeof *buffer);
  if (!buffer) {
    cxb_resampler_free(r);
    return CXB_ENOMEM;
  }
  size_t made = cxb_resampler_run(r, in, n, buffer);
  cxb_resampler_flush(r, buffer + made);
  cxb_resampler_free(r);
  *out = buffer;
  *out_n = want;
  return 0;
}
