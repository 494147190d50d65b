/* HTTP server: listeners, connections, parsing, deadlines. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/err.h"
#include "../base/time.h"
#include "../host/host.h"
#include "../host/unix_path.h"
#include "http_internal.h"

enum { LISTENERS = 8, BACKLOG = 511, READ_CHUNK = 16384, MAX_CONNECTIONS = 8192, SWEEP_MS = 500 };
enum { MAX_URL = 32768 }; /* beside max_head: a call's connected_event travels in one */

typedef struct listener {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  char path[108];
  bool unix_socket, open;
} listener;

static listener listeners[LISTENERS];
static int listener_count;
static cxb_http_conn *conns;
static int conn_count, active;
static size_t max_head = 16384;
#define DEFAULT_TIMES                                                                              \
  { 75000, 10000, 15000, 30000, 2000 }
static cxb_http_times times = DEFAULT_TIMES;
static uv_timer_t sweep;
static bool sweeping, stopped;
cxb_http_handler cxb_http_on_request;

static void parse(cxb_http_conn *c);

void cxb_http_set_handler(cxb_http_handler handler) {
  cxb_http_on_request = handler;
}

void cxb_http_set_max_head(size_t bytes) {
  max_head = bytes;
}

void cxb_http_set_times(const cxb_http_times *wanted) {
  times = wanted ? *wanted : (cxb_http_times)DEFAULT_TIMES;
}

int cxb_http_active(void) {
  return active;
}

int cxb_http_connections(void) {
  return conn_count;
}

int cxb_http_count_change(int by) {
  return active += by;
}

int64_t cxb_http_clock(void) {
  return (int64_t)uv_now(cxb_loop());
}

static void set_deadline(cxb_http_conn *c, int64_t ms) {
  c->deadline_ms = cxb_http_clock() + ms;
}

/* Bytes wait in libuv: some must have left by then. */
static void expect_progress(cxb_http_conn *c) {
  c->unsent = c->stream.write_queue_size;
  set_deadline(c, times.send_ms);
}

/* ---- end of a connection ---- */

static void on_conn_closed(uv_handle_t *h) {
  cxb_http_conn *c = h->data;
  cxb_buf_free(&c->in);
  cxb_buf_free(&c->out);
  free(c);
}

void cxb_http_conn_close(cxb_http_conn *c) {
  if (c->closing)
    return;
  c->closing = true;
  if (c->prev)
    c->prev->next = c->next;
  else
    conns = c->next;
  if (c->next)
    c->next->prev = c->prev;
  conn_count--;
  cxb_http_request *req = c->req;
  c->req = NULL;
  if (req)
    cxb_http_request_detach(req);
  uv_close(&c->handle, on_conn_closed);
}

static void on_shutdown(uv_shutdown_t *req, int status) {
  cxb_http_conn *c = req->data;
  if (status != 0)
    cxb_http_conn_close(c);
}

/* Says goodbye without cutting off the answer: what the peer still sends is read and dropped. */
static void linger(cxb_http_conn *c) {
  if (c->closing || c->shut)
    return;
  c->lingering = true;
  c->shut = true;
  if (c->in_flight == 0)
    set_deadline(c, times.linger_ms);
  c->shutdown.data = c;
  if (uv_shutdown(&c->shutdown, &c->stream, on_shutdown) != 0) {
    cxb_http_conn_close(c);
    return;
  }
  cxb_http_conn_resume_reading(c);
}

/* ---- output ---- */

typedef struct write_job {
  uv_write_t req;
  cxb_http_conn *conn;
  size_t len;
  char data[];
} write_job;

static void on_written(uv_write_t *w, int status) {
  write_job *job = (write_job *)w;
  cxb_http_conn *c = job->conn;
  c->in_flight -= job->len;
  free(job);
  if (c->closing)
    return;
  if (status != 0) {
    cxb_http_conn_close(c);
    return;
  }
  cxb_http_request *req = c->req;
  if (c->in_flight > 0 || req)
    expect_progress(c);
  else if (c->lingering && c->peer_done)
    cxb_http_conn_close(c);
  else
    set_deadline(c, c->lingering ? times.linger_ms : times.idle_ms);
  if (c->closing)
    return;
  if (req && req->on_writable && c->in_flight < CXB_HTTP_WRITE_HIGH / 2) {
    void (*fn)(cxb_http_request *, void *) = req->on_writable;
    req->on_writable = NULL;
    fn(req, req->on_writable_arg);
  }
}

