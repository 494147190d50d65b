/* cxb.mongo: what loads it. */
#include <lauxlib.h>
#include <lua.h>

#include "../base/err.h"
#include "../host/host.h"
#include "../host/loadable.h"
#include "../host/task.h"

static int l_open(lua_State *L) {
  static lua_CFunction open;
  char why[256];
  if (!open)
    *(void **)&open = cxb_loadable_symbol("cxb_mongo", "cxb_mongo_l_open", why, sizeof why);
  return open ? open(L) : cxb_push_error(L, CXB_EUNSUPPORTED, "%s", why);
}

static void open_mongo(lua_State *L, cxb_generation *gen) {
  (void)gen;
  lua_newtable(L);
  lua_pushcfunction(L, l_open);
  lua_setfield(L, -2, "open");
  lua_setfield(L, -2, "mongo");
}

const cxb_module cxb_mongo_module = {.name = "mongo", .open = open_mongo};
