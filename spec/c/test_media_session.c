/* alone: 40 */
/* A session between an owner on the main loop and a far end on the media loop, in real time. */
#include "media_fake_wire.h"

#include <sys/stat.h>

#include "media/dtmf.h"

static cxb_media *media;

/* ---- a call's beginning ---- */
static void start_and_answer_reach_the_owner_with_their_fields(void **state) {
  fake_wire *w = fake_new();
  call_open(w, media, 8000, 60, 0);
  on_media(w, fake_start, NULL);
  on_media(w, fake_answer, NULL);
  on_media(w, fake_start, NULL); /* repeated: ignored */
  const seen_event *e = expect_event(w, CXB_EV_START, 1000);
  assert_int_equal(e->e.start->rate, 8000);
  assert_string_equal(e->e.start->stream_id, "stream-1");
  assert_string_equal(e->e.start->caller_id, "100");
  assert_string_equal(e->e.start->direction, "incoming");
  assert_string_equal(e->e.start->connected_event, "{\"a\":1}");
  assert_null(e->e.start->from_number);
  expect_event(w, CXB_EV_ANSWER, 1000);
  assert_int_equal(count_events(w, CXB_EV_START), 1);
  call_end(w);
}

static void a_rate_without_whole_frames_closes_1003(void **state) {
  fake_wire *w = fake_new();
  call_open(w, media, 11025, 60, 0);
  on_media(w, fake_start, NULL);
  assert_int_equal(expect_event(w, CXB_EV_CLOSED, 1000)->e.code, 1003);
  assert_int_equal(count_events(w, CXB_EV_START), 0);
  call_end(w);
}

static void audio_before_the_start_is_dropped_and_counted(void **state) {
  fake_wire *w = fake_new();
  sound s = silence(100, 8000);
  call_open(w, media, 8000, 60, 0);
  on_media(w, feed_all, &s);
  on_media(w, fake_start, NULL);
  cxb_session_stats stats;
  cxb_session_stats_get(w->s, &stats);
  assert_int_equal(stats.frames_in, 0);
  assert_int_equal(stats.drops, 1);
  sound_free(&s);
  call_end(w);
}

/* ---- speaking ---- */
static void speech_arrives_whole_in_order_and_in_time(void **state) {
  fake_wire *w = fake_new();
  sound s = spoken("Good morning. How can I help you?", 8000);
  call_begin(w, media, 8000, 60);
  uint32_t id = cxb_session_say_begin(w->s, 8000);
  const uint8_t *bytes = (const uint8_t *)s.pcm;
  for (size_t at = 0, step = 1; at < s.n * 2;
       at += step, step = step * 5 % 1999 + 1) { /* odd sizes */
    if (step > s.n * 2 - at)
      step = s.n * 2 - at;
    assert_int_equal(cxb_session_say_push(w->s, id, bytes + at, step), 0);
  }
  assert_int_equal(cxb_session_say_end(w->s, id, 0), 0);
  int64_t from = us_now();
  assert_int_equal(expect_event(w, CXB_EV_FIRST_FRAME, 1000)->e.utterance, id);
  const seen_event *e = expect_event(w, CXB_EV_PLAYED, 20000);
  int64_t length_ms = (int64_t)s.n / 8, took_ms = (e->at_us - from) / 1000;
  assert_int_equal(e->e.utterance, id);
  assert_in_range(e->e.heard_ms, length_ms - 1, length_ms + 1);
  assert_in_range(took_ms, length_ms - 20, length_ms + 250);
  assert_int_equal(w->frames, (s.n + 159) / 160);
  assert_memory_equal(w->out, s.pcm, s.n * 2);
  for (size_t i = s.n; i < w->frames * 160; i++)
    assert_int_equal(w->out[i], 0);
  for (size_t i = 1; i < w->frames; i++) /* never further ahead than the lead */
    assert_true(w->sent_us[i] >= w->sent_us[0] + (int64_t)i * 20000 - 60000 - 25000);
  sound_free(&s);
  call_end(w);
}

static void speech_at_another_rate_is_resampled_for_the_leg(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(500, 600, 24000, 9000);
  call_begin(w, media, 8000, 60);
  say(w, &s, true);
  expect_event(w, CXB_EV_PLAYED, 3000);
  assert_in_range(w->frames, 30, 31);
  double got = rms(w->out + 160, 160 * 28), want = 9000 / sqrt(2);
  assert_true(fabs(got / want - 1) < 0.03);
  sound_free(&s);
  call_end(w);
}

static void nothing_is_sent_when_nothing_is_queued(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(500, 100, 8000, 9000);
  call_begin(w, media, 8000, 60);
  pass(150);
  assert_int_equal(frames_of(w), 0);
  say(w, &s, true);
  expect_event(w, CXB_EV_PLAYED, 2000);
  pass(200);
  assert_int_equal(frames_of(w), 5);
  sound_free(&s);
  call_end(w);
}

static void nothing_is_sent_before_the_answer(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(500, 100, 8000, 9000);
  call_open(w, media, 8000, 60, 0);
  on_media(w, fake_start, NULL);
  say(w, &s, true);
  pass(150);
  assert_int_equal(frames_of(w), 0);
  on_media(w, fake_answer, NULL);
  expect_event(w, CXB_EV_PLAYED, 1000);
  assert_int_equal(frames_of(w), 5);
  sound_free(&s);
  call_end(w);
}

