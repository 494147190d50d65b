/* cxb.log */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

#include "../host/host.h"
#include "../host/state.h"
#include "../host/task_internal.h"
#include "log.h"

static int l_write(lua_State *L) {
  cxb_log_level level = (cxb_log_level)lua_tointeger(L, lua_upvalueindex(1));
  if (!cxb_log_enabled(level))
    return 0;
  const char *msg = luaL_checkstring(L, 1);
  char *fields = lua_istable(L, 2) ? cxb_json_fragment(L, 2) : NULL;
  cxb_task *t = cxb_task_running();
  cxb_log_write(level, t ? t->tags : NULL, fields, msg);
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
