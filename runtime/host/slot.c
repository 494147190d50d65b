/* The call slot. */
#include "slot.h"

#include <stdio.h>

#include "../base/err.h"
#include "host.h"

static int max_calls = 1, used, refs;
static char blocked[48];
void (*cxb_slot_on_change)(void);

static void changed(void) {
  if (cxb_slot_on_change)
    cxb_slot_on_change();
}

int cxb_slot_take(const char **reason) {
  if (cxb_draining())
    *reason = "draining";
  else if (used >= max_calls)
    *reason = "at_capacity";
  else if (blocked[0])
    *reason = blocked;
  else {
    used++;
    refs++;
    changed();
    return 0;
  }
  return CXB_EBUSY;
}

void cxb_slot_retain(void) {
  refs++;
}

void cxb_slot_release(void) {
  if (refs == 0)
    return;
  /* With one call a worker, no reference left means no call left. With more (development only),
   * each call ends with the release that leaves fewer references than calls. */
  refs--;
  if (refs == 0 || refs < used) {
    used = refs < used ? refs : used;
    changed();
  }
}

int cxb_slot_used(void) {
  return used;
}

int cxb_slot_max(void) {
  return max_calls;
}

void cxb_slot_set_max(int max) {
  max_calls = max;
}

void cxb_slot_block(const char *reason) {
  snprintf(blocked, sizeof blocked, "%s", reason ? reason : "");
}
