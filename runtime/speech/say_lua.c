/* cxb.speech.say */
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../base/sink_lua.h"
#include "../base/time.h"
#include "../host/task.h"
#include "speaker.h"
#include "speech_lua.h"

#define TALK_MT "cxb.speech.talk"

typedef struct block {
  struct block *next;
  size_t n;
  int16_t pcm[];
} block;

/* One say() in progress; lives in a Lua userdata. */
typedef struct talk {
  cxb_speech_mail mail;
  cxb_speaker *speaker; /* NULL: none, or closed */
  cxb_sink *sink;
  bool flowing; /* the script knows of the first audio: pieces go to the sink */
  bool waiting;
  cxb_wait wait;
  pthread_mutex_t lock; /* of what follows */
  block *first, **last;
  bool ended;
  int err;
  int64_t began_ns, first_ns;
  uint64_t samples;
} talk;

/* ---- on the engine's threads ---- */

static void on_audio(void *arg, const int16_t *pcm, size_t n) {
  talk *t = arg;
  block *b = malloc(sizeof *b + n * sizeof *pcm);
  if (!b)
    return;
  b->next = NULL;
  b->n = n;
  memcpy(b->pcm, pcm, n * sizeof *pcm);
  pthread_mutex_lock(&t->lock);
  *t->last = b;
  t->last = &b->next;
  if (!t->first_ns)
    t->first_ns = cxb_mono_ns();
  pthread_mutex_unlock(&t->lock);
  cxb_speech_wake(&t->mail);
}

static void on_end(void *arg, int err) {
  talk *t = arg;
  pthread_mutex_lock(&t->lock);
  t->ended = true;
  t->err = err;
  pthread_mutex_unlock(&t->lock);
  cxb_speech_wake(&t->mail);
}

/* ---- on the loop ---- */

static void stop_talking(talk *t) {
  if (!t->speaker)
    return;
  cxb_speaker_close(t->speaker);
  t->speaker = NULL;
  cxb_speech_dismiss(&t->mail);
}

static block *take(talk *t, bool *ended) {
  pthread_mutex_lock(&t->lock);
  block *list = t->first;
  t->first = NULL;
  t->last = &t->first;
  *ended = t->ended;
  pthread_mutex_unlock(&t->lock);
  return list;
}

/* Gives what is there to the sink; true when there is no more to come. */
static bool flow(talk *t) {
  bool ended;
  block *list = take(t, &ended);
  while (list) {
    block *b = list;
    list = b->next;
    if (t->sink && t->sink->write(t->sink, (const uint8_t *)b->pcm, b->n * sizeof *b->pcm) != 0) {
      t->sink->release(t->sink);
      t->sink = NULL;
      t->err = CXB_ECLOSED;
      ended = true;
    }
    if (t->sink)
      t->samples += b->n;
    free(b);
  }
  if (ended)
    stop_talking(t);
  return ended;
}

static void deliver(cxb_speech_mail *mail) {
  talk *t = (talk *)(void *)((char *)mail - offsetof(talk, mail));
  bool news = t->flowing ? flow(t) : true;
  if (!news || !t->waiting || !cxb_wait_stack(&t->wait))
    return;
  t->waiting = false;
  cxb_wait_resume(&t->wait, 0);
}

static void stop(cxb_speech_mail *mail) {
  talk *t = (talk *)(void *)((char *)mail - offsetof(talk, mail));
  stop_talking(t);
  t->ended = true;
  t->err = CXB_ECLOSED;
}

static void close_talk(talk *t) {
  bool ended;
  stop_talking(t);
  block *list = take(t, &ended);
  while (list) {
    block *next = list->next;
    free(list);
    list = next;
  }
  if (t->sink)
    t->sink->release(t->sink);
  t->sink = NULL;
}

/* ---- Lua ---- */

static int l_gc(lua_State *L) {
  talk *t = lua_touserdata(L, 1);
  close_talk(t);
  pthread_mutex_destroy(&t->lock);
  return 0;
}

static int l_cancel(lua_State *L) {
  close_talk(luaL_checkudata(L, 1, TALK_MT));
  return 0;
}

static talk *new_talk(lua_State *L) {
  talk *t = lua_newuserdata(L, sizeof *t);
  memset(t, 0, sizeof *t);
  t->mail = (cxb_speech_mail){.deliver = deliver, .stop = stop};
  t->last = &t->first;
  pthread_mutex_init(&t->lock, NULL);
  luaL_getmetatable(L, TALK_MT);
  lua_setmetatable(L, -2);
  return t;
}