static void utterances_play_in_order_of_begin(void **state) {
  fake_wire *w = fake_new();
  sound a = sine(300, 100, 8000, 1000), b = sine(300, 100, 16000, 4000);
  call_begin(w, media, 8000, 60);
  uint32_t first = cxb_session_say_begin(w->s, 8000);
  uint32_t second = say(w, &b, true); /* whole before the first has a sample */
  uint32_t empty = cxb_session_say_begin(w->s, 8000);
  assert_int_equal(cxb_session_say_end(w->s, empty, CXB_EIO), 0);
  pass(60);
  assert_int_equal(frames_of(w), 0);
  assert_int_equal(cxb_session_say_push(w->s, first, a.pcm, a.n * 2), 0);
  assert_int_equal(cxb_session_say_end(w->s, first, 0), 0);
  assert_int_equal(expect_event(w, CXB_EV_PLAYED, 1000)->e.utterance, first);
  assert_int_equal(expect_event(w, CXB_EV_PLAYED, 1000)->e.utterance, second);
  const seen_event *e = expect_event(w, CXB_EV_PLAYED, 1000);
  assert_int_equal(e->e.utterance, empty);
  assert_int_equal(e->e.heard_ms, 0);
  assert_int_equal(e->e.code, CXB_EIO);
  assert_true(rms(w->out, 800) < 1000 && rms(w->out + 960, 480) > 2500);
  sound_free(&a);
  sound_free(&b);
  call_end(w);
}

static void more_than_ten_minutes_of_audio_are_refused(void **state) {
  fake_wire *w = fake_new();
  sound minute = silence(60000, 8000);
  call_begin(w, media, 8000, 60);
  uint32_t id = cxb_session_say_begin(w->s, 8000);
  for (int i = 0; i < 10; i++)
    assert_int_equal(cxb_session_say_push(w->s, id, minute.pcm, minute.n * 2), 0);
  assert_int_equal(cxb_session_say_push(w->s, id, minute.pcm, minute.n * 2), CXB_ETOOBIG);
  cxb_session_clear(w->s);
  expect_event(w, CXB_EV_PLAYED, 1000);
  id = cxb_session_say_begin(w->s, 8000); /* the room is free again */
  assert_int_equal(cxb_session_say_push(w->s, id, minute.pcm, minute.n * 2), 0);
  sound_free(&minute);
  call_end(w);
}

static void a_say_sink_plays_what_is_written_and_outlives_the_session(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 200, 8000, 3000);
  call_begin(w, media, 8000, 60);
  uint32_t id = cxb_session_say_begin(w->s, 8000);
  cxb_sink *sink = cxb_session_say_sink(w->s, id), *late = cxb_session_say_sink(w->s, id);
  assert_int_equal(sink->write(sink, (const uint8_t *)s.pcm, 7), 0);
  assert_int_equal(sink->write(sink, (const uint8_t *)s.pcm + 7, s.n * 2 - 7), 0);
  sink->end(sink, 0);
  assert_int_equal(sink->write(sink, (const uint8_t *)s.pcm, 2), CXB_ECLOSED);
  sink->release(sink);
  expect_event(w, CXB_EV_PLAYED, 1000);
  assert_memory_equal(w->out, s.pcm, s.n * 2);
  call_end(w);
  assert_int_equal(late->write(late, (const uint8_t *)s.pcm, 2), CXB_ECLOSED);
  late->end(late, 0);
  late->release(late);
  sound_free(&s);
}

static void a_failed_frame_is_counted_and_the_next_one_sent(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 100, 8000, 3000);
  w->fail_frames = true;
  call_begin(w, media, 8000, 60);
  say(w, &s, true);
  expect_event(w, CXB_EV_PLAYED, 1000);
  cxb_session_stats stats;
  cxb_session_stats_get(w->s, &stats);
  assert_int_equal(stats.frames_out, 5);
  assert_int_equal(stats.frame_errors, 5);
  sound_free(&s);
  call_end(w);
}

/* ---- clear ---- */
static void a_clear_leaks_nothing_and_reports_what_was_heard(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 18000, 8000, 3000);
  call_begin(w, media, 8000, 60);
  uint32_t id = say(w, &s, false), next = say(w, &s, true);
  expect_event(w, CXB_EV_FIRST_FRAME, 1000);
  pass(500);
  int64_t asked = us_now();
  cxb_session_clear(w->s);
  const seen_event *e = expect_event(w, CXB_EV_CLEARED, 1000);
  assert_int_equal(e->e.utterance, id);
  assert_string_equal(e->text, "command");
  assert_in_range(e->e.heard_ms, 440, 700);
  int64_t heard = e->e.heard_ms;
  e = expect_event(w, CXB_EV_PLAYED, 1000);
  assert_true(e->e.utterance == id && e->e.heard_ms == heard);
  e = expect_event(w, CXB_EV_PLAYED, 1000);
  assert_true(e->e.utterance == next && e->e.heard_ms == 0);
  assert_true(w->clear_us - asked < 100000);
  assert_int_equal(cxb_session_say_push(w->s, id, s.pcm, 320), CXB_ECLOSED);
  pass(200);
  assert_int_equal(w->clears, 1);
  assert_int_equal(frames_of(w), w->frames_at_clear);
  assert_in_range((int64_t)w->frames * 20 - heard, 0, 100); /* the lead, and a frame in play */
  say(w, &s, true);                                         /* new words play at once */
  expect_event(w, CXB_EV_FIRST_FRAME, 500);
  sound_free(&s);
  call_end(w);
}

static void clearing_silence_is_answered_too(void **state) {
  fake_wire *w = fake_new();
  call_begin(w, media, 8000, 60);
  cxb_session_clear(w->s);
  const seen_event *e = expect_event(w, CXB_EV_CLEARED, 1000);
  assert_int_equal(e->e.utterance, 0);
  assert_int_equal(e->e.heard_ms, 0);
  call_end(w);
}

