/* Asterisk's WebSocket channel: media in binary, control in text, in one of two forms (core spec
 * §3.6). Wire: https://docs.asterisk.org, "WebSocket Channel". */
#include <string.h>

#include "../base/err.h"
#include "wire_audio.h"
#include "wire_json.h"
#include "wire_query.h"

typedef enum { START, TALKING, OVER } phase; /* what is awaited, then what is */
enum { MAX_MESSAGE = 65500 };

typedef struct asterisk {
  phase phase;
  bool json;       /* the form of MEDIA_START is the call's */
  bool answer;     /* the channel is ours to answer */
  json_t *address; /* the address's parameters, until the start */
  cxb_chunker chunk;
  cxb_buf out;
} asterisk;

static const struct {
  const char *name;
  cxb_codec codec;
  int rate;
} formats[] = {
    {"ulaw", CXB_CODEC_ULAW, 8000},   {"alaw", CXB_CODEC_ALAW, 8000},
    {"slin", CXB_CODEC_PCM, 8000},    {"slin16", CXB_CODEC_PCM, 16000},
    {"slin24", CXB_CODEC_PCM, 24000}, {"slin48", CXB_CODEC_PCM, 48000},
};

static int asterisk_open(cxb_leg *leg, const char *query) {
  asterisk *a = cxb_leg_state(leg);
  char text[8];
  a->answer = cxb_wire_query(query, "answer", text, sizeof text) && strcmp(text, "1") == 0;
  a->address = cxb_wire_query_object(query);
  return a->address ? 0 : CXB_ENOMEM;
}

/* {"command":"…","correlation_id":"…"} or "… …", as the far end speaks; `id` NULL: none. */
static int command(cxb_leg *leg, const char *name, const char *id) {
  asterisk *a = cxb_leg_state(leg);
  cxb_buf_clear(&a->out);
  int r;
  if (!a->json) {
    r = cxb_buf_printf(&a->out, "%s%s%s", name, id ? " " : "", id ? id : "");
  } else {
    r = cxb_buf_printf(&a->out, "{\"command\":\"%s\"%s", name, id ? ",\"correlation_id\":" : "");
    if (!r && id)
      r = cxb_buf_json(&a->out, id, strlen(id));
    if (!r)
      r = cxb_buf_str(&a->out, "}");
  }
  return r < 0 ? r : cxb_leg_send_text(leg, a->out.data, a->out.len);
}

static int send_mark(cxb_leg *leg, const char *name) {
  return command(leg, "MARK_MEDIA", name);
}

/* ---- in ---- */

/* The channel's own size of a message: ours are multiples of it, and no smaller than a frame. */
static void set_unit(asterisk *a, int optimal, int rate) {
  size_t width = cxb_codec_width(a->chunk.codec);
  size_t frame = (size_t)rate / 50 * width;
  bool usable = optimal > 0 && optimal <= MAX_MESSAGE && (size_t)optimal % width == 0;
  a->chunk.unit = usable ? (size_t)optimal : frame;
  a->chunk.max = MAX_MESSAGE;
  a->chunk.stall_ms = CXB_CHUNK_STALL_MS;
  a->chunk.send = cxb_leg_send_binary;
  a->chunk.mark = send_mark;
}

static json_t *connected_event(asterisk *a, json_t *msg) {
  json_t *event = json_deep_copy(msg);
  json_object_del(event, "event");
  json_t *variables = json_incref(cxb_wire_obj(msg, "channel_variables"));
  cxb_wire_merge(event, a->address);
  cxb_wire_merge(event, variables);
  json_decref(variables);
  json_decref(a->address);
  a->address = NULL;
  return event;
}

static int take_start(cxb_leg *leg, json_t *msg) {
  asterisk *a = cxb_leg_state(leg);
  const char *format = cxb_wire_str(msg, "format", "");
  size_t i = 0, n = sizeof formats / sizeof *formats;
  while (i < n && strcmp(formats[i].name, format) != 0)
    i++;
  if (i == n)
    return CXB_EUNSUPPORTED;
  a->chunk.codec = formats[i].codec;
  set_unit(a, cxb_wire_int(msg, "optimal_frame_size", 0), formats[i].rate);
  int unit_ms =
      (int)(a->chunk.unit / cxb_codec_width(a->chunk.codec) * 1000 / (size_t)formats[i].rate);
  char made[CXB_WIRE_ID_LEN];
  cxb_wire_make_id(made);
  json_t *event = connected_event(a, msg);
  cxb_start s = {.rate = formats[i].rate, .framing_ms = unit_ms > CXB_FRAME_MS ? unit_ms : 0};
  s.stream_id = cxb_wire_str(event, "channel_id", "");
  if (!*s.stream_id)
    s.stream_id = cxb_wire_str(event, "connection_id", made);
  s.direction = cxb_wire_direction(cxb_wire_str(event, "direction", ""));
  s.caller_id = cxb_wire_str(event, "caller", "");
  s.did = cxb_wire_str(event, "did", "");
  s.from_number = strcmp(s.direction, "outgoing") == 0 ? s.did : NULL;
  a->phase = TALKING;
  int r = a->answer ? command(leg, "ANSWER", NULL) : 0;
  if (r < 0) {
    json_decref(event);
    return r;
  }
  return cxb_wire_begin(leg, &s, event);
}

static int take_digit(cxb_leg *leg, json_t *msg) {
  cxb_wire_dtmf(leg, cxb_wire_str(msg, "digit", ""));
  return 0;
}

