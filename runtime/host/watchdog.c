/* The watchdog thread and the hook it sets. */
#include "watchdog.h"

#include <errno.h>
#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "../base/buf.h"
#include "../base/err.h"
#include "../base/time.h"
#include "../observe/log.h"
#include "../observe/metrics.h"
#include "task_internal.h"

static pthread_t thread, main_thread;
static bool started;
static _Atomic bool stopping;
static long stall_ms, end_ms;

static lua_State *volatile slice_co; /* main thread and its signal handler */
static _Atomic int64_t slice_start;  /* 0: no slice runs */
static _Atomic int level;            /* 0 quiet, 1 to be named, 2 named, 3 to be ended */
static bool hooked;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t begun = PTHREAD_COND_INITIALIZER;
static _Atomic bool resting;

static void wake(void);

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
  hooked = false;
}

void cxb_watchdog_hook(lua_State *co) {
  hooked = true;
  lua_sethook(co, on_hook, LUA_MASKCOUNT, 1);
}

/* On the main thread: lua_sethook may be called from a signal handler. */
static void on_signal(int sig) {
  (void)sig;
  int saved = errno;
  if (slice_co)
    cxb_watchdog_hook(slice_co);
  errno = saved;
}

void cxb_watchdog_enter(lua_State *co) {
  slice_co = co;
  level = 0;
  slice_start = started ? cxb_mono_ms() : 0;
  if (resting)
    wake();
  cxb_task *t = cxb_task_running();
  if (t && t->killed)
    cxb_watchdog_hook(co);
}

void cxb_watchdog_leave(void) {
  lua_State *co = slice_co;
  slice_start = 0;
  slice_co = NULL;
  if (hooked && co) {
    lua_sethook(co, NULL, 0, 0);
    hooked = false;
  }
}

/* Nothing to watch: sleeps until a slice begins, so that an idle process is woken by nobody. */
static void rest(void) {
  pthread_mutex_lock(&lock);
  resting = true;
  while (!slice_start && !stopping)
    pthread_cond_wait(&begun, &lock);
  resting = false;
  pthread_mutex_unlock(&lock);
}

static void *watch(void *arg) {
  (void)arg;
  long step = stall_ms / 4 < 10 ? 10 : stall_ms / 4 > 250 ? 250 : stall_ms / 4;
  while (!stopping) {
    if (!slice_start)
      rest();
    nanosleep(&(struct timespec){step / 1000, step % 1000 * 1000000}, NULL);
    int64_t start = slice_start, age = start ? cxb_mono_ms() - start : 0;
    int expected = 0, named = 2;
    if (start && age > end_ms && atomic_compare_exchange_strong(&level, &named, 3))
      pthread_kill(main_thread, SIGURG);
    else if (start && age > stall_ms && atomic_compare_exchange_strong(&level, &expected, 1))
      pthread_kill(main_thread, SIGURG);
  }
  return NULL;
}

static void wake(void) {
  pthread_mutex_lock(&lock);
  pthread_cond_signal(&begun);
  pthread_mutex_unlock(&lock);
}

int cxb_watchdog_start(long name_after_ms, long end_after_ms) {
  stall_ms = name_after_ms;
  end_ms = end_after_ms;
  main_thread = pthread_self();
  struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGURG, &sa, NULL);
  cxb_metric_declare("cxb_task_stalls_total", CXB_COUNTER, "Tasks that did not yield in time", NULL,
                     0);
  cxb_metric_add("cxb_task_stalls_total", "", 0);
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int err = pthread_create(&thread, NULL, watch, NULL);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (err)
    return CXB_ENOMEM;
  started = true;
  return 0;
}

void cxb_watchdog_stop(void) {
  if (!started)
    return;
  stopping = true;
  wake();
  pthread_join(thread, NULL);
  started = false;
}
