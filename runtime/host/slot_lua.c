/* cxb.slot, and what happens to a call whose task died. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

#include "../base/buf.h"
#include "../observe/log.h"
#include "call_lost.h"
#include "generation.h"
#include "slot.h"
#include "state.h"
#include "task_internal.h"

static int l_state(lua_State *L) {
  lua_createtable(L, 0, 6);
  lua_pushinteger(L, cxb_slot_max());
  lua_setfield(L, -2, "max");
  lua_pushinteger(L, cxb_slot_used());
  lua_setfield(L, -2, "used");
  lua_pushboolean(L, cxb_draining());
  lua_setfield(L, -2, "draining");
  lua_pushinteger(L, cxb_slot_served(0));
  lua_setfield(L, -2, "served");
  lua_pushnumber(L, (lua_Number)cxb_slot_age_ms());
  lua_setfield(L, -2, "age_ms");
  lua_pushstring(L, cxb_slot_blocked()); /* NULL: nil */
  lua_setfield(L, -2, "blocked");
  return 1;
}

static int l_block(lua_State *L) {
  cxb_slot_block(luaL_optstring(L, 2, ""), luaL_optstring(L, 1, NULL));
  return 0;
}

static int l_served(lua_State *L) {
  lua_pushinteger(L, cxb_slot_served((int)luaL_optinteger(L, 1, 1)));
  return 1;
}

static int l_max(lua_State *L) {
  lua_Integer max = luaL_checkinteger(L, 1);
  luaL_argcheck(L, max >= 1 && max <= 1000, 1, "1 to 1000");
  cxb_slot_set_max((int)max);
  return 0;
}

static void on_lost_end(void *arg, bool ok, lua_State *co, int n, const char *error) {
  (void)arg;
  (void)co;
  (void)n;
  if (!ok)
    cxb_log_failure(0, NULL, "call_lost", "call_lost", error);
  cxb_slot_release();
}

void cxb_call_lost(cxb_task *task, const char *error) {
  cxb_generation *gen = cxb_task_generation(task);
  lua_State *L = cxb_generation_state(gen);
  cxb_slot_retain();
  if (!cxb_generation_push_service(gen, L, "call_lost")) {
    cxb_slot_release();
    return;
  }
  lua_createtable(L, 0, 4);
  lua_pushstring(L, cxb_task_name(task));
  lua_setfield(L, -2, "task");
  lua_pushstring(L, cxb_task_reason(task));
  lua_setfield(L, -2, "reason");
  lua_pushstring(L, error);
  lua_setfield(L, -2, "error");
  cxb_buf tags = {0};
  cxb_buf_printf(&tags, "{%s}", task->tags ? task->tags : "");
  if (cxb_json_decode(L, tags.data, tags.len) == 0)
    lua_setfield(L, -2, "tags");
  cxb_buf_free(&tags);
  cxb_task_start(gen, L, 1, "call_lost", on_lost_end, NULL);
}

static void open_slot(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg fns[] = {
      {"state", l_state}, {"block", l_block}, {"max", l_max}, {"served", l_served}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, fns);
  lua_setfield(L, -2, "slot");
}

const cxb_module cxb_slot_module = {.name = "slot", .open = open_slot};
