/* Asterisk's AudioSocket: one byte of kind, two of length (big-endian), the payload (core spec
 * §3.6). A message here is one such packet; the stream is cut into them by leg_tcp.c. */
#include <stdio.h>
#include <string.h>

#include "../base/err.h"
#include "wire_audio.h"
#include "wire_json.h"

typedef enum { UUID, RATE, TALKING, OVER } phase; /* what is awaited, then what is */
enum { HANGUP = 0x00, ID = 0x01, DIGIT = 0x03, AUDIO = 0x10, FAILED = 0xff };
enum { HEAD = 3, SILENT_MS = 1000 };

/* Of the kinds of audio, from 0x10 on. */
static const int rates[] = {8000, 12000, 16000, 24000, 32000, 44100, 48000};
enum { RATES = sizeof rates / sizeof *rates };

typedef struct audiosocket {
  phase phase;
  uint8_t kind; /* of our audio, and of the far end's */
  char id[37];
  uint8_t out[HEAD + CXB_MAX_RATE / 50 * 2];
} audiosocket;

/* ---- in ---- */

static int take_id(cxb_leg *leg, const uint8_t *p, size_t len) {
  audiosocket *a = cxb_leg_state(leg);
  if (a->phase != UUID)
    return cxb_leg_ignore(leg);
  if (len != 16)
    return CXB_EPROTO;
  snprintf(a->id, sizeof a->id,
           "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", p[0], p[1], p[2],
           p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15]);
  a->phase = RATE;
  cxb_leg_timer(leg, SILENT_MS);
  return 0;
}

/* The far end's first audio says the rate of the call. */
static int begin(cxb_leg *leg, uint8_t kind) {
  audiosocket *a = cxb_leg_state(leg);
  a->kind = kind;
  a->phase = TALKING;
  cxb_leg_timer(leg, 0);
  const cxb_start s = {.rate = rates[kind - AUDIO],
                       .stream_id = a->id,
                       .caller_id = "",
                       .did = "",
                       .direction = "incoming"};
  return cxb_wire_begin(leg, &s, json_object());
}

/* A far end that says nothing waits to be spoken to. */
static void audiosocket_timer(cxb_leg *leg) {
  const audiosocket *a = cxb_leg_state(leg);
  if (a->phase == RATE)
    begin(leg, AUDIO);
}

static int take_audio(cxb_leg *leg, uint8_t kind, const uint8_t *data, size_t len) {
  const audiosocket *a = cxb_leg_state(leg);
  int r = a->phase == RATE ? begin(leg, kind) : 0;
  if (r < 0 || a->phase != TALKING)
    return r < 0 ? r : cxb_leg_ignore(leg);
  if (kind != a->kind)
    return cxb_leg_ignore(leg);
  return cxb_wire_bytes_in(leg, CXB_CODEC_PCM, data, len);
}

static int take_digit(cxb_leg *leg, const uint8_t *data, size_t len) {
  const audiosocket *a = cxb_leg_state(leg);
  const char digit[2] = {len == 1 ? (char)data[0] : '\0'};
  if (a->phase != TALKING)
    return cxb_leg_ignore(leg);
  cxb_wire_dtmf(leg, digit);
  return 0;
}

static int take_end(cxb_leg *leg, bool failed) {
  audiosocket *a = cxb_leg_state(leg);
  bool called = a->phase == TALKING;
  a->phase = OVER;
  if (called && failed)
    cxb_session_in_error(cxb_leg_session(leg), "peer_error");
  else if (called)
    cxb_session_in_stop(cxb_leg_session(leg), "");
  cxb_leg_close(leg, failed ? 1011 : 1000, "");
  return 0;
}

static int audiosocket_packet(cxb_leg *leg, const uint8_t *data, size_t len) {
  if (len < HEAD || (size_t)(data[1] << 8 | data[2]) != len - HEAD)
    return CXB_EINVAL;
  uint8_t kind = data[0];
  const uint8_t *payload = data + HEAD;
  len -= HEAD;
  if (kind >= AUDIO && kind < AUDIO + RATES)
    return take_audio(leg, kind, payload, len);
  switch (kind) {
  case ID:
    return take_id(leg, payload, len);
  case DIGIT:
    return take_digit(leg, payload, len);
  case HANGUP:
    return take_end(leg, false);
  case FAILED:
    return take_end(leg, true);
  default:
    return cxb_leg_ignore(leg);
  }
}

static int audiosocket_text(cxb_leg *leg, const char *data, size_t len) {
  (void)data;
  (void)len;
  return cxb_leg_ignore(leg); /* there is none on a TCP stream */
}

/* ---- out ---- */

static int audiosocket_frame(cxb_leg *leg, const int16_t *pcm, size_t n) {
  audiosocket *a = cxb_leg_state(leg);
  if (a->phase != TALKING)
    return CXB_ECLOSED;
  if (n * 2 > sizeof a->out - HEAD)
    return CXB_EINVAL;
  a->out[0] = a->kind;
  a->out[1] = (uint8_t)(n * 2 >> 8);
  a->out[2] = (uint8_t)(n * 2);
  cxb_codec_encode(CXB_CODEC_PCM, pcm, n, a->out + HEAD);
  return cxb_leg_send_binary(leg, a->out, HEAD + n * 2);
}

/* Nothing is ever sent ahead, so there is nothing to take back. */
static int audiosocket_clear(cxb_leg *leg) {
  const audiosocket *a = cxb_leg_state(leg);
  return a->phase == TALKING ? 0 : CXB_ECLOSED;
}

static int audiosocket_hangup(cxb_leg *leg) {
  static const uint8_t goodbye[HEAD] = {HANGUP};
  audiosocket *a = cxb_leg_state(leg);
  int r = a->phase == TALKING ? cxb_leg_send_binary(leg, goodbye, sizeof goodbye) : 0;
  a->phase = OVER;
  cxb_leg_close(leg, 1000, "");
  return r;
}

const cxb_serializer cxb_serializer_audiosocket = {
    .name = "audiosocket",
    .lead_ms = 0,
    .max_binary = 65535 + HEAD,
    .state_size = sizeof(audiosocket),
    .text = audiosocket_text,
    .binary = audiosocket_packet,
    .frame = audiosocket_frame,
    .clear = audiosocket_clear,
    .hangup = audiosocket_hangup,
    .timer = audiosocket_timer,
};
