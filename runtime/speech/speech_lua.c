/* cxb.speech: loading, voices, and the engine's life in this process. */
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "../base/err.h"
#include "../host/host.h"
#include "../host/job.h"
#include "../host/task.h"
#include "speech_lua.h"

static struct {
  cxb_engine *engine;
  bool loading;
  uv_async_t async;
  bool async_open;
  cxb_speech_mail *mails; /* enrolled */
  pthread_mutex_t lock;   /* of the ready list */
  cxb_speech_mail *ready;
} speech = {.lock = PTHREAD_MUTEX_INITIALIZER};

cxb_engine *cxb_speech_engine(void) {
  return speech.engine;
}

/* ---- from the engine's threads to the loop ---- */

static void on_async(uv_async_t *async) {
  (void)async;
  for (;;) {
    pthread_mutex_lock(&speech.lock);
    cxb_speech_mail *mail = speech.ready;
    if (mail) {
      speech.ready = mail->next_ready;
      mail->ready = false;
    }
    pthread_mutex_unlock(&speech.lock);
    if (!mail)
      return;
    mail->deliver(mail);
  }
}

void cxb_speech_enrol(cxb_speech_mail *mail) {
  mail->prev = NULL;
  mail->next = speech.mails;
  if (mail->next)
    mail->next->prev = mail;
  speech.mails = mail;
}

void cxb_speech_dismiss(cxb_speech_mail *mail) {
  if (mail->prev)
    mail->prev->next = mail->next;
  else
    speech.mails = mail->next;
  if (mail->next)
    mail->next->prev = mail->prev;
  pthread_mutex_lock(&speech.lock);
  for (cxb_speech_mail **at = &speech.ready; *at; at = &(*at)->next_ready)
    if (*at == mail) {
      *at = mail->next_ready;
      break;
    }
  pthread_mutex_unlock(&speech.lock);
}

void cxb_speech_wake(cxb_speech_mail *mail) {
  pthread_mutex_lock(&speech.lock);
  if (!mail->ready) {
    cxb_speech_mail **end = &speech.ready;
    while (*end)
      end = &(*end)->next_ready;
    *end = mail;
    mail->next_ready = NULL;
    mail->ready = true;
    uv_async_send(&speech.async);
  }
  pthread_mutex_unlock(&speech.lock);
}

/* ---- loading ---- */

typedef struct load_job {
  cxb_job job;
  cxb_engine_config config;
  char *models;
  cxb_engine *engine;
  int err;
  char why[400];
} load_job;

static void load_work(cxb_job *job) {
  load_job *load = (load_job *)job;
  load->err = cxb_engine_open(&load->config, &load->engine, load->why, sizeof load->why);
}

static int load_push(cxb_job *job, lua_State *L) {
  load_job *load = (load_job *)job;
  if (load->err)
    return cxb_push_error(L, load->err, "%s", load->why);
  lua_pushboolean(L, true);
  return 1;
}

/* Also when the task that asked is gone: the engine is the process's. */
static void load_free(cxb_job *job) {
  load_job *load = (load_job *)job;
  speech.loading = false;
  if (speech.async_open)
    speech.engine = load->engine;
  else
    cxb_engine_close(load->engine);
  free(load->models);
  free(load);
}

static bool flag(lua_State *L, const char *field) {
  lua_getfield(L, 1, field);
  bool on = lua_isnil(L, -1) || lua_toboolean(L, -1);
  lua_pop(L, 1);
  return on;
}

/* load(opts) → true | nil, code, message (waits) */
static int l_load(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "models");
  const char *models = luaL_checkstring(L, -1);
  lua_getfield(L, 1, "threads");
  int threads = (int)luaL_optinteger(L, -1, 1);
  luaL_argcheck(L, threads >= 1 && threads <= 16, 1, "threads: 1 to 16");
  if (speech.engine) {
    lua_pushboolean(L, true);
    return 1;
  }
  if (speech.loading)
    return cxb_push_error(L, CXB_EBUSY, "the engines are being loaded");
  if (!speech.async_open) {
    if (uv_async_init(cxb_loop(), &speech.async, on_async) != 0)
      return cxb_push_error(L, CXB_EIO, NULL);
    uv_unref((uv_handle_t *)&speech.async);
    speech.async_open = true;
  }
  load_job *load = calloc(1, sizeof *load);
  if (!load || !(load->models = strdup(models))) {
    free(load);
    return luaL_error(L, "out of memory");
  }
  load->job = (cxb_job){.work = load_work, .push = load_push, .free = load_free};
  load->config = (cxb_engine_config){
      .models = load->models, .threads = threads, .stt = flag(L, "stt"), .tts = flag(L, "tts")};
  speech.loading = true;
  return cxb_job_run(L, &load->job);
}

/* voices() → {name …} */
static int l_voices(lua_State *L) {
  lua_newtable(L);
  for (size_t i = 0; speech.engine && speech.engine->flite; i++) {
    const char *name = cxb_flite_voice(speech.engine->flite, i);
    if (!name)
      break;
    lua_pushstring(L, name);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static void open_speech(lua_State *L, cxb_generation *gen) {
  (void)gen;
  lua_newtable(L);
  lua_pushcfunction(L, l_load);
  lua_setfield(L, -2, "load");
  lua_pushcfunction(L, l_voices);
  lua_setfield(L, -2, "voices");
  cxb_speech_open_recognizer(L);
  cxb_speech_open_say(L);
  lua_setfield(L, -2, "speech");
}

static void stop_speech(void) {
  while (speech.mails)
    speech.mails->stop(speech.mails);
  cxb_engine_close(speech.engine);
  speech.engine = NULL;
  if (speech.async_open)
    uv_close((uv_handle_t *)&speech.async, NULL);
  speech.async_open = false;
}

const cxb_module cxb_speech_module = {.name = "speech", .open = open_speech, .stop = stop_speech};
