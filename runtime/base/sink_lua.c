/* Sinks in scripts. */
#include "sink_lua.h"

#include <lauxlib.h>

static int l_gc(lua_State *L) {
  cxb_sink **ud = lua_touserdata(L, 1);
  if (*ud)
    (*ud)->release(*ud);
  *ud = NULL;
  return 0;
}

void cxb_sink_push(lua_State *L, cxb_sink *sink) {
  cxb_sink **ud = lua_newuserdata(L, sizeof *ud);
  *ud = sink;
  if (luaL_newmetatable(L, CXB_SINK_MT)) {
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
}

cxb_sink *cxb_sink_take(lua_State *L, int index) {
  cxb_sink **ud = luaL_checkudata(L, index, CXB_SINK_MT);
  cxb_sink *sink = *ud;
  luaL_argcheck(L, sink != NULL, index, "a sink that has not been used yet");
  *ud = NULL;
  return sink;
}
