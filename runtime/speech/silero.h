/* Voice activity: Silero v5 on ONNX Runtime. One model for all streams, a small state for each. */
#pragma once
#include "ort.h"

#define CXB_SILERO_WINDOW  512 /* samples at 16 kHz of one step: 32 ms */
#define CXB_SILERO_CONTEXT 64  /* samples of the previous window put before each */

typedef struct cxb_silero cxb_silero;

/* All zero: the start of a stream. */
typedef struct cxb_silero_state {
  float memory[2 * 128];
  float context[CXB_SILERO_CONTEXT];
} cxb_silero_state;

/* Opens silero_vad.onnx of the folder `dir`. */
int cxb_silero_open(cxb_ort *ort, const char *dir, cxb_silero **out);
void cxb_silero_close(cxb_silero *silero);

/* Probability that the window (−1 … 1) holds speech. The state is unchanged on failure. Several
 * threads may run it at once, each with a state of its own. */
int cxb_silero_step(const cxb_silero *silero, cxb_silero_state *state,
                    const float pcm[CXB_SILERO_WINDOW], float *probability);
