/* Words of a text, as they are compared and searched: ASCII letters in lower case, digits, every
 * byte of other scripts; apostrophes (' and U+2019) are dropped; everything else, the Devanagari
 * dandas and the punctuation of U+0080 to U+00BF and U+2000 to U+207F part words. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

/* Takes the next word from *at (of `end`) into `word`, which is cleared first. 0, CXB_ENOENT when
 * there is none left, or CXB_ENOMEM. */
int cxb_words_next(const char **at, const char *end, cxb_buf *word);
