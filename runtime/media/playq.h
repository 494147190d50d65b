/* The play queue: utterances in order of begin, each a stream of samples at a rate of its own, out
 * as frames at the leg's rate. Media loop only. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resample.h"

/* Audio on its way into the queue; malloc()ed, owned by whoever holds it. */
typedef struct cxb_chunk {
  struct cxb_chunk *next;
  size_t n, at; /* samples, of these consumed */
  int64_t us;   /* its length, as added to queued_us */
  int16_t pcm[];
} cxb_chunk;

typedef struct cxb_utterance {
  struct cxb_utterance *next;
  uint32_t id;
  int rate;
  bool ended, flushed;
  int err; /* how its source ended */
  cxb_chunk *head, **tail;
  size_t samples;           /* in the chunks, not consumed */
  cxb_resampler *resampler; /* made at the first frame */
  int16_t *ready;           /* at the leg's rate, not yet a frame */
  size_t ready_n;
} cxb_utterance;

typedef struct cxb_playq {
  int rate;                   /* of the leg; 0: not known yet, nothing comes out */
  size_t frame;               /* samples of a frame */
  _Atomic int64_t *queued_us; /* what the chunks hold, added by the pusher, taken off here */
  cxb_utterance *head, **tail;
  cxb_chunk *spare; /* of one frame, used up */
} cxb_playq;

/* What one pull gave. */
typedef struct cxb_piece {
  uint32_t utterance;
  size_t samples; /* real ones in the frame, the rest is padding; 0: no frame, only the end */
  bool last;      /* nothing of this utterance follows */
  int err;        /* with last: how its source ended */
} cxb_piece;

void cxb_playq_init(cxb_playq *q, _Atomic int64_t *queued_us);
int cxb_playq_start(cxb_playq *q, int rate);
/* CXB_ENOMEM. */
int cxb_playq_begin(cxb_playq *q, uint32_t id, int rate);
void cxb_playq_free(cxb_playq *q); /* an empty one */
/* A chunk of `n` samples at the leg's rate, the spare one when it fits; NULL: no memory. */
cxb_chunk *cxb_playq_chunk(cxb_playq *q, size_t n);
/* Takes the chunk (n, us, pcm set); one for an utterance not, or no more, in the queue is freed. */
void cxb_playq_push(cxb_playq *q, uint32_t id, cxb_chunk *chunk);
void cxb_playq_end(cxb_playq *q, uint32_t id, int err);
/* A pull may give something: the head has a frame's worth, or has ended. */
bool cxb_playq_ready(const cxb_playq *q);
/* The next frame (`frame` has room for one) or the end of an utterance; false: nothing now. An
 * utterance that ended leaves the queue with its last piece. */
bool cxb_playq_pull(cxb_playq *q, int16_t *frame, cxb_piece *piece);
/* Takes the first utterance out, unplayed; false: empty. */
bool cxb_playq_drop(cxb_playq *q, uint32_t *id, int *err);
