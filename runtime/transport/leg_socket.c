/* A leg on its WebSocket: everything after cxb_leg_accept() runs on the media loop. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/err.h"
#include "../net/ws.h"
#include "leg_internal.h"

enum { MAX_QUEUED = 1 << 20 };

typedef struct socket_leg {
  cxb_leg leg; /* first: the two are one address */
  cxb_ws *ws;  /* NULL: not yet, or gone */
  uv_timer_t timer;
  char *query;
  cxb_media *media; /* the three of the way to the media loop */
  int fd;
  char *head;
  size_t head_len;
} socket_leg;

/* The media loop's WebSocket context: one a process, made for its first call, media loop only. */
static cxb_ws_context *ws_context;

/* ---- the link ---- */

static int on_send(cxb_leg *leg, bool binary, const void *data, size_t len) {
  cxb_ws *ws = ((socket_leg *)leg)->ws;
  return ws ? cxb_ws_send(ws, binary, data, len) : CXB_ECLOSED;
}

static void on_close_wanted(cxb_leg *leg, int code, const char *reason) {
  cxb_ws *ws = ((socket_leg *)leg)->ws;
  if (ws)
    cxb_ws_close(ws, code, reason);
}

static int64_t on_now(const cxb_leg *leg) {
  return (int64_t)uv_now(((const socket_leg *)leg)->timer.loop);
}

static void on_timer(uv_timer_t *timer) {
  cxb_leg_fire_due(timer->data);
}

static void on_wake_at(cxb_leg *leg, int64_t next) {
  uv_timer_t *timer = &((socket_leg *)leg)->timer;
  int64_t wait = next - on_now(leg);
  if (next)
    uv_timer_start(timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
  else
    uv_timer_stop(timer);
}

static void free_leg(socket_leg *s) {
  cxb_leg_fini(&s->leg);
  free(s->query);
  free(s->head);
  free(s);
}

static void on_timer_closed(uv_handle_t *timer) {
  free_leg(timer->data);
}

static void on_free(cxb_leg *leg) {
  uv_close((uv_handle_t *)&((socket_leg *)leg)->timer, on_timer_closed);
}

static const cxb_leg_link socket_link = {.send = on_send,
                                         .close = on_close_wanted,
                                         .now = on_now,
                                         .wake_at = on_wake_at,
                                         .free = on_free};

/* ---- the socket ---- */

static void on_open(cxb_ws *ws, void *user) {
  socket_leg *s = user;
  s->ws = ws;
  cxb_leg_opened(&s->leg, s->query ? s->query : "");
}

static void on_message(cxb_ws *ws, void *user, bool binary, const uint8_t *data, size_t len) {
  (void)ws;
  cxb_leg_message(user, binary, data, len);
}

static void on_pong(cxb_ws *ws, void *user) {
  (void)ws;
  cxb_session_in_alive(((cxb_leg *)user)->session);
}

static void on_closed(cxb_ws *ws, void *user, int code, const char *reason) {
  socket_leg *s = user;
  (void)ws;
  s->ws = NULL;
  cxb_leg_gone(&s->leg, code, reason);
}

static const cxb_ws_handler handler = {
    .open = on_open, .message = on_message, .pong = on_pong, .close = on_closed};

/* ---- the way to the media loop ---- */

/* The raw query of "GET /path?query HTTP/1.1", or NULL. */
static char *query_of(const char *head, size_t len) {
  const char *end = memchr(head, '\r', len);
  size_t line = end ? (size_t)(end - head) : len;
  const char *question = memchr(head, '?', line);
  if (!question)
    return NULL;
  const char *from = question + 1;
  size_t rest = line - (size_t)(from - head);
  const char *space = memchr(from, ' ', rest);
  size_t n = space ? (size_t)(space - from) : rest;
  char *query = malloc(n + 1);
  if (query) {
    memcpy(query, from, n);
    query[n] = '\0';
  }
  return query;
}

static void adopt(void *arg) {
  socket_leg *s = arg;
  const cxb_serializer *ser = s->leg.ser;
  uv_loop_t *loop = cxb_media_loop(s->media);
  uv_timer_init(loop, &s->timer);
  s->timer.data = s;
  cxb_leg_begin(&s->leg);
  const cxb_ws_limits limits = {
      .max_text = ser->max_text, .max_binary = ser->max_binary, .max_send = MAX_QUEUED};
  int r = ws_context ? 0 : cxb_ws_context_new(loop, &ws_context);
  if (r < 0)
    close(s->fd);
  else
    r = cxb_ws_adopt(ws_context, s->fd, s->head, s->head_len, ser->subprotocols, &limits, &handler,
                     s, &s->ws);
  free(s->head);
  s->head = NULL;
  if (r < 0)
    cxb_leg_gone(&s->leg, 1006, cxb_strerror(r));
}

int cxb_leg_accept(cxb_media *media, cxb_session *session, const cxb_serializer *ser,
                   const cxb_leg_options *options, int fd, char *head, size_t head_len,
                   cxb_leg_counts *counts) {
  socket_leg *s = calloc(1, sizeof *s);
  if (!s || cxb_leg_init(&s->leg, ser, &socket_link, session, options) < 0) {
    free(s);
    free(head);
    close(fd);
    return CXB_ENOMEM;
  }
  if (counts)
    s->leg.counts = counts;
  s->media = media;
  s->fd = fd;
  s->head = head;
  s->head_len = head_len;
  s->query = query_of(head, head_len);
  cxb_media_post(media, adopt, s);
  return 0;
}

typedef struct shutdown_job {
  void (*done)(void *arg);
  void *arg;
} shutdown_job;

static void close_context(void *arg) {
  shutdown_job job = *(shutdown_job *)arg;
  free(arg);
  cxb_ws_context *ctx = ws_context;
  ws_context = NULL;
  if (ctx)
    cxb_ws_context_close(ctx, job.done, job.arg);
  else
    job.done(job.arg);
}

void cxb_leg_shutdown(cxb_media *media, void (*done)(void *arg), void *arg) {
  shutdown_job *job = malloc(sizeof *job);
  if (!job)
    abort();
  *job = (shutdown_job){done, arg};
  cxb_media_post(media, close_context, job);
}
