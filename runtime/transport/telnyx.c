/* Telnyx media streaming: G.711 or big-endian L16 in base64; messages may change places.
 * Wire: https://developers.telnyx.com/docs/voice/programmable-voice/media-streaming */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "../base/err.h"
#include "wire_json.h"
#include "wire_order.h"
#include "wire_scan.h"
#include "wire_stream.h"

typedef enum { CONNECTED, START, TALKING, OVER } phase; /* what is awaited, then what is */

typedef struct telnyx {
  phase phase;
  cxb_codec codec;
  cxb_order order;
  cxb_buf out;
} telnyx;

/* ---- in ---- */

static int take_connected(cxb_leg *leg, json_t *msg) {
  telnyx *t = cxb_leg_state(leg);
  (void)msg;
  if (t->phase != CONNECTED)
    return cxb_leg_ignore(leg);
  t->phase = START;
  return 0;
}

static bool format_ok(const json_t *format, cxb_codec *codec, int *rate) {
  const char *encoding = cxb_wire_str(format, "encoding", "PCMU");
  *rate = cxb_wire_int(format, "sample_rate", 8000);
  if (cxb_wire_int(format, "channels", 1) != 1)
    return false;
  bool l16 = strcasecmp(encoding, "L16") == 0;
  *codec = l16                                 ? CXB_CODEC_PCM_BE
           : strcasecmp(encoding, "PCMA") == 0 ? CXB_CODEC_ALAW
                                               : CXB_CODEC_ULAW;
  if (*codec == CXB_CODEC_ULAW && strcasecmp(encoding, "PCMU") != 0)
    return false;
  return *rate == 8000 || (l16 && (*rate == 16000 || *rate == 24000));
}

static int take_start(cxb_leg *leg, json_t *msg) {
  telnyx *t = cxb_leg_state(leg);
  if (t->phase == CONNECTED)
    return CXB_EPROTO;
  if (t->phase != START)
    return cxb_leg_ignore(leg);
  const json_t *start = cxb_wire_obj(msg, "start");
  cxb_start s = {0};
  if (!format_ok(cxb_wire_obj(start, "media_format"), &t->codec, &s.rate))
    return CXB_EUNSUPPORTED;
  char made[CXB_WIRE_ID_LEN];
  cxb_wire_make_id(made);
  s.stream_id = cxb_wire_str(msg, "stream_id", "");
  if (!*s.stream_id)
    s.stream_id = cxb_wire_str(start, "stream_id", made);
  const json_t *custom = cxb_wire_obj(start, "custom_parameters");
  const char *direction = cxb_wire_str(custom, "direction", "");
  cxb_wire_numbers(&s, direction, cxb_wire_str(start, "from", ""), cxb_wire_str(start, "to", ""));
  t->phase = TALKING;
  json_t *event = start ? json_deep_copy(start) : json_object();
  cxb_wire_merge(event, custom);
  return cxb_wire_begin(leg, &s, event);
}

static int take_media(cxb_leg *leg, json_t *msg) {
  telnyx *t = cxb_leg_state(leg);
  const json_t *media = cxb_wire_obj(msg, "media");
  if (strcmp(cxb_wire_str(media, "track", "inbound"), "inbound") != 0)
    return cxb_leg_ignore(leg);
  size_t len;
  const char *payload = cxb_wire_text(media, "payload", &len);
  return cxb_order_in(&t->order, leg, t->codec, cxb_wire_int(media, "chunk", -1), payload, len);
}

/* Told as "carrier:<title>": the call goes on unless the carrier closes it then. */
static int take_error(cxb_leg *leg, json_t *msg) {
  char text[64] = "carrier:";
  size_t n = strlen(text);
  for (const char *c = cxb_wire_str(cxb_wire_obj(msg, "payload"), "title", "error");
       *c && n < sizeof text - 1; c++)
    text[n++] = isalnum((unsigned char)*c) ? *c : '_';
  cxb_session_in_error(cxb_leg_session(leg), text);
  return 0;
}

static int take_stop(cxb_leg *leg, json_t *msg) {
  telnyx *t = cxb_leg_state(leg);
  (void)msg;
  t->phase = OVER;
  cxb_session_in_stop(cxb_leg_session(leg), "");
  cxb_leg_close(leg, 1000, "");
  return 0;
}

