/* Exotel's voice streaming: LINEAR16 in base64, out in large chunks (core spec §3.3).
 * Wire: https://developer.exotel.com/docs (AgentStream, bidirectional) */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../base/err.h"
#include "wire_json.h"
#include "wire_query.h"
#include "wire_stream.h"

typedef enum { CONNECTED, START, TALKING, OVER } phase; /* what is awaited, then what is */
enum { CHUNK = 3200 };

typedef struct exotel {
  phase phase;
  int asked_rate; /* by the address; 0: not */
  cxb_buf sid;    /* the stream_sid as JSON, quotes included */
  cxb_buf out;
  cxb_chunker chunk;
} exotel;

static int exotel_open(cxb_leg *leg, const char *query) {
  exotel *x = cxb_leg_state(leg);
  char text[16];
  if (cxb_wire_query(query, "sample-rate", text, sizeof text))
    x->asked_rate = atoi(text);
  return 0;
}

static int send_chunk(cxb_leg *leg, const void *data, size_t len);
static int send_mark(cxb_leg *leg, const char *name);

/* ---- in ---- */

static int take_connected(cxb_leg *leg, json_t *msg) {
  exotel *x = cxb_leg_state(leg);
  (void)msg;
  if (x->phase != CONNECTED)
    return cxb_leg_ignore(leg);
  x->phase = START;
  return 0;
}

/* The wire's "encoding" is told as base64, raw, slin or pcm; G.711 it does not have. */
static bool format_ok(const json_t *format, int asked_rate, int *rate) {
  const char *encoding = cxb_wire_str(format, "encoding", "");
  *rate = cxb_wire_int(format, "sample_rate", asked_rate ? asked_rate : 8000);
  return (*rate == 8000 || *rate == 16000 || *rate == 24000) && !strcasestr(encoding, "law") &&
         strcasecmp(encoding, "pcmu") != 0 && strcasecmp(encoding, "pcma") != 0;
}

static const char *stream_of(const json_t *msg, const json_t *start) {
  const json_t *places[] = {msg, start};
  static const char *const names[] = {"stream_sid", "stream_id"};
  for (int i = 0; i < 4; i++) {
    const char *id = cxb_wire_str(places[i % 2], names[i / 2], "");
    if (*id)
      return id;
  }
  return NULL;
}

static int take_start(cxb_leg *leg, json_t *msg) {
  exotel *x = cxb_leg_state(leg);
  if (x->phase == CONNECTED)
    return CXB_EPROTO;
  if (x->phase != START)
    return cxb_leg_ignore(leg);
  const json_t *start = cxb_wire_obj(msg, "start");
  cxb_start s = {.direction = "incoming"};
  if (!format_ok(cxb_wire_obj(start, "media_format"), x->asked_rate, &s.rate))
    return CXB_EUNSUPPORTED;
  char made[CXB_WIRE_ID_LEN];
  cxb_wire_make_id(made);
  s.stream_id = stream_of(msg, start);
  s.stream_id = s.stream_id ? s.stream_id : made;
  int r = cxb_buf_json(&x->sid, s.stream_id, strlen(s.stream_id));
  if (r < 0)
    return r;
  const json_t *custom = cxb_wire_obj(start, "custom_parameters");
  s.caller_id = cxb_wire_str(start, "from", ""); /* the customer's also when we called them */
  s.did = cxb_wire_str(start, "to", "");
  s.direction = cxb_wire_direction(cxb_wire_str(custom, "direction", ""));
  s.from_number = strcmp(s.direction, "outgoing") == 0 ? s.did : NULL;
  int bytes = cxb_leg_options_of(leg)->chunk_bytes;
  x->chunk = (cxb_chunker){.unit = (size_t)(bytes ? bytes : CHUNK),
                           .stall_ms = CXB_CHUNK_STALL_MS,
                           .send = send_chunk,
                           .mark = send_mark};
  s.framing_ms = (int)(x->chunk.unit * 500 / (size_t)s.rate);
  x->phase = TALKING;
  json_t *event = start ? json_deep_copy(start) : json_object();
  cxb_wire_merge(event, custom);
  return cxb_wire_begin(leg, &s, event);
}

static int take_media(cxb_leg *leg, json_t *msg) {
  size_t len;
  const char *payload = cxb_wire_text(cxb_wire_obj(msg, "media"), "payload", &len);
  return cxb_wire_base64_in(leg, CXB_CODEC_PCM, payload, len);
}

