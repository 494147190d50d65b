/* The CXB WebSocket dialler: LINEAR16 in base64, `reverse-` events back (core spec §3.2). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "../base/err.h"
#include "../base/time.h"
#include "wire_audio.h"
#include "wire_json.h"
#include "wire_scan.h"
#include "wire_transfer.h"

/* What is awaited, then what is. */
typedef enum { CONNECTED, START, ANSWER, TALKING, HANGING_UP, OVER } phase;
enum { ANSWER_S = 60 };

typedef struct dialler {
  phase phase;
  uint32_t chunk;
  bool flushed;      /* reverse-media-stop was the last word about audio */
  json_t *connected; /* its event fields, until start */
  cxb_buf stream_id; /* each as JSON, quotes included */
  cxb_buf caller_id, did;
  cxb_buf before, after; /* of reverse-media: chunk to payload, timestamp to the end */
  cxb_buf out;
  int64_t stamp_second; /* of `stamp`, so that it is made once a second */
  char stamp[24];
  cxb_wire_transfer transfer;
} dialler;

/* ---- in ---- */

static int take_connected(cxb_leg *leg, json_t *msg) {
  dialler *d = cxb_leg_state(leg);
  if (d->phase != CONNECTED)
    return cxb_leg_ignore(leg);
  d->connected = json_incref(msg);
  json_object_del(d->connected, "event");
  d->phase = START;
  return 0;
}

static bool format_ok(const json_t *format, int *rate) {
  double hz = cxb_wire_num(format, "sampleRate", 8000);
  if (strcasecmp(cxb_wire_str(format, "encoding", "LINEAR16"), "LINEAR16") != 0 ||
      cxb_wire_num(format, "channels", 1) != 1 || (hz != 8000 && hz != 16000))
    return false;
  *rate = (int)hz;
  return true;
}

static int quoted(cxb_buf *out, const char *text) {
  cxb_buf_clear(out);
  return cxb_buf_json(out, text, strlen(text));
}

/* What the messages out say of the call. */
static int prepare(dialler *d, const cxb_start *s) {
  int r = quoted(&d->stream_id, s->stream_id);
  if (!r)
    r = quoted(&d->caller_id, s->caller_id);
  if (!r)
    r = quoted(&d->did, s->did);
  if (!r)
    r = cxb_buf_printf(&d->before, ",\"did\":%s,\"payload\":\"", d->did.data);
  if (!r)
    r = cxb_buf_printf(&d->after,
                       "\",\"streamId\":%s,\"callerId\":%s,\"chunk_durn_ms\":%d,"
                       "\"callDirection\":\"%s\",\"encoding\":\"LINEAR16\",\"sampleRate\":%d}",
                       d->stream_id.data, d->caller_id.data, CXB_FRAME_MS, s->direction, s->rate);
  return r;
}

static int announce(cxb_leg *leg, const cxb_start *start) {
  char *text = json_dumps(((dialler *)cxb_leg_state(leg))->connected, JSON_COMPACT);
  if (!text)
    return CXB_ENOMEM;
  cxb_start s = *start;
  s.connected_event = text;
  cxb_session_in_start(cxb_leg_session(leg), &s);
  free(text);
  return 0;
}

static int take_start(cxb_leg *leg, json_t *msg) {
  dialler *d = cxb_leg_state(leg);
  if (d->phase == CONNECTED)
    return CXB_EPROTO;
  if (d->phase != START)
    return cxb_leg_ignore(leg);
  int rate;
  if (!format_ok(cxb_wire_obj(msg, "mediaFormat"), &rate))
    return CXB_EUNSUPPORTED;
  char made[CXB_WIRE_ID_LEN];
  cxb_wire_make_id(made);
  const char *id = cxb_wire_str(msg, "streamId", "");
  if (!*id)
    id = cxb_wire_str(d->connected, "streamId", "");
  cxb_start s = {.rate = rate, .stream_id = *id ? id : made};
  s.direction = cxb_wire_direction(cxb_wire_str(d->connected, "callDirection", ""));
  cxb_wire_set(d->connected, "callerId", "");
  cxb_wire_set(d->connected, "did", "");
  cxb_wire_set(d->connected, "callDirection", s.direction);
  cxb_wire_set(d->connected, "streamId", s.stream_id);
  s.caller_id = cxb_wire_str(d->connected, "callerId", "");
  s.did = cxb_wire_str(d->connected, "did", "");
  s.from_number = strcmp(s.direction, "outgoing") == 0 ? s.did : NULL;
  if (prepare(d, &s) < 0)
    return CXB_ENOMEM;
  int r = announce(leg, &s);
  if (r < 0)
    return r;
  d->phase = ANSWER;
  cxb_leg_handshake_done(leg);
  cxb_leg_expect_answer(leg, ANSWER_S);
  return 0;
}

