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
#include "words_lua.h"

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
  spelling *keys = lua_newuserdata(L, (size_t)(count ? count : 1) * sizeof *keys);
  lua_createtable(L, 0, count); /* spelled key → key: holds the strings too */
  int spelled = table + 2;
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
    lua_rawset(L, spelled);
  }
  if (!err)
    qsort(keys, (size_t)n, sizeof *keys, by_bytes);
  err = err ? err : cxb_buf_add(w->out, "{", 1);
  for (int i = 0; !err && i < n; i++) {
    lua_pushlstring(L, keys[i].key, keys[i].len);
    lua_rawget(L, spelled);
    err = write_key(w, i == 0);
    lua_rawget(L, table);
    err = err ? err : write_value(w, depth + 1);
    lua_pop(L, 1);
  }
  lua_settop(L, table);
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

/* Ready JSON: its `text`, or the bytes `first` to `last` of its `source`. */
static int write_raw(writer *w) {
  lua_State *L = w->L;
  int raw = lua_gettop(L);
  size_t len, from = 0;
  lua_getfield(L, raw, "text");
  const char *text = lua_tolstring(L, -1, &len);
  if (!text) {
    lua_getfield(L, raw, "source");
    lua_getfield(L, raw, "first");
    lua_getfield(L, raw, "last");
    text = lua_tolstring(L, raw + 2, &len);
    lua_Integer first = lua_tointeger(L, raw + 3), last = lua_tointeger(L, raw + 4);
    if (!text || first < 1 || last < first || (size_t)last > len)
      text = NULL;
    from = (size_t)first - 1;
    len = (size_t)(last - first) + 1;
  }
  int err =
      text ? cxb_buf_add(w->out, text + from, len) : refuse(w, "ready JSON without text%s", "");
  lua_settop(L, raw);
  return err;
}

static int write_table(writer *w, int depth) {
  if (depth > MAX_DEPTH)
    return refuse(w, "JSON deeper than 64 levels%s", "");
  if (!lua_checkstack(w->L, 12))
    return CXB_ENOMEM;
  int kind = kind_of(w->L);
  if (kind == UP_OBJECT)
    return write_ordered(w, depth);
  if (kind == UP_RAW)
    return write_raw(w);
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

/* Members an object has room for before its table grows: documents at the outside, what is in them.
 */
enum { READ_STACK = 8, OUTER_ROOM = 16, INNER_ROOM = 4 };

/* A member that is passed as it stands: what is told of it. */
typedef struct opaque {
  int level; /* of what is inside it; 0: none is being passed */
  size_t from;
  bool list, objects; /* objects: no item so far is anything else */
  const char *member; /* of the items, whose words are wanted; NULL: of none */
  size_t member_len;
  int most;          /* words */
  size_t longest;    /* bytes */
  size_t item_lines; /* bytes of `lines` before this item */
  bool wanted;       /* the member's value comes */
} opaque;

typedef struct reader {
  lua_State *L;
  int depth;
  int items[CXB_JSON_LEVELS]; /* of the open arrays so far; -1: an object */
  int names;                  /* stack index of the names of opaque members; 0: none */
  opaque passed;
  bool no_memory;
} reader;

/* Scripts run on one thread and nothing here waits: these serve all, so that an error on the way
 * leaks nothing. `room`: a string without its escapes. */
static cxb_buf lines, room;

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

/* Inside an opaque member: a value that is no container. */
static bool passes(reader *r) {
  opaque *o = &r->passed;
  if (o->level && r->depth == o->level && o->list)
    o->objects = false;
  o->wanted = false;
  return o->level > 0;
}

static bool on_null(void *arg) {
  reader *r = arg;
  if (passes(r))
    return true;
  lua_pushlightuserdata(r->L, NULL);
  return placed(r);
}

static bool on_boolean(void *arg, bool value) {
  reader *r = arg;
  if (passes(r))
    return true;
  lua_pushboolean(r->L, value);
  return placed(r);
}

static bool on_number(void *arg, double value) {
  reader *r = arg;
  if (passes(r))
    return true;
  lua_pushnumber(r->L, value);
  return placed(r);
}

/* Inside an opaque member: the strings that are wanted, each with an end of line; of repeated names
 * the last counts. */
static bool pass_string(reader *r, const cxb_json_string *s) {
  opaque *o = &r->passed;
  if (!o->member || r->depth != o->level + 1)
    return s->key || passes(r);
  if (s->key) {
    o->wanted = s->len == o->member_len && memcmp(s->text, o->member, s->len) == 0;
    if (o->wanted)
      lines.len = o->item_lines;
  } else if (o->wanted) {
    o->wanted = false;
    r->no_memory = cxb_buf_add(&lines, s->text, s->len) || cxb_buf_add(&lines, "\n", 1);
  }
  return !r->no_memory;
}

static bool on_string(void *arg, const cxb_json_string *s) {
  reader *r = arg;
  if (r->passed.level)
    return pass_string(r, s);
  lua_pushlstring(r->L, s->text, s->len);
  return s->key || placed(r);
}

/* What is wanted of a list, by the table on top, which holds the name. */
static void want_words(lua_State *L, opaque *o) {
  lua_getfield(L, -1, "words_of");
  lua_getfield(L, -2, "most");
  lua_getfield(L, -3, "longest");
  if (lua_type(L, -3) == LUA_TSTRING)
    o->member = lua_tolstring(L, -3, &o->member_len);
  o->most = (int)lua_tointeger(L, -2);
  o->longest = (size_t)lua_tointeger(L, -1);
  lua_pop(L, 3);
}

/* Whether the container that begins is to be passed: the name on top is among the opaque ones. */
static bool begin_opaque(reader *r, bool object, size_t at) {
  if (!r->names || r->depth != 1 || r->items[0] >= 0)
    return false;
  lua_pushvalue(r->L, -1);
  lua_rawget(r->L, r->names);
  bool is = lua_toboolean(r->L, -1);
  if (is) {
    r->passed = (opaque){.level = 2, .from = at, .list = !object, .objects = true};
    if (!object && lua_istable(r->L, -1))
      want_words(r->L, &r->passed);
    cxb_buf_clear(&lines);
  }
  lua_pop(r->L, 1);
  return is;
}

static bool on_begin(void *arg, bool object, size_t at) {
  reader *r = arg;
  opaque *o = &r->passed;
  if (o->level) {
    o->wanted = false;
    if (r->depth == o->level)
      o->item_lines = lines.len;
  } else if (!begin_opaque(r, object, at)) {
    r->no_memory = !lua_checkstack(r->L, READ_STACK);
    if (r->no_memory)
      return false;
    r->items[r->depth] = object ? -1 : 0;
    lua_createtable(r->L, 0, !object ? 0 : r->depth == 0 ? OUTER_ROOM : INNER_ROOM);
  }
  r->depth++;
  return true;
}

/* The opaque member that ends: {source, first, last, shape, words?}, marked as ready JSON. */
static bool end_opaque(reader *r, size_t count, size_t at) {
  lua_State *L = r->L;
  opaque *o = &r->passed;
  lua_createtable(L, 0, 5);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "source");
  lua_pushinteger(L, (lua_Integer)o->from + 1);
  lua_setfield(L, -2, "first");
  lua_pushinteger(L, (lua_Integer)at);
  lua_setfield(L, -2, "last");
  lua_pushstring(L, count == 0 ? "empty" : !o->list ? "object" : o->objects ? "objects" : "list");
  lua_setfield(L, -2, "shape");
  if (o->member) {
    r->no_memory = cxb_words_push(L, lines.data, lines.len, o->most, o->longest) != 0;
    if (r->no_memory)
      return false;
    lua_setfield(L, -2, "words");
  }
  lua_pushvalue(L, lua_upvalueindex(UP_RAW));
  lua_setmetatable(L, -2);
  if (lines.cap > KEPT_MAX)
    cxb_buf_free(&lines);
  o->level = 0;
  return placed(r);
}

