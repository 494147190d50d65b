/* Messages of channels on their way to a script. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "redis_lua.h"

#define INBOX_MT "cxb.redis.inbox"

typedef struct message {
  struct message *next;
  size_t channel_len, len;
  char text[]; /* channel, then data */
} message;

struct cxb_inbox {
  message *first, *last;
  size_t bytes;
  bool up; /* to be told before the messages */
  bool closed;
  cxb_wait waiter;
  void (*on_close)(void *arg);
  void *arg;
};

static void forget_all(cxb_inbox *inbox) {
  for (message *m = inbox->first, *next; m; m = next) {
    next = m->next;
    free(m);
  }
  inbox->first = inbox->last = NULL;
  inbox->bytes = 0;
}

/* Pushes what is next; 0 when there is nothing. */
static int push_next(lua_State *L, cxb_inbox *inbox) {
  if (inbox->up) {
    inbox->up = false;
    lua_pushliteral(L, "up");
    return 1;
  }
  message *m = inbox->first;
  if (!m)
    return 0;
  inbox->first = m->next;
  if (!m->next)
    inbox->last = NULL;
  inbox->bytes -= m->channel_len + m->len;
  lua_pushliteral(L, "message");
  lua_pushlstring(L, m->text, m->channel_len);
  lua_pushlstring(L, m->text + m->channel_len, m->len);
  free(m);
  return 3;
}

static void wake(cxb_inbox *inbox) {
  lua_State *L = cxb_wait_stack(&inbox->waiter);
  if (!L)
    return;
  cxb_wait wait = inbox->waiter;
  inbox->waiter = (cxb_wait){0, 0};
  int n = push_next(L, inbox);
  if (n > 0)
    cxb_wait_resume(&wait, n);
}

void cxb_inbox_put(cxb_inbox *inbox, const char *channel, size_t channel_len, const char *data,
                   size_t len) {
  message *m = malloc(sizeof *m + channel_len + len);
  if (!m || inbox->bytes + channel_len + len > CXB_INBOX_MAX) {
    free(m);
    forget_all(inbox);
    cxb_inbox_up(inbox);
    return;
  }
  m->next = NULL;
  m->channel_len = channel_len;
  m->len = len;
  memcpy(m->text, channel, channel_len);
  memcpy(m->text + channel_len, data, len);
  *(inbox->last ? &inbox->last->next : &inbox->first) = m;
  inbox->last = m;
  inbox->bytes += channel_len + len;
  wake(inbox);
}

void cxb_inbox_up(cxb_inbox *inbox) {
  inbox->up = true;
  wake(inbox);
}

static cxb_inbox *check_inbox(lua_State *L) {
  return luaL_checkudata(L, 1, INBOX_MT);
}

static int l_receive(lua_State *L) {
  cxb_inbox *inbox = check_inbox(L);
  if (inbox->closed) {
    lua_pushnil(L);
    lua_pushliteral(L, "closed");
    return 2;
  }
  int n = push_next(L, inbox);
  if (n > 0)
    return n;
  if (cxb_wait_stack(&inbox->waiter))
    return luaL_error(L, "receive: another task waits here already");
  int64_t ms = lua_isnoneornil(L, 2) ? -1 : (int64_t)luaL_checknumber(L, 2);
  return cxb_task_wait_ms(L, &inbox->waiter, ms, NULL, NULL);
}

static int l_close(lua_State *L) {
  cxb_inbox *inbox = check_inbox(L);
  if (inbox->closed)
    return 0;
  inbox->closed = true;
  forget_all(inbox);
  if (inbox->on_close)
    inbox->on_close(inbox->arg);
  lua_State *waiting = cxb_wait_stack(&inbox->waiter);
  if (waiting) {
    lua_pushnil(waiting);
    lua_pushliteral(waiting, "closed");
    cxb_wait_resume(&inbox->waiter, 2);
  }
  return 0;
}

cxb_inbox *cxb_inbox_push(lua_State *L) {
  cxb_inbox *inbox = lua_newuserdata(L, sizeof *inbox);
  memset(inbox, 0, sizeof *inbox);
  luaL_getmetatable(L, INBOX_MT);
  lua_setmetatable(L, -2);
  return inbox;
}

void cxb_inbox_on_close(cxb_inbox *inbox, void (*fn)(void *arg), void *arg) {
  inbox->on_close = fn;
  inbox->arg = arg;
}

void cxb_inbox_register(lua_State *L) {
  static const luaL_Reg methods[] = {{"receive", l_receive}, {"close", l_close}, {NULL, NULL}};
  luaL_newmetatable(L, INBOX_MT);
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_close);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}
