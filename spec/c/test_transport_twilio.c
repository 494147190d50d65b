/* Twilio Media Streams, both ways, message by message (core spec §3.4). */
#include "transport_log.h"

#include "media/g711.h"

static const char connected[] =
    "{\"event\":\"connected\",\"protocol\":\"Call\",\"version\":\"1.0.0\"}";
static const char start[] =
    "{\"event\":\"start\",\"sequenceNumber\":\"1\",\"start\":{\"accountSid\":\"AC1\",\"streamSid\":"
    "\"MZ1\","
    "\"callSid\":\"CA1\",\"tracks\":[\"inbound\"],\"mediaFormat\":{\"encoding\":\"audio/x-mulaw\","
    "\"sampleRate\":8000,\"channels\":1},\"customParameters\":{\"from\":\"+1555\",\"to\":\"+1444\","
    "\"campaign\":\"spring\"}},\"streamSid\":\"MZ1\"}";
static const char media[] =
    "{\"event\":\"media\",\"sequenceNumber\":\"4\",\"media\":{\"track\":\"inbound\",\"chunk\":"
    "\"2\","
    "\"timestamp\":\"5\",\"payload\":\"%s\"},\"streamSid\":\"MZ1\"}";

static cxb_session *talking(void) {
  cxb_session *s = begin("twilio");
  feed(s, connected);
  feed(s, start);
  assert_non_null(strstr(s->log.data, "answer\n"));
  cxb_buf_clear(&s->log);
  cxb_buf_str(&s->log, "");
  return s;
}

static void connected_and_start_begin_an_answered_call(void **state) {
  cxb_session *s = begin("twilio");
  feed(s, connected);
  heard(s, "");
  feed(s, start);
  heard(s,
        "start 8000 MZ1 [+1555] [+1444] [-] incoming {\"accountSid\":\"AC1\",\"streamSid\":\"MZ1\","
        "\"callSid\":\"CA1\",\"tracks\":[\"inbound\"],\"mediaFormat\":{\"encoding\":\"audio/"
        "x-mulaw\","
        "\"sampleRate\":8000,\"channels\":1},\"customParameters\":{\"from\":\"+1555\",\"to\":\"+"
        "1444\","
        "\"campaign\":\"spring\"},\"from\":\"+1555\",\"to\":\"+1444\",\"campaign\":\"spring\","
        "\"callerId\":\"+1555\",\"did\":\"+1444\",\"callDirection\":\"incoming\",\"streamId\":"
        "\"MZ1\"}\n"
        "answer\n");
  cxb_leg_advance(s->leg, 100000);
  assert_int_equal(cxb_leg_close_code(s->leg), 0);
  end(s);
}

static void an_outgoing_call_swaps_the_numbers(void **state) {
  static const char *const words[] = {"outgoing", "outbound", "outbound-api"};
  for (int i = 0; i < 3; i++) {
    cxb_session *s = begin("twilio");
    char text[400];
    feed(s, connected);
    snprintf(text, sizeof text,
             "{\"event\":\"start\",\"streamSid\":\"MZ2\",\"start\":{\"customParameters\":"
             "{\"from\":\"+1444\",\"to\":\"+1555\",\"direction\":\"%s\"}}}",
             words[i]);
    feed(s, text);
    assert_memory_equal(s->log.data, "start 8000 MZ2 [+1555] [+1444] [+1444] outgoing {", 49);
    end(s);
  }
}

static void a_start_without_connected_closes_1002(void **state) {
  cxb_session *s = begin("twilio");
  feed(s, start);
  heard(s, "closed 1002 out_of_order\n");
  end(s);
  s = begin("twilio");
  feed_media(s, media, "abcd", 4);
  feed(s, connected);
  feed_media(s, media, "abcd", 4);
  assert_int_equal(s->audio.len, 0);
  cxb_leg_advance(s->leg, 10000);
  heard(s, "closed 1002 handshake_timeout\n");
  end(s);
}

