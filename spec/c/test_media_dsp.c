/* Frames, G.711, resampling, WAV reading, DTMF, histogram: the parts of media/ that are pure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <spandsp/telephony.h>
#include <spandsp/bit_operations.h>
#include <spandsp/g711.h>
#pragma GCC diagnostic pop

#include "base/err.h"
#include "media/dtmf.h"
#include "media/frame.h"
#include "media/g711.h"
#include "media/histogram.h"
#include "media_support.h"

/* ---- frames ---- */
typedef struct collected {
  int16_t pcm[20000];
  size_t n, frames;
} collected;

static void collect_frame(void *arg, const int16_t *pcm, size_t n) {
  collected *c = arg;
  assert_int_equal(n, 160);
  memcpy(c->pcm + c->n, pcm, n * sizeof *pcm);
  c->n += n;
  c->frames++;
}

static void any_count_of_samples_becomes_whole_frames_in_order(void **state) {
  static const size_t sizes[] = {1, 159, 160, 161, 2, 479, 0, 799, 7, 1, 1, 1600, 3};
  cxb_framer f;
  assert_int_equal(cxb_framer_init(&f, 8000), 0);
  int16_t pcm[4000];
  for (size_t i = 0; i < 4000; i++)
    pcm[i] = (int16_t)i;
  collected *c = calloc(1, sizeof *c);
  size_t at = 0;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    cxb_framer_push(&f, pcm + at, sizes[i], collect_frame, c);
    at += sizes[i];
  }
  assert_int_equal(c->frames, at / 160);
  for (size_t i = 0; i < c->n; i++)
    assert_int_equal(c->pcm[i], (int16_t)i);
  free(c);
  cxb_framer_free(&f);
}

static void a_rate_without_whole_frames_is_refused(void **state) {
  cxb_framer f;
  assert_int_equal(cxb_framer_init(&f, 11025), CXB_EINVAL);
  assert_int_equal(cxb_framer_init(&f, 4000), CXB_EINVAL);
  assert_int_equal(cxb_framer_init(&f, 96000), CXB_EINVAL);
}

/* ---- G.711 ---- */
static void g711_agrees_with_the_values_of_the_standard(void **state) {
  /* G.711 tables 1 and 2, scaled to 16 bits: both ends, zero and the smallest steps. */
  static const struct {
    uint8_t code;
    int16_t value;
  } ulaw[] = {{0x80, 32124}, {0x00, -32124}, {0xFF, 0}, {0x7F, 0}, {0xFE, 8}, {0xF0, 120}},
    alaw[] = {{0xAA, 32256}, {0x2A, -32256}, {0xD5, 8}, {0x55, -8}, {0xD4, 24}};
  int16_t v;
  for (size_t i = 0; i < sizeof ulaw / sizeof *ulaw; i++) {
    cxb_ulaw_decode(&ulaw[i].code, 1, &v);
    assert_int_equal(v, ulaw[i].value);
  }
  for (size_t i = 0; i < sizeof alaw / sizeof *alaw; i++) {
    cxb_alaw_decode(&alaw[i].code, 1, &v);
    assert_int_equal(v, alaw[i].value);
  }
}

static void ulaw_is_spandsps_for_every_sample_and_every_code(void **state) {
  for (int v = INT16_MIN; v <= INT16_MAX; v++) {
    int16_t sample = (int16_t)v;
    uint8_t code;
    cxb_ulaw_encode(&sample, 1, &code);
    assert_int_equal(code, linear_to_ulaw(v));
  }
  for (int code = 0; code < 256; code++) {
    uint8_t in = (uint8_t)code;
    int16_t v;
    cxb_ulaw_decode(&in, 1, &v);
    assert_int_equal(v, ulaw_to_linear(in));
  }
}

static void each_g711_code_survives_a_round_trip(void **state) {
  for (int code = 0; code < 256; code++) {
    uint8_t in = (uint8_t)code, out;
    int16_t v, w;
    cxb_ulaw_decode(&in, 1, &v);
    cxb_ulaw_encode(&v, 1, &out);
    cxb_ulaw_decode(&out, 1, &w); /* the two zeros of µ-law are one value */
    assert_int_equal(v, w);
    cxb_alaw_decode(&in, 1, &v);
    cxb_alaw_encode(&v, 1, &out);
    assert_int_equal(out, in);
  }
}

static void speech_through_g711_keeps_35_db(void **state) {
  sound s = recorded_speech("cards/005.wav", 8000);
  uint8_t *code = malloc(s.n);
  int16_t *back = malloc(s.n * sizeof *back);
  for (int law = 0; law < 2; law++) {
    (law ? cxb_alaw_encode : cxb_ulaw_encode)(s.pcm, s.n, code);
    (law ? cxb_alaw_decode : cxb_ulaw_decode)(code, s.n, back);
    for (size_t i = 0; i < s.n; i++)
      back[i] = (int16_t)(back[i] - s.pcm[i]);
    assert_true(20 * log10(rms(s.pcm, s.n) / rms(back, s.n)) > 35);
  }
  free(code);
  free(back);
  sound_free(&s);
}

