/* cxb.metrics */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>

#include "../base/err.h"
#include "../host/host.h"
#include "metrics.h"
#include "observe_lua.h"

enum { MAX_LABELS = 6, LABELS = 96 };

/* Appends name="value" to the `len` bytes of `out`; "?" for what would break the text or has no
 * room in it, nothing where even that has none. The new length. */
static size_t add_label(char *out, size_t size, size_t len, const char *name, const char *value) {
  const char *const tries[] = {value && !strpbrk(value, "\"\\\n") ? value : "?", "?"};
  for (int i = 0; i < 2; i++) {
    size_t n =
        (size_t)snprintf(out + len, size - len, "%s%s=\"%s\"", len ? "," : "", name, tries[i]);
    if (n < size - len)
      return len + n;
  }
  out[len] = '\0';
  return len;
}

/* A label table as a="x",b="y", sorted by name, in `out`; a text that l_labels() made as it is. */
static const char *labels_text(lua_State *L, int index, char *out, size_t size) {
  const char *names[MAX_LABELS];
  int n = 0;
  *out = '\0';
  if (lua_type(L, index) == LUA_TSTRING)
    return lua_tostring(L, index);
  if (!lua_istable(L, index))
    return out;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    if (n < MAX_LABELS && lua_type(L, -2) == LUA_TSTRING) {
      int at = n++;
      while (at > 0 && strcmp(names[at - 1], lua_tostring(L, -2)) > 0) {
        names[at] = names[at - 1];
        at--;
      }
      names[at] = lua_tostring(L, -2);
    }
    lua_pop(L, 1);
  }
  size_t len = 0;
  for (int i = 0; i < n; i++) {
    lua_getfield(L, index, names[i]);
    len = add_label(out, size, len, names[i], lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  return out;
}

static int l_labels(lua_State *L) {
  char labels[LABELS];
  lua_pushstring(L, labels_text(L, 1, labels, sizeof labels));
  return 1;
}

static int done(lua_State *L, int err, const char *name) {
  if (err == CXB_ENOENT)
    return luaL_error(L, "metric %s is not declared (or not of this type)", name);
  return 0; /* a full block is counted there */
}

static int l_count(lua_State *L) {
  char room[LABELS];
  const char *name = luaL_checkstring(L, 1), *labels = labels_text(L, 2, room, sizeof room);
  return done(L, cxb_metric_add(name, labels, luaL_optnumber(L, 3, 1)), name);
}

static int l_set(lua_State *L) {
  char room[LABELS];
  const char *name = luaL_checkstring(L, 1), *labels = labels_text(L, 2, room, sizeof room);
  return done(L, cxb_metric_set(name, labels, luaL_checknumber(L, 3)), name);
}

static int l_observe(lua_State *L) {
  char room[LABELS];
  const char *name = luaL_checkstring(L, 1), *labels = labels_text(L, 2, room, sizeof room);
  return done(L, cxb_metric_observe(name, labels, luaL_checknumber(L, 3)), name);
}

static void declare_one(lua_State *L, int entry) {
  static const char *const types[] = {"counter", "gauge", "gauge_max", "histogram", NULL};
  double buckets[CXB_METRIC_BUCKETS];
  int count = 0;
  lua_getfield(L, entry, "name");
  lua_getfield(L, entry, "type");
  lua_getfield(L, entry, "help");
  lua_getfield(L, entry, "buckets");
  const char *name = luaL_checkstring(L, entry + 1);
  int type = luaL_checkoption(L, entry + 2, "counter", types);
  if (lua_istable(L, entry + 4)) {
    count = (int)lua_objlen(L, entry + 4);
    if (count > CXB_METRIC_BUCKETS)
      luaL_error(L, "metric %s: more than %d buckets", name, CXB_METRIC_BUCKETS);
    for (int i = 0; i < count; i++) {
      lua_rawgeti(L, entry + 4, i + 1);
      buckets[i] = lua_tonumber(L, -1);
      lua_pop(L, 1);
    }
  }
  int err = cxb_metric_declare(name, (cxb_metric_type)type, luaL_optstring(L, entry + 3, ""),
                               buckets, count);
  if (err)
    luaL_error(L, "metric %s: %s", name, cxb_strerror(err));
  lua_settop(L, entry - 1);
}

static int l_declare(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  for (int i = 1; i <= (int)lua_objlen(L, 1); i++) {
    lua_rawgeti(L, 1, i);
    declare_one(L, lua_gettop(L));
  }
  return 0;
}

static int l_render(lua_State *L) {
  static cxb_metric_block *blocks[CXB_SCOREBOARD_ROWS];
  const char *scope = luaL_optstring(L, 1, "worker");
  cxb_scoreboard *sb = cxb_scoreboard_process();
  int n = 0;
  if (sb && strcmp(scope, "host") == 0) {
    cxb_scoreboard_row row;
    for (int id = 1; id <= CXB_SCOREBOARD_ROWS; id++)
      if (cxb_scoreboard_row_get(sb, id, &row))
        blocks[n++] = cxb_scoreboard_metrics(sb, id);
  }
  if (n == 0)
    blocks[n++] = cxb_metric_own();
  cxb_buf out = {0};
  int err = cxb_metric_render(&out, blocks, n);
  if (!err)
    lua_pushlstring(L, out.data ? out.data : "", out.len);
  cxb_buf_free(&out);
  return err ? luaL_error(L, "metrics: %s", cxb_strerror(err)) : 1;
}

static void open_metrics(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg fns[] = {{"count", l_count},
                                 {"set", l_set},
                                 {"observe", l_observe},
                                 {"declare", l_declare},
                                 {"labels", l_labels},
                                 {"render", l_render},
                                 {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, fns);
  lua_setfield(L, -2, "metrics");
}

const cxb_module cxb_metrics_module = {.name = "metrics", .open = open_metrics};
