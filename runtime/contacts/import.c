/* The first reading: header, and a judgement of every row. */
#include "import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../base/crypto.h"
#include "../base/err.h"
#include "import_internal.h"
#include "phone.h"

static int refuse(cxb_import_refusal *refusal, const char *code, uint32_t line, const char *what,
                  const char *name) {
  refusal->code = code;
  refusal->line = line;
  snprintf(refusal->message, sizeof refusal->message, what, name);
  return CXB_EINVAL;
}

/* What the reader could not take as an answer to the caller. */
static int refuse_outcome(cxb_csv_outcome outcome, uint32_t line, cxb_import_refusal *refusal) {
  switch (outcome) {
  case CXB_CSV_ENCODING:
    return refuse(refusal, "csv_encoding", line, "is not UTF-8%s", "");
  case CXB_CSV_QUOTE:
    return refuse(refusal, "csv_quote", line,
                  "has a quoted cell that never ends or goes on after its quote%s", "");
  case CXB_CSV_MEMORY:
    return CXB_ENOMEM;
  default:
    return CXB_EIO;
  }
}

/* ---- header ---- */

static bool good_name(const char *s, size_t len) {
  if (len == 0 || len > COLUMN_NAME_MAX)
    return false;
  for (size_t i = 0; i < len; i++) {
    bool letter = (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= 'a' && s[i] <= 'z');
    bool other = (s[i] >= '0' && s[i] <= '9') || strchr("_ .-", s[i]) != NULL;
    if (!letter && (i == 0 || !other))
      return false;
  }
  return true;
}

static void trim(const char **s, size_t *len) {
  while (*len > 0 && (**s == ' ' || **s == '\t'))
    (*s)++, (*len)--;
  while (*len > 0 && ((*s)[*len - 1] == ' ' || (*s)[*len - 1] == '\t'))
    (*len)--;
}

static int read_column(cxb_import *m, size_t i, cxb_import_refusal *refusal) {
  uint32_t line = m->csv.line;
  size_t len;
  const char *s = cxb_csv_cell(&m->csv, i, &len);
  trim(&s, &len);
  char shown[COLUMN_NAME_MAX + 1];
  snprintf(shown, sizeof shown, "%.*s", (int)len, s);
  if (shown[0] == '_')
    return refuse(refusal, "csv_reserved_column", line,
                  "has the column %s; names that begin with _ are ours", shown);
  if (!good_name(s, len))
    return refuse(refusal, "csv_header", line,
                  "has the column name \"%s\"; expected a letter, then letters, digits, blanks, "
                  "_ . or -, at most 64",
                  shown);
  for (size_t k = 0; k < i; k++)
    if (strcmp(m->columns[k], shown) == 0)
      return refuse(refusal, "csv_header", line, "has the column %s twice", shown);
  strcpy(m->columns[i], shown);
  int *special = strcmp(shown, "phone_number") == 0  ? &m->phone
                 : strcmp(shown, "timezone") == 0    ? &m->timezone
                 : strcmp(shown, "external_id") == 0 ? &m->external_id
                                                     : NULL;
  if (special)
    *special = (int)i;
  return 0;
}

static int read_header(cxb_import *m, cxb_import_refusal *refusal) {
  cxb_csv_outcome outcome = cxb_import_next(m);
  if (outcome == CXB_CSV_END)
    return refuse(refusal, "csv_header", 1, "is missing: the file is empty%s", "");
  if (outcome != CXB_CSV_ROW)
    return refuse_outcome(outcome, m->csv.line, refusal);
  if (m->csv.too_many || m->csv.too_long)
    return refuse(refusal, "csv_header", m->csv.line, "has more than 100 columns%s", "");
  m->column_count = m->csv.count;
  for (size_t i = 0; i < m->column_count; i++) {
    int err = read_column(m, i, refusal);
    if (err)
      return err;
  }
  if (m->phone < 0)
    return refuse(refusal, "csv_missing_column", m->csv.line, "has no column phone_number%s", "");
  return 0;
}

