/* The Redis client's connections: addresses, servers that refuse, leave, or say nothing. What needs
 * a real server is in spec/service/redis_spec.lua. */
#include "store_support.h"

#include <hiredis/hiredis.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "store/redis.h"
#include "store/redis_internal.h"

static void check_url(const char *url, int err, const char *host, const char *port, int db) {
  cxb_redis_address a = {0};
  char why[160] = "";
  assert_int_equal(cxb_redis_parse_url(url, &a, why, sizeof why), err);
  if (err) {
    assert_true(why[0]);
    return;
  }
  assert_string_equal(a.host, host);
  if (host[0])
    assert_string_equal(a.port, port);
  assert_int_equal(a.db, db);
}

static void an_address_is_read_or_refused_with_its_rule(void **state) {
  (void)state;
  check_url("redis://localhost", 0, "localhost", "6379", 0);
  check_url("redis://10.0.0.1:7000/3", 0, "10.0.0.1", "7000", 3);
  check_url("redis://[::1]:7000/", 0, "::1", "7000", 0);
  check_url("redis://:a%40b@h:1", 0, "h", "1", 0);
  check_url("unix:/run/redis.sock?db=2", 0, "", "", 2);
  check_url("redis+unix://:pw@/run/redis.sock", 0, "", "", 0);
  const char *bad[] = {"",
                       "localhost:6379",
                       "http://h",
                       "redis://",
                       "redis://h:0",
                       "redis://h:x",
                       "redis://h:99999",
                       "redis://h/x",
                       "redis://h/-1",
                       "redis://h?db=1",
                       "redis://:%4@h",
                       "unix:run/x",
                       "unix:/x?port=1",
                       "redis+unix://x"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    check_url(bad[i], CXB_EINVAL, "", "", 0);
  cxb_redis_address a;
  char why[160];
  cxb_redis_parse_url("redis://me:a%40b%2Fc@h", &a, why, sizeof why);
  assert_string_equal(a.user, "me");
  assert_string_equal(a.password, "a@b/c");
}

typedef struct outcome {
  volatile bool done;
  int err;
  char why[160];
} outcome;

static void on_reply(void *arg, const redisReply *reply, int err, const char *why) {
  outcome *o = arg;
  (void)reply;
  o->err = err;
  snprintf(o->why, sizeof o->why, "%s", why ? why : "");
  o->done = true;
}

static cxb_redis *open_at(const char *url, int64_t timeout_ms) {
  cxb_redis *r = NULL;
  char why[160];
  cxb_redis_options options = {.timeout_ms = timeout_ms};
  assert_int_equal(cxb_redis_open(&loop, url, &options, &r, why, sizeof why), 0);
  return r;
}

static int ping(cxb_redis *r, outcome *o) {
  *o = (outcome){0};
  return cxb_redis_command(r, 1, (const char *[]){"PING"}, (size_t[]){4}, on_reply, o);
}

static void who_waits_for_a_connection_that_is_refused_is_told(void **state) {
  (void)state;
  outcome o, late;
  cxb_redis *r = open_at("redis://127.0.0.1:1", 5000); /* port 1: nobody */
  assert_int_equal(ping(r, &o), 0);
  run_until(&o.done);
  assert_int_equal(o.err, CXB_ECLOSED);
  assert_non_null(strstr(o.why, "refused"));
  assert_int_equal(ping(r, &late), CXB_ECLOSED);
  assert_non_null(strstr(cxb_redis_why(r), "refused"));
  cxb_redis_close(r);
  run_dry();
}

static void on_accepted(uv_stream_t *server, int status) {
  (void)status;
  uv_accept(server, server->data);
}

/* A server that takes the connection and never answers. */
static void a_server_that_says_nothing_is_given_up(void **state) {
  (void)state;
  uv_pipe_t server, peer;
  uv_pipe_init(&loop, &server, 0);
  uv_pipe_init(&loop, &peer, 0);
  server.data = &peer;
  assert_int_equal(uv_pipe_bind(&server, in_folder("silent.sock")), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&server, 8, on_accepted), 0);
  char url[300];
  snprintf(url, sizeof url, "unix:%s", in_folder("silent.sock"));
  cxb_redis *r = open_at(url, 50);
  outcome o[3];
  for (int i = 0; i < 3; i++)
    assert_int_equal(ping(r, &o[i]), 0);
  for (int i = 0; i < 3; i++) {
    run_until(&o[i].done);
    assert_int_equal(o[i].err, CXB_ECLOSED);
    assert_string_equal(o[i].why, "no answer in time");
  }
  cxb_redis_close(r);
  uv_close((uv_handle_t *)&server, NULL);
  uv_close((uv_handle_t *)&peer, NULL);
  run_dry();
}

