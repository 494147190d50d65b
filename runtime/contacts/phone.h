/* Telephone numbers by libphonenumber, which lives in a module of its own beside the program
 * (modules/cxb_phone.so), loaded when the first number is asked about: a process that asks about
 * none does not carry it. Thread safe. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  CXB_PHONE_DIGITS_MIN = 8, /* after cleaning */
  CXB_PHONE_E164 = 20       /* "+", 15 digits, NUL, and room */
};

typedef struct cxb_phone_number {
  char e164[CXB_PHONE_E164];
  char region[4]; /* "IN"; "" when no region is known; only filled for `details` */
  bool possible;  /* the plan has numbers of this length */
  bool valid;     /* the plan has this number; only filled for `details` */
} cxb_phone_number;

#ifdef __cplusplus
extern "C" {
#endif

/* Reads a number as people write it: digits, a leading "+", and blanks - . ( ) / between them, or
 * as spreadsheets do: with an apostrophe before it, with ".0" behind it.
 * `region` ("IN") is the plan of numbers without "+" or international prefix. CXB_EINVAL: fewer
 * than 8 digits, other characters, or nothing the library can read; CXB_EUNSUPPORTED: the module
 * cannot be loaded (cxb_phone_why()). */
int cxb_phone_parse(const char *text, size_t len, const char *region, bool details,
                    cxb_phone_number *out);
/* Whether `region` names a plan; false also when the module cannot be loaded. */
bool cxb_phone_region(const char *region);
/* Why the module cannot be loaded; NULL: it is loaded. */
const char *cxb_phone_why(void);

/* What the module exports. */
typedef struct cxb_phone_module {
  bool (*parse)(const char *text, const char *region, bool details, cxb_phone_number *out);
  bool (*region)(const char *region);
} cxb_phone_module;

#ifdef __cplusplus
}
#endif
