/* Large blocks of memory for inference: what is freed is kept for the next step (an inference takes
 * and returns tens of megabytes at each), until it is given back to the system as a whole. Safe for
 * several threads. */
#pragma once
#include <stddef.h>

/* `size` bytes, aligned to 64; NULL when there is no memory. */
void *cxb_blocks_take(size_t size);
void cxb_blocks_return(void *block); /* NULL is ignored */
/* Gives what nobody uses back to the system. */
void cxb_blocks_trim(void);
/* Bytes kept and not used. */
size_t cxb_blocks_kept(void);
