/* A Redis connection's socket on the loop. A poll error (a refused connect is one) lets hiredis
 * read and write, so that it sees the error itself and says so. */
#include <stdlib.h>

#include "../base/err.h"
#include "redis_internal.h"

typedef struct poller {
  uv_poll_t poll;
  redisAsyncContext *ctx; /* NULL: freed */
  int events;
} poller;

static void on_poll(uv_poll_t *handle, int status, int events) {
  poller *p = handle->data;
  if (status < 0)
    events = UV_READABLE | UV_WRITABLE;
  if (p->ctx && (events & UV_WRITABLE))
    redisAsyncHandleWrite(p->ctx);
  if (p->ctx && (events & UV_READABLE))
    redisAsyncHandleRead(p->ctx);
}

static void set_events(poller *p, int events) {
  p->events = events;
  if (events)
    uv_poll_start(&p->poll, events, on_poll);
  else
    uv_poll_stop(&p->poll);
}

static void add_read(void *arg) {
  poller *p = arg;
  set_events(p, p->events | UV_READABLE);
}

static void del_read(void *arg) {
  poller *p = arg;
  set_events(p, p->events & ~UV_READABLE);
}

static void add_write(void *arg) {
  poller *p = arg;
  set_events(p, p->events | UV_WRITABLE);
}

static void del_write(void *arg) {
  poller *p = arg;
  set_events(p, p->events & ~UV_WRITABLE);
}

static void on_closed(uv_handle_t *handle) {
  free(handle->data);
}

static void cleanup(void *arg) {
  poller *p = arg;
  p->ctx = NULL;
  uv_close((uv_handle_t *)&p->poll, on_closed);
}

int cxb_redis_attach(redisAsyncContext *ctx, uv_loop_t *loop) {
  poller *p = calloc(1, sizeof *p);
  if (!p || uv_poll_init(loop, &p->poll, ctx->c.fd) != 0) {
    free(p);
    return p ? CXB_EIO : CXB_ENOMEM;
  }
  p->poll.data = p;
  p->ctx = ctx;
  ctx->ev.data = p;
  ctx->ev.addRead = add_read;
  ctx->ev.delRead = del_read;
  ctx->ev.addWrite = add_write;
  ctx->ev.delWrite = del_write;
  ctx->ev.cleanup = cleanup;
  return 0;
}