/* What the socket does not take at once is copied and left to libuv. */
void cxb_http_conn_flush(cxb_http_conn *c) {
  if (c->corked || c->closing || c->out.len == 0)
    return;
  size_t sent = 0;
  if (c->in_flight == 0) {
    uv_buf_t buf = uv_buf_init(c->out.data, (unsigned)c->out.len);
    int n = uv_try_write(&c->stream, &buf, 1);
    if (n < 0 && n != UV_EAGAIN) {
      cxb_http_conn_close(c);
      return;
    }
    sent = n > 0 ? (size_t)n : 0;
  }
  size_t rest = c->out.len - sent;
  if (rest > 0) {
    write_job *job = malloc(sizeof *job + rest);
    if (!job) {
      cxb_http_conn_close(c);
      return;
    }
    memcpy(job->data, c->out.data + sent, rest);
    job->conn = c;
    job->len = rest;
    c->in_flight += rest;
    uv_buf_t buf = uv_buf_init(job->data, (unsigned)rest);
    if (uv_write(&job->req, &c->stream, &buf, 1, on_written) != 0) {
      c->in_flight -= rest;
      free(job);
      cxb_http_conn_close(c);
      return;
    }
    expect_progress(c);
  }
  if (c->out.cap > 65536)
    cxb_buf_free(&c->out);
  else
    cxb_buf_clear(&c->out);
}

/* ---- parsing ---- */

/* The head lies in one piece, so pieces of one token touch; a folded header line does not and is
 * refused (RFC 9112 §5.2). */
static int extend(cxb_http_conn *c, cxb_http_span *span, bool fresh, const char *at, size_t len) {
  uint32_t offset = (uint32_t)(at - c->in.data);
  if (fresh)
    *span = (cxb_http_span){offset, (uint32_t)len};
  else if (len > 0 && offset != span->at + span->len)
    return -1;
  else
    span->len += (uint32_t)len;
  return 0;
}

static int on_url(http_parser *p, const char *at, size_t len) {
  cxb_http_conn *c = p->data;
  return extend(c, &c->req->url, c->req->url.len == 0, at, len);
}

static int on_field(http_parser *p, const char *at, size_t len) {
  cxb_http_conn *c = p->data;
  cxb_http_request *r = c->req;
  if (r->head_done)
    return 0; /* trailers of a chunked body say nothing to us */
  if (r->header_count == 0 || c->in_value) {
    if (r->header_count == CXB_HTTP_MAX_HEADERS)
      return -1;
    r->header_count++;
    c->in_value = false;
    return extend(c, &r->names[r->header_count - 1], true, at, len);
  }
  return extend(c, &r->names[r->header_count - 1], false, at, len);
}

static int on_value(http_parser *p, const char *at, size_t len) {
  cxb_http_conn *c = p->data;
  if (c->req->head_done)
    return 0;
  cxb_http_span *v = &c->req->values[c->req->header_count - 1];
  bool fresh = !c->in_value;
  c->in_value = true;
  return extend(c, v, fresh, at, len);
}

/* Bytes up to and with the empty line that ends the head. */
static size_t head_end(const cxb_http_conn *c, const cxb_http_request *r) {
  cxb_http_span last = r->header_count ? r->values[r->header_count - 1] : r->url;
  if (r->header_count && last.len == 0) /* an empty value has no place of its own */
    last = r->names[r->header_count - 1];
  const char *p = c->in.data + last.at + last.len, *end = c->in.data + c->in.len;
  for (int line = 0; line < 2 && p; line++) {
    p = memchr(p, '\n', (size_t)(end - p));
    if (p)
      p++;
  }
  return p ? (size_t)(p - c->in.data) : c->in.len;
}

/* Debian's http_parser lets blanks and more into names of headers. A blank before the colon makes
 * another server see another header, so all but RFC 9110's tokens are refused. */
static bool is_token(const char *s, size_t len) {
  static const char marks[] = "!#$%&'*+-.^_`|~";
  for (size_t i = 0; i < len; i++)
    if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
          (s[i] >= '0' && s[i] <= '9') || (s[i] && strchr(marks, s[i]))))
      return false;
  return len > 0;
}