/* ---- resampling ---- */
/* Power of `hz` in the signal against its whole power. */
static double share_of_tone(const int16_t *pcm, size_t n, double hz, int rate) {
  double re = 0, im = 0, all = 0;
  for (size_t i = 0; i < n; i++) {
    double a = 2 * acos(-1.0) * hz * (double)i / rate;
    re += pcm[i] * cos(a);
    im += pcm[i] * sin(a);
    all += (double)pcm[i] * pcm[i];
  }
  return 2 * (re * re + im * im) / ((double)n * all);
}

static void a_tone_keeps_pitch_level_and_length_at_every_pair_of_rates(void **state) {
  static const int rates[] = {8000, 12000, 16000, 22050, 24000, 44100, 48000};
  for (size_t a = 0; a < 7; a++)
    for (size_t b = 0; b < 7; b++) {
      sound s = sine(1000, 500, rates[a], 8000);
      sound out = {.rate = rates[b]};
      assert_int_equal(cxb_resample(s.pcm, s.n, s.rate, out.rate, &out.pcm, &out.n), 0);
      assert_true(llabs((long long)out.n - rates[b] / 2) <= 1);
      size_t edge = (size_t)rates[b] / 50; /* the filter's rise and fall */
      double share = share_of_tone(out.pcm + edge, out.n - 2 * edge, 1000, rates[b]);
      assert_true(share > 0.999);
      double level = rms(out.pcm + edge, out.n - 2 * edge) / rms(s.pcm, s.n);
      assert_true(level > 0.97 && level < 1.03);
      sound_free(&s);
      sound_free(&out);
    }
}

static void what_a_lower_rate_cannot_carry_is_filtered_out(void **state) {
  sound s = sine(6000, 500, 24000, 8000);
  double before = rms(s.pcm, s.n);
  s = sound_at(s, 8000);
  assert_true(20 * log10((rms(s.pcm + 160, s.n - 320) + 1e-3) / before) < -50);
  sound_free(&s);
}

static void pieces_of_any_size_resample_like_the_whole(void **state) {
  sound s = recorded_speech("cards/001.wav", 24000);
  int16_t *whole = NULL;
  size_t whole_n = 0;
  assert_int_equal(cxb_resample(s.pcm, s.n, 24000, 8000, &whole, &whole_n), 0);
  cxb_resampler *r = NULL;
  assert_int_equal(cxb_resampler_new(24000, 8000, &r), 0);
  int16_t *out = calloc(cxb_resampler_bound(r, s.n) + cxb_resampler_tail(r) + 16, sizeof *out);
  size_t made = 0, at = 0;
  for (size_t step = 1; at < s.n; step = step * 7 % 997 + 1) {
    size_t take = step < s.n - at ? step : s.n - at;
    made += cxb_resampler_run(r, s.pcm + at, take, out + made);
    at += take;
  }
  made += cxb_resampler_flush(r, out + made);
  assert_true(made >= whole_n);
  for (size_t i = 0; i < whole_n; i++)
    assert_true(abs(out[i] - whole[i]) <= 1);
  cxb_resampler_free(r);
  free(out);
  free(whole);
  sound_free(&s);
}

static void resampling_nothing_gives_nothing(void **state) {
  int16_t *out = NULL;
  size_t n = 99;
  assert_int_equal(cxb_resample(NULL, 0, 8000, 16000, &out, &n), 0);
  assert_int_equal(n, 0);
  free(out);
  assert_int_equal(cxb_resample(NULL, 0, 8000, 0, &out, &n), CXB_EINVAL);
}

/* ---- WAV ---- */
static const char *write_file(const char *name, const void *data, size_t len) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", temp_dir(), name);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, len, f), len);
  fclose(f);
  return path;
}

static void every_usual_wav_encoding_reads_as_the_same_mono_samples(void **state) {
  static const char *const encodings[] = {
      "-b 16",     "-b 24",    "-b 32",      "-e floating-point -b 32",
      "-e mu-law", "-e a-law", "-c 2 -b 16", "-b 8",
  };
  sound want = recorded_speech("cards/005.wav", 0);
  double level = rms(want.pcm, want.n);
  for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++) {
    char command[512], path[256];
    snprintf(path, sizeof path, "%s/e.wav", temp_dir());
    snprintf(command, sizeof command, "sox -D " RECORDED_DIR "cards/005.wav %s %s", encodings[i],
             path);
    assert_int_equal(system(command), 0);
    sound got = load_wav(path, 0);
    assert_int_equal(got.rate, 16000);
    assert_int_equal(got.n, want.n);
    for (size_t k = 0; k < got.n; k++)
      got.pcm[k] = (int16_t)(got.pcm[k] - want.pcm[k]);
    double snr = 20 * log10(level / (rms(got.pcm, got.n) + 1e-3));
    assert_true(snr > (i == 7 ? 15 : i == 4 || i == 5 ? 30 : 60));
    sound_free(&got);
  }
  sound_free(&want);
}

