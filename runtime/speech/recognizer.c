/* A recogniser is an actor: what is sent to it (audio, finalize, reset, the answer of a
 * recognition) waits in its inbox, and one job at a time on the listening lane works it off. So its
 * state needs no lock; only the inbox does. */
#include "recognizer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../base/time.h"
#include "../media/resample.h"
#include "decode.h"
#include "segment.h"

enum {
  RATE = CXB_TURN_RATE,
  WINDOW = CXB_SILERO_WINDOW,
  WINDOW_MS = WINDOW * 1000 / RATE,
  MEMORY_WINDOWS = 48,              /* audio kept of the past: 1.5 s */
  MEMORY = MEMORY_WINDOWS * WINDOW, /* samples */
  PRE_ROLL = RATE * 3 / 10,         /* kept before the onset of speech */
  POST_ROLL = RATE / 5,             /* and after its end */
  PARTIAL_STEP = RATE / 2,          /* new speech between partials, */
  PARTIAL_SHARE = 8,                /* and at least an eighth of the chunk */
  FREEZE_AT = 12 * RATE,            /* a chunk this long ends with the next silence */
  MAX_WAITING_SECONDS = 60,
  FORGET_WINDOWS = 1000 / WINDOW_MS, /* of silence, after which the detector begins afresh */
  ITEMS_A_RUN = 64,                  /* then other streams have their turn */
};

typedef enum item_type {
  ITEM_AUDIO,
  ITEM_FINALIZE,
  ITEM_RESET,
  ITEM_HINTS,
  ITEM_DECODED,
} item_type;

typedef struct item {
  struct item *next;
  item_type type;
  size_t bytes; /* of audio */
  char id[CXB_TURN_ID_BYTES];
  cxb_hints *hints; /* owned */
  int16_t pcm[];
} item;

/* The recognition in progress; one a stream. */
typedef struct decoding {
  cxb_pool_job job;
  bool active, urgent;
  atomic_bool cancel;
  uint64_t chunk; /* serial */
  int16_t *pcm;   /* a copy of its first n samples */
  size_t n;
  cxb_hints *hints; /* a reference */
  int err, compute_ms;
  cxb_transcript result;
  item *answer; /* made beforehand, so that it can always be sent */
} decoding;

struct cxb_recognizer {
  cxb_engine *engine;
  cxb_recognizer_config config;
  atomic_int refs;
  pthread_mutex_t emit_lock; /* held while on_event runs */
  bool closed;               /* under emit_lock */
  pthread_mutex_t lock;      /* of the inbox */
  item *first, **last;
  size_t waiting; /* bytes of audio in the inbox */
  bool scheduled, dead;
  cxb_pool_job job;
  decoding decoding;
  /* the actor's own */
  cxb_resampler *resampler;
  int16_t window[WINDOW];
  size_t filled;
  cxb_silero_state voice;
  cxb_segmenter segmenter;
  int16_t memory[MEMORY]; /* ring of whole windows */
  int64_t heard, kept;    /* samples in whole windows so far; of them offered to the turn */
  cxb_turn *turn;         /* being spoken */
  cxb_turn *closing;      /* finals that wait for recognition, oldest first */
  bool eager;             /* speech ended: recognise the turn now */
  char *last_partial;
  cxb_hints *hints;
};

static void run_inbox(cxb_pool_job *job);
static void run_decoding(cxb_pool_job *job);

#define OWNER(pointer, member)                                                                     \
  ((cxb_recognizer *)(void *)((char *)(pointer)-offsetof(cxb_recognizer, member)))

static void free_list(cxb_turn *list) {
  while (list) {
    cxb_turn *next = list->next;
    cxb_turn_free(list);
    list = next;
  }
}

static void free_item(item *it) {
  if (it)
    cxb_hints_release(it->hints);
  free(it);
}

static void unref(cxb_recognizer *rec) {
  if (atomic_fetch_sub(&rec->refs, 1) != 1)
    return;
  while (rec->first) {
    item *next = rec->first->next;
    free_item(rec->first);
    rec->first = next;
  }
  cxb_resampler_free(rec->resampler);
  cxb_turn_free(rec->turn);
  free_list(rec->closing);
  free(rec->last_partial);
  free(rec->decoding.pcm);
  free_item(rec->decoding.answer);
  cxb_hints_release(rec->decoding.hints);
  cxb_hints_release(rec->hints);
  pthread_mutex_destroy(&rec->lock);
  pthread_mutex_destroy(&rec->emit_lock);
  free(rec);
}

