/* The play queue. Audio is resampled when it is pulled, a frame at a time, so that a long push
 * costs the media loop nothing at once. */
#include "playq.h"

#include <stdlib.h>
#include <string.h>

#include "../base/err.h"

void cxb_playq_init(cxb_playq *q, _Atomic int64_t *queued_us) {
  *q = (cxb_playq){.queued_us = queued_us};
  q->tail = &q->head;
}

int cxb_playq_start(cxb_playq *q, int rate) {
  q->rate = rate;
  q->frame = (size_t)rate / 50;
  return 0;
}

int cxb_playq_begin(cxb_playq *q, uint32_t id, int rate) {
  cxb_utterance *u = calloc(1, sizeof *u);
  if (!u)
    return CXB_ENOMEM;
  u->id = id;
  u->rate = rate;
  u->tail = &u->head;
  *q->tail = u;
  q->tail = &u->next;
  return 0;
}

static cxb_utterance *find(cxb_playq *q, uint32_t id) {
  for (cxb_utterance *u = q->head; u; u = u->next)
    if (u->id == id)
      return u;
  return NULL;
}

/* Every chunk ends here, so the pusher's account is settled here. */
static void chunk_free(cxb_playq *q, cxb_chunk *chunk) {
  atomic_fetch_sub(q->queued_us, chunk->us);
  if (q->spare || chunk->n != q->frame)
    free(chunk);
  else
    q->spare = chunk;
}

void cxb_playq_free(cxb_playq *q) {
  free(q->spare);
  q->spare = NULL;
}

cxb_chunk *cxb_playq_chunk(cxb_playq *q, size_t n) {
  cxb_chunk *chunk = n == q->frame ? q->spare : NULL;
  if (chunk)
    q->spare = NULL;
  else
    chunk = malloc(sizeof *chunk + n * sizeof *chunk->pcm);
  if (chunk) {
    chunk->n = n;
    chunk->us = (int64_t)n * 1000000 / q->rate;
  }
  return chunk;
}

void cxb_playq_push(cxb_playq *q, uint32_t id, cxb_chunk *chunk) {
  cxb_utterance *u = find(q, id);
  if (!u || u->ended) {
    chunk_free(q, chunk);
    return;
  }
  chunk->next = NULL;
  chunk->at = 0;
  *u->tail = chunk;
  u->tail = &chunk->next;
  u->samples += chunk->n;
}

void cxb_playq_end(cxb_playq *q, uint32_t id, int err) {
  cxb_utterance *u = find(q, id);
  if (u && !u->ended) {
    u->ended = true;
    u->err = err;
  }
}

bool cxb_playq_ready(const cxb_playq *q) {
  const cxb_utterance *u = q->head;
  if (!u || q->rate == 0)
    return false;
  uint64_t have =
      (uint64_t)u->ready_n * (uint64_t)u->rate + (uint64_t)u->samples * (uint64_t)q->rate;
  return u->ended || have >= (uint64_t)q->frame * (uint64_t)u->rate;
}

/* Input samples converted in one go. */
static size_t slice_of(const cxb_utterance *u) {
  return (size_t)u->rate / 50 + 1;
}

static int prepare(cxb_playq *q, cxb_utterance *u) {
  if (u->resampler)
    return 0;
  int err = cxb_resampler_new(u->rate, q->rate, &u->resampler);
  if (err)
    return err;
  size_t room =
      q->frame + cxb_resampler_bound(u->resampler, slice_of(u)) + cxb_resampler_tail(u->resampler);
  u->ready = malloc(room * sizeof *u->ready);
  if (u->ready)
    return 0;
  cxb_resampler_free(u->resampler);
  u->resampler = NULL;
  return CXB_ENOMEM;
}

/* Converts until a frame is ready or the utterance has no more. */
static void fill(cxb_playq *q, cxb_utterance *u) {
  while (u->ready_n < q->frame && u->head) {
    cxb_chunk *chunk = u->head;
    size_t left = chunk->n - chunk->at, take = left < slice_of(u) ? left : slice_of(u);
    u->ready_n +=
        cxb_resampler_run(u->resampler, chunk->pcm + chunk->at, take, u->ready + u->ready_n);
    chunk->at += take;
    u->samples -= take;
    if (chunk->at == chunk->n) {
      u->head = chunk->next;
      if (!u->head)
        u->tail = &u->head;
      chunk_free(q, chunk);
    }
  }
  if (u->ready_n < q->frame && u->ended && !u->flushed) {
    u->ready_n += cxb_resampler_flush(u->resampler, u->ready + u->ready_n);
    u->flushed = true;
  }
}

static void remove_head(cxb_playq *q) {
  cxb_utterance *u = q->head;
  q->head = u->next;
  if (!q->head)
    q->tail = &q->head;
  while (u->head) {
    cxb_chunk *chunk = u->head;
    u->head = chunk->next;
    chunk_free(q, chunk);
  }
  cxb_resampler_free(u->resampler);
  free(u->ready);
  free(u);
}

bool cxb_playq_pull(cxb_playq *q, int16_t *frame, cxb_piece *piece) {
  cxb_utterance *u = q->head;
  if (!u || q->rate == 0)
    return false;
  int err = u->head ? prepare(q, u) : 0;
  if (err) { /* no memory to convert: it ends here */
    *piece = (cxb_piece){.utterance = u->id, .last = true, .err = err};
    remove_head(q);
    return true;
  }
  if (u->resampler)
    fill(q, u);
  if (u->ready_n < q->frame && !u->ended)
    return false;
  size_t take = u->ready_n < q->frame ? u->ready_n : q->frame;
  *piece = (cxb_piece){.utterance = u->id, .samples = take, .err = u->err};
  if (take > 0) {
    memcpy(frame, u->ready, take * sizeof *frame);
    memset(frame + take, 0, (q->frame - take) * sizeof *frame);
    u->ready_n -= take;
    memmove(u->ready, u->ready + take, u->ready_n * sizeof *frame);
  }
  piece->last = u->ended && !u->head && u->ready_n == 0 && (u->flushed || !u->resampler);
  if (piece->last)
    remove_head(q);
  return true;
}

bool cxb_playq_drop(cxb_playq *q, uint32_t *id, int *err) {
  if (!q->head)
    return false;
  *id = q->head->id;
  *err = q->head->err;
  remove_head(q);
  return true;
}
