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

/* Digits with at most one "+" before them; their count, or -1. */
static int clean(const char *text, size_t len, char out[32]) {
  int digits = 0;
  size_t used = 0;
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
