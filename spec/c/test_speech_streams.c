/* waits: 45 */
/* Recognisers and speakers on their threads, with real audio. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <time.h>

#include "base/err.h"
#include "media/g711.h"
#include "media/resample.h"
#include "speech/recognizer.h"
#include "speech/speaker.h"
#include "speech_support.h"

enum { RATE = 16000, PATIENCE_SECONDS = 150 };

static cxb_engine *engine;

static int open_engine(void **state) {
  char why[400] = "";
  const cxb_engine_config config = {.models = models_folder(), .stt = true, .tts = true};
  int err = cxb_engine_open(&config, &engine, why, sizeof why);
  if (err)
    fprintf(stderr, "%s\n", why);
  return err;
}

static int close_engine(void **state) {
  cxb_engine_close(engine);
  return 0;
}

/* ---- what a stream said ---- */

typedef struct heard {
  pthread_mutex_t lock;
  pthread_cond_t news;
  int speech, silence, partials, finals, errors;
  int64_t onset;
  char text[8192], partial[4096], id[80], code[32];
  int64_t start_ms, end_ms;
  double confidence;
} heard;

static void heard_init(heard *h) {
  memset(h, 0, sizeof *h);
  pthread_mutex_init(&h->lock, NULL);
  pthread_cond_init(&h->news, NULL);
}

static void on_event(void *arg, const cxb_recognizer_event *e) {
  heard *h = arg;
  pthread_mutex_lock(&h->lock);
  switch (e->type) {
  case CXB_RECOGNIZER_SPEECH:
    h->speech++;
    h->onset = e->t_ms;
    break;
  case CXB_RECOGNIZER_SILENCE:
    h->silence++;
    break;
  case CXB_RECOGNIZER_PARTIAL:
    h->partials++;
    snprintf(h->partial, sizeof h->partial, "%s", e->text);
    break;
  case CXB_RECOGNIZER_FINAL:
    h->finals++;
    snprintf(h->text, sizeof h->text, "%s", e->text);
    snprintf(h->id, sizeof h->id, "%s", e->id);
    h->start_ms = e->start_ms;
    h->end_ms = e->end_ms;
    h->confidence = e->confidence;
    break;
  case CXB_RECOGNIZER_ERROR:
    h->errors++;
    snprintf(h->code, sizeof h->code, "%s", e->code);
    break;
  }
  pthread_cond_broadcast(&h->news);
  pthread_mutex_unlock(&h->lock);
}

static void wait_for(heard *h, const int *counter, int least) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += PATIENCE_SECONDS;
  pthread_mutex_lock(&h->lock);
  int err = 0;
  while (*counter < least && err == 0)
    err = pthread_cond_timedwait(&h->news, &h->lock, &until);
  pthread_mutex_unlock(&h->lock);
  assert_int_equal(err, 0);
}

static cxb_recognizer *new_stream(heard *h, int rate, bool partials) {
  const cxb_recognizer_config config = {
      .rate = rate, .partials = partials, .on_event = on_event, .arg = h};
  cxb_recognizer *rec = NULL;
  heard_init(h);
  assert_int_equal(cxb_recognizer_new(engine, &config, &rec), 0);
  return rec;
}

static void feed(cxb_recognizer *rec, const int16_t *pcm, size_t n) {
  for (size_t at = 0; at < n; at += 320)
    assert_int_equal(
        cxb_recognizer_feed(rec, (const uint8_t *)(pcm + at), 2 * (n - at < 320 ? n - at : 320)),
        0);
}

static void feed_silence(cxb_recognizer *rec, size_t n) {
  int16_t *quiet = calloc(n, sizeof *quiet);
  feed(rec, quiet, n);
  free(quiet);
}

static void feed_file(cxb_recognizer *rec, const char *name) {
  char path[PATH_MAX];
  size_t n;
  snprintf(path, sizeof path, RECORDINGS "%s", name);
  int16_t *pcm = read_samples(path, &n);
  feed(rec, pcm, n);
  free(pcm);
}

/* ---- recognition ---- */

