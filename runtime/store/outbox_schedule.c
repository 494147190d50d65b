/* The rules of delivery (contract in outbox_schedule.h). */
#include "outbox_schedule.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../base/crypto.h"
#include "../base/err.h"

cxb_outbox_verdict cxb_outbox_judge(int err, int status) {
  if (err)
    return CXB_OUTBOX_RETRY;
  if (status >= 200 && status < 300)
    return CXB_OUTBOX_DONE;
  bool later = status == 408 || status == 425 || status == 429;
  return status >= 400 && status < 500 && !later ? CXB_OUTBOX_DEAD : CXB_OUTBOX_RETRY;
}

int64_t cxb_outbox_delay(int failures, double chance) {
  int64_t top = failures < 9 ? 1000LL << (failures < 0 ? 0 : failures) : CXB_OUTBOX_MAX_DELAY_MS;
  if (top > CXB_OUTBOX_MAX_DELAY_MS)
    top = CXB_OUTBOX_MAX_DELAY_MS;
  return (int64_t)(chance * (double)top);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT"; seconds since 1970 or -1. */
static int64_t http_date(const char *text) {
  struct tm tm = {0};
  const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
  return end && *end == '\0' ? (int64_t)timegm(&tm) : -1;
}

int64_t cxb_outbox_retry_after(const char *value, int64_t utc_ms) {
  if (!value)
    return 0;
  while (*value == ' ')
    value++;
  int64_t ms = 0;
  if (isdigit((unsigned char)*value)) {
    char *end;
    long long s = strtoll(value, &end, 10);
    while (*end == ' ')
      end++;
    if (*end)
      return 0;
    ms = s > CXB_OUTBOX_MAX_RETRY_AFTER_MS / 1000 ? CXB_OUTBOX_MAX_RETRY_AFTER_MS : s * 1000;
  } else {
    int64_t at = http_date(value);
    ms = at < 0 ? 0 : at * 1000 - utc_ms;
  }
  if (ms < 0)
    return 0;
  return ms > CXB_OUTBOX_MAX_RETRY_AFTER_MS ? CXB_OUTBOX_MAX_RETRY_AFTER_MS : ms;
}

int64_t cxb_outbox_remaining(int64_t set_ms, int64_t due_ms, int64_t utc_ms) {
  int64_t delay = due_ms - set_ms, elapsed = utc_ms - set_ms;
  if (delay < 0)
    delay = 0;
  if (delay > CXB_OUTBOX_MAX_RETRY_AFTER_MS)
    delay = CXB_OUTBOX_MAX_RETRY_AFTER_MS;
  if (elapsed < 0)
    return delay > CXB_OUTBOX_MAX_DELAY_MS ? CXB_OUTBOX_MAX_DELAY_MS : delay;
  return elapsed >= delay ? 0 : delay - elapsed;
}

static const char *after(const char *url, const char *scheme) {
  size_t n = strlen(scheme);
  return strncmp(url, scheme, n) == 0 ? url + n : NULL;
}

size_t cxb_outbox_destination(const char *url, const char **start) {
  const char *p;
  *start = url;
  if ((p = after(url, "http+unix:")))
    return (size_t)(p - url) + strcspn(p, ":");
  if ((p = after(url, "file:")))
    return (size_t)(p - url);
  p = strstr(url, "//");
  if (!p)
    return strlen(url);
  p += 2;
  size_t len = strcspn(p, "/?#");
  const char *user = memchr(p, '@', len);
  if (user) { /* a name and password are no part of where it goes, nor of what is kept of it */
    len -= (size_t)(user + 1 - p);
    *start = user + 1;
    return len;
  }
  return (size_t)(p - url) + len;
}

int cxb_outbox_check_url(const char *url) {
  const char *rest = after(url, "file:");
  for (const char *p = url; *p; p++)
    if ((unsigned char)*p < ' ' || *p == 127 || (*p == ' ' && !rest))
      return CXB_EINVAL;
  if (rest)
    return *rest == '/' ? 0 : CXB_EINVAL;
  if ((rest = after(url, "http://")) || (rest = after(url, "https://")))
    return *rest && *rest != '/' ? 0 : CXB_EINVAL;
  if ((rest = after(url, "http+unix:")))
    return *rest == '/' && strchr(rest, ':') ? 0 : CXB_EINVAL;
  return CXB_EINVAL;
}

const char *cxb_outbox_stream(const char *kind) {
  static const char *const streams[][2] = {
      {"result", "result"}, {"handoff", "desk"}, {"event", "desk"}, {"upload", "upload"}};
  for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
    if (strcmp(kind, streams[i][0]) == 0)
      return streams[i][1];
  return NULL;
}

/* The rule of recording keys: other characters become "_", and 8 hex digits keep names apart. */
static int file_name(const char *session_id, char *out, size_t len) {
  size_t n = strlen(session_id);
  bool changed = n == 0 || session_id[0] == '.';
  if (n + 16 > len)
    return CXB_EINVAL;
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)session_id[i];
    bool good = (isalnum(c) && c < 128) || c == '_' || c == '-' || (c == '.' && i > 0);
    out[i] = good ? (char)c : '_';
    changed = changed || !good;
  }
  out[n] = '\0';
  if (changed) {
    uint8_t digest[32];
    cxb_sha256(session_id, n, digest);
    snprintf(out + n, len - n, "%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3]);
  }
  return 0;
}

int cxb_outbox_file_path(const char *url, const char *session_id, int64_t utc_ms, char *out,
                         size_t len) {
  const char *path = after(url, "file:");
  if (!path || *path != '/')
    return CXB_EINVAL;
  if (path[1] == '/' && path[2] == '/')
    path += 2; /* file:///path */
  size_t n = strlen(path);
  int written;
  if (n > 5 && strcmp(path + n - 5, ".json") == 0) {
    written = snprintf(out, len, "%s", path);
  } else {
    char name[300];
    int err = file_name(session_id, name, sizeof name);
    if (err)
      return err;
    time_t s = (time_t)(utc_ms / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    while (n > 1 && path[n - 1] == '/')
      n--;
    written = snprintf(out, len, "%.*s/%04d/%02d/%02d/%s.json", (int)n, path, tm.tm_year + 1900,
                       tm.tm_mon + 1, tm.tm_mday, name);
  }
  return written < 0 || (size_t)written >= len ? CXB_EINVAL : 0;
}
