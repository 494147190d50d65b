/* alone: 7 */
/* Listening in on a call: both channels, each on its side, whatever the listeners do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media_fake_wire.h"

#include "media/monitor.h"

static cxb_media *media;

/* A listener that keeps what it hears. */
typedef struct ear {
  cxb_sink sink;
  int16_t pcm[CXB_MAX_RATE * 20];
  size_t n; /* pairs */
  bool ended, released, deaf;
} ear;

static int ear_write(cxb_sink *sink, const uint8_t *data, size_t len) {
  ear *e = (ear *)sink;
  if (e->deaf)
    return CXB_ECLOSED;
  assert_int_equal(len % 4, 0);
  assert_true((e->n + len / 4) * 2 <= sizeof e->pcm / sizeof *e->pcm);
  memcpy(e->pcm + e->n * 2, data, len);
  e->n += len / 4;
  return 0;
}

static void ear_end(cxb_sink *sink, int err) {
  assert_int_equal(err, 0);
  ((ear *)sink)->ended = true;
}

static void ear_release(cxb_sink *sink) {
  ((ear *)sink)->released = true;
}

static ear *ear_new(void) {
  ear *e = calloc(1, sizeof *e);
  e->sink = (cxb_sink){ear_write, ear_end, ear_release};
  return e;
}

/* RMS of one channel between two moments (ms of what was heard). */
static double level(const ear *e, int side, int from_ms, int to_ms) {
  size_t from = (size_t)from_ms * 16, to = (size_t)to_ms * 16, n = 0;
  int16_t *one = calloc(to - from, sizeof *one);
  for (size_t i = from; i < to && i < e->n; i++)
    one[n++] = e->pcm[i * 2 + (size_t)side];
  double r = rms(one, n);
  free(one);
  return r;
}

/* The first moment (ms) at which a channel is louder than `floor`; -1: never. */
static int onset(const ear *e, int side, int floor) {
  for (size_t i = 0; i < e->n; i++)
    if (abs(e->pcm[i * 2 + (size_t)side]) > floor)
      return (int)(i / 16);
  return -1;
}

static int last(const ear *e, int side, int floor) {
  for (size_t i = e->n; i-- > 0;)
    if (abs(e->pcm[i * 2 + (size_t)side]) > floor)
      return (int)(i / 16);
  return -1;
}

static void both_are_heard_each_on_a_side(void **state) {
  const int rates[] = {8000, 16000, 24000};
  for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
    fake_wire *w = fake_new();
    sound man = sine(400, 1000, rates[i], 9000), bot = sine(700, 500, rates[i], 3000);
    ear *e = ear_new();
    call_begin(w, media, rates[i], 200);
    assert_int_equal(cxb_session_listen(w->s, &e->sink), 0);
    say(w, &bot, true);
    caller_says(w, &man);
    wait_until(8000, e->n > 16 * 1400);
    int left = onset(e, 0, 500), right = onset(e, 1, 500);
    assert_true(left >= 0 && right >= 0);
    assert_true(fabs(level(e, 0, left + 100, left + 700) / (9000 / sqrt(2)) - 1) < 0.1);
    assert_true(fabs(level(e, 1, right + 50, right + 400) / (3000 / sqrt(2)) - 1) < 0.1);
    /* and nothing of the one beside the other */
    assert_in_range(last(e, 1, 500) - right, 480, 540);
    sound_free(&man);
    sound_free(&bot);
    call_end(w);
    assert_true(e->ended && e->released);
    free(e);
  }
}

static void what_is_cleared_is_not_heard(void **state) {
  fake_wire *w = fake_new();
  sound bot = sine(700, 3000, 8000, 3000);
  ear *e = ear_new();
  call_begin(w, media, 8000, 200);
  cxb_session_listen(w->s, &e->sink);
  say(w, &bot, true);
  pass(400);
  cxb_session_clear(w->s);
  int64_t heard = expect_event(w, CXB_EV_CLEARED, 2000)->e.heard_ms;
  size_t then = e->n;
  wait_until(5000, e->n > then + 16 * 600);
  int from = onset(e, 1, 500);
  assert_in_range(last(e, 1, 500) - from, heard - 60, heard + 60);
  sound_free(&bot);
  call_end(w);
  free(e);
}

static void a_listener_that_left_harms_nobody(void **state) {
  fake_wire *w = fake_new();
  sound bot = sine(700, 400, 8000, 3000);
  ear *ears[5];
  call_begin(w, media, 8000, 60);
  for (int i = 0; i < 5; i++)
    ears[i] = ear_new();
  for (int i = 0; i < CXB_LISTENERS; i++)
    assert_int_equal(cxb_session_listen(w->s, &ears[i]->sink), i);
  assert_int_equal(cxb_session_listen(w->s, &ears[4]->sink), CXB_EBUSY);
  ears[0]->deaf = true;
  wait_until(2000, ears[0]->released);
  cxb_session_unlisten(w->s, 1);
  assert_true(ears[1]->released && !ears[1]->ended);
  size_t then = ears[1]->n;
  assert_int_equal(cxb_session_listen(w->s, &ears[4]->sink), 1);
  say(w, &bot, true);
  wait_until(4000, onset(ears[2], 1, 500) >= 0 && onset(ears[4], 1, 500) >= 0);
  expect_event(w, CXB_EV_PLAYED, 4000);
  assert_int_equal(frames_of(w), 20);
  assert_int_equal(ears[1]->n, then);
  sound_free(&bot);
  call_end(w);
  assert_true(ears[2]->ended && ears[4]->ended);
  for (int i = 0; i < 5; i++)
    free(ears[i]);
}

/* The main loop, where sinks are written, stands still for longer than the ring and the lead. */
static void a_main_loop_that_stands_delays_no_frame(void **state) {
  fake_wire *w = fake_new();
  sound bot = sine(700, 1500, 8000, 3000);
  ear *e = ear_new();
  call_begin(w, media, 8000, 60);
  cxb_session_listen(w->s, &e->sink);
  say(w, &bot, true);
  pass(100);
  size_t before = frames_of(w), heard = e->n;
  usleep(800000);
  assert_true(frames_of(w) > before + 25);
  assert_int_equal(e->n, heard);
  wait_until(4000, e->n > heard + 16 * 700); /* what was missed comes in a piece */
  sound_free(&bot);
  call_end(w);
  free(e);
}

static void nobody_listens_before_the_start(void **state) {
  fake_wire *w = fake_new();
  ear *e = ear_new();
  call_open(w, media, 8000, 60, 0);
  assert_int_equal(cxb_session_listen(w->s, &e->sink), 0);
  on_media(w, fake_start, NULL);
  on_media(w, fake_answer, NULL);
  pass(100);
  assert_int_equal(e->n, 0);
  call_end(w);
  assert_true(e->released);
  free(e);
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
      cmocka_unit_test(both_are_heard_each_on_a_side),
      cmocka_unit_test(what_is_cleared_is_not_heard),
      cmocka_unit_test(a_listener_that_left_harms_nobody),
      cmocka_unit_test(a_main_loop_that_stands_delays_no_frame),
      cmocka_unit_test(nobody_listens_before_the_start),
  };
  return cmocka_run_group_tests_name("listening in", tests, setup, teardown);
}
