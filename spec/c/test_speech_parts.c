/* The parts of the speech room that need no model: segmentation, turns, the text to be spoken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "speech/blocks.h"
#include "speech/say_text.h"
#include "speech/segment.h"
#include "speech/turn.h"

/* ---- memory ---- */

static void a_block_is_used_again_until_it_is_given_back(void **state) {
  const size_t sizes[] = {1, 1000, 65472, 65473, 100000, 1 << 20, 37748736};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    uint8_t *block = cxb_blocks_take(sizes[i]);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 64, 0);
    block[0] = 1;
    block[sizes[i] - 1] = 2;
    cxb_blocks_return(block);
    if (sizes[i] >= 65472) {
      assert_true(cxb_blocks_kept() >= sizes[i]);
      assert_ptr_equal(cxb_blocks_take(sizes[i]), block);
      assert_int_equal(block[0], 1);
      cxb_blocks_return(block);
    }
    cxb_blocks_trim();
    assert_int_equal(cxb_blocks_kept(), 0);
  }
  cxb_blocks_return(NULL);
}

static void what_is_kept_is_bounded_and_too_much_is_refused(void **state) {
  void *held[40];
  for (size_t i = 0; i < 40; i++)
    held[i] = cxb_blocks_take(10 << 20);
  for (size_t i = 0; i < 40; i++)
    cxb_blocks_return(held[i]);
  assert_true(cxb_blocks_kept() > 100 << 20 && cxb_blocks_kept() <= 192 << 20);
  cxb_blocks_trim();
  assert_null(cxb_blocks_take(SIZE_MAX));
  assert_null(cxb_blocks_take(SIZE_MAX / 2));
}

/* ---- segmentation ---- */

static cxb_segment_change steps(cxb_segmenter *s, float probability, int n) {
  cxb_segment_change last = CXB_SEGMENT_SAME;
  for (int i = 0; i < n; i++) {
    last = cxb_segmenter_step(s, probability);
    if (i < n - 1)
      assert_int_equal(last, CXB_SEGMENT_SAME);
  }
  return last;
}

static void speech_begins_after_start_ms_and_names_its_onset(void **state) {
  cxb_segmenter s;
  cxb_segmenter_init(&s, 32, 96, 320);
  assert_int_equal(steps(&s, 0.1f, 10), CXB_SEGMENT_SAME);
  assert_int_equal(steps(&s, 0.9f, 3), CXB_SEGMENT_SPEECH);
  assert_int_equal(s.onset, 10);
}

static void a_click_is_no_speech(void **state) {
  cxb_segmenter s;
  cxb_segmenter_init(&s, 32, 96, 320);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(steps(&s, 0.9f, 1), CXB_SEGMENT_SAME);
    assert_int_equal(steps(&s, 0.1f, 4), CXB_SEGMENT_SAME);
  }
}

static void a_short_dip_does_not_delay_the_beginning(void **state) {
  cxb_segmenter s;
  cxb_segmenter_init(&s, 32, 96, 320);
  assert_int_equal(steps(&s, 0.9f, 2), CXB_SEGMENT_SAME);
  assert_int_equal(steps(&s, 0.2f, 2), CXB_SEGMENT_SAME);
  assert_int_equal(steps(&s, 0.9f, 1), CXB_SEGMENT_SPEECH);
  assert_int_equal(s.onset, 0);
}

static void silence_ends_speech_after_stop_ms(void **state) {
  cxb_segmenter s;
  cxb_segmenter_init(&s, 32, 32, 320);
  assert_int_equal(steps(&s, 0.9f, 1), CXB_SEGMENT_SPEECH);
  assert_int_equal(steps(&s, 0.1f, 9), CXB_SEGMENT_SAME);
  assert_int_equal(steps(&s, 0.4f, 1), CXB_SEGMENT_SAME); /* faint voice keeps it up */
  assert_int_equal(steps(&s, 0.1f, 10), CXB_SEGMENT_SILENCE);
  assert_int_equal(s.last_voice, 10);
}

/* ---- turns ---- */

static void a_turn_joins_the_texts_of_its_chunks(void **state) {
  static const int16_t pcm[1000];
  cxb_turn *turn = cxb_turn_new();
  double confidence;
  for (int i = 0; i < 3; i++) {
    assert_int_equal(cxb_turn_append(turn, pcm, 1000), 0);
    cxb_turn_freeze(turn);
  }
  cxb_chunk *chunk = cxb_turn_undecoded(turn, false);
  assert_int_equal(cxb_chunk_decoded(chunk, 1000, "one", 0.5, 1), 0);
  chunk = cxb_turn_undecoded(turn, false);
  assert_int_equal(cxb_chunk_decoded(chunk, 1000, "", 0, 0), 0);
  chunk = cxb_turn_undecoded(turn, false);
  assert_int_equal(cxb_chunk_decoded(chunk, 1000, "two three four", 0.9, 3), 0);
  assert_null(cxb_turn_undecoded(turn, true));
  char *text = cxb_turn_text(turn, &confidence);
  assert_string_equal(text, "one two three four");
  assert_true(confidence > 0.799 && confidence < 0.801);
  free(text);
  cxb_turn_free(turn);
}

static void a_chunk_that_grew_is_to_be_recognised_again(void **state) {
  static const int16_t pcm[1000];
  cxb_turn *turn = cxb_turn_new();
  assert_null(cxb_turn_undecoded(turn, true));
  cxb_turn_append(turn, pcm, 1000);
  assert_null(cxb_turn_undecoded(turn, false));
  cxb_chunk *chunk = cxb_turn_undecoded(turn, true);
  cxb_chunk_decoded(chunk, 1000, "one", 0.5, 1);
  assert_null(cxb_turn_undecoded(turn, true));
  cxb_turn_append(turn, pcm, 10);
  assert_ptr_equal(cxb_turn_undecoded(turn, true), chunk);
  assert_ptr_equal(cxb_turn_find(turn, chunk->serial), chunk);
  cxb_turn_free(turn);
}

