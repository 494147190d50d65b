/* What the wire tells a session. Everything here runs on the media loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "session_impl.h"

/* ---- digits ---- */
static void digit(cxb_session *s, char key, bool wire) {
  int64_t now = cxb_now_us();
  if (!cxb_dtmf_merge_add(&s->digits, key, wire, cxb_session_ms(s, now)))
    return;
  cxb_session_tell(s, (cxb_event){.type = CXB_EV_DTMF, .digit = key});
  if ((s->barge & CXB_BARGE_DTMF) && cxb_session_playing(s)) {
    s->epoch++;
    cxb_session_cut(s, "dtmf", true);
  }
}

static void on_tone(void *arg, char key) {
  digit(arg, key, false);
}

void cxb_session_in_dtmf(cxb_session *s, char key) {
  if (!s->started || s->wire_closed || !cxb_dtmf_valid(key))
    return;
  s->alive_us = cxb_now_us();
  digit(s, key, true);
}

/* ---- start ---- */
/* One block holds all the strings; s->start points into it. */
static int copy_start(cxb_session *s, const cxb_start *from) {
  const char *in[] = {from->stream_id,   from->caller_id, from->did,
                      from->from_number, from->direction, from->connected_event};
  const char **out[] = {&s->start.stream_id,   &s->start.caller_id, &s->start.did,
                        &s->start.from_number, &s->start.direction, &s->start.connected_event};
  size_t len = 0;
  for (size_t i = 0; i < sizeof in / sizeof *in; i++)
    len += in[i] ? strlen(in[i]) + 1 : 0;
  char *text = malloc(len + 1);
  if (!text)
    return CXB_ENOMEM;
  s->start_text = text;
  s->start.rate = from->rate;
  s->start.framing_ms = from->framing_ms;
  for (size_t i = 0; i < sizeof in / sizeof *in; i++)
    if (in[i]) {
      *out[i] = text;
      text = stpcpy(text, in[i]) + 1;
    }
  return 0;
}

static int prepare_inputs(cxb_session *s, int rate) {
  int err = cxb_framer_init(&s->framer, rate);
  if (err)
    return err;
  s->replay_size = (size_t)rate * CXB_REPLAY_MS / 1000;
  s->replay = malloc(s->replay_size * sizeof *s->replay);
  s->frame = malloc((size_t)rate / 50 * sizeof *s->frame);
  s->inflow.frame = (size_t)rate / 50;
  if (!s->replay || !s->frame)
    return CXB_ENOMEM;
  cxb_beep_init(&s->beep, rate);
  err = cxb_vad_new(rate, &s->vad);
  if (!err)
    err = cxb_dtmf_new(rate, on_tone, s, &s->dtmf);
  if (!err)
    err = cxb_pacer_init(&s->pacer, cxb_media_loop(s->media), s->ops->lead_ms,
                         &cxb_session_pacer_ops, s);
  if (err)
    return err;
  s->has_pacer = true;
  s->open_handles++;
  cxb_vad_set(s->vad, s->vad_mode, s->vad_start_ms, s->vad_stop_ms);
  cxb_vad_floor(s->vad, s->vad_floor);
  return cxb_playq_start(&s->queue, rate);
}

void cxb_session_free_inputs(cxb_session *s) {
  cxb_framer_free(&s->framer);
  cxb_playq_free(&s->queue);
  cxb_inflow_free(&s->inflow);
  cxb_vad_free(s->vad);
  cxb_dtmf_free(s->dtmf);
  cxb_monitor_free(s->monitor);
  free(s->replay);
  free(s->frame);
  free(s->start_text);
}

void cxb_session_in_start(cxb_session *s, const cxb_start *start) {
  if (s->started || !s->ops || s->wire_closed)
    return;
  int err = cxb_rate_valid(start->rate) ? copy_start(s, start) : CXB_EINVAL;
  if (!err)
    err = prepare_inputs(s, start->rate);
  if (err) {
    cxb_session_close_wire(s, err == CXB_EINVAL ? 1003 : 1011);
    return;
  }
  s->rate = start->rate;
  s->started = true;
  s->alive_us = cxb_now_us();
  if (s->pending_fd >= 0) {
    cxb_session_start_recorder(s, s->pending_fd);
    s->pending_fd = -1;
  }
  cxb_session_tell(s, (cxb_event){.type = CXB_EV_START, .start = &s->start});
  cxb_session_rearm(s);
}

