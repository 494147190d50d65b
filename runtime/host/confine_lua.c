/* cxb.process.confine */
#include <lauxlib.h>
#include <lua.h>

#include "../base/confine.h"
#include "host.h"
#include "task.h"

static int l_confine(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "cpu_seconds");
  lua_getfield(L, 1, "no_files");
  cxb_confinement rules = {.cpu_s = (unsigned)luaL_optinteger(L, -2, 0),
                           .no_files = lua_toboolean(L, -1)};
  int err = cxb_confine(&rules);
  if (err)
    return cxb_push_error(L, err, "the kernel does not confine this process");
  lua_pushboolean(L, 1);
  return 1;
}

static void open_confine(lua_State *L, cxb_generation *gen) {
  (void)gen;
  lua_getfield(L, -1, "process");
  lua_pushcfunction(L, l_confine);
  lua_setfield(L, -2, "confine");
  lua_pop(L, 1);
}

const cxb_module cxb_confine_module = {.name = "confine", .open = open_confine};