static void words_spoken_after_a_clear_command_are_never_taken_for_old_ones(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 3000, 8000, 3000);
  call_begin(w, media, 8000, 60);
  cxb_session_barge(w->s, CXB_BARGE_DTMF);
  say(w, &s, true);
  expect_event(w, CXB_EV_FIRST_FRAME, 1000);
  char five = '5';
  on_media(w, send_dtmf, &five); /* cleared; the owner has not heard of it yet */
  cxb_session_clear(w->s);
  uint32_t fresh = say(w, &s, true);
  assert_int_equal(expect_event(w, CXB_EV_FIRST_FRAME, 1000)->e.utterance, fresh);
  sound_free(&s);
  call_end(w);
}

/* ---- barge-in ---- */
static void a_person_speaking_interrupts_at_once(void **state) {
  fake_wire *w = fake_new();
  sound bot = sine(300, 10000, 8000, 3000);
  sound man = join(silence(400, 8000), recorded_speech("cards/005.wav", 8000));
  add_noise(man.pcm, man.n, 10);
  call_begin(w, media, 8000, 60);
  cxb_session_vad(w->s, 2, 100, 400);
  cxb_session_barge(w->s, CXB_BARGE_VAD);
  say(w, &bot, true);
  caller_says(w, &man);
  const seen_event *speech = expect_event(w, CXB_EV_SPEECH, 4000);
  const seen_event *cleared = expect_event(w, CXB_EV_CLEARED, 1000);
  assert_string_equal(cleared->text, "vad");
  assert_true(cleared->e.t_ms - speech->e.t_ms >= 80);
  expect_event(w, CXB_EV_PLAYED, 1000);
  expect_event(w, CXB_EV_SILENCE, 6000);
  assert_int_equal(w->clears, 1);
  assert_int_equal(frames_of(w), w->frames_at_clear);
  sound_free(&bot);
  sound_free(&man);
  call_end(w);
}

static void a_person_speaking_does_not_interrupt_when_not_allowed(void **state) {
  fake_wire *w = fake_new();
  sound bot = sine(300, 2000, 8000, 3000), man = recorded_speech("cards/005.wav", 8000);
  call_begin(w, media, 8000, 60);
  cxb_session_vad(w->s, 2, 100, 400);
  cxb_session_barge(w->s, CXB_BARGE_DTMF);
  uint32_t id = say(w, &bot, true);
  caller_says(w, &man);
  expect_event(w, CXB_EV_SPEECH, 3000);
  const seen_event *e = expect_event(w, CXB_EV_PLAYED, 4000);
  assert_true(e->e.utterance == id && e->e.heard_ms == 2000);
  assert_int_equal(w->clears, 0);
  sound_free(&bot);
  sound_free(&man);
  call_end(w);
}

static void speech_ends_also_when_the_sender_sends_nothing_more(void **state) {
  fake_wire *w = fake_new();
  sound man = recorded_speech("cards/001.wav", 8000);
  man.n = 8000 * 8 / 10; /* cut off in the middle of a word */
  call_begin(w, media, 8000, 60);
  cxb_session_vad(w->s, 2, 100, 300);
  caller_says(w, &man);
  const seen_event *speech = expect_event(w, CXB_EV_SPEECH, 2000);
  const seen_event *quiet = expect_event(w, CXB_EV_SILENCE, 2000);
  assert_in_range(quiet->e.t_ms - speech->e.t_ms, 200, 900);
  sound_free(&man);
  call_end(w);
}

static void a_key_interrupts_once_whether_tone_or_event(void **state) {
  fake_wire *w = fake_new();
  sound bot = sine(1000, 10000, 8000, 3000), key = {.rate = 8000};
  assert_int_equal(cxb_dtmf_generate("7", 8000, 100, 50, -10, &key.pcm, &key.n), 0);
  call_begin(w, media, 8000, 60);
  cxb_session_barge(w->s, CXB_BARGE_DTMF);
  say(w, &bot, true);
  expect_event(w, CXB_EV_FIRST_FRAME, 1000);
  caller_says(w, &key);
  const seen_event *e = expect_event(w, CXB_EV_DTMF, 1000);
  assert_int_equal(e->e.digit, '7');
  char digit = '7';
  on_media(w, send_dtmf, &digit); /* the carrier's event for the same press */
  assert_string_equal(expect_event(w, CXB_EV_CLEARED, 1000)->text, "dtmf");
  pass(300);
  assert_int_equal(count_events(w, CXB_EV_DTMF), 1);
  on_media(w, send_dtmf, &digit); /* a press of its own by now */
  wait_until(500, count_events(w, CXB_EV_DTMF) == 2);
  assert_int_equal(w->clears, 1);
  sound_free(&bot);
  sound_free(&key);
  call_end(w);
}

static void words_begun_before_the_owner_knew_are_cleared_too(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 2000, 8000, 3000);
  call_begin(w, media, 8000, 60);
  cxb_session_barge(w->s, CXB_BARGE_DTMF);
  say(w, &s, true);
  expect_event(w, CXB_EV_FIRST_FRAME, 1000);
  char five = '5';
  on_media(w, send_dtmf, &five);
  uint32_t stale = say(w, &s, true); /* no event was delivered in between */
  expect_event(w, CXB_EV_CLEARED, 1000);
  expect_event(w, CXB_EV_PLAYED, 1000);
  const seen_event *e = expect_event(w, CXB_EV_PLAYED, 1000);
  assert_true(e->e.utterance == stale && e->e.heard_ms == 0);
  pass(100);
  assert_int_equal(frames_of(w), w->frames_at_clear);
  uint32_t fresh = say(w, &s, true);
  assert_int_equal(expect_event(w, CXB_EV_FIRST_FRAME, 1000)->e.utterance, fresh);
  sound_free(&s);
  call_end(w);
}

/* ---- marks ---- */
static void hold_on(fake_wire *w, void *arg) {
  cxb_session_in_hold(w->s, true);
}

static void hold_off(fake_wire *w, void *arg) {
  cxb_session_in_hold(w->s, false);
}

