/* req: what a service's http function gets, one task a request. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../base/err.h"
#include "../host/call_lost.h"
#include "../host/generation.h"
#include "../host/process.h"
#include "../host/slot.h"
#include "../host/state.h"
#include "../host/task.h"
#include "../observe/log.h"
#include "../observe/metrics.h"
#include "http_file.h"
#include "http_internal.h"
#include "ws_lua.h"

#define REQUEST_MT "cxb.request"
enum { DEFAULT_BODY = 1 << 20 };

typedef struct request_object {
  cxb_http_request *req;
  bool
      has_fields; /* its environment is a table of its own: what a script set, what was made once */
} request_object;

cxb_http_request *cxb_http_check_request(lua_State *L, int index) {
  return ((request_object *)luaL_checkudata(L, index, REQUEST_MT))->req;
}

/* ---- body ---- */

typedef struct body_wait {
  cxb_http_request *req;
  cxb_wait wait;
  size_t max; /* 0: a piece */
} body_wait;

static int push_body_error(lua_State *L, int err) {
  return cxb_push_error(L, err,
                        err == CXB_ETOOBIG ? "the body is larger than allowed"
                                           : "the peer went before the end of its body");
}

/* Pushes the answer when it can be given now; 0 when more has to be waited for. */
static int body_answer(lua_State *L, cxb_http_request *req, size_t max) {
  bool end, gone;
  size_t ready = cxb_http_body_ready(req, &end, &gone);
  if (max > 0 && ready > max)
    return push_body_error(L, CXB_ETOOBIG);
  if (gone)
    return push_body_error(L, CXB_ECLOSED);
  if (max > 0 && !end)
    return 0;
  if (max == 0 && ready == 0) {
    if (!end)
      return 0;
    lua_pushnil(L);
    return 1;
  }
  lua_pushlstring(L, cxb_http_body_data(req), ready);
  cxb_http_body_drop(req);
  return 1;
}

static void on_body(cxb_http_request *req, void *arg) {
  body_wait *w = arg;
  lua_State *L = cxb_wait_stack(&w->wait);
  int n = L ? body_answer(L, req, w->max) : 0;
  if (L && n == 0) {
    cxb_http_wait_body(req, on_body, w);
    return;
  }
  cxb_wait wait = w->wait;
  free(w);
  cxb_http_request_unref(req);
  if (L)
    cxb_wait_resume(&wait, n);
}

static int wait_body(lua_State *L, cxb_http_request *req, size_t max) {
  int n = body_answer(L, req, max);
  if (n > 0)
    return n;
  body_wait *w = calloc(1, sizeof *w);
  if (!w)
    return luaL_error(L, "out of memory");
  w->req = req;
  w->max = max;
  cxb_http_request_ref(req);
  cxb_http_wait_body(req, on_body, w);
  return cxb_task_wait(L, &w->wait, NULL, NULL);
}

static int l_body(lua_State *L) {
  cxb_http_request *req = cxb_http_check_request(L, 1);
  lua_Number max = luaL_optnumber(L, 2, DEFAULT_BODY);
  luaL_argcheck(L, max >= 1, 2, "bytes, at least 1");
  const char *length = cxb_http_header(req, "content-length");
  if (length && strtod(length, NULL) > max)
    return push_body_error(L, CXB_ETOOBIG);
  return wait_body(L, req, (size_t)max);
}

static int l_read(lua_State *L) {
  return wait_body(L, cxb_http_check_request(L, 1), 0);
}

/* ---- answers ---- */

static bool clean(const char *s, size_t len) {
  for (size_t i = 0; i < len; i++)
    if ((unsigned char)s[i] < 0x20 && s[i] != '\t')
      return false;
  return true;
}

/* Lines of one answer's headers, until the next answer's. */
static cxb_buf lines;

