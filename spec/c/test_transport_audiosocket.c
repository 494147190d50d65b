/* AudioSocket, both ways, packet by packet (core spec §3.6). */
#include "transport_log.h"

static const uint8_t id[] =
    "\x01\x00\x10\x40\x32\x5e\xc2\x5e\xfd\x4b\xd3\x80\x5f\x53\x57\x6e\x58\x1d\x13";
#define UUID "40325ec2-5efd-4bd3-805f-53576e581d13"

static void packet(cxb_session *s, uint8_t kind, const void *payload, size_t len) {
  uint8_t bytes[4096] = {kind, (uint8_t)(len >> 8), (uint8_t)len};
  memcpy(bytes + 3, payload, len);
  feed_binary(s, bytes, len + 3);
}

static cxb_session *talking(uint8_t kind) {
  cxb_session *s = begin("audiosocket");
  int16_t pcm[160] = {0};
  feed_binary(s, id, 19);
  heard(s, "");
  packet(s, kind, pcm, sizeof pcm);
  assert_non_null(strstr(s->log.data, "answer\n"));
  cxb_buf_clear(&s->log);
  cxb_buf_str(&s->log, "");
  cxb_buf_clear(&s->audio);
  return s;
}

static void the_uuid_and_the_first_audio_begin_an_answered_call(void **state) {
  static const int rates[] = {8000, 12000, 16000, 24000, 32000, 44100, 48000};
  for (uint8_t i = 0; i < 7; i++) {
    cxb_session *s = begin("audiosocket");
    char want[300];
    feed_binary(s, id, 19);
    packet(s, (uint8_t)(0x10 + i), "\x01\x00\x02\x00", 4);
    snprintf(want, sizeof want,
             "start %d " UUID
             " [] [] [-] incoming {\"callerId\":\"\",\"did\":\"\","
             "\"callDirection\":\"incoming\",\"streamId\":\"" UUID "\"}\nanswer\n",
             rates[i]);
    heard(s, want);
    assert_int_equal(s->audio.len, 4);
    end(s);
  }
}

static void a_far_end_that_says_nothing_is_spoken_to_at_8000(void **state) {
  cxb_session *s = begin("audiosocket");
  feed_binary(s, id, 19);
  cxb_leg_advance(s->leg, 999);
  heard(s, "");
  cxb_leg_advance(s->leg, 1);
  assert_memory_equal(s->log.data, "start 8000 " UUID, 47);
  end(s);
}

static void a_stream_without_its_uuid_is_closed(void **state) {
  cxb_session *s = begin("audiosocket");
  packet(s, 0x10, "abcd", 4);
  packet(s, 0x03, "5", 1);
  assert_int_equal(s->audio.len, 0);
  cxb_leg_advance(s->leg, 10000);
  heard(s, "closed 1002 handshake_timeout\n");
  end(s);
  s = begin("audiosocket");
  packet(s, 0x01, "too short", 9);
  heard(s, "closed 1002 out_of_order\n");
  end(s);
}

static void audio_of_another_rate_half_samples_and_unknown_kinds_are_refused(void **state) {
  cxb_session *s = talking(0x12);
  packet(s, 0x10, "abcd", 4);
  packet(s, 0x17, "abcd", 4);
  packet(s, 0x02, "abcd", 4);
  packet(s, 0x12, "", 0);
  feed_binary(s, id, 19);
  packet(s, 0x03, "12", 2);
  packet(s, 0x03, "x", 1);
  heard(s, "");
  assert_int_equal(cxb_leg_counted(s->leg)->ignored, 7);
  packet(s, 0x12, "abc", 3);
  heard(s, "drop bad_audio\n");
  feed_binary(s, "\x12\x00", 2);
  feed_binary(s, "\x12\x00\x09xy", 5);
  heard(s, "drop bad_message\ndrop bad_message\n");
  packet(s, 0x12, "abcd", 4);
  packet(s, 0x03, "#", 1);
  heard(s, "dtmf #\n");
  assert_memory_equal(s->audio.data, "abcd", 4);
  end(s);
}

static int grab(void *arg, bool binary, const void *data, size_t len) {
  assert_true(binary);
  return cxb_buf_add(arg, data, len);
}

static void packets_out_have_their_golden_bytes_and_nothing_goes_ahead(void **state) {
  static const int16_t pcm[] = {1000, -1000, 0, 32767};
  cxb_session session = {0};
  cxb_buf out = {0};
  cxb_buf_str(&session.log, "");
  session.leg =
      cxb_leg_new_detached(cxb_serializer_find("audiosocket"), &session, NULL, "", grab, &out);
  feed_binary(&session, id, 19);
  packet(&session, 0x15, pcm, sizeof pcm);
  assert_int_equal(session.ops->lead_ms, 0);
  assert_false(session.ops->has_marks);
  session.ops->frame(session.leg, pcm, 4);
  assert_int_equal(session.ops->clear(session.leg), 0);
  session.ops->hangup(session.leg);
  assert_int_equal(out.len, 14);
  assert_memory_equal(out.data, "\x15\x00\x08\xe8\x03\x18\xfc\x00\x00\xff\x7f\x00\x00\x00", 14);
  assert_int_equal(cxb_leg_close_code(session.leg), 1000);
  cxb_leg_free_detached(session.leg);
  cxb_buf_free(&out);
  cxb_buf_free(&session.log);
  cxb_buf_free(&session.audio);
}

static void the_far_end_hangs_up_or_fails(void **state) {
  cxb_session *s = talking(0x10);
  packet(s, 0x00, "", 0);
  heard(s, "stop []\nclosed 1000 \n");
  end(s);
  s = talking(0x10);
  packet(s, 0xff, "\x01", 1);
  heard(s, "error peer_error\nclosed 1011 \n");
  end(s);
  s = talking(0x10);
  cxb_leg_lost(s->leg, 1006);
  heard(s, "closed 1006 \n");
  end(s);
  s = begin("audiosocket");
  packet(s, 0x00, "", 0);
  heard(s, "closed 1000 \n"); /* before there was a call */
  end(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_uuid_and_the_first_audio_begin_an_answered_call),
      cmocka_unit_test(a_far_end_that_says_nothing_is_spoken_to_at_8000),
      cmocka_unit_test(a_stream_without_its_uuid_is_closed),
      cmocka_unit_test(audio_of_another_rate_half_samples_and_unknown_kinds_are_refused),
      cmocka_unit_test(packets_out_have_their_golden_bytes_and_nothing_goes_ahead),
      cmocka_unit_test(the_far_end_hangs_up_or_fails),
  };
  return cmocka_run_group_tests_name("AudioSocket", tests, NULL, NULL);
}
