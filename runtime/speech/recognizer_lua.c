/* cxb.speech.recognizer */
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../base/sink_lua.h"
#include "../host/task.h"
#include "recognizer.h"
#include "speech_lua.h"

#define RECOGNIZER_MT "cxb.speech.recognizer"

typedef struct event {
  struct event *next;
  cxb_recognizer_event data; /* its strings are below */
  char id[CXB_TURN_ID_BYTES], code[16];
  char text[];
} event;

/* One recogniser as scripts and pipes see it. References: the script's object, each sink. */
typedef struct listener {
  cxb_sink sink;
  cxb_speech_mail mail;
  int refs;
  cxb_recognizer *rec;  /* NULL once closed */
  pthread_mutex_t lock; /* of the events */
  event *first, **last;
  cxb_wait wait;
  bool waiting;
} listener;

static void close_listener(listener *l) {
  if (!l->rec)
    return;
  cxb_recognizer_close(l->rec);
  l->rec = NULL;
  cxb_speech_dismiss(&l->mail);
}

static void unref(listener *l) {
  if (--l->refs > 0)
    return;
  close_listener(l);
  while (l->first) {
    event *next = l->first->next;
    free(l->first);
    l->first = next;
  }
  pthread_mutex_destroy(&l->lock);
  free(l);
}

/* ---- events ---- */

static void on_event(void *arg, const cxb_recognizer_event *data) {
  listener *l = arg;
  size_t len = strlen(data->text);
  event *e = malloc(sizeof *e + len + 1);
  if (!e)
    return;
  e->next = NULL;
  e->data = *data;
  snprintf(e->id, sizeof e->id, "%s", data->id);
  snprintf(e->code, sizeof e->code, "%s", data->code);
  memcpy(e->text, data->text, len + 1);
  pthread_mutex_lock(&l->lock);
  *l->last = e;
  l->last = &e->next;
  pthread_mutex_unlock(&l->lock);
  cxb_speech_wake(&l->mail);
}

static event *take(listener *l) {
  pthread_mutex_lock(&l->lock);
  event *e = l->first;
  if (e) {
    l->first = e->next;
    if (!l->first)
      l->last = &l->first;
  }
  pthread_mutex_unlock(&l->lock);
  return e;
}

static void set_string(lua_State *L, const char *field, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, field);
}

static void set_number(lua_State *L, const char *field, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, field);
}

/* Pushes the event as a table and frees it. */
static void push_event(lua_State *L, event *e) {
  static const char *const types[] = {"speech", "silence", "partial", "final", "error"};
  const cxb_recognizer_event *data = &e->data;
  lua_createtable(L, 0, 8);
  set_string(L, "type", types[data->type]);
  switch (data->type) {
  case CXB_RECOGNIZER_SPEECH:
  case CXB_RECOGNIZER_SILENCE:
    set_number(L, "t_ms", (double)data->t_ms);
    set_number(L, "pos_ms", (double)data->pos_ms);
    break;
  case CXB_RECOGNIZER_PARTIAL:
    set_string(L, "text", e->text);
    break;
  case CXB_RECOGNIZER_FINAL:
    set_string(L, "id", e->id);
    set_string(L, "text", e->text);
    if (data->start_ms >= 0) {
      set_number(L, "start_ms", (double)data->start_ms);
      set_number(L, "end_ms", (double)data->end_ms);
    }
    set_number(L, "confidence", data->confidence);
    set_number(L, "compute_ms", data->compute_ms);
    break;
  case CXB_RECOGNIZER_ERROR:
    set_string(L, "code", e->code);
    set_string(L, "message", e->text);
    break;
  }
  free(e);
}

static void deliver(cxb_speech_mail *mail) {
  listener *l = (listener *)(void *)((char *)mail - offsetof(listener, mail));
  lua_State *L = l->waiting ? cxb_wait_stack(&l->wait) : NULL;
  if (!L)
    return;
  event *e = take(l);
  if (!e)
    return;
  l->waiting = false;
  push_event(L, e);
  cxb_wait_resume(&l->wait, 1);
}

static void stop(cxb_speech_mail *mail) {
  close_listener((listener *)(void *)((char *)mail - offsetof(listener, mail)));
}

/* ---- the sink ---- */

static int sink_write(cxb_sink *sink, const uint8_t *data, size_t len) {
  listener *l = (listener *)sink;
  if (!l->rec)
    return CXB_ECLOSED;
  cxb_recognizer_feed(l->rec, data, len); /* what it refuses becomes an error event */
  return 0;
}

static void sink_end(cxb_sink *sink, int err) {
  (void)sink;
  (void)err;
}

static void sink_release(cxb_sink *sink) {
  unref((listener *)sink);
}

/* ---- Lua ---- */

static listener *check(lua_State *L) {
  return *(listener **)luaL_checkudata(L, 1, RECOGNIZER_MT);
}

