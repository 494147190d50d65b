/* Digests, keys and ids over OpenSSL. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void cxb_sha256(const void *data, size_t len, uint8_t out[32]);
/* The same, piece by piece. NULL: no memory. */
typedef struct cxb_sha256_sum cxb_sha256_sum;
cxb_sha256_sum *cxb_sha256_begin(void);
void cxb_sha256_add(cxb_sha256_sum *sum, const void *data, size_t len);
void cxb_sha256_end(cxb_sha256_sum *sum, uint8_t out[32]); /* frees it */
void cxb_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                     uint8_t out[32]);
/* HMAC with "sha1", "sha256", "sha384" or "sha512"; the length of the digest, 20 to 64 bytes. */
#define CXB_HMAC_MAX 64
size_t cxb_hmac(const char *digest, const void *key, size_t key_len, const void *data, size_t len,
                uint8_t out[CXB_HMAC_MAX]);
/* HKDF-SHA256 (RFC 5869) with an empty salt and `label` as info; len ≤ 8,160. */
int cxb_hkdf_sha256(const void *secret, size_t secret_len, const char *label, uint8_t *out,
                    size_t len);
/* RSASSA-PKCS1-v1_5 over SHA-256 (RFC 7518 "RS256") with a private key in PEM. *out_len is the room
 * in `out` before, the signature's length after. CXB_EINVAL: not an RSA key, or too little room. */
int cxb_rs256_sign(const char *pem, size_t pem_len, const void *data, size_t len, uint8_t *out,
                   size_t *out_len);
/* Time depends on the lengths only. */
bool cxb_equal(const void *a, size_t a_len, const void *b, size_t b_len);
void cxb_random(void *out, size_t len); /* aborts the process when the system has no randomness */
#define CXB_UUID_LEN 37
void cxb_uuid4(char out[CXB_UUID_LEN]);
void cxb_uuid7(char out[CXB_UUID_LEN]); /* time-sortable (RFC 9562) */
/* Of a name, always the same (RFC 9562 §5.5), in the name space of URLs. */
void cxb_uuid5(const void *name, size_t len, char out[CXB_UUID_LEN]);
