/* The life of the process. */
#include "process.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../base/err.h"
#include "../base/time.h"
#include "../observe/log.h"
#include "../observe/metrics.h"
#include "../observe/sdnotify.h"
#include "cli.h"
#include "control.h"
#include "generation.h"
#include "job.h"
#include "slot.h"
#include "task_internal.h"
#include "watchdog.h"

enum {
  DRAIN_API_MS = 30000,
  STOP_MS = 10000,
  NOW_MS = 2500,      /* what runs has ended by then */
  NOW_STOP_MS = 1500, /* and this long for what is left */
  TICK_MS = 20,
};

typedef enum { LOADING, TOOL, STARTING, SERVING, DRAINING, STOPPING, DONE } phase;

static struct {
  uv_loop_t loop;
  phase phase;
  cxb_cli cli;
  int exit_code;
  bool service, now, draining, operator_drain;
  bool reloading, reload_again;
  char reload_error[512];
  int64_t phase_since;
  uv_signal_t hup, term, intr;
  uv_timer_t tick, beat;
  uv_check_t woken;
  uv_prepare_t resting;
  uint64_t woken_ms; /* when the turn under way began */
  uint64_t lag_ms;   /* the longest turn since cxb_process_loop_lag() */
} p;

typedef struct reload_wait {
  struct reload_wait *next;
  void (*done)(void *arg, const char *error);
  void *arg;
} reload_wait;
static reload_wait *reload_now, *reload_next;

void (*cxb_process_on_stop_listening)(void);
int (*cxb_process_active_requests)(void);
int (*cxb_process_listen)(const char *addr, int mode, char *why, size_t why_len);
int (*cxb_process_listen_audiosocket)(lua_State *L, int entry, const char *addr, char *why,
                                      size_t why_len);

uv_loop_t *cxb_loop(void) {
  return &p.loop;
}

uint64_t cxb_loop_first(uint64_t ms) {
  uint64_t own = (uint64_t)getpid() * 61; /* neighbours beat at other times */
  return ms % 1000 ? ms : ms - (uv_now(&p.loop) + own) % 1000;
}

const char *cxb_root(void) {
  return p.cli.root;
}

bool cxb_draining(void) {
  return p.draining || p.operator_drain;
}

const char *cxb_process_reload_error(void) {
  return p.reload_error;
}

static void set_phase(phase to) {
  p.phase = to;
  p.phase_since = cxb_mono_ms();
}

/* ---- end ---- */

static void close_walk(uv_handle_t *h, void *arg) {
  (void)arg;
  if (!uv_is_closing(h) &&
      (h == (uv_handle_t *)&p.hup || h == (uv_handle_t *)&p.term || h == (uv_handle_t *)&p.intr ||
       h == (uv_handle_t *)&p.tick || h == (uv_handle_t *)&p.beat || h == (uv_handle_t *)&p.woken ||
       h == (uv_handle_t *)&p.resting))
    uv_close(h, NULL);
}

static void cancel_one(cxb_task *t, void *arg) {
  (void)arg;
  cxb_task_cancel(t, 0);
}

/* From here on nothing new starts: rooms close what they hold and the loop runs dry. */
static void finish(void) {
  if (p.phase == DONE)
    return;
  set_phase(DONE);
  uv_stop(&p.loop);
}

void cxb_process_exit(int code) {
  p.exit_code = code;
  finish();
}

static void on_stopped(void *arg, bool ok, lua_State *co, int n, const char *error) {
  (void)arg;
  (void)co;
  (void)n;
  if (!ok)
    cxb_log_failure(0, NULL, "stop", "stop", error);
  finish();
}

static void stop_service(void) {
  set_phase(STOPPING);
  cxb_generation *gen = cxb_generation_current();
  if (gen)
    cxb_generation_call(gen, "stop", on_stopped, NULL);
  else
    finish();
}

/* Draining ends when no call and no request is left; `now` gives up waiting after its limit. */
static void on_tick(uv_timer_t *timer) {
  (void)timer;
  int64_t age = cxb_mono_ms() - p.phase_since;
  if (p.phase == STOPPING && age > (p.now ? NOW_STOP_MS : STOP_MS + 1000)) {
    cxb_logf(CXB_LOG_ERROR, "stop did not end in time");
    finish();
  }
  if (p.phase != DRAINING)
    return;
  int requests = cxb_process_active_requests ? cxb_process_active_requests() : 0;
  bool calls = cxb_slot_used() > 0;
  if (!calls && requests == 0)
    stop_service();
  else if (p.now && age > NOW_MS)
    stop_service();
  else if (!calls && age > DRAIN_API_MS)
    stop_service();
}