void cxb_session_in_answer(cxb_session *s) {
  if (!s->started || s->answered || s->wire_closed)
    return;
  s->answered = true;
  s->alive_us = cxb_now_us();
  cxb_session_tell(s, (cxb_event){.type = CXB_EV_ANSWER});
  cxb_pacer_kick(&s->pacer);
}

/* ---- audio ---- */
static void keep(cxb_session *s, const int16_t *pcm, size_t n) {
  size_t first = s->replay_size - s->replay_at < n ? s->replay_size - s->replay_at : n;
  memcpy(s->replay + s->replay_at, pcm, first * sizeof *pcm);
  memcpy(s->replay, pcm + first, (n - first) * sizeof *pcm);
  s->replay_at = (s->replay_at + n) % s->replay_size;
  s->replay_n = s->replay_n + n < s->replay_size ? s->replay_n + n : s->replay_size;
}

static void feed_past(cxb_session *s, cxb_tap *tap, const int16_t *pcm, size_t n) {
  if (n > 0 && s->fed_say)
    cxb_session_feed_say(s, pcm, n);
  else if (n > 0)
    cxb_tap_feed(tap, pcm, n, s->rate);
}

void cxb_session_replay(cxb_session *s, cxb_tap *tap, int ms) {
  size_t n = (size_t)(ms < 0               ? 0
                      : ms > CXB_REPLAY_MS ? CXB_REPLAY_MS
                                           : ms) *
             (size_t)s->rate / 1000;
  if (!s->started || n == 0)
    return;
  n = n < s->replay_n ? n : s->replay_n;
  size_t at = (s->replay_at + s->replay_size - n) % s->replay_size;
  size_t first = s->replay_size - at < n ? s->replay_size - at : n;
  feed_past(s, tap, s->replay + at, first);
  feed_past(s, tap, s->replay, n - first);
}

static void hear(cxb_session *s, const int16_t *pcm, size_t n) {
  int64_t edge_ms = 0;
  switch (cxb_vad_frame(s->vad, pcm, n, cxb_session_ms(s, s->frame_us) - CXB_FRAME_MS, &edge_ms)) {
  case CXB_VAD_SPEECH:
    cxb_session_tell(s, (cxb_event){.type = CXB_EV_SPEECH, .t_ms = edge_ms});
    if ((s->barge & CXB_BARGE_VAD) && cxb_session_playing(s)) {
      s->epoch++;
      cxb_session_cut(s, "vad", true);
    }
    cxb_session_rearm(s);
    break;
  case CXB_VAD_SILENCE:
    cxb_session_tell(s, (cxb_event){.type = CXB_EV_SILENCE, .t_ms = edge_ms});
    break;
  default:
    break;
  }
}

int64_t cxb_session_next_gap(const cxb_session *s) {
  if (!s->vad || !cxb_vad_speaking(s->vad))
    return CXB_NEVER;
  return s->frame_us + (int64_t)(cxb_vad_stop_ms(s->vad) + CXB_GAP_MS) * 1000;
}

void cxb_session_gap(cxb_session *s, int64_t now) {
  int64_t edge_ms;
  if (now >= cxb_session_next_gap(s) && cxb_vad_gap(s->vad, &edge_ms) == CXB_VAD_SILENCE)
    cxb_session_tell(s, (cxb_event){.type = CXB_EV_SILENCE, .t_ms = edge_ms});
}

/* A frame whose time has come. */
static void on_frame(void *arg, const int16_t *pcm, size_t n) {
  cxb_session *s = arg;
  uv_mutex_lock(&s->lock);
  s->stats.frames_in++;
  if (s->recorder)
    s->stats.recorded_bytes = cxb_recorder_bytes(s->recorder);
  uv_mutex_unlock(&s->lock);
  keep(s, pcm, n);
  if (s->recorder)
    cxb_recorder_caller(s->recorder, pcm, n, s->frame_us);
  if (s->monitor)
    cxb_monitor_caller(s->monitor, pcm, n, s->frame_us);
  if (s->fed_tap && !s->fed_say)
    cxb_tap_feed(s->fed_tap, pcm, n, s->rate);
  hear(s, pcm, n);
  cxb_dtmf_feed(s->dtmf, pcm, n);
  if (cxb_beep_frame(&s->beep, pcm, n))
    cxb_session_tell(s, (cxb_event){.type = CXB_EV_BEEP});
  if (s->fed_tap && s->fed_say)
    cxb_session_feed_say(s, pcm, n);
}

