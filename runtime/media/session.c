/* A session's life: birth, events on their way to the owner, deadlines, the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/err.h"
#include "lock.h"
#include "session_impl.h"

int64_t cxb_now_us(void) {
  return (int64_t)(uv_hrtime() / 1000);
}

int64_t cxb_session_ms(const cxb_session *s, int64_t us) {
  return (us - s->born_us) / 1000;
}

/* ---- events: media loop to owner ---- */
typedef struct told {
  cxb_session *s;
  cxb_event event;
  char text[];
} told;

/* Main loop. */
static void deliver(void *arg) {
  told *t = arg;
  cxb_session *s = t->s;
  if (t->event.type == CXB_EV_PLAYED)
    cxb_session_forget_say(s, t->event.utterance);
  if (t->event.type == CXB_EV_CLEARED) {
    s->seen_epoch = (uint32_t)t->event.code;
    t->event.code = 0;
  }
  if (t->event.type == CXB_EV_CLOSED) {
    s->ended = true;
    cxb_session_end_taps(s);
  }
  if (!s->closing)
    s->config.on_event(s->config.arg, &t->event);
  free(t);
}

void cxb_session_tell(cxb_session *s, cxb_event event) {
  if (s->closed_told)
    return;
  size_t len = event.text ? strlen(event.text) : 0;
  told *t = malloc(sizeof *t + len + 1);
  if (!t)
    abort(); /* an owner that misses an event waits for ever */
  if (event.type != CXB_EV_SPEECH && event.type != CXB_EV_SILENCE)
    event.t_ms = cxb_session_ms(s, cxb_now_us());
  t->s = s;
  t->event = event;
  if (event.text) {
    memcpy(t->text, event.text, len + 1);
    t->event.text = t->text;
  }
  cxb_media_post_main(s->media, deliver, t);
}

/* ---- birth ---- */
static void on_timer(uv_timer_t *timer);

static void born(void *arg) {
  cxb_session *s = arg;
  uv_timer_init(cxb_media_loop(s->media), &s->timer);
  s->timer.data = s;
  s->open_handles = 1;
}

int cxb_session_new(cxb_media *media, const cxb_session_config *config, cxb_session **out) {
  cxb_session *s = calloc(1, sizeof *s);
  if (!s)
    return CXB_ENOMEM;
  if (cxb_lock_init(&s->lock) != 0) {
    free(s);
    return CXB_ENOMEM;
  }
  s->media = media;
  s->config = *config;
  if (s->config.media_timeout_s <= 0)
    s->config.media_timeout_s = 30;
  s->born_us = cxb_now_us();
  s->voices_tail = &s->voices;
  s->cut.until_us = s->recording_until_us = s->timer_at_us = s->limit_us = CXB_NEVER;
  s->pending_fd = -1;
  s->vad_mode = 2;
  s->vad_start_ms = 200;
  s->vad_stop_ms = 600;
  cxb_playq_init(&s->queue, &s->queued_us);
  cxb_media_hold(media);
  cxb_media_post(media, born, s);
  *out = s;
  return 0;
}

void cxb_session_attach_wire(cxb_session *s, const cxb_wire *ops, void *wire) {
  s->wire_ops = *ops;
  s->ops = &s->wire_ops;
  s->wire = wire;
  s->attached = true;
  if (s->close_requested)
    cxb_session_close_wire(s, 1001);
}

void cxb_session_close_wire(cxb_session *s, int code) {
  if (!s->ops || s->wire_closing)
    return;
  s->wire_closing = true;
  s->ops->close(s->wire, code, s->abort_reason);
}

