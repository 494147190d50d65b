/* cxb.process: environment, children, signals, control sockets of others. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/buf.h"
#include "../base/err.h"
#include "../observe/sdnotify.h"
#include "generation.h"
#include "process.h"
#include "state.h"
#include "task.h"

#define CHILD_MT "cxb.child"
enum { MAX_ARGS = 128, MAX_CAPTURE = 4 << 20 };
extern char **environ;
void cxb_process_ignore_signals(void);
int cxb_process_control(lua_State *L); /* control_client_lua.c */

static const struct {
  const char *name;
  int number;
} signals[] = {{"HUP", SIGHUP},   {"INT", SIGINT},   {"TERM", SIGTERM},
               {"KILL", SIGKILL}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2},
               {"STOP", SIGSTOP}, {"CONT", SIGCONT}, {"QUIT", SIGQUIT}};

static int check_signal(lua_State *L, int index) {
  if (lua_type(L, index) == LUA_TNUMBER)
    return (int)lua_tointeger(L, index);
  const char *name = luaL_optstring(L, index, "TERM");
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (strcmp(signals[i].name, name) == 0)
      return signals[i].number;
  return luaL_argerror(L, index, "a signal's number or name such as TERM");
}

/* ---- children ---- */

typedef struct child {
  uv_process_t process;
  uv_pipe_t out;
  cxb_buf lines;
  cxb_wait exit_wait, line_wait;
  bool exited, out_ended;
  int64_t code;
  int sig, refs; /* Lua, process handle, pipe handle */
} child;

static void child_unref(child *c) {
  if (--c->refs > 0)
    return;
  cxb_buf_free(&c->lines);
  free(c);
}

static void on_handle_closed(uv_handle_t *h) {
  child_unref(h->data);
}

static int push_exit(lua_State *L, const child *c) {
  lua_pushnumber(L, (lua_Number)c->code);
  lua_pushinteger(L, c->sig);
  return 2;
}

static void on_exit_child(uv_process_t *p, int64_t code, int sig) {
  child *c = p->data;
  c->exited = true;
  c->code = code;
  c->sig = sig;
  uv_close((uv_handle_t *)p, on_handle_closed);
  lua_State *L = cxb_wait_stack(&c->exit_wait);
  if (L)
    cxb_wait_resume(&c->exit_wait, push_exit(L, c));
}

/* Pushes the next line when there is one (at the end also the last, unfinished one). */
static bool push_line(lua_State *L, child *c) {
  char *nl = c->lines.len ? memchr(c->lines.data, '\n', c->lines.len) : NULL;
  if (!nl && !(c->out_ended && c->lines.len) && c->lines.len < 65536)
    return false;
  size_t len = nl ? (size_t)(nl - c->lines.data) : c->lines.len;
  lua_pushlstring(L, c->lines.data, len);
  cxb_buf_consume(&c->lines, nl ? len + 1 : len);
  return true;
}

static void offer_line(child *c) {
  lua_State *L = cxb_wait_stack(&c->line_wait);
  if (!L)
    return;
  if (push_line(L, c))
    cxb_wait_resume(&c->line_wait, 1);
  else if (c->out_ended) {
    lua_pushnil(L);
    cxb_wait_resume(&c->line_wait, 1);
  }
}

static void on_child_alloc(uv_handle_t *h, size_t n, uv_buf_t *buf) {
  (void)n;
  child *c = h->data;
  bool full = c->lines.len > MAX_CAPTURE || cxb_buf_reserve(&c->lines, 16384);
  *buf = full ? uv_buf_init(NULL, 0) : uv_buf_init(c->lines.data + c->lines.len, 16384);
}

static void on_child_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  (void)buf;
  child *c = s->data;
  if (n == UV_ENOBUFS) { /* nobody reads: what is there is dropped rather than block the child */
    cxb_buf_clear(&c->lines);
    return;
  }
  if (n < 0) {
    c->out_ended = true;
    uv_close((uv_handle_t *)&c->out, on_handle_closed);
  } else {
    c->lines.len += (size_t)n;
    c->lines.data[c->lines.len] = '\0';
  }
  offer_line(c);
}

