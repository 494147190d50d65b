/* cxb.outbox */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../base/err.h"
#include "../base/time.h"
#include "../host/host.h"
#include "../host/task.h"
#include "../observe/log.h"
#include "../observe/metrics.h"
#include "outbox.h"

#define BOX_MT "cxb.outbox.box"

typedef struct handle {
  cxb_outbox *box; /* NULL: closed */
  lua_State *L;    /* the generation's, for `headers` */
  int headers;     /* reference, LUA_NOREF: none */
} handle;

typedef struct waiter {
  cxb_wait wait;
  lua_State *main;
  int headers; /* of open() */
} waiter;

static handle *check_box(lua_State *L) {
  return luaL_checkudata(L, 1, BOX_MT);
}

static waiter *new_waiter(lua_State *L) {
  waiter *w = calloc(1, sizeof *w);
  if (!w)
    luaL_error(L, "out of memory");
  w->headers = LUA_NOREF;
  return w;
}

/* Waits when `err` is 0, else gives the error back. */
static int wait_or_fail(lua_State *L, waiter *w, int err) {
  if (err == 0)
    return cxb_task_wait(L, &w->wait, NULL, NULL);
  free(w);
  return cxb_push_error(L, err, NULL);
}

/* The stack to answer on; frees the waiter. NULL: nobody waits. */
static lua_State *answer_on(waiter *w, cxb_wait *wait) {
  *wait = w->wait;
  free(w);
  return cxb_wait_stack(wait);
}

static int push_failure(lua_State *L, const char *code, const char *message) {
  lua_pushnil(L);
  lua_pushstring(L, code);
  lua_pushstring(L, message);
  return 3;
}

/* ---- headers ---- */

/* These are the outbox's own, the same on every attempt. */
static bool is_ours(const char *name) {
  static const char *const names[] = {"content-type", "user-agent", "idempotency-key",
                                      "content-length", "transfer-encoding"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcasecmp(name, names[i]) == 0)
      return true;
  return false;
}

static bool is_clean(const char *s, size_t len) {
  for (size_t i = 0; i < len; i++)
    if ((unsigned char)s[i] < ' ' || s[i] == 127)
      return false;
  return true;
}

/* Adds the string fields of the table on top of the stack as lines. */
static int add_headers(lua_State *L, cxb_buf *out) {
  int table = lua_gettop(L), err = 0;
  lua_pushnil(L);
  while (!err && lua_next(L, table)) {
    size_t name_len, len;
    bool usable = lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING;
    const char *name = usable ? lua_tolstring(L, -2, &name_len) : NULL;
    const char *value = usable ? lua_tolstring(L, -1, &len) : NULL;
    if (!usable || name_len == 0 || memchr(name, ':', name_len) || !is_clean(name, name_len) ||
        !is_clean(value, len))
      err = CXB_EINVAL;
    else if (!is_ours(name))
      err = cxb_buf_printf(out, "%s: %s\r\n", name, value);
    lua_pop(L, 1);
  }
  lua_settop(L, table);
  return err;
}

static void push_row(lua_State *L, const cxb_outbox_row *row) {
  lua_createtable(L, 0, 8);
  lua_pushnumber(L, (lua_Number)row->id);
  lua_setfield(L, -2, "id");
  lua_pushnumber(L, (lua_Number)row->n);
  lua_setfield(L, -2, "n");
  lua_pushstring(L, row->kind);
  lua_setfield(L, -2, "kind");
  lua_pushstring(L, row->state);
  lua_setfield(L, -2, "state");
  lua_pushstring(L, row->session_id);
  lua_setfield(L, -2, "session_id");
  lua_pushinteger(L, row->attempts);
  lua_setfield(L, -2, "attempts");
}

/* headers(row) of the generation that opened the box last. It cannot wait; what it raises is not
 * logged, for it may hold a secret. */
static int ask_headers(void *arg, const cxb_outbox_row *row, cxb_buf *out) {
  handle *h = arg;
  lua_State *L = h->L;
  int top = lua_gettop(L), err = CXB_EINVAL;
  lua_rawgeti(L, LUA_REGISTRYINDEX, h->headers);
  push_row(L, row);
  lua_pushstring(L, row->url);
  lua_setfield(L, -2, "url");
  if (lua_pcall(L, 1, 1, 0) == 0 && (lua_istable(L, -1) || lua_isnil(L, -1)))
    err = lua_isnil(L, -1) ? 0 : add_headers(L, out);
  if (err)
    cxb_logf(CXB_LOG_ERROR, "outbox: headers() failed for row %lld", (long long)row->id);
  lua_settop(L, top);
  return err;
}

/* ---- opening ---- */

