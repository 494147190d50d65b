/* A strict scanner for plain JSON objects (RFC 8259, no escapes). */
#include "wire_scan.h"

#include <stdint.h>
#include <string.h>

typedef struct scan {
  const char *at, *end;
  cxb_scan *wanted;
  size_t count;
} scan;

typedef struct span {
  const char *text;
  size_t len;
} span;

static bool blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip(scan *s) {
  while (s->at < s->end && blank(*s->at))
    s->at++;
}

/* The next character that is no blank, taken when it is `c`. */
static bool take(scan *s, char c) {
  skip(s);
  if (s->at == s->end || *s->at != c)
    return false;
  s->at++;
  return true;
}

/* A byte of `eight` that ends a plain run of text: not ASCII, a control character, DEL, '"', '\\'.
 * https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord */
static bool special(uint64_t eight) {
  const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
  uint64_t quote = eight ^ ones * '"', slash = eight ^ ones * '\\', del = eight ^ ones * 0x7f;
  return (eight | (eight - ones * 0x20) | (quote - ones) | (slash - ones) | (del - ones)) & tops;
}

static bool take_string(scan *s, span *out) {
  uint64_t eight;
  if (!take(s, '"'))
    return false;
  out->text = s->at;
  while (s->end - s->at >= 8 && (memcpy(&eight, s->at, 8), !special(eight)))
    s->at += 8;
  while (s->at < s->end && *s->at != '"') {
    unsigned char c = (unsigned char)*s->at;
    if (c == '\\' || c < 0x20 || c >= 0x7f)
      return false;
    s->at++;
  }
  if (s->at == s->end)
    return false;
  out->len = (size_t)(s->at++ - out->text);
  return true;
}

/* An integer of at most 15 digits: anything else takes the long way. */
static bool take_number(scan *s) {
  const char *from = s->at;
  if (s->at < s->end && *s->at == '-')
    s->at++;
  const char *digits = s->at;
  while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
    s->at++;
  size_t n = (size_t)(s->at - digits);
  return s->at > from && n > 0 && n <= 15 && (n == 1 || *digits != '0');
}

static bool take_word(scan *s) {
  static const char *const words[] = {"true", "false", "null"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    size_t n = strlen(words[i]);
    if ((size_t)(s->end - s->at) >= n && memcmp(s->at, words[i], n) == 0) {
      s->at += n;
      return true;
    }
  }
  return false;
}

static bool same(const char *word, span name) {
  return strlen(word) == name.len && memcmp(word, name.text, name.len) == 0;
}

/* Remembers the value of a wanted member; `value` NULL: it is no string. */
static void note(scan *s, const span *outer, span name, const span *value) {
  for (size_t i = 0; i < s->count; i++) {
    cxb_scan *w = &s->wanted[i];
    if ((w->outer != NULL) != (outer != NULL) || !same(w->name, name) ||
        (outer && !same(w->outer, *outer)))
      continue;
    w->value = value ? value->text : NULL;
    w->len = value ? value->len : 0;
  }
}

/* The message's own member `name` comes (again): what an earlier one held is forgotten. */
static void forget(scan *s, span name) {
  for (size_t i = 0; i < s->count; i++)
    if (s->wanted[i].outer && same(s->wanted[i].outer, name))
      s->wanted[i].value = NULL;
}

static bool take_object(scan *s, const span *outer, int depth);

static bool take_value(scan *s, const span *outer, span name, int depth) {
  span value;
  skip(s);
  if (s->at == s->end)
    return false;
  if (depth == 1)
    forget(s, name);
  switch (*s->at) {
  case '"':
    if (!take_string(s, &value))
      return false;
    if (depth <= 2)
      note(s, outer, name, &value);
    return true;
  case '{':
    if (depth == CXB_SCAN_DEPTH || !take_object(s, &name, depth + 1))
      return false;
    break;
  case '-':
  case '0':
  case '1':
  case '2':
  case '3':
  case '4':
  case '5':
  case '6':
  case '7':
  case '8':
  case '9':
    if (!take_number(s))
      return false;
    break;
  default: /* arrays, too, take the long way */
    if (!take_word(s))
      return false;
  }
  if (depth <= 2)
    note(s, outer, name, NULL);
  return true;
}

/* `outer`: the name of the member this object is, when it is one of the message's own. */
static bool take_object(scan *s, const span *outer, int depth) {
  if (!take(s, '{'))
    return false;
  if (take(s, '}'))
    return true;
  do {
    span name;
    if (!take_string(s, &name) || !take(s, ':') || !take_value(s, outer, name, depth))
      return false;
  } while (take(s, ','));
  return take(s, '}');
}

bool cxb_scan_object(const char *data, size_t len, cxb_scan *wanted, size_t count) {
  scan s = {data, data + len, wanted, count};
  for (size_t i = 0; i < count; i++)
    wanted[i].value = NULL;
  if (!take_object(&s, NULL, 1))
    return false;
  skip(&s);
  return s.at == s.end;
}

bool cxb_scan_is(const cxb_scan *found, const char *word) {
  return found->value && strlen(word) == found->len && memcmp(word, found->value, found->len) == 0;
}
