/* cxb.sqlite */
#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../host/generation.h"
#include "../host/host.h"
#include "../host/task.h"
#include "sqlite.h"

#define DB_MT "cxb.sqlite.db"

enum { MAX_EXACT_BITS = 53 };

typedef struct handle {
  cxb_sqlite *db; /* NULL: closed */
} handle;

typedef struct waiter {
  cxb_wait wait;
  bool batch;
} waiter;

static int push_failure(lua_State *L, const char *code, const char *message) {
  lua_pushnil(L);
  lua_pushstring(L, code);
  lua_pushstring(L, message);
  return 3;
}

/* ---- values ---- */

static void add_value(lua_State *L, int index, cxb_sql *sql) {
  size_t len;
  switch (lua_type(L, index)) {
  case LUA_TNUMBER: {
    double n = lua_tonumber(L, index);
    if (n == floor(n) && fabs(n) <= (double)(1LL << MAX_EXACT_BITS))
      cxb_sql_int(sql, (int64_t)n);
    else
      cxb_sql_real(sql, n);
    return;
  }
  case LUA_TSTRING: {
    const char *s = lua_tolstring(L, index, &len);
    cxb_sql_text(sql, s, len);
    return;
  }
  case LUA_TBOOLEAN:
    cxb_sql_int(sql, lua_toboolean(L, index));
    return;
  case LUA_TTABLE: {
    lua_getfield(L, index, "blob");
    const char *s = lua_tolstring(L, -1, &len);
    if (s)
      cxb_sql_blob(sql, s, len);
    lua_pop(L, 1);
    if (s)
      return;
    break;
  }
  case LUA_TNIL:
    cxb_sql_null(sql);
    return;
  case LUA_TLIGHTUSERDATA:
    if (lua_touserdata(L, index) == NULL) {
      cxb_sql_null(sql);
      return;
    }
    break;
  default:
    break;
  }
  cxb_sql_free(sql);
  luaL_error(L, "parameter is a %s; expected string, number, boolean, cxb.null or {blob=}",
             luaL_typename(L, index));
}

static void push_value(lua_State *L, const cxb_sql_value *v) {
  char text[24];
  switch (v->type) {
  case CXB_SQL_INT:
    if (v->i >= -(1LL << MAX_EXACT_BITS) && v->i <= 1LL << MAX_EXACT_BITS) {
      lua_pushnumber(L, (lua_Number)v->i);
    } else {
      snprintf(text, sizeof text, "%lld", (long long)v->i);
      lua_pushstring(L, text);
    }
    return;
  case CXB_SQL_REAL:
    lua_pushnumber(L, v->r);
    return;
  case CXB_SQL_TEXT:
  case CXB_SQL_BLOB:
    lua_pushlstring(L, v->s, v->len);
    return;
  default:
    lua_pushnil(L);
  }
}

static void push_rows(lua_State *L, const cxb_sql *sql, int i) {
  const cxb_sql_statement *s = &sql->list[i];
  int columns = s->rows > 0 ? s->columns : 0;
  luaL_checkstack(L, columns + 8, "too many columns");
  int names = lua_gettop(L);
  for (int c = 0; c < columns; c++)
    lua_pushstring(L, s->names[c]);
  lua_createtable(L, (int)s->rows, 0);
  for (size_t row = 0; row < s->rows; row++) {
    lua_createtable(L, 0, columns);
    for (int c = 0; c < columns; c++) {
      lua_pushvalue(L, names + 1 + c);
      push_value(L, cxb_sql_cell(sql, i, row, c));
      lua_rawset(L, -3);
    }
    lua_rawseti(L, -2, (int)row + 1);
  }
  if (columns > 0) {
    lua_replace(L, names + 1);
    lua_settop(L, names + 1);
  }
}

