/* Where speech begins and ends, from one speech probability a window. Pure arithmetic. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef struct cxb_segmenter {
  int start_windows; /* of speech that make it speech */
  int stop_windows;  /* of silence that end it */
  bool speaking;
  int64_t at;         /* windows seen */
  int64_t onset;      /* first window of the speech (or of what may become it) */
  int64_t last_voice; /* last window with speech */
  int run;            /* windows of what may become speech, 0: none */
} cxb_segmenter;

typedef enum cxb_segment_change {
  CXB_SEGMENT_SAME,
  CXB_SEGMENT_SPEECH,  /* it began at window `onset` */
  CXB_SEGMENT_SILENCE, /* it ended after window `last_voice` */
} cxb_segment_change;

/* `start_ms` and `stop_ms` are rounded up to whole windows of `window_ms`, at least one. */
void cxb_segmenter_init(cxb_segmenter *s, int window_ms, int start_ms, int stop_ms);
/* Takes the next window's probability. */
cxb_segment_change cxb_segmenter_step(cxb_segmenter *s, float probability);
