/* cxb.process.control: one JSON line to another process's control socket, one back. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"
#include "../base/err.h"
#include "host.h"
#include "state.h"
#include "task.h"

enum { MAX_ANSWER = 4 << 20 };

typedef struct control {
  uv_pipe_t pipe;
  uv_connect_t connect;
  uv_write_t write;
  char *message;
  cxb_buf in;
  cxb_wait wait;
  bool over;
} control;

static void on_control_closed(uv_handle_t *h) {
  control *c = h->data;
  cxb_buf_free(&c->in);
  free(c->message);
  free(c);
}

static void control_end(control *c, int err, const char *why) {
  if (c->over)
    return;
  c->over = true;
  lua_State *L = cxb_wait_stack(&c->wait);
  cxb_wait wait = c->wait;
  int n = 0;
  if (L) {
    char *nl = c->in.len ? memchr(c->in.data, '\n', c->in.len) : NULL;
    if (err)
      n = cxb_push_error(L, err, "%s", why);
    else if (nl && cxb_json_decode(L, c->in.data, (size_t)(nl - c->in.data)) == 0)
      n = 1;
    else
      n = cxb_push_error(L, CXB_EPROTO, "the answer is not JSON");
  }
  uv_close((uv_handle_t *)&c->pipe, on_control_closed);
  if (L)
    cxb_wait_resume(&wait, n);
}

static void on_control_cancel(void *arg) {
  control *c = arg;
  c->over = true;
  uv_close((uv_handle_t *)&c->pipe, on_control_closed);
}

static void on_control_alloc(uv_handle_t *h, size_t n, uv_buf_t *buf) {
  (void)n;
  control *c = h->data;
  bool full = c->in.len > MAX_ANSWER || cxb_buf_reserve(&c->in, 8192);
  *buf = full ? uv_buf_init(NULL, 0) : uv_buf_init(c->in.data + c->in.len, 8192);
}

static void on_control_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  (void)buf;
  control *c = s->data;
  if (n < 0) {
    control_end(c, CXB_ECLOSED, "closed before an answer");
    return;
  }
  c->in.len += (size_t)n;
  if (memchr(c->in.data, '\n', c->in.len))
    control_end(c, 0, NULL);
}

static void on_control_connected(uv_connect_t *req, int status) {
  control *c = req->data;
  if (c->over)
    return;
  if (status != 0) {
    control_end(c, status == UV_ENOENT ? CXB_ENOENT : CXB_EREFUSED, uv_strerror(status));
    return;
  }
  uv_buf_t buf = uv_buf_init(c->message, (unsigned)strlen(c->message));
  uv_read_start((uv_stream_t *)&c->pipe, on_control_alloc, on_control_read);
  uv_write(&c->write, (uv_stream_t *)&c->pipe, &buf, 1, NULL);
}

int cxb_process_control(lua_State *L);

int cxb_process_control(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  int64_t ms = (int64_t)luaL_optnumber(L, 3, 10000);
  lua_pushvalue(L, 2);
  if (cxb_json_encode(L) != 0)
    return luaL_error(L, "control: %s", lua_tostring(L, -1));
  control *c = calloc(1, sizeof *c);
  if (!c || asprintf(&c->message, "%s\n", lua_tostring(L, -1)) < 0) {
    free(c);
    return luaL_error(L, "out of memory");
  }
  uv_pipe_init(cxb_loop(), &c->pipe, 0);
  c->pipe.data = c;
  c->connect.data = c;
  uv_pipe_connect(&c->connect, &c->pipe, path, on_control_connected);
  return cxb_task_wait_ms(L, &c->wait, ms, on_control_cancel, c);
}
