#include "text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The ranges of a character's second byte, by its first (RFC 3629 §4). */
static bool second_ok(uint8_t first, uint8_t second) {
  uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  return second >= low && second <= high;
}

/* Bytes that follow this first one; -1 when no character begins with it. */
static int follow(uint8_t first) {
  if (first < 0x80)
    return first ? 0 : -1;
  if (first < 0xC2 || first > 0xF4)
    return -1;
  return first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
}

typedef struct checker {
  uint8_t first;
  int left, need;
} checker;

static bool check(checker *c, const uint8_t *data, size_t len) {
  for (size_t i = 0; i < len; i++) {
    uint8_t byte = data[i];
    if (c->left == 0) {
      c->first = byte;
      c->left = c->need = follow(byte);
      if (c->left < 0)
        return false;
      continue;
    }
    bool ok = c->left == c->need ? second_ok(c->first, byte) : (byte & 0xC0) == 0x80;
    if (!ok)
      return false;
    c->left--;
  }
  return true;
}

const char *text_print(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file)
    return "it cannot be read";
  static uint8_t data[65536];
  checker c = {0};
  const char *why = NULL;
  bool begin = true;
  size_t n;
  while (!why && (n = fread(data, 1, sizeof data, file)) > 0) {
    size_t mark = begin && n >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    begin = false;
    if (!check(&c, data, n))
      why = "it is not UTF-8 text";
    else
      fwrite(data + mark, 1, n - mark, stdout);
  }
  fclose(file);
  return why ? why : c.left > 0 ? "it is not UTF-8 text" : NULL;
}
