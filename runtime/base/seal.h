/* Sealed texts: XChaCha20-Poly1305 by libsodium. A sealed text is its 24-byte nonce and what the
 * cipher made; who lacks the key can neither read nor change it. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define CXB_SEAL_KEY   32
#define CXB_SEAL_EXTRA 40 /* nonce and tag */

/* `out` takes len + CXB_SEAL_EXTRA bytes. */
void cxb_seal(const uint8_t key[CXB_SEAL_KEY], const void *text, size_t len, uint8_t *out);
/* `out` takes len - CXB_SEAL_EXTRA bytes. CXB_EINVAL: not sealed with this key, or altered. */
int cxb_unseal(const uint8_t key[CXB_SEAL_KEY], const uint8_t *sealed, size_t len, void *out);