/* ---- deadlines ---- */
static int64_t earlier(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static int64_t next_deadline(const cxb_session *s) {
  int64_t at = earlier(cxb_session_next_heard(s), s->cut.until_us);
  at = earlier(at, s->recording_until_us);
  if (!s->ops)
    return at;
  at = earlier(at, cxb_inflow_next(&s->inflow));
  at = earlier(at, cxb_session_next_gap(s));
  at = earlier(at, s->limit_us);
  if (s->hangup_us && !s->wire_closing)
    at = earlier(at, s->hangup_us + (int64_t)CXB_HANGUP_MS * 1000);
  if (s->started && !s->gave_up)
    at = earlier(at, s->alive_us + (int64_t)s->config.media_timeout_s * 1000000);
  return at;
}

void cxb_session_rearm(cxb_session *s) {
  int64_t at = next_deadline(s);
  if (s->handles_closing || at >= s->timer_at_us)
    return; /* an early timer looks again */
  s->timer_at_us = at;
  int64_t wait = at - cxb_now_us();
  uv_timer_start(&s->timer, on_timer, wait > 0 ? (uint64_t)(wait + 999) / 1000 : 0, 0);
}

static void tell_closed(cxb_session *s);

static void on_timer(uv_timer_t *timer) {
  cxb_session *s = timer->data;
  int64_t now = cxb_now_us();
  s->timer_at_us = CXB_NEVER;
  cxb_session_heard(s, now);
  if (now >= s->cut.until_us)
    cxb_session_resolve_cut(s, -1);
  if (now >= s->recording_until_us)
    tell_closed(s);
  if (s->ops)
    cxb_session_poll_inflow(s, now);
  if (s->ops)
    cxb_session_gap(s, now);
  if (s->ops && s->hangup_us && now >= s->hangup_us + (int64_t)CXB_HANGUP_MS * 1000)
    cxb_session_close_wire(s, 1000);
  if (s->ops && now >= s->limit_us) {
    s->limit_us = CXB_NEVER;
    cxb_session_tell(s, (cxb_event){.type = CXB_EV_ERROR, .text = "call_age"});
    cxb_session_close_wire(s, 1011);
  }
  if (s->ops && s->started && !s->gave_up &&
      now >= s->alive_us + (int64_t)s->config.media_timeout_s * 1000000) {
    s->gave_up = true;
    cxb_session_tell(s, (cxb_event){.type = CXB_EV_ERROR, .text = "media_timeout"});
    cxb_session_close_wire(s, 1001);
  }
  cxb_session_rearm(s);
}

/* ---- recording ---- */
static void on_recording_error(void *arg, const char *why) {
  char text[48];
  snprintf(text, sizeof text, "recording:%s", why);
  cxb_session_tell(arg, (cxb_event){.type = CXB_EV_ERROR, .text = text});
}

void cxb_session_start_recorder(cxb_session *s, int fd) {
  if (s->recorder || s->wire_closed) {
    close(fd);
    return;
  }
  int err = cxb_recorder_new(cxb_media_loop(s->media), fd, s->rate, cxb_now_us(),
                             on_recording_error, s, &s->recorder);
  if (err)
    on_recording_error(s, "memory");
  else
    cxb_recorder_pause(s->recorder, s->record_paused, cxb_now_us());
}

static void maybe_finish(cxb_session *s);

static void on_recording_closed(void *arg, int64_t bytes) {
  cxb_session *s = arg;
  s->recorder_closing = false;
  uv_mutex_lock(&s->lock);
  s->stats.recorded_bytes = bytes;
  uv_mutex_unlock(&s->lock);
  tell_closed(s);
  maybe_finish(s);
}

static void close_recorder(cxb_session *s) {
  cxb_recorder *r = s->recorder;
  s->recorder = NULL;
  if (s->pending_fd >= 0)
    close(s->pending_fd);
  s->pending_fd = -1;
  if (!r)
    return;
  s->recorder_closing = true;
  cxb_recorder_close(r, cxb_now_us(), on_recording_closed, s);
}

/* ---- the end ---- */
static void tell_closed(cxb_session *s) {
  s->recording_until_us = CXB_NEVER;
  if (!s->wire_closed || s->closed_told)
    return;
  cxb_session_tell(
      s, (cxb_event){.type = CXB_EV_CLOSED, .code = s->close_code, .text = s->close_reason});
  s->closed_told = true;
}

/* The wire may be inside one of its own functions: it is let go from the loop. */
static void release_wire(void *arg) {
  cxb_session *s = arg;
  s->released = true;
  if (s->wire_ops.release)
    s->wire_ops.release(s->wire);
  maybe_finish(s);
}

void cxb_session_in_closed(cxb_session *s, int code, const char *reason) {
  if (s->wire_closed)
    return;
  s->wire_closed = true;
  s->close_code = code;
  snprintf(s->close_reason, sizeof s->close_reason, "%s", reason ? reason : "");
  s->ops = NULL;
  cxb_session_cut(s, NULL, false);
  close_recorder(s);
  if (s->recorder_closing) {
    s->recording_until_us = cxb_now_us() + (int64_t)CXB_RECORDING_END_MS * 1000;
    cxb_session_rearm(s);
  } else {
    tell_closed(s);
  }
  cxb_media_post(s->media, release_wire, s);
}

/* Main loop. */
static void finished(void *arg) {
  cxb_session *s = arg;
  void (*done)(void *arg) = s->done;
  void *done_arg = s->done_arg;
  cxb_media *media = s->media;
  uv_mutex_destroy(&s->lock);
  free(s);
  cxb_media_unhold(media);
  if (done)
    done(done_arg);
}

static void on_handle_closed(cxb_session *s) {
  if (--s->open_handles > 0)
    return;
  cxb_session_free_inputs(s);
  cxb_media_post_main(s->media, finished, s);
}

static void on_timer_closed(uv_handle_t *handle) {
  on_handle_closed(handle->data);
}

static void on_monitor_closed(uv_handle_t *handle) {
  on_handle_closed(handle->data);
}

static void on_pacer_closed(uv_handle_t *handle) {
  cxb_pacer *pacer = handle->data;
  on_handle_closed(pacer->arg);
}

static void maybe_finish(cxb_session *s) {
  if (!s->close_requested || s->handles_closing || (s->attached && !s->released) || s->recorder ||
      s->recorder_closing)
    return;
  s->handles_closing = true;
  cxb_tap_detach(s->fed_tap);
  s->fed_tap = NULL;
  if (s->monitor)
    uv_close((uv_handle_t *)&s->monitor_timer, on_monitor_closed);
  if (s->has_pacer)
    cxb_pacer_close(&s->pacer, on_pacer_closed);
  uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

static void close_on_media(void *arg) {
  cxb_session *s = arg;
  s->close_requested = true;
  cxb_session_cut(s, NULL, false);
  if (s->attached)
    cxb_session_close_wire(s, 1001);
  else
    close_recorder(s);
  maybe_finish(s);
}

void cxb_session_close(cxb_session *s, void (*done)(void *arg), void *arg) {
  s->closing = true;
  s->done = done;
  s->done_arg = arg;
  cxb_session_forget_owner(s);
  cxb_media_post(s->media, close_on_media, s);
}

/* ---- figures ---- */
void cxb_session_stats_get(cxb_session *s, cxb_session_stats *out) {
  uv_mutex_lock(&s->lock);
  cxb_session_stats stats = s->stats;
  stats.pacing_count = s->lateness.total;
  stats.pacing_us_p50 = cxb_histogram_percentile(&s->lateness, 50);
  stats.pacing_us_p99 = cxb_histogram_percentile(&s->lateness, 99);
  stats.pacing_us_max = s->lateness.max;
  uv_mutex_unlock(&s->lock);
  stats.clock_ms = cxb_session_ms(s, cxb_now_us());
  *out = stats;
}
