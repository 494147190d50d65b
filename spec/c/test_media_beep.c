/* The tone after which a voicemail records, among everything else a line carries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <cmocka.h>

#include "media/beep.h"
#include "media/dtmf.h"
#include "media/g711.h"
#include "media_support.h"

/* Ends of beeps in the sound; the last at `*end_ms` (end of the frame that told it). */
static int beeps(const sound *s, int64_t *end_ms) {
  cxb_beep b;
  cxb_beep_init(&b, s->rate);
  size_t frame = (size_t)s->rate / 50;
  int count = 0;
  for (size_t at = 0; at + frame <= s->n; at += frame)
    if (cxb_beep_frame(&b, s->pcm + at, frame)) {
      count++;
      *end_ms = (int64_t)((at + frame) * 1000 / (size_t)s->rate);
    }
  return count;
}

static sound over_g711(sound s) {
  uint8_t *bytes = malloc(s.n + 1);
  cxb_ulaw_encode(s.pcm, s.n, bytes);
  cxb_ulaw_decode(bytes, s.n, s.pcm);
  free(bytes);
  return s;
}

static void a_beep_is_told_when_it_ends_at_every_rate_and_pitch(void **state) {
  static const int rates[] = {8000, 16000, 24000, 48000};
  static const double pitches[] = {850, 1000, 1137, 1400, 1500};
  for (size_t r = 0; r < sizeof rates / sizeof *rates; r++)
    for (size_t p = 0; p < sizeof pitches / sizeof *pitches; p++) {
      sound s = join(silence(310, rates[r]), sine(pitches[p], 300, rates[r], 6000));
      s = over_g711(join(s, silence(500, rates[r])));
      int64_t end = 0;
      assert_int_equal(beeps(&s, &end), 1);
      assert_in_range(end, 590, 660);
      sound_free(&s);
    }
  (void)state;
}

static void a_beep_is_found_in_noise_at_20_db(void **state) {
  sound s = join(join(silence(400, 8000), sine(1000, 400, 8000, 6000)), silence(400, 8000));
  add_noise(s.pcm, s.n, 6000 / sqrt(2) / 10);
  int64_t end = 0;
  assert_int_equal(beeps(&s, &end), 1);
  assert_in_range(end, 780, 840);
  sound_free(&s);
  (void)state;
}

static void other_tones_and_short_ones_are_no_beep(void **state) {
  static const double others[] = {350, 440, 480, 620, 1800, 2100};
  int64_t end = 0;
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    sound s = join(sine(others[i], 500, 8000, 6000), silence(200, 8000));
    assert_int_equal(beeps(&s, &end), 0);
    sound_free(&s);
  }
  sound brief = join(sine(1000, 100, 8000, 6000), silence(200, 8000));
  assert_int_equal(beeps(&brief, &end), 0);
  sound_free(&brief);
  sound faint = join(sine(1000, 500, 8000, 100), silence(200, 8000));
  assert_int_equal(beeps(&faint, &end), 0);
  sound_free(&faint);
  (void)state;
}

static void keys_people_and_noise_are_no_beep(void **state) {
  sound s = {.rate = 8000};
  assert_int_equal(cxb_dtmf_generate("0123456789*#", 8000, 300, 100, -10, &s.pcm, &s.n), 0);
  int64_t end = 0;
  assert_int_equal(beeps(&s, &end), 0);
  sound_free(&s);
  static const char *const people[] = {"cards/001.wav", "cards/003.wav", "cards/005.wav"};
  for (size_t i = 0; i < sizeof people / sizeof *people; i++) {
    s = recorded_speech(people[i], 8000);
    assert_int_equal(beeps(&s, &end), 0);
    sound_free(&s);
  }
  s = spoken("Please leave a message after the tone", 8000);
  assert_int_equal(beeps(&s, &end), 0);
  sound_free(&s);
  s = silence(2000, 8000);
  add_noise(s.pcm, s.n, 3000);
  assert_int_equal(beeps(&s, &end), 0);
  sound_free(&s);
  (void)state;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_beep_is_told_when_it_ends_at_every_rate_and_pitch),
      cmocka_unit_test(a_beep_is_found_in_noise_at_20_db),
      cmocka_unit_test(other_tones_and_short_ones_are_no_beep),
      cmocka_unit_test(keys_people_and_noise_are_no_beep),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  temp_dir_remove();
  return failed;
}
