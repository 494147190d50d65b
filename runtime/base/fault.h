/* Named steps at which a test ends the process as kill -9 does, to see what it leaves behind. A
 * service arms one in development only; otherwise a step costs a test of a flag. From any thread.
 */
#pragma once
#include <stdbool.h>

extern bool cxb_fault_armed;

/* "step" or "step:n" for its n-th passing. CXB_EINVAL: no such form; nothing is armed. */
int cxb_fault_arm(const char *spec);
void cxb_fault_pass(const char *step);

static inline void cxb_fault(const char *step) {
  if (cxb_fault_armed)
    cxb_fault_pass(step);
}
