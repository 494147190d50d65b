/* Parameters of the upgrade's address. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* The value of `name` in a raw query, decoded; false (out is "") when it is absent, malformed or
 * longer than `size` - 1 bytes. */
bool cxb_wire_query(const char *query, const char *name, char *out, size_t size);
/* All parameters but `token` (a secret) as members of an object; malformed ones are left out. */
json_t *cxb_wire_query_object(const char *query);
