/* Telnyx media streaming, both ways, message by message (core spec §3.5). */
#include "transport_log.h"

#include "media/g711.h"

static const char connected[] = "{\"event\":\"connected\",\"version\":\"1.0.0\"}";
static const char start[] =
    "{\"event\":\"start\",\"sequence_number\":\"1\",\"start\":{\"user_id\":\"U1\","
    "\"call_control_id\":\"v2:T1\",\"call_session_id\":\"S1\",\"from\":\"+1555\",\"to\":\"+1444\","
    "\"client_state\":\"aGk=\",\"custom_parameters\":{\"campaign\":\"spring\"},\"media_format\":{"
    "\"encoding\":\"%s\",\"sample_rate\":%d,\"channels\":1}},\"stream_id\":\"TX1\"}";

static cxb_session *talking(const char *encoding, int rate) {
  cxb_session *s = begin("telnyx");
  char text[500];
  snprintf(text, sizeof text, start, encoding, rate);
  feed(s, connected);
  feed(s, text);
  assert_non_null(strstr(s->log.data, "answer\n"));
  cxb_buf_clear(&s->log);
  cxb_buf_str(&s->log, "");
  return s;
}

/* The message with this number; its audio is `samples` times the byte `value`. */
static void chunk_of(cxb_session *s, const char *number, int value, int samples) {
  char format[200];
  uint8_t bytes[480];
  memset(bytes, value, sizeof bytes);
  snprintf(format, sizeof format,
           "{\"event\":\"media\",\"sequence_number\":\"4\",\"media\":{\"track\":\"inbound\","
           "\"chunk\":%s,\"timestamp\":\"5\",\"payload\":\"%%s\"},\"stream_id\":\"TX1\"}",
           number);
  feed_media(s, format, bytes, (size_t)samples);
}

/* Which values were heard, one character a message of two samples. */
static void order(cxb_session *s, const char *want) {
  char got[100] = {0};
  const uint8_t *bytes = (const uint8_t *)s->audio.data;
  for (size_t i = 0; i * 4 < s->audio.len; i++)
    got[i] = (char)bytes[i * 4];
  assert_string_equal(got, want);
}

static void connected_and_start_begin_an_answered_call(void **state) {
  cxb_session *s = begin("telnyx");
  char text[500];
  snprintf(text, sizeof text, start, "PCMU", 8000);
  feed(s, connected);
  feed(s, text);
  heard(s,
        "start 8000 TX1 [+1555] [+1444] [-] incoming {\"user_id\":\"U1\",\"call_control_id\":"
        "\"v2:T1\",\"call_session_id\":\"S1\",\"from\":\"+1555\",\"to\":\"+1444\","
        "\"client_state\":\"aGk=\",\"custom_parameters\":{\"campaign\":\"spring\"},"
        "\"media_format\":{\"encoding\":\"PCMU\",\"sample_rate\":8000,\"channels\":1},"
        "\"campaign\":\"spring\",\"callerId\":\"+1555\",\"did\":\"+1444\",\"callDirection\":"
        "\"incoming\",\"streamId\":\"TX1\"}\nanswer\n");
  end(s);
  s = begin("telnyx");
  feed(s, connected);
  feed(s,
       "{\"event\":\"start\",\"stream_id\":\"TX2\",\"start\":{\"from\":\"+1444\",\"to\":"
       "\"+1555\",\"custom_parameters\":{\"direction\":\"outbound\"}}}");
  assert_memory_equal(s->log.data, "start 8000 TX2 [+1555] [+1444] [+1444] outgoing {", 49);
  end(s);
}

static void five_formats_are_spoken_and_others_close_1003(void **state) {
  static const struct {
    const char *encoding;
    int rate, code;
  } cases[] = {{"PCMU", 8000, 0},     {"PCMA", 8000, 0},     {"L16", 8000, 0},
               {"L16", 16000, 0},     {"l16", 24000, 0},     {"PCMU", 16000, 1003},
               {"L16", 48000, 1003},  {"OPUS", 16000, 1003}, {"G722", 8000, 1003},
               {"AMR-WB", 8000, 1003}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cxb_session *s = begin("telnyx");
    char text[500];
    snprintf(text, sizeof text, start, cases[i].encoding, cases[i].rate);
    feed(s, connected);
    feed(s, text);
    assert_int_equal(cxb_leg_close_code(s->leg), cases[i].code);
    end(s);
  }
}

static void each_codec_has_its_golden_bytes_both_ways(void **state) {
  static const struct {
    const char *encoding;
    int rate;
    const char *payload; /* of 1000, -1000, 0, 32767 */
  } cases[] = {
      {"PCMU", 8000, "zk7/gA=="}, {"PCMA", 8000, "+nrVqg=="}, {"L16", 16000, "A+j8GAAAf/8="}};
  static const int16_t pcm[] = {1000, -1000, 0, 32767};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cxb_session *s = talking(cases[i].encoding, cases[i].rate);
    char text[200];
    assert_int_equal(s->ops->frame(s->leg, pcm, 4), 0);
    snprintf(text, sizeof text, "{\"event\":\"media\",\"media\":{\"payload\":\"%s\"}}\n",
             cases[i].payload);
    sent(s, text);
    snprintf(text, sizeof text,
             "{\"event\":\"media\",\"media\":{\"track\":\"inbound\",\"chunk\":\"1\",\"payload\":"
             "\"%s\"}}",
             cases[i].payload);
    feed(s, text);
    const int16_t *got = (const int16_t *)s->audio.data;
    assert_int_equal(s->audio.len, 8);
    for (int k = 0; k < 4; k++)
      assert_in_range(got[k] - pcm[k] + 1000, 0, 2000);
    if (cases[i].rate == 16000)
      assert_memory_equal(got, pcm, 8);
    end(s);
  }
}

