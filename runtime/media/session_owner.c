/* The owner's functions: main loop only. Each becomes a command for the media loop; commands keep
 * their order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "session_impl.h"

typedef struct command command;
struct command {
  cxb_session *s;
  void (*run)(cxb_session *s, command *c);
  void *pointer;
  uint32_t id, epoch;
  int a, b, d;
  double x;
  int64_t us;
  size_t len;
  char data[];
};

static void run_command(void *arg) {
  command *c = arg;
  c->run(c->s, c);
  free(c);
}

/* As in cxb_media_post(): a command that vanished would leave its owner waiting. */
static command *new_command(cxb_session *s, void (*run)(cxb_session *, command *), size_t room) {
  command *c = calloc(1, sizeof *c + room);
  if (!c)
    abort();
  c->s = s;
  c->run = run;
  return c;
}

static void post(command *c) {
  cxb_media_post(c->s->media, run_command, c);
}

static bool over(const cxb_session *s) {
  return s->closing || s->ended;
}

/* ---- listening ---- */
static void run_vad(cxb_session *s, command *c) {
  s->vad_mode = c->a;
  s->vad_start_ms = c->b;
  s->vad_stop_ms = c->d;
  if (s->vad)
    cxb_vad_set(s->vad, c->a, c->b, c->d);
}

void cxb_session_vad(cxb_session *s, int mode, int start_ms, int stop_ms) {
  if (over(s))
    return;
  command *c = new_command(s, run_vad, 0);
  c->a = mode;
  c->b = start_ms;
  c->d = stop_ms;
  post(c);
}

static void run_vad_floor(cxb_session *s, command *c) {
  s->vad_floor = c->x;
  if (s->vad)
    cxb_vad_floor(s->vad, c->x);
}

void cxb_session_vad_floor(cxb_session *s, double level) {
  if (over(s))
    return;
  command *c = new_command(s, run_vad_floor, 0);
  c->x = level;
  post(c);
}

static void run_barge(cxb_session *s, command *c) {
  s->barge = (unsigned)c->a;
}

void cxb_session_barge(cxb_session *s, unsigned set) {
  if (over(s))
    return;
  command *c = new_command(s, run_barge, 0);
  c->a = (int)set;
  post(c);
}

static void run_tap(cxb_session *s, command *c) {
  cxb_tap_detach(s->fed_tap);
  s->fed_tap = c->pointer;
  s->fed_say = c->id;
  s->fed_say_rate = c->b;
  s->fed_tap_rate = c->d;
  if (s->fed_tap)
    cxb_session_replay(s, s->fed_tap, c->a);
}

static const cxb_say *say_behind(const cxb_session *s, const cxb_sink *sink);

int cxb_session_tap(cxb_session *s, cxb_sink *sink, int rate, int replay_ms, int chunk_ms) {
  cxb_tap *tap = NULL;
  if (over(s))
    return sink ? CXB_ECLOSED : 0;
  int err = sink ? cxb_tap_new(s->media, sink, rate, chunk_ms, &tap) : 0;
  if (err)
    return err;
  cxb_tap *before = s->tap;
  s->tap = tap;
  command *c = new_command(s, run_tap, 0);
  c->pointer = tap;
  c->a = replay_ms;
  const cxb_say *say = say_behind(s, sink);
  if (say) {
    c->id = say->id;
    c->b = say->rate;
    c->d = rate;
  }
  post(c);
  if (before)
    cxb_tap_stop(before, false);
  return 0;
}

/* ---- listening in ---- */
static void on_monitor_tick(uv_timer_t *timer) {
  cxb_session *s = timer->data;
  cxb_monitor_tick(s->monitor, cxb_now_us());
}

static bool make_monitor(cxb_session *s) {
  if (s->monitor)
    return true;
  if (!s->started || s->handles_closing || cxb_monitor_new(s->rate, cxb_now_us(), &s->monitor) != 0)
    return false;
  uv_timer_init(cxb_media_loop(s->media), &s->monitor_timer);
  s->monitor_timer.data = s;
  s->open_handles++;
  return true;
}

static void run_listen(cxb_session *s, command *c) {
  cxb_tap *tap = c->pointer;
  if (!s->monitor && (!tap || !make_monitor(s))) {
    cxb_tap_detach(tap);
    return;
  }
  cxb_monitor_set(s->monitor, c->a, tap, cxb_now_us());
  if (cxb_monitor_idle(s->monitor))
    uv_timer_stop(&s->monitor_timer);
  else if (!s->handles_closing && !uv_is_active((uv_handle_t *)&s->monitor_timer))
    uv_timer_start(&s->monitor_timer, on_monitor_tick, CXB_MONITOR_TICK_MS, CXB_MONITOR_TICK_MS);
}

