/* cxb.redis */
#include <hiredis/hiredis.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../host/host.h"
#include "../host/task.h"
#include "redis.h"
#include "redis_lua.h"

#define CLIENT_MT "cxb.redis.client"
enum { MAX_WORDS = 8000 };

typedef struct client {
  cxb_redis *redis; /* NULL: closed */
} client;

/* ---- replies ---- */

static int push_failure(lua_State *L, const char *code, const char *message) {
  lua_pushnil(L);
  lua_pushstring(L, code);
  lua_pushstring(L, message);
  return 3;
}

/* Errors inside of a list become their text. */
static void push_value(lua_State *L, const redisReply *reply) {
  switch (reply->type) {
  case REDIS_REPLY_INTEGER:
    lua_pushnumber(L, (lua_Number)reply->integer);
    return;
  case REDIS_REPLY_ARRAY:
    luaL_checkstack(L, 4, "reply too deep");
    lua_createtable(L, (int)reply->elements, 0);
    for (size_t i = 0; i < reply->elements; i++) {
      push_value(L, reply->element[i]);
      lua_rawseti(L, -2, (int)i + 1);
    }
    return;
  case REDIS_REPLY_NIL:
    lua_pushlightuserdata(L, NULL);
    return;
  default:
    lua_pushlstring(L, reply->str, reply->len);
  }
}

static int push_reply(lua_State *L, const redisReply *reply, const char *why) {
  if (!reply)
    return push_failure(L, "unavailable", why && *why ? why : "no connection");
  if (reply->type == REDIS_REPLY_ERROR) {
    /* The server is there, but cannot serve yet, or takes no writes. */
    bool away = strncmp(reply->str, "LOADING", 7) == 0 || strncmp(reply->str, "READONLY", 8) == 0 ||
                strncmp(reply->str, "MASTERDOWN", 10) == 0 || strncmp(reply->str, "NOAUTH", 6) == 0;
    return push_failure(L, away ? "unavailable" : "error", reply->str);
  }
  push_value(L, reply);
  return 1;
}

static void on_reply(void *arg, const redisReply *reply, int err, const char *why) {
  (void)err;
  cxb_wait *waiting = arg;
  cxb_wait wait = *waiting;
  free(waiting);
  lua_State *L = cxb_wait_stack(&wait);
  if (L)
    cxb_wait_resume(&wait, push_reply(L, reply, why));
}

/* ---- calls ---- */

static client *check_client(lua_State *L) {
  return luaL_checkudata(L, 1, CLIENT_MT);
}

/* The strings from `first` to the top; anchored by the stack. */
static void read_words(lua_State *L, int first, int count, const char **words, size_t *lens) {
  for (int i = 0; i < count; i++)
    words[i] = luaL_checklstring(L, first + i, &lens[i]);
}

/* Unpacks the list at `index` onto the stack. */
static int push_list(lua_State *L, int index) {
  luaL_checktype(L, index, LUA_TTABLE);
  int n = (int)lua_objlen(L, index);
  if (n > MAX_WORDS || !lua_checkstack(L, n + 4))
    luaL_error(L, "too many words");
  for (int i = 1; i <= n; i++)
    lua_rawgeti(L, index, i);
  return n;
}

static int started(lua_State *L, const client *c, cxb_wait *wait, int err) {
  if (err == 0)
    return cxb_task_wait(L, wait, NULL, NULL);
  free(wait);
  return push_failure(L, "unavailable",
                      err == CXB_ENOMEM                      ? "out of memory"
                      : c->redis && *cxb_redis_why(c->redis) ? cxb_redis_why(c->redis)
                                                             : "no connection");
}

static int l_call(lua_State *L) {
  client *c = check_client(L);
  int argc = lua_gettop(L) - 1;
  luaL_argcheck(L, argc > 0 && argc <= MAX_WORDS, 2, "a command");
  const char **words = lua_newuserdata(L, (size_t)argc * (sizeof *words + sizeof(size_t)));
  size_t *lens = (size_t *)(words + argc);
  read_words(L, 2, argc, words, lens);
  cxb_wait *wait = calloc(1, sizeof *wait);
  int err = !wait       ? CXB_ENOMEM
            : !c->redis ? CXB_ECLOSED
                        : cxb_redis_command(c->redis, argc, words, lens, on_reply, wait);
  return started(L, c, wait, err);
}

