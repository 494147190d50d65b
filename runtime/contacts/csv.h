/* CSV (RFC 4180) as people's spreadsheets write it, row by row from a file: UTF-8 with or without
 * a byte order mark, comma, semicolon or tab (what the header has most of), quoted cells with line
 * ends in them, line ends of any system. Memory does not grow with the file. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/buf.h"

enum {
  CXB_CSV_COLUMNS_MAX = 100,
  CXB_CSV_CELL_MAX = 4096, /* characters */
};

typedef enum {
  CXB_CSV_ROW,
  CXB_CSV_END,
  CXB_CSV_ENCODING, /* not UTF-8, or NUL: at `line` */
  CXB_CSV_QUOTE,    /* a quoted cell never ends, or goes on after its quote: began at `line` */
  CXB_CSV_IO,
  CXB_CSV_MEMORY
} cxb_csv_outcome;

typedef struct cxb_csv {
  /* the row */
  size_t count;   /* cells, at most CXB_CSV_COLUMNS_MAX are kept */
  uint32_t line;  /* where it began, from 1 */
  bool too_many;  /* more cells than are kept */
  bool too_long;  /* a cell was longer than CXB_CSV_CELL_MAX, the rest of it is dropped */
  bool blank;     /* nothing in any cell */
  char delimiter; /* known after the first row */
  /* private */
  int fd;
  char *block;
  size_t at, filled;
  bool ended, after_return;
  uint32_t now;              /* line that is read */
  uint32_t code, size, left; /* of a UTF-8 sequence */
  cxb_buf text;
  size_t starts[CXB_CSV_COLUMNS_MAX + 1];
} cxb_csv;

/* Opens a file; 0 or CXB_E*. */
int cxb_csv_open(cxb_csv *csv, const char *path);
void cxb_csv_close(cxb_csv *csv);
/* Reads the next row; its cells stay valid until the next call. */
cxb_csv_outcome cxb_csv_next(cxb_csv *csv);
/* Cell i < count; not terminated. */
const char *cxb_csv_cell(const cxb_csv *csv, size_t i, size_t *len);