int cxb_import_open(const cxb_import_options *options, cxb_import **out,
                    cxb_import_refusal *refusal) {
  cxb_import *m = calloc(1, sizeof *m);
  if (!m)
    return CXB_ENOMEM;
  m->options = *options;
  m->options.path = strdup(options->path);
  m->options.region = strdup(options->region);
  m->options.zone = strdup(options->zone);
  m->options.zoneinfo = strdup(options->zoneinfo);
  m->phone = m->timezone = m->external_id = -1;
  m->csv.fd = -1;
  uint8_t chance[3];
  cxb_random(chance, sizeof chance);
  snprintf(m->chance, sizeof m->chance, "%02x%02x%02x", chance[0], chance[1], chance[2]);
  bool complete = m->options.path && m->options.region && m->options.zone && m->options.zoneinfo;
  int err = complete ? cxb_csv_open(&m->csv, m->options.path) : CXB_ENOMEM;
  if (!err)
    err = read_header(m, refusal);
  if (err) {
    cxb_import_free(m);
    return err;
  }
  *out = m;
  return 0;
}

void cxb_import_free(cxb_import *m) {
  if (!m)
    return;
  cxb_csv_close(&m->csv);
  free((char *)m->options.path);
  free((char *)m->options.region);
  free((char *)m->options.zone);
  free((char *)m->options.zoneinfo);
  free(m->numbers);
  free(m->kinds);
  free(m->slots);
  for (size_t i = 0; i < ZONES_KEPT; i++)
    free(m->zones.names[i]);
  free(m);
}

cxb_csv_outcome cxb_import_next(cxb_import *m) {
  cxb_csv_outcome outcome;
  do
    outcome = cxb_csv_next(&m->csv);
  while (outcome == CXB_CSV_ROW && m->csv.blank);
  return outcome;
}

/* ---- numbers seen ---- */

static size_t slot_of(const cxb_import *m, uint64_t number) {
  size_t at = (size_t)((number * 0x9E3779B97F4A7C15u) >> 20) & (m->slot_count - 1);
  while (m->slots[at] && m->numbers[m->slots[at] - 1] != number)
    at = (at + 1) & (m->slot_count - 1);
  return at;
}

int64_t cxb_import_find(const cxb_import *m, uint64_t number) {
  return m->slot_count ? (int64_t)m->slots[slot_of(m, number)] - 1 : -1;
}

/* Room for one more row in the arrays and, at most half full, in the slots. */
static int grow(cxb_import *m) {
  if (m->rows < m->capacity)
    return 0;
  uint32_t capacity = m->capacity ? m->capacity * 2 : 1024;
  uint64_t *numbers = realloc(m->numbers, capacity * sizeof *numbers);
  m->numbers = numbers ? numbers : m->numbers;
  uint8_t *kinds = realloc(m->kinds, capacity);
  m->kinds = kinds ? kinds : m->kinds;
  uint32_t *slots = calloc((size_t)capacity * 2, sizeof *slots);
  if (!numbers || !kinds || !slots) {
    free(slots);
    return CXB_ENOMEM;
  }
  free(m->slots);
  m->slots = slots;
  m->slot_count = (size_t)capacity * 2;
  m->capacity = capacity;
  for (uint32_t row = 0; row < m->rows; row++)
    if (m->kinds[row] == CXB_ROW_GOOD)
      m->slots[slot_of(m, m->numbers[row])] = row + 1;
  return 0;
}

/* ---- rows ---- */

const char *cxb_import_rule(cxb_row_kind kind) {
  static const char *const rules[] = {"", "dnc", "number", "duplicate", "columns", "cell_length"};
  return rules[kind];
}

void cxb_import_mask(const char *value, size_t len, char out[CXB_IMPORT_VALUE]) {
  static const char dot[] = "\xE2\x80\xA2";
  bool plain = true;
  for (size_t i = 0; i < len; i++)
    plain = plain && value[i] >= 0x20 && (unsigned char)value[i] < 0x7F;
  size_t head = plain && len >= 10 ? 3 : 0, tail = plain && len >= 6 ? (len >= 10 ? 4 : 2) : 0;
  size_t dots = len - head - tail;
  char *p = out;
  memcpy(p, value, head);
  p += head;
  for (size_t i = 0; i < dots && i < 16; i++, p += 3)
    memcpy(p, dot, 3);
  memcpy(p, value + len - tail, tail);
  p[tail] = '\0';
}

