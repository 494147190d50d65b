/* Vonage's WebSocket endpoint, both ways, message by message (core spec §3.5). */
#include "transport_log.h"

static const char connected[] =
    "{\"event\":\"websocket:connected\",\"content-type\":\"audio/l16;rate=%s\",\"uuid\":\"VG1\","
    "\"from\":\"+1555\",\"to\":\"+1444\",\"campaign\":\"spring\"}";

static cxb_session *started(const char *rate) {
  cxb_session *s = begin("vonage");
  char text[300];
  snprintf(text, sizeof text, connected, rate);
  feed(s, text);
  return s;
}

static cxb_session *talking(void) {
  cxb_session *s = started("16000");
  cxb_buf_clear(&s->log);
  cxb_buf_str(&s->log, "");
  return s;
}

static void connected_begins_an_answered_call_with_the_headers_beside_it(void **state) {
  cxb_session *s = started("16000");
  heard(s,
        "start 16000 VG1 [+1555] [+1444] [-] incoming {\"content-type\":\"audio/l16;rate=16000\","
        "\"uuid\":\"VG1\",\"from\":\"+1555\",\"to\":\"+1444\",\"campaign\":\"spring\","
        "\"callerId\":\"+1555\",\"did\":\"+1444\",\"callDirection\":\"incoming\",\"streamId\":"
        "\"VG1\"}\nanswer\n");
  end(s);
  s = begin("vonage");
  feed(s,
       "{\"event\":\"websocket:connected\",\"content-type\":7,\"caller\":\"+1444\",\"did\":"
       "\"+1555\",\"direction\":\"outbound\",\"call_uuid\":\"VG2\"}");
  assert_memory_equal(s->log.data, "start 16000 VG2 [+1555] [+1444] [+1444] outgoing {", 50);
  end(s);
}

static void three_rates_are_spoken_and_other_formats_close_1003(void **state) {
  static const struct {
    const char *rate;
    int code;
  } cases[] = {{"8000", 0},     {"16000", 0}, {"24000", 0},
               {"48000", 1003}, {"", 1003},   {"8000;channels=2", 0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cxb_session *s = started(cases[i].rate);
    assert_int_equal(cxb_leg_close_code(s->leg), cases[i].code);
    end(s);
  }
  cxb_session *s = begin("vonage");
  feed(s, "{\"event\":\"websocket:connected\",\"content-type\":\"audio/opus\"}");
  heard(s, "closed 1003 format_unsupported\n");
  end(s);
}

static void audio_is_binary_one_frame_a_message(void **state) {
  static const uint8_t bytes[] = {0xe8, 0x03, 0x18, 0xfc, 0, 0, 0xff, 0x7f};
  static const int16_t pcm[] = {1000, -1000, 0, 32767};
  cxb_session *s = talking();
  feed_binary(s, bytes, sizeof bytes);
  assert_int_equal(s->audio.len, sizeof pcm);
  assert_memory_equal(s->audio.data, pcm, sizeof pcm);
  int16_t frame[320] = {0};
  assert_int_equal(s->ops->frame(s->leg, frame, 320), 0);
  sent(s, "<binary 640>\n");
  end(s);
}

static void marks_are_notifications_and_a_clear_an_action(void **state) {
  cxb_session *s = talking();
  s->ops->mark(s->leg, "u\"1");
  s->ops->clear(s->leg);
  sent(s, "{\"action\":\"notify\",\"payload\":{\"mark\":\"u\\\"1\"}}\n{\"action\":\"clear\"}\n");
  feed(s, "{\"event\":\"websocket:notify\",\"payload\":{\"mark\":\"u1\"}}");
  feed(s, "{\"event\":\"websocket:cleared\"}");
  feed(s, "{\"event\":\"websocket:notify\",\"payload\":\"u1\"}");
  feed(s, "{\"event\":\"websocket:dtmf\",\"digit\":\"9\",\"duration\":260}");
  heard(s, "mark [u1] -1\nalive\ndtmf 9\n");
  assert_int_equal(cxb_leg_counted(s->leg)->ignored, 1);
  end(s);
}

static void either_side_ends_the_call_by_closing(void **state) {
  cxb_session *s = talking();
  s->ops->hangup(s->leg);
  cxb_leg_advance(s->leg, 1);
  heard(s, "closed 1000 \n");
  end(s);
  s = talking();
  cxb_leg_lost(s->leg, 1000);
  heard(s, "closed 1000 \n");
  end(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(connected_begins_an_answered_call_with_the_headers_beside_it),
      cmocka_unit_test(three_rates_are_spoken_and_other_formats_close_1003),
      cmocka_unit_test(audio_is_binary_one_frame_a_message),
      cmocka_unit_test(marks_are_notifications_and_a_clear_an_action),
      cmocka_unit_test(either_side_ends_the_call_by_closing),
  };
  return cmocka_run_group_tests_name("Vonage's wire", tests, NULL, NULL);
}
