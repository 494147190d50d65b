/* Tasks: coroutines that may wait. One HTTP request, one call flow, one timer body is one task.
 *
 * How a binding waits:
 *
 *   static int l_thing(lua_State *L) {
 *     thing_req *r = ...;                       // owns a cxb_wait
 *     thing_start(r, on_done);
 *     return cxb_task_wait(L, &r->wait, thing_cancel, r);
 *   }
 *   static void on_done(thing_req *r) {         // on the main loop
 *     lua_State *L = cxb_wait_stack(&r->wait);  // NULL: the task is gone or no longer waits here
 *     if (L) { lua_pushstring(L, ...); cxb_wait_resume(&r->wait, 1); }
 *     free(r);
 *   }
 *
 * A call that can answer at once must not wait: it pushes its results and returns their count.
 * All of this belongs to the main loop's thread. */
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct cxb_task cxb_task;
typedef struct cxb_generation cxb_generation;

/* Names one wait of one task. Stays valid memory-wise after the task is gone (the serial tells). */
typedef struct cxb_wait {
  uint64_t task_id;
  uint64_t serial;
} cxb_wait;

/* Makes the running task wait. Must be the binding's last act: `return cxb_task_wait(...)`.
 * `cancel(arg)` is called once if the task is cancelled or its generation dies before
 * cxb_wait_resume(); afterwards cxb_wait_stack() answers NULL, and the task's wait has returned
 * nil, "cancelled". `cancel` may be NULL. `arg` stays the binding's. Raises a Lua error when L is
 * not a task's own coroutine (a script cannot wait inside a coroutine of its own). When the task is
 * already cancelled, `cancel(arg)` is called and nil, "cancelled" is returned without waiting. */
int cxb_task_wait(lua_State *L, cxb_wait *wait, void (*cancel)(void *arg), void *arg);

/* As cxb_task_wait(), and returns nil, "timeout" to the script after `timeout_ms` (< 0: never),
 * calling `cancel(arg)` first. */
int cxb_task_wait_ms(lua_State *L, cxb_wait *wait, int64_t timeout_ms, void (*cancel)(void *arg),
                     void *arg);

/* The stack to push results on, or NULL when nobody waits there any more. */
lua_State *cxb_wait_stack(const cxb_wait *wait);

/* Continues the task with the `nresults` values on top of its stack. Never call it from inside a
 * binding running on the same task; from another task's binding, or from an on_end, it is deferred
 * until that task waits or has ended. */
void cxb_wait_resume(const cxb_wait *wait, int nresults);

/* Pushes nil, "code", "message" on L and returns 3: what a binding returns for `err`
 * (code = cxb_err_code(err)). `fmt` NULL: the message is cxb_strerror(err). */
int cxb_push_error(lua_State *L, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Starts a task running the function below `nargs` arguments on top of L (popped). `name` is for
 * people: request id, call id, "timer". `on_end` (may be NULL) is called once when it ended:
 * `co` holds its results when ok, else `error` is the message with traceback. */
typedef void (*cxb_task_end_cb)(void *arg, bool ok, lua_State *co, int nresults, const char *error);
cxb_task *cxb_task_start(cxb_generation *gen, lua_State *L, int nargs, const char *name,
                         cxb_task_end_cb on_end, void *arg);

cxb_task *cxb_task_running(void); /* NULL outside of tasks */
cxb_task *cxb_task_ending(void);  /* inside on_end: the task that ended, else NULL */
uint64_t cxb_task_id(const cxb_task *task);
cxb_task *cxb_task_find(uint64_t id); /* NULL when ended */
const char *cxb_task_name(const cxb_task *task);
cxb_generation *cxb_task_generation(const cxb_task *task);
/* The log fields it carries (a JSON fragment) or NULL. */
const char *cxb_task_tags(const cxb_task *task);
/* Of a task that ended badly: "script", "stalled", "memory" or "cancelled". */
const char *cxb_task_reason(const cxb_task *task);

/* The task is cancelled `ms` from now, to the second; < 0: it may take as long as it likes. */
void cxb_task_deadline(cxb_task *task, int64_t ms);

/* From now on each wait of the task returns nil, "cancelled" at once; after `grace_ms` it is ended
 * by force at its next instruction. Idempotent. */
void cxb_task_cancel(cxb_task *task, int64_t grace_ms);
