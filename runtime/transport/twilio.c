/* Twilio Media Streams: mu-law 8 kHz in base64, both ways.
 * Wire: https://www.twilio.com/docs/voice/media-streams/websocket-messages */
#include <string.h>
#include <strings.h>

#include "../base/err.h"
#include "wire_json.h"
#include "wire_stream.h"

typedef enum { CONNECTED, START, TALKING, OVER } phase; /* what is awaited, then what is */

typedef struct twilio {
  phase phase;
  cxb_buf sid;   /* the streamSid as JSON, quotes included */
  cxb_buf media; /* a media message up to its payload */
  cxb_buf out;
  cxb_wire_marks marks;
} twilio;

static int take_connected(cxb_leg *leg, json_t *msg) {
  twilio *t = cxb_leg_state(leg);
  (void)msg;
  if (t->phase == CONNECTED)
    t->phase = START;
  else
    cxb_leg_ignore(leg);
  return 0;
}

/* An absent or wrong-typed member is what the wire says it must be. */
static bool format_ok(const json_t *format) {
  return strcasecmp(cxb_wire_str(format, "encoding", "audio/x-mulaw"), "audio/x-mulaw") == 0 &&
         cxb_wire_num(format, "sampleRate", 8000) == 8000 &&
         cxb_wire_num(format, "channels", 1) == 1;
}

static int take_start(cxb_leg *leg, json_t *msg) {
  twilio *t = cxb_leg_state(leg);
  if (t->phase == CONNECTED)
    return CXB_EPROTO;
  if (t->phase != START)
    return cxb_leg_ignore(leg);
  const json_t *start = cxb_wire_obj(msg, "start");
  if (!format_ok(cxb_wire_obj(start, "mediaFormat")))
    return CXB_EUNSUPPORTED;
  char made[CXB_WIRE_ID_LEN];
  cxb_wire_make_id(made);
  const char *sid = cxb_wire_str(msg, "streamSid", "");
  if (!*sid)
    sid = cxb_wire_str(start, "streamSid", "");
  if (!*sid)
    sid = made;
  const json_t *custom = cxb_wire_obj(start, "customParameters");
  int r = cxb_buf_json(&t->sid, sid, strlen(sid));
  if (!r)
    r = cxb_buf_printf(&t->media, "{\"event\":\"media\",\"streamSid\":%s,\"media\":{\"payload\":\"",
                       t->sid.data);
  if (r < 0)
    return r;
  cxb_start s = {.rate = 8000, .stream_id = sid};
  cxb_wire_numbers(&s, cxb_wire_str(custom, "direction", ""), cxb_wire_str(custom, "from", ""),
                   cxb_wire_str(custom, "to", ""));
  t->phase = TALKING;
  /* The start object as it came, its custom parameters also one floor up. */
  json_t *event = start ? json_deep_copy(start) : json_object();
  cxb_wire_merge(event, custom);
  return cxb_wire_begin(leg, &s, event);
}

static int take_media(cxb_leg *leg, json_t *msg) {
  const json_t *media = cxb_wire_obj(msg, "media");
  if (strcmp(cxb_wire_str(media, "track", "inbound"), "inbound") != 0)
    return cxb_leg_ignore(leg);
  size_t len;
  const char *payload = cxb_wire_text(media, "payload", &len);
  return cxb_wire_base64_in(leg, CXB_CODEC_ULAW, payload, len);
}

static int take_mark(cxb_leg *leg, json_t *msg) {
  twilio *t = cxb_leg_state(leg);
  const char *name = cxb_wire_str(cxb_wire_obj(msg, "mark"), "name", "");
  if (*name)
    cxb_session_in_mark(cxb_leg_session(leg), name, -1, cxb_wire_mark_back(&t->marks));
  else
    cxb_leg_ignore(leg);
  return 0;
}

static int take_stop(cxb_leg *leg, json_t *msg) {
  twilio *t = cxb_leg_state(leg);
  (void)msg;
  t->phase = OVER;
  cxb_session_in_stop(cxb_leg_session(leg), "");
  cxb_leg_close(leg, 1000, "");
  return 0;
}

static const cxb_wire_taker takers[] = {
    {"media", 1 << TALKING, take_media},          {"mark", 1 << TALKING, take_mark},
    {"dtmf", 1 << TALKING, cxb_stream_take_dtmf}, {"start", CXB_ANY_PHASE, take_start},
    {"stop", CXB_ANY_PHASE, take_stop},           {"connected", CXB_ANY_PHASE, take_connected},
};

static int twilio_text(cxb_leg *leg, const char *data, size_t len) {
  const twilio *t = cxb_leg_state(leg);
  int r = 0;
  if (t->phase == TALKING && cxb_stream_quick_media(leg, data, len, CXB_CODEC_ULAW, true, &r))
    return r;
  return cxb_wire_take(leg, data, len, "event", takers, sizeof takers / sizeof *takers, t->phase);
}

/* Fifty times a second: the beginning is kept, nothing is formatted. */
static int twilio_frame(cxb_leg *leg, const int16_t *pcm, size_t n) {
  twilio *t = cxb_leg_state(leg);
  if (t->phase != TALKING)
    return CXB_ECLOSED;
  cxb_buf_clear(&t->out);
  int r = cxb_buf_add(&t->out, t->media.data, t->media.len);
  return r < 0 ? r : cxb_stream_send_media(leg, &t->out, CXB_CODEC_ULAW, pcm, n);
}

static int twilio_clear(cxb_leg *leg) {
  twilio *t = cxb_leg_state(leg);
  if (t->phase != TALKING)
    return CXB_ECLOSED;
  cxb_wire_marks_clear(&t->marks);
  cxb_buf_clear(&t->out);
  int r = cxb_buf_printf(&t->out, "{\"event\":\"clear\",\"streamSid\":%s}", t->sid.data);
  return r < 0 ? r : cxb_leg_send_text(leg, t->out.data, t->out.len);
}

static int twilio_mark(cxb_leg *leg, const char *name) {
  twilio *t = cxb_leg_state(leg);
  if (t->phase != TALKING)
    return CXB_ECLOSED;
  cxb_buf_clear(&t->out);
  int r = cxb_buf_printf(&t->out,
                         "{\"event\":\"mark\",\"streamSid\":%s,\"mark\":{\"name\":", t->sid.data);
  if (!r)
    r = cxb_stream_send_name(leg, &t->out, name, "}}");
  if (!r)
    cxb_wire_mark_sent(&t->marks);
  return r;
}

/* Closing the stream ends our part: the carrier goes on with the next verb of its document. */
static int twilio_hangup(cxb_leg *leg) {
  twilio *t = cxb_leg_state(leg);
  t->phase = OVER;
  cxb_leg_close(leg, 1000, "");
  return 0;
}

static void twilio_closed(cxb_leg *leg) {
  twilio *t = cxb_leg_state(leg);
  cxb_buf_free(&t->sid);
  cxb_buf_free(&t->media);
  cxb_buf_free(&t->out);
}

const cxb_serializer cxb_serializer_twilio = {
    .name = "twilio",
    .lead_ms = 200,
    .has_marks = true,
    .state_size = sizeof(twilio),
    .text = twilio_text,
    .frame = twilio_frame,
    .clear = twilio_clear,
    .mark = twilio_mark,
    .hangup = twilio_hangup,
    .closed = twilio_closed,
};
