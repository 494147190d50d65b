/* The methods of a cxb.outbox.box that concern its rows. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

#include "../base/err.h"
#include "../base/time.h"
#include "outbox.h"
#include "outbox_lua.h"

static void on_put(void *arg, int64_t id, int err, const char *code, const char *message) {
  cxb_wait wait;
  lua_State *L = cxb_outbox_answer_on(arg, &wait);
  if (!L)
    return;
  if (err) {
    cxb_wait_resume(&wait, cxb_outbox_push_failure(L, code, message));
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
  outbox_handle *h = cxb_outbox_check(L);
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
  if (lua_istable(L, -1) && cxb_outbox_add_headers(L, &headers) != 0) {
    cxb_buf_free(&headers);
    return luaL_error(L, "put: headers are names and values without control characters");
  }
  row.headers = headers.data;
  lua_getfield(L, 2, "file");
  row.file = luaL_optstring(L, -1, NULL);
  lua_getfield(L, 2, "work");
  row.work = luaL_optlstring(L, -1, NULL, &row.work_len);
  outbox_waiter *w = calloc(1, sizeof *w);
  int err = !w ? CXB_ENOMEM : h->box ? cxb_outbox_put(h->box, &row, on_put, w) : CXB_ECLOSED;
  cxb_buf_free(&headers);
  if (err == CXB_EINVAL) {
    free(w);
    return cxb_push_error(L, err, "put: kind, session_id or url is not usable");
  }
  return cxb_outbox_wait_or_fail(L, w, err);
}

/* A row as list() and get() show it. */
static void push_shown(lua_State *L, const cxb_outbox_row *row, int64_t now) {
  char due[CXB_ISO_LEN];
  cxb_outbox_push_row(L, row);
  cxb_iso_time(due, row->due_ms);
  lua_pushstring(L, due);
  lua_setfield(L, -2, "next_at");
  lua_pushnumber(L, (lua_Number)(now - row->created_ms) / 1000);
  lua_setfield(L, -2, "age_seconds");
  lua_pushstring(L, row->last_error);
  lua_setfield(L, -2, "last_error");
}

static void on_listed(void *arg, const cxb_outbox_row *rows, int count, int err) {
  cxb_wait wait;
  lua_State *L = cxb_outbox_answer_on(arg, &wait);
  if (!L)
    return;
  if (err) {
    cxb_wait_resume(&wait, cxb_push_error(L, err, NULL));
    return;
  }
  int64_t now = cxb_now_ms();
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    push_shown(L, &rows[i], now);
    lua_rawseti(L, -2, i + 1);
  }
  cxb_wait_resume(&wait, 1);
}

static int l_list(lua_State *L) {
  outbox_handle *h = cxb_outbox_check(L);
  const char *state = luaL_optstring(L, 2, NULL);
  int limit = (int)luaL_optinteger(L, 3, 100);
  outbox_waiter *w = cxb_outbox_new_waiter(L);
  return cxb_outbox_wait_or_fail(
      L, w, h->box ? cxb_outbox_list(h->box, state, limit, on_listed, w) : CXB_ECLOSED);
}

static void on_got(void *arg, const cxb_outbox_row *row, int err) {
  cxb_wait wait;
  lua_State *L = cxb_outbox_answer_on(arg, &wait);
  if (!L)
    return;
  int n = 2;
  if (err) {
    n = cxb_push_error(L, err, NULL);
  } else {
    lua_pushlstring(L, row->body ? row->body : "", row->body_len);
    push_shown(L, row, cxb_now_ms());
  }
  cxb_wait_resume(&wait, n);
}

static int l_get(lua_State *L) {
  outbox_handle *h = cxb_outbox_check(L);
  int64_t id = (int64_t)luaL_checknumber(L, 2);
  outbox_waiter *w = cxb_outbox_new_waiter(L);
  return cxb_outbox_wait_or_fail(L, w,
                                 h->box ? cxb_outbox_get(h->box, id, on_got, w) : CXB_ECLOSED);
}

static void answer(void *arg, int64_t count, int err, bool counted) {
  cxb_wait wait;
  lua_State *L = cxb_outbox_answer_on(arg, &wait);
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
  outbox_handle *h = cxb_outbox_check(L);
  int64_t id = (int64_t)luaL_checknumber(L, 2);
  outbox_waiter *w = cxb_outbox_new_waiter(L);
  return cxb_outbox_wait_or_fail(L, w,
                                 h->box ? cxb_outbox_replay(h->box, id, on_done, w) : CXB_ECLOSED);
}

