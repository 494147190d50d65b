/* What was said between two finals: speech in chunks the model can take, and their texts. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CXB_TURN_RATE      16000
#define CXB_TURN_MAX_CHUNK (25 * CXB_TURN_RATE) /* samples */
#define CXB_TURN_ID_BYTES  65                   /* of a final's name, with its NUL */

typedef struct cxb_chunk cxb_chunk;
struct cxb_chunk {
  cxb_chunk *next;
  uint64_t serial; /* unique in the process */
  int16_t *pcm;    /* NULL once frozen and decoded */
  size_t n, cap;
  bool frozen;  /* nothing is added any more */
  bool decoded; /* text is that of the first decoded_n samples */
  size_t decoded_n;
  char *text; /* NULL or owned */
  double confidence;
  int tokens;
};

typedef struct cxb_turn cxb_turn;
struct cxb_turn {
  cxb_turn *next;
  cxb_chunk *first, *last;
  int nchunks;
  int64_t start_ms, end_ms; /* of the speech in the stream; -1: none */
  int compute_ms;
  char id[CXB_TURN_ID_BYTES];
};

cxb_turn *cxb_turn_new(void); /* NULL when out of memory */
void cxb_turn_free(cxb_turn *turn);

/* Adds speech. A chunk that grew too long is cut at its quietest moment of the last seconds; a turn
 * of more than 24 chunks (10 minutes) loses its oldest. CXB_ENOMEM: nothing was added. */
int cxb_turn_append(cxb_turn *turn, const int16_t *pcm, size_t n);
/* What comes from now on belongs to another chunk. */
void cxb_turn_freeze(cxb_turn *turn);

/* The first chunk whose text is not that of all its audio; only frozen ones when `all` is false. */
cxb_chunk *cxb_turn_undecoded(const cxb_turn *turn, bool all);
/* The chunk with this serial in a list of turns, or NULL. */
cxb_chunk *cxb_turn_find(cxb_turn *list, uint64_t serial);
/* Keeps the text of the chunk's first `n` samples (copied). */
int cxb_chunk_decoded(cxb_chunk *chunk, size_t n, const char *text, double confidence, int tokens);

/* The chunks' texts, joined by spaces; malloc()ed, NULL when out of memory. `confidence` (may be
 * NULL): mean over the chunks, weighted by tokens; 0 for "". */
char *cxb_turn_text(const cxb_turn *turn, double *confidence);
