/* cxb.task: spawn, wait, park, every, tag. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"
#include "../observe/log.h"
#include "generation.h"
#include "task_internal.h"

#define HANDLE_MT "cxb.task"

/* What a script holds of a task. The record outlives the task so that its results can be read. */
typedef struct handle {
  uint64_t id;
  cxb_wait *waiters; /* who wait for the end; some may have given up */
  int waiter_count;
  cxb_wait parked; /* the park this task waits in */
  int results_ref; /* table with n, once ended */
  bool ended, anchored;
} handle;

/* registry["cxb.task.handles"][id] = handle, while the task lives */
static void push_handles(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "cxb.task.handles");
}

/* Nobody can ask for the results any more. */
static int l_handle_gc(lua_State *L) {
  handle *h = lua_touserdata(L, 1);
  luaL_unref(L, LUA_REGISTRYINDEX, h->results_ref);
  h->results_ref = LUA_NOREF;
  free(h->waiters);
  h->waiters = NULL;
  return 0;
}

/* A place for one more who waits: that of one who has given up, or a new one. NULL: no memory. */
static cxb_wait *new_waiter(handle *h) {
  for (int i = 0; i < h->waiter_count; i++)
    if (!cxb_wait_stack(&h->waiters[i]))
      return &h->waiters[i];
  cxb_wait *grown = realloc(h->waiters, (size_t)(h->waiter_count + 1) * sizeof *grown);
  if (!grown)
    return NULL;
  h->waiters = grown;
  h->waiters[h->waiter_count] = (cxb_wait){0, 0};
  return &h->waiters[h->waiter_count++];
}

static handle *push_new_handle(lua_State *L, uint64_t id) {
  handle *h = lua_newuserdata(L, sizeof *h);
  *h = (handle){.id = id, .results_ref = LUA_NOREF};
  luaL_getmetatable(L, HANDLE_MT);
  lua_setmetatable(L, -2);
  return h;
}

static void anchor(lua_State *L, uint64_t id) {
  push_handles(L);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, (int)(id % 0x7fffffff));
  lua_pop(L, 1);
}

static handle *find_handle(lua_State *L, uint64_t id) {
  push_handles(L);
  lua_rawgeti(L, -1, (int)(id % 0x7fffffff));
  handle *h = lua_touserdata(L, -1);
  lua_pop(L, 2);
  return h;
}

static int push_results(lua_State *L, handle *h) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, h->results_ref);
  lua_getfield(L, -1, "n");
  int n = (int)lua_tointeger(L, -1), table = lua_gettop(L) - 1;
  luaL_checkstack(L, n + 2, "too many results");
  for (int i = 1; i <= n; i++)
    lua_rawgeti(L, table, i);
  return n;
}

/* Wakes those who wait, with the results in the table on top of `co`. The handle is gone by then.
 */
static void wake(lua_State *co, cxb_wait *waiters, int count) {
  int table = lua_gettop(co);
  for (int i = 0; i < count; i++) {
    lua_State *L = cxb_wait_stack(&waiters[i]);
    if (!L)
      continue;
    lua_getfield(co, table, "n");
    int n = (int)lua_tointeger(co, -1);
    lua_pop(co, 1);
    if (!lua_checkstack(co, n) || !lua_checkstack(L, n))
      n = 0;
    for (int k = 1; k <= n; k++)
      lua_rawgeti(co, table, k);
    lua_xmove(co, L, n);
    cxb_wait_resume(&waiters[i], n);
  }
  free(waiters);
}

