/* What lua/cxb/json.lua stands on, `require("cxb.json_codec")`: a reader and a
 * writer. Both are strict: UTF-8 (RFC 3629) in, UTF-8 out, finite numbers only. */
#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../host/host.h"
#include "buf.h"
#include "err.h"
#include "json_read.h"

enum { MAX_DEPTH = 64, KEPT_MAX = 1024 * 1024, UP_ARRAY = 1, UP_RAW = 2, UP_OBJECT = 3 };
#define MAX_EXACT 9007199254740992.0 /* 2^53 */

typedef struct writer {
  lua_State *L;
  cxb_buf *out;
  bool sorted;
  char why[64]; /* of a refusal */
} writer;

static int refuse(writer *w, const char *fmt, const char *what) {
  snprintf(w->why, sizeof w->why, fmt, what);
  return CXB_EINVAL;
}

static int write_value(writer *w, int depth); /* of the value on top; leaves it there */

static int write_number(writer *w, double n) {
  if (n != n || n - n != 0)
    return refuse(w, "JSON cannot hold %s", n != n ? "nan" : n > 0 ? "inf" : "-inf");
  if (n == floor(n) && fabs(n) < MAX_EXACT)
    return cxb_buf_printf(w->out, "%lld", (long long)n);
  return cxb_buf_printf(w->out, "%.14g", n);
}

static int write_string(writer *w) {
  size_t len;
  const char *s = lua_tolstring(w->L, -1, &len);
  return cxb_buf_json(w->out, s, len);
}

/* The key on top, which is a string or a number, and a colon. */
static int write_key(writer *w, bool first) {
  int err = first ? 0 : cxb_buf_add(w->out, ",", 1);
  lua_pushvalue(w->L, -1); /* lua_tolstring would change the key itself */
  if (!lua_tostring(w->L, -1)) {
    lua_pop(w->L, 1);
    return refuse(w, "JSON cannot have a %s as a key", luaL_typename(w->L, -1));
  }
  err = err ? err : write_string(w);
  lua_pop(w->L, 1);
  return err ? err : cxb_buf_add(w->out, ":", 1);
}

static int write_list(writer *w, int depth) {
  int err = cxb_buf_add(w->out, "[", 1);
  int n = (int)lua_objlen(w->L, -1);
  for (int i = 1; !err && i <= n; i++) {
    if (i > 1)
      err = cxb_buf_add(w->out, ",", 1);
    lua_rawgeti(w->L, -1, i);
    err = err ? err : write_value(w, depth + 1);
    lua_pop(w->L, 1);
  }
  return err ? err : cxb_buf_add(w->out, "]", 1);
}

/* {{key, value}, …}; nil values are left out. */
static int write_ordered(writer *w, int depth) {
  lua_State *L = w->L;
  int err = cxb_buf_add(w->out, "{", 1);
  int n = (int)lua_objlen(L, -1);
  bool first = true;
  for (int i = 1; !err && i <= n; i++) {
    lua_rawgeti(L, -1, i);
    if (!lua_istable(L, -1)) {
      lua_pop(L, 1);
      return refuse(w, "JSON cannot hold this object%s", "");
    }
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    if (!lua_isnil(L, -1)) {
      lua_insert(L, -2);
      err = write_key(w, first);
      lua_pop(L, 1);
      err = err ? err : write_value(w, depth + 1);
      lua_pop(L, 2);
      first = false;
    } else {
      lua_pop(L, 3);
    }
  }
  return err ? err : cxb_buf_add(w->out, "}", 1);
}

typedef struct spelling {
  const char *key;
  size_t len;
} spelling;

static int by_bytes(const void *a, const void *b) {
  const spelling *x = a, *y = b;
  int order = memcmp(x->key, y->key, x->len < y->len ? x->len : y->len);
  return order ? order : x->len < y->len ? -1 : x->len > y->len;
}

/* Keys in alphabetical order: equal values, equal text. Numbers as keys come as they are spelled.
 */
