/* DTMF (ITU-T Q.23, Q.24) by spandsp's receiver, which wants 8,000 Hz. */
#include "dtmf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <spandsp.h>
#pragma GCC diagnostic pop

#include "../base/err.h"
#include "frame.h"
#include "resample.h"

enum { RATE = 8000, SLICE_MS = 20 };
static const char KEYS[] = "123A456B789C*0#D";
static const double ROWS[4] = {697, 770, 852, 941}, COLUMNS[4] = {1209, 1336, 1477, 1633};

struct cxb_dtmf {
  dtmf_rx_state_t *rx;
  cxb_resampler *resampler; /* NULL at 8,000 Hz */
  int16_t *buffer;
  size_t slice; /* input samples resampled at once */
  cxb_dtmf_cb cb;
  void *arg;
};

bool cxb_dtmf_valid(char digit) {
  return digit != '\0' && strchr(KEYS, digit) != NULL;
}

static void on_digits(void *user, const char *digits, int len) {
  cxb_dtmf *d = user;
  for (int i = 0; i < len; i++)
    if (cxb_dtmf_valid(digits[i]))
      d->cb(d->arg, digits[i]);
}

int cxb_dtmf_new(int rate, cxb_dtmf_cb cb, void *arg, cxb_dtmf **out) {
  if (!cxb_rate_valid(rate))
    return CXB_EINVAL;
  cxb_dtmf *d = calloc(1, sizeof *d);
  if (!d)
    return CXB_ENOMEM;
  d->cb = cb;
  d->arg = arg;
  d->slice = (size_t)(rate * SLICE_MS / 1000);
  d->rx = dtmf_rx_init(NULL, on_digits, d);
  if (!d->rx)
    goto fail;
  if (rate != RATE) {
    if (cxb_resampler_new(rate, RATE, &d->resampler) != 0)
      goto fail;
    d->buffer = malloc(cxb_resampler_bound(d->resampler, d->slice) * sizeof *d->buffer);
    if (!d->buffer)
      goto fail;
  }
  *out = d;
  return 0;
fail:
  cxb_dtmf_free(d);
  return CXB_ENOMEM;
}

void cxb_dtmf_free(cxb_dtmf *d) {
  if (!d)
    return;
  if (d->rx)
    dtmf_rx_free(d->rx);
  cxb_resampler_free(d->resampler);
  free(d->buffer);
  free(d);
}

void cxb_dtmf_feed(cxb_dtmf *d, const int16_t *pcm, size_t n) {
  if (!d->resampler) {
    dtmf_rx(d->rx, pcm, (int)n);
    return;
  }
  while (n > 0) {
    size_t take = n < d->slice ? n : d->slice;
    size_t made = cxb_resampler_run(d->resampler, pcm, take, d->buffer);
    dtmf_rx(d->rx, d->buffer, (int)made);
    pcm += take;
    n -= take;
  }
}

bool cxb_dtmf_merge_add(cxb_dtmf_merge *m, char digit, bool wire, int64_t t_ms) {
  unsigned count = sizeof m->recent / sizeof m->recent[0];
  for (unsigned i = 0; i < count; i++) { /* oldest first */
    unsigned at = (m->next + i) % count;
    if (m->recent[at].open && m->recent[at].digit == digit && m->recent[at].wire != wire &&
        t_ms - m->recent[at].t_ms <= CXB_DTMF_WINDOW_MS) {
      m->recent[at].open = false;
      return false;
    }
  }
  m->recent[m->next].t_ms = t_ms;
  m->recent[m->next].digit = digit;
  m->recent[m->next].wire = wire;
  m->recent[m->next].open = true;
  m->next = (m->next + 1) % count;
  return true;
}

/* 0 dBm0 is 3.14 dB below a full-scale sine (G.711 µ-law's 3.17 dBm0 overload, rounded). */
static double amplitude(double dbm0) {
  return 32767.0 * pow(10.0, (dbm0 - 3.14) / 20.0);
}

int cxb_dtmf_generate(const char *digits, int rate, int on_ms, int off_ms, double level,
                      int16_t **pcm, size_t *n) {
  size_t on = (size_t)(rate * on_ms / 1000), off = (size_t)(rate * off_ms / 1000);
  size_t count = strlen(digits), step = on + off;
  int16_t *out = calloc(count * step + 1, sizeof *out);
  if (!out)
    return CXB_ENOMEM;
  double peak = amplitude(level), two_pi = 2 * acos(-1.0);
  for (size_t k = 0; k < count; k++) {
    const char *key = cxb_dtmf_valid(digits[k]) ? strchr(KEYS, digits[k]) : NULL;
    if (!key) {
      free(out);
      return CXB_EINVAL;
    }
    double row = ROWS[(key - KEYS) / 4], column = COLUMNS[(key - KEYS) % 4];
    for (size_t i = 0; i < on; i++) {
      double t = two_pi * (double)i / rate;
      double v = peak * (sin(row * t) + sin(column * t));
      out[k * step + i] = (int16_t)(v > 32767 ? 32767 : v < -32768 ? -32768 : v);
    }
  }
  *pcm = out;
  *n = count * step;
  return 0;
}
