/* Voice activity over the classifier inside Debian's libwebrtc_audio_processing 0.3. The library
 * exports its C functions but installs no header for them; the prototypes below are those of its
 * common_audio/vad/include/webrtc_vad.h. */
#include "vad.h"

#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "frame.h"
#include "resample.h"

typedef struct WebRtcVadInst VadInst;
VadInst *WebRtcVad_Create(void);
void WebRtcVad_Free(VadInst *handle);
int WebRtcVad_Init(VadInst *handle);
int WebRtcVad_set_mode(VadInst *handle, int mode);
int WebRtcVad_Process(VadInst *handle, int fs, const int16_t *audio_frame, size_t frame_length);

enum { FRAME_MS = 20, OTHER_RATE = 16000, FRAME_16K = 320 };
/* The background is the quietest frame of the last 4 windows; people pause that often, fans do not.
 */
enum { WINDOWS = 4, WINDOW_FRAMES = 38 };
#define ABOVE_BACKGROUND 2.0 /* in power: voice is at least 3 dB above it */

struct cxb_vad {
  VadInst *inst;
  int rate;                 /* of the classifier */
  cxb_resampler *resampler; /* NULL: the leg's rate is the classifier's */
  int16_t *buffer;          /* resampled samples not yet a frame, then one frame's worth more */
  size_t used;
  int start_ms, stop_ms;
  double floor;             /* mean square below which nothing is voice, in sample units */
  double quietest[WINDOWS]; /* mean square of the quietest frame; [0] is being filled */
  unsigned windows, window_frames;
  int run_ms;   /* voice that may become speech; drains twice as fast as it fills */
  int quiet_ms; /* silence since the last voiced frame, while speaking */
  int64_t onset_ms, last_voice_ms;
  bool speaking, voiced;
};

static bool native(int rate) {
  return rate == 8000 || rate == 16000 || rate == 32000 || rate == 48000;
}

int cxb_vad_new(int rate, cxb_vad **out) {
  if (!cxb_rate_valid(rate))
    return CXB_EINVAL;
  cxb_vad *v = calloc(1, sizeof *v);
  if (!v)
    return CXB_ENOMEM;
  v->rate = native(rate) ? rate : OTHER_RATE;
  v->inst = WebRtcVad_Create();
  if (!v->inst || WebRtcVad_Init(v->inst) != 0)
    goto fail;
  if (!native(rate)) {
    if (cxb_resampler_new(rate, OTHER_RATE, &v->resampler) != 0)
      goto fail;
    size_t room = FRAME_16K + cxb_resampler_bound(v->resampler, (size_t)rate / 50);
    v->buffer = calloc(room, sizeof *v->buffer);
    if (!v->buffer)
      goto fail;
  }
  cxb_vad_set(v, 2, 200, 600);
  *out = v;
  return 0;
fail:
  cxb_vad_free(v);
  return CXB_ENOMEM;
}

void cxb_vad_free(cxb_vad *v) {
  if (!v)
    return;
  if (v->inst)
    WebRtcVad_Free(v->inst);
  cxb_resampler_free(v->resampler);
  free(v->buffer);
  free(v);
}

void cxb_vad_set(cxb_vad *v, int mode, int start_ms, int stop_ms) {
  WebRtcVad_set_mode(v->inst, mode < 0 ? 0 : mode > 3 ? 3 : mode);
  v->start_ms = start_ms < FRAME_MS ? FRAME_MS : start_ms;
  v->stop_ms = stop_ms < FRAME_MS ? FRAME_MS : stop_ms;
}

void cxb_vad_floor(cxb_vad *v, double level) {
  double rms = (level < 0 ? 0 : level > 1 ? 1 : level) * 32767.0;
  v->floor = rms * rms;
}

int cxb_vad_stop_ms(const cxb_vad *v) {
  return v->stop_ms;
}

bool cxb_vad_speaking(const cxb_vad *v) {
  return v->speaking;
}

/* The classifier takes loud steady noise for voice after a while: so it must also stand out. */
static bool stands_out(cxb_vad *v, const int16_t *pcm, size_t n) {
  int64_t sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += (int64_t)pcm[i] * pcm[i];
  double power = (double)sum / (double)n, background = power;
  for (unsigned i = 0; i <= v->windows; i++)
    if (i > 0 || v->window_frames > 0)
      background = v->quietest[i] < background ? v->quietest[i] : background;
  if (v->window_frames == 0 || power < v->quietest[0])
    v->quietest[0] = power;
  if (++v->window_frames == WINDOW_FRAMES) {
    v->window_frames = 0;
    memmove(v->quietest + 1, v->quietest, (WINDOWS - 1) * sizeof v->quietest[0]);
    if (v->windows < WINDOWS - 1)
      v->windows++;
  }
  return power >= v->floor && (v->windows == 0 || power >= background * ABOVE_BACKGROUND);
}

/* The classifier's word on the frame; at a foreign rate on the last whole 16 kHz frame. */
static bool classify(cxb_vad *v, const int16_t *pcm, size_t n) {
  if (!v->resampler)
    return WebRtcVad_Process(v->inst, v->rate, pcm, n) == 1;
  bool voiced = v->voiced;
  v->used += cxb_resampler_run(v->resampler, pcm, n, v->buffer + v->used);
  while (v->used >= FRAME_16K) {
    voiced = WebRtcVad_Process(v->inst, OTHER_RATE, v->buffer, FRAME_16K) == 1;
    v->used -= FRAME_16K;
    for (size_t i = 0; i < v->used; i++)
      v->buffer[i] = v->buffer[FRAME_16K + i];
  }
  return voiced;
}

static cxb_vad_edge edge_while_silent(cxb_vad *v, int64_t t_ms, int64_t *edge_ms) {
  if (!v->voiced) {
    v->run_ms -= 2 * FRAME_MS;
    if (v->run_ms < 0)
      v->run_ms = 0;
    return CXB_VAD_NONE;
  }
  if (v->run_ms == 0)
    v->onset_ms = t_ms;
  v->run_ms += FRAME_MS;
  if (v->run_ms < v->start_ms)
    return CXB_VAD_NONE;
  v->speaking = true;
  v->quiet_ms = 0;
  *edge_ms = v->onset_ms;
  return CXB_VAD_SPEECH;
}

cxb_vad_edge cxb_vad_gap(cxb_vad *v, int64_t *edge_ms) {
  if (!v->speaking)
    return CXB_VAD_NONE;
  v->speaking = false;
  v->run_ms = 0;
  *edge_ms = v->last_voice_ms;
  return CXB_VAD_SILENCE;
}

static cxb_vad_edge edge_while_speaking(cxb_vad *v, int64_t *edge_ms) {
  v->quiet_ms = v->voiced ? 0 : v->quiet_ms + FRAME_MS;
  return v->quiet_ms < v->stop_ms ? CXB_VAD_NONE : cxb_vad_gap(v, edge_ms);
}

cxb_vad_edge cxb_vad_frame(cxb_vad *v, const int16_t *pcm, size_t n, int64_t t_ms,
                           int64_t *edge_ms) {
  bool out = stands_out(v, pcm, n);
  v->voiced = classify(v, pcm, n) && out;
  if (v->voiced)
    v->last_voice_ms = t_ms + FRAME_MS;
  return v->speaking ? edge_while_speaking(v, edge_ms) : edge_while_silent(v, t_ms, edge_ms);
}