static void a_file_that_is_no_wav_is_named_as_such(void **state) {
  int16_t *pcm;
  size_t n;
  int rate;
  uint8_t head[CXB_WAV_HEADER + 4] = {0};
  assert_int_equal(cxb_wav_read("/nonexistent/x.wav", &pcm, &n, &rate), CXB_ENOENT);
  assert_int_equal(cxb_wav_read(write_file("a", "", 0), &pcm, &n, &rate), CXB_EUNSUPPORTED);
  assert_int_equal(cxb_wav_read(write_file("b", "RIFF", 4), &pcm, &n, &rate), CXB_EUNSUPPORTED);
  cxb_wav_header(head, 8000, 1, 4);
  head[20] = 85; /* MP3 in a WAV */
  assert_int_equal(cxb_wav_read(write_file("c", head, sizeof head), &pcm, &n, &rate),
                   CXB_EUNSUPPORTED);
  cxb_wav_header(head, 8000, 0, 4);
  assert_int_equal(cxb_wav_read(write_file("d", head, sizeof head), &pcm, &n, &rate),
                   CXB_EUNSUPPORTED);
  cxb_wav_header(head, 8000, 1, 4000); /* says more than there is */
  assert_int_equal(cxb_wav_read(write_file("e", head, sizeof head), &pcm, &n, &rate), 0);
  assert_int_equal(n, 2);
  free(pcm);
}

/* ---- DTMF ---- */
typedef struct heard {
  char digits[64];
  size_t n;
} heard;

static void on_digit(void *arg, char digit) {
  heard *h = arg;
  if (h->n + 1 < sizeof h->digits)
    h->digits[h->n++] = digit;
}

static void detect(const sound *s, size_t step, heard *h) {
  cxb_dtmf *d = NULL;
  assert_int_equal(cxb_dtmf_new(s->rate, on_digit, h, &d), 0);
  for (size_t at = 0; at < s->n; at += step)
    cxb_dtmf_feed(d, s->pcm + at, step < s->n - at ? step : s->n - at);
  cxb_dtmf_free(d);
}

static void all_sixteen_keys_are_heard_at_every_level_and_rate(void **state) {
  static const int rates[] = {8000, 16000, 24000, 48000};
  static const double levels[] = {-4, -10, -16, -22, -26};
  for (size_t r = 0; r < 4; r++)
    for (size_t l = 0; l < 5; l++) {
      sound s = {.rate = rates[r]};
      assert_int_equal(
          cxb_dtmf_generate("0123456789*#ABCD", s.rate, 70, 70, levels[l], &s.pcm, &s.n), 0);
      s = join(s, silence(60, s.rate));
      heard h = {0};
      detect(&s, (size_t)s.rate / 50, &h);
      assert_string_equal(h.digits, "0123456789*#ABCD");
      sound_free(&s);
    }
}

static void keys_are_heard_through_noise_and_mu_law(void **state) {
  sound s = {.rate = 8000};
  assert_int_equal(cxb_dtmf_generate("159#0D", 8000, 80, 80, -12, &s.pcm, &s.n), 0);
  s = join(s, silence(60, 8000));
  add_noise(s.pcm, s.n, rms(s.pcm, s.n) / 10); /* 20 dB */
  uint8_t *code = malloc(s.n);
  cxb_ulaw_encode(s.pcm, s.n, code);
  cxb_ulaw_decode(code, s.n, s.pcm);
  heard h = {0};
  detect(&s, 137, &h);
  assert_string_equal(h.digits, "159#0D");
  free(code);
  sound_free(&s);
}

static void a_key_pressed_twice_is_two_digits(void **state) {
  sound s = {.rate = 8000};
  assert_int_equal(cxb_dtmf_generate("1122", 8000, 50, 50, -10, &s.pcm, &s.n), 0);
  s = join(s, silence(60, 8000));
  heard h = {0};
  detect(&s, 160, &h);
  assert_string_equal(h.digits, "1122");
  sound_free(&s);
}

