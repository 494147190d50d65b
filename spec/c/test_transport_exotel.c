/* Exotel's wire, both ways, message by message (core spec §3.3). */
#include "transport_log.h"

static const char connected[] = "{\"event\":\"connected\"}";
static const char start[] =
    "{\"event\":\"start\",\"sequence_number\":\"1\",\"stream_sid\":\"EX1\",\"start\":{"
    "\"stream_sid\":\"EX1\",\"call_sid\":\"CS1\",\"account_sid\":\"acc\",\"from\":\"09876543210\","
    "\"to\":\"08047112233\",\"custom_parameters\":{\"campaign\":\"spring\"},\"media_format\":{"
    "\"encoding\":\"base64\",\"sample_rate\":\"8000\",\"bit_rate\":\"128kbps\"}}}";
static const char media[] =
    "{\"event\":\"media\",\"sequence_number\":\"3\",\"stream_sid\":\"EX1\",\"media\":{\"chunk\":"
    "\"2\",\"timestamp\":\"100\",\"payload\":\"%s\"}}";

static cxb_session *talking(const cxb_leg_options *options) {
  cxb_session *s = begin_with("exotel", "", options);
  feed(s, connected);
  feed(s, start);
  assert_non_null(strstr(s->log.data, "answer\n"));
  cxb_buf_clear(&s->log);
  cxb_buf_str(&s->log, "");
  return s;
}

static void connected_and_start_begin_an_answered_call(void **state) {
  cxb_session *s = begin("exotel");
  feed(s, connected);
  heard(s, "");
  feed(s, start);
  heard(s,
        "start 8000 EX1 [09876543210] [08047112233] [-] incoming {\"stream_sid\":\"EX1\","
        "\"call_sid\":\"CS1\",\"account_sid\":\"acc\",\"from\":\"09876543210\",\"to\":"
        "\"08047112233\",\"custom_parameters\":{\"campaign\":\"spring\"},\"media_format\":{"
        "\"encoding\":\"base64\",\"sample_rate\":\"8000\",\"bit_rate\":\"128kbps\"},"
        "\"campaign\":\"spring\",\"callerId\":\"09876543210\",\"did\":\"08047112233\","
        "\"callDirection\":\"incoming\",\"streamId\":\"EX1\"}\nframing 200\nanswer\n");
  end(s);
}

static void the_stream_id_comes_from_any_of_its_four_places(void **state) {
  static const char *const starts[] = {
      "{\"event\":\"start\",\"stream_sid\":\"EX7\"}",
      "{\"event\":\"start\",\"stream_id\":\"EX7\",\"start\":[]}",
      "{\"event\":\"start\",\"start\":{\"stream_sid\":\"EX7\"}}",
      "{\"event\":\"start\",\"stream_sid\":3,\"start\":{\"stream_id\":\"EX7\"}}"};
  for (int i = 0; i < 4; i++) {
    cxb_session *s = begin("exotel");
    feed(s, connected);
    feed(s, starts[i]);
    assert_memory_equal(s->log.data, "start 8000 EX7 [] [] [-] incoming ", 34);
    end(s);
  }
}