static int l_script(lua_State *L) {
  client *c = check_client(L);
  size_t source_len;
  const char *source = luaL_checklstring(L, 2, &source_len);
  lua_settop(L, 4);
  int keys = push_list(L, 3), argc = keys + push_list(L, 4);
  const char **words = lua_newuserdata(L, ((size_t)argc + 1) * (sizeof *words + sizeof(size_t)));
  size_t *lens = (size_t *)(words + argc + 1);
  read_words(L, 5, argc, words, lens);
  cxb_wait *wait = calloc(1, sizeof *wait);
  int err = !wait       ? CXB_ENOMEM
            : !c->redis ? CXB_ECLOSED
                        : cxb_redis_script(c->redis, source, source_len, keys, argc, words, lens,
                                           on_reply, wait);
  return started(L, c, wait, err);
}

static int l_up(lua_State *L) {
  client *c = check_client(L);
  lua_pushboolean(L, c->redis && cxb_redis_up(c->redis));
  lua_pushstring(L, c->redis ? cxb_redis_why(c->redis) : "closed");
  return 2;
}

static int l_close(lua_State *L) {
  client *c = check_client(L);
  cxb_redis *redis = c->redis;
  c->redis = NULL;
  if (redis)
    cxb_redis_close(redis);
  return 0;
}

/* ---- opening ---- */

static int64_t timeout_of(lua_State *L, int index) {
  if (!lua_istable(L, index))
    return 0;
  lua_getfield(L, index, "timeout_ms");
  int64_t ms = (int64_t)lua_tonumber(L, -1);
  lua_pop(L, 1);
  return ms;
}

static int l_connect(lua_State *L) {
  const char *url = luaL_checkstring(L, 1);
  char why[160];
  cxb_redis_options options = {.timeout_ms = timeout_of(L, 2)};
  client *c = lua_newuserdata(L, sizeof *c);
  c->redis = NULL;
  luaL_getmetatable(L, CLIENT_MT);
  lua_setmetatable(L, -2);
  int err = cxb_redis_open(cxb_loop(), url, &options, &c->redis, why, sizeof why);
  if (err == CXB_EINVAL)
    return push_failure(L, "invalid", why);
  return err ? cxb_push_error(L, err, NULL) : 1;
}

static void on_message(void *arg, const char *channel, size_t channel_len, const char *data,
                       size_t len) {
  cxb_inbox_put(arg, channel, channel_len, data, len);
}

static void on_up(void *arg) {
  cxb_inbox_up(arg);
}

static void close_listener(void *arg) {
  client *c = arg;
  cxb_redis_close(c->redis);
  free(c);
}

static int l_listen(lua_State *L) {
  const char *url = luaL_checkstring(L, 1), *pattern = luaL_checkstring(L, 2);
  char why[160];
  client *c = calloc(1, sizeof *c);
  if (!c)
    return cxb_push_error(L, CXB_ENOMEM, NULL);
  cxb_inbox *inbox = cxb_inbox_push(L);
  cxb_redis_options options = {.timeout_ms = timeout_of(L, 3),
                               .pattern = pattern,
                               .on_message = on_message,
                               .on_up = on_up,
                               .arg = inbox};
  int err = cxb_redis_open(cxb_loop(), url, &options, &c->redis, why, sizeof why);
  if (err) {
    free(c);
    return err == CXB_EINVAL ? push_failure(L, "invalid", why) : cxb_push_error(L, err, NULL);
  }
  cxb_inbox_on_close(inbox, close_listener, c);
  return 1;
}

static void open_redis(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg methods[] = {
      {"call", l_call}, {"script", l_script}, {"up", l_up}, {"close", l_close}, {NULL, NULL}};
  luaL_newmetatable(L, CLIENT_MT);
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_close);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  cxb_inbox_register(L);
  lua_newtable(L);
  lua_pushcfunction(L, l_connect);
  lua_setfield(L, -2, "connect");
  lua_pushcfunction(L, l_listen);
  lua_setfield(L, -2, "listen");
  cxb_redis_memory_register(L);
  lua_setfield(L, -2, "redis");
}

static void stop_redis(void) {
  cxb_redis_close_all();
  cxb_redis_memory_stop();
}

const cxb_module cxb_redis_module = {.name = "redis", .open = open_redis, .stop = stop_redis};
