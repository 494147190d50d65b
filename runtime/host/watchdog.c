/* The watchdog's timer and the hook it sets. */
#include "watchdog.h"

#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../base/buf.h"
#include "../base/err.h"
#include "../base/time.h"
#include "../observe/log.h"
#include "../observe/metrics.h"
#include "task_internal.h"

enum { AGAIN_MS = 50, QUICK_MS = 5, BUSY_TURNS = 8 };

static timer_t timer; /* sends SIGURG to the main thread */
static uv_prepare_t prepare;
static bool started;
static long stall_ms, end_ms;

/* Main thread and its signal handler. */
static lua_State *volatile slice_co;
static volatile int64_t slice_start; /* 0: no slice runs */
static volatile sig_atomic_t level;  /* 0 quiet, 1 to be named, 2 named, 3 to be ended */
static volatile sig_atomic_t armed;
static volatile sig_atomic_t hooked;
static int turns;         /* of the loop, in quick succession */
static int64_t turned_ms; /* when the last one was */

static void name_stall(lua_State *L, cxb_task *t, lua_Debug *ar) {
  lua_getinfo(L, "Sl", ar);
  cxb_buf f = {0};
  cxb_buf_str(&f, "\"code\":\"stalled\",\"task\":");
  cxb_buf_json(&f, t->name, strlen(t->name));
  cxb_buf_str(&f, ",\"file\":");
  cxb_buf_json(&f, ar->short_src, strlen(ar->short_src));
  cxb_buf_printf(&f, ",\"line\":%d,\"ms\":%lld", ar->currentline,
                 (long long)(cxb_mono_ms() - slice_start));
  cxb_log_write(CXB_LOG_WARN, t->tags, f.data, "a task does not yield");
  cxb_buf_free(&f);
  cxb_metric_add("cxb_task_stalls_total", "", 1);
}

static void on_hook(lua_State *L, lua_Debug *ar) {
  cxb_task *t = cxb_task_running();
  if (!t || !slice_co) {
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  if (level == 1) {
    level = 2;
    name_stall(L, t, ar);
  } else if (level == 3 && !t->killed) {
    t->killed = CXB_TASK_STALLED;
  }
  if (t->killed) {
    lua_getinfo(L, "Sl", ar);
    luaL_error(L, "%s at %s:%d", t->killed == CXB_TASK_STALLED ? "stalled" : "cancelled",
               ar->short_src, ar->currentline);
  }
  lua_sethook(L, NULL, 0, 0);
  hooked = 0;
}

void cxb_watchdog_hook(lua_State *co) {
  hooked = 1;
  lua_sethook(co, on_hook, LUA_MASKCOUNT, 1);
}

static void arm(long ms) {
  const struct itimerspec t = {.it_value = {ms / 1000, ms % 1000 * 1000000}};
  timer_settime(timer, 0, &t, NULL);
  armed = ms > 0;
}

/* What the running slice has earned by now; the milliseconds until it is looked at again. */
static long judge(int64_t age) {
  if (age < stall_ms)
    return (long)(stall_ms - age);
  if (level == 0)
    level = 1;
  else if (level == 2 && age >= end_ms)
    level = 3;
  if (level == 1 || level == 3) {
    cxb_watchdog_hook(slice_co);
    return AGAIN_MS;
  }
  return age < end_ms ? (long)(end_ms - age) : AGAIN_MS;
}

/* On the main thread: lua_sethook may be called from a signal handler. */
static void on_signal(int sig) {
  (void)sig;
  int saved = errno;
  armed = 0;
  if (slice_co)
    arm(judge(cxb_mono_ms() - slice_start));
  errno = saved;
}

void cxb_watchdog_enter(lua_State *co) {
  level = 0;
  slice_start = cxb_mono_ms();
  slice_co = co;
  if (started && !armed)
    arm(stall_ms);
  cxb_task *t = cxb_task_running();
  if (t && t->killed)
    cxb_watchdog_hook(co);
}

void cxb_watchdog_leave(void) {
  lua_State *co = slice_co;
  slice_co = NULL;
  if (hooked && co) {
    lua_sethook(co, NULL, 0, 0);
    hooked = 0;
  }
}

/* The loop is about to wait: what rests must not be woken. In a busy loop the timer stays as it is,
 * so that it costs nothing there. */
static void on_prepare(uv_prepare_t *handle) {
  int64_t now = (int64_t)uv_now(handle->loop);
  turns = now - turned_ms < QUICK_MS ? turns + 1 : 0;
  turned_ms = now;
  if (armed && turns < BUSY_TURNS)
    arm(0);
}

static int start_timer(void) {
  struct sigevent to = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGURG};
  to._sigev_un._tid = gettid();
  return timer_create(CLOCK_MONOTONIC, &to, &timer) == 0 ? 0 : CXB_ENOMEM;
}

int cxb_watchdog_start(uv_loop_t *loop, long name_after_ms, long end_after_ms) {
  stall_ms = name_after_ms;
  end_ms = end_after_ms;
  struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGURG, &sa, NULL);
  cxb_metric_declare("cxb_task_stalls_total", CXB_COUNTER, "Tasks that did not yield in time", NULL,
                     0);
  cxb_metric_add("cxb_task_stalls_total", "", 0);
  int err = start_timer();
  if (err)
    return err;
  uv_prepare_init(loop, &prepare);
  uv_prepare_start(&prepare, on_prepare);
  uv_unref((uv_handle_t *)&prepare);
  started = true;
  return 0;
}

void cxb_watchdog_stop(void) {
  if (started)
    timer_delete(timer);
  started = false;
}