static int on_head_done(http_parser *p) {
  cxb_http_conn *c = p->data;
  cxb_http_request *r = c->req;
  for (int i = 0; i < r->header_count; i++)
    if (!is_token(c->in.data + r->names[i].at, r->names[i].len))
      return -1;
  r->head_done = true;
  r->head_len = head_end(c, r);
  r->method = (uint8_t)p->method;
  r->http11 = p->http_major == 1 && p->http_minor >= 1;
  r->upgrade = p->upgrade;
  r->keep_alive = http_should_keep_alive(p) && !r->upgrade && !stopped;
  const char *expect = cxb_http_header(r, "expect");
  r->expect_continue = r->http11 && expect && strcasecmp(expect, "100-continue") == 0;
  set_deadline(c, times.body_ms);
  return 0;
}

static int on_body_bytes(http_parser *p, const char *at, size_t len) {
  cxb_http_request *r = ((cxb_http_conn *)p->data)->req;
  r->body_total += len;
  return cxb_buf_add(&r->body, at, len) == 0 ? 0 : -1;
}

static int on_complete(http_parser *p) {
  cxb_http_conn *c = p->data;
  c->req->complete = true;
  http_parser_pause(p, 1);
  return 0;
}

static const http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head_done,
    .on_body = on_body_bytes,
    .on_message_complete = on_complete,
};

static bool new_request(cxb_http_conn *c) {
  cxb_http_request *r = cxb_http_request_new(c);
  if (!r)
    return false;
  c->req = r;
  c->in_value = false;
  http_parser_init(&c->parser, HTTP_REQUEST);
  c->parser.data = c;
  return true;
}

static void wake_body(cxb_http_request *r) {
  if (!r->on_body || (r->body.len == 0 && !r->complete))
    return;
  void (*fn)(cxb_http_request *, void *) = r->on_body;
  r->on_body = NULL;
  fn(r, r->on_body_arg);
}

static void reject(cxb_http_conn *c, int status, const char *code) {
  c->req->keep_alive = false;
  c->req->complete = true;
  if (c->req->started)
    cxb_http_conn_close(c);
  else
    cxb_http_refuse(c->req, status, code, 0);
}

/* Body bytes were copied out; behind the head only what is not parsed stays. */
static void drop_parsed_body(cxb_http_conn *c, size_t head_len) {
  if (c->parsed <= head_len)
    return;
  size_t rest = c->in.len - c->parsed;
  memmove(c->in.data + head_len, c->in.data + c->parsed, rest);
  c->in.len = head_len + rest;
  c->parsed = head_len;
}

static bool parse_error(cxb_http_conn *c) {
  enum http_errno err = HTTP_PARSER_ERRNO(&c->parser);
  if (err == HPE_OK || err == HPE_PAUSED)
    return false;
  bool too_big = c->req->header_count == CXB_HTTP_MAX_HEADERS || err == HPE_HEADER_OVERFLOW;
  reject(c, too_big ? 431 : 400, too_big ? "headers_too_large" : "bad_request");
  return true;
}

static void dispatch(cxb_http_conn *c) {
  cxb_http_request *r = c->req;
  r->dispatched = true;
  r->began_ms = cxb_http_clock();
  r->websocket = r->upgrade && cxb_http_valid_upgrade(r);
  active++;
  cxb_http_request_ref(r);
  if (cxb_http_on_request)
    cxb_http_on_request(r);
  else
    cxb_http_refuse(r, 503, "starting", 1);
  cxb_http_request_unref(r);
}

/* Feeds what was read to the parser, one request after another, until one has to be waited for. */
static void parse(cxb_http_conn *c) {
  while (!c->closing && !c->lingering) {
    if (!c->req && (c->in.len == 0 || !new_request(c)))
      return;
    cxb_http_request *r = c->req;
    if (r->complete && r->dispatched)
      return; /* its answer comes first */
    if (c->parsed < c->in.len && !r->complete) {
      size_t n =
          http_parser_execute(&c->parser, &settings, c->in.data + c->parsed, c->in.len - c->parsed);
      c->parsed += n;
      if (parse_error(c))
        return;
    }
    if (!r->head_done) {
      if (c->in.len > max_head + MAX_URL)
        reject(c, 431, "headers_too_large");
      return;
    }
    if (!r->dispatched && r->url.len > MAX_URL) {
      reject(c, 414, "uri_too_long");
      return;
    }
    if (!r->dispatched && r->head_len - r->url.len > max_head) {
      reject(c, 431, "headers_too_large");
      return;
    }
    if (!r->upgrade)
      drop_parsed_body(c, r->head_len);
    if (!r->dispatched)
      dispatch(c);
    else
      wake_body(r);
    if (c->closing || c->req != r)
      continue;
    if (!r->complete && !r->on_body && r->body.len > CXB_HTTP_READ_STOP && c->reading) {
      uv_read_stop(&c->stream);
      c->reading = false;
    }
    if (c->parsed >= c->in.len || r->complete)
      return;
  }
}