static void other_formats_than_mulaw_8000_close_1003(void **state) {
  static const struct {
    const char *format;
    int code;
  } cases[] = {{"{\"encoding\":\"audio/x-l16\"}", 1003},
               {"{\"sampleRate\":16000}", 1003},
               {"{\"channels\":2}", 1003},
               {"{\"channels\":\"2\"}", 0},
               {"[]", 0},
               {"{\"encoding\":\"audio/x-mulaw\"}", 0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cxb_session *s = begin("twilio");
    char text[200];
    feed(s, connected);
    snprintf(text, sizeof text, "{\"event\":\"start\",\"start\":{\"mediaFormat\":%s}}",
             cases[i].format);
    feed(s, text);
    assert_int_equal(cxb_leg_close_code(s->leg), cases[i].code);
    end(s);
  }
}

static void mulaw_arrives_as_samples_and_broken_media_is_dropped(void **state) {
  cxb_session *s = talking();
  uint8_t ulaw[1500];
  int16_t pcm[1500];
  for (int i = 0; i < 1500; i++)
    ulaw[i] = (uint8_t)i;
  cxb_ulaw_decode(ulaw, 1500, pcm);
  feed_media(s, media, ulaw, 160);
  assert_int_equal(s->audio.len, 320);
  assert_memory_equal(s->audio.data, pcm, 320);
  cxb_buf_clear(&s->audio);
  feed_media(s, media, ulaw, 1500);
  assert_int_equal(s->audio.len, 3000);
  assert_memory_equal(s->audio.data, pcm, 3000);
  feed(s, "{\"event\":\"media\",\"media\":{\"track\":\"outbound\",\"payload\":\"AAAA\"}}");
  feed(s, "{\"event\":\"media\",\"media\":{\"payload\":\"\"}}");
  feed(s, "{\"event\":\"media\",\"media\":[]}");
  heard(s, "");
  assert_int_equal(cxb_leg_counted(s->leg)->ignored, 3);
  feed(s, "{\"event\":\"media\",\"media\":{\"track\":5,\"payload\":\"A*AA\"}}");
  heard(s, "drop bad_audio\n");
  assert_int_equal(s->audio.len, 3000);
  end(s);
}

static void what_is_unknown_or_repeated_is_ignored_and_counted(void **state) {
  cxb_session *s = talking();
  static const char *const ignored[] = {connected,
                                        start,
                                        "{\"event\":\"subscribed\"}",
                                        "{\"event\":\"mark\"}",
                                        "{\"event\":\"mark\",\"mark\":{\"name\":1}}",
                                        "{\"event\":\"dtmf\",\"dtmf\":\"1\"}",
                                        "{}"};
  size_t n = sizeof ignored / sizeof *ignored;
  for (size_t i = 0; i < n; i++)
    feed(s, ignored[i]);
  feed_binary(s, "abcd", 4);
  heard(s, "");
  assert_int_equal(cxb_leg_counted(s->leg)->ignored, n + 1);
  feed(s, "{\"event\":\"media\",");
  heard(s, "drop bad_message\n");
  feed(s,
       "{\"event\":\"dtmf\",\"streamSid\":\"MZ1\",\"dtmf\":{\"track\":\"inbound_track\",\"digit\":"
       "\"1\"}}");
  heard(s, "dtmf 1\n");
  end(s);
}

static void media_out_has_its_golden_bytes(void **state) {
  cxb_session *s = talking();
  int16_t pcm[160];
  uint8_t ulaw[160];
  for (int i = 0; i < 160; i++)
    pcm[i] = (int16_t)(i * 400 - 32000);
  cxb_ulaw_encode(pcm, 160, ulaw);
  char payload[CXB_BASE64_LEN(160) + 1] = {0}, want[400];
  cxb_base64_encode(payload, ulaw, 160);
  snprintf(want, sizeof want,
           "{\"event\":\"media\",\"streamSid\":\"MZ1\",\"media\":{\"payload\":\"%s\"}}\n", payload);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(s->ops->frame(s->leg, pcm, 160), 0);
    sent(s, want);
  }
  end(s);
}

