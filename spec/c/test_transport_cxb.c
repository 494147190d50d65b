/* The CXB dialler's wire, both ways, message by message (core spec §3.2). */
#include "transport_log.h"

static const char connected[] =
    "{\"event\":\"connected\",\"callerId\":\"+919876543210\",\"did\":\"+911234567890\","
    "\"callDirection\":\"incoming\",\"streamId\":\"stream-abc\",\"campaign\":{\"id\":7}}";
static const char start[] =
    "{\"event\":\"start\",\"streamId\":\"stream-abc\",\"mediaFormat\":"
    "{\"encoding\":\"LINEAR16\",\"sampleRate\":8000,\"channels\":1}}";
static const char answer[] = "{\"event\":\"answer\"}";
static const char media[] = "{\"event\":\"media\",\"payload\":\"%s\"}";

static cxb_session *talking(void) {
  cxb_session *s = begin("cxb");
  feed(s, connected);
  feed(s, start);
  feed(s, answer);
  assert_non_null(strstr(s->log.data, "answer\n"));
  cxb_buf_clear(&s->log);
  cxb_buf_str(&s->log, "");
  return s;
}

static void closes_with(cxb_session *s, int code) {
  assert_int_equal(cxb_leg_close_code(s->leg), code);
  end(s);
}

static void connected_start_and_answer_begin_a_call(void **state) {
  cxb_session *s = begin("cxb");
  feed(s, connected);
  heard(s, "");
  feed(s, start);
  heard(s,
        "start 8000 stream-abc [+919876543210] [+911234567890] [-] incoming "
        "{\"callerId\":\"+919876543210\",\"did\":\"+911234567890\",\"callDirection\":\"incoming\","
        "\"streamId\":\"stream-abc\",\"campaign\":{\"id\":7}}\n");
  feed(s, answer);
  heard(s, "answer\n");
  assert_int_equal(cxb_leg_counted(s->leg)->ignored, 0);
  closes_with(s, 0);
}

static void an_outgoing_call_shows_our_number(void **state) {
  cxb_session *s = begin("cxb");
  feed(s,
       "{\"event\":\"connected\",\"callerId\":\"+91555\",\"did\":\"+9144\",\"callDirection\":"
       "\"outgoing\"}");
  feed(s, "{\"event\":\"start\",\"streamId\":\"x1\",\"mediaFormat\":{\"sampleRate\":16000}}");
  heard(s,
        "start 16000 x1 [+91555] [+9144] [+9144] outgoing {\"callerId\":\"+91555\","
        "\"did\":\"+9144\",\"callDirection\":\"outgoing\",\"streamId\":\"x1\"}\n");
  end(s);
}

static void a_handshake_without_details_gets_defaults(void **state) {
  cxb_session *s = begin("cxb");
  feed(s, "{\"event\":\"connected\"}");
  feed(s, "{\"event\":\"start\"}");
  assert_memory_equal(s->log.data, "start 8000 ws-", 14);
  assert_non_null(strstr(s->log.data,
                         " [] [] [-] incoming {\"callerId\":\"\",\"did\":\"\","
                         "\"callDirection\":\"incoming\",\"streamId\":\"ws-"));
  end(s);
}

static void a_handshake_out_of_order_closes_1002(void **state) {
  cxb_session *s = begin("cxb");
  feed(s, start);
  heard(s, "closed 1002 out_of_order\n");
  closes_with(s, 1002);
  s = begin("cxb");
  feed(s, answer);
  closes_with(s, 1002);
  s = begin("cxb");
  feed(s, connected);
  feed(s, answer);
  closes_with(s, 1002);
}

static void unsupported_formats_close_1003_and_odd_types_do_not(void **state) {
  static const char *const bad[] = {"{\"encoding\":\"MULAW\"}", "{\"sampleRate\":44100}",
                                    "{\"sampleRate\":8000.5}", "{\"channels\":2}",
                                    "{\"encoding\":\"\"}"};
  static const char *const good[] = {
      "{}",
      "null",
      "7",
      "\"LINEAR16\"",
      "{\"sampleRate\":\"8000\",\"channels\":\"x\",\"encoding\":1}",
      "{\"encoding\":\"linear16\",\"sampleRate\":8000.0,\"channels\":1,\"bits\":16}"};
  char text[200];
  for (size_t i = 0; i < sizeof bad / sizeof *bad + sizeof good / sizeof *good; i++) {
    bool ok = i >= sizeof bad / sizeof *bad;
    cxb_session *s = begin("cxb");
    feed(s, connected);
    snprintf(text, sizeof text, "{\"event\":\"start\",\"mediaFormat\":%s}",
             ok ? good[i - sizeof bad / sizeof *bad] : bad[i]);
    feed(s, text);
    closes_with(s, ok ? 0 : 1003);
  }
}

