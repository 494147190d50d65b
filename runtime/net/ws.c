/* WebSocket connections: contexts, states, deadlines, pings; the same for both directions. */
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "ws_internal.h"

enum {
  DEFAULT_MESSAGE = 65536,
  DEFAULT_SEND = 1 << 20,
  DEFAULT_PING_S = 20,
  MAX_SILENT_PINGS = 3,
  MAX_OVERSHOOT = 4
};

/* ---- contexts ---- */

int cxb_ws_context_new(uv_loop_t *loop, cxb_ws_context **out) {
  cxb_ws_context *ctx = calloc(1, sizeof *ctx);
  if (!ctx)
    return CXB_ENOMEM;
  ctx->loop = loop;
  uv_timer_init(loop, &ctx->timer);
  uv_unref((uv_handle_t *)&ctx->timer);
  ctx->timer.data = ctx;
  *out = ctx;
  return 0;
}

static void context_timer_closed(uv_handle_t *handle) {
  cxb_ws_context *ctx = handle->data;
  void (*done)(void *arg) = ctx->done;
  void *arg = ctx->done_arg;
  cxb_ws_tls_context_free(ctx->tls);
  cxb_buf_free(&ctx->scratch);
  free(ctx->read_buf);
  free(ctx);
  if (done)
    done(arg);
}

static void context_gone(uv_timer_t *timer) {
  uv_close((uv_handle_t *)timer, context_timer_closed);
}

static void context_check(cxb_ws_context *ctx) {
  if (ctx->closing && ctx->live == 0)
    uv_timer_start(&ctx->timer, context_gone, 0, 0);
}

void cxb_ws_context_close(cxb_ws_context *ctx, void (*done)(void *arg), void *arg) {
  if (ctx->closing)
    return;
  ctx->closing = true;
  ctx->done = done;
  ctx->done_arg = arg;
  for (cxb_ws *ws = ctx->list; ws; ws = ws->next)
    cxb_ws_close(ws, 1001, "shutdown");
  uv_ref((uv_handle_t *)&ctx->timer);
  context_check(ctx);
}

/* ---- one connection ---- */

static void on_start(uv_timer_t *timer) {
  cxb_ws *ws = timer->data;
  ws->start(ws);
}

void cxb_ws_init(cxb_ws *ws, cxb_ws_context *ctx, void (*start)(cxb_ws *ws),
                 const cxb_ws_limits *limits, const cxb_ws_handler *handler, void *user) {
  ws->ctx = ctx;
  ws->start = start;
  ws->handler = handler;
  ws->user = user;
  if (limits)
    ws->limits = *limits;
  if (!ws->limits.max_text)
    ws->limits.max_text = DEFAULT_MESSAGE;
  if (!ws->limits.max_binary)
    ws->limits.max_binary = DEFAULT_MESSAGE;
  if (!ws->limits.max_send)
    ws->limits.max_send = DEFAULT_SEND;
  if (!ws->limits.ping_seconds)
    ws->limits.ping_seconds = DEFAULT_PING_S;
  ws->parser.max_text = ws->limits.max_text;
  ws->parser.max_binary = ws->limits.max_binary;
  ws->next = ctx->list;
  if (ws->next)
    ws->next->prev = ws;
  ctx->list = ws;
  ctx->live++;
  ws->handles++;
  uv_timer_init(ctx->loop, &ws->timer);
  ws->timer.data = ws;
  uv_timer_start(&ws->timer, on_start, 0, 0);
}

static void on_end_timer(uv_timer_t *timer) {
  cxb_ws_ended(timer->data);
}

void cxb_ws_end_soon(cxb_ws *ws) {
  if (ws->state == WS_ENDED)
    return;
  ws->state = WS_CLOSING;
  uv_timer_start(&ws->timer, on_end_timer, 0, 0);
}

void cxb_ws_note_end(cxb_ws *ws, int code, const char *reason) {
  if (ws->end_code)
    return;
  ws->end_code = code;
  if (reason) {
    strncpy(ws->end_reason, reason, sizeof ws->end_reason - 1);
    ws->end_reason[sizeof ws->end_reason - 1] = 0;
  }
}

