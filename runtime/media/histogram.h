/* Microseconds, counted finely where it matters: what percentiles of pacing are read from. */
#pragma once
#include <stdint.h>

#define CXB_HISTOGRAM_BUCKETS 371

typedef struct cxb_histogram {
  uint32_t counts[CXB_HISTOGRAM_BUCKETS]; /* steps of 10 µs to 1 ms, of 1/90 decade above, to 1 s */
  uint64_t total;
  uint32_t max;
} cxb_histogram; /* zeroed is empty */

void cxb_histogram_add(cxb_histogram *h, uint64_t us);
/* The value that `percent` (0–100) of all do not exceed, to the bucket's upper edge and never above
 * the largest seen; 0 when empty. */
uint32_t cxb_histogram_percentile(const cxb_histogram *h, double percent);