static void add_line(cxb_buf *out, const char *name, size_t name_len, const char *value,
                     size_t len) {
  if (!clean(name, name_len) || !clean(value, len) || cxb_buf_reserve(out, name_len + len + 4) != 0)
    return;
  cxb_buf_add(out, name, name_len);
  cxb_buf_add(out, ": ", 2);
  cxb_buf_add(out, value, len);
  cxb_buf_add(out, "\r\n", 2);
}

/* Does the header's name say `word`? */
static bool named(const char *name, size_t len, const char *word) {
  return len == strlen(word) && strcasecmp(name, word) == 0;
}

/* Header table at `index` as lines; content-length (if `length`) is taken out. */
static cxb_buf *header_lines(lua_State *L, int index, int64_t *length, bool *typed) {
  cxb_buf *out = &lines;
  cxb_buf_clear(out);
  if (!lua_istable(L, index))
    return out;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    if (lua_type(L, -2) == LUA_TSTRING && lua_isstring(L, -1)) {
      size_t name_len, len;
      const char *name = lua_tolstring(L, -2, &name_len), *value;
      lua_pushvalue(L, -1);
      value = lua_tolstring(L, -1, &len);
      if (length && named(name, name_len, "content-length"))
        *length = (int64_t)strtod(value, NULL);
      else
        add_line(out, name, name_len, value, len);
      if (typed && named(name, name_len, "content-type"))
        *typed = true;
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  return out;
}

static int push_answered(lua_State *L, int err) {
  if (err == CXB_EINVAL)
    return luaL_error(L, "this request has been answered");
  if (err)
    return cxb_push_error(L, err, NULL);
  lua_pushboolean(L, 1);
  return 1;
}

static int l_respond(lua_State *L) {
  cxb_http_request *req = cxb_http_check_request(L, 1);
  int status = (int)luaL_checkinteger(L, 2);
  luaL_argcheck(L, status >= 100 && status <= 599, 2, "an HTTP status");
  lua_settop(L, 4);
  bool typed = false, json = lua_istable(L, 3);
  cxb_buf *headers = header_lines(L, 4, NULL, &typed);
  if (json) {
    lua_pushvalue(L, 3);
    if (cxb_json_encode(L) != 0)
      return luaL_error(L, "respond: %s", lua_tostring(L, -1));
    lua_replace(L, 3);
  }
  if (!typed && !lua_isnil(L, 3))
    cxb_buf_str(headers, json ? "Content-Type: application/json\r\n"
                              : "Content-Type: text/plain; charset=utf-8\r\n");
  size_t len = 0;
  const char *body = lua_isnil(L, 3) ? "" : luaL_checklstring(L, 3, &len);
  return push_answered(L, cxb_http_respond(req, status, headers->data, body, len));
}

static int l_start(lua_State *L) {
  cxb_http_request *req = cxb_http_check_request(L, 1);
  int status = (int)luaL_checkinteger(L, 2);
  int64_t length = -1;
  cxb_buf *headers = header_lines(L, 3, &length, NULL);
  return push_answered(L, cxb_http_start(req, status, headers->data, length));
}

typedef struct write_wait {
  cxb_wait wait;
} write_wait;

static void on_writable(cxb_http_request *req, void *arg) {
  write_wait *w = arg;
  lua_State *L = cxb_wait_stack(&w->wait);
  cxb_wait wait = w->wait;
  bool open = req->conn != NULL;
  free(w);
  cxb_http_request_unref(req);
  if (L)
    cxb_wait_resume(&wait,
                    open ? (lua_pushboolean(L, 1), 1) : cxb_push_error(L, CXB_ECLOSED, NULL));
}

static int l_write(lua_State *L) {
  cxb_http_request *req = cxb_http_check_request(L, 1);
  size_t len;
  const char *piece = luaL_checklstring(L, 2, &len);
  int err = cxb_http_write(req, piece, len);
  if (err == CXB_EINVAL)
    return luaL_error(L, "write: start() first");
  if (err != CXB_EAGAIN)
    return push_answered(L, err);
  write_wait *w = calloc(1, sizeof *w);
  if (!w)
    return luaL_error(L, "out of memory");
  cxb_http_request_ref(req);
  cxb_http_wait_writable(req, on_writable, w);
  return cxb_task_wait(L, &w->wait, NULL, NULL);
}

static int l_finish(lua_State *L) {
  int err = cxb_http_finish(cxb_http_check_request(L, 1));
  if (err == CXB_EINVAL)
    return luaL_error(L, "finish: start() first, once");
  return push_answered(L, err);
}

static void on_file(void *arg, int err) {
  write_wait *w = arg;
  lua_State *L = cxb_wait_stack(&w->wait);
  cxb_wait wait = w->wait;
  free(w);
  if (L)
    cxb_wait_resume(&wait, err ? cxb_push_error(L, err, NULL) : (lua_pushboolean(L, 1), 1));
}

static int l_send_file(lua_State *L) {
  cxb_http_request *req = cxb_http_check_request(L, 1);
  const char *path = luaL_checkstring(L, 2);
  cxb_buf *headers = header_lines(L, 3, NULL, NULL);
  write_wait *w = calloc(1, sizeof *w);
  int err = w ? cxb_http_send_file(req, path, headers->data, on_file, w) : CXB_ENOMEM;
  if (err) {
    free(w);
    return cxb_push_error(L, err, NULL);
  }
  return cxb_task_wait(L, &w->wait, NULL, NULL);
}

static int l_websocket(lua_State *L) {
  cxb_http_request *req = cxb_http_check_request(L, 1);
  int fd;
  char *head;
  size_t len;
  if (cxb_http_take_socket(req, &fd, &head, &len) != 0)
    return cxb_push_error(L, CXB_EINVAL, "not an upgrade, or answered already");
  return cxb_ws_lua_accept(L, 2, fd, head, len);
}

/* ---- the call slot ---- */

/* Takes the slot for this request, or says with which status it is refused; counted. */
static bool take_slot(cxb_http_request *req, int *status, const char **reason) {
  if (req->slot || cxb_slot_take(reason) == 0) {
    req->slot = true;
    return true;
  }
  bool full = strcmp(*reason, "at_capacity") == 0 || strcmp(*reason, "draining") == 0;
  char labels[64];
  snprintf(labels, sizeof labels, "reason=\"%s\"", *reason);
  cxb_metric_add("cxb_calls_refused_total", labels, 1);
  *status = req->websocket || !full ? 503 : 429;
  return false;
}

static int l_take_slot(lua_State *L) {
  int status;
  const char *reason;
  if (take_slot(cxb_http_check_request(L, 1), &status, &reason)) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushnil(L);
  lua_pushinteger(L, status);
  lua_pushstring(L, reason);
  return 3;
}

/* ---- fields ---- */

static void push_headers(lua_State *L, const cxb_http_request *req) {
  lua_createtable(L, 0, req->header_count);
  for (int i = 0; i < req->header_count; i++) {
    char name[128];
    size_t n = req->names[i].len < sizeof name ? req->names[i].len : sizeof name - 1;
    const char *p = cxb_http_span_at(req, req->names[i]);
    for (size_t k = 0; k < n; k++)
      name[k] = p[k] >= 'A' && p[k] <= 'Z' ? (char)(p[k] + 32) : p[k];
    lua_pushlstring(L, name, n);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    const char *value = cxb_http_span_at(req, req->values[i]);
    size_t len = req->values[i].len;
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
      len--;
    if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      lua_pushlstring(L, value, len);
    } else {
      lua_pushliteral(L, ", ");
      lua_pushlstring(L, value, len);
      lua_concat(L, 3);
    }
    lua_rawset(L, -3);
  }
}

