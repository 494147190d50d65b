/* The socket of a WebSocket: frames in and out of a libuv stream, the closing handshake. */
#include <stdlib.h>
#include <string.h>

#include "../base/crypto.h"
#include "../base/err.h"
#include "ws_internal.h"

typedef struct write_rest {
  uv_write_t req;
  cxb_ws *ws;
  char data[];
} write_rest;

int cxb_ws_stream_open(cxb_ws *ws, int fd) {
  bool tcp = uv_guess_handle(fd) == UV_TCP;
  if (tcp)
    uv_tcp_init(ws->ctx->loop, &ws->u.tcp);
  else
    uv_pipe_init(ws->ctx->loop, &ws->u.pipe, 0);
  ws->u.handle.data = ws;
  ws->has_stream = true;
  ws->handles++;
  int err = tcp ? uv_tcp_open(&ws->u.tcp, fd) : uv_pipe_open(&ws->u.pipe, fd);
  if (!err && tcp)
    uv_tcp_nodelay(&ws->u.tcp, 1);
  return err ? CXB_EIO : 0;
}

/* ---- writing ---- */

static void on_written(uv_write_t *req, int status) {
  write_rest *rest = (write_rest *)req;
  cxb_ws *ws = rest->ws;
  free(rest);
  if (ws->state == WS_ENDED)
    return;
  if (status < 0)
    cxb_ws_ended(ws);
  else
    cxb_ws_flushed(ws);
}

/* Copies what is left of `bufs` after `skip` bytes and queues it. */
static int write_later(cxb_ws *ws, const uv_buf_t bufs[2], size_t skip) {
  size_t total = bufs[0].len + bufs[1].len;
  write_rest *rest = malloc(sizeof *rest + total - skip);
  if (!rest)
    return CXB_ECLOSED;
  size_t at = 0;
  for (int i = 0; i < 2; i++) {
    size_t from = skip < bufs[i].len ? skip : bufs[i].len;
    if (bufs[i].len > from)
      memcpy(rest->data + at, bufs[i].base + from, bufs[i].len - from);
    at += bufs[i].len - from;
    skip -= from;
  }
  rest->ws = ws;
  uv_buf_t buf = uv_buf_init(rest->data, (unsigned)at);
  if (uv_write(&rest->req, &ws->u.stream, &buf, 1, on_written) == 0)
    return 0;
  free(rest);
  return CXB_ECLOSED;
}

/* One writev() when the socket takes it all. */
static int write_two(cxb_ws *ws, const void *a, size_t a_len, const void *b, size_t b_len) {
  uv_buf_t bufs[2] = {{.base = (char *)(uintptr_t)a, .len = a_len},
                      {.base = (char *)(uintptr_t)b, .len = b_len}};
  int n = uv_try_write(&ws->u.stream, bufs, b_len ? 2 : 1);
  if (n < 0 && n != UV_EAGAIN)
    return CXB_ECLOSED;
  return n >= 0 && (size_t)n == a_len + b_len ? 0 : write_later(ws, bufs, n > 0 ? (size_t)n : 0);
}

int cxb_ws_stream_flush_tls(cxb_ws *ws) {
  char *data;
  size_t n = cxb_ws_tls_outgoing(ws->tls, &data);
  int err = n ? write_two(ws, data, n, NULL, 0) : 0;
  cxb_ws_tls_sent(ws->tls);
  return err;
}

int cxb_ws_stream_bytes(cxb_ws *ws, const void *data, size_t len) {
  if (!ws->tls)
    return write_two(ws, data, len, NULL, 0);
  int err = cxb_ws_tls_write(ws->tls, data, len);
  return err ? err : cxb_ws_stream_flush_tls(ws);
}

static const uint8_t *next_mask(cxb_ws_context *ctx) {
  if (ctx->masks_left < 4) {
    cxb_random(ctx->masks, sizeof ctx->masks);
    ctx->masks_left = sizeof ctx->masks;
  }
  ctx->masks_left -= 4;
  return ctx->masks + ctx->masks_left;
}

/* A client's frame: it has to be copied to be masked. */
static int masked_frame(cxb_ws *ws, int opcode, const void *data, size_t len) {
  cxb_buf *b = &ws->ctx->scratch;
  const uint8_t *mask = next_mask(ws->ctx);
  cxb_buf_clear(b);
  if (cxb_buf_reserve(b, CXB_WS_HEADER_MAX + len))
    return CXB_ECLOSED;
  size_t at = cxb_ws_frame_header((uint8_t *)b->data, opcode, len, mask);
  if (len)
    memcpy(b->data + at, data, len);
  cxb_ws_mask((uint8_t *)b->data + at, len, mask, 0);
  return cxb_ws_stream_bytes(ws, b->data, at + len);
}

int cxb_ws_stream_frame(cxb_ws *ws, int opcode, const void *data, size_t len) {
  if (ws->shut || !ws->has_stream)
    return CXB_ECLOSED;
  if (ws->parser.from_server)
    return masked_frame(ws, opcode, data, len);
  uint8_t header[CXB_WS_HEADER_MAX];
  size_t n = cxb_ws_frame_header(header, opcode, len, NULL);
  return write_two(ws, header, n, data, len);
}

size_t cxb_ws_stream_queued(const cxb_ws *ws) {
  return ws->u.stream.write_queue_size;
}

/* ---- ending ---- */