static void speech_becomes_events_and_a_final(void **state) {
  heard h;
  cxb_recognizer *rec = new_stream(&h, RATE, false);
  feed_silence(rec, RATE);
  feed_file(rec, "librivox/sense_and_sensibility_01_austen_64kb-0930.wav");
  feed_silence(rec, RATE);
  wait_for(&h, &h.silence, 1);
  cxb_recognizer_finalize(rec, "question 1");
  wait_for(&h, &h.finals, 1);
  assert_string_equal(plain(h.text), "he might even have been made amiable himself");
  assert_string_equal(h.id, "question 1");
  assert_int_equal(h.speech, 1);
  assert_int_equal(h.partials, 0);
  assert_true(h.onset >= 900 && h.onset < 1600);
  assert_int_equal(h.start_ms, h.onset);
  assert_true(h.end_ms > 3000 && h.end_ms < 4500);
  assert_true(h.confidence > 0.8);
  cxb_recognizer_close(rec);
}

static void a_final_before_the_silence_has_all_that_was_said(void **state) {
  heard h;
  cxb_recognizer *rec = new_stream(&h, RATE, false);
  feed_file(rec, "cards/003.wav");
  cxb_recognizer_finalize(rec, "a");
  wait_for(&h, &h.finals, 1);
  assert_string_equal(plain(h.text), "seven of clubs");
  cxb_recognizer_finalize(rec, "b");
  wait_for(&h, &h.finals, 2);
  assert_string_equal(h.id, "b");
  assert_string_equal(h.text, "");
  assert_int_equal(h.start_ms, -1);
  cxb_recognizer_close(rec);
}

static void silence_has_an_empty_final(void **state) {
  heard h;
  cxb_recognizer *rec = new_stream(&h, 8000, true);
  feed_silence(rec, 8000 * 3);
  cxb_recognizer_finalize(rec, "");
  wait_for(&h, &h.finals, 1);
  assert_string_equal(h.text, "");
  assert_int_equal(h.start_ms, -1);
  assert_true(h.confidence == 0);
  assert_int_equal(h.speech + h.silence + h.partials, 0);
  cxb_recognizer_close(rec);
}

static void pauses_do_not_split_the_text_of_a_turn(void **state) {
  heard h;
  cxb_recognizer *rec = new_stream(&h, RATE, false);
  feed_file(rec, "cards/001.wav");
  feed_silence(rec, 2 * RATE);
  feed_file(rec, "cards/003.wav");
  feed_silence(rec, 2 * RATE);
  cxb_recognizer_finalize(rec, "x");
  wait_for(&h, &h.finals, 1);
  assert_int_equal(h.speech, 2);
  assert_int_equal(h.silence, 2);
  assert_string_equal(plain(h.text), "ten of clubs seven of clubs");
  cxb_recognizer_close(rec);
}

static void reset_forgets_what_was_said(void **state) {
  heard h;
  cxb_recognizer *rec = new_stream(&h, RATE, false);
  feed_file(rec, "cards/005.wav");
  feed_silence(rec, RATE);
  cxb_recognizer_reset(rec);
  feed_file(rec, "cards/001.wav");
  feed_silence(rec, RATE);
  cxb_recognizer_finalize(rec, "x");
  wait_for(&h, &h.finals, 1);
  assert_string_equal(plain(h.text), "ten of clubs");
  cxb_recognizer_close(rec);
}

static void partials_grow_into_the_final(void **state) {
  heard h;
  cxb_recognizer *rec = new_stream(&h, RATE, true);
  feed_file(rec, "librivox/sense_and_sensibility_01_austen_64kb-0870.wav");
  wait_for(&h, &h.partials, 1);
  feed_silence(rec, RATE);
  wait_for(&h, &h.silence, 1);
  cxb_recognizer_finalize(rec, "x");
  wait_for(&h, &h.finals, 1);
  assert_memory_equal(plain(h.partial), "and m", 5);
  assert_true(strstr(h.text, "power to do for them") != NULL);
  cxb_recognizer_close(rec);
}

/* One recording again and again. */
static void a_monologue_of_most_of_a_minute_is_recognised_whole(void **state) {
  heard h;
  cxb_recognizer *rec = new_stream(&h, RATE, false);
  for (int i = 0; i < 8; i++)
    feed_file(rec, "librivox/sense_and_sensibility_01_austen_64kb-0870.wav");
  cxb_recognizer_finalize(rec, "x");
  wait_for(&h, &h.finals, 1);
  int times = 0;
  for (const char *at = h.text; (at = strstr(at, "leisure")); at++)
    times++;
  assert_int_equal(times, 8);
  assert_true(h.end_ms - h.start_ms > 50000);
  cxb_recognizer_close(rec);
}