static void a_far_end_that_wants_to_wait_gets_nothing_meanwhile_and_all_of_it_later(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 1500, 8000, 3000);
  call_begin(w, media, 8000, 60);
  say(w, &s, true);
  expect_event(w, CXB_EV_FIRST_FRAME, 1000);
  pass(200);
  on_media(w, hold_on, NULL);
  size_t held = frames_of(w);
  pass(400);
  assert_int_equal(frames_of(w), held);
  on_media(w, hold_off, NULL);
  wait_until(1000, frames_of(w) > held);
  const seen_event *e = expect_event(w, CXB_EV_PLAYED, 5000);
  assert_in_range(e->e.heard_ms, 1490, 1510);
  assert_int_equal(frames_of(w), 75);
  on_media(w, hold_on, NULL); /* what is cleared in a hold is gone */
  say(w, &s, true);
  pass(100);
  cxb_session_clear(w->s);
  e = expect_event(w, CXB_EV_PLAYED, 1000);
  assert_int_equal(e->e.heard_ms, 0);
  on_media(w, hold_off, NULL);
  pass(100);
  assert_int_equal(frames_of(w), 75);
  sound_free(&s);
  call_end(w);
}

static void return_mark(fake_wire *w, void *arg) {
  cxb_session_in_mark(w->s, arg, -1, false);
}

static void a_wire_with_marks_says_when_words_were_heard(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 200, 8000, 3000);
  w->ops.has_marks = true;
  call_begin(w, media, 8000, 200);
  uint32_t one = say(w, &s, true), two = say(w, &s, true);
  wait_until(2000, count_of(w, &w->mark_count) == 2);
  pass(400); /* by our clock it was heard */
  assert_int_equal(count_events(w, CXB_EV_PLAYED), 0);
  on_media(w, return_mark, (void *)"nonsense");
  on_media(w, return_mark, (void *)"u999");
  on_media(w, return_mark, w->marks[1]); /* the second's: the first was played as well */
  const seen_event *e = expect_event(w, CXB_EV_PLAYED, 500);
  assert_true(e->e.utterance == one && e->e.heard_ms == 200);
  e = expect_event(w, CXB_EV_PLAYED, 500);
  assert_true(e->e.utterance == two && e->e.heard_ms == 200);
  sound_free(&s);
  call_end(w);
}

static void a_mark_that_never_comes_is_given_up_after_two_seconds(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 100, 8000, 3000);
  w->ops.has_marks = true;
  call_begin(w, media, 8000, 200);
  int64_t from = us_now();
  say(w, &s, true);
  const seen_event *e = expect_event(w, CXB_EV_PLAYED, 4000);
  assert_in_range((e->at_us - from) / 1000, 2000, 2600);
  assert_int_equal(e->e.heard_ms, 100);
  sound_free(&s);
  call_end(w);
}

static void a_wire_that_answers_a_clear_says_how_much_was_heard(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 5000, 8000, 3000);
  w->ops.has_marks = w->ops.answers_clear = true;
  w->clear_played_ms = 123;
  call_begin(w, media, 8000, 200);
  uint32_t id = say(w, &s, true);
  expect_event(w, CXB_EV_FIRST_FRAME, 1000);
  pass(400);
  cxb_session_clear(w->s);
  const seen_event *e = expect_event(w, CXB_EV_CLEARED, 1000);
  assert_true(e->e.utterance == id && e->e.heard_ms == 123);
  assert_int_equal(expect_event(w, CXB_EV_PLAYED, 1000)->e.heard_ms, 123);
  sound_free(&s);
  call_end(w);
}

static void a_clear_that_is_not_answered_counts_by_the_clock(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 5000, 8000, 3000);
  w->ops.has_marks = w->ops.answers_clear = true;
  call_begin(w, media, 8000, 200);
  say(w, &s, true);
  expect_event(w, CXB_EV_FIRST_FRAME, 1000);
  pass(400);
  int64_t from = us_now();
  cxb_session_clear(w->s);
  const seen_event *e = expect_event(w, CXB_EV_CLEARED, 2000);
  assert_in_range((e->at_us - from) / 1000, 500, 900);
  assert_in_range(e->e.heard_ms, 350, 600);
  sound_free(&s);
  call_end(w);
}

/* ---- the caller's audio ---- */
typedef struct test_sink {
  cxb_sink sink;
  uint8_t *data;
  size_t len, room;
  int ended, released, end_err;
  size_t close_after;
  int odd_sizes;
} test_sink;

static int test_sink_write(cxb_sink *sink, const uint8_t *data, size_t len) {
  test_sink *t = (test_sink *)sink;
  if (t->close_after && t->len >= t->close_after)
    return CXB_ECLOSED;
  if (t->len + len > t->room)
    t->data = realloc(t->data, t->room = (t->len + len) * 2);
  memcpy(t->data + t->len, data, len);
  t->len += len;
  return 0;
}

static void test_sink_end(cxb_sink *sink, int err) {
  test_sink *t = (test_sink *)sink;
  t->ended++;
  t->end_err = err;
}

static void test_sink_release(cxb_sink *sink) {
  ((test_sink *)sink)->released++;
}

static test_sink new_sink(void) {
  return (test_sink){.sink = {test_sink_write, test_sink_end, test_sink_release}};
}

static void a_tap_gets_the_past_and_then_the_present_without_a_seam(void **state) {
  fake_wire *w = fake_new();
  test_sink sink = new_sink();
  sound s = recorded_speech("cards/005.wav", 8000);
  assert_true(s.n > 8000 * 2);
  s.n = 8000 * 2;
  call_begin(w, media, 8000, 60);
  caller_says(w, &s);
  pass(600);
  assert_int_equal(cxb_session_tap(w->s, &sink.sink, 8000, 2000, 0), 0);
  wait_until(4000, sink.len == s.n * 2);
  assert_memory_equal(sink.data, s.pcm, sink.len);
  assert_int_equal(cxb_session_tap(w->s, NULL, 0, 0, 0), 0);
  assert_int_equal(sink.released, 1);
  assert_int_equal(sink.ended, 0);
  free(sink.data);
  sound_free(&s);
  call_end(w);
}

