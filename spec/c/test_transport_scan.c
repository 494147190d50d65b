/* The quick scanner against the JSON library: what it takes means the same. */
#include "transport_log.h"

#include "transport/wire_json.h"
#include "transport/wire_scan.h"

enum { EVENT, TRACK, PAYLOAD, COUNT, MUTATIONS = 300000 };

static bool scan(const char *text, size_t len, cxb_scan found[COUNT]) {
  found[EVENT] = (cxb_scan){.name = "event"};
  found[TRACK] = (cxb_scan){.outer = "media", .name = "track"};
  found[PAYLOAD] = (cxb_scan){.outer = "media", .name = "payload"};
  return cxb_scan_object(text, len, found, COUNT);
}

static void same_string(const cxb_scan *found, const char *text) {
  assert_int_equal(found->value != NULL, text != NULL);
  if (text) {
    assert_int_equal(found->len, strlen(text));
    assert_memory_equal(found->value, text, found->len);
  }
}

/* True when the scanner took it. */
static bool agrees(const char *text, size_t len) {
  cxb_scan found[COUNT];
  if (!scan(text, len, found))
    return false;
  json_t *doc = cxb_wire_parse(text, len);
  if (!doc)
    fail_msg("taken, but no JSON: %.*s", (int)len, text);
  json_t *media = cxb_wire_obj(doc, "media");
  same_string(&found[EVENT], cxb_wire_str(doc, "event", NULL));
  same_string(&found[TRACK], cxb_wire_str(media, "track", NULL));
  same_string(&found[PAYLOAD], cxb_wire_str(media, "payload", NULL));
  json_decref(doc);
  return true;
}

static void plain_objects_are_taken_and_mean_the_same(void **state) {
  static const char *const texts[] = {
      "{}",
      " { } ",
      "{\"event\":\"media\",\"media\":{\"track\":\"inbound\",\"payload\":\"AA==\"}}",
      "{\"event\" : 5, \"media\":{\"payload\":null,\"track\":true}}",
      "{\"media\":{\"payload\":\"A\"},\"media\":{}}",
      "{\"media\":{\"payload\":\"A\"},\"media\":7}",
      "{\"event\":\"a\",\"event\":\"b\"}",
      "{\"event\":\"a\",\"event\":{}}",
      "{\"media\":{\"media\":{\"payload\":\"deep\"}},\"n\":-12,\"z\":0}",
      "{\"payload\":\"outer\",\"media\":{\"event\":\"inner\"}}"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (!agrees(texts[i], strlen(texts[i])))
      fail_msg("not taken: %s", texts[i]);
}

static void everything_else_goes_the_long_way(void **state) {
  static const char *const texts[] = {"",
                                      "{",
                                      "}",
                                      "[]",
                                      "\"a\"",
                                      "{\"a\":}",
                                      "{\"a\"}",
                                      "{\"a\":1,}",
                                      "{,}",
                                      "{\"a\":01}",
                                      "{\"a\":-}",
                                      "{\"a\":1.5}",
                                      "{\"a\":1e3}",
                                      "{\"a\":1234567890123456}",
                                      "{\"a\":nul}",
                                      "{\"a\":[1]}",
                                      "{\"a\":\"\\n\"}",
                                      "{\"a\":\"\xc3\xa9\"}",
                                      "{\"a\":\"\n\"}",
                                      "{\"a\":1}x",
                                      "{\"a\":{\"b\":{\"c\":{\"d\":{}}}}}",
                                      "{'a':1}",
                                      "{\"a\":1 \"b\":2}"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (agrees(texts[i], strlen(texts[i])))
      fail_msg("taken: %s", texts[i]);
}

static void whatever_is_taken_agrees_with_the_library(void **state) {
  static const char seed_text[] =
      "{\"event\":\"media\",\"sequenceNumber\":\"4\",\"n\":17,\"media\":"
      "{\"track\":\"inbound\",\"payload\":\"AAECAw==\",\"x\":null}}";
  uint64_t x = 88172645463325252ull;
  size_t taken = 0;
  for (int i = 0; i < MUTATIONS; i++) {
    size_t len = sizeof seed_text - 1;
    char *text = malloc(len + 1);
    memcpy(text, seed_text, len);
    for (int times = 1 + i % 3; times; times--) {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
      size_t at = (size_t)(x >> 8) % len, from = (size_t)(x >> 24) % len;
      size_t n = 1 + (size_t)(x >> 40) % 12;
      n = n < len - at ? n : len - at;
      n = n < len - from ? n : len - from;
      if (x & 1)
        memmove(text + at, text + from, n);
      else
        text[at] = "{}[]:,\"\\ \n0a\xff-tn"[(x >> 50) % 16];
    }
    len -= i % 7 == 0 ? (size_t)(x >> 33) % 20 : 0;
    char *exact = malloc(len); /* of this size, so that a byte too far is seen */
    memcpy(exact, text, len);
    taken += agrees(exact, len);
    free(exact);
    free(text);
  }
  print_message("%d mutations, %zu taken\n", MUTATIONS, taken);
  assert_in_range(taken, MUTATIONS / 100, MUTATIONS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plain_objects_are_taken_and_mean_the_same),
      cmocka_unit_test(everything_else_goes_the_long_way),
      cmocka_unit_test(whatever_is_taken_agrees_with_the_library),
  };
  return cmocka_run_group_tests_name("plain JSON messages", tests, NULL, NULL);
}