static int take_mark(cxb_leg *leg, json_t *msg) {
  const char *id = cxb_wire_str(msg, "correlation_id", "");
  if (!*id)
    return cxb_leg_ignore(leg);
  cxb_session_in_mark(cxb_leg_session(leg), id, -1, false);
  return 0;
}

static int take_xoff(cxb_leg *leg, json_t *msg) {
  (void)msg;
  cxb_session_in_hold(cxb_leg_session(leg), true);
  return 0;
}

static int take_xon(cxb_leg *leg, json_t *msg) {
  (void)msg;
  cxb_session_in_hold(cxb_leg_session(leg), false);
  return 0;
}

/* What the channel says of itself, asked or not. */
static int take_news(cxb_leg *leg, json_t *msg) {
  (void)msg;
  cxb_session_in_alive(cxb_leg_session(leg));
  return 0;
}

static const cxb_wire_taker takers[] = {
    {"MEDIA_START", 1 << START, take_start},
    {"DTMF_END", 1 << TALKING, take_digit},
    {"MEDIA_MARK_PROCESSED", 1 << TALKING, take_mark},
    {"MEDIA_XOFF", 1 << TALKING, take_xoff},
    {"MEDIA_XON", 1 << TALKING, take_xon},
    {"STATUS", 1 << TALKING, take_news},
    {"MEDIA_BUFFERING_COMPLETED", 1 << TALKING, take_news},
    {"QUEUE_DRAINED", 1 << TALKING, take_news},
};
enum { TAKERS = sizeof takers / sizeof *takers };

/* "EVENT k:v k:v id" as the object that the other form would have sent. */
static json_t *plain(const char *data, size_t len) {
  json_t *msg = json_object();
  const char *end = data + len;
  for (bool first = true; data < end; first = false) {
    const char *blank = memchr(data, ' ', (size_t)(end - data));
    size_t n = blank ? (size_t)(blank - data) : (size_t)(end - data);
    const char *colon = first ? NULL : memchr(data, ':', n);
    char key[48];
    size_t key_len = colon ? (size_t)(colon - data) : 0;
    if (first) {
      json_object_set_new(msg, "event", json_stringn(data, n));
    } else if (!colon && n) {
      json_object_set_new(msg, "correlation_id", json_stringn(data, n));
    } else if (key_len && key_len < sizeof key) {
      memcpy(key, data, key_len);
      key[key_len] = '\0';
      json_object_set_new(msg, key, json_stringn(colon + 1, n - key_len - 1));
    }
    data += n + (blank != NULL);
  }
  return msg;
}

static int asterisk_text(cxb_leg *leg, const char *data, size_t len) {
  asterisk *a = cxb_leg_state(leg);
  if (a->phase == START)
    a->json = len && data[0] == '{';
  if (a->json)
    return cxb_wire_take(leg, data, len, "event", takers, TAKERS, a->phase);
  json_t *msg = plain(data, len);
  int r = cxb_wire_dispatch(leg, msg, "event", takers, TAKERS, a->phase);
  json_decref(msg);
  return r;
}

static int asterisk_binary(cxb_leg *leg, const uint8_t *data, size_t len) {
  const asterisk *a = cxb_leg_state(leg);
  if (a->phase != TALKING)
    return cxb_leg_ignore(leg);
  return cxb_wire_bytes_in(leg, a->chunk.codec, data, len);
}

/* ---- out ---- */

static void asterisk_timer(cxb_leg *leg) {
  cxb_chunk_flush(&((asterisk *)cxb_leg_state(leg))->chunk, leg);
}

static int asterisk_frame(cxb_leg *leg, const int16_t *pcm, size_t n) {
  asterisk *a = cxb_leg_state(leg);
  return a->phase == TALKING ? cxb_chunk_add(&a->chunk, leg, pcm, n) : CXB_ECLOSED;
}

static int asterisk_clear(cxb_leg *leg) {
  asterisk *a = cxb_leg_state(leg);
  if (a->phase != TALKING)
    return CXB_ECLOSED;
  cxb_chunk_drop(&a->chunk, leg);
  return command(leg, "FLUSH_MEDIA", NULL);
}

static int asterisk_mark(cxb_leg *leg, const char *name) {
  asterisk *a = cxb_leg_state(leg);
  return a->phase == TALKING ? cxb_chunk_mark(&a->chunk, leg, name) : CXB_ECLOSED;
}

/* The channel closes the socket; the session does when it does not. */
static int asterisk_hangup(cxb_leg *leg) {
  asterisk *a = cxb_leg_state(leg);
  if (a->phase != TALKING)
    return CXB_ECLOSED;
  a->phase = OVER;
  cxb_leg_timer(leg, 0);
  return command(leg, "HANGUP", NULL);
}

static void asterisk_closed(cxb_leg *leg) {
  asterisk *a = cxb_leg_state(leg);
  json_decref(a->address);
  a->address = NULL;
  cxb_chunk_free(&a->chunk);
  cxb_buf_free(&a->out);
}

const cxb_serializer cxb_serializer_asterisk = {
    .name = "asterisk",
    .lead_ms = 200,
    .has_marks = true,
    .subprotocols = "media",
    .state_size = sizeof(asterisk),
    .open = asterisk_open,
    .text = asterisk_text,
    .binary = asterisk_binary,
    .frame = asterisk_frame,
    .clear = asterisk_clear,
    .mark = asterisk_mark,
    .hangup = asterisk_hangup,
    .timer = asterisk_timer,
    .closed = asterisk_closed,
};
