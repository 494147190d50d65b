/* A list of people's numbers, from a CSV file to documents: scanned once to judge every row
 * (rules of api.md §5.10), then read again to write them. Between the two the caller may mark
 * numbers that must not be called. Twenty bytes are kept of a row, nothing of its text.
 *
 * One thread at a time; everything but the questions at the end reads the file and may block. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/buf.h"

typedef struct cxb_import cxb_import;

typedef struct cxb_import_options {
  const char *path;
  const char *region;   /* plan of numbers without country code: "IN" */
  const char *zone;     /* zone_key of numbers whose prefix has none */
  const char *zoneinfo; /* folder of the system's zones */
  uint32_t max_rows;    /* rows after these are counted only */
  bool numbers_only;    /* documents hold "number" and nothing else of the file */
} cxb_import_options;

/* Why a file is refused. */
typedef struct cxb_import_refusal {
  const char *code; /* "csv_encoding", "csv_quote", "csv_header", "csv_missing_column" … */
  uint32_t line;
  char message[160];
} cxb_import_refusal;

typedef enum {
  CXB_ROW_GOOD,
  CXB_ROW_DNC,
  CXB_ROW_NUMBER,    /* no number, or not a possible one */
  CXB_ROW_DUPLICATE, /* the number came before */
  CXB_ROW_COLUMNS,   /* more cells than the header has */
  CXB_ROW_CELL       /* a cell is too long */
} cxb_row_kind;

typedef struct cxb_import_counts {
  uint32_t rows, good, dnc, invalid, duplicate, over_limit, unknown_timezone;
} cxb_import_counts;

enum { CXB_IMPORT_ERRORS_MAX = 100, CXB_IMPORT_VALUE = 64 };

typedef struct cxb_import_error {
  uint32_t line;
  const char *rule;             /* "number", "duplicate", "columns", "cell_length" */
  char value[CXB_IMPORT_VALUE]; /* masked */
} cxb_import_error;

/* Reads the header. 0; CXB_EINVAL: `refusal` says why; else CXB_E* of the file or the libraries. */
int cxb_import_open(const cxb_import_options *options, cxb_import **out,
                    cxb_import_refusal *refusal);
void cxb_import_free(cxb_import *import);
/* Judges up to `rows` more rows. 0 with *done, or as cxb_import_open(). */
int cxb_import_scan(cxb_import *import, size_t rows, bool *done, cxb_import_refusal *refusal);

/* Up to `count` good numbers from row *row on ("+…", NUL after each) into `out`; *row moves on. */
int cxb_import_numbers(const cxb_import *import, uint32_t *row, size_t count, cxb_buf *out);
/* Marks numbers, or all that begin with one of the prefixes, as not to be called. */
void cxb_import_suppress(cxb_import *import, const char *e164);
int cxb_import_suppress_prefixes(cxb_import *import, const char *const *prefixes, size_t count);

/* What every document begins with: JSON of an object without its closing brace. */
typedef struct cxb_import_bases {
  const char *contact, *reject;
  int64_t now_ms; /* in the ids, which then sort as the rows do */
} cxb_import_bases;

/* Writes up to `rows` further rows: [["id",{document}],…] of the good ones into `contacts`, of the
 * refused ones into `rejects`; an empty buffer when there are none. 0 with *done, or CXB_E*. */
int cxb_import_write(cxb_import *import, const cxb_import_bases *bases, size_t rows,
                     cxb_buf *contacts, cxb_buf *rejects, bool *done);

const cxb_import_counts *cxb_import_result(const cxb_import *import);
const cxb_import_error *cxb_import_errors(const cxb_import *import, size_t *count);
/* Column i's name; NULL after the last. */
const char *cxb_import_column(const cxb_import *import, size_t i);