static void post_listen(cxb_session *s, int at, cxb_tap *tap) {
  command *c = new_command(s, run_listen, 0);
  c->a = at;
  c->pointer = tap;
  post(c);
}

int cxb_session_listen(cxb_session *s, cxb_sink *sink) {
  int at = 0;
  if (over(s))
    return CXB_ECLOSED;
  while (at < CXB_LISTENERS && s->listeners[at])
    at++;
  if (at == CXB_LISTENERS)
    return CXB_EBUSY;
  int err = cxb_tap_new(s->media, sink, CXB_MONITOR_TAP_RATE, 0, &s->listeners[at]);
  if (err)
    return err;
  post_listen(s, at, s->listeners[at]);
  return at;
}

void cxb_session_unlisten(cxb_session *s, int listener) {
  if (over(s) || listener < 0 || listener >= CXB_LISTENERS || !s->listeners[listener])
    return;
  cxb_tap *tap = s->listeners[listener];
  s->listeners[listener] = NULL;
  post_listen(s, listener, NULL);
  cxb_tap_stop(tap, false);
}

void cxb_session_end_taps(cxb_session *s) {
  cxb_tap **taps[CXB_LISTENERS + 1] = {&s->tap};
  for (int i = 0; i < CXB_LISTENERS; i++)
    taps[i + 1] = &s->listeners[i];
  for (int i = 0; i <= CXB_LISTENERS; i++) {
    cxb_tap *tap = *taps[i];
    *taps[i] = NULL;
    if (tap)
      cxb_tap_stop(tap, true);
  }
}

/* ---- speaking ---- */
static cxb_say *say_find(cxb_session *s, uint32_t id) {
  cxb_say *say = s->says;
  while (say && say->id != id)
    say = say->next;
  return say;
}

void cxb_session_forget_say(cxb_session *s, uint32_t id) {
  for (cxb_say **at = &s->says; *at; at = &(*at)->next)
    if ((*at)->id == id) {
      cxb_say *say = *at;
      *at = say->next;
      free(say);
      return;
    }
}

static void run_begin(cxb_session *s, command *c) {
  /* Begun before its owner knew of a barge-in, so it belongs to what was cleared. */
  bool stale = c->epoch < s->epoch && s->fresh_epoch != s->epoch;
  if (stale || s->wire_closed || s->stopped || s->hanging_up)
    cxb_session_say_lost(s, c->id, CXB_ECANCELED);
  else if (cxb_playq_begin(&s->queue, c->id, c->a) != 0)
    cxb_session_say_lost(s, c->id, CXB_ENOMEM);
}

uint32_t cxb_session_say_begin(cxb_session *s, int rate) {
  if (over(s) || rate < 8000 || rate > CXB_MAX_RATE)
    return 0;
  cxb_say *say = calloc(1, sizeof *say);
  if (!say)
    return 0;
  if (++s->last_id == 0)
    s->last_id = 1;
  say->id = s->last_id;
  say->rate = rate;
  say->next = s->says;
  s->says = say;
  command *c = new_command(s, run_begin, 0);
  c->id = say->id;
  c->a = rate;
  c->epoch = s->seen_epoch;
  post(c);
  return say->id;
}

static void kick(cxb_session *s) {
  if (s->has_pacer && !s->handles_closing)
    cxb_pacer_kick(&s->pacer);
}

static void run_push(cxb_session *s, command *c) {
  cxb_playq_push(&s->queue, c->id, c->pointer);
  kick(s);
}

int cxb_session_say_push(cxb_session *s, uint32_t utterance, const void *pcm16le, size_t bytes) {
  cxb_say *say = over(s) ? NULL : say_find(s, utterance);
  if (!say || say->ended)
    return CXB_ECLOSED;
  size_t whole = bytes + say->odd, n = whole / 2;
  int64_t us = (int64_t)n * 1000000 / say->rate;
  if (atomic_load(&s->queued_us) + us > (int64_t)CXB_MAX_QUEUED_S * 1000000)
    return CXB_ETOOBIG;
  const uint8_t *in = pcm16le;
  cxb_chunk *chunk = n ? malloc(sizeof *chunk + n * 2) : NULL;
  if (n && !chunk)
    return CXB_ENOMEM;
  if (n) {
    uint8_t *out = (uint8_t *)chunk->pcm;
    if (say->odd)
      *out++ = say->low;
    memcpy(out, in, n * 2 - say->odd);
    chunk->n = n;
    chunk->us = us;
    atomic_fetch_add(&s->queued_us, us);
    command *c = new_command(s, run_push, 0);
    c->id = utterance;
    c->pointer = chunk;
    post(c);
  }
  if (whole % 2 && bytes > 0)
    say->low = in[bytes - 1];
  say->odd = whole % 2;
  return 0;
}

