/* A growing byte buffer. Zero-initialise to begin; every append keeps a NUL behind the bytes. */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct cxb_buf {
  char *data;
  size_t len, cap;
} cxb_buf;

/* Each returns 0 or CXB_ENOMEM, on failure the buffer is unchanged. */
int cxb_buf_reserve(cxb_buf *b, size_t more);
int cxb_buf_add(cxb_buf *b, const void *data, size_t len);
int cxb_buf_str(cxb_buf *b, const char *s);
int cxb_buf_printf(cxb_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Adds `s` as a JSON string with quotes; control characters, quote and backslash are escaped,
 * malformed UTF-8 becomes U+FFFD. */
int cxb_buf_json(cxb_buf *b, const char *s, size_t len);
void cxb_buf_consume(cxb_buf *b, size_t n); /* drops the first n bytes */
void cxb_buf_clear(cxb_buf *b);             /* length 0, memory kept */
void cxb_buf_free(cxb_buf *b);
