/* cxb.time */
#include <lauxlib.h>
#include <lua.h>

#include "../base/time.h"
#include "host.h"
#include "task_internal.h"

static int l_now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)cxb_now_ms());
  return 1;
}

static int l_mono(lua_State *L) {
  lua_pushnumber(L, (lua_Number)cxb_mono_ns() / 1e6);
  return 1;
}

static int l_sleep(lua_State *L) {
  lua_Number ms = luaL_checknumber(L, 1);
  luaL_argcheck(L, ms >= 0 && ms <= 1e12, 1, "milliseconds, not negative");
  return cxb_task_sleep(L, (int64_t)(ms + 0.5));
}

static int l_iso(lua_State *L) {
  char out[CXB_ISO_LEN];
  cxb_iso_time(out, lua_isnoneornil(L, 1) ? cxb_now_ms() : (int64_t)luaL_checknumber(L, 1));
  lua_pushstring(L, out);
  return 1;
}

static void open_time(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg fns[] = {
      {"now", l_now}, {"mono", l_mono}, {"sleep", l_sleep}, {"iso", l_iso}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, fns);
  lua_setfield(L, -2, "time");
}

const cxb_module cxb_time_module = {.name = "time", .open = open_time};