static void a_handshake_has_10_s_and_an_answer_60(void **state) {
  cxb_session *s = begin("cxb");
  feed(s, connected);
  cxb_leg_advance(s->leg, 9999);
  assert_int_equal(cxb_leg_close_code(s->leg), 0);
  cxb_leg_advance(s->leg, 1);
  heard(s, "closed 1002 handshake_timeout\n");
  end(s);
  s = begin("cxb");
  feed(s, connected);
  feed(s, start);
  cxb_leg_advance(s->leg, 59999);
  assert_int_equal(cxb_leg_close_code(s->leg), 0);
  cxb_leg_advance(s->leg, 1);
  closes_with(s, 1002);
  s = talking();
  cxb_leg_advance(s->leg, 3600000);
  closes_with(s, 0);
}

static void media_of_any_even_size_arrives_and_broken_media_is_dropped(void **state) {
  cxb_session *s = talking();
  int16_t pcm[160];
  for (int i = 0; i < 160; i++)
    pcm[i] = (int16_t)(i * 200 - 16000);
  feed_media(s, media, pcm, 320);
  feed_media(s, media, pcm, 2);
  assert_int_equal(s->audio.len, 322);
  assert_memory_equal(s->audio.data, pcm, 320);
  heard(s, "");
  feed(s, "{\"event\":\"media\",\"payload\":\"AAA=\",\"chunk\":\"x\"}"); /* two bytes */
  assert_int_equal(s->audio.len, 324);
  feed(s, "{\"event\":\"media\",\"payload\":\"AAAA\"}"); /* three */
  heard(s, "drop bad_audio\n");
  feed(s, "{\"event\":\"media\",\"payload\":\"!!!!\"}");
  feed(s, "{\"event\":\"media\",\"payload\":\"AAA\\u00e9\"}");
  heard(s, "drop bad_audio\ndrop bad_audio\n");
  feed(s, "{\"event\":\"media\",\"payload\":\"\"}");
  feed(s, "{\"event\":\"media\",\"payload\":17}");
  feed(s, "{\"event\":\"media\"}");
  heard(s, "");
  assert_int_equal(cxb_leg_counted(s->leg)->ignored, 3);
  assert_int_equal(s->audio.len, 324);
  closes_with(s, 0);
}

static void what_is_unknown_or_repeated_is_ignored_and_counted(void **state) {
  cxb_session *s = talking();
  static const char *const ignored[] = {"{\"event\":\"unheard-of\",\"x\":1}",
                                        "{}",
                                        "{\"event\":5}",
                                        connected,
                                        start,
                                        answer,
                                        "{\"event\":\"dtmf\",\"digit\":\"E\"}",
                                        "{\"event\":\"dtmf\",\"digit\":\"12\"}",
                                        "{\"event\":\"dtmf\",\"digit\":5}",
                                        "{\"event\":\"call-transfer-status\",\"status\":\"late\"}"};
  size_t n = sizeof ignored / sizeof *ignored;
  for (size_t i = 0; i < n; i++)
    feed(s, ignored[i]);
  feed_binary(s, "\0\0", 2);
  heard(s, "");
  assert_int_equal(cxb_leg_counted(s->leg)->ignored, n + 1);
  static const char *const dropped[] = {
      "", "{", "nonsense", "[1]", "\"media\"", "{\"event\":\"x\"} {}", "{\"event\":\"\xff\"}"};
  for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++) {
    feed(s, dropped[i]);
    heard(s, "drop bad_message\n");
  }
  assert_int_equal(cxb_leg_counted(s->leg)->bad_message, sizeof dropped / sizeof *dropped);
  feed(s, "{\"event\":\"dtmf\",\"digit\":\"#\",\"extra\":[]}");
  feed(s, "{\"event\":\"dtmf\",\"digit\":\"b\"}");
  heard(s, "dtmf #\ndtmf B\n");
  closes_with(s, 0);
}

static void media_before_the_answer_is_not_heard(void **state) {
  cxb_session *s = begin("cxb");
  feed_media(s, media, "abcd", 4);
  feed(s, connected);
  feed_media(s, media, "abcd", 4);
  heard(s, "");
  feed(s, start);
  cxb_buf_clear(&s->log);
  feed_media(s, media, "abcd", 4);
  heard(s, "alive\n");
  assert_int_equal(s->audio.len, 0);
  end(s);
}

