/* Outgoing WebSockets: name → address → socket → TLS → request → answer. Each step has the same
 * deadline; addresses are tried one after another, IPv4 first. */
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "ws_handshake.h"
#include "ws_internal.h"
#include "ws_url.h"

enum { MAX_ADDRESSES = 8, MAX_HEAD = 16384, DEFAULT_TIMEOUT_MS = 10000 };

typedef struct cxb_ws_attempt {
  cxb_ws *ws;
  cxb_ws_url url;
  char *url_text, *protocol, *headers;
  uv_getaddrinfo_t dns;
  uv_connect_t connect;
  struct sockaddr_storage address[MAX_ADDRESSES];
  int addresses, next;
  int timeout_ms;
  bool resolving, secure, dropped;
  char key[CXB_WS_KEY_LEN];
  cxb_buf head; /* of the answer */
} cxb_ws_attempt;

static void try_next(cxb_ws_attempt *a);

void cxb_ws_attempt_free(cxb_ws_attempt *a) {
  if (!a)
    return;
  cxb_buf_free(&a->head);
  free(a->url_text);
  free(a->protocol);
  free(a->headers);
  free(a);
}

static void fail(cxb_ws_attempt *a, int code, const char *what, const char *detail) {
  char reason[120];
  snprintf(reason, sizeof reason, "%s: %s", what, detail);
  cxb_ws_note_end(a->ws, code, reason);
  cxb_ws_end_soon(a->ws);
}

/* ---- answer ---- */

static void become_open(cxb_ws *ws, size_t head_len) {
  cxb_ws_attempt *a = ws->attempt;
  ws->early_len = a->head.len - head_len;
  if (ws->early_len) {
    ws->early = malloc(ws->early_len);
    if (!ws->early) {
      fail(a, 1006, "closed", "out of memory");
      return;
    }
    memcpy(ws->early, a->head.data + head_len, ws->early_len);
  }
  ws->attempt = NULL;
  cxb_ws_attempt_free(a);
  uv_read_stop(&ws->u.stream);
  cxb_ws_opened(ws);
  if (ws->state != WS_ENDED)
    cxb_ws_stream_begin(ws);
}

static void on_answer_bytes(cxb_ws *ws, const uint8_t *data, size_t len) {
  cxb_ws_attempt *a = ws->attempt;
  if (cxb_buf_add(&a->head, data, len)) {
    fail(a, 1006, "closed", "out of memory");
    return;
  }
  const char *end = memmem(a->head.data, a->head.len, "\r\n\r\n", 4);
  if (!end) {
    if (a->head.len > MAX_HEAD)
      fail(a, 1006, "closed", "the answer's header is too long");
    return;
  }
  size_t head_len = (size_t)(end + 4 - a->head.data);
  int status = cxb_ws_check_answer(a->head.data, head_len, a->key, a->protocol);
  if (status == 101) {
    become_open(ws, head_len);
  } else if (status > 0) {
    char text[32];
    snprintf(text, sizeof text, "HTTP status %d", status);
    fail(a, status, "refused", text);
  } else {
    fail(a, 1006, "closed", "the answer is no WebSocket handshake");
  }
}

static void send_request(cxb_ws_attempt *a) {
  cxb_buf request = {0};
  int err = cxb_ws_request(&request, &a->url, a->headers, a->protocol, a->key);
  if (!err)
    err = cxb_ws_stream_bytes(a->ws, request.data, request.len);
  cxb_buf_free(&request);
  if (err)
    fail(a, 1006, "closed", "the request could not be sent");
}

/* ---- TLS ---- */

/* Moves the handshake on; plain bytes that follow it are the answer. */
static void tls_step(cxb_ws_attempt *a) {
  cxb_ws *ws = a->ws;
  char why[96];
  int r = a->secure ? 1 : cxb_ws_tls_handshake(ws->tls, why, sizeof why);
  if (cxb_ws_stream_flush_tls(ws)) {
    fail(a, 1006, "closed", "the connection was lost");
  } else if (r < 0) {
    fail(a, 1006, "tls", why);
  } else if (r > 0 && !a->secure) {
    a->secure = true;
    send_request(a);
  }
}

