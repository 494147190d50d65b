/* Small blocks of memory, by size: for one owner on one thread that knows the size of what it gives
 * back, as a Lua state does. A block has no header of its own; blocks of about one size share a
 * chunk, and a chunk without blocks goes back to the system, but for some that are kept at hand. */
#pragma once
#include <stddef.h>

enum {
  CXB_SLAB_MAX = 1024,   /* bytes; larger blocks are malloc's */
  CXB_SLAB_CLASSES = 28, /* steps of 16 bytes to 256, of 64 bytes from there */
  CXB_SLAB_CHUNK = 32768,
};

typedef struct cxb_slab_chunk cxb_slab_chunk;

/* All zero: empty. */
typedef struct cxb_slab {
  cxb_slab_chunk *room[CXB_SLAB_CLASSES]; /* chunks with a block to give */
  cxb_slab_chunk *spare;                  /* chunks without blocks */
  size_t chunks, spares;                  /* mapped; of these without blocks */
} cxb_slab;

/* As realloc(), for a block of `size` bytes (NULL: 0); `wanted` 0 gives it back. NULL: no memory,
 * the block is as it was. */
void *cxb_slab_resize(cxb_slab *slab, void *block, size_t size, size_t wanted);
/* Gives the spare chunks back; every block has been given back before. */
void cxb_slab_free(cxb_slab *slab);
