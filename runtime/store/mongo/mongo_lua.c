/* The part of cxb.mongo that needs the driver: modules/cxb_mongo.so. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "base/export.h"
#include "base/time.h"
#include "bson_lua.h"
#include "host/job.h"
#include "host/task.h"
#include "mongo.h"

#define CLIENT_MT  "cxb.mongo.client"
#define COMMAND_MT "cxb.mongo.command"

enum { SOCKET_TIMEOUT_MS = 10000, MOST_JOBS = 8, OTHERS = 4 };

typedef struct command_job {
  cxb_job job;
  cxb_mongo *mongo;
  char *db;
  bson_t *command;
  bool all;
  int64_t since;
  cxb_mongo_answer answer;
} command_job;

/* The pool's other users keep OTHERS of its threads, or half of a small one. */
static cxb_job_cap *cap_of_pool(void) {
  static cxb_job_cap cap;
  if (cap.max == 0) {
    int size = cxb_pool_size();
    int free_for_us = size > 2 * OTHERS ? size - OTHERS : size / 2;
    cap.max = free_for_us > MOST_JOBS ? MOST_JOBS : free_for_us < 1 ? 1 : free_for_us;
  }
  return &cap;
}

/* ---- a command ---- */

static void work_command(cxb_job *job) {
  command_job *j = (command_job *)job;
  cxb_mongo_command(j->mongo, j->db, j->command, j->all, j->since, &j->answer);
}

static int push_command(cxb_job *job, lua_State *L) {
  command_job *j = (command_job *)job;
  const cxb_mongo_answer *answer = &j->answer;
  if (answer->code) {
    lua_pushnil(L);
    lua_pushstring(L, answer->code);
    lua_pushstring(L, answer->message);
    if (answer->count == 0)
      return 3;
    cxb_bson_push(L, answer->replies[0]);
    return 4;
  }
  if (!j->all) {
    cxb_bson_push(L, answer->replies[0]);
    return 1;
  }
  lua_newtable(L);
  for (size_t i = 0, at = 1; i < answer->count; i++)
    at = (size_t)cxb_bson_push_batch(L, answer->replies[i], (int)at);
  return 1;
}

static void free_command(cxb_job *job) {
  command_job *j = (command_job *)job;
  cxb_mongo_answer_free(&j->answer);
  cxb_mongo_unref(j->mongo);
  bson_destroy(j->command);
  free(j->db);
  free(j);
}

/* ---- scripts ---- */

/* The userdata owns its document until the job takes it: an error on the way frees it. */
static int l_command_gc(lua_State *L) {
  bson_t **command = lua_touserdata(L, 1);
  bson_destroy(*command);
  *command = NULL;
  return 0;
}

static bson_t **new_command(lua_State *L, int index) {
  bson_t **command = lua_newuserdata(L, sizeof *command);
  *command = bson_new();
  luaL_getmetatable(L, COMMAND_MT);
  lua_setmetatable(L, -2);
  cxb_bson_append_table(L, index, *command);
  return command;
}

static int start(lua_State *L, bool all) {
  cxb_mongo **client = luaL_checkudata(L, 1, CLIENT_MT);
  const char *db = luaL_checkstring(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  bson_t **command = new_command(L, 3);
  if (!*client) {
    lua_pushnil(L);
    lua_pushliteral(L, "closed");
    lua_pushliteral(L, "the client is closed");
    return 3;
  }
  command_job *j = calloc(1, sizeof *j);
  char *name = j ? strdup(db) : NULL;
  if (!name) {
    free(j);
    return luaL_error(L, "out of memory");
  }
  j->job = (cxb_job){work_command, push_command, free_command};
  j->mongo = cxb_mongo_ref(*client);
  j->db = name;
  j->command = *command;
  *command = NULL;
  j->all = all;
  j->since = cxb_mono_ms();
  return cxb_job_run_capped(L, &j->job, cap_of_pool());
}

static int l_run(lua_State *L) {
  return start(L, false);
}

static int l_list(lua_State *L) {
  return start(L, true);
}

static int l_close(lua_State *L) {
  cxb_mongo **client = luaL_checkudata(L, 1, CLIENT_MT);
  cxb_mongo_unref(*client);
  *client = NULL;
  return 0;
}

static void prepare(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"run", l_run}, {"list", l_list}, {"close", l_close}, {NULL, NULL}};
  cxb_bson_lua_open(L);
  if (luaL_newmetatable(L, CLIENT_MT)) {
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__gc");
    luaL_newmetatable(L, COMMAND_MT);
    lua_pushcfunction(L, l_command_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* cxb.mongo.open(uri, {socket_timeout_ms=}) */
CXB_EXPORT int cxb_mongo_l_open(lua_State *L);
int cxb_mongo_l_open(lua_State *L) {
  const char *uri = luaL_checkstring(L, 1);
  int timeout = SOCKET_TIMEOUT_MS;
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfield(L, 2, "socket_timeout_ms");
    timeout = luaL_optint(L, -1, timeout);
  }
  prepare(L);
  cxb_mongo **client = lua_newuserdata(L, sizeof *client);
  *client = NULL;
  luaL_getmetatable(L, CLIENT_MT);
  lua_setmetatable(L, -2);
  *client = cxb_mongo_open(uri, timeout);
  if (*client)
    return 1;
  lua_pushnil(L);
  lua_pushliteral(L, "invalid");
  lua_pushliteral(L, "not a MongoDB address (mongodb://host:port/?options)");
  return 3;
}