/* ["k"]="v" pairs over the own environment, NULL-terminated; malloc'd strings. */
static char **merged_env(lua_State *L, int index) {
  size_t n = 0, own = 0;
  while (environ[own])
    own++;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    n++;
    lua_pop(L, 1);
  }
  char **env = calloc(own + n + 1, sizeof *env);
  if (!env)
    return NULL;
  size_t used = 0;
  for (size_t i = 0; i < own; i++) {
    size_t key = strcspn(environ[i], "=");
    lua_pushlstring(L, environ[i], key);
    lua_rawget(L, index);
    if (lua_isnil(L, -1))
      env[used++] = strdup(environ[i]);
    lua_pop(L, 1);
  }
  lua_pushnil(L);
  while (lua_next(L, index)) {
    if (lua_type(L, -2) == LUA_TSTRING && lua_isstring(L, -1)) {
      cxb_buf b = {0};
      cxb_buf_printf(&b, "%s=%s", lua_tostring(L, -2), lua_tostring(L, -1));
      env[used++] = b.data;
    }
    lua_pop(L, 1); /* false: the variable is left out */
  }
  return env;
}

static int open_append(lua_State *L, const char *field) {
  lua_getfield(L, 1, field);
  const char *path = lua_tostring(L, -1);
  int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640) : -1;
  lua_pop(L, 1);
  return path && fd < 0 ? -2 : fd;
}

static int spawn(lua_State *L, child *c, char **args, char **env, const char *cwd, int capture) {
  int out = open_append(L, "stdout"), err = open_append(L, "stderr");
  if (out == -2 || err == -2) {
    close(out);
    close(err);
    return UV_EACCES;
  }
  uv_stdio_container_t io[3] = {{.flags = UV_IGNORE}, {0}, {0}};
  io[1] = out >= 0 ? (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = out}
                   : (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = 1};
  io[2] = err >= 0 ? (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = err}
                   : (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = 2};
  int pair[2] = {-1, -1};
  if (capture && pipe2(pair, O_CLOEXEC) == 0) {
    if (out < 0)
      io[1].data.fd = pair[1];
    if (err < 0)
      io[2].data.fd = pair[1];
  }
  lua_getfield(L, 1, "detached");
  uv_process_options_t o = {.exit_cb = on_exit_child,
                            .file = args[0],
                            .args = args,
                            .env = env,
                            .cwd = cwd,
                            .stdio_count = 3,
                            .stdio = io,
                            .flags = lua_toboolean(L, -1) ? UV_PROCESS_DETACHED : 0};
  lua_pop(L, 1);
  int rc = uv_spawn(cxb_loop(), &c->process, &o);
  if (out >= 0)
    close(out);
  if (err >= 0)
    close(err);
  if (pair[1] >= 0)
    close(pair[1]);
  if (rc != 0) {
    if (pair[0] >= 0)
      close(pair[0]);
    return rc;
  }
  if (pair[0] >= 0) {
    uv_pipe_init(cxb_loop(), &c->out, 0);
    c->out.data = c;
    uv_pipe_open(&c->out, pair[0]);
    c->refs++;
    uv_read_start((uv_stream_t *)&c->out, on_child_alloc, on_child_read);
  } else {
    c->out_ended = true;
  }
  return 0;
}

static int l_spawn(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_getfield(L, 1, "args");
  luaL_argcheck(L, lua_istable(L, 2) && lua_objlen(L, 2) > 0, 1, "args: a list, the program first");
  char *args[MAX_ARGS + 1];
  int n = 0;
  for (; n < MAX_ARGS; n++) {
    lua_rawgeti(L, 2, n + 1);
    if (lua_isnil(L, -1))
      break;
    args[n] = (char *)luaL_checkstring(L, -1); /* anchored by the stack */
    luaL_checkstack(L, 8, "args");
  }
  args[n] = NULL;
  lua_getfield(L, 1, "env");
  char **env = lua_istable(L, -1) ? merged_env(L, lua_gettop(L)) : NULL;
  lua_getfield(L, 1, "cwd");
  const char *cwd = lua_tostring(L, -1);
  lua_getfield(L, 1, "capture");
  int capture = lua_toboolean(L, -1);
  child *c = calloc(1, sizeof *c);
  if (!c)
    return luaL_error(L, "out of memory");
  c->refs = 2;
  c->process.data = c;
  int rc = spawn(L, c, args, env, cwd, capture);
  for (char **e = env; e && *e; e++)
    free(*e);
  free(env);
  if (rc != 0) {
    c->refs--;
    if (c->process.loop) /* uv_spawn() was reached */
      uv_close((uv_handle_t *)&c->process, on_handle_closed);
    else
      child_unref(c);
    return cxb_push_error(L, rc == UV_ENOENT ? CXB_ENOENT : CXB_EIO, "%s: %s", args[0],
                          uv_strerror(rc));
  }
  lua_createtable(L, 0, 2);
  lua_pushinteger(L, c->process.pid);
  lua_setfield(L, -2, "pid");
  child **ud = lua_newuserdata(L, sizeof *ud);
  *ud = c;
  luaL_getmetatable(L, CHILD_MT);
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "_h");
  luaL_getmetatable(L, "cxb.child.methods");
  lua_setmetatable(L, -2);
  return 1;
}

