/* Reads JSON text by events, over RapidJSON. Strict: RFC 8259, UTF-8, finite numbers. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is found, in order. Each answers false to end the reading. Strings are UTF-8 and may hold
 * NUL; they are only there during the call. */
typedef struct cxb_json_events {
  bool (*null)(void *arg);
  bool (*boolean)(void *arg, bool value);
  bool (*number)(void *arg, double value);
  bool (*string)(void *arg, const char *s, size_t len, bool key);
  bool (*begin)(void *arg, bool object);
  bool (*end)(void *arg, bool object, size_t count); /* members or items */
} cxb_json_events;

typedef struct cxb_json_fault {
  const char *message; /* a few words */
  size_t offset;       /* byte the reading ended at */
} cxb_json_fault;

/* One value, and nothing but white space around it. `text` has a NUL behind its `len` bytes. 0,
 * CXB_EINVAL (not JSON: `fault`), or CXB_ECANCELED (an event answered false). */
int cxb_json_read(const char *text, size_t len, const cxb_json_events *events, void *arg,
                  cxb_json_fault *fault);

#ifdef __cplusplus
}
#endif
