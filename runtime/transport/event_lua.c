/* A call's events as scripts see them. */
#include "event_lua.h"

#include "../base/err.h"

static void set_number(lua_State *L, const char *key, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, key);
}

static void set_string(lua_State *L, const char *key, const char *value) {
  if (!value)
    return;
  lua_pushstring(L, value);
  lua_setfield(L, -2, key);
}

static void set_start(lua_State *L, const cxb_start *start) {
  set_number(L, "rate", start->rate);
  set_number(L, "framing_ms", start->framing_ms);
  set_string(L, "stream_id", start->stream_id);
  set_string(L, "caller_id", start->caller_id);
  set_string(L, "did", start->did);
  set_string(L, "from_number", start->from_number);
  set_string(L, "direction", start->direction);
  set_string(L, "connected_event", start->connected_event);
}

static void set_utterance(lua_State *L, const cxb_event *e) {
  set_number(L, "utterance", e->utterance);
  if (e->type != CXB_EV_FIRST_FRAME)
    set_number(L, "heard_ms", (double)e->heard_ms);
}

static const char *const names[] = {
    [CXB_EV_START] = "start",       [CXB_EV_ANSWER] = "answer",
    [CXB_EV_SPEECH] = "speech",     [CXB_EV_SILENCE] = "silence",
    [CXB_EV_DTMF] = "dtmf",         [CXB_EV_BEEP] = "beep",
    [CXB_EV_TEXT] = "text",         [CXB_EV_CLEARED] = "cleared",
    [CXB_EV_PLAYED] = "played",     [CXB_EV_FIRST_FRAME] = "first_frame",
    [CXB_EV_TRANSFER] = "transfer", [CXB_EV_STOP] = "stop",
    [CXB_EV_ERROR] = "error",       [CXB_EV_CLOSED] = "closed",
};
/* What an event's text is called. */
static const char *const texts[] = {
    [CXB_EV_TEXT] = "text", [CXB_EV_CLEARED] = "by",  [CXB_EV_TRANSFER] = "reason",
    [CXB_EV_STOP] = "by",   [CXB_EV_ERROR] = "error", [CXB_EV_CLOSED] = "reason",
};

void cxb_event_push(lua_State *L, const cxb_event *e) {
  lua_createtable(L, 0, e->type == CXB_EV_START ? 10 : 4);
  set_string(L, "type", names[e->type]);
  set_number(L, "t_ms", (double)e->t_ms);
  if (e->type < sizeof texts / sizeof *texts && texts[e->type])
    set_string(L, texts[e->type], e->text ? e->text : "");
  switch (e->type) {
  case CXB_EV_START:
    set_start(L, e->start);
    break;
  case CXB_EV_DTMF:
    lua_pushlstring(L, &e->digit, 1);
    lua_setfield(L, -2, "digit");
    break;
  case CXB_EV_PLAYED:
    if (e->code < 0)
      set_string(L, "error", cxb_err_code(e->code));
    set_utterance(L, e);
    break;
  case CXB_EV_CLEARED:
  case CXB_EV_FIRST_FRAME:
    set_utterance(L, e);
    break;
  case CXB_EV_TRANSFER:
    lua_pushboolean(L, e->ok);
    lua_setfield(L, -2, "ok");
    break;
  case CXB_EV_CLOSED:
    set_number(L, "code", e->code);
    break;
  default:
    break;
  }
}