static void on_shutdown(uv_shutdown_t *req, int status) {
  cxb_ws *ws = req->data;
  (void)status;
  /* After a malformed stream the socket stays open for the peer to read why, until its end of
   * file or the close deadline: closing over unread bytes would send a reset. */
  if (ws->state != WS_ENDED && !ws->broken)
    cxb_ws_ended(ws);
}

/* Nothing more will be sent. */
static void shut_down(cxb_ws *ws) {
  if (ws->shut)
    return;
  ws->shut = true;
  ws->shutdown.data = ws;
  if (uv_shutdown(&ws->shutdown, &ws->u.stream, on_shutdown))
    cxb_ws_end_soon(ws);
}

static void on_handle_closed(uv_handle_t *handle) {
  cxb_ws *ws = handle->data;
  if (--ws->handles > 0)
    return;
  cxb_ws_context *ctx = ws->ctx;
  cxb_ws_attempt_free(ws->attempt);
  cxb_ws_parser_free(&ws->parser);
  cxb_ws_tls_free(ws->tls);
  free(ws->early);
  free(ws);
  cxb_ws_gone(ctx);
}

void cxb_ws_stream_dispose(cxb_ws *ws) {
  ws->parser.stopped = true;
  if (ws->has_stream) {
    ws->has_stream = false;
    uv_close(&ws->u.handle, on_handle_closed);
  }
  uv_close((uv_handle_t *)&ws->timer, on_handle_closed);
}

/* ---- reading ---- */

static bool on_message(void *arg, bool binary, const uint8_t *data, size_t len) {
  cxb_ws *ws = arg;
  if (ws->state == WS_OPEN && ws->handler->message)
    ws->handler->message(ws, ws->user, binary, data, len);
  return false;
}

static void break_off(cxb_ws *ws, int code, const char *why) {
  ws->broken = true;
  cxb_ws_fail(ws, code, why);
  shut_down(ws);
}

static void on_peer_close(cxb_ws *ws, const uint8_t *data, size_t len) {
  char reason[CXB_WS_CONTROL_MAX];
  int code = cxb_ws_close_code(data, len, reason);
  if (code == 0) {
    break_off(ws, 1002, "malformed close");
    return;
  }
  cxb_ws_note_end(ws, code, reason);
  if (ws->state == WS_OPEN)
    cxb_ws_close(ws, code, NULL);
  uv_read_stop(&ws->u.stream);
  shut_down(ws);
}

static bool on_control(void *arg, int opcode, const uint8_t *data, size_t len) {
  cxb_ws *ws = arg;
  switch (opcode) {
  case CXB_WS_PING:
    /* A peer that floods pings without reading gets no more than it can take. */
    if (ws->state == WS_OPEN && cxb_ws_stream_queued(ws) < ws->limits.max_send &&
        cxb_ws_stream_frame(ws, CXB_WS_PONG, data, len))
      cxb_ws_end_soon(ws);
    return false;
  case CXB_WS_PONG:
    if (ws->state == WS_OPEN && ws->handler->pong)
      ws->handler->pong(ws, ws->user);
    return false;
  default:
    on_peer_close(ws, data, len);
    return true;
  }
}

static void feed(cxb_ws *ws, uint8_t *data, size_t len) {
  static const cxb_ws_frame_handler handler = {on_message, on_control};
  ws->heard = true;
  int code = cxb_ws_parser_push(&ws->parser, data, len, &handler, ws);
  if (code)
    break_off(ws, code,
              code == 1007   ? "invalid UTF-8"
              : code == 1009 ? "message too big"
                             : "protocol error");
}

static void feed_tls(cxb_ws *ws, const uint8_t *data, size_t len) {
  uint8_t plain[CXB_WS_READ_SIZE];
  ssize_t n = len && cxb_ws_tls_push(ws->tls, data, len) ? CXB_ECLOSED : 1;
  while (n > 0 && ws->state != WS_ENDED) {
    n = cxb_ws_tls_read(ws->tls, plain, sizeof plain);
    if (n > 0)
      feed(ws, plain, (size_t)n);
  }
  if (ws->state == WS_ENDED)
    return;
  if (n < 0 || cxb_ws_stream_flush_tls(ws))
    cxb_ws_ended(ws);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  cxb_ws *ws = handle->data;
  (void)suggested;
  *buf = uv_buf_init((char *)ws->ctx->read_buf, CXB_WS_READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  cxb_ws *ws = stream->data;
  if (n < 0)
    cxb_ws_ended(ws);
  else if (n > 0 && ws->tls)
    feed_tls(ws, (const uint8_t *)buf->base, (size_t)n);
  else if (n > 0)
    feed(ws, (uint8_t *)buf->base, (size_t)n);
}

void cxb_ws_stream_begin(cxb_ws *ws) {
  char *early = ws->early;
  ws->early = NULL;
  if (early)
    feed(ws, (uint8_t *)early, ws->early_len);
  free(early);
  if (ws->state == WS_ENDED || (ws->shut && !ws->broken))
    return;
  if (!ws->ctx->read_buf)
    ws->ctx->read_buf = malloc(CXB_WS_READ_SIZE);
  if (!ws->ctx->read_buf || uv_read_start(&ws->u.stream, on_alloc, on_read))
    cxb_ws_end_soon(ws);
  else if (ws->tls)
    feed_tls(ws, NULL, 0); /* what TLS holds already */
}
