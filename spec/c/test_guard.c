/* What a customer's URL may lead to: forms, addresses, and calls whose name resolves as the test
 * says (this program's getaddrinfo stands before libc's). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>

#include "base/err.h"
#include "net/guard.h"
#include "net/http_client.h"
#include "net_peer.h"

static uv_loop_t loop;

uv_loop_t *cxb_loop(void) {
  return &loop;
}

/* ---- a resolver that changes its answer ---- */

static const char *const *scripted; /* addresses of "evil.test", one a question */
static int questions;

__attribute__((visibility("default"))) int getaddrinfo(const char *name, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **out) {
  (void)hints;
  const char *text = name;
  if (strcmp(name, "evil.test") == 0) {
    text = *scripted;
    questions++;
    if (scripted[1])
      scripted++;
  }
  struct {
    struct addrinfo info;
    struct sockaddr_in address;
  } *one = calloc(1, sizeof *one);
  one->address.sin_family = AF_INET;
  one->address.sin_port = htons((uint16_t)(service ? atoi(service) : 0));
  if (inet_pton(AF_INET, text, &one->address.sin_addr) != 1) {
    free(one);
    return EAI_NONAME;
  }
  one->info = (struct addrinfo){.ai_family = AF_INET,
                                .ai_socktype = SOCK_STREAM,
                                .ai_addrlen = sizeof one->address,
                                .ai_addr = (struct sockaddr *)&one->address};
  *out = &one->info;
  return 0;
}

__attribute__((visibility("default"))) void freeaddrinfo(struct addrinfo *list) {
  free(list);
}

/* ---- forms ---- */

static void only_plain_http_urls_pass(void **state) {
  char host[CXB_GUARD_HOST], long_url[2100] = "http://a/";
  const char *why = NULL;
  assert_int_equal(cxb_guard_url("https://API.example.com/x?y=1", host, &why), 0);
  assert_string_equal(host, "API.example.com");
  assert_int_equal(cxb_guard_url("http://example.com:8080/", host, &why), 0);
  assert_int_equal(cxb_guard_url("http://[2606:4700::1]/", host, &why), 0);
  const char *const refused[] = {
      "ftp://example.com/",
      "file:///etc/passwd",
      "http+unix:/run/x.sock:/",
      "gopher://example.com/",
      "http://u@example.com/",
      "http://u:p@example.com/",
      "http://:p@example.com/",
      "http://example.com:22/",
      "http://example.com:0/",
      "https://example.com:99999/",
      "example.com",
      "",
      "http://",
      "//example.com/",
      "http://exa mple.com/",
  };
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    if (cxb_guard_url(refused[i], host, &why) != CXB_EDENIED)
      fail_msg("%s was taken", refused[i]);
    assert_non_null(why);
  }
  memset(long_url + 9, 'x', 2060);
  assert_int_equal(cxb_guard_url(long_url, host, &why), CXB_EDENIED);
}

/* ---- addresses ---- */

static bool allowed(const char *text, const char *exceptions) {
  struct sockaddr_in v4 = {.sin_family = AF_INET};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
    return cxb_guard_address((struct sockaddr *)&v4, exceptions);
  assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
  return cxb_guard_address((struct sockaddr *)&v6, exceptions);
}

static void special_addresses_are_refused(void **state) {
  const char *const refused[] = {
      "127.0.0.1",
      "127.8.9.1",
      "0.0.0.0",
      "10.0.0.1",
      "10.255.255.255",
      "172.16.0.1",
      "172.31.255.255",
      "192.168.0.1",
      "169.254.1.1",
      "169.254.169.254",
      "100.64.0.1",
      "100.127.255.255",
      "224.0.0.1",
      "239.1.2.3",
      "240.0.0.1",
      "255.255.255.255",
      "192.0.0.8",
      "192.0.2.1",
      "198.18.0.1",
      "203.0.113.9",
      "::1",
      "::",
      "::7f00:1",
      "fe80::1",
      "fc00::1",
      "fd12::1",
      "ff02::1",
      "fec0::1",
      "::ffff:8.8.8.8",
      "::ffff:127.0.0.1",
      "64:ff9b::7f00:1",
      "2002:7f00:1::",
      "2001::1",
      "2001:db8::1",
      "100::1",
      "fd00:ec2::254",
  };
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
    if (allowed(refused[i], NULL))
      fail_msg("%s was taken", refused[i]);
  const char *const taken[] = {
      "8.8.8.8",     "1.1.1.1",  "172.15.255.255",  "172.32.0.1",      "100.63.255.255",
      "100.128.0.1", "11.0.0.0", "223.255.255.255", "2606:4700::1111", "2a00:1450::5"};
  for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
    if (!allowed(taken[i], ""))
      fail_msg("%s was refused", taken[i]);
}

