/* When and whether an outbox row is sent again: no clock, no disk, no socket. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum {
  CXB_OUTBOX_MAX_DELAY_MS = 300000,
  CXB_OUTBOX_MAX_RETRY_AFTER_MS = 3600000,
  CXB_OUTBOX_CONNECT_MS = 3000,
  CXB_OUTBOX_TOTAL_MS = 15000,
  CXB_OUTBOX_BREAK_AFTER = 5, /* failures in a row until a destination gets one probe at a time */
};
#define CXB_OUTBOX_MAX_AGE_MS  (7 * 86400000LL)
#define CXB_OUTBOX_MAX_WORK_MS (15 * 60000LL) /* in `analysis`, whatever its workers do */

typedef enum { CXB_OUTBOX_DONE, CXB_OUTBOX_RETRY, CXB_OUTBOX_DEAD } cxb_outbox_verdict;

/* 2xx done; no answer, 1xx, 3xx, 408, 425, 429, 5xx again; other 4xx dead. */
cxb_outbox_verdict cxb_outbox_judge(int err, int status);
/* Full jitter: uniform in 0 … min(300 s, 1 s × 2ⁿ), n = failures before this one; chance in [0, 1).
 */
int64_t cxb_outbox_delay(int failures, double chance);
/* Milliseconds of a Retry-After value (seconds or an HTTP date), at most one hour; 0 when absent,
 * past or malformed. */
int64_t cxb_outbox_retry_after(const char *value, int64_t utc_ms);
/* What is left of a stored delay. A clock that was set back since is not believed: at most 300 s.
 */
int64_t cxb_outbox_remaining(int64_t set_ms, int64_t due_ms, int64_t utc_ms);
/* The part of a URL that fails together: scheme, host and port, or the socket. Length of it. */
size_t cxb_outbox_destination(const char *url, const char **start);
/* http, https, http+unix or file. */
int cxb_outbox_check_url(const char *url); /* 0 or CXB_EINVAL */
/* "result", "desk" or "upload"; NULL: no kind of ours. */
const char *cxb_outbox_stream(const char *kind);
/* Where a row to `file:…` goes: the path itself when it ends in .json, else
 * <path>/YYYY/MM/DD/<session>.json (UTC day). CXB_EINVAL: too long or not absolute. */
int cxb_outbox_file_path(const char *url, const char *session_id, int64_t utc_ms, char *out,
                         size_t len);