/* open(text, opts) → talk | nil, code, message. The sink is taken, also on failure. */
static int l_open(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  luaL_checktype(L, 2, LUA_TTABLE);
  cxb_engine *engine = cxb_speech_engine();
  if (!engine)
    return cxb_push_error(L, CXB_EINVAL, "cxb.speech.load() comes first");
  talk *t = new_talk(L);
  lua_getfield(L, 2, "voice");
  lua_getfield(L, 2, "speed");
  lua_getfield(L, 2, "rate");
  lua_getfield(L, 2, "sink");
  cxb_speaker_config config = {.text = text,
                               .len = len,
                               .voice = luaL_optstring(L, -4, NULL),
                               .speed = luaL_optnumber(L, -3, 1),
                               .rate = (int)luaL_checkinteger(L, -2),
                               .on_audio = on_audio,
                               .on_end = on_end,
                               .arg = t};
  t->sink = cxb_sink_take(L, lua_gettop(L));
  t->began_ns = cxb_mono_ns();
  int err = cxb_speaker_start(engine, &config, &t->speaker);
  if (err == CXB_ENOENT)
    return cxb_push_error(L, err, "no voice \"%s\"", config.voice);
  if (err == CXB_ETOOBIG)
    return cxb_push_error(L, err, "text of %zu bytes: at most %d expected", len,
                          CXB_SPEAKER_MAX_TEXT);
  if (err)
    return cxb_push_error(L, err, "speed: 0.5 to 2, rate: 8000 to 48000 Hz");
  cxb_speech_enrol(&t->mail);
  lua_settop(L, 3);
  return 1;
}

/* next(talk) → "start" when the first audio is there · "done" · nil, "cancelled" (waits) */
static int l_next(lua_State *L) {
  talk *t = luaL_checkudata(L, 1, TALK_MT);
  pthread_mutex_lock(&t->lock);
  bool first = t->first != NULL, ended = t->ended;
  pthread_mutex_unlock(&t->lock);
  if (!t->flowing && (first || ended)) {
    t->flowing = true;
    if (first) {
      lua_pushliteral(L, "start");
      return 1;
    }
  }
  if (!t->speaker || (t->flowing && flow(t))) {
    lua_pushliteral(L, "done");
    return 1;
  }
  t->waiting = true;
  return cxb_task_wait(L, &t->wait, NULL, NULL);
}

/* result(talk) → {samples, first_ms, ms} | nil, code, message */
static int l_result(lua_State *L) {
  talk *t = luaL_checkudata(L, 1, TALK_MT);
  if (t->err)
    return cxb_push_error(L, t->err, NULL);
  if (t->sink)
    t->sink->end(t->sink, 0);
  close_talk(t);
  lua_createtable(L, 0, 3);
  lua_pushnumber(L, (double)t->samples);
  lua_setfield(L, -2, "samples");
  lua_pushnumber(L, t->first_ns ? (double)(t->first_ns - t->began_ns) / 1e6 : 0);
  lua_setfield(L, -2, "first_ms");
  lua_pushnumber(L, (double)(cxb_mono_ns() - t->began_ns) / 1e6);
  lua_setfield(L, -2, "ms");
  return 1;
}

/* The waiting part is Lua, so that on_start runs in the task. */
static const char driver[] =
    "local open, next_event, cancel, result = ...\n"
    "return function(text, opts)\n"
    "  local talk, code, message = open(text, opts)\n"
    "  if not talk then return nil, code, message end\n"
    "  while true do\n"
    "    local what, why = next_event(talk)\n"
    "    if what == 'done' then return result(talk) end\n"
    "    if what == 'start' then\n"
    "      if opts.on_start then opts.on_start() end\n"
    "    elseif why == 'cancelled' then\n"
    "      cancel(talk)\n"
    "      return nil, 'cancelled', 'cancelled'\n"
    "    end\n"
    "  end\n"
    "end\n";

void cxb_speech_open_say(lua_State *L) {
  luaL_newmetatable(L, TALK_MT);
  lua_pushcfunction(L, l_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  if (luaL_loadbuffer(L, driver, sizeof driver - 1, "=cxb.speech.say") != 0) {
    lua_error(L);
    return;
  }
  lua_pushcfunction(L, l_open);
  lua_pushcfunction(L, l_next);
  lua_pushcfunction(L, l_cancel);
  lua_pushcfunction(L, l_result);
  lua_call(L, 4, 1);
  lua_setfield(L, -2, "say");
}
