#include "beep.h"

#include <math.h>

enum {
  CXB_BEEP_FRAMES = 8,
  CXB_BEEP_LOW_HZ = 840, /* a little beside the band's ends */
  CXB_BEEP_HIGH_HZ = 1510,
  CXB_BEEP_DRIFT_HZ = 25
};

static const double tau = 6.283185307179586;

void cxb_beep_init(cxb_beep *b, int rate) {
  double w = tau * (rate / 4000) / rate; /* of 1 Hz, between neighbours */
  *b = (cxb_beep){
      .rate = rate, .cos_low = cos(w * CXB_BEEP_LOW_HZ), .cos_high = cos(w * CXB_BEEP_HIGH_HZ)};
}

/* The frequency that fits best, of those below 2,000 Hz; 0 when the frame is too faint. Neighbours
 * lie a quarter of a millisecond apart: a tone of 1,000 Hz turns by a quarter in it, and there
 * noise bends the fit least. */
static double fitted(const cxb_beep *b, const int16_t *pcm, size_t n, double *energy) {
  size_t step = (size_t)b->rate / 4000;
  double xx = 0, xy = 0;
  for (size_t i = step; i + step < n; i++) {
    double x = pcm[i];
    xx += x * x;
    xy += x * ((double)pcm[i - step] + pcm[i + step]);
  }
  if (n < 4 * step || xx < (double)n * 200 * 200) /* about -44 dB of full scale */
    return 0;
  double half = xy / xx / 2; /* cos(w) */
  if (half > b->cos_low || half < b->cos_high)
    return 0; /* most frames: outside the band */
  *energy = xx * (double)n / (double)(n - 2 * step);
  return half > -1 && half < 1 ? acos(half) / tau * b->rate / (double)step : 0;
}

/* How much of the frame's energy lies at `hz`, 0–1. */
static double share_of(const cxb_beep *b, const int16_t *pcm, size_t n, double hz, double energy) {
  double c = cos(tau * hz / b->rate), s = sin(tau * hz / b->rate), re = 0, im = 0, u = 1, v = 0;
  for (size_t i = 0; i < n; i++) {
    re += pcm[i] * u;
    im += pcm[i] * v;
    double next = u * c - v * s;
    v = u * s + v * c;
    u = next;
  }
  return 2 * (re * re + im * im) / ((double)n * energy);
}

bool cxb_beep_frame(cxb_beep *b, const int16_t *pcm, size_t n) {
  double energy = 0, hz = fitted(b, pcm, n, &energy);
  bool steady = hz >= CXB_BEEP_LOW_HZ && hz <= CXB_BEEP_HIGH_HZ &&
                (b->frames == 0 || fabs(hz - b->hz) <= CXB_BEEP_DRIFT_HZ) &&
                share_of(b, pcm, n, hz, energy) >= 0.8;
  if (steady) {
    b->frames++;
    b->hz = hz;
    return false;
  }
  bool ended = b->frames >= CXB_BEEP_FRAMES;
  b->frames = 0;
  return ended;
}
