/* A leg: the socket side of one call. Everything after cxb_leg_accept() runs on the media loop. */
#include "leg.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "../base/err.h"
#include "../net/ws.h"

enum { T_HANDSHAKE, T_ANSWER, T_SERIALIZER, T_COUNT };
enum { HANDSHAKE_MS = 10000, MAX_QUEUED = 1 << 20 };

struct cxb_leg {
  const cxb_serializer *ser;
  cxb_session *session;
  cxb_wire ops;
  cxb_ws *ws;              /* NULL: detached, or the socket is gone */
  cxb_leg_send_cb send;    /* detached only */
  void *send_arg;
  uv_timer_t timer;        /* live only: runs to the nearest deadline */
  int64_t deadline[T_COUNT]; /* 0: none */
  int64_t fake_now;        /* detached only */
  uint64_t ignored;
  int close_code;          /* 0: not closing */
  const char *close_reason;
  bool detached, gone, released;
  char *query;
  max_align_t state[];
};

typedef struct accept_job {
  cxb_media *media;
  cxb_leg *leg;
  int fd;
  char *head;
  size_t head_len;
} accept_job;

/* The media loop's WebSocket context: one a process, made for its first call, media loop only. */
static cxb_ws_context *ws_context;

/* ---- timers ---- */

int64_t cxb_leg_now(const cxb_leg *leg) {
  return leg->detached ? leg->fake_now : (int64_t)uv_now(leg->timer.loop);
}

static void on_timer(uv_timer_t *timer);