static void the_rate_is_the_formats_or_the_addresss(void **state) {
  static const struct {
    const char *query, *format;
    int rate; /* 0: closed 1003 */
  } cases[] = {{"", "{}", 8000},
               {"sample-rate=16000", "{}", 16000},
               {"token=x&sample-rate=24000", "[]", 24000},
               {"sample-rate=16000", "{\"sample_rate\":24000}", 24000},
               {"", "{\"sample_rate\":\"16000\"}", 16000},
               {"", "{\"sample_rate\":\"fast\"}", 8000},
               {"sample-rate=11025", "{}", 0},
               {"", "{\"sample_rate\":44100}", 0},
               {"", "{\"encoding\":\"pcm\"}", 8000},
               {"", "{\"encoding\":\"audio/x-mulaw\"}", 0},
               {"", "{\"encoding\":\"PCMU\"}", 0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cxb_session *s = begin_with("exotel", cases[i].query, NULL);
    char text[200], want[40];
    feed(s, connected);
    snprintf(text, sizeof text,
             "{\"event\":\"start\",\"stream_sid\":\"EX1\",\"start\":{\"media_format\":%s}}",
             cases[i].format);
    feed(s, text);
    snprintf(want, sizeof want, cases[i].rate ? "start %d EX1" : "closed 1003", cases[i].rate);
    assert_memory_equal(s->log.data, want, strlen(want));
    end(s);
  }
}

static void audio_of_any_even_size_arrives(void **state) {
  cxb_session *s = talking(NULL);
  static uint8_t bytes[100000];
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)(i * 7);
  feed_media(s, media, bytes, 1600);
  assert_int_equal(s->audio.len, 1600);
  assert_memory_equal(s->audio.data, bytes, 1600);
  feed_media(s, media, bytes, sizeof bytes); /* the carrier's largest chunk: 133 KB of text */
  assert_int_equal(s->audio.len, 1600 + sizeof bytes);
  assert_memory_equal(s->audio.data + 1600, bytes, sizeof bytes);
  heard(s, "");
  feed_media(s, media, bytes, 1601);
  heard(s, "drop bad_audio\n");
  end(s);
}

/* What the far end got as audio, message by message, against frames of a ramp. */
static void assert_chunk(cxb_session *s, const int16_t *pcm, size_t bytes) {
  size_t room = CXB_BASE64_LEN(bytes) + 200;
  char *want = calloc(1, room);
  int n =
      snprintf(want, room, "{\"event\":\"media\",\"stream_sid\":\"EX1\",\"media\":{\"payload\":\"");
  n += (int)cxb_base64_encode(want + n, pcm, bytes);
  snprintf(want + n, room - (size_t)n, "\"}}\n");
  sent(s, want);
  free(want);
}

static void audio_leaves_in_chunks_of_3200_bytes_the_last_one_padded(void **state) {
  cxb_session *s = talking(NULL);
  int16_t pcm[160 * 12], padded[1600] = {0};
  for (int i = 0; i < 160 * 12; i++)
    pcm[i] = (int16_t)(i * 17);
  for (int i = 0; i < 9; i++)
    s->ops->frame(s->leg, pcm + i * 160, 160);
  sent(s, "");
  s->ops->frame(s->leg, pcm + 9 * 160, 160);
  assert_chunk(s, pcm, 3200);
  s->ops->frame(s->leg, pcm + 10 * 160, 160);
  s->ops->frame(s->leg, pcm + 11 * 160, 160);
  sent(s, "");
  s->ops->mark(s->leg, "u1");
  sent(s, ""); /* more may follow */
  cxb_leg_advance(s->leg, 100);
  memcpy(padded, pcm + 1600, 640);
  size_t at = (size_t)(strstr(s->sent.data, "{\"event\":\"mark\"") - s->sent.data);
  assert_string_equal(s->sent.data + at,
                      "{\"event\":\"mark\",\"stream_sid\":\"EX1\",\"mark\":{\"name\":\"u1\"}}\n");
  s->sent.data[at] = '\0';
  assert_chunk(s, padded, 3200);
  end(s);
}

static void words_that_follow_share_a_chunk_and_the_mark_goes_after_it(void **state) {
  cxb_session *s = talking(NULL);
  int16_t pcm[1600];
  for (int i = 0; i < 1600; i++)
    pcm[i] = (int16_t)(i * 13);
  for (int i = 0; i < 10; i++) {
    sent(s, "");
    s->ops->frame(s->leg, pcm + i * 160, 160);
    if (i == 3)
      s->ops->mark(s->leg, "u1");
    if (i == 7)
      s->ops->mark(s->leg, "u2");
  }
  static const char marks[] =
      "{\"event\":\"mark\",\"stream_sid\":\"EX1\",\"mark\":{\"name\":"
      "\"u1\"}}\n{\"event\":\"mark\",\"stream_sid\":\"EX1\",\"mark\":{"
      "\"name\":\"u2\"}}\n";
  char *at = strstr(s->sent.data, "{\"event\":\"mark\"");
  assert_string_equal(at, marks);
  *at = '\0';
  assert_chunk(s, pcm, 3200);
  s->ops->mark(s->leg, "u3"); /* nothing is held: at once */
  sent(s, "{\"event\":\"mark\",\"stream_sid\":\"EX1\",\"mark\":{\"name\":\"u3\"}}\n");
  end(s);
}

