/* What the media tests share: synthetic voices, recorded speech, noise, files in a folder of their
 * own. */
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "media/resample.h"
#include "media/wav.h"

#define RECORDED_DIR "/usr/share/pocketsphinx/test/data/"

typedef struct sound {
  int16_t *pcm;
  size_t n;
  int rate;
} sound;

static inline void sound_free(sound *s) {
  free(s->pcm);
  *s = (sound){0};
}

/* A folder for this program's files, made once; the caller does not free it. */
static inline const char *temp_dir(void) {
  static char dir[] = "/tmp/cxb-media-XXXXXX";
  static int made;
  if (!made)
    made = mkdtemp(dir) != NULL;
  return dir;
}

static inline void temp_dir_remove(void) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", temp_dir());
  if (system(command) != 0)
    fprintf(stderr, "could not remove %s\n", temp_dir());
}

static inline sound sound_at(sound s, int rate) {
  sound out = {.rate = rate};
  if (cxb_resample(s.pcm, s.n, s.rate, rate, &out.pcm, &out.n) != 0)
    abort();
  free(s.pcm);
  return out;
}

static inline sound load_wav(const char *path, int rate) {
  sound s = {0};
  if (cxb_wav_read(path, &s.pcm, &s.n, &s.rate) != 0) {
    fprintf(stderr, "cannot read %s\n", path);
    abort();
  }
  return rate ? sound_at(s, rate) : s;
}

/* A person, recorded (Debian pocketsphinx-testdata). */
static inline sound recorded_speech(const char *name, int rate) {
  char path[256];
  snprintf(path, sizeof path, RECORDED_DIR "%s", name);
  return load_wav(path, rate);
}

/* A synthetic voice (espeak-ng). */
static inline sound spoken(const char *text, int rate) {
  char command[512], path[128];
  snprintf(path, sizeof path, "%s/spoken.wav", temp_dir());
  snprintf(command, sizeof command, "espeak-ng -v en -w %s '%s'", path, text);
  if (system(command) != 0)
    abort();
  return load_wav(path, rate);
}

static inline double rms(const int16_t *pcm, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += (double)pcm[i] * pcm[i];
  return n ? sqrt(sum / (double)n) : 0;
}

/* White noise of this RMS, the same every time. */
static inline void add_noise(int16_t *pcm, size_t n, double level) {
  uint32_t x = 12345;
  for (size_t i = 0; i < n; i++) {
    x = x * 1664525u + 1013904223u;
    double v = pcm[i] + level * 1.732 * ((double)(x >> 8) / 8388608.0 - 1.0);
    pcm[i] = (int16_t)(v > 32767 ? 32767 : v < -32768 ? -32768 : v);
  }
}

static inline sound silence(int ms, int rate) {
  sound s = {.n = (size_t)ms * (size_t)rate / 1000, .rate = rate};
  s.pcm = calloc(s.n + 1, sizeof *s.pcm);
  return s;
}

static inline sound join(sound a, sound b) {
  sound s = {.n = a.n + b.n, .rate = a.rate};
  s.pcm = malloc((s.n + 1) * sizeof *s.pcm);
  memcpy(s.pcm, a.pcm, a.n * sizeof *s.pcm);
  memcpy(s.pcm + a.n, b.pcm, b.n * sizeof *s.pcm);
  free(a.pcm);
  free(b.pcm);
  return s;
}

static inline sound sine(double hz, int ms, int rate, double peak) {
  sound s = silence(ms, rate);
  for (size_t i = 0; i < s.n; i++)
    s.pcm[i] = (int16_t)(peak * sin(2 * acos(-1.0) * hz * (double)i / rate));
  return s;
}