static void on_spawned_end(void *arg, bool ok, lua_State *co, int n, const char *error) {
  uint64_t id = (uint64_t)(uintptr_t)arg;
  cxb_task *t = cxb_task_ending();
  if (!ok)
    cxb_log_failure(cxb_generation_number(t->gen), t->tags, cxb_task_reason(t), NULL, error);
  handle *h = find_handle(co, id);
  if (!h)
    return;
  int first = lua_gettop(co) - n + 1;
  lua_newtable(co);
  if (ok) {
    for (int i = 0; i < n; i++) {
      lua_pushvalue(co, first + i);
      lua_rawseti(co, -2, i + 1);
    }
    lua_pushinteger(co, n);
  } else {
    lua_pushliteral(co, "error");
    lua_rawseti(co, -2, 2);
    lua_pushstring(co, error);
    lua_rawseti(co, -2, 3);
    lua_pushinteger(co, 3);
  }
  lua_setfield(co, -2, "n");
  lua_pushvalue(co, -1);
  h->results_ref = luaL_ref(co, LUA_REGISTRYINDEX);
  h->ended = true;
  cxb_wait *waiters = h->waiters;
  int count = h->waiter_count;
  h->waiters = NULL;
  h->waiter_count = 0;
  push_handles(co);
  lua_pushnil(co);
  lua_rawseti(co, -2, (int)(id % 0x7fffffff));
  lua_pop(co, 1);
  wake(co, waiters, count);
  lua_pop(co, 1);
}

static int l_spawn(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  cxb_task *self = cxb_task_running();
  if (!self)
    return luaL_error(L, "spawn: not in a task");
  int nargs = lua_gettop(L) - 2;
  /* Started from a task, the new one is only made ready: its handle exists before it runs. */
  cxb_task *t = cxb_task_start(self->gen, L, nargs, name, on_spawned_end, NULL);
  if (!t)
    return luaL_error(L, "spawn: out of memory");
  t->end_arg = (void *)(uintptr_t)t->id;
  push_new_handle(L, t->id);
  anchor(L, t->id);
  return 1;
}

static int l_self(lua_State *L) {
  cxb_task *t = cxb_task_running();
  if (!t)
    return luaL_error(L, "self: not in a task");
  push_handles(L);
  lua_rawgeti(L, -1, (int)(t->id % 0x7fffffff));
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    push_new_handle(L, t->id);
    t->has_handle = true;
    anchor(L, t->id);
  }
  return 1;
}

void cxb_task_forget_handle(lua_State *L, uint64_t id) {
  push_handles(L);
  lua_pushnil(L);
  lua_rawseti(L, -2, (int)(id % 0x7fffffff));
  lua_pop(L, 1);
}

static int l_wait(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, HANDLE_MT);
  if (h->ended)
    return push_results(L, h);
  if (!cxb_task_find(h->id)) {
    lua_pushnil(L);
    lua_pushliteral(L, "closed");
    return 2;
  }
  int64_t ms = lua_isnoneornil(L, 2) ? -1 : (int64_t)luaL_checknumber(L, 2);
  cxb_wait *waiter = new_waiter(h);
  if (!waiter)
    return luaL_error(L, "wait: out of memory");
  return cxb_task_wait_ms(L, waiter, ms, NULL, NULL);
}

static int l_cancel(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, HANDLE_MT);
  cxb_task *t = cxb_task_find(h->id);
  if (t)
    cxb_task_cancel(t, (int64_t)luaL_optnumber(L, 2, 0));
  return 0;
}

static int l_park(lua_State *L) {
  cxb_task *t = cxb_task_running();
  int64_t ms = lua_isnoneornil(L, 1) ? -1 : (int64_t)luaL_checknumber(L, 1);
  lua_settop(L, 0);
  l_self(L);
  handle *h = lua_touserdata(L, -1);
  lua_settop(L, 0);
  if (!t)
    return luaL_error(L, "park: not in a task");
  return cxb_task_wait_ms(L, &h->parked, ms < 0 ? -1 : ms, NULL, NULL);
}

static int l_unpark(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, HANDLE_MT);
  int n = lua_gettop(L) - 1;
  lua_State *to = h->parked.task_id ? cxb_wait_stack(&h->parked) : NULL;
  if (to && lua_checkstack(to, n + 1)) {
    lua_xmove(L, to, n);
    cxb_wait wait = h->parked;
    h->parked = (cxb_wait){0, 0};
    cxb_wait_resume(&wait, n);
  }
  lua_settop(L, 0);
  lua_pushboolean(L, to != NULL);
  return 1;
}

/* ---- every ---- */

