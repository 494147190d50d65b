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

/* Messages of a size of their own: audio is held until `unit` bytes are together. A mark goes after
 * the message that holds the audio before it. What stays unfinished for `stall_ms` goes filled up
 * with silence: nothing follows for now. Uses the serializer's timer, which is to call
 * cxb_chunk_flush(). */
typedef struct cxb_chunker {
  cxb_codec codec;
  size_t unit;  /* bytes of a message, or what a message is a multiple of */
  size_t max;   /* bytes of a message at most; 0: `unit` */
  int stall_ms; /* 0: what is unfinished waits, and the timer is left alone */
  int (*send)(cxb_leg *leg, const void *data, size_t len); /* 0 or CXB_E*, as all below */
  int (*mark)(cxb_leg *leg, const char *name);
  cxb_buf held, marks;
} cxb_chunker; /* zeroed, then all but held and marks set */

enum { CXB_CHUNK_STALL_MS = 100 };

int cxb_chunk_add(cxb_chunker *c, cxb_leg *leg, const int16_t *pcm, size_t n); /* a frame */
int cxb_chunk_mark(cxb_chunker *c, cxb_leg *leg, const char *name);
int cxb_chunk_flush(cxb_chunker *c, cxb_leg *leg);
void cxb_chunk_drop(cxb_chunker *c, cxb_leg *leg); /* audio and marks that wait */
void cxb_chunk_free(cxb_chunker *c);