static void replay_is_limited_to_what_was_asked_and_two_seconds(void **state) {
  fake_wire *w = fake_new();
  test_sink a = new_sink(), b = new_sink();
  sound s = recorded_speech("librivox/sense_and_sensibility_01_austen_64kb-0880.wav", 8000);
  s.n = 160 * 110;
  call_begin(w, media, 8000, 60);
  on_media(w, feed_all, &s); /* 2.2 s at once: a burst that may pass in 2 s from here */
  pass(2100);
  assert_int_equal(cxb_session_tap(w->s, &a.sink, 8000, 500, 0), 0);
  pass(50);
  assert_int_equal(a.len, 500 * 16);
  assert_memory_equal(a.data, s.pcm + s.n - 500 * 8, a.len);
  assert_int_equal(cxb_session_tap(w->s, &b.sink, 16000, 99999, 0), 0); /* replaces the other */
  pass(50);
  assert_int_equal(a.released, 1);
  assert_in_range(b.len, 2000 * 32 - 200, 2000 * 32);
  assert_int_equal(cxb_session_tap(w->s, &a.sink, 500, 0, 0), CXB_EINVAL);
  free(a.data);
  sound_free(&s);
  call_end(w); /* the tap that still runs is ended and released */
  assert_int_equal(b.ended, 1);
  assert_int_equal(b.released, 1);
  free(b.data);
}

/* Writes of a size of their own count, and are told apart by it. */
static int chunk_write(cxb_sink *sink, const uint8_t *data, size_t len) {
  test_sink *t = (test_sink *)sink;
  if (len != 80 * 16)
    t->odd_sizes++;
  return test_sink_write(sink, data, len);
}

static void a_tap_in_chunks_writes_all_of_one_size_but_the_last(void **state) {
  fake_wire *w = fake_new();
  test_sink sink = new_sink();
  sink.sink.write = chunk_write;
  sound s = recorded_speech("cards/005.wav", 8000);
  s.n = 160 * 51; /* 1,020 ms: twelve chunks of 80 and 60 left */
  call_begin(w, media, 8000, 60);
  assert_int_equal(cxb_session_tap(w->s, &sink.sink, 8000, 0, 1001), CXB_EINVAL);
  assert_int_equal(cxb_session_tap(w->s, &sink.sink, 8000, 0, 80), 0);
  caller_says(w, &s);
  wait_until(4000, sink.len == 12 * 80 * 16);
  pass(100);
  assert_int_equal(sink.len, 12 * 80 * 16);
  assert_int_equal(sink.odd_sizes, 0);
  call_end(w);
  assert_int_equal(sink.odd_sizes, 1);
  assert_int_equal(sink.ended, 1);
  assert_int_equal(sink.len, s.n * 2);
  assert_memory_equal(sink.data, s.pcm, sink.len);
  free(sink.data);
  sound_free(&s);
}

static void a_sink_that_closes_is_left_alone(void **state) {
  fake_wire *w = fake_new();
  test_sink sink = new_sink();
  sink.close_after = 1600;
  sound s = silence(600, 8000);
  call_begin(w, media, 8000, 60);
  assert_int_equal(cxb_session_tap(w->s, &sink.sink, 8000, 0, 0), 0);
  caller_says(w, &s);
  wait_until(2000, sink.released == 1);
  pass(200);
  assert_int_equal(sink.ended, 0);
  free(sink.data);
  sound_free(&s);
  call_end(w);
  assert_int_equal(sink.released, 1);
}

static void a_flood_is_cut_to_real_time_and_the_oldest_dropped(void **state) {
  fake_wire *w = fake_new();
  test_sink sink = new_sink();
  sound s = silence(10000, 8000);
  for (size_t i = 0; i < s.n; i++)
    s.pcm[i] = (int16_t)(i / 160); /* each frame says its number */
  call_begin(w, media, 8000, 60);
  assert_int_equal(cxb_session_tap(w->s, &sink.sink, 8000, 0, 0), 0);
  on_media(w, feed_all, &s);
  pass(2300);
  size_t frames = sink.len / 320;
  const int16_t *got = (const int16_t *)(const void *)sink.data;
  assert_in_range(frames, 112, 120); /* 300 ms at once, then the newest 2 s in real time */
  assert_int_equal(got[0], 0);
  assert_int_equal(got[(frames - 1) * 160], 499);
  assert_int_equal(got[(frames - 100) * 160], 400);
  cxb_session_stats stats;
  cxb_session_stats_get(w->s, &stats);
  assert_int_equal(stats.drops, 500 - frames);
  assert_int_equal(stats.frames_in, frames);
  assert_int_equal(count_events(w, CXB_EV_ERROR), 0);
  free(sink.data);
  sound_free(&s);
  call_end(w);
}

static void audio_of_any_size_is_taken(void **state) {
  fake_wire *w = fake_new();
  sound s = recorded_speech("cards/001.wav", 8000);
  test_sink sink = new_sink();
  call_begin(w, media, 8000, 60);
  assert_int_equal(cxb_session_tap(w->s, &sink.sink, 8000, 0, 0), 0);
  size_t total = 0;
  for (size_t step = 1; total + step < 2000; step = step * 3 % 401 + 1) {
    sound piece = {.pcm = s.pcm + total, .n = step, .rate = 8000};
    on_media(w, feed_all, &piece);
    total += step;
  }
  sound none = {.pcm = s.pcm, .n = 0, .rate = 8000};
  on_media(w, feed_all, &none);
  wait_until(1000, sink.len == total / 160 * 320);
  assert_memory_equal(sink.data, s.pcm, sink.len);
  free(sink.data);
  sound_free(&s);
  call_end(w);
}

