/* media/peaks: outlines of WAV files in pieces of any size, whole, cut and odd ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "media/peaks.h"

static void le(cxb_buf *out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; i++) {
    uint8_t b = (uint8_t)(value >> (8 * i));
    assert_int_equal(cxb_buf_add(out, &b, 1), 0);
  }
}

/* `frames` of two channels: the left counts up by 256, the right is -256. */
static cxb_buf wav(int frames, uint32_t data_len, bool odd_chunk) {
  cxb_buf f = {0};
  cxb_buf_str(&f, "RIFF");
  le(&f, 36 + data_len, 4);
  cxb_buf_str(&f, "WAVE");
  if (odd_chunk) {
    cxb_buf_str(&f, "LIST");
    le(&f, 3, 4);
    cxb_buf_add(&f, "abc\0", 4);
  }
  cxb_buf_str(&f, "fmt ");
  le(&f, 16, 4);
  le(&f, 1, 2);
  le(&f, 2, 2);
  le(&f, 8000, 4);
  le(&f, 32000, 4);
  le(&f, 4, 2);
  le(&f, 16, 2);
  cxb_buf_str(&f, "data");
  le(&f, data_len, 4);
  for (int i = 0; i < frames; i++) {
    le(&f, (uint32_t)(i * 256), 2);
    le(&f, (uint32_t)-256, 2);
  }
  return f;
}

static char *outline(const cxb_buf *file, int points, size_t piece, int *err) {
  cxb_peaks *p = cxb_peaks_new(points, (int64_t)file->len);
  cxb_buf json = {0};
  *err = 0;
  for (size_t at = 0; at < file->len && !*err; at += piece) {
    size_t n = file->len - at < piece ? file->len - at : piece;
    *err = cxb_peaks_feed(p, file->data + at, n);
  }
  if (!*err)
    *err = cxb_peaks_json(p, &json);
  cxb_peaks_free(p);
  if (*err)
    cxb_buf_free(&json);
  return json.data;
}

static void expect(const cxb_buf *file, int points, const char *wanted) {
  size_t pieces[] = {1, 3, 7, 45, 100000};
  for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
    int err;
    char *json = outline(file, points, pieces[i], &err);
    assert_int_equal(err, 0);
    assert_string_equal(json, wanted);
    free(json);
  }
}

static void each_part_has_its_least_and_greatest_sample(void **state) {
  (void)state;
  cxb_buf f = wav(8, 32, false);
  expect(&f, 2, "{\"duration\":0.001,\"channels\":[[0,3,4,7],[-1,-1,-1,-1]]}");
  cxb_buf_free(&f);
}

static void other_chunks_and_what_follows_the_audio_are_passed_over(void **state) {
  (void)state;
  cxb_buf f = wav(8, 32, true);
  cxb_buf_str(&f, "LIST\4\0\0\0\377\377\377\377");
  cxb_buf_add(&f, "\177\177\177\177\177\177", 6);
  expect(&f, 2, "{\"duration\":0.001,\"channels\":[[0,3,4,7],[-1,-1,-1,-1]]}");
  cxb_buf_free(&f);
}

static void a_file_shorter_than_it_says_ends_where_it_ends(void **state) {
  (void)state;
  cxb_buf f = wav(4, 0, false); /* a recorder that was killed */
  expect(&f, 2, "{\"duration\":0.001,\"channels\":[[0,1,2,3],[-1,-1,-1,-1]]}");
  cxb_buf_free(&f);
  f = wav(4, 4000000, false);
  expect(&f, 2, "{\"duration\":0.001,\"channels\":[[0,1,2,3],[-1,-1,-1,-1]]}");
  f.len -= 3; /* inside a frame */
  expect(&f, 1, "{\"duration\":0.000,\"channels\":[[0,2],[-1,-1]]}");
  cxb_buf_free(&f);
}

static void more_parts_than_frames_are_as_many_as_frames(void **state) {
  (void)state;
  cxb_buf f = wav(2, 8, false);
  expect(&f, 100, "{\"duration\":0.000,\"channels\":[[0,0,1,1],[-1,-1,-1,-1]]}");
  cxb_buf_free(&f);
  f = wav(0, 0, false);
  expect(&f, 100, "{\"duration\":0.000,\"channels\":[[0,0],[0,0]]}");
  cxb_buf_free(&f);
}

static void what_is_no_wav_of_16_bits_is_refused(void **state) {
  (void)state;
  int err;
  cxb_buf f = {0};
  cxb_buf_str(&f, "no audio at all, but long enough");
  outline(&f, 10, 100, &err);
  assert_int_equal(err, CXB_EUNSUPPORTED);
  cxb_buf_free(&f);
  f = wav(8, 32, false);
  f.data[20] = 7; /* µ-law */
  outline(&f, 10, 100, &err);
  assert_int_equal(err, CXB_EUNSUPPORTED);
  f.data[20] = 1;
  f.len = 30; /* the header is cut */
  outline(&f, 10, 100, &err);
  assert_int_equal(err, CXB_EUNSUPPORTED);
  cxb_buf_free(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_part_has_its_least_and_greatest_sample),
      cmocka_unit_test(other_chunks_and_what_follows_the_audio_are_passed_over),
      cmocka_unit_test(a_file_shorter_than_it_says_ends_where_it_ends),
      cmocka_unit_test(more_parts_than_frames_are_as_many_as_frames),
      cmocka_unit_test(what_is_no_wav_of_16_bits_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
