/* What the two binding files of the outbox share. */
#pragma once
#include <lua.h>

#include "../host/task.h"
#include "outbox.h"

#define CXB_OUTBOX_MT "cxb.outbox.box"

typedef struct outbox_handle {
  cxb_outbox *box; /* NULL: closed */
  lua_State *L;    /* the generation's, for `headers` */
  int headers;     /* reference, LUA_NOREF: none */
} outbox_handle;

typedef struct outbox_waiter {
  cxb_wait wait;
  lua_State *main;
  int headers; /* of open() */
} outbox_waiter;

outbox_handle *cxb_outbox_check(lua_State *L);
outbox_waiter *cxb_outbox_new_waiter(lua_State *L);
/* Waits when `err` is 0, else gives the error back and frees the waiter. */
int cxb_outbox_wait_or_fail(lua_State *L, outbox_waiter *w, int err);
/* The stack to answer on; frees the waiter. NULL: nobody waits. */
lua_State *cxb_outbox_answer_on(outbox_waiter *w, cxb_wait *wait);
int cxb_outbox_push_failure(lua_State *L, const char *code, const char *message);
/* Adds the string fields of the table on top of the stack as header lines, but the outbox's own. */
int cxb_outbox_add_headers(lua_State *L, cxb_buf *out);
/* A table of what is known of a row. */
void cxb_outbox_push_row(lua_State *L, const cxb_outbox_row *row);

/* outbox_rows_lua.c: put, list, get, replay, purge, claim_analysis … */
extern const struct luaL_Reg cxb_outbox_row_methods[];
