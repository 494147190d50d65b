/* The splitter behind lua/cxb/text.lua, `require("cxb.words")`. */
#include <lauxlib.h>
#include <lua.h>

#include "../host/host.h"
#include "err.h"
#include "words.h"
#include "words_lua.h"

/* words(text) → list */
static int l_words(lua_State *L) {
  static cxb_buf word; /* one for all: an error on the way leaks nothing */
  size_t len;
  const char *at = luaL_checklstring(L, 1, &len), *end = at + len;
  int n = 0, err;
  lua_newtable(L);
  while (!(err = cxb_words_next(&at, end, &word))) {
    lua_pushlstring(L, word.data, word.len);
    lua_rawseti(L, -2, ++n);
  }
  return err == CXB_ENOMEM ? luaL_error(L, "not enough memory") : 1;
}

int cxb_words_push(lua_State *L, const char *text, size_t len, int most, size_t longest) {
  static cxb_words set;
  if (cxb_words_distinct(&set, text, len, most, longest))
    return CXB_ENOMEM;
  lua_createtable(L, set.count, 0);
  for (int i = 0; i < set.count; i++) {
    size_t from = i > 0 ? set.ends[i - 1] : 0;
    lua_pushlstring(L, set.bytes.data + from, set.ends[i] - from);
    lua_rawseti(L, -2, i + 1);
  }
  return 0;
}

/* distinct(text, most, longest) → list of the first `most` different words of at most `longest`
 * bytes */
static int l_distinct(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  lua_Integer most = luaL_checkinteger(L, 2), longest = luaL_checkinteger(L, 3);
  luaL_argcheck(L, most > 0 && most <= CXB_WORDS_MOST, 2, "1 to 512 words");
  luaL_argcheck(L, longest > 0, 3, "bytes");
  if (cxb_words_push(L, text, len, (int)most, (size_t)longest))
    return luaL_error(L, "not enough memory");
  return 1;
}

static void open_words(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg fns[] = {{"words", l_words}, {"distinct", l_distinct}, {NULL, NULL}};
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "loaded");
  lua_newtable(L);
  luaL_register(L, NULL, fns);
  lua_setfield(L, -2, "cxb.words");
  lua_pop(L, 2);
}

const cxb_module cxb_words_module = {.name = "words", .open = open_words};