static void emit(cxb_recognizer *rec, const cxb_recognizer_event *event) {
  cxb_recognizer_event whole = *event;
  whole.pos_ms = rec->heard * 1000 / RATE;
  whole.text = event->text ? event->text : "";
  whole.id = event->id ? event->id : "";
  whole.code = event->code ? event->code : "";
  pthread_mutex_lock(&rec->emit_lock);
  if (!rec->closed)
    rec->config.on_event(rec->config.arg, &whole);
  pthread_mutex_unlock(&rec->emit_lock);
}

static void emit_error(cxb_recognizer *rec, const char *code, const char *text) {
  emit(rec, &(cxb_recognizer_event){.type = CXB_RECOGNIZER_ERROR, .code = code, .text = text});
}

/* ---- what the owner calls ---- */

int cxb_recognizer_new(cxb_engine *engine, const cxb_recognizer_config *config,
                       cxb_recognizer **out) {
  cxb_recognizer_config c = *config;
  c.start_ms = c.start_ms ? c.start_ms : 96;
  c.stop_ms = c.stop_ms ? c.stop_ms : 500;
  if (c.rate < 8000 || c.rate > 48000 || c.start_ms < WINDOW_MS || c.start_ms > 1000 ||
      c.stop_ms < 100 || c.stop_ms > 3000 || !c.on_event || !engine->moonshine)
    return CXB_EINVAL;
  cxb_recognizer *rec = calloc(1, sizeof *rec);
  if (!rec)
    return CXB_ENOMEM;
  rec->engine = engine;
  rec->config = c;
  rec->last = &rec->first;
  rec->job.run = run_inbox;
  rec->decoding.job.run = run_decoding;
  atomic_init(&rec->refs, 1);
  pthread_mutex_init(&rec->lock, NULL);
  pthread_mutex_init(&rec->emit_lock, NULL);
  cxb_segmenter_init(&rec->segmenter, WINDOW_MS, c.start_ms, c.stop_ms);
  rec->turn = cxb_turn_new();
  int err = rec->turn ? cxb_resampler_new(c.rate, RATE, &rec->resampler) : CXB_ENOMEM;
  if (err) {
    unref(rec);
    return err;
  }
  *out = rec;
  return 0;
}

void cxb_recognizer_close(cxb_recognizer *rec) {
  pthread_mutex_lock(&rec->emit_lock);
  rec->closed = true;
  pthread_mutex_unlock(&rec->emit_lock);
  pthread_mutex_lock(&rec->lock);
  rec->dead = true;
  pthread_mutex_unlock(&rec->lock);
  atomic_store(&rec->decoding.cancel, true);
  unref(rec);
}

/* Puts an item into the inbox (taken), or frees it when the recogniser is closed. */
static void send(cxb_recognizer *rec, item *it) {
  pthread_mutex_lock(&rec->lock);
  if (rec->dead) {
    pthread_mutex_unlock(&rec->lock);
    free_item(it);
    return;
  }
  it->next = NULL;
  *rec->last = it;
  rec->last = &it->next;
  rec->waiting += it->bytes;
  bool start = !rec->scheduled;
  rec->scheduled = true;
  if (start)
    atomic_fetch_add(&rec->refs, 1);
  pthread_mutex_unlock(&rec->lock);
  if (start)
    cxb_pool_post(rec->engine->listening, &rec->job, false);
}

static item *new_item(item_type type, size_t bytes) {
  item *it = calloc(1, sizeof *it + bytes);
  if (it) {
    it->type = type;
    it->bytes = bytes;
  }
  return it;
}

int cxb_recognizer_feed(cxb_recognizer *rec, const uint8_t *pcm, size_t bytes) {
  if (bytes % 2 != 0) {
    emit_error(rec, "odd_length", "binary messages hold whole 16-bit samples");
    return CXB_EINVAL;
  }
  pthread_mutex_lock(&rec->lock);
  bool full = rec->waiting + bytes > (size_t)rec->config.rate * 2 * MAX_WAITING_SECONDS;
  pthread_mutex_unlock(&rec->lock);
  if (full) {
    emit_error(rec, "too_fast", "more than 60 s of audio wait: this message was dropped");
    return CXB_ETOOBIG;
  }
  item *it = new_item(ITEM_AUDIO, bytes);
  if (!it)
    return CXB_ENOMEM;
  memcpy(it->pcm, pcm, bytes);
  send(rec, it);
  return 0;
}

int cxb_recognizer_finalize(cxb_recognizer *rec, const char *id) {
  item *it = new_item(ITEM_FINALIZE, 0);
  if (!it)
    return CXB_ENOMEM;
  size_t n = strnlen(id, sizeof it->id - 1);
  memcpy(it->id, id, n);
  send(rec, it);
  return 0;
}