static void on_opened(void *arg, cxb_outbox *box, int err, const char *code, const char *message) {
  waiter *w = arg;
  int headers = w->headers;
  lua_State *main = w->main;
  cxb_wait wait;
  lua_State *L = answer_on(w, &wait);
  if (!L && box) /* the waiting task is gone, perhaps with its generation */
    cxb_outbox_close(box);
  if (!L)
    return;
  if (err) {
    luaL_unref(L, LUA_REGISTRYINDEX, headers);
    cxb_wait_resume(&wait, push_failure(L, code, message));
    return;
  }
  handle *h = lua_newuserdata(L, sizeof *h);
  *h = (handle){box, main, headers};
  luaL_getmetatable(L, BOX_MT);
  lua_setmetatable(L, -2);
  if (headers != LUA_NOREF)
    cxb_outbox_add_hook(box, ask_headers, h);
  cxb_wait_resume(&wait, 1);
}

static int l_open(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  cxb_outbox_options options = {0};
  int headers = LUA_NOREF;
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfield(L, 2, "retain_days");
    options.retain_days = (int)luaL_optinteger(L, -1, 0);
    lua_getfield(L, 2, "headers");
    if (!lua_isnil(L, -1)) {
      luaL_checktype(L, -1, LUA_TFUNCTION);
      headers = luaL_ref(L, LUA_REGISTRYINDEX);
    }
  }
  waiter *w = new_waiter(L);
  cxb_task *task = cxb_task_running();
  w->headers = headers;
  w->main = task ? cxb_generation_state(cxb_task_generation(task)) : NULL;
  return wait_or_fail(L, w, cxb_outbox_open(cxb_loop(), path, &options, on_opened, w));
}

static int l_close(lua_State *L) {
  handle *h = check_box(L);
  if (!h->box)
    return 0;
  cxb_outbox_remove_hook(h->box, h);
  cxb_outbox_close(h->box);
  h->box = NULL;
  luaL_unref(L, LUA_REGISTRYINDEX, h->headers);
  return 0;
}

/* ---- rows ---- */

static void on_put(void *arg, int64_t id, int err, const char *code, const char *message) {
  cxb_wait wait;
  lua_State *L = answer_on(arg, &wait);
  if (!L)
    return;
  if (err) {
    cxb_wait_resume(&wait, push_failure(L, code, message));
    return;
  }
  lua_pushnumber(L, (lua_Number)id);
  cxb_wait_resume(&wait, 1);
}

/* A field that has to be there; it stays on the stack. */
static const char *field(lua_State *L, const char *name, size_t *len) {
  lua_getfield(L, 2, name);
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_error(L, "put: %s is a %s; expected a string", name, luaL_typename(L, -1));
  return lua_tolstring(L, -1, len);
}

static int l_put(lua_State *L) {
  handle *h = check_box(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  size_t len;
  cxb_outbox_new row = {.kind = field(L, "kind", NULL),
                        .session_id = field(L, "session_id", NULL),
                        .url = field(L, "url", NULL),
                        .body = field(L, "body", &len)};
  row.body_len = len;
  lua_getfield(L, 2, "n");
  row.n = (int64_t)luaL_optnumber(L, -1, 0);
  lua_getfield(L, 2, "headers");
  cxb_buf headers = {0};
  if (lua_istable(L, -1) && add_headers(L, &headers) != 0) {
    cxb_buf_free(&headers);
    return luaL_error(L, "put: headers are names and values without control characters");
  }
  row.headers = headers.data;
  waiter *w = calloc(1, sizeof *w);
  int err = !w ? CXB_ENOMEM : h->box ? cxb_outbox_put(h->box, &row, on_put, w) : CXB_ECLOSED;
  cxb_buf_free(&headers);
  if (err == CXB_EINVAL) {
    free(w);
    return cxb_push_error(L, err, "put: kind, session_id or url is not usable");
  }
  return wait_or_fail(L, w, err);
}

static void on_listed(void *arg, const cxb_outbox_row *rows, int count, int err) {
  cxb_wait wait;
  lua_State *L = answer_on(arg, &wait);
  if (!L)
    return;
  if (err) {
    cxb_wait_resume(&wait, cxb_push_error(L, err, NULL));
    return;
  }
  int64_t now = cxb_now_ms();
  char due[CXB_ISO_LEN];
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    push_row(L, &rows[i]);
    cxb_iso_time(due, rows[i].due_ms);
    lua_pushstring(L, due);
    lua_setfield(L, -2, "next_at");
    lua_pushnumber(L, (lua_Number)(now - rows[i].created_ms) / 1000);
    lua_setfield(L, -2, "age_seconds");
    if (rows[i].last_error[0]) {
      lua_pushstring(L, rows[i].last_error);
      lua_setfield(L, -2, "last_error");
    }
    lua_rawseti(L, -2, i + 1);
  }
  cxb_wait_resume(&wait, 1);
}

