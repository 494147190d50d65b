/* libFuzzer target of one wire; CMake names it (-DCXB_FUZZ=ON with clang). Try one as
 * fuzz_transport_twilio -max_len=8192 -max_total_time=60 */
#include "../c/transport_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz_totals totals;
  return fuzz_call(CXB_FUZZ_WIRE, data, size, &totals);
}