static int l_purge(lua_State *L) {
  outbox_handle *h = cxb_outbox_check(L);
  outbox_waiter *w = cxb_outbox_new_waiter(L);
  return cxb_outbox_wait_or_fail(L, w,
                                 h->box ? cxb_outbox_purge(h->box, on_counted, w) : CXB_ECLOSED);
}

static int l_flush(lua_State *L) {
  outbox_handle *h = cxb_outbox_check(L);
  int64_t ms = (int64_t)luaL_checknumber(L, 2);
  outbox_waiter *w = cxb_outbox_new_waiter(L);
  return cxb_outbox_wait_or_fail(L, w,
                                 h->box ? cxb_outbox_flush(h->box, ms, on_done, w) : CXB_ECLOSED);
}

static int l_stats(lua_State *L) {
  outbox_handle *h = cxb_outbox_check(L);
  cxb_outbox_stats s = {0};
  if (h->box)
    cxb_outbox_get_stats(h->box, &s);
  lua_createtable(L, 0, 5);
  lua_pushinteger(L, s.analysis);
  lua_setfield(L, -2, "analysis");
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

/* ---- analysis ---- */

static void on_claimed(void *arg, const cxb_outbox_work *work, int err) {
  cxb_wait wait;
  lua_State *L = cxb_outbox_answer_on(arg, &wait);
  if (!L)
    return;
  if (err) {
    cxb_wait_resume(&wait, cxb_push_error(L, err, NULL));
    return;
  }
  if (!work) {
    lua_pushnil(L);
    cxb_wait_resume(&wait, 1);
    return;
  }
  lua_createtable(L, 0, 5);
  lua_pushnumber(L, (lua_Number)work->id);
  lua_setfield(L, -2, "id");
  lua_pushstring(L, work->session_id);
  lua_setfield(L, -2, "session_id");
  lua_pushinteger(L, work->attempts);
  lua_setfield(L, -2, "attempts");
  lua_pushlstring(L, work->work, work->work_len);
  lua_setfield(L, -2, "work");
  lua_pushlstring(L, work->body, work->body_len);
  lua_setfield(L, -2, "body");
  cxb_wait_resume(&wait, 1);
}

enum { LEASE_MS = 90000 };

static int l_claim_analysis(lua_State *L) {
  outbox_handle *h = cxb_outbox_check(L);
  int64_t lease = (int64_t)luaL_optnumber(L, 2, LEASE_MS);
  outbox_waiter *w = cxb_outbox_new_waiter(L);
  return cxb_outbox_wait_or_fail(
      L, w, h->box ? cxb_outbox_claim(h->box, lease, on_claimed, w) : CXB_ECLOSED);
}

static int l_keep_analysis(lua_State *L) {
  outbox_handle *h = cxb_outbox_check(L);
  int64_t id = (int64_t)luaL_checknumber(L, 2);
  size_t len;
  const char *work = luaL_checklstring(L, 3, &len);
  outbox_waiter *w = cxb_outbox_new_waiter(L);
  return cxb_outbox_wait_or_fail(
      L, w, h->box ? cxb_outbox_keep(h->box, id, work, len, on_done, w) : CXB_ECLOSED);
}

static int l_finish(lua_State *L) {
  outbox_handle *h = cxb_outbox_check(L);
  int64_t id = (int64_t)luaL_checknumber(L, 2);
  size_t len = 0;
  const char *body = luaL_optlstring(L, 3, NULL, &len);
  outbox_waiter *w = cxb_outbox_new_waiter(L);
  return cxb_outbox_wait_or_fail(
      L, w, h->box ? cxb_outbox_finish(h->box, id, body, len, on_done, w) : CXB_ECLOSED);
}

const luaL_Reg cxb_outbox_row_methods[] = {{"put", l_put},
                                           {"list", l_list},
                                           {"replay", l_replay},
                                           {"purge", l_purge},
                                           {"get", l_get},
                                           {"stats", l_stats},
                                           {"flush", l_flush},
                                           {"claim_analysis", l_claim_analysis},
                                           {"keep_analysis", l_keep_analysis},
                                           {"finish", l_finish},
                                           {NULL, NULL}};
