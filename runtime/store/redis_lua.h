/* What the bindings of Redis and of its in-process twin share. */
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "../host/task.h"

/* Messages for one listener, in order, until a script takes them; at most CXB_INBOX_MAX bytes wait,
 * then they are dropped and the listener is told that it missed something. */
enum { CXB_INBOX_MAX = 8 << 20 };
typedef struct cxb_inbox cxb_inbox;

/* Pushes a new inbox on L, a userdata with receive() and close(). */
cxb_inbox *cxb_inbox_push(lua_State *L);
/* `fn(arg)` is called once, when the script closes the inbox or it is collected. */
void cxb_inbox_on_close(cxb_inbox *inbox, void (*fn)(void *arg), void *arg);
void cxb_inbox_put(cxb_inbox *inbox, const char *channel, size_t channel_len, const char *data,
                   size_t len);
/* The listener is told "up": what it knows may be out of date. */
void cxb_inbox_up(cxb_inbox *inbox);
void cxb_inbox_register(lua_State *L);

/* Adds `memory` to the cxb.redis table on top of the stack. */
void cxb_redis_memory_register(lua_State *L);
void cxb_redis_memory_stop(void);
