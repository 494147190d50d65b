/* Vonage's WebSocket endpoint: binary L16, text control (core spec §3.5).
 * Wire: https://developer.vonage.com/en/voice/voice-api/concepts/websockets */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../base/err.h"
#include "wire_json.h"
#include "wire_stream.h"

typedef enum { CONNECTED, TALKING, OVER } phase; /* what is awaited, then what is */

typedef struct vonage {
  phase phase;
  cxb_buf out;
} vonage;

/* ---- in ---- */

/* Of "audio/l16;rate=16000"; 0: another format. */
static int rate_of(const char *type) {
  if (strncasecmp(type, "audio/l16", 9) != 0)
    return 0;
  const char *rate = strcasestr(type, "rate=");
  int hz = rate ? atoi(rate + 5) : 16000;
  return hz == 8000 || hz == 16000 || hz == 24000 ? hz : 0;
}

static const char *first_of(const json_t *msg, const char *const *names, const char *absent) {
  for (; *names; names++) {
    const char *value = cxb_wire_str(msg, *names, "");
    if (*value)
      return value;
  }
  return absent;
}

/* The headers of the connect action stand beside the event's own members. */
static int take_connected(cxb_leg *leg, json_t *msg) {
  static const char *const from[] = {"from", "caller", "callerId", NULL};
  static const char *const to[] = {"to", "did", NULL};
  static const char *const id[] = {"uuid", "call_uuid", "streamId", NULL};
  vonage *v = cxb_leg_state(leg);
  if (v->phase != CONNECTED)
    return cxb_leg_ignore(leg);
  cxb_start s = {.rate = rate_of(cxb_wire_str(msg, "content-type", "audio/l16;rate=16000"))};
  if (!s.rate)
    return CXB_EUNSUPPORTED;
  char made[CXB_WIRE_ID_LEN];
  cxb_wire_make_id(made);
  json_t *event = json_deep_copy(msg);
  json_object_del(event, "event");
  s.stream_id = first_of(event, id, made);
  cxb_wire_numbers(&s, cxb_wire_str(event, "direction", ""), first_of(event, from, ""),
                   first_of(event, to, ""));
  v->phase = TALKING;
  return cxb_wire_begin(leg, &s, event);
}

static int take_dtmf(cxb_leg *leg, json_t *msg) {
  cxb_wire_dtmf(leg, cxb_wire_str(msg, "digit", ""));
  return 0;
}

static int take_notify(cxb_leg *leg, json_t *msg) {
  return cxb_stream_played(leg, cxb_wire_str(cxb_wire_obj(msg, "payload"), "mark", ""));
}

static const cxb_wire_taker takers[] = {
    {"websocket:connected", CXB_ANY_PHASE, take_connected},
    {"websocket:dtmf", 1 << TALKING, take_dtmf},
    {"websocket:notify", 1 << TALKING, take_notify},
    {"websocket:cleared", 1 << TALKING, cxb_stream_take_cleared},
};

static int vonage_text(cxb_leg *leg, const char *data, size_t len) {
  const vonage *v = cxb_leg_state(leg);
  return cxb_wire_take(leg, data, len, "event", takers, sizeof takers / sizeof *takers, v->phase);
}

static int vonage_binary(cxb_leg *leg, const uint8_t *data, size_t len) {
  const vonage *v = cxb_leg_state(leg);
  return v->phase == TALKING ? cxb_wire_bytes_in(leg, CXB_CODEC_PCM, data, len)
                             : cxb_leg_ignore(leg);
}

/* ---- out ---- */

static int vonage_frame(cxb_leg *leg, const int16_t *pcm, size_t n) {
  const vonage *v = cxb_leg_state(leg);
  return v->phase == TALKING ? cxb_leg_send_binary(leg, pcm, n * 2) : CXB_ECLOSED;
}

static int vonage_clear(cxb_leg *leg) {
  static const char text[] = "{\"action\":\"clear\"}";
  const vonage *v = cxb_leg_state(leg);
  return v->phase == TALKING ? cxb_leg_send_text(leg, text, sizeof text - 1) : CXB_ECLOSED;
}

static int vonage_mark(cxb_leg *leg, const char *name) {
  vonage *v = cxb_leg_state(leg);
  if (v->phase != TALKING)
    return CXB_ECLOSED;
  cxb_buf_clear(&v->out);
  int r = cxb_buf_str(&v->out, "{\"action\":\"notify\",\"payload\":{\"mark\":");
  return r < 0 ? r : cxb_stream_send_name(leg, &v->out, name, "}}");
}

static int vonage_hangup(cxb_leg *leg) {
  vonage *v = cxb_leg_state(leg);
  v->phase = OVER;
  cxb_leg_close(leg, 1000, "");
  return 0;
}

static void vonage_closed(cxb_leg *leg) {
  vonage *v = cxb_leg_state(leg);
  cxb_buf_free(&v->out);
}

const cxb_serializer cxb_serializer_vonage = {
    .name = "vonage",
    .lead_ms = 200,
    .has_marks = true,
    .state_size = sizeof(vonage),
    .text = vonage_text,
    .binary = vonage_binary,
    .frame = vonage_frame,
    .clear = vonage_clear,
    .mark = vonage_mark,
    .hangup = vonage_hangup,
    .closed = vonage_closed,
};
