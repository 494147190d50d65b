/* One text to audio, on the engine's speaking lane: a sentence at a time, in turn with the others.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "engine.h"

#define CXB_SPEAKER_MAX_TEXT 4000 /* bytes */

typedef struct cxb_speaker cxb_speaker;

typedef struct cxb_speaker_config {
  const char *text; /* UTF-8, copied */
  size_t len;
  const char *voice; /* NULL: the first one */
  double speed;      /* 0.5–2.0, 0: 1 */
  int rate;          /* Hz wanted: 8,000–48,000 */
  /* Both are called from a thread of the lane and must not call back into the speaker. Pieces are
   * of some 50 ms; the first comes as soon as its sound is known, without leading silence. */
  void (*on_audio)(void *arg, const int16_t *pcm, size_t n);
  void (*on_end)(void *arg, int err); /* once, last: 0 or CXB_E* */
  void *arg;
} cxb_speaker_config;

/* CXB_EINVAL: speed or rate; CXB_ENOENT: no such voice; CXB_ETOOBIG: text. */
int cxb_speaker_start(cxb_engine *engine, const cxb_speaker_config *config, cxb_speaker **out);
/* Must be called exactly once, after the end or before it. Before it: nothing is called any more
 * after it returned, and synthesis stops at the next piece. */
void cxb_speaker_close(cxb_speaker *speaker);
