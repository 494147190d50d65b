/* The quick way through a message that comes fifty times a second. It takes plain messages only
 * (no escapes, ASCII, short numbers); what it refuses goes the long way, through the JSON library.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum { CXB_SCAN_DEPTH = 4 };

/* A string member to look for, by its path: {"media", "payload"} or {"event", NULL}. */
typedef struct cxb_scan {
  const char *outer, *name; /* outer NULL: a member of the message itself */
  const char *value;        /* found: points into the message, not terminated; else NULL */
  size_t len;
} cxb_scan;

/* True when the text is one plain JSON object; then each wanted string member that is there has its
 * value (of repeated ones the last). False says nothing about the text. */
bool cxb_scan_object(const char *data, size_t len, cxb_scan *wanted, size_t count);
/* True when it was found and is this word. */
bool cxb_scan_is(const cxb_scan *found, const char *word);