static bool is_call_worker(void) {
  cxb_generation *gen = cxb_generation_current();
  if (!gen || !cxb_generation_push_service(gen, cxb_generation_state(gen), "guard"))
    return false;
  lua_pop(cxb_generation_state(gen), 1);
  return true;
}

static void begin_drain(bool now) {
  if (p.phase < SERVING || p.phase == DONE) {
    p.exit_code = p.phase == TOOL || p.phase == LOADING ? 130 : 0;
    finish();
    return;
  }
  if (p.phase == SERVING) {
    cxb_sd_notify("STOPPING=1");
    cxb_logf(CXB_LOG_INFO, now ? "stopping now" : "draining");
    p.draining = true;
    set_phase(DRAINING);
    /* A call worker answers refusals and health until its call has ended. */
    if (!is_call_worker() && cxb_process_on_stop_listening)
      cxb_process_on_stop_listening();
    uv_timer_start(&p.tick, on_tick, TICK_MS, TICK_MS);
    for (cxb_generation *gen = cxb_generation_current(); gen; gen = cxb_generation_older(gen))
      cxb_generation_call(gen, "drain", NULL, NULL);
  }
  if (now && !p.now) {
    p.now = true;
    p.phase_since = cxb_mono_ms();
    for (cxb_generation *gen = cxb_generation_current(); gen; gen = cxb_generation_older(gen))
      cxb_generation_call(gen, "now", NULL, NULL);
  }
}

void cxb_process_drain(bool on) {
  p.operator_drain = on;
}

static void on_active(void *arg, bool ok, lua_State *co, int n, const char *error) {
  (void)arg;
  (void)co;
  (void)n;
  if (!ok)
    cxb_log_failure(0, NULL, "active", "active", error);
}

/* ---- reload ---- */

static void begin_reload(void);

static void answer_reload(const char *error) {
  reload_wait *w = reload_now;
  reload_now = NULL;
  while (w) {
    reload_wait *next = w->next;
    w->done(w->arg, error);
    free(w);
    w = next;
  }
}

/* Its first line; a module that does not load names its place only on the second. */
static void keep_reload_error(const char *error) {
  size_t len = strcspn(error, "\n");
  int second = 0;
  const char *next = error + len + 1;
  if (len > 0 && error[len - 1] == ':' && error[len]) {
    next += strspn(next, " \t");
    second = (int)strcspn(next, "\n");
  }
  snprintf(p.reload_error, sizeof p.reload_error, "%.*s%s%.*s", (int)len, error, second ? " " : "",
           second, second ? next : "");
}

static void on_reloaded(void *arg, cxb_generation *gen, bool service, int code, const char *error) {
  (void)arg;
  (void)code;
  char notready[] = "the script no longer returns a service";
  if (!error && !service) {
    error = notready;
    cxb_generation_unref(gen);
  }
  p.reloading = false;
  if (error) {
    keep_reload_error(error);
    cxb_metric_add("cxb_reload_failures_total", "", 1);
    cxb_log_failure(0, NULL, "reload", "reload failed", p.reload_error);
  } else {
    p.reload_error[0] = '\0';
    cxb_generation_activate(gen);
    cxb_generation_call(gen, "active", on_active, NULL);
    cxb_logf(CXB_LOG_INFO, "generation %d serves", cxb_generation_number(gen));
  }
  cxb_sd_notify("READY=1");
  answer_reload(error ? p.reload_error : NULL);
  if (p.reload_again) {
    p.reload_again = false;
    begin_reload();
  }
}

static void begin_reload(void) {
  if (p.phase != SERVING) {
    reload_now = reload_next;
    reload_next = NULL;
    answer_reload("the service is not running");
    return;
  }
  if (p.reloading) {
    p.reload_again = true;
    return;
  }
  p.reloading = true;
  reload_now = reload_next;
  reload_next = NULL;
  char state[64];
  snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld",
           (long long)(cxb_mono_ns() / 1000));
  cxb_sd_notify(state);
  cxb_generation_load(p.cli.script, "run", p.cli.argc, p.cli.argv, on_reloaded, NULL);
}

void cxb_process_reload(void (*done)(void *arg, const char *error), void *arg) {
  if (done) {
    reload_wait *w = malloc(sizeof *w);
    if (!w) {
      done(arg, "out of memory");
      return;
    }
    *w = (reload_wait){reload_next, done, arg};
    reload_next = w;
  }
  begin_reload();
}

