/* Plivo audio streaming: mu-law or L16 in base64, one codec a call (core spec §3.5).
 * Wire: https://www.plivo.com/docs/voice/audio-streaming */
#include <string.h>
#include <strings.h>

#include "../base/err.h"
#include "wire_json.h"
#include "wire_stream.h"

typedef enum { START, TALKING, OVER } phase; /* what is awaited, then what is */

typedef struct plivo {
  phase phase;
  cxb_codec codec;
  cxb_buf id;    /* the streamId as JSON, quotes included */
  cxb_buf media; /* a playAudio message up to its payload */
  cxb_buf out;
} plivo;

/* ---- in ---- */

static bool format_ok(const json_t *format, cxb_codec *codec, int *rate) {
  const char *encoding = cxb_wire_str(format, "encoding", "audio/x-mulaw");
  bool l16 = strcasecmp(encoding, "audio/x-l16") == 0;
  *codec = l16 ? CXB_CODEC_PCM : CXB_CODEC_ULAW;
  *rate = cxb_wire_int(format, "sampleRate", 8000);
  if (!l16 && strcasecmp(encoding, "audio/x-mulaw") != 0)
    return false;
  return cxb_wire_int(format, "channels", 1) == 1 && (*rate == 8000 || (l16 && *rate == 16000));
}

/* "k=v;k=v" as members of an object; what is not of that form is left out. */
static json_t *extra_headers(const char *text) {
  json_t *all = json_object();
  for (size_t n; *text; text += n + (text[n] == ';')) {
    n = strcspn(text, ";");
    size_t blanks = strspn(text, " "), len = strcspn(text, "=;");
    char key[64];
    if (text[len] != '=' || blanks >= len || len - blanks >= sizeof key)
      continue;
    memcpy(key, text + blanks, len - blanks);
    key[len - blanks] = '\0';
    json_object_set_new(all, key, json_stringn(text + len + 1, n - len - 1));
  }
  return all;
}

/* What the messages out say of the call. */
static int prepare(plivo *p, const char *id, int rate) {
  int r = cxb_buf_json(&p->id, id, strlen(id));
  if (!r)
    r = cxb_buf_printf(&p->media,
                       "{\"event\":\"playAudio\",\"streamId\":%s,\"media\":{\"contentType\":\"%s\","
                       "\"sampleRate\":%d,\"payload\":\"",
                       p->id.data, p->codec == CXB_CODEC_PCM ? "audio/x-l16" : "audio/x-mulaw",
                       rate);
  return r;
}

static int take_start(cxb_leg *leg, json_t *msg) {
  plivo *p = cxb_leg_state(leg);
  if (p->phase != START)
    return cxb_leg_ignore(leg);
  const json_t *start = cxb_wire_obj(msg, "start");
  cxb_start s = {0};
  if (!format_ok(cxb_wire_obj(start, "mediaFormat"), &p->codec, &s.rate))
    return CXB_EUNSUPPORTED;
  char made[CXB_WIRE_ID_LEN];
  cxb_wire_make_id(made);
  s.stream_id = cxb_wire_str(start, "streamId", "");
  if (!*s.stream_id)
    s.stream_id = cxb_wire_str(msg, "streamId", made);
  int r = prepare(p, s.stream_id, s.rate);
  if (r < 0)
    return r;
  json_t *event = start ? json_deep_copy(start) : json_object();
  json_t *extra = extra_headers(cxb_wire_str(msg, "extra_headers", ""));
  cxb_wire_merge(event, extra);
  json_decref(extra);
  cxb_wire_numbers(&s, cxb_wire_str(event, "direction", ""), cxb_wire_str(event, "from", ""),
                   cxb_wire_str(event, "to", ""));
  p->phase = TALKING;
  return cxb_wire_begin(leg, &s, event);
}

