/* cxb.media and the leg object: the script's end of a call. All of it on the main loop. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../host/host.h"
#include "../host/slot.h"
#include "../host/task.h"
#include "../media/resample.h"
#include "../media/wav.h"
#include "../net/http_request.h"
#include "../observe/log.h"
#include "event_lua.h"
#include "leg_lua.h"
#include "peaks_lua.h"

enum { ORPHAN_MS = 5000, LOOK_MS = 1000, SHUTDOWN_MS = 1500 };

static struct {
  cxb_media *media; /* made for the first call */
  cxb_call *calls;
  uv_timer_t watch;
  bool watch_made, stopping;
} m;

/* ---- events ---- */

void cxb_call_offer(cxb_call *c, lua_State *L) {
  lua_State *to = c->reading ? cxb_wait_stack(&c->reader) : NULL;
  c->reading = false;
  if (to) {
    lua_xmove(L, to, 1);
    cxb_wait_resume(&c->reader, 1);
    return;
  }
  if (c->count == c->cap) {
    size_t cap = c->cap ? c->cap * 2 : 32;
    int *queue = malloc(cap * sizeof *queue);
    if (!queue) {
      lua_pop(L, 1);
      return;
    }
    for (size_t i = 0; i < c->count; i++)
      queue[i] = c->queue[(c->first + i) % c->cap];
    free(c->queue);
    c->queue = queue;
    c->first = 0;
    c->cap = cap;
  }
  c->queue[(c->first + c->count++) % c->cap] = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void release_slot(cxb_call *c) {
  if (c->holds_slot)
    cxb_slot_release();
  c->holds_slot = false;
}

static void on_event(void *arg, const cxb_event *event) {
  cxb_call *c = arg;
  if (event->type == CXB_EV_CLOSED) {
    c->closed = true;
    release_slot(c);
  }
  if (!c->L)
    return;
  cxb_event_push(c->L, event);
  cxb_call_offer(c, c->L);
}

/* ---- life ---- */

static void forget(cxb_call *c) {
  for (cxb_call **at = &m.calls; *at; at = &(*at)->next)
    if (*at == c) {
      *at = c->next;
      break;
    }
  free(c->queue);
  free(c);
}

static void close_media(void);

static void on_session_done(void *arg) {
  cxb_call *c = arg;
  c->session = NULL;
  release_slot(c);
  lua_State *L = c->closer.task_id ? cxb_wait_stack(&c->closer) : NULL;
  cxb_wait closer = c->closer;
  if (!c->L)
    forget(c);
  if (L) {
    lua_pushboolean(L, 1);
    cxb_wait_resume(&closer, 1);
  }
  if (m.stopping)
    close_media();
}

void cxb_call_end(cxb_call *c) {
  if (c->closing || !c->session)
    return;
  c->closing = true;
  cxb_session_close(c->session, on_session_done, c);
}

/* A call whose task died and that nobody took over would keep a caller in silence. */
static void on_watch(uv_timer_t *timer) {
  (void)timer;
  bool any = false;
  for (cxb_call *c = m.calls; c; c = c->next) {
    if (c->closing)
      continue;
    any = true;
    c->orphan_ms = cxb_task_find(c->owner) ? 0 : c->orphan_ms + LOOK_MS;
    if (c->orphan_ms < ORPHAN_MS)
      continue;
    cxb_logf(CXB_LOG_ERROR, "a call without a task was ended");
    cxb_session_abort(c->session, 1011);
    cxb_call_end(c);
  }
  if (!any)
    uv_timer_stop(&m.watch);
}

static void watch(void) {
  if (!m.watch_made) {
    uv_timer_init(cxb_loop(), &m.watch);
    uv_unref((uv_handle_t *)&m.watch);
    m.watch_made = true;
  }
  if (!uv_is_active((uv_handle_t *)&m.watch))
    uv_timer_start(&m.watch, on_watch, cxb_loop_first(LOOK_MS), LOOK_MS);
}

cxb_media *cxb_call_media(void) {
  return m.media;
}

void cxb_call_hold_slot(cxb_call *c) {
  if (cxb_slot_used() > 0) {
    cxb_slot_retain();
    c->holds_slot = true;
  }
  watch();
}

static int leg_gc(lua_State *L) {
  cxb_call **box = lua_touserdata(L, 1);
  cxb_call *c = *box;
  if (!c)
    return 0;
  *box = NULL;
  c->L = NULL;
  c->count = 0;
  if (!c->session)
    forget(c);
  else
    cxb_call_end(c);
  return 0;
}

/* ---- cxb.media ---- */

int cxb_call_new(lua_State *L, cxb_generation *gen, const cxb_serializer *ser, int timeout_s,
                 cxb_call **out) {
  int err = m.media ? 0 : cxb_media_new(cxb_loop(), &m.media);
  if (err)
    return err;
  cxb_call *c = calloc(1, sizeof *c);
  if (!c)
    return CXB_ENOMEM;
  const cxb_session_config config = {.on_event = on_event, .arg = c, .media_timeout_s = timeout_s};
  err = cxb_session_new(m.media, &config, &c->session);
  if (err) {
    free(c);
    return err;
  }
  cxb_call **box = lua_newuserdata(L, sizeof *box);
  luaL_getmetatable(L, CXB_LEG_MT);
  lua_setmetatable(L, -2);
  c->ser = ser;
  c->L = cxb_generation_state(gen);
  c->next = m.calls;
  m.calls = c;
  *box = c;
  *out = c;
  return 0;
}

/* The options table at `index`; returns the media time-out, 0: the default. */
static int leg_options(lua_State *L, int index, cxb_leg_options *out) {
  *out = (cxb_leg_options){0};
  if (!lua_istable(L, index))
    return 0;
  lua_getfield(L, index, "media_timeout_s");
  lua_getfield(L, index, "chunk_bytes");
  lua_getfield(L, index, "hangup_elsewhere");
  out->chunk_bytes = (int)luaL_optinteger(L, -2, 0);
  out->hangup_elsewhere = lua_toboolean(L, -1);
  int timeout_s = (int)luaL_optinteger(L, -3, 0);
  lua_pop(L, 3);
  return timeout_s;
}

static int l_accept(lua_State *L) {
  cxb_http_request *req = cxb_http_check_request(L, 1);
  const cxb_serializer *ser = cxb_serializer_find(luaL_checkstring(L, 2));
  luaL_argcheck(L, ser, 2, "not a transport of this program");
  cxb_leg_options options;
  int timeout_s = leg_options(L, 3, &options);
  cxb_task *task = cxb_task_running();
  if (!task)
    return luaL_error(L, "accept: not in a task");
  if (m.stopping)
    return cxb_push_error(L, CXB_ECLOSED, "the process is ending");
  if (!cxb_http_is_upgrade(req))
    return cxb_push_error(L, CXB_EINVAL, "the request is no WebSocket upgrade");
  cxb_call *c;
  int fd, err = cxb_call_new(L, cxb_task_generation(task), ser, timeout_s, &c);
  if (err)
    return cxb_push_error(L, err, NULL);
  c->owner = cxb_task_id(task);
  char *head;
  size_t head_len;
  err = cxb_http_take_socket(req, &fd, &head, &head_len);
  if (!err)
    err = cxb_leg_accept(m.media, c->session, ser, &options, fd, head, head_len, &c->counts);
  if (err) {
    cxb_call_end(c);
    return cxb_push_error(L, err, NULL);
  }
  cxb_call_hold_slot(c);
  return 1;
}

static int l_read_wav(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  int16_t *pcm;
  size_t n;
  int rate, err = cxb_wav_read(path, &pcm, &n, &rate);
  if (err)
    return cxb_push_error(L, err, "%s: %s", path, cxb_strerror(err));
  lua_pushlstring(L, (const char *)pcm, n * sizeof *pcm);
  free(pcm);
  lua_pushinteger(L, rate);
  return 2;
}

static int l_resample(lua_State *L) {
  size_t len, n;
  const char *in = luaL_checklstring(L, 1, &len);
  int from = (int)luaL_checkinteger(L, 2), to = (int)luaL_checkinteger(L, 3);
  int16_t *copy = malloc(len + 2), *out; /* a string need not be aligned */
  if (!copy)
    return cxb_push_error(L, CXB_ENOMEM, NULL);
  memcpy(copy, in, len);
  int err = cxb_resample(copy, len / 2, from, to, &out, &n);
  free(copy);
  if (err)
    return cxb_push_error(L, err, NULL);
  lua_pushlstring(L, (const char *)out, n * sizeof *out);
  free(out);
  return 1;
}

static void open_call(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg fns[] = {
      {"accept", l_accept}, {"read_wav", l_read_wav}, {"resample", l_resample}, {NULL, NULL}};
  cxb_leg_lua_open(L, leg_gc);
  lua_newtable(L);
  luaL_register(L, NULL, fns);
  cxb_peaks_lua_open(L);
  lua_setfield(L, -2, "media");
}

/* ---- the end of the process ---- */

static void on_shut(void *arg) {
  uv_sem_post(arg);
}

/* When the last session is gone: the sockets' context, then the thread. */
static void close_media(void) {
  for (const cxb_call *c = m.calls; c; c = c->next)
    if (c->session)
      return;
  cxb_media *media = m.media;
  m.media = NULL;
  uv_sem_t shut;
  if (!media || uv_sem_init(&shut, 0) != 0)
    return;
  cxb_leg_shutdown(media, on_shut, &shut);
  for (int waited = 0; uv_sem_trywait(&shut) != 0; waited++) {
    if (waited >= SHUTDOWN_MS)
      return; /* the process ends without it */
    uv_sleep(1);
  }
  uv_sem_destroy(&shut);
  cxb_media_close(media);
}

static void stop_call(void) {
  m.stopping = true;
  if (m.watch_made)
    uv_close((uv_handle_t *)&m.watch, NULL);
  for (cxb_call *c = m.calls; c; c = c->next) {
    if (c->session && !c->closing)
      cxb_session_abort(c->session, 1001);
    cxb_call_end(c);
  }
  close_media();
}

const cxb_module cxb_call_module = {.name = "call", .open = open_call, .stop = stop_call};
