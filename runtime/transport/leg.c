/* A leg: what every wire has in common. What carries it is in leg_socket.c and leg_detached.c. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "leg_internal.h"

enum { HANDSHAKE_MS = 10000 };

/* ---- timers ---- */

int64_t cxb_leg_now(const cxb_leg *leg) {
  return leg->link->now(leg);
}

static void rearm(cxb_leg *leg) {
  int64_t next = 0;
  for (int i = 0; i < CXB_LEG_TIMERS; i++)
    if (leg->deadline[i] && (!next || leg->deadline[i] < next))
      next = leg->deadline[i];
  if (!leg->gone)
    leg->link->wake_at(leg, next);
}

static void set_deadline(cxb_leg *leg, int which, int ms) {
  leg->deadline[which] = ms > 0 ? cxb_leg_now(leg) + ms : 0;
  rearm(leg);
}

void cxb_leg_fire_due(cxb_leg *leg) {
  int64_t now = cxb_leg_now(leg);
  for (int i = 0; i < CXB_LEG_TIMERS && !leg->gone; i++) {
    if (!leg->deadline[i] || leg->deadline[i] > now)
      continue;
    leg->deadline[i] = 0;
    if (i != CXB_LEG_SERIALIZER)
      cxb_leg_close(leg, 1002, i == CXB_LEG_HANDSHAKE ? "handshake_timeout" : "answer_timeout");
    else if (leg->ser->timer)
      leg->ser->timer(leg);
  }
  rearm(leg);
}

void cxb_leg_handshake_done(cxb_leg *leg) {
  set_deadline(leg, CXB_LEG_HANDSHAKE, 0);
}

void cxb_leg_expect_answer(cxb_leg *leg, int seconds) {
  set_deadline(leg, CXB_LEG_ANSWER, seconds * 1000);
}

void cxb_leg_timer(cxb_leg *leg, int ms) {
  set_deadline(leg, CXB_LEG_SERIALIZER, ms);
}

/* ---- for serializers ---- */

void *cxb_leg_state(cxb_leg *leg) {
  return leg->state;
}

cxb_session *cxb_leg_session(cxb_leg *leg) {
  return leg->session;
}

const cxb_leg_options *cxb_leg_options_of(const cxb_leg *leg) {
  return &leg->options;
}

int cxb_leg_ignore(cxb_leg *leg) {
  atomic_fetch_add(&leg->counts->ignored, 1);
  return 0;
}

static bool over(const cxb_leg *leg) {
  return leg->gone || leg->close_code;
}

static int leg_send(cxb_leg *leg, bool binary, const void *data, size_t len) {
  if (over(leg))
    return CXB_ECLOSED;
  int r = leg->link->send(leg, binary, data, len);
  if (r == CXB_EAGAIN) { /* more than 1 MiB waits: nobody reads there */
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
  if (over(leg))
    return;
  leg->close_code = code;
  snprintf(leg->close_reason, sizeof leg->close_reason, "%s", reason);
  memset(leg->deadline, 0, sizeof leg->deadline);
  rearm(leg);
  leg->link->close(leg, code, leg->close_reason);
}

/* ---- what the session calls ---- */

static int wire_frame(void *wire, const int16_t *pcm, size_t n) {
  cxb_leg *leg = wire;
  return over(leg) ? CXB_ECLOSED : leg->ser->frame(leg, pcm, n);
}

static int wire_clear(void *wire) {
  cxb_leg *leg = wire;
  return over(leg) ? CXB_ECLOSED : leg->ser->clear(leg);
}

static int wire_mark(void *wire, const char *name) {
  cxb_leg *leg = wire;
  if (!leg->ser->mark)
    return CXB_EUNSUPPORTED;
  return over(leg) ? CXB_ECLOSED : leg->ser->mark(leg, name);
}

static int wire_transfer(void *wire, const cxb_transfer *transfer) {
  cxb_leg *leg = wire;
  if (!leg->ser->transfer)
    return CXB_EUNSUPPORTED;
  return over(leg) ? CXB_ECLOSED : leg->ser->transfer(leg, transfer);
}

static int wire_hangup(void *wire) {
  cxb_leg *leg = wire;
  if (over(leg))
    return CXB_ECLOSED;
  return leg->options.hangup_elsewhere ? 0 : leg->ser->hangup(leg);
}

static int wire_note(void *wire, const char *json, size_t len) {
  cxb_leg *leg = wire;
  return over(leg) ? CXB_ECLOSED : leg->ser->note(leg, json, len);
}

static void wire_close(void *wire, int code, const char *reason) {
  cxb_leg_close(wire, code, reason);
}

static void wire_release(void *wire) {
  cxb_leg *leg = wire;
  leg->released = true;
  if (leg->gone)
    leg->link->free(leg);
  else
    cxb_leg_close(leg, 1000, "");
}

/* ---- messages ---- */

/* What follows from a serializer's answer. */
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
  case CXB_ECORRUPT:
    atomic_fetch_add(&leg->counts->bad_audio, 1);
    cxb_session_in_drop(leg->session, "bad_audio");
    break;
  default:
    atomic_fetch_add(&leg->counts->bad_message, 1);
    cxb_session_in_drop(leg->session, "bad_message");
  }
}

void cxb_leg_message(cxb_leg *leg, bool binary, const void *data, size_t len) {
  if (over(leg))
    return;
  if (!binary)
    judge(leg, leg->ser->text(leg, data, len));
  else if (leg->ser->binary)
    judge(leg, leg->ser->binary(leg, data, len));
  else
    cxb_leg_ignore(leg);
}

void cxb_leg_opened(cxb_leg *leg, const char *query) {
  if (leg->ser->open && !over(leg))
    judge(leg, leg->ser->open(leg, query));
}

void cxb_leg_gone(cxb_leg *leg, int code, const char *reason) {
  if (leg->gone)
    return;
  memset(leg->deadline, 0, sizeof leg->deadline);
  rearm(leg);
  if (leg->close_code) { /* ours came first, whatever the far end made of it */
    code = leg->close_code;
    reason = leg->close_reason;
  }
  leg->close_code = code;
  if (leg->ser->closed)
    leg->ser->closed(leg);
  leg->gone = true;
  if (leg->released)
    leg->link->free(leg);
  else
    cxb_session_in_closed(leg->session, code, reason ? reason : "");
}

/* ---- life ---- */

int cxb_leg_init(cxb_leg *leg, const cxb_serializer *ser, const cxb_leg_link *link,
                 cxb_session *session, const cxb_leg_options *options) {
  leg->state = calloc(1, ser->state_size ? ser->state_size : 1);
  if (!leg->state)
    return CXB_ENOMEM;
  leg->ser = ser;
  leg->link = link;
  leg->session = session;
  if (options)
    leg->options = *options;
  leg->counts = &leg->own;
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
  return 0;
}

void cxb_leg_fini(cxb_leg *leg) {
  free(leg->state);
}

void cxb_leg_begin(cxb_leg *leg) {
  cxb_session_attach_wire(leg->session, &leg->ops, leg);
  set_deadline(leg, CXB_LEG_HANDSHAKE, HANDSHAKE_MS);
}

int cxb_leg_close_code(const cxb_leg *leg) {
  return leg->close_code;
}

const cxb_leg_counts *cxb_leg_counted(const cxb_leg *leg) {
  return leg->counts;
}
