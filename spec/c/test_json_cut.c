/* Binary data cut out of JSON, against the JSON library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "base/base64.h"
#include "base/err.h"
#include "base/json_cut.h"

enum { MUTATIONS = 300000 };

static void finds(const char *text, const char *path, const char *value) {
  cxb_json_span span;
  int found = cxb_json_find(text, strlen(text), path, &span);
  if (found != (value != NULL))
    fail_msg("%s in %s: %d", path, text, found);
  if (value) {
    assert_int_equal(span.len, strlen(value));
    assert_memory_equal(text + span.at, value, span.len);
  }
}

static void a_string_member_is_found_by_its_path(void **state) {
  finds("{\"audio\":\"AAAA\"}", "audio", "AAAA");
  finds(" { \"a\" : [1, {\"audio\":\"no\"}] , \"audio\" : \"\" } ", "audio", "");
  finds("{\"n\":-1.5e+3,\"t\":true,\"x\":null,\"data\":{\"k\":{},\"audio\":\"BB\"}}", "data.audio",
        "BB");
  finds("{\"q\":\"\\\"audio\\\":\\\"no\\\"\",\"audio\":\"a\\/b\"}", "audio", "a\\/b");
  finds("{\"chars\":[\"\\\"\",\"\xc3\xa9\",\"\\u00e9\"],\"audio\":\"Q\"}", "audio", "Q");
  finds("{\"audio\":\"one\",\"audio\":\"two\"}", "audio", "one");
}

static void anything_else_is_not_found(void **state) {
  finds("{\"audio\":null}", "audio", NULL);
  finds("{\"audio\":{\"audio\":\"deep\"}}", "audio", NULL);
  finds("{\"audio\":[\"x\"]}", "audio", NULL);
  finds("{\"data\":\"x\"}", "data.audio", NULL);
  finds("{\"audiox\":\"x\",\"audi\":\"y\"}", "audio", NULL);
  static const char *const broken[] = {"",
                                       "[]",
                                       "\"audio\"",
                                       "{\"audio\":\"x\"",
                                       "{\"audio\":\"x\"}}",
                                       "{\"audio\":\"x\",}",
                                       "{\"audio\":\"x\" \"b\":1}",
                                       "{\"audio\":\"x\",\"b\":01}",
                                       "{\"audio\":\"x\",\"b\":tru}",
                                       "{\"audio\":\"x\\",
                                       "{\"audio\":\"x\n\"}",
                                       "{'audio':'x'}"};
  for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
    finds(broken[i], "audio", NULL);
}

static void nesting_ends_at_a_limit(void **state) {
  char text[8 * 1024];
  for (int depth = 60; depth <= 2000; depth += 388) {
    int n = sprintf(text, "{\"audio\":\"x\",\"l\":");
    memset(text + n, '[', (size_t)depth);
    memset(text + n + depth, ']', (size_t)depth);
    strcpy(text + n + 2 * depth, "}");
    finds(text, "audio", depth < CXB_JSON_DEPTH ? "x" : NULL);
  }
}

static void bytes_are(const char *base64, const char *bytes, long n) {
  char text[256];
  sprintf(text, "{\"k\":1,\"audio\":\"%s\",\"isFinal\":false}", base64);
  cxb_json_span span;
  size_t len = strlen(text);
  assert_int_equal(cxb_json_find(text, len, "audio", &span), 1);
  long got = cxb_json_bytes(text, &span);
  assert_int_equal(got, n);
  if (n > 0)
    assert_memory_equal(text + span.at, bytes, (size_t)n);
  size_t after = cxb_json_put_number(text, len, &span, n < 0 ? -1 : n);
  assert_true(after <= len);
  json_t *doc = json_loadb(text, after, 0, NULL);
  assert_non_null(doc);
  assert_int_equal(json_integer_value(json_object_get(doc, "audio")), n < 0 ? -1 : n);
  assert_true(json_is_false(json_object_get(doc, "isFinal")));
  assert_int_equal(json_integer_value(json_object_get(doc, "k")), 1);
  json_decref(doc);
}

static void its_bytes_come_out_and_their_count_goes_in(void **state) {
  bytes_are("AQID", "\1\2\3", 3);
  bytes_are("AQI=", "\1\2", 2);
  bytes_are("AQI", "\1\2", 2);
  bytes_are("AQ==", "\1", 1);
  bytes_are("", "", 0);
  bytes_are("\\/\\/8=", "\xff\xff", 2);
  bytes_are("//8=", "\xff\xff", 2);
  bytes_are("A", "", CXB_EINVAL);
  bytes_are("****", "", CXB_EINVAL);
  bytes_are("AA\\u0041A", "", CXB_EINVAL);
  bytes_are("AA A", "", CXB_EINVAL);
}

static void a_large_member_comes_out_whole(void **state) {
  enum { BYTES = 3 << 20 };
  uint8_t *bytes = malloc(BYTES);
  char *text = malloc(CXB_BASE64_LEN(BYTES) + 64);
  for (size_t i = 0; i < BYTES; i++)
    bytes[i] = (uint8_t)(i * 7 + i / 251);
  size_t n = (size_t)sprintf(text, "{\"audio\":\"");
  n += cxb_base64_encode(text + n, bytes, BYTES);
  n += (size_t)sprintf(text + n, "\",\"id\":7}");
  cxb_json_span span;
  assert_int_equal(cxb_json_find(text, n, "audio", &span), 1);
  assert_int_equal(cxb_json_bytes(text, &span), BYTES);
  assert_memory_equal(text + span.at, bytes, BYTES);
  n = cxb_json_put_number(text, n, &span, BYTES);
  assert_memory_equal(text, "{\"audio\":3145728,\"id\":7}", n);
  free(text);
  free(bytes);
}

/* What is found in mutated messages is what the library finds, and nothing outside is touched. */
static void mutated_messages_mean_what_the_library_says(void **state) {
  static const char *const seeds[] = {
      "{\"audio\":\"AAECAwQF\",\"isFinal\":null,\"alignment\":{\"chars\":[\"H\",\"\\\"\"],"
      "\"charStartTimesMs\":[0,80.5]}}",
      "{\"type\":\"audio\",\"data\":{\"request_id\":\"r\",\"audio\":\"//8AAQ==\",\"n\":-1e3}}",
      "{\"error\":\"quota\",\"code\":401,\"x\":[true,false,null,{}]}"};
  uint64_t seed = 88172645463325252u;
  int found = 0, valid = 0;
  for (int i = 0; i < MUTATIONS; i++) {
    char text[256];
    size_t len = strlen(seeds[i % 3]);
    memcpy(text, seeds[i % 3], len);
    for (int k = 0; k < 1 + i % 3; k++) {
      seed ^= seed << 13;
      seed ^= seed >> 7;
      seed ^= seed << 17;
      static const char marks[] = "{}[]\",:\\/ 019-AZ=.eEtfn\n";
      text[seed % len] = marks[(seed >> 20) % (sizeof marks - 1)];
      if (seed >> 60 == 0)
        len -= (seed >> 40) % (len / 2);
    }
    const char *path = i % 3 == 1 ? "data.audio" : "audio";
    cxb_json_span span;
    char *copy = malloc(len + 1); /* exactly: a read behind it is seen by the sanitizer */
    memcpy(copy, text, len);
    copy[len] = '\0';
    int here = cxb_json_find(copy, len, path, &span);
    json_t *doc = json_loadb(copy, len, JSON_REJECT_DUPLICATES, NULL);
    if (doc && json_is_object(doc)) {
      json_t *value = i % 3 == 1 ? json_object_get(json_object_get(doc, "data"), "audio")
                                 : json_object_get(doc, "audio");
      valid++;
      if (here != json_is_string(value))
        fail_msg("%d for %.*s", here, (int)len, text);
    }
    if (here) {
      found++;
      assert_true(span.at > 0 && span.at + span.len < len);
      long n = cxb_json_bytes(copy, &span);
      assert_memory_equal(copy, text, span.at);
      size_t behind = span.at + span.len;
      assert_memory_equal(copy + behind, text + behind, len - behind);
      assert_true(cxb_json_put_number(copy, len, &span, n < 0 ? -1 : n) <= len);
    }
    json_decref(doc);
    free(copy);
  }
  assert_true(found > MUTATIONS / 20 && valid > MUTATIONS / 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_string_member_is_found_by_its_path),
      cmocka_unit_test(anything_else_is_not_found),
      cmocka_unit_test(nesting_ends_at_a_limit),
      cmocka_unit_test(its_bytes_come_out_and_their_count_goes_in),
      cmocka_unit_test(a_large_member_comes_out_whole),
      cmocka_unit_test(mutated_messages_mean_what_the_library_says),
  };
  return cmocka_run_group_tests_name("json cut", tests, NULL, NULL);
}