void cxb_import_e164(uint64_t number, char out[24]) {
  snprintf(out, 24, "+%llu", (unsigned long long)number);
}

static cxb_row_kind judge_number(cxb_import *m, uint64_t *number) {
  size_t len;
  const char *text = cxb_csv_cell(&m->csv, (size_t)m->phone, &len);
  cxb_phone_number parsed;
  if (cxb_phone_parse(text, len, m->options.region, false, &parsed) != 0 || !parsed.possible)
    return CXB_ROW_NUMBER;
  *number = strtoull(parsed.e164 + 1, NULL, 10);
  return CXB_ROW_GOOD;
}

static bool extra_cells(const cxb_import *m) {
  if (m->csv.too_many)
    return true;
  for (size_t i = m->column_count; i < m->csv.count; i++)
    if (m->csv.starts[i + 1] > m->csv.starts[i])
      return true;
  return false;
}

static cxb_row_kind judge(cxb_import *m, uint64_t *number) {
  if (extra_cells(m))
    return CXB_ROW_COLUMNS;
  if (m->csv.too_long)
    return CXB_ROW_CELL;
  if ((size_t)m->phone >= m->csv.count)
    return CXB_ROW_NUMBER;
  cxb_row_kind kind = judge_number(m, number);
  if (kind == CXB_ROW_GOOD && cxb_import_find(m, *number) >= 0)
    return CXB_ROW_DUPLICATE;
  return kind;
}

static void note_error(cxb_import *m, cxb_row_kind kind) {
  if (m->error_count == CXB_IMPORT_ERRORS_MAX)
    return;
  cxb_import_error *error = &m->errors[m->error_count++];
  error->line = m->csv.line;
  error->rule = cxb_import_rule(kind);
  size_t len = 0;
  const char *value =
      (size_t)m->phone < m->csv.count ? cxb_csv_cell(&m->csv, (size_t)m->phone, &len) : "";
  cxb_import_mask(value, len, error->value);
}

static void count_zone(cxb_import *m) {
  if (m->timezone < 0 || (size_t)m->timezone >= m->csv.count)
    return;
  size_t len;
  const char *name = cxb_csv_cell(&m->csv, (size_t)m->timezone, &len);
  if (len > 0 && !cxb_import_zone_known(m, name, len))
    m->counts.unknown_timezone++;
}

static int take_row(cxb_import *m) {
  m->counts.rows++;
  if (m->rows == m->options.max_rows) {
    m->counts.over_limit++;
    return 0;
  }
  int err = grow(m);
  if (err)
    return err;
  uint64_t number = 0;
  cxb_row_kind kind = judge(m, &number);
  m->numbers[m->rows] = number;
  m->kinds[m->rows] = (uint8_t)kind;
  if (kind == CXB_ROW_GOOD) {
    m->slots[slot_of(m, number)] = m->rows + 1;
    m->counts.good++;
    count_zone(m);
  } else {
    m->counts.duplicate += kind == CXB_ROW_DUPLICATE;
    m->counts.invalid += kind != CXB_ROW_DUPLICATE;
    note_error(m, kind);
  }
  m->rows++;
  return 0;
}

int cxb_import_scan(cxb_import *m, size_t rows, bool *done, cxb_import_refusal *refusal) {
  *done = false;
  for (size_t i = 0; i < rows; i++) {
    cxb_csv_outcome outcome = cxb_import_next(m);
    if (outcome == CXB_CSV_END) {
      *done = true;
      return 0;
    }
    if (outcome != CXB_CSV_ROW)
      return refuse_outcome(outcome, m->csv.line, refusal);
    int err = take_row(m);
    if (err)
      return err;
  }
  return 0;
}

const cxb_import_counts *cxb_import_result(const cxb_import *m) {
  return &m->counts;
}

const cxb_import_error *cxb_import_errors(const cxb_import *m, size_t *count) {
  *count = m->error_count;
  return m->errors;
}

const char *cxb_import_column(const cxb_import *m, size_t i) {
  return i < m->column_count ? m->columns[i] : NULL;
}
