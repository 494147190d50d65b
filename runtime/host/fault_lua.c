/* cxb.fault */
#include <lauxlib.h>
#include <lua.h>

#include "../base/fault.h"
#include "host.h"
#include "task.h"

static int l_arm(lua_State *L) {
  int err = cxb_fault_arm(luaL_checkstring(L, 1));
  if (err)
    return cxb_push_error(L, err, NULL);
  lua_pushboolean(L, 1);
  return 1;
}

static int l_pass(lua_State *L) {
  const char *step = luaL_checkstring(L, 1);
  cxb_fault(step);
  return 0;
}

static void open_fault(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg fns[] = {{"arm", l_arm}, {"pass", l_pass}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, fns);
  lua_setfield(L, -2, "fault");
}

const cxb_module cxb_fault_module = {.name = "fault", .open = open_fault};
