/* cxb.http */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../base/sink_lua.h"
#include "../host/host.h"
#include "../host/task.h"
#include "guard.h"
#include "http_client.h"

/* A request whose task waits. With on_data or a body function, pieces go through a queue to the
 * task, which runs the script's functions itself, so that they may wait. */
typedef struct pending {
  cxb_http_call *call;
  cxb_wait wait;
  cxb_buf data; /* pieces not yet given to on_data */
  bool streams, wants, done, waiting, queued, full;
  double bytes, told; /* that went into the sink; of which the script knows */
  struct pending *next_woken;
  int err;
  char message[256];
  int status;
  cxb_buf headers, body;
} pending;

#define PENDING_MT "cxb.http.pending"
enum { STREAM_HIGH = 64 << 10 }; /* more than this for on_data: the sender waits */

/* Woken from the loop, never inside one of libcurl's callbacks: the script may end the request. */
static uv_idle_t later;
static bool stopped; /* the calls are gone, whoever still names one */
static pending *woken;

static void wake_now(pending *p) {
  lua_State *L = p->waiting ? cxb_wait_stack(&p->wait) : NULL;
  if (!L)
    return;
  p->waiting = false;
  cxb_wait_resume(&p->wait, 0);
}

static void on_idle(uv_idle_t *idle) {
  while (woken) {
    pending *p = woken;
    woken = p->next_woken;
    p->queued = false;
    wake_now(p);
  }
  uv_idle_stop(idle);
}

static void wake(pending *p) {
  if (p->queued)
    return;
  p->queued = true;
  p->next_woken = woken;
  woken = p;
  uv_idle_start(&later, on_idle);
}

static void forget(pending *p) {
  for (pending **at = &woken; *at; at = &(*at)->next_woken)
    if (*at == p) {
      *at = p->next_woken;
      break;
    }
}

static int on_data(void *arg, const uint8_t *data, size_t len) {
  pending *p = arg;
  if (p->data.len >= STREAM_HIGH) {
    p->full = true;
    return CXB_EAGAIN;
  }
  if (p->status == 0) {
    const char *headers;
    p->status = cxb_http_call_head(p->call, &headers);
    cxb_buf_str(&p->headers, headers);
  }
  if (cxb_buf_add(&p->data, data, len) != 0)
    return CXB_ENOMEM;
  wake(p);
  return 0;
}

static void on_bytes(void *arg, size_t len) {
  pending *p = arg;
  p->bytes += (double)len;
  wake(p);
}

static void on_want(void *arg) {
  pending *p = arg;
  p->wants = true;
  wake(p);
}

static void on_done(void *arg, int err, const char *message, const cxb_http_answer *answer) {
  pending *p = arg;
  p->call = NULL;
  p->done = true;
  p->err = err;
  p->status = answer->status;
  if (message)
    snprintf(p->message, sizeof p->message, "%s", message);
  cxb_buf_clear(&p->headers);
  cxb_buf_str(&p->headers, answer->headers);
  if (!p->streams || answer->status >= 300)
    cxb_buf_add(&p->body, answer->body, answer->body_len);
  wake(p);
}

static cxb_http_call *call_of(const pending *p) {
  return stopped ? NULL : p->call;
}

static int l_gc(lua_State *L) {
  pending *p = lua_touserdata(L, 1);
  forget(p);
  if (call_of(p))
    cxb_http_call_cancel(p->call);
  p->call = NULL;
  cxb_buf_free(&p->data);
  cxb_buf_free(&p->headers);
  cxb_buf_free(&p->body);
  return 0;
}

/* ---- options ---- */

static bool clean(const char *s, size_t len) {
  for (size_t i = 0; i < len; i++)
    if (s[i] == '\r' || s[i] == '\n' || s[i] == '\0')
      return false;
  return true;
}

static void add_headers(lua_State *L, int index, cxb_buf *out) {
  lua_getfield(L, index, "headers");
  if (lua_istable(L, -1)) {
    lua_pushnil(L);
    while (lua_next(L, -2)) {
      size_t name_len, len;
      lua_pushvalue(L, -2);
      const char *name = lua_tolstring(L, -1, &name_len), *value = lua_tolstring(L, -2, &len);
      if (name && value && clean(name, name_len) && clean(value, len))
        cxb_buf_printf(out, len ? "%s: %s\r\n" : "%s;\r\n", name, value);
      lua_pop(L, 2);
    }
  }
  lua_pop(L, 1);
}

static lua_Number number_field(lua_State *L, int index, const char *field, lua_Number otherwise) {
  lua_getfield(L, index, field);
  lua_Number n = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : otherwise;
  lua_pop(L, 1);
  return n;
}

