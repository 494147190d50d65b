/* The call slot. */
#include "slot.h"

#include <stdio.h>
#include <string.h>

#include "../base/err.h"
#include "../base/fault.h"
#include "../base/time.h"
#include "host.h"

enum { BLOCKS = 4 };

static int max_calls = 1, used, refs, served;
static int64_t taken_ms;
static struct { char key[16], reason[48]; /* no reason: free */ } blocks[BLOCKS];
void (*cxb_slot_on_change)(void);

static void changed(void) {
  if (cxb_slot_on_change)
    cxb_slot_on_change();
}

const char *cxb_slot_blocked(void) {
  for (int i = 0; i < BLOCKS; i++)
    if (blocks[i].reason[0])
      return blocks[i].reason;
  return NULL;
}

int cxb_slot_take(const char **reason) {
  if (cxb_draining())
    *reason = "draining";
  else if (used >= max_calls)
    *reason = "at_capacity";
  else if (cxb_slot_blocked())
    *reason = cxb_slot_blocked();
  else {
    if (used++ == 0)
      taken_ms = cxb_mono_ms();
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
    cxb_fault("slot.freed");
  }
}

int cxb_slot_used(void) {
  return used;
}

int64_t cxb_slot_age_ms(void) {
  return used > 0 ? cxb_mono_ms() - taken_ms : 0;
}

int cxb_slot_max(void) {
  return max_calls;
}

void cxb_slot_set_max(int max) {
  max_calls = max;
}

void cxb_slot_block(const char *key, const char *reason) {
  int at = 0;
  while (at < BLOCKS && strcmp(blocks[at].key, key) != 0)
    at++;
  if (at == BLOCKS && !reason)
    return;
  for (int i = 0; at == BLOCKS && i < BLOCKS; i++)
    if (!blocks[i].reason[0])
      at = i;
  if (at == BLOCKS)
    at = 0;
  snprintf(blocks[at].key, sizeof blocks[at].key, "%s", key);
  snprintf(blocks[at].reason, sizeof blocks[at].reason, "%s", reason ? reason : "");
  changed();
}

int cxb_slot_served(int calls) {
  return served += calls;
}