static void speech_is_understood_through_a_telephone(void **state) {
  heard h;
  size_t n, narrow_n;
  int16_t *narrow;
  cxb_recognizer *rec = new_stream(&h, 8000, false);
  int16_t *pcm = read_samples(RECORDINGS "goforward.raw", &n);
  assert_int_equal(cxb_resample(pcm, n, RATE, 8000, &narrow, &narrow_n), 0);
  uint8_t *wire = malloc(narrow_n);
  cxb_ulaw_encode(narrow, narrow_n, wire);
  cxb_ulaw_decode(wire, narrow_n, narrow);
  feed(rec, narrow, narrow_n);
  cxb_recognizer_finalize(rec, "x");
  wait_for(&h, &h.finals, 1);
  assert_string_equal(plain(h.text), "go forward ten meters");
  cxb_recognizer_close(rec);
  free(wire);
  free(narrow);
  free(pcm);
}

/* Said to the last sample: without silence behind it the model repeats the last digit for ever. */
static void account_numbers_that_end_abruptly_are_right(void **state) {
  static const char *const numbers[] = {"10077", "17031797", "26316627", "91358", "8340916"};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    heard h;
    size_t n;
    cxb_recognizer *rec = new_stream(&h, 8000, false);
    int16_t *pcm = spoken_digits(numbers[i], &n);
    feed(rec, pcm, n);
    cxb_recognizer_finalize(rec, "x");
    wait_for(&h, &h.finals, 1);
    assert_string_equal(digits_of(h.text), numbers[i]);
    cxb_recognizer_close(rec);
    free(pcm);
  }
}

static void quiet_callers_are_understood(void **state) {
  static const char *const numbers[] = {"2439332836", "8340916", "9777818804", "4521178502"};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    heard h;
    size_t n;
    cxb_recognizer *rec = new_stream(&h, 8000, false);
    int16_t *pcm = spoken_digits(numbers[i], &n);
    for (size_t k = 0; k < n; k++)
      pcm[k] = (int16_t)(pcm[k] / 20);
    feed(rec, pcm, n);
    feed_silence(rec, 4000);
    cxb_recognizer_finalize(rec, "x");
    wait_for(&h, &h.finals, 1);
    assert_string_equal(digits_of(h.text), numbers[i]);
    cxb_recognizer_close(rec);
    free(pcm);
  }
}

static void bad_audio_is_refused_and_the_stream_goes_on(void **state) {
  heard h;
  cxb_recognizer *rec = new_stream(&h, RATE, false);
  assert_int_equal(cxb_recognizer_feed(rec, (const uint8_t *)"abc", 3), CXB_EINVAL);
  wait_for(&h, &h.errors, 1);
  assert_string_equal(h.code, "odd_length");
  int16_t *minute = calloc(61 * RATE, 2);
  assert_int_equal(cxb_recognizer_feed(rec, (const uint8_t *)minute, 61 * RATE * 2), CXB_ETOOBIG);
  wait_for(&h, &h.errors, 2);
  assert_string_equal(h.code, "too_fast");
  free(minute);
  feed_file(rec, "cards/001.wav");
  cxb_recognizer_finalize(rec, "x");
  wait_for(&h, &h.finals, 1);
  assert_string_equal(plain(h.text), "ten of clubs");
  cxb_recognizer_close(rec);
}

static void values_out_of_range_are_refused(void **state) {
  const cxb_recognizer_config bad[] = {
      {.rate = 7999, .on_event = on_event},
      {.rate = 48001, .on_event = on_event},
      {.rate = RATE, .start_ms = 31, .on_event = on_event},
      {.rate = RATE, .stop_ms = 3001, .on_event = on_event},
  };
  cxb_recognizer *rec = NULL;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(cxb_recognizer_new(engine, &bad[i], &rec), CXB_EINVAL);
  assert_null(rec);
}

static void a_stream_closed_in_the_middle_harms_nobody(void **state) {
  heard closed[4], open;
  cxb_recognizer *streams[4], *rec = new_stream(&open, RATE, true);
  for (int i = 0; i < 4; i++) {
    streams[i] = new_stream(&closed[i], RATE, true);
    feed_file(streams[i], "librivox/sense_and_sensibility_01_austen_64kb-0920.wav");
    cxb_recognizer_finalize(streams[i], "x");
  }
  feed_file(rec, "cards/001.wav");
  cxb_recognizer_finalize(rec, "x");
  for (int i = 0; i < 4; i++)
    cxb_recognizer_close(streams[i]);
  wait_for(&open, &open.finals, 1);
  assert_string_equal(plain(open.text), "ten of clubs");
  cxb_recognizer_close(rec);
}

