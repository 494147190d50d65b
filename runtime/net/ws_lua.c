/* cxb.ws and req:websocket(): connections of scripts, on the main loop. */
#include "ws_lua.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"
#include "../base/err.h"
#include "../base/json_cut.h"
#include "../base/sink_lua.h"
#include "../host/host.h"
#include "../host/task.h"
#include "ws.h"

#define CONN_MT "cxb.ws.conn"
enum { MAX_UNREAD = 8 << 20, DEFAULT_CONNECT_MS = 10000 };

typedef struct message {
  struct message *next;
  size_t len;
  bool binary;
  char data[];
} message;

typedef enum { OPENING, OPEN, CLOSED } conn_state;

/* A script's connection. References: the script's object, the socket, each sink into it. */
typedef struct conn {
  cxb_ws *ws; /* NULL once closed */
  int refs, code;
  conn_state state;
  char reason[124];
  message *first, **last;
  size_t unread;
  cxb_sink *pipe;
  char path[64]; /* not empty: the pipe's bytes are this member of text messages, in base64 */
  uint64_t sent_ms;
  cxb_wait open_wait, receive_wait, send_wait;
} conn;

static cxb_ws_context *context;

static int ensure_context(void) {
  return context ? 0 : cxb_ws_context_new(cxb_loop(), &context);
}

static void unref(conn *c) {
  if (--c->refs > 0)
    return;
  while (c->first) {
    message *m = c->first;
    c->first = m->next;
    free(m);
  }
  free(c);
}

static conn *conn_new(void) {
  conn *c = calloc(1, sizeof *c);
  if (c) {
    c->refs = 1;
    c->last = &c->first;
  }
  return c;
}

static void push_conn(lua_State *L, conn *c) {
  conn **ud = lua_newuserdata(L, sizeof *ud);
  *ud = c;
  c->refs++;
  luaL_getmetatable(L, CONN_MT);
  lua_setmetatable(L, -2);
}

static conn *check_conn(lua_State *L) {
  return *(conn **)luaL_checkudata(L, 1, CONN_MT);
}

/* ---- what the socket says ---- */

static int push_message(lua_State *L, conn *c) {
  message *m = c->first;
  c->first = m->next;
  if (!c->first)
    c->last = &c->first;
  c->unread -= m->len;
  lua_pushstring(L, m->binary ? "binary" : "text");
  lua_pushlstring(L, m->data, m->len);
  free(m);
  return 2;
}

static int push_closed(lua_State *L, const conn *c) {
  lua_pushnil(L);
  lua_pushliteral(L, "closed");
  lua_pushinteger(L, c->code);
  lua_pushstring(L, c->reason);
  return 4;
}

static void on_open(cxb_ws *ws, void *user) {
  (void)ws;
  conn *c = user;
  c->state = OPEN;
  c->sent_ms = uv_now(cxb_loop());
  lua_State *L = cxb_wait_stack(&c->open_wait);
  if (!L) { /* nobody waits any more: the task was cancelled */
    cxb_ws_close(c->ws, 1001, "");
    return;
  }
  push_conn(L, c);
  cxb_wait_resume(&c->open_wait, 1);
}

static void drop_pipe(conn *c, int err) {
  cxb_sink *pipe = c->pipe;
  c->pipe = NULL;
  if (!pipe)
    return;
  pipe->end(pipe, err);
  pipe->release(pipe);
}

/* Moves the bytes of the member at `path` into the pipe; the script finds their count in its place,
 * -1 when they are no base64. */
static void cut_audio(conn *c, message *m) {
  cxb_json_span span;
  if (!cxb_json_find(m->data, m->len, c->path, &span))
    return;
  long n = cxb_json_bytes(m->data, &span);
  if (n > 0 && c->pipe && c->pipe->write(c->pipe, (uint8_t *)m->data + span.at, (size_t)n) != 0)
    drop_pipe(c, CXB_ECLOSED);
  m->len = cxb_json_put_number(m->data, m->len, &span, n < 0 ? -1 : n);
}