/* ---- input ---- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
  (void)suggested;
  cxb_http_conn *c = h->data;
  if (c->lingering) {
    cxb_buf_clear(&c->in);
    c->parsed = 0;
  }
  *buf = cxb_buf_reserve(&c->in, READ_CHUNK)
             ? uv_buf_init(NULL, 0)
             : uv_buf_init(c->in.data + c->in.len, (unsigned)(c->in.cap - c->in.len - 1));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  (void)buf;
  cxb_http_conn *c = s->data;
  if (n == 0)
    return;
  if (n == UV_EOF && c->lingering && c->in_flight > 0) {
    c->peer_done = true; /* it sends no more, but may still read */
    c->reading = false;
    uv_read_stop(&c->stream);
    return;
  }
  if (n < 0) {
    cxb_http_conn_close(c);
    return;
  }
  if (c->lingering)
    return;
  if (!c->req && c->in.len == 0)
    set_deadline(c, times.head_ms);
  c->in.len += (size_t)n;
  c->in.data[c->in.len] = '\0';
  c->corked = true;
  parse(c);
  c->corked = false;
  /* A peer that sends on behind a request that is being answered is held back. */
  if (!c->closing && c->reading && c->in.len - c->parsed > CXB_HTTP_READ_STOP) {
    uv_read_stop(&c->stream);
    c->reading = false;
  }
  cxb_http_conn_flush(c);
}

void cxb_http_conn_resume_reading(cxb_http_conn *c) {
  if (c->closing || c->reading)
    return;
  c->reading = uv_read_start(&c->stream, on_alloc, on_read) == 0;
  if (!c->reading)
    cxb_http_conn_close(c);
}

void cxb_http_conn_request_done(cxb_http_conn *c) {
  cxb_http_request *r = c->req;
  bool keep = r->keep_alive && r->complete && !stopped;
  size_t used = c->parsed;
  c->req = NULL;
  r->conn = NULL;
  if (r->refs > 1)
    cxb_http_request_detach(r);
  else
    cxb_http_request_unref(r);
  if (!keep) {
    bool corked = c->corked;
    c->corked = false;
    cxb_http_conn_flush(c);
    c->corked = corked;
    linger(c);
    return;
  }
  cxb_buf_consume(&c->in, used);
  c->parsed = 0;
  if (c->in.len == 0 && c->in.cap > 65536)
    cxb_buf_free(&c->in);
  set_deadline(c, c->in.len ? times.head_ms : times.idle_ms);
  cxb_http_conn_resume_reading(c);
  if (!c->corked && c->in.len > 0 && !c->closing) {
    c->corked = true;
    parse(c);
    c->corked = false;
    cxb_http_conn_flush(c);
  }
}

/* ---- deadlines ---- */

/* Which phases have one: idle, head, body that nobody delivers, output that nobody takes. */
static void check_deadline(cxb_http_conn *c, int64_t now) {
  if (now < c->deadline_ms)
    return;
  if (c->in_flight > 0 && c->stream.write_queue_size < c->unsent) {
    expect_progress(c);
    return;
  }
  cxb_http_request *r = c->req;
  bool answering = r && r->dispatched && r->complete;
  if (answering && c->in_flight == 0)
    return; /* the handler's own time */
  if (r && r->dispatched && !r->complete && c->in_flight == 0) {
    bool slow = r->body_total - c->body_mark < (uint64_t)(1024 * times.body_ms / 1000);
    bool wanted = c->reading;
    c->body_mark = r->body_total;
    set_deadline(c, times.body_ms);
    if (!slow || !wanted)
      return;
    reject(c, 408, "request_timeout");
    return;
  }
  cxb_http_conn_close(c);
}

