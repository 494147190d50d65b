#include "say_text.h"

#include <ctype.h>
#include <stdint.h>
#include <stdbool.h>
#include <string.h>

enum { SHORTEST = 12, LONGEST = 240 };

/* Latin-1 letters from U+00C0 without their marks; "" for × and ÷. */
static const char *const latin[64] = {
    "A", "A", "A", "A", "A", "A", "AE", "C", "E", "E", "E", "E", "I", "I", "I",  "I",
    "D", "N", "O", "O", "O", "O", "O",  "",  "O", "U", "U", "U", "U", "Y", "Th", "ss",
    "a", "a", "a", "a", "a", "a", "ae", "c", "e", "e", "e", "e", "i", "i", "i",  "i",
    "d", "n", "o", "o", "o", "o", "o",  "",  "o", "u", "u", "u", "u", "y", "th", "y",
};

static const struct {
  uint32_t code;
  const char *ascii;
} marks[] = {
    {0x00a0, " "},        {0x00a3, " pounds "}, {0x00b0, " degrees "}, {0x20ac, " euros "},
    {0x20b9, " rupees "}, {0x2010, "-"},        {0x2011, "-"},         {0x2012, "-"},
    {0x2013, ", "},       {0x2014, ", "},       {0x2018, "'"},         {0x2019, "'"},
    {0x201c, "\""},       {0x201d, "\""},       {0x2026, "..."},       {0x202f, " "},
    {0x2212, " minus "},  {0x00bd, " half "},   {0x2009, " "},
};

static const char *ascii_of(uint32_t code) {
  if (code >= 0xc0 && code <= 0xff)
    return latin[code - 0xc0];
  for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
    if (marks[i].code == code)
      return marks[i].ascii;
  return "";
}

/* One character; answers its bytes. Malformed bytes are one character 0. */
static size_t read_character(const uint8_t *text, size_t len, uint32_t *code) {
  size_t n = text[0] < 0x80 ? 1 : text[0] < 0xc2 ? 0 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
  *code = 0;
  if (n == 0 || n > len || text[0] > 0xf4)
    return 1;
  *code = n == 1 ? text[0] : text[0] & (0xffu >> (n + 1));
  for (size_t i = 1; i < n; i++) {
    if ((text[i] & 0xc0) != 0x80) {
      *code = 0;
      return 1;
    }
    *code = *code << 6 | (text[i] & 0x3f);
  }
  return n;
}

size_t cxb_say_ascii(const char *utf8, size_t len, char *out, size_t size) {
  size_t at = 0;
  for (size_t i = 0; i < len && size > 0;) {
    uint32_t code;
    char plain[2] = {0};
    const char *ascii = plain;
    i += read_character((const uint8_t *)utf8 + i, len - i, &code);
    if (code <= 0x20 || code == 0x7f)
      plain[0] = ' ';
    else if (code < 0x80)
      plain[0] = (char)code;
    else
      ascii = ascii_of(code);
    for (; *ascii && at + 1 < size; ascii++)
      if (*ascii != ' ' || (at > 0 && out[at - 1] != ' '))
        out[at++] = *ascii;
  }
  while (at > 0 && out[at - 1] == ' ')
    at--;
  if (size > 0)
    out[at] = 0;
  return at;
}

/* Whether the sentence may end at text[i]. "Dr. Smith", "3.5" and "9 a.m. today" go on. */
static bool ends_sentence(const char *text, size_t i) {
  if (!strchr(".?!", text[i]) || text[i + 1] != ' ')
    return false;
  if (text[i] != '.')
    return true;
  size_t word = i;
  while (word > 0 && text[word - 1] != ' ')
    word--;
  bool title = i - word <= 3 && isupper((unsigned char)text[word]);
  unsigned char next = (unsigned char)text[i + 2];
  return !title && (isupper(next) || isdigit(next));
}

size_t cxb_say_sentence(const char *text) {
  size_t len = strlen(text), comma = 0, blank = 0;
  for (size_t i = 0; i < len; i++) {
    if (i >= SHORTEST && ends_sentence(text, i))
      return i + 2;
    if (text[i] == ' ') {
      blank = i + 1;
      if (i > 0 && strchr(",;:", text[i - 1]))
        comma = i + 1;
    }
    if (i >= LONGEST && (comma > SHORTEST || blank > 0))
      return comma > SHORTEST ? comma : blank;
    if (i >= 2 * LONGEST)
      return i + 1;
  }
  return len;
}
