/* cxb.phone */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "../base/err.h"
#include "../host/host.h"
#include "../host/task.h"
#include "contacts_lua.h"
#include "phone.h"
#include "zones.h"

void cxb_contacts_need_zones(lua_State *L) {
  char path[4200];
  lua_pushfstring(L, "%s/lua/cxb/campaign/data/phone_zones.tsv", cxb_root());
  strncpy(path, lua_tostring(L, -1), sizeof path - 1);
  path[sizeof path - 1] = '\0';
  lua_pop(L, 1);
  int err = cxb_zones_load(path);
  if (err)
    luaL_error(L, "%s: %s", path, cxb_strerror(err));
}

void cxb_contacts_need_phones(lua_State *L) {
  const char *why = cxb_phone_why();
  if (why)
    luaL_error(L, "numbers cannot be read: %s", why);
}

static int l_parse(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len), *region = luaL_checkstring(L, 2);
  cxb_contacts_need_phones(L);
  cxb_phone_number number;
  if (cxb_phone_parse(text, len, region, true, &number) != 0)
    return cxb_push_error(L, CXB_EINVAL, "not a telephone number");
  lua_createtable(L, 0, 4);
  lua_pushstring(L, number.e164);
  lua_setfield(L, -2, "e164");
  if (number.region[0])
    lua_pushstring(L, number.region);
  else
    lua_pushnil(L);
  lua_setfield(L, -2, "region");
  lua_pushboolean(L, number.possible);
  lua_setfield(L, -2, "possible");
  lua_pushboolean(L, number.valid);
  lua_setfield(L, -2, "valid");
  return 1;
}

static int l_region(lua_State *L) {
  const char *region = luaL_checkstring(L, 1);
  cxb_contacts_need_phones(L);
  lua_pushboolean(L, cxb_phone_region(region));
  return 1;
}

static int l_zones(lua_State *L) {
  const char *e164 = luaL_checkstring(L, 1);
  luaL_argcheck(L, e164[0] == '+', 1, "a number in E.164 form");
  cxb_contacts_need_zones(L);
  const char *zones = cxb_zones_of(e164);
  if (!zones)
    return 0;
  lua_pushstring(L, zones);
  return 1;
}

static void open_phone(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg fns[] = {
      {"parse", l_parse}, {"known_region", l_region}, {"zones", l_zones}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, fns);
  lua_setfield(L, -2, "phone");
}

const cxb_module cxb_phone_module_lua = {.name = "phone", .open = open_phone};
