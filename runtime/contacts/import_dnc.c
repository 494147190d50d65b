/* Between the readings: numbers that must not be called are marked. */
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "import.h"
#include "import_internal.h"

enum { DIGITS_MAX = 19 };

int cxb_import_numbers(const cxb_import *m, uint32_t *row, size_t count, cxb_buf *out) {
  for (; count > 0 && *row < m->rows; (*row)++) {
    if (m->kinds[*row] != CXB_ROW_GOOD)
      continue;
    char e164[24];
    cxb_import_e164(m->numbers[*row], e164);
    int err = cxb_buf_add(out, e164, strlen(e164) + 1);
    if (err)
      return err;
    count--;
  }
  return 0;
}

static void mark(cxb_import *m, int64_t row) {
  if (row < 0 || m->kinds[row] != CXB_ROW_GOOD)
    return;
  m->kinds[row] = CXB_ROW_DNC;
  m->counts.good--;
  m->counts.dnc++;
}

void cxb_import_suppress(cxb_import *m, const char *e164) {
  mark(m, cxb_import_find(m, strtoull(e164 + 1, NULL, 10)));
}

static int by_value(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* Whether one of the sorted prefixes begins the number. No prefix begins with 0, so a value says
 * how many digits it has. */
static bool has_prefix(const uint64_t *prefixes, size_t count, uint64_t number) {
  for (; number > 0; number /= 10)
    if (bsearch(&number, prefixes, count, sizeof *prefixes, by_value))
      return true;
  return false;
}

int cxb_import_suppress_prefixes(cxb_import *m, const char *const *prefixes, size_t count) {
  uint64_t *values = calloc(count + 1, sizeof *values);
  if (!values)
    return CXB_ENOMEM;
  for (size_t i = 0; i < count; i++)
    values[i] = strlen(prefixes[i]) <= DIGITS_MAX ? strtoull(prefixes[i] + 1, NULL, 10) : 0;
  qsort(values, count, sizeof *values, by_value);
  for (uint32_t row = 0; row < m->rows; row++)
    if (m->kinds[row] == CXB_ROW_GOOD && has_prefix(values, count, m->numbers[row]))
      mark(m, row);
  free(values);
  return 0;
}
