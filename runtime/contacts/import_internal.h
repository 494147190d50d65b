/* Shared by import.c (judging), import_write.c (writing) and import_dnc.c (marking). */
#pragma once
#include "csv.h"
#include "import.h"

enum { ZONES_KEPT = 512, COLUMN_NAME_MAX = 64 };

/* Names of zones that were asked about, by hash. */
typedef struct cxb_zone_names {
  char *names[ZONES_KEPT];
  bool known[ZONES_KEPT];
} cxb_zone_names;

struct cxb_import {
  cxb_import_options options; /* its texts are owned */
  cxb_csv csv;
  char columns[CXB_CSV_COLUMNS_MAX][COLUMN_NAME_MAX + 1];
  size_t column_count;
  int phone, timezone, external_id; /* columns, -1: none */
  uint64_t *numbers;                /* of every row; digits as a number */
  uint8_t *kinds;                   /* cxb_row_kind */
  uint32_t rows, capacity;
  uint32_t *slots; /* of the numbers: row + 1, open addressing */
  size_t slot_count;
  cxb_import_counts counts;
  cxb_import_error errors[CXB_IMPORT_ERRORS_MAX];
  size_t error_count;
  cxb_zone_names zones;
  uint32_t written; /* rows of the second reading */
  bool writing;
  char chance[7]; /* in the ids */
};

/* The row of a number, or -1. */
int64_t cxb_import_find(const cxb_import *import, uint64_t number);
/* Whether the system knows the zone. */
bool cxb_import_zone_known(cxb_import *import, const char *name, size_t len);
/* A value that people may see of a refused row. */
void cxb_import_mask(const char *value, size_t len, char out[CXB_IMPORT_VALUE]);
const char *cxb_import_rule(cxb_row_kind kind);
/* The next row that is not blank. */
cxb_csv_outcome cxb_import_next(cxb_import *import);
/* "+91…" of a number. */
void cxb_import_e164(uint64_t number, char out[24]);