/* Pushes a field of the request itself; false (nothing pushed) when it has none of this name.
 * *keep: it takes work and is asked for again. */
static bool push_field(lua_State *L, cxb_http_request *req, const char *key, bool *keep) {
  *keep = false;
  if (strcmp(key, "method") == 0) {
    lua_pushstring(L, cxb_http_method(req));
  } else if (strcmp(key, "path") == 0) {
    lua_pushstring(L, cxb_http_path(req));
  } else if (strcmp(key, "query") == 0) {
    size_t len;
    const char *query = cxb_http_query_span(req, &len);
    lua_pushlstring(L, query, len);
  } else if (strcmp(key, "headers") == 0) {
    push_headers(L, req);
    *keep = true;
  } else if (strcmp(key, "remote") == 0) {
    lua_pushstring(L, cxb_http_remote(req));
  } else if (strcmp(key, "id") == 0) {
    lua_pushstring(L, cxb_http_request_id(req));
    *keep = true;
  } else if (strcmp(key, "upgrade") == 0) {
    lua_pushboolean(L, req->websocket);
  } else if (strcmp(key, "gone") == 0) {
    lua_pushboolean(L, !req->conn);
  } else if (strcmp(key, "answered") == 0) {
    lua_pushboolean(L, req->started || !req->conn);
  } else {
    return false;
  }
  return true;
}