/* True when the frame went straight into the utterance. */
static bool feed_say(cxb_session *s, const int16_t *pcm, size_t n) {
  if (s->fed_tap_rate != s->rate || s->fed_say_rate != s->rate ||
      atomic_load(&s->queued_us) >= (int64_t)CXB_MAX_QUEUED_S * 1000000)
    return false;
  cxb_chunk *chunk = cxb_playq_chunk(&s->queue, n);
  if (!chunk)
    return false;
  memcpy(chunk->pcm, pcm, n * 2);
  atomic_fetch_add(&s->queued_us, chunk->us);
  cxb_playq_push(&s->queue, s->fed_say, chunk);
  kick(s);
  return true;
}

void cxb_session_feed_say(cxb_session *s, const int16_t *pcm, size_t n) {
  if (feed_say(s, pcm, n))
    return;
  s->fed_say = 0; /* another rate, or too much waits: the long way from now on */
  cxb_tap_feed(s->fed_tap, pcm, n, s->rate);
}

static void run_end(cxb_session *s, command *c) {
  cxb_playq_end(&s->queue, c->id, c->a);
  kick(s);
}

int cxb_session_say_end(cxb_session *s, uint32_t utterance, int err) {
  cxb_say *say = over(s) ? NULL : say_find(s, utterance);
  if (!say || say->ended)
    return CXB_ECLOSED;
  say->ended = true;
  command *c = new_command(s, run_end, 0);
  c->id = utterance;
  c->a = err;
  post(c);
  return 0;
}

struct cxb_say_sink {
  cxb_sink sink;
  cxb_say_sink *next;
  cxb_session *s; /* NULL: the session is gone */
  uint32_t id;
};

static int sink_write(cxb_sink *sink, const uint8_t *data, size_t len) {
  cxb_say_sink *self = (cxb_say_sink *)sink;
  return self->s && cxb_session_say_push(self->s, self->id, data, len) == 0 ? 0 : CXB_ECLOSED;
}

static void sink_end(cxb_sink *sink, int err) {
  cxb_say_sink *self = (cxb_say_sink *)sink;
  if (self->s)
    cxb_session_say_end(self->s, self->id, err);
}

static void sink_release(cxb_sink *sink) {
  cxb_say_sink *self = (cxb_say_sink *)sink;
  if (self->s) {
    cxb_say_sink **at = &self->s->sinks;
    while (*at != self)
      at = &(*at)->next;
    *at = self->next;
  }
  free(self);
}

/* The utterance that the session's own sink speaks, or NULL. */
static const cxb_say *say_behind(const cxb_session *s, const cxb_sink *sink) {
  const cxb_say_sink *self = (const cxb_say_sink *)sink;
  if (!sink || sink->write != sink_write || self->s != s)
    return NULL;
  const cxb_say *say = say_find((cxb_session *)s, self->id);
  return say && !say->ended && !say->odd ? say : NULL;
}

cxb_sink *cxb_session_say_sink(cxb_session *s, uint32_t utterance) {
  cxb_say_sink *self = calloc(1, sizeof *self);
  if (!self)
    return NULL;
  self->sink = (cxb_sink){sink_write, sink_end, sink_release};
  self->id = utterance;
  if (!over(s)) {
    self->s = s;
    self->next = s->sinks;
    s->sinks = self;
  }
  return &self->sink;
}

static void run_clear(cxb_session *s, command *c) {
  (void)c;
  cxb_session_cut(s, "command", s->stats.frames_out > 0);
  s->fresh_epoch = s->epoch;
}

void cxb_session_clear(cxb_session *s) {
  if (!over(s))
    post(new_command(s, run_clear, 0));
}

/* ---- recording ---- */
static void run_record(cxb_session *s, command *c) {
  if (s->started || s->wire_closed)
    cxb_session_start_recorder(s, c->a);
  else
    s->pending_fd = c->a;
}

