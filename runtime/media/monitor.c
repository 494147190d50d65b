/* The monitor's timeline. Positions count stereo pairs since its birth; position p lies in the ring
 * at p modulo its size from `out` on for one second. A channel's frames are placed one after
 * another as long as their time agrees with that within JUMP_MS, so that a jittery arrival is not
 * heard. */
#include "monitor.h"

#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "resample.h"

enum {
  DELAY_MS = 200,
  JUMP_MS = 80,
  LEFT = 0,
  RIGHT = 1,
  RING = CXB_MONITOR_RATE,
  STEP = CXB_MONITOR_RATE / 50,
  SLICE = 960,
};

typedef struct channel {
  cxb_resampler *resampler; /* NULL: the leg has our rate */
  int16_t *scratch;
  int64_t next; /* where its next sample goes; -1: wherever its time says */
} channel;

struct cxb_monitor {
  int64_t born_us, out; /* the first position not handed out */
  channel channels[2];
  cxb_tap *taps[CXB_LISTENERS];
  int16_t ring[RING * 2];
};

static int64_t position(const cxb_monitor *m, int64_t us) {
  return (us - m->born_us) * (CXB_MONITOR_RATE / 1000) / 1000;
}

static int channel_init(channel *c, int rate) {
  c->next = -1;
  if (rate == CXB_MONITOR_RATE)
    return 0;
  int err = cxb_resampler_new(rate, CXB_MONITOR_RATE, &c->resampler);
  if (err)
    return err;
  c->scratch = malloc(cxb_resampler_bound(c->resampler, SLICE) * sizeof *c->scratch);
  return c->scratch ? 0 : CXB_ENOMEM;
}

int cxb_monitor_new(int rate, int64_t now_us, cxb_monitor **out) {
  cxb_monitor *m = calloc(1, sizeof *m);
  if (!m)
    return CXB_ENOMEM;
  m->born_us = now_us;
  int err = channel_init(&m->channels[LEFT], rate);
  if (!err)
    err = channel_init(&m->channels[RIGHT], rate);
  if (err) {
    cxb_monitor_free(m);
    return err;
  }
  *out = m;
  return 0;
}

void cxb_monitor_free(cxb_monitor *m) {
  if (!m)
    return;
  for (int i = 0; i < CXB_LISTENERS; i++)
    cxb_tap_detach(m->taps[i]);
  for (int i = 0; i < 2; i++) {
    cxb_resampler_free(m->channels[i].resampler);
    free(m->channels[i].scratch);
  }
  free(m);
}

bool cxb_monitor_idle(const cxb_monitor *m) {
  for (int i = 0; i < CXB_LISTENERS; i++)
    if (m->taps[i])
      return false;
  return true;
}

void cxb_monitor_set(cxb_monitor *m, int at, cxb_tap *tap, int64_t now_us) {
  if (tap && cxb_monitor_idle(m)) { /* what lay in the ring is of another time */
    memset(m->ring, 0, sizeof m->ring);
    m->channels[LEFT].next = m->channels[RIGHT].next = -1;
    m->out = position(m, now_us) - DELAY_MS * CXB_MONITOR_RATE / 1000;
  }
  cxb_tap_detach(m->taps[at]);
  m->taps[at] = tap;
}

static void place(cxb_monitor *m, int side, const int16_t *pcm, size_t n, int64_t at) {
  channel *c = &m->channels[side];
  int64_t off = at - c->next, jump = JUMP_MS * CXB_MONITOR_RATE / 1000;
  if (c->next < 0 || off > jump || off < -jump)
    c->next = at;
  for (size_t i = 0; i < n; i++, c->next++)
    if (c->next >= m->out && c->next < m->out + RING && c->next >= 0)
      m->ring[c->next % RING * 2 + side] = pcm[i];
}

/* `at` is the position of the first sample. */
static void place_frame(cxb_monitor *m, int side, const int16_t *pcm, size_t n, int64_t at) {
  channel *c = &m->channels[side];
  if (!c->resampler) {
    place(m, side, pcm, n, at);
    return;
  }
  while (n > 0) {
    size_t take = n < SLICE ? n : SLICE;
    size_t got = cxb_resampler_run(c->resampler, pcm, take, c->scratch);
    place(m, side, c->scratch, got, at);
    at += (int64_t)got;
    pcm += take;
    n -= take;
  }
}

void cxb_monitor_caller(cxb_monitor *m, const int16_t *pcm, size_t n, int64_t end_us) {
  if (cxb_monitor_idle(m))
    return;
  /* Frames last 20 ms whatever the leg's rate. */
  place_frame(m, LEFT, pcm, n, position(m, end_us - CXB_FRAME_MS * 1000));
}

void cxb_monitor_bot(cxb_monitor *m, const int16_t *pcm, size_t n, int64_t start_us) {
  if (!cxb_monitor_idle(m))
    place_frame(m, RIGHT, pcm, n, position(m, start_us));
}

void cxb_monitor_cut(cxb_monitor *m, int64_t at_us) {
  int64_t from = position(m, at_us);
  m->channels[RIGHT].next = -1;
  for (int64_t p = from > m->out ? from : m->out; p < m->out + RING; p++)
    if (p >= 0)
      m->ring[p % RING * 2 + RIGHT] = 0;
}

void cxb_monitor_tick(cxb_monitor *m, int64_t now_us) {
  int64_t due = position(m, now_us) - DELAY_MS * CXB_MONITOR_RATE / 1000;
  if (due - m->out > RING) /* the loop stood still for longer than we hold */
    m->out = due - RING;
  while (m->out + STEP <= due) {
    int16_t piece[STEP * 2];
    for (int64_t i = 0; i < STEP; i++) {
      int64_t p = m->out + i, slot = (p % RING + RING) % RING * 2;
      memcpy(piece + i * 2, m->ring + slot, 4);
      memset(m->ring + slot, 0, 4);
    }
    m->out += STEP;
    for (int i = 0; i < CXB_LISTENERS; i++)
      if (m->taps[i])
        cxb_tap_feed(m->taps[i], piece, STEP * 2, CXB_MONITOR_TAP_RATE);
  }
}