static const cxb_wire_taker takers[] = {
    {"media", 1 << TALKING, take_media},          {"mark", 1 << TALKING, cxb_stream_take_mark},
    {"dtmf", 1 << TALKING, cxb_stream_take_dtmf}, {"start", CXB_ANY_PHASE, take_start},
    {"stop", CXB_ANY_PHASE, take_stop},           {"connected", CXB_ANY_PHASE, take_connected},
    {"error", 1 << TALKING, take_error},
};

/* A short decimal number; -1: none, and the message takes the long way. */
static int number_of(const cxb_scan *found) {
  int n = 0;
  if (!found->value || found->len == 0 || found->len > 9)
    return -1;
  for (size_t i = 0; i < found->len; i++) {
    if (!isdigit((unsigned char)found->value[i]))
      return -1;
    n = n * 10 + found->value[i] - '0';
  }
  return n;
}

/* The usual frame of the caller; *r is then its result. */
static bool quick_media(cxb_leg *leg, const char *data, size_t len, int *r) {
  enum { EVENT, TRACK, CHUNK, PAYLOAD, COUNT };
  telnyx *t = cxb_leg_state(leg);
  cxb_scan found[COUNT] = {[EVENT] = {.name = "event"},
                           [TRACK] = {.outer = "media", .name = "track"},
                           [CHUNK] = {.outer = "media", .name = "chunk"},
                           [PAYLOAD] = {.outer = "media", .name = "payload"}};
  if (!cxb_scan_object(data, len, found, COUNT) || !cxb_scan_is(&found[EVENT], "media") ||
      !cxb_scan_is(&found[TRACK], "inbound") || !found[PAYLOAD].value)
    return false;
  int number = number_of(&found[CHUNK]);
  if (number < 0)
    return false;
  *r = cxb_order_in(&t->order, leg, t->codec, number, found[PAYLOAD].value, found[PAYLOAD].len);
  return true;
}

static int telnyx_text(cxb_leg *leg, const char *data, size_t len) {
  const telnyx *t = cxb_leg_state(leg);
  int r = 0;
  if (t->phase == TALKING && quick_media(leg, data, len, &r))
    return r;
  return cxb_wire_take(leg, data, len, "event", takers, sizeof takers / sizeof *takers, t->phase);
}

static void telnyx_timer(cxb_leg *leg) {
  telnyx *t = cxb_leg_state(leg);
  cxb_order_late(&t->order, leg, t->codec);
}

/* ---- out ---- */

static int telnyx_frame(cxb_leg *leg, const int16_t *pcm, size_t n) {
  static const char head[] = "{\"event\":\"media\",\"media\":{\"payload\":\"";
  telnyx *t = cxb_leg_state(leg);
  if (t->phase != TALKING)
    return CXB_ECLOSED;
  cxb_buf_clear(&t->out);
  int r = cxb_buf_add(&t->out, head, sizeof head - 1);
  return r < 0 ? r : cxb_stream_send_media(leg, &t->out, t->codec, pcm, n);
}

static int telnyx_clear(cxb_leg *leg) {
  static const char text[] = "{\"event\":\"clear\"}";
  const telnyx *t = cxb_leg_state(leg);
  return t->phase == TALKING ? cxb_leg_send_text(leg, text, sizeof text - 1) : CXB_ECLOSED;
}

static int telnyx_mark(cxb_leg *leg, const char *name) {
  telnyx *t = cxb_leg_state(leg);
  if (t->phase != TALKING)
    return CXB_ECLOSED;
  cxb_buf_clear(&t->out);
  int r = cxb_buf_str(&t->out, "{\"event\":\"mark\",\"mark\":{\"name\":");
  return r < 0 ? r : cxb_stream_send_name(leg, &t->out, name, "}}");
}

/* Without a key for the carrier's REST interface the stream is all we can end. */
static int telnyx_hangup(cxb_leg *leg) {
  telnyx *t = cxb_leg_state(leg);
  t->phase = OVER;
  cxb_leg_close(leg, 1000, "");
  return 0;
}

static void telnyx_closed(cxb_leg *leg) {
  telnyx *t = cxb_leg_state(leg);
  cxb_order_free(&t->order);
  cxb_buf_free(&t->out);
}

const cxb_serializer cxb_serializer_telnyx = {
    .name = "telnyx",
    .lead_ms = 200,
    .has_marks = true,
    .max_text = 262144,
    .state_size = sizeof(telnyx),
    .text = telnyx_text,
    .frame = telnyx_frame,
    .clear = telnyx_clear,
    .mark = telnyx_mark,
    .hangup = telnyx_hangup,
    .timer = telnyx_timer,
    .closed = telnyx_closed,
};
