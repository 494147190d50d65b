/* waits: 15 */
/* The HTTP server from C, without a script: every split of its input, its deadlines, random input.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "host/host.h"
#include "net/http_server.h"
#include "net_peer.h"

/* The host's list of rooms: none is needed. */
const cxb_module *const cxb_modules[] = {NULL};
const int cxb_modules_count = 0;

static char dir[] = "/tmp/cxb-test-http-XXXXXX";
static char path[64];
static int handled;

/* ---- the service ---- */

static void answer_with_body(cxb_http_request *req, void *arg) {
  bool end, gone;
  size_t n = cxb_http_body_ready(req, &end, &gone);
  if (gone)
    return;
  if (!end) {
    cxb_http_wait_body(req, answer_with_body, arg);
    return;
  }
  cxb_http_respond(req, 200, NULL, cxb_http_body_data(req), n);
}

static void answer_in_half(uv_idle_t *idle) {
  cxb_http_request *req = idle->data;
  uv_close((uv_handle_t *)idle, NULL);
  cxb_http_start(req, 200, NULL, -1);
  cxb_http_write(req, "half of it", 10);
  cxb_http_abort(req);
  cxb_http_request_unref(req);
}

static void do_later(cxb_http_request *req, uv_idle_cb what) {
  static uv_idle_t idle;
  cxb_http_request_ref(req);
  idle.data = req;
  uv_idle_init(cxb_loop(), &idle);
  uv_idle_start(&idle, what);
}

enum { PAGE = 60000 };
static char big[8 << 20];

static void answer_and_stop(uv_idle_t *idle) {
  cxb_http_request *req = idle->data;
  uv_close((uv_handle_t *)idle, NULL);
  cxb_http_respond(req, 200, NULL, big, PAGE);
  cxb_http_request_unref(req);
  cxb_http_stop_listening();
}

static cxb_http_request *follower; /* of what happens to others */

static void tell_follower(cxb_http_request *req, void *arg) {
  (void)req;
  (void)arg;
  cxb_http_respond(follower, 200, NULL, "it went", 7);
  cxb_http_request_unref(follower);
}

static cxb_http_request *stream;

static void begin_stream(cxb_http_request *req) {
  cxb_http_request_ref(req);
  stream = req;
  cxb_http_start(req, 200, NULL, -1);
  cxb_http_wait_writable(req, tell_follower, NULL);
}

static void on_request(cxb_http_request *req) {
  handled++;
  const char *where = cxb_http_path(req);
  cxb_http_query(req);
  cxb_http_header(req, "content-type");
  if (strcmp(where, "/big") == 0)
    cxb_http_respond(req, 200, NULL, big, sizeof big);
  else if (strcmp(where, "/broken") == 0)
    do_later(req, answer_in_half);
  else if (strcmp(where, "/page") == 0)
    cxb_http_respond(req, 200, NULL, big, PAGE);
  else if (strcmp(where, "/last") == 0)
    do_later(req, answer_and_stop);
  else if (strcmp(where, "/abort") == 0)
    cxb_http_abort(req);
  else if (strcmp(where, "/release") == 0) {
    tell_follower(NULL, NULL);
    cxb_http_respond(req, 200, NULL, "", 0);
  } else if (strcmp(where, "/stream") == 0)
    begin_stream(req);
  else if (strcmp(where, "/follow") == 0)
    cxb_http_request_ref(follower = req);
  else if (strcmp(where, "/early") == 0)
    cxb_http_respond(req, 200, NULL, "no body read", 12);
  else
    answer_with_body(req, NULL);
}

/* ---- a peer that sends bytes as they are ---- */

typedef struct peer {
  int fd;
  cxb_buf got;
  bool ended;
} peer;