static int take_media(cxb_leg *leg, json_t *msg) {
  const plivo *p = cxb_leg_state(leg);
  const json_t *media = cxb_wire_obj(msg, "media");
  if (strcmp(cxb_wire_str(media, "track", "inbound"), "inbound") != 0)
    return cxb_leg_ignore(leg);
  size_t len;
  const char *payload = cxb_wire_text(media, "payload", &len);
  return cxb_wire_base64_in(leg, p->codec, payload, len);
}

/* A checkpoint comes back only when it was played. */
static int take_played(cxb_leg *leg, json_t *msg) {
  return cxb_stream_played(leg, cxb_wire_str(msg, "name", ""));
}

static int take_stop(cxb_leg *leg, json_t *msg) {
  plivo *p = cxb_leg_state(leg);
  (void)msg;
  p->phase = OVER;
  cxb_session_in_stop(cxb_leg_session(leg), "");
  cxb_leg_close(leg, 1000, "");
  return 0;
}

static const cxb_wire_taker takers[] = {
    {"media", 1 << TALKING, take_media},
    {"playedStream", 1 << TALKING, take_played},
    {"clearedAudio", 1 << TALKING, cxb_stream_take_cleared},
    {"dtmf", 1 << TALKING, cxb_stream_take_dtmf},
    {"start", CXB_ANY_PHASE, take_start},
    {"stop", 1 << TALKING, take_stop},
};

static int plivo_text(cxb_leg *leg, const char *data, size_t len) {
  const plivo *p = cxb_leg_state(leg);
  int r = 0;
  if (p->phase == TALKING && cxb_stream_quick_media(leg, data, len, p->codec, true, &r))
    return r;
  return cxb_wire_take(leg, data, len, "event", takers, sizeof takers / sizeof *takers, p->phase);
}

/* ---- out ---- */

static int plivo_frame(cxb_leg *leg, const int16_t *pcm, size_t n) {
  plivo *p = cxb_leg_state(leg);
  if (p->phase != TALKING)
    return CXB_ECLOSED;
  cxb_buf_clear(&p->out);
  int r = cxb_buf_add(&p->out, p->media.data, p->media.len);
  return r < 0 ? r : cxb_stream_send_media(leg, &p->out, p->codec, pcm, n);
}

static int plivo_clear(cxb_leg *leg) {
  plivo *p = cxb_leg_state(leg);
  if (p->phase != TALKING)
    return CXB_ECLOSED;
  cxb_buf_clear(&p->out);
  int r = cxb_buf_printf(&p->out, "{\"event\":\"clearAudio\",\"streamId\":%s}", p->id.data);
  return r < 0 ? r : cxb_leg_send_text(leg, p->out.data, p->out.len);
}

static int plivo_mark(cxb_leg *leg, const char *name) {
  plivo *p = cxb_leg_state(leg);
  if (p->phase != TALKING)
    return CXB_ECLOSED;
  cxb_buf_clear(&p->out);
  int r =
      cxb_buf_printf(&p->out, "{\"event\":\"checkpoint\",\"streamId\":%s,\"name\":", p->id.data);
  return r < 0 ? r : cxb_stream_send_name(leg, &p->out, name, "}");
}

/* Without credentials for the carrier's REST interface the stream is all we can end. */
static int plivo_hangup(cxb_leg *leg) {
  plivo *p = cxb_leg_state(leg);
  p->phase = OVER;
  cxb_leg_close(leg, 1000, "");
  return 0;
}

static void plivo_closed(cxb_leg *leg) {
  plivo *p = cxb_leg_state(leg);
  cxb_buf_free(&p->id);
  cxb_buf_free(&p->media);
  cxb_buf_free(&p->out);
}

const cxb_serializer cxb_serializer_plivo = {
    .name = "plivo",
    .lead_ms = 200,
    .has_marks = true,
    .max_text = 262144,
    .state_size = sizeof(plivo),
    .text = plivo_text,
    .frame = plivo_frame,
    .clear = plivo_clear,
    .mark = plivo_mark,
    .hangup = plivo_hangup,
    .closed = plivo_closed,
};
