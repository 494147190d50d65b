/* G.711. A-law by spandsp. µ-law, which a call needs a hundred times a second, by what a float is:
 * a code's segment and step are the exponent and the first four bits of the fraction of the biased
 * sample, so a whole frame is converted without a branch or a table (and by the vector unit). */
#include "g711.h"

#include <string.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <spandsp/telephony.h>
#include <spandsp/bit_operations.h>
#include <spandsp/g711.h>
#pragma GCC diagnostic pop

enum { BIAS = 132, CLIP = 32635 };
/* A float's exponent field of segment 0, whose biased values are 128–255. */
#define SEGMENT_0 (127u + 7)

void cxb_ulaw_decode(const uint8_t *in, size_t n, int16_t *out) {
  for (size_t i = 0; i < n; i++) {
    uint32_t code = ~(uint32_t)in[i], bits = ((code & 0x7f) << 19) + (1u << 18) + (SEGMENT_0 << 23);
    float biased;
    memcpy(&biased, &bits, sizeof biased);
    int32_t level = (int32_t)biased - BIAS, sign = -(int32_t)(code >> 7 & 1);
    out[i] = (int16_t)((level ^ sign) - sign);
  }
}

void cxb_ulaw_encode(const int16_t *in, size_t n, uint8_t *out) {
  for (size_t i = 0; i < n; i++) {
    int32_t sign = in[i] >> 15, level = (in[i] ^ sign) - sign;
    float biased = (float)((level < CLIP ? level : CLIP) + BIAS);
    uint32_t bits;
    memcpy(&bits, &biased, sizeof bits);
    out[i] = (uint8_t) ~((sign & 0x80) | (int32_t)((bits >> 19) - (SEGMENT_0 << 4)));
  }
}

void cxb_alaw_decode(const uint8_t *in, size_t n, int16_t *out) {
  for (size_t i = 0; i < n; i++)
    out[i] = alaw_to_linear(in[i]);
}

void cxb_alaw_encode(const int16_t *in, size_t n, uint8_t *out) {
  for (size_t i = 0; i < n; i++)
    out[i] = linear_to_alaw(in[i]);
}
