/* observe/: metrics and the scoreboard of several processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "observe/metrics.h"
#include "observe/scoreboard.h"

static void a_series_needs_a_declared_family(void **state) {
  assert_int_equal(cxb_metric_add("cxb_unknown_total", "", 1), CXB_ENOENT);
  const double buckets[] = {0.1, 1};
  assert_int_equal(cxb_metric_declare("cxb_t_seconds", CXB_HISTOGRAM, "t", buckets, 2), 0);
  assert_int_equal(cxb_metric_declare("cxb_n_total", CXB_COUNTER, "n", NULL, 0), 0);
  assert_int_equal(cxb_metric_declare("cxb_m", CXB_GAUGE_MAX, "m", NULL, 0), 0);
}

static cxb_metric_block *kept[8]; /* one may still be the process's own */
static int kept_count;

static cxb_metric_block *block_of(uint32_t room) {
  cxb_metric_block *b = calloc(1, CXB_METRIC_BLOCK_SIZE(room));
  assert_non_null(b);
  b->room = room;
  kept[kept_count++] = b;
  return b;
}

static void rendering_sums_counters_and_takes_the_greatest_of_max_gauges(void **state) {
  cxb_metric_block *a = block_of(64), *b = block_of(64);
  cxb_metric_use(a);
  cxb_metric_add("cxb_n_total", "k=\"v\"", 2);
  cxb_metric_set("cxb_m", "", 7);
  cxb_metric_observe("cxb_t_seconds", "", 0.5);
  cxb_metric_block *blocks[] = {a, b};
  memcpy(b, a, CXB_METRIC_BLOCK_SIZE(64));
  cxb_metric_set("cxb_m", "", 3);
  cxb_buf out = {0};
  assert_int_equal(cxb_metric_render(&out, blocks, 2), 0);
  assert_non_null(strstr(out.data, "# TYPE cxb_n_total counter\ncxb_n_total{k=\"v\"} 4\n"));
  assert_non_null(strstr(out.data, "cxb_m 7\n"));
  assert_non_null(strstr(out.data, "cxb_t_seconds_bucket{le=\"0.1\"} 0\n"));
  assert_non_null(strstr(out.data, "cxb_t_seconds_bucket{le=\"1\"} 2\n"));
  assert_non_null(strstr(out.data, "cxb_t_seconds_bucket{le=\"+Inf\"} 2\n"));
  assert_non_null(strstr(out.data, "cxb_t_seconds_sum 1\n"));
  assert_non_null(strstr(out.data, "cxb_t_seconds_count 2\n"));
  cxb_buf_free(&out);
  cxb_metric_use(block_of(64)); /* what was counted moves on */
}

static void many_series_are_told_apart(void **state) {
  cxb_metric_block *b = block_of(4000);
  cxb_metric_use(b);
  char labels[32];
  for (int round = 0; round < 3; round++)
    for (int i = 0; i < 500; i++) {
      snprintf(labels, sizeof labels, "r=\"%d\"", i);
      assert_int_equal(cxb_metric_add("cxb_n_total", labels, i), 0);
      assert_int_equal(cxb_metric_observe("cxb_t_seconds", labels, i < 250 ? 0.05 : 5), 0);
    }
  cxb_buf out = {0};
  assert_int_equal(cxb_metric_render(&out, &b, 1), 0);
  assert_non_null(strstr(out.data, "cxb_n_total{r=\"499\"} 1497\n"));
  assert_non_null(strstr(out.data, "cxb_t_seconds_bucket{r=\"7\",le=\"0.1\"} 3\n"));
  assert_non_null(strstr(out.data, "cxb_t_seconds_bucket{r=\"499\",le=\"1\"} 0\n"));
  assert_non_null(strstr(out.data, "cxb_t_seconds_count{r=\"499\"} 3\n"));
  cxb_buf_free(&out);
}

