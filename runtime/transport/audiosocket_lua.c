/* Where AudioSocket calls come in: a TCP listener on the main loop. A stream takes the call slot,
 * before anything is read of it, and becomes a call of service.audiosocket(leg); without a free
 * slot it gets the wire's goodbye. */
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/err.h"
#include "../host/call_lost.h"
#include "../host/host.h"
#include "../host/process.h"
#include "../host/slot.h"
#include "../host/tcp_bind.h"
#include "../observe/log.h"
#include "../observe/metrics.h"
#include "leg_lua.h"

enum { BACKLOG = 64, REFUSED_MS = 1000 };

static uv_tcp_t listener;
static bool listening;
static int media_timeout_s; /* of its calls; 0: the default */

/* ---- no place for it ---- */

typedef struct refusal {
  uv_tcp_t tcp;
  uv_timer_t timer;
  uv_shutdown_t shutdown;
  int open;
  char piece[4096];
} refusal;

static void on_closed(uv_handle_t *handle) {
  refusal *r = handle->data;
  if (--r->open == 0)
    free(r);
}

static void end_refusal(refusal *r) {
  if (uv_is_closing((uv_handle_t *)&r->tcp))
    return;
  uv_close((uv_handle_t *)&r->tcp, on_closed);
  uv_close((uv_handle_t *)&r->timer, on_closed);
}

static void on_late(uv_timer_t *timer) {
  end_refusal(timer->data);
}

static void on_room(uv_handle_t *handle, size_t hint, uv_buf_t *buf) {
  refusal *r = handle->data;
  (void)hint;
  *buf = uv_buf_init(r->piece, sizeof r->piece);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  (void)buf;
  if (n < 0)
    end_refusal(stream->data);
}

static void on_shutdown(uv_shutdown_t *request, int status) {
  (void)request;
  (void)status;
}

/* Says goodbye, then reads until the far end has closed: a close with bytes unread would take our
 * own last bytes along. */
static void refuse(refusal *r, const char *reason) {
  static char goodbye[3];
  char labels[64];
  snprintf(labels, sizeof labels, "reason=\"%s\"", reason);
  cxb_metric_add("cxb_calls_refused_total", labels, 1);
  uv_buf_t buf = uv_buf_init(goodbye, sizeof goodbye);
  uv_stream_t *stream = (uv_stream_t *)&r->tcp;
  if (uv_try_write(stream, &buf, 1) != (int)sizeof goodbye ||
      uv_shutdown(&r->shutdown, stream, on_shutdown) != 0 ||
      uv_read_start(stream, on_room, on_read) != 0)
    end_refusal(r);
}

/* ---- a call ---- */

static void on_task_end(void *arg, bool ok, lua_State *co, int n, const char *error) {
  (void)arg;
  (void)co;
  (void)n;
  if (!ok) {
    cxb_task *task = cxb_task_ending();
    cxb_log_failure(cxb_generation_number(cxb_task_generation(task)), cxb_task_tags(task),
                    cxb_task_reason(task), NULL, error);
    cxb_call_lost(task, error);
  }
  cxb_slot_release();
}

/* The slot is taken; the task gives it back. Takes fd. */
static int begin(cxb_generation *gen, int fd) {
  lua_State *L = cxb_generation_state(gen);
  cxb_call *c;
  if (!cxb_generation_push_service(gen, L, "audiosocket")) {
    close(fd);
    return CXB_ENOENT;
  }
  int err = cxb_call_new(L, gen, &cxb_serializer_audiosocket, media_timeout_s, &c);
  if (err) {
    close(fd);
    lua_pop(L, 1);
    return err;
  }
  err = cxb_leg_accept_tcp(cxb_call_media(), c->session, c->ser, NULL, fd, &c->counts);
  if (err) {
    cxb_call_end(c);
    lua_pop(L, 2);
    return err;
  }
  cxb_call_hold_slot(c);
  cxb_task_start(gen, L, 1, "audiosocket", on_task_end, NULL);
  return 0;
}

static void on_connection(uv_stream_t *server, int status) {
  refusal *r = status == 0 ? calloc(1, sizeof *r) : NULL;
  if (!r)
    return;
  uv_tcp_init(cxb_loop(), &r->tcp);
  uv_timer_init(cxb_loop(), &r->timer);
  r->tcp.data = r->timer.data = r;
  r->open = 2;
  uv_timer_start(&r->timer, on_late, REFUSED_MS, 0);
  const char *reason = "starting";
  cxb_generation *gen = cxb_generation_current();
  uv_os_fd_t fd;
  if (uv_accept(server, (uv_stream_t *)&r->tcp) != 0 ||
      uv_fileno((uv_handle_t *)&r->tcp, &fd) != 0) {
    end_refusal(r);
  } else if (!gen || cxb_slot_take(&reason) != 0) {
    refuse(r, reason);
  } else {
    int own = dup(fd);
    if (own < 0 || begin(gen, own) != 0) {
      cxb_slot_release();
      refuse(r, "internal");
    } else {
      end_refusal(r);
    }
  }
}

/* ---- module ---- */

static int listen_hook(lua_State *L, int entry, const char *addr, char *why, size_t why_len) {
  if (listening || strncmp(addr, "tcp:", 4) != 0) {
    snprintf(why, why_len, "listen: %s: one tcp:HOST:PORT is expected for AudioSocket", addr);
    return CXB_EINVAL;
  }
  lua_getfield(L, entry, "media_timeout_s");
  media_timeout_s = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  uv_tcp_init(cxb_loop(), &listener);
  listening = true;
  int rc = cxb_tcp_bind(&listener, addr + 4);
  if (rc == 0)
    rc = uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection);
  if (rc == 0)
    return 0;
  snprintf(why, why_len, "listen: %s: %s", addr, uv_strerror(rc));
  return rc == UV_EADDRINUSE ? CXB_EBUSY : CXB_EIO;
}

static int start(uv_loop_t *loop) {
  (void)loop;
  cxb_process_listen_audiosocket = listen_hook;
  return 0;
}

static void stop(void) {
  if (listening)
    uv_close((uv_handle_t *)&listener, NULL);
  listening = false;
}

const cxb_module cxb_audiosocket_module = {.name = "audiosocket", .start = start, .stop = stop};
