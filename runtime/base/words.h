/* Words of a text, as they are compared and searched: ASCII letters in lower case, digits, every
 * byte of other scripts; apostrophes (' and U+2019) are dropped; everything else, the Devanagari
 * dandas and the punctuation of U+0080 to U+00BF and U+2000 to U+207F part words. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* Takes the next word from *at (of `end`) into `word`, which is cleared first. 0, CXB_ENOENT when
 * there is none left, or CXB_ENOMEM. */
int cxb_words_next(const char **at, const char *end, cxb_buf *word);

enum { CXB_WORDS_MOST = 512, CXB_WORDS_SLOTS = 1024 };

/* Different words in the order they first came: word i ends at bytes.data + ends[i], where the next
 * one begins. */
typedef struct cxb_words {
  cxb_buf bytes, word;
  int count;
  uint32_t ends[CXB_WORDS_MOST];
  uint64_t heads[CXB_WORDS_MOST];  /* their first eight bytes */
  uint16_t slots[CXB_WORDS_SLOTS]; /* by hash: 0, or one more than the number of a word */
} cxb_words;

/* Fills `set`, whose buffers are kept, with the first `most` (CXB_WORDS_MOST) different words of a
 * text that have at most `longest` bytes. 0 or CXB_ENOMEM. */
int cxb_words_distinct(cxb_words *set, const char *text, size_t len, int most, size_t longest);