static void hints_decide_between_words_that_sound_alike(void **state) {
  static const char *const hints[] = {"zero", "nero"};
  cxb_hints *made = NULL;
  const cxb_vocab *vocab = cxb_moonshine_vocab(engine->moonshine);
  int64_t zero[4];
  assert_int_equal(cxb_vocab_encode(vocab, "zero", zero, 4), 1);
  assert_int_equal(cxb_hints_new(vocab, hints, 1, &made), 0);
  float *logits = calloc(cxb_vocab_count(vocab), sizeof *logits);
  logits[100] = 5.0f;
  logits[zero[0]] = 3.0f;
  size_t n = cxb_vocab_count(vocab);
  assert_int_equal(cxb_hints_choose(made, NULL, 0, logits, n, 5.0f), zero[0]);
  logits[zero[0]] = 2.0f;
  assert_int_equal(cxb_hints_choose(made, NULL, 0, logits, n, 5.0f), -1);
  cxb_hints_release(made);
  free(logits);
}

/* ---- synthesis ---- */

typedef struct spoken {
  heard h; /* counts: speech = pieces, finals = ends */
  int16_t pcm[40 * 48000];
  size_t n;
  int err;
} spoken;

static void on_audio(void *arg, const int16_t *pcm, size_t n) {
  spoken *s = arg;
  pthread_mutex_lock(&s->h.lock);
  assert_true(s->n + n <= sizeof s->pcm / sizeof *s->pcm);
  memcpy(s->pcm + s->n, pcm, n * sizeof *pcm);
  s->n += n;
  s->h.speech++;
  pthread_cond_broadcast(&s->h.news);
  pthread_mutex_unlock(&s->h.lock);
}

static void on_end(void *arg, int err) {
  spoken *s = arg;
  pthread_mutex_lock(&s->h.lock);
  s->err = err;
  s->h.finals++;
  pthread_cond_broadcast(&s->h.news);
  pthread_mutex_unlock(&s->h.lock);
}

static cxb_speaker *say(spoken *s, const char *text, const char *voice, double speed, int rate) {
  const cxb_speaker_config config = {.text = text,
                                     .len = strlen(text),
                                     .voice = voice,
                                     .speed = speed,
                                     .rate = rate,
                                     .on_audio = on_audio,
                                     .on_end = on_end,
                                     .arg = s};
  cxb_speaker *speaker = NULL;
  heard_init(&s->h);
  s->n = 0;
  s->err = 1;
  assert_int_equal(cxb_speaker_start(engine, &config, &speaker), 0);
  return speaker;
}

static void check_spoken(const char *voice, int rate) {
  static spoken s;
  heard h;
  cxb_speaker *speaker = say(&s, "Good morning. How can I help you today?", voice, 1, rate);
  wait_for(&s.h, &s.h.finals, 1);
  assert_int_equal(s.err, 0);
  assert_true(s.h.speech > 20); /* pieces */
  cxb_speaker_close(speaker);
  cxb_recognizer *rec = new_stream(&h, rate, false);
  feed(rec, s.pcm, s.n);
  cxb_recognizer_finalize(rec, "x");
  wait_for(&h, &h.finals, 1);
  assert_string_equal(plain(h.text), "good morning how can i help you today");
  cxb_recognizer_close(rec);
}

static void what_is_spoken_is_understood_again(void **state) {
  check_spoken(NULL, 16000);
  check_spoken("slt", 8000);
  check_spoken("rms", 24000);
}

static void speech_starts_at_once_and_follows_the_speed(void **state) {
  static spoken s;
  size_t slow, early = 0;
  cxb_speaker *speaker = say(&s, "How can I help you today?", NULL, 0.5, RATE);
  wait_for(&s.h, &s.h.finals, 1);
  slow = s.n;
  while (early < s.n && abs(s.pcm[early]) < 96)
    early++;
  assert_true(early < RATE / 20);
  cxb_speaker_close(speaker);
  speaker = say(&s, "How can I help you today?", NULL, 2.0, RATE);
  wait_for(&s.h, &s.h.finals, 1);
  cxb_speaker_close(speaker);
  assert_true(s.n * 3 < slow && s.n * 5 > slow);
}

