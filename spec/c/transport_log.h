/* For the serializers' tests: a session that writes down what a wire tells it, so that a vector is
 * text in, text out. It stands in for media/session.c at link time. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"
#include "transport/leg.h"

struct cxb_session {
  cxb_buf log;   /* one line an event */
  cxb_buf audio; /* all samples */
  size_t chunks; /* calls of in_audio */
  cxb_buf sent;  /* one line a text message; a binary one is "<binary n>" */
  size_t sends;
  bool full; /* the next send fails */
  const cxb_wire *ops;
  cxb_leg *leg;
};

static void say(cxb_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(cxb_session *s, const char *fmt, ...) {
  char line[70000];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  cxb_buf_str(&s->log, line);
  cxb_buf_str(&s->log, "\n");
}

void cxb_session_attach_wire(cxb_session *s, const cxb_wire *ops, void *wire) {
  s->ops = ops;
  s->leg = wire;
}
void cxb_session_in_start(cxb_session *s, const cxb_start *t) {
  say(s, "start %d %s [%s] [%s] [%s] %s %s", t->rate, t->stream_id, t->caller_id, t->did,
      t->from_number ? t->from_number : "-", t->direction, t->connected_event);
  if (t->framing_ms)
    say(s, "framing %d", t->framing_ms);
}
void cxb_session_in_answer(cxb_session *s) {
  say(s, "answer");
}
void cxb_session_in_audio(cxb_session *s, const int16_t *pcm, size_t n) {
  s->chunks++;
  if (s->audio.len < 1 << 20)
    cxb_buf_add(&s->audio, pcm, n * 2);
}
void cxb_session_in_dtmf(cxb_session *s, char digit) {
  say(s, "dtmf %c", digit);
}
void cxb_session_in_mark(cxb_session *s, const char *name, int64_t played_ms, bool cleared) {
  say(s, "mark [%s] %lld%s", name, (long long)played_ms, cleared ? " cleared" : "");
}
void cxb_session_in_text(cxb_session *s, const char *utf8) {
  say(s, "text %s", utf8);
}
void cxb_session_in_transfer(cxb_session *s, bool ok, const char *reason) {
  say(s, "transfer %s [%s]", ok ? "ok" : "failed", reason);
}
void cxb_session_in_stop(cxb_session *s, const char *by) {
  say(s, "stop [%s]", by);
}
void cxb_session_in_drop(cxb_session *s, const char *reason) {
  say(s, "drop %s", reason);
}
void cxb_session_in_hold(cxb_session *s, bool on) {
  say(s, "hold %s", on ? "on" : "off");
}
void cxb_session_in_alive(cxb_session *s) {
  say(s, "alive");
}
void cxb_session_in_error(cxb_session *s, const char *error) {
  say(s, "error %s", error);
}
void cxb_session_in_closed(cxb_session *s, int code, const char *reason) {
  say(s, "closed %d %s", code, reason);
}

static inline int keep(void *arg, bool binary, const void *data, size_t len) {
  cxb_session *s = arg;
  s->sends++;
  if (s->full)
    return CXB_EAGAIN;
  if (binary)
    cxb_buf_printf(&s->sent, "<binary %zu>", len);
  else
    cxb_buf_add(&s->sent, data, len);
  cxb_buf_str(&s->sent, "\n");
  return 0;
}

/* A leg of this wire with its writing session; free with end(). */
static inline cxb_session *begin_with(const char *wire, const char *query,
                                      const cxb_leg_options *options) {
  cxb_session *s = calloc(1, sizeof *s);
  cxb_buf_str(&s->log, "");
  cxb_buf_str(&s->sent, "");
  const cxb_serializer *ser = cxb_serializer_find(wire);
  assert_non_null(ser);
  assert_non_null(cxb_leg_new_detached(ser, s, options, query, keep, s));
  return s;
}

static inline cxb_session *begin(const char *wire) {
  return begin_with(wire, "", NULL);
}

static inline void end(cxb_session *s) {
  cxb_leg_free_detached(s->leg);
  cxb_buf_free(&s->log);
  cxb_buf_free(&s->audio);
  cxb_buf_free(&s->sent);
  free(s);
}

static inline int feed(cxb_session *s, const char *text) {
  return cxb_leg_feed(s->leg, false, text, strlen(text));
}

static inline int feed_binary(cxb_session *s, const void *data, size_t len) {
  return cxb_leg_feed(s->leg, true, data, len);
}

/* What was written down since the last look is exactly this. */
static inline void heard(cxb_session *s, const char *log) {
  assert_string_equal(s->log.data, log);
  cxb_buf_clear(&s->log);
  cxb_buf_str(&s->log, "");
}

static inline void sent(cxb_session *s, const char *log) {
  assert_string_equal(s->sent.data, log);
  cxb_buf_clear(&s->sent);
  cxb_buf_str(&s->sent, "");
}

/* A media message of `bytes` as the wire's format string wants it ("%s" is the payload). */
static inline int feed_media(cxb_session *s, const char *format, const void *bytes, size_t len) {
  char *payload = calloc(1, CXB_BASE64_LEN(len) + 1);
  cxb_base64_encode(payload, bytes, len);
  cxb_buf text = {0};
  const char *at = strstr(format, "%s");
  cxb_buf_add(&text, format, (size_t)(at - format));
  cxb_buf_str(&text, payload);
  cxb_buf_str(&text, at + 2);
  int r = cxb_leg_feed(s->leg, false, text.data, text.len);
  cxb_buf_free(&text);
  free(payload);
  return r;
}
