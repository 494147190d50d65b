/* Codecs, base64 and message sizes of the wires. */
#include "wire_audio.h"

#include <stdlib.h>
#include <string.h>

#include "../base/base64.h"
#include "../base/err.h"
#include "../media/g711.h"

enum { BLOCK = CXB_MAX_RATE / 1000 * CXB_FRAME_MS, ON_STACK = 49152 };

size_t cxb_codec_width(cxb_codec codec) {
  return codec == CXB_CODEC_PCM || codec == CXB_CODEC_PCM_BE ? 2 : 1;
}

void cxb_codec_encode(cxb_codec codec, const int16_t *pcm, size_t n, uint8_t *out) {
  switch (codec) {
  case CXB_CODEC_PCM:
    memcpy(out, pcm, n * 2);
    break;
  case CXB_CODEC_PCM_BE:
    for (size_t i = 0; i < n; i++) {
      out[2 * i] = (uint8_t)((uint16_t)pcm[i] >> 8);
      out[2 * i + 1] = (uint8_t)pcm[i];
    }
    break;
  case CXB_CODEC_ULAW:
    cxb_ulaw_encode(pcm, n, out);
    break;
  case CXB_CODEC_ALAW:
    cxb_alaw_encode(pcm, n, out);
  }
}

static void decode(cxb_codec codec, const uint8_t *in, size_t n, int16_t *pcm) {
  switch (codec) {
  case CXB_CODEC_PCM: /* copied: the wire's bytes need not be aligned */
    memcpy(pcm, in, n * 2);
    break;
  case CXB_CODEC_PCM_BE:
    for (size_t i = 0; i < n; i++)
      pcm[i] = (int16_t)(uint16_t)(in[2 * i] << 8 | in[2 * i + 1]);
    break;
  case CXB_CODEC_ULAW:
    cxb_ulaw_decode(in, n, pcm);
    break;
  case CXB_CODEC_ALAW:
    cxb_alaw_decode(in, n, pcm);
  }
}

/* ---- in ---- */

int cxb_wire_bytes_in(cxb_leg *leg, cxb_codec codec, const void *data, size_t len) {
  int16_t pcm[BLOCK];
  size_t width = cxb_codec_width(codec);
  const uint8_t *at = data;
  if (len == 0)
    return cxb_leg_ignore(leg);
  if (len % width)
    return CXB_ECORRUPT;
  for (size_t left = len / width; left;) {
    size_t n = left < BLOCK ? left : BLOCK;
    decode(codec, at, n, pcm);
    cxb_session_in_audio(cxb_leg_session(leg), pcm, n);
    at += n * width;
    left -= n;
  }
  return 0;
}

int cxb_wire_base64_in(cxb_leg *leg, cxb_codec codec, const char *base64, size_t len) {
  uint8_t stack[ON_STACK + 3];
  size_t room = len / 4 * 3 + 3;
  uint8_t *bytes = room <= sizeof stack ? stack : malloc(room);
  if (!bytes)
    return CXB_ENOMEM;
  long n = len ? cxb_base64_decode(bytes, base64, len, false) : 0;
  int r = n < 0 ? CXB_ECORRUPT : cxb_wire_bytes_in(leg, codec, bytes, (size_t)n);
  if (bytes != stack)
    free(bytes);
  return r;
}

/* ---- out ---- */

static int base64_out(cxb_buf *out, const void *data, size_t len) {
  int r = cxb_buf_reserve(out, CXB_BASE64_LEN(len) + 1);
  if (r < 0)
    return r;
  out->len += cxb_base64_encode(out->data + out->len, data, len);
  return 0;
}

int cxb_wire_base64_out(cxb_buf *out, cxb_codec codec, const int16_t *pcm, size_t n) {
  uint8_t bytes[BLOCK * 2];
  if (codec == CXB_CODEC_PCM)
    return base64_out(out, pcm, n * 2);
  if (n > BLOCK)
    return CXB_EINVAL;
  cxb_codec_encode(codec, pcm, n, bytes);
  return base64_out(out, bytes, n * cxb_codec_width(codec));
}

/* ---- chunks ---- */

static int send_marks(cxb_chunker *c, cxb_leg *leg) {
  int r = 0;
  size_t at = 0;
  while (!r && at < c->marks.len) {
    r = c->mark(leg, c->marks.data + at);
    at += strlen(c->marks.data + at) + 1;
  }
  cxb_buf_clear(&c->marks);
  return r;
}

/* Every mark that waits stands before the end of the first message that goes. */
static int send_whole(cxb_chunker *c, cxb_leg *leg) {
  size_t most = c->max > c->unit ? c->max / c->unit * c->unit : c->unit;
  while (c->held.len >= c->unit) {
    size_t whole = c->held.len / c->unit * c->unit;
    size_t len = whole < most ? whole : most;
    int r = c->send(leg, c->held.data, len);
    cxb_buf_consume(&c->held, len);
    if (!r)
      r = send_marks(c, leg);
    if (r < 0)
      return r;
  }
  return 0;
}

static void wait_for_more(const cxb_chunker *c, cxb_leg *leg) {
  if (c->stall_ms)
    cxb_leg_timer(leg, c->held.len ? c->stall_ms : 0);
}

static int add(cxb_chunker *c, cxb_leg *leg, const int16_t *pcm, size_t n) {
  size_t bytes = n * cxb_codec_width(c->codec);
  int r = cxb_buf_reserve(&c->held, bytes + 1);
  if (r < 0)
    return r;
  cxb_codec_encode(c->codec, pcm, n, (uint8_t *)c->held.data + c->held.len);
  c->held.len += bytes;
  return send_whole(c, leg);
}

int cxb_chunk_add(cxb_chunker *c, cxb_leg *leg, const int16_t *pcm, size_t n) {
  int r = add(c, leg, pcm, n);
  wait_for_more(c, leg);
  return r;
}

int cxb_chunk_mark(cxb_chunker *c, cxb_leg *leg, const char *name) {
  return c->held.len ? cxb_buf_add(&c->marks, name, strlen(name) + 1) : c->mark(leg, name);
}

int cxb_chunk_flush(cxb_chunker *c, cxb_leg *leg) {
  static const int16_t silence[BLOCK];
  int r = 0;
  while (!r && c->held.len) {
    size_t n = (c->unit - c->held.len) / cxb_codec_width(c->codec);
    r = add(c, leg, silence, n < BLOCK ? n : BLOCK);
  }
  wait_for_more(c, leg);
  return r;
}

void cxb_chunk_drop(cxb_chunker *c, cxb_leg *leg) {
  cxb_buf_clear(&c->held);
  cxb_buf_clear(&c->marks);
  wait_for_more(c, leg);
}

void cxb_chunk_free(cxb_chunker *c) {
  cxb_buf_free(&c->held);
  cxb_buf_free(&c->marks);
}
