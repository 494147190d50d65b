/* Generations: one Lua state with the script loaded in it. */
#pragma once
#include "host.h"
#include "state.h"
#include "task.h"

/* A coroutine from the generation's pool; anchored by *ref. NULL: no memory. */
lua_State *cxb_generation_coroutine_get(cxb_generation *gen, int *ref);
/* Gives it back: `reusable` when it ended regularly. */
void cxb_generation_coroutine_put(cxb_generation *gen, lua_State *co, int ref, bool reusable);

/* Loads `script` in a new state; `done` later: gen with its first results (`tool` with exit code,
 * or a service) or NULL and the error. */
typedef void (*cxb_generation_loaded)(void *arg, cxb_generation *gen, bool service, int exit_code,
                                      const char *error);
void cxb_generation_load(const char *script, const char *mode, int argc, char **argv,
                         cxb_generation_loaded done, void *arg);
/* Takes new work from now on; the one before retires. */
void cxb_generation_activate(cxb_generation *gen);
/* No new work; it is freed when its last reference goes. */
void cxb_generation_retire(cxb_generation *gen);
bool cxb_generation_retired(const cxb_generation *gen);
int cxb_generation_alive(void); /* how many states exist */
/* The youngest generation before `gen` that still lives and was in service; NULL: none. */
cxb_generation *cxb_generation_older(const cxb_generation *gen);
cxb_memory *cxb_generation_memory(cxb_generation *gen);
/* Ends what cxb.task.every() started in this generation (task_lua.c). */
void cxb_task_stop_repeating(cxb_generation *gen);
/* Runs service[field]() as a task when it is a function, else calls `on_end` at once with ok. */
void cxb_generation_call(cxb_generation *gen, const char *field, cxb_task_end_cb on_end, void *arg);