/* Once the client has sent something. */
static void answer(int fd, const char *text) {
  char bytes[256];
  ssize_t n;
  int64_t until = cxb_mono_ms() + 20000;
  while ((n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) < 0 && cxb_mono_ms() < until)
    uv_run(&loop, UV_RUN_NOWAIT);
  assert_true(n > 0);
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void an_answer_counts_however_busy_the_loop_was(void **state) {
  (void)state;
  struct sockaddr_un addr = {.sun_family = AF_UNIX};
  snprintf(addr.sun_path, sizeof addr.sun_path, "%s", in_folder("late.sock"));
  int server = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(bind(server, (struct sockaddr *)&addr, sizeof addr), 0);
  assert_int_equal(listen(server, 1), 0);
  char url[300];
  snprintf(url, sizeof url, "unix:%s", addr.sun_path);
  enum { TIMEOUT_MS = 1000, BUSY_US = 1100000 };
  cxb_redis *r = open_at(url, TIMEOUT_MS);
  outcome o;
  assert_int_equal(ping(r, &o), 0);
  int fd = accept(server, NULL, NULL);
  answer(fd, "+PONG\r\n+PONG\r\n");
  usleep(BUSY_US); /* it is here in time, and read late */
  run_until(&o.done);
  assert_int_equal(o.err, 0);

  usleep(BUSY_US); /* asked when the loop's clock is behind */
  assert_int_equal(ping(r, &o), 0);
  for (int64_t until = cxb_mono_ms() + 50; cxb_mono_ms() < until;)
    uv_run(&loop, UV_RUN_NOWAIT);
  answer(fd, "+PONG\r\n");
  run_until(&o.done);
  assert_int_equal(o.err, 0);
  cxb_redis_close(r);
  close(fd);
  close(server);
  run_dry();
}

static cxb_redis *to_close;

static void closing_reply(void *arg, const redisReply *reply, int err, const char *why) {
  on_reply(arg, reply, err, why);
  if (to_close)
    cxb_redis_close(to_close);
  to_close = NULL;
}

static void may_be_closed_by_who_is_told_of_its_end(void **state) {
  (void)state;
  outcome o[3] = {{0}};
  cxb_redis *r = to_close = open_at("redis://localhost:1", 5000);
  for (int i = 0; i < 3; i++)
    assert_int_equal(
        cxb_redis_command(r, 1, (const char *[]){"PING"}, (size_t[]){4}, closing_reply, &o[i]), 0);
  for (int i = 0; i < 3; i++)
    run_until(&o[i].done);
  run_dry();
}

static void closed_while_its_name_is_looked_up_it_tells_who_waits(void **state) {
  (void)state;
  outcome o;
  cxb_redis *r = open_at("redis://localhost:1", 5000);
  assert_int_equal(ping(r, &o), 0);
  cxb_redis_close(r);
  assert_true(o.done);
  assert_string_equal(o.why, "closed");
  run_dry();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_address_is_read_or_refused_with_its_rule),
      cmocka_unit_test(who_waits_for_a_connection_that_is_refused_is_told),
      cmocka_unit_test(a_server_that_says_nothing_is_given_up),
      cmocka_unit_test(an_answer_counts_however_busy_the_loop_was),
      cmocka_unit_test(may_be_closed_by_who_is_told_of_its_end),
      cmocka_unit_test(closed_while_its_name_is_looked_up_it_tells_who_waits),
  };
  return cmocka_run_group_tests(tests, set_up_folder, remove_folder);
}