static void nothing_to_pronounce_ends_without_error(void **state) {
  static const char *const texts[] = {"", "   ", "...", "!!!", "\xf0\x9f\x98\x80", "\x01"};
  static spoken s;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    cxb_speaker *speaker = say(&s, texts[i], NULL, 1, RATE);
    wait_for(&s.h, &s.h.finals, 1);
    assert_int_equal(s.err, 0);
    assert_int_equal(s.n, 0);
    cxb_speaker_close(speaker);
  }
}

static void odd_texts_are_survived(void **state) {
  static spoken s;
  char text[400];
  srand(11);
  for (int round = 0; round < 30; round++) {
    size_t len = (size_t)rand() % 200;
    for (size_t i = 0; i < len; i++)
      text[i] = (char)(round % 2 ? rand() % 255 + 1 : 33 + rand() % 94);
    text[len] = 0;
    cxb_speaker *speaker = say(&s, text, round % 3 ? NULL : "kal16", 2, 8000);
    wait_for(&s.h, &s.h.finals, 1);
    assert_int_equal(s.err, 0);
    cxb_speaker_close(speaker);
  }
}

static void a_closed_speaker_is_silent_and_others_go_on(void **state) {
  static spoken first, second;
  cxb_speaker *one = say(&first,
                         "This is a long text of many words, which nobody wants to hear to its "
                         "end. It goes on and on. And on.",
                         NULL, 1, RATE);
  cxb_speaker *two = say(&second, "Hello there.", NULL, 1, RATE);
  wait_for(&first.h, &first.h.speech, 1);
  cxb_speaker_close(one);
  int pieces = first.h.speech;
  wait_for(&second.h, &second.h.finals, 1);
  assert_int_equal(second.err, 0);
  assert_true(second.n > RATE / 4);
  assert_int_equal(first.h.speech, pieces);
  assert_int_equal(first.h.finals, 0);
  cxb_speaker_close(two);
}

static void bad_requests_to_speak_are_refused(void **state) {
  static char large[CXB_SPEAKER_MAX_TEXT + 1];
  cxb_speaker *speaker = NULL;
  cxb_speaker_config config = {
      .text = "x", .len = 1, .rate = RATE, .on_audio = on_audio, .on_end = on_end};
  config.voice = "nobody";
  assert_int_equal(cxb_speaker_start(engine, &config, &speaker), CXB_ENOENT);
  config.voice = NULL;
  config.speed = 2.1;
  assert_int_equal(cxb_speaker_start(engine, &config, &speaker), CXB_EINVAL);
  config.speed = 1;
  config.rate = 4000;
  assert_int_equal(cxb_speaker_start(engine, &config, &speaker), CXB_EINVAL);
  config.rate = RATE;
  config.text = large;
  config.len = sizeof large;
  assert_int_equal(cxb_speaker_start(engine, &config, &speaker), CXB_ETOOBIG);
  assert_null(speaker);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(speech_becomes_events_and_a_final),
      cmocka_unit_test(a_final_before_the_silence_has_all_that_was_said),
      cmocka_unit_test(silence_has_an_empty_final),
      cmocka_unit_test(pauses_do_not_split_the_text_of_a_turn),
      cmocka_unit_test(reset_forgets_what_was_said),
      cmocka_unit_test(partials_grow_into_the_final),
      cmocka_unit_test(a_monologue_of_most_of_a_minute_is_recognised_whole),
      cmocka_unit_test(speech_is_understood_through_a_telephone),
      cmocka_unit_test(account_numbers_that_end_abruptly_are_right),
      cmocka_unit_test(quiet_callers_are_understood),
      cmocka_unit_test(bad_audio_is_refused_and_the_stream_goes_on),
      cmocka_unit_test(values_out_of_range_are_refused),
      cmocka_unit_test(a_stream_closed_in_the_middle_harms_nobody),
      cmocka_unit_test(hints_decide_between_words_that_sound_alike),
      cmocka_unit_test(what_is_spoken_is_understood_again),
      cmocka_unit_test(speech_starts_at_once_and_follows_the_speed),
      cmocka_unit_test(nothing_to_pronounce_ends_without_error),
      cmocka_unit_test(odd_texts_are_survived),
      cmocka_unit_test(a_closed_speaker_is_silent_and_others_go_on),
      cmocka_unit_test(bad_requests_to_speak_are_refused),
  };
  return cmocka_run_group_tests(tests, open_engine, close_engine);
}
