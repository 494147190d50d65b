/* Reads JSON text by events. Strict: RFC 8259, UTF-8 (RFC 3629), finite numbers. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

enum { CXB_JSON_LEVELS = 256 }; /* the most that may be asked for */

typedef struct cxb_json_string {
  const char *text; /* UTF-8 without its escapes, may hold NUL; only there during the call */
  size_t len;
  bool key;        /* the name of a member */
  size_t at, span; /* where it stands between its quotes, bytes with its escapes */
} cxb_json_string;

/* What is found, in order; `at` is the byte where a value begins, or the one behind its end. Each
 * answers false to end the reading. */
typedef struct cxb_json_events {
  bool (*null)(void *arg);
  bool (*boolean)(void *arg, bool value);
  bool (*number)(void *arg, double value);
  bool (*string)(void *arg, const cxb_json_string *s);
  bool (*begin)(void *arg, bool object, size_t at);
  bool (*end)(void *arg, bool object, size_t count, size_t at); /* members or items */
} cxb_json_events;

typedef struct cxb_json_fault {
  const char *message; /* a few words */
  size_t offset;       /* byte the reading ended at */
} cxb_json_fault;

/* One value, and nothing but white space around it, at most `levels` deep. `text` has a NUL behind
 * its `len` bytes. Strings lose their escapes in `room`; nothing else is allocated, so that an
 * event may also leave by longjmp(). 0, or what ended it, with `fault`: CXB_EINVAL (not JSON),
 * CXB_ETOOBIG (deeper), CXB_ENOMEM, or CXB_ECANCELED (an event answered false). */
int cxb_json_read(const char *text, size_t len, int levels, const cxb_json_events *events,
                  void *arg, cxb_buf *room, cxb_json_fault *fault);
