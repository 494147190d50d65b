/* Digests, keys and ids. */
#include "crypto.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "time.h"

void cxb_sha256(const void *data, size_t len, uint8_t out[32]) {
  SHA256(data, len, out);
}

cxb_sha256_sum *cxb_sha256_begin(void) {
  EVP_MD_CTX *sum = EVP_MD_CTX_new();
  if (sum && EVP_DigestInit_ex(sum, EVP_sha256(), NULL) != 1) {
    EVP_MD_CTX_free(sum);
    sum = NULL;
  }
  return (cxb_sha256_sum *)sum;
}

void cxb_sha256_add(cxb_sha256_sum *sum, const void *data, size_t len) {
  EVP_DigestUpdate((EVP_MD_CTX *)sum, data, len);
}

void cxb_sha256_end(cxb_sha256_sum *sum, uint8_t out[32]) {
  EVP_DigestFinal_ex((EVP_MD_CTX *)sum, out, NULL);
  EVP_MD_CTX_free((EVP_MD_CTX *)sum);
}

void cxb_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                     uint8_t out[32]) {
  HMAC(EVP_sha256(), key, (int)key_len, data, len, out, NULL);
}

size_t cxb_hmac(const char *digest, const void *key, size_t key_len, const void *data, size_t len,
                uint8_t out[CXB_HMAC_MAX]) {
  unsigned int n = 0;
  HMAC(EVP_get_digestbyname(digest), key, (int)key_len, data, len, out, &n);
  return n;
}

int cxb_hkdf_sha256(const void *secret, size_t secret_len, const char *label, uint8_t *out,
                    size_t len) {
  if (len == 0 || len > 255 * 32)
    return CXB_EINVAL;
  uint8_t salt[32] = {0}, prk[32], block[32];
  cxb_hmac_sha256(salt, sizeof salt, secret, secret_len, prk);
  size_t label_len = strlen(label), block_len = 0, done = 0;
  uint8_t *input = malloc(sizeof block + label_len + 1);
  if (!input)
    return CXB_ENOMEM;
  for (uint8_t n = 1; done < len; n++) {
    memcpy(input, block, block_len);
    memcpy(input + block_len, label, label_len);
    input[block_len + label_len] = n;
    cxb_hmac_sha256(prk, sizeof prk, input, block_len + label_len + 1, block);
    block_len = sizeof block;
    size_t take = len - done < block_len ? len - done : block_len;
    memcpy(out + done, block, take);
    done += take;
  }
  OPENSSL_cleanse(prk, sizeof prk);
  free(input);
  return 0;
}

int cxb_rs256_sign(const char *pem, size_t pem_len, const void *data, size_t len, uint8_t *out,
                   size_t *out_len) {
  BIO *bio = pem_len <= 64 * 1024 ? BIO_new_mem_buf(pem, (int)pem_len) : NULL;
  EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, "") : NULL;
  EVP_MD_CTX *ctx = key ? EVP_MD_CTX_new() : NULL;
  bool ok = ctx && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA &&
            EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
            EVP_DigestSign(ctx, out, out_len, data, len) == 1;
  EVP_MD_CTX_free(ctx);
  EVP_PKEY_free(key);
  BIO_free(bio);
  ERR_clear_error();
  return ok ? 0 : CXB_EINVAL;
}

bool cxb_equal(const void *a, size_t a_len, const void *b, size_t b_len) {
  return a_len == b_len && CRYPTO_memcmp(a, b, a_len) == 0;
}

void cxb_random(void *out, size_t len) {
  enum { AT_ONCE = 256 }; /* what getentropy() gives */
  for (uint8_t *p = out; len > 0;) {
    size_t n = len < AT_ONCE ? len : AT_ONCE;
    if (getentropy(p, n) != 0) {
      fputs("cxbrt: the system gives no random bytes\n", stderr);
      abort();
    }
    p += n;
    len -= n;
  }
}

static void uuid_text(char out[CXB_UUID_LEN], uint8_t b[16], uint8_t version) {
  b[6] = (uint8_t)((b[6] & 0x0f) | version << 4);
  b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
  static const char digits[] = "0123456789abcdef";
  for (int i = 0; i < 16; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10)
      *out++ = '-';
    *out++ = digits[b[i] >> 4];
    *out++ = digits[b[i] & 15];
  }
  *out = '\0';
}

void cxb_uuid4(char out[CXB_UUID_LEN]) {
  uint8_t b[16];
  cxb_random(b, sizeof b);
  uuid_text(out, b, 4);
}

void cxb_uuid7(char out[CXB_UUID_LEN]) {
  uint8_t b[16];
  cxb_random(b, sizeof b);
  uint64_t ms = (uint64_t)cxb_now_ms();
  for (int i = 0; i < 6; i++)
    b[i] = (uint8_t)(ms >> (40 - 8 * i));
  uuid_text(out, b, 7);
}

void cxb_uuid5(const void *name, size_t len, char out[CXB_UUID_LEN]) {
  static const uint8_t urls[16] = {0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1,
                                   0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8};
  uint8_t b[EVP_MAX_MD_SIZE];
  EVP_MD_CTX *sum = EVP_MD_CTX_new();
  if (!sum || EVP_DigestInit_ex(sum, EVP_sha1(), NULL) != 1 ||
      EVP_DigestUpdate(sum, urls, sizeof urls) != 1 || EVP_DigestUpdate(sum, name, len) != 1 ||
      EVP_DigestFinal_ex(sum, b, NULL) != 1)
    abort();
  EVP_MD_CTX_free(sum);
  uuid_text(out, b, 5);
}