static child *check_child(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "_h");
  child **ud = luaL_checkudata(L, -1, CHILD_MT);
  lua_pop(L, 1);
  return *ud;
}

static int l_child_gc(lua_State *L) {
  child **ud = luaL_checkudata(L, 1, CHILD_MT);
  if (*ud)
    child_unref(*ud);
  *ud = NULL;
  return 0;
}

static int l_child_wait(lua_State *L) {
  child *c = check_child(L);
  if (c->exited)
    return push_exit(L, c);
  int64_t ms = lua_isnoneornil(L, 2) ? -1 : (int64_t)luaL_checknumber(L, 2);
  return cxb_task_wait_ms(L, &c->exit_wait, ms, NULL, NULL);
}

static int l_child_kill(lua_State *L) {
  child *c = check_child(L);
  int sig = check_signal(L, 2);
  lua_pushboolean(L, !c->exited && uv_process_kill(&c->process, sig) == 0);
  return 1;
}

static int l_child_line(lua_State *L) {
  child *c = check_child(L);
  if (push_line(L, c))
    return 1;
  if (c->out_ended) {
    lua_pushnil(L);
    return 1;
  }
  return cxb_task_wait(L, &c->line_wait, NULL, NULL);
}

/* ---- this process ---- */

static int l_env(lua_State *L) {
  lua_pushstring(L, getenv(luaL_checkstring(L, 1)));
  return 1;
}

static int l_environ(lua_State *L) {
  lua_newtable(L);
  for (char **e = environ; *e; e++) {
    size_t key = strcspn(*e, "=");
    lua_pushlstring(L, *e, key);
    lua_pushstring(L, (*e)[key] ? *e + key + 1 : "");
    lua_rawset(L, -3);
  }
  return 1;
}

/* ---- what outlives a generation ---- */

static struct {
  char name[32];
  char *text;
  size_t len;
} kept[4];

static int l_keep(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  size_t len;
  const char *text = luaL_optlstring(L, 2, NULL, &len);
  luaL_argcheck(L, strlen(name) < sizeof kept[0].name, 1, "at most 31 bytes");
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
    bool found = kept[i].text && strcmp(kept[i].name, name) == 0;
    if (!found && !kept[i].text && text) {
      kept[i].text = malloc(len + 1);
      if (!kept[i].text)
        return luaL_error(L, "out of memory");
      memcpy(kept[i].text, text, len + 1);
      kept[i].len = len;
      snprintf(kept[i].name, sizeof kept[i].name, "%s", name);
      found = true;
    }
    if (found) {
      lua_pushlstring(L, kept[i].text, kept[i].len);
      return 1;
    }
  }
  lua_pushnil(L);
  return 1;
}

static int l_kill(lua_State *L) {
  pid_t pid = (pid_t)luaL_checkinteger(L, 1);
  luaL_argcheck(L, pid > 0, 1, "a process id");
  if (kill(pid, check_signal(L, 2)) != 0)
    return cxb_push_error(L, errno == ESRCH ? CXB_ENOENT : CXB_EINVAL, "%s", strerror(errno));
  lua_pushboolean(L, 1);
  return 1;
}

static int l_print(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  fwrite(text, 1, len, stdout);
  fflush(stdout);
  return 0;
}

static int l_rss_kb(lua_State *L) {
  FILE *f = fopen("/proc/self/statm", "re");
  long size = 0, rss = 0;
  if (f) {
    if (fscanf(f, "%ld %ld", &size, &rss) != 2)
      rss = 0;
    fclose(f);
  }
  lua_pushnumber(L, (lua_Number)rss * (lua_Number)sysconf(_SC_PAGESIZE) / 1024);
  return 1;
}

