/* Sample-rate conversion of 16-bit mono, streaming and at once. */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct cxb_resampler cxb_resampler;

/* 1,000–192,000 Hz both; equal rates pass through. CXB_EINVAL, CXB_ENOMEM. */
int cxb_resampler_new(int from, int to, cxb_resampler **out);
void cxb_resampler_free(cxb_resampler *r); /* NULL is fine */
/* Samples that `n` input samples can become at most. */
size_t cxb_resampler_bound(const cxb_resampler *r, size_t n);
/* All `n` samples in; writes what came of them to `out` (room for cxb_resampler_bound(n)) and
 * returns the count. State is kept for the next call. The stream starts without the filter's
 * leading zeros, so the first call gives a little less, never later audio. */
size_t cxb_resampler_run(cxb_resampler *r, const int16_t *in, size_t n, int16_t *out);
/* The tail still inside the filter; `out` has room for cxb_resampler_tail(). Once, at the end. */
size_t cxb_resampler_tail(const cxb_resampler *r);
size_t cxb_resampler_flush(cxb_resampler *r, int16_t *out);

/* The whole signal at once: *out is malloc()ed with exactly round(n * to / from) samples. */
int cxb_resample(const int16_t *in, size_t n, int from, int to, int16_t **out, size_t *out_n);
