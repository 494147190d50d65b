/* waits: 15 */
/* WebSockets against independent peers over real sockets (spec/c/ws_peer.py), and the frame parser
 * by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "net/ws.h"
#include "net/ws_frame.h"
#include "net/ws_url.h"
#include "net_peer.h"

/* ---- frame parser ---- */

typedef struct heard {
  char text[4096];
  size_t len;
  int messages, controls;
} heard;

static bool heard_message(void *arg, bool binary, const uint8_t *data, size_t len) {
  heard *h = arg;
  h->messages++;
  if (h->len + len < sizeof h->text) {
    memcpy(h->text + h->len, data, len);
    h->len += len;
  }
  return false;
}

static bool heard_control(void *arg, int opcode, const uint8_t *data, size_t len) {
  ((heard *)arg)->controls++;
  return false;
}

static const cxb_ws_frame_handler heard_handler = {heard_message, heard_control};

static void parser_gives_the_same_at_every_split(void **state) {
  /* "Hel" + ping + "lo" masked with 1 2 3 4, then an empty binary message. */
  const uint8_t stream[] = {
      0x01,    0x83, 1,    2, 3, 4, 'H' ^ 1, 'e' ^ 2, 'l' ^ 3, 0x89, 0x81, 1, 2, 3, 4,
      '!' ^ 1, 0x80, 0x82, 1, 2, 3, 4,       'l' ^ 1, 'o' ^ 2, 0x82, 0x80, 9, 9, 9, 9};
  for (size_t step = 1; step <= sizeof stream; step++) {
    cxb_ws_parser p = {.max_text = 100, .max_binary = 100};
    heard h = {0};
    uint8_t copy[sizeof stream];
    memcpy(copy, stream, sizeof stream);
    for (size_t at = 0; at < sizeof stream; at += step) {
      size_t n = at + step > sizeof stream ? sizeof stream - at : step;
      assert_int_equal(cxb_ws_parser_push(&p, copy + at, n, &heard_handler, &h), 0);
    }
    assert_int_equal(h.messages, 2);
    assert_int_equal(h.controls, 1);
    assert_int_equal(h.len, 5);
    assert_memory_equal(h.text, "Hello", 5);
    cxb_ws_parser_free(&p);
  }
}

static void parser_survives_a_million_random_messages(void **state) {
  uint64_t seed = 88172645463325252u;
  heard h = {0};
  cxb_ws_parser p = {.max_text = 300, .max_binary = 300};
  int refused = 0;
  for (int i = 0; i < 1000000; i++) {
    uint8_t bytes[48];
    for (size_t k = 0; k < sizeof bytes; k += 8) {
      seed ^= seed << 13;
      seed ^= seed >> 7;
      seed ^= seed << 17;
      memcpy(bytes + k, &seed, 8);
    }
    if (i % 3) { /* plausible starts get further */
      bytes[0] = (uint8_t)(bytes[0] & 0x8F);
      bytes[1] = (uint8_t)(0x80 | (bytes[1] & 0x3F));
    }
    int code = cxb_ws_parser_push(&p, bytes, sizeof bytes, &heard_handler, &h);
    if (code) {
      assert_true(code == 1002 || code == 1007 || code == 1009);
      assert_int_equal(cxb_ws_parser_push(&p, bytes, 1, &heard_handler, &h), 0);
      cxb_ws_parser_free(&p);
      p = (cxb_ws_parser){.max_text = 300, .max_binary = 300};
      refused++;
    }
    assert_true(p.message.len <= 300);
  }
  assert_true(refused > 1000 && h.messages > 1000);
  cxb_ws_parser_free(&p);
}