static int l_loop_lag(lua_State *L) {
  lua_pushnumber(L, cxb_process_loop_lag());
  return 1;
}

static int l_script_memory(lua_State *L) {
  size_t used = 0;
  for (cxb_generation *gen = cxb_generation_current(); gen; gen = cxb_generation_older(gen))
    used += cxb_generation_memory(gen)->used;
  lua_pushnumber(L, (lua_Number)used);
  return 1;
}

static int l_status(lua_State *L) {
  char state[512];
  int n = snprintf(state, sizeof state, "STATUS=%s", luaL_checkstring(L, 1));
  for (int i = 0; i < n && state[i]; i++)
    if ((unsigned char)state[i] < 0x20)
      state[i] = ' ';
  cxb_sd_notify(state);
  return 0;
}

static int l_reload_state(lua_State *L) {
  const char *error = cxb_process_reload_error();
  lua_pushstring(L, *error ? "failed" : "ok");
  lua_pushstring(L, error);
  return 2;
}

/* ---- signals of a tool ---- */

enum { WATCHED = 4 };
static struct {
  uv_signal_t handle;
  int number;
} watched[WATCHED];
static int watched_count;
static cxb_wait signal_wait;
static int pending[WATCHED], pending_count;

static const char *signal_name(int number) {
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (signals[i].number == number)
      return signals[i].name;
  return "?";
}

static void on_watched(uv_signal_t *h, int number) {
  (void)h;
  lua_State *L = cxb_wait_stack(&signal_wait);
  if (L) {
    lua_pushstring(L, signal_name(number));
    cxb_wait_resume(&signal_wait, 1);
  } else if (pending_count < WATCHED) {
    pending[pending_count++] = number;
  }
}

static void watch(int number) {
  for (int i = 0; i < watched_count; i++)
    if (watched[i].number == number)
      return;
  if (watched_count == WATCHED)
    return;
  watched[watched_count].number = number;
  uv_signal_init(cxb_loop(), &watched[watched_count].handle);
  uv_signal_start(&watched[watched_count].handle, on_watched, number);
  uv_unref((uv_handle_t *)&watched[watched_count].handle);
  watched_count++;
}

static int l_signal(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  cxb_process_ignore_signals();
  for (int i = 1; i <= (int)lua_objlen(L, 1); i++) {
    lua_rawgeti(L, 1, i);
    watch(check_signal(L, -1));
    lua_pop(L, 1);
  }
  if (pending_count > 0) {
    lua_pushstring(L, signal_name(pending[0]));
    memmove(pending, pending + 1, (size_t)--pending_count * sizeof *pending);
    return 1;
  }
  int64_t ms = lua_isnoneornil(L, 2) ? -1 : (int64_t)luaL_checknumber(L, 2);
  return cxb_task_wait_ms(L, &signal_wait, ms, NULL, NULL);
}

static void open_process(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg methods[] = {
      {"wait", l_child_wait}, {"kill", l_child_kill}, {"line", l_child_line}, {NULL, NULL}};
  static const luaL_Reg fns[] = {{"env", l_env},
                                 {"environ", l_environ},
                                 {"spawn", l_spawn},
                                 {"kill", l_kill},
                                 {"print", l_print},
                                 {"rss_kb", l_rss_kb},
                                 {"signal", l_signal},
                                 {"control", cxb_process_control},
                                 {"reload_state", l_reload_state},
                                 {"keep", l_keep},
                                 {"status", l_status},
                                 {"loop_lag", l_loop_lag},
                                 {"script_memory", l_script_memory},
                                 {NULL, NULL}};
  luaL_newmetatable(L, CHILD_MT);
  lua_pushcfunction(L, l_child_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  luaL_newmetatable(L, "cxb.child.methods");
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_newtable(L);
  luaL_register(L, NULL, fns);
  lua_pushinteger(L, getpid());
  lua_setfield(L, -2, "pid");
  lua_setfield(L, -2, "process");
}

static void stop_process(void) {
  for (int i = 0; i < watched_count; i++)
    uv_close((uv_handle_t *)&watched[i].handle, NULL);
  watched_count = 0;
}

const cxb_module cxb_process_module = {
    .name = "process", .open = open_process, .stop = stop_process};