static void the_chunk_is_the_configured_one(void **state) {
  const cxb_leg_options options = {.chunk_bytes = 6400};
  cxb_session *s = begin_with("exotel", "sample-rate=16000", &options);
  feed(s, connected);
  feed(s, "{\"event\":\"start\",\"stream_sid\":\"EX1\"}");
  assert_non_null(strstr(s->log.data, "framing 200\n"));
  int16_t pcm[320] = {0};
  for (int i = 0; i < 10; i++) {
    sent(s, "");
    s->ops->frame(s->leg, pcm, 320);
  }
  assert_int_equal(s->sends, 1);
  assert_true(s->sent.len > 6400 * 4 / 3);
  end(s);
}

static void an_unfinished_chunk_waits_100_ms_and_a_clear_drops_it(void **state) {
  cxb_session *s = talking(NULL);
  int16_t pcm[1600] = {1, 2, 3};
  s->ops->frame(s->leg, pcm, 160);
  cxb_leg_advance(s->leg, 99);
  sent(s, "");
  cxb_leg_advance(s->leg, 1);
  assert_chunk(s, pcm, 3200);
  s->ops->frame(s->leg, pcm, 160);
  s->ops->mark(s->leg, "u1");
  s->ops->clear(s->leg);
  cxb_leg_advance(s->leg, 1000);
  s->ops->mark(s->leg, "u\"2");
  sent(s,
       "{\"event\":\"clear\",\"stream_sid\":\"EX1\"}\n"
       "{\"event\":\"mark\",\"stream_sid\":\"EX1\",\"mark\":{\"name\":\"u\\\"2\"}}\n");
  end(s);
}

static void keys_marks_and_stop_arrive(void **state) {
  cxb_session *s = talking(NULL);
  feed(s, "{\"event\":\"dtmf\",\"dtmf\":{\"digit\":\"5\",\"duration\":\"200\"}}");
  feed(s, "{\"event\":\"mark\",\"mark\":{\"name\":\"u1\"}}");
  feed(s, "{\"event\":\"mark\",\"mark\":{\"name\":1}}");
  feed(s, "{\"event\":\"stop\",\"stop\":{\"reason\":\"callended\"}}");
  heard(s, "dtmf 5\nmark [u1] -1\nstop [callended]\nclosed 1000 \n");
  end(s);
}

static void our_hangup_closes_the_socket_and_nobody_is_transferred(void **state) {
  cxb_session *s = talking(NULL);
  const cxb_transfer desk = {.to = "+1", .type = "sip"};
  assert_int_equal(s->ops->transfer(s->leg, &desk), CXB_EUNSUPPORTED);
  assert_int_equal(s->ops->hangup(s->leg), 0);
  assert_int_equal(s->ops->hangup(s->leg), CXB_ECLOSED);
  cxb_leg_advance(s->leg, 1);
  sent(s, "");
  heard(s, "closed 1000 \n");
  end(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(connected_and_start_begin_an_answered_call),
      cmocka_unit_test(the_stream_id_comes_from_any_of_its_four_places),
      cmocka_unit_test(the_rate_is_the_formats_or_the_addresss),
      cmocka_unit_test(audio_of_any_even_size_arrives),
      cmocka_unit_test(audio_leaves_in_chunks_of_3200_bytes_the_last_one_padded),
      cmocka_unit_test(words_that_follow_share_a_chunk_and_the_mark_goes_after_it),
      cmocka_unit_test(the_chunk_is_the_configured_one),
      cmocka_unit_test(an_unfinished_chunk_waits_100_ms_and_a_clear_drops_it),
      cmocka_unit_test(keys_marks_and_stop_arrive),
      cmocka_unit_test(our_hangup_closes_the_socket_and_nobody_is_transferred),
  };
  return cmocka_run_group_tests_name("Exotel's wire", tests, NULL, NULL);
}
