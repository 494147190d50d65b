/* A leg on a TCP stream of packets (AudioSocket): everything after cxb_leg_accept_tcp() runs on the
 * media loop. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/buf.h"
#include "../base/err.h"
#include "leg_internal.h"

enum { MAX_QUEUED = 1 << 20, HEAD = 3, CLOSE_MS = 2000 };

typedef struct tcp_leg {
  cxb_leg leg; /* first: the two are one address */
  uv_tcp_t tcp;
  uv_timer_t timer, closer; /* closer: the far end has so long to close */
  uv_shutdown_t shutdown;
  int fd; /* until the stream is open */
  bool closing;
  int open_timers;
  cxb_buf in;
  char piece[16384];
} tcp_leg;

static tcp_leg *of(const void *leg) {
  return (tcp_leg *)leg;
}

/* ---- the end ---- */

static void on_tcp_closed(uv_handle_t *handle) {
  tcp_leg *t = handle->data;
  cxb_leg_gone(&t->leg, 1006, "");
}

static void drop(tcp_leg *t) {
  uv_timer_stop(&t->closer);
  if (!uv_is_closing((uv_handle_t *)&t->tcp))
    uv_close((uv_handle_t *)&t->tcp, on_tcp_closed);
}

static void on_closer(uv_timer_t *timer) {
  drop(timer->data);
}

static void on_shutdown(uv_shutdown_t *request, int status) {
  (void)status;
  (void)request; /* what we sent is out; the far end's close is awaited */
}

static void on_close_wanted(cxb_leg *leg, int code, const char *reason) {
  tcp_leg *t = of(leg);
  (void)code;
  (void)reason;
  t->closing = true;
  uv_timer_start(&t->closer, on_closer, CLOSE_MS, 0);
  if (uv_shutdown(&t->shutdown, (uv_stream_t *)&t->tcp, on_shutdown) != 0)
    drop(t);
}

static void on_timer_closed(uv_handle_t *handle) {
  tcp_leg *t = handle->data;
  if (--t->open_timers > 0)
    return;
  cxb_leg_fini(&t->leg);
  cxb_buf_free(&t->in);
  free(t);
}

static void on_free(cxb_leg *leg) {
  uv_close((uv_handle_t *)&of(leg)->timer, on_timer_closed);
  uv_close((uv_handle_t *)&of(leg)->closer, on_timer_closed);
}

/* ---- the link ---- */

typedef struct write_job {
  uv_write_t request;
  char data[];
} write_job;

static void on_written(uv_write_t *request, int status) {
  (void)status; /* a broken stream shows in reading */
  free(request);
}

static int on_send(cxb_leg *leg, bool binary, const void *data, size_t len) {
  uv_stream_t *stream = (uv_stream_t *)&of(leg)->tcp;
  (void)binary;
  if (uv_is_closing((uv_handle_t *)stream))
    return CXB_ECLOSED;
  uv_buf_t buf = uv_buf_init((char *)data, (unsigned)len);
  int done = uv_try_write(stream, &buf, 1);
  if (done == (int)len)
    return 0;
  size_t sent = done > 0 ? (size_t)done : 0;
  write_job *job = malloc(sizeof *job + len - sent);
  if (!job)
    return CXB_ENOMEM;
  memcpy(job->data, (const char *)data + sent, len - sent);
  buf = uv_buf_init(job->data, (unsigned)(len - sent));
  if (uv_write(&job->request, stream, &buf, 1, on_written) != 0) {
    free(job);
    return CXB_ECLOSED;
  }
  return uv_stream_get_write_queue_size(stream) > MAX_QUEUED ? CXB_EAGAIN : 0;
}

static int64_t on_now(const cxb_leg *leg) {
  return (int64_t)uv_now(of(leg)->timer.loop);
}

static void on_timer(uv_timer_t *timer) {
  cxb_leg_fire_due(timer->data);
}

static void on_wake_at(cxb_leg *leg, int64_t next) {
  uv_timer_t *timer = &of(leg)->timer;
  int64_t wait = next - on_now(leg);
  if (next)
    uv_timer_start(timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
  else
    uv_timer_stop(timer);
}

static const cxb_leg_link tcp_link = {.send = on_send,
                                      .close = on_close_wanted,
                                      .now = on_now,
                                      .wake_at = on_wake_at,
                                      .free = on_free};

/* ---- packets ---- */

static void on_room(uv_handle_t *handle, size_t hint, uv_buf_t *buf) {
  tcp_leg *t = handle->data;
  (void)hint;
  *buf = uv_buf_init(t->piece, sizeof t->piece);
}

static void take_packets(tcp_leg *t) {
  size_t at = 0;
  while (!t->closing && t->in.len - at >= HEAD) {
    const uint8_t *p = (const uint8_t *)t->in.data + at;
    size_t len = HEAD + (size_t)(p[1] << 8 | p[2]);
    if (t->in.len - at < len)
      break;
    cxb_leg_message(&t->leg, true, p, len);
    at += len;
  }
  cxb_buf_consume(&t->in, at);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  tcp_leg *t = stream->data;
  if (n < 0)
    drop(t);
  else if (!t->closing && cxb_buf_add(&t->in, buf->base, (size_t)n) != 0)
    drop(t);
  else if (!t->closing)
    take_packets(t);
}

/* ---- the way to the media loop ---- */

static void adopt(uv_loop_t *loop, tcp_leg *t) {
  uv_tcp_init(loop, &t->tcp);
  uv_timer_init(loop, &t->timer);
  uv_timer_init(loop, &t->closer);
  t->tcp.data = t->timer.data = t->closer.data = t;
  t->open_timers = 2;
  cxb_leg_begin(&t->leg);
  int r = uv_tcp_open(&t->tcp, t->fd);
  if (r != 0)
    close(t->fd);
  else
    r = uv_read_start((uv_stream_t *)&t->tcp, on_room, on_read);
  if (r != 0) {
    drop(t);
    return;
  }
  uv_tcp_nodelay(&t->tcp, 1);
  cxb_leg_opened(&t->leg, "");
}

typedef struct adoption {
  cxb_media *media;
  tcp_leg *leg;
} adoption;

static void on_media(void *arg) {
  adoption job = *(adoption *)arg;
  free(arg);
  adopt(cxb_media_loop(job.media), job.leg);
}

int cxb_leg_accept_tcp(cxb_media *media, cxb_session *session, const cxb_serializer *ser,
                       const cxb_leg_options *options, int fd, cxb_leg_counts *counts) {
  tcp_leg *t = calloc(1, sizeof *t);
  adoption *job = malloc(sizeof *job);
  if (!t || !job || cxb_leg_init(&t->leg, ser, &tcp_link, session, options) < 0) {
    free(t);
    free(job);
    close(fd);
    return CXB_ENOMEM;
  }
  if (counts)
    t->leg.counts = counts;
  t->fd = fd;
  *job = (adoption){media, t};
  cxb_media_post(media, on_media, job);
  return 0;
}