static void a_full_block_refuses_and_counts(void **state) {
  cxb_metric_block *small = block_of(3000);
  cxb_metric_use(small);
  small->used = small->room;
  assert_int_equal(cxb_metric_add("cxb_n_total", "x=\"y\"", 1), CXB_ENOSPC);
  assert_int_equal(cxb_metric_observe("cxb_t_seconds", "x=\"y\"", 1), CXB_ENOSPC);
  assert_true(small->refused > 0);
  small->used = 0;
  cxb_metric_use(block_of(CXB_METRIC_SERIES));
}

static char path[64];

static void a_row_belongs_to_one_process_and_goes_with_it(void **state) {
  snprintf(path, sizeof path, "/tmp/cxb-test-sb-%d", (int)getpid());
  int ready[2];
  assert_int_equal(pipe(ready), 0);
  pid_t pid = fork();
  if (pid == 0) {
    cxb_scoreboard *mine;
    char ok =
        cxb_scoreboard_open(path, &mine) == 0 && cxb_scoreboard_attach(mine, 3) == 0 ? 'y' : 'n';
    cxb_scoreboard_own(mine)->calls = 1;
    if (write(ready[1], &ok, 1) != 1)
      _exit(1);
    pause();
    _exit(0);
  }
  char ok = 0;
  assert_int_equal(read(ready[0], &ok, 1), 1);
  assert_int_equal(ok, 'y');
  cxb_scoreboard *sb;
  cxb_scoreboard_row row;
  assert_int_equal(cxb_scoreboard_open(path, &sb), 0);
  assert_int_equal(cxb_scoreboard_attach(sb, 3), CXB_EBUSY);
  assert_true(cxb_scoreboard_row_get(sb, 3, &row));
  assert_int_equal(row.pid, pid);
  assert_int_equal(row.calls, 1);
  assert_false(cxb_scoreboard_row_get(sb, 2, &row));
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  assert_false(cxb_scoreboard_row_get(sb, 3, &row));
  assert_int_equal(cxb_scoreboard_attach(sb, 3), 0);
  assert_true(cxb_scoreboard_row_get(sb, 3, &row));
  cxb_scoreboard_own(sb)->heartbeat_ms -= CXB_SCOREBOARD_STALE_MS + 1;
  assert_false(cxb_scoreboard_row_get(sb, 3, &row));
  cxb_scoreboard_close(sb);
}

/* The file's name has the layout's size behind the path. */
static void remove_files(glob_t *found) {
  char pattern[80];
  snprintf(pattern, sizeof pattern, "%s*", path);
  assert_int_equal(glob(pattern, 0, NULL, found), 0);
  for (size_t i = 0; i < found->gl_pathc; i++)
    unlink(found->gl_pathv[i]);
}

static void a_file_of_another_program_is_refused(void **state) {
  glob_t found;
  remove_files(&found);
  assert_int_equal(found.gl_pathc, 1);
  FILE *f = fopen(found.gl_pathv[0], "w");
  fputs("something else", f);
  fclose(f);
  cxb_scoreboard *sb;
  assert_int_equal(cxb_scoreboard_open(path, &sb), CXB_ECORRUPT);
  globfree(&found);
  remove_files(&found);
  globfree(&found);
}

static void a_file_of_another_version_is_left_alone(void **state) {
  FILE *f = fopen(path, "w");
  fputs("of an older program", f);
  fclose(f);
  cxb_scoreboard *sb;
  assert_int_equal(cxb_scoreboard_open(path, &sb), 0);
  cxb_scoreboard_close(sb);
  glob_t found;
  remove_files(&found);
  assert_int_equal(found.gl_pathc, 2);
  globfree(&found);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_series_needs_a_declared_family),
      cmocka_unit_test(rendering_sums_counters_and_takes_the_greatest_of_max_gauges),
      cmocka_unit_test(many_series_are_told_apart),
      cmocka_unit_test(a_full_block_refuses_and_counts),
      cmocka_unit_test(a_row_belongs_to_one_process_and_goes_with_it),
      cmocka_unit_test(a_file_of_another_program_is_refused),
      cmocka_unit_test(a_file_of_another_version_is_left_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
