/* What the store tests share: a loop, a folder of their own, waiting with a deadline, SQL in one
 * line. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/err.h"
#include "base/time.h"

static uv_loop_t loop;
static char folder[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
  (void)st;
  (void)type;
  (void)at;
  return remove(path);
}

static inline int set_up_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/cxb-store-XXXXXX");
  return mkdtemp(folder) && uv_loop_init(&loop) == 0 ? 0 : -1;
}

static inline int remove_folder(void **state) {
  (void)state;
  nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  return 0;
}

/* A name in the folder; a few can be in use at a time. */
static inline const char *in_folder(const char *name) {
  static char paths[8][256];
  static int turn;
  char *out = paths[turn++ % 8];
  snprintf(out, sizeof paths[0], "%s/%s", folder, name);
  return out;
}

/* Turns the loop until *flag, at most 20 s. */
static inline void run_until(const volatile bool *flag) {
  int64_t until = cxb_mono_ms() + 20000;
  while (!*flag && cxb_mono_ms() < until) {
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(100);
  }
  assert_true(*flag);
}

/* Until no handle is left. */
static inline void run_dry(void) {
  int64_t until = cxb_mono_ms() + 20000;
  while (uv_loop_alive(&loop) && cxb_mono_ms() < until) {
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(100);
  }
  assert_false(uv_loop_alive(&loop));
}