/* ---- ends ---- */
static void drop_many(fake_wire *w, void *arg) {
  for (int i = 0; i < *(int *)arg; i++)
    cxb_session_in_drop(w->s, "bad_json");
}

static void more_than_fifty_bad_messages_end_the_call(void **state) {
  fake_wire *w = fake_new();
  int n = 50;
  call_begin(w, media, 8000, 60);
  on_media(w, drop_many, &n);
  pass(50);
  assert_int_equal(count_events(w, CXB_EV_ERROR), 0);
  n = 5;
  on_media(w, drop_many, &n);
  assert_string_equal(expect_event(w, CXB_EV_ERROR, 500)->text, "protocol_errors");
  assert_int_equal(expect_event(w, CXB_EV_CLOSED, 500)->e.code, 1002);
  assert_int_equal(count_events(w, CXB_EV_ERROR), 1);
  call_end(w);
}

static void alive(fake_wire *w, void *arg) {
  cxb_session_in_alive(w->s);
}

static void a_far_end_that_is_silent_too_long_is_given_up(void **state) {
  fake_wire *w = fake_new();
  call_open(w, media, 8000, 60, 1);
  on_media(w, fake_start, NULL);
  int64_t from = us_now();
  pass(700);
  on_media(w, alive, NULL); /* a pong puts it off */
  assert_string_equal(expect_event(w, CXB_EV_ERROR, 2000)->text, "media_timeout");
  assert_true(us_now() - from >= 1690000);
  expect_event(w, CXB_EV_CLOSED, 500);
  call_end(w);
}

static void a_call_that_is_too_old_is_ended_while_the_main_loop_stands(void **state) {
  fake_wire *w = fake_new();
  call_begin(w, media, 8000, 60);
  cxb_session_limit(w->s, 60000);
  cxb_session_limit(w->s, 300);
  usleep(700000);
  uv_mutex_lock(&w->lock);
  int code = w->close_code;
  uv_mutex_unlock(&w->lock);
  assert_int_equal(code, 1011);
  assert_string_equal(expect_event(w, CXB_EV_ERROR, 1000)->text, "call_age");
  expect_event(w, CXB_EV_CLOSED, 1000);
  call_end(w);
}

static void a_limit_that_was_lifted_ends_nothing(void **state) {
  fake_wire *w = fake_new();
  call_begin(w, media, 8000, 60);
  cxb_session_limit(w->s, 200);
  cxb_session_limit(w->s, -1);
  pass(400);
  assert_int_equal(count_events(w, CXB_EV_CLOSED), 0);
  call_end(w);
}

static void a_hangup_that_is_answered_ends_the_call(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 2000, 8000, 3000);
  w->answers_hangup = true;
  call_begin(w, media, 8000, 60);
  uint32_t id = say(w, &s, true);
  expect_event(w, CXB_EV_FIRST_FRAME, 500);
  cxb_session_hangup(w->s);
  cxb_session_hangup(w->s);
  assert_int_equal(expect_event(w, CXB_EV_PLAYED, 500)->e.utterance, id);
  assert_string_equal(expect_event(w, CXB_EV_STOP, 500)->text, "bot");
  assert_int_equal(expect_event(w, CXB_EV_CLOSED, 500)->e.code, 1000);
  assert_int_equal(w->hangups, 1);
  assert_int_equal(w->closes, 0);
  assert_int_equal(w->clears, 1);
  assert_int_equal(frames_of(w), w->frames_at_clear);
  sound_free(&s);
  call_end(w);
}

static void a_hangup_that_is_not_answered_is_forced_after_two_seconds(void **state) {
  fake_wire *w = fake_new();
  call_begin(w, media, 8000, 60);
  int64_t from = us_now();
  cxb_session_hangup(w->s);
  assert_int_equal(expect_event(w, CXB_EV_CLOSED, 4000)->e.code, 1000);
  assert_in_range((us_now() - from) / 1000, 1990, 2500);
  assert_int_equal(w->closes, 1);
  call_end(w);
}

static void far_end_says_goodbye(fake_wire *w, void *arg) {
  cxb_session_in_stop(w->s, "customer");
  cxb_session_in_closed(w->s, 1000, "");
}

static void the_caller_hanging_up_stops_everything(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 2000, 8000, 3000);
  call_begin(w, media, 8000, 60);
  say(w, &s, true);
  expect_event(w, CXB_EV_FIRST_FRAME, 500);
  pass(100);
  on_media(w, far_end_says_goodbye, NULL);
  size_t frames = frames_of(w);
  expect_event(w, CXB_EV_PLAYED, 500);
  expect_event(w, CXB_EV_STOP, 500);
  expect_event(w, CXB_EV_CLOSED, 500);
  pass(100);
  assert_int_equal(frames_of(w), frames);
  assert_int_equal(w->clears, 0);
  sound_free(&s);
  call_end(w);
}

static void the_wire_may_vanish_inside_a_frame(void **state) {
  for (size_t at = 1; at < 12; at += 5) {
    fake_wire *w = fake_new();
    sound s = sine(300, 2000, 8000, 3000);
    w->vanish_at_frame = at;
    call_begin(w, media, 8000, 60);
    uint32_t id = say(w, &s, true);
    assert_int_equal(expect_event(w, CXB_EV_PLAYED, 1000)->e.utterance, id);
    assert_int_equal(expect_event(w, CXB_EV_CLOSED, 1000)->e.code, 1006);
    pass(60);
    assert_int_equal(frames_of(w), at);
    sound_free(&s);
    call_end(w);
  }
}