static void a_text_above_64_kib_closes_1009(void **state) {
  cxb_session *s = talking();
  char *big = malloc(65537);
  memset(big, ' ', 65537);
  assert_int_equal(cxb_leg_feed(s->leg, false, big, 65536), 0);
  heard(s, "drop bad_message\n");
  cxb_leg_feed(s->leg, false, big, 65537);
  free(big);
  heard(s, "closed 1009 too_big\n");
  closes_with(s, 1009);
}

/* The golden bytes; the clock's digits are read, then compared as they are. */
static void reverse_media_has_its_golden_bytes(void **state) {
  cxb_session *s = talking();
  int16_t pcm[160] = {1, -1, 256};
  char payload[CXB_BASE64_LEN(320) + 1] = {0}, want[1200];
  cxb_base64_encode(payload, pcm, 320);
  for (int chunk = 1; chunk <= 2; chunk++) {
    assert_int_equal(s->ops->frame(s->leg, pcm, 160), 0);
    const char *stamp = strstr(s->sent.data, "\"timestamp\":\"");
    assert_non_null(stamp);
    char when[20] = {0};
    memcpy(when, stamp + 13, 19);
    int y, mo, d, h, mi, sec;
    assert_int_equal(sscanf(when, "%4d-%2d-%2d %2d:%2d:%2d", &y, &mo, &d, &h, &mi, &sec), 6);
    snprintf(
        want, sizeof want,
        "{\"event\":\"reverse-media\",\"chunk\":%d,\"did\":\"+911234567890\",\"payload\":\"%s\","
        "\"timestamp\":\"%s\",\"streamId\":\"stream-abc\",\"callerId\":\"+919876543210\","
        "\"chunk_durn_ms\":20,\"callDirection\":\"incoming\",\"encoding\":\"LINEAR16\","
        "\"sampleRate\":8000}\n",
        chunk, payload, when);
    sent(s, want);
  }
  end(s);
}

static void a_clear_flushes_the_far_buffer(void **state) {
  cxb_session *s = talking();
  assert_int_equal(s->ops->clear(s->leg), 0);
  sent(s, "{\"event\":\"reverse-media-stop\",\"streamId\":\"stream-abc\"}\n");
  assert_false(s->ops->has_marks);
  assert_int_equal(s->ops->mark(s->leg, "x"), CXB_EUNSUPPORTED);
  end(s);
}

static const char goodbye[] =
    "{\"event\":\"reverse-media-stop\",\"streamId\":\"stream-abc\"}\n"
    "{\"event\":\"reverse-hangup-call\",\"streamId\":\"stream-abc\"}\n";

static void our_hangup_flushes_asks_and_waits_for_hangup_call(void **state) {
  cxb_session *s = talking();
  assert_int_equal(s->ops->hangup(s->leg), 0);
  assert_int_equal(s->ops->hangup(s->leg), 0);
  sent(s, goodbye);
  int16_t pcm[160] = {0};
  assert_int_equal(s->ops->frame(s->leg, pcm, 160), CXB_ECLOSED);
  feed_media(s, media, "abcd", 4);
  assert_int_equal(s->audio.len, 0);
  feed(s, "{\"event\":\"hangup-call\",\"disconnectedBy\":\"bot\"}");
  heard(s, "stop [bot]\nclosed 1000 \n");
  closes_with(s, 1000);
  s = talking(); /* flushed a moment ago: not again */
  s->ops->clear(s->leg);
  s->ops->hangup(s->leg);
  sent(s, goodbye);
  end(s);
  s = talking(); /* spoken since then: again */
  s->ops->clear(s->leg);
  int16_t more[160] = {0};
  s->ops->frame(s->leg, more, 160);
  cxb_buf_clear(&s->sent);
  s->ops->hangup(s->leg);
  sent(s, goodbye);
  end(s);
  s = talking(); /* never confirmed: the session's clock closes it */
  s->ops->hangup(s->leg);
  s->ops->close(s->leg, 1000, "");
  cxb_leg_advance(s->leg, 1);
  heard(s, "closed 1000 \n");
  end(s);
}

static void after_the_customers_hangup_nothing_more_is_sent(void **state) {
  cxb_session *s = talking();
  feed(s, "{\"event\":\"hangup-call\",\"disconnectedBy\":\"customer\"}");
  heard(s, "stop [customer]\nclosed 1000 \n");
  int16_t pcm[160] = {0};
  assert_int_equal(s->ops->frame(s->leg, pcm, 160), CXB_ECLOSED);
  assert_int_equal(s->ops->clear(s->leg), CXB_ECLOSED);
  assert_int_equal(feed(s, answer), CXB_ECLOSED);
  sent(s, "");
  closes_with(s, 1000);
  s = talking();
  cxb_leg_lost(s->leg, 1006);
  heard(s, "closed 1006 \n");
  end(s);
}