static void an_address_of_this_machine_is_refused(void **state) {
  struct ifaddrs *list;
  assert_int_equal(getifaddrs(&list), 0);
  int seen = 0;
  for (struct ifaddrs *i = list; i; i = i->ifa_next)
    if (i->ifa_addr && (i->ifa_addr->sa_family == AF_INET || i->ifa_addr->sa_family == AF_INET6)) {
      assert_false(cxb_guard_address(i->ifa_addr, NULL));
      seen++;
    }
  freeifaddrs(list);
  assert_true(seen > 0);
}

static void exceptions_are_hosts_and_networks(void **state) {
  const char *list = "crm.internal, 10.1.0.0/16 fd00:1::/32,192.168.7.9, 10.9.0.0/33, 10.8.0.0/x";
  assert_true(allowed("10.1.255.1", list));
  assert_true(allowed("192.168.7.9", list));
  assert_true(allowed("fd00:1::5", list));
  assert_false(allowed("10.2.0.1", list));
  assert_false(allowed("192.168.7.8", list));
  assert_false(allowed("fd00:2::5", list));
  assert_false(allowed("10.9.0.1", list)); /* malformed entries match nothing */
  assert_false(allowed("10.8.0.1", list));
  assert_true(allowed("10.77.1.1", "10.64.0.0/10"));
  assert_false(allowed("10.128.1.1", "10.64.0.0/10"));
  assert_true(allowed("10.0.0.1", "0.0.0.0/0"));
  assert_true(cxb_guard_host("CRM.Internal", list));
  assert_false(cxb_guard_host("crm.internal.evil.test", list));
  assert_false(cxb_guard_host("crm", list));
}

/* ---- calls ---- */

typedef struct outcome {
  bool done;
  int err, status;
} outcome;

static void on_done(void *arg, int err, const char *message, const cxb_http_answer *answer) {
  (void)message;
  *(outcome *)arg = (outcome){.done = true, .err = err, .status = answer->status};
}

static bool is_done(void *arg) {
  return ((outcome *)arg)->done;
}

static outcome request(const char *url, const char *public_but) {
  outcome o = {0};
  cxb_http_options options = {
      .url = url, .public_but = public_but, .timeout_ms = 20000, .on_done = on_done, .arg = &o};
  int err = cxb_http_call_start(&options, NULL);
  if (err)
    return (outcome){.done = true, .err = err};
  peer_run_until(&loop, is_done, &o, 30000);
  return o;
}

/* A server on all of 127.0.0.0/8 that counts who came. */
typedef struct server {
  uv_tcp_t listener;
  int port, connections;
} server;

typedef struct client {
  uv_tcp_t tcp;
  char in[4096];
} client;

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *buf) {
  client *c = h->data;
  *buf = uv_buf_init(c->in, sizeof c->in);
}

static void on_client_closed(uv_handle_t *h) {
  free(h->data);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  static char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  if (n < 0) {
    uv_close((uv_handle_t *)stream, on_client_closed);
    return;
  }
  uv_buf_t out = uv_buf_init(ok, sizeof ok - 1);
  uv_try_write(stream, &out, 1);
}

