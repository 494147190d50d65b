/* A far end on the media loop, as a transport would be one: it notes what leaves the session and
 * when, and feeds the caller's audio in real time. The test's own thread is the owner on the main
 * loop. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <uv.h>

#include "base/err.h"
#include "media/session.h"
#include "media_support.h"

enum { MAX_FRAMES = 3000, MAX_EVENTS = 512, MAX_MARKS = 64 };

typedef struct seen_event {
  cxb_event e;
  char text[128];
  int64_t at_us;
} seen_event;

typedef struct fake_wire {
  cxb_media *media;
  cxb_session *s;
  cxb_wire ops;
  int rate;
  size_t frame;

  /* far end, under the lock */
  uv_mutex_t lock;
  int16_t *out; /* what was sent, one frame after another */
  int64_t sent_us[MAX_FRAMES];
  size_t frames, frames_at_clear, clears, hangups, closes, releases, transfers, notes;
  int64_t clear_us, close_us;
  char marks[MAX_MARKS][16];
  size_t mark_count;
  int close_code;

  /* how the far end behaves */
  bool deaf;              /* close() is not answered */
  bool answers_hangup;    /* in_stop, in_closed */
  bool echo_marks;        /* a mark comes back at once */
  int clear_played_ms;    /* ≥ 0: answers a clear with it */
  size_t vanish_at_frame; /* > 0: the socket goes inside frame() */
  bool vanish_in_clear;
  bool fail_frames;

  /* caller */
  uv_timer_t feeder;
  bool feeding, feeder_ready;
  const int16_t *in;
  size_t in_n, in_at;
  int64_t in_start_us, in_count;

  /* owner */
  seen_event events[MAX_EVENTS];
  size_t event_count, event_next;
  bool closed;
} fake_wire;

static uv_loop_t *main_loop;

static inline int64_t us_now(void) {
  return (int64_t)(uv_hrtime() / 1000);
}

