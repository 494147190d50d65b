/* G.711 (ITU-T): 8-bit µ-law and A-law against 16-bit linear samples. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* `n` samples each; `out` has room for them. */
void cxb_ulaw_decode(const uint8_t *in, size_t n, int16_t *out);
void cxb_ulaw_encode(const int16_t *in, size_t n, uint8_t *out);
void cxb_alaw_decode(const uint8_t *in, size_t n, int16_t *out);
void cxb_alaw_encode(const int16_t *in, size_t n, uint8_t *out);
