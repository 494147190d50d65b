/* One stream of audio to events: speech, silence, partial and final texts.
 *
 * Functions may be called from any one thread at a time and never block; the work is done on the
 * engine's lanes. Audio, finalize and reset take effect in the order of the calls. When speech ends
 * it is recognised at once, before anybody asks, so the final that follows is usually ready. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine.h"
#include "turn.h"

typedef struct cxb_recognizer cxb_recognizer;

typedef enum cxb_recognizer_event_type {
  CXB_RECOGNIZER_SPEECH,  /* t_ms: onset */
  CXB_RECOGNIZER_SILENCE, /* t_ms: end of the last voice */
  CXB_RECOGNIZER_PARTIAL, /* text of the turn so far */
  CXB_RECOGNIZER_FINAL,   /* id, text, start_ms, end_ms, confidence, compute_ms */
  CXB_RECOGNIZER_ERROR,   /* code, text; the stream goes on */
} cxb_recognizer_event_type;

typedef struct cxb_recognizer_event {
  cxb_recognizer_event_type type;
  int64_t t_ms;             /* times are milliseconds of the stream's audio */
  int64_t pos_ms;           /* of speech and silence: how much had been heard when it was decided */
  const char *text;         /* never NULL */
  const char *id;           /* never NULL */
  const char *code;         /* "odd_length", "too_fast", "engine"; never NULL */
  int64_t start_ms, end_ms; /* of the speech in a final; -1: nothing was said */
  double confidence;        /* 0 … 1 */
  int compute_ms;           /* of inference spent on the final's audio */
} cxb_recognizer_event;

typedef struct cxb_recognizer_config {
  int rate;      /* Hz of the audio: 8,000–48,000 */
  bool partials; /* send partial texts, at least 500 ms of new speech apart */
  int start_ms;  /* of voice that begin speech: 32–1,000; 0: 96 */
  int stop_ms;   /* of silence that end it: 100–3,000; 0: 500 */
  /* Called from the engine's threads, one call at a time; the event is borrowed. It must not call
   * back into the recogniser. */
  void (*on_event)(void *arg, const cxb_recognizer_event *event);
  void *arg;
} cxb_recognizer_config;

/* The engine must have been opened with stt. CXB_EINVAL: a value out of its range. */
int cxb_recognizer_new(cxb_engine *engine, const cxb_recognizer_config *config,
                       cxb_recognizer **out);
/* No event arrives after it returns. Memory goes when the work in progress has noticed. */
void cxb_recognizer_close(cxb_recognizer *rec);

/* PCM16 little-endian mono. An odd count is refused whole (CXB_EINVAL), as is audio while more than
 * a minute waits to be worked on (CXB_ETOOBIG); each also becomes an error event. */
int cxb_recognizer_feed(cxb_recognizer *rec, const uint8_t *pcm, size_t bytes);
/* Ends the turn: a final with this id (at most 64 bytes are kept) follows for everything fed so
 * far. */
int cxb_recognizer_finalize(cxb_recognizer *rec, const char *id);
/* From now on these words are preferred where the sound leaves room (speech/hints.h); n 0: none.
 * CXB_ETOOBIG: too many. */
int cxb_recognizer_hints(cxb_recognizer *rec, const char *const *words, size_t n);
/* Forgets what was said since the last final. */
int cxb_recognizer_reset(cxb_recognizer *rec);
