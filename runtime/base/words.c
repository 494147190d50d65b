#include "words.h"

#include <string.h>

#include "err.h"

typedef enum { PART, APOSTROPHE, BREAK } kind;

/* What the bytes at `p` are, and how many of them belong together. */
static kind look(const unsigned char *p, size_t left, size_t *n) {
  *n = 1;
  if ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z'))
    return PART;
  if (*p == '\'')
    return APOSTROPHE;
  if (*p < 0x80)
    return BREAK;
  if (left >= 3 && p[0] == 0xe2 && (p[1] == 0x80 || p[1] == 0x81)) { /* U+2000 to U+207F */
    if (p[1] == 0x80 && (p[2] == 0x8c || p[2] == 0x8d))              /* joiners */
      return PART;
    *n = 3;
    return p[1] == 0x80 && p[2] == 0x99 ? APOSTROPHE : BREAK;
  }
  if (left >= 3 && p[0] == 0xe0 && p[1] == 0xa5 && (p[2] == 0xa4 || p[2] == 0xa5)) {
    *n = 3;
    return BREAK;
  }
  if (left >= 2 && p[0] == 0xc2 && p[1] != 0xaa && p[1] != 0xb5 && p[1] != 0xba) {
    *n = 2; /* U+0080 to U+00BF but ª µ º */
    return BREAK;
  }
  return PART;
}

int cxb_words_next(const char **at, const char *end, cxb_buf *word) {
  cxb_buf_clear(word);
  if (cxb_buf_reserve(word, (size_t)(end - *at)))
    return CXB_ENOMEM;
  size_t len = 0;
  while (*at < end) {
    const unsigned char *p = (const unsigned char *)*at;
    size_t n;
    kind what = look(p, (size_t)(end - *at), &n);
    if (what == BREAK && len > 0)
      break;
    *at += n;
    if (what == PART)
      word->data[len++] = (char)(*p >= 'A' && *p <= 'Z' ? *p | 0x20 : *p);
  }
  word->len = len;
  return len > 0 ? 0 : CXB_ENOENT;
}
