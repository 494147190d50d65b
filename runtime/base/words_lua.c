/* The splitter behind lua/cxb/text.lua, `require("cxb.words")`. */
#include <lauxlib.h>
#include <lua.h>

#include "../host/host.h"
#include "err.h"
#include "words.h"

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

/* distinct(text, seen, list, most, longest): adds to `list` the words of at most `longest` bytes
 * that are not in the set `seen` yet, up to `most` of them. */
static int l_distinct(lua_State *L) {
  static cxb_buf word;
  size_t len;
  const char *at = luaL_checklstring(L, 1, &len), *end = at + len;
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_Integer most = luaL_checkinteger(L, 4), longest = luaL_checkinteger(L, 5);
  int n = (int)lua_objlen(L, 3), err = 0;
  while (n < most && !(err = cxb_words_next(&at, end, &word))) {
    if (word.len > (size_t)longest)
      continue;
    lua_pushlstring(L, word.data, word.len);
    lua_pushvalue(L, -1);
    lua_rawget(L, 2);
    if (lua_isnil(L, -1)) {
      lua_pushvalue(L, -2);
      lua_pushboolean(L, 1);
      lua_rawset(L, 2);
      lua_pushvalue(L, -2);
      lua_rawseti(L, 3, ++n);
    }
    lua_pop(L, 2);
  }
  return err == CXB_ENOMEM ? luaL_error(L, "not enough memory") : 0;
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