static int take_stop(cxb_leg *leg, json_t *msg) {
  exotel *x = cxb_leg_state(leg);
  x->phase = OVER;
  cxb_session_in_stop(cxb_leg_session(leg), cxb_wire_str(cxb_wire_obj(msg, "stop"), "reason", ""));
  cxb_leg_close(leg, 1000, "");
  return 0;
}

static const cxb_wire_taker takers[] = {
    {"media", 1 << TALKING, take_media},          {"mark", 1 << TALKING, cxb_stream_take_mark},
    {"dtmf", 1 << TALKING, cxb_stream_take_dtmf}, {"start", CXB_ANY_PHASE, take_start},
    {"stop", CXB_ANY_PHASE, take_stop},           {"connected", CXB_ANY_PHASE, take_connected},
};

static int exotel_text(cxb_leg *leg, const char *data, size_t len) {
  const exotel *x = cxb_leg_state(leg);
  int r = 0;
  if (x->phase == TALKING && cxb_stream_quick_media(leg, data, len, CXB_CODEC_PCM, false, &r))
    return r;
  return cxb_wire_take(leg, data, len, "event", takers, sizeof takers / sizeof *takers, x->phase);
}

/* ---- out ---- */

static int send_chunk(cxb_leg *leg, const void *data, size_t len) {
  exotel *x = cxb_leg_state(leg);
  cxb_buf_clear(&x->out);
  int r = cxb_buf_printf(
      &x->out, "{\"event\":\"media\",\"stream_sid\":%s,\"media\":{\"payload\":\"", x->sid.data);
  return r < 0 ? r : cxb_stream_send_media(leg, &x->out, CXB_CODEC_PCM, data, len / 2);
}

static int send_mark(cxb_leg *leg, const char *name) {
  exotel *x = cxb_leg_state(leg);
  cxb_buf_clear(&x->out);
  int r = cxb_buf_printf(&x->out,
                         "{\"event\":\"mark\",\"stream_sid\":%s,\"mark\":{\"name\":", x->sid.data);
  return r < 0 ? r : cxb_stream_send_name(leg, &x->out, name, "}}");
}

static int exotel_frame(cxb_leg *leg, const int16_t *pcm, size_t n) {
  exotel *x = cxb_leg_state(leg);
  return x->phase == TALKING ? cxb_chunk_add(&x->chunk, leg, pcm, n) : CXB_ECLOSED;
}

static void exotel_timer(cxb_leg *leg) {
  cxb_chunk_flush(&((exotel *)cxb_leg_state(leg))->chunk, leg);
}

static int exotel_clear(cxb_leg *leg) {
  exotel *x = cxb_leg_state(leg);
  cxb_chunk_drop(&x->chunk, leg);
  if (x->phase != TALKING)
    return CXB_ECLOSED;
  cxb_buf_clear(&x->out);
  int r = cxb_buf_printf(&x->out, "{\"event\":\"clear\",\"stream_sid\":%s}", x->sid.data);
  return r < 0 ? r : cxb_leg_send_text(leg, x->out.data, x->out.len);
}

static int exotel_mark(cxb_leg *leg, const char *name) {
  exotel *x = cxb_leg_state(leg);
  return x->phase == TALKING ? cxb_chunk_mark(&x->chunk, leg, name) : CXB_ECLOSED;
}

/* The carrier's flow goes to its hang-up step when the socket closes. */
static int exotel_hangup(cxb_leg *leg) {
  exotel *x = cxb_leg_state(leg);
  x->phase = OVER;
  cxb_leg_close(leg, 1000, "");
  return 0;
}

static void exotel_closed(cxb_leg *leg) {
  exotel *x = cxb_leg_state(leg);
  cxb_buf_free(&x->sid);
  cxb_buf_free(&x->out);
  cxb_chunk_free(&x->chunk);
}

const cxb_serializer cxb_serializer_exotel = {
    .name = "exotel",
    .lead_ms = 200,
    .has_marks = true,
    .max_text = 262144,
    .state_size = sizeof(exotel),
    .open = exotel_open,
    .text = exotel_text,
    .frame = exotel_frame,
    .clear = exotel_clear,
    .mark = exotel_mark,
    .hangup = exotel_hangup,
    .timer = exotel_timer,
    .closed = exotel_closed,
};
