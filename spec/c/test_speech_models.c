/* The models by themselves: vocabulary, speech to text, voice activity, on recorded speech. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/err.h"
#include "media/resample.h"
#include "speech/moonshine.h"
#include "speech/silero.h"
#include "speech/vocab.h"
#include "speech_support.h"

static cxb_ort *ort;
static const cxb_transcribe_options plain_options;

static int open_runtime(void **state) {
  int err = cxb_ort_open(models_file("libonnxruntime.so"), &ort);
  if (err)
    fprintf(stderr, "%s\n", cxb_ort_message());
  return err;
}

static int close_runtime(void **state) {
  cxb_ort_close(ort);
  return 0;
}

static const uint8_t tiny_vocabulary[] =
    "CXBV\x08\0\0\0"
    "\x05<unk>\x03<s>\x04</s>"
    "\x06<0xC3>\x06<0xA9>\x08\xe2\x96\x81hello\x02,!"
    "\x03\xe2\x96\x81";

static void tokens_become_text(void **state) {
  cxb_vocab *vocab = NULL;
  char text[64];
  assert_int_equal(cxb_vocab_parse(tiny_vocabulary, sizeof tiny_vocabulary - 1, &vocab), 0);
  assert_int_equal(cxb_vocab_count(vocab), 8);
  const int64_t tokens[] = {1, 5, 6, 7, 3, 4, 2, 99, -5, 7};
  assert_int_equal(cxb_vocab_text(vocab, tokens, 10, text, sizeof text), 10);
  assert_string_equal(text, "hello,! \xc3\xa9");
  cxb_vocab_close(vocab);
}

static void text_is_cut_at_a_whole_character(void **state) {
  cxb_vocab *vocab = NULL;
  char text[4];
  assert_int_equal(cxb_vocab_parse(tiny_vocabulary, sizeof tiny_vocabulary - 1, &vocab), 0);
  const int64_t tokens[] = {3, 4, 3, 4};
  assert_int_equal(cxb_vocab_text(vocab, tokens, 4, text, sizeof text), 2);
  assert_string_equal(text, "\xc3\xa9");
  const int64_t broken[] = {3, 5, 4};
  cxb_vocab_text(vocab, broken, 3, text, sizeof text);
  assert_string_equal(text, "h");
  cxb_vocab_close(vocab);
}

static void a_damaged_vocabulary_is_refused(void **state) {
  cxb_vocab *vocab = NULL;
  for (size_t len = 0; len < sizeof tiny_vocabulary - 1; len++)
    assert_int_equal(cxb_vocab_parse(tiny_vocabulary, len, &vocab), CXB_ECORRUPT);
  assert_int_equal(cxb_vocab_open("/nonexistent", &vocab), CXB_ENOENT);
  assert_null(vocab);
}

static void a_missing_library_or_model_is_named(void **state) {
  cxb_ort *other = NULL;
  cxb_moonshine *moonshine = NULL;
  cxb_silero *silero = NULL;
  assert_int_equal(cxb_ort_open("/nonexistent/lib.so", &other), CXB_ENOENT);
  assert_non_null(strstr(cxb_ort_message(), "/nonexistent/lib.so"));
  assert_int_equal(cxb_moonshine_open(ort, "/nonexistent", 1, &moonshine), CXB_ENOENT);
  assert_non_null(strstr(cxb_ort_message(), "/nonexistent/moonshine_encoder.onnx"));
  assert_int_equal(cxb_silero_open(ort, "/nonexistent", &silero), CXB_ENOENT);
}

static void a_file_that_is_no_model_is_refused(void **state) {
  char folder[] = "/tmp/cxb-speech-XXXXXX", path[64];
  cxb_silero *silero = NULL;
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/silero_vad.onnx", folder);
  FILE *file = fopen(path, "w");
  fputs("this is no model", file);
  fclose(file);
  assert_int_equal(cxb_silero_open(ort, folder, &silero), CXB_ECORRUPT);
  assert_null(silero);
  unlink(path);
  assert_int_equal(rmdir(folder), 0);
}

static void check_words(const cxb_moonshine *moonshine, const char *name, const char *expected) {
  char path[PATH_MAX];
  size_t n;
  cxb_transcript transcript;
  snprintf(path, sizeof path, RECORDINGS "%s", name);
  int16_t *samples = read_samples(path, &n);
  float *pcm = to_float(samples, n);
  assert_int_equal(cxb_moonshine_transcribe(moonshine, pcm, n, &plain_options, &transcript), 0);
  assert_string_equal(plain(transcript.text), expected);
  assert_true(transcript.confidence > 0.7 && transcript.confidence <= 1.0);
  free(pcm);
  free(samples);
}

static void recorded_sentences_are_transcribed(void **state) {
  cxb_moonshine *moonshine = NULL;
  assert_int_equal(cxb_moonshine_open(ort, models_folder(), 1, &moonshine), 0);
  check_words(moonshine, "librivox/sense_and_sensibility_01_austen_64kb-0870.wav",
              "and mr john dashwood had then leisure to consider how much there might be "
              "prudently in his power to do for them");
  check_words(moonshine, "cards/001.wav", "ten of clubs");
  check_words(moonshine, "goforward.raw", "go forward ten meters");
  cxb_moonshine_close(moonshine);
}

static void bad_lengths_and_cancellation_have_their_own_errors(void **state) {
  cxb_moonshine *moonshine = NULL;
  cxb_transcript transcript;
  size_t n;
  atomic_bool cancel = true;
  const cxb_transcribe_options options = {.cancel = &cancel};
  int16_t *samples = read_samples(RECORDINGS "goforward.raw", &n);
  float *pcm = to_float(samples, n);
  assert_int_equal(cxb_moonshine_open(ort, models_folder(), 1, &moonshine), 0);
  assert_int_equal(cxb_moonshine_transcribe(moonshine, pcm, 0, &plain_options, &transcript),
                   CXB_EINVAL);
  assert_int_equal(
      cxb_moonshine_transcribe(moonshine, pcm, 31 * 16000, &plain_options, &transcript),
      CXB_EINVAL);
  assert_int_equal(cxb_moonshine_transcribe(moonshine, pcm, 1599, &plain_options, &transcript),
                   CXB_EINVAL);
  assert_int_equal(cxb_moonshine_transcribe(moonshine, pcm, n, &options, &transcript),
                   CXB_ECANCELED);
  cxb_moonshine_close(moonshine);
  free(pcm);
  free(samples);
}

static void repetition_ends_at_the_token_limit(void **state) {
  cxb_moonshine *moonshine = NULL;
  cxb_transcript transcript;
  const cxb_transcribe_options options = {.insist = true};
  static float noise[2 * CXB_STT_RATE];
  assert_int_equal(cxb_moonshine_open(ort, models_folder(), 1, &moonshine), 0);
  srand(7);
  for (size_t i = 0; i < 2 * CXB_STT_RATE; i++)
    noise[i] = (float)rand() / (float)RAND_MAX - 0.5f;
  assert_int_equal(
      cxb_moonshine_transcribe(moonshine, noise, 2 * CXB_STT_RATE, &options, &transcript), 0);
  assert_true(transcript.tokens >= 1 && transcript.tokens <= 2 * 7 + 6);
  cxb_moonshine_close(moonshine);
}

static void what_is_repeated_at_the_end_is_cut_off(void **state) {
  cxb_moonshine *moonshine = NULL;
  cxb_transcript transcript;
  size_t n, wide_n;
  int16_t *wide, *pcm = spoken_digits("10077", &n);
  assert_int_equal(cxb_resample(pcm, n, 8000, CXB_STT_RATE, &wide, &wide_n), 0);
  float *samples = to_float(wide, wide_n);
  assert_int_equal(cxb_moonshine_open(ort, models_folder(), 1, &moonshine), 0);
  assert_int_equal(
      cxb_moonshine_transcribe(moonshine, samples, wide_n, &plain_options, &transcript), 0);
  assert_true(transcript.looped);
  assert_memory_equal(digits_of(transcript.text), "100", 3);
  assert_true(strlen(digits_of(transcript.text)) <= 6);
  cxb_moonshine_close(moonshine);
  free(samples);
  free(wide);
  free(pcm);
}

static void voice_activity_tells_speech_from_silence(void **state) {
  cxb_silero *silero = NULL;
  cxb_silero_state stream = {0};
  size_t n, loud = 0, windows = 0;
  float probability, quiet[CXB_SILERO_WINDOW] = {0};
  int16_t *samples =
      read_samples(RECORDINGS "librivox/sense_and_sensibility_01_austen_64kb-0870.wav", &n);
  float *pcm = to_float(samples, n);
  assert_int_equal(cxb_silero_open(ort, models_folder(), &silero), 0);
  for (size_t at = 0; at + CXB_SILERO_WINDOW <= n; at += CXB_SILERO_WINDOW, windows++) {
    assert_int_equal(cxb_silero_step(silero, &stream, pcm + at, &probability), 0);
    loud += probability > 0.5f;
  }
  assert_true(loud > windows * 8 / 10);
  for (int i = 0; i < 30; i++)
    assert_int_equal(cxb_silero_step(silero, &stream, quiet, &probability), 0);
  assert_true(probability < 0.1f);
  cxb_silero_close(silero);
  free(pcm);
  free(samples);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tokens_become_text),
      cmocka_unit_test(text_is_cut_at_a_whole_character),
      cmocka_unit_test(a_damaged_vocabulary_is_refused),
      cmocka_unit_test(a_missing_library_or_model_is_named),
      cmocka_unit_test(a_file_that_is_no_model_is_refused),
      cmocka_unit_test(recorded_sentences_are_transcribed),
      cmocka_unit_test(bad_lengths_and_cancellation_have_their_own_errors),
      cmocka_unit_test(repetition_ends_at_the_token_limit),
      cmocka_unit_test(what_is_repeated_at_the_end_is_cut_off),
      cmocka_unit_test(voice_activity_tells_speech_from_silence),
  };
  return cmocka_run_group_tests(tests, open_runtime, close_runtime);
}
