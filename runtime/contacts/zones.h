/* Time zones of a number by its longest known prefix: libphonenumber's map, as a file of lines
 * "PREFIX<tab>ZONE|ZONE…" (lua/cxb/campaign/data/phone_zones.tsv). */
#pragma once
#include <stddef.h>

/* Reads the map once per process; later calls cost nothing. CXB_E* of reading, CXB_ECORRUPT. */
int cxb_zones_load(const char *path);
/* Sorted zone names joined by "|", which is a contact's zone_key; NULL when no prefix is known.
 * `e164` begins with "+". cxb_zones_load() first. */
const char *cxb_zones_of(const char *e164);
