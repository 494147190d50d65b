/* Numbers: cleaning, and the way to the module. */
#include "phone.h"

#include <pthread.h>
#include <string.h>

#include "../base/err.h"
#include "../host/loadable.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const cxb_phone_module *module;
static char why[512];

static void load(void) {
  module = cxb_loadable_symbol("cxb_phone", "cxb_phone_module_exports", why, sizeof why);
}

const char *cxb_phone_why(void) {
  pthread_once(&once, load);
  return module ? NULL : why;
}

/* A blank, also the one that spreadsheets do not break; its length, or 0. */
static size_t separator(const char *p, size_t left) {
  if (strchr(" -.()/\t", *p))
    return 1;
  return left > 1 && (unsigned char)p[0] == 0xC2 && (unsigned char)p[1] == 0xA0 ? 2 : 0;
}

/* How many of the characters from `at` on are of `set`. */
static size_t run_of(const char *text, size_t at, size_t len, const char *set) {
  size_t n = 0;
  while (at + n < len && text[at + n] && strchr(set, text[at + n]))
    n++;
  return n;
}

/* How much of a cell is its number once what spreadsheets add is gone: the apostrophe that keeps it
 * text (our own exports write it) before, ".0" of a column taken for numbers behind. With one zero
 * more it would be somebody else's number. */
static size_t without_marks(const char **text, size_t len) {
  if (len > 0 && **text == '\'') {
    (*text)++;
    len--;
  }
  size_t whole = run_of(*text, 0, len, "+0123456789");
  bool fraction = whole >= CXB_PHONE_DIGITS_MIN && whole + 1 < len && (*text)[whole] == '.';
  return fraction && whole + 1 + run_of(*text, whole + 1, len, "0") == len ? whole : len;
}

/* Digits with at most one "+" before them; their count, or -1. */
static int clean(const char *text, size_t len, char out[32]) {
  int digits = 0;
  size_t used = 0;
  len = without_marks(&text, len);
  for (size_t i = 0; i < len;) {
    size_t skip = text[i] ? separator(text + i, len - i) : 0;
    if (skip > 0) {
      i += skip;
      continue;
    }
    bool digit = text[i] >= '0' && text[i] <= '9';
    if (!digit && (text[i] != '+' || used > 0))
      return -1;
    if (used >= 30)
      return -1;
    digits += digit;
    out[used++] = text[i++];
  }
  out[used] = '\0';
  return digits;
}

int cxb_phone_parse(const char *text, size_t len, const char *region, bool details,
                    cxb_phone_number *out) {
  char cleaned[32];
  if (clean(text, len, cleaned) < CXB_PHONE_DIGITS_MIN)
    return CXB_EINVAL;
  if (cxb_phone_why())
    return CXB_EUNSUPPORTED;
  return module->parse(cleaned, region, details, out) ? 0 : CXB_EINVAL;
}

bool cxb_phone_region(const char *region) {
  return !cxb_phone_why() && module->region(region);
}
