/* The call slot: a worker carries one call (MAX_CONCURRENT_CALLS). Taken in C before any side
 * effect; held by whoever has a reference (the task that answers the request, the call's leg);
 * free when the last reference goes. Main loop only. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Takes a slot with one reference. CXB_EBUSY and *reason = "at_capacity", "draining" or a block's
 * code ("storage_full") when there is none; nothing changed then. */
int cxb_slot_take(const char **reason);
void cxb_slot_retain(void);
void cxb_slot_release(void);
int cxb_slot_used(void);
int cxb_slot_max(void);
int64_t cxb_slot_age_ms(void); /* since a call came to the empty slot; 0: it is empty */
void cxb_slot_set_max(int max);
/* Blocks new calls with `reason` (copied); NULL: `key` blocks no longer. Each key blocks for itself
 * ("disk", "outbox"); at most four. */
void cxb_slot_block(const char *key, const char *reason);
const char *cxb_slot_blocked(void); /* a reason, or NULL */
/* Calls carried since the start: adds `calls`, answers the sum. */
int cxb_slot_served(int calls);
/* Called after each change (taken, freed, blocked). */
extern void (*cxb_slot_on_change)(void);