static void addresses_are_taken_apart(void **state) {
  cxb_ws_url u;
  assert_int_equal(cxb_ws_url_parse("ws://a.example:81/p?q=1", &u), 0);
  assert_string_equal(u.host, "a.example");
  assert_string_equal(u.authority, "a.example:81");
  assert_string_equal(u.path, "/p?q=1");
  assert_int_equal(u.port, 81);
  assert_int_equal(cxb_ws_url_parse("wss://[::1]", &u), 0);
  assert_string_equal(u.host, "::1");
  assert_string_equal(u.authority, "[::1]");
  assert_true(u.tls && u.port == 443);
  assert_string_equal(u.path, "/");
  assert_int_equal(cxb_ws_url_parse("ws+unix:/run/x.sock:/v1/stt?a=b:c", &u), CXB_EINVAL);
  assert_int_equal(cxb_ws_url_parse("ws+unix:/run/x.sock:/v1/stt", &u), 0);
  assert_string_equal(u.host, "/run/x.sock");
  assert_string_equal(u.path, "/v1/stt");
  const char *bad[] = {"http://a/", "ws://",           "ws://a:0/",  "ws://a:99999/", "ws://a b/",
                       "ws://u@a/", "ws://a/\r\nX: y", "ws://[::1/", "ws+unix:",      "ws://a:1x/"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(cxb_ws_url_parse(bad[i], &u), CXB_EINVAL);
}

/* ---- our server ---- */

typedef struct served {
  uv_loop_t *loop;
  cxb_ws_context *ctx;
  uv_tcp_t listener;
  int port;
  int opened, closed, drained, agains;
  int code;
  char reason[128];
} served;

typedef struct incoming {
  served *s;
  uv_tcp_t tcp;
  char head[8192];
  size_t len;
} incoming;

static void served_open(cxb_ws *ws, void *user) {
  ((served *)user)->opened++;
}

static void served_message(cxb_ws *ws, void *user, bool binary, const uint8_t *data, size_t len) {
  served *s = user;
  if (!binary && len == 8 && memcmp(data, "close me", 8) == 0) {
    cxb_ws_close(ws, 4002, "as you wish");
    assert_int_equal(cxb_ws_send(ws, false, "x", 1), CXB_ECLOSED);
    return;
  }
  if (!binary && len == 5 && memcmp(data, "flood", 5) == 0) {
    static char block[65536];
    int r = 0;
    for (int i = 0; i < 10000 && r == 0; i++)
      r = cxb_ws_send(ws, true, block, sizeof block);
    assert_int_equal(r, CXB_EAGAIN);
    assert_true(cxb_ws_queued(ws) > 0);
    s->agains++;
    return;
  }
  if (!binary && len == 6 && memcmp(data, "deluge", 6) == 0) {
    static char block[65536];
    int r = 0, n = 0;
    for (; n < 10000 && r != CXB_ECLOSED; n++)
      r = cxb_ws_send(ws, true, block, sizeof block);
    assert_int_equal(r, CXB_ECLOSED);
    assert_true(cxb_ws_queued(ws) < 5 << 20);
    return;
  }
  int r = cxb_ws_send(ws, binary, data, len);
  assert_true(r == 0 || r == CXB_EAGAIN || r == CXB_ECLOSED); /* the peer may have gone */
}

static void served_drained(cxb_ws *ws, void *user) {
  ((served *)user)->drained++;
  cxb_ws_send(ws, false, "drained", 7);
}

static void served_close(cxb_ws *ws, void *user, int code, const char *reason) {
  served *s = user;
  s->closed++;
  s->code = code;
  snprintf(s->reason, sizeof s->reason, "%s", reason);
}

static const cxb_ws_handler served_handler = {served_open, served_message, NULL, served_drained,
                                              served_close};

static void free_incoming(uv_handle_t *h) {
  free(h->data);
}

static void incoming_alloc(uv_handle_t *h, size_t n, uv_buf_t *buf) {
  incoming *in = h->data;
  buf->base = in->head + in->len;
  buf->len = sizeof in->head - in->len;
}

static void incoming_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  incoming *in = stream->data;
  if (n > 0)
    in->len += (size_t)n;
  if (n < 0) {
    uv_close((uv_handle_t *)stream, free_incoming);
  } else if (memmem(in->head, in->len, "\r\n\r\n", 4)) {
    uv_os_fd_t fd;
    uv_fileno((uv_handle_t *)stream, &fd);
    cxb_ws *ws;
    cxb_ws_adopt(in->s->ctx, dup(fd), in->head, in->len, "v1", NULL, &served_handler, in->s, &ws);
    uv_close((uv_handle_t *)stream, free_incoming);
  }
}

static void on_connection(uv_stream_t *listener, int status) {
  incoming *in = calloc(1, sizeof *in);
  in->s = listener->data;
  uv_tcp_init(listener->loop, &in->tcp);
  in->tcp.data = in;
  assert_int_equal(uv_accept(listener, (uv_stream_t *)&in->tcp), 0);
  uv_read_start((uv_stream_t *)&in->tcp, incoming_alloc, incoming_read);
}

