/* The leg object: what a script can do with its call (lua/types/cxb.lua). */
#include "leg_lua.h"

#include <lauxlib.h>
#include <string.h>

#include "../base/err.h"
#include "../host/state.h"
#include "../base/sink.h"

/* The call of the object at 1, or NULL and nil, "closed" pushed when it is over for the script. */
static cxb_call *use(lua_State *L) {
  cxb_call *c = *(cxb_call **)luaL_checkudata(L, 1, CXB_LEG_MT);
  cxb_task *task = cxb_task_running();
  if (task) {
    c->owner = cxb_task_id(task);
    c->orphan_ms = 0;
  }
  if (!c->closing && c->session)
    return c;
  lua_pushnil(L);
  lua_pushliteral(L, "closed");
  return NULL;
}

static int done(lua_State *L) {
  lua_pushboolean(L, 1);
  return 1;
}

static int answer(lua_State *L, int err) {
  return err < 0 ? cxb_push_error(L, err, NULL) : done(L);
}

/* ---- events ---- */

static void stop_reading(void *arg) {
  ((cxb_call *)arg)->reading = false;
}

static int l_event(lua_State *L) {
  cxb_call *c = use(L);
  if (!c)
    return 2;
  if (c->count > 0) {
    int ref = c->queue[c->first];
    c->first = (c->first + 1) % c->cap;
    c->count--;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    return 1;
  }
  if (c->closed) {
    lua_pushnil(L);
    lua_pushliteral(L, "closed");
    return 2;
  }
  if (c->reading && cxb_wait_stack(&c->reader))
    return luaL_error(L, "leg:event: another task reads this call's events");
  lua_Number ms = luaL_optnumber(L, 2, -1);
  c->reading = true;
  return cxb_task_wait_ms(L, &c->reader, ms < 0 ? -1 : (int64_t)ms, stop_reading, c);
}

static int l_post(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  cxb_call *c = use(L);
  if (!c)
    return 2;
  lua_pushvalue(L, 2);
  cxb_call_offer(c, L);
  return done(L);
}

/* ---- listening ---- */

static lua_Number option(lua_State *L, const char *key, lua_Number absent) {
  lua_getfield(L, 2, key);
  lua_Number n = luaL_optnumber(L, -1, absent);
  lua_pop(L, 1);
  return n;
}

static int l_vad(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  cxb_call *c = use(L);
  if (!c)
    return 2;
  cxb_session_vad(c->session, (int)option(L, "mode", 2), (int)option(L, "start_ms", 200),
                  (int)option(L, "stop_ms", 600));
  cxb_session_vad_floor(c->session, option(L, "min_volume", 0));
  return done(L);
}

static int l_barge(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  cxb_call *c = use(L);
  if (!c)
    return 2;
  lua_getfield(L, 2, "vad");
  lua_getfield(L, 2, "dtmf");
  cxb_session_barge(c->session, (lua_toboolean(L, -2) ? CXB_BARGE_VAD : 0u) |
                                    (lua_toboolean(L, -1) ? CXB_BARGE_DTMF : 0u));
  return done(L);
}

/* The sink goes to the session: the script's object is empty afterwards. */
static int l_tap(lua_State *L) {
  cxb_call *c = use(L);
  if (!c)
    return 2;
  if (lua_isnoneornil(L, 2))
    return answer(L, cxb_session_tap(c->session, NULL, 0, 0, 0));
  cxb_sink **box = luaL_checkudata(L, 2, CXB_SINK_MT);
  luaL_argcheck(L, *box, 2, "the sink is in use");
  int rate = (int)luaL_checkinteger(L, 3), replay_ms = (int)luaL_optinteger(L, 4, 0);
  int err = cxb_session_tap(c->session, *box, rate, replay_ms, (int)luaL_optinteger(L, 5, 0));
  if (!err)
    *box = NULL;
  return answer(L, err);
}

static int l_monitor(lua_State *L) {
  cxb_sink **box = luaL_checkudata(L, 2, CXB_SINK_MT);
  luaL_argcheck(L, *box, 2, "the sink is in use");
  cxb_call *c = use(L);
  if (!c)
    return 2;
  int listener = cxb_session_listen(c->session, *box);
  if (listener < 0)
    return answer(L, listener);
  *box = NULL;
  lua_pushinteger(L, listener);
  return 1;
}

