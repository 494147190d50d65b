/* Rooms that only some processes need, because of their libraries' size: shared objects in the
 * folder `modules` beside the program, loaded at first use and never unloaded. */
#pragma once
#include <stddef.h>

/* The symbol of modules/NAME.so; NULL with the cause in `why`. From any thread. */
void *cxb_loadable_symbol(const char *name, const char *symbol, char *why, size_t why_len);