static int closed(lua_State *L) {
  return cxb_push_error(L, CXB_ECLOSED, "the recogniser is closed");
}

static int answer(lua_State *L, int err) {
  if (err)
    return cxb_push_error(L, err, NULL);
  lua_pushboolean(L, true);
  return 1;
}

static int integer_field(lua_State *L, const char *field, int otherwise) {
  lua_getfield(L, 1, field);
  int value = (int)luaL_optinteger(L, -1, otherwise);
  lua_pop(L, 1);
  return value;
}

/* recognizer(opts) → rec | nil, code, message */
static int l_recognizer(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  cxb_engine *engine = cxb_speech_engine();
  if (!engine)
    return cxb_push_error(L, CXB_EINVAL, "cxb.speech.load() comes first");
  listener **box = lua_newuserdata(L, sizeof *box);
  *box = NULL;
  luaL_getmetatable(L, RECOGNIZER_MT);
  lua_setmetatable(L, -2);
  cxb_recognizer_config config = {.rate = integer_field(L, "rate", 0),
                                  .start_ms = integer_field(L, "start_ms", 0),
                                  .stop_ms = integer_field(L, "stop_ms", 0),
                                  .on_event = on_event};
  lua_getfield(L, 1, "partials");
  config.partials = lua_toboolean(L, -1);
  lua_pop(L, 1);
  listener *l = calloc(1, sizeof *l);
  if (!l)
    return luaL_error(L, "out of memory");
  config.arg = l;
  l->sink = (cxb_sink){.write = sink_write, .end = sink_end, .release = sink_release};
  l->mail = (cxb_speech_mail){.deliver = deliver, .stop = stop};
  l->refs = 1;
  l->last = &l->first;
  pthread_mutex_init(&l->lock, NULL);
  int err = cxb_recognizer_new(engine, &config, &l->rec);
  if (err) {
    unref(l);
    return cxb_push_error(L, err,
                          "rate: 8000 to 48000 Hz, start_ms: 32 to 1000, stop_ms: 100 to 3000");
  }
  cxb_speech_enrol(&l->mail);
  *box = l;
  return 1;
}

static int l_sink(lua_State *L) {
  listener *l = check(L);
  l->refs++;
  cxb_sink_push(L, &l->sink);
  return 1;
}

/* event(timeout_ms) → table | nil, "timeout" | "closed" | "cancelled" (waits) */
static int l_event(lua_State *L) {
  listener *l = check(L);
  int64_t timeout = (int64_t)luaL_optnumber(L, 2, -1);
  event *e = take(l);
  if (e) {
    push_event(L, e);
    return 1;
  }
  if (!l->rec)
    return closed(L);
  l->waiting = true;
  return cxb_task_wait_ms(L, &l->wait, timeout, NULL, NULL);
}

static int l_finalize(lua_State *L) {
  listener *l = check(L);
  const char *id = luaL_optstring(L, 2, "");
  return l->rec ? answer(L, cxb_recognizer_finalize(l->rec, id)) : closed(L);
}

static int l_reset(lua_State *L) {
  listener *l = check(L);
  return l->rec ? answer(L, cxb_recognizer_reset(l->rec)) : closed(L);
}

/* hints({word …}) → true | nil, code, message */
static int l_hints(lua_State *L) {
  const char *words[CXB_HINTS_MAX];
  listener *l = check(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  size_t n = lua_objlen(L, 2);
  if (n > CXB_HINTS_MAX)
    return cxb_push_error(L, CXB_ETOOBIG, "at most %d hints", CXB_HINTS_MAX);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, 2, (int)i + 1);
    luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, 2, "words expected");
    words[i] = lua_tostring(L, -1); /* the table keeps it */
    lua_pop(L, 1);
  }
  return l->rec ? answer(L, cxb_recognizer_hints(l->rec, words, n)) : closed(L);
}

/* Who waits in event() gets nil, "closed". */
static int l_close(lua_State *L) {
  listener *l = check(L);
  close_listener(l);
  lua_State *waiter = l->waiting ? cxb_wait_stack(&l->wait) : NULL;
  l->waiting = false;
  if (waiter)
    cxb_wait_resume(&l->wait, closed(waiter));
  return 0;
}

static int l_gc(lua_State *L) {
  listener **box = lua_touserdata(L, 1);
  if (*box) {
    close_listener(*box);
    unref(*box);
  }
  *box = NULL;
  return 0;
}

void cxb_speech_open_recognizer(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"sink", l_sink},   {"event", l_event}, {"finalize", l_finalize},
      {"reset", l_reset}, {"hints", l_hints}, {"close", l_close},
      {NULL, NULL}};
  luaL_newmetatable(L, RECOGNIZER_MT);
  lua_pushcfunction(L, l_gc);
  lua_setfield(L, -2, "__gc");
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, l_recognizer);
  lua_setfield(L, -2, "recognizer");
}
