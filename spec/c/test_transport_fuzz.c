/* Mutated messages through each wire, the same ones in every run: 50,000, or as many as
 * CXB_FUZZ_MESSAGES says (`make fuzz`: a million each, under the sanitizers). */
#include "transport_fuzz.h"

enum { MESSAGES = 50000, MAX_CALL = 8192 };

static uint64_t seed;

static uint32_t roll(uint32_t below) { /* xorshift64* */
  seed ^= seed >> 12;
  seed ^= seed << 25;
  seed ^= seed >> 27;
  return (uint32_t)((seed * 2685821657736338717ull) >> 33) % below;
}

static const char *const cxb_messages[] = {
    "{\"event\":\"connected\",\"callerId\":\"+91987\",\"did\":\"+9112\",\"callDirection\":"
    "\"outgoing\"}",
    "{\"event\":\"start\",\"streamId\":\"s\",\"mediaFormat\":{\"encoding\":\"LINEAR16\","
    "\"sampleRate\":16000,"
    "\"channels\":1}}",
    "{\"event\":\"answer\"}",
    "{\"event\":\"media\",\"payload\":\"AAABAAIAAwAEAAUA\"}",
    "{\"event\":\"dtmf\",\"digit\":\"5\"}",
    "{\"event\":\"call-transfer-status\",\"status\":\"failed\",\"reason\":\"busy\"}",
    "{\"event\":\"hangup-call\",\"disconnectedBy\":\"customer\"}",
    NULL};
static const char *const exotel_messages[] = {
    "{\"event\":\"connected\"}",
    "{\"event\":\"start\",\"stream_sid\":\"EX1\",\"start\":{\"stream_sid\":\"EX1\",\"call_sid\":"
    "\"CS1\",\"from\":\"+1\",\"to\":\"+2\",\"custom_parameters\":{\"a\":\"b\"},\"media_format\":{"
    "\"encoding\":\"base64\",\"sample_rate\":\"16000\"}}}",
    "{\"event\":\"media\",\"media\":{\"chunk\":\"2\",\"payload\":\"AAABAAIAAwAEAAUA\"}}",
    "{\"event\":\"dtmf\",\"dtmf\":{\"digit\":\"5\",\"duration\":\"100\"}}",
    "{\"event\":\"mark\",\"mark\":{\"name\":\"u1\"}}",
    "{\"event\":\"stop\",\"stop\":{\"reason\":\"callended\"}}",
    NULL};
static const char *const twilio_messages[] = {
    "{\"event\":\"connected\",\"protocol\":\"Call\",\"version\":\"1.0.0\"}",
    "{\"event\":\"start\",\"streamSid\":\"MZ1\",\"start\":{\"streamSid\":\"MZ1\",\"callSid\":"
    "\"CA1\","
    "\"mediaFormat\":{\"encoding\":\"audio/x-mulaw\",\"sampleRate\":8000,\"channels\":1},"
    "\"customParameters\":{\"from\":\"+1\",\"to\":\"+2\",\"direction\":\"outbound\"}}}",
    "{\"event\":\"media\",\"media\":{\"track\":\"inbound\",\"payload\":\"f39/f39/f39/\"}}",
    "{\"event\":\"mark\",\"mark\":{\"name\":\"u1\"}}",
    "{\"event\":\"dtmf\",\"dtmf\":{\"digit\":\"5\"}}",
    "{\"event\":\"stop\"}",
    NULL};
static const char *const telnyx_messages[] = {
    "{\"event\":\"connected\",\"version\":\"1.0.0\"}",
    "{\"event\":\"start\",\"stream_id\":\"T1\",\"start\":{\"call_control_id\":\"v2:1\",\"from\":"
    "\"+1\",\"to\":\"+2\",\"media_format\":{\"encoding\":\"L16\",\"sample_rate\":16000,"
    "\"channels\":"
    "1}}}",
    "{\"event\":\"media\",\"media\":{\"track\":\"inbound\",\"chunk\":\"3\",\"payload\":"
    "\"AAABAAIAAwAEAAUA\"}}",
    "{\"event\":\"media\",\"media\":{\"chunk\":2,\"payload\":\"AAABAAIAAwAEAAUA\"}}",
    "{\"event\":\"media\",\"media\":{\"chunk\":18,\"payload\":\"AAABAAIAAwAEAAUA\"}}",
    "{\"event\":\"mark\",\"mark\":{\"name\":\"u1\"}}",
    "{\"event\":\"dtmf\",\"dtmf\":{\"digit\":\"5\"}}",
    "{\"event\":\"error\",\"payload\":{\"code\":1,\"title\":\"bad frame\"}}",
    "{\"event\":\"stop\"}",
    NULL};
