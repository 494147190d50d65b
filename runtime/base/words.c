#include "words.h"

#include <string.h>

#include "err.h"

/* What a byte is by itself. Of a word: what makes it lower case, to be added. */
enum { PART = 0, UPPER = 0x20, APOSTROPHE, BREAK, LOOK /* it depends on what follows */ };

static const unsigned char kinds[256] = {
    [0 ... '&'] = BREAK,   ['\''] = APOSTROPHE,   ['(' ... '/'] = BREAK,  [':' ... '@'] = BREAK,
    ['A' ... 'Z'] = UPPER, ['[' ... '`'] = BREAK, ['{' ... 0x7f] = BREAK, [0xc2] = LOOK,
    [0xe0] = LOOK,         [0xe2] = LOOK};

/* What the bytes at `p`, the first of which is a LOOK, are, and how many belong together. */
static unsigned char look(const unsigned char *p, size_t left, size_t *n) {
  *n = 1;
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
  const unsigned char *p = (const unsigned char *)*at, *stop = (const unsigned char *)end;
  size_t len = 0;
  while (p < stop) {
    size_t n = 1;
    unsigned char kind = kinds[*p];
    if (kind == LOOK)
      kind = look(p, (size_t)(stop - p), &n);
    if (kind == BREAK && len > 0)
      break;
    if (kind <= UPPER)
      word->data[len++] = (char)(*p | kind);
    p += n;
  }
  *at = (const char *)p;
  word->len = len;
  return len > 0 ? 0 : CXB_ENOENT;
}

#define EACH(byte) (0x0101010101010101u * (byte))

/* Most words are some ASCII letters or digits between breaks: eight bytes are looked at together.
 * The word at `p`, in lower case, if it is one of at most 7 of them; 0: whatever else. */
static uint64_t short_word(const unsigned char *p, const unsigned char *end, size_t *len) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  uint64_t x, low, letter, digit;
  if (end - p < 8)
    return 0;
  memcpy(&x, p, sizeof x);
  low = (x | EACH(0x20)) & EACH(0x7f);
  letter = (low + EACH(0x80 - 'a')) & ~(low + EACH(0x7f - 'z'));
  digit = (low + EACH(0x80 - '0')) & ~(low + EACH(0x7f - '9')) & x << 2; /* not what | made one */
  uint64_t other = (~(letter | digit) | x) & EACH(0x80);
  size_t n = other ? (size_t)__builtin_ctzll(other) >> 3 : 0;
  if (n == 0 || kinds[p[n]] != BREAK)
    return 0;
  *len = n;
  return (x | EACH(0x20)) & (((uint64_t)1 << n * 8) - 1);
#else
  return 0;
#endif
}

/* The first eight bytes as a number, with zeroes behind a shorter word. */
static uint64_t head_of(const char *s, size_t len) {
  uint64_t head = 0;
  memcpy(&head, s, len < sizeof head ? len : sizeof head);
  return head;
}

typedef struct candidate {
  const char *s;
  size_t len;
  uint64_t head;
} candidate;

static size_t hash(const candidate *c) {
  uint64_t h = c->head * 0x9e3779b97f4a7c15u;
  for (size_t i = sizeof c->head; i < c->len; i++)
    h = (h ^ (unsigned char)c->s[i]) * 1099511628211u;
  return (size_t)(h ^ h >> 32);
}

/* A word has no zero byte: one of less than eight bytes is what its head says. */
static bool is_word(const cxb_words *set, int i, const candidate *c) {
  if (set->heads[i] != c->head || c->len < sizeof c->head)
    return set->heads[i] == c->head;
  size_t from = i > 0 ? set->ends[i - 1] : 0;
  return set->ends[i] - from == c->len && memcmp(set->bytes.data + from, c->s, c->len) == 0;
}

static int add(cxb_words *set, const candidate *c) {
  size_t at = hash(c) % CXB_WORDS_SLOTS;
  for (; set->slots[at]; at = (at + 1) % CXB_WORDS_SLOTS)
    if (is_word(set, set->slots[at] - 1, c))
      return 0;
  if (cxb_buf_add(&set->bytes, c->s, c->len))
    return CXB_ENOMEM;
  set->heads[set->count] = c->head;
  set->ends[set->count] = (uint32_t)set->bytes.len;
  set->slots[at] = (uint16_t)++set->count;
  return 0;
}

int cxb_words_distinct(cxb_words *set, const char *text, size_t len, int most, size_t longest) {
  const char *at = text, *end = text + len;
  set->count = 0;
  cxb_buf_clear(&set->bytes);
  memset(set->slots, 0, sizeof set->slots);
  while (set->count < most && set->count < CXB_WORDS_MOST) {
    while (at < end && kinds[(unsigned char)*at] == BREAK)
      at++;
    candidate c = {.s = (const char *)&c.head};
    c.head = short_word((const unsigned char *)at, (const unsigned char *)end, &c.len);
    if (c.head) {
      at += c.len;
    } else {
      int err = cxb_words_next(&at, end, &set->word);
      if (err)
        return err == CXB_ENOENT ? 0 : err;
      c = (candidate){set->word.data, set->word.len, head_of(set->word.data, set->word.len)};
    }
    if (c.len <= longest && add(set, &c))
      return CXB_ENOMEM;
  }
  return 0;
}