static void queue(conn *c, bool binary, const uint8_t *data, size_t len) {
  message *m = c->unread + len > MAX_UNREAD ? NULL : malloc(sizeof *m + len + 1);
  if (!m) { /* a script that does not read is told so rather than fed for ever */
    cxb_ws_close(c->ws, 1008, "unread messages");
    return;
  }
  m->next = NULL;
  m->len = len;
  m->binary = binary;
  memcpy(m->data, data, len);
  m->data[len] = '\0';
  if (!binary && c->path[0])
    cut_audio(c, m);
  *c->last = m;
  c->last = &m->next;
  c->unread += m->len;
}

static void on_message(cxb_ws *ws, void *user, bool binary, const uint8_t *data, size_t len) {
  (void)ws;
  conn *c = user;
  if (binary && c->pipe && !c->path[0]) {
    if (c->pipe->write(c->pipe, data, len) != 0)
      drop_pipe(c, CXB_ECLOSED);
    return;
  }
  queue(c, binary, data, len);
  lua_State *L = c->first ? cxb_wait_stack(&c->receive_wait) : NULL;
  if (L)
    cxb_wait_resume(&c->receive_wait, push_message(L, c));
}

static void on_drained(cxb_ws *ws, void *user) {
  (void)ws;
  conn *c = user;
  lua_State *L = cxb_wait_stack(&c->send_wait);
  if (!L)
    return;
  lua_pushboolean(L, 1);
  cxb_wait_resume(&c->send_wait, 1);
}

/* Why a connection never opened, in the words of cxb.http. */
static int push_refused(lua_State *L, const conn *c) {
  static const char *const codes[] = {"refused", "resolve", "timeout", "tls", "closed"};
  const char *code = "closed";
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    if (strncmp(c->reason, codes[i], strlen(codes[i])) == 0)
      code = codes[i];
  lua_pushnil(L);
  lua_pushstring(L, c->code >= 300 && c->code < 600 ? "status" : code);
  if (c->code >= 300 && c->code < 600)
    lua_pushfstring(L, "the server answered %d", c->code);
  else
    lua_pushstring(L, c->reason);
  lua_pushinteger(L, c->code);
  return 4;
}

static void on_close(cxb_ws *ws, void *user, int code, const char *reason) {
  (void)ws;
  conn *c = user;
  c->ws = NULL;
  c->state = CLOSED;
  c->code = code;
  snprintf(c->reason, sizeof c->reason, "%s", reason ? reason : "");
  drop_pipe(c, code == 1000 || code == 1001 ? 0 : CXB_ECLOSED);
  cxb_wait waits[] = {c->open_wait, c->receive_wait, c->send_wait};
  for (int i = 0; i < 3; i++) {
    lua_State *L = cxb_wait_stack(&waits[i]);
    if (L)
      cxb_wait_resume(&waits[i], i == 0 ? push_refused(L, c) : push_closed(L, c));
  }
  unref(c);
}

static const cxb_ws_handler handler = {
    .open = on_open, .message = on_message, .drained = on_drained, .close = on_close};

/* ---- what the script asks ---- */

static int l_receive(lua_State *L) {
  conn *c = check_conn(L);
  if (c->first)
    return push_message(L, c);
  if (c->state == CLOSED)
    return push_closed(L, c);
  int64_t ms = lua_isnoneornil(L, 2) ? -1 : (int64_t)luaL_checknumber(L, 2);
  return cxb_task_wait_ms(L, &c->receive_wait, ms, NULL, NULL);
}

static uint64_t now_ms(void) {
  return uv_now(cxb_loop());
}

static int send_message(lua_State *L, bool binary) {
  conn *c = check_conn(L);
  size_t len;
  const char *data = luaL_checklstring(L, 2, &len);
  c->sent_ms = now_ms();
  int err = c->ws ? cxb_ws_send(c->ws, binary, data, len) : CXB_ECLOSED;
  if (err == CXB_EAGAIN)
    return cxb_task_wait(L, &c->send_wait, NULL, NULL);
  if (err)
    return cxb_push_error(L, err, NULL);
  lua_pushboolean(L, 1);
  return 1;
}

static int l_send(lua_State *L) {
  return send_message(L, false);
}

