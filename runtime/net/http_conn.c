/* HTTP server: connections, their input, output and deadlines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../host/host.h"
#include "http_internal.h"

enum { READ_CHUNK = 16384, MAX_CONNECTIONS = 8192, SWEEP_MS = 500 };

static cxb_http_conn *conns;
static int conn_count, active;
#define DEFAULT_TIMES                                                                              \
  { 75000, 10000, 15000, 30000, 2000 }
static cxb_http_times times = DEFAULT_TIMES;
static uv_timer_t sweep;
static uv_prepare_t turn_end;
static bool sweeping, stopped;

void cxb_http_set_times(const cxb_http_times *wanted) {
  times = wanted ? *wanted : (cxb_http_times)DEFAULT_TIMES;
}

/* An answer that its peer is still taking is not over, though its request is. */
int cxb_http_active(void) {
  int unsent = 0;
  for (const cxb_http_conn *c = conns; c; c = c->next)
    unsent += !c->req && (c->in_flight > 0 || c->out.len > 0);
  return active + unsent;
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

bool cxb_http_stopping(void) {
  return stopped;
}

static void set_deadline(cxb_http_conn *c, int64_t ms) {
  c->deadline_ms = cxb_http_clock() + ms;
}

void cxb_http_conn_expect_body(cxb_http_conn *c) {
  set_deadline(c, times.body_ms);
}

void cxb_http_conn_stop_reading(cxb_http_conn *c) {
  if (c->reading)
    uv_read_stop(&c->stream);
  c->reading = false;
}

/* Bytes wait in libuv: some must have left by then. */
static void expect_progress(cxb_http_conn *c) {
  c->unsent = c->stream.write_queue_size;
  set_deadline(c, times.send_ms);
}

/* ---- end of a connection ---- */

static void forget_gathered(cxb_http_conn *c);

static void on_conn_closed(uv_handle_t *h) {
  cxb_http_conn *c = h->data;
  cxb_buf_free(&c->in);
  cxb_buf_free(&c->out);
  free(c);
}

void cxb_http_conn_close(cxb_http_conn *c) {
  if (c->gathered) {
    forget_gathered(c);
    cxb_http_conn_push(c);
  }
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
  else if (stopped && !c->lingering && c->in.len == 0)
    linger(c);
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
static void send_out(cxb_http_conn *c) {
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

void cxb_http_conn_push(cxb_http_conn *c) {
  bool corked = c->corked;
  c->corked = false;
  send_out(c);
  c->corked = corked;
}

/* What is written in one turn of the loop leaves together: one by one, each answer would wake the
 * proxy that waits for them all, which costs more than the answer. Nothing waits longer
 * than GATHER_NS and the slice of a task that runs then. */
enum { GATHER = 32, GATHER_BYTES = 65536, GATHER_NS = 1000000 };
static cxb_http_conn *gathered[GATHER];
static int gathered_count;
static uint64_t gathered_at;

static void forget_gathered(cxb_http_conn *c) {
  int i = 0;
  while (gathered[i] != c)
    i++;
  gathered[i] = gathered[--gathered_count];
  c->gathered = false;
}

/* One whose peer has gone is closed here, and who hears of that may write to others. */
static void send_gathered(void) {
  while (gathered_count > 0) {
    cxb_http_conn *c = gathered[0];
    forget_gathered(c);
    send_out(c);
  }
}

static void on_turn_end(uv_prepare_t *handle) {
  (void)handle;
  send_gathered();
}

void cxb_http_conn_flush(cxb_http_conn *c) {
  if (c->corked || c->closing || c->out.len == 0)
    return;
  if (c->out.len > GATHER_BYTES) {
    send_out(c);
    return;
  }
  uint64_t now = uv_hrtime();
  if (gathered_count == 0)
    gathered_at = now;
  if (!c->gathered)
    gathered[gathered_count++] = c;
  c->gathered = true;
  if (gathered_count == GATHER || now - gathered_at > GATHER_NS)
    send_gathered();
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
  cxb_http_parse(c);
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
  cxb_http_request_detach(r);
  if (!keep) {
    cxb_http_conn_push(c);
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
    cxb_http_parse(c);
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
    cxb_http_parse_reject(c, 408, "request_timeout", "The body came too slowly.");
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
  if (!conns)
    uv_timer_stop(&sweep);
}

/* ---- beginning and end ---- */

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
  cxb_http_conn *c = r->conn;
  if (!r->remote[0] && c) {
    if (!c->peer[0])
      name_peer(c, c->peer, sizeof c->peer, c->handle.type == UV_NAMED_PIPE);
    memcpy(r->remote, c->peer, sizeof r->remote);
  }
  return r->remote;
}

static void start_sweep(void) {
  if (!sweeping) {
    uv_timer_init(cxb_loop(), &sweep);
    uv_prepare_init(cxb_loop(), &turn_end);
    uv_prepare_start(&turn_end, on_turn_end);
    uv_unref((uv_handle_t *)&turn_end);
    sweeping = true;
  }
  if (!uv_is_active((uv_handle_t *)&sweep))
    uv_timer_start(&sweep, on_sweep, SWEEP_MS, SWEEP_MS);
  uv_unref((uv_handle_t *)&sweep);
}

void cxb_http_conn_accept(uv_stream_t *server, bool unix_socket) {
  cxb_http_conn *c = calloc(1, sizeof *c);
  if (!c)
    return;
  if (unix_socket)
    uv_pipe_init(cxb_loop(), &c->pipe, 0);
  else
    uv_tcp_init(cxb_loop(), &c->tcp);
  start_sweep();
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
  if (!unix_socket)
    uv_tcp_nodelay(&c->tcp, 1);
  cxb_http_conn_resume_reading(c);
}

void cxb_http_conn_stop_all(bool now) {
  stopped = true;
  send_gathered(); /* what the sockets do not take is in flight then */
  for (cxb_http_conn *c = conns, *next; c; c = next) {
    next = c->next;
    if (now || (!c->req && c->in.len == 0 && c->in_flight == 0))
      cxb_http_conn_close(c);
  }
  if (now && sweeping && !uv_is_closing((uv_handle_t *)&sweep)) {
    uv_close((uv_handle_t *)&sweep, NULL);
    uv_close((uv_handle_t *)&turn_end, NULL);
  }
}
