/* Binary data on its way inside JSON: cut out of a message without building the message in memory.
 * Providers send audio so, some fifty kilobytes of base64 in one member among small ones. */
#pragma once
#include <stddef.h>

enum { CXB_JSON_DEPTH = 64 };

/* A string value inside a JSON text: what stands between its quotes, escapes and all. */
typedef struct cxb_json_span {
  size_t at, len;
} cxb_json_span;

/* Looks for the string member at `path` ("audio", "data.audio", at most eight steps) of the object
 * that `text` is, with a NUL behind it; of repeated members the first counts. 1: found. 0: it is
 * not there, is no string, or the text is no JSON object at all (then nothing of it may be used).
 */
int cxb_json_find(const char *text, size_t len, const char *path, cxb_json_span *out);

/* Decodes the base64 string at `span` (found in this text) in place: the bytes are at text + at
 * afterwards. Returns how many, or CXB_EINVAL: no base64; `text` is spoilt between the quotes then.
 * "\/" stands for "/", as everywhere in JSON. */
long cxb_json_bytes(char *text, const cxb_json_span *span);

/* Puts `number` in the place of the string at `span`, quotes included; returns the new length of
 * the text, which is never longer. */
size_t cxb_json_put_number(char *text, size_t len, const cxb_json_span *span, long number);
