/* Voice activity: WebRTC's classifier a frame, a measure of the background, and on top of them when
 * speech begins and ends. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cxb_vad cxb_vad;

typedef enum cxb_vad_edge { CXB_VAD_NONE, CXB_VAD_SPEECH, CXB_VAD_SILENCE } cxb_vad_edge;

/* For frames of 20 ms at `rate` (see cxb_rate_valid()); 8, 16, 32 and 48 kHz are classified as they
 * are, others at 16 kHz. Starts with mode 2, start 200 ms, stop 600 ms, no floor. */
int cxb_vad_new(int rate, cxb_vad **out);
void cxb_vad_free(cxb_vad *v); /* NULL is fine */

/* Aggressiveness 0–3 (clamped); milliseconds of voice that make speech, of silence that end it. */
void cxb_vad_set(cxb_vad *v, int mode, int start_ms, int stop_ms);
/* Frames whose RMS is below `level` of full scale (0–1) are never voice. */
void cxb_vad_floor(cxb_vad *v, double level);

/* One frame that began at `t_ms`. Tells whether an edge was found and its time: for speech where
 * the voice began, for silence where the last voiced frame ended. */
cxb_vad_edge cxb_vad_frame(cxb_vad *v, const int16_t *pcm, size_t n, int64_t t_ms,
                           int64_t *edge_ms);
/* No more frames come (a sender that keeps silent by sending nothing): ends speech, if there is
 * any. */
cxb_vad_edge cxb_vad_gap(cxb_vad *v, int64_t *edge_ms);
int cxb_vad_stop_ms(const cxb_vad *v);
bool cxb_vad_speaking(const cxb_vad *v); /* between SPEECH and SILENCE */
