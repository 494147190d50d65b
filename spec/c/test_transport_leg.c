/* A leg on a real socket with a real session: the upgrade, the close codes, who goes first. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/time.h"
#include "transport/leg.h"

static const char request[] =
    "GET /twilio/demo?x=1 HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
static const char connected[] = "{\"event\":\"connected\"}";
static const char start[] = "{\"event\":\"start\",\"streamSid\":\"MZ1\",\"start\":{}}";

typedef struct talk {
  uv_loop_t loop;
  uv_timer_t tick;
  cxb_media *media;
  cxb_session *session;
  int fd;          /* the far end's */
  cxb_buf in;      /* what it received */
  cxb_buf texts;   /* text messages of it, one a line */
  size_t binaries; /* and how many binary ones */
  int peer_code;   /* of the close frame it got */
  cxb_buf log;     /* the session's events, one a line */
  bool closed, freed;
} talk;

/* ---- the script's side ---- */

static const char *const names[] = {
    [CXB_EV_START] = "start",       [CXB_EV_ANSWER] = "answer",
    [CXB_EV_SPEECH] = "speech",     [CXB_EV_SILENCE] = "silence",
    [CXB_EV_DTMF] = "dtmf",         [CXB_EV_BEEP] = "beep",
    [CXB_EV_TEXT] = "text",         [CXB_EV_CLEARED] = "cleared",
    [CXB_EV_PLAYED] = "played",     [CXB_EV_FIRST_FRAME] = "first_frame",
    [CXB_EV_TRANSFER] = "transfer", [CXB_EV_STOP] = "stop",
    [CXB_EV_ERROR] = "error",       [CXB_EV_CLOSED] = "closed"};

static void on_event(void *arg, const cxb_event *e) {
  talk *t = arg;
  cxb_buf_printf(&t->log, "%s %s %d\n", names[e->type], e->text ? e->text : "-", e->code);
  t->closed |= e->type == CXB_EV_CLOSED;
}

static void on_freed(void *arg) {
  ((talk *)arg)->freed = true;
}

static void on_tick(uv_timer_t *timer) {
}

/* ---- the far end: a client that masks ---- */