static int l_list(lua_State *L) {
  handle *h = check_box(L);
  const char *state = luaL_optstring(L, 2, NULL);
  int limit = (int)luaL_optinteger(L, 3, 100);
  waiter *w = new_waiter(L);
  return wait_or_fail(L, w,
                      h->box ? cxb_outbox_list(h->box, state, limit, on_listed, w) : CXB_ECLOSED);
}

static void on_got(void *arg, const char *body, size_t len, int err) {
  cxb_wait wait;
  lua_State *L = answer_on(arg, &wait);
  if (!L)
    return;
  int n = 1;
  if (err)
    n = cxb_push_error(L, err, NULL);
  else
    lua_pushlstring(L, body ? body : "", len);
  cxb_wait_resume(&wait, n);
}

static int l_get(lua_State *L) {
  handle *h = check_box(L);
  int64_t id = (int64_t)luaL_checknumber(L, 2);
  waiter *w = new_waiter(L);
  return wait_or_fail(L, w, h->box ? cxb_outbox_get(h->box, id, on_got, w) : CXB_ECLOSED);
}

static void answer(void *arg, int64_t count, int err, bool counted) {
  cxb_wait wait;
  lua_State *L = answer_on(arg, &wait);
  if (!L)
    return;
  int n = 1;
  if (err)
    n = cxb_push_error(L, err, NULL);
  else if (counted)
    lua_pushnumber(L, (lua_Number)count);
  else
    lua_pushboolean(L, 1);
  cxb_wait_resume(&wait, n);
}

static void on_done(void *arg, int64_t count, int err) {
  answer(arg, count, err, false);
}

static void on_counted(void *arg, int64_t count, int err) {
  answer(arg, count, err, true);
}

static int l_replay(lua_State *L) {
  handle *h = check_box(L);
  int64_t id = (int64_t)luaL_checknumber(L, 2);
  waiter *w = new_waiter(L);
  return wait_or_fail(L, w, h->box ? cxb_outbox_replay(h->box, id, on_done, w) : CXB_ECLOSED);
}

static int l_purge(lua_State *L) {
  handle *h = check_box(L);
  waiter *w = new_waiter(L);
  return wait_or_fail(L, w, h->box ? cxb_outbox_purge(h->box, on_counted, w) : CXB_ECLOSED);
}

static int l_flush(lua_State *L) {
  handle *h = check_box(L);
  int64_t ms = (int64_t)luaL_checknumber(L, 2);
  waiter *w = new_waiter(L);
  return wait_or_fail(L, w, h->box ? cxb_outbox_flush(h->box, ms, on_done, w) : CXB_ECLOSED);
}

static int l_stats(lua_State *L) {
  handle *h = check_box(L);
  cxb_outbox_stats s = {0};
  if (h->box)
    cxb_outbox_get_stats(h->box, &s);
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, s.ready);
  lua_setfield(L, -2, "ready");
  lua_pushinteger(L, s.sending);
  lua_setfield(L, -2, "sending");
  lua_pushinteger(L, s.dead);
  lua_setfield(L, -2, "dead");
  lua_pushnumber(L, s.oldest_age_s);
  lua_setfield(L, -2, "oldest_age_seconds");
  return 1;
}

/* ---- module ---- */

static void open_outbox(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg methods[] = {{"put", l_put},     {"list", l_list},   {"replay", l_replay},
                                     {"purge", l_purge}, {"get", l_get},     {"stats", l_stats},
                                     {"flush", l_flush}, {"close", l_close}, {NULL, NULL}};
  luaL_newmetatable(L, BOX_MT);
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_close);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushcfunction(L, l_open);
  lua_setfield(L, -2, "open");
  lua_setfield(L, -2, "outbox");
}

static int start_outbox(uv_loop_t *loop) {
  (void)loop;
  cxb_metric_declare("cxb_outbox_rows", CXB_GAUGE, "Undelivered rows", NULL, 0);
  cxb_metric_declare("cxb_outbox_oldest_age_seconds", CXB_GAUGE_MAX, "Age of the oldest of them",
                     NULL, 0);
  cxb_metric_declare("cxb_outbox_attempts_total", CXB_COUNTER, "Deliveries tried", NULL, 0);
  return 0;
}

const cxb_module cxb_outbox_module = {
    .name = "outbox", .start = start_outbox, .open = open_outbox, .stop = cxb_outbox_close_all};