/* Plain bytes go to whoever is there: the attempt, or the open WebSocket once it has become one. */
static void tls_answer(cxb_ws *ws) {
  uint8_t plain[4096];
  ssize_t n = 1;
  while (n > 0 && ws->attempt && ws->state == WS_CONNECTING) {
    n = cxb_ws_tls_read(ws->tls, plain, sizeof plain);
    if (n > 0)
      on_answer_bytes(ws, plain, (size_t)n);
  }
  if (n < 0 && ws->attempt && ws->state == WS_CONNECTING)
    fail(ws->attempt, 1006, "closed", "the peer closed the connection");
}

/* ---- socket ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  cxb_ws *ws = handle->data;
  (void)suggested;
  *buf = uv_buf_init((char *)ws->ctx->read_buf, CXB_WS_READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  cxb_ws *ws = stream->data;
  cxb_ws_attempt *a = ws->attempt;
  if (ws->state != WS_CONNECTING || n == 0)
    return;
  if (n < 0) {
    fail(a, 1006, "closed", "the peer closed the connection");
  } else if (!ws->tls) {
    on_answer_bytes(ws, (const uint8_t *)buf->base, (size_t)n);
  } else if (cxb_ws_tls_push(ws->tls, (const uint8_t *)buf->base, (size_t)n)) {
    fail(a, 1006, "closed", "out of memory");
  } else {
    tls_step(a);
    if (a->secure && ws->state == WS_CONNECTING)
      tls_answer(ws);
  }
}

static int start_tls(cxb_ws_attempt *a) {
  cxb_ws_context *ctx = a->ws->ctx;
  int err = ctx->tls ? 0 : cxb_ws_tls_context_new(&ctx->tls);
  return err ? err : cxb_ws_tls_new(ctx->tls, a->url.host, &a->ws->tls);
}

static void on_failed_closed(uv_handle_t *handle) {
  cxb_ws *ws = handle->data;
  ws->handles--;
  if (ws->attempt && !ws->attempt->dropped)
    try_next(ws->attempt);
  else
    cxb_ws_stream_dispose(ws);
}

/* This address did not work: the next one, or the end. */
static void give_up_address(cxb_ws_attempt *a, int status) {
  cxb_ws *ws = a->ws;
  if (a->next >= a->addresses) {
    fail(a, 1006, "refused", uv_strerror(status));
    return;
  }
  ws->has_stream = false;
  uv_close(&ws->u.handle, on_failed_closed);
}

static void on_connected(uv_connect_t *req, int status) {
  cxb_ws_attempt *a = req->data;
  cxb_ws *ws = a->ws;
  if (ws->state != WS_CONNECTING)
    return;
  if (status < 0) {
    give_up_address(a, status);
    return;
  }
  if (!ws->ctx->read_buf)
    ws->ctx->read_buf = malloc(CXB_WS_READ_SIZE);
  if (!ws->ctx->read_buf || uv_read_start(&ws->u.stream, on_alloc, on_read) ||
      (a->url.tls && start_tls(a)))
    fail(a, 1006, "closed", "the connection could not be used");
  else if (a->url.tls)
    tls_step(a);
  else
    send_request(a);
}

static void try_next(cxb_ws_attempt *a) {
  cxb_ws *ws = a->ws;
  a->connect.data = a;
  ws->handles++;
  ws->has_stream = true;
  if (a->url.is_unix) {
    uv_pipe_init(ws->ctx->loop, &ws->u.pipe, 0);
    ws->u.handle.data = ws;
    uv_pipe_connect(&a->connect, &ws->u.pipe, a->url.host, on_connected);
    return;
  }
  const struct sockaddr *address = (const struct sockaddr *)&a->address[a->next++];
  uv_tcp_init(ws->ctx->loop, &ws->u.tcp);
  ws->u.handle.data = ws;
  int err = uv_tcp_connect(&a->connect, &ws->u.tcp, address, on_connected);
  if (err)
    give_up_address(a, err);
  else
    uv_tcp_nodelay(&ws->u.tcp, 1);
}

