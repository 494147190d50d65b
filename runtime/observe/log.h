/* Structured log: one JSON object a line on stderr, at most 200 lines a second a process (errors
 * always); how many were dropped is said by the next line that is not. A line is ts, level, msg,
 * the process's context, generation, the task's tags, the fields; an error also says code, file and
 * line. */
#pragma once
#include <stdint.h>

#include "../base/export.h"

typedef enum { CXB_LOG_DEBUG, CXB_LOG_INFO, CXB_LOG_WARN, CXB_LOG_ERROR } cxb_log_level;

void cxb_log_set_level(cxb_log_level level);
/* "debug", "info", "warn", "error"; CXB_EINVAL otherwise. */
int cxb_log_level_parse(const char *name, cxb_log_level *out);
int cxb_log_enabled(cxb_log_level level);
/* Fields of every line: a JSON fragment without braces such as "service":"core"; copied. */
void cxb_log_context(const char *fragment);
/* The generation that serves, in every line from now on; 0: none yet. */
void cxb_log_generation(int number);
/* One line. `tags` and `fields` are JSON fragments as above, or NULL. From any thread. */
void cxb_log_write(cxb_log_level level, const char *tags, const char *fields, const char *msg);
/* The same of a task of `generation`. */
void cxb_log_write_of(int generation, cxb_log_level level, const char *tags, const char *fields,
                      const char *msg);
/* An error of a script that nobody caught: message and traceback as Lua gives them ("file:12: why",
 * lines). `code` is why it ended; the line's msg is "why", behind `what: ` unless that is NULL.
 * `generation` 0: the one that serves. */
void cxb_log_failure(int generation, const char *tags, const char *code, const char *what,
                     const char *error);
/* One line without fields; an error says where in the program it was written. */
#define cxb_logf(level, ...) cxb_log_at(level, __FILE__, __LINE__, __VA_ARGS__)
CXB_EXPORT void cxb_log_at(cxb_log_level level, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
