/* contacts/: the CSV reader, the import, zones of prefixes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "contacts/csv.h"
#include "contacts/import.h"
#include "contacts/zones.h"

static char path[] = "/tmp/cxb-contacts-XXXXXX";

static void put_file(const void *data, size_t len) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, len, f), len);
  fclose(f);
}

/* Rows of a text as "a|b/c|d/" and the outcome that ended them. */
static cxb_csv_outcome read_text(const char *text, size_t len, char *out, uint32_t *line) {
  put_file(text, len);
  cxb_csv csv;
  assert_int_equal(cxb_csv_open(&csv, path), 0);
  cxb_csv_outcome outcome;
  *out = '\0';
  while ((outcome = cxb_csv_next(&csv)) == CXB_CSV_ROW) {
    for (size_t i = 0; i < csv.count; i++) {
      size_t n;
      const char *s = cxb_csv_cell(&csv, i, &n);
      sprintf(out + strlen(out), "%s%.*s", i ? "|" : "", (int)n, s);
    }
    strcat(out, "/");
  }
  *line = csv.line;
  cxb_csv_close(&csv);
  return outcome;
}

static void rows_are_read_as_spreadsheets_write_them(void **state) {
  static const struct {
    const char *text, *rows;
  } cases[] = {
      {"a,b\r\n1,2\r\n", "a|b/1|2/"},
      {"\xEF\xBB\xBF"
       "a;b\n1;2,3",
       "a|b/1|2,3/"},
      {"a\tb\n\"x\ty\"\t2\n", "a|b/x\ty|2/"},
      {"a,b\n\"say \"\"hi\"\"\",\"two\r\nlines\"\n", "a|b/say \"hi\"|two\nlines/"},
      {"a,b\r1,2\r", "a|b/1|2/"},
      {"a,b\n1,5\" pipe\n,\n", "a|b/1|5\" pipe/|/"},
      {"\"a;b\",c\n", "a;b|c/"},
      {"a\n\"\"\n", "a//"},
      {"a,b\n\xC3\xA9,\xF0\x9F\x98\x80\n", "a|b/\xC3\xA9|\xF0\x9F\x98\x80/"},
      {"", ""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char out[256];
    uint32_t line;
    assert_int_equal(read_text(cases[i].text, strlen(cases[i].text), out, &line), CXB_CSV_END);
    assert_string_equal(out, cases[i].rows);
  }
}

static void what_is_broken_is_told_by_its_line(void **state) {
  static const struct {
    const char *text;
    size_t len;
    cxb_csv_outcome outcome;
    uint32_t line;
  } cases[] = {
      {"a\nb\ncaf\xE9\n", 9, CXB_CSV_ENCODING, 3},
      {"a\r\nb\r\n\xC0\x80", 8, CXB_CSV_ENCODING, 3},
      {"a\n\xED\xA0\x80", 5, CXB_CSV_ENCODING, 2},
      {"a\nx\0y", 5, CXB_CSV_ENCODING, 2},
      {"a\nb\xC3", 4, CXB_CSV_ENCODING, 2},
      {"\xFF\xFE"
       "a\0",
       4, CXB_CSV_ENCODING, 1},
      {"a\n1\n\"open\n2\n3\n", 14, CXB_CSV_QUOTE, 3},
      {"a\n\"x\"y\n", 7, CXB_CSV_QUOTE, 2},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char out[256];
    uint32_t line;
    assert_int_equal(read_text(cases[i].text, cases[i].len, out, &line), cases[i].outcome);
    assert_int_equal(line, cases[i].line);
  }
}

static void cells_and_columns_have_limits_and_memory_does_not_grow(void **state) {
  size_t len = 5 << 20;
  char *text = malloc(len);
  memset(text, 'x', len);
  memcpy(text, "a\n\"", 3);
  memcpy(text + len - 4, "\"\nb\n", 4);
  put_file(text, len);
  free(text);
  cxb_csv csv;
  assert_int_equal(cxb_csv_open(&csv, path), 0);
  assert_int_equal(cxb_csv_next(&csv), CXB_CSV_ROW);
  assert_int_equal(cxb_csv_next(&csv), CXB_CSV_ROW);
  assert_true(csv.too_long);
  assert_in_range(csv.text.cap, 0, 16384);
  assert_int_equal(cxb_csv_next(&csv), CXB_CSV_ROW);
  assert_false(csv.too_long);
  cxb_csv_close(&csv);
  char commas[202];
  memset(commas, ',', sizeof commas);
  put_file(commas, sizeof commas);
  assert_int_equal(cxb_csv_open(&csv, path), 0);
  assert_int_equal(cxb_csv_next(&csv), CXB_CSV_ROW);
  assert_true(csv.too_many);
  assert_int_equal(csv.count, CXB_CSV_COLUMNS_MAX);
  assert_true(csv.blank);
  cxb_csv_close(&csv);
}

static const cxb_import_options options = {
    .path = path, .region = "IN", .zone = "UTC", .zoneinfo = "/usr/share/zoneinfo", .max_rows = 5};

static cxb_import *open_text(const char *text, cxb_import_refusal *refusal, int *err) {
  put_file(text, strlen(text));
  cxb_import *import = NULL;
  *err = cxb_import_open(&options, &import, refusal);
  return import;
}

static void headers_are_judged(void **state) {
  static const struct {
    const char *text, *code;
  } cases[] = {
      {"", "csv_header"},
      {"\n\n", "csv_header"},
      {"name,city\n", "csv_missing_column"},
      {"phone_number,_skip_post_push\n", "csv_reserved_column"},
      {"phone_number,name,name\n", "csv_header"},
      {"phone_number,1st\n", "csv_header"},
      {"phone_number,\n", "csv_header"},
      {"phone_number,caf\xC3\xA9\n", "csv_header"},
      {"phone_number,\xE9\n", "csv_encoding"},
      {"phone_number,\"x\n", "csv_quote"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cxb_import_refusal refusal = {0};
    int err;
    open_text(cases[i].text, &refusal, &err);
    assert_int_equal(err, CXB_EINVAL);
    assert_string_equal(refusal.code, cases[i].code);
  }
}

static void scan_all(cxb_import *import) {
  cxb_import_refusal refusal;
  bool done = false;
  while (!done)
    assert_int_equal(cxb_import_scan(import, 2, &done, &refusal), 0);
}

static const char list[] =
    "phone_number,name,timezone,external_id\n"
    "98765 43210,=1+1,Europe/Berlin,\"x\"\"1\"\n"
    "12345,Short\n"
    "\n"
    "+919876543210,Again\n"
    "+14155552671,,Mars/Base,,\n"
    "+442079460000,Extra,,,more\n"
    "9812345678,Over\n";

static void rows_are_judged_and_counted(void **state) {
  cxb_import_refusal refusal;
  int err;
  cxb_import *import = open_text(list, &refusal, &err);
  assert_int_equal(err, 0);
  scan_all(import);
  const cxb_import_counts *counts = cxb_import_result(import);
  assert_int_equal(counts->rows, 6);
  assert_int_equal(counts->good, 2);
  assert_int_equal(counts->invalid, 2);
  assert_int_equal(counts->duplicate, 1);
  assert_int_equal(counts->over_limit, 1);
  assert_int_equal(counts->unknown_timezone, 1);
  size_t n;
  const cxb_import_error *errors = cxb_import_errors(import, &n);
  assert_int_equal(n, 3);
  assert_int_equal(errors[0].line, 3);
  assert_string_equal(errors[0].rule, "number");
  assert_string_equal(errors[0].value, "•••••");
  assert_string_equal(errors[1].rule, "duplicate");
  assert_int_equal(errors[1].line, 5);
  assert_string_equal(errors[1].value, "+91••••••3210");
  assert_string_equal(errors[2].rule, "columns");
  cxb_import_free(import);
}

static void good_rows_become_documents_in_the_order_of_the_file(void **state) {
  assert_int_equal(cxb_zones_load(CXB_SPEC_C_DIR "/../../lua/cxb/campaign/data/phone_zones.tsv"),
                   0);
  cxb_import_refusal refusal;
  int err;
  cxb_import *import = open_text(list, &refusal, &err);
  scan_all(import);
  cxb_import_suppress(import, "+14155552671");
  cxb_import_suppress(import, "+14155550000");
  cxb_import_bases bases = {"{\"campaign_id\":\"cmp_1\"", "{\"upload_id\":\"u\"", 1777021200000};
  cxb_buf contacts = {0}, rejects = {0};
  bool done = false;
  assert_int_equal(cxb_import_write(import, &bases, 100, &contacts, &rejects, &done), 0);
  assert_true(done);
  assert_non_null(strstr(contacts.data, "[[\"cc_019dbeb7a680000000"));
  assert_non_null(
      strstr(contacts.data,
             ",{\"campaign_id\":\"cmp_1\",\"phone_number\":\"+919876543210\",\"attempts_made\":0,"
             "\"attempt_seq\":0,\"status\":\"pending\",\"zone_key\":\"Europe/Berlin\","
             "\"timezone\":\"Europe/Berlin\",\"external_id\":\"x\\\"1\",\"variables\":{"
             "\"phone_number\":\"+919876543210\",\"name\":\"=1+1\"}}],[\"cc_"));
  assert_non_null(strstr(contacts.data,
                         "\"status\":\"dnc\",\"last_outcome\":\"dnc\","
                         "\"zone_key\":\"America/Los_Angeles\",\"variables\""));
  assert_non_null(strstr(rejects.data, "{\"upload_id\":\"u\",\"line\":3,\"rule\":\"number\","));
  assert_int_equal(cxb_import_result(import)->dnc, 1);
  cxb_buf_free(&contacts);
  cxb_buf_free(&rejects);
  cxb_import_free(import);
}

static void numbers_are_marked_by_prefix(void **state) {
  cxb_import_refusal refusal;
  int err;
  cxb_import *import =
      open_text("phone_number\n9876543210\n9876543211\n+14155552671\n", &refusal, &err);
  scan_all(import);
  const char *prefixes[] = {"+919876", "+14155552671", "+2", "+915"};
  assert_int_equal(cxb_import_suppress_prefixes(import, prefixes, 2), 0);
  assert_int_equal(cxb_import_result(import)->dnc, 3);
  assert_int_equal(cxb_import_result(import)->good, 0);
  cxb_import_free(import);
}

static void many_numbers_are_told_apart(void **state) {
  FILE *f = fopen(path, "wb");
  fputs("phone_number\n", f);
  for (int i = 0; i < 6000; i++)
    fprintf(f, "98%08d\n", i % 5000 * 7919);
  fclose(f);
  cxb_import_options all = options;
  all.max_rows = 500000;
  cxb_import *import;
  cxb_import_refusal refusal;
  assert_int_equal(cxb_import_open(&all, &import, &refusal), 0);
  scan_all(import);
  assert_int_equal(cxb_import_result(import)->good, 5000);
  assert_int_equal(cxb_import_result(import)->duplicate, 1000);
  cxb_import_free(import);
}

int main(void) {
  int fd = mkstemp(path);
  close(fd);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_are_read_as_spreadsheets_write_them),
      cmocka_unit_test(what_is_broken_is_told_by_its_line),
      cmocka_unit_test(cells_and_columns_have_limits_and_memory_does_not_grow),
      cmocka_unit_test(headers_are_judged),
      cmocka_unit_test(rows_are_judged_and_counted),
      cmocka_unit_test(good_rows_become_documents_in_the_order_of_the_file),
      cmocka_unit_test(numbers_are_marked_by_prefix),
      cmocka_unit_test(many_numbers_are_told_apart),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  unlink(path);
  return failed;
}