/* ---- name ---- */

static void take_addresses(cxb_ws_attempt *a, const struct addrinfo *list, int family) {
  for (const struct addrinfo *i = list; i && a->addresses < MAX_ADDRESSES; i = i->ai_next) {
    if (i->ai_family != family)
      continue;
    struct sockaddr_storage *to = &a->address[a->addresses++];
    memcpy(to, i->ai_addr, i->ai_addrlen);
    if (family == AF_INET)
      ((struct sockaddr_in *)to)->sin_port = htons((uint16_t)a->url.port);
    else
      ((struct sockaddr_in6 *)to)->sin6_port = htons((uint16_t)a->url.port);
  }
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list) {
  cxb_ws_attempt *a = req->data;
  cxb_ws *ws = a->ws;
  a->resolving = false;
  if (a->dropped) {
    uv_freeaddrinfo(list);
    cxb_ws_attempt_free(a);
    ws->attempt = NULL;
    cxb_ws_stream_dispose(ws);
    return;
  }
  take_addresses(a, list, AF_INET);
  take_addresses(a, list, AF_INET6);
  uv_freeaddrinfo(list);
  if (ws->state != WS_CONNECTING)
    return;
  if (a->addresses == 0)
    fail(a, 1006, "resolve", status ? uv_strerror(status) : "no address");
  else
    try_next(a);
}

static void on_deadline(uv_timer_t *timer) {
  cxb_ws *ws = timer->data;
  cxb_ws_note_end(ws, 1006, "timeout: no answer in time");
  cxb_ws_ended(ws);
}

static void connect_start(cxb_ws *ws) {
  cxb_ws_attempt *a = ws->attempt;
  uv_timer_start(&ws->timer, on_deadline, (uint64_t)a->timeout_ms, 0);
  if (a->url.is_unix) {
    try_next(a);
    return;
  }
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  a->dns.data = a;
  int err = uv_getaddrinfo(ws->ctx->loop, &a->dns, on_resolved, a->url.host, NULL, &hints);
  if (err)
    fail(a, 1006, "resolve", uv_strerror(err));
  else
    a->resolving = true;
}

bool cxb_ws_attempt_drop(cxb_ws *ws) {
  cxb_ws_attempt *a = ws->attempt;
  a->dropped = true;
  if (a->resolving) {
    uv_cancel((uv_req_t *)&a->dns);
    return true; /* on_resolved() goes on */
  }
  /* Else it is freed with the handles: a connect request may still name it. */
  return !ws->has_stream && ws->handles > 1; /* on_failed_closed() goes on */
}

int cxb_ws_connect(cxb_ws_context *ctx, const char *url, const char *headers, const char *protocol,
                   int timeout_ms, const cxb_ws_limits *limits, const cxb_ws_handler *handler,
                   void *user, cxb_ws **out) {
  if (ctx->closing)
    return CXB_ECLOSED;
  cxb_ws *ws = calloc(1, sizeof *ws);
  cxb_ws_attempt *a = calloc(1, sizeof *a);
  if (!ws || !a) {
    free(ws);
    free(a);
    return CXB_ENOMEM;
  }
  a->ws = ws;
  a->url_text = strdup(url);
  a->protocol = protocol ? strdup(protocol) : NULL;
  a->headers = headers ? strdup(headers) : NULL;
  a->timeout_ms = timeout_ms > 0 ? timeout_ms : DEFAULT_TIMEOUT_MS;
  bool complete = a->url_text && (!protocol || a->protocol) && (!headers || a->headers);
  int err = complete ? cxb_ws_url_parse(a->url_text, &a->url) : CXB_ENOMEM;
  if (err) {
    cxb_ws_attempt_free(a);
    free(ws);
    return err;
  }
  ws->attempt = a;
  ws->parser.from_server = true;
  cxb_ws_init(ws, ctx, connect_start, limits, handler, user);
  *out = ws;
  return 0;
}
