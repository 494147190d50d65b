/* Files as answers: Range, If-Range, If-None-Match, HEAD, strong ETag. */
#pragma once
#include <stdint.h>

#include "http_server.h"

typedef enum { CXB_RANGE_WHOLE, CXB_RANGE_PART, CXB_RANGE_UNSATISFIABLE } cxb_range;

/* One range of a Range header over `size` bytes; several, or a malformed one, mean the whole. */
cxb_range cxb_http_range(const char *header, int64_t size, int64_t *first, int64_t *last);

/* Sends `path` as the answer; `headers` as in cxb_http_respond(). `done(arg, err)` once, later:
 * CXB_ENOENT (nothing was sent: answer yourself), CXB_ECLOSED, CXB_EIO, or 0. */
int cxb_http_send_file(cxb_http_request *req, const char *path, const char *headers,
                       void (*done)(void *arg, int err), void *arg);