static void on_sweep(uv_timer_t *t) {
  (void)t;
  int64_t now = cxb_http_clock();
  for (cxb_http_conn *c = conns, *next; c; c = next) {
    next = c->next;
    check_deadline(c, now);
  }
}

/* ---- listeners ---- */

static void name_peer(cxb_http_conn *c, char *out, size_t len, bool unix_socket) {
  struct sockaddr_storage ss;
  int n = sizeof ss;
  snprintf(out, len, "unix");
  if (unix_socket)
    return;
  snprintf(out, len, "?");
  if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&ss, &n) == 0)
    uv_ip_name((struct sockaddr *)&ss, out, len);
}

const char *cxb_http_remote(const cxb_http_request *req) {
  cxb_http_request *r = (cxb_http_request *)req;
  if (!r->remote[0] && r->conn)
    name_peer(r->conn, r->remote, sizeof r->remote, r->conn->handle.type == UV_NAMED_PIPE);
  return r->remote;
}

static void on_connection(uv_stream_t *server, int status) {
  listener *l = server->data;
  cxb_http_conn *c = status == 0 ? calloc(1, sizeof *c) : NULL;
  if (!c)
    return;
  if (l->unix_socket)
    uv_pipe_init(cxb_loop(), &c->pipe, 0);
  else
    uv_tcp_init(cxb_loop(), &c->tcp);
  c->handle.data = c;
  c->next = conns;
  if (conns)
    conns->prev = c;
  conns = c;
  conn_count++;
  set_deadline(c, times.head_ms);
  if (uv_accept(server, &c->stream) != 0 || conn_count > MAX_CONNECTIONS) {
    cxb_http_conn_close(c);
    return;
  }
  if (!l->unix_socket)
    uv_tcp_nodelay(&c->tcp, 1);
  cxb_http_conn_resume_reading(c);
}

static int bind_unix(listener *l, const char *path, int mode) {
  uv_pipe_init(cxb_loop(), &l->pipe, 0);
  l->unix_socket = true;
  snprintf(l->path, sizeof l->path, "%s", path);
  cxb_unix_path_clear(path);
  int rc = uv_pipe_bind(&l->pipe, path);
  if (rc == 0 && chmod(path, (mode_t)mode) != 0)
    rc = -errno;
  return rc;
}

static int bind_tcp(listener *l, const char *text) {
  uv_tcp_init(cxb_loop(), &l->tcp);
  char host[64];
  const char *colon = strrchr(text, ':');
  size_t n = colon ? (size_t)(colon - text) : 0;
  if (!colon || n >= sizeof host)
    return UV_EINVAL;
  memcpy(host, text, n);
  host[n] = '\0';
  char *end;
  long port = strtol(colon + 1, &end, 10);
  if (end == colon + 1 || *end || port < 0 || port > 65535)
    return UV_EINVAL;
  struct sockaddr_storage ss;
  int rc = host[0] == '[' && n > 2
               ? (host[n - 1] = '\0', uv_ip6_addr(host + 1, (int)port, (struct sockaddr_in6 *)&ss))
               : uv_ip4_addr(host, (int)port, (struct sockaddr_in *)&ss);
  return rc ? rc : uv_tcp_bind(&l->tcp, (struct sockaddr *)&ss, 0);
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
  if ((!is_unix && !is_tcp) || (is_unix && strlen(addr + 5) >= sizeof listeners[0].path) ||
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
  if (!sweeping) {
    sweeping = true;
    uv_timer_init(cxb_loop(), &sweep);
    uv_timer_start(&sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    uv_unref((uv_handle_t *)&sweep);
  }
  return 0;
}

void cxb_http_stop_listening(void) {
  stopped = true;
  for (int i = 0; i < listener_count; i++) {
    if (!listeners[i].open)
      continue;
    listeners[i].open = false;
    uv_close(&listeners[i].handle, NULL);
    if (listeners[i].unix_socket)
      unlink(listeners[i].path);
  }
  for (cxb_http_conn *c = conns, *next; c; c = next) {
    next = c->next;
    if (!c->req && c->in.len == 0)
      cxb_http_conn_close(c);
  }
}

void cxb_http_close_all(void) {
  cxb_http_stop_listening();
  while (conns)
    cxb_http_conn_close(conns);
  if (sweeping && !uv_is_closing((uv_handle_t *)&sweep))
    uv_close((uv_handle_t *)&sweep, NULL);
  cxb_http_request_free_spare();
}
