/* Control sockets. */
#include "control.h"

#include <jansson.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "../base/buf.h"
#include "../base/err.h"
#include "../observe/log.h"
#include "generation.h"
#include "process.h"
#include "slot.h"
#include "unix_path.h"

enum { MAX_LINE = 64 * 1024, LISTENERS = 2 };

typedef struct conn {
  uv_pipe_t pipe;
  cxb_buf in;
  bool busy, closed;
  int refs; /* the handle, and a verb that is still at work */
} conn;

static uv_pipe_t listeners[LISTENERS];
static cxb_unix_file files[LISTENERS];
static int listener_count;

static void conn_unref(conn *c) {
  if (--c->refs > 0)
    return;
  cxb_buf_free(&c->in);
  free(c);
}

static void on_conn_closed(uv_handle_t *h) {
  conn_unref(h->data);
}

static void conn_close(conn *c) {
  if (c->closed)
    return;
  c->closed = true;
  uv_close((uv_handle_t *)&c->pipe, on_conn_closed);
}

typedef struct answer {
  uv_write_t req;
  char *text;
} answer;

static void on_written(uv_write_t *req, int status) {
  (void)status;
  answer *a = (answer *)req;
  free(a->text);
  free(a);
}

static void next_line(conn *c);

/* Takes `text` (malloc'd, with its newline). */
static void reply(conn *c, char *text) {
  c->busy = false;
  answer *a = text ? calloc(1, sizeof *a) : NULL;
  if (!a || c->closed) {
    free(text);
    free(a);
    return;
  }
  a->text = text;
  uv_buf_t buf = uv_buf_init(text, (unsigned)strlen(text));
  if (uv_write(&a->req, (uv_stream_t *)&c->pipe, &buf, 1, on_written) != 0)
    on_written(&a->req, 0);
  next_line(c);
}

static void reply_error(conn *c, const char *code, const char *message) {
  cxb_buf b = {0};
  cxb_buf_str(&b, "{\"ok\":false,\"error\":");
  cxb_buf_json(&b, code, strlen(code));
  cxb_buf_str(&b, ",\"message\":");
  cxb_buf_json(&b, message, strlen(message));
  cxb_buf_str(&b, "}\n");
  reply(c, b.data);
}

static void base_status(cxb_buf *b) {
  cxb_generation *gen = cxb_generation_current();
  cxb_buf_printf(b,
                 "{\"ok\":true,\"pid\":%d,\"version\":\"" CXB_VERSION
                 "\",\"generation\":%d,\"generations\":%d,\"draining\":%s,\"calls\":%d,\"max\":%d,"
                 "\"script_memory\":%zu,\"reload\":\"%s\",\"reload_error\":",
                 (int)getpid(), gen ? cxb_generation_number(gen) : 0, cxb_generation_alive(),
                 cxb_draining() ? "true" : "false", cxb_slot_used(), cxb_slot_max(),
                 gen ? cxb_generation_memory(gen)->used : 0,
                 *cxb_process_reload_error() ? "failed" : "ok");
  cxb_buf_json(b, cxb_process_reload_error(), strlen(cxb_process_reload_error()));
}

static void reply_status(conn *c) {
  cxb_buf b = {0};
  base_status(&b);
  cxb_buf_str(&b, "}\n");
  reply(c, b.data);
}

static void on_reloaded(void *arg, const char *error) {
  conn *c = arg;
  if (error)
    reply_error(c, "reload_failed", error);
  else
    reply_status(c);
  conn_unref(c);
}

/* A verb at work. */
typedef struct asked {
  conn *c;
  cxb_generation *gen; /* asked; NULL: nobody before it */
  char *line, *verb;
} asked;

static bool ask(asked *a);

static void asked_free(asked *a) {
  conn_unref(a->c);
  free(a->line);
  free(a->verb);
  free(a);
}

static bool says_elsewhere(lua_State *co, int n) {
  if (n < 1 || !lua_istable(co, -n))
    return false;
  lua_getfield(co, -n, "elsewhere");
  bool elsewhere = lua_toboolean(co, -1);
  lua_pop(co, 1);
  return elsewhere;
}

/* The service's own verb: its table is the answer; `status` adds its fields to ours. */
static void on_verb(void *arg, bool ok, lua_State *co, int n, const char *error) {
  asked *a = arg;
  conn *c = a->c;
  size_t len;
  if (ok && says_elsewhere(co, n) && (a->gen = cxb_generation_older(a->gen)) && ask(a))
    return;
  if (!ok) {
    reply_error(c, "failed", error);
  } else if (n < 1 || !lua_istable(co, -n)) {
    reply_error(c, n > 1 && lua_isstring(co, -n + 1) ? lua_tostring(co, -n + 1) : "failed",
                n > 2 && lua_isstring(co, -n + 2) ? lua_tostring(co, -n + 2) : "no answer");
  } else {
    lua_pushvalue(co, -n);
    cxb_json_encode(co);
    const char *text = lua_tolstring(co, -1, &len);
    cxb_buf b = {0};
    base_status(&b);
    if (len > 2 && text[0] == '{') {
      cxb_buf_str(&b, ",");
      cxb_buf_add(&b, text + 1, len - 2);
    }
    cxb_buf_str(&b, "}\n");
    reply(c, b.data);
  }
  asked_free(a);
}

