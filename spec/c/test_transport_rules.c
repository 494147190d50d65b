/* What holds for every wire alike (core spec §3.1): one row a wire, one test a rule. */
#include "transport_log.h"

#include <stdarg.h>

typedef struct wire {
  const char *name, *query;
  const char *handshake[4]; /* up to the answer */
  bool binary;              /* carries its audio so */
  const char *media;        /* the text of a media message */
  size_t max_text;
  bool ordered; /* a start without what comes before it closes 1002 */
} wire;

static const wire wires[] = {
    {.name = "cxb",
     .handshake = {"{\"event\":\"connected\"}", "{\"event\":\"start\"}", "{\"event\":\"answer\"}"},
     .media = "{\"event\":\"media\",\"payload\":\"%s\"}",
     .max_text = 65536,
     .ordered = true},
    {.name = "exotel",
     .handshake = {"{\"event\":\"connected\"}", "{\"event\":\"start\"}"},
     .media = "{\"event\":\"media\",\"media\":{\"payload\":\"%s\"}}",
     .max_text = 262144,
     .ordered = true},
    {.name = "twilio",
     .handshake = {"{\"event\":\"connected\"}", "{\"event\":\"start\"}"},
     .media = "{\"event\":\"media\",\"media\":{\"track\":\"inbound\",\"payload\":\"%s\"}}",
     .max_text = 65536,
     .ordered = true},
    {.name = "asterisk",
     .handshake = {"{\"event\":\"MEDIA_START\",\"format\":\"slin\",\"optimal_frame_size\":320}"},
     .binary = true,
     .max_text = 65536},
    {.name = "audiofork",
     .handshake = {"{\"sampleRate\":8000}"},
     .binary = true,
     .max_text = 65536},
    {.name = "browser",
     .handshake = {"{\"type\":\"start\",\"rate\":16000}"},
     .binary = true,
     .max_text = 65536},
};
enum { COUNT = sizeof wires / sizeof *wires };

static size_t steps(const wire *w) {
  size_t n = 0;
  while (n < 4 && w->handshake[n])
    n++;
  return n;
}

static cxb_session *fresh(const wire *w) {
  return begin_with(w->name, w->query ? w->query : "", NULL);
}

static cxb_session *talking(const wire *w) {
  cxb_session *s = fresh(w);
  for (size_t i = 0; i < steps(w); i++)
    feed(s, w->handshake[i]);
  assert_non_null(strstr(s->log.data, "answer\n"));
  cxb_buf_clear(&s->log);
  cxb_buf_str(&s->log, "");
  cxb_buf_clear(&s->sent);
  cxb_buf_str(&s->sent, "");
  return s;
}

static void give(cxb_session *s, const wire *w, const void *audio, size_t len) {
  if (w->binary)
    feed_binary(s, audio, len);
  else
    feed_media(s, w->media, audio, len);
}

static void a_handshake_has_ten_seconds(void **state) {
  for (int i = 0; i < COUNT; i++) {
    cxb_session *s = fresh(&wires[i]);
    for (size_t step = 0; wires[i].ordered && step < 1; step++)
      feed(s, wires[i].handshake[step]);
    cxb_leg_advance(s->leg, 9999);
    heard(s, "");
    cxb_leg_advance(s->leg, 1);
    heard(s, "closed 1002 handshake_timeout\n");
    end(s);
    s = talking(&wires[i]);
    cxb_leg_advance(s->leg, 3600000);
    assert_int_equal(cxb_leg_close_code(s->leg), 0);
    end(s);
  }
}

static void a_handshake_out_of_order_closes_1002_and_repeated_is_ignored(void **state) {
  for (int i = 0; i < COUNT; i++) {
    cxb_session *s;
    for (size_t step = 1; wires[i].ordered && step < steps(&wires[i]); step++) {
      s = fresh(&wires[i]);
      feed(s, wires[i].handshake[step]);
      heard(s, "closed 1002 out_of_order\n");
      end(s);
    }
    s = talking(&wires[i]);
    for (size_t step = 0; step < steps(&wires[i]); step++)
      feed(s, wires[i].handshake[step]);
    heard(s, "");
    assert_int_equal(cxb_leg_counted(s->leg)->ignored, steps(&wires[i]));
    end(s);
  }
}

static void audio_before_the_start_is_dropped(void **state) {
  for (int i = 0; i < COUNT; i++) {
    cxb_session *s = fresh(&wires[i]);
    give(s, &wires[i], "abcdefgh", 8);
    assert_int_equal(s->audio.len, 0);
    assert_int_equal(cxb_leg_close_code(s->leg), 0);
    end(s);
  }
}

static void unknown_events_and_wrong_types_are_ignored_and_counted(void **state) {
  static const char *const odd[] = {"{}",
                                    "{\"event\":\"weather\",\"type\":\"weather\"}",
                                    "{\"event\":7,\"type\":7}",
                                    "{\"event\":null,\"type\":[]}",
                                    "{\"event\":\"dtmf\",\"type\":\"dtmf\",\"dtmf\":[1]}",
                                    "{\"event\":\"dtmf\",\"dtmf\":{\"digit\":\"55\"}}",
                                    "{\"event\":\"mark\",\"type\":\"mark\",\"mark\":3,\"data\":3}"};
  enum { ODD = sizeof odd / sizeof *odd };
  for (int i = 0; i < COUNT; i++) {
    cxb_session *s = talking(&wires[i]);
    for (int k = 0; k < ODD; k++)
      feed(s, odd[k]);
    heard(s, "");
    assert_int_equal(cxb_leg_counted(s->leg)->ignored, ODD);
    if (!wires[i].binary) {
      feed_binary(s, "abcd", 4);
      heard(s, "");
      assert_int_equal(cxb_leg_counted(s->leg)->ignored, ODD + 1);
    }
    end(s);
  }
}