static int take_answer(cxb_leg *leg, json_t *msg) {
  dialler *d = cxb_leg_state(leg);
  (void)msg;
  if (d->phase < ANSWER)
    return CXB_EPROTO;
  if (d->phase != ANSWER)
    return cxb_leg_ignore(leg);
  d->phase = TALKING;
  cxb_leg_expect_answer(leg, 0);
  cxb_session_in_answer(cxb_leg_session(leg));
  return 0;
}

static int take_media(cxb_leg *leg, json_t *msg) {
  dialler *d = cxb_leg_state(leg);
  if (d->phase == ANSWER) /* ringing: nobody listens, but the far end lives */
    cxb_session_in_alive(cxb_leg_session(leg));
  if (d->phase != TALKING)
    return cxb_leg_ignore(leg);
  size_t len;
  const char *payload = cxb_wire_text(msg, "payload", &len);
  cxb_wire_transfer_media(&d->transfer, leg);
  return cxb_wire_base64_in(leg, CXB_CODEC_PCM, payload, len);
}

static int take_dtmf(cxb_leg *leg, json_t *msg) {
  if (((dialler *)cxb_leg_state(leg))->phase != TALKING)
    return cxb_leg_ignore(leg);
  cxb_wire_dtmf(leg, cxb_wire_str(msg, "digit", ""));
  return 0;
}

static int take_transfer_status(cxb_leg *leg, json_t *msg) {
  dialler *d = cxb_leg_state(leg);
  const char *status = cxb_wire_str(msg, "status", "");
  bool ok = strcmp(status, "ok") == 0;
  if (!d->transfer.began || (!ok && strcmp(status, "failed") != 0))
    return cxb_leg_ignore(leg);
  cxb_wire_transfer_end(&d->transfer, leg, ok, cxb_wire_str(msg, "reason", ""));
  return 0;
}

static void dialler_timer(cxb_leg *leg) {
  cxb_wire_transfer_look(&((dialler *)cxb_leg_state(leg))->transfer, leg);
}

static int take_hangup(cxb_leg *leg, json_t *msg) {
  dialler *d = cxb_leg_state(leg);
  if (d->phase == OVER)
    return cxb_leg_ignore(leg);
  cxb_wire_transfer_end(&d->transfer, leg, true, "hangup");
  d->phase = OVER;
  cxb_session_in_stop(cxb_leg_session(leg), cxb_wire_str(msg, "disconnectedBy", ""));
  cxb_leg_close(leg, 1000, "");
  return 0;
}

static const cxb_wire_taker takers[] = {
    {"media", CXB_ANY_PHASE, take_media},
    {"dtmf", CXB_ANY_PHASE, take_dtmf},
    {"connected", CXB_ANY_PHASE, take_connected},
    {"start", CXB_ANY_PHASE, take_start},
    {"answer", CXB_ANY_PHASE, take_answer},
    {"hangup-call", CXB_ANY_PHASE, take_hangup},
    {"call-transfer-status", CXB_ANY_PHASE, take_transfer_status},
};

/* The usual frame of the caller; *r is then its result. */
static bool quick_media(cxb_leg *leg, const char *data, size_t len, int *r) {
  enum { EVENT, PAYLOAD, COUNT };
  cxb_scan found[COUNT] = {[EVENT] = {.name = "event"}, [PAYLOAD] = {.name = "payload"}};
  if (!cxb_scan_object(data, len, found, COUNT) || !cxb_scan_is(&found[EVENT], "media") ||
      !found[PAYLOAD].value)
    return false;
  cxb_wire_transfer_media(&((dialler *)cxb_leg_state(leg))->transfer, leg);
  *r = cxb_wire_base64_in(leg, CXB_CODEC_PCM, found[PAYLOAD].value, found[PAYLOAD].len);
  return true;
}

static int dialler_text(cxb_leg *leg, const char *data, size_t len) {
  const dialler *d = cxb_leg_state(leg);
  int r = 0;
  if (d->phase == TALKING && quick_media(leg, data, len, &r))
    return r;
  return cxb_wire_take(leg, data, len, "event", takers, sizeof takers / sizeof *takers, d->phase);
}

/* ---- out ---- */

/* "2026-04-24 14:30:00", UTC. */
static const char *stamp(dialler *d) {
  time_t now = (time_t)(cxb_now_ms() / 1000);
  if (now != d->stamp_second) {
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(d->stamp, sizeof d->stamp, "%Y-%m-%d %H:%M:%S", &tm);
    d->stamp_second = now;
  }
  return d->stamp;
}

/* The decimal digits of `n` at the end of `out`; returns where they begin. */
static const char *decimal(char out[12], uint32_t n) {
  char *at = out + 11;
  *at = '\0';
  do
    *--at = (char)('0' + n % 10);
  while (n /= 10);
  return at;
}

