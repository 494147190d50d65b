/* What a durable commit of the outbox costs: a 2 KiB row from put() to its callback, through the
 * writer's thread, against a bare append + fdatasync of as many bytes on the same disk, by turns in
 * one run; and 32 rows put in one turn of the loop, which share a commit.
 *   build/bench/commit [folder]     (default: the working directory) */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/time.h"
#include "host/host.h"
#include "store/outbox.h"

const cxb_module *const cxb_modules[] = {NULL};
const int cxb_modules_count = 0;

enum { ROW = 2048, ROUNDS = 2000, GROUPS = 400, GROUP = 32 };

static uv_loop_t loop;
static cxb_outbox *box;
static char body[ROW];
static int session, waiting;

/* The receiver stays silent, so that after a few rows only commits are measured. */
static int no_answer(uv_loop_t *at, const cxb_outbox_attempt *attempt, cxb_outbox_replied replied,
                     void *arg, void **flight) {
  (void)at;
  (void)attempt;
  (void)replied;
  (void)arg;
  (void)flight;
  return 0;
}

static void on_opened(void *arg, cxb_outbox *opened, int err, const char *code,
                      const char *message) {
  (void)arg;
  (void)code;
  if (err) {
    fprintf(stderr, "%s\n", message);
    exit(1);
  }
  box = opened;
}

static void on_put(void *arg, int64_t id, int err, const char *code, const char *message) {
  (void)arg;
  (void)id;
  (void)code;
  if (err) {
    fprintf(stderr, "%s\n", message);
    exit(1);
  }
  waiting--;
}

static void put(int count) {
  for (int i = 0; i < count; i++) {
    char name[32];
    snprintf(name, sizeof name, "session-%08d", session++);
    cxb_outbox_new row = {.kind = "result",
                          .session_id = name,
                          .url = "http://silent/",
                          .body = body,
                          .body_len = sizeof body};
    if (cxb_outbox_put(box, &row, on_put, NULL) != 0)
      exit(1);
    waiting++;
  }
  while (waiting > 0)
    uv_run(&loop, UV_RUN_ONCE);
}

static int by_value(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

static double ms(int64_t *times, int n, double part) {
  qsort(times, (size_t)n, sizeof *times, by_value);
  return (double)times[(int)(part * (n - 1))] / 1e6;
}

static void append(int fd) {
  if (write(fd, body, sizeof body) != sizeof body || fdatasync(fd) != 0)
    exit(1);
}

int main(int argc, char **argv) {
  static int64_t commits[ROUNDS], bare[ROUNDS], groups[GROUPS];
  char folder[256], path[300], command[300];
  snprintf(folder, sizeof folder, "%s/commit-bench-XXXXXX", argc > 1 ? argv[1] : ".");
  if (!mkdtemp(folder) || uv_loop_init(&loop) != 0)
    return 1;
  memset(body, 'x', sizeof body);
  snprintf(path, sizeof path, "%s/bare", folder);
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
  snprintf(path, sizeof path, "%s/outbox.db", folder);
  cxb_outbox_options options = {.post = no_answer};
  cxb_outbox_open(&loop, path, &options, on_opened, NULL);
  while (!box)
    uv_run(&loop, UV_RUN_ONCE);
  for (int i = 0; i < 20; i++)
    put(1);
  for (int i = 0; i < ROUNDS; i++) {
    int64_t from = cxb_mono_ns();
    append(fd);
    int64_t between = cxb_mono_ns();
    put(1);
    commits[i] = cxb_mono_ns() - between;
    bare[i] = between - from;
  }
  for (int i = 0; i < GROUPS; i++) {
    int64_t from = cxb_mono_ns();
    put(GROUP);
    groups[i] = cxb_mono_ns() - from;
  }
  double c50 = ms(commits, ROUNDS, .5), c99 = ms(commits, ROUNDS, .99);
  double b50 = ms(bare, ROUNDS, .5), b99 = ms(bare, ROUNDS, .99);
  double g50 = ms(groups, GROUPS, .5), g99 = ms(groups, GROUPS, .99);
  printf("2 KiB append + fdatasync:     p50 %.3f ms, p99 %.3f ms\n", b50, b99);
  printf("2 KiB outbox row, committed:  p50 %.3f ms, p99 %.3f ms\n", c50, c99);
  printf("32 such rows in one commit:   p50 %.3f ms, p99 %.3f ms, %.0f rows/s\n", g50, g99,
         GROUP / g50 * 1000);
  printf(
      "= durable commit of an outbox row vs write+fdatasync: %.2f× at p50, %.2f× at p99 "
      "(aim <= 1.8×)\n",
      c50 / b50, c99 / b99);
  printf("= 32 rows in one commit vs one row: %.2f×\n", g50 / c50);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command) == 0 ? 0 : 1;
}
