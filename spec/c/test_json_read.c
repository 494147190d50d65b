/* The JSON reader, against the JSON library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "base/err.h"
#include "base/json_read.h"

enum { MUTATIONS = 300000, LEVELS = 64 };

/* ---- the events, built into a document of the library ---- */

typedef struct build {
  json_t *open[LEVELS];
  char *key[LEVELS];
  int depth;
  json_t *root;
} build;

static bool place(build *b, json_t *value) {
  json_t *in = b->depth ? b->open[b->depth - 1] : NULL;
  if (!in)
    b->root = value;
  else if (json_is_array(in))
    json_array_append_new(in, value);
  else
    json_object_set_new_nocheck(in, b->key[b->depth - 1], value);
  return true;
}

static bool on_null(void *arg) {
  return place(arg, json_null());
}

static bool on_boolean(void *arg, bool value) {
  return place(arg, json_boolean(value));
}

static bool on_number(void *arg, double value) {
  return place(arg, json_real(value));
}

static bool on_string(void *arg, const cxb_json_string *s) {
  build *b = arg;
  if (!s->key)
    return place(b, json_stringn_nocheck(s->text, s->len));
  free(b->key[b->depth - 1]);
  b->key[b->depth - 1] = strndup(s->text, s->len);
  return true;
}

static bool on_begin(void *arg, bool object, size_t at) {
  build *b = arg;
  (void)at;
  json_t *value = object ? json_object() : json_array();
  place(b, value);
  b->open[b->depth++] = value;
  return true;
}

static bool on_end(void *arg, bool object, size_t count, size_t at) {
  build *b = arg;
  (void)at;
  json_t *value = b->open[--b->depth];
  assert_int_equal(object, json_is_object(value));
  assert_true(object ? count >= json_object_size(value) : count == json_array_size(value));
  return true;
}

static const cxb_json_events events = {.null = on_null,
                                       .boolean = on_boolean,
                                       .number = on_number,
                                       .string = on_string,
                                       .begin = on_begin,
                                       .end = on_end};

/* The document, or NULL and *err; the text has memory of its own size, so that the sanitizer sees
 * a look behind it. */
static json_t *read_text(const char *text, size_t len, int *err) {
  char *own = malloc(len + 1);
  memcpy(own, text, len);
  own[len] = '\0';
  build b = {0};
  cxb_buf room = {0};
  cxb_json_fault fault = {0};
  *err = cxb_json_read(own, len, LEVELS, &events, &b, &room, &fault);
  cxb_buf_free(&room);
  for (int i = 0; i < LEVELS; i++)
    free(b.key[i]);
  free(own);
  if (*err) {
    assert_non_null(fault.message);
    assert_true(fault.offset <= len);
    json_decref(b.root);
    return NULL;
  }
  assert_int_equal(b.depth, 0);
  return b.root;
}

static void agree(const char *text, size_t len) {
  int err;
  json_t *ours = read_text(text, len, &err);
  json_t *theirs =
      json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
  if ((ours != NULL) != (theirs != NULL) || (ours && !json_equal(ours, theirs)))
    fail_msg("%s, the library %s: %.*s", ours ? "taken" : "refused",
             theirs ? ours ? "otherwise" : "takes it" : "refuses it", (int)len, text);
  json_decref(ours);
  json_decref(theirs);
}

static const char *const seeds[] = {
    "{\"a\":[1,-2.5e+3,0.001,1e-7,123456789012345678],\"b\":{\"c\":\"\\u00e9\\ud83d\\ude00\\n\"}}",
    " [ true , false , null , \"\" , {} , [] , \"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\" ] ",
    "{\"text\":\"forty characters of plain words and more\",\"text\":\"again\",\"n\":-0}",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    "[0.1,1.7976931348623157e308,2.2250738585072014e-308,5e-324]"};

static void what_is_valid_means_the_same(void **state) {
  for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++)
    agree(seeds[i], strlen(seeds[i]));
}

static void numbers_are_the_nearest(void **state) {
  static const char *const texts[] = {"0",
                                      "-1",
                                      "9007199254740993",
                                      "123456789012345678901234567890",
                                      "1e22",
                                      "1e23",
                                      "8.5e-22",
                                      "0.1e1",
                                      "2.2250738585072014e-338",

                                      "4.9406564584124654e-324",
                                      "1e-400",
                                      "3.14159265358979323846264338327950288",
                                      "0.000000000000000000000000000000000000000000000000000001e54",
                                      "17976931348623157e292"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    int err;
    json_t *value = read_text(texts[i], strlen(texts[i]), &err);
    assert_non_null(value);
    if (json_real_value(value) != strtod(texts[i], NULL))
      fail_msg("%s: %.17g", texts[i], json_real_value(value));
    json_decref(value);
  }
}

