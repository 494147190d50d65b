/* Lua states. */
#include "state.h"

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"
#include "../base/err.h"

static void *allocate(void *ud, void *ptr, size_t osize, size_t nsize) {
  cxb_memory *m = ud;
  if (m->enforce && nsize > osize && m->cap && m->used - osize + nsize > m->cap) {
    m->refused = true;
    return NULL;
  }
  void *p = cxb_slab_resize(&m->slab, ptr, osize, nsize);
  if (p || nsize == 0) {
    m->used += nsize - osize;
    if (m->used > m->peak)
      m->peak = m->used;
  }
  return p;
}

static void set_path(lua_State *L, const char *field, const char *own) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, field);
  lua_pushfstring(L, "%s%s", own, lua_tostring(L, -1));
  lua_setfield(L, -3, field);
  lua_pop(L, 2);
}

/* Installed scripts come first, then what Debian ships for Lua 5.1. */
static void set_paths(lua_State *L, const char *root) {
  cxb_buf path = {0};
  const char *const rooms[] = {"lua", "api", "dialler", "deploy", "spec"};
  for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
    cxb_buf_printf(&path, "%s/%s/?.lua;%s/%s/?/init.lua;", root, rooms[i], root, rooms[i]);
  cxb_buf_str(&path, "/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?/init.lua;");
  set_path(L, "path", path.data);
  set_path(L, "cpath",
           "/usr/lib/x86_64-linux-gnu/lua/5.1/?.so;/usr/lib/aarch64-linux-gnu/lua/5.1/?.so;");
  cxb_buf_free(&path);
}

static int open_all(lua_State *L) {
  luaL_openlibs(L);
  /* Interpreted: a count hook cannot interrupt a compiled loop, and this LuaJIT (2022-03) compiles
   * pairs() wrongly: traces that join such a loop find an empty table. */
  luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
  set_paths(L, lua_touserdata(L, 1));
  return 0;
}

lua_State *cxb_state_new(cxb_memory *memory, const char *root) {
  lua_State *L = lua_newstate(allocate, memory);
  if (!L)
    return NULL;
  if (lua_cpcall(L, open_all, (void *)root) != 0) {
    cxb_state_close(L, memory);
    return NULL;
  }
  return L;
}

void cxb_state_close(lua_State *L, cxb_memory *memory) {
  lua_close(L);
  cxb_slab_free(&memory->slab);
}

static int refuse_write(lua_State *L) {
  return luaL_error(L, "cxb is read only (field '%s')", luaL_optstring(L, 2, "?"));
}

void cxb_state_seal(lua_State *L) {
  int table = lua_gettop(L);
  lua_newtable(L);
  lua_newtable(L);
  lua_newtable(L); /* table, proxy, metatable, contents */
  lua_pushnil(L);
  while (lua_next(L, table)) {
    if (lua_istable(L, -1) &&
        !(lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), "args") == 0))
      cxb_state_seal(L);
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, table + 3);
  }
  lua_setfield(L, table + 2, "__index");
  lua_pushcfunction(L, refuse_write);
  lua_setfield(L, table + 2, "__newindex");
  lua_pushboolean(L, 0);
  lua_setfield(L, table + 2, "__metatable");
  lua_setmetatable(L, table + 1);
  lua_replace(L, table);
}

static void push_cjson(lua_State *L, const char *fn) {
  lua_getfield(L, LUA_REGISTRYINDEX, "cxb.cjson");
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "cjson.safe");
    lua_call(L, 1, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, "cxb.cjson");
  }
  lua_getfield(L, -1, fn);
  lua_remove(L, -2);
}

int cxb_json_decode(lua_State *L, const char *text, size_t len) {
  push_cjson(L, "decode");
  lua_pushlstring(L, text, len);
  if (lua_pcall(L, 1, 1, 0) != 0 || lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return CXB_EINVAL;
  }
  return 0;
}

int cxb_json_encode(lua_State *L) {
  push_cjson(L, "encode");
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 2, 0) != 0)
    return CXB_EINVAL;
  if (!lua_isnil(L, -2)) {
    lua_pop(L, 1);
    return 0;
  }
  lua_remove(L, -2);
  return CXB_EINVAL;
}

char *cxb_json_fragment(lua_State *L, int index) {
  cxb_buf b = {0};
  lua_pushnil(L);
  while (lua_next(L, index)) {
    if (lua_type(L, -2) == LUA_TSTRING) {
      size_t len;
      const char *key = lua_tolstring(L, -2, &len);
      size_t start = b.len;
      if (b.len)
        cxb_buf_str(&b, ",");
      cxb_buf_json(&b, key, len);
      cxb_buf_str(&b, ":");
      if (lua_type(L, -1) == LUA_TSTRING) { /* mostly */
        const char *text = lua_tolstring(L, -1, &len);
        cxb_buf_json(&b, text, len);
      } else if (cxb_json_encode(L) == 0) {
        const char *text = lua_tolstring(L, -1, &len);
        cxb_buf_add(&b, text, len);
      } else {
        b.len = start;
      }
    }
    lua_pop(L, 1);
  }
  if (b.len == 0) {
    cxb_buf_free(&b);
    return NULL;
  }
  return b.data;
}
