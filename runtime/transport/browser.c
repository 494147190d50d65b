/* The browser test call: binary PCM16 LE, JSON control (core spec §3.8). The page answers
 * {"type":"clear"} by {"type":"clear","played_ms":n}: how much it played of what was cut. */
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "wire_audio.h"
#include "wire_json.h"

typedef enum { START, TALKING, OVER } phase; /* what is awaited, then what is */
enum { CLEAR_MS = 500 };

typedef struct page {
  phase phase;
  bool clearing; /* its answer is awaited */
  cxb_buf out;
  cxb_wire_marks marks;
} page;

/* ---- in ---- */

static int take_start(cxb_leg *leg, json_t *msg) {
  page *p = cxb_leg_state(leg);
  double rate = cxb_wire_num(msg, "rate", 0);
  if (rate != 16000 && rate != 24000 && rate != 48000)
    return CXB_EUNSUPPORTED;
  char id[CXB_WIRE_ID_LEN];
  cxb_wire_make_id(id);
  json_object_del(msg, "type");
  cxb_wire_set(msg, "callerId", "");
  cxb_wire_set(msg, "did", "");
  cxb_wire_set(msg, "callDirection", "incoming");
  cxb_wire_set(msg, "streamId", id);
  char *text = json_dumps(msg, JSON_COMPACT);
  if (!text)
    return CXB_ENOMEM;
  const cxb_start s = {.rate = (int)rate,
                       .stream_id = cxb_wire_str(msg, "streamId", id),
                       .caller_id = cxb_wire_str(msg, "callerId", ""),
                       .did = cxb_wire_str(msg, "did", ""),
                       .direction = "incoming",
                       .connected_event = text};
  p->phase = TALKING;
  cxb_leg_handshake_done(leg);
  cxb_session_in_start(cxb_leg_session(leg), &s);
  cxb_session_in_answer(cxb_leg_session(leg));
  free(text);
  return 0;
}

static int64_t played(const json_t *msg) {
  double ms = cxb_wire_num(msg, "played_ms", -1);
  return ms >= 0 && ms < 1e12 ? (int64_t)ms : -1;
}

static int take_mark(cxb_leg *leg, json_t *msg) {
  page *p = cxb_leg_state(leg);
  const char *name = cxb_wire_str(msg, "name", "");
  if (!*name)
    return cxb_leg_ignore(leg);
  cxb_session_in_mark(cxb_leg_session(leg), name, played(msg), cxb_wire_mark_back(&p->marks));
  return 0;
}

/* The answer to clear(), ours when the page stays silent. */
static void cleared(cxb_leg *leg, int64_t played_ms) {
  page *p = cxb_leg_state(leg);
  p->clearing = false;
  cxb_leg_timer(leg, 0);
  cxb_session_in_mark(cxb_leg_session(leg), "", played_ms, true);
}

static int take_clear(cxb_leg *leg, json_t *msg) {
  if (!((page *)cxb_leg_state(leg))->clearing)
    return cxb_leg_ignore(leg);
  cleared(leg, played(msg));
  return 0;
}

static int take_dtmf(cxb_leg *leg, json_t *msg) {
  cxb_wire_dtmf(leg, cxb_wire_str(msg, "digit", ""));
  return 0;
}

static int take_text(cxb_leg *leg, json_t *msg) {
  const char *text = cxb_wire_str(msg, "text", "");
  if (!*text)
    return cxb_leg_ignore(leg);
  cxb_session_in_text(cxb_leg_session(leg), text);
  return 0;
}

/* The page wants out. It still gets the script's "end", so the socket stays until our hang-up. */
static int take_stop(cxb_leg *leg, json_t *msg) {
  page *p = cxb_leg_state(leg);
  (void)msg;
  p->phase = OVER;
  cxb_leg_timer(leg, 0);
  cxb_session_in_stop(cxb_leg_session(leg), "");
  return 0;
}

static const cxb_wire_taker takers[] = {
    {"mark", 1 << TALKING, take_mark}, {"clear", 1 << TALKING, take_clear},
    {"dtmf", 1 << TALKING, take_dtmf}, {"text", 1 << TALKING, take_text},
    {"start", 1 << START, take_start}, {"stop", 1 << TALKING, take_stop},
};

static int page_text(cxb_leg *leg, const char *data, size_t len) {
  const page *p = cxb_leg_state(leg);
  return cxb_wire_take(leg, data, len, "type", takers, sizeof takers / sizeof *takers, p->phase);
}

static int page_binary(cxb_leg *leg, const uint8_t *data, size_t len) {
  const page *p = cxb_leg_state(leg);
  return p->phase == TALKING ? cxb_wire_bytes_in(leg, CXB_CODEC_PCM, data, len)
                             : cxb_leg_ignore(leg);
}

static void page_timer(cxb_leg *leg) {
  if (((page *)cxb_leg_state(leg))->clearing)
    cleared(leg, -1);
}

/* ---- out ---- */

static int page_frame(cxb_leg *leg, const int16_t *pcm, size_t n) {
  const page *p = cxb_leg_state(leg);
  return p->phase == TALKING ? cxb_leg_send_binary(leg, pcm, n * 2) : CXB_ECLOSED;
}

static int page_clear(cxb_leg *leg) {
  static const char text[] = "{\"type\":\"clear\"}";
  page *p = cxb_leg_state(leg);
  if (p->phase != TALKING)
    return CXB_ECLOSED;
  cxb_wire_marks_clear(&p->marks);
  p->clearing = true;
  cxb_leg_timer(leg, CLEAR_MS);
  return cxb_leg_send_text(leg, text, sizeof text - 1);
}

static int page_mark(cxb_leg *leg, const char *name) {
  page *p = cxb_leg_state(leg);
  if (p->phase != TALKING)
    return CXB_ECLOSED;
  cxb_buf_clear(&p->out);
  int r = cxb_buf_str(&p->out, "{\"type\":\"mark\",\"name\":");
  if (!r)
    r = cxb_buf_json(&p->out, name, strlen(name));
  if (!r)
    r = cxb_buf_str(&p->out, "}");
  if (!r)
    r = cxb_leg_send_text(leg, p->out.data, p->out.len);
  if (!r)
    cxb_wire_mark_sent(&p->marks);
  return r;
}

static int page_note(cxb_leg *leg, const char *json, size_t len) {
  const page *p = cxb_leg_state(leg);
  return p->phase == START ? CXB_ECLOSED : cxb_leg_send_text(leg, json, len);
}

static int page_hangup(cxb_leg *leg) {
  page *p = cxb_leg_state(leg);
  p->phase = OVER;
  cxb_leg_close(leg, 1000, "");
  return 0;
}

static void page_closed(cxb_leg *leg) {
  page *p = cxb_leg_state(leg);
  cxb_buf_free(&p->out);
}

const cxb_serializer cxb_serializer_browser = {
    .name = "browser",
    .lead_ms = 200,
    .has_marks = true,
    .answers_clear = true,
    .state_size = sizeof(page),
    .text = page_text,
    .binary = page_binary,
    .frame = page_frame,
    .clear = page_clear,
    .mark = page_mark,
    .hangup = page_hangup,
    .note = page_note,
    .timer = page_timer,
    .closed = page_closed,
};
