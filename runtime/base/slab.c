/* Small blocks of memory, by size. */
#include "slab.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Under the address sanitizer every block is malloc's, so that it sees each. */
#ifdef __SANITIZE_ADDRESS__
enum { MAX = 0 };
#else
enum { MAX = CXB_SLAB_MAX };
#endif

enum { FINE = 256, FINE_STEP = 16, STEP = 64, KEPT = 4 };

/* A block that is free begins with the address of the next one. */
typedef struct free_block {
  struct free_block *next;
} free_block;

/* At the beginning of its memory, which is aligned to its size. Where the blocks begin differs from
 * chunk to chunk, so that they do not all compete for the same lines of the cache. */
struct cxb_slab_chunk {
  cxb_slab_chunk *next, *prev; /* of those with room in the class; spare: next alone */
  free_block *given_back;
  char *fresh;                    /* from here on never given */
  uint32_t used, capacity, class; /* blocks */
};

static unsigned class_of(size_t size) {
  return (unsigned)(size <= FINE ? (size - 1) / FINE_STEP
                                 : FINE / FINE_STEP + (size - FINE - 1) / STEP);
}

static size_t class_size(unsigned class) {
  return class < FINE / FINE_STEP ? (class + 1) * FINE_STEP
                                  : FINE + (class + 1 - FINE / FINE_STEP) * STEP;
}

static cxb_slab_chunk *chunk_of(void *block) {
  return (cxb_slab_chunk *)((uintptr_t)block & ~(uintptr_t)(CXB_SLAB_CHUNK - 1));
}

/* ---- chunks ---- */

static void *map(size_t len) {
  void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

/* The system places what it maps below what it mapped before: aligned once, aligned ever after. */
static cxb_slab_chunk *map_chunk(void) {
  char *p = map(CXB_SLAB_CHUNK);
  if (!p || chunk_of(p) == (void *)p)
    return (cxb_slab_chunk *)p;
  munmap(p, CXB_SLAB_CHUNK);
  p = map(2 * CXB_SLAB_CHUNK);
  if (!p)
    return NULL;
  char *aligned = (char *)chunk_of(p + CXB_SLAB_CHUNK - 1);
  size_t before = (size_t)(aligned - p);
  if (before)
    munmap(p, before);
  munmap(aligned + CXB_SLAB_CHUNK, CXB_SLAB_CHUNK - before);
  return (cxb_slab_chunk *)aligned;
}

static void link_chunk(cxb_slab *slab, cxb_slab_chunk *c) {
  cxb_slab_chunk **first = &slab->room[c->class];
  c->prev = NULL;
  c->next = *first;
  if (c->next)
    c->next->prev = c;
  *first = c;
}

static void unlink_chunk(cxb_slab *slab, cxb_slab_chunk *c) {
  if (c->prev)
    c->prev->next = c->next;
  else
    slab->room[c->class] = c->next;
  if (c->next)
    c->next->prev = c->prev;
}

/* A chunk of the class with nothing in it yet; NULL: no memory. */
static cxb_slab_chunk *new_chunk(cxb_slab *slab, unsigned class) {
  cxb_slab_chunk *c = slab->spare;
  if (c) {
    slab->spare = c->next;
    slab->spares--;
  } else {
    c = map_chunk();
    if (!c)
      return NULL;
    slab->chunks++;
  }
  size_t size = class_size(class), colour = ((uintptr_t)c / CXB_SLAB_CHUNK % 8 + 1) * 64;
  *c = (cxb_slab_chunk){.fresh = (char *)c + colour,
                        .capacity = (uint32_t)((CXB_SLAB_CHUNK - colour) / size),
                        .class = class};
  link_chunk(slab, c);
  return c;
}

static void unmap_spare(cxb_slab *slab) {
  cxb_slab_chunk *c = slab->spare;
  slab->spare = c->next;
  slab->spares--;
  slab->chunks--;
  munmap(c, CXB_SLAB_CHUNK);
}

/* What a collection of garbage frees is wanted again until the next one: half as many chunks as are
 * in use stay. */
static void retire_chunk(cxb_slab *slab, cxb_slab_chunk *c) {
  unlink_chunk(slab, c);
  c->next = slab->spare;
  slab->spare = c;
  slab->spares++;
  while (slab->spares > KEPT + (slab->chunks - slab->spares) / 2)
    unmap_spare(slab);
}

/* ---- blocks ---- */

static void *take(cxb_slab *slab, size_t size) {
  unsigned class = class_of(size);
  cxb_slab_chunk *c = slab->room[class];
  if (!c && !(c = new_chunk(slab, class)))
    return NULL;
  free_block *b = c->given_back;
  if (b) {
    c->given_back = b->next;
    __builtin_prefetch(b->next, 1);
  } else {
    b = (free_block *)c->fresh;
    c->fresh += class_size(class);
  }
  if (++c->used == c->capacity)
    unlink_chunk(slab, c);
  return b;
}

static void give_back(cxb_slab *slab, void *block) {
  cxb_slab_chunk *c = chunk_of(block);
  free_block *b = block;
  b->next = c->given_back;
  c->given_back = b;
  if (c->used-- == c->capacity)
    link_chunk(slab, c);
  if (c->used == 0)
    retire_chunk(slab, c);
}

static bool small(size_t size) {
  return size > 0 && size <= MAX;
}

void *cxb_slab_resize(cxb_slab *slab, void *block, size_t size, size_t wanted) {
  bool from_small = block && small(size);
  if (wanted == 0) {
    if (from_small)
      give_back(slab, block);
    else
      free(block);
    return NULL;
  }
  if (from_small && small(wanted) && class_of(size) == class_of(wanted))
    return block;
  if (!from_small && !small(wanted))
    return realloc(block, wanted);
  void *to = small(wanted) ? take(slab, wanted) : malloc(wanted);
  if (!to || !block)
    return to;
  memcpy(to, block, size < wanted ? size : wanted);
  if (from_small)
    give_back(slab, block);
  else
    free(block);
  return to;
}

void cxb_slab_free(cxb_slab *slab) {
  while (slab->spare)
    unmap_spare(slab);
}
