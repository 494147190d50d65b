/* Tasks: coroutines that may wait (contract in task.h). */
#include "task.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../observe/log.h"
#include "generation.h"
#include "task_internal.h"
#include "watchdog.h"

enum { BUCKETS = 256, WAITS_AFTER_CANCEL = 1000, DEADLINE_MS = 500 };

static cxb_task *buckets[BUCKETS];
static uint64_t next_id = 1;
static cxb_task *running, *ending;
static cxb_task *ready_head, *ready_tail;
static int count, with_deadline;
static uv_timer_t deadlines;

/* Inside a task, or in what its end calls, another one is only made ready: whoever runs the first
 * runs it next, so that tasks that end one another never pile up on the C stack. */
static bool in_task(void) {
  return running || ending;
}

/* ---- finding ---- */

cxb_task *cxb_task_find(uint64_t id) {
  cxb_task *t = buckets[id % BUCKETS];
  while (t && t->id != id)
    t = t->next_hash;
  return t;
}

static void hash_add(cxb_task *t) {
  t->next_hash = buckets[t->id % BUCKETS];
  buckets[t->id % BUCKETS] = t;
}

static void hash_remove(cxb_task *t) {
  cxb_task **p = &buckets[t->id % BUCKETS];
  while (*p != t)
    p = &(*p)->next_hash;
  *p = t->next_hash;
}

cxb_task *cxb_task_running(void) {
  return running;
}

cxb_task *cxb_task_ending(void) {
  return ending;
}

uint64_t cxb_task_id(const cxb_task *t) {
  return t->id;
}

const char *cxb_task_name(const cxb_task *t) {
  return t->name;
}

const char *cxb_task_tags(const cxb_task *t) {
  return t->tags;
}

cxb_generation *cxb_task_generation(const cxb_task *t) {
  return t->gen;
}

void cxb_task_each(void (*fn)(cxb_task *task, void *arg), void *arg) {
  uint64_t *ids = calloc((size_t)count + 1, sizeof *ids);
  size_t n = 0;
  for (int i = 0; ids && i < BUCKETS; i++)
    for (cxb_task *t = buckets[i]; t; t = t->next_hash)
      ids[n++] = t->id;
  for (size_t i = 0; i < n; i++) {
    cxb_task *t = cxb_task_find(ids[i]);
    if (t)
      fn(t, arg);
  }
  free(ids);
}

/* ---- life ---- */

static void on_timer_closed(uv_handle_t *h) {
  free(h->data);
}

static void task_free(cxb_task *t) {
  free(t->tags);
  if (t->timer_made) {
    t->timer.data = t;
    uv_close((uv_handle_t *)&t->timer, on_timer_closed);
  } else {
    free(t);
  }
}

/* ---- deadlines ---- */

static void check_deadline(cxb_task *t, void *arg) {
  if (t->deadline_ms && t->deadline_ms <= *(int64_t *)arg)
    cxb_task_cancel(t, 0);
}

/* One timer looks at all of them, as long as there are any. */
static void on_deadlines(uv_timer_t *timer) {
  int64_t now = (int64_t)uv_now(cxb_loop());
  if (with_deadline == 0)
    uv_timer_stop(timer);
  else
    cxb_task_each(check_deadline, &now);
}

void cxb_task_deadline(cxb_task *t, int64_t ms) {
  with_deadline += (ms >= 0) - (t->deadline_ms != 0);
  t->deadline_ms = ms >= 0 ? (int64_t)uv_now(cxb_loop()) + ms + 1 : 0;
  if (ms < 0 || uv_is_active((uv_handle_t *)&deadlines))
    return;
  if (!deadlines.loop) {
    uv_timer_init(cxb_loop(), &deadlines);
    uv_unref((uv_handle_t *)&deadlines);
  }
  uv_timer_start(&deadlines, on_deadlines, DEADLINE_MS, DEADLINE_MS);
}

/* The task is over: tell its owner, give the coroutine back. */
static void finish(cxb_task *t, bool ok, int nresults, const char *error) {
  hash_remove(t);
  count--;
  cxb_task_deadline(t, -1);
  cxb_task *outer = ending;
  ending = t;
  if (t->on_end)
    t->on_end(t->end_arg, ok, t->co, nresults, error);
  ending = outer;
  if (t->has_handle)
    cxb_task_forget_handle(t->co, t->id);
  cxb_generation *gen = t->gen;
  cxb_generation_coroutine_put(gen, t->co, t->co_ref, ok);
  task_free(t);
  cxb_generation_unref(gen);
}