static void serve_start(served *s, uv_loop_t *loop) {
  s->loop = loop;
  assert_int_equal(cxb_ws_context_new(loop, &s->ctx), 0);
  struct sockaddr_in addr;
  uv_ip4_addr("127.0.0.1", 0, &addr);
  uv_tcp_init(loop, &s->listener);
  s->listener.data = s;
  uv_tcp_bind(&s->listener, (const struct sockaddr *)&addr, 0);
  assert_int_equal(uv_listen((uv_stream_t *)&s->listener, 64, on_connection), 0);
  int len = sizeof addr;
  uv_tcp_getsockname(&s->listener, (struct sockaddr *)&addr, &len);
  s->port = ntohs(addr.sin_port);
}

static void set_flag(void *arg) {
  *(bool *)arg = true;
}

static bool is_set(void *arg) {
  return *(bool *)arg;
}

static void context_close(uv_loop_t *loop, cxb_ws_context *ctx) {
  bool done = false;
  cxb_ws_context_close(ctx, set_flag, &done);
  peer_run_until(loop, is_set, &done, PEER_PATIENCE_MS);
}

static void serve_stop(served *s) {
  uv_close((uv_handle_t *)&s->listener, NULL);
  context_close(s->loop, s->ctx);
  assert_int_equal(s->opened, s->closed);
}

static bool all_closed(void *arg) {
  served *s = arg;
  return s->closed == s->opened;
}

/* Runs one client case of ws_peer.py against our server and waits until its connections closed. */
static void client_case(const char *name, served *s) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  serve_start(s, &loop);
  char port[16];
  snprintf(port, sizeof port, "%d", s->port);
  assert_int_equal(peer_run_script(&loop, "ws_peer.py", name, port, 60000), 0);
  peer_run_until(&loop, all_closed, s, PEER_PATIENCE_MS);
  serve_stop(s);
  peer_loop_close(&loop);
}

static void echoes_messages_of_all_sizes(void **state) {
  served s = {0};
  client_case("echo", &s);
  assert_int_equal(s.opened, 1);
  assert_int_equal(s.code, 1000);
}

static void reassembles_fragments_and_answers_pings(void **state) {
  served s = {0};
  client_case("fragments", &s);
}

static void refuses_deflate_and_echoes_the_subprotocol(void **state) {
  served s = {0};
  client_case("offers_deflate", &s);
  assert_int_equal(s.code, 4001);
  assert_string_equal(s.reason, "done with it");
}

static void closes_with_code_and_reason(void **state) {
  served s = {0};
  client_case("closed_by_server", &s);
  assert_int_equal(s.code, 4002);
}

static void malformed_streams_get_the_close_code_they_earned(void **state) {
  served s = {0};
  client_case("bad_all", &s);
  assert_true(s.opened >= 20);
}

static void frames_behind_the_request_are_not_lost(void **state) {
  served s = {0};
  client_case("early", &s);
  assert_int_equal(s.code, 1000);
}

static void takes_frames_byte_by_byte(void **state) {
  served s = {0};
  client_case("trickle", &s);
  assert_int_equal(s.code, 1006);
}

static void gets_rid_of_a_peer_that_ignores_the_close(void **state) {
  served s = {0};
  client_case("silent", &s);
  assert_int_equal(s.code, 1006);
}

static void a_slow_reader_is_reported_and_then_drained(void **state) {
  served s = {0};
  client_case("not_reading", &s);
  assert_int_equal(s.agains, 1);
  assert_int_equal(s.drained, 1);
}

static void a_sender_that_never_waits_loses_the_connection(void **state) {
  served s = {0};
  client_case("never_reads", &s);
  assert_int_equal(s.code, 1006);
  assert_string_equal(s.reason, "slow peer");
}

static void a_reset_connection_is_1006(void **state) {
  served s = {0};
  client_case("gone", &s);
  assert_int_equal(s.code, 1006);
}

static void survives_random_frames(void **state) {
  served s = {0};
  client_case("fuzz", &s);
  assert_int_equal(s.opened, 300);
}

static void refuses_a_head_that_is_no_upgrade(void **state) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  cxb_ws_context *ctx;
  cxb_ws *ws;
  assert_int_equal(cxb_ws_context_new(&loop, &ctx), 0);
  const char *heads[] = {"GET / HTTP/1.1\r\n\r\n",
                         "GET / HTTP/1.1\r\nSec-WebSocket-Key: short\r\n\r\n", "GET /", ""};
  for (size_t i = 0; i < 4; i++) {
    int fds[2];
    assert_int_equal(uv_socketpair(SOCK_STREAM, 0, fds, 0, 0), 0);
    assert_int_equal(cxb_ws_adopt(ctx, fds[0], heads[i], strlen(heads[i]), NULL, NULL,
                                  &served_handler, NULL, &ws),
                     CXB_EPROTO);
    char c;
    assert_int_equal(read(fds[1], &c, 1), 0); /* closed, nothing written */
    close(fds[1]);
  }
  context_close(&loop, ctx);
  peer_loop_close(&loop);
}

