/* cxb.media.peaks and cxb.media.peaks_of_file. */
#pragma once
#include <lua.h>

/* Adds them to the table at the top of the stack. */
void cxb_peaks_lua_open(lua_State *L);
