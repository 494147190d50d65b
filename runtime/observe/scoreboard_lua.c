/* cxb.scoreboard: this process's row, kept alive by a heartbeat each second. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>

#include "../base/err.h"
#include "../base/time.h"
#include "../host/generation.h"
#include "../host/slot.h"
#include "../host/task.h"
#include "observe_lua.h"

static cxb_scoreboard *board;
static uv_timer_t beat;
static int calls_seen;

cxb_scoreboard *cxb_scoreboard_process(void) {
  return board;
}

/* What the host knows itself is never left to a script. */
static void refresh(void) {
  cxb_scoreboard_row *row = board ? cxb_scoreboard_own(board) : NULL;
  if (!row)
    return;
  cxb_generation *gen = cxb_generation_current();
  row->calls = cxb_slot_used();
  row->max = cxb_slot_max();
  row->draining = cxb_draining();
  row->generation = gen ? cxb_generation_number(gen) : 0;
  if (row->calls != calls_seen) {
    calls_seen = row->calls;
    row->since_ms = cxb_now_ms();
    if (!row->calls)
      row->session_id[0] = '\0';
  }
  cxb_scoreboard_beat(board);
}

static void on_beat(uv_timer_t *t) {
  (void)t;
  refresh();
}

static void on_slot_change(void) {
  refresh();
}

static int l_attach(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  int id = (int)luaL_checkinteger(L, 2), workers = (int)luaL_checkinteger(L, 3);
  if (board) { /* a later generation finds it attached */
    lua_pushboolean(L, 1);
    return 1;
  }
  cxb_scoreboard *sb;
  int err = cxb_scoreboard_open(path, &sb);
  if (err)
    return cxb_push_error(L, err, "scoreboard %s: %s", path, cxb_strerror(err));
  if (id > 0 && (err = cxb_scoreboard_attach(sb, id)) != 0) {
    cxb_scoreboard_close(sb);
    return cxb_push_error(L, err, "worker %d of %s is another process", id, path);
  }
  board = sb;
  if (workers > 0)
    cxb_scoreboard_set_workers(sb, workers);
  cxb_slot_on_change = on_slot_change;
  if (id > 0) {
    uv_timer_init(cxb_loop(), &beat);
    uv_timer_start(&beat, on_beat, cxb_loop_first(1000), 1000);
    uv_unref((uv_handle_t *)&beat);
  }
  refresh();
  lua_pushboolean(L, 1);
  return 1;
}

static int l_update(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  cxb_scoreboard_row *row = board ? cxb_scoreboard_own(board) : NULL;
  if (!row)
    return 0;
  lua_getfield(L, 1, "session_id");
  if (lua_isstring(L, -1))
    snprintf(row->session_id, sizeof row->session_id, "%s", lua_tostring(L, -1));
  lua_getfield(L, 1, "reservation");
  if (lua_isstring(L, -1))
    snprintf(row->reservation, sizeof row->reservation, "%s", lua_tostring(L, -1));
  lua_getfield(L, 1, "outbox");
  if (lua_isnumber(L, -1))
    row->outbox = (int32_t)lua_tointeger(L, -1);
  lua_getfield(L, 1, "disk");
  if (lua_isboolean(L, -1))
    row->disk = lua_toboolean(L, -1);
  refresh();
  return 0;
}

static void set_integer(lua_State *L, const char *field, lua_Number value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, field);
}

static void set_boolean(lua_State *L, const char *field, int value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, field);
}

static int l_rows(lua_State *L) {
  lua_newtable(L);
  int workers = board ? cxb_scoreboard_workers(board) : 0;
  refresh();
  for (int id = 1; id <= workers && id <= CXB_SCOREBOARD_ROWS; id++) {
    cxb_scoreboard_row row;
    lua_newtable(L);
    set_integer(L, "id", id);
    bool live = cxb_scoreboard_row_get(board, id, &row);
    set_boolean(L, "live", live);
    if (live) {
      set_integer(L, "pid", row.pid);
      set_integer(L, "calls", row.calls);
      set_integer(L, "max", row.max);
      set_integer(L, "generation", row.generation);
      set_integer(L, "since", (lua_Number)row.since_ms);
      set_integer(L, "outbox", row.outbox);
      set_boolean(L, "draining", row.draining);
      set_boolean(L, "disk", row.disk);
      lua_pushstring(L, row.session_id);
      lua_setfield(L, -2, "session_id");
      lua_pushstring(L, row.reservation);
      lua_setfield(L, -2, "reservation");
    }
    lua_rawseti(L, -2, id);
  }
  return 1;
}

static int l_host_draining(lua_State *L) {
  if (board && lua_isboolean(L, 1))
    cxb_scoreboard_set_host_draining(board, lua_toboolean(L, 1));
  lua_pushboolean(L, board && cxb_scoreboard_host_draining(board));
  return 1;
}

static void open_scoreboard(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg fns[] = {{"attach", l_attach},
                                 {"update", l_update},
                                 {"rows", l_rows},
                                 {"host_draining", l_host_draining},
                                 {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, fns);
  lua_setfield(L, -2, "scoreboard");
}

static void stop_scoreboard(void) {
  if (!board)
    return;
  if (cxb_scoreboard_own(board))
    uv_close((uv_handle_t *)&beat, NULL);
  cxb_slot_on_change = NULL;
  cxb_scoreboard_close(board);
  board = NULL;
}

const cxb_module cxb_scoreboard_module = {
    .name = "scoreboard", .open = open_scoreboard, .stop = stop_scoreboard};
