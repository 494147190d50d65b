/* base/: buffers, base64, time, digests, ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/crypto.h"
#include "base/err.h"
#include "base/password.h"
#include "base/seal.h"
#include "base/time.h"

static void hex(char *out, const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++)
    sprintf(out + 2 * i, "%02x", p[i]);
}

static void json_strings_are_escaped_and_repaired(void **state) {
  cxb_buf b = {0};
  const char in[] = "a\"\\\n\x01\xff\xc3\xa9\xed\xa0\x80";
  assert_int_equal(cxb_buf_json(&b, in, sizeof in - 1), 0);
  assert_string_equal(
      b.data,
      "\"a\\\"\\\\\\u000a\\u0001\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
  cxb_buf_free(&b);
}

static void consuming_keeps_what_follows(void **state) {
  cxb_buf b = {0};
  cxb_buf_str(&b, "hello world");
  cxb_buf_consume(&b, 6);
  assert_string_equal(b.data, "world");
  cxb_buf_consume(&b, 99);
  assert_int_equal(b.len, 0);
  cxb_buf_free(&b);
}

static void base64_round_trips_every_length(void **state) {
  uint8_t data[300], back[303];
  char text[CXB_BASE64_LEN(300)];
  cxb_random(data, sizeof data);
  for (size_t n = 0; n <= sizeof data; n++) {
    size_t len = cxb_base64_encode(text, data, n);
    assert_int_equal(len, CXB_BASE64_LEN(n));
    assert_int_equal(cxb_base64_decode(back, text, len, false), (long)n);
    assert_memory_equal(back, data, n);
    len = cxb_base64url_encode(text, data, n);
    assert_int_equal(cxb_base64_decode(back, text, len, true), (long)n);
    assert_memory_equal(back, data, n);
  }
}

static void base64_refuses_what_is_none(void **state) {
  static const char *const bad[] = {
      "a", "ab=", "a===", "ab=c", "a b=", "abc\n", "ab_-", "====", "=", "abcd="};
  uint8_t out[16];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(cxb_base64_decode(out, bad[i], strlen(bad[i]), false), CXB_EINVAL);
}

static void times_are_written_in_utc_with_milliseconds(void **state) {
  char out[CXB_ISO_LEN];
  cxb_iso_time(out, 1777021200123);
  assert_string_equal(out, "2026-04-24T09:00:00.123Z");
  cxb_iso_time(out, -1);
  assert_string_equal(out, "1969-12-31T23:59:59.999Z");
}

static void digests_match_published_vectors(void **state) {
  uint8_t d[42], d64[CXB_HMAC_MAX];
  char text[2 * CXB_HMAC_MAX + 1];
  cxb_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, d); /* RFC 4231 case 2 */
  hex(text, d, 32);
  assert_string_equal(text, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  cxb_hmac("sha1", "Jefe", 4, "what do ya want for nothing?", 28, d64); /* RFC 2202 case 2 */
  hex(text, d64, 20);
  assert_string_equal(text, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
  size_t n = cxb_hmac("sha384", "Jefe", 4, "what do ya want for nothing?", 28, d64);
  hex(text, d64, n); /* RFC 4231 case 2 */
  assert_string_equal(text,
                      "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
                      "8e2240ca5e69e2c78b3239ecfab21649");
  n = cxb_hmac("sha512", "Jefe", 4, "what do ya want for nothing?", 28, d64);
  hex(text, d64, n);
  assert_string_equal(text,
                      "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                      "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737");
  uint8_t ikm[22];
  memset(ikm, 0x0b, sizeof ikm); /* RFC 5869 case 3: empty salt and info */
  assert_int_equal(cxb_hkdf_sha256(ikm, sizeof ikm, "", d, 42), 0);
  hex(text, d, 42);
  assert_string_equal(text,
                      "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
                      "9d201395faa4b61a96c8");
}

static void uuids_have_their_version_and_sort_by_time(void **state) {
  char a[CXB_UUID_LEN], b[CXB_UUID_LEN];
  cxb_uuid4(a);
  assert_int_equal(a[14], '4');
  cxb_uuid7(a);
  int64_t until = cxb_mono_ms() + 3;
  while (cxb_mono_ms() < until)
    ;
  cxb_uuid7(b);
  assert_int_equal(a[14], '7');
  assert_true(strcmp(a, b) < 0);
}

static void passwords_verify_what_they_were_made_of(void **state) {
  char one[CXB_PASSWORD_HASH_LEN], two[CXB_PASSWORD_HASH_LEN];
  assert_int_equal(cxb_password_hash("correct horse", 13, one), 0);
  assert_int_equal(cxb_password_hash("correct horse", 13, two), 0);
  assert_memory_equal(one, "$argon2id$v=19$m=19456,t=2,p=1$", 31);
  assert_string_not_equal(one, two);
  assert_true(cxb_password_verify("correct horse", 13, one));
  assert_false(cxb_password_verify("correct horsf", 13, one));
  assert_false(cxb_password_verify("correct horse", 12, one));
  assert_false(cxb_password_verify("", 0, ""));
  assert_false(cxb_password_verify("x", 1, "$1$salt$qJH7.N4xYta3aEG/dfqo/0"));
}

static void passwords_of_bcrypt_verify_too(void **state) {
  /* Published vectors of the reference implementation, password "U*U". */
  static const char hash[] = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
  assert_true(cxb_password_verify("U*U", 3, hash));
  assert_true(cxb_password_verify("U*U", 3,
                                  "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"));
  assert_false(cxb_password_verify("U*V", 3, hash));
  assert_false(cxb_password_verify("U*U\0", 4, hash));
  assert_false(cxb_password_verify("U*U", 3, "$2a$05$"));
}

static void sealed_texts_open_only_with_their_key_and_unaltered(void **state) {
  uint8_t key[CXB_SEAL_KEY], other[CXB_SEAL_KEY], sealed[5 + CXB_SEAL_EXTRA];
  char text[5];
  cxb_random(key, sizeof key);
  cxb_random(other, sizeof other);
  cxb_seal(key, "hello", 5, sealed);
  assert_int_equal(cxb_unseal(key, sealed, sizeof sealed, text), 0);
  assert_memory_equal(text, "hello", 5);
  assert_int_equal(cxb_unseal(other, sealed, sizeof sealed, text), CXB_EINVAL);
  assert_int_equal(cxb_unseal(key, sealed, CXB_SEAL_EXTRA - 1, text), CXB_EINVAL);
  for (size_t i = 0; i < sizeof sealed; i++) {
    sealed[i] ^= 1;
    assert_int_equal(cxb_unseal(key, sealed, sizeof sealed, text), CXB_EINVAL);
    sealed[i] ^= 1;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(json_strings_are_escaped_and_repaired),
      cmocka_unit_test(consuming_keeps_what_follows),
      cmocka_unit_test(base64_round_trips_every_length),
      cmocka_unit_test(base64_refuses_what_is_none),
      cmocka_unit_test(times_are_written_in_utc_with_milliseconds),
      cmocka_unit_test(digests_match_published_vectors),
      cmocka_unit_test(passwords_verify_what_they_were_made_of),
      cmocka_unit_test(passwords_of_bcrypt_verify_too),
      cmocka_unit_test(sealed_texts_open_only_with_their_key_and_unaltered),
      cmocka_unit_test(uuids_have_their_version_and_sort_by_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
