/* A walk over a JSON text (RFC 8259) that builds nothing. It is strict about structure, so that a
 * member is never taken for what only looks like one; what strings hold is left to their readers.
 */
#include "json_cut.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base64.h"
#include "err.h"

typedef struct walk {
  const char *text;
  size_t at, end;
  const char *path; /* what is left of it to look for; NULL: found, or not to be found here */
  cxb_json_span *out;
  bool found;
} walk;

static void skip(walk *w) {
  while (w->at < w->end && strchr(" \t\r\n", w->text[w->at]) && w->text[w->at])
    w->at++;
}

static bool take(walk *w, char c) {
  skip(w);
  if (w->at == w->end || w->text[w->at] != c)
    return false;
  w->at++;
  return true;
}

static bool take_string(walk *w, cxb_json_span *out) {
  if (!take(w, '"'))
    return false;
  out->at = w->at;
  while (w->at < w->end && w->text[w->at] != '"') {
    if ((unsigned char)w->text[w->at] < 0x20)
      return false;
    w->at += w->text[w->at] == '\\' ? 2 : 1;
  }
  if (w->at >= w->end)
    return false;
  out->len = w->at++ - out->at;
  return true;
}

static bool digits(walk *w) {
  size_t from = w->at;
  while (w->at < w->end && w->text[w->at] >= '0' && w->text[w->at] <= '9')
    w->at++;
  return w->at > from;
}

static bool take_number(walk *w) {
  if (w->text[w->at] == '-')
    w->at++;
  if (w->at < w->end && w->text[w->at] == '0')
    w->at++;
  else if (!digits(w))
    return false;
  if (w->at < w->end && w->text[w->at] == '.') {
    w->at++;
    if (!digits(w))
      return false;
  }
  if (w->at < w->end && (w->text[w->at] == 'e' || w->text[w->at] == 'E')) {
    w->at++;
    if (w->at < w->end && (w->text[w->at] == '+' || w->text[w->at] == '-'))
      w->at++;
    return digits(w);
  }
  return true;
}

static bool take_word(walk *w) {
  static const char *const words[] = {"true", "false", "null"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    size_t n = strlen(words[i]);
    if (w->end - w->at >= n && memcmp(w->text + w->at, words[i], n) == 0) {
      w->at += n;
      return true;
    }
  }
  return false;
}

static bool take_object(walk *w, const char *path, int depth);

static bool take_list(walk *w, int depth);

/* `path`: what to look for inside this value, "" for the value itself, NULL for nothing. */
static bool take_value(walk *w, const char *path, int depth) {
  skip(w);
  if (w->at == w->end || depth > CXB_JSON_DEPTH)
    return false;
  switch (w->text[w->at]) {
  case '{':
    return take_object(w, path && *path ? path : NULL, depth);
  case '[':
    return take_list(w, depth);
  case '"': {
    cxb_json_span span;
    if (!take_string(w, &span))
      return false;
    if (path && !*path && !w->found) {
      *w->out = span;
      w->found = true;
    }
    return true;
  }
  case 't':
  case 'f':
  case 'n':
    return take_word(w);
  default:
    return take_number(w);
  }
}

static bool take_list(walk *w, int depth) {
  if (!take(w, '['))
    return false;
  if (take(w, ']'))
    return true;
  do
    if (!take_value(w, NULL, depth + 1))
      return false;
  while (take(w, ','));
  return take(w, ']');
}

/* What of the path lies below the member `name`: "" when it is the member itself, NULL: elsewhere.
 */
static const char *below(const walk *w, const char *path, const cxb_json_span *name) {
  size_t step = path ? strcspn(path, ".") : 0;
  if (!path || step != name->len || memcmp(path, w->text + name->at, step) != 0)
    return NULL;
  return path[step] ? path + step + 1 : path + step;
}

static bool take_object(walk *w, const char *path, int depth) {
  if (!take(w, '{'))
    return false;
  if (take(w, '}'))
    return true;
  do {
    cxb_json_span name;
    if (!take_string(w, &name) || !take(w, ':') || !take_value(w, below(w, path, &name), depth + 1))
      return false;
  } while (take(w, ','));
  return take(w, '}');
}

int cxb_json_find(const char *text, size_t len, const char *path, cxb_json_span *out) {
  cxb_json_span span = {0, 0};
  walk w = {.text = text, .end = len, .out = &span};
  if (!take_object(&w, path, 1))
    return 0;
  skip(&w);
  if (w.at != w.end || !w.found)
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
