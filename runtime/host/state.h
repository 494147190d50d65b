/* Lua states: memory cap, package paths, the read-only `cxb` table. */
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "../base/slab.h"

typedef struct cxb_memory {
  size_t used, cap, peak;
  bool enforce; /* the cap holds while a task runs; what the host pushes itself is not refused */
  bool refused; /* something was refused since this was last set to false */
  cxb_slab slab;
} cxb_memory;

/* A state whose allocations are counted in `memory` and refused above its cap. NULL: no memory. */
lua_State *cxb_state_new(cxb_memory *memory, const char *root);
void cxb_state_close(lua_State *L, cxb_memory *memory);
/* Makes the table on top of the stack read only, its tables of functions too: replaced by a proxy.
 */
void cxb_state_seal(lua_State *L);
/* Pushes the value of a JSON text by lua-cjson; on failure pushes nothing and returns CXB_EINVAL.
 */
int cxb_json_decode(lua_State *L, const char *text, size_t len);
/* Replaces the value on top by its JSON text; on failure by an error message, returns CXB_EINVAL.
 */
int cxb_json_encode(lua_State *L);
/* Appends the table at `index` to a JSON fragment ("k":v,"k2":v2) for the log; NULL when it has no
 * fields. malloc'd. */
char *cxb_json_fragment(lua_State *L, int index);
