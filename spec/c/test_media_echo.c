/* A tap that leads into an utterance of the same call: the caller's audio goes back without a turn
 * of the main loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "media_fake_wire.h"

static cxb_media *media;

/* `n` samples of the caller, frame by frame, each sample its own number. */
typedef struct counting {
  int from, frames;
} counting;

static void count_on(fake_wire *w, void *arg) {
  counting *c = arg;
  int16_t pcm[960];
  for (int f = 0; f < c->frames; f++) {
    for (size_t i = 0; i < w->frame; i++)
      pcm[i] = (int16_t)(c->from++);
    cxb_session_in_audio(w->s, pcm, w->frame);
  }
}

static uint32_t echo(fake_wire *w, int say_rate, int tap_rate) {
  uint32_t id = cxb_session_say_begin(w->s, say_rate);
  assert_int_equal(cxb_session_tap(w->s, cxb_session_say_sink(w->s, id), tap_rate, 0, 0), 0);
  return id;
}

/* Frames the caller sends while the main loop stands still. */
static size_t frames_while_stalled(fake_wire *w, counting *c) {
  size_t before = frames_of(w);
  for (int i = 0; i < 10; i++) {
    c->frames = 1;
    on_media(w, count_on, c);
    usleep(20000);
  }
  return frames_of(w) - before;
}

static void the_caller_is_played_back_while_the_main_loop_stands(void **state) {
  fake_wire *w = fake_new();
  counting c = {.from = 1};
  call_begin(w, media, 8000, 60);
  echo(w, 8000, 8000);
  assert_int_equal(frames_while_stalled(w, &c), 10);
  for (size_t i = 0; i < 10 * 160; i++)
    assert_int_equal(w->out[i], i + 1);
  call_end(w);
}

static void what_was_said_before_comes_first_and_as_straight(void **state) {
  fake_wire *w = fake_new();
  counting c = {.from = 1, .frames = 5};
  call_begin(w, media, 8000, 60);
  on_media(w, count_on, &c);
  uint32_t id = cxb_session_say_begin(w->s, 8000);
  assert_int_equal(cxb_session_tap(w->s, cxb_session_say_sink(w->s, id), 8000, 1000, 0), 0);
  frames_while_stalled(w, &c);
  for (int i = 0; i < 250 && frames_of(w) < 15; i++)
    usleep(20000); /* the main loop still stands */
  assert_int_equal(frames_of(w), 15);
  for (size_t i = 0; i < 15 * 160; i++)
    assert_int_equal(w->out[i], i + 1);
  call_end(w);
}

static void another_rate_goes_by_the_main_loop(void **state) {
  fake_wire *w = fake_new();
  counting c = {.from = 1};
  call_begin(w, media, 8000, 60);
  echo(w, 16000, 16000);
  assert_int_equal(frames_while_stalled(w, &c), 0);
  wait_until(2000, frames_of(w) >= 9);
  call_end(w);
}

static void a_tap_asked_for_before_the_start_is_as_straight(void **state) {
  fake_wire *w = fake_new();
  counting c = {.from = 1};
  call_open(w, media, 16000, 60, 0);
  echo(w, 16000, 16000);
  on_media(w, fake_start, NULL);
  on_media(w, fake_answer, NULL);
  assert_int_equal(frames_while_stalled(w, &c), 10);
  assert_int_equal(w->out[319], 320);
  call_end(w);
}

static void a_clear_ends_it_and_a_new_utterance_begins_it_again(void **state) {
  fake_wire *w = fake_new();
  counting c = {.from = 1};
  call_begin(w, media, 8000, 60);
  echo(w, 8000, 8000);
  assert_int_equal(frames_while_stalled(w, &c), 10);
  cxb_session_clear(w->s);
  expect_event(w, CXB_EV_CLEARED, 2000);
  assert_int_equal(frames_while_stalled(w, &c), 0);
  echo(w, 8000, 8000);
  assert_int_equal(frames_while_stalled(w, &c), 10);
  call_end(w);
}

static void taken_off_the_caller_is_no_longer_heard(void **state) {
  fake_wire *w = fake_new();
  counting c = {.from = 1};
  call_begin(w, media, 8000, 60);
  uint32_t id = echo(w, 8000, 8000);
  assert_int_equal(frames_while_stalled(w, &c), 10);
  assert_int_equal(cxb_session_tap(w->s, NULL, 0, 0, 0), 0);
  assert_int_equal(frames_while_stalled(w, &c), 0);
  assert_int_equal(cxb_session_say_end(w->s, id, 0), 0);
  const seen_event *played = expect_event(w, CXB_EV_PLAYED, 2000);
  assert_int_equal(played->e.utterance, id);
  assert_int_equal(played->e.heard_ms, 200);
  call_end(w);
}

static void the_wire_may_vanish_inside_a_frame_played_back(void **state) {
  fake_wire *w = fake_new();
  counting c = {.from = 1, .frames = 8};
  w->vanish_at_frame = 3;
  call_begin(w, media, 8000, 60);
  echo(w, 8000, 8000);
  on_media(w, count_on, &c);
  expect_event(w, CXB_EV_CLOSED, 2000);
  assert_int_equal(frames_of(w), 3);
  call_end(w);
}

static int setup(void **state) {
  main_loop = uv_default_loop();
  return cxb_media_new(main_loop, &media);
}

static int teardown(void **state) {
  cxb_media_close(media);
  uv_run(main_loop, UV_RUN_DEFAULT);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_caller_is_played_back_while_the_main_loop_stands),
      cmocka_unit_test(what_was_said_before_comes_first_and_as_straight),
      cmocka_unit_test(another_rate_goes_by_the_main_loop),
      cmocka_unit_test(a_tap_asked_for_before_the_start_is_as_straight),
      cmocka_unit_test(a_clear_ends_it_and_a_new_utterance_begins_it_again),
      cmocka_unit_test(taken_off_the_caller_is_no_longer_heard),
      cmocka_unit_test(the_wire_may_vanish_inside_a_frame_played_back),
  };
  return cmocka_run_group_tests_name("the caller's audio played back", tests, setup, teardown);
}
