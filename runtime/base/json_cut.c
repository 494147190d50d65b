/* Finds one string member by the events of the JSON reader, which builds nothing. */
#include "json_cut.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base64.h"
#include "err.h"
#include "json_read.h"

enum { STEPS = 8 };

typedef struct search {
  const char *path[STEPS]; /* what is left of it in each object on it */
  int depth, inside;       /* levels that are open; of them on the path */
  bool meant, found;       /* meant: the value that comes is the path's next step */
  cxb_json_span *out;
} search;

/* The step that is looked for in the innermost object on the path. */
static const char *step_of(const search *s, size_t *len) {
  const char *step = s->path[s->inside - 1];
  *len = strcspn(step, ".");
  return step;
}

/* A value that is no object on the path: the text itself has to be one. */
static bool passed(search *s) {
  s->meant = false;
  return s->depth > 0;
}

static bool on_null(void *arg) {
  return passed(arg);
}

static bool on_boolean(void *arg, bool value) {
  (void)value;
  return passed(arg);
}

static bool on_number(void *arg, double value) {
  (void)value;
  return passed(arg);
}

static bool on_string(void *arg, const cxb_json_string *string) {
  search *s = arg;
  if (s->depth == 0)
    return false;
  size_t len;
  const char *step = step_of(s, &len);
  if (string->key) {
    s->meant = s->depth == s->inside && len == string->len && memcmp(step, string->text, len) == 0;
    return true;
  }
  if (s->meant && !step[len] && !s->found) {
    *s->out = (cxb_json_span){string->at, string->span};
    s->found = true;
  }
  return passed(s);
}

static bool on_begin(void *arg, bool object, size_t at) {
  search *s = arg;
  (void)at;
  if (s->depth == 0) {
    s->depth = s->inside = 1;
    return object;
  }
  size_t len;
  const char *step = step_of(s, &len);
  if (s->meant && object && step[len] && s->inside < STEPS)
    s->path[s->inside++] = step + len + 1;
  s->depth++;
  return passed(s);
}

static bool on_end(void *arg, bool object, size_t count, size_t at) {
  search *s = arg;
  (void)object;
  (void)count;
  (void)at;
  if (s->depth-- == s->inside)
    s->inside--;
  return true;
}

int cxb_json_find(const char *text, size_t len, const char *path, cxb_json_span *out) {
  static const cxb_json_events events = {.null = on_null,
                                         .boolean = on_boolean,
                                         .number = on_number,
                                         .string = on_string,
                                         .begin = on_begin,
                                         .end = on_end};
  cxb_json_span span = {0, 0};
  cxb_json_fault fault;
  search s = {.path = {path}, .out = &span};
  cxb_buf room = {0};
  int err = cxb_json_read(text, len, CXB_JSON_DEPTH, &events, &s, &room, &fault);
  cxb_buf_free(&room);
  if (err || !s.found)
    return 0;
  *out = span;
  return 1;
}

long cxb_json_bytes(char *text, const cxb_json_span *span) {
  char *s = text + span->at;
  size_t n = 0;
  if (memchr(s, '\\', span->len)) {
    for (size_t i = 0; i < span->len; i++) {
      if (s[i] == '\\' && s[++i] != '/')
        return CXB_EINVAL;
      s[n++] = s[i];
    }
  } else {
    n = span->len;
  }
  return cxb_base64_decode(s, s, n, false); /* each four are read before their three are written */
}

size_t cxb_json_put_number(char *text, size_t len, const cxb_json_span *span, long number) {
  char digit[24];
  size_t n = (size_t)snprintf(digit, sizeof digit, "%ld", number), from = span->at - 1;
  size_t behind = span->at + span->len + 1;
  memcpy(text + from, digit, n);
  memmove(text + from + n, text + behind, len - behind);
  return len - (behind - from) + n;
}
