/* What the host's own files know of a task. */
#pragma once
#include <uv.h>

#include "host.h"
#include "task.h"

typedef enum { CXB_TASK_READY, CXB_TASK_RUNNING, CXB_TASK_WAITING } cxb_task_state;
typedef enum {
  CXB_TASK_SCRIPT,
  CXB_TASK_STALLED,
  CXB_TASK_MEMORY,
  CXB_TASK_CANCELLED
} cxb_task_end_reason;

struct cxb_task {
  uint64_t id, serial;
  cxb_generation *gen;
  lua_State *co;
  int co_ref, ready_results, waits_after_cancel;
  cxb_task_state state;
  cxb_task_end_reason killed, reason;
  bool cancelled, timer_made, has_handle, sleeping;
  int64_t deadline_ms; /* of the loop's clock; 0: none */
  void (*cancel)(void *arg);
  void *cancel_arg;
  cxb_task_end_cb on_end;
  void *end_arg;
  char *tags; /* JSON fragment for the log, may be NULL */
  cxb_task *next_hash, *next_ready;
  uv_timer_t timer;
  char name[48];
};

/* Waits `ms`, then returns true to the script. */
int cxb_task_sleep(lua_State *L, int64_t ms);
/* `fn` may end tasks; those started meanwhile are not visited. */
void cxb_task_each(void (*fn)(cxb_task *task, void *arg), void *arg);
/* The running task is ended at its next instruction, whatever it catches. */
void cxb_task_kill(cxb_task *task, cxb_task_end_reason reason);
/* Lets go of what cxb.task.self() made (task_lua.c). */
void cxb_task_forget_handle(lua_State *L, uint64_t id);
