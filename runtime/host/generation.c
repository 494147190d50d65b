/* Generations: one Lua state with the script loaded in it. */
#include "generation.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/err.h"
#include "../observe/log.h"
#include "../observe/metrics.h"

enum { POOL = 64, DEFAULT_CAP_MB = 64 };

struct cxb_generation {
  cxb_generation *older; /* of those alive, the next by number */
  int number, refs, service_ref;
  bool served, retired;
  lua_State *L;
  cxb_memory memory;
  cxb_generation_loaded done;
  void *arg;
  int pool[POOL], pooled;
};

static cxb_generation *current, *youngest;
static int last_number, alive;

cxb_generation *cxb_generation_current(void) {
  return current;
}

lua_State *cxb_generation_state(cxb_generation *gen) {
  return gen->L;
}

int cxb_generation_number(const cxb_generation *gen) {
  return gen->number;
}

int cxb_generation_alive(void) {
  return alive;
}

cxb_memory *cxb_generation_memory(cxb_generation *gen) {
  return &gen->memory;
}

bool cxb_generation_retired(const cxb_generation *gen) {
  return gen->retired;
}

void cxb_generation_ref(cxb_generation *gen) {
  gen->refs++;
}

static void unlink_alive(const cxb_generation *gen) {
  cxb_generation **at = &youngest;
  while (*at != gen)
    at = &(*at)->older;
  *at = gen->older;
}

cxb_generation *cxb_generation_older(const cxb_generation *gen) {
  cxb_generation *older = gen->older;
  while (older && (!older->served || older->refs == 0))
    older = older->older;
  return older;
}

/* The last reference may go inside a callback of the state, so it is closed from the loop. */
static void on_close(uv_handle_t *h) {
  cxb_generation *gen = h->data;
  free(h);
  cxb_state_close(gen->L, &gen->memory);
  if (gen == current)
    current = NULL;
  unlink_alive(gen);
  free(gen);
  alive--;
  cxb_metric_set("cxb_generations", "", alive);
}

void cxb_generation_unref(cxb_generation *gen) {
  if (--gen->refs > 0)
    return;
  uv_idle_t *later = malloc(sizeof *later);
  if (!later)
    return; /* leaks a state rather than close one in use */
  uv_idle_init(cxb_loop(), later);
  later->data = gen;
  uv_close((uv_handle_t *)later, on_close);
}

lua_State *cxb_generation_coroutine_get(cxb_generation *gen, int *ref) {
  if (gen->pooled > 0) {
    *ref = gen->pool[--gen->pooled];
    lua_rawgeti(gen->L, LUA_REGISTRYINDEX, *ref);
    lua_State *co = lua_tothread(gen->L, -1);
    lua_pop(gen->L, 1);
    return co;
  }
  lua_State *co = lua_newthread(gen->L);
  *ref = luaL_ref(gen->L, LUA_REGISTRYINDEX);
  return co;
}

void cxb_generation_coroutine_put(cxb_generation *gen, lua_State *co, int ref, bool reusable) {
  if (reusable && gen->pooled < POOL) {
    lua_settop(co, 0);
    gen->pool[gen->pooled++] = ref;
  } else {
    luaL_unref(gen->L, LUA_REGISTRYINDEX, ref);
  }
}

bool cxb_generation_push_service(cxb_generation *gen, lua_State *L, const char *field) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, gen->service_ref);
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    return false;
  }
  lua_getfield(L, -1, field);
  lua_remove(L, -2);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return false;
  }
  return true;
}

void cxb_generation_call(cxb_generation *gen, const char *field, cxb_task_end_cb on_end,
                         void *arg) {
  if (!cxb_generation_push_service(gen, gen->L, field) || !lua_isfunction(gen->L, -1)) {
    if (on_end)
      on_end(arg, true, gen->L, 0, NULL);
    return;
  }
  cxb_task_start(gen, gen->L, 0, field, on_end, arg);
}

/* ---- loading ---- */

static void loaded(cxb_generation *gen, bool service, int code, const char *error) {
  cxb_generation_loaded done = gen->done;
  gen->done = NULL;
  done(gen->arg, error ? NULL : gen, service, code, error);
  if (error)
    cxb_generation_unref(gen);
}

static void on_selftest(void *arg, bool ok, lua_State *co, int n, const char *error) {
  cxb_generation *gen = arg;
  if (!ok) {
    loaded(gen, true, 0, error);
  } else if (n > 0 && !lua_toboolean(co, -n)) {
    const char *why = n > 1 ? lua_tostring(co, -n + 1) : NULL;
    loaded(gen, true, 0, why ? why : "the self-test answered false");
  } else {
    loaded(gen, true, 0, NULL);
  }
}