static void peer_open(peer *p) {
  struct sockaddr_un addr = {.sun_family = AF_UNIX};
  snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
  *p = (peer){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  assert_int_equal(connect(p->fd, (struct sockaddr *)&addr, sizeof addr), 0);
}

static void peer_close(peer *p) {
  close(p->fd);
  cxb_buf_free(&p->got);
}

static void peer_read(peer *p, size_t most) {
  char bytes[65536];
  while (most > 0 && !p->ended) {
    ssize_t n = read(p->fd, bytes, most < sizeof bytes ? most : sizeof bytes);
    if (n < 0 && errno == EAGAIN)
      return;
    if (n <= 0)
      p->ended = true;
    else if (cxb_buf_add(&p->got, bytes, (size_t)n) == 0)
      most -= (size_t)n;
  }
}

static void turn(void) {
  uv_run(cxb_loop(), UV_RUN_NOWAIT);
}

static void peer_send(peer *p, const char *data, size_t len) {
  while (len > 0) {
    ssize_t n = write(p->fd, data, len);
    if (n < 0 && errno != EAGAIN)
      return; /* the server has had enough */
    if (n > 0) {
      data += n;
      len -= (size_t)n;
    }
    turn();
  }
}

static bool peer_ended(void *arg) {
  peer_read(arg, SIZE_MAX);
  return ((peer *)arg)->ended;
}

static bool peer_answered(void *arg) {
  peer *p = arg;
  peer_read(p, SIZE_MAX);
  return p->ended || (p->got.data && strstr(p->got.data, "\r\n\r\n"));
}

static int count(const peer *p, const char *word) {
  int n = 0;
  size_t len = strlen(word);
  for (const char *at = p->got.data; at; n++) {
    at = memmem(at, (size_t)(p->got.data + p->got.len - at), word, len);
    if (!at)
      break;
    at += len;
  }
  return n;
}

static const cxb_http_times quick = {1500, 300, 300, 300, 300};

static int group_setup(void **state) {
  char why[200];
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/s", dir);
  assert_int_equal(uv_loop_init(cxb_loop()), 0);
  cxb_http_set_handler(on_request);
  assert_int_equal(cxb_http_listen("tcp:nowhere", 0600, NULL, why, sizeof why) < 0, 1);
  char addr[80];
  snprintf(addr, sizeof addr, "unix:%s", path);
  assert_int_equal(cxb_http_listen(addr, 0600, NULL, why, sizeof why), 0);
  return 0;
}

static int group_teardown(void **state) {
  cxb_http_close_all();
  peer_loop_close(cxb_loop());
  rmdir(dir);
  return 0;
}

static bool no_connections(void *arg) {
  return cxb_http_connections() == 0;
}

static int settle(void **state) {
  cxb_http_set_times(NULL);
  peer_run_until(cxb_loop(), no_connections, NULL, PEER_PATIENCE_MS);
  assert_int_equal(cxb_http_active(), 0);
  return 0;
}

/* ---- tests ---- */

static const char PIPELINE[] =
    "POST /a?x=%31 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nfirst"
    "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
    "X-Empty:\r\n\r\n3\r\nsec\r\n3;ext=1\r\nond\r\n0\r\nTrailer: t\r\n\r\n"
    "GET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

static void every_split_of_the_input_gives_the_same_answers(void **state) {
  for (size_t split = 1; split < sizeof PIPELINE - 1; split++) {
    peer p;
    peer_open(&p);
    peer_send(&p, PIPELINE, split);
    turn();
    peer_send(&p, PIPELINE + split, sizeof PIPELINE - 1 - split);
    peer_run_until(cxb_loop(), peer_ended, &p, PEER_PATIENCE_MS);
    if (count(&p, "HTTP/1.1 200 OK\r\n") != 3)
      print_message("split at %zu: %s\n", split, p.got.data ? p.got.data : "(nothing)");
    assert_int_equal(count(&p, "HTTP/1.1 200 OK\r\n"), 3);
    const char *first = strstr(p.got.data, "\r\n\r\nfirst");
    assert_non_null(first);
    assert_non_null(strstr(first, "\r\n\r\nsecond"));
    peer_close(&p);
  }
}

static void a_body_nobody_reads_does_not_become_a_request(void **state) {
  static const char request[] = "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 60\r\n\r\n";
  static const char body[] =
      "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\nGET /x HTTP/1.1\r\n\r\n\r\n\r\n\r\n";
  peer p;
  peer_open(&p);
  handled = 0;
  peer_send(&p, request, sizeof request - 1);
  turn();
  peer_send(&p, body, 60);
  cxb_http_set_times(&quick);
  peer_run_until(cxb_loop(), peer_ended, &p, PEER_PATIENCE_MS);
  assert_int_equal(count(&p, "HTTP/1.1 200"), 1);
  assert_int_equal(handled, 1);
  peer_close(&p);
}

static void ambiguous_and_malformed_requests_are_refused(void **state) {
  static const char *const requests[] = {
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: "
      "chunked\r\n\r\n0\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n folded\r\n\r\n",
      "GET / HTTP/1.1\r\nHo st: h\r\n\r\n",
      "POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\nContent-Length: 3\r\n\r\nabc",
      "GET /\x01 HTTP/1.1\r\n\r\n",
  };
  for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
    peer p;
    peer_open(&p);
    peer_send(&p, requests[i], strlen(requests[i]));
    peer_run_until(cxb_loop(), peer_answered, &p, PEER_PATIENCE_MS);
    if (count(&p, "HTTP/1.1 400 Bad Request\r\n") != 1)
      print_message("request %zu: %s\n", i, p.got.data ? p.got.data : "(nothing)");
    assert_int_equal(count(&p, "HTTP/1.1 400 Bad Request\r\n"), 1);
    assert_int_equal(count(&p, "{\"error\":\"bad_request\",\"message\":\""), 1);
    peer_close(&p);
  }
}