static int write_sorted(writer *w, int depth) {
  lua_State *L = w->L;
  int table = lua_gettop(L), count = 0;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
    count++;
  spelling *keys = malloc((size_t)(count ? count : 1) * sizeof *keys);
  if (!keys)
    return CXB_ENOMEM;
  lua_createtable(L, 0, count); /* spelled key → key: holds the strings too */
  int n = 0, err = 0;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    keys[n].key = lua_tolstring(L, -1, &keys[n].len);
    if (!keys[n].key) {
      err = refuse(w, "JSON cannot have a %s as a key", luaL_typename(L, -3));
      lua_pop(L, 3);
      break;
    }
    n++;
    lua_pushvalue(L, -3);
    lua_rawset(L, table + 1);
  }
  if (!err)
    qsort(keys, (size_t)n, sizeof *keys, by_bytes);
  err = err ? err : cxb_buf_add(w->out, "{", 1);
  for (int i = 0; !err && i < n; i++) {
    lua_pushlstring(L, keys[i].key, keys[i].len);
    lua_rawget(L, table + 1);
    err = write_key(w, i == 0);
    lua_rawget(L, table);
    err = err ? err : write_value(w, depth + 1);
    lua_pop(L, 1);
  }
  lua_settop(L, table);
  free(keys);
  return err ? err : cxb_buf_add(w->out, "}", 1);
}

static int write_map(writer *w, int depth) {
  lua_State *L = w->L;
  if (w->sorted)
    return write_sorted(w, depth);
  int table = lua_gettop(L), err = cxb_buf_add(w->out, "{", 1);
  bool first = true;
  lua_pushnil(L);
  while (!err && lua_next(L, table)) {
    lua_pushvalue(L, -2);
    err = write_key(w, first);
    lua_pop(L, 1);
    err = err ? err : write_value(w, depth + 1);
    lua_pop(L, 1);
    first = false;
  }
  lua_settop(L, table);
  return err ? err : cxb_buf_add(w->out, "}", 1);
}

/* Which of our metatables the table on top has: an upvalue's index, 0 for none. */
static int kind_of(lua_State *L) {
  if (!lua_getmetatable(L, -1))
    return 0;
  int kind = 0;
  for (int up = UP_ARRAY; up <= UP_OBJECT && !kind; up++)
    if (lua_rawequal(L, -1, lua_upvalueindex(up)))
      kind = up;
  lua_pop(L, 1);
  return kind;
}

static int write_table(writer *w, int depth) {
  if (depth > MAX_DEPTH)
    return refuse(w, "JSON deeper than 64 levels%s", "");
  if (!lua_checkstack(w->L, 12))
    return CXB_ENOMEM;
  int kind = kind_of(w->L);
  if (kind == UP_OBJECT)
    return write_ordered(w, depth);
  if (kind == UP_RAW) {
    size_t len;
    lua_getfield(w->L, -1, "text");
    const char *text = lua_tolstring(w->L, -1, &len);
    int err = text ? cxb_buf_add(w->out, text, len) : refuse(w, "ready JSON without text%s", "");
    lua_pop(w->L, 1);
    return err;
  }
  if (kind == UP_ARRAY || lua_objlen(w->L, -1) > 0)
    return write_list(w, depth);
  return write_map(w, depth);
}

static int write_value(writer *w, int depth) {
  switch (lua_type(w->L, -1)) {
  case LUA_TTABLE:
    return write_table(w, depth);
  case LUA_TSTRING:
    return write_string(w);
  case LUA_TNUMBER:
    return write_number(w, lua_tonumber(w->L, -1));
  case LUA_TBOOLEAN:
    return cxb_buf_str(w->out, lua_toboolean(w->L, -1) ? "true" : "false");
  case LUA_TNIL:
    return cxb_buf_str(w->out, "null");
  case LUA_TLIGHTUSERDATA:
    if (lua_touserdata(w->L, -1) == NULL)
      return cxb_buf_str(w->out, "null");
    break;
  default:
    break;
  }
  return refuse(w, "JSON cannot hold a %s", luaL_typename(w->L, -1));
}

/* encode(value, sorted). Scripts run on one thread and nothing here waits: one buffer serves all,
 * so that an error on the way leaks nothing. */
static int l_encode(lua_State *L) {
  static cxb_buf kept;
  cxb_buf_clear(&kept);
  writer w = {.L = L, .out = &kept, .sorted = lua_toboolean(L, 2)};
  lua_settop(L, 1);
  int err = write_value(&w, 1);
  if (!err)
    lua_pushlstring(L, kept.data, kept.len);
  if (kept.cap > KEPT_MAX)
    cxb_buf_free(&kept);
  if (err == CXB_ENOMEM)
    return luaL_error(L, "not enough memory");
  return err ? luaL_error(L, "%s", w.why) : 1;
}

