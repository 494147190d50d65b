#include "segment.h"

/* Speech begins above the first and lasts above the second; a candidate survives short dips. */
#define BEGIN_PROBABILITY 0.5f
#define STAY_PROBABILITY  0.35f
enum { DIP_WINDOWS = 3 };

void cxb_segmenter_init(cxb_segmenter *s, int window_ms, int start_ms, int stop_ms) {
  *s = (cxb_segmenter){
      .start_windows = start_ms > window_ms ? (start_ms + window_ms - 1) / window_ms : 1,
      .stop_windows = stop_ms > window_ms ? (stop_ms + window_ms - 1) / window_ms : 1,
      .last_voice = -1,
  };
}

static cxb_segment_change step_silence(cxb_segmenter *s, int64_t window, float probability) {
  if (probability >= BEGIN_PROBABILITY) {
    if (s->run++ == 0)
      s->onset = window;
    s->last_voice = window;
  } else if (s->run > 0 && window - s->last_voice > DIP_WINDOWS) {
    s->run = 0;
  }
  if (s->run < s->start_windows)
    return CXB_SEGMENT_SAME;
  s->speaking = true;
  s->run = 0;
  return CXB_SEGMENT_SPEECH;
}

cxb_segment_change cxb_segmenter_step(cxb_segmenter *s, float probability) {
  int64_t window = s->at++;
  if (!s->speaking)
    return step_silence(s, window, probability);
  if (probability >= STAY_PROBABILITY)
    s->last_voice = window;
  if (window - s->last_voice < s->stop_windows)
    return CXB_SEGMENT_SAME;
  s->speaking = false;
  return CXB_SEGMENT_SILENCE;
}
