/* Sinks in scripts: one userdata, made by whoever gives a sink, emptied by whoever takes it. */
#pragma once
#include <lua.h>

#include "sink.h"

/* Pushes a userdata that owns the caller's reference. */
void cxb_sink_push(lua_State *L, cxb_sink *sink);
/* The sink at `index`, whose reference now is the caller's; raises an argument error when it is no
 * sink, or was taken before. */
cxb_sink *cxb_sink_take(lua_State *L, int index);
