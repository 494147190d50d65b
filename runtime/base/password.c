/* Passwords over libargon2 and the system's crypt library. */
#include "password.h"

#include <argon2.h>
#include <crypt.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "err.h"

enum { MEMORY_KIB = 19456, PASSES = 2, LANES = 1, SALT_LEN = 16, HASH_LEN = 32 };

int cxb_password_hash(const char *text, size_t len, char out[CXB_PASSWORD_HASH_LEN]) {
  uint8_t salt[SALT_LEN];
  cxb_random(salt, sizeof salt);
  int err = argon2id_hash_encoded(PASSES, MEMORY_KIB, LANES, text, len, salt, sizeof salt, HASH_LEN,
                                  out, CXB_PASSWORD_HASH_LEN);
  return err == ARGON2_OK ? 0 : CXB_ENOMEM;
}

static bool verify_bcrypt(const char *text, size_t len, const char *hash) {
  if (memchr(text, 0, len))
    return false;
  struct crypt_data *data = calloc(1, sizeof *data);
  const char *made = data ? crypt_r(text, hash, data) : NULL;
  bool same = made && cxb_equal(made, strlen(made), hash, strlen(hash));
  free(data);
  return same;
}

bool cxb_password_verify(const char *text, size_t len, const char *hash) {
  if (strncmp(hash, "$argon2id$", 10) == 0)
    return argon2id_verify(hash, text, len) == ARGON2_OK;
  if (strncmp(hash, "$2", 2) == 0 && hash[2] && strchr("aby", hash[2]) && hash[3] == '$')
    return verify_bcrypt(text, len, hash);
  return false;
}
