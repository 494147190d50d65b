/* Voice activity on recorded people, a synthetic voice, silence and noise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/err.h"
#include "media/vad.h"
#include "media_support.h"

typedef struct edges {
  int speech, silence;
  int64_t first_speech_ms, told_ms, last_silence_ms;
} edges;

/* Runs the detector over the sound; `told_ms` is the end of the frame that told the first onset. */
static edges run(cxb_vad *v, const sound *s) {
  edges e = {.first_speech_ms = -1, .last_silence_ms = -1};
  size_t frame = (size_t)s->rate / 50;
  for (size_t at = 0; at + frame <= s->n; at += frame) {
    int64_t t = (int64_t)(at * 1000 / (size_t)s->rate), edge = -1;
    switch (cxb_vad_frame(v, s->pcm + at, frame, t, &edge)) {
    case CXB_VAD_SPEECH:
      if (e.speech++ == 0) {
        e.first_speech_ms = edge;
        e.told_ms = t + 20;
      }
      break;
    case CXB_VAD_SILENCE:
      e.silence++;
      e.last_silence_ms = edge;
      break;
    default:
      break;
    }
  }
  return e;
}

static cxb_vad *vad_of(int rate, int mode, int start_ms, int stop_ms) {
  cxb_vad *v = NULL;
  assert_int_equal(cxb_vad_new(rate, &v), 0);
  cxb_vad_set(v, mode, start_ms, stop_ms);
  return v;
}

/* A second of room (faint noise), the words, a second and a half of room. */
static sound words_in_a_room(sound words, double room) {
  sound s = join(join(silence(1000, words.rate), words), silence(1500, words.rate));
  add_noise(s.pcm, s.n, room);
  return s;
}

static void speech_is_found_where_it_begins_at_every_rate(void **state) {
  static const int rates[] = {8000, 16000, 24000, 32000, 44100, 48000};
  for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
    sound s = words_in_a_room(recorded_speech("cards/005.wav", rates[i]), 20);
    cxb_vad *v = vad_of(rates[i], 2, 200, 600);
    edges e = run(v, &s);
    assert_in_range(e.speech, 1, 2);
    assert_int_equal(e.silence, e.speech);
    assert_in_range(e.first_speech_ms, 900, 1400);
    assert_in_range(e.told_ms - e.first_speech_ms, 200, 320);
    assert_false(cxb_vad_speaking(v));
    cxb_vad_free(v);
    sound_free(&s);
  }
}

static void every_recorded_person_is_heard(void **state) {
  static const char *const files[] = {
      "cards/001.wav",
      "cards/002.wav",
      "cards/003.wav",
      "cards/004.wav",
      "cards/005.wav",
      "librivox/sense_and_sensibility_01_austen_64kb-0870.wav",
      "librivox/sense_and_sensibility_01_austen_64kb-0880.wav",
      "librivox/sense_and_sensibility_01_austen_64kb-0930.wav",
  };
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    sound s = words_in_a_room(recorded_speech(files[i], 8000), 15);
    cxb_vad *v = vad_of(8000, 2, 200, 600);
    edges e = run(v, &s);
    assert_true(e.speech >= 1 && e.silence == e.speech);
    cxb_vad_free(v);
    sound_free(&s);
  }
}

static void a_synthetic_voice_is_heard(void **state) {
  sound s = words_in_a_room(spoken("What are your opening hours today", 8000), 10);
  cxb_vad *v = vad_of(8000, 3, 200, 600);
  edges e = run(v, &s);
  assert_int_equal(e.speech, 1);
  assert_in_range(e.first_speech_ms, 950, 1250);
  cxb_vad_free(v);
  sound_free(&s);
}

static void silence_and_steady_noise_are_not_speech(void **state) {
  static const double levels[] = {0, 5, 50, 300, 1000};
  for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
    for (int rate = 8000; rate <= 48000; rate += 8000) {
      sound s = silence(10000, rate);
      add_noise(s.pcm, s.n, levels[i]);
      cxb_vad *v = vad_of(rate, 2, 200, 600);
      assert_int_equal(run(v, &s).speech, 0);
      cxb_vad_free(v);
      sound_free(&s);
    }
}