static void messages_that_changed_places_are_put_right(void **state) {
  cxb_session *s = talking("L16", 8000);
  static const char *const numbers[] = {"\"1\"", "\"3\"", "2", "\"6\"", "\"5\"", "4", "7"};
  for (int i = 0; i < 7; i++)
    chunk_of(s, numbers[i], numbers[i][0] == '"' ? numbers[i][1] : numbers[i][0], 4);
  order(s, "1234567");
  cxb_leg_advance(s->leg, 1000);
  order(s, "1234567");
  assert_int_equal(cxb_leg_counted(s->leg)->ignored, 0);
  end(s);
}

static void a_missing_message_is_waited_for_60_ms_and_dropped_when_it_comes_later(void **state) {
  cxb_session *s = talking("L16", 8000);
  chunk_of(s, "1", '1', 4);
  chunk_of(s, "3", '3', 4);
  cxb_leg_advance(s->leg, 20);
  chunk_of(s, "4", '4', 4);
  cxb_leg_advance(s->leg, 39);
  order(s, "1");
  cxb_leg_advance(s->leg, 1);
  order(s, "134");
  chunk_of(s, "2", '2', 4);
  chunk_of(s, "4", '4', 4);
  chunk_of(s, "5", '5', 4);
  order(s, "1345");
  assert_int_equal(cxb_leg_counted(s->leg)->ignored, 2);
  chunk_of(s, "7", '7', 4);
  cxb_leg_advance(s->leg, 30);
  chunk_of(s, "9", '9', 4); /* a second gap has 60 ms of its own */
  cxb_leg_advance(s->leg, 30);
  order(s, "13457");
  cxb_leg_advance(s->leg, 29);
  order(s, "13457");
  chunk_of(s, "8", '8', 4);
  order(s, "1345789");
  end(s);
}

static void a_jump_further_than_can_be_kept_is_followed(void **state) {
  cxb_session *s = talking("L16", 8000);
  chunk_of(s, "2", '2', 4); /* the first two may come the wrong way round */
  chunk_of(s, "1", '1', 4);
  order(s, "12");
  chunk_of(s, "4", '4', 4);
  chunk_of(s, "500", 'x', 4);
  order(s, "124x");
  chunk_of(s, "\"abc\"", 'y', 4); /* no number: at once */
  order(s, "124xy");
  end(s);
}

static void a_damaged_message_out_of_order_is_dropped(void **state) {
  cxb_session *s = talking("L16", 8000);
  chunk_of(s, "1", '1', 4);
  chunk_of(s, "3", '3', 3); /* half a sample */
  feed(s, "{\"event\":\"media\",\"media\":{\"chunk\":4,\"payload\":\"*\"}}");
  heard(s, "drop bad_audio\ndrop bad_audio\n");
  feed(s,
       "{\"event\":\"media\",\"media\":{\"track\":\"outbound\",\"chunk\":2,\"payload\":\"AA\"}}");
  chunk_of(s, "2", '2', 4);
  order(s, "12");
  end(s);
}

static void marks_clear_and_keys(void **state) {
  cxb_session *s = talking("PCMU", 8000);
  s->ops->mark(s->leg, "u\"1");
  s->ops->clear(s->leg);
  sent(s, "{\"event\":\"mark\",\"mark\":{\"name\":\"u\\\"1\"}}\n{\"event\":\"clear\"}\n");
  feed(s, "{\"event\":\"mark\",\"mark\":{\"name\":\"u1\"}}");
  feed(s, "{\"event\":\"dtmf\",\"dtmf\":{\"digit\":\"#\"}}");
  heard(s, "mark [u1] -1\ndtmf #\n");
  end(s);
}

static void an_error_is_told_and_stop_ends_the_call(void **state) {
  cxb_session *s = talking("PCMU", 8000);
  feed(s, "{\"event\":\"error\",\"payload\":{\"code\":100003,\"title\":\"malformed frame\"}}");
  feed(s, "{\"event\":\"error\"}");
  heard(s, "error carrier:malformed_frame\nerror carrier:error\n");
  feed(s, "{\"event\":\"stop\",\"stream_id\":\"TX1\"}");
  heard(s, "stop []\nclosed 1000 \n");
  end(s);
  s = talking("PCMU", 8000);
  s->ops->hangup(s->leg);
  cxb_leg_advance(s->leg, 1);
  heard(s, "closed 1000 \n");
  end(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(connected_and_start_begin_an_answered_call),
      cmocka_unit_test(five_formats_are_spoken_and_others_close_1003),
      cmocka_unit_test(each_codec_has_its_golden_bytes_both_ways),
      cmocka_unit_test(messages_that_changed_places_are_put_right),
      cmocka_unit_test(a_missing_message_is_waited_for_60_ms_and_dropped_when_it_comes_later),
      cmocka_unit_test(a_jump_further_than_can_be_kept_is_followed),
      cmocka_unit_test(a_damaged_message_out_of_order_is_dropped),
      cmocka_unit_test(marks_clear_and_keys),
      cmocka_unit_test(an_error_is_told_and_stop_ends_the_call),
  };
  return cmocka_run_group_tests_name("Telnyx's wire", tests, NULL, NULL);
}