static const char *const plivo_messages[] = {
    "{\"event\":\"start\",\"start\":{\"callId\":\"C1\",\"streamId\":\"P1\",\"mediaFormat\":{"
    "\"encoding\":\"audio/x-l16\",\"sampleRate\":16000}},\"extra_headers\":\"a=b;from=+1;to=+2\"}",
    "{\"event\":\"media\",\"media\":{\"track\":\"inbound\",\"payload\":\"AAABAAIAAwAEAAUA\"}}",
    "{\"event\":\"playedStream\",\"streamId\":\"P1\",\"name\":\"u1\"}",
    "{\"event\":\"clearedAudio\",\"streamId\":\"P1\"}",
    "{\"event\":\"dtmf\",\"dtmf\":{\"digit\":\"5\"}}",
    "{\"event\":\"stop\"}",
    NULL};
static const char *const vonage_messages[] = {
    "{\"event\":\"websocket:connected\",\"content-type\":\"audio/l16;rate=16000\",\"uuid\":\"V1\","
    "\"from\":\"+1\",\"to\":\"+2\"}",
    "{\"event\":\"websocket:dtmf\",\"digit\":\"5\",\"duration\":260}",
    "{\"event\":\"websocket:notify\",\"payload\":{\"mark\":\"u1\"}}",
    "{\"event\":\"websocket:cleared\"}", NULL};
static const char *const asterisk_messages[] = {
    "{\"event\":\"MEDIA_START\",\"connection_id\":\"m1\",\"channel\":\"WebSocket/"
    "1\",\"channel_id\":"
    "\"1.5\",\"format\":\"slin16\",\"optimal_frame_size\":640,\"ptime\":20,\"channel_variables\":{"
    "\"caller\":\"+1\"}}",
    "{\"event\":\"DTMF_END\",\"digit\":\"5\"}",
    "{\"event\":\"MEDIA_XOFF\"}",
    "{\"event\":\"MEDIA_XON\"}",
    "{\"event\":\"MEDIA_MARK_PROCESSED\",\"correlation_id\":\"u1\"}",
    "{\"event\":\"STATUS\",\"queue_length\":4}",
    "{\"event\":\"ERROR\",\"error_text\":\"x\"}",
    NULL};
static const char *const asterisk_plain_messages[] = {
    "MEDIA_START connection_id:m1 channel:WebSocket/1 channel_id:1.5 format:ulaw "
    "optimal_frame_size:240 ptime:30",
    "DTMF_END digit:5 channel_id:1.5",
    "MEDIA_XOFF",
    "MEDIA_XON",
    "MEDIA_MARK_PROCESSED u1",
    "STATUS channel_id:1.5 queue_length:4 xon_level:800",
    "ERROR channel_id:1.5 error_text:x",
    NULL};
static const char *const audiofork_messages[] = {
    "{\"callSid\":\"F1\",\"from\":\"+1\",\"to\":\"+2\",\"direction\":\"inbound\",\"sampleRate\":"
    "64000,\"mixType\":\"stereo\"}",
    "{\"event\":\"dtmf\",\"dtmf\":\"2\",\"duration\":\"1600\"}",
    "{\"type\":\"mark\",\"data\":{\"name\":\"u1\",\"event\":\"playout\"}}",
    "{\"type\":\"mark\",\"data\":{\"name\":\"u2\",\"event\":\"cleared\"}}",
    "{\"type\":\"playDone\",\"data\":{\"id\":1}}",
    NULL};
static const char *const audiosocket_messages[] = {"01001040325ec25efd4bd3805f53576e581d13",
                                                   "12000800010203040506",
                                                   "1200040001ff7f",
                                                   "03000135",
                                                   "1000020001",
                                                   "ff000101",
                                                   "000000",
                                                   NULL};
static const char *const browser_messages[] = {
    "{\"type\":\"start\",\"rate\":16000,\"variables\":{\"a\":[1,2,{\"b\":null}]}}",
    "{\"type\":\"mark\",\"name\":\"u1\",\"played_ms\":1234}",
    "{\"type\":\"clear\",\"played_ms\":20}",
    "{\"type\":\"dtmf\",\"digit\":\"5\"}",
    "{\"type\":\"text\",\"text\":\"when do you open?\"}",
    "{\"type\":\"stop\"}",
    NULL};

static const char *const tokens[] = {"\"",
                                     "\\",
                                     "{",
                                     "}",
                                     "[",
                                     "]",
                                     ":",
                                     ",",
                                     "null",
                                     "true",
                                     "-1",
                                     "1e999",
                                     "99999999999999999999",
                                     "\\u0000",
                                     "\\ud800",
                                     "\xff",
                                     "\"event\"",
                                     "\"payload\"",
                                     "=",
                                     "AAA",
                                     "8000",
                                     "{\"a\":"};

