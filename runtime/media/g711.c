/* G.711 by spandsp's conversions. */
#include "g711.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <spandsp/telephony.h>
#include <spandsp/bit_operations.h>
#include <spandsp/g711.h>
#pragma GCC diagnostic pop

void cxb_ulaw_decode(const uint8_t *in, size_t n, int16_t *out) {
  for (size_t i = 0; i < n; i++)
    out[i] = ulaw_to_linear(in[i]);
}

void cxb_ulaw_encode(const int16_t *in, size_t n, uint8_t *out) {
  for (size_t i = 0; i < n; i++)
    out[i] = linear_to_ulaw(in[i]);
}

void cxb_alaw_decode(const uint8_t *in, size_t n, int16_t *out) {
  for (size_t i = 0; i < n; i++)
    out[i] = alaw_to_linear(in[i]);
}

void cxb_alaw_encode(const int16_t *in, size_t n, uint8_t *out) {
  for (size_t i = 0; i < n; i++)
    out[i] = linear_to_alaw(in[i]);
}
