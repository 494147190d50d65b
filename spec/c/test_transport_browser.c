/* The browser's test call, both ways, message by message (core spec §3.8). */
#include "transport_log.h"

static const char start[] =
    "{\"type\":\"start\",\"rate\":16000,\"variables\":{\"name\":\"Ravi\"},\"extra\":1}";

static cxb_session *talking(void) {
  cxb_session *s = begin("browser");
  feed(s, start);
  assert_non_null(strstr(s->log.data, "answer\n"));
  cxb_buf_clear(&s->log);
  cxb_buf_str(&s->log, "");
  return s;
}

static void a_start_at_three_rates_begins_an_answered_call(void **state) {
  static const int rates[] = {16000, 24000, 48000};
  for (int i = 0; i < 3; i++) {
    cxb_session *s = begin("browser");
    char text[100], want[100];
    snprintf(text, sizeof text, "{\"type\":\"start\",\"rate\":%d}", rates[i]);
    feed(s, text);
    int n = snprintf(want, sizeof want, "start %d ws-", rates[i]);
    assert_memory_equal(s->log.data, want, (size_t)n);
    assert_non_null(strstr(s->log.data, "answer\n"));
    end(s);
  }
  cxb_session *s = begin("browser");
  feed(s, start);
  assert_non_null(strstr(s->log.data,
                         " [] [] [-] incoming {\"rate\":16000,\"variables\":{\"name\":\"Ravi\"},"
                         "\"extra\":1,\"callerId\":\"\",\"did\":\"\",\"callDirection\":"
                         "\"incoming\",\"streamId\":\"ws-"));
  end(s);
}

static void other_rates_close_1003(void **state) {
  static const char *const rates[] = {"8000", "44100", "\"16000\"", "null", "16000.5", "-1"};
  for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
    cxb_session *s = begin("browser");
    char text[100];
    snprintf(text, sizeof text, "{\"type\":\"start\",\"rate\":%s}", rates[i]);
    feed(s, text);
    heard(s, "closed 1003 format_unsupported\n");
    end(s);
  }
}

static void binary_audio_of_any_even_size_arrives(void **state) {
  cxb_session *s = begin("browser");
  uint8_t bytes[10001];
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)(i * 7);
  feed_binary(s, bytes, 640); /* before the start */
  assert_int_equal(s->audio.len, 0);
  feed(s, start);
  cxb_buf_clear(&s->log);
  cxb_buf_str(&s->log, "");
  feed_binary(s, bytes + 1, 10000); /* an odd address, and longer than a frame */
  assert_int_equal(s->audio.len, 10000);
  assert_memory_equal(s->audio.data, bytes + 1, 10000);
  heard(s, "");
  feed_binary(s, bytes, 641);
  heard(s, "drop bad_audio\n");
  feed_binary(s, bytes, 0);
  heard(s, "");
  assert_int_equal(cxb_leg_counted(s->leg)->ignored, 2);
  int16_t pcm[320] = {0};
  assert_int_equal(s->ops->frame(s->leg, pcm, 320), 0);
  sent(s, "<binary 640>\n");
  end(s);
}

static void keys_and_typed_words_arrive_and_the_rest_is_ignored(void **state) {
  cxb_session *s = talking();
  feed(s, "{\"type\":\"dtmf\",\"digit\":\"*\"}");
  feed(s, "{\"type\":\"text\",\"text\":\"When do you open? \\u20ac\"}");
  heard(s, "dtmf *\ntext When do you open? \xe2\x82\xac\n");
  static const char *const ignored[] = {start,
                                        "{\"type\":\"text\"}",
                                        "{\"type\":\"text\",\"text\":\"\"}",
                                        "{\"type\":\"mark\"}",
                                        "{\"event\":\"stop\"}",
                                        "{\"type\":\"clear\",\"played_ms\":20}"};
  size_t n = sizeof ignored / sizeof *ignored;
  for (size_t i = 0; i < n; i++)
    feed(s, ignored[i]);
  heard(s, "");
  assert_int_equal(cxb_leg_counted(s->leg)->ignored, n);
  feed(s, "start");
  heard(s, "drop bad_message\n");
  end(s);
}

