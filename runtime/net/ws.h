/* WebSocket connections in both directions on libuv streams, on any loop. Not on libwebsockets, as
 * first planned: the 4.1.6 of Debian takes a client's frames that are not masked and shows no one
 * the mask bit, loses its libuv watcher when a connection is refused (a later descriptor of the
 * same number then crashes), and costs a context with a table of descriptors for each loop.
 *
 * One cxb_ws_context per loop: the main loop has one (scripts, providers), a call worker's media
 * loop another (the call's own socket). Everything here belongs to the loop's thread. Messages are
 * delivered whole: fragments are reassembled up to the limit. permessage-deflate is off. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

typedef struct cxb_ws_context cxb_ws_context;
typedef struct cxb_ws cxb_ws;

/* Called on the loop only, never from inside a function below. */
typedef struct cxb_ws_handler {
  void (*open)(cxb_ws *ws, void *user);
  /* One whole message, borrowed for the call. */
  void (*message)(cxb_ws *ws, void *user, bool binary, const uint8_t *data, size_t len);
  void (*pong)(cxb_ws *ws, void *user);
  /* The send buffer fell below half of its limit after a send had answered CXB_EAGAIN. */
  void (*drained)(cxb_ws *ws, void *user);
  /* Exactly once, last: also when a connection attempt or a handshake failed (then `open` was never
   * called). `code`: the peer's close code, 1006 when the socket just went, 1009/1007/1002 when we
   * closed for that reason, the HTTP status (401, 503 …) when a client handshake was refused with
   * one. When a connection attempt failed without a status, code is 1006 and `reason` begins with
   * "refused", "resolve", "timeout", "tls" or "closed". */
  void (*close)(cxb_ws *ws, void *user, int code, const char *reason);
} cxb_ws_handler;

typedef struct cxb_ws_limits {
  size_t max_text;   /* bytes of one text message, 0: 65,536 */
  size_t max_binary; /* bytes of one binary message, 0: 65,536 */
  size_t max_send;   /* bytes queued to send, 0: 1 MiB */
  int ping_seconds;  /* 0: 20; < 0: never */
} cxb_ws_limits;

int cxb_ws_context_new(uv_loop_t *loop, cxb_ws_context **out);
/* Closes every connection (1001), then `done` is called on the loop and the context is gone. */
void cxb_ws_context_close(cxb_ws_context *ctx, void (*done)(void *arg), void *arg);

/* Serves an Upgrade request already read from `fd` (ownership taken, also on failure). `head` are
 * the bytes read so far, request line first. Of the subprotocols `protocols` (by commas,
 * may be NULL) the first that the client offered is echoed. On failure the fd is closed and
 * negative returned. */
int cxb_ws_adopt(cxb_ws_context *ctx, int fd, const char *head, size_t head_len,
                 const char *protocols, const cxb_ws_limits *limits, const cxb_ws_handler *handler,
                 void *user, cxb_ws **out);

/* Connects to ws://, wss:// or ws+unix:<socket path>:<uri path>. `headers` is "Name: value\r\n"
 * lines or NULL. Names are resolved by libuv, so nothing blocks. */
int cxb_ws_connect(cxb_ws_context *ctx, const char *url, const char *headers, const char *protocol,
                   int timeout_ms, const cxb_ws_limits *limits, const cxb_ws_handler *handler,
                   void *user, cxb_ws **out);

/* Queues one message (copied). CXB_EAGAIN: the message was queued but the buffer is above its
 * limit; CXB_ECLOSED: not queued. Tries to write at once when the socket is writable. Above four
 * times the limit the connection is ended with 1006 "slow peer". */
int cxb_ws_send(cxb_ws *ws, bool binary, const void *data, size_t len);
size_t cxb_ws_queued(const cxb_ws *ws); /* bytes not yet given to the socket */
/* Sends what is queued, then a close frame. Later sends answer CXB_ECLOSED. Idempotent. The
 * handler's `close` follows within 2 s whatever the peer does. */
void cxb_ws_close(cxb_ws *ws, int code, const char *reason);
void cxb_ws_ping(cxb_ws *ws);
