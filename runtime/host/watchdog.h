/* The watchdog: a timer that sees when a task does not yield; it wakes nobody while none runs. At
 * CXB_TASK_STALL_MS the task is named (task, file, line); at CXB_TASK_STALL_END_MS it is ended at
 * its next instruction. A count hook does the interrupting, so it works in interpreted code only
 * (jit.off()); a compiled loop is named late or never, and left to the supervisor's heartbeat. */
#pragma once
#include <lua.h>
#include <uv.h>

/* On the main thread. CXB_ENOMEM. */
int cxb_watchdog_start(uv_loop_t *loop, long stall_ms, long end_ms);
void cxb_watchdog_stop(void);
/* Around every slice of a task, main thread. */
void cxb_watchdog_enter(lua_State *co);
void cxb_watchdog_leave(void);
/* Makes the running slice call back at its next instruction. */
void cxb_watchdog_hook(lua_State *co);
