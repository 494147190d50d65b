/* The audio fork, both ways, message by message (core spec §3.7). */
#include "transport_log.h"

static cxb_session *started(const char *query, const char *metadata) {
  cxb_session *s = begin_with("audiofork", query, NULL);
  feed(s, metadata);
  return s;
}

static void forget(cxb_session *s) {
  cxb_buf_clear(&s->log);
  cxb_buf_str(&s->log, "");
}

static cxb_session *talking(const char *query, const char *metadata) {
  cxb_session *s = started(query, metadata);
  assert_non_null(strstr(s->log.data, "answer\n"));
  forget(s);
  return s;
}

static void the_first_text_is_the_calls_metadata(void **state) {
  cxb_session *s = started("",
                           "{\"callSid\":\"F1\",\"from\":\"+1555\",\"to\":\"+1444\","
                           "\"direction\":\"inbound\",\"sampleRate\":16000,\"mixType\":"
                           "\"mono\",\"campaign\":{\"id\":7}}");
  heard(s,
        "start 16000 F1 [+1555] [+1444] [-] incoming {\"callSid\":\"F1\",\"from\":\"+1555\","
        "\"to\":\"+1444\",\"direction\":\"inbound\",\"sampleRate\":16000,\"mixType\":\"mono\","
        "\"campaign\":{\"id\":7},\"callerId\":\"+1555\",\"did\":\"+1444\",\"callDirection\":"
        "\"incoming\",\"streamId\":\"F1\"}\nanswer\n");
  end(s);
  s = started("", "order 66, aisle 7");
  assert_memory_equal(s->log.data, "start 8000 ws-", 14);
  assert_non_null(strstr(s->log.data, "{\"metadata\":\"order 66, aisle 7\",\"callerId\":\"\""));
  end(s);
  s = started("", "{\"from\":\"+1444\",\"to\":\"+1555\",\"direction\":\"outbound\"}");
  assert_non_null(strstr(s->log.data, " [+1555] [+1444] [+1444] outgoing {"));
  end(s);
}

static void mixed_audio_and_rates_off_the_scale_close_1003(void **state) {
  static const struct {
    const char *query, *metadata;
    int code;
  } cases[] = {{"", "{\"mixType\":\"mixed\"}", 1003},
               {"", "{\"mixType\":\"stereo\"}", 0},
               {"", "{\"mixType\":7}", 0},
               {"", "{\"sampleRate\":\"24000\"}", 0},
               {"", "{\"sampleRate\":64000}", 0},
               {"", "{\"sampleRate\":96000}", 1003},
               {"", "{\"sampleRate\":4000}", 1003},
               {"", "{\"sampleRate\":11025}", 1003},
               {"out_rate=24000", "{}", 0},
               {"out_rate=1000", "{}", 1003}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cxb_session *s = started(cases[i].query, cases[i].metadata);
    assert_int_equal(cxb_leg_close_code(s->leg), cases[i].code);
    end(s);
  }
}

static void mono_passes_and_of_stereo_the_first_channel(void **state) {
  static const int16_t both[] = {1000, 5, -1000, 6, 0, 7, 32767, 8};
  static const int16_t first[] = {1000, -1000, 0, 32767};
  cxb_session *s = talking("", "{}");
  feed_binary(s, both, sizeof both);
  assert_memory_equal(s->audio.data, both, sizeof both);
  end(s);
  s = talking("", "{\"mixType\":\"stereo\"}");
  feed_binary(s, both, sizeof both);
  assert_int_equal(s->audio.len, sizeof first);
  assert_memory_equal(s->audio.data, first, sizeof first);
  feed_binary(s, both, 6); /* half a pair */
  heard(s, "drop bad_audio\n");
  end(s);
}

static void a_rate_above_the_legs_is_converted_both_ways(void **state) {
  static int16_t pcm[1280];
  cxb_session *s = started("", "{\"callSid\":\"F1\",\"sampleRate\":64000}");
  assert_memory_equal(s->log.data, "start 48000 F1", 14);
  for (int i = 0; i < 50; i++)
    feed_binary(s, pcm, sizeof pcm); /* 20 ms at 64 kHz */
  assert_in_range(s->audio.len / 2, 47000, 48000);
  for (int i = 0; i < 50; i++)
    s->ops->frame(s->leg, pcm, 960);
  assert_in_range(s->sends, 48, 50);
  assert_memory_equal(s->sent.data, "<binary 2560>\n", 14);
  end(s);
  s = talking("out_rate=24000", "{\"sampleRate\":8000}");
  for (int i = 0; i < 10; i++)
    s->ops->frame(s->leg, pcm, 160);
  assert_in_range(s->sends, 8, 10);
  assert_memory_equal(s->sent.data, "<binary 960>\n", 13);
  end(s);
}