/* A minute of noise with a quiet moment at 23 s. */
static int16_t *noise_with_a_pause(size_t n) {
  int16_t *pcm = malloc(n * sizeof *pcm);
  srand(3);
  for (size_t i = 0; i < n; i++)
    pcm[i] = (int16_t)(rand() % 8000 - 4000);
  memset(pcm + 23 * CXB_TURN_RATE, 0, CXB_TURN_RATE / 5 * sizeof *pcm);
  return pcm;
}

static void a_long_chunk_is_cut_where_it_is_quiet(void **state) {
  size_t n = 26 * CXB_TURN_RATE;
  int16_t *pcm = noise_with_a_pause(n);
  cxb_turn *turn = cxb_turn_new();
  for (size_t at = 0; at < n; at += 777) /* in odd pieces */
    assert_int_equal(cxb_turn_append(turn, pcm + at, n - at < 777 ? n - at : 777), 0);
  assert_int_equal(turn->nchunks, 2);
  assert_true(turn->first->frozen && !turn->last->frozen);
  assert_true(turn->first->n > 23 * CXB_TURN_RATE);
  assert_true(turn->first->n < 23 * CXB_TURN_RATE + CXB_TURN_RATE / 5);
  assert_int_equal(turn->first->n + turn->last->n, n);
  assert_memory_equal(turn->first->pcm, pcm, turn->first->n * 2);
  assert_memory_equal(turn->last->pcm, pcm + turn->first->n, turn->last->n * 2);
  cxb_turn_free(turn);
  free(pcm);
}

static void a_turn_without_end_stays_bounded(void **state) {
  size_t n = 25 * CXB_TURN_RATE;
  int16_t *pcm = noise_with_a_pause(n);
  cxb_turn *turn = cxb_turn_new();
  for (int i = 0; i < 40; i++) {
    assert_int_equal(cxb_turn_append(turn, pcm, n), 0);
    cxb_chunk *chunk;
    while ((chunk = cxb_turn_undecoded(turn, false)))
      cxb_chunk_decoded(chunk, chunk->n, "words", 0.5, 1);
  }
  assert_int_equal(turn->nchunks, 24);
  assert_null(turn->first->pcm); /* what is recognised needs no audio any more */
  cxb_turn_free(turn);
  free(pcm);
}

/* ---- text to be spoken ---- */

static void check_ascii(const char *utf8, const char *expected) {
  char out[200];
  assert_int_equal(cxb_say_ascii(utf8, strlen(utf8), out, sizeof out), strlen(expected));
  assert_string_equal(out, expected);
}

static void text_becomes_ascii(void **state) {
  check_ascii("It\xe2\x80\x99s open \xe2\x80\x93 caf\xc3\xa9 \xc3\x9cnal", "It's open , cafe Unal");
  check_ascii("  a\tb\r\n c\x01 ", "a b c");
  check_ascii("5 \xe2\x82\xac", "5 euros");
  check_ascii("\xf0\x9f\x98\x80 fine", "fine");
  check_ascii("bad \xff\xc3 bytes\xe2\x82", "bad bytes");
  check_ascii("", "");
  char small[6];
  assert_int_equal(cxb_say_ascii("abcdefgh", 8, small, sizeof small), 5);
  assert_string_equal(small, "abcde");
}

static void check_sentences(const char *text, size_t n, const size_t *lengths) {
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(cxb_say_sentence(text), lengths[i]);
    text += lengths[i];
  }
  assert_int_equal(cxb_say_sentence(text), 0);
}

static void text_is_spoken_sentence_by_sentence(void **state) {
  check_sentences("We are open today. Come at 9 a.m. to us! Really?", 3, (size_t[]){19, 22, 7});
  check_sentences("Please ask for Dr. Smith, at 3.5 km.", 1, (size_t[]){36});
  check_sentences("Yes. No. Maybe. All of them.", 2, (size_t[]){16, 12});
}

static void an_endless_sentence_is_cut_at_a_blank_or_by_force(void **state) {
  char text[2000];
  memset(text, 'a', sizeof text - 1);
  text[sizeof text - 1] = 0;
  size_t first = cxb_say_sentence(text);
  assert_true(first > 0 && first < 600);
  for (size_t i = 5; i < sizeof text - 1; i += 6)
    text[i] = ' ';
  first = cxb_say_sentence(text);
  assert_true(first > 200 && first < 300);
  assert_int_equal(text[first - 1], ' ');
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_block_is_used_again_until_it_is_given_back),
      cmocka_unit_test(what_is_kept_is_bounded_and_too_much_is_refused),
      cmocka_unit_test(speech_begins_after_start_ms_and_names_its_onset),
      cmocka_unit_test(a_click_is_no_speech),
      cmocka_unit_test(a_short_dip_does_not_delay_the_beginning),
      cmocka_unit_test(silence_ends_speech_after_stop_ms),
      cmocka_unit_test(a_turn_joins_the_texts_of_its_chunks),
      cmocka_unit_test(a_chunk_that_grew_is_to_be_recognised_again),
      cmocka_unit_test(a_long_chunk_is_cut_where_it_is_quiet),
      cmocka_unit_test(a_turn_without_end_stays_bounded),
      cmocka_unit_test(text_becomes_ascii),
      cmocka_unit_test(text_is_spoken_sentence_by_sentence),
      cmocka_unit_test(an_endless_sentence_is_cut_at_a_blank_or_by_force),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
