/* cxb.log */
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../host/host.h"
#include "../host/state.h"
#include "../host/task_internal.h"
#include "log.h"

/* Is `pii` a segment of the key ("pii", "pii_text", "caller.pii")? */
static bool personal(const char *key) {
  for (const char *p = key; *p; p += strcspn(p, "._-"), p += strspn(p, "._-"))
    if (strcspn(p, "._-") == 3 && strncmp(p, "pii", 3) == 0)
      return true;
  return false;
}

/* What people say and who they are is for debugging only: at other levels the fields at 2 are
 * copied without it. */
static void drop_personal(lua_State *L) {
  lua_newtable(L);
  lua_pushnil(L);
  while (lua_next(L, 2)) {
    if (lua_type(L, -2) == LUA_TSTRING && personal(lua_tostring(L, -2))) {
      lua_pop(L, 1);
      continue;
    }
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, 3);
  }
  lua_replace(L, 2);
}

/* An error says its code and where it was written, unless its fields do. */
static void add_place(lua_State *L) {
  lua_Debug ar;
  lua_getfield(L, 2, "code");
  if (lua_isnil(L, -1)) {
    lua_pushliteral(L, "error");
    lua_setfield(L, 2, "code");
  }
  lua_getfield(L, 2, "file");
  if (lua_isnil(L, -1) && lua_getstack(L, 1, &ar) && lua_getinfo(L, "Sl", &ar)) {
    const char *file = *ar.source == '@' ? ar.source + 1 : ar.short_src;
    size_t root = strlen(cxb_root());
    bool own = strncmp(file, cxb_root(), root) == 0 && file[root] == '/';
    lua_pushstring(L, own ? file + root + 1 : file);
    lua_setfield(L, 2, "file");
    lua_pushinteger(L, ar.currentline);
    lua_setfield(L, 2, "line");
  }
  lua_settop(L, 2);
}

static int l_write(lua_State *L) {
  cxb_log_level level = (cxb_log_level)lua_tointeger(L, lua_upvalueindex(1));
  if (!cxb_log_enabled(level))
    return 0;
  const char *msg = luaL_checkstring(L, 1);
  lua_settop(L, 2);
  if (!lua_istable(L, 2)) {
    lua_newtable(L);
    lua_replace(L, 2);
  }
  if (level != CXB_LOG_DEBUG)
    drop_personal(L);
  if (level == CXB_LOG_ERROR)
    add_place(L);
  char *fields = cxb_json_fragment(L, 2);
  cxb_task *t = cxb_task_running();
  cxb_log_write_of(t ? cxb_generation_number(t->gen) : 0, level, t ? t->tags : NULL, fields, msg);
  free(fields);
  return 0;
}

static int l_level(lua_State *L) {
  cxb_log_level level;
  luaL_argcheck(L, cxb_log_level_parse(luaL_checkstring(L, 1), &level) == 0, 1,
                "debug, info, warn or error");
  cxb_log_set_level(level);
  return 0;
}

static int l_context(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  char *fields = cxb_json_fragment(L, 1);
  cxb_log_context(fields ? fields : "");
  free(fields);
  return 0;
}

static void open_log(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const char *const names[] = {"debug", "info", "warn", "error"};
  lua_newtable(L);
  for (int i = 0; i < 4; i++) {
    lua_pushinteger(L, i);
    lua_pushcclosure(L, l_write, 1);
    lua_setfield(L, -2, names[i]);
  }
  lua_pushcfunction(L, l_level);
  lua_setfield(L, -2, "level");
  lua_pushcfunction(L, l_context);
  lua_setfield(L, -2, "context");
  lua_setfield(L, -2, "log");
}

const cxb_module cxb_log_module = {.name = "log", .open = open_log};
