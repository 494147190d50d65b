#include "vocab.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"

enum { MAX_FILE = 16 << 20, CONTROL_TOKENS = 3 };
#define WORD_MARK "\xe2\x96\x81" /* U+2581 */

struct cxb_vocab {
  uint8_t *data;
  size_t count;
  uint32_t *offsets; /* of each token's length byte */
  uint32_t *sorted;  /* token numbers in the order of their bytes */
};

static int compare_bytes(const uint8_t *a, size_t na, const uint8_t *b, size_t nb) {
  int order = memcmp(a, b, na < nb ? na : nb);
  return order != 0 ? order : (na > nb) - (na < nb);
}

static int compare_tokens(const void *a, const void *b, void *arg) {
  const cxb_vocab *vocab = arg;
  const uint8_t *x = vocab->data + vocab->offsets[*(const uint32_t *)a];
  const uint8_t *y = vocab->data + vocab->offsets[*(const uint32_t *)b];
  return compare_bytes(x + 1, x[0], y + 1, y[0]);
}

int cxb_vocab_parse(const uint8_t *data, size_t len, cxb_vocab **out) {
  if (len < 8 || memcmp(data, "CXBV", 4) != 0)
    return CXB_ECORRUPT;
  uint32_t count =
      data[4] | (uint32_t)data[5] << 8 | (uint32_t)data[6] << 16 | (uint32_t)data[7] << 24;
  if (count == 0 || count > len)
    return CXB_ECORRUPT;
  cxb_vocab *vocab = calloc(1, sizeof *vocab);
  if (!vocab)
    return CXB_ENOMEM;
  vocab->data = malloc(len);
  vocab->offsets = calloc(count, sizeof *vocab->offsets);
  vocab->sorted = calloc(count, sizeof *vocab->sorted);
  vocab->count = count;
  if (!vocab->data || !vocab->offsets || !vocab->sorted) {
    cxb_vocab_close(vocab);
    return CXB_ENOMEM;
  }
  memcpy(vocab->data, data, len);
  size_t at = 8;
  for (uint32_t i = 0; i < count; i++) {
    if (at >= len || at + 1 + data[at] > len) {
      cxb_vocab_close(vocab);
      return CXB_ECORRUPT;
    }
    vocab->offsets[i] = (uint32_t)at;
    vocab->sorted[i] = i;
    at += 1u + data[at];
  }
  qsort_r(vocab->sorted, count, sizeof *vocab->sorted, compare_tokens, vocab);
  *out = vocab;
  return 0;
}

int cxb_vocab_open(const char *path, cxb_vocab **out) {
  FILE *file = fopen(path, "rb");
  if (!file)
    return CXB_ENOENT;
  int err = CXB_EIO;
  uint8_t *data = NULL;
  long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
  if (size < 0 || size > MAX_FILE)
    err = CXB_ECORRUPT;
  else if (!(data = malloc((size_t)size + 1)))
    err = CXB_ENOMEM;
  else if (fseek(file, 0, SEEK_SET) == 0 && fread(data, 1, (size_t)size, file) == (size_t)size)
    err = cxb_vocab_parse(data, (size_t)size, out);
  free(data);
  fclose(file);
  return err;
}

void cxb_vocab_close(cxb_vocab *vocab) {
  if (!vocab)
    return;
  free(vocab->data);
  free(vocab->offsets);
  free(vocab->sorted);
  free(vocab);
}

size_t cxb_vocab_count(const cxb_vocab *vocab) {
  return vocab->count;
}

