/* A reader that copies nothing: a string without escapes is told of where it stands, and bytes that
 * mean nothing are passed eight at a time. It never looks behind the NUL that ends the text. */
#include "json_read.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

typedef struct reader {
  const char *text, *at, *end;
  const cxb_json_events *events;
  void *arg;
  cxb_json_fault *fault;
  int depth, levels;
  cxb_buf *plain; /* a string without its escapes */
  size_t count[CXB_JSON_LEVELS];
  bool object[CXB_JSON_LEVELS];
} reader;

static int fail(reader *r, const char *where, const char *message) {
  *r->fault = (cxb_json_fault){message, (size_t)(where - r->text)};
  return CXB_EINVAL;
}

/* What an event answered. */
static int told(reader *r, bool on) {
  if (on)
    return 0;
  fail(r, r->at, "stopped");
  return CXB_ECANCELED;
}

static void skip(reader *r) {
  while (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')
    r->at++;
}

/* ---- strings ---- */

#define EACH(byte) (0x0101010101010101u * (byte))

/* The first byte from `p` on that is a quote, a backslash, a control character or no ASCII. */
static const unsigned char *pass_plain(const unsigned char *p, const unsigned char *end) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  for (; end - p >= 8; p += 8) {
    uint64_t x, quote, slash;
    memcpy(&x, p, sizeof x);
    quote = x ^ EACH('"');
    slash = x ^ EACH('\\');
    /* In each byte the top bit; below the first one that is set nothing is borrowed. */
    uint64_t found =
        (((quote - EACH(1)) & ~quote) | ((slash - EACH(1)) & ~slash) | (x - EACH(0x20)) | x) &
        EACH(0x80);
    if (found)
      return p + (__builtin_ctzll(found) >> 3);
  }
#endif
  while (*p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
    p++;
  return p;
}

/* Bytes of the character at `p`, which is no ASCII; 0: that is no UTF-8. */
static size_t character(const unsigned char *p) {
  static const struct {
    unsigned char first, last, low, high, len;
  } ranges[] = {/* of the first byte and of the second */
                {0xe1, 0xec, 0x80, 0xbf, 3}, {0xc2, 0xdf, 0x80, 0xbf, 2},
                {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
                {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    if (p[0] < ranges[i].first || p[0] > ranges[i].last)
      continue;
    if (p[1] < ranges[i].low || p[1] > ranges[i].high)
      return 0;
    for (size_t k = 2; k < ranges[i].len; k++)
      if ((p[k] & 0xc0) != 0x80)
        return 0;
    return ranges[i].len;
  }
  return 0;
}

/* Four hexadecimal digits, or -1. */
static int hex4(const unsigned char *p) {
  int value = 0;
  for (int i = 0; i < 4; i++) {
    int c = p[i], low = c | 0x20;
    if (c >= '0' && c <= '9')
      value = value * 16 + c - '0';
    else if (low >= 'a' && low <= 'f')
      value = value * 16 + low - 'a' + 10;
    else
      return -1;
  }
  return value;
}

static size_t put_utf8(char *out, unsigned code) {
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  } else if (code < 0x800) {
    out[0] = (char)(0xc0 | code >> 6);
    out[1] = (char)(0x80 | (code & 0x3f));
    return 2;
  } else if (code < 0x10000) {
    out[0] = (char)(0xe0 | code >> 12);
    out[1] = (char)(0x80 | (code >> 6 & 0x3f));
    out[2] = (char)(0x80 | (code & 0x3f));
    return 3;
  }
  out[0] = (char)(0xf0 | code >> 18);
  out[1] = (char)(0x80 | (code >> 12 & 0x3f));
  out[2] = (char)(0x80 | (code >> 6 & 0x3f));
  out[3] = (char)(0x80 | (code & 0x3f));
  return 4;
}

/* \uXXXX, or a pair of surrogates; `p` is behind the u. */
static int take_code(reader *r, const unsigned char **at, char *out, size_t *n) {
  const unsigned char *p = *at;
  int code = hex4(p), low;
  if (code < 0)
    return fail(r, (const char *)p - 2, "a bad hexadecimal digit after \\u");
  p += 4;
  if (code >= 0xd800 && code <= 0xdfff) {
    low = code < 0xdc00 && p[0] == '\\' && p[1] == 'u' ? hex4(p + 2) : -1;
    if (low < 0xdc00 || low > 0xdfff)
      return fail(r, (const char *)p - 6, "half of a surrogate pair");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    p += 6;
  }
  *n = put_utf8(out, (unsigned)code);
  *at = p;
  return 0;
}

static int take_escape(reader *r, const unsigned char **at) {
  static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
  const unsigned char *p = *at + 1;
  char out[4];
  size_t n = 1;
  const char *name = *p ? strchr(names, *p) : NULL;
  if (name) {
    out[0] = values[name - names];
    p++;
  } else if (*p == 'u') {
    p++;
    int err = take_code(r, &p, out, &n);
    if (err)
      return err;
  } else {
    return fail(r, (const char *)*at, "a bad escape in a string");
  }
  *at = p;
  return cxb_buf_add(r->plain, out, n);
}

/* The string at r->at, which is a quote. */
static int take_string(reader *r, bool key) {
  const unsigned char *p = (const unsigned char *)r->at + 1, *end = (const unsigned char *)r->end;
  const char *from = (const char *)p; /* what is not in `plain` yet */
  bool escaped = false;
  for (;;) {
    p = pass_plain(p, end);
    while (*p >= 0x80) {
      size_t n = character(p);
      if (!n)
        return fail(r, (const char *)p, "not the encoding UTF-8");
      p += n;
    }
    if (*p == '"')
      break;
    if (*p == '\\') {
      if (!escaped)
        cxb_buf_clear(r->plain);
      escaped = true;
      if (cxb_buf_add(r->plain, from, (size_t)((const char *)p - from)))
        return CXB_ENOMEM;
      int err = take_escape(r, &p);
      if (err)
        return err;
      from = (const char *)p;
    } else if (*p < 0x20) {
      return fail(r, (const char *)p,
                  p == end ? "a string without its end" : "a control character in a string");
    }
  }
  const char *first = r->at + 1;
  cxb_json_string s = {.text = from,
                       .len = (size_t)((const char *)p - from),
                       .key = key,
                       .at = (size_t)(first - r->text),
                       .span = (size_t)((const char *)p - first)};
  if (escaped) {
    if (cxb_buf_add(r->plain, from, s.len))
      return CXB_ENOMEM;
    s.text = r->plain->data;
    s.len = r->plain->len;
  }
  r->at = (const char *)p + 1;
  return told(r, r->events->string(r->arg, &s));
}

/* ---- other values ---- */

typedef struct decimal {
  uint64_t digits; /* as long as there are at most 19 */
  size_t count;
  int64_t exponent;
} decimal;

static bool take_digits(reader *r, decimal *d) {
  const char *from = r->at;
  for (; *r->at >= '0' && *r->at <= '9'; r->at++) {
    d->digits = d->digits * 10 + (uint64_t)(*r->at - '0');
    d->count += d->count > 0 || *r->at != '0';
  }
  return r->at > from;
}

/* Numbers up to 2^53 times or by a power of ten that is exact, too: one rounding, so the nearest.
 */
static bool exact(const decimal *d, double *value) {
  static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  if (d->count > 19 || d->digits > (uint64_t)1 << 53 || d->exponent < -22 || d->exponent > 22)
    return false;
  *value = d->exponent < 0 ? (double)d->digits / tens[-d->exponent]
                           : (double)d->digits * tens[d->exponent];
  return true;
}

static int take_number(reader *r) {
  const char *from = r->at;
  decimal d = {0};
  bool minus = *r->at == '-', whole = true;
  r->at += minus;
  if (*r->at == '0')
    r->at++;
  else if (!take_digits(r, &d))
    return fail(r, r->at, "no value");
  if (*r->at == '.') {
    const char *point = ++r->at;
    whole = false;
    if (!take_digits(r, &d))
      return fail(r, r->at, "a number without digits behind its point");
    d.exponent = point - r->at;
  }
  if (*r->at == 'e' || *r->at == 'E') {
    decimal e = {0};
    bool small = *++r->at == '-';
    r->at += small || *r->at == '+';
    whole = false;
    if (!take_digits(r, &e))
      return fail(r, r->at, "a number without digits in its exponent");
    int64_t by = e.count > 18 ? INT64_MAX / 2 : (int64_t)e.digits;
    d.exponent += small ? -by : by;
  }
  double value;
  if (exact(&d, &value))
    value = minus && !(whole && value == 0) ? -value : value;
  else
    value = strtod(from, NULL); /* the program's locale is C: a point is a point */
  if (isinf(value))
    return fail(r, from, "a number too big");
  return told(r, r->events->number(r->arg, value));
}

static int take_word(reader *r) {
  const char *at = r->at;
  if (strncmp(at, "true", 4) == 0) {
    r->at += 4;
    return told(r, r->events->boolean(r->arg, true));
  } else if (strncmp(at, "false", 5) == 0) {
    r->at += 5;
    return told(r, r->events->boolean(r->arg, false));
  } else if (strncmp(at, "null", 4) == 0) {
    r->at += 4;
    return told(r, r->events->null(r->arg));
  }
  return fail(r, at, "no value");
}

/* ---- structure ---- */

static int begin(reader *r, bool object) {
  if (r->depth == r->levels) {
    fail(r, r->at + 1, "too deep");
    return CXB_ETOOBIG;
  }
  int err = told(r, r->events->begin(r->arg, object, (size_t)(r->at - r->text)));
  r->object[r->depth] = object;
  r->count[r->depth++] = 0;
  r->at++;
  return err;
}

static int end(reader *r) {
  bool object = r->object[--r->depth];
  r->at++;
  return told(r, r->events->end(r->arg, object, r->count[r->depth], (size_t)(r->at - r->text)));
}

/* The name of the next member and its colon. */
static int take_name(reader *r) {
  if (*r->at != '"')
    return fail(r, r->at, "a member without a name");
  int err = take_string(r, true);
  if (err)
    return err;
  skip(r);
  if (*r->at != ':')
    return fail(r, r->at, "a member without a colon behind its name");
  r->at++;
  skip(r);
  return 0;
}

/* Goes to the next value of what is open, or ends what is over; *more: there is one. */
static int next(reader *r, bool *more) {
  *more = false;
  while (r->depth > 0) {
    int err = 0;
    bool object = r->object[r->depth - 1];
    size_t *count = &r->count[r->depth - 1];
    skip(r);
    if (*r->at == (object ? '}' : ']')) {
      if ((err = end(r)))
        return err;
      continue;
    }
    if (*count > 0 && *r->at != ',')
      return fail(r, r->at,
                  object ? "a member without a comma or } behind it"
                         : "an item without a comma or ] behind it");
    if (*count > 0) {
      r->at++;
      skip(r);
    }
    (*count)++;
    *more = true;
    return object ? take_name(r) : 0;
  }
  return 0;
}

static int take_value(reader *r) {
  switch (*r->at) {
  case '{':
    return begin(r, true);
  case '[':
    return begin(r, false);
  case '"':
    return take_string(r, false);
  case 't':
  case 'f':
  case 'n':
    return take_word(r);
  default:
    return take_number(r);
  }
}

int cxb_json_read(const char *text, size_t len, int levels, const cxb_json_events *events,
                  void *arg, cxb_buf *room, cxb_json_fault *fault) {
  reader r = {.text = text,
              .at = text,
              .end = text + len,
              .events = events,
              .arg = arg,
              .fault = fault,
              .plain = room,
              .levels = levels < CXB_JSON_LEVELS ? levels : CXB_JSON_LEVELS};
  int err;
  bool more;
  skip(&r);
  if (r.at == r.end)
    err = fail(&r, r.at, "nothing there");
  else
    do {
      err = take_value(&r);
      err = err ? err : next(&r, &more);
    } while (!err && more);
  if (!err) {
    skip(&r);
    if (r.at != r.end)
      err = fail(&r, r.at, "more behind the value");
  }
  if (err == CXB_ENOMEM)
    fail(&r, r.at, "no memory");
  return err;
}