static const cxb_transfer desk = {.to = "+9180", .type = "sip", .reason = "wants \"Asha\""};

static cxb_session *transferring(void) {
  cxb_session *s = talking();
  assert_true(s->ops->can_transfer);
  assert_int_equal(s->ops->transfer(s->leg, &desk), 0);
  sent(s,
       "{\"event\":\"reverse-call-transfer\",\"streamId\":\"stream-abc\","
       "\"callerId\":\"+919876543210\",\"did\":\"+911234567890\",\"transferTo\":\"+9180\","
       "\"transferType\":\"sip\",\"reason\":\"wants \\\"Asha\\\"\"}\n");
  assert_int_equal(s->ops->transfer(s->leg, &desk), CXB_EBUSY);
  return s;
}

static void a_transfer_ends_as_the_dialler_says_or_with_the_call(void **state) {
  cxb_session *s = transferring();
  feed(s, "{\"event\":\"call-transfer-status\",\"status\":\"ok\"}");
  heard(s, "transfer ok []\n");
  feed(s, "{\"event\":\"call-transfer-status\",\"status\":\"failed\",\"reason\":\"late\"}");
  heard(s, "");
  end(s);
  s = transferring();
  feed(s, "{\"event\":\"call-transfer-status\",\"status\":1}");
  heard(s, "");
  feed(s, "{\"event\":\"call-transfer-status\",\"status\":\"failed\",\"reason\":\"busy\"}");
  heard(s, "transfer failed [busy]\n");
  assert_int_equal(s->ops->transfer(s->leg, &desk), 0); /* another try */
  end(s);
  s = transferring();
  feed(s, "{\"event\":\"hangup-call\"}");
  heard(s, "transfer ok [hangup]\nstop []\nclosed 1000 \n");
  end(s);
  s = transferring();
  cxb_leg_lost(s->leg, 1006);
  heard(s, "transfer ok [closed]\nclosed 1006 \n");
  end(s);
  s = transferring();
  s->ops->hangup(s->leg);
  heard(s, "transfer failed [hangup]\n");
  assert_int_equal(s->ops->transfer(s->leg, &desk), CXB_ECLOSED);
  end(s);
}

static void carry_media(cxb_session *s, int frames) {
  for (int i = 0; i < frames; i++) {
    cxb_leg_advance(s->leg, 20);
    feed_media(s, media, "abcd", 4);
  }
}

static void an_unanswered_transfer_is_judged_by_the_callers_media(void **state) {
  cxb_session *s = transferring();
  carry_media(s, 50); /* media stops after 1 s */
  cxb_leg_advance(s->leg, 1999);
  heard(s, "");
  cxb_leg_advance(s->leg, 1);
  heard(s, "transfer ok [media_stopped]\n");
  end(s);
  s = transferring();
  carry_media(s, 499); /* it goes on */
  heard(s, "");
  carry_media(s, 1);
  heard(s, "transfer failed [timeout]\n");
  closes_with(s, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(connected_start_and_answer_begin_a_call),
      cmocka_unit_test(an_outgoing_call_shows_our_number),
      cmocka_unit_test(a_handshake_without_details_gets_defaults),
      cmocka_unit_test(a_handshake_out_of_order_closes_1002),
      cmocka_unit_test(unsupported_formats_close_1003_and_odd_types_do_not),
      cmocka_unit_test(a_handshake_has_10_s_and_an_answer_60),
      cmocka_unit_test(media_of_any_even_size_arrives_and_broken_media_is_dropped),
      cmocka_unit_test(what_is_unknown_or_repeated_is_ignored_and_counted),
      cmocka_unit_test(media_before_the_answer_is_not_heard),
      cmocka_unit_test(a_text_above_64_kib_closes_1009),
      cmocka_unit_test(reverse_media_has_its_golden_bytes),
      cmocka_unit_test(a_clear_flushes_the_far_buffer),
      cmocka_unit_test(our_hangup_flushes_asks_and_waits_for_hangup_call),
      cmocka_unit_test(after_the_customers_hangup_nothing_more_is_sent),
      cmocka_unit_test(a_transfer_ends_as_the_dialler_says_or_with_the_call),
      cmocka_unit_test(an_unanswered_transfer_is_judged_by_the_callers_media),
  };
  return cmocka_run_group_tests_name("the CXB dialler's wire", tests, NULL, NULL);
}
