/* The process: one libuv loop, one script, its generations. */
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <uv.h>

typedef struct cxb_generation cxb_generation;

/* One room's part of the script API. `open` is called for each new generation with the `cxb` table
 * on top of the stack and adds its fields; `start` once, after the loop exists; `stop` once, before
 * the loop closes (closes handles; the loop is then run until none is left). Any may be NULL. */
typedef struct cxb_module {
  const char *name;
  int (*start)(uv_loop_t *loop);
  void (*open)(lua_State *L, cxb_generation *gen);
  void (*stop)(void);
} cxb_module;

/* runtime/main.c; rooms that are not linked in are NULL. */
extern const cxb_module *const cxb_modules[];
extern const int cxb_modules_count;

uv_loop_t *cxb_loop(void); /* the main loop */
/* When a timer that repeats every `ms` should fire first: whole seconds fall on a beat that all
 * such timers of the process share, so that they wake it together. At least ms - 999. */
uint64_t cxb_loop_first(uint64_t ms);
const char *cxb_root(void); /* installation directory, absolute, no trailing slash */
bool cxb_draining(void);    /* SIGTERM seen */
cxb_generation *cxb_generation_current(void); /* the one that takes new work; NULL while loading */

/* The Lua state and the service table (pushed) of a generation. */
lua_State *cxb_generation_state(cxb_generation *gen);
int cxb_generation_number(const cxb_generation *gen);
/* Pushes service[field] of `gen` on its state; false (nothing pushed) when it is nil. */
bool cxb_generation_push_service(cxb_generation *gen, lua_State *L, const char *field);
/* Keeps a generation alive while something C-side (a listener's request, a leg) still needs it. */
void cxb_generation_ref(cxb_generation *gen);
void cxb_generation_unref(cxb_generation *gen);