static int push_denied(lua_State *L, const char *url) {
  char host[CXB_GUARD_HOST];
  const char *why = "not allowed";
  cxb_guard_url(url, host, &why);
  lua_pushnil(L);
  lua_pushliteral(L, "url_not_allowed");
  lua_pushstring(L, why);
  return 3;
}

static const char *text_field(lua_State *L, int index, const char *field) {
  lua_getfield(L, index, field); /* stays on the stack, and so its text */
  const char *s = lua_tostring(L, -1);
  return s ? s : "";
}

/* {region, access_key, secret_key} of an S3 store: the request is signed. What is pushed stays
 * until the request has begun. */
static void add_signature(lua_State *L, cxb_http_options *o) {
  lua_getfield(L, 1, "s3");
  if (!lua_istable(L, -1))
    return;
  int s3 = lua_gettop(L);
  o->sigv4 = lua_pushfstring(L, "aws:amz:%s:s3", text_field(L, s3, "region"));
  const char *access = text_field(L, s3, "access_key"), *secret = text_field(L, s3, "secret_key");
  o->user = lua_pushfstring(L, "%s:%s", access, secret);
}

/* cxb.http.open(options, streams, uploads): starts a request; `http` below drives it. */
static int l_open(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  pending *p = lua_newuserdata(L, sizeof *p);
  memset(p, 0, sizeof *p);
  luaL_getmetatable(L, PENDING_MT);
  lua_setmetatable(L, -2);
  cxb_buf headers = {0};
  add_headers(L, 1, &headers);
  cxb_http_options o = {.on_done = on_done, .arg = p, .headers = headers.data};
  lua_getfield(L, 1, "url");
  o.url = lua_tostring(L, -1);
  lua_getfield(L, 1, "method");
  o.method = lua_tostring(L, -1);
  lua_getfield(L, 1, "body");
  if (lua_type(L, -1) == LUA_TSTRING)
    o.body = lua_tolstring(L, -1, &o.body_len);
  lua_getfield(L, 1, "sink");
  if (!lua_isnil(L, -1))
    o.sink = cxb_sink_take(L, lua_gettop(L));
  o.on_bytes = on_bytes;
  lua_getfield(L, 1, "public_only");
  if (lua_toboolean(L, -1))
    o.public_but = lua_isstring(L, -1) ? lua_tostring(L, -1) : "";
  o.timeout_ms = (int64_t)number_field(L, 1, "timeout_ms", 0);
  o.connect_timeout_ms = (int64_t)number_field(L, 1, "connect_timeout_ms", 0);
  o.max_body = (size_t)number_field(L, 1, "max_body", 0);
  o.redirects = (int)number_field(L, 1, "redirects", 0);
  o.stall_ms = (int64_t)number_field(L, 1, "stall_ms", 0);
  add_signature(L, &o);
  p->streams = lua_toboolean(L, 2) || o.sink;
  if (lua_toboolean(L, 2))
    o.on_data = on_data;
  if (lua_toboolean(L, 3)) {
    o.upload = true;
    o.on_want = on_want;
  }
  int err = o.url ? cxb_http_call_start(&o, &p->call) : CXB_EINVAL;
  cxb_buf_free(&headers);
  if (err && o.sink)
    o.sink->release(o.sink);
  if (err == CXB_EDENIED)
    return push_denied(L, o.url);
  if (err)
    return cxb_push_error(L, err, "the URL must begin http://, https:// or http+unix:");
  lua_settop(L, 4);
  lua_pushvalue(L, 4);
  return 1;
}

/* (waits) until something happened. Returns "data", piece · "bytes", total · "want" · "done" */
static int l_next(lua_State *L) {
  pending *p = luaL_checkudata(L, 1, PENDING_MT);
  if (p->data.len > 0) {
    lua_pushliteral(L, "data");
    lua_pushlstring(L, p->data.data, p->data.len);
    cxb_buf_clear(&p->data);
    if (p->full && call_of(p)) {
      p->full = false;
      cxb_http_call_resume(p->call);
    }
    return 2;
  }
  if (p->bytes > p->told) {
    p->told = p->bytes;
    lua_pushliteral(L, "bytes");
    lua_pushnumber(L, p->bytes);
    return 2;
  }
  if (p->wants && !p->done) {
    p->wants = false;
    lua_pushliteral(L, "want");
    return 1;
  }
  if (p->done) {
    lua_pushliteral(L, "done");
    return 1;
  }
  p->waiting = true;
  return cxb_task_wait(L, &p->wait, NULL, NULL);
}

static int l_send(lua_State *L) {
  pending *p = luaL_checkudata(L, 1, PENDING_MT);
  size_t len = 0;
  const char *piece = luaL_optlstring(L, 2, "", &len);
  if (call_of(p))
    cxb_http_call_send(p->call, piece, len);
  return 0;
}

