/* cxb.redis.memory(): the in-process twin of Redis. It lives in a Lua state of its own beside the
 * generations (lua/cxb/cache/memory.lua), as long as the process does: what one generation counts,
 * holds or publishes, the next one finds. Commands answer at once. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/time.h"
#include "../host/host.h"
#include "../host/state.h"
#include "../observe/log.h"
#include "redis_lua.h"

#define MEMORY_MT "cxb.redis.memory"

typedef struct listener {
  struct listener *next;
  cxb_inbox *inbox; /* NULL: closed */
  size_t prefix_len;
  char prefix[]; /* of the channels it hears */
} listener;

static cxb_memory memory;
static lua_State *twin; /* the module's table is at 1 */
static listener *listeners;

/* ---- channels ---- */

/* publish(channel, data): to every listener of the process; how many there were. */
static int l_publish(lua_State *T) {
  size_t channel_len, len;
  const char *channel = luaL_checklstring(T, 1, &channel_len);
  const char *data = luaL_checklstring(T, 2, &len);
  int heard = 0;
  for (listener *l = listeners; l; l = l->next)
    if (l->inbox && channel_len >= l->prefix_len &&
        memcmp(channel, l->prefix, l->prefix_len) == 0) {
      cxb_inbox_put(l->inbox, channel, channel_len, data, len);
      heard++;
    }
  lua_pushinteger(T, heard);
  return 1;
}

static void close_listener(void *arg) {
  listener *l = arg;
  for (listener **at = &listeners; *at; at = &(*at)->next)
    if (*at == l) {
      *at = l->next;
      break;
    }
  free(l);
}

/* ---- the twin's state ---- */

static int load_twin(lua_State *T) {
  lua_getglobal(T, "require");
  lua_pushliteral(T, "cxb.cache.memory");
  lua_call(T, 1, 1);
  lua_getfield(T, -1, "new");
  lua_pushcfunction(T, l_publish);
  lua_call(T, 1, 1);
  lua_setfield(T, LUA_REGISTRYINDEX, "cxb.twin");
  return 0;
}

/* NULL with the cause in `why`. */
static lua_State *state(char *why, size_t len) {
  if (twin)
    return twin;
  lua_State *T = cxb_state_new(&memory, cxb_root());
  if (!T) {
    snprintf(why, len, "out of memory");
    return NULL;
  }
  if (lua_cpcall(T, load_twin, NULL) != 0) {
    snprintf(why, len, "%s", lua_tostring(T, -1));
    cxb_state_close(T, &memory);
    return NULL;
  }
  return twin = T;
}

/* Copies a reply: strings, numbers, lists; false is Redis' nil. */
static void copy_reply(lua_State *T, int index, lua_State *L) {
  size_t len;
  const char *s;
  luaL_checkstack(L, 4, "reply too deep");
  switch (lua_type(T, index)) {
  case LUA_TNUMBER:
    lua_pushnumber(L, lua_tonumber(T, index));
    return;
  case LUA_TSTRING:
    s = lua_tolstring(T, index, &len);
    lua_pushlstring(L, s, len);
    return;
  case LUA_TTABLE:
    lua_newtable(L);
    for (int i = 1; i <= (int)lua_objlen(T, index); i++) {
      lua_rawgeti(T, index, i);
      copy_reply(T, lua_gettop(T), L);
      lua_pop(T, 1);
      lua_rawseti(L, -2, i);
    }
    return;
  default:
    lua_pushlightuserdata(L, NULL);
  }
}

static int push_failure(lua_State *L, const char *message) {
  lua_pushnil(L);
  lua_pushliteral(L, "error");
  lua_pushstring(L, message);
  return 3;
}

typedef struct work {
  lua_State *L;
  const char *method;
  const char *source; /* of a script */
  size_t source_len;
  int first, keys, args; /* words on L: keys, then arguments */
} work;

static void push_words(lua_State *T, lua_State *L, int first, int count) {
  luaL_checkstack(T, 8, "too many words");
  lua_createtable(T, count, 0);
  for (int i = 0; i < count; i++) {
    size_t len;
    const char *s = lua_tolstring(L, first + i, &len);
    lua_pushlstring(T, s ? s : "", s ? len : 0);
    lua_rawseti(T, -2, i + 1);
  }
}

