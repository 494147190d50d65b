/* The part of cxb.crypto that waits. */
#pragma once
#include <lua.h>

int cxb_l_password_hash(lua_State *L);
int cxb_l_password_verify(lua_State *L);
