/* Structured log: one JSON object a line on stderr, at most 200 lines a second a process. */
#pragma once
#include <stdint.h>

typedef enum { CXB_LOG_DEBUG, CXB_LOG_INFO, CXB_LOG_WARN, CXB_LOG_ERROR } cxb_log_level;

void cxb_log_set_level(cxb_log_level level);
/* "debug", "info", "warn", "error"; CXB_EINVAL otherwise. */
int cxb_log_level_parse(const char *name, cxb_log_level *out);
int cxb_log_enabled(cxb_log_level level);
/* Fields of every line: a JSON fragment without braces such as "service":"core"; copied. */
void cxb_log_context(const char *fragment);
/* One line. `tags` and `fields` are JSON fragments as above, or NULL. From any thread. */
void cxb_log_write(cxb_log_level level, const char *tags, const char *fields, const char *msg);
void cxb_logf(cxb_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
uint64_t cxb_log_dropped(void);
