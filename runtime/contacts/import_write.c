/* The second reading: rows become documents. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/err.h"
#include "import.h"
#include "import_internal.h"
#include "zones.h"

/* ---- zones ---- */

/* A file of the system's zones; names come from people and never lead out of the folder. */
static bool zone_file(const cxb_import *m, const char *name, size_t len) {
  if (len == 0 || len > 64)
    return false;
  for (size_t i = 0; i < len; i++) {
    char c = name[i];
    bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (!letter && (i == 0 || !((c >= '0' && c <= '9') || strchr("_+/-", c))))
      return false;
  }
  char path[512], head[4];
  snprintf(path, sizeof path, "%s/%.*s", m->options.zoneinfo, (int)len, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  bool known = fd >= 0 && read(fd, head, sizeof head) == 4 && memcmp(head, "TZif", 4) == 0;
  if (fd >= 0)
    close(fd);
  return known;
}

bool cxb_import_zone_known(cxb_import *m, const char *name, size_t len) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < len; i++)
    hash = (hash ^ (unsigned char)name[i]) * 16777619u;
  size_t at = hash % ZONES_KEPT;
  char *kept = m->zones.names[at];
  if (kept && strlen(kept) == len && memcmp(kept, name, len) == 0)
    return m->zones.known[at];
  free(kept);
  m->zones.names[at] = strndup(name, len);
  m->zones.known[at] = zone_file(m, name, len);
  return m->zones.known[at];
}

/* ---- documents ---- */

static int add_field(cxb_buf *out, const char *name, const char *value, size_t len) {
  int err = cxb_buf_printf(out, ",\"%s\":", name);
  return err ? err : cxb_buf_json(out, value, len);
}

/* A cell's content; NULL when the row has no such cell or nothing in it. */
static const char *cell(const cxb_import *m, int column, size_t *len) {
  if (column < 0 || (size_t)column >= m->csv.count)
    return NULL;
  const char *s = cxb_csv_cell(&m->csv, (size_t)column, len);
  return *len > 0 ? s : NULL;
}

static int add_variables(const cxb_import *m, const char *e164, cxb_buf *out) {
  int err = cxb_buf_printf(out, ",\"variables\":{\"phone_number\":\"%s\"", e164);
  for (size_t i = 0; !err && i < m->csv.count && i < m->column_count; i++) {
    size_t len;
    const char *value = cell(m, (int)i, &len);
    bool ours = (int)i == m->phone || (int)i == m->timezone || (int)i == m->external_id;
    if (value && !ours)
      err = add_field(out, m->columns[i], value, len);
  }
  return err ? err : cxb_buf_str(out, "}");
}

static int add_contact(cxb_import *m, bool dnc, const char *e164, cxb_buf *out) {
  size_t len;
  const char *zone = cell(m, m->timezone, &len);
  if (zone && !cxb_import_zone_known(m, zone, len))
    zone = NULL;
  const char *key = zone ? zone : cxb_zones_of(e164);
  size_t key_len = zone ? len : strlen(key ? key : m->options.zone);
  int err = cxb_buf_printf(out,
                           ",\"phone_number\":\"%s\",\"attempts_made\":0,\"attempt_seq\":0,"
                           "\"status\":\"%s\"",
                           e164, dnc ? "dnc\",\"last_outcome\":\"dnc" : "pending");
  if (!err)
    err = add_field(out, "zone_key", key ? key : m->options.zone, key_len);
  if (!err && zone)
    err = add_field(out, "timezone", zone, len);
  const char *external = cell(m, m->external_id, &len);
  if (!err && external)
    err = add_field(out, "external_id", external, len);
  return err ? err : add_variables(m, e164, out);
}

static int begin_document(const cxb_import *m, const char *prefix, int64_t now_ms, const char *base,
                          cxb_buf *out) {
  return cxb_buf_printf(out, "%s[\"%s_%012llx%06x%s\",%s", out->len > 0 ? "," : "[", prefix,
                        (unsigned long long)now_ms, m->written, m->chance, base);
}

static int write_good(cxb_import *m, cxb_row_kind kind, const cxb_import_bases *bases,
                      cxb_buf *out) {
  char e164[24];
  cxb_import_e164(m->numbers[m->written], e164);
  int err =
      begin_document(m, m->options.numbers_only ? "dnc" : "cc", bases->now_ms, bases->contact, out);
  if (!err)
    err = m->options.numbers_only ? add_field(out, "number", e164, strlen(e164))
                                  : add_contact(m, kind == CXB_ROW_DNC, e164, out);
  return err ? err : cxb_buf_str(out, "}]");
}

static int write_refused(cxb_import *m, cxb_row_kind kind, const cxb_import_bases *bases,
                         cxb_buf *out) {
  char value[CXB_IMPORT_VALUE];
  size_t len = 0;
  const char *text = cell(m, m->phone, &len);
  cxb_import_mask(text ? text : "", text ? len : 0, value);
  int err = begin_document(m, "upr", bases->now_ms, bases->reject, out);
  if (!err)
    err = cxb_buf_printf(out, ",\"line\":%u,\"rule\":\"%s\"", m->csv.line, cxb_import_rule(kind));
  if (!err)
    err = add_field(out, "value", value, strlen(value));
  return err ? err : cxb_buf_str(out, "}]");
}

/* From the header on again. */
static int rewind_file(cxb_import *m) {
  cxb_csv_close(&m->csv);
  int err = cxb_csv_open(&m->csv, m->options.path);
  if (err)
    return err;
  m->writing = true;
  return cxb_import_next(m) == CXB_CSV_ROW ? 0 : CXB_EIO;
}

static int write_row(cxb_import *m, const cxb_import_bases *bases, cxb_buf *contacts,
                     cxb_buf *rejects) {
  if (cxb_import_next(m) != CXB_CSV_ROW)
    return CXB_EIO;
  cxb_row_kind kind = m->kinds[m->written];
  int err = 0;
  if (kind == CXB_ROW_GOOD || kind == CXB_ROW_DNC)
    err = write_good(m, kind, bases, contacts);
  else if (bases->reject)
    err = write_refused(m, kind, bases, rejects);
  m->written++;
  return err;
}

static int close_list(cxb_buf *list) {
  return list->len > 0 ? cxb_buf_str(list, "]") : 0;
}

int cxb_import_write(cxb_import *m, const cxb_import_bases *bases, size_t rows, cxb_buf *contacts,
                     cxb_buf *rejects, bool *done) {
  int err = m->writing ? 0 : rewind_file(m);
  for (size_t i = 0; !err && i < rows && m->written < m->rows; i++)
    err = write_row(m, bases, contacts, rejects);
  if (!err)
    err = close_list(contacts);
  if (!err)
    err = close_list(rejects);
  *done = m->written == m->rows;
  return err;
}
