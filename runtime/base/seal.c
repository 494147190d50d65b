/* Sealed texts. */
#include "seal.h"

#include <sodium.h>
#include <stdlib.h>

#include "crypto.h"
#include "err.h"

enum { NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES };

_Static_assert(CXB_SEAL_EXTRA == NONCE + crypto_aead_xchacha20poly1305_ietf_ABYTES, "extra bytes");
_Static_assert(CXB_SEAL_KEY == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key bytes");

/* Once; later calls only look. It fails where the system gives no random bytes. */
static void ready(void) {
  if (sodium_init() < 0)
    abort();
}

void cxb_seal(const uint8_t key[CXB_SEAL_KEY], const void *text, size_t len, uint8_t *out) {
  ready();
  cxb_random(out, NONCE);
  crypto_aead_xchacha20poly1305_ietf_encrypt(out + NONCE, NULL, text, len, NULL, 0, NULL, out, key);
}

int cxb_unseal(const uint8_t key[CXB_SEAL_KEY], const uint8_t *sealed, size_t len, void *out) {
  if (len < CXB_SEAL_EXTRA)
    return CXB_EINVAL;
  ready();
  int err = crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed + NONCE, len - NONCE,
                                                       NULL, 0, sealed, key);
  return err == 0 ? 0 : CXB_EINVAL;
}