static int l_unmonitor(lua_State *L) {
  int listener = (int)luaL_checkinteger(L, 2);
  cxb_call *c = use(L);
  if (!c)
    return 2;
  cxb_session_unlisten(c->session, listener);
  return done(L);
}

/* ---- speaking ---- */

static int l_say_begin(lua_State *L) {
  int rate = (int)luaL_checkinteger(L, 2);
  luaL_argcheck(L, rate >= 8000 && rate <= CXB_MAX_RATE, 2, "8000 to 48000 Hz");
  cxb_call *c = use(L);
  if (!c)
    return 2;
  uint32_t id = cxb_session_say_begin(c->session, rate);
  if (!id)
    return cxb_push_error(L, CXB_ECLOSED, NULL);
  lua_pushnumber(L, id);
  return 1;
}

static int l_say_push(lua_State *L) {
  size_t len;
  uint32_t id = (uint32_t)luaL_checknumber(L, 2);
  const char *pcm = luaL_checklstring(L, 3, &len);
  cxb_call *c = use(L);
  return c ? answer(L, cxb_session_say_push(c->session, id, pcm, len)) : 2;
}

static int err_of(const char *code) {
  static const int all[] = {CXB_ETIMEDOUT, CXB_ECANCELED, CXB_ECLOSED, CXB_EREFUSED,
                            CXB_ETOOBIG,   CXB_EPROTO,    CXB_EINVAL,  CXB_EUNSUPPORTED};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (strcmp(cxb_err_code(all[i]), code) == 0)
      return all[i];
  return CXB_EIO;
}

static int l_say_end(lua_State *L) {
  uint32_t id = (uint32_t)luaL_checknumber(L, 2);
  const char *why = luaL_optstring(L, 3, NULL);
  cxb_call *c = use(L);
  return c ? answer(L, cxb_session_say_end(c->session, id, why ? err_of(why) : 0)) : 2;
}

static int sink_gc(lua_State *L) {
  cxb_sink **box = lua_touserdata(L, 1);
  if (*box)
    (*box)->release(*box);
  *box = NULL;
  return 0;
}

static int l_say_sink(lua_State *L) {
  uint32_t id = (uint32_t)luaL_checknumber(L, 2);
  cxb_call *c = use(L);
  if (!c)
    return 2;
  cxb_sink **box = lua_newuserdata(L, sizeof *box);
  *box = NULL;
  luaL_getmetatable(L, CXB_SINK_MT);
  lua_setmetatable(L, -2);
  *box = cxb_session_say_sink(c->session, id);
  return *box ? 1 : cxb_push_error(L, CXB_ENOMEM, NULL);
}

static int l_clear(lua_State *L) {
  cxb_call *c = use(L);
  if (!c)
    return 2;
  cxb_session_clear(c->session);
  return done(L);
}

/* ---- the rest ---- */

static int l_record(lua_State *L) {
  const char *path = luaL_checkstring(L, 2);
  cxb_call *c = use(L);
  if (!c)
    return 2;
  int err = cxb_session_record(c->session, path);
  return err < 0 ? cxb_push_error(L, err, "%s: %s", path, cxb_strerror(err)) : done(L);
}

static int l_record_pause(lua_State *L) {
  cxb_call *c = use(L);
  if (!c)
    return 2;
  cxb_session_record_pause(c->session, lua_toboolean(L, 2));
  return done(L);
}

static int l_note(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  cxb_call *c = use(L);
  if (!c)
    return 2;
  if (!c->ser->note)
    return done(L);
  lua_settop(L, 2);
  if (cxb_json_encode(L) != 0)
    return luaL_error(L, "leg:note: %s", lua_tostring(L, -1));
  size_t len;
  const char *json = lua_tolstring(L, -1, &len);
  cxb_session_note(c->session, json, len);
  return done(L);
}

static const char *field(lua_State *L, const char *key) {
  lua_getfield(L, 2, key); /* stays on the stack, so its text lives */
  return luaL_optstring(L, -1, "");
}

static int l_transfer(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  cxb_call *c = use(L);
  if (!c)
    return 2;
  if (!c->ser->can_transfer)
    return cxb_push_error(L, CXB_EUNSUPPORTED, "%s cannot transfer", c->ser->name);
  const cxb_transfer t = {.to = field(L, "to"),
                          .type = field(L, "type"),
                          .reason = field(L, "reason"),
                          .target = field(L, "target")};
  cxb_session_transfer(c->session, &t);
  return done(L);
}

