/* A tap: the caller's audio on its way from the media loop into a sink on the main loop, at a rate
 * of its own. Up to 10 s are kept for a main loop that is busy; then the oldest half second is
 * dropped. Two references: one for each loop. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "session.h"

typedef struct cxb_tap cxb_tap;

/* Main loop. Takes the sink's reference unless it fails (CXB_EINVAL for the rate or the chunk,
 * CXB_ENOMEM). `chunk_ms` 1…1000: the sink gets writes of exactly so much audio, the last one, at
 * the end, may be shorter; 0: audio as it comes. */
int cxb_tap_new(cxb_media *media, cxb_sink *sink, int rate, int chunk_ms, cxb_tap **out);
/* Main loop: delivers what is there, ends the sink when `end`, drops the main loop's reference. */
void cxb_tap_stop(cxb_tap *tap, bool end);
/* Media loop: audio at `rate`; the first call fixes it. */
void cxb_tap_feed(cxb_tap *tap, const int16_t *pcm, size_t n, int rate);
/* Media loop: drops its reference; NULL is fine. */
void cxb_tap_detach(cxb_tap *tap);
