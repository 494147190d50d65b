/* cxb.outbox: opening, headers (the methods of a box are in outbox_rows_lua.c) */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../base/err.h"
#include "../host/host.h"
#include "../host/task.h"
#include "../observe/log.h"
#include "../observe/metrics.h"
#include "outbox.h"
#include "outbox_lua.h"

outbox_handle *cxb_outbox_check(lua_State *L) {
  return luaL_checkudata(L, 1, CXB_OUTBOX_MT);
}

outbox_waiter *cxb_outbox_new_waiter(lua_State *L) {
  outbox_waiter *w = calloc(1, sizeof *w);
  if (!w)
    luaL_error(L, "out of memory");
  w->headers = LUA_NOREF;
  return w;
}

int cxb_outbox_wait_or_fail(lua_State *L, outbox_waiter *w, int err) {
  if (err == 0)
    return cxb_task_wait(L, &w->wait, NULL, NULL);
  free(w);
  return cxb_push_error(L, err, NULL);
}

lua_State *cxb_outbox_answer_on(outbox_waiter *w, cxb_wait *wait) {
  *wait = w->wait;
  free(w);
  return cxb_wait_stack(wait);
}

int cxb_outbox_push_failure(lua_State *L, const char *code, const char *message) {
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

int cxb_outbox_add_headers(lua_State *L, cxb_buf *out) {
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

void cxb_outbox_push_row(lua_State *L, const cxb_outbox_row *row) {
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
  outbox_handle *h = arg;
  lua_State *L = h->L;
  int top = lua_gettop(L), err = CXB_EINVAL;
  lua_rawgeti(L, LUA_REGISTRYINDEX, h->headers);
  cxb_outbox_push_row(L, row);
  lua_pushstring(L, row->url);
  lua_setfield(L, -2, "url");
  lua_pushlstring(L, row->body, row->body_len);
  lua_setfield(L, -2, "body");
  if (lua_pcall(L, 1, 1, 0) == 0 && (lua_istable(L, -1) || lua_isnil(L, -1)))
    err = lua_isnil(L, -1) ? 0 : cxb_outbox_add_headers(L, out);
  if (err)
    cxb_logf(CXB_LOG_ERROR, "outbox: headers() failed for row %lld", (long long)row->id);
  lua_settop(L, top);
  return err;
}

/* ---- opening ---- */

static void on_opened(void *arg, cxb_outbox *box, int err, const char *code, const char *message) {
  outbox_waiter *w = arg;
  int headers = w->headers;
  lua_State *main = w->main;
  cxb_wait wait;
  lua_State *L = cxb_outbox_answer_on(w, &wait);
  if (!L && box) /* the waiting task is gone, perhaps with its generation */
    cxb_outbox_close(box);
  if (!L)
    return;
  if (err) {
    luaL_unref(L, LUA_REGISTRYINDEX, headers);
    cxb_wait_resume(&wait, cxb_outbox_push_failure(L, code, message));
    return;
  }
  outbox_handle *h = lua_newuserdata(L, sizeof *h);
  *h = (outbox_handle){box, main, headers};
  luaL_getmetatable(L, CXB_OUTBOX_MT);
  lua_setmetatable(L, -2);
  if (headers != LUA_NOREF)
    cxb_outbox_add_hook(box, ask_headers, h);
  cxb_wait_resume(&wait, 1);
}

/* A string of the table on top of the stack; it stays valid while the table does. */
static const char *s3_field(lua_State *L, const char *name) {
  lua_getfield(L, -1, name);
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_error(L, "open: s3.%s is a %s; expected a string", name, luaL_typename(L, -1));
  const char *value = lua_tostring(L, -1);
  lua_pop(L, 1);
  return value;
}

static int l_open(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  cxb_outbox_options options = {0};
  cxb_s3_settings s3;
  int headers = LUA_NOREF;
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfield(L, 2, "retain_days");
    options.retain_days = (int)luaL_optinteger(L, -1, 0);
    lua_getfield(L, 2, "adopted");
    options.adopted = lua_toboolean(L, -1);
    lua_getfield(L, 2, "keep_files_ms");
    options.keep_files_ms = (int64_t)luaL_optnumber(L, -1, 0);
    lua_getfield(L, 2, "s3");
    if (lua_istable(L, -1)) {
      s3 = (cxb_s3_settings){s3_field(L, "region"), s3_field(L, "access_key"),
                             s3_field(L, "secret_key")};
      options.s3 = &s3;
    }
    lua_getfield(L, 2, "headers");
    if (!lua_isnil(L, -1)) {
      luaL_checktype(L, -1, LUA_TFUNCTION);
      headers = luaL_ref(L, LUA_REGISTRYINDEX);
    }
  }
  outbox_waiter *w = cxb_outbox_new_waiter(L);
  cxb_task *task = cxb_task_running();
  w->headers = headers;
  w->main = task ? cxb_generation_state(cxb_task_generation(task)) : NULL;
  return cxb_outbox_wait_or_fail(L, w, cxb_outbox_open(cxb_loop(), path, &options, on_opened, w));
}

static int l_hand_over(lua_State *L) {
  outbox_handle *h = cxb_outbox_check(L);
  if (h->box)
    cxb_outbox_hand_over(h->box);
  return 0;
}

static int l_close(lua_State *L) {
  outbox_handle *h = cxb_outbox_check(L);
  if (!h->box)
    return 0;
  cxb_outbox_remove_hook(h->box, h);
  cxb_outbox_close(h->box);
  h->box = NULL;
  luaL_unref(L, LUA_REGISTRYINDEX, h->headers);
  return 0;
}

/* ---- module ---- */

static void open_outbox(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg methods[] = {{"hand_over", l_hand_over}, {"close", l_close}, {NULL, NULL}};
  luaL_newmetatable(L, CXB_OUTBOX_MT);
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  luaL_register(L, NULL, cxb_outbox_row_methods);
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
  static const double seconds[] = {0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800};
  cxb_metric_declare("cxb_recording_upload_seconds", CXB_HISTOGRAM, "Recording into the store",
                     seconds, (int)(sizeof seconds / sizeof *seconds));
  cxb_metric_declare("cxb_outbox_rows", CXB_GAUGE, "Undelivered rows", NULL, 0);
  cxb_metric_declare("cxb_outbox_oldest_age_seconds", CXB_GAUGE_MAX, "Age of the oldest of them",
                     NULL, 0);
  cxb_metric_declare("cxb_outbox_adopted_total", CXB_COUNTER, "Rows taken over", NULL, 0);
  cxb_metric_add("cxb_outbox_adopted_total", "", 0);
  cxb_metric_declare("cxb_outbox_attempts_total", CXB_COUNTER, "Deliveries tried", NULL, 0);
  return 0;
}

const cxb_module cxb_outbox_module = {
    .name = "outbox", .start = start_outbox, .open = open_outbox, .stop = cxb_outbox_close_all};
