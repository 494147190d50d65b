/* Prefixes as numbers in one sorted array; a look-up tries the longest prefix first. */
#include "zones.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../host/fs.h"

enum { PREFIX_MAX = 9, FILE_MAX = 1 << 20 };

typedef struct zone_prefix {
  uint32_t prefix;
  const char *zones;
} zone_prefix;

static struct {
  pthread_mutex_t lock;
  char *text;
  zone_prefix *list;
  size_t count;
} map = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int by_prefix(const void *a, const void *b) {
  uint32_t x = ((const zone_prefix *)a)->prefix, y = ((const zone_prefix *)b)->prefix;
  return (x > y) - (x < y);
}

/* Takes one line apart in place; false: it is not of this form. */
static bool read_line(char *line, zone_prefix *out) {
  char *end;
  unsigned long prefix = strtoul(line, &end, 10);
  if (end == line || end - line > PREFIX_MAX || *end != '\t' || end[1] == '\0')
    return false;
  *out = (zone_prefix){(uint32_t)prefix, end + 1};
  return true;
}

static int read_map(char *text) {
  size_t lines = 0;
  for (char *p = text; *p; p++)
    lines += *p == '\n';
  zone_prefix *list = calloc(lines + 1, sizeof *list);
  if (!list)
    return CXB_ENOMEM;
  size_t count = 0;
  char *rest = text;
  for (char *line; (line = strsep(&rest, "\n"));) {
    if (*line == '#' || *line == '\0')
      continue;
    if (!read_line(line, &list[count])) {
      free(list);
      return CXB_ECORRUPT;
    }
    count++;
  }
  qsort(list, count, sizeof *list, by_prefix);
  map.list = list;
  map.count = count;
  return 0;
}

int cxb_zones_load(const char *path) {
  pthread_mutex_lock(&map.lock);
  int err = 0;
  if (!map.list) {
    cxb_buf file = {0};
    err = cxb_fs_read(path, FILE_MAX, &file);
    if (!err)
      err = read_map(file.data);
    if (err)
      cxb_buf_free(&file);
    else
      map.text = file.data;
  }
  pthread_mutex_unlock(&map.lock);
  return err;
}

const char *cxb_zones_of(const char *e164) {
  uint32_t prefixes[PREFIX_MAX], value = 0;
  int n = 0;
  for (const char *p = e164 + 1; n < PREFIX_MAX && *p >= '0' && *p <= '9'; p++) {
    value = value * 10 + (uint32_t)(*p - '0');
    prefixes[n++] = value;
  }
  while (n-- > 0) {
    zone_prefix key = {prefixes[n], NULL};
    zone_prefix *found = bsearch(&key, map.list, map.count, sizeof key, by_prefix);
    if (found)
      return found->zones;
  }
  return NULL;
}