/* False, and nothing done, when the generation has no such verb. */
static bool ask(asked *a) {
  lua_State *L = cxb_generation_state(a->gen);
  if (!cxb_generation_push_service(a->gen, L, "control"))
    return false;
  lua_getfield(L, -1, a->verb);
  lua_remove(L, -2);
  if (!lua_isfunction(L, -1) || cxb_json_decode(L, a->line, strlen(a->line)) != 0) {
    lua_pop(L, 1);
    return false;
  }
  cxb_task_start(a->gen, L, 1, a->verb, on_verb, a);
  return true;
}

static bool service_verb(conn *c, const char *verb, const char *line) {
  asked *a = calloc(1, sizeof *a);
  if (!a)
    return false;
  *a = (asked){c, cxb_generation_current(), strdup(line), strdup(verb)};
  c->refs++;
  if (a->gen && a->line && a->verb && ask(a))
    return true;
  asked_free(a);
  return false;
}

static void dispatch(conn *c, const char *line, size_t len) {
  json_error_t err;
  json_t *msg = json_loadb(line, len, 0, &err);
  const char *verb = json_string_value(json_object_get(msg, "verb"));
  c->busy = true;
  if (!verb) {
    reply_error(c, "bad_request", "one JSON object a line with a verb is expected");
  } else if (strcmp(verb, "reload") == 0) {
    c->refs++;
    cxb_process_reload(on_reloaded, c);
  } else if (strcmp(verb, "drain") == 0 || strcmp(verb, "undrain") == 0) {
    cxb_logf(CXB_LOG_INFO, "control: %s", verb);
    cxb_process_drain(verb[0] == 'd');
    reply_status(c);
  } else if (!service_verb(c, verb, line)) {
    if (strcmp(verb, "status") == 0)
      reply_status(c);
    else
      reply_error(c, "unknown_verb", verb);
  }
  json_decref(msg);
}

static void next_line(conn *c) {
  if (c->busy || c->closed || c->in.len == 0)
    return;
  char *nl = memchr(c->in.data, '\n', c->in.len);
  if (!nl) {
    if (c->in.len > MAX_LINE)
      conn_close(c);
    return;
  }
  size_t len = (size_t)(nl - c->in.data);
  char *line = strndup(c->in.data, len);
  cxb_buf_consume(&c->in, len + 1);
  if (line)
    dispatch(c, line, len);
  free(line);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
  (void)suggested;
  conn *c = h->data;
  *buf = cxb_buf_reserve(&c->in, 4096) ? uv_buf_init(NULL, 0)
                                       : uv_buf_init(c->in.data + c->in.len, 4096);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  (void)buf;
  conn *c = s->data;
  if (n < 0) {
    conn_close(c);
    return;
  }
  c->in.len += (size_t)n;
  next_line(c);
}

static void on_connection(uv_stream_t *server, int status) {
  conn *c = status == 0 ? calloc(1, sizeof *c) : NULL;
  if (!c)
    return;
  c->refs = 1;
  c->pipe.data = c;
  uv_pipe_init(cxb_loop(), &c->pipe, 0);
  c->pipe.data = c;
  if (uv_accept(server, (uv_stream_t *)&c->pipe) != 0 ||
      uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) != 0)
    conn_close(c);
}

int cxb_control_listen(const char *addr, int mode, char *why, size_t why_len) {
  const char *path = strncmp(addr, "unix:", 5) == 0 ? addr + 5 : NULL;
  if (!path || strlen(path) >= sizeof files[0].path || listener_count == LISTENERS) {
    snprintf(why, why_len, "listen: control socket %s: unix:/path (< 108 bytes) is expected", addr);
    return CXB_EINVAL;
  }
  uv_pipe_t *l = &listeners[listener_count];
  uv_pipe_init(cxb_loop(), l, 0);
  int rc = cxb_unix_bind(l, path, mode, &files[listener_count]);
  if (rc == 0)
    rc = uv_listen((uv_stream_t *)l, 16, on_connection);
  if (rc != 0) {
    snprintf(why, why_len, "listen: %s: %s", addr, uv_strerror(rc));
    uv_close((uv_handle_t *)l, NULL);
    return CXB_EIO;
  }
  listener_count++;
  return 0;
}

void cxb_control_close(void) {
  for (int i = 0; i < listener_count; i++) {
    cxb_unix_remove(&files[i]);
    uv_close((uv_handle_t *)&listeners[i], NULL);
  }
  listener_count = 0;
}
