/* What the carriers' media streams share, {"event":"media","media":{"payload":"<base64>"}} and what
 * goes with it: taking a frame, a key and a mark of the caller's side, ending a frame and a mark of
 * ours. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/buf.h"
#include "leg.h"
#include "wire_audio.h"

/* The usual frame of the caller, fifty times a second, without the JSON library: true, and *r as
 * cxb_wire_base64_in(). False: the message goes the long way. `tracked`: the wire names the track,
 * and only "inbound" is the caller. */
bool cxb_stream_quick_media(cxb_leg *leg, const char *data, size_t len, cxb_codec codec,
                            bool tracked, int *r);

/* Takers (cxb_wire_taker). */
int cxb_stream_take_dtmf(cxb_leg *leg, json_t *msg);    /* {"dtmf":{"digit":"5"}} */
int cxb_stream_take_mark(cxb_leg *leg, json_t *msg);    /* {"mark":{"name":"a"}}: it was played */
int cxb_stream_take_cleared(cxb_leg *leg, json_t *msg); /* a clear was heard: a sign of life */
/* A mark of this name was played; without a name it is ignored and counted. 0. */
int cxb_stream_played(cxb_leg *leg, const char *name);

/* Ends and sends the message begun in `out`: a frame in base64, a name. 0 or CXB_E*. */
int cxb_stream_send_media(cxb_leg *leg, cxb_buf *out, cxb_codec codec, const int16_t *pcm,
                          size_t n);
int cxb_stream_send_name(cxb_leg *leg, cxb_buf *out, const char *name, const char *tail);
