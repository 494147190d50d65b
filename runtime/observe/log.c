/* Structured log. */
#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
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
static _Atomic int serving;
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

static int over_rate(void) {
  int64_t second = cxb_mono_ms() / 1000;
  if (atomic_exchange(&window, second) != second)
    in_window = 0;
  if (atomic_fetch_add(&in_window, 1) < LINES_PER_SECOND)
    return 0;
  dropped++;
  return 1;
}

void cxb_log_generation(int number) {
  serving = number;
}

static void write_line(int generation, cxb_log_level level, const char *tags, const char *fields,
                       const char *msg) {
  cxb_buf line = {0};
  char ts[CXB_ISO_LEN], number[32] = "";
  if (generation > 0)
    snprintf(number, sizeof number, "\"generation\":%d", generation);
  cxb_iso_time(ts, cxb_now_ms());
  cxb_buf_printf(&line, "{\"ts\":\"%s\",\"level\":\"%s\",\"msg\":", ts, names[level]);
  cxb_buf_json(&line, msg, strlen(msg));
  const char *const parts[] = {context, number, tags, fields};
  for (int i = 0; i < 4; i++)
    if (parts[i] && *parts[i])
      cxb_buf_printf(&line, ",%s", parts[i]);
  cxb_buf_str(&line, "}\n");
  if (line.data && write(STDERR_FILENO, line.data, line.len) < 0) {
    /* Nobody reads our errors: there is nowhere left to say so. */
  }
  cxb_buf_free(&line);
}

void cxb_log_write_of(int generation, cxb_log_level level, const char *tags, const char *fields,
                      const char *msg) {
  if (!cxb_log_enabled(level) || (level < CXB_LOG_ERROR && over_rate()))
    return;
  uint64_t lost = level < CXB_LOG_ERROR ? atomic_exchange(&dropped, 0) : 0;
  if (lost) {
    char count[48];
    snprintf(count, sizeof count, "\"lines\":%llu", (unsigned long long)lost);
    write_line(serving, CXB_LOG_WARN, NULL, count, "log lines were dropped");
  }
  write_line(generation, level, tags, fields, msg);
}

void cxb_log_write(cxb_log_level level, const char *tags, const char *fields, const char *msg) {
  cxb_log_write_of(serving, level, tags, fields, msg);
}

static void add_place(cxb_buf *f, const char *file, size_t len, int line) {
  cxb_buf_str(f, ",\"file\":");
  cxb_buf_json(f, file, len);
  cxb_buf_printf(f, ",\"line\":%d", line);
}

/* "file:12: why" begins with its place: the length of the file's name and the line, or false. */
static bool split_place(const char *error, size_t len, size_t *file, long *line, const char **why) {
  size_t at = 0;
  while (at < len && !(error[at] == ':' && error[at + 1] >= '0' && error[at + 1] <= '9'))
    at++;
  if (at == len)
    return false;
  char *end;
  *file = at;
  *line = strtol(error + at + 1, &end, 10);
  *why = end + 1 + strspn(end + 1, " ");
  return *end == ':' && end < error + len;
}

void cxb_log_failure(int generation, const char *tags, const char *code, const char *what,
                     const char *error) {
  cxb_buf f = {0}, msg = {0};
  size_t len = strcspn(error, "\n"), file;
  long line;
  const char *why = error;
  cxb_buf_printf(&f, "\"code\":\"%s\"", code);
  if (split_place(error, len, &file, &line, &why))
    add_place(&f, error, file, (int)line);
  else
    why = error;
  if (error[len]) {
    cxb_buf_str(&f, ",\"trace\":");
    cxb_buf_json(&f, error + len + 1, strlen(error + len + 1));
  }
  cxb_buf_printf(&msg, "%s%s%.*s", what ? what : "", what ? ": " : "", (int)(error + len - why),
                 why);
  cxb_log_write_of(generation > 0 ? generation : serving, CXB_LOG_ERROR, tags, f.data,
                   msg.data ? msg.data : "");
  cxb_buf_free(&msg);
  cxb_buf_free(&f);
}

void cxb_log_at(cxb_log_level level, const char *file, int line, const char *fmt, ...) {
  if (!cxb_log_enabled(level))
    return;
  va_list ap;
  va_start(ap, fmt);
  char *msg = NULL;
  int n = vasprintf(&msg, fmt, ap);
  va_end(ap);
  if (n < 0)
    return;
  cxb_buf f = {0};
  if (level == CXB_LOG_ERROR) {
    const char *own = strstr(file, "runtime/"); /* not where it was built */
    own = own ? own : file;
    cxb_buf_str(&f, "\"code\":\"host\"");
    add_place(&f, own, strlen(own), line);
  }
  cxb_log_write(level, NULL, f.data, msg);
  cxb_buf_free(&f);
  free(msg);
}