/* 0.00…01 with an exponent that makes it 10 to the power of `power`. */
static void many_zeroes_and_a_large_exponent_make_a_plain_number(void **state) {
  static const int zeroes[] = {20, 300, 9999, 10000, 10001, 20000};
  for (size_t i = 0; i < sizeof zeroes / sizeof *zeroes; i++)
    for (int power = -4; power <= 4; power++) {
      static char text[20100];
      int n = snprintf(text, sizeof text, "0.%0*d1e%d", zeroes[i], 0, zeroes[i] + 1 + power), err;
      json_t *value = read_text(text, (size_t)n, &err);
      assert_non_null(value);
      if (json_real_value(value) != strtod(text, NULL))
        fail_msg("%d zeroes, e%d: %.17g", zeroes[i], power, json_real_value(value));
      json_decref(value);
    }
}

static void what_is_not_json_is_refused(void **state) {
  static const char *const texts[] = {"",
                                      " ",
                                      "{",
                                      "}",
                                      "[",
                                      "[1,]",
                                      "[,1]",
                                      "{\"a\":1,}",
                                      "{\"a\"}",
                                      "{1:2}",
                                      "[1 2]",
                                      "tru",
                                      "nulL",
                                      "01",
                                      "-",
                                      "+1",
                                      "1.",
                                      ".5",
                                      "1e",
                                      "1e+",
                                      "0x1",
                                      "NaN",
                                      "Infinity",
                                      "1e999",
                                      "1.797693134862357e308",
                                      "\"",
                                      "\"\\x\"",
                                      "\"\\u12g4\"",
                                      "\"\\ud800\"",
                                      "\"\\udc00\"",
                                      "\"\\ud800\\u0041\"",
                                      "\"\x01\"",
                                      "\"\xff\"",
                                      "\"\xc0\xaf\"",
                                      "\"\xed\xa0\x80\"",
                                      "\"\xf4\x90\x80\x80\"",
                                      "\"\xe2\x82\"",
                                      "'a'",
                                      "[1]]",
                                      "{} {}",
                                      "/**/1",
                                      "\xef\xbb\xbf{}"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    int err;
    if (read_text(texts[i], strlen(texts[i]), &err))
      fail_msg("taken: %s", texts[i]);
    assert_int_equal(err, CXB_EINVAL);
  }
  int err;
  assert_null(read_text("1\0", 2, &err)); /* a NUL is no end */
  assert_null(read_text("\"a\0b\"", 5, &err));
}

static void nesting_ends_at_its_limit(void **state) {
  char text[2 * LEVELS + 3];
  for (int depth = LEVELS - 1; depth <= LEVELS + 1; depth++) {
    int err;
    memset(text, '[', (size_t)depth);
    memset(text + depth, ']', (size_t)depth);
    json_t *value = read_text(text, 2 * (size_t)depth, &err);
    assert_int_equal(err, depth <= LEVELS ? 0 : CXB_ETOOBIG);
    json_decref(value);
  }
}

/* Mutated texts are taken or refused as the library does, and mean the same. */
static void mutated_texts_mean_what_the_library_says(void **state) {
  static const char bytes[] =
      "{}[]\",:\\0123456789.eE+-u dnDtfanlrs\xc3\xa9\xf0\x9f\x98\x80\xed\x01";
  uint64_t seed = 88172645463325252u;
  for (int i = 0; i < MUTATIONS; i++) {
    char text[256];
    const char *from = seeds[(size_t)i % (sizeof seeds / sizeof *seeds)];
    size_t len = strlen(from);
    memcpy(text, from, len);
    for (int k = 0; k <= i % 3; k++) {
      seed ^= seed << 13;
      seed ^= seed >> 7;
      seed ^= seed << 17;
      size_t at = (size_t)(seed >> 8) % len;
      if (seed % 3 == 0) {
        memmove(text + at, text + at + 1, --len - at);
      } else {
        text[at] = bytes[(size_t)(seed >> 40) % (sizeof bytes - 1)];
      }
    }
    if (!memmem(text, len, "\\u0000", 6)) /* the library takes no NUL in a name */
      agree(text, len);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_valid_means_the_same),
      cmocka_unit_test(numbers_are_the_nearest),
      cmocka_unit_test(many_zeroes_and_a_large_exponent_make_a_plain_number),
      cmocka_unit_test(what_is_not_json_is_refused),
      cmocka_unit_test(nesting_ends_at_its_limit),
      cmocka_unit_test(mutated_texts_mean_what_the_library_says),
  };
  return cmocka_run_group_tests_name("json_read", tests, NULL, NULL);
}