static const char *const reasons[] = {"script", "stalled", "memory", "cancelled"};

static void fail(cxb_task *t, int status) {
  const char *msg = lua_tostring(t->co, -1);
  t->reason = t->killed ? t->killed : status == LUA_ERRMEM ? CXB_TASK_MEMORY : CXB_TASK_SCRIPT;
  if (status == LUA_ERRMEM) {
    lua_settop(t->co, 0);
    msg = "memory cap reached";
    lua_gc(cxb_generation_state(t->gen), LUA_GCCOLLECT, 0);
    finish(t, false, 0, msg);
    return;
  }
  luaL_traceback(t->co, t->co, msg ? msg : "(error object is not a string)", 0);
  finish(t, false, 0, lua_tostring(t->co, -1));
}

const char *cxb_task_reason(const cxb_task *t) {
  return reasons[t->reason];
}

/* One slice: from a resume to the next wait. */
static void run(cxb_task *t, int nargs) {
  cxb_task *before = running;
  running = t;
  t->sleeping = false;
  t->state = CXB_TASK_RUNNING;
  cxb_memory *memory = cxb_generation_memory(t->gen);
  bool enforced = memory->enforce;
  memory->enforce = true;
  cxb_watchdog_enter(t->co);
  int status = lua_resume(t->co, nargs);
  cxb_watchdog_leave();
  memory->enforce = enforced;
  running = before;
  /* A script may catch the refusal: what it let go of must not end the next task instead. */
  if (memory->refused && status != LUA_ERRMEM)
    lua_gc(cxb_generation_state(t->gen), LUA_GCCOLLECT, 0);
  memory->refused = false;
  if (status == LUA_YIELD) {
    if (t->state == CXB_TASK_WAITING)
      return;
    lua_pushliteral(t->co, "a task cannot yield by itself; wait with a cxb function");
    status = LUA_ERRRUN;
  }
  if (status == 0)
    finish(t, true, lua_gettop(t->co), NULL);
  else
    fail(t, status);
}

static void drain_ready(void) {
  while (ready_head && !in_task()) {
    cxb_task *t = ready_head;
    ready_head = t->next_ready;
    if (!ready_head)
      ready_tail = NULL;
    run(t, t->ready_results);
  }
}

static void make_ready(cxb_task *t, int nresults) {
  t->state = CXB_TASK_READY;
  t->ready_results = nresults;
  t->next_ready = NULL;
  if (ready_tail)
    ready_tail->next_ready = t;
  else
    ready_head = t;
  ready_tail = t;
}

cxb_task *cxb_task_start(cxb_generation *gen, lua_State *L, int nargs, const char *name,
                         cxb_task_end_cb on_end, void *arg) {
  cxb_task *t = calloc(1, sizeof *t);
  if (!t)
    return NULL;
  t->co = cxb_generation_coroutine_get(gen, &t->co_ref);
  if (!t->co) {
    free(t);
    return NULL;
  }
  t->id = next_id++;
  t->gen = gen;
  t->on_end = on_end;
  t->end_arg = arg;
  snprintf(t->name, sizeof t->name, "%s", name);
  if (running && running->tags)
    t->tags = strdup(running->tags);
  cxb_generation_ref(gen);
  hash_add(t);
  count++;
  lua_xmove(L, t->co, nargs + 1);
  uint64_t id = t->id;
  if (in_task()) {
    make_ready(t, nargs);
    return t;
  }
  run(t, nargs);
  drain_ready();
  return cxb_task_find(id);
}

/* ---- waiting ---- */

static void on_timeout(uv_timer_t *timer) {
  cxb_task *t = timer->data;
  if (t->state != CXB_TASK_WAITING)
    return;
  void (*cancel)(void *) = t->cancel;
  t->cancel = NULL;
  t->serial++;
  if (cancel)
    cancel(t->cancel_arg);
  lua_settop(t->co, 0);
  int n = 1;
  if (t->sleeping) {
    lua_pushboolean(t->co, 1);
  } else {
    lua_pushnil(t->co);
    lua_pushliteral(t->co, "timeout");
    n = 2;
  }
  t->state = CXB_TASK_READY;
  run(t, n);
  drain_ready();
}

