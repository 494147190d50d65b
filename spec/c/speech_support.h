/* What the speech tests share: where the models are, real audio, words without case and marks. */
#pragma once
#include <ctype.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORDINGS "/usr/share/pocketsphinx/test/data/"

/* CXB_SPEECH_MODELS, else .cache/models of the tree this program was built in. */
static inline const char *models_folder(void) {
  static char folder[PATH_MAX + 32];
  const char *named = getenv("CXB_SPEECH_MODELS");
  if (named)
    return named;
  char path[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  path[n > 0 ? n : 0] = 0;
  for (char *slash; (slash = strrchr(path, '/'));) {
    *slash = 0;
    snprintf(folder, sizeof folder, "%s/.cache/models", path);
    if (access(folder, X_OK) == 0)
      return folder;
  }
  return "no models: run runtime/speech/models/fetch.sh";
}

static inline const char *models_file(const char *name) {
  static char path[PATH_MAX + 64];
  snprintf(path, sizeof path, "%s/%s", models_folder(), name);
  return path;
}

/* Samples of a WAV file (canonical header) or of a headerless file; malloc()ed. */
static inline int16_t *read_samples(const char *path, size_t *n) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    fprintf(stderr, "%s: cannot be read\n", path);
    abort();
  }
  int16_t *samples = malloc(16 << 20);
  *n = fread(samples, 2, 8 << 20, file);
  fclose(file);
  if (*n > 22 && memcmp(samples, "RIFF", 4) == 0) {
    *n -= 22;
    memmove(samples, samples + 22, *n * 2);
  }
  return samples;
}

static inline float *to_float(const int16_t *samples, size_t n) {
  float *out = malloc((n + 1) * sizeof *out);
  for (size_t i = 0; i < n; i++)
    out[i] = (float)samples[i] / 32768.0f;
  return out;
}

/* Lower case, everything but letters, digits and apostrophes one space. */
static inline const char *plain(const char *text) {
  static char out[8192];
  size_t at = 0;
  for (; *text && at < sizeof out - 1; text++) {
    if (isalnum((unsigned char)*text) || *text == '\'')
      out[at++] = (char)tolower((unsigned char)*text);
    else if (at > 0 && out[at - 1] != ' ')
      out[at++] = ' ';
  }
  while (at > 0 && out[at - 1] == ' ')
    at--;
  out[at] = 0;
  return out;
}

/* A person's digits, recorded at 8 kHz (Debian's asterisk-core-sounds-en-wav), one after another.
 */
static inline int16_t *spoken_digits(const char *digits, size_t *n) {
  int16_t *all = malloc(16 << 20);
  *n = 0;
  for (; *digits; digits++) {
    char path[PATH_MAX];
    size_t one;
    snprintf(path, sizeof path, "/usr/share/asterisk/sounds/en_US_f_Allison/digits/%c.wav",
             *digits);
    int16_t *samples = read_samples(path, &one);
    memcpy(all + *n, samples, one * sizeof *samples);
    *n += one;
    free(samples);
  }
  return all;
}

/* The digits of a text, whether written as figures or as words. */
static inline const char *digits_of(const char *text) {
  static const char *const names[] = {"zero", "one", "two",   "three", "four",
                                      "five", "six", "seven", "eight", "nine"};
  static char out[256];
  size_t at = 0;
  for (const char *word = plain(text); *word && at < sizeof out - 1;) {
    size_t len = strcspn(word, " ");
    for (size_t i = 0; i < len; i++)
      if (isdigit((unsigned char)word[i]) && at < sizeof out - 1)
        out[at++] = word[i];
    for (size_t d = 0; d < 10; d++)
      if (strlen(names[d]) == len && memcmp(names[d], word, len) == 0)
        out[at++] = (char)('0' + d);
    word += len + strspn(word + len, " ");
  }
  out[at] = 0;
  return out;
}