static void rearm(cxb_leg *leg) {
  int64_t next = 0;
  for (int i = 0; i < T_COUNT; i++)
    if (leg->deadline[i] && (!next || leg->deadline[i] < next))
      next = leg->deadline[i];
  if (leg->detached || leg->gone)
    return;
  if (!next) {
    uv_timer_stop(&leg->timer);
    return;
  }
  int64_t wait = next - cxb_leg_now(leg);
  uv_timer_start(&leg->timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
}

static void set_deadline(cxb_leg *leg, int which, int ms) {
  leg->deadline[which] = ms > 0 ? cxb_leg_now(leg) + ms : 0;
  rearm(leg);
}

static void fire_due(cxb_leg *leg) {
  int64_t now = cxb_leg_now(leg);
  for (int i = 0; i < T_COUNT && !leg->gone; i++) {
    if (!leg->deadline[i] || leg->deadline[i] > now)
      continue;
    leg->deadline[i] = 0;
    if (i == T_SERIALIZER) {
      if (leg->ser->timer)
        leg->ser->timer(leg);
    } else {
      cxb_leg_close(leg, 1002, i == T_HANDSHAKE ? "handshake_timeout" : "answer_timeout");
    }
  }
}

static void on_timer(uv_timer_t *timer) {
  cxb_leg *leg = timer->data;
  fire_due(leg);
  rearm(leg);
}

void cxb_leg_handshake_done(cxb_leg *leg) {
  set_deadline(leg, T_HANDSHAKE, 0);
}

void cxb_leg_expect_answer(cxb_leg *leg, int seconds) {
  set_deadline(leg, T_ANSWER, seconds * 1000);
}

void cxb_leg_timer(cxb_leg *leg, int ms) {
  set_deadline(leg, T_SERIALIZER, ms);
}

/* ---- for serializers ---- */

void *cxb_leg_state(cxb_leg *leg) {
  return leg->state;
}

cxb_session *cxb_leg_session(cxb_leg *leg) {
  return leg->session;
}

void cxb_leg_ignore(cxb_leg *leg) {
  leg->ignored++;
}

static int leg_send(cxb_leg *leg, bool binary, const void *data, size_t len) {
  if (leg->gone || leg->close_code)
    return CXB_ECLOSED;
  if (leg->detached)
    return leg->send(leg->send_arg, binary, data, len);
  int r = cxb_ws_send(leg->ws, binary, data, len);
  if (r == CXB_EAGAIN) {
    cxb_session_in_error(leg->session, "slow_peer");
    cxb_leg_close(leg, 1008, "slow_peer");
  }
  return r;
}

int cxb_leg_send_text(cxb_leg *leg, const char *data, size_t len) {
  return leg_send(leg, false, data, len);
}

int cxb_leg_send_binary(cxb_leg *leg, const void *data, size_t len) {
  return leg_send(leg, true, data, len);
}

void cxb_leg_close(cxb_leg *leg, int code, const char *reason) {
  if (leg->close_code || leg->gone)
    return;
  leg->close_code = code;
  leg->close_reason = reason;
  memset(leg->deadline, 0, sizeof leg->deadline);
  rearm(leg);
  if (leg->ws)
    cxb_ws_close(leg->ws, code, reason);
}

/* ---- what the session calls ---- */

static int wire_frame(void *wire, const int16_t *pcm, size_t n) {
  cxb_leg *leg = wire;
  return leg->gone || leg->close_code ? CXB_ECLOSED : leg->ser->frame(leg, pcm, n);
}

static int wire_clear(void *wire) {
  cxb_leg *leg = wire;
  return leg->gone || leg->close_code ? CXB_ECLOSED : leg->ser->clear(leg);
}

static int wire_mark(void *wire, const char *name) {
  cxb_leg *leg = wire;
  if (!leg->ser->mark)
    return CXB_EUNSUPPORTED;
  return leg->gone || leg->close_code ? CXB_ECLOSED : leg->ser->mark(leg, name);
}

static int wire_transfer(void *wire, const cxb_transfer *transfer) {
  cxb_leg *leg = wire;
  if (!leg->ser->can_transfer)
    return CXB_EUNSUPPORTED;
  return leg->gone || leg->close_code ? CXB_ECLOSED : leg->ser->transfer(leg, transfer);
}

static int wire_hangup(void *wire) {
  cxb_leg *leg = wire;
  return leg->gone || leg->close_code ? CXB_ECLOSED : leg->ser->hangup(leg);
}

static int wire_note(void *wire, const char *json, size_t len) {
  cxb_leg *leg = wire;
  if (!leg->ser->note)
    return 0;
  return leg->gone || leg->close_code ? CXB_ECLOSED : leg->ser->note(leg, json, len);
}

static void wire_close(void *wire, int code) {
  cxb_leg_close(wire, code, "");
}

static void leg_free(cxb_leg *leg) {
  free(leg->query);
  free(leg);
}

static void on_timer_closed(uv_handle_t *handle) {
  leg_free(handle->data);
}

static void wire_release(void *wire) {
  cxb_leg *leg = wire;
  leg->released = true;
  if (leg->detached)
    return;
  if (leg->gone)
    uv_close((uv_handle_t *)&leg->timer, on_timer_closed);
  else
    cxb_leg_close(leg, 1000, "");
}

/* The last thing a leg does for its session, which may release the leg inside. */
static void leg_gone(cxb_leg *leg, int code, const char *reason) {
  if (leg->gone)
    return;
  memset(leg->deadline, 0, sizeof leg->deadline);
  rearm(leg);
  if (!leg->close_code)
    leg->close_code = code;
  if (leg->ser->closed)
    leg->ser->closed(leg);
  leg->gone = true;
  if (leg->released && !leg->detached)
    uv_close((uv_handle_t *)&leg->timer, on_timer_closed);
  else
    cxb_session_in_closed(leg->session, code, reason ? reason : "");
}

/* ---- messages ---- */

static void judge(cxb_leg *leg, int result) {
  switch (result) {
  case 0:
  case CXB_ECLOSED: /* an answer could not be sent: the close is on its way */
  case CXB_EAGAIN:
    break;
  case CXB_EPROTO:
    cxb_leg_close(leg, 1002, "out_of_order");
    break;
  case CXB_EUNSUPPORTED:
    cxb_leg_close(leg, 1003, "format_unsupported");
    break;
  default:
    cxb_session_in_drop(leg->session, result == CXB_ECORRUPT ? "bad_audio" : "bad_message");
  }
}

static void take_message(cxb_leg *leg, bool binary, const void *data, size_t len) {
  if (leg->close_code)
    return;
  if (!binary)
    judge(leg, leg->ser->text(leg, data, len));
  else if (leg->ser->binary)
    judge(leg, leg->ser->binary(leg, data, len));
  else
    cxb_leg_ignore(leg);
}

static void on_open(cxb_ws *ws, void *user) {
  cxb_leg *leg = user;
  leg->ws = ws;
  if (leg->ser->open)
    judge(leg, leg->ser->open(leg, leg->query ? leg->query : ""));
}

static void on_message(cxb_ws *ws, void *user, bool binary, const uint8_t *data, size_t len) {
  (void)ws;
  take_message(user, binary, data, len);
}

static void on_pong(cxb_ws *ws, void *user) {
  (void)ws;
  cxb_session_in_alive(((cxb_leg *)user)->session);
}

static void on_close(cxb_ws *ws, void *user, int code, const char *reason) {
  (void)ws;
  cxb_leg *leg = user;
  leg->ws = NULL;
  leg_gone(leg, code, reason);
}

static const cxb_ws_handler handler = {
    .open = on_open, .message = on_message, .pong = on_pong, .close = on_close};

/* ---- life ---- */

static cxb_leg *leg_alloc(const cxb_serializer *ser, cxb_session *session) {
  cxb_leg *leg = calloc(1, sizeof *leg + ser->state_size);
  if (!leg)
    return NULL;
  leg->ser = ser;
  leg->session = session;
  leg->ops = (cxb_wire){
      .name = ser->name,
      .lead_ms = ser->lead_ms,
      .has_marks = ser->has_marks,
      .answers_clear = ser->answers_clear,
      .can_transfer = ser->can_transfer,
      .frame = wire_frame,
      .clear = wire_clear,
      .mark = wire_mark,
      .transfer = wire_transfer,
      .hangup = wire_hangup,
      .note = ser->note ? wire_note : NULL,
      .close = wire_close,
      .release = wire_release,
  };
  return leg;
}

/* The raw query of "GET /path?query HTTP/1.1", or NULL. */
static char *query_of(const char *head, size_t len) {
  const char *end = memchr(head, '\r', len);
  size_t line = end ? (size_t)(end - head) : len;
  const char *question = memchr(head, '?', line);
  if (!question)
    return NULL;
  const char *from = question + 1;
  const char *space = memchr(from, ' ', line - (size_t)(from - head));
  return strndup(from, space ? (size_t)(space - from) : line - (size_t)(from - head));
}

static void adopt(void *arg) {
  accept_job *job = arg;
  cxb_leg *leg = job->leg;
  uv_loop_t *loop = cxb_media_loop(job->media);
  uv_timer_init(loop, &leg->timer);
  leg->timer.data = leg;
  cxb_session_attach_wire(leg->session, &leg->ops, leg);
  set_deadline(leg, T_HANDSHAKE, HANDSHAKE_MS);
  const cxb_ws_limits limits = {.max_text = leg->ser->max_text,
                                .max_binary = leg->ser->max_binary,
                                .max_send = MAX_QUEUED};
  int r = ws_context ? 0 : cxb_ws_context_new(loop, &ws_context);
  if (r < 0)
    close(job->fd);
  else
    r = cxb_ws_adopt(ws_context, job->fd, job->head, job->head_len, leg->ser->subprotocol, &limits,
                     &handler, leg, &leg->ws);
  if (r < 0)
    leg_gone(leg, 1006, cxb_strerror(r));
  free(job->head);
  free(job);
}

int cxb_leg_accept(cxb_media *media, cxb_session *session, const cxb_serializer *ser, int fd,
                   char *head, size_t head_len) {
  cxb_leg *leg = leg_alloc(ser, session);
  accept_job *job = malloc(sizeof *job);
  if (!leg || !job) {
    free(leg);
    free(job);
    free(head);
    close(fd);
    return CXB_ENOMEM;
  }
  leg->query = query_of(head, head_len);
  *job = (accept_job){media, leg, fd, head, head_len};
  cxb_media_post(media, adopt, job);
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

/* ---- detached ---- */

cxb_leg *cxb_leg_new_detached(const cxb_serializer *ser, cxb_session *session,
                              cxb_leg_send_cb send, void *arg) {
  cxb_leg *leg = leg_alloc(ser, session);
  if (!leg)
    return NULL;
  leg->detached = true;
  leg->send = send;
  leg->send_arg = arg;
  leg->fake_now = 1;
  cxb_session_attach_wire(session, &leg->ops, leg);
  set_deadline(leg, T_HANDSHAKE, HANDSHAKE_MS);
  if (ser->open)
    judge(leg, ser->open(leg, ""));
  return leg;
}

/* A detached leg's close handshake: the far end agrees at once. */
static void settle(cxb_leg *leg) {
  if (leg->close_code && !leg->gone)
    leg_gone(leg, leg->close_code, leg->close_reason);
}

int cxb_leg_feed(cxb_leg *leg, bool binary, const void *data, size_t len) {
  if (leg->gone)
    return CXB_ECLOSED;
  size_t max = binary ? leg->ser->max_binary : leg->ser->max_text;
  if (len > (max ? max : 65536))
    cxb_leg_close(leg, 1009, "too_big");
  else
    take_message(leg, binary, data, len);
  settle(leg);
  return 0;
}

void cxb_leg_advance(cxb_leg *leg, int ms) {
  int64_t end = leg->fake_now + ms;
  while (!leg->gone) {
    int64_t next = end + 1;
    for (int i = 0; i < T_COUNT; i++)
      if (leg->deadline[i] && leg->deadline[i] < next)
        next = leg->deadline[i];
    if (next > end)
      break;
    if (next > leg->fake_now)
      leg->fake_now = next;
    fire_due(leg);
    settle(leg);
  }
  leg->fake_now = end;
  settle(leg);
}

void cxb_leg_lost(cxb_leg *leg, int code) {
  leg_gone(leg, code, "");
}

int cxb_leg_close_code(const cxb_leg *leg) {
  return leg->close_code;
}

uint64_t cxb_leg_ignored(const cxb_leg *leg) {
  return leg->ignored;
}

const cxb_wire *cxb_leg_wire(const cxb_leg *leg) {
  return &leg->ops;
}

void cxb_leg_free_detached(cxb_leg *leg) {
  leg_gone(leg, 1006, "");
  leg_free(leg);
}