typedef struct repeat {
  uv_timer_t timer;
  cxb_generation *gen;
  int fn_ref;
  bool busy, stopped;
  char name[40];
  struct repeat *next;
} repeat;
static repeat *repeats;

static void on_repeat_closed(uv_handle_t *closed) {
  repeat *r = closed->data;
  cxb_generation_unref(r->gen);
  free(r);
}

static void on_repeat_end(void *arg, bool ok, lua_State *co, int n, const char *error) {
  (void)co;
  (void)n;
  repeat *r = arg;
  r->busy = false;
  if (!ok)
    cxb_log_failure(cxb_generation_number(r->gen), NULL, cxb_task_reason(cxb_task_ending()),
                    r->name, error);
  if (r->stopped)
    uv_close((uv_handle_t *)&r->timer, on_repeat_closed);
}

static void on_repeat(uv_timer_t *timer) {
  repeat *r = timer->data;
  if (r->busy)
    return;
  lua_State *L = cxb_generation_state(r->gen);
  lua_rawgeti(L, LUA_REGISTRYINDEX, r->fn_ref);
  r->busy = true;
  cxb_task_start(r->gen, L, 0, r->name, on_repeat_end, r);
}

void cxb_task_stop_repeating(cxb_generation *gen) {
  for (repeat **p = &repeats; *p;) {
    repeat *r = *p;
    if (gen && r->gen != gen) {
      p = &r->next;
      continue;
    }
    *p = r->next;
    r->stopped = true;
    uv_timer_stop(&r->timer);
    if (!r->busy)
      uv_close((uv_handle_t *)&r->timer, on_repeat_closed);
  }
}

static int l_every(lua_State *L) {
  lua_Number ms = luaL_checknumber(L, 1);
  const char *name = luaL_checkstring(L, 2);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  luaL_argcheck(L, ms >= 1, 1, "at least one millisecond");
  cxb_task *self = cxb_task_running();
  repeat *r = self && !cxb_generation_retired(self->gen) ? calloc(1, sizeof *r) : NULL;
  if (!r)
    return 0;
  snprintf(r->name, sizeof r->name, "%s", name);
  r->gen = self->gen;
  cxb_generation_ref(r->gen);
  lua_pushvalue(L, 3);
  r->fn_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  uv_timer_init(cxb_loop(), &r->timer);
  r->timer.data = r;
  uv_timer_start(&r->timer, on_repeat, cxb_loop_first((uint64_t)ms), (uint64_t)ms);
  r->next = repeats;
  repeats = r;
  return 0;
}

static int l_tag(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  cxb_task *t = cxb_task_running();
  char *more = t ? cxb_json_fragment(L, 1) : NULL;
  if (!more)
    return 0;
  if (t->tags) {
    cxb_buf b = {0};
    cxb_buf_printf(&b, "%s,%s", t->tags, more);
    free(t->tags);
    free(more);
    more = b.data;
  }
  t->tags = more;
  return 0;
}

static int l_deadline(lua_State *L) {
  cxb_task *t = cxb_task_running();
  int64_t ms = lua_isnoneornil(L, 1) ? -1 : (int64_t)luaL_checknumber(L, 1);
  if (t)
    cxb_task_deadline(t, ms);
  return 0;
}

static void open_task(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg methods[] = {
      {"wait", l_wait}, {"cancel", l_cancel}, {"unpark", l_unpark}, {NULL, NULL}};
  static const luaL_Reg fns[] = {{"spawn", l_spawn}, {"self", l_self}, {"park", l_park},
                                 {"every", l_every}, {"tag", l_tag},   {"deadline", l_deadline},
                                 {NULL, NULL}};
  luaL_newmetatable(L, HANDLE_MT);
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_handle_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_newtable(L);
  lua_setfield(L, LUA_REGISTRYINDEX, "cxb.task.handles");
  lua_newtable(L);
  luaL_register(L, NULL, fns);
  lua_setfield(L, -2, "task");
}

static void stop_task(void) {
  cxb_task_stop_repeating(NULL);
}

const cxb_module cxb_task_module = {.name = "task", .open = open_task, .stop = stop_task};
