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

/* ---- where a series is in a block ---- */

enum { FIRST_SLOTS = 128 };

/* Open addressing, at most half full: hash of name and labels, position + 1. A histogram is found
 * by its own name; its series lie side by side from that position on. */
typedef struct slot {
  uint32_t hash, at;
} slot;

typedef struct place {
  cxb_metric_block *block;
  slot *slots;
  uint32_t size, count;
} place;

static place here; /* of `own` */

static uint32_t hash_of(const char *name, const char *labels) {
  uint32_t h = 2166136261u; /* FNV-1a */
  for (const char *p = name; *p; p++)
    h = (h ^ (unsigned char)*p) * 16777619u;
  h = (h ^ 0xff) * 16777619u;
  for (const char *p = labels; *p; p++)
    h = (h ^ (unsigned char)*p) * 16777619u;
  return h;
}

/* Whether the series at `s` is what (name, labels) finds: `sum` series behind it tell a histogram.
 */
static bool is_at(const cxb_metric_series *s, const char *name, const char *labels, int buckets) {
  if (buckets == 0)
    return strcmp(s->labels, labels) == 0 && strcmp(s->name, name) == 0;
  const cxb_metric_series *sum = s + buckets;
  size_t n = strlen(name);
  return strcmp(sum->labels, labels) == 0 && strncmp(sum->name, name, n) == 0 &&
         strcmp(sum->name + n, "_sum") == 0;
}

static void put_slot(slot *slots, uint32_t size, slot s) {
  uint32_t i = s.hash & (size - 1);
  while (slots[i].at)
    i = (i + 1) & (size - 1);
  slots[i] = s;
}

static int remember(place *in, uint32_t hash, uint32_t at) {
  if (2 * (in->count + 1) > in->size) {
    uint32_t size = in->size ? 2 * in->size : FIRST_SLOTS;
    slot *slots = calloc(size, sizeof *slots);
    if (!slots)
      return CXB_ENOMEM;
    for (uint32_t i = 0; i < in->size; i++)
      if (in->slots[i].at)
        put_slot(slots, size, in->slots[i]);
    free(in->slots);
    in->slots = slots;
    in->size = size;
  }
  put_slot(in->slots, in->size, (slot){hash, at + 1});
  in->count++;
  return 0;
}

/* buckets: of the histogram, its +Inf too; 0 for a plain series. */
static cxb_metric_series *find_in(const place *in, uint32_t hash, const char *name,
                                  const char *labels, int buckets) {
  for (uint32_t i = hash & (in->size - 1); in->size && in->slots[i].at;
       i = (i + 1) & (in->size - 1)) {
    cxb_metric_series *s = &in->block->series[in->slots[i].at - 1];
    if (in->slots[i].hash == hash && in->slots[i].at - 1 + (uint32_t)buckets < in->block->used &&
        is_at(s, name, labels, buckets))
      return s;
  }
  return NULL;
}

static bool has_room(place *in, uint32_t count, const char *labels, size_t more) {
  cxb_metric_block *b = in->block;
  if (b->used + count <= b->room && strlen(labels) + more < sizeof b->series->labels)
    return true;
  b->refused++;
  return false;
}

/* has_room() has been asked. */
static cxb_metric_series *append(place *in, const char *name, const char *labels) {
  cxb_metric_series *s = &in->block->series[in->block->used];
  snprintf(s->name, sizeof s->name, "%s", name);
  snprintf(s->labels, sizeof s->labels, "%s", labels);
  s->value = 0;
  in->block->used++;
  return s;
}

static cxb_metric_series *series_of(place *in, const char *name, const char *labels) {
  uint32_t hash = hash_of(name, labels);
  cxb_metric_series *s = find_in(in, hash, name, labels, 0);
  if (s)
    return s;
  if (!has_room(in, 1, labels, 0) || remember(in, hash, in->block->used))
    return NULL;
  return append(in, name, labels);
}

/* The first bucket of a histogram; every bucket exists from the first observation on, so that rates
 * can be computed. */
static cxb_metric_series *histogram_of(place *in, const family *f, const char *labels) {
  enum { LE_MAX = 32 }; /* ,le="…" */
  int buckets = f->count + 1;
  uint32_t hash = hash_of(f->name, labels);
  cxb_metric_series *s = find_in(in, hash, f->name, labels, buckets);
  if (s)
    return s;
  if (!has_room(in, (uint32_t)buckets + 2, labels, LE_MAX) || remember(in, hash, in->block->used))
    return NULL;
  char name[sizeof s->name], le[sizeof s->labels + LE_MAX];
  cxb_metric_series *from = &in->block->series[in->block->used];
  snprintf(name, sizeof name, "%.*s_bucket", (int)sizeof name - 8, f->name);
  for (int i = 0; i < buckets; i++) {
    char bound[24] = "+Inf";
    if (i < f->count)
      snprintf(bound, sizeof bound, "%g", f->buckets[i]);
    snprintf(le, sizeof le, "%s%sle=\"%s\"", labels, *labels ? "," : "", bound);
    append(in, name, le);
  }
  snprintf(name, sizeof name, "%.*s_sum", (int)sizeof name - 8, f->name);
  append(in, name, labels);
  snprintf(name, sizeof name, "%.*s_count", (int)sizeof name - 8, f->name);
  append(in, name, labels);
  return from;
}

