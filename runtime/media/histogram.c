/* Buckets: [0,1000) by 10, [1000,10^4) by 100, [10^4,10^5) by 1000, [10^5,10^6) by 10^4, rest. */
#include "histogram.h"

#include <math.h>

static unsigned bucket_of(uint64_t us) {
  if (us < 1000)
    return (unsigned)(us / 10);
  unsigned base = 100;
  uint64_t step = 100;
  for (; base + 1 < CXB_HISTOGRAM_BUCKETS; base += 90, step *= 10)
    if (us < step * 100)
      return base + (unsigned)(us / step) - 10;
  return CXB_HISTOGRAM_BUCKETS - 1;
}

static uint64_t upper_edge(unsigned bucket) {
  if (bucket == CXB_HISTOGRAM_BUCKETS - 1)
    return UINT64_MAX;
  if (bucket < 100)
    return ((uint64_t)bucket + 1) * 10;
  uint64_t step = 100;
  for (bucket -= 100; bucket >= 90; bucket -= 90)
    step *= 10;
  return ((uint64_t)bucket + 11) * step;
}

void cxb_histogram_add(cxb_histogram *h, uint64_t us) {
  h->counts[bucket_of(us)]++;
  h->total++;
  if (us > h->max)
    h->max = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

uint32_t cxb_histogram_percentile(const cxb_histogram *h, double percent) {
  if (h->total == 0)
    return 0;
  uint64_t rank = (uint64_t)ceil((double)h->total * percent / 100.0), seen = 0;
  for (unsigned i = 0; i < CXB_HISTOGRAM_BUCKETS; i++) {
    seen += h->counts[i];
    if (seen >= rank && seen > 0)
      return upper_edge(i) < h->max ? (uint32_t)upper_edge(i) : h->max;
  }
  return h->max;
}