/* ---- reading ---- */

enum { READ_STACK = 4, READ_DEPTH = 256 };

typedef struct reader {
  lua_State *L;
  int depth, levels;
  bool too_deep;
  int items[READ_DEPTH]; /* of the open arrays so far; -1: an object */
} reader;

/* The value on top goes into what is open below it. */
static bool placed(reader *r) {
  if (r->depth == 0)
    return true;
  int *items = &r->items[r->depth - 1];
  if (*items < 0)
    lua_rawset(r->L, -3);
  else
    lua_rawseti(r->L, -2, ++*items);
  return true;
}

static bool on_null(void *arg) {
  reader *r = arg;
  lua_pushlightuserdata(r->L, NULL);
  return placed(r);
}

static bool on_boolean(void *arg, bool value) {
  reader *r = arg;
  lua_pushboolean(r->L, value);
  return placed(r);
}

static bool on_number(void *arg, double value) {
  reader *r = arg;
  lua_pushnumber(r->L, value);
  return placed(r);
}

static bool on_string(void *arg, const char *s, size_t len, bool key) {
  reader *r = arg;
  lua_pushlstring(r->L, s, len);
  return key || placed(r);
}

static bool on_begin(void *arg, bool object) {
  reader *r = arg;
  if (r->depth >= r->levels || !lua_checkstack(r->L, READ_STACK)) {
    r->too_deep = true;
    return false;
  }
  r->items[r->depth++] = object ? -1 : 0;
  lua_newtable(r->L);
  return true;
}

static bool on_end(void *arg, bool object, size_t count) {
  reader *r = arg;
  if (!object && count == 0) {
    lua_pushvalue(r->L, lua_upvalueindex(UP_ARRAY));
    lua_setmetatable(r->L, -2);
  }
  r->depth--;
  return placed(r);
}

/* decode(text, levels) → value, or nil, "bad_json" | "too_deep", message, offset in bytes */
static int l_decode(lua_State *L) {
  static const cxb_json_events events = {.null = on_null,
                                         .boolean = on_boolean,
                                         .number = on_number,
                                         .string = on_string,
                                         .begin = on_begin,
                                         .end = on_end};
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  int levels = luaL_optint(L, 2, MAX_DEPTH);
  luaL_argcheck(L, levels > 0 && levels <= READ_DEPTH, 2, "1 to 256 levels");
  reader r = {.L = L, .levels = levels};
  cxb_json_fault fault;
  lua_settop(L, 2);
  if (!cxb_json_read(text, len, &events, &r, &fault))
    return 1;
  lua_settop(L, 2);
  lua_pushnil(L);
  if (r.too_deep) {
    lua_pushliteral(L, "too_deep");
    lua_pushfstring(L, "more than %d levels", levels);
  } else {
    lua_pushliteral(L, "bad_json");
    lua_pushstring(L, fault.message);
  }
  lua_pushinteger(L, (lua_Integer)fault.offset);
  return 4;
}

/* ---- */

/* codec(array_mt, raw_mt, object_mt) → encode, decode for values marked by these metatables, null
 */
static int l_codec(lua_State *L) {
  for (int i = UP_ARRAY; i <= UP_OBJECT; i++)
    luaL_checktype(L, i, LUA_TTABLE);
  lua_settop(L, UP_OBJECT);
  lua_pushvalue(L, UP_ARRAY);
  lua_pushcclosure(L, l_decode, 1);
  lua_insert(L, 1);
  lua_pushcclosure(L, l_encode, UP_OBJECT);
  lua_insert(L, 1);
  lua_settop(L, 2);
  lua_pushlightuserdata(L, NULL);
  return 3;
}

static void open_json(lua_State *L, cxb_generation *gen) {
  (void)gen;
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "loaded");
  lua_pushcfunction(L, l_codec);
  lua_setfield(L, -2, "cxb.json_codec");
  lua_pop(L, 2);
}

const cxb_module cxb_json_module = {.name = "json", .open = open_json};