int cxb_recognizer_reset(cxb_recognizer *rec) {
  item *it = new_item(ITEM_RESET, 0);
  if (!it)
    return CXB_ENOMEM;
  send(rec, it);
  return 0;
}

int cxb_recognizer_hints(cxb_recognizer *rec, const char *const *words, size_t n) {
  item *it = new_item(ITEM_HINTS, 0);
  if (!it)
    return CXB_ENOMEM;
  int err = cxb_hints_new(cxb_moonshine_vocab(rec->engine->moonshine), words, n, &it->hints);
  if (err) {
    free_item(it);
    return err;
  }
  send(rec, it);
  return 0;
}

/* ---- recognition ---- */

static void run_decoding(cxb_pool_job *job) {
  cxb_recognizer *rec = OWNER(job, decoding.job);
  decoding *d = &rec->decoding;
  int64_t began = cxb_mono_ns();
  d->err = cxb_decode(rec->engine->moonshine, d->pcm, d->n, d->hints, &d->cancel, &d->result);
  d->compute_ms = (int)((cxb_mono_ns() - began + 999999) / 1000000);
  item *answer = d->answer;
  d->answer = NULL;
  send(rec, answer);
  unref(rec);
}

/* Begins to recognise what the chunk holds now. */
static int start_decoding(cxb_recognizer *rec, cxb_chunk *chunk, bool urgent) {
  decoding *d = &rec->decoding;
  int16_t *copy = malloc(chunk->n * sizeof *copy);
  item *answer = new_item(ITEM_DECODED, 0);
  if (!copy || !answer) {
    free(copy);
    free(answer);
    return CXB_ENOMEM;
  }
  memcpy(copy, chunk->pcm, chunk->n * sizeof *copy);
  d->pcm = copy;
  d->answer = answer;
  d->n = chunk->n;
  d->hints = cxb_hints_ref(rec->hints);
  d->chunk = chunk->serial;
  d->active = true;
  d->urgent = urgent;
  atomic_store(&d->cancel, false);
  atomic_fetch_add(&rec->refs, 1);
  cxb_pool_post(rec->engine->recognising, &d->job, urgent);
  return 0;
}

/* What to recognise next: finals first, then full chunks, then the turn in progress. */
static cxb_chunk *next_chunk(cxb_recognizer *rec, bool *urgent) {
  *urgent = rec->closing != NULL;
  if (rec->closing)
    return cxb_turn_undecoded(rec->closing, true);
  cxb_chunk *chunk = cxb_turn_undecoded(rec->turn, false);
  if (chunk)
    return chunk;
  chunk = cxb_turn_undecoded(rec->turn, true);
  if (!chunk)
    return NULL;
  if (rec->eager)
    return chunk;
  size_t fresh = chunk->n - chunk->decoded_n;
  bool due = fresh >= PARTIAL_STEP && fresh >= chunk->n / PARTIAL_SHARE;
  return rec->config.partials && due ? chunk : NULL;
}

static void emit_final(cxb_recognizer *rec, const cxb_turn *turn) {
  double confidence = 0;
  char *text = cxb_turn_text(turn, &confidence);
  emit(rec, &(cxb_recognizer_event){.type = CXB_RECOGNIZER_FINAL,
                                    .text = text,
                                    .id = turn->id,
                                    .start_ms = turn->start_ms,
                                    .end_ms = turn->end_ms,
                                    .confidence = confidence,
                                    .compute_ms = turn->compute_ms});
  free(text);
}

static void emit_partial(cxb_recognizer *rec) {
  char *text = cxb_turn_text(rec->turn, NULL);
  if (text && text[0] && !(rec->last_partial && strcmp(rec->last_partial, text) == 0)) {
    emit(rec, &(cxb_recognizer_event){.type = CXB_RECOGNIZER_PARTIAL, .text = text});
    free(rec->last_partial);
    rec->last_partial = text;
    return;
  }
  free(text);
}

/* A recognition for another chunk, or for less audio than a final wants, gives way. */
static void make_way(cxb_recognizer *rec, const cxb_chunk *wanted) {
  decoding *d = &rec->decoding;
  bool useful = d->chunk == wanted->serial && d->n == wanted->n;
  if (!useful)
    atomic_store(&d->cancel, true);
  if (d->urgent || !cxb_pool_remove(rec->engine->recognising, &d->job))
    return;
  /* not begun: in front of the others now, to be done or to be dropped at once */
  d->urgent = true;
  cxb_pool_post(rec->engine->recognising, &d->job, true);
}

