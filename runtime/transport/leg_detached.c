/* A leg without a socket, for tests: messages are fed, time is told. */
#include <stdlib.h>

#include "../base/err.h"
#include "leg_internal.h"

typedef struct detached_leg {
  cxb_leg leg; /* first: the two are one address */
  cxb_leg_send_cb send;
  void *arg;
  int64_t now, wake;
} detached_leg;

static int on_send(cxb_leg *leg, bool binary, const void *data, size_t len) {
  detached_leg *d = (detached_leg *)leg;
  return d->send(d->arg, binary, data, len);
}

static void on_close(cxb_leg *leg, int code, const char *reason) {
  (void)leg; /* settle() does it */
  (void)code;
  (void)reason;
}

static int64_t on_now(const cxb_leg *leg) {
  return ((const detached_leg *)leg)->now;
}

static void on_wake_at(cxb_leg *leg, int64_t next) {
  ((detached_leg *)leg)->wake = next;
}

static void on_free(cxb_leg *leg) {
  (void)leg; /* cxb_leg_free_detached() */
}

static const cxb_leg_link detached_link = {
    .send = on_send, .close = on_close, .now = on_now, .wake_at = on_wake_at, .free = on_free};

/* The close handshake: the far end agrees at once. */
static void settle(cxb_leg *leg) {
  if (leg->close_code && !leg->gone)
    cxb_leg_gone(leg, leg->close_code, leg->close_reason);
}

cxb_leg *cxb_leg_new_detached(const cxb_serializer *ser, cxb_session *session,
                              const cxb_leg_options *options, const char *query,
                              cxb_leg_send_cb send, void *arg) {
  detached_leg *d = calloc(1, sizeof *d);
  if (!d || cxb_leg_init(&d->leg, ser, &detached_link, session, options) < 0) {
    free(d);
    return NULL;
  }
  d->send = send;
  d->arg = arg;
  d->now = 1;
  cxb_leg_begin(&d->leg);
  cxb_leg_opened(&d->leg, query);
  return &d->leg;
}

int cxb_leg_feed(cxb_leg *leg, bool binary, const void *data, size_t len) {
  if (leg->gone)
    return CXB_ECLOSED;
  size_t max = binary ? leg->ser->max_binary : leg->ser->max_text;
  if (len > (max ? max : 65536))
    cxb_leg_close(leg, 1009, "too_big");
  else
    cxb_leg_message(leg, binary, data, len);
  settle(leg);
  return 0;
}

void cxb_leg_advance(cxb_leg *leg, int ms) {
  detached_leg *d = (detached_leg *)leg;
  int64_t end = d->now + ms;
  settle(leg);
  while (!leg->gone && d->wake && d->wake <= end) {
    if (d->wake > d->now)
      d->now = d->wake;
    cxb_leg_fire_due(leg);
    settle(leg);
  }
  d->now = end;
}

void cxb_leg_lost(cxb_leg *leg, int code) {
  cxb_leg_gone(leg, code, "");
}

void cxb_leg_free_detached(cxb_leg *leg) {
  cxb_leg_gone(leg, 1006, "");
  cxb_leg_fini(leg);
  free(leg);
}
