#include "turn.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"

enum {
  MAX_CHUNKS = 24,
  CUT_SEARCH = 4 * CXB_TURN_RATE, /* samples before the end in which a cut is sought */
  CUT_FRAME = CXB_TURN_RATE / 50, /* 20 ms */
  CUT_SPAN = 5,                   /* frames that must be quiet together */
};

cxb_turn *cxb_turn_new(void) {
  cxb_turn *turn = calloc(1, sizeof *turn);
  if (turn)
    turn->start_ms = turn->end_ms = -1;
  return turn;
}

static void chunk_free(cxb_chunk *chunk) {
  free(chunk->pcm);
  free(chunk->text);
  free(chunk);
}

void cxb_turn_free(cxb_turn *turn) {
  if (!turn)
    return;
  while (turn->first) {
    cxb_chunk *chunk = turn->first;
    turn->first = chunk->next;
    chunk_free(chunk);
  }
  free(turn);
}

static cxb_chunk *add_chunk(cxb_turn *turn) {
  static atomic_uint_fast64_t serial;
  cxb_chunk *chunk = calloc(1, sizeof *chunk);
  if (!chunk)
    return NULL;
  chunk->serial = atomic_fetch_add(&serial, 1) + 1;
  if (turn->last)
    turn->last->next = chunk;
  else
    turn->first = chunk;
  turn->last = chunk;
  if (++turn->nchunks > MAX_CHUNKS) {
    cxb_chunk *oldest = turn->first;
    turn->first = oldest->next;
    turn->nchunks--;
    chunk_free(oldest);
  }
  return chunk;
}

static int reserve(cxb_chunk *chunk, size_t n) {
  if (chunk->n + n <= chunk->cap)
    return 0;
  size_t cap = chunk->cap ? chunk->cap : CXB_TURN_RATE;
  while (cap < chunk->n + n)
    cap *= 2;
  int16_t *pcm = realloc(chunk->pcm, cap * sizeof *pcm);
  if (!pcm)
    return CXB_ENOMEM;
  chunk->pcm = pcm;
  chunk->cap = cap;
  return 0;
}

/* Sample at the middle of the quietest 100 ms near the end. */
static size_t quiet_point(const cxb_chunk *chunk) {
  size_t from = chunk->n - CUT_SEARCH, best_at = chunk->n;
  double best = 0;
  for (size_t at = from; at + CUT_FRAME * CUT_SPAN <= chunk->n; at += CUT_FRAME) {
    double energy = 0;
    for (size_t i = 0; i < CUT_FRAME * CUT_SPAN; i++)
      energy += (double)chunk->pcm[at + i] * chunk->pcm[at + i];
    if (best_at == chunk->n || energy < best) {
      best = energy;
      best_at = at + CUT_FRAME * CUT_SPAN / 2;
    }
  }
  return best_at;
}

static int cut(cxb_turn *turn) {
  cxb_chunk *full = turn->last;
  size_t at = quiet_point(full);
  cxb_chunk *rest = add_chunk(turn);
  if (!rest)
    return CXB_ENOMEM;
  if (reserve(rest, full->n - at) == 0) {
    rest->n = full->n - at;
    memcpy(rest->pcm, full->pcm + at, rest->n * sizeof *rest->pcm);
    full->n = at;
  }
  full->frozen = true;
  return 0;
}

int cxb_turn_append(cxb_turn *turn, const int16_t *pcm, size_t n) {
  while (n > 0) {
    cxb_chunk *chunk = turn->last && !turn->last->frozen ? turn->last : add_chunk(turn);
    if (!chunk)
      return CXB_ENOMEM;
    size_t room = CXB_TURN_MAX_CHUNK - chunk->n, piece = n < room ? n : room;
    if (reserve(chunk, piece) != 0)
      return CXB_ENOMEM;
    memcpy(chunk->pcm + chunk->n, pcm, piece * sizeof *pcm);
    chunk->n += piece;
    pcm += piece;
    n -= piece;
    if (chunk->n == CXB_TURN_MAX_CHUNK && cut(turn) != 0)
      return CXB_ENOMEM;
  }
  return 0;
}

void cxb_turn_freeze(cxb_turn *turn) {
  if (turn->last)
    turn->last->frozen = true;
}

cxb_chunk *cxb_turn_undecoded(const cxb_turn *turn, bool all) {
  for (cxb_chunk *chunk = turn->first; chunk; chunk = chunk->next)
    if ((all || chunk->frozen) && !(chunk->decoded && chunk->decoded_n == chunk->n))
      return chunk;
  return NULL;
}

cxb_chunk *cxb_turn_find(cxb_turn *list, uint64_t serial) {
  for (; list; list = list->next)
    for (cxb_chunk *chunk = list->first; chunk; chunk = chunk->next)
      if (chunk->serial == serial)
        return chunk;
  return NULL;
}

int cxb_chunk_decoded(cxb_chunk *chunk, size_t n, const char *text, double confidence, int tokens) {
  char *copy = strdup(text);
  if (!copy)
    return CXB_ENOMEM;
  free(chunk->text);
  chunk->text = copy;
  chunk->confidence = confidence;
  chunk->tokens = tokens;
  chunk->decoded = true;
  chunk->decoded_n = n;
  if (chunk->frozen && n == chunk->n) {
    free(chunk->pcm);
    chunk->pcm = NULL;
  }
  return 0;
}

char *cxb_turn_text(const cxb_turn *turn, double *confidence) {
  size_t size = 1;
  double sum = 0;
  int tokens = 0;
  for (const cxb_chunk *chunk = turn->first; chunk; chunk = chunk->next)
    size += chunk->text ? strlen(chunk->text) + 1 : 0;
  char *out = malloc(size), *at = out;
  if (!out)
    return NULL;
  for (const cxb_chunk *chunk = turn->first; chunk; chunk = chunk->next) {
    if (!chunk->text || !chunk->text[0])
      continue;
    if (at != out)
      *at++ = ' ';
    at = stpcpy(at, chunk->text);
    sum += chunk->confidence * chunk->tokens;
    tokens += chunk->tokens;
  }
  *at = 0;
  if (confidence)
    *confidence = tokens > 0 && out[0] ? sum / tokens : 0;
  return out;
}
