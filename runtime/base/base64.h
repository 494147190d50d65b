/* Base64 (RFC 4648), standard and URL-safe alphabets. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters needed for n bytes, padding included, without a NUL. */
#define CXB_BASE64_LEN(n) ((((size_t)(n) + 2) / 3) * 4)

/* Writes exactly CXB_BASE64_LEN(len) characters (no NUL); returns that count. */
size_t cxb_base64_encode(char *out, const void *data, size_t len);
/* URL-safe, no padding; returns the count written (≤ CXB_BASE64_LEN(len)). */
size_t cxb_base64url_encode(char *out, const void *data, size_t len);
/* Decodes either alphabet as told; padding may be absent but, when there, must be right; blanks are
 * refused. `out` needs len / 4 * 3 + 3 bytes. Returns the bytes written or CXB_EINVAL. */
long cxb_base64_decode(void *out, const char *text, size_t len, bool url);
