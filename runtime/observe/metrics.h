/* Metrics registry: a flat block of series that lives in this process or, once a worker has its
 * row, in the host's shared scoreboard, so that any worker can answer for all of them. Written by
 * the main thread only; read by any process. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "../base/buf.h"

/* Series of a worker's row; a process without one, such as the API with its many routes, has room
 * for CXB_METRIC_SERIES_OWN. */
enum { CXB_METRIC_SERIES = 1024, CXB_METRIC_SERIES_OWN = 8192, CXB_METRIC_BUCKETS = 16 };

typedef enum { CXB_COUNTER, CXB_GAUGE, CXB_GAUGE_MAX, CXB_HISTOGRAM } cxb_metric_type;

typedef struct cxb_metric_series {
  char name[48];   /* of the family; histograms add _bucket, _sum, _count */
  char labels[96]; /* a="x",b="y" */
  double value;
} cxb_metric_series;

typedef struct cxb_metric_block {
  _Atomic uint32_t used;
  uint32_t refused; /* series that found no room */
  uint32_t room;
  uint32_t unused;
  cxb_metric_series series[];
} cxb_metric_block;

#define CXB_METRIC_BLOCK_SIZE(room)                                                                \
  (sizeof(cxb_metric_block) + (size_t)(room) * sizeof(cxb_metric_series))

/* Declares a family; the same name twice is harmless. buckets: upper bounds, ascending, seconds. */
int cxb_metric_declare(const char *name, cxb_metric_type type, const char *help,
                       const double *buckets, int count);
/* labels: a="x",b="y" or "". CXB_ENOENT: not declared; CXB_ENOSPC: the block is full. */
int cxb_metric_add(const char *name, const char *labels, double by);
int cxb_metric_set(const char *name, const char *labels, double value);
int cxb_metric_observe(const char *name, const char *labels, double seconds);
/* Moves what was counted so far into `block` (`room` set, `used` and `refused` 0) and goes on
 * there. */
void cxb_metric_use(cxb_metric_block *block);
cxb_metric_block *cxb_metric_own(void);
/* Prometheus text of the sum of `blocks` (gauges declared _MAX: their maximum). */
int cxb_metric_render(cxb_buf *out, cxb_metric_block *const *blocks, int count);