static int push_answer(lua_State *L, const cxb_sql *sql, bool batch) {
  if (sql->err)
    return push_failure(L, sql->code, sql->message);
  if (!batch) {
    push_rows(L, sql, 0);
    lua_pushnumber(L, (lua_Number)sql->list[0].changes);
    return 2;
  }
  lua_createtable(L, sql->count, 0);
  for (int i = 0; i < sql->count; i++) {
    lua_createtable(L, 0, 2);
    push_rows(L, sql, i);
    lua_setfield(L, -2, "rows");
    lua_pushnumber(L, (lua_Number)sql->list[i].changes);
    lua_setfield(L, -2, "changes");
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* ---- calls ---- */

static handle *check_db(lua_State *L) {
  return luaL_checkudata(L, 1, DB_MT);
}

static void on_done(void *arg, cxb_sql *sql) {
  waiter *w = arg;
  lua_State *L = cxb_wait_stack(&w->wait);
  int n = L ? push_answer(L, sql, w->batch) : 0;
  cxb_wait wait = w->wait;
  cxb_sql_free(sql);
  free(w);
  if (L)
    cxb_wait_resume(&wait, n);
}

static int run(lua_State *L, handle *h, cxb_sql *sql, bool batch) {
  waiter *w = calloc(1, sizeof *w);
  int err = !h->db ? CXB_ECLOSED : !w ? CXB_ENOMEM : cxb_sqlite_run(h->db, sql, on_done, w);
  if (err) {
    cxb_sql_free(sql);
    free(w);
    return cxb_push_error(L, err, NULL);
  }
  w->batch = batch;
  return cxb_task_wait(L, &w->wait, NULL, NULL);
}

static cxb_sql *new_request(lua_State *L) {
  cxb_sql *sql = cxb_sql_new();
  if (!sql)
    luaL_error(L, "out of memory");
  return sql;
}

/* The one that is asked for: its text at 2, its values behind. */
static cxb_sql *statement(lua_State *L, cxb_sql *sql) {
  size_t len;
  const char *text = luaL_checklstring(L, 2, &len);
  sql = sql ? sql : new_request(L);
  cxb_sql_add(sql, text, len);
  for (int i = 3; i <= lua_gettop(L); i++)
    add_value(L, i, sql);
  return sql;
}

static int l_exec(lua_State *L) {
  handle *h = check_db(L);
  return run(L, h, statement(L, NULL), false);
}

/* The cap of memory does not refuse an answer, as where a task waited for it: an error would leave
 * the request to nobody. */
static int push_look(lua_State *L, const cxb_sql *sql) {
  cxb_task *task = cxb_task_running();
  if (!task)
    return push_answer(L, sql, false);
  cxb_memory *memory = cxb_generation_memory(cxb_task_generation(task));
  bool enforced = memory->enforce;
  memory->enforce = false;
  int n = push_answer(L, sql, false);
  memory->enforce = enforced;
  return n;
}

static int l_look(lua_State *L) {
  static cxb_sql *spare; /* of the look before */
  handle *h = check_db(L);
  luaL_checkstring(L, 2);
  cxb_sql *sql = spare;
  spare = NULL; /* whatever comes in between takes it: an error, or who waits */
  sql = statement(L, sql);
  if (!h->db || !cxb_sqlite_look(h->db, sql))
    return run(L, h, sql, false);
  int n = push_look(L, sql);
  cxb_sql_clear(sql);
  cxb_sql_free(spare); /* of a look in between */
  spare = sql;
  return n;
}

static int l_batch(lua_State *L) {
  handle *h = check_db(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  int count = (int)lua_objlen(L, 2);
  cxb_sql *sql = new_request(L);
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 2, i);
    int entry = lua_gettop(L);
    size_t len;
    const char *text = NULL;
    if (lua_istable(L, entry)) {
      lua_rawgeti(L, entry, 1);
      text = lua_isstring(L, -1) ? lua_tolstring(L, -1, &len) : NULL;
    }
    if (!text) {
      cxb_sql_free(sql);
      return luaL_error(L, "entry %d: expected {sql, parameters…}", i);
    }
    cxb_sql_add(sql, text, len);
    for (int k = 2; k <= (int)lua_objlen(L, entry); k++) {
      lua_rawgeti(L, entry, k);
      add_value(L, lua_gettop(L), sql);
      lua_settop(L, entry + 1);
    }
    lua_settop(L, 2);
  }
  if (count == 0) {
    cxb_sql_free(sql);
    lua_newtable(L);
    return 1;
  }
  return run(L, h, sql, true);
}

static int l_close(lua_State *L) {
  handle *h = check_db(L);
  if (h->db)
    cxb_sqlite_close(h->db);
  h->db = NULL;
  return 0;
}

static void on_opened(void *arg, cxb_sqlite *db, int err, const char *code, const char *message) {
  waiter *w = arg;
  lua_State *L = cxb_wait_stack(&w->wait);
  cxb_wait wait = w->wait;
  free(w);
  if (!L) {
    if (db)
      cxb_sqlite_close(db);
    return;
  }
  if (err) {
    cxb_wait_resume(&wait, push_failure(L, code, message));
    return;
  }
  handle *h = lua_newuserdata(L, sizeof *h);
  h->db = db;
  luaL_getmetatable(L, DB_MT);
  lua_setmetatable(L, -2);
  cxb_wait_resume(&wait, 1);
}

static bool flag(lua_State *L, const char *name) {
  lua_getfield(L, 2, name);
  bool on = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return on;
}

static int l_open(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  cxb_sqlite_options options = {0};
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    static const char *const modes[] = {"full", "normal", NULL};
    lua_getfield(L, 2, "sync");
    options.sync_normal = luaL_checkoption(L, -1, "full", modes) == 1;
    options.lock = flag(L, "lock");
    options.readonly = flag(L, "readonly");
  }
  waiter *w = calloc(1, sizeof *w);
  int err = w ? cxb_sqlite_open(cxb_loop(), path, &options, on_opened, w) : CXB_ENOMEM;
  if (err) {
    free(w);
    if (err == CXB_EINVAL)
      return cxb_push_error(L, err, "%s is open in this process with other options", path);
    return cxb_push_error(L, err, NULL);
  }
  return cxb_task_wait(L, &w->wait, NULL, NULL);
}

static void open_sqlite(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg methods[] = {
      {"exec", l_exec}, {"look", l_look}, {"batch", l_batch}, {"close", l_close}, {NULL, NULL}};
  luaL_newmetatable(L, DB_MT);
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_close);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushcfunction(L, l_open);
  lua_setfield(L, -2, "open");
  lua_setfield(L, -2, "sqlite");
}

const cxb_module cxb_sqlite_module = {
    .name = "sqlite", .open = open_sqlite, .stop = cxb_sqlite_close_all};
