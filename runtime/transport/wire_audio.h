/* Audio as the wires carry it: a codec, in bytes or in base64, in messages of the wire's own size.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "../base/buf.h"
#include "leg.h"

typedef enum cxb_codec {
  CXB_CODEC_PCM,    /* 16 bits, little-endian */
  CXB_CODEC_PCM_BE, /* 16 bits, big-endian (RTP's L16) */
  CXB_CODEC_ULAW,
  CXB_CODEC_ALAW,
} cxb_codec;

size_t cxb_codec_width(cxb_codec codec); /* bytes of a sample */
/* `n` samples as n * width bytes at `out`. */
void cxb_codec_encode(cxb_codec codec, const int16_t *pcm, size_t n, uint8_t *out);

/* The caller's audio into the session: 0, or CXB_ECORRUPT (bad base64, half a sample). Empty or
 * missing (NULL): ignored and counted. */
int cxb_wire_bytes_in(cxb_leg *leg, cxb_codec codec, const void *data, size_t len);
int cxb_wire_base64_in(cxb_leg *leg, cxb_codec codec, const char *base64, size_t len);
/* Appends the base64 of a frame. 0 or CXB_ENOMEM. */
int cxb_wire_base64_out(cxb_buf *out, cxb_codec codec, const int16_t *pcm, size_t n);

/* Messages of a size of their own: bytes are held until `unit` of them are together. */
typedef struct cxb_chunker {
  cxb_codec codec;
  size_t unit; /* bytes of a message, or what a message is a multiple of */
  size_t max;  /* bytes of a message at most; 0: `unit` */
  cxb_buf held;
} cxb_chunker; /* zeroed, then codec, unit and max set */

/* One message out; 0 or CXB_E*. */
typedef int (*cxb_chunk_send)(cxb_leg *leg, const void *data, size_t len);
/* A frame more: sends what is whole. */
int cxb_chunk_add(cxb_chunker *c, cxb_leg *leg, const int16_t *pcm, size_t n, cxb_chunk_send send);
/* Nothing follows for now: what is held goes, filled up with silence. */
int cxb_chunk_flush(cxb_chunker *c, cxb_leg *leg, cxb_chunk_send send);
