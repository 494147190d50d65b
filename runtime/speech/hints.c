#include "hints.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"

/* What a hint is worth, in logits: as if it were e^RAISE times as probable. */
#define RAISE 2.5f
enum { MAX_TOKENS = 24 };

typedef struct sequence {
  size_t n;
  int64_t tokens[MAX_TOKENS];
} sequence;

struct cxb_hints {
  atomic_int refs;
  size_t n;
  sequence list[2 * CXB_HINTS_MAX];
};

static void add(cxb_hints *hints, const cxb_vocab *vocab, const char *word) {
  sequence *s = &hints->list[hints->n];
  s->n = cxb_vocab_encode(vocab, word, s->tokens, MAX_TOKENS);
  if (s->n > 0)
    hints->n++;
}

int cxb_hints_new(const cxb_vocab *vocab, const char *const *words, size_t n, cxb_hints **out) {
  if (n > CXB_HINTS_MAX)
    return CXB_ETOOBIG;
  cxb_hints *hints = calloc(1, sizeof *hints);
  if (!hints)
    return CXB_ENOMEM;
  atomic_init(&hints->refs, 1);
  for (size_t i = 0; i < n; i++) {
    char capital[128];
    add(hints, vocab, words[i]);
    if (!islower((unsigned char)words[i][0]) || strlen(words[i]) >= sizeof capital)
      continue;
    strcpy(capital, words[i]);
    capital[0] = (char)toupper((unsigned char)capital[0]);
    add(hints, vocab, capital);
  }
  *out = hints;
  return 0;
}

cxb_hints *cxb_hints_ref(cxb_hints *hints) {
  if (hints)
    atomic_fetch_add(&hints->refs, 1);
  return hints;
}

void cxb_hints_release(cxb_hints *hints) {
  if (hints && atomic_fetch_sub(&hints->refs, 1) == 1)
    free(hints);
}

/* Whether the tokens so far end with the first `k` of the sequence. */
static bool begun(const sequence *s, size_t k, const int64_t *tokens, size_t n) {
  return k == 0 || (k <= n && memcmp(tokens + n - k, s->tokens, k * sizeof *tokens) == 0);
}

int64_t cxb_hints_choose(const cxb_hints *hints, const int64_t *tokens, size_t n,
                         const float *logits, size_t nlogits, float best) {
  int64_t chosen = -1;
  for (size_t i = 0; i < hints->n; i++) {
    const sequence *s = &hints->list[i];
    for (size_t k = 0; k < s->n; k++) {
      if ((uint64_t)s->tokens[k] >= nlogits || !begun(s, k, tokens, n))
        continue;
      float raised = logits[s->tokens[k]] + RAISE;
      if (raised > best) {
        best = raised;
        chosen = s->tokens[k];
      }
    }
  }
  return chosen;
}