static int l_cancel(lua_State *L) {
  pending *p = luaL_checkudata(L, 1, PENDING_MT);
  if (call_of(p))
    cxb_http_call_cancel(p->call);
  p->call = NULL;
  p->done = true;
  return 0;
}

/* As in a request: repeated ones are joined by ", ". */
static void push_headers(lua_State *L, const char *lines) {
  lua_newtable(L);
  while (lines && *lines) {
    size_t len = strcspn(lines, "\r\n"), name = strcspn(lines, ":");
    if (name < len) {
      const char *value = lines + name + 1;
      size_t n = len - name - 1;
      while (n > 0 && (*value == ' ' || *value == '\t'))
        value++, n--;
      lua_pushlstring(L, lines, name);
      lua_pushvalue(L, -1);
      lua_rawget(L, -3);
      bool repeated = !lua_isnil(L, -1);
      if (repeated)
        lua_pushliteral(L, ", ");
      else
        lua_pop(L, 1);
      lua_pushlstring(L, value, n);
      if (repeated)
        lua_concat(L, 3);
      lua_rawset(L, -3);
    }
    lines += len + strspn(lines + len, "\r\n");
  }
}

/* Status and headers of an answer whose body arrives. */
static int l_head(lua_State *L) {
  pending *p = luaL_checkudata(L, 1, PENDING_MT);
  lua_pushinteger(L, p->status);
  push_headers(L, p->headers.data);
  return 2;
}

static int l_answer(lua_State *L) {
  pending *p = luaL_checkudata(L, 1, PENDING_MT);
  if (p->err) {
    int n = cxb_push_error(L, p->err, "%s", p->message);
    if (p->err == CXB_ENOENT || p->err == CXB_EPROTO || p->err == CXB_EDENIED) {
      lua_pushstring(L, p->err == CXB_ENOENT   ? "resolve"
                        : p->err == CXB_EPROTO ? "tls"
                                               : "url_not_allowed");
      lua_replace(L, -3);
    }
    return n;
  }
  lua_createtable(L, 0, 4);
  lua_pushnumber(L, p->bytes);
  lua_setfield(L, -2, "bytes");
  lua_pushinteger(L, p->status);
  lua_setfield(L, -2, "status");
  push_headers(L, p->headers.data);
  lua_setfield(L, -2, "headers");
  if (!p->streams || p->body.len > 0) {
    lua_pushlstring(L, p->body.data ? p->body.data : "", p->body.len);
    lua_setfield(L, -2, "body");
  }
  return 1;
}

/* The waiting part is Lua, so that on_data and a body function run in the task and may wait. */
static const char driver[] =
    "local open, next_event, send, cancel, head, answer = ...\n"
    "return function(o)\n"
    "  if type(o) ~= 'table' then error('http.request: a table of options is expected', 2) end\n"
    "  local on_data, on_answer = o.on_data, o.on_answer\n"
    "  local source = type(o.body) == 'function' and o.body or nil\n"
    "  local p, code, message = open(o, on_data ~= nil, source ~= nil)\n"
    "  if not p then return nil, code, message end\n"
    "  while true do\n"
    "    local what, piece = next_event(p)\n"
    "    if what == 'done' then return answer(p) end\n"
    "    if what == 'data' then\n"
    "      if on_answer then on_answer(head(p)) on_answer = nil end\n"
    "      if on_data(piece) == false then cancel(p) return nil, 'cancelled', 'cancelled' end\n"
    "    elseif what == 'bytes' then if o.on_bytes then o.on_bytes(piece) end\n"
    "    elseif what == 'want' then send(p, source() or '')\n"
    "    elseif piece == 'cancelled' then cancel(p) return nil, 'cancelled', 'cancelled' end\n"
    "  end\n"
    "end\n";

static void open_http(lua_State *L, cxb_generation *gen) {
  (void)gen;
  luaL_newmetatable(L, PENDING_MT);
  lua_pushcfunction(L, l_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_newtable(L);
  if (luaL_loadbuffer(L, driver, sizeof driver - 1, "=cxb.http") != 0)
    lua_error(L);
  static const lua_CFunction parts[] = {l_open, l_next, l_send, l_cancel, l_head, l_answer};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    lua_pushcfunction(L, parts[i]);
  lua_call(L, 6, 1);
  lua_setfield(L, -2, "request");
  lua_setfield(L, -2, "http");
}

static int start(uv_loop_t *loop) {
  return uv_idle_init(loop, &later);
}

static void stop(void) {
  cxb_http_client_close();
  stopped = true;
  uv_close((uv_handle_t *)&later, NULL);
}

const cxb_module cxb_http_client_module = {
    .name = "http client", .start = start, .open = open_http, .stop = stop};