static int l_send_binary(lua_State *L) {
  return send_message(L, true);
}

static int l_close(lua_State *L) {
  conn *c = check_conn(L);
  int code = (int)luaL_optinteger(L, 2, 1000);
  if (c->ws)
    cxb_ws_close(c->ws, code, luaL_optstring(L, 3, ""));
  return 0;
}

/* Binary messages that came before the pipe go first. */
static void flush_into_pipe(conn *c) {
  for (message **at = &c->first; *at && c->pipe;) {
    message *m = *at;
    if (!m->binary) {
      at = &m->next;
      continue;
    }
    *at = m->next;
    c->unread -= m->len;
    if (c->pipe->write(c->pipe, (uint8_t *)m->data, m->len) != 0)
      drop_pipe(c, CXB_ECLOSED);
    free(m);
  }
  c->last = &c->first;
  while (*c->last)
    c->last = &(*c->last)->next;
}

static void set_pipe(conn *c, cxb_sink *sink, const char *path) {
  if (c->pipe) /* its source goes on elsewhere: that is no end of it */
    c->pipe->release(c->pipe);
  c->pipe = sink;
  snprintf(c->path, sizeof c->path, "%s", path);
}

static int l_pipe(lua_State *L) {
  conn *c = check_conn(L);
  set_pipe(c, lua_isnoneornil(L, 2) ? NULL : cxb_sink_take(L, 2), "");
  flush_into_pipe(c);
  if (c->state == CLOSED)
    drop_pipe(c, CXB_ECLOSED);
  return 0;
}

static int l_pipe_json(lua_State *L) {
  conn *c = check_conn(L);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_getfield(L, 3, "path");
  const char *path = lua_tostring(L, -1);
  luaL_argcheck(L, path && *path && strlen(path) < sizeof c->path, 3, "path: 1 to 63 bytes");
  set_pipe(c, lua_isnoneornil(L, 2) ? NULL : cxb_sink_take(L, 2), path);
  for (message *m = c->first; m; m = m->next) {
    c->unread -= m->len;
    if (!m->binary)
      cut_audio(c, m);
    c->unread += m->len;
  }
  if (c->state == CLOSED)
    drop_pipe(c, CXB_ECLOSED);
  return 0;
}

/* How long nothing has been sent, neither by the script nor through a sink. */
static int l_idle_ms(lua_State *L) {
  conn *c = check_conn(L);
  lua_pushnumber(L, (lua_Number)(now_ms() - c->sent_ms));
  return 1;
}

/* ---- a sink into a connection ---- */

typedef struct conn_sink {
  cxb_sink sink;
  conn *conn;
} conn_sink;

static int sink_write(cxb_sink *sink, const uint8_t *data, size_t len) {
  conn *c = ((conn_sink *)sink)->conn;
  c->sent_ms = now_ms();
  int err = c->ws ? cxb_ws_send(c->ws, true, data, len) : CXB_ECLOSED;
  return err == CXB_EAGAIN ? 0 : err; /* a live stream is not held back; the limit closes it */
}

static void sink_end(cxb_sink *sink, int err) {
  (void)sink;
  (void)err;
}

static void sink_release(cxb_sink *sink) {
  unref(((conn_sink *)sink)->conn);
  free(sink);
}

static int l_sink(lua_State *L) {
  conn *c = check_conn(L);
  conn_sink *s = calloc(1, sizeof *s);
  if (!s)
    return luaL_error(L, "out of memory");
  s->sink = (cxb_sink){sink_write, sink_end, sink_release};
  s->conn = c;
  c->refs++;
  cxb_sink_push(L, &s->sink);
  return 1;
}

static int l_gc(lua_State *L) {
  conn **ud = lua_touserdata(L, 1);
  conn *c = *ud;
  *ud = NULL;
  if (c && c->ws && c->refs == 2) /* the socket's and ours: nobody else uses it */
    cxb_ws_close(c->ws, 1001, "");
  if (c)
    unref(c);
  return 0;
}

/* ---- opening ---- */