static void two_loops_on_two_threads_do_not_meet_run(void *arg) {
  served *s = arg;
  uv_loop_t loop;
  uv_loop_init(&loop);
  serve_start(s, &loop);
  char port[16];
  snprintf(port, sizeof port, "%d", s->port);
  s->agains = peer_run_script(&loop, "ws_peer.py", "echo", port, 60000);
  peer_run_until(&loop, all_closed, s, PEER_PATIENCE_MS);
  serve_stop(s);
  peer_loop_close(&loop);
}

static void two_loops_on_two_threads_do_not_meet(void **state) {
  served other = {0}, own = {0};
  uv_thread_t thread;
  uv_thread_create(&thread, two_loops_on_two_threads_do_not_meet_run, &other);
  client_case("echo", &own);
  uv_thread_join(&thread);
  assert_int_equal(other.agains, 0);
  assert_int_equal(other.opened, 1);
}

/* ---- our client ---- */

typedef struct client {
  bool opened, closed, got;
  int code;
  char reason[160];
  char data[70000];
  size_t len;
  bool binary;
  int pongs;
} client;

static void client_open(cxb_ws *ws, void *user) {
  ((client *)user)->opened = true;
}

static void client_message(cxb_ws *ws, void *user, bool binary, const uint8_t *data, size_t len) {
  client *c = user;
  assert_true(len <= sizeof c->data);
  memcpy(c->data, data, len);
  c->len = len;
  c->binary = binary;
  c->got = true;
}

static void client_pong(cxb_ws *ws, void *user) {
  ((client *)user)->pongs++;
}

static void client_close(cxb_ws *ws, void *user, int code, const char *reason) {
  client *c = user;
  assert_false(c->closed);
  c->closed = true;
  c->code = code;
  snprintf(c->reason, sizeof c->reason, "%s", reason);
}

static const cxb_ws_handler client_handler = {client_open, client_message, client_pong, NULL,
                                              client_close};

static bool opened_or_closed(void *arg) {
  client *c = arg;
  return c->opened || c->closed;
}

static bool got_or_closed(void *arg) {
  client *c = arg;
  return c->got || c->closed;
}

static bool client_closed(void *arg) {
  return ((client *)arg)->closed;
}

static bool client_ponged(void *arg) {
  return ((client *)arg)->pongs > 0;
}

typedef struct outbound {
  uv_loop_t loop;
  cxb_ws_context *ctx;
  peer_server server;
  client c;
  cxb_ws *ws;
} outbound;

static void outbound_start(outbound *o, const char *address) {
  memset(o, 0, sizeof *o);
  uv_loop_init(&o->loop);
  assert_int_equal(cxb_ws_context_new(&o->loop, &o->ctx), 0);
  if (address)
    peer_server_start(&o->server, &o->loop, "ws_peer.py", "serve", address);
}

static void outbound_stop(outbound *o) {
  context_close(&o->loop, o->ctx);
  if (o->server.running)
    peer_server_stop(&o->server);
  peer_loop_close(&o->loop);
}

/* Connects to `path` of the TCP server and waits for open or close. */
static void outbound_connect(outbound *o, const char *url) {
  memset(&o->c, 0, sizeof o->c);
  assert_int_equal(cxb_ws_connect(o->ctx, url, "X-Key: 42\r\n", "v1", 3000, NULL, &client_handler,
                                  &o->c, &o->ws),
                   0);
  peer_run_until(&o->loop, opened_or_closed, &o->c, PEER_PATIENCE_MS);
}

static void outbound_path(outbound *o, const char *path) {
  char url[128];
  snprintf(url, sizeof url, "ws://localhost:%d%s", o->server.port, path);
  outbound_connect(o, url);
}

