/* Plivo audio streaming, both ways, message by message (core spec §3.5). */
#include "transport_log.h"

static const char start[] =
    "{\"sequenceNumber\":0,\"event\":\"start\",\"start\":{\"callId\":\"C1\",\"streamId\":\"PL1\","
    "\"accountId\":\"A1\",\"tracks\":[\"inbound\"],\"mediaFormat\":{\"encoding\":\"%s\","
    "\"sampleRate\":%s}},\"extra_headers\":\"%s\"}";

static cxb_session *started(const char *encoding, const char *rate, const char *extra) {
  cxb_session *s = begin("plivo");
  char text[500];
  snprintf(text, sizeof text, start, encoding, rate, extra);
  feed(s, text);
  return s;
}

static cxb_session *talking(const char *encoding, const char *rate) {
  cxb_session *s = started(encoding, rate, "");
  assert_non_null(strstr(s->log.data, "answer\n"));
  cxb_buf_clear(&s->log);
  cxb_buf_str(&s->log, "");
  return s;
}

static void a_start_begins_an_answered_call_with_its_extra_headers(void **state) {
  cxb_session *s = started("audio/x-mulaw", "8000", "from=+1555; to=+1444;campaign=a=b;;=x;y; z=");
  heard(s,
        "start 8000 PL1 [+1555] [+1444] [-] incoming {\"callId\":\"C1\",\"streamId\":\"PL1\","
        "\"accountId\":\"A1\",\"tracks\":[\"inbound\"],\"mediaFormat\":{\"encoding\":"
        "\"audio/x-mulaw\",\"sampleRate\":8000},\"from\":\"+1555\",\"to\":\"+1444\","
        "\"campaign\":\"a=b\",\"z\":\"\",\"callerId\":\"+1555\",\"did\":\"+1444\","
        "\"callDirection\":\"incoming\"}\nanswer\n");
  end(s);
  s = started("audio/x-mulaw", "8000", "from=+1444;to=+1555;direction=outbound");
  assert_memory_equal(s->log.data, "start 8000 PL1 [+1555] [+1444] [+1444] outgoing {", 49);
  end(s);
}

static void three_formats_are_spoken_and_others_close_1003(void **state) {
  static const struct {
    const char *encoding, *rate;
    int code;
  } cases[] = {{"audio/x-mulaw", "8000", 0},    {"audio/x-l16", "8000", 0},
               {"audio/x-l16", "\"16000\"", 0}, {"audio/x-mulaw", "16000", 1003},
               {"audio/x-l16", "24000", 1003},  {"audio/x-alaw", "8000", 1003}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cxb_session *s = started(cases[i].encoding, cases[i].rate, "");
    assert_int_equal(cxb_leg_close_code(s->leg), cases[i].code);
    end(s);
  }
}

static void each_codec_has_its_golden_bytes_both_ways(void **state) {
  static const struct {
    const char *encoding, *rate, *payload; /* of 1000, -1000, 0, 32767 */
  } cases[] = {{"audio/x-mulaw", "8000", "zk7/gA=="}, {"audio/x-l16", "16000", "6AMY/AAA/38="}};
  static const int16_t pcm[] = {1000, -1000, 0, 32767};
  for (size_t i = 0; i < 2; i++) {
    cxb_session *s = talking(cases[i].encoding, cases[i].rate);
    char text[300];
    assert_int_equal(s->ops->frame(s->leg, pcm, 4), 0);
    snprintf(text, sizeof text,
             "{\"event\":\"playAudio\",\"streamId\":\"PL1\",\"media\":{\"contentType\":\"%s\","
             "\"sampleRate\":%s,\"payload\":\"%s\"}}\n",
             cases[i].encoding, cases[i].rate, cases[i].payload);
    sent(s, text);
    snprintf(
        text, sizeof text,
        "{\"sequenceNumber\":2,\"streamId\":\"PL1\",\"event\":\"media\",\"media\":{\"track\":"
        "\"inbound\",\"timestamp\":\"1\",\"chunk\":1,\"payload\":\"%s\"},\"extra_headers\":\"\"}",
        cases[i].payload);
    feed(s, text);
    feed(s, "{\"event\":\"media\",\"media\":{\"track\":\"outbound\",\"payload\":\"AAAA\"}}");
    const int16_t *got = (const int16_t *)s->audio.data;
    assert_int_equal(s->audio.len, 8);
    for (int k = 0; k < 4; k++)
      assert_in_range(got[k] - pcm[k] + 1000, 0, 2000);
    if (i == 1)
      assert_memory_equal(got, pcm, 8);
    end(s);
  }
}

static void checkpoints_and_clear(void **state) {
  cxb_session *s = talking("audio/x-mulaw", "8000");
  s->ops->mark(s->leg, "u\"1");
  s->ops->clear(s->leg);
  sent(s,
       "{\"event\":\"checkpoint\",\"streamId\":\"PL1\",\"name\":\"u\\\"1\"}\n"
       "{\"event\":\"clearAudio\",\"streamId\":\"PL1\"}\n");
  feed(s, "{\"event\":\"playedStream\",\"streamId\":\"PL1\",\"name\":\"u1\"}");
  feed(s, "{\"event\":\"clearedAudio\",\"streamId\":\"PL1\"}");
  feed(s, "{\"event\":\"playedStream\",\"streamId\":\"PL1\",\"name\":7}");
  heard(s, "mark [u1] -1\nalive\n");
  assert_int_equal(cxb_leg_counted(s->leg)->ignored, 1);
  end(s);
}

static void keys_arrive_and_either_side_ends_the_call(void **state) {
  cxb_session *s = talking("audio/x-l16", "8000");
  feed(s, "{\"event\":\"dtmf\",\"dtmf\":{\"track\":\"inbound\",\"digit\":\"7\"}}");
  feed(s, "{\"event\":\"stop\",\"streamId\":\"PL1\"}");
  heard(s, "dtmf 7\nstop []\nclosed 1000 \n");
  end(s);
  s = talking("audio/x-l16", "8000");
  s->ops->hangup(s->leg);
  cxb_leg_advance(s->leg, 1);
  heard(s, "closed 1000 \n");
  end(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_start_begins_an_answered_call_with_its_extra_headers),
      cmocka_unit_test(three_formats_are_spoken_and_others_close_1003),
      cmocka_unit_test(each_codec_has_its_golden_bytes_both_ways),
      cmocka_unit_test(checkpoints_and_clear),
      cmocka_unit_test(keys_arrive_and_either_side_ends_the_call),
  };
  return cmocka_run_group_tests_name("Plivo's wire", tests, NULL, NULL);
}
