/* One fuzzed call of one wire: the bytes say what happens to it, step by step. Shared by the
 * libFuzzer targets (spec/fuzz/) and the seeded driver (test_transport_fuzz.c).
 *
 * The first byte chooses the address's parameters. A step is one byte of kind, for messages two
 * bytes of length (little-endian), then their bytes: 0–159 text · 160–191 binary · 192–207 time
 * (next byte × 50 ms) · 208–255 the session calls */
#pragma once
#include "transport_log.h"

typedef struct fuzz_totals {
  size_t messages, starts, closes;
  size_t refused; /* dropped or ignored */
} fuzz_totals;

static inline void fuzz_session_calls(cxb_session *s, uint8_t kind) {
  static const int16_t pcm[960];
  static const cxb_transfer transfer = {.to = "+1", .type = "sip", .reason = "\"\\\n"};
  static const char note[] = "{\"type\":\"state\",\"value\":\"listening\"}";
  const cxb_wire *w = s->ops;
  switch (kind % 12) {
  case 0:
    w->clear(s->leg);
    break;
  case 1:
    w->mark(s->leg, "u\x01\"\xff");
    break;
  case 2:
    w->transfer(s->leg, &transfer);
    break;
  case 3:
    if (kind > 240)
      w->hangup(s->leg);
    break;
  case 4:
    if (w->note)
      w->note(s->leg, note, sizeof note - 1);
    break;
  case 5:
    s->full = kind > 250;
    break;
  default:
    w->frame(s->leg, pcm, 160);
  }
}

/* What must hold whatever arrives: one start, before all that follows from it; one end, last. */
static inline void fuzz_judge(cxb_session *s, fuzz_totals *totals) {
  const char *start = strstr(s->log.data, "start "), *closed = strstr(s->log.data, "\nclosed ");
  bool at_once = strncmp(s->log.data, "closed ", 7) == 0;
  if (start && (start == s->log.data || start[-1] == '\n'))
    totals->starts++;
  else if (s->audio.len || strstr(s->log.data, "answer\n") || s->sends)
    abort(); /* something came before the start */
  if (!closed && !at_once)
    abort(); /* the end was not told */
  if (closed && strchr(closed + 1, '\n')[1] != '\0')
    abort(); /* something came after the end */
  if (at_once && strchr(s->log.data, '\n')[1] != '\0')
    abort();
  const cxb_leg_counts *counted = cxb_leg_counted(s->leg);
  totals->refused += counted->bad_message + counted->bad_audio + counted->ignored;
  totals->closes++;
}

static const char *const fuzz_queries[] = {"", "sample-rate=16000&%zz=&=", "a&a=%00",
                                           "answer=1&caller=%2b1&did=x",
                                           "play=json&out_rate=24000"};
enum { FUZZ_QUERIES = sizeof fuzz_queries / sizeof *fuzz_queries };

static inline int fuzz_call(const char *wire, const uint8_t *data, size_t size,
                            fuzz_totals *totals) {
  const cxb_leg_options options = {.chunk_bytes = 640};
  cxb_session *s = begin_with(wire, fuzz_queries[size ? data[0] % FUZZ_QUERIES : 0], &options);
  for (size_t at = 1; at < size;) {
    uint8_t kind = data[at++];
    if (kind < 192) {
      if (size - at < 2)
        break;
      size_t len = (size_t)data[at] | (size_t)data[at + 1] << 8;
      at += 2;
      len = len < size - at ? len : size - at;
      char *copy = malloc(len ? len : 1); /* of its own, so that a byte too far is seen */
      memcpy(copy, data + at, len);
      cxb_leg_feed(s->leg, kind >= 160, copy, len);
      free(copy);
      totals->messages++;
      at += len;
    } else if (kind < 208) {
      cxb_leg_advance(s->leg, at < size ? data[at++] * 50 : 50);
    } else {
      fuzz_session_calls(s, kind);
    }
  }
  cxb_leg_lost(s->leg, 1006);
  fuzz_judge(s, totals);
  end(s);
  return 0;
}