static void client_echoes_all_sizes(void **state) {
  static char data[65536];
  static const size_t sizes[] = {0, 1, 125, 126, 4096, 8192, 65535, 65536};
  outbound o;
  outbound_start(&o, "tcp");
  outbound_path(&o, "/");
  assert_true(o.c.opened);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    memset(data, 'a' + (int)i, sizes[i]);
    for (int binary = 0; binary < 2; binary++) {
      o.c.got = false;
      assert_int_equal(cxb_ws_send(o.ws, binary, data, sizes[i]), 0);
      peer_run_until(&o.loop, got_or_closed, &o.c, PEER_PATIENCE_MS);
      assert_int_equal(o.c.len, sizes[i]);
      assert_int_equal(o.c.binary, binary);
      assert_memory_equal(o.c.data, data, sizes[i]);
    }
  }
  cxb_ws_ping(o.ws);
  peer_run_until(&o.loop, client_ponged, &o.c, PEER_PATIENCE_MS);
  cxb_ws_close(o.ws, 1000, "bye");
  assert_int_equal(cxb_ws_send(o.ws, true, "x", 1), CXB_ECLOSED);
  peer_run_until(&o.loop, client_closed, &o.c, PEER_PATIENCE_MS);
  assert_int_equal(o.c.code, 1000);
  outbound_stop(&o);
}

static void client_sends_headers_and_host(void **state) {
  outbound o;
  outbound_start(&o, "tcp");
  outbound_path(&o, "/headers");
  peer_run_until(&o.loop, got_or_closed, &o.c, PEER_PATIENCE_MS);
  char expected[64];
  snprintf(expected, sizeof expected, "42|localhost:%d", o.server.port);
  assert_int_equal(o.c.len, strlen(expected));
  assert_memory_equal(o.c.data, expected, o.c.len);
  outbound_stop(&o);
}

static void client_reassembles_fragments(void **state) {
  outbound o;
  outbound_start(&o, "tcp");
  outbound_path(&o, "/fragments");
  peer_run_until(&o.loop, got_or_closed, &o.c, PEER_PATIENCE_MS);
  assert_int_equal(o.c.len, 15);
  assert_memory_equal(o.c.data, "in three pieces", 15);
  outbound_stop(&o);
}

static void client_reports_how_it_ended(void **state) {
  static const struct {
    const char *path;
    int code;
  } cases[] = {{"/close", 4003},  {"/badutf8", 1007}, {"/big", 1009}, {"/bigfragments", 1009},
               {"/vanish", 1006}, {"/401", 401},      {"/503", 503},  {"/redirect", 302}};
  outbound o;
  outbound_start(&o, "tcp");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    outbound_path(&o, cases[i].path);
    peer_run_until(&o.loop, client_closed, &o.c, PEER_PATIENCE_MS);
    if (o.c.code != cases[i].code)
      print_message("%s: %s\n", cases[i].path, o.c.reason);
    assert_int_equal(o.c.code, cases[i].code);
  }
  outbound_stop(&o);
}

static void client_close_does_not_wait_for_a_deaf_peer(void **state) {
  outbound o;
  outbound_start(&o, "tcp");
  outbound_path(&o, "/deaf");
  cxb_ws_close(o.ws, 1000, NULL);
  peer_run_until(&o.loop, client_closed, &o.c, PEER_PATIENCE_MS);
  assert_int_equal(o.c.code, 1006);
  outbound_stop(&o);
}

static void client_names_why_it_could_not_connect(void **state) {
  outbound o;
  outbound_start(&o, "tcp");
  outbound_connect(&o, "ws://127.0.0.1:1/");
  assert_true(o.c.closed && o.c.code == 1006);
  assert_memory_equal(o.c.reason, "refused", 7);
  outbound_connect(&o, "ws+unix:/nonexistent/x.sock:/");
  assert_memory_equal(o.c.reason, "refused", 7);
  outbound_connect(&o, "ws://name.invalid/");
  assert_memory_equal(o.c.reason, "resolve", 7);
  outbound_path(&o, "/stall");
  assert_true(o.c.closed);
  assert_memory_equal(o.c.reason, "timeout", 7);
  outbound_stop(&o);
}

static void client_speaks_over_a_unix_socket(void **state) {
  char path[] = "/tmp/cxb-test-ws-XXXXXX", address[64], url[96];
  assert_non_null(mkdtemp(path));
  snprintf(address, sizeof address, "unix:%s/s", path);
  snprintf(url, sizeof url, "ws+unix:%s/s:/headers", path);
  outbound o;
  outbound_start(&o, address);
  outbound_connect(&o, url);
  peer_run_until(&o.loop, got_or_closed, &o.c, PEER_PATIENCE_MS);
  assert_memory_equal(o.c.data, "42|localhost", 12);
  outbound_stop(&o);
  unlink(address + 5);
  rmdir(path);
}