/* A cancelled task that goes on waiting a thousand times is looping: it is ended by force. */
static int wait_cancelled(lua_State *L, cxb_task *t, void (*cancel)(void *), void *arg) {
  if (cancel)
    cancel(arg);
  if (++t->waits_after_cancel > WAITS_AFTER_CANCEL)
    cxb_task_kill(t, CXB_TASK_CANCELLED);
  lua_settop(L, 0);
  lua_pushnil(L);
  lua_pushliteral(L, "cancelled");
  return 2;
}

int cxb_task_wait_ms(lua_State *L, cxb_wait *wait, int64_t timeout_ms, void (*cancel)(void *),
                     void *arg) {
  cxb_task *t = running;
  if (!t || t->co != L) {
    if (cancel)
      cancel(arg);
    return luaL_error(L, "cannot wait here: not in a task, or inside a coroutine of its own");
  }
  if (t->cancelled) {
    *wait = (cxb_wait){0, 0};
    return wait_cancelled(L, t, cancel, arg);
  }
  t->serial++;
  *wait = (cxb_wait){t->id, t->serial};
  t->cancel = cancel;
  t->cancel_arg = arg;
  t->state = CXB_TASK_WAITING;
  if (timeout_ms >= 0) {
    if (!t->timer_made) {
      uv_timer_init(cxb_loop(), &t->timer);
      t->timer.data = t;
      t->timer_made = true;
    }
    uv_timer_start(&t->timer, on_timeout, (uint64_t)timeout_ms, 0);
  }
  return lua_yield(L, 0);
}

int cxb_task_sleep(lua_State *L, int64_t ms) {
  cxb_wait wait;
  if (running && running->co == L)
    running->sleeping = true;
  return cxb_task_wait_ms(L, &wait, ms, NULL, NULL);
}

int cxb_task_wait(lua_State *L, cxb_wait *wait, void (*cancel)(void *), void *arg) {
  return cxb_task_wait_ms(L, wait, -1, cancel, arg);
}

static cxb_task *waiting_task(const cxb_wait *wait) {
  cxb_task *t = cxb_task_find(wait->task_id);
  return t && t->serial == wait->serial && t->state == CXB_TASK_WAITING ? t : NULL;
}

lua_State *cxb_wait_stack(const cxb_wait *wait) {
  cxb_task *t = waiting_task(wait);
  return t ? t->co : NULL;
}

void cxb_wait_resume(const cxb_wait *wait, int nresults) {
  cxb_task *t = waiting_task(wait);
  if (!t)
    return;
  t->serial++;
  t->cancel = NULL;
  if (t->timer_made)
    uv_timer_stop(&t->timer);
  if (in_task()) {
    make_ready(t, nresults);
    return;
  }
  run(t, nresults);
  drain_ready();
}

void cxb_task_cancel(cxb_task *t, int64_t grace_ms) {
  (void)grace_ms;
  if (t->cancelled)
    return;
  t->cancelled = true;
  if (t->state != CXB_TASK_WAITING)
    return;
  void (*cancel)(void *) = t->cancel;
  void *arg = t->cancel_arg;
  cxb_wait wait = {t->id, t->serial};
  t->cancel = NULL;
  if (cancel)
    cancel(arg);
  lua_State *co = cxb_wait_stack(&wait);
  if (!co)
    return;
  lua_settop(co, 0);
  lua_pushnil(co);
  lua_pushliteral(co, "cancelled");
  cxb_wait_resume(&wait, 2);
}

void cxb_task_kill(cxb_task *t, cxb_task_end_reason reason) {
  t->killed = reason;
  if (t == running)
    cxb_watchdog_hook(t->co);
}

int cxb_push_error(lua_State *L, int err, const char *fmt, ...) {
  lua_pushnil(L);
  lua_pushstring(L, cxb_err_code(err));
  if (!fmt) {
    lua_pushstring(L, cxb_strerror(err));
    return 3;
  }
  va_list ap;
  va_start(ap, fmt);
  lua_pushvfstring(L, fmt, ap);
  va_end(ap);
  return 3;
}