/* Sends the finals that are ready and keeps one recognition going while there is something to do.
 */
static void pump(cxb_recognizer *rec) {
  while (rec->closing && !cxb_turn_undecoded(rec->closing, true)) {
    cxb_turn *done = rec->closing;
    rec->closing = done->next;
    emit_final(rec, done);
    cxb_turn_free(done);
  }
  bool urgent;
  cxb_chunk *chunk = next_chunk(rec, &urgent);
  if (!chunk)
    return;
  if (rec->decoding.active) {
    if (urgent)
      make_way(rec, chunk);
  } else if (start_decoding(rec, chunk, urgent) != 0) {
    emit_error(rec, "engine", "out of memory");
    cxb_chunk_decoded(chunk, chunk->n, "", 0, 0);
  }
}

static void on_decoded(cxb_recognizer *rec) {
  decoding *d = &rec->decoding;
  free(d->pcm);
  d->pcm = NULL;
  cxb_hints_release(d->hints);
  d->hints = NULL;
  d->active = false;
  cxb_chunk *chunk = cxb_turn_find(rec->turn, d->chunk);
  bool current = chunk != NULL;
  if (!chunk)
    chunk = cxb_turn_find(rec->closing, d->chunk);
  if (chunk && d->err != CXB_ECANCELED) {
    const char *text = d->err ? "" : d->result.text;
    cxb_chunk_decoded(chunk, d->n, text, d->err ? 0 : d->result.confidence, d->result.tokens);
    (current ? rec->turn : rec->closing)->compute_ms += d->compute_ms;
    if (d->err)
      emit_error(rec, "engine", cxb_strerror(d->err));
    else if (current && rec->config.partials)
      emit_partial(rec);
  }
  pump(rec);
}

/* ---- speech ---- */

/* Adds what was heard from sample `from` up to `to` to the turn, once, as far as it is remembered.
 */
static void keep(cxb_recognizer *rec, int64_t from, int64_t to) {
  int64_t oldest = rec->heard - MEMORY;
  from = from < rec->kept ? rec->kept : from;
  from = from < oldest ? oldest : from;
  to = to > rec->heard ? rec->heard : to;
  while (from < to) {
    size_t at = (size_t)(from % MEMORY);
    int64_t piece = to - from < (int64_t)(MEMORY - at) ? to - from : (int64_t)(MEMORY - at);
    if (cxb_turn_append(rec->turn, rec->memory + at, (size_t)piece) != 0)
      emit_error(rec, "engine", "out of memory");
    from += piece;
    rec->kept = from;
  }
}

/* Voice from window `first` to `last`, and `after` samples behind it, belong to the turn. */
static void keep_voice(cxb_recognizer *rec, int64_t first, int64_t last, int64_t after) {
  if (rec->turn->start_ms < 0)
    rec->turn->start_ms = first * WINDOW_MS;
  rec->turn->end_ms = (last + 1) * WINDOW_MS;
  keep(rec, first * WINDOW - PRE_ROLL, (last + 1) * WINDOW + after);
}

static void on_silence(cxb_recognizer *rec, int64_t last_voice) {
  if (rec->turn->first) {
    keep(rec, 0, (last_voice + 1) * WINDOW + POST_ROLL);
    if (rec->turn->last->n >= FREEZE_AT)
      cxb_turn_freeze(rec->turn);
    rec->eager = true;
  }
  emit(rec, &(cxb_recognizer_event){.type = CXB_RECOGNIZER_SILENCE,
                                    .t_ms = (last_voice + 1) * WINDOW_MS});
}

static void on_window(cxb_recognizer *rec) {
  float samples[WINDOW], probability = 0;
  for (size_t i = 0; i < WINDOW; i++)
    samples[i] = (float)rec->window[i] / 32768.0f;
  memcpy(rec->memory + rec->heard % MEMORY, rec->window, sizeof rec->window);
  rec->heard += WINDOW;
  if (cxb_silero_step(rec->engine->silero, &rec->voice, samples, &probability) != 0)
    emit_error(rec, "engine", "voice activity failed");
  cxb_segmenter *s = &rec->segmenter;
  cxb_segment_change change = cxb_segmenter_step(s, probability);
  /* What it remembers of speech long over makes it deaf to a short first word ("four"). */
  if (!s->speaking && s->run == 0 && s->at - s->last_voice == FORGET_WINDOWS)
    rec->voice = (cxb_silero_state){0};
  if (change == CXB_SEGMENT_SPEECH) {
    rec->eager = false;
    emit(rec, &(cxb_recognizer_event){.type = CXB_RECOGNIZER_SPEECH, .t_ms = s->onset * WINDOW_MS});
    keep_voice(rec, s->onset, s->last_voice, 0);
  } else if (change == CXB_SEGMENT_SILENCE) {
    on_silence(rec, s->last_voice);
  } else if (s->speaking && s->last_voice == s->at - 1) {
    keep_voice(rec, s->last_voice, s->last_voice, 0);
  }
}