/* ---- counting ---- */

cxb_metric_block *cxb_metric_own(void) {
  if (!own) {
    own = mmap(NULL, CXB_METRIC_BLOCK_SIZE(CXB_METRIC_SERIES_OWN), PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (own == MAP_FAILED)
      abort();
    own->room = CXB_METRIC_SERIES_OWN;
    here.block = first = own;
  }
  return own;
}

static int change(const char *name, const char *labels, double value, int add) {
  cxb_metric_own();
  cxb_metric_series *s = series_of(&here, name, labels);
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
  cxb_metric_own();
  cxb_metric_series *s = histogram_of(&here, f, labels);
  if (!s)
    return CXB_ENOSPC;
  for (int i = 0; i < f->count; i++)
    s[i].value += seconds <= f->buckets[i];
  s += f->count;
  s[0].value += 1;
  s[1].value += seconds;
  s[2].value += 1;
  return 0;
}

static void forget(place *in) {
  free(in->slots);
  in->slots = NULL;
  in->size = in->count = 0;
}

/* The family of a histogram whose first bucket is at `s`; NULL: it is something else. */
static const family *histogram_at(const cxb_metric_series *s) {
  const char *suffix = strstr(s->name, "_bucket");
  for (int i = 0; suffix && !suffix[7] && i < family_count; i++)
    if (families[i].type == CXB_HISTOGRAM &&
        strlen(families[i].name) == (size_t)(suffix - s->name) &&
        strncmp(families[i].name, s->name, (size_t)(suffix - s->name)) == 0)
      return &families[i];
  return NULL;
}

static void add_value(cxb_metric_series *to, const cxb_metric_series *from) {
  const family *f = family_find(from->name);
  if (f && f->type == CXB_GAUGE_MAX)
    to->value = from->value > to->value ? from->value : to->value;
  else
    to->value += from->value;
}

/* Adds the series of a block to another; those of a histogram stay side by side. */
static void merge(place *sum, const cxb_metric_block *b) {
  uint32_t used = b->used < b->room ? b->used : b->room;
  for (uint32_t i = 0; i < used;) {
    const family *f = histogram_at(&b->series[i]);
    uint32_t n = f ? (uint32_t)f->count + 3 : 1;
    if (i + n > used)
      break; /* its writer is just making it */
    cxb_metric_series *to = f ? histogram_of(sum, f, b->series[i + n - 1].labels)
                              : series_of(sum, b->series[i].name, b->series[i].labels);
    for (uint32_t k = 0; to && k < n; k++)
      add_value(&to[k], &b->series[i + k]);
    i += n;
  }
}

void cxb_metric_use(cxb_metric_block *block) {
  cxb_metric_block *old = own;
  forget(&here);
  own = here.block = block;
  if (old)
    merge(&here, old);
  if (first)
    munmap(first, CXB_METRIC_BLOCK_SIZE(CXB_METRIC_SERIES_OWN));
  first = NULL;
}

/* ---- telling ---- */

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

static int render_block(cxb_buf *out, const cxb_metric_block *b) {
  static const char *const types[] = {"counter", "gauge", "gauge", "histogram"};
  int err = 0;
  for (int f = 0; f < family_count && !err; f++) {
    err = cxb_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", families[f].name, families[f].help,
                         families[f].name, types[families[f].type]);
    for (uint32_t i = 0; i < b->used && i < b->room && !err; i++)
      if (belongs(&families[f], b->series[i].name))
        err = render_series(out, &b->series[i]);
  }
  return err;
}

int cxb_metric_render(cxb_buf *out, cxb_metric_block *const *blocks, int count) {
  if (count == 1)
    return render_block(out, blocks[0]);
  place sum = {.block = calloc(1, CXB_METRIC_BLOCK_SIZE(CXB_METRIC_SERIES_OWN))};
  if (!sum.block)
    return CXB_ENOMEM;
  sum.block->room = CXB_METRIC_SERIES_OWN;
  for (int i = 0; i < count; i++)
    merge(&sum, blocks[i]);
  int err = render_block(out, sum.block);
  free(sum.block);
  forget(&sum);
  return err;
}