/* Turns the main loop until the condition holds; fails after `ms`. */
#define wait_until(ms, condition)                                                                  \
  do {                                                                                             \
    int64_t wait_end_ = us_now() + (int64_t)(ms)*1000;                                             \
    while (!(condition)) {                                                                         \
      if (us_now() > wait_end_)                                                                    \
        fail_msg("not within %d ms: %s", (int)(ms), #condition);                                   \
      turn(5);                                                                                     \
    }                                                                                              \
  } while (0)

static inline void no_op_timer(uv_timer_t *t) {
  (void)t;
}

/* One turn of the main loop, at most `ms` long. */
static inline void turn(int ms) {
  static uv_timer_t timer;
  static bool ready;
  if (!ready) {
    uv_timer_init(main_loop, &timer);
    uv_unref((uv_handle_t *)&timer);
    ready = true;
  }
  uv_ref((uv_handle_t *)&timer);
  uv_timer_start(&timer, no_op_timer, (uint64_t)ms, 0);
  uv_run(main_loop, UV_RUN_ONCE);
  uv_timer_stop(&timer);
  uv_unref((uv_handle_t *)&timer);
}

/* Lets time pass on the main loop. */
static inline void pass(int ms) {
  for (int64_t end = us_now() + (int64_t)ms * 1000; us_now() < end;)
    turn((int)((end - us_now()) / 1000) + 1);
}

/* Runs a function on the media loop and waits for it. */
typedef struct on_media_job {
  void (*fn)(fake_wire *w, void *arg);
  fake_wire *w;
  void *arg;
  uv_sem_t done;
} on_media_job;

static inline void on_media_run(void *arg) {
  on_media_job *job = arg;
  job->fn(job->w, job->arg);
  uv_sem_post(&job->done);
}

static inline void on_media(fake_wire *w, void (*fn)(fake_wire *w, void *arg), void *arg) {
  on_media_job job = {.fn = fn, .w = w, .arg = arg};
  uv_sem_init(&job.done, 0);
  cxb_media_post(w->media, on_media_run, &job);
  uv_sem_wait(&job.done);
  uv_sem_destroy(&job.done);
}

/* ---- the wire's functions ---- */
static inline int fake_frame(void *wire, const int16_t *pcm, size_t n) {
  fake_wire *w = wire;
  uv_mutex_lock(&w->lock);
  bool room = w->frames < MAX_FRAMES && n == w->frame;
  if (room) {
    memcpy(w->out + w->frames * n, pcm, n * sizeof *pcm);
    w->sent_us[w->frames++] = us_now();
  }
  bool vanish = w->vanish_at_frame > 0 && w->frames == w->vanish_at_frame;
  uv_mutex_unlock(&w->lock);
  if (vanish)
    cxb_session_in_closed(w->s, 1006, "gone");
  return !room || w->fail_frames || vanish ? CXB_ECLOSED : 0;
}

static inline int fake_clear(void *wire) {
  fake_wire *w = wire;
  uv_mutex_lock(&w->lock);
  w->clears++;
  w->frames_at_clear = w->frames;
  w->clear_us = us_now();
  uv_mutex_unlock(&w->lock);
  if (w->vanish_in_clear)
    cxb_session_in_closed(w->s, 1006, "gone");
  else if (w->clear_played_ms >= 0)
    cxb_session_in_mark(w->s, "", w->clear_played_ms, true);
  return 0;
}

static inline int fake_mark(void *wire, const char *name) {
  fake_wire *w = wire;
  uv_mutex_lock(&w->lock);
  if (w->mark_count < MAX_MARKS)
    snprintf(w->marks[w->mark_count++], sizeof w->marks[0], "%s", name);
  uv_mutex_unlock(&w->lock);
  if (w->echo_marks)
    cxb_session_in_mark(w->s, name, -1, false);
  return 0;
}

static inline int fake_transfer(void *wire, const cxb_transfer *t) {
  fake_wire *w = wire;
  uv_mutex_lock(&w->lock);
  w->transfers++;
  uv_mutex_unlock(&w->lock);
  return strcmp(t->to, "refuse") == 0 ? CXB_EPROTO : 0;
}

static inline int fake_note(void *wire, const char *json, size_t len) {
  fake_wire *w = wire;
  (void)json;
  (void)len;
  uv_mutex_lock(&w->lock);
  w->notes++;
  uv_mutex_unlock(&w->lock);
  return 0;
}

static inline int fake_hangup(void *wire) {
  fake_wire *w = wire;
  uv_mutex_lock(&w->lock);
  w->hangups++;
  uv_mutex_unlock(&w->lock);
  if (w->answers_hangup) {
    cxb_session_in_stop(w->s, "bot");
    cxb_session_in_closed(w->s, 1000, "");
  }
  return 0;
}

static inline void fake_close(void *wire, int code, const char *reason) {
  fake_wire *w = wire;
  uv_mutex_lock(&w->lock);
  w->closes++;
  w->close_code = code;
  w->close_us = us_now();
  uv_mutex_unlock(&w->lock);
  if (!w->deaf)
    cxb_session_in_closed(w->s, code, "closed");
}

static inline void fake_release(void *wire) {
  fake_wire *w = wire;
  uv_mutex_lock(&w->lock);
  w->releases++;
  uv_mutex_unlock(&w->lock);
}

/* One of the far end's counters, read from the owner's thread. */
static inline size_t count_of(fake_wire *w, const size_t *counter) {
  uv_mutex_lock(&w->lock);
  size_t n = *counter;
  uv_mutex_unlock(&w->lock);
  return n;
}

static inline size_t frames_of(fake_wire *w) {
  return count_of(w, &w->frames);
}

/* ---- the owner ---- */
static inline void fake_on_event(void *arg, const cxb_event *e) {
  fake_wire *w = arg;
  if (w->event_count < MAX_EVENTS) {
    seen_event *seen = &w->events[w->event_count++];
    seen->e = *e;
    seen->at_us = us_now();
    if (e->text)
      snprintf(seen->text, sizeof seen->text, "%s", e->text);
  }
  w->closed = w->closed || e->type == CXB_EV_CLOSED;
}

/* The first event of this type among those not yet looked at; those before it are passed over. */
static inline const seen_event *find_event(fake_wire *w, cxb_event_type type) {
  for (size_t i = w->event_next; i < w->event_count; i++)
    if (w->events[i].e.type == type) {
      w->event_next = i + 1;
      return &w->events[i];
    }
  return NULL;
}

static inline const seen_event *expect_event(fake_wire *w, cxb_event_type type, int ms) {
  const seen_event *found = NULL;
  for (int64_t end = us_now() + (int64_t)ms * 1000; !(found = find_event(w, type));) {
    if (us_now() > end)
      fail_msg("no event of type %d within %d ms", (int)type, ms);
    turn(5);
  }
  return found;
}

static inline size_t count_events(fake_wire *w, cxb_event_type type) {
  size_t n = 0;
  for (size_t i = 0; i < w->event_count; i++)
    n += w->events[i].e.type == type;
  return n;
}

/* ---- a call ---- */
static inline void fake_attach(fake_wire *w, void *arg) {
  (void)arg;
  cxb_session_attach_wire(w->s, &w->ops, w);
}

static inline void fake_start(fake_wire *w, void *arg) {
  (void)arg;
  cxb_session_in_start(w->s, &(cxb_start){.rate = w->rate,
                                          .stream_id = "stream-1",
                                          .caller_id = "100",
                                          .did = "200",
                                          .direction = "incoming",
                                          .connected_event = "{\"a\":1}"});
}

static inline void fake_answer(fake_wire *w, void *arg) {
  (void)arg;
  cxb_session_in_answer(w->s);
}

/* A session with a wire that has not started. Options of `w` may be set before. */
static inline void call_open(fake_wire *w, cxb_media *media, int rate, int lead_ms,
                             int media_timeout_s) {
  cxb_session_config config = {fake_on_event, w, media_timeout_s};
  w->media = media;
  w->rate = rate;
  w->frame = (size_t)rate / 50;
  w->out = calloc((size_t)MAX_FRAMES * w->frame, sizeof *w->out);
  w->ops.name = "fake";
  w->ops.lead_ms = lead_ms;
  w->ops.frame = fake_frame;
  w->ops.clear = fake_clear;
  w->ops.mark = fake_mark;
  w->ops.transfer = fake_transfer;
  w->ops.hangup = fake_hangup;
  w->ops.note = fake_note;
  w->ops.close = fake_close;
  w->ops.release = fake_release;
  uv_mutex_init(&w->lock);
  assert_int_equal(cxb_session_new(media, &config, &w->s), 0);
  on_media(w, fake_attach, NULL);
}

/* The same, answered. */
static inline void call_begin(fake_wire *w, cxb_media *media, int rate, int lead_ms) {
  call_open(w, media, rate, lead_ms, 0);
  on_media(w, fake_start, NULL);
  on_media(w, fake_answer, NULL);
  expect_event(w, CXB_EV_ANSWER, 2000);
}

static inline fake_wire *fake_new(void) {
  fake_wire *w = calloc(1, sizeof *w);
  w->clear_played_ms = -1;
  return w;
}

static inline void on_session_done(void *arg) {
  *(bool *)arg = true;
}

static inline void feeder_closed(uv_handle_t *handle) {
  ((fake_wire *)handle->data)->feeder_ready = false;
}

static inline void close_feeder(fake_wire *w, void *arg) {
  (void)arg;
  if (w->feeder_ready && !uv_is_closing((uv_handle_t *)&w->feeder))
    uv_close((uv_handle_t *)&w->feeder, feeder_closed);
}

static inline void feeder_gone(fake_wire *w, void *arg) {
  *(bool *)arg = !w->feeder_ready;
}

static inline void call_end(fake_wire *w) {
  bool done = false;
  on_media(w, close_feeder, NULL);
  for (bool gone = false; !gone;) /* its close callback runs in a turn of its own */
    on_media(w, feeder_gone, &gone);
  cxb_session_close(w->s, on_session_done, &done);
  wait_until(5000, done);
  assert_int_equal(w->releases, 1);
  uv_mutex_destroy(&w->lock);
  free(w->out);
  free(w);
}

/* ---- the caller speaks ---- */
static inline void feed_tick(uv_timer_t *timer) {
  fake_wire *w = timer->data;
  int64_t due = (us_now() - w->in_start_us) / 20000;
  while (w->feeding && w->in_count < due) {
    w->in_count++;
    size_t n = w->in_n - w->in_at < w->frame ? w->in_n - w->in_at : w->frame;
    cxb_session_in_audio(w->s, w->in + w->in_at, n);
    w->in_at += n;
    if (w->in_at == w->in_n) {
      w->feeding = false;
      uv_timer_stop(timer);
    }
  }
}

static inline void feed_start(fake_wire *w, void *arg) {
  const sound *s = arg;
  if (!w->feeder_ready) {
    uv_timer_init(cxb_media_loop(w->media), &w->feeder);
    w->feeder.data = w;
    w->feeder_ready = true;
  }
  w->in = s->pcm;
  w->in_n = s->n;
  w->in_at = 0;
  w->in_count = 0;
  w->in_start_us = us_now();
  w->feeding = true;
  uv_timer_start(&w->feeder, feed_tick, 20, 10);
}

/* Real time, frame by frame, on the media loop; the sound stays the caller's. */
static inline void caller_says(fake_wire *w, sound *s) {
  on_media(w, feed_start, s);
}

static inline void feed_all(fake_wire *w, void *arg) {
  const sound *s = arg;
  cxb_session_in_audio(w->s, s->pcm, s->n);
}

static inline void send_dtmf(fake_wire *w, void *arg) {
  cxb_session_in_dtmf(w->s, *(const char *)arg);
}

/* ---- the bot speaks ---- */
static inline uint32_t say(fake_wire *w, const sound *s, bool end) {
  uint32_t id = cxb_session_say_begin(w->s, s->rate);
  assert_int_not_equal(id, 0);
  assert_int_equal(cxb_session_say_push(w->s, id, s->pcm, s->n * 2), 0);
  if (end)
    assert_int_equal(cxb_session_say_end(w->s, id, 0), 0);
  return id;
}