static void client_checks_certificates(void **state) {
  char dir[] = "/tmp/cxb-test-tls-XXXXXX", command[512], address[64], url[64];
  assert_non_null(mkdtemp(dir));
  snprintf(command, sizeof command,
           "openssl req -x509 -newkey rsa:2048 -nodes -keyout %s/key.pem -out %s/cert.pem -days 2 "
           "-subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null && "
           "cat %s/key.pem %s/cert.pem > %s/both.pem",
           dir, dir, dir, dir, dir);
  assert_int_equal(system(command), 0);
  snprintf(address, sizeof address, "tls:%s/both.pem", dir);
  for (int trusted = 0; trusted < 2; trusted++) {
    char cert[64];
    snprintf(cert, sizeof cert, "%s/cert.pem", dir);
    setenv("SSL_CERT_FILE", trusted ? cert : "/nonexistent", 1);
    outbound o;
    outbound_start(&o, address);
    snprintf(url, sizeof url, "wss://localhost:%d/", o.server.port);
    outbound_connect(&o, url);
    assert_int_equal(o.c.opened, trusted);
    if (!trusted)
      assert_memory_equal(o.c.reason, "tls", 3);
    if (trusted) {
      assert_int_equal(cxb_ws_send(o.ws, true, "over tls", 8), 0);
      peer_run_until(&o.loop, got_or_closed, &o.c, PEER_PATIENCE_MS);
      assert_memory_equal(o.c.data, "over tls", 8);
      cxb_ws_close(o.ws, 1000, NULL);
      peer_run_until(&o.loop, client_closed, &o.c, PEER_PATIENCE_MS);
      snprintf(url, sizeof url, "wss://127.0.0.1:%d/", o.server.port);
      outbound_connect(&o, url);
      assert_memory_equal(o.c.reason, "tls", 3); /* the certificate names another host */
    }
    outbound_stop(&o);
  }
  unsetenv("SSL_CERT_FILE");
  snprintf(command, sizeof command, "rm -r %s", dir);
  assert_int_equal(system(command), 0);
}

static void closing_the_context_closes_what_is_open_and_what_connects(void **state) {
  outbound o;
  outbound_start(&o, "tcp");
  outbound_path(&o, "/");
  client second = {0};
  char url[64];
  cxb_ws *ws;
  snprintf(url, sizeof url, "ws://127.0.0.1:%d/stall", o.server.port);
  assert_int_equal(
      cxb_ws_connect(o.ctx, url, NULL, NULL, 3000, NULL, &client_handler, &second, &ws), 0);
  outbound_stop(&o);
  assert_true(o.c.closed && second.closed);
  assert_false(second.opened);
}

int main(void) {
  peer_setup();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parser_gives_the_same_at_every_split),
      cmocka_unit_test(parser_survives_a_million_random_messages),
      cmocka_unit_test(addresses_are_taken_apart),
      cmocka_unit_test(echoes_messages_of_all_sizes),
      cmocka_unit_test(reassembles_fragments_and_answers_pings),
      cmocka_unit_test(refuses_deflate_and_echoes_the_subprotocol),
      cmocka_unit_test(closes_with_code_and_reason),
      cmocka_unit_test(malformed_streams_get_the_close_code_they_earned),
      cmocka_unit_test(frames_behind_the_request_are_not_lost),
      cmocka_unit_test(takes_frames_byte_by_byte),
      cmocka_unit_test(gets_rid_of_a_peer_that_ignores_the_close),
      cmocka_unit_test(a_slow_reader_is_reported_and_then_drained),
      cmocka_unit_test(a_sender_that_never_waits_loses_the_connection),
      cmocka_unit_test(a_reset_connection_is_1006),
      cmocka_unit_test(survives_random_frames),
      cmocka_unit_test(refuses_a_head_that_is_no_upgrade),
      cmocka_unit_test(two_loops_on_two_threads_do_not_meet),
      cmocka_unit_test(client_echoes_all_sizes),
      cmocka_unit_test(client_sends_headers_and_host),
      cmocka_unit_test(client_reassembles_fragments),
      cmocka_unit_test(client_reports_how_it_ended),
      cmocka_unit_test(client_close_does_not_wait_for_a_deaf_peer),
      cmocka_unit_test(client_names_why_it_could_not_connect),
      cmocka_unit_test(client_speaks_over_a_unix_socket),
      cmocka_unit_test(client_checks_certificates),
      cmocka_unit_test(closing_the_context_closes_what_is_open_and_what_connects),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