static void a_slow_head_and_an_idle_connection_are_closed(void **state) {
  static const char *const starts[] = {
      "", "G", "GET / HTTP/1.1\r\nHost: ", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"};
  cxb_http_set_times(&quick);
  for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
    peer p;
    peer_open(&p);
    peer_send(&p, starts[i], strlen(starts[i]));
    peer_run_until(cxb_loop(), peer_ended, &p, PEER_PATIENCE_MS);
    assert_int_equal(count(&p, "HTTP/1.1"), i == 3);
    peer_close(&p);
  }
}

static void a_head_that_trickles_is_closed_however_often_a_byte_comes(void **state) {
  cxb_http_set_times(&quick);
  peer p;
  peer_open(&p);
  uv_update_time(cxb_loop());
  uint64_t end = uv_now(cxb_loop()) + PEER_PATIENCE_MS;
  peer_send(&p, "GET / HTTP/1.1\r\nX: ", 19);
  while (!peer_ended(&p) && uv_now(cxb_loop()) < end) {
    peer_send(&p, "x", 1);
    usleep(5000);
    turn();
  }
  assert_true(p.ended);
  peer_close(&p);
}

static void a_body_that_does_not_come_is_408(void **state) {
  static const char request[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\nabc";
  cxb_http_set_times(&quick);
  peer p;
  peer_open(&p);
  peer_send(&p, request, sizeof request - 1);
  peer_run_until(cxb_loop(), peer_ended, &p, PEER_PATIENCE_MS);
  assert_int_equal(count(&p, "HTTP/1.1 408"), 1);
  peer_close(&p);
}

static void an_answer_nobody_takes_is_given_up(void **state) {
  cxb_http_set_times(&quick);
  peer p;
  peer_open(&p);
  peer_send(&p, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n", 30);
  turn();
  peer_run_until(cxb_loop(), no_connections, NULL, PEER_PATIENCE_MS);
  peer_run_until(cxb_loop(), peer_ended, &p, PEER_PATIENCE_MS);
  assert_true(p.got.len < 8 << 20);
  peer_close(&p);
}

/* Takes a little now and then, for several times what the deadline of sending allows. */
static void read_slowly(const char *request, bool half_close) {
  static const cxb_http_times second = {1000, 1000, 1000, 1000, 1000};
  cxb_http_set_times(&second);
  peer p;
  peer_open(&p);
  peer_send(&p, request, strlen(request));
  turn();
  if (half_close)
    shutdown(p.fd, SHUT_WR);
  for (int i = 0; i < 60; i++) {
    peer_read(&p, 65536);
    usleep(50000);
    turn();
  }
  assert_false(p.ended);
  cxb_http_set_times(NULL);
  uv_update_time(cxb_loop());
  uint64_t end = uv_now(cxb_loop()) + PEER_PATIENCE_MS;
  while (!p.ended && p.got.len < 8 << 20 && uv_now(cxb_loop()) < end) {
    peer_read(&p, SIZE_MAX);
    turn();
  }
  assert_true(p.got.len > 8 << 20);
  peer_close(&p);
}

static void a_slow_reader_that_goes_on_reading_gets_it_all(void **state) {
  read_slowly("GET /big HTTP/1.1\r\nHost: h\r\n\r\n", false);
}

static void the_end_of_a_connection_waits_for_a_slow_reader(void **state) {
  read_slowly("GET /big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false);
}

static void a_peer_that_has_sent_all_may_still_read(void **state) {
  read_slowly("GET /big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", true);
}

static void what_was_written_of_an_answer_that_breaks_off_arrives(void **state) {
  peer p;
  peer_open(&p);
  peer_send(&p, "GET /broken HTTP/1.1\r\nHost: h\r\n\r\n", 33);
  peer_run_until(cxb_loop(), peer_ended, &p, PEER_PATIENCE_MS);
  assert_int_equal(count(&p, "HTTP/1.1 200 OK\r\n"), 1);
  assert_int_equal(count(&p, "\r\nhalf of it\r\n"), 1);
  assert_int_equal(count(&p, "\r\n0\r\n\r\n"), 0);
  peer_close(&p);
}

static void requests_that_come_together_are_all_answered(void **state) {
  static const char *const requests[] = {"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
                                         "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"};
  static peer peers[100];
  enum { PEERS = sizeof peers / sizeof *peers };
  for (size_t i = 0; i < PEERS; i++) {
    peer_open(&peers[i]);
    turn();
  }
  for (size_t i = 0; i < PEERS; i++) {
    size_t len = strlen(requests[i % 2]);
    assert_int_equal(write(peers[i].fd, requests[i % 2], len), len);
  }
  for (size_t i = 0; i < PEERS; i++) {
    peer_run_until(cxb_loop(), peer_answered, &peers[i], PEER_PATIENCE_MS);
    assert_int_equal(count(&peers[i], "HTTP/1.1 200 OK\r\n"), 1);
    peer_close(&peers[i]);
  }
}

/* The peer's end shows when what was gathered is sent: who hears of it then is not too late. */
static void what_the_end_of_a_peer_brings_about_leaves_in_the_same_turn(void **state) {
  peer streaming, following;
  peer_open(&streaming);
  peer_open(&following);
  peer_send(&following, "GET /follow HTTP/1.1\r\nHost: h\r\n\r\n", 33);
  peer_send(&streaming, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n", 33);
  peer_run_until(cxb_loop(), peer_answered, &streaming, PEER_PATIENCE_MS);
  assert_non_null(follower);
  peer_close(&streaming);
  cxb_http_write(stream, "nobody reads it", 15);
  turn();
  peer_read(&following, SIZE_MAX);
  assert_int_equal(count(&following, "it went"), 1);
  cxb_http_request_unref(stream);
  peer_close(&following);
}

/* Its next request comes in the same turn, and its handler hangs up. */
static void an_answer_leaves_before_the_next_request_ends_the_connection(void **state) {
  static const char release[] = "GET /release HTTP/1.1\r\nHost: h\r\n\r\n",
                    hang_up[] = "GET /abort HTTP/1.1\r\nHost: h\r\n\r\n";
  peer other, following;
  peer_open(&other);
  peer_open(&following);
  peer_send(&other, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27);
  peer_send(&following, "GET /follow HTTP/1.1\r\nHost: h\r\n\r\n", 33);
  peer_run_until(cxb_loop(), peer_answered, &other, PEER_PATIENCE_MS);
  turn();
  assert_int_equal(write(other.fd, release, sizeof release - 1), sizeof release - 1);
  assert_int_equal(write(following.fd, hang_up, sizeof hang_up - 1), sizeof hang_up - 1);
  peer_run_until(cxb_loop(), peer_ended, &following, PEER_PATIENCE_MS);
  assert_int_equal(count(&following, "it went"), 1);
  peer_close(&following);
  peer_close(&other);
}

static uint64_t seed = 88172645463325252u;

static uint32_t dice(uint32_t sides) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (uint32_t)(seed % sides);
}

/* Well-formed requests with damage: bytes changed, cut out, doubled. */
static void survives_damaged_requests(void **state) {
  static const char upgrade[] =
      "GET /w HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\nframes";
  cxb_http_set_times(&quick);
  for (int i = 0; i < 20000; i++) {
    char bytes[1024];
    size_t len = dice(4) ? sizeof PIPELINE - 1 : sizeof upgrade - 1;
    memcpy(bytes, len == sizeof PIPELINE - 1 ? PIPELINE : upgrade, len);
    for (uint32_t damage = dice(4); damage > 0; damage--) {
      size_t at = dice((uint32_t)len), n = dice(20);
      if (at + n > len)
        n = len - at;
      switch (dice(3)) {
      case 0:
        bytes[at] = (char)dice(256);
        break;
      case 1:
        memmove(bytes + at, bytes + at + n, len - at - n);
        len -= n;
        break;
      default:
        memmove(bytes + at + n, bytes + at, len - at);
        len += n;
      }
    }
    peer p;
    peer_open(&p);
    size_t split = dice((uint32_t)len + 1);
    peer_send(&p, bytes, split);
    peer_send(&p, bytes + split, len - split);
    turn();
    turn();
    peer_read(&p, SIZE_MAX);
    peer_close(&p);
    turn();
  }
  assert_true(handled > 10000);
}

static void ask_for(peer *p, const char *where) {
  char request[80];
  int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", where);
  int before = handled;
  peer_send(p, request, (size_t)n);
  for (int i = 0; i < 100 && handled == before; i++)
    turn();
  turn();
}

/* The last: it stops the server. One peer shows how many answers the socket takes at once, so that
 * of the other's the last one is too many, and it is written in the turn in which the end begins.
 */
static void an_answer_of_the_turn_in_which_the_server_stops_arrives_whole(void **state) {
  peer first, second;
  int pages = 0;
  peer_open(&first);
  do {
    ask_for(&first, "/page");
    pages++;
  } while (cxb_http_active() == 0 && pages < 100);
  assert_in_range(pages, 2, 99);
  peer_read(&first, SIZE_MAX);
  peer_close(&first);
  peer_open(&second);
  for (int i = 1; i < pages; i++)
    ask_for(&second, "/page");
  assert_int_equal(cxb_http_active(), 0);
  ask_for(&second, "/last");
  peer_run_until(cxb_loop(), peer_ended, &second, PEER_PATIENCE_MS);
  assert_int_equal(count(&second, "HTTP/1.1 200 OK\r\n"), pages);
  assert_true(second.got.len > (size_t)pages * PAGE);
  peer_close(&second);
}

int main(void) {
  peer_setup();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(every_split_of_the_input_gives_the_same_answers, settle),
      cmocka_unit_test_teardown(a_body_nobody_reads_does_not_become_a_request, settle),
      cmocka_unit_test_teardown(ambiguous_and_malformed_requests_are_refused, settle),
      cmocka_unit_test_teardown(a_slow_head_and_an_idle_connection_are_closed, settle),
      cmocka_unit_test_teardown(a_head_that_trickles_is_closed_however_often_a_byte_comes, settle),
      cmocka_unit_test_teardown(a_body_that_does_not_come_is_408, settle),
      cmocka_unit_test_teardown(an_answer_nobody_takes_is_given_up, settle),
      cmocka_unit_test_teardown(a_slow_reader_that_goes_on_reading_gets_it_all, settle),
      cmocka_unit_test_teardown(the_end_of_a_connection_waits_for_a_slow_reader, settle),
      cmocka_unit_test_teardown(a_peer_that_has_sent_all_may_still_read, settle),
      cmocka_unit_test_teardown(what_was_written_of_an_answer_that_breaks_off_arrives, settle),
      cmocka_unit_test_teardown(requests_that_come_together_are_all_answered, settle),
      cmocka_unit_test_teardown(what_the_end_of_a_peer_brings_about_leaves_in_the_same_turn,
                                settle),
      cmocka_unit_test_teardown(an_answer_leaves_before_the_next_request_ends_the_connection,
                                settle),
      cmocka_unit_test_teardown(survives_damaged_requests, settle),
      cmocka_unit_test_teardown(an_answer_of_the_turn_in_which_the_server_stops_arrives_whole,
                                settle),
  };
  return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
