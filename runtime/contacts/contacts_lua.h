/* Shared by the bindings of this room. */
#pragma once
#include <lua.h>

/* Loads the map of zones; a Lua error when it cannot be read. */
void cxb_contacts_need_zones(lua_State *L);
/* Loads libphonenumber; a Lua error when it cannot be. */
void cxb_contacts_need_phones(lua_State *L);