static void on_whole_frame(void *arg, const int16_t *pcm, size_t n) {
  cxb_session *s = arg;
  (void)n;
  unsigned dropped = cxb_inflow_push(&s->inflow, pcm, s->frame_us, on_frame, s);
  if (dropped) {
    uv_mutex_lock(&s->lock);
    s->stats.drops += dropped;
    uv_mutex_unlock(&s->lock);
  }
}

void cxb_session_in_audio(cxb_session *s, const int16_t *pcm, size_t n) {
  if (n == 0 || s->wire_closed || s->stopped || s->hanging_up)
    return;
  if (!s->started) {
    uv_mutex_lock(&s->lock);
    s->stats.drops++;
    uv_mutex_unlock(&s->lock);
    return;
  }
  s->frame_us = s->alive_us = cxb_now_us();
  cxb_framer_push(&s->framer, pcm, n, on_whole_frame, s);
  if (s->inflow.count > 0)
    cxb_session_rearm(s);
  cxb_pacer_pass(&s->pacer);
}

void cxb_session_poll_inflow(cxb_session *s, int64_t now) {
  if (s->inflow.count == 0 || s->wire_closed)
    return;
  s->frame_us = now;
  cxb_inflow_poll(&s->inflow, now, on_frame, s);
}

/* ---- transfer ---- */
void cxb_session_end_transfer(cxb_session *s, bool ok, const char *reason) {
  if (!s->transferring)
    return;
  s->transferring = false;
  cxb_session_tell(s, (cxb_event){.type = CXB_EV_TRANSFER, .ok = ok, .text = reason});
}

void cxb_session_in_transfer(cxb_session *s, bool ok, const char *reason) {
  if (s->wire_closed)
    return;
  s->alive_us = cxb_now_us();
  cxb_session_end_transfer(s, ok, reason);
}

/* ---- the rest ---- */
void cxb_session_in_text(cxb_session *s, const char *utf8) {
  if (s->wire_closed || !s->started)
    return;
  s->alive_us = cxb_now_us();
  cxb_session_tell(s, (cxb_event){.type = CXB_EV_TEXT, .text = utf8});
}

void cxb_session_in_hold(cxb_session *s, bool on) {
  s->alive_us = cxb_now_us();
  s->held = on;
  if (!on && s->has_pacer && !s->handles_closing)
    cxb_pacer_kick(&s->pacer);
}

void cxb_session_in_alive(cxb_session *s) {
  s->alive_us = cxb_now_us();
}

void cxb_session_in_error(cxb_session *s, const char *error) {
  if (!s->wire_closed)
    cxb_session_tell(s, (cxb_event){.type = CXB_EV_ERROR, .text = error});
}

void cxb_session_in_stop(cxb_session *s, const char *by) {
  if (s->wire_closed || s->stopped)
    return;
  s->stopped = true;
  cxb_session_cut(s, NULL, false);
  cxb_session_tell(s, (cxb_event){.type = CXB_EV_STOP, .text = by ? by : ""});
  if (s->hangup_us == 0)
    s->hangup_us = cxb_now_us();
  cxb_session_rearm(s);
}

void cxb_session_in_drop(cxb_session *s, const char *reason) {
  int64_t now = cxb_now_us();
  (void)reason; /* the wire's metric carries it */
  uv_mutex_lock(&s->lock);
  s->stats.drops++;
  uv_mutex_unlock(&s->lock);
  s->drop_us[s->drop_at] = now;
  s->drop_at = (s->drop_at + 1) % (CXB_DROPS_MAX + 1);
  int64_t oldest = s->drop_us[s->drop_at]; /* of the last 51, once there are so many */
  if (s->gave_up || s->wire_closed || oldest == 0 || now - oldest > (int64_t)CXB_DROPS_MS * 1000)
    return;
  s->gave_up = true;
  cxb_session_tell(s, (cxb_event){.type = CXB_EV_ERROR, .text = "protocol_errors"});
  cxb_session_close_wire(s, 1002);
}