static bool on_end(void *arg, bool object, size_t count, size_t at) {
  reader *r = arg;
  opaque *o = &r->passed;
  r->depth--;
  if (o->level && r->depth == o->level - 1)
    return end_opaque(r, count, at);
  if (o->level) {
    /* An empty list counts as an empty object, as everywhere. */
    if (r->depth == o->level && !object && count > 0)
      o->objects = false;
    return true;
  }
  if (!object && count == 0) {
    lua_pushvalue(r->L, lua_upvalueindex(UP_ARRAY));
    lua_setmetatable(r->L, -2);
  }
  return placed(r);
}

/* decode(text, levels, opaque) → value, or nil, "bad_json" | "too_deep", message, offset in bytes
 */
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
  luaL_argcheck(L, levels > 0 && levels <= CXB_JSON_LEVELS, 2, "1 to 256 levels");
  bool names = !lua_isnoneornil(L, 3);
  if (names)
    luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  luaL_checkstack(L, READ_STACK, "too many values");
  reader r;
  r.L = L;
  r.depth = 0;
  r.names = names ? 3 : 0;
  r.passed = (opaque){0};
  r.no_memory = false;
  cxb_json_fault fault;
  int err = cxb_json_read(text, len, levels, &events, &r, &room, &fault);
  if (room.cap > KEPT_MAX)
    cxb_buf_free(&room);
  if (!err)
    return 1;
  if (err == CXB_ENOMEM || r.no_memory)
    return luaL_error(L, "not enough memory");
  lua_settop(L, 3);
  lua_pushnil(L);
  if (err == CXB_ETOOBIG) {
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
  lua_CFunction both[] = {l_encode, l_decode};
  for (int i = 0; i < 2; i++) {
    for (int up = UP_ARRAY; up <= UP_OBJECT; up++)
      lua_pushvalue(L, up);
    lua_pushcclosure(L, both[i], UP_OBJECT);
  }
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