static void people_talking_are_not_taken_for_keys(void **state) {
  static const char *const files[] = {"librivox/sense_and_sensibility_01_austen_64kb-0870.wav",
                                      "librivox/sense_and_sensibility_01_austen_64kb-0890.wav",
                                      "cards/001.wav", "cards/002.wav", "cards/005.wav"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    sound s = recorded_speech(files[i], 8000);
    heard h = {0};
    detect(&s, 160, &h);
    assert_int_equal(h.n, 0);
    sound_free(&s);
  }
}

static void a_tone_and_its_wire_event_are_one_digit(void **state) {
  cxb_dtmf_merge m = {0};
  assert_true(cxb_dtmf_merge_add(&m, '5', false, 1000));
  assert_false(cxb_dtmf_merge_add(&m, '5', true, 1180));
  assert_true(cxb_dtmf_merge_add(&m, '5', true, 1190)); /* its twin was used up */
  assert_true(cxb_dtmf_merge_add(&m, '7', true, 5000));
  assert_true(cxb_dtmf_merge_add(&m, '8', false, 5010));
  assert_false(cxb_dtmf_merge_add(&m, '7', false, 5050));
  assert_true(cxb_dtmf_merge_add(&m, '9', false, 9000));
  assert_true(cxb_dtmf_merge_add(&m, '9', true, 9201)); /* too late: another press */
}

static void presses_from_one_source_are_never_merged(void **state) {
  cxb_dtmf_merge m = {0};
  assert_true(cxb_dtmf_merge_add(&m, '1', false, 100));
  assert_true(cxb_dtmf_merge_add(&m, '1', false, 200));
  assert_false(cxb_dtmf_merge_add(&m, '1', true, 210));
  assert_false(cxb_dtmf_merge_add(&m, '1', true, 310));
  assert_true(cxb_dtmf_merge_add(&m, '1', true, 320));
}

static void only_keys_of_a_keypad_are_digits(void **state) {
  int16_t *pcm;
  size_t n;
  assert_true(cxb_dtmf_valid('#') && cxb_dtmf_valid('D'));
  assert_false(cxb_dtmf_valid('E') || cxb_dtmf_valid('\0') || cxb_dtmf_valid('a'));
  assert_int_equal(cxb_dtmf_generate("12x", 8000, 50, 50, -10, &pcm, &n), CXB_EINVAL);
}

/* ---- histogram ---- */
static void percentiles_are_right_to_one_bucket(void **state) {
  cxb_histogram h = {0};
  assert_int_equal(cxb_histogram_percentile(&h, 99), 0);
  for (unsigned i = 1; i <= 1000; i++)
    cxb_histogram_add(&h, i);
  assert_in_range(cxb_histogram_percentile(&h, 50), 500, 510);
  assert_in_range(cxb_histogram_percentile(&h, 99), 990, 1000);
  cxb_histogram_add(&h, 25000);
  cxb_histogram_add(&h, 5000000);
  assert_in_range(cxb_histogram_percentile(&h, 99.85), 25000, 26000);
  assert_int_equal(cxb_histogram_percentile(&h, 100), 5000000);
  assert_int_equal(h.max, 5000000);
}

static int teardown(void **state) {
  temp_dir_remove();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_count_of_samples_becomes_whole_frames_in_order),
      cmocka_unit_test(a_rate_without_whole_frames_is_refused),
      cmocka_unit_test(g711_agrees_with_the_values_of_the_standard),
      cmocka_unit_test(ulaw_is_spandsps_for_every_sample_and_every_code),
      cmocka_unit_test(each_g711_code_survives_a_round_trip),
      cmocka_unit_test(speech_through_g711_keeps_35_db),
      cmocka_unit_test(a_tone_keeps_pitch_level_and_length_at_every_pair_of_rates),
      cmocka_unit_test(what_a_lower_rate_cannot_carry_is_filtered_out),
      cmocka_unit_test(pieces_of_any_size_resample_like_the_whole),
      cmocka_unit_test(resampling_nothing_gives_nothing),
      cmocka_unit_test(every_usual_wav_encoding_reads_as_the_same_mono_samples),
      cmocka_unit_test(a_file_that_is_no_wav_is_named_as_such),
      cmocka_unit_test(all_sixteen_keys_are_heard_at_every_level_and_rate),
      cmocka_unit_test(keys_are_heard_through_noise_and_mu_law),
      cmocka_unit_test(a_key_pressed_twice_is_two_digits),
      cmocka_unit_test(people_talking_are_not_taken_for_keys),
      cmocka_unit_test(a_tone_and_its_wire_event_are_one_digit),
      cmocka_unit_test(presses_from_one_source_are_never_merged),
      cmocka_unit_test(only_keys_of_a_keypad_are_digits),
      cmocka_unit_test(percentiles_are_right_to_one_bucket),
  };
  return cmocka_run_group_tests(tests, NULL, teardown);
}
