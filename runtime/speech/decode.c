#include "decode.h"

#include <stdlib.h>

#include "../base/err.h"

/* The model, trained on whole sentences, takes a lone word for noise or a fragment. Half a second
 * of silence behind it and the ban on "nothing was said" help: of 48 recorded number words through
 * a telephone's band 46 come out right instead of 45, and with less than that of 30 account numbers
 * one came out empty. More silence helps synthetic voices and harms people; bringing all speech to
 * one loudness changed nothing. */
enum {
  SHORT_SAMPLES = 2 * CXB_STT_RATE,
  SILENCE_AFTER_SHORT = CXB_STT_RATE / 2,
  SILENCE_AFTER_LOOP = CXB_STT_RATE / 2,
};

int cxb_decode(const cxb_moonshine *moonshine, const int16_t *pcm, size_t n, const cxb_hints *hints,
               const atomic_bool *cancel, cxb_transcript *out) {
  const cxb_transcribe_options options = {.insist = true, .hints = hints, .cancel = cancel};
  size_t padded = n < SHORT_SAMPLES ? n + SILENCE_AFTER_SHORT : n;
  float *samples = calloc(padded + SILENCE_AFTER_LOOP, sizeof *samples);
  if (!samples)
    return CXB_ENOMEM;
  for (size_t i = 0; i < n; i++)
    samples[i] = (float)pcm[i] / 32768.0f;
  int err = cxb_moonshine_transcribe(moonshine, samples, padded, &options, out);
  if (!err && out->looped) /* once more, in another light */
    err = cxb_moonshine_transcribe(moonshine, samples, padded + SILENCE_AFTER_LOOP, &options, out);
  free(samples);
  return err;
}