static void marks_open_at_a_clear_come_back_as_cleared(void **state) {
  cxb_session *s = talking();
  assert_true(s->ops->has_marks);
  assert_int_equal(s->ops->mark(s->leg, "u1"), 0);
  sent(s, "{\"event\":\"mark\",\"streamSid\":\"MZ1\",\"mark\":{\"name\":\"u1\"}}\n");
  feed(s,
       "{\"event\":\"mark\",\"sequenceNumber\":\"9\",\"streamSid\":\"MZ1\",\"mark\":{\"name\":"
       "\"u1\"}}");
  heard(s, "mark [u1] -1\n");
  s->ops->mark(s->leg, "u2");
  s->ops->mark(s->leg, "u\"3");
  cxb_buf_clear(&s->sent);
  assert_int_equal(s->ops->clear(s->leg), 0);
  s->ops->mark(s->leg, "u4");
  sent(s,
       "{\"event\":\"clear\",\"streamSid\":\"MZ1\"}\n"
       "{\"event\":\"mark\",\"streamSid\":\"MZ1\",\"mark\":{\"name\":\"u4\"}}\n");
  feed(s, "{\"event\":\"mark\",\"mark\":{\"name\":\"u2\"}}");
  feed(s, "{\"event\":\"mark\",\"mark\":{\"name\":\"u\\\"3\"}}");
  feed(s, "{\"event\":\"mark\",\"mark\":{\"name\":\"u4\"}}");
  heard(s, "mark [u2] -1 cleared\nmark [u\"3] -1 cleared\nmark [u4] -1\n");
  end(s);
}

static void stop_ends_the_call_and_a_transfer_is_refused(void **state) {
  cxb_session *s = talking();
  feed(s, "{\"event\":\"stop\",\"streamSid\":\"MZ1\",\"stop\":{\"callSid\":\"CA1\"}}");
  heard(s, "stop []\nclosed 1000 \n");
  end(s);
  s = talking();
  assert_int_equal(s->ops->hangup(s->leg), 0);
  assert_int_equal(s->ops->hangup(s->leg), CXB_ECLOSED);
  cxb_leg_advance(s->leg, 1);
  sent(s, "");
  heard(s, "closed 1000 \n");
  end(s);
  s = talking();
  const cxb_transfer desk = {.to = "+1", .type = "sip"};
  assert_false(s->ops->can_transfer);
  assert_int_equal(s->ops->transfer(s->leg, &desk), CXB_EUNSUPPORTED);
  assert_null(s->ops->note);
  end(s);
}

/* More than 1 MiB waiting to be sent: the socket answers so, the call ends with its reason. */
static void a_full_send_buffer_ends_the_call_as_slow_peer(void **state) {
  cxb_session *s = talking();
  int16_t pcm[160] = {0};
  s->full = true;
  assert_int_equal(s->ops->frame(s->leg, pcm, 160), CXB_EAGAIN);
  assert_int_equal(s->ops->frame(s->leg, pcm, 160), CXB_ECLOSED);
  cxb_leg_advance(s->leg, 1);
  heard(s, "error slow_peer\nclosed 1008 slow_peer\n");
  end(s);
}

static void a_forced_close_is_the_last_word(void **state) {
  cxb_session *s = talking();
  s->ops->close(s->leg, 1001, "going");
  s->ops->close(s->leg, 1011, "late");
  assert_int_equal(feed(s, "{\"event\":\"stop\"}"), 0); /* too late to be read */
  heard(s, "closed 1001 going\n");
  s->ops->release(s->leg);
  end(s);
  s = talking();
  s->ops->close(s->leg, 1011, "");
  cxb_leg_lost(s->leg, 1006); /* instead of an answer to our close */
  heard(s, "closed 1011 \n");
  end(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(connected_and_start_begin_an_answered_call),
      cmocka_unit_test(an_outgoing_call_swaps_the_numbers),
      cmocka_unit_test(a_start_without_connected_closes_1002),
      cmocka_unit_test(other_formats_than_mulaw_8000_close_1003),
      cmocka_unit_test(mulaw_arrives_as_samples_and_broken_media_is_dropped),
      cmocka_unit_test(what_is_unknown_or_repeated_is_ignored_and_counted),
      cmocka_unit_test(media_out_has_its_golden_bytes),
      cmocka_unit_test(marks_open_at_a_clear_come_back_as_cleared),
      cmocka_unit_test(stop_ends_the_call_and_a_transfer_is_refused),
      cmocka_unit_test(a_full_send_buffer_ends_the_call_as_slow_peer),
      cmocka_unit_test(a_forced_close_is_the_last_word),
  };
  return cmocka_run_group_tests_name("Twilio's wire", tests, NULL, NULL);
}