static void the_wire_may_vanish_inside_a_clear(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 2000, 8000, 3000);
  w->vanish_in_clear = true;
  call_begin(w, media, 8000, 60);
  say(w, &s, true);
  expect_event(w, CXB_EV_FIRST_FRAME, 500);
  cxb_session_clear(w->s);
  expect_event(w, CXB_EV_CLEARED, 1000);
  expect_event(w, CXB_EV_CLOSED, 1000);
  assert_int_equal(count_events(w, CXB_EV_PLAYED), 1);
  sound_free(&s);
  call_end(w);
}

static void every_command_is_harmless_after_the_wire_has_gone(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 500, 8000, 3000);
  call_begin(w, media, 8000, 60);
  say(w, &s, false);
  cxb_session_abort(w->s, 1011);
  say(w, &s, true); /* the owner does not know yet */
  cxb_session_clear(w->s);
  cxb_session_barge(w->s, CXB_BARGE_VAD | CXB_BARGE_DTMF);
  cxb_session_vad(w->s, 3, 100, 100);
  cxb_session_note(w->s, "{}", 2);
  cxb_session_transfer(w->s, &(cxb_transfer){.to = "1", .type = "phone_number"});
  cxb_session_record_pause(w->s, true);
  cxb_session_hangup(w->s);
  assert_int_equal(expect_event(w, CXB_EV_CLOSED, 1000)->e.code, 1011);
  on_media(w, feed_all, &s);
  on_media(w, fake_answer, NULL);
  assert_int_equal(cxb_session_say_begin(w->s, 8000), 0);
  assert_int_equal(cxb_session_say_push(w->s, 1, s.pcm, 2), CXB_ECLOSED);
  assert_int_equal(w->events[w->event_count - 1].e.type, CXB_EV_CLOSED);
  pass(50);
  assert_int_equal(w->events[w->event_count - 1].e.type, CXB_EV_CLOSED);
  sound_free(&s);
  call_end(w);
}

static void a_session_may_be_closed_in_the_middle_of_words(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 2000, 8000, 3000), man = recorded_speech("cards/005.wav", 8000);
  call_begin(w, media, 8000, 60);
  say(w, &s, false);
  caller_says(w, &man);
  pass(150);
  call_end(w);
  sound_free(&s);
  sound_free(&man);
}

static void a_session_without_a_wire_can_be_closed(void **state) {
  fake_wire w = {0};
  cxb_session_config config = {fake_on_event, &w, 0};
  bool done = false;
  assert_int_equal(cxb_session_new(media, &config, &w.s), 0);
  cxb_session_close(w.s, on_session_done, &done);
  wait_until(1000, done);
}

static void one_call_after_another_on_one_media_loop(void **state) {
  for (int i = 0; i < 3; i++) {
    fake_wire *w = fake_new();
    sound s = sine(300, 100, 8000, 3000);
    call_begin(w, media, i == 1 ? 16000 : 8000, 60);
    assert_int_equal(say(w, &s, true), 1);
    expect_event(w, CXB_EV_PLAYED, 1000);
    assert_in_range(frames_of(w), 5, 6);
    sound_free(&s);
    call_end(w);
  }
}

/* ---- transfer, notes ---- */
static void transfer_ok(fake_wire *w, void *arg) {
  cxb_session_in_transfer(w->s, *(bool *)arg, "why");
}

static void a_transfer_ends_in_one_answer(void **state) {
  fake_wire *w = fake_new();
  bool yes = true;
  w->ops.can_transfer = true;
  call_begin(w, media, 8000, 60);
  cxb_session_transfer(w->s, &(cxb_transfer){.to = "100", .type = "extension"});
  wait_until(500, count_of(w, &w->transfers) == 1);
  on_media(w, transfer_ok, &yes);
  on_media(w, transfer_ok, &yes);
  const seen_event *e = expect_event(w, CXB_EV_TRANSFER, 500);
  assert_true(e->e.ok);
  assert_string_equal(e->text, "why");
  cxb_session_transfer(w->s, &(cxb_transfer){.to = "refuse", .type = "extension"});
  e = expect_event(w, CXB_EV_TRANSFER, 500);
  assert_false(e->e.ok);
  assert_string_equal(e->text, "failed");
  assert_int_equal(count_events(w, CXB_EV_TRANSFER), 2);
  call_end(w);
}

static void a_wire_that_cannot_transfer_says_so(void **state) {
  fake_wire *w = fake_new();
  call_begin(w, media, 8000, 60);
  cxb_session_transfer(w->s, &(cxb_transfer){.to = "100", .type = "extension"});
  const seen_event *e = expect_event(w, CXB_EV_TRANSFER, 500);
  assert_false(e->e.ok);
  assert_string_equal(e->text, "unsupported");
  call_end(w);
}

/* ---- a script that spins ---- */
static void a_stalled_main_loop_stops_neither_frames_nor_clear_nor_recording(void **state) {
  fake_wire *w = fake_new();
  char path[128];
  struct stat st;
  snprintf(path, sizeof path, "%s/stall.wav", temp_dir());
  sound bot = sine(300, 20000, 8000, 3000);
  sound man = join(silence(2500, 8000), recorded_speech("cards/005.wav", 8000));
  add_noise(man.pcm, man.n, 10);
  call_begin(w, media, 8000, 60);
  assert_int_equal(cxb_session_record(w->s, path), 0);
  cxb_session_vad(w->s, 2, 100, 400);
  cxb_session_barge(w->s, CXB_BARGE_VAD);
  say(w, &bot, true);
  caller_says(w, &man);
  usleep(2000 * 1000); /* the main loop does nothing at all */
  size_t frames = frames_of(w);
  assert_in_range(frames, 98, 105);
  assert_int_equal(stat(path, &st), 0);
  assert_true(st.st_size > 44 + 1000 * 32);
  int64_t end = us_now() + 4000000;
  while (us_now() < end) {
    if (count_of(w, &w->clears) > 0)
      break;
    usleep(5000);
  }
  assert_int_equal(w->clears, 1);
  usleep(300 * 1000);
  assert_int_equal(frames_of(w), w->frames_at_clear);
  expect_event(w, CXB_EV_CLEARED, 1000);
  sound_free(&bot);
  sound_free(&man);
  call_end(w);
}

