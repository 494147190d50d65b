/* HTTP server: the sockets it listens on. */
#include <stdio.h>
#include <string.h>

#include "../base/err.h"
#include "../host/host.h"
#include "../host/tcp_bind.h"
#include "../host/unix_path.h"
#include "http_internal.h"

enum { LISTENERS = 8, BACKLOG = 511 };

typedef struct listener {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  cxb_unix_file file;
  bool unix_socket, open;
} listener;

static listener listeners[LISTENERS];
static int listener_count;

static void on_connection(uv_stream_t *server, int status) {
  listener *l = server->data;
  if (status == 0)
    cxb_http_conn_accept(server, l->unix_socket);
}

static int bind_unix(listener *l, const char *path, int mode) {
  uv_pipe_init(cxb_loop(), &l->pipe, 0);
  l->unix_socket = true;
  return cxb_unix_bind(&l->pipe, path, mode, &l->file);
}

static int bind_tcp(listener *l, const char *text) {
  uv_tcp_init(cxb_loop(), &l->tcp);
  return cxb_tcp_bind(&l->tcp, text);
}

static int bound_port(listener *l) {
  struct sockaddr_storage ss;
  int n = sizeof ss;
  if (l->unix_socket || uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&ss, &n) != 0)
    return 0;
  return ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
                                        : ((struct sockaddr_in *)&ss)->sin_port);
}

int cxb_http_listen(const char *addr, int mode, int *port, char *why, size_t why_len) {
  bool is_unix = strncmp(addr, "unix:", 5) == 0, is_tcp = strncmp(addr, "tcp:", 4) == 0;
  if ((!is_unix && !is_tcp) || (is_unix && strlen(addr + 5) >= sizeof listeners[0].file.path) ||
      listener_count == LISTENERS) {
    snprintf(why, why_len,
             "listen: %s: unix:/path (< 108 bytes) or tcp:HOST:PORT is expected, at most %d", addr,
             LISTENERS);
    return CXB_EINVAL;
  }
  listener *l = &listeners[listener_count];
  *l = (listener){0};
  int rc = is_unix ? bind_unix(l, addr + 5, mode) : bind_tcp(l, addr + 4);
  l->handle.data = l;
  if (rc == 0)
    rc = uv_listen(&l->stream, BACKLOG, on_connection);
  if (rc != 0) {
    snprintf(why, why_len, "listen: %s: %s", addr, uv_strerror(rc));
    uv_close(&l->handle, NULL);
    uv_run(cxb_loop(), UV_RUN_NOWAIT);
    return rc == UV_EADDRINUSE ? CXB_EBUSY : CXB_EIO;
  }
  l->open = true;
  listener_count++;
  if (port)
    *port = bound_port(l);
  return 0;
}

void cxb_http_stop_listening(void) {
  for (int i = 0; i < listener_count; i++) {
    if (!listeners[i].open)
      continue;
    listeners[i].open = false;
    if (listeners[i].unix_socket)
      cxb_unix_remove(&listeners[i].file);
    uv_close(&listeners[i].handle, NULL);
  }
  cxb_http_conn_stop_all(false);
}

void cxb_http_close_all(void) {
  cxb_http_stop_listening();
  cxb_http_conn_stop_all(true);
  cxb_http_request_free_spare();
}