/* twin:method(now, [source,] keys, args), its reply left on T. */
static int run_work(lua_State *T) {
  const work *w = lua_touserdata(T, 1);
  lua_settop(T, 0);
  lua_getfield(T, LUA_REGISTRYINDEX, "cxb.twin");
  lua_getfield(T, 1, w->method);
  lua_insert(T, 1);
  lua_pushnumber(T, (lua_Number)cxb_now_ms());
  if (w->source)
    lua_pushlstring(T, w->source, w->source_len);
  push_words(T, w->L, w->first, w->keys);
  push_words(T, w->L, w->first + w->keys, w->args);
  lua_call(T, w->source ? 5 : 4, 1);
  return 1;
}

static int perform(work *w) {
  char why[256];
  lua_State *L = w->L, *T = state(why, sizeof why);
  if (!T)
    return push_failure(L, why);
  for (int i = 0; i < w->keys + w->args; i++)
    luaL_checkstring(L, w->first + i);
  lua_settop(T, 0);
  lua_pushcfunction(T, run_work);
  lua_pushlightuserdata(T, w);
  if (lua_pcall(T, 1, 1, 0) != 0) {
    int n = push_failure(L, lua_tostring(T, -1));
    lua_settop(T, 0);
    return n;
  }
  copy_reply(T, 1, L);
  lua_settop(T, 0);
  return 1;
}

/* ---- methods ---- */

static int l_call(lua_State *L) {
  luaL_checkudata(L, 1, MEMORY_MT);
  work w = {.L = L, .method = "command", .first = 2, .args = lua_gettop(L) - 1};
  return perform(&w);
}

static int push_list(lua_State *L, int index) {
  luaL_checktype(L, index, LUA_TTABLE);
  int n = (int)lua_objlen(L, index);
  luaL_checkstack(L, n + 4, "too many words");
  for (int i = 1; i <= n; i++)
    lua_rawgeti(L, index, i);
  return n;
}

static int l_script(lua_State *L) {
  luaL_checkudata(L, 1, MEMORY_MT);
  work w = {.L = L, .method = "script", .first = 5};
  w.source = luaL_checklstring(L, 2, &w.source_len);
  lua_settop(L, 4);
  w.keys = push_list(L, 3);
  w.args = push_list(L, 4);
  return perform(&w);
}

static int l_listen(lua_State *L) {
  luaL_checkudata(L, 1, MEMORY_MT);
  size_t len;
  const char *pattern = luaL_checklstring(L, 2, &len);
  luaL_argcheck(L, len > 0 && pattern[len - 1] == '*', 2, "a prefix and *");
  listener *l = malloc(sizeof *l + len);
  if (!l)
    return luaL_error(L, "out of memory");
  memcpy(l->prefix, pattern, len - 1);
  l->prefix_len = len - 1;
  l->inbox = cxb_inbox_push(L);
  l->next = listeners;
  listeners = l;
  cxb_inbox_on_close(l->inbox, close_listener, l);
  cxb_inbox_up(l->inbox);
  return 1;
}

static int l_up(lua_State *L) {
  lua_pushboolean(L, 1);
  lua_pushliteral(L, "");
  return 2;
}

static int l_close(lua_State *L) {
  (void)L;
  return 0;
}

static int l_memory(lua_State *L) {
  lua_newuserdata(L, 1);
  luaL_getmetatable(L, MEMORY_MT);
  lua_setmetatable(L, -2);
  return 1;
}

void cxb_redis_memory_register(lua_State *L) {
  static const luaL_Reg methods[] = {{"call", l_call}, {"script", l_script}, {"listen", l_listen},
                                     {"up", l_up},     {"close", l_close},   {NULL, NULL}};
  luaL_newmetatable(L, MEMORY_MT);
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, l_memory);
  lua_setfield(L, -2, "memory");
}

/* The twin is only memory: it ends with the process, after who still publishes. */
void cxb_redis_memory_stop(void) {
  while (listeners) {
    listener *l = listeners;
    listeners = l->next;
    l->inbox = NULL; /* close_listener() will free it */
  }
}