static void peer_send(talk *t, int opcode, const void *data, size_t len) {
  uint8_t head[14] = {(uint8_t)(0x80 | opcode)}, mask[4] = {1, 2, 3, 4};
  size_t n = 2;
  if (len < 126) {
    head[1] = (uint8_t)(0x80 | len);
  } else if (len < 65536) {
    head[1] = 0x80 | 126;
    head[2] = (uint8_t)(len >> 8);
    head[3] = (uint8_t)len;
    n = 4;
  } else {
    head[1] = 0x80 | 127;
    for (int i = 0; i < 8; i++)
      head[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
    n = 10;
  }
  memcpy(head + n, mask, 4);
  uint8_t *frame = malloc(n + 4 + len);
  memcpy(frame, head, n + 4);
  for (size_t i = 0; i < len; i++)
    frame[n + 4 + i] = ((const uint8_t *)data)[i] ^ mask[i % 4];
  for (size_t at = 0; at < n + 4 + len;) {
    ssize_t w = write(t->fd, frame + at, n + 4 + len - at);
    if (w < 0 && errno != EAGAIN)
      break;
    at += w > 0 ? (size_t)w : 0;
  }
  free(frame);
}

static void peer_text(talk *t, const char *text) {
  peer_send(t, 1, text, strlen(text));
}

static void peer_frame(talk *t, int opcode, const uint8_t *data, size_t len) {
  if (opcode == 1) {
    cxb_buf_add(&t->texts, data, len);
    cxb_buf_str(&t->texts, "\n");
  } else if (opcode == 2) {
    t->binaries++;
  } else if (opcode == 8 && len >= 2) {
    t->peer_code = data[0] << 8 | data[1];
    peer_send(t, 8, data, 2);
  }
}

static void peer_parse(talk *t) {
  const uint8_t *p = (const uint8_t *)t->in.data;
  const char *end = t->in.len ? strstr(t->in.data, "\r\n\r\n") : NULL;
  if (t->in.len >= 4 && memcmp(p, "HTTP", 4) == 0) {
    if (!end)
      return;
    assert_non_null(strstr(t->in.data, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")); /* RFC 6455 §1.3 */
    assert_memory_equal(p, "HTTP/1.1 101", 12);
    cxb_buf_consume(&t->in, (size_t)(end + 4 - t->in.data));
    p = (const uint8_t *)t->in.data;
  }
  while (t->in.len >= 2) {
    size_t len = p[1] & 127, head = 2;
    if (len == 126) {
      if (t->in.len < 4)
        return;
      len = (size_t)p[2] << 8 | p[3];
      head = 4;
    }
    assert_int_not_equal(len, 127);
    if (t->in.len < head + len)
      return;
    peer_frame(t, p[0] & 15, p + head, len);
    cxb_buf_consume(&t->in, head + len);
    p = (const uint8_t *)t->in.data;
  }
}

static bool peer_gone; /* read() saw the end */

static void peer_read(talk *t) {
  char chunk[8192];
  ssize_t n;
  while ((n = read(t->fd, chunk, sizeof chunk)) > 0)
    cxb_buf_add(&t->in, chunk, (size_t)n);
  peer_gone = n == 0;
  peer_parse(t);
}

/* ---- both ---- */

#define RUN_UNTIL(t, reads, condition)                                                             \
  do {                                                                                             \
    int64_t end_ = cxb_mono_ms() + 30000;                                                          \
    while (!(condition) && cxb_mono_ms() < end_) {                                                 \
      uv_run(&(t)->loop, UV_RUN_ONCE);                                                             \
      if (reads)                                                                                   \
        peer_read(t);                                                                              \
    }                                                                                              \
    if (!(condition))                                                                              \
      fail_msg("in 30 s not: %s\nlog:\n%s", #condition, (t)->log.data);                            \
  } while (0)

static talk *begin(const char *wire, const char *head) {
  talk *t = calloc(1, sizeof *t);
  int pair[2];
  cxb_buf_str(&t->log, "");
  cxb_buf_str(&t->texts, "");
  assert_int_equal(uv_loop_init(&t->loop), 0);
  uv_timer_init(&t->loop, &t->tick);
  uv_timer_start(&t->tick, on_tick, 5, 5);
  assert_int_equal(cxb_media_new(&t->loop, &t->media), 0);
  const cxb_session_config config = {.on_event = on_event, .arg = t};
  assert_int_equal(cxb_session_new(t->media, &config, &t->session), 0);
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  t->fd = pair[0];
  fcntl(t->fd, F_SETFL, O_NONBLOCK);
  assert_int_equal(cxb_leg_accept(t->media, t->session, cxb_serializer_find(wire), NULL, pair[1],
                                  strdup(head), strlen(head), NULL),
                   0);
  return t;
}

static talk *begin_talking(void) {
  talk *t = begin("twilio", request);
  peer_text(t, connected);
  peer_text(t, start);
  RUN_UNTIL(t, true, strstr(t->log.data, "answer"));
  return t;
}

static void on_shut(void *arg) {
  uv_sem_post(arg);
}

static void end(talk *t) {
  uv_sem_t shut;
  cxb_session_close(t->session, on_freed, t);
  RUN_UNTIL(t, true, t->freed);
  uv_sem_init(&shut, 0);
  cxb_leg_shutdown(t->media, on_shut, &shut);
  uv_sem_wait(&shut);
  uv_sem_destroy(&shut);
  cxb_media_close(t->media);
  uv_close((uv_handle_t *)&t->tick, NULL);
  uv_run(&t->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&t->loop), 0);
  if (t->fd >= 0)
    close(t->fd);
  cxb_buf_free(&t->in);
  cxb_buf_free(&t->texts);
  cxb_buf_free(&t->log);
  free(t);
}

static void an_upgrade_carries_speech_and_its_mark(void **state) {
  talk *t = begin_talking();
  static const int16_t pcm[8000];
  uint32_t id = cxb_session_say_begin(t->session, 8000);
  assert_int_equal(cxb_session_say_push(t->session, id, pcm, 3200), 0);
  assert_int_equal(cxb_session_say_end(t->session, id, 0), 0);
  RUN_UNTIL(t, true, strstr(t->texts.data, "\"mark\""));
  size_t frames = 0;
  for (const char *at = t->texts.data; (at = strstr(at, "{\"event\":\"media\"")); at++)
    frames++;
  assert_int_equal(frames, 10);
  peer_text(t, "{\"event\":\"mark\",\"streamSid\":\"MZ1\",\"mark\":{\"name\":\"u1\"}}");
  RUN_UNTIL(t, true, strstr(t->log.data, "played"));
  end(t);
}

static void frames_that_came_with_the_request_are_read(void **state) {
  char head[2000]; /* the handshake's messages came in the same packet as the request */
  size_t n = sizeof request - 1;
  memcpy(head, request, n);
  const char *texts[] = {connected, start};
  for (int i = 0; i < 2; i++) {
    size_t len = strlen(texts[i]);
    assert_true(len < 126);
    head[n++] = (char)0x81;
    head[n++] = (char)(0x80 | len);
    memset(head + n, 0x20, 4);
    n += 4;
    for (size_t k = 0; k < len; k++)
      head[n++] = (char)(texts[i][k] ^ 0x20);
  }
  talk *t = begin("twilio", request); /* a second session takes the socket with those bytes */
  int pair[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  close(t->fd);
  RUN_UNTIL(t, false, t->closed);
  cxb_session_close(t->session, on_freed, t);
  RUN_UNTIL(t, false, t->freed);
  t->closed = t->freed = false;
  t->fd = pair[0];
  fcntl(t->fd, F_SETFL, O_NONBLOCK);
  const cxb_session_config config = {.on_event = on_event, .arg = t};
  assert_int_equal(cxb_session_new(t->media, &config, &t->session), 0);
  char *copy = malloc(n);
  memcpy(copy, head, n);
  assert_int_equal(cxb_leg_accept(t->media, t->session, cxb_serializer_find("twilio"), NULL,
                                  pair[1], copy, n, NULL),
                   0);
  RUN_UNTIL(t, true, strstr(t->log.data, "answer"));
  end(t);
}

static void closes(talk *t, int code) {
  RUN_UNTIL(t, true, t->closed && peer_gone);
  assert_int_equal(t->peer_code, code);
  char want[40];
  snprintf(want, sizeof want, "%d\n", code);
  assert_string_equal(strrchr(t->log.data, ' ') + 1, want);
  end(t);
}

static void each_failure_has_its_close_code(void **state) {
  talk *t = begin("twilio", request);
  peer_text(t, start);
  closes(t, 1002);
  t = begin("twilio", request);
  peer_text(t, connected);
  peer_text(t, "{\"event\":\"start\",\"start\":{\"mediaFormat\":{\"encoding\":\"audio/x-l16\"}}}");
  closes(t, 1003);
  char *big = malloc(65537);
  memset(big, ' ', 65537);
  t = begin_talking();
  peer_send(t, 1, big, 65537);
  closes(t, 1009);
  free(big);
  t = begin_talking();
  peer_send(t, 1, "\xff\xfe", 2);
  closes(t, 1007);
  t = begin_talking();
  cxb_session_abort(t->session, 1011);
  closes(t, 1011);
}

static void a_stop_closes_1000(void **state) {
  talk *t = begin_talking();
  peer_text(t, "{\"event\":\"stop\",\"streamSid\":\"MZ1\"}");
  RUN_UNTIL(t, true, t->closed);
  assert_int_equal(t->peer_code, 1000);
  assert_non_null(strstr(t->log.data, "stop  0\nclosed"));
  end(t);
}

static void a_lost_socket_closes_1006(void **state) {
  talk *t = begin_talking();
  close(t->fd);
  t->fd = -1;
  RUN_UNTIL(t, false, t->closed);
  assert_non_null(strstr(t->log.data, "1006\n"));
  end(t);
}

static void a_request_that_is_no_upgrade_starts_nothing(void **state) {
  talk *t = begin("twilio", "GET / HTTP/1.1\r\nHost: t\r\n\r\n");
  RUN_UNTIL(t, false, t->closed);
  assert_null(strstr(t->log.data, "start"));
  end(t);
}

static void an_owner_may_leave_before_the_socket_was_adopted(void **state) {
  talk *t = begin("browser", request); /* the owner leaves before the socket was adopted */
  end(t);
}

static void the_51st_bad_message_in_10_s_ends_the_call(void **state) {
  talk *t = begin_talking();
  for (int i = 0; i < 50; i++)
    peer_text(t, "{");
  peer_text(t, "{\"event\":\"dtmf\",\"dtmf\":{\"digit\":\"1\"}}");
  RUN_UNTIL(t, true, strstr(t->log.data, "dtmf"));
  assert_null(strstr(t->log.data, "error"));
  peer_text(t, "{");
  RUN_UNTIL(t, true, t->closed);
  assert_non_null(strstr(t->log.data, "error protocol_errors"));
  end(t);
}

static void a_peer_that_does_not_read_ends_the_call(void **state) {
  talk *t = begin("browser", request);
  char *note = malloc(60000);
  memset(note, '1', 60000);
  peer_text(t, "{\"type\":\"start\",\"rate\":16000}");
  RUN_UNTIL(t, true, strstr(t->log.data, "answer"));
  for (int i = 0; i < 30; i++) /* 1.8 MB, and nobody reads */
    cxb_session_note(t->session, note, 60000);
  free(note);
  RUN_UNTIL(t, false, t->closed);
  assert_non_null(strstr(t->log.data, "error slow_peer"));
  end(t);
}

static void pings_and_stray_pongs_are_harmless(void **state) {
  talk *t = begin_talking();
  peer_send(t, 9, "abc", 3);
  peer_send(t, 10, "", 0); /* a pong nobody asked for */
  peer_text(t, "{\"event\":\"dtmf\",\"dtmf\":{\"digit\":\"2\"}}");
  RUN_UNTIL(t, true, strstr(t->log.data, "dtmf"));
  assert_false(t->closed);
  end(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_upgrade_carries_speech_and_its_mark),
      cmocka_unit_test(frames_that_came_with_the_request_are_read),
      cmocka_unit_test(each_failure_has_its_close_code),
      cmocka_unit_test(a_stop_closes_1000),
      cmocka_unit_test(a_lost_socket_closes_1006),
      cmocka_unit_test(a_request_that_is_no_upgrade_starts_nothing),
      cmocka_unit_test(an_owner_may_leave_before_the_socket_was_adopted),
      cmocka_unit_test(the_51st_bad_message_in_10_s_ends_the_call),
      cmocka_unit_test(a_peer_that_does_not_read_ends_the_call),
      cmocka_unit_test(pings_and_stray_pongs_are_harmless),
  };
  return cmocka_run_group_tests_name("legs on sockets", tests, NULL, NULL);
}