static void read_limits(lua_State *L, int opts, cxb_ws_limits *limits) {
  if (!lua_istable(L, opts))
    return;
  lua_getfield(L, opts, "max_text");
  limits->max_text = (size_t)luaL_optnumber(L, -1, 0);
  lua_getfield(L, opts, "max_binary");
  limits->max_binary = (size_t)luaL_optnumber(L, -1, 0);
  lua_getfield(L, opts, "max_send");
  limits->max_send = (size_t)luaL_optnumber(L, -1, 0);
  lua_pop(L, 3);
}

static void on_cancel(void *arg) {
  conn *c = arg;
  if (c->ws)
    cxb_ws_close(c->ws, 1001, "");
}

static const char *string_field(lua_State *L, int opts, const char *field) {
  if (!lua_istable(L, opts))
    return NULL;
  lua_getfield(L, opts, field);
  const char *value = lua_tostring(L, -1);
  lua_pop(L, 1); /* the options table keeps it */
  return value;
}

int cxb_ws_lua_accept(lua_State *L, int opts, int fd, char *head, size_t head_len) {
  cxb_ws_limits limits = {0};
  read_limits(L, opts, &limits);
  conn *c = conn_new();
  int err = c ? ensure_context() : CXB_ENOMEM;
  if (!err)
    err = cxb_ws_adopt(context, fd, head, head_len, string_field(L, opts, "protocol"), &limits,
                       &handler, c, &c->ws);
  free(head);
  if (err) {
    free(c);
    return cxb_push_error(L, err, NULL);
  }
  return cxb_task_wait(L, &c->open_wait, on_cancel, c);
}

static void add_headers(lua_State *L, int opts, cxb_buf *out) {
  if (!lua_istable(L, opts))
    return;
  lua_getfield(L, opts, "headers");
  if (lua_istable(L, -1)) {
    lua_pushnil(L);
    while (lua_next(L, -2)) {
      if (lua_type(L, -2) == LUA_TSTRING && lua_isstring(L, -1) &&
          !strpbrk(lua_tostring(L, -2), "\r\n") && !strpbrk(lua_tostring(L, -1), "\r\n"))
        cxb_buf_printf(out, "%s: %s\r\n", lua_tostring(L, -2), lua_tostring(L, -1));
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
}

static int l_connect(lua_State *L) {
  const char *url = luaL_checkstring(L, 1);
  lua_settop(L, 2);
  cxb_ws_limits limits = {0};
  read_limits(L, 2, &limits);
  lua_Number timeout = DEFAULT_CONNECT_MS;
  if (lua_istable(L, 2)) {
    lua_getfield(L, 2, "timeout_ms");
    timeout = luaL_optnumber(L, -1, DEFAULT_CONNECT_MS);
    lua_pop(L, 1);
  }
  cxb_buf headers = {0};
  add_headers(L, 2, &headers);
  conn *c = conn_new();
  int err = c ? ensure_context() : CXB_ENOMEM;
  if (!err)
    err = cxb_ws_connect(context, url, headers.data, string_field(L, 2, "protocol"), (int)timeout,
                         &limits, &handler, c, &c->ws);
  cxb_buf_free(&headers);
  if (err) {
    free(c);
    return cxb_push_error(L, err, err == CXB_EINVAL ? "not a ws://, wss:// or ws+unix: URL" : NULL);
  }
  return cxb_task_wait(L, &c->open_wait, on_cancel, c);
}

static void open_ws(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg methods[] = {
      {"receive", l_receive}, {"send", l_send}, {"send_binary", l_send_binary},
      {"close", l_close},     {"pipe", l_pipe}, {"pipe_json", l_pipe_json},
      {"idle_ms", l_idle_ms}, {"sink", l_sink}, {NULL, NULL}};
  luaL_newmetatable(L, CONN_MT);
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushcfunction(L, l_connect);
  lua_setfield(L, -2, "connect");
  lua_setfield(L, -2, "ws");
}

static void stop_ws(void) {
  if (context)
    cxb_ws_context_close(context, NULL, NULL);
  context = NULL;
}

const cxb_module cxb_ws_module = {.name = "ws", .open = open_ws, .stop = stop_ws};
