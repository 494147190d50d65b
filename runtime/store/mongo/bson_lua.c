/* BSON and Lua values. */
#include "bson_lua.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 64, MAX_EXACT_BITS = 53, SHORT_KEY = 256 };

/* A list inside a list. Data has no such key: its "%" is escaped. */
#define NESTED "%L"

static const char json_key; /* the registry's: cxb.json */

typedef enum { PLAIN, LIST, OBJECT, OWN, RAW, DATE } shape;

void cxb_bson_lua_open(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&json_key);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "cxb.json");
  lua_call(L, 1, 1);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

/* Calls cxb.json's function with the value on top of the stack; its first result takes its place.
 */
static void call_json(lua_State *L, const char *function) {
  lua_pushlightuserdata(L, (void *)&json_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_getfield(L, -1, function);
  lua_replace(L, -2);
  lua_insert(L, -2);
  lua_call(L, 1, 1);
}

/* ---- to BSON ---- */

static shape shape_of(lua_State *L, int index) {
  shape found = PLAIN;
  if (luaL_getmetafield(L, index, "__name")) {
    const char *name = lua_tostring(L, -1);
    if (name)
      found = strcmp(name, "json.array") == 0    ? LIST
              : strcmp(name, "json.object") == 0 ? OBJECT
              : strcmp(name, "mongo.own") == 0   ? OWN
              : strcmp(name, "json.raw") == 0    ? RAW
              : strcmp(name, "mongo.date") == 0  ? DATE
                                                 : PLAIN;
    lua_pop(L, 1);
  }
  return found == PLAIN && lua_objlen(L, index) > 0 ? LIST : found;
}

static bool must_escape(char c, size_t at) {
  return c == '.' || c == '%' || c == 0 || (c == '$' && at == 0);
}

/* The key at `index` as data: itself, or escaped text pushed on the stack (1 is returned). */
static int data_key(lua_State *L, int index, const char **key, size_t *len) {
  const char *s = lua_tolstring(L, index, len);
  size_t first = 0;
  while (first < *len && !must_escape(s[first], first))
    first++;
  *key = s;
  if (first == *len)
    return 0;
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (size_t i = 0; i < *len; i++) {
    char code[4];
    if (must_escape(s[i], i)) {
      snprintf(code, sizeof code, "%%%02X", (unsigned char)s[i]);
      luaL_addlstring(&b, code, 3);
    } else {
      luaL_addchar(&b, s[i]);
    }
  }
  luaL_pushresult(&b);
  *key = lua_tolstring(L, -1, len);
  return 1;
}

static void append_value(lua_State *L, int index, bson_t *out, const char *key, size_t len,
                         int depth);

static void append_plain(lua_State *L, int index, bson_t *out, int depth) {
  lua_pushnil(L);
  while (lua_next(L, index)) {
    const char *key;
    size_t len;
    lua_pushvalue(L, -2); /* a number's text must not replace the key lua_next() needs */
    int value = lua_gettop(L) - 1;
    if (!lua_isstring(L, -1))
      luaL_error(L, "a key is a %s", luaL_typename(L, -1));
    data_key(L, value + 1, &key, &len);
    append_value(L, value, out, key, len, depth);
    lua_settop(L, value - 1);
  }
}

/* {{key, value}, ...} */
static void append_ordered(lua_State *L, int index, bson_t *out, int depth, bool data) {
  int n = (int)lua_objlen(L, index), top = lua_gettop(L);
  for (int i = 1; i <= n; i++) {
    const char *key;
    size_t len;
    lua_rawgeti(L, index, i);
    lua_rawgeti(L, top + 1, 1);
    lua_rawgeti(L, top + 1, 2);
    if (!lua_isstring(L, top + 2))
      luaL_error(L, "a key is a %s", luaL_typename(L, top + 2));
    if (data)
      data_key(L, top + 2, &key, &len);
    else
      key = lua_tolstring(L, top + 2, &len);
    if (!lua_isnil(L, top + 3))
      append_value(L, top + 3, out, key, len, depth);
    lua_settop(L, top);
  }
}

static void append_fields(lua_State *L, int index, shape kind, bson_t *out, int depth) {
  if (kind == PLAIN)
    append_plain(L, index, out, depth);
  else
    append_ordered(L, index, out, depth, kind == OBJECT);
}

static void append_list(lua_State *L, int index, bson_t *out, int depth) {
  int n = (int)lua_objlen(L, index);
  for (int i = 1; i <= n; i++) {
    char text[16];
    const char *key;
    bson_t nest;
    size_t len = bson_uint32_to_string((uint32_t)(i - 1), &key, text, sizeof text);
    lua_rawgeti(L, index, i);
    int item = lua_gettop(L);
    if (lua_istable(L, item) && shape_of(L, item) == LIST) {
      bson_append_document_begin(out, key, (int)len, &nest);
      append_value(L, item, &nest, NESTED, sizeof NESTED - 1, depth);
      bson_append_document_end(out, &nest);
    } else {
      append_value(L, item, out, key, len, depth);
    }
    lua_pop(L, 1);
  }
}

static void append_table(lua_State *L, int index, bson_t *out, const char *key, int len,
                         int depth) {
  bson_t child;
  shape kind = shape_of(L, index);
  if (depth > MAX_DEPTH)
    luaL_error(L, "deeper than %d levels", MAX_DEPTH);
  luaL_checkstack(L, 8, "a document is too deep");
  if (kind == DATE) {
    lua_rawgeti(L, index, 1);
    bson_append_date_time(out, key, len, (int64_t)lua_tonumber(L, -1));
    lua_pop(L, 1);
  } else if (kind == RAW) {
    lua_pushvalue(L, index);
    call_json(L, "text");
    call_json(L, "decode");
    append_value(L, lua_gettop(L), out, key, (size_t)len, depth + 1);
    lua_pop(L, 1);
  } else if (kind == LIST) {
    bson_append_array_begin(out, key, len, &child);
    append_list(L, index, &child, depth + 1);
    bson_append_array_end(out, &child);
  } else {
    bson_append_document_begin(out, key, len, &child);
    append_fields(L, index, kind, &child, depth + 1);
    bson_append_document_end(out, &child);
  }
}

static void append_number(lua_State *L, bson_t *out, const char *key, int len, double n) {
  if (isnan(n) || isinf(n))
    luaL_error(L, "%s: not a finite number", key);
  if (n == floor(n) && fabs(n) <= (double)(1LL << MAX_EXACT_BITS))
    bson_append_int64(out, key, len, (int64_t)n);
  else
    bson_append_double(out, key, len, n);
}

static void append_value(lua_State *L, int index, bson_t *out, const char *key, size_t len,
                         int depth) {
  size_t size;
  const char *text;
  int n = (int)len;
  switch (lua_type(L, index)) {
  case LUA_TSTRING:
    text = lua_tolstring(L, index, &size);
    bson_append_utf8(out, key, n, text, (int)size);
    return;
  case LUA_TNUMBER:
    append_number(L, out, key, n, lua_tonumber(L, index));
    return;
  case LUA_TBOOLEAN:
    bson_append_bool(out, key, n, lua_toboolean(L, index));
    return;
  case LUA_TTABLE:
    append_table(L, index, out, key, n, depth);
    return;
  case LUA_TLIGHTUSERDATA:
    if (lua_touserdata(L, index) == NULL) {
      bson_append_null(out, key, n);
      return;
    }
    break;
  default:
    break;
  }
  luaL_error(L, "%s: BSON cannot hold a %s", key, luaL_typename(L, index));
}

void cxb_bson_append_table(lua_State *L, int index, bson_t *out) {
  append_fields(L, index, shape_of(L, index), out, 1);
}

/* ---- from BSON ---- */

static void push_fields(lua_State *L, bson_iter_t *iter);

static void push_int(lua_State *L, int64_t n) {
  char text[24];
  if (n >= -(1LL << MAX_EXACT_BITS) && n <= 1LL << MAX_EXACT_BITS) {
    lua_pushnumber(L, (lua_Number)n);
  } else {
    snprintf(text, sizeof text, "%" PRId64, n);
    lua_pushstring(L, text);
  }
}

static void push_list(lua_State *L, bson_iter_t *iter);

static void push_null(lua_State *L) {
  lua_pushlightuserdata(L, NULL);
}

static void push_rare(lua_State *L, bson_iter_t *iter) {
  char text[BSON_DECIMAL128_STRING];
  bson_decimal128_t decimal;
  bson_subtype_t subtype;
  const uint8_t *data;
  uint32_t len;
  if (BSON_ITER_HOLDS_OID(iter)) {
    bson_oid_to_string(bson_iter_oid(iter), text);
    lua_pushstring(L, text);
  } else if (BSON_ITER_HOLDS_BINARY(iter)) {
    bson_iter_binary(iter, &subtype, &len, &data);
    lua_pushlstring(L, (const char *)data, len);
  } else if (BSON_ITER_HOLDS_DECIMAL128(iter) && bson_iter_decimal128(iter, &decimal)) {
    bson_decimal128_to_string(&decimal, text);
    lua_pushstring(L, text);
  } else {
    push_null(L);
  }
}

static void push_value(lua_State *L, bson_iter_t *iter) {
  bson_iter_t child;
  uint32_t len;
  const char *text;
  switch (bson_iter_type(iter)) {
  case BSON_TYPE_UTF8:
    text = bson_iter_utf8(iter, &len);
    lua_pushlstring(L, text, len);
    return;
  case BSON_TYPE_INT32:
  case BSON_TYPE_INT64:
    push_int(L, bson_iter_as_int64(iter));
    return;
  case BSON_TYPE_DOUBLE:
    lua_pushnumber(L, bson_iter_double(iter));
    return;
  case BSON_TYPE_DATE_TIME:
    push_int(L, bson_iter_date_time(iter));
    return;
  case BSON_TYPE_BOOL:
    lua_pushboolean(L, bson_iter_bool(iter));
    return;
  case BSON_TYPE_DOCUMENT:
    if (bson_iter_recurse(iter, &child) && bson_iter_find(&child, NESTED)) {
      push_value(L, &child);
      return;
    }
    lua_newtable(L);
    if (bson_iter_recurse(iter, &child))
      push_fields(L, &child);
    return;
  case BSON_TYPE_ARRAY:
    lua_newtable(L);
    if (bson_iter_recurse(iter, &child))
      push_list(L, &child);
    return;
  default:
    push_rare(L, iter);
  }
}

static int hex(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void push_key(lua_State *L, const char *key) {
  if (!strchr(key, '%')) {
    lua_pushstring(L, key);
    return;
  }
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (; *key; key++) {
    if (*key == '%' && hex(key[1]) >= 0 && hex(key[2]) >= 0) {
      luaL_addchar(&b, (char)(hex(key[1]) * 16 + hex(key[2])));
      key += 2;
    } else {
      luaL_addchar(&b, *key);
    }
  }
  luaL_pushresult(&b);
}

static void push_fields(lua_State *L, bson_iter_t *iter) {
  luaL_checkstack(L, 8, "a document is too deep");
  while (bson_iter_next(iter)) {
    push_key(L, bson_iter_key(iter));
    push_value(L, iter);
    lua_rawset(L, -3);
  }
}

static void push_list(lua_State *L, bson_iter_t *iter) {
  int n = 0;
  luaL_checkstack(L, 8, "a document is too deep");
  while (bson_iter_next(iter)) {
    push_value(L, iter);
    lua_rawseti(L, -2, ++n);
  }
  if (n == 0)
    call_json(L, "array");
}

void cxb_bson_push(lua_State *L, const bson_t *document) {
  bson_iter_t iter;
  lua_newtable(L);
  if (bson_iter_init(&iter, document))
    push_fields(L, &iter);
}

int cxb_bson_push_batch(lua_State *L, const bson_t *reply, int at) {
  bson_iter_t iter, cursor, batch;
  if (!bson_iter_init_find(&iter, reply, "cursor") || !bson_iter_recurse(&iter, &cursor))
    return at;
  while (bson_iter_next(&cursor)) {
    const char *key = bson_iter_key(&cursor);
    if ((strcmp(key, "firstBatch") != 0 && strcmp(key, "nextBatch") != 0) ||
        !bson_iter_recurse(&cursor, &batch))
      continue;
    while (bson_iter_next(&batch)) {
      push_value(L, &batch);
      lua_rawseti(L, -2, at++);
    }
  }
  return at;
}
