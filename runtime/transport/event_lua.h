/* A call's events as scripts see them. */
#pragma once
#include <lua.h>

#include "../media/session.h"

/* Pushes the table that leg:event() returns for `event`. */
void cxb_event_push(lua_State *L, const cxb_event *event);
