/* Words a caller is likely to say now ("yes", "no", digits, product names): the decoder prefers
 * them where the sound leaves room. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "vocab.h"

#define CXB_HINTS_MAX 128 /* words or phrases */

typedef struct cxb_hints cxb_hints;

/* Each word is known as written and with a capital letter; those without tokens are left out. The
 * caller holds the only reference.
 * CXB_ETOOBIG: more than CXB_HINTS_MAX. */
int cxb_hints_new(const cxb_vocab *vocab, const char *const *words, size_t n, cxb_hints **out);
/* One more reference, any thread; answers `hints`. Both take NULL. */
cxb_hints *cxb_hints_ref(cxb_hints *hints);
void cxb_hints_release(cxb_hints *hints);

/* After the tokens so far: the hinted token whose logit, raised, is above `best` and above that of
 * the other hints; or -1. `tokens`: without the start token. */
int64_t cxb_hints_choose(const cxb_hints *hints, const int64_t *tokens, size_t n,
                         const float *logits, size_t nlogits, float best);
