/* Speech to text: Moonshine tiny (English) on ONNX Runtime, greedy decoding. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "hints.h"
#include "ort.h"

#define CXB_STT_RATE       16000 /* Hz of the audio it takes */
#define CXB_STT_TEXT_BYTES 4096  /* of one transcript, with its NUL */

typedef struct cxb_moonshine cxb_moonshine;

typedef struct cxb_transcript {
  char text[CXB_STT_TEXT_BYTES]; /* UTF-8, "" when nothing was recognised */
  double confidence;             /* exp(mean log probability of the tokens), 0 … 1; 0 for "" */
  int tokens;
  bool looped; /* it did not end by itself: what it repeated at its end was cut off */
} cxb_transcript;

/* Opens moonshine_encoder.onnx, moonshine_decoder.onnx and vocab.bin of the folder `dir`. */
int cxb_moonshine_open(cxb_ort *ort, const char *dir, int threads, cxb_moonshine **out);
void cxb_moonshine_close(cxb_moonshine *moonshine);

typedef struct cxb_transcribe_options {
  bool insist;               /* something was said: the first token may not be the end */
  const cxb_hints *hints;    /* may be NULL */
  const atomic_bool *cancel; /* looked at between tokens: CXB_ECANCELED; may be NULL */
} cxb_transcribe_options;

/* Transcribes `n` samples, -1 … 1, 16 kHz mono, 0.1–30 s. From any thread, several at once. */
int cxb_moonshine_transcribe(const cxb_moonshine *moonshine, const float *pcm, size_t n,
                             const cxb_transcribe_options *options, cxb_transcript *out);

const cxb_vocab *cxb_moonshine_vocab(const cxb_moonshine *moonshine);
