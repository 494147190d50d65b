/* The engines of one process and the threads they run on. */
#pragma once
#include <stdbool.h>

#include "flite.h"
#include "moonshine.h"
#include "pool.h"
#include "silero.h"

/* Three lanes, so that short work does not wait behind long work: voice activity (a fraction of a
 * millisecond a step), recognition, and synthesis. */
typedef struct cxb_engine {
  cxb_ort *ort;
  cxb_silero *silero;
  cxb_moonshine *moonshine;
  cxb_flite *flite;
  cxb_pool *listening, *recognising, *speaking;
} cxb_engine;

typedef struct cxb_engine_config {
  const char *models; /* folder made by models/fetch.sh */
  int threads;        /* of one inference; 0: 1 */
  bool stt, tts;      /* which to load; stt includes voice activity */
} cxb_engine_config;

/* Loads what is wanted (0.2–1 s, blocking) and makes malloc keep what it has for the next
 * inference; an idle second later it is given back. On failure `why` (of `size` bytes) says what
 * was missing. */
int cxb_engine_open(const cxb_engine_config *config, cxb_engine **out, char *why, size_t size);
/* All streams and speakers must be closed. NULL is ignored. */
void cxb_engine_close(cxb_engine *engine);
