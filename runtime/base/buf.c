/* Growing byte buffer. */
#include "buf.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

int cxb_buf_reserve(cxb_buf *b, size_t more) {
  if (more > SIZE_MAX / 4 - b->len)
    return CXB_ENOMEM;
  size_t need = b->len + more + 1;
  if (need <= b->cap)
    return 0;
  size_t cap = b->cap ? b->cap : 128;
  while (cap < need)
    cap *= 2;
  char *data = realloc(b->data, cap);
  if (!data)
    return CXB_ENOMEM;
  b->data = data;
  b->cap = cap;
  return 0;
}

int cxb_buf_add(cxb_buf *b, const void *data, size_t len) {
  int err = cxb_buf_reserve(b, len);
  if (err)
    return err;
  if (len)
    memcpy(b->data + b->len, data, len);
  b->len += len;
  b->data[b->len] = '\0';
  return 0;
}

int cxb_buf_str(cxb_buf *b, const char *s) {
  return cxb_buf_add(b, s, strlen(s));
}

int cxb_buf_printf(cxb_buf *b, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (n < 0 || cxb_buf_reserve(b, (size_t)n))
    return CXB_ENOMEM;
  va_start(ap, fmt);
  vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
  va_end(ap);
  b->len += (size_t)n;
  return 0;
}

/* Length of the well-formed UTF-8 sequence at p (1–4), 0 when malformed. */
static size_t utf8_len(const unsigned char *p, size_t left) {
  if (p[0] < 0x80)
    return 1;
  size_t n = p[0] >= 0xf0 && p[0] <= 0xf4   ? 4
             : p[0] >= 0xe0 && p[0] <= 0xef ? 3
             : p[0] >= 0xc2 && p[0] <= 0xdf ? 2
                                            : 0;
  if (n == 0 || n > left)
    return 0;
  for (size_t i = 1; i < n; i++)
    if ((p[i] & 0xc0) != 0x80)
      return 0;
  if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
      (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
    return 0;
  return n;
}

/* Bytes from `p` on that JSON takes as they are. */
static size_t plain_run(const unsigned char *p, size_t left) {
  static const bool plain[256] = {
      [0x20 ... 0x21] = true, [0x23 ... 0x5b] = true, [0x5d ... 0x7e] = true};
  size_t n = 0;
  while (n < left && plain[p[n]])
    n++;
  return n;
}

int cxb_buf_json(cxb_buf *b, const char *s, size_t len) {
  static const char hex[] = "0123456789abcdef";
  size_t start = b->len;
  if (cxb_buf_reserve(b, len + 2))
    return CXB_ENOMEM;
  int err = cxb_buf_add(b, "\"", 1);
  for (size_t i = 0; !err && i < len;) {
    const unsigned char *p = (const unsigned char *)s + i;
    size_t run = plain_run(p, len - i);
    if (run > 0) {
      err = cxb_buf_add(b, p, run);
      i += run;
      continue;
    }
    size_t n = utf8_len(p, len - i);
    if (n == 0) {
      err = cxb_buf_add(b, "\xef\xbf\xbd", 3);
      n = 1;
    } else if (*p == '"' || *p == '\\') {
      err = cxb_buf_add(b, (char[]){'\\', (char)*p}, 2);
    } else if (*p < 0x20 || *p == 0x7f) {
      const char esc[] = {'\\', 'u', '0', '0', hex[*p >> 4], hex[*p & 15]};
      err = cxb_buf_add(b, esc, sizeof esc);
    } else {
      err = cxb_buf_add(b, p, n);
    }
    i += n;
  }
  if (!err)
    err = cxb_buf_add(b, "\"", 1);
  if (err)
    b->len = start;
  return err;
}

void cxb_buf_consume(cxb_buf *b, size_t n) {
  if (n >= b->len) {
    cxb_buf_clear(b);
    return;
  }
  memmove(b->data, b->data + n, b->len - n + 1);
  b->len -= n;
}

void cxb_buf_clear(cxb_buf *b) {
  b->len = 0;
  if (b->data)
    b->data[0] = '\0';
}

void cxb_buf_free(cxb_buf *b) {
  free(b->data);
  *b = (cxb_buf){0};
}