static void a_hangup_is_carried_through_while_the_main_loop_is_stalled(void **state) {
  fake_wire *w = fake_new();
  call_begin(w, media, 8000, 60);
  cxb_session_hangup(w->s);
  usleep(2400 * 1000);
  assert_int_equal(count_of(w, &w->closes), 1);
  call_end(w);
}

/* ---- figures ---- */
static void the_pacing_is_measured(void **state) {
  fake_wire *w = fake_new();
  sound s = sine(300, 1000, 8000, 3000);
  call_begin(w, media, 8000, 60);
  say(w, &s, true);
  expect_event(w, CXB_EV_PLAYED, 3000);
  cxb_session_stats stats;
  cxb_session_stats_get(w->s, &stats);
  assert_int_equal(stats.frames_out, 50);
  assert_in_range(stats.pacing_count, 40, 47);
  assert_true(stats.pacing_us_p50 <= stats.pacing_us_p99 &&
              stats.pacing_us_p99 <= stats.pacing_us_max);
  assert_true(stats.pacing_us_max > 0);
  assert_int_equal(stats.heard_total_ms, 1000);
  assert_true(stats.clock_ms >= 1000);
  sound_free(&s);
  call_end(w);
}

static int setup(void **state) {
  main_loop = uv_default_loop();
  return cxb_media_new(main_loop, &media);
}

static int teardown(void **state) {
  cxb_media_close(media);
  uv_run(main_loop, UV_RUN_DEFAULT);
  temp_dir_remove();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(start_and_answer_reach_the_owner_with_their_fields),
      cmocka_unit_test(a_rate_without_whole_frames_closes_1003),
      cmocka_unit_test(audio_before_the_start_is_dropped_and_counted),
      cmocka_unit_test(speech_arrives_whole_in_order_and_in_time),
      cmocka_unit_test(speech_at_another_rate_is_resampled_for_the_leg),
      cmocka_unit_test(nothing_is_sent_when_nothing_is_queued),
      cmocka_unit_test(nothing_is_sent_before_the_answer),
      cmocka_unit_test(utterances_play_in_order_of_begin),
      cmocka_unit_test(more_than_ten_minutes_of_audio_are_refused),
      cmocka_unit_test(a_say_sink_plays_what_is_written_and_outlives_the_session),
      cmocka_unit_test(a_failed_frame_is_counted_and_the_next_one_sent),
      cmocka_unit_test(a_clear_leaks_nothing_and_reports_what_was_heard),
      cmocka_unit_test(clearing_silence_is_answered_too),
      cmocka_unit_test(words_spoken_after_a_clear_command_are_never_taken_for_old_ones),
      cmocka_unit_test(a_person_speaking_interrupts_at_once),
      cmocka_unit_test(a_person_speaking_does_not_interrupt_when_not_allowed),
      cmocka_unit_test(speech_ends_also_when_the_sender_sends_nothing_more),
      cmocka_unit_test(a_key_interrupts_once_whether_tone_or_event),
      cmocka_unit_test(words_begun_before_the_owner_knew_are_cleared_too),
      cmocka_unit_test(a_far_end_that_wants_to_wait_gets_nothing_meanwhile_and_all_of_it_later),
      cmocka_unit_test(a_wire_with_marks_says_when_words_were_heard),
      cmocka_unit_test(a_mark_that_never_comes_is_given_up_after_two_seconds),
      cmocka_unit_test(a_wire_that_answers_a_clear_says_how_much_was_heard),
      cmocka_unit_test(a_clear_that_is_not_answered_counts_by_the_clock),
      cmocka_unit_test(a_tap_gets_the_past_and_then_the_present_without_a_seam),
      cmocka_unit_test(replay_is_limited_to_what_was_asked_and_two_seconds),
      cmocka_unit_test(a_tap_in_chunks_writes_all_of_one_size_but_the_last),
      cmocka_unit_test(a_sink_that_closes_is_left_alone),
      cmocka_unit_test(a_flood_is_cut_to_real_time_and_the_oldest_dropped),
      cmocka_unit_test(audio_of_any_size_is_taken),
      cmocka_unit_test(more_than_fifty_bad_messages_end_the_call),
      cmocka_unit_test(a_far_end_that_is_silent_too_long_is_given_up),
      cmocka_unit_test(a_call_that_is_too_old_is_ended_while_the_main_loop_stands),
      cmocka_unit_test(a_limit_that_was_lifted_ends_nothing),
      cmocka_unit_test(a_hangup_that_is_answered_ends_the_call),
      cmocka_unit_test(a_hangup_that_is_not_answered_is_forced_after_two_seconds),
      cmocka_unit_test(the_caller_hanging_up_stops_everything),
      cmocka_unit_test(the_wire_may_vanish_inside_a_frame),
      cmocka_unit_test(the_wire_may_vanish_inside_a_clear),
      cmocka_unit_test(every_command_is_harmless_after_the_wire_has_gone),
      cmocka_unit_test(a_session_may_be_closed_in_the_middle_of_words),
      cmocka_unit_test(a_session_without_a_wire_can_be_closed),
      cmocka_unit_test(one_call_after_another_on_one_media_loop),
      cmocka_unit_test(a_transfer_ends_in_one_answer),
      cmocka_unit_test(a_wire_that_cannot_transfer_says_so),
      cmocka_unit_test(a_stalled_main_loop_stops_neither_frames_nor_clear_nor_recording),
      cmocka_unit_test(a_hangup_is_carried_through_while_the_main_loop_is_stalled),
      cmocka_unit_test(the_pacing_is_measured),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