void cxb_ws_ended(cxb_ws *ws) {
  if (ws->state == WS_ENDED)
    return;
  ws->state = WS_ENDED;
  uv_timer_stop(&ws->timer);
  if (ws->prev)
    ws->prev->next = ws->next;
  else
    ws->ctx->list = ws->next;
  if (ws->next)
    ws->next->prev = ws->prev;
  ws->next = ws->prev = NULL;
  if (ws->handler->close)
    ws->handler->close(ws, ws->user, ws->end_code ? ws->end_code : 1006, ws->end_reason);
  if (!ws->attempt || !cxb_ws_attempt_drop(ws))
    cxb_ws_stream_dispose(ws);
}

void cxb_ws_gone(cxb_ws_context *ctx) {
  ctx->live--;
  context_check(ctx);
}

/* A ping is due. A peer that answered none of the last three is gone. */
static void on_ping_timer(uv_timer_t *timer) {
  cxb_ws *ws = timer->data;
  ws->silent_pings = ws->heard ? 0 : ws->silent_pings + 1;
  ws->heard = false;
  if (ws->silent_pings > MAX_SILENT_PINGS) {
    cxb_ws_note_end(ws, 1006, "no answer to pings");
    cxb_ws_ended(ws);
    return;
  }
  cxb_ws_ping(ws);
}

void cxb_ws_opened(cxb_ws *ws) {
  ws->state = WS_OPEN;
  ws->heard = true;
  uv_timer_stop(&ws->timer);
  if (ws->limits.ping_seconds > 0) {
    uint64_t ms = (uint64_t)ws->limits.ping_seconds * 1000;
    uv_timer_start(&ws->timer, on_ping_timer, ms, ms);
  }
  if (ws->handler->open)
    ws->handler->open(ws, ws->user);
}

void cxb_ws_flushed(cxb_ws *ws) {
  if (!ws->full || cxb_ws_stream_queued(ws) >= ws->limits.max_send / 2)
    return;
  ws->full = false;
  if (ws->state == WS_OPEN && ws->handler->drained)
    ws->handler->drained(ws, ws->user);
}

static void send_close_frame(cxb_ws *ws, int code, const char *reason) {
  uint8_t payload[CXB_WS_CONTROL_MAX];
  size_t len = cxb_ws_close_payload(payload, code, reason);
  ws->state = WS_CLOSING;
  uv_timer_start(&ws->timer, on_end_timer, CXB_WS_CLOSE_MS, 0);
  if (cxb_ws_stream_frame(ws, CXB_WS_CLOSE, payload, len))
    cxb_ws_end_soon(ws);
}

void cxb_ws_fail(cxb_ws *ws, int code, const char *reason) {
  cxb_ws_note_end(ws, code, reason);
  if (ws->state == WS_OPEN)
    send_close_frame(ws, code, reason);
}

/* ---- what callers use ---- */

int cxb_ws_send(cxb_ws *ws, bool binary, const void *data, size_t len) {
  if (ws->state != WS_OPEN)
    return CXB_ECLOSED;
  if (cxb_ws_stream_queued(ws) > ws->limits.max_send * MAX_OVERSHOOT) {
    cxb_ws_note_end(ws, 1006, "slow peer");
    cxb_ws_end_soon(ws);
    return CXB_ECLOSED;
  }
  int err = cxb_ws_stream_frame(ws, binary ? CXB_WS_BINARY : CXB_WS_TEXT, data, len);
  if (err) {
    cxb_ws_end_soon(ws);
    return err;
  }
  if (cxb_ws_stream_queued(ws) <= ws->limits.max_send)
    return 0;
  ws->full = true;
  return CXB_EAGAIN;
}

size_t cxb_ws_queued(const cxb_ws *ws) {
  return ws->has_stream ? cxb_ws_stream_queued(ws) : 0;
}

void cxb_ws_ping(cxb_ws *ws) {
  if (ws->state == WS_OPEN && cxb_ws_stream_frame(ws, CXB_WS_PING, "cxb", 3))
    cxb_ws_end_soon(ws);
}

void cxb_ws_close(cxb_ws *ws, int code, const char *reason) {
  if (ws->state == WS_CONNECTING) {
    cxb_ws_note_end(ws, 1006, "closed");
    cxb_ws_end_soon(ws);
  } else if (ws->state == WS_OPEN) {
    send_close_frame(ws, code, reason);
  }
}
