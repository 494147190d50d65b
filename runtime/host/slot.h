/* The call slot: a worker carries one call (MAX_CONCURRENT_CALLS). Taken in C before any side
 * effect; held by whoever has a reference (the task that answers the request, the call's leg);
 * free when the last reference goes. Main loop only. */
#pragma once
#include <stdbool.h>

/* Takes a slot with one reference. CXB_EBUSY and *reason = "at_capacity", "draining" or a block's
 * code ("storage_full") when there is none; nothing changed then. */
int cxb_slot_take(const char **reason);
void cxb_slot_retain(void);
void cxb_slot_release(void);
int cxb_slot_used(void);
int cxb_slot_max(void);
void cxb_slot_set_max(int max);
/* Blocks new calls with `reason` (copied); NULL takes them again. */
void cxb_slot_block(const char *reason);
/* Called after each change (taken, freed, blocked). */
extern void (*cxb_slot_on_change)(void);
