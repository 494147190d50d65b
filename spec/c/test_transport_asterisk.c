/* Asterisk's WebSocket channel in both forms, message by message (core spec §3.6). */
#include "transport_log.h"

static const char json_start[] =
    "{\"event\":\"MEDIA_START\",\"connection_id\":\"media_1\",\"channel\":\"WebSocket/x/1\","
    "\"channel_id\":\"170.5\",\"format\":\"%s\",\"optimal_frame_size\":%d,\"ptime\":20,"
    "\"channel_variables\":{\"caller\":\"+1555\",\"ACCOUNT\":\"7\"}}";
static const char plain_start[] =
    "MEDIA_START connection_id:media_1 channel:WebSocket/x/1 channel_id:170.5 format:%s "
    "optimal_frame_size:%d ptime:20";

static cxb_session *started(const char *form, const char *query, const char *format, int size) {
  cxb_session *s = begin_with("asterisk", query, NULL);
  char text[400];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  snprintf(text, sizeof text, form, format, size);
#pragma GCC diagnostic pop
  feed(s, text);
  return s;
}

static cxb_session *talking(const char *form, const char *format, int size) {
  cxb_session *s = started(form, "", format, size);
  assert_non_null(strstr(s->log.data, "answer\n"));
  cxb_buf_clear(&s->log);
  cxb_buf_str(&s->log, "");
  return s;
}

static void media_start_in_json_begins_an_answered_call(void **state) {
  cxb_session *s = started(json_start, "did=%2B1444&token=secret&caller=+", "slin16", 640);
  heard(s,
        "start 16000 170.5 [ ] [+1444] [-] incoming {\"connection_id\":\"media_1\",\"channel\":"
        "\"WebSocket/x/1\",\"channel_id\":\"170.5\",\"format\":\"slin16\","
        "\"optimal_frame_size\":640,\"ptime\":20,\"channel_variables\":{\"caller\":\"+1555\","
        "\"ACCOUNT\":\"7\"},\"did\":\"+1444\",\"caller\":\" \",\"ACCOUNT\":\"7\",\"callerId\":"
        "\" \",\"callDirection\":\"incoming\",\"streamId\":\"170.5\"}\nanswer\n");
  sent(s, "");
  end(s);
  s = started(json_start, "", "ulaw",
              160); /* the channel's variables where the address is silent */
  assert_memory_equal(s->log.data, "start 8000 170.5 [+1555] [] [-] incoming ", 41);
  end(s);
}

static void media_start_in_plain_words_begins_an_answered_call(void **state) {
  cxb_session *s =
      started(plain_start, "caller=%2B1555&did=%2B1444&direction=outbound&answer=1", "alaw", 160);
  heard(s,
        "start 8000 170.5 [+1555] [+1444] [+1444] outgoing {\"connection_id\":\"media_1\","
        "\"channel\":\"WebSocket/x/1\",\"channel_id\":\"170.5\",\"format\":\"alaw\","
        "\"optimal_frame_size\":\"160\",\"ptime\":\"20\",\"caller\":\"+1555\",\"did\":\"+1444\","
        "\"direction\":\"outbound\",\"answer\":\"1\",\"callerId\":\"+1555\",\"callDirection\":"
        "\"outgoing\",\"streamId\":\"170.5\"}\nanswer\n");
  sent(s, "ANSWER\n");
  end(s);
}

