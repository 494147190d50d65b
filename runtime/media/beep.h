/* The tone after which a voicemail records: one steady sine of 850 to 1,500 Hz for at least 160 ms.
 *
 * A sine obeys x[n-k] + x[n+k] = 2 cos(kw) x[n]. Per frame the best cos(kw) is fitted, which gives
 * the frequency (least squares; Prony's method for one component); then a Goertzel sum at that
 * frequency says how much of the energy is there: 0.8 of it or more is a tone. Voices, keys and
 * noise have less. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cxb_beep {
  int rate;
  int frames;               /* of the steady tone so far */
  double hz;                /* of its last frame */
  double cos_low, cos_high; /* the band, as cosines of the turn between neighbours */
} cxb_beep;

void cxb_beep_init(cxb_beep *b, int rate);
/* One frame of 20 ms. True once, when a beep has ended. */
bool cxb_beep_frame(cxb_beep *b, const int16_t *pcm, size_t n);