static int l_hangup(lua_State *L) {
  cxb_call *c = use(L);
  if (!c)
    return 2;
  cxb_session_hangup(c->session);
  return done(L);
}

static int l_limit(lua_State *L) {
  lua_Number ms = luaL_optnumber(L, 2, -1);
  cxb_call *c = use(L);
  if (!c)
    return 2;
  cxb_session_limit(c->session, ms < 0 ? -1 : (int64_t)ms);
  return done(L);
}

static int l_abort(lua_State *L) {
  int code = (int)luaL_optinteger(L, 2, 1000);
  const char *reason = luaL_optstring(L, 3, "");
  luaL_argcheck(L, code >= 1000 && code <= 4999, 2, "a WebSocket close code");
  cxb_call *c = use(L);
  if (!c)
    return 2;
  cxb_session_abort_for(c->session, code, reason);
  return done(L);
}

static int l_close(lua_State *L) {
  cxb_call *c = use(L);
  if (!c)
    return 2;
  cxb_call_end(c);
  return cxb_task_wait(L, &c->closer, NULL, NULL);
}

static int l_stats(lua_State *L) {
  cxb_call *c = use(L);
  if (!c)
    return 2;
  cxb_session_stats s;
  cxb_session_stats_get(c->session, &s);
  const struct {
    const char *name;
    double value;
  } all[] = {
      {"frames_in", (double)s.frames_in},
      {"frames_out", (double)s.frames_out},
      {"underruns", (double)s.underruns},
      {"drops", (double)s.drops},
      {"ignored", (double)c->counts.ignored},
      {"bad_message", (double)c->counts.bad_message},
      {"bad_audio", (double)c->counts.bad_audio},
      {"frame_errors", (double)s.frame_errors},
      {"pacing_count", (double)s.pacing_count},
      {"pacing_us_p50", s.pacing_us_p50},
      {"pacing_us_p99", s.pacing_us_p99},
      {"pacing_us_max", s.pacing_us_max},
      {"clock_ms", (double)s.clock_ms},
      {"heard_total_ms", (double)s.heard_total_ms},
      {"recorded_bytes", (double)s.recorded_bytes},
  };
  lua_createtable(L, 0, sizeof all / sizeof *all);
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    lua_pushnumber(L, all[i].value);
    lua_setfield(L, -2, all[i].name);
  }
  return 1;
}

/* Methods, then facts. */
static int l_index(lua_State *L) {
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  if (!lua_isnil(L, -1))
    return 1;
  const cxb_call *c = *(cxb_call **)luaL_checkudata(L, 1, CXB_LEG_MT);
  const char *key = lua_tostring(L, 2);
  if (key && strcmp(key, "transport") == 0)
    lua_pushstring(L, c->ser->name);
  else if (key && strcmp(key, "can_transfer") == 0)
    lua_pushboolean(L, c->ser->can_transfer);
  else if (key && strcmp(key, "lead_ms") == 0)
    lua_pushinteger(L, c->ser->lead_ms);
  else
    lua_pushnil(L);
  return 1;
}

void cxb_leg_lua_open(lua_State *L, lua_CFunction leg_gc) {
  static const luaL_Reg methods[] = {{"event", l_event},
                                     {"post", l_post},
                                     {"vad", l_vad},
                                     {"barge", l_barge},
                                     {"tap", l_tap},
                                     {"monitor", l_monitor},
                                     {"unmonitor", l_unmonitor},
                                     {"say_begin", l_say_begin},
                                     {"say_push", l_say_push},
                                     {"say_end", l_say_end},
                                     {"say_sink", l_say_sink},
                                     {"clear", l_clear},
                                     {"record", l_record},
                                     {"record_pause", l_record_pause},
                                     {"note", l_note},
                                     {"transfer", l_transfer},
                                     {"hangup", l_hangup},
                                     {"abort", l_abort},
                                     {"limit", l_limit},
                                     {"close", l_close},
                                     {"stats", l_stats},
                                     {NULL, NULL}};
  if (luaL_newmetatable(L, CXB_SINK_MT)) { /* the first room that makes sinks */
    lua_pushcfunction(L, sink_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_pop(L, 1);
  luaL_newmetatable(L, CXB_LEG_MT);
  lua_pushcfunction(L, leg_gc);
  lua_setfield(L, -2, "__gc");
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_pushcclosure(L, l_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