/* Bytes of the character at `text`, 0 when it is no well-formed UTF-8. */
static size_t utf8_length(const uint8_t *text, size_t len) {
  size_t need = text[0] < 0x80 ? 1 : text[0] >= 0xc2 && text[0] < 0xe0 ? 2 : 0;
  if (text[0] >= 0xe0 && text[0] < 0xf0)
    need = 3;
  else if (text[0] >= 0xf0 && text[0] < 0xf5)
    need = 4;
  if (need == 0 || need > len)
    return 0;
  for (size_t i = 1; i < need; i++)
    if ((text[i] & 0xc0) != 0x80)
      return 0;
  if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
      (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
    return 0;
  return need;
}

/* The token with these bytes, or -1. */
static int64_t find_token(const cxb_vocab *vocab, const uint8_t *bytes, size_t len) {
  size_t low = 0, high = vocab->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    const uint8_t *token = vocab->data + vocab->offsets[vocab->sorted[middle]];
    int order = compare_bytes(token + 1, token[0], bytes, len);
    if (order == 0)
      return vocab->sorted[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return -1;
}

/* Spaces as word marks, one in front; answers the length. `out` has room for three times the text.
 */
static size_t mark_words(const char *text, uint8_t *out) {
  memcpy(out, WORD_MARK, 3);
  size_t at = 3;
  for (; *text; text++) {
    if (*text != ' ') {
      out[at++] = (uint8_t)*text;
      continue;
    }
    memcpy(out + at, WORD_MARK, 3);
    at += 3;
  }
  return at;
}

size_t cxb_vocab_encode(const cxb_vocab *vocab, const char *text, int64_t *tokens, size_t max) {
  enum { MAX_BYTES = 120 };
  uint8_t bytes[3 * (MAX_BYTES + 1)];
  size_t starts[3 * (MAX_BYTES + 1) + 1], n = 0;
  size_t len = text[0] && strlen(text) <= MAX_BYTES ? mark_words(text, bytes) : 0;
  for (size_t at = 0; at < len; n++) {
    size_t width = utf8_length(bytes + at, len - at);
    starts[n] = at;
    at += width ? width : 1;
  }
  starts[n] = len;
  for (;;) {
    int64_t best = -1;
    size_t best_at = 0;
    for (size_t i = 0; i + 1 < n; i++) {
      int64_t merged = find_token(vocab, bytes + starts[i], starts[i + 2] - starts[i]);
      if (merged >= 0 && (best < 0 || merged < best)) {
        best = merged;
        best_at = i;
      }
    }
    if (best < 0)
      break;
    memmove(starts + best_at + 1, starts + best_at + 2, (n - best_at - 1) * sizeof *starts);
    n--;
  }
  if (n > max)
    return 0;
  for (size_t i = 0; i < n; i++) {
    tokens[i] = find_token(vocab, bytes + starts[i], starts[i + 1] - starts[i]);
    if (tokens[i] < 0)
      return 0;
  }
  return n;
}

/* <0x41> → 0x41, else -1. */
static int byte_token(const uint8_t *text, size_t len) {
  if (len != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>' || !isxdigit(text[3]) ||
      !isxdigit(text[4]))
    return -1;
  char digits[3] = {(char)text[3], (char)text[4], 0};
  return (int)strtol(digits, NULL, 16);
}

/* Appends one token's bytes, word marks as spaces; answers the new length (never above `max`). */
static size_t append_token(const uint8_t *text, size_t len, uint8_t *out, size_t at, size_t max) {
  int byte = byte_token(text, len);
  if (byte >= 0) {
    if (at < max)
      out[at++] = (uint8_t)byte;
    return at;
  }
  for (size_t i = 0; i < len && at < max; i++) {
    if (len - i >= 3 && memcmp(text + i, WORD_MARK, 3) == 0) {
      out[at++] = ' ';
      i += 2;
    } else {
      out[at++] = text[i];
    }
  }
  return at;
}

/* Drops what is no UTF-8, control characters, and spaces at both ends; answers the new length. */
static size_t clean(uint8_t *text, size_t len) {
  size_t to = 0;
  for (size_t i = 0; i < len;) {
    size_t n = utf8_length(text + i, len - i);
    if (n == 0 || text[i] < 0x20 || text[i] == 0x7f || (to == 0 && text[i] == ' ')) {
      i += n ? n : 1;
      continue;
    }
    memmove(text + to, text + i, n);
    to += n;
    i += n;
  }
  while (to > 0 && text[to - 1] == ' ')
    to--;
  return to;
}

size_t cxb_vocab_text(const cxb_vocab *vocab, const int64_t *tokens, size_t n, char *out,
                      size_t size) {
  if (size == 0)
    return 0;
  size_t at = 0;
  for (size_t i = 0; i < n; i++) {
    if (tokens[i] < CONTROL_TOKENS || (uint64_t)tokens[i] >= vocab->count)
      continue;
    const uint8_t *token = vocab->data + vocab->offsets[tokens[i]];
    at = append_token(token + 1, token[0], (uint8_t *)out, at, size - 1);
  }
  at = clean((uint8_t *)out, at);
  out[at] = 0;
  return at;
}
