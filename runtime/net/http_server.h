/* HTTP/1.1 server on the main loop: TCP and Unix listeners, keep-alive, pipelining in order,
 * chunked bodies, limits for header, body, idle and slow peers. libuv and http_parser do the work.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/buf.h"
#include "http_request.h"

/* Called when a request's head is complete (and as much of its body as came with it). */
typedef void (*cxb_http_handler)(cxb_http_request *req);
void cxb_http_set_handler(cxb_http_handler handler);

/* Headers have at most 16 KiB, and 32 KiB where `allowed` says so; NULL: nowhere. */
typedef bool (*cxb_http_rule)(cxb_http_request *req);
void cxb_http_set_large_heads(cxb_http_rule allowed);

/* What is not done in time ends the connection; checked every half second. */
typedef struct cxb_http_times {
  int64_t idle_ms;   /* 75 s between requests */
  int64_t head_ms;   /* 10 s from a request's first byte to the end of its head */
  int64_t body_ms;   /* 15 s in which less than 1 KiB/s of an awaited body comes: 408 */
  int64_t send_ms;   /* 30 s without a byte of the answer taken */
  int64_t linger_ms; /* 2 s for the peer to close after our last byte */
} cxb_http_times;
void cxb_http_set_times(const cxb_http_times *times); /* NULL: those above */

/* addr "unix:/path" (mode applied) or "tcp:HOST:PORT"; port 0 is written back to *port. */
int cxb_http_listen(const char *addr, int mode, int *port, char *why, size_t why_len);
void cxb_http_stop_listening(void); /* idle connections are closed too */
void cxb_http_close_all(void);
int cxb_http_active(void); /* requests being answered, and answers not yet taken */
int cxb_http_connections(void);

/* Answers in one go. `headers` is "Name: value\r\n" lines or NULL; Content-Length, Date and
 * Connection are ours. 0, CXB_ECLOSED (the peer has gone), CXB_EINVAL (answered already). */
int cxb_http_respond(cxb_http_request *req, int status, const char *headers, const void *body,
                     size_t len);
/* A streamed answer; length < 0: chunked. */
int cxb_http_start(cxb_http_request *req, int status, const char *headers, int64_t length);
/* CXB_EAGAIN: taken, but the peer is slow: wait for cxb_http_wait_writable(). */
int cxb_http_write(cxb_http_request *req, const void *data, size_t len);
int cxb_http_finish(cxb_http_request *req);
/* Breaks the connection: an answer that cannot be completed. */
void cxb_http_abort(cxb_http_request *req);

/* Bytes of the body that are here, at cxb_http_body_data() until cxb_http_body_drop(). *end: there
 * will be no more; *gone: the peer went before the end. */
size_t cxb_http_body_ready(cxb_http_request *req, bool *end, bool *gone);
const char *cxb_http_body_data(const cxb_http_request *req);
void cxb_http_body_drop(cxb_http_request *req); /* makes room for more to be read */
void cxb_http_wait_body(cxb_http_request *req, void (*fn)(cxb_http_request *, void *), void *arg);
void cxb_http_wait_writable(cxb_http_request *req, void (*fn)(cxb_http_request *, void *),
                            void *arg);
void cxb_http_request_ref(cxb_http_request *req);
void cxb_http_request_unref(cxb_http_request *req);