static void on_audio(cxb_recognizer *rec, const int16_t *pcm, size_t n) {
  int16_t *samples = malloc(cxb_resampler_bound(rec->resampler, n) * sizeof *samples);
  if (!samples) {
    emit_error(rec, "engine", "out of memory");
    return;
  }
  size_t made = cxb_resampler_run(rec->resampler, pcm, n, samples);
  for (size_t at = 0; at < made;) {
    size_t room = WINDOW - rec->filled, piece = made - at < room ? made - at : room;
    memcpy(rec->window + rec->filled, samples + at, piece * sizeof *samples);
    rec->filled += piece;
    at += piece;
    if (rec->filled == WINDOW) {
      rec->filled = 0;
      on_window(rec);
    }
  }
  free(samples);
}

static void new_turn(cxb_recognizer *rec, cxb_turn *fresh) {
  rec->turn = fresh;
  rec->kept = rec->heard;
  rec->eager = false;
  free(rec->last_partial);
  rec->last_partial = NULL;
}

/* Speech up to the last sample makes the model go on inventing: silence takes the place of what was
 * not heard yet. */
static void end_quietly(cxb_recognizer *rec, int64_t end) {
  static const int16_t silence[POST_ROLL];
  int64_t missing = end - rec->heard;
  if (missing > 0 && missing <= POST_ROLL && !rec->turn->last->frozen &&
      cxb_turn_append(rec->turn, silence, (size_t)missing) != 0)
    emit_error(rec, "engine", "out of memory");
}

static void on_finalize(cxb_recognizer *rec, const char *id) {
  cxb_segmenter *s = &rec->segmenter;
  cxb_turn *fresh = cxb_turn_new(), **end = &rec->closing;
  if (!fresh) {
    emit_error(rec, "engine", "out of memory");
    return;
  }
  if (s->speaking && rec->turn->first)
    keep(rec, 0, (s->last_voice + 1) * WINDOW + POST_ROLL);
  else if (!s->speaking && s->run > 1)
    keep_voice(rec, s->onset, s->last_voice, POST_ROLL);
  if (rec->turn->first)
    end_quietly(rec, (s->last_voice + 1) * WINDOW + POST_ROLL);
  memcpy(rec->turn->id, id, sizeof rec->turn->id);
  while (*end)
    end = &(*end)->next;
  *end = rec->turn;
  new_turn(rec, fresh);
}

static void on_reset(cxb_recognizer *rec) {
  cxb_turn *fresh = cxb_turn_new();
  if (!fresh) {
    emit_error(rec, "engine", "out of memory");
    return;
  }
  if (cxb_turn_find(rec->turn, rec->decoding.chunk))
    atomic_store(&rec->decoding.cancel, true);
  cxb_turn_free(rec->turn);
  new_turn(rec, fresh);
}

/* ---- the inbox ---- */

static void handle(cxb_recognizer *rec, item *it) {
  switch (it->type) {
  case ITEM_AUDIO:
    on_audio(rec, it->pcm, it->bytes / 2);
    pump(rec);
    break;
  case ITEM_FINALIZE:
    on_finalize(rec, it->id);
    pump(rec);
    break;
  case ITEM_RESET:
    on_reset(rec);
    break;
  case ITEM_HINTS:
    cxb_hints_release(rec->hints);
    rec->hints = it->hints;
    it->hints = NULL;
    break;
  case ITEM_DECODED:
    on_decoded(rec);
    break;
  }
}

static void run_inbox(cxb_pool_job *job) {
  cxb_recognizer *rec = OWNER(job, job);
  for (int i = 0; i < ITEMS_A_RUN; i++) {
    pthread_mutex_lock(&rec->lock);
    item *it = rec->first;
    if (!it || rec->dead) {
      rec->scheduled = false;
      pthread_mutex_unlock(&rec->lock);
      unref(rec);
      return;
    }
    rec->first = it->next;
    if (!rec->first)
      rec->last = &rec->first;
    rec->waiting -= it->bytes;
    pthread_mutex_unlock(&rec->lock);
    handle(rec, it);
    free_item(it);
  }
  cxb_pool_post(rec->engine->listening, &rec->job, false);
}