static void marks_keys_and_clear(void **state) {
  cxb_session *s = talking("", "{}");
  static const int16_t pcm[160];
  s->ops->frame(s->leg, pcm, 160);
  s->ops->mark(s->leg, "u\"1");
  s->ops->clear(s->leg);
  sent(s,
       "<binary 320>\n{\"type\":\"mark\",\"data\":{\"name\":\"u\\\"1\"}}\n"
       "{\"type\":\"killAudio\"}\n{\"type\":\"clearMarks\"}\n");
  feed(s, "{\"type\":\"mark\",\"data\":{\"name\":\"u1\",\"event\":\"playout\"}}");
  feed(s, "{\"type\":\"mark\",\"data\":{\"name\":\"u2\",\"event\":\"cleared\"}}");
  feed(s, "{\"event\":\"dtmf\",\"dtmf\":\"2\",\"duration\":\"1600\"}");
  heard(s, "mark [u1] -1\nmark [u2] -1 cleared\ndtmf 2\n");
  end(s);
}

static void play_as_json_is_200_ms_a_message_and_at_most_8_unplayed(void **state) {
  static const int16_t pcm[160];
  cxb_session *s = started("play=json", "{\"callSid\":\"F1\"}");
  assert_non_null(strstr(s->log.data, "framing 200\n"));
  forget(s);
  for (int i = 0; i < 10; i++) {
    sent(s, "");
    s->ops->frame(s->leg, pcm, 160);
  }
  static const char head[] =
      "{\"type\":\"playAudio\",\"data\":{\"audioContentType\":\"raw\","
      "\"sampleRate\":8000,\"audioContent\":\"AAAA";
  assert_memory_equal(s->sent.data, head, sizeof head - 1);
  assert_int_equal(s->sent.len, sizeof head - 1 - 4 + CXB_BASE64_LEN(3200) + 4);
  for (int i = 10; i < 80; i++) {
    heard(s, "");
    s->ops->frame(s->leg, pcm, 160);
  }
  assert_int_equal(s->sends, 8);
  heard(s, "hold on\n");
  feed(s, "{\"type\":\"playDone\"}");
  heard(s, "hold off\n");
  feed(s, "{\"type\":\"playDone\"}");
  heard(s, "");
  s->ops->frame(s->leg, pcm, 160);
  s->ops->mark(s->leg, "u1");
  cxb_leg_advance(s->leg, 100); /* the rest, padded */
  assert_int_equal(s->sends, 10);
  s->ops->clear(s->leg);
  feed(s, "{\"type\":\"playDone\"}"); /* of one that was killed */
  heard(s, "");
  assert_int_equal(cxb_leg_counted(s->leg)->ignored, 1);
  end(s);
}

static void a_transfer_is_judged_by_the_close_or_the_callers_media(void **state) {
  const cxb_transfer to = {.to = "+1999", .type = "phone_number", .reason = "asked \"nicely\""};
  int16_t pcm[160] = {0};
  cxb_session *s = talking("", "{}");
  assert_true(s->ops->can_transfer);
  assert_int_equal(s->ops->transfer(s->leg, &to), 0);
  assert_int_equal(s->ops->transfer(s->leg, &to), CXB_EBUSY);
  sent(s,
       "{\"type\":\"transfer\",\"data\":{\"transferTo\":\"+1999\",\"reason\":\"asked "
       "\\\"nicely\\\"\"}}\n");
  cxb_leg_lost(s->leg, 1000);
  heard(s, "transfer ok [closed]\nclosed 1000 \n");
  end(s);
  s = talking("", "{}");
  s->ops->transfer(s->leg, &to);
  for (int i = 0; i < 100; i++) {
    feed_binary(s, pcm, sizeof pcm);
    cxb_leg_advance(s->leg, 100);
  }
  heard(s, "transfer failed [timeout]\n");
  s->ops->transfer(s->leg, &to);
  cxb_leg_advance(s->leg, 2000);
  heard(s, "transfer ok [media_stopped]\n");
  end(s);
}

static void our_hangup_asks_and_waits_for_the_close(void **state) {
  cxb_session *s = talking("", "{}");
  s->ops->hangup(s->leg);
  sent(s, "{\"type\":\"disconnect\"}\n");
  heard(s, "");
  cxb_leg_lost(s->leg, 1000);
  heard(s, "closed 1000 \n");
  end(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_first_text_is_the_calls_metadata),
      cmocka_unit_test(mixed_audio_and_rates_off_the_scale_close_1003),
      cmocka_unit_test(mono_passes_and_of_stereo_the_first_channel),
      cmocka_unit_test(a_rate_above_the_legs_is_converted_both_ways),
      cmocka_unit_test(marks_keys_and_clear),
      cmocka_unit_test(play_as_json_is_200_ms_a_message_and_at_most_8_unplayed),
      cmocka_unit_test(a_transfer_is_judged_by_the_close_or_the_callers_media),
      cmocka_unit_test(our_hangup_asks_and_waits_for_the_close),
  };
  return cmocka_run_group_tests_name("the audio fork", tests, NULL, NULL);
}