static void speech_is_found_in_noise_at_15_db(void **state) {
  sound words = recorded_speech("cards/005.wav", 8000);
  double level = rms(words.pcm, words.n) / 5.6;
  sound s = words_in_a_room(words, level);
  cxb_vad *v = vad_of(8000, 2, 200, 600);
  edges e = run(v, &s);
  assert_true(e.speech >= 1 && e.silence == e.speech);
  assert_in_range(e.first_speech_ms, 900, 1500);
  cxb_vad_free(v);
  sound_free(&s);
}

static void a_longer_start_waits_longer_but_names_the_same_onset(void **state) {
  sound s = words_in_a_room(
      recorded_speech("librivox/sense_and_sensibility_01_austen_64kb-0880.wav", 16000), 10);
  cxb_vad *quick = vad_of(16000, 2, 60, 600), *slow = vad_of(16000, 2, 300, 600);
  edges a = run(quick, &s), b = run(slow, &s);
  assert_true(b.told_ms >= a.told_ms + 200);
  assert_true(llabs(b.first_speech_ms - a.first_speech_ms) <= 100);
  cxb_vad_free(quick);
  cxb_vad_free(slow);
  sound_free(&s);
}

static void a_click_shorter_than_start_is_no_speech(void **state) {
  sound s = silence(3000, 8000);
  add_noise(s.pcm, s.n, 5);
  for (size_t i = 8000; i < 8320; i++) /* 40 ms */
    s.pcm[i] = (int16_t)(12000 * sin(0.6 * (double)i));
  cxb_vad *v = vad_of(8000, 2, 200, 600);
  assert_int_equal(run(v, &s).speech, 0);
  cxb_vad_free(v);
  sound_free(&s);
}

static void a_pause_shorter_than_stop_does_not_end_speech(void **state) {
  sound one = recorded_speech("cards/001.wav", 8000), two = recorded_speech("cards/001.wav", 8000);
  sound s = words_in_a_room(join(join(one, silence(400, 8000)), two), 10);
  cxb_vad *v = vad_of(8000, 2, 200, 1200);
  edges e = run(v, &s);
  assert_int_equal(e.speech, 1);
  assert_int_equal(e.silence, 1);
  cxb_vad_free(v);
  v = vad_of(8000, 2, 100, 200);
  assert_true(run(v, &s).speech > 1);
  cxb_vad_free(v);
  sound_free(&s);
}

static void what_is_below_the_floor_is_never_voice(void **state) {
  sound s = words_in_a_room(recorded_speech("cards/005.wav", 8000), 5);
  cxb_vad *v = vad_of(8000, 2, 200, 600);
  cxb_vad_floor(v, 0.5);
  assert_int_equal(run(v, &s).speech, 0);
  cxb_vad_floor(v, 0.005);
  assert_true(run(v, &s).speech >= 1);
  cxb_vad_free(v);
  sound_free(&s);
}

static void a_rate_without_whole_frames_has_no_detector(void **state) {
  cxb_vad *v = NULL;
  assert_int_equal(cxb_vad_new(11025, &v), CXB_EINVAL);
  assert_null(v);
}

static int teardown(void **state) {
  temp_dir_remove();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(speech_is_found_where_it_begins_at_every_rate),
      cmocka_unit_test(every_recorded_person_is_heard),
      cmocka_unit_test(a_synthetic_voice_is_heard),
      cmocka_unit_test(silence_and_steady_noise_are_not_speech),
      cmocka_unit_test(speech_is_found_in_noise_at_15_db),
      cmocka_unit_test(a_longer_start_waits_longer_but_names_the_same_onset),
      cmocka_unit_test(a_click_shorter_than_start_is_no_speech),
      cmocka_unit_test(a_pause_shorter_than_stop_does_not_end_speech),
      cmocka_unit_test(what_is_below_the_floor_is_never_voice),
      cmocka_unit_test(a_rate_without_whole_frames_has_no_detector),
  };
  return cmocka_run_group_tests(tests, NULL, teardown);
}
