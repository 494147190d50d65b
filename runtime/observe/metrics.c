/* Metrics registry. */
#include "metrics.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../base/err.h"

enum { FAMILIES = 96 };

typedef struct family {
  char name[48];
  cxb_metric_type type;
  char *help;
  int count;
  double buckets[CXB_METRIC_BUCKETS];
} family;

static family families[FAMILIES];
static int family_count;
static cxb_metric_block *own, *first; /* first: this process's own memory, until there is a row */

static family *family_find(const char *name) {
  for (int i = 0; i < family_count; i++)
    if (strcmp(families[i].name, name) == 0)
      return &families[i];
  return NULL;
}

int cxb_metric_declare(const char *name, cxb_metric_type type, const char *help,
                       const double *buckets, int count) {
  if (strlen(name) >= sizeof families[0].name - 8 || count > CXB_METRIC_BUCKETS ||
      (type == CXB_HISTOGRAM && count < 1))
    return CXB_EINVAL;
  if (family_find(name))
    return 0;
  if (family_count == FAMILIES)
    return CXB_ENOSPC;
  family *f = &families[family_count];
  *f = (family){.type = type, .help = strdup(help), .count = count};
  if (!f->help)
    return CXB_ENOMEM;
  snprintf(f->name, sizeof f->name, "%s", name);
  if (count > 0)
    memcpy(f->buckets, buckets, (size_t)count * sizeof *buckets);
  family_count++;
  return 0;
}

cxb_metric_block *cxb_metric_own(void) {
  if (!own) {
    own = mmap(NULL, sizeof *own, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (own == MAP_FAILED)
      abort();
    first = own;
  }
  return own;
}

static bool is_series(const cxb_metric_series *s, const char *name, const char *labels) {
  return strcmp(s->labels, labels) == 0 && strcmp(s->name, name) == 0;
}

/* The series of a histogram lie side by side, so the one behind the last found is tried first. */
static cxb_metric_series *find_in(cxb_metric_block *b, const char *name, const char *labels) {
  static uint32_t last;
  uint32_t used = b->used < CXB_METRIC_SERIES ? b->used : CXB_METRIC_SERIES;
  if (last + 1 < used && is_series(&b->series[last + 1], name, labels))
    return &b->series[++last];
  for (uint32_t i = 0; i < used; i++)
    if (is_series(&b->series[i], name, labels)) {
      last = i;
      return &b->series[i];
    }
  return NULL;
}

static cxb_metric_series *series_of(cxb_metric_block *b, const char *name, const char *labels) {
  cxb_metric_series *s = find_in(b, name, labels);
  if (s)
    return s;
  if (b->used >= CXB_METRIC_SERIES || strlen(labels) >= sizeof s->labels) {
    b->refused++;
    return NULL;
  }
  s = &b->series[b->used];
  snprintf(s->name, sizeof s->name, "%s", name);
  snprintf(s->labels, sizeof s->labels, "%s", labels);
  s->value = 0;
  b->used++;
  return s;
}

static int change(const char *name, const char *labels, double value, int add) {
  cxb_metric_series *s = series_of(cxb_metric_own(), name, labels);
  if (!s)
    return CXB_ENOSPC;
  s->value = add ? s->value + value : value;
  return 0;
}

int cxb_metric_add(const char *name, const char *labels, double by) {
  return family_find(name) ? change(name, labels, by, 1) : CXB_ENOENT;
}

int cxb_metric_set(const char *name, const char *labels, double value) {
  return family_find(name) ? change(name, labels, value, 0) : CXB_ENOENT;
}

int cxb_metric_observe(const char *name, const char *labels, double seconds) {
  const family *f = family_find(name);
  if (!f || f->type != CXB_HISTOGRAM)
    return CXB_ENOENT;
  char series[64], le[160];
  snprintf(series, sizeof series, "%s_bucket", name);
  int err = 0;
  for (int i = 0; i <= f->count && !err; i++) {
    char bound[24] = "+Inf";
    if (i < f->count)
      snprintf(bound, sizeof bound, "%g", f->buckets[i]);
    snprintf(le, sizeof le, "%s%sle=\"%s\"", labels, *labels ? "," : "", bound);
    /* Every bucket exists from the first observation on, so that rates can be computed. */
    err = change(series, le, i == f->count || seconds <= f->buckets[i], 1);
  }
  snprintf(series, sizeof series, "%s_sum", name);
  if (!err)
    err = change(series, labels, seconds, 1);
  snprintf(series, sizeof series, "%s_count", name);
  return err ? err : change(series, labels, 1, 1);
}

void cxb_metric_use(cxb_metric_block *block) {
  cxb_metric_block *old = own;
  own = block;
  for (uint32_t i = 0; old && i < old->used; i++) {
    cxb_metric_series *s = series_of(block, old->series[i].name, old->series[i].labels);
    if (s)
      s->value += old->series[i].value;
  }
  if (first)
    munmap(first, sizeof *first);
  first = NULL;
}

/* Does series `name` belong to family f? Histograms own three suffixes. */
static int belongs(const family *f, const char *name) {
  size_t n = strlen(f->name);
  if (strncmp(name, f->name, n) != 0)
    return 0;
  if (f->type != CXB_HISTOGRAM)
    return name[n] == '\0';
  return strcmp(name + n, "_bucket") == 0 || strcmp(name + n, "_sum") == 0 ||
         strcmp(name + n, "_count") == 0;
}

static int render_series(cxb_buf *out, const cxb_metric_series *s) {
  const char *open = *s->labels ? "{" : "", *close = *s->labels ? "}" : "";
  return cxb_buf_printf(out, "%s%s%s%s %.15g\n", s->name, open, s->labels, close, s->value);
}

static void merge(cxb_metric_block *sum, const cxb_metric_block *b) {
  uint32_t used = b->used < CXB_METRIC_SERIES ? b->used : CXB_METRIC_SERIES;
  for (uint32_t i = 0; i < used; i++) {
    const cxb_metric_series *from = &b->series[i];
    cxb_metric_series *to = series_of(sum, from->name, from->labels);
    const family *f = family_find(from->name);
    if (!to)
      continue;
    if (f && f->type == CXB_GAUGE_MAX)
      to->value = from->value > to->value ? from->value : to->value;
    else
      to->value += from->value;
  }
}

int cxb_metric_render(cxb_buf *out, cxb_metric_block *const *blocks, int count) {
  static const char *const types[] = {"counter", "gauge", "gauge", "histogram"};
  cxb_metric_block *sum = calloc(1, sizeof *sum);
  if (!sum)
    return CXB_ENOMEM;
  for (int i = 0; i < count; i++)
    merge(sum, blocks[i]);
  int err = 0;
  for (int f = 0; f < family_count && !err; f++) {
    err = cxb_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", families[f].name, families[f].help,
                         families[f].name, types[families[f].type]);
    for (uint32_t i = 0; i < sum->used && !err; i++)
      if (belongs(&families[f], sum->series[i].name))
        err = render_series(out, &sum->series[i]);
  }
  free(sum);
  return err;
}
