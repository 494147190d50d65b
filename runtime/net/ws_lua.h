/* WebSockets of scripts (ws_lua.c), for the rest of this room. */
#pragma once
#include <lua.h>
#include <stddef.h>

/* Serves the upgrade in `head` (malloc'd, taken) from `fd` (taken); options table at `opts`.
 * Waits until it is open: the script gets conn, or nil, code, message. */
int cxb_ws_lua_accept(lua_State *L, int opts, int fd, char *head, size_t head_len);
;