/* Changes a message in place; returns its new length (≤ room). */
static size_t mutate(char *text, size_t len, size_t room) {
  for (uint32_t times = roll(4); times && len; times--) {
    size_t at = roll((uint32_t)len);
    switch (roll(6)) {
    case 0:
      text[at] = (char)(text[at] ^ (1 << roll(8)));
      break;
    case 1:
      text[at] = (char)roll(256);
      break;
    case 2:
      len = at;
      break;
    case 3: { /* leave some out */
      size_t n = 1 + roll(8);
      n = n < len - at ? n : len - at;
      memmove(text + at, text + at + n, len - at - n);
      len -= n;
      break;
    }
    default: { /* a token in between */
      const char *token = tokens[roll(sizeof tokens / sizeof *tokens)];
      size_t n = strlen(token);
      if (len + n > room)
        break;
      memmove(text + at + n, text + at, len - at);
      memcpy(text + at, token, n);
      len += n;
    }
    }
  }
  return len;
}

/* "01ff" as bytes; their count. */
static size_t unhex(const char *hex, char *out) {
  size_t n = 0;
  for (unsigned byte; sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
    out[n] = (char)byte;
  return n;
}

static void put_message(uint8_t *call, size_t *size, const char *message, bool hex, bool change) {
  char text[700];
  size_t len = hex ? unhex(message, text) : strlen(message);
  if (!hex)
    memcpy(text, message, len);
  if (change)
    len = mutate(text, len, sizeof text);
  call[(*size)++] = (uint8_t)(hex || (change && roll(12) == 0) ? 170 : 0);
  call[(*size)++] = (uint8_t)len;
  call[(*size)++] = (uint8_t)(len >> 8);
  memcpy(call + *size, text, len);
  *size += len;
}

/* A call that mostly begins well, then goes wrong in every way. */
static size_t make_call(uint8_t *call, const char *const *messages, size_t count, size_t handshake,
                        bool hex) {
  size_t size = 0;
  call[size++] = (uint8_t)roll(256);
  for (size_t i = 0; i < handshake; i++)
    put_message(call, &size, messages[i], hex, roll(8) == 0);
  for (int i = 0; i < 30 && size < MAX_CALL - 800; i++) {
    size_t which = roll((uint32_t)count);
    if (which + 1 == count && roll(4)) /* the goodbye comes seldom */
      which = handshake;
    put_message(call, &size, messages[which], hex, true);
    if (roll(4) == 0)
      call[size++] = (uint8_t)(208 + roll(48));
    if (roll(16) == 0) {
      call[size++] = 192;
      call[size++] = (uint8_t)roll(20);
    }
  }
  return size;
}

static size_t wanted(void) {
  const char *text = getenv("CXB_FUZZ_MESSAGES");
  return text ? strtoul(text, NULL, 10) : MESSAGES;
}

typedef struct fuzzed {
  const char *name;
  const char *const *messages; /* the handshake first, the goodbye last */
  size_t handshake;
  bool hex; /* binary messages, so written */
} fuzzed;

static void mutated_messages_do_not_harm(void **state) {
  static uint8_t call[MAX_CALL];
  const fuzzed *w = *state;
  fuzz_totals totals = {0};
  size_t count = 0;
  while (w->messages[count])
    count++;
  seed = 88172645463325252ull;
  while (totals.messages < wanted())
    fuzz_call(w->name, call, make_call(call, w->messages, count, w->handshake, w->hex), &totals);
  print_message("%s: %zu messages, %zu calls, %zu started, %zu refused\n", w->name, totals.messages,
                totals.closes, totals.starts, totals.refused);
  assert_in_range(totals.starts, totals.closes / 2, totals.closes);
  assert_in_range(totals.refused, totals.messages / 20, totals.messages);
}

static fuzzed wires[] = {
    {"cxb", cxb_messages, 3, false},
    {"exotel", exotel_messages, 2, false},
    {"twilio", twilio_messages, 2, false},
    {"telnyx", telnyx_messages, 2, false},
    {"plivo", plivo_messages, 1, false},
    {"vonage", vonage_messages, 1, false},
    {"asterisk", asterisk_messages, 1, false},
    {"asterisk", asterisk_plain_messages, 1, false},
    {"audiosocket", audiosocket_messages, 2, true},
    {"audiofork", audiofork_messages, 1, false},
    {"browser", browser_messages, 1, false},
};
enum { WIRES = sizeof wires / sizeof *wires };

int main(void) {
  struct CMUnitTest tests[WIRES];
  for (int i = 0; i < WIRES; i++)
    tests[i] =
        (struct CMUnitTest)cmocka_unit_test_prestate(mutated_messages_do_not_harm, &wires[i]);
  return cmocka_run_group_tests_name("mutated messages", tests, NULL, NULL);
}
