/* Inside of the WebSocket part: ws.c (contexts, states, deadlines), ws_stream.c (the socket),
 * ws_accept.c and ws_connect.c (the two ways a connection begins). */
#pragma once
#include <stdbool.h>
#include <uv.h>

#include "ws.h"
#include "ws_frame.h"
#include "ws_tls.h"

enum { CXB_WS_READ_SIZE = 16384, CXB_WS_CLOSE_MS = 1500 };

struct cxb_ws_context {
  uv_loop_t *loop;
  uv_timer_t timer;   /* calls `done` */
  cxb_ws *list;       /* connections whose `close` has not been called */
  int live;           /* connections whose memory still exists */
  uint8_t *read_buf;  /* CXB_WS_READ_SIZE, made by the first connection */
  cxb_buf scratch;    /* an outgoing frame while it is masked */
  uint8_t masks[256]; /* random bytes not used yet: the last `masks_left` */
  size_t masks_left;
  cxb_ws_tls_context *tls; /* made by the first wss:// */
  bool closing;
  void (*done)(void *arg);
  void *done_arg;
};

typedef enum { WS_CONNECTING, WS_OPEN, WS_CLOSING, WS_ENDED } cxb_ws_state;

struct cxb_ws {
  cxb_ws_context *ctx;
  cxb_ws *next, *prev;
  const cxb_ws_handler *handler;
  void *user;
  cxb_ws_limits limits;
  void (*start)(cxb_ws *ws);      /* its first step on the loop */
  struct cxb_ws_attempt *attempt; /* of an outgoing connection until it is open (ws_connect.c) */
  uv_timer_t timer; /* first step, then the attempt's deadline, then pings, then the close's */
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } u;
  uv_shutdown_t shutdown;
  cxb_ws_parser parser;
  cxb_ws_tls *tls;
  char *early; /* bytes read before the WebSocket began */
  size_t early_len;
  int handles; /* open uv handles of these: timer, stream */
  cxb_ws_state state;
  bool has_stream;
  bool shut;   /* nothing more will be sent */
  bool broken; /* the peer's stream was malformed: what still comes is dropped */
  bool full;   /* a send was answered CXB_EAGAIN, `drained` is owed */
  bool heard;  /* bytes came since the last ping */
  int silent_pings;
  int end_code; /* what `close` will report, 0: not known yet */
  char end_reason[128];
};

/* ---- ws.c; from the loop only, never from inside an API call ---- */

/* Joins the context; `start` follows on the loop. */
void cxb_ws_init(cxb_ws *ws, cxb_ws_context *ctx, void (*start)(cxb_ws *ws),
                 const cxb_ws_limits *limits, const cxb_ws_handler *handler, void *user);
void cxb_ws_opened(cxb_ws *ws);
void cxb_ws_note_end(cxb_ws *ws, int code, const char *reason); /* the first note stays */
/* Calls `close` with what was noted (else 1006), then lets everything go. Idempotent. */
void cxb_ws_ended(cxb_ws *ws);
/* As cxb_ws_ended(), from the next turn of the loop. May be called from API functions. */
void cxb_ws_end_soon(cxb_ws *ws);
/* The stream is malformed: sends a close frame with `code` and reports it. */
void cxb_ws_fail(cxb_ws *ws, int code, const char *reason);
void cxb_ws_flushed(cxb_ws *ws);       /* what was queued shrank */
void cxb_ws_gone(cxb_ws_context *ctx); /* the connection's memory was freed */

/* ---- ws_stream.c ---- */

/* Opens a libuv stream of the kind `fd` is; the fd stays the caller's on failure. */
int cxb_ws_stream_open(cxb_ws *ws, int fd);
/* Writes bytes, through TLS when there is one; queues what the socket does not take. 0 or
 * CXB_ECLOSED. */
int cxb_ws_stream_bytes(cxb_ws *ws, const void *data, size_t len);
int cxb_ws_stream_flush_tls(cxb_ws *ws); /* writes what TLS has produced */
int cxb_ws_stream_frame(cxb_ws *ws, int opcode, const void *data, size_t len);
size_t cxb_ws_stream_queued(const cxb_ws *ws);
/* Reads frames from now on, first those in `early`. */
void cxb_ws_stream_begin(cxb_ws *ws);
void cxb_ws_stream_dispose(cxb_ws *ws);

/* ---- ws_connect.c ---- */

/* Ends an attempt. True: it calls cxb_ws_stream_dispose() later, a resolver still works for it. */
bool cxb_ws_attempt_drop(cxb_ws *ws);
void cxb_ws_attempt_free(struct cxb_ws_attempt *attempt); /* may be NULL */