/* Pushes the table of fields that belong to the object at 1. */
static void push_fields(lua_State *L, request_object *object) {
  if (!object->has_fields) {
    lua_newtable(L);
    lua_setfenv(L, 1);
    object->has_fields = true;
  }
  lua_getfenv(L, 1);
}

/* req.field: methods, then what a script set or was made once, then the request's own. */
static int l_index(lua_State *L) {
  request_object *object = lua_touserdata(L, 1);
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  if (!lua_isnil(L, -1))
    return 1;
  if (object->has_fields) {
    lua_getfenv(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    if (!lua_isnil(L, -1))
      return 1;
  }
  bool keep;
  if (lua_type(L, 2) != LUA_TSTRING || !push_field(L, object->req, lua_tostring(L, 2), &keep))
    return 0;
  if (keep) {
    push_fields(L, object);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
  }
  return 1;
}

static int l_newindex(lua_State *L) {
  push_fields(L, lua_touserdata(L, 1));
  lua_replace(L, 1);
  lua_rawset(L, 1);
  return 0;
}

static int l_gc(lua_State *L) {
  request_object *object = lua_touserdata(L, 1);
  if (object->req)
    cxb_http_request_unref(object->req);
  object->req = NULL;
  return 0;
}

static void push_request(lua_State *L, cxb_http_request *req) {
  request_object *object = lua_newuserdata(L, sizeof *object);
  *object = (request_object){.req = req};
  cxb_http_request_ref(req);
  luaL_getmetatable(L, REQUEST_MT);
  lua_setmetatable(L, -2);
}

/* ---- dispatch ---- */

static void on_task_end(void *arg, bool ok, lua_State *co, int n, const char *error) {
  (void)co;
  (void)n;
  cxb_http_request *req = arg;
  if (req->handed_on && ok) {
    req->handed_on = false;
    cxb_http_request_unref(req);
    return;
  }
  if (!ok) {
    cxb_task *task = cxb_task_ending();
    cxb_log_failure(cxb_generation_number(cxb_task_generation(task)), cxb_task_tags(task),
                    cxb_task_reason(task), NULL, error);
    if (req->slot)
      cxb_call_lost(task, error);
  }
  if (!req->started && req->conn)
    cxb_http_refuse(req, 500, "internal", "Something went wrong here; it was logged.", 0);
  else if (req->started && !req->finished && !req->taken)
    cxb_http_abort(req); /* a streamed answer that nobody will finish */
  if (req->slot)
    cxb_slot_release();
  cxb_http_request_unref(req);
}

/* A task for the request in a generation with an http function; false: it has none. */
static bool start_task(cxb_generation *gen, cxb_http_request *req) {
  lua_State *L = cxb_generation_state(gen);
  if (!cxb_generation_push_service(gen, L, "http"))
    return false;
  push_request(L, req);
  cxb_http_request_ref(req);
  cxb_task_start(gen, L, 1, cxb_http_path(req), on_task_end, req);
  return true;
}

static int l_elsewhere(lua_State *L) {
  cxb_http_request *req = cxb_http_check_request(L, 1);
  cxb_task *task = cxb_task_running();
  cxb_generation *older = task ? cxb_generation_older(cxb_task_generation(task)) : NULL;
  bool handed = older && !req->started && !req->handed_on && start_task(older, req);
  req->handed_on = req->handed_on || handed;
  lua_pushboolean(L, handed);
  return 1;
}

/* Does a guard of the service cover this request? Its table is {prefix=, upgrade=}. */
static bool guarded(cxb_generation *gen, lua_State *L, const cxb_http_request *req) {
  if (!cxb_generation_push_service(gen, L, "guard"))
    return false;
  bool found = false, post = req->method == HTTP_POST;
  const char *path = cxb_http_path(req);
  for (int i = 1; !found && i <= (int)lua_objlen(L, -1); i++) {
    lua_rawgeti(L, -1, i);
    lua_getfield(L, -1, "prefix");
    lua_getfield(L, -2, "upgrade");
    const char *prefix = lua_tostring(L, -2);
    bool upgrade = lua_toboolean(L, -1);
    found =
        prefix && strncmp(path, prefix, strlen(prefix)) == 0 && (upgrade ? req->websocket : post);
    lua_pop(L, 3);
  }
  lua_pop(L, 1);
  return found;
}

/* May this request have large headers? The service's table lists prefixes of paths. */
static bool large_head(cxb_http_request *req) {
  cxb_generation *gen = cxb_generation_current();
  lua_State *L = gen ? cxb_generation_state(gen) : NULL;
  if (!L || !cxb_generation_push_service(gen, L, "large_heads"))
    return false;
  bool found = false;
  for (int i = 1; !found && i <= (int)lua_objlen(L, -1); i++) {
    lua_rawgeti(L, -1, i);
    const char *prefix = lua_tostring(L, -1);
    found = prefix && strncmp(cxb_http_path(req), prefix, strlen(prefix)) == 0;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return found;
}

static void on_request(cxb_http_request *req) {
  cxb_generation *gen = cxb_generation_current();
  if (!gen) {
    cxb_http_refuse(req, 503, "starting", "It is still starting.", 1);
    return;
  }
  lua_State *L = cxb_generation_state(gen);
  int status;
  const char *reason;
  if (guarded(gen, L, req) && !take_slot(req, &status, &reason)) {
    cxb_http_refuse(req, status, reason, NULL, 1);
    return;
  }
  if (start_task(gen, req))
    return;
  if (req->slot)
    cxb_slot_release();
  cxb_http_refuse(req, 404, "not_found", "There is no such path.", 0);
}

/* ---- module ---- */

static int listen_hook(const char *addr, int mode, char *why, size_t why_len) {
  return cxb_http_listen(addr, mode, NULL, why, why_len);
}

static int start(uv_loop_t *loop) {
  (void)loop;
  cxb_http_set_handler(on_request);
  cxb_http_set_large_heads(large_head);
  cxb_process_listen = listen_hook;
  cxb_process_on_stop_listening = cxb_http_stop_listening;
  cxb_process_active_requests = cxb_http_active;
  cxb_metric_declare("cxb_calls_refused_total", CXB_COUNTER, "Calls refused before any side effect",
                     NULL, 0);
  return 0;
}

static void open_request(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg methods[] = {{"body", l_body},
                                     {"read", l_read},
                                     {"respond", l_respond},
                                     {"start", l_start},
                                     {"write", l_write},
                                     {"finish", l_finish},
                                     {"send_file", l_send_file},
                                     {"websocket", l_websocket},
                                     {"take_slot", l_take_slot},
                                     {"elsewhere", l_elsewhere},
                                     {NULL, NULL}};
  luaL_newmetatable(L, REQUEST_MT);
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_pushcclosure(L, l_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_newindex);
  lua_setfield(L, -2, "__newindex");
  lua_pushcfunction(L, l_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}

const cxb_module cxb_http_server_module = {
    .name = "http server", .start = start, .open = open_request, .stop = cxb_http_close_all};
