/* A state machine over bytes. */
#include "csv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/err.h"

enum { BLOCK = 64 * 1024 };

int cxb_csv_open(cxb_csv *csv, const char *path) {
  *csv = (cxb_csv){.fd = -1, .now = 1};
  csv->block = malloc(BLOCK);
  if (!csv->block)
    return CXB_ENOMEM;
  csv->fd = open(path, O_RDONLY | O_CLOEXEC);
  if (csv->fd >= 0)
    return 0;
  int err = cxb_err_from_errno(errno);
  cxb_csv_close(csv);
  return err;
}

void cxb_csv_close(cxb_csv *csv) {
  if (csv->fd >= 0)
    close(csv->fd);
  csv->fd = -1;
  free(csv->block);
  csv->block = NULL;
  cxb_buf_free(&csv->text);
}

/* Fills the block from its beginning as far as the file goes. */
static bool fill(cxb_csv *csv) {
  csv->at = csv->filled = 0;
  while (csv->filled < BLOCK && !csv->ended) {
    ssize_t n = read(csv->fd, csv->block + csv->filled, BLOCK - csv->filled);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return false;
    csv->ended = n == 0;
    csv->filled += (size_t)n;
  }
  return true;
}

/* The delimiter is what the first line has most of outside of quotes. */
static char sniff(const char *text, size_t len) {
  static const char known[] = {',', ';', '\t'};
  size_t counts[3] = {0};
  bool quoted = false;
  for (size_t i = 0; i < len; i++) {
    quoted = quoted != (text[i] == '"');
    if (!quoted && (text[i] == '\n' || text[i] == '\r'))
      break;
    for (int k = 0; k < 3; k++)
      counts[k] += !quoted && text[i] == known[k];
  }
  int best = counts[1] > counts[0] ? 1 : 0;
  return known[counts[2] > counts[best] ? 2 : best];
}

static bool begin(cxb_csv *csv) {
  if (!fill(csv))
    return false;
  if (csv->filled >= 3 && memcmp(csv->block, "\xEF\xBB\xBF", 3) == 0)
    csv->at = 3;
  csv->delimiter = sniff(csv->block + csv->at, csv->filled - csv->at);
  return true;
}

/* Takes one byte into the check of UTF-8 (no overlong forms, no surrogates, no NUL). */
static bool utf8(cxb_csv *csv, unsigned char c) {
  if (csv->left > 0) {
    if ((c & 0xC0) != 0x80)
      return false;
    csv->code = csv->code << 6 | (c & 0x3Fu);
    if (--csv->left > 0)
      return true;
    uint32_t code = csv->code;
    return csv->size == 2   ? code >= 0x80
           : csv->size == 3 ? code >= 0x800 && (code < 0xD800 || code > 0xDFFF)
                            : code >= 0x10000 && code <= 0x10FFFF;
  }
  if (c < 0x80)
    return c != 0;
  if (c < 0xC2 || c > 0xF4)
    return false;
  csv->left = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
  csv->size = csv->left + 1;
  csv->code = c & (0x3Fu >> csv->left);
  return true;
}

/* One cell and the row around it, while it is read. */
typedef struct reading {
  enum { START, BARE, QUOTED, CLOSED } state;
  size_t bytes, characters;
  uint32_t quote_line;
  bool any; /* bytes of the row, quotes among them */
} reading;

static bool put(cxb_csv *csv, reading *r, char c) {
  csv->blank = false;
  if (csv->count >= CXB_CSV_COLUMNS_MAX)
    return true; /* counted, not kept */
  r->characters += (c & 0xC0) != 0x80;
  if (r->characters > CXB_CSV_CELL_MAX) {
    csv->too_long = true;
    return true;
  }
  return cxb_buf_add(&csv->text, &c, 1) == 0;
}

static void end_cell(cxb_csv *csv, reading *r) {
  if (csv->count < CXB_CSV_COLUMNS_MAX)
    csv->starts[++csv->count] = csv->text.len;
  else
    csv->too_many = true;
  r->state = START;
  r->characters = 0;
}

/* The next byte, checked; -1 at the end, -2 not UTF-8, -3 cannot be read. */
static int take(cxb_csv *csv) {
  if (csv->at == csv->filled) {
    if (csv->ended)
      return csv->left > 0 ? -2 : -1;
    if (!fill(csv))
      return -3;
    if (csv->filled == 0)
      return csv->left > 0 ? -2 : -1;
  }
  unsigned char c = (unsigned char)csv->block[csv->at++];
  return utf8(csv, c) ? c : -2;
}

/* Line ends of all systems become '\n'; the '\n' of a "\r\n" is passed over. */
static int take_line(cxb_csv *csv) {
  int c = take(csv);
  if (c == '\n' && csv->after_return)
    c = take(csv);
  csv->after_return = c == '\r';
  if (c == '\r' || c == '\n') {
    csv->now++;
    return '\n';
  }
  return c;
}

/* Takes a byte by the cell's state: 1 the row ends, 0 go on, -1 no memory, -2 bad quote. */
static int step(cxb_csv *csv, reading *r, char c) {
  if (r->state == QUOTED) {
    if (c != '"')
      return put(csv, r, c) ? 0 : -1;
    r->state = CLOSED;
    return 0;
  }
  if (r->state == CLOSED && c == '"') {
    r->state = QUOTED;
    return put(csv, r, c) ? 0 : -1;
  }
  if (c == csv->delimiter || c == '\n') {
    end_cell(csv, r);
    return c == '\n';
  }
  if (r->state == CLOSED)
    return -2;
  if (r->state == START && c == '"') {
    r->state = QUOTED;
    r->quote_line = csv->now;
    return 0;
  }
  r->state = BARE;
  return put(csv, r, c) ? 0 : -1;
}

static cxb_csv_outcome fail(cxb_csv *csv, cxb_csv_outcome outcome, uint32_t line) {
  csv->line = line;
  return outcome;
}

cxb_csv_outcome cxb_csv_next(cxb_csv *csv) {
  if (!csv->delimiter && !begin(csv))
    return CXB_CSV_IO;
  reading r = {0};
  csv->count = 0;
  csv->too_many = csv->too_long = false;
  csv->blank = true;
  csv->line = csv->now;
  cxb_buf_clear(&csv->text);
  for (;;) {
    int c = take_line(csv);
    if (c == -2)
      return fail(csv, CXB_CSV_ENCODING, csv->now);
    if (c == -3)
      return CXB_CSV_IO;
    if (c == -1) {
      if (r.state == QUOTED)
        return fail(csv, CXB_CSV_QUOTE, r.quote_line);
      if (!r.any)
        return CXB_CSV_END;
      end_cell(csv, &r);
      return CXB_CSV_ROW;
    }
    r.any = true;
    int ended = step(csv, &r, (char)c);
    if (ended == -1)
      return CXB_CSV_MEMORY;
    if (ended == -2)
      return fail(csv, CXB_CSV_QUOTE, r.quote_line);
    if (ended)
      return CXB_CSV_ROW;
  }
}

const char *cxb_csv_cell(const cxb_csv *csv, size_t i, size_t *len) {
  *len = csv->starts[i + 1] - csv->starts[i];
  return csv->text.data ? csv->text.data + csv->starts[i] : "";
}