/* Fifty times a second: what stays the same is kept, nothing is formatted. */
static int dialler_frame(cxb_leg *leg, const int16_t *pcm, size_t n) {
  static const char head[] = "{\"event\":\"reverse-media\",\"chunk\":";
  dialler *d = cxb_leg_state(leg);
  char digits[12];
  if (d->phase != TALKING)
    return CXB_ECLOSED;
  cxb_buf_clear(&d->out);
  int r = cxb_buf_add(&d->out, head, sizeof head - 1);
  if (!r)
    r = cxb_buf_str(&d->out, decimal(digits, d->chunk + 1));
  if (!r)
    r = cxb_buf_add(&d->out, d->before.data, d->before.len);
  if (!r)
    r = cxb_wire_base64_out(&d->out, CXB_CODEC_PCM, pcm, n);
  if (!r)
    r = cxb_buf_str(&d->out, "\",\"timestamp\":\"");
  if (!r)
    r = cxb_buf_str(&d->out, stamp(d));
  if (!r)
    r = cxb_buf_add(&d->out, d->after.data, d->after.len);
  if (r < 0)
    return r;
  d->chunk++;
  d->flushed = false;
  return cxb_leg_send_text(leg, d->out.data, d->out.len);
}

/* An event that carries the stream id and `more` (from its comma on, may be ""). */
static int send_event(cxb_leg *leg, const char *event, const char *more) {
  dialler *d = cxb_leg_state(leg);
  if (d->phase < ANSWER || d->phase == OVER)
    return CXB_ECLOSED;
  cxb_buf_clear(&d->out);
  int r = cxb_buf_printf(&d->out, "{\"event\":\"%s\",\"streamId\":%s%s}", event, d->stream_id.data,
                         more);
  return r < 0 ? r : cxb_leg_send_text(leg, d->out.data, d->out.len);
}

static int dialler_clear(cxb_leg *leg) {
  int r = send_event(leg, "reverse-media-stop", "");
  ((dialler *)cxb_leg_state(leg))->flushed = r == 0;
  return r;
}

static int dialler_transfer(cxb_leg *leg, const cxb_transfer *t) {
  dialler *d = cxb_leg_state(leg);
  if (d->phase != TALKING)
    return CXB_ECLOSED;
  if (d->transfer.began)
    return CXB_EBUSY;
  const char *names[] = {"transferTo", "transferType", "reason"};
  const char *values[] = {t->to, t->type, t->reason};
  cxb_buf more = {0};
  int r = cxb_buf_printf(&more, ",\"callerId\":%s,\"did\":%s", d->caller_id.data, d->did.data);
  for (int i = 0; i < 3 && !r; i++) {
    const char *value = values[i] ? values[i] : "";
    r = cxb_buf_printf(&more, ",\"%s\":", names[i]);
    if (!r)
      r = cxb_buf_json(&more, value, strlen(value));
  }
  if (!r)
    r = send_event(leg, "reverse-call-transfer", more.data);
  cxb_buf_free(&more);
  if (r < 0)
    return r;
  cxb_wire_transfer_begin(&d->transfer, leg);
  return 0;
}

/* The dialler confirms with hangup-call; the session closes by force when it does not. */
static int dialler_hangup(cxb_leg *leg) {
  dialler *d = cxb_leg_state(leg);
  if (d->phase >= HANGING_UP)
    return 0;
  cxb_wire_transfer_end(&d->transfer, leg, false, "hangup");
  int r = d->flushed ? 0 : dialler_clear(leg);
  if (!r)
    r = send_event(leg, "reverse-hangup-call", "");
  d->phase = HANGING_UP;
  if (r < 0)
    cxb_leg_close(leg, 1000, "");
  return 0;
}

static void dialler_closed(cxb_leg *leg) {
  dialler *d = cxb_leg_state(leg);
  cxb_wire_transfer_end(&d->transfer, leg, true, "closed");
  json_decref(d->connected);
  d->connected = NULL;
  cxb_buf_free(&d->stream_id);
  cxb_buf_free(&d->caller_id);
  cxb_buf_free(&d->did);
  cxb_buf_free(&d->before);
  cxb_buf_free(&d->after);
  cxb_buf_free(&d->out);
}

const cxb_serializer cxb_serializer_cxb = {
    .name = "cxb",
    .lead_ms = 60,
    .can_transfer = true,
    .state_size = sizeof(dialler),
    .text = dialler_text,
    .frame = dialler_frame,
    .clear = dialler_clear,
    .transfer = dialler_transfer,
    .hangup = dialler_hangup,
    .timer = dialler_timer,
    .closed = dialler_closed,
};