static void on_client(uv_stream_t *listener, int status) {
  server *s = listener->data;
  client *c = calloc(1, sizeof *c);
  uv_tcp_init(&loop, &c->tcp);
  c->tcp.data = c;
  assert_int_equal(uv_accept(listener, (uv_stream_t *)&c->tcp), 0);
  s->connections++;
  uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

static void server_start(server *s) {
  struct sockaddr_in any = {.sin_family = AF_INET};
  struct sockaddr_storage name;
  int len = sizeof name;
  memset(s, 0, sizeof *s);
  uv_tcp_init(&loop, &s->listener);
  s->listener.data = s;
  inet_pton(AF_INET, "0.0.0.0", &any.sin_addr);
  assert_int_equal(uv_tcp_bind(&s->listener, (struct sockaddr *)&any, 0), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&s->listener, 16, on_client), 0);
  uv_tcp_getsockname(&s->listener, (struct sockaddr *)&name, &len);
  s->port = ntohs(((struct sockaddr_in *)&name)->sin_port);
}

static void server_stop(server *s) {
  uv_close((uv_handle_t *)&s->listener, NULL);
  uv_run(&loop, UV_RUN_NOWAIT);
}

static int set_up(void **state) {
  peer_setup();
  uv_loop_init(&loop);
  return 0;
}

/* The server's ends of the connections notice that ours are gone; then nothing is left. */
static int tear_down(void **state) {
  cxb_http_client_close();
  uint64_t until = uv_now(&loop) + 30000;
  while (uv_loop_alive(&loop) && uv_now(&loop) < until)
    uv_run(&loop, UV_RUN_ONCE);
  return uv_loop_close(&loop);
}

static const char *url_of(const char *host, const server *s) {
  static char url[256];
  snprintf(url, sizeof url, "http://%s:%d/", host, s->port);
  return url;
}

static void a_name_that_changes_its_answer_is_judged_by_the_address_dialled(void **state) {
  server s;
  server_start(&s);
  /* 127.0.0.2 stands for a public server: it is an exception, 127.0.0.1 is none. */
  const char *const answers[] = {"127.0.0.2", "127.0.0.1", NULL};
  scripted = answers;
  questions = 0;
  outcome first = request(url_of("evil.test", &s), "127.0.0.2");
  assert_int_equal(first.err, 0);
  assert_int_equal(first.status, 200);
  cxb_http_client_close(); /* names and connections kept so far are forgotten */
  for (int i = 0; i < 10; i++)
    uv_run(&loop, UV_RUN_NOWAIT);
  outcome second = request(url_of("evil.test", &s), "127.0.0.2");
  assert_int_equal(questions, 2);
  assert_int_equal(second.err, CXB_EDENIED);
  assert_int_equal(s.connections, 1);
  server_stop(&s);
}

static void a_kept_connection_is_no_way_around(void **state) {
  server s;
  server_start(&s);
  const char *const answers[] = {"127.0.0.1", NULL};
  scripted = answers;
  assert_int_equal(request(url_of("evil.test", &s), NULL).status, 200);
  assert_int_equal(request(url_of("evil.test", &s), "").err, CXB_EDENIED);
  assert_int_equal(request(url_of("evil.test", &s), "10.0.0.0/8").err, CXB_EDENIED);
  assert_int_equal(request(url_of("evil.test", &s), "evil.test").status, 200);
  assert_int_equal(s.connections, 2); /* the kept one, and one for the name that is an exception */
  server_stop(&s);
}

static void addresses_in_odd_forms_are_seen_through(void **state) {
  server s;
  server_start(&s);
  const char *const hosts[] = {"127.0.0.1", "2130706433", "0x7f000001",        "0177.0.0.1",
                               "127.1",     "[::1]",      "[::ffff:127.0.0.1]"};
  for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
    outcome o = request(url_of(hosts[i], &s), "");
    if (o.err != CXB_EDENIED)
      fail_msg("%s: %d", hosts[i], o.err);
  }
  assert_int_equal(s.connections, 0);
  assert_int_equal(request("http://u:p@127.0.0.1/", "127.0.0.0/8").err, CXB_EDENIED);
  server_stop(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(only_plain_http_urls_pass),
      cmocka_unit_test(special_addresses_are_refused),
      cmocka_unit_test(an_address_of_this_machine_is_refused),
      cmocka_unit_test(exceptions_are_hosts_and_networks),
      cmocka_unit_test_setup_teardown(
          a_name_that_changes_its_answer_is_judged_by_the_address_dialled, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_kept_connection_is_no_way_around, set_up, tear_down),
      cmocka_unit_test_setup_teardown(addresses_in_odd_forms_are_seen_through, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
