/* Structured log. */
#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/buf.h"
#include "../base/err.h"
#include "../base/time.h"

enum { LINES_PER_SECOND = 200 };

static const char *const names[] = {"debug", "info", "warn", "error"};
static _Atomic int threshold = CXB_LOG_INFO;
static char context[256];
static _Atomic int64_t window;
static _Atomic uint64_t in_window, dropped;

void cxb_log_set_level(cxb_log_level level) {
  threshold = (int)level;
}

int cxb_log_level_parse(const char *name, cxb_log_level *out) {
  for (int i = 0; i < 4; i++)
    if (strcmp(name, names[i]) == 0) {
      *out = (cxb_log_level)i;
      return 0;
    }
  return CXB_EINVAL;
}

int cxb_log_enabled(cxb_log_level level) {
  return (int)level >= threshold;
}

void cxb_log_context(const char *fragment) {
  snprintf(context, sizeof context, "%s", fragment);
}

uint64_t cxb_log_dropped(void) {
  return dropped;
}

static int over_rate(void) {
  int64_t second = cxb_mono_ms() / 1000;
  if (atomic_exchange(&window, second) != second)
    in_window = 0;
  if (atomic_fetch_add(&in_window, 1) < LINES_PER_SECOND)
    return 0;
  dropped++;
  return 1;
}

void cxb_log_write(cxb_log_level level, const char *tags, const char *fields, const char *msg) {
  if (!cxb_log_enabled(level) || (level < CXB_LOG_ERROR && over_rate()))
    return;
  cxb_buf line = {0};
  char ts[CXB_ISO_LEN];
  cxb_iso_time(ts, cxb_now_ms());
  cxb_buf_printf(&line, "{\"ts\":\"%s\",\"level\":\"%s\",\"msg\":", ts, names[level]);
  cxb_buf_json(&line, msg, strlen(msg));
  const char *const parts[] = {context, tags, fields};
  for (int i = 0; i < 3; i++)
    if (parts[i] && *parts[i])
      cxb_buf_printf(&line, ",%s", parts[i]);
  cxb_buf_str(&line, "}\n");
  if (line.data && write(STDERR_FILENO, line.data, line.len) < 0) {
    /* Nobody reads our errors: there is nowhere left to say so. */
  }
  cxb_buf_free(&line);
}

void cxb_logf(cxb_log_level level, const char *fmt, ...) {
  if (!cxb_log_enabled(level))
    return;
  va_list ap;
  va_start(ap, fmt);
  char *msg = NULL;
  int n = vasprintf(&msg, fmt, ap);
  va_end(ap);
  if (n < 0)
    return;
  cxb_log_write(level, NULL, NULL, msg);
  free(msg);
}