static void six_formats_are_spoken_and_others_close_1003(void **state) {
  static const struct {
    const char *format;
    int rate;
  } cases[] = {{"ulaw", 8000},    {"alaw", 8000},    {"slin", 8000},
               {"slin16", 16000}, {"slin24", 24000}, {"slin48", 48000},
               {"opus", 0},       {"slin44", 0},     {"g722", 0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cxb_session *s = started(json_start, "", cases[i].format, 0);
    char want[40];
    snprintf(want, sizeof want, cases[i].rate ? "start %d 170.5" : "closed 1003", cases[i].rate);
    assert_memory_equal(s->log.data, want, strlen(want));
    end(s);
  }
}

static void audio_is_binary_in_the_channels_format(void **state) {
  static const uint8_t ulaw[] = {0xce, 0x4e, 0xff, 0x80};
  static const uint8_t slin[] = {0xe8, 0x03, 0x18, 0xfc, 0, 0, 0xff, 0x7f};
  static const int16_t pcm[] = {1000, -1000, 0, 32767};
  cxb_session *s = talking(plain_start, "slin48", 1920);
  feed_binary(s, slin, sizeof slin);
  assert_memory_equal(s->audio.data, pcm, sizeof pcm);
  end(s);
  s = talking(json_start, "ulaw", 160);
  feed_binary(s, ulaw, sizeof ulaw);
  assert_int_equal(s->audio.len, 8);
  int16_t frame[160];
  memset(frame, 0, sizeof frame);
  s->ops->frame(s->leg, frame, 160);
  sent(s, "<binary 160>\n");
  end(s);
}

static void messages_out_are_multiples_of_the_channels_frame(void **state) {
  static const int16_t pcm[960];
  cxb_session *s = talking(json_start, "ulaw", 240); /* 30 ms */
  for (int i = 0; i < 4; i++)
    s->ops->frame(s->leg, pcm, 160);
  sent(s, "<binary 240>\n<binary 240>\n");
  s->ops->mark(s->leg, "u1");
  cxb_leg_advance(s->leg, 100);
  sent(s, "<binary 240>\n{\"command\":\"MARK_MEDIA\",\"correlation_id\":\"u1\"}\n");
  s->ops->frame(s->leg, pcm, 160);
  cxb_leg_advance(s->leg, 100);
  sent(s, "<binary 240>\n");
  end(s);
  s = talking(plain_start, "ulaw", 80); /* 10 ms: two of them a frame */
  s->ops->frame(s->leg, pcm, 160);
  sent(s, "<binary 160>\n");
  end(s);
  s = started(plain_start, "", "ulaw", 480);
  assert_non_null(strstr(s->log.data, "framing 60\n"));
  end(s);
  s = talking(plain_start, "slin", 65501); /* not usable: by frames */
  s->ops->frame(s->leg, pcm, 160);
  sent(s, "<binary 320>\n");
  end(s);
}

static void commands_keep_the_form_of_the_start(void **state) {
  cxb_session *s = talking(plain_start, "ulaw", 160);
  s->ops->mark(s->leg, "u1");
  s->ops->clear(s->leg);
  s->ops->hangup(s->leg);
  sent(s, "MARK_MEDIA u1\nFLUSH_MEDIA\nHANGUP\n");
  end(s);
  s = started(json_start, "answer=1", "ulaw", 160);
  s->ops->mark(s->leg, "u1");
  s->ops->clear(s->leg);
  s->ops->hangup(s->leg);
  sent(s,
       "{\"command\":\"ANSWER\"}\n{\"command\":\"MARK_MEDIA\",\"correlation_id\":\"u1\"}\n"
       "{\"command\":\"FLUSH_MEDIA\"}\n{\"command\":\"HANGUP\"}\n");
  end(s);
}

static void events_arrive_in_both_forms(void **state) {
  static const char want[] = "dtmf 5\nmark [u1] -1\nhold on\nhold off\nalive\nalive\nalive\n";
  cxb_session *s = talking(plain_start, "ulaw", 160);
  feed(s, "DTMF_END digit:5 channel_id:170.5");
  feed(s, "MEDIA_MARK_PROCESSED u1");
  feed(s, "MEDIA_XOFF");
  feed(s, "MEDIA_XON");
  feed(s, "STATUS channel_id:170.5 queue_length:3 xon_level:1");
  feed(s, "QUEUE_DRAINED");
  feed(s, "MEDIA_BUFFERING_COMPLETED u9");
  heard(s, want);
  feed(s, "MEDIA_MARK_PROCESSED");
  feed(s, "ERROR channel_id:170.5 error_text:Unknown");
  feed(s, "");
  feed(s, "{\"event\":\"MEDIA_XOFF\"}"); /* the other form: nothing this form knows */
  heard(s, "");
  assert_int_equal(cxb_leg_counted(s->leg)->ignored, 4);
  end(s);
  s = talking(json_start, "ulaw", 160);
  feed(s, "{\"event\":\"DTMF_END\",\"digit\":\"5\"}");
  feed(s, "{\"event\":\"MEDIA_MARK_PROCESSED\",\"correlation_id\":\"u1\"}");
  feed(s, "{\"event\":\"MEDIA_XOFF\"}");
  feed(s, "{\"event\":\"MEDIA_XON\"}");
  feed(s, "{\"event\":\"STATUS\"}");
  feed(s, "{\"event\":\"QUEUE_DRAINED\"}");
  feed(s, "{\"event\":\"MEDIA_BUFFERING_COMPLETED\",\"correlation_id\":\"u9\"}");
  heard(s, want);
  feed(s, "MEDIA_XOFF");
  heard(s, "drop bad_message\n");
  end(s);
}

static void any_close_ends_the_call_and_nobody_is_transferred(void **state) {
  cxb_session *s = talking(json_start, "ulaw", 160);
  const cxb_transfer desk = {.to = "+1"};
  assert_int_equal(s->ops->transfer(s->leg, &desk), CXB_EUNSUPPORTED);
  cxb_leg_lost(s->leg, 1000);
  heard(s, "closed 1000 \n");
  end(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(media_start_in_json_begins_an_answered_call),
      cmocka_unit_test(media_start_in_plain_words_begins_an_answered_call),
      cmocka_unit_test(six_formats_are_spoken_and_others_close_1003),
      cmocka_unit_test(audio_is_binary_in_the_channels_format),
      cmocka_unit_test(messages_out_are_multiples_of_the_channels_frame),
      cmocka_unit_test(commands_keep_the_form_of_the_start),
      cmocka_unit_test(events_arrive_in_both_forms),
      cmocka_unit_test(any_close_ends_the_call_and_nobody_is_transferred),
  };
  return cmocka_run_group_tests_name("Asterisk's WebSocket channel", tests, NULL, NULL);
}
