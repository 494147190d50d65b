/* Words of a text as a list of a script. */
#pragma once
#include <lua.h>
#include <stddef.h>

/* Pushes the list of the first `most` (1 to CXB_WORDS_MOST) different words that have at most
 * `longest` bytes; 0, or CXB_ENOMEM with nothing pushed. */
int cxb_words_push(lua_State *L, const char *text, size_t len, int most, size_t longest);