static size_t memory_cap(void) {
  const char *mb = getenv("CXB_MAX_SCRIPT_MB");
  long n = mb ? strtol(mb, NULL, 10) : 0;
  return (size_t)(n > 0 && n <= 65536 ? n : 0) << 20;
}

/* What the environment does not say, the service may: service.memory_mb. */
static void take_service_cap(cxb_generation *gen) {
  if (memory_cap() || !cxb_generation_push_service(gen, gen->L, "memory_mb"))
    return;
  lua_Number mb = lua_tonumber(gen->L, -1);
  lua_pop(gen->L, 1);
  if (mb >= 8 && mb <= 65536)
    gen->memory.cap = (size_t)mb << 20;
}

static void on_chunk_end(void *arg, bool ok, lua_State *co, int n, const char *error) {
  cxb_generation *gen = arg;
  if (!ok) {
    loaded(gen, false, 1, error);
    return;
  }
  if (n > 0 && lua_istable(co, -n)) {
    lua_pushvalue(co, -n);
    gen->service_ref = luaL_ref(co, LUA_REGISTRYINDEX);
    take_service_cap(gen);
    cxb_generation_call(gen, "selftest", on_selftest, gen);
    return;
  }
  int code = n > 0 && lua_isnumber(co, -n) ? (int)lua_tointeger(co, -n) : 0;
  if (n > 0 && lua_isboolean(co, -n))
    code = lua_toboolean(co, -n) ? 0 : 1;
  loaded(gen, false, code, NULL);
}

static void set_facts(lua_State *L, const char *script, const char *mode, int argc, char **argv,
                      int number) {
  lua_pushliteral(L, CXB_VERSION);
  lua_setfield(L, -2, "version");
  lua_pushstring(L, cxb_root());
  lua_setfield(L, -2, "root");
  lua_pushstring(L, script);
  lua_setfield(L, -2, "script");
  char program[4096];
  ssize_t n = readlink("/proc/self/exe", program, sizeof program);
  lua_pushlstring(L, program, n > 0 ? (size_t)n : 0);
  lua_setfield(L, -2, "program");
  lua_pushstring(L, mode);
  lua_setfield(L, -2, "mode");
  lua_pushinteger(L, number);
  lua_setfield(L, -2, "generation");
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  lua_newtable(L);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "args");
}

static void open_cxb(cxb_generation *gen, const char *script, const char *mode, int argc,
                     char **argv) {
  lua_State *L = gen->L;
  lua_newtable(L);
  set_facts(L, script, mode, argc, argv, gen->number);
  for (int i = 0; i < cxb_modules_count; i++)
    if (cxb_modules[i] && cxb_modules[i]->open)
      cxb_modules[i]->open(L, gen);
  cxb_state_seal(L);
  lua_setglobal(L, "cxb");
}

void cxb_generation_load(const char *script, const char *mode, int argc, char **argv,
                         cxb_generation_loaded done, void *arg) {
  cxb_generation *gen = calloc(1, sizeof *gen);
  if (!gen) {
    done(arg, NULL, false, 1, "out of memory");
    return;
  }
  gen->memory.cap = memory_cap() ? memory_cap() : (size_t)DEFAULT_CAP_MB << 20;
  gen->service_ref = LUA_NOREF;
  gen->L = cxb_state_new(&gen->memory, cxb_root());
  if (!gen->L) {
    free(gen);
    done(arg, NULL, false, 1, "no memory for a Lua state");
    return;
  }
  gen->number = ++last_number;
  gen->refs = 1;
  gen->done = done;
  gen->arg = arg;
  alive++;
  gen->older = youngest;
  youngest = gen;
  cxb_metric_set("cxb_generations", "", alive);
  open_cxb(gen, script, mode, argc, argv);
  if (luaL_loadfile(gen->L, script) != 0) {
    loaded(gen, false, 1, lua_tostring(gen->L, -1));
    return;
  }
  for (int i = 0; i < argc; i++)
    lua_pushstring(gen->L, argv[i]);
  cxb_task_start(gen, gen->L, argc, "load", on_chunk_end, gen);
}

void cxb_generation_activate(cxb_generation *gen) {
  cxb_generation *before = current;
  current = gen;
  gen->served = true;
  cxb_log_generation(gen->number);
  if (before)
    cxb_generation_retire(before);
}

static void on_retired(void *arg, bool ok, lua_State *co, int n, const char *error) {
  (void)co;
  (void)n;
  if (!ok)
    cxb_log_failure(0, NULL, "retire", "retire", error);
  cxb_generation_unref(arg);
}

void cxb_generation_retire(cxb_generation *gen) {
  gen->retired = true;
  cxb_task_stop_repeating(gen);
  cxb_generation_call(gen, "retire", on_retired, gen);
}