/* ---- start ---- */

static void refuse_start(const char *error) {
  /* A refused start is for people: one line of text, not a traceback, when the script meant it. */
  const char *mark = strstr(error, "start refused: ");
  if (mark)
    fprintf(stderr, "cxbrt: %.*s\n", (int)strcspn(mark + 15, "\n"), mark + 15);
  else
    fprintf(stderr, "cxbrt: %s\n", error);
  cxb_process_exit(strstr(error, "start refused: worker id above") ? 78 : 1);
}

static int open_listener(lua_State *L, int entry, char *why, size_t len) {
  lua_getfield(L, entry, "addr");
  lua_getfield(L, entry, "mode");
  lua_getfield(L, entry, "control");
  lua_getfield(L, entry, "audiosocket");
  const char *addr = lua_tostring(L, -4);
  int mode = lua_isnumber(L, -3) ? (int)lua_tointeger(L, -3) : 0660, err = CXB_EINVAL;
  if (!addr)
    snprintf(why, len, "listen: addr is missing");
  else if (lua_toboolean(L, -2))
    err = cxb_control_listen(addr, mode, why, len);
  else if (lua_toboolean(L, -1) && cxb_process_listen_audiosocket)
    err = cxb_process_listen_audiosocket(L, entry, addr, why, len);
  else if (cxb_process_listen)
    err = cxb_process_listen(addr, mode, why, len);
  else
    snprintf(why, len, "listen: no HTTP server in this program");
  lua_pop(L, 4);
  return err;
}

