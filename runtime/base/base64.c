/* Base64: table driven, because a call decodes and encodes fifty frames a second. */
#include "base64.h"

#include <string.h>

#include "err.h"

static const char std_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t encode(char *out, const uint8_t *p, size_t len, const char *abc, bool pad) {
  char *o = out;
  size_t i = 0;
  for (; i + 3 <= len; i += 3) {
    uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
    *o++ = abc[v >> 18];
    *o++ = abc[v >> 12 & 63];
    *o++ = abc[v >> 6 & 63];
    *o++ = abc[v & 63];
  }
  if (i < len) {
    uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < len ? (uint32_t)p[i + 1] << 8 : 0);
    *o++ = abc[v >> 18];
    *o++ = abc[v >> 12 & 63];
    if (i + 1 < len)
      *o++ = abc[v >> 6 & 63];
    else if (pad)
      *o++ = '=';
    if (pad)
      *o++ = '=';
  }
  return (size_t)(o - out);
}

size_t cxb_base64_encode(char *out, const void *data, size_t len) {
  return encode(out, data, len, std_alphabet, true);
}

size_t cxb_base64url_encode(char *out, const void *data, size_t len) {
  return encode(out, data, len, url_alphabet, false);
}

/* Value of a character, 0x80 set when it is none. */
static uint8_t value_of(unsigned char c, bool url) {
  if (c >= 'A' && c <= 'Z')
    return (uint8_t)(c - 'A');
  if (c >= 'a' && c <= 'z')
    return (uint8_t)(c - 'a' + 26);
  if (c >= '0' && c <= '9')
    return (uint8_t)(c - '0' + 52);
  if (c == (url ? '-' : '+'))
    return 62;
  if (c == (url ? '_' : '/'))
    return 63;
  return 0x80;
}

static const uint8_t *table_of(bool url) {
  static uint8_t tables[2][256];
  static _Atomic int ready;
  if (!ready) {
    for (int u = 0; u < 2; u++)
      for (int c = 0; c < 256; c++)
        tables[u][c] = value_of((unsigned char)c, u);
    ready = 1;
  }
  return tables[url];
}

long cxb_base64_decode(void *out, const char *text, size_t len, bool url) {
  const uint8_t *table = table_of(url);
  uint8_t *o = out;
  if (len % 4 == 0 && len > 0 && text[len - 1] == '=')
    len -= text[len - 2] == '=' ? 2 : 1;
  size_t i = 0;
  uint8_t bad = 0;
  for (; i + 4 <= len; i += 4) {
    uint8_t a = table[(uint8_t)text[i]], b = table[(uint8_t)text[i + 1]];
    uint8_t c = table[(uint8_t)text[i + 2]], d = table[(uint8_t)text[i + 3]];
    bad |= a | b | c | d;
    *o++ = (uint8_t)(a << 2 | b >> 4);
    *o++ = (uint8_t)(b << 4 | c >> 2);
    *o++ = (uint8_t)(c << 6 | d);
  }
  size_t rest = len - i;
  if (rest == 1 || (bad & 0x80))
    return CXB_EINVAL;
  if (rest) {
    uint8_t a = table[(uint8_t)text[i]], b = table[(uint8_t)text[i + 1]];
    uint8_t c = rest == 3 ? table[(uint8_t)text[i + 2]] : 0;
    if ((a | b | c) & 0x80)
      return CXB_EINVAL;
    *o++ = (uint8_t)(a << 2 | b >> 4);
    if (rest == 3)
      *o++ = (uint8_t)(b << 4 | c >> 2);
  }
  return (long)(o - (uint8_t *)out);
}
