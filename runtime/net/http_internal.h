/* Inside of the HTTP server: what its files share. One connection carries one request at a time;
 * pipelined ones wait unparsed in the connection's buffer. */
#pragma once
#include <http_parser.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "../base/buf.h"
#include "http_request.h"
#include "http_server.h"

enum {
  CXB_HTTP_MAX_HEADERS = 100,
  CXB_HTTP_READ_STOP = 256 * 1024,  /* unread body bytes at which reading pauses */
  CXB_HTTP_WRITE_HIGH = 256 * 1024, /* unsent bytes at which a writer waits */
};

typedef struct cxb_http_conn cxb_http_conn;

/* Offsets into the connection's input, where the head stays until the request is done. */
typedef struct cxb_http_span {
  uint32_t at, len;
} cxb_http_span;

struct cxb_http_request {
  cxb_http_conn *conn; /* NULL: the socket has gone or was taken */
  int refs;            /* the connection, the script's object, a file being sent */
  cxb_http_span url, names[CXB_HTTP_MAX_HEADERS], values[CXB_HTTP_MAX_HEADERS];
  char short_head[512];
  int header_count;
  char *head; /* copy of the head, made when the connection leaves the request: short_head or
                 allocated */
  size_t head_len;
  char *path;        /* decoded when first asked for: short_path or allocated */
  uint32_t query_at; /* offset behind '?' or 0 */
  cxb_buf body;      /* received, not yet read by the script */
  uint64_t body_total;
  char remote[46];
  uint8_t method;
  bool http11, keep_alive, upgrade, websocket, expect_continue;
  bool head_done, complete, dispatched; /* parsed to here */
  bool started, finished, taken, chunked, no_body, slot;
  bool deserted;  /* its peer went before it was answered */
  bool handed_on; /* the task that ends next is not the one that answers */
  int status;
  int64_t began_ms;
  /* Who waits: called once when body bytes (or its end) arrive, or the peer went. */
  void (*on_body)(cxb_http_request *req, void *arg);
  void *on_body_arg;
  void (*on_writable)(cxb_http_request *req, void *arg);
  void *on_writable_arg;
  cxb_http_request *next_spare; /* while nobody has it */
  char short_path[128];
  char id[65]; /* "" until it was asked for */
};

struct cxb_http_conn {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  http_parser parser;
  cxb_buf in;       /* from the current request's first byte on */
  size_t parsed;    /* bytes of `in` the parser has seen */
  cxb_buf out;      /* corked output of this turn */
  size_t in_flight; /* bytes given to libuv in writes that have not ended */
  size_t unsent;    /* libuv's queue when the deadline of sending was set */
  cxb_http_request *req;
  cxb_http_conn *next, *prev;
  int64_t deadline_ms; /* of the present phase */
  uint64_t body_mark;  /* body_total when the body's deadline was set */
  bool reading, corked, gathered, closing, lingering, in_value, shut, peer_done;
  uv_shutdown_t shutdown;
  char peer[46]; /* its address, once it was asked for */
};

/* http_parse.c */
/* Feeds what was read to the parser, one request after another, until one has to be waited for. */
void cxb_http_parse(cxb_http_conn *conn);
/* Refuses the request under way and, after its answer, the connection. */
void cxb_http_parse_reject(cxb_http_conn *conn, int status, const char *code, const char *message);

/* http_conn.c */
void cxb_http_conn_accept(uv_stream_t *server, bool unix_socket);
/* No request is answered by keeping the connection from now on; idle ones, or (`now`) all, close.
 */
void cxb_http_conn_stop_all(bool now);
bool cxb_http_stopping(void);
void cxb_http_conn_expect_body(cxb_http_conn *conn); /* its deadline is the body's from now on */
void cxb_http_conn_stop_reading(cxb_http_conn *conn);
void cxb_http_conn_close(cxb_http_conn *conn);
void cxb_http_conn_flush(cxb_http_conn *conn); /* leaves when the turn of the loop ends */
void cxb_http_conn_push(cxb_http_conn *conn);  /* leaves now */
/* The response is complete: next request, or goodbye. */
void cxb_http_conn_request_done(cxb_http_conn *conn);
void cxb_http_conn_resume_reading(cxb_http_conn *conn);
int64_t cxb_http_clock(void);      /* monotonic ms, cached a turn */
int cxb_http_count_change(int by); /* requests being answered */

/* http_request.c */
cxb_http_request *cxb_http_request_new(cxb_http_conn *conn); /* one reference; NULL: no memory */
void cxb_http_request_free_spare(void);
void cxb_http_request_unref(cxb_http_request *req);
/* The connection is going: keeps what the script may still ask for. */
void cxb_http_request_detach(cxb_http_request *req);
const char *cxb_http_span_at(const cxb_http_request *req, cxb_http_span span);
/* The raw query, not NUL-terminated. */
const char *cxb_http_query_span(const cxb_http_request *req, size_t *len);
bool cxb_http_header_span(const cxb_http_request *req, const char *name, const char **value,
                          size_t *len);
bool cxb_http_valid_upgrade(const cxb_http_request *req);

/* Its X-Request-ID when that is 8 to 64 of A-Z a-z 0-9 _ -, else one made when first asked for. */
const char *cxb_http_request_id(cxb_http_request *req);

/* A refusal written by C: the one error shape of a service's own answers (error, message, detail,
 * request_id), or, without a message, {"error":"code"} alone, which callers of call workers match.
 * `code` and `message` go into JSON as they are. Retry-After when `retry` > 0. */
void cxb_http_refuse(cxb_http_request *req, int status, const char *code, const char *message,
                     int retry);