/* `variable` of an entry: the setting that its address comes from, named where it cannot be had. */
static void name_setting(lua_State *L, int entry, char *why, size_t len) {
  lua_getfield(L, entry, "variable");
  if (lua_isstring(L, -1)) {
    lua_pushfstring(L, "%s: %s", lua_tostring(L, -1), why);
    snprintf(why, len, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static int open_listeners(cxb_generation *gen, char *why, size_t len) {
  lua_State *L = cxb_generation_state(gen);
  if (!cxb_generation_push_service(gen, L, "listen"))
    return 0;
  int err = 0;
  for (int i = 1; !err && i <= (int)lua_objlen(L, -1); i++) {
    lua_rawgeti(L, -1, i);
    err = open_listener(L, lua_gettop(L), why, len);
    if (err)
      name_setting(L, lua_gettop(L), why, len);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return err;
}

static void on_started(void *arg, bool ok, lua_State *co, int n, const char *error) {
  (void)arg;
  (void)co;
  (void)n;
  if (p.phase == DONE)
    return;
  if (!ok) {
    refuse_start(error);
    return;
  }
  char why[512];
  if (open_listeners(cxb_generation_current(), why, sizeof why) != 0) {
    refuse_start(why);
    return;
  }
  set_phase(SERVING);
  cxb_sd_notify("READY=1\nSTATUS=idle");
  cxb_generation_call(cxb_generation_current(), "active", on_active, NULL);
}

static void on_loaded(void *arg, cxb_generation *gen, bool service, int code, const char *error) {
  (void)arg;
  if (p.phase == DONE)
    return;
  if (error) {
    if (p.cli.check)
      fprintf(stderr, "%s\n", error);
    refuse_start(error);
    return;
  }
  if (!service || p.cli.check || p.cli.help_config) {
    if (p.cli.check)
      printf("%s: ok\n", p.cli.script);
    cxb_process_exit(code);
    return;
  }
  p.service = true;
  set_phase(STARTING);
  cxb_generation_activate(gen);
  cxb_generation_call(gen, "start", on_started, NULL);
}

static void on_hup(uv_signal_t *h, int sig) {
  (void)h;
  (void)sig;
  cxb_process_reload(NULL, NULL);
}

static void on_term(uv_signal_t *h, int sig) {
  (void)h;
  begin_drain(sig == SIGINT || p.draining);
}

/* A turn of the loop: from the moment it woke until it rests again. What came meanwhile waited. */
static void on_woken(uv_check_t *h) {
  p.woken_ms = uv_now(h->loop);
}

static void on_resting(uv_prepare_t *h) {
  (void)h;
  uint64_t now = uv_hrtime() / 1000000;
  if (p.woken_ms && now - p.woken_ms > p.lag_ms)
    p.lag_ms = now - p.woken_ms;
}

double cxb_process_loop_lag(void) {
  double lag = (double)p.lag_ms;
  p.lag_ms = 0;
  return lag;
}

static void on_beat(uv_timer_t *timer) {
  (void)timer;
  cxb_sd_notify("WATCHDOG=1");
}

static long env_number(const char *name, long fallback) {
  const char *text = getenv(name);
  long n = text ? strtol(text, NULL, 10) : 0;
  return n > 0 ? n : fallback;
}

static void start_signals(void) {
  signal(SIGPIPE, SIG_IGN);
  uv_signal_init(&p.loop, &p.hup);
  uv_signal_init(&p.loop, &p.term);
  uv_signal_init(&p.loop, &p.intr);
  uv_timer_init(&p.loop, &p.tick);
  uv_timer_init(&p.loop, &p.beat);
  uv_check_init(&p.loop, &p.woken);
  uv_prepare_init(&p.loop, &p.resting);
  uv_check_start(&p.woken, on_woken);
  uv_prepare_start(&p.resting, on_resting);
  uv_unref((uv_handle_t *)&p.woken);
  uv_unref((uv_handle_t *)&p.resting);
  uv_signal_start(&p.hup, on_hup, SIGHUP);
  uv_signal_start(&p.term, on_term, SIGTERM);
  uv_signal_start(&p.intr, on_term, SIGINT);
  unsigned long long us = cxb_sd_watchdog_us();
  if (us)
    uv_timer_start(&p.beat, on_beat, cxb_loop_first(us / 3000), us / 3000);
}

/* Tools may take over INT and TERM (cxb.process.signal). */
void cxb_process_ignore_signals(void) {
  uv_signal_stop(&p.term);
  uv_signal_stop(&p.intr);
}

static int start_modules(void) {
  for (int i = 0; i < cxb_modules_count; i++)
    if (cxb_modules[i] && cxb_modules[i]->start) {
      int err = cxb_modules[i]->start(&p.loop);
      if (err) {
        fprintf(stderr, "cxbrt: %s: %s\n", cxb_modules[i]->name, cxb_strerror(err));
        return err;
      }
    }
  return 0;
}

/* Ends every task so that their bindings let go, stops the rooms, runs the loop until it is empty.
 */
static void shut_down(void) {
  cxb_task_each(cancel_one, NULL);
  cxb_control_close();
  for (int i = cxb_modules_count - 1; i >= 0; i--)
    if (cxb_modules[i] && cxb_modules[i]->stop)
      cxb_modules[i]->stop();
  uv_walk(&p.loop, close_walk, NULL);
  int64_t until = cxb_mono_ms() + 2000;
  while (uv_loop_alive(&p.loop) && cxb_mono_ms() < until)
    uv_run(&p.loop, UV_RUN_NOWAIT) ? (void)usleep(200) : (void)0;
  cxb_generation *gen = cxb_generation_current();
  if (gen)
    cxb_generation_unref(gen);
  for (int i = 0; i < 3; i++)
    uv_run(&p.loop, UV_RUN_NOWAIT);
  cxb_watchdog_stop();
}

int cxb_process_main(int argc, char **argv) {
  int early = cxb_cli_parse(argc, argv, &p.cli);
  if (early >= 0)
    return early;
  mallopt(M_ARENA_MAX, 2); /* a worker's threads share little; more arenas only hold memory */
  /* What one password or one large body took goes back to the system: by itself the threshold
   * would rise with the first of them. */
  mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
  mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
  uv_loop_init(&p.loop);
  cxb_pool_start(&p.loop);
  cxb_metric_declare("cxb_generations", CXB_GAUGE, "Lua states alive", NULL, 0);
  cxb_metric_declare("cxb_reload_failures_total", CXB_COUNTER, "Reloads refused", NULL, 0);
  cxb_metric_add("cxb_reload_failures_total", "", 0);
  start_signals();
  if (cxb_watchdog_start(&p.loop, env_number("CXB_TASK_STALL_MS", 200),
                         env_number("CXB_TASK_STALL_END_MS", 5000)) != 0 ||
      start_modules() != 0)
    return 1;
  set_phase(p.cli.check || p.cli.help_config ? TOOL : LOADING);
  const char *mode = p.cli.check ? "check" : p.cli.help_config ? "help-config" : "run";
  cxb_generation_load(p.cli.script, mode, p.cli.argc, p.cli.argv, on_loaded, NULL);
  while (p.phase != DONE && uv_run(&p.loop, UV_RUN_DEFAULT))
    ;
  shut_down();
  fflush(stdout);
  /* What rooms still hold (threads of libraries) ends with the process. */
  _exit(p.exit_code);
}