int cxb_session_record(cxb_session *s, const char *path) {
  if (over(s))
    return CXB_ECLOSED;
  if (s->recording)
    return CXB_EBUSY;
  int fd = cxb_recorder_open(path);
  if (fd < 0)
    return fd;
  s->recording = true;
  command *c = new_command(s, run_record, 0);
  c->a = fd;
  post(c);
  return 0;
}

static void run_pause(cxb_session *s, command *c) {
  s->record_paused = c->a;
  if (s->recorder)
    cxb_recorder_pause(s->recorder, c->a, cxb_now_us());
}

void cxb_session_record_pause(cxb_session *s, bool pause) {
  if (over(s))
    return;
  command *c = new_command(s, run_pause, 0);
  c->a = pause;
  post(c);
}

/* ---- the far end ---- */
static void run_note(cxb_session *s, command *c) {
  if (s->ops && s->ops->note)
    s->ops->note(s->wire, c->data, c->len);
}

void cxb_session_note(cxb_session *s, const char *json, size_t len) {
  if (over(s))
    return;
  command *c = new_command(s, run_note, len + 1);
  memcpy(c->data, json, len);
  c->len = len;
  post(c);
}

/* The four strings, NUL-terminated one after another; an absent one is empty. */
static void run_transfer(cxb_session *s, command *c) {
  const char *at = c->data, *text[4];
  for (int i = 0; i < 4; i++) {
    text[i] = at;
    at += strlen(at) + 1;
  }
  cxb_transfer t = {.to = text[0], .type = text[1], .reason = text[2], .target = text[3]};
  s->transferring = true;
  if (!s->ops || !s->ops->can_transfer || !s->ops->transfer) {
    cxb_session_end_transfer(s, false, "unsupported");
    return;
  }
  if (s->ops->transfer(s->wire, &t) != 0)
    cxb_session_end_transfer(s, false, "failed");
}

void cxb_session_transfer(cxb_session *s, const cxb_transfer *t) {
  if (over(s))
    return;
  const char *text[4] = {t->to, t->type, t->reason, t->target};
  size_t room = 0;
  for (int i = 0; i < 4; i++)
    room += (text[i] ? strlen(text[i]) : 0) + 1;
  command *c = new_command(s, run_transfer, room);
  char *at = c->data;
  for (int i = 0; i < 4; i++)
    at = stpcpy(at, text[i] ? text[i] : "") + 1;
  post(c);
}

static void run_hangup(cxb_session *s, command *c) {
  (void)c;
  if (s->hanging_up || !s->ops)
    return;
  s->hanging_up = true;
  cxb_session_cut(s, NULL, cxb_session_playing(s));
  if (!s->ops)
    return;
  s->hangup_us = cxb_now_us();
  if (s->ops->hangup(s->wire) != 0)
    cxb_session_close_wire(s, 1000);
  cxb_session_rearm(s);
}

void cxb_session_hangup(cxb_session *s) {
  if (!over(s))
    post(new_command(s, run_hangup, 0));
}

static void run_limit(cxb_session *s, command *c) {
  s->limit_us = c->us < 0 ? CXB_NEVER : c->us;
  cxb_session_rearm(s);
}

void cxb_session_limit(cxb_session *s, int64_t ms) {
  if (over(s))
    return;
  command *c = new_command(s, run_limit, 0);
  c->us = ms < 0 ? -1 : cxb_now_us() + ms * 1000;
  post(c);
}

static void run_abort(cxb_session *s, command *c) {
  cxb_session_cut(s, NULL, false);
  snprintf(s->abort_reason, sizeof s->abort_reason, "%s", c->data);
  cxb_session_close_wire(s, c->a);
}

void cxb_session_abort_for(cxb_session *s, int code, const char *reason) {
  if (over(s))
    return;
  size_t room = strlen(reason) + 1;
  command *c = new_command(s, run_abort, room);
  memcpy(c->data, reason, room);
  c->a = code;
  post(c);
}

void cxb_session_abort(cxb_session *s, int code) {
  cxb_session_abort_for(s, code, "");
}

/* ---- the owner leaves ---- */
void cxb_session_forget_owner(cxb_session *s) {
  while (s->says) {
    cxb_say *say = s->says;
    s->says = say->next;
    free(say);
  }
  for (cxb_say_sink *sink = s->sinks; sink; sink = sink->next)
    sink->s = NULL;
  s->sinks = NULL;
  cxb_session_end_taps(s);
}