static void marks_come_back_with_the_milliseconds_played(void **state) {
  cxb_session *s = talking();
  assert_int_equal(s->ops->mark(s->leg, "u1"), 0);
  sent(s, "{\"type\":\"mark\",\"name\":\"u1\"}\n");
  feed(s, "{\"type\":\"mark\",\"name\":\"u1\",\"played_ms\":1480.5}");
  heard(s, "mark [u1] 1480\n");
  s->ops->mark(s->leg, "u2");
  feed(s, "{\"type\":\"mark\",\"name\":\"u2\",\"played_ms\":\"x\"}");
  feed(s, "{\"type\":\"mark\",\"name\":\"u3\",\"played_ms\":-4}");
  feed(s, "{\"type\":\"mark\",\"name\":\"u3\",\"played_ms\":1e300}");
  heard(s, "mark [u2] -1\nmark [u3] -1\nmark [u3] -1\n");
  end(s);
}

static void a_clear_is_answered_with_what_was_played(void **state) {
  cxb_session *s = talking();
  assert_true(s->ops->answers_clear);
  s->ops->mark(s->leg, "u1");
  cxb_buf_clear(&s->sent);
  assert_int_equal(s->ops->clear(s->leg), 0);
  sent(s, "{\"type\":\"clear\"}\n");
  cxb_leg_advance(s->leg, 499);
  feed(s, "{\"type\":\"mark\",\"name\":\"u1\",\"played_ms\":700}");
  feed(s, "{\"type\":\"clear\",\"played_ms\":640}");
  heard(s, "mark [u1] 700 cleared\nmark [] 640 cleared\n");
  cxb_leg_advance(s->leg, 5000);
  feed(s, "{\"type\":\"clear\",\"played_ms\":640}");
  heard(s, "");
  end(s);
}

static void a_silent_page_is_given_500_ms_after_a_clear(void **state) {
  cxb_session *s = talking();
  s->ops->clear(s->leg);
  cxb_leg_advance(s->leg, 499);
  heard(s, "");
  cxb_leg_advance(s->leg, 1);
  heard(s, "mark [] -1 cleared\n");
  end(s);
}

static void notes_go_to_the_page_once_it_has_started(void **state) {
  static const char note[] = "{\"type\":\"state\",\"value\":\"listening\"}";
  cxb_session *s = begin("browser");
  assert_int_equal(s->ops->note(s->leg, note, sizeof note - 1), CXB_ECLOSED);
  feed(s, start);
  assert_int_equal(s->ops->note(s->leg, note, sizeof note - 1), 0);
  sent(s, "{\"type\":\"state\",\"value\":\"listening\"}\n");
  end(s);
}

static void after_stop_the_page_gets_its_end_and_no_audio(void **state) {
  cxb_session *s = talking();
  int16_t pcm[320] = {0};
  feed(s, "{\"type\":\"stop\"}");
  heard(s, "stop []\n");
  assert_int_equal(s->ops->frame(s->leg, pcm, 320), CXB_ECLOSED);
  static const char note[] = "{\"type\":\"end\",\"disconnected_by\":\"customer\"}";
  assert_int_equal(s->ops->note(s->leg, note, sizeof note - 1), 0);
  sent(s, "{\"type\":\"end\",\"disconnected_by\":\"customer\"}\n");
  s->ops->hangup(s->leg);
  cxb_leg_advance(s->leg, 1);
  heard(s, "closed 1000 \n");
  end(s);
}

static void a_page_that_never_starts_is_closed_after_10_s(void **state) {
  cxb_session *s = begin("browser");
  feed(s, "{\"type\":\"stop\"}");
  feed(s, "{\"type\":\"dtmf\",\"digit\":\"1\"}");
  heard(s, "");
  cxb_leg_advance(s->leg, 10000);
  heard(s, "closed 1002 handshake_timeout\n");
  end(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_start_at_three_rates_begins_an_answered_call),
      cmocka_unit_test(other_rates_close_1003),
      cmocka_unit_test(binary_audio_of_any_even_size_arrives),
      cmocka_unit_test(keys_and_typed_words_arrive_and_the_rest_is_ignored),
      cmocka_unit_test(marks_come_back_with_the_milliseconds_played),
      cmocka_unit_test(a_clear_is_answered_with_what_was_played),
      cmocka_unit_test(a_silent_page_is_given_500_ms_after_a_clear),
      cmocka_unit_test(notes_go_to_the_page_once_it_has_started),
      cmocka_unit_test(after_stop_the_page_gets_its_end_and_no_audio),
      cmocka_unit_test(a_page_that_never_starts_is_closed_after_10_s),
  };
  return cmocka_run_group_tests_name("the browser's wire", tests, NULL, NULL);
}