static void bad_json_bad_base64_and_half_samples_are_dropped_and_counted(void **state) {
  for (int i = 0; i < COUNT; i++) {
    const wire *w = &wires[i];
    cxb_session *s = talking(w);
    feed(s, "{\"event\":");
    feed(s, "[1]");
    feed(s, "\xff\xfe");
    heard(s, "drop bad_message\ndrop bad_message\ndrop bad_message\n");
    give(s, w, "", 0);
    assert_int_equal(cxb_leg_counted(s->leg)->ignored, 1);
    if (w->binary) {
      feed_binary(s, "abc", 3);
    } else {
      char text[300];
      const char *at = strstr(w->media, "%s");
      snprintf(text, sizeof text, "%.*s*AAA%s", (int)(at - w->media), w->media, at + 2);
      feed(s, text);
    }
    heard(s, "drop bad_audio\n");
    assert_int_equal(s->audio.len, 0);
    assert_int_equal(cxb_leg_close_code(s->leg), 0);
    end(s);
  }
}

static void messages_above_the_limit_close_1009(void **state) {
  char *big = malloc(262146);
  memset(big, ' ', 262146);
  memcpy(big, "{}", 2);
  for (int i = 0; i < COUNT; i++) {
    cxb_session *s = talking(&wires[i]);
    cxb_leg_feed(s->leg, false, big, wires[i].max_text);
    assert_int_equal(cxb_leg_close_code(s->leg), 0);
    cxb_leg_feed(s->leg, false, big, wires[i].max_text + 1);
    assert_int_equal(cxb_leg_close_code(s->leg), 1009);
    end(s);
    s = talking(&wires[i]);
    cxb_leg_feed(s->leg, true, big, 65536);
    assert_int_equal(cxb_leg_close_code(s->leg), 0);
    cxb_leg_feed(s->leg, true, big, 65537);
    assert_int_equal(cxb_leg_close_code(s->leg), 1009);
    end(s);
  }
  free(big);
}

static void a_full_send_buffer_ends_the_call_as_slow_peer(void **state) {
  static const int16_t pcm[960];
  for (int i = 0; i < COUNT; i++) {
    cxb_session *s = talking(&wires[i]);
    s->full = true;
    int r = 0;
    for (int frames = 0; frames < 50 && r == 0; frames++)
      r = s->ops->frame(s->leg, pcm, 160);
    assert_int_equal(r, CXB_EAGAIN);
    assert_int_equal(s->ops->frame(s->leg, pcm, 160), CXB_ECLOSED);
    cxb_leg_advance(s->leg, 1);
    heard(s, "error slow_peer\nclosed 1008 slow_peer\n");
    end(s);
  }
}

static void a_hangup_that_goes_another_way_leaves_the_socket_open(void **state) {
  const cxb_leg_options options = {.hangup_elsewhere = true};
  for (int i = 0; i < COUNT; i++) {
    cxb_session *s = begin_with(wires[i].name, wires[i].query ? wires[i].query : "", &options);
    for (size_t step = 0; step < steps(&wires[i]); step++)
      feed(s, wires[i].handshake[step]);
    size_t sends = s->sends;
    assert_int_equal(s->ops->hangup(s->leg), 0);
    assert_int_equal(s->ops->hangup(s->leg), 0);
    cxb_leg_advance(s->leg, 1000);
    assert_int_equal(s->sends, sends);
    assert_int_equal(cxb_leg_close_code(s->leg), 0);
    end(s);
  }
}

static void after_the_end_nothing_is_read_or_sent(void **state) {
  static const int16_t pcm[960];
  for (int i = 0; i < COUNT; i++) {
    cxb_session *s = talking(&wires[i]);
    cxb_leg_lost(s->leg, 1006);
    heard(s, "closed 1006 \n");
    give(s, &wires[i], "abcd", 4);
    assert_int_equal(s->ops->frame(s->leg, pcm, 160), CXB_ECLOSED);
    assert_int_equal(s->ops->clear(s->leg), CXB_ECLOSED);
    assert_int_equal(s->ops->hangup(s->leg), CXB_ECLOSED);
    cxb_leg_advance(s->leg, 60000);
    heard(s, "");
    sent(s, "");
    end(s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_handshake_has_ten_seconds),
      cmocka_unit_test(a_handshake_out_of_order_closes_1002_and_repeated_is_ignored),
      cmocka_unit_test(audio_before_the_start_is_dropped),
      cmocka_unit_test(unknown_events_and_wrong_types_are_ignored_and_counted),
      cmocka_unit_test(bad_json_bad_base64_and_half_samples_are_dropped_and_counted),
      cmocka_unit_test(messages_above_the_limit_close_1009),
      cmocka_unit_test(a_full_send_buffer_ends_the_call_as_slow_peer),
      cmocka_unit_test(a_hangup_that_goes_another_way_leaves_the_socket_open),
      cmocka_unit_test(after_the_end_nothing_is_read_or_sent),
  };
  return cmocka_run_group_tests_name("rules of every wire", tests, NULL, NULL);
}
