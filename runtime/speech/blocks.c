/* Sizes are rounded up to one of four steps between powers of two, and each has a list of free
 * blocks. Small ones are malloc's. The system only gives memory to pages that are touched, so the
 * rounding costs address space, not memory. */
#include "blocks.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
  HEADER = 64,
  SMALL = 64 << 10,     /* below it malloc does */
  CLASSES = 4 * 24,     /* up to 1 TB */
  MAX_KEPT = 192 << 20, /* bytes */
};

typedef struct block {
  size_t bytes; /* with this header; 0: malloc's */
  int class;
  struct block *next;
} block;

_Static_assert(sizeof(block) <= HEADER, "the header's room");

static struct {
  pthread_mutex_t lock;
  block *free[CLASSES];
  size_t kept;
} blocks = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Class of a size, and the bytes blocks of that class have; -1: too large. */
static int class_of(size_t size, size_t *bytes) {
  size_t base = SMALL;
  for (int class = 0; class < CLASSES; class += 4, base *= 2)
    for (size_t step = 0; step < 4; step++)
      if (size <= base + base / 4 * step) {
        *bytes = base + base / 4 * step;
        return class + (int)step;
      }
  return -1;
}

static block *new_block(size_t bytes) {
  void *memory =
      mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

static void *take_small(size_t size) {
  block *b = aligned_alloc(64, (size + HEADER + 63) & ~(size_t)63);
  if (!b)
    return NULL;
  b->bytes = 0;
  return (char *)b + HEADER;
}

void *cxb_blocks_take(size_t size) {
  if (size < SMALL - HEADER)
    return take_small(size);
  size_t bytes = 0;
  int class = size < SIZE_MAX / 2 ? class_of(size + HEADER, &bytes) : -1;
  if (class < 0)
    return NULL;
  pthread_mutex_lock(&blocks.lock);
  block *b = blocks.free[class];
  if (b) {
    blocks.free[class] = b->next;
    blocks.kept -= bytes;
  }
  pthread_mutex_unlock(&blocks.lock);
  if (!b && !(b = new_block(bytes)))
    return NULL;
  b->bytes = bytes;
  b->class = class;
  return (char *)b + HEADER;
}

void cxb_blocks_return(void *memory) {
  if (!memory)
    return;
  block *b = (block *)(void *)((char *)memory - HEADER);
  if (b->bytes == 0) {
    free(b);
    return;
  }
  pthread_mutex_lock(&blocks.lock);
  bool keep = blocks.kept + b->bytes <= MAX_KEPT;
  if (keep) {
    b->next = blocks.free[b->class];
    blocks.free[b->class] = b;
    blocks.kept += b->bytes;
  }
  pthread_mutex_unlock(&blocks.lock);
  if (!keep)
    munmap(b, b->bytes);
}

void cxb_blocks_trim(void) {
  pthread_mutex_lock(&blocks.lock);
  for (int class = 0; class < CLASSES; class ++)
    while (blocks.free[class]) {
      block *b = blocks.free[class];
      blocks.free[class] = b->next;
      munmap(b, b->bytes);
    }
  blocks.kept = 0;
  pthread_mutex_unlock(&blocks.lock);
}

size_t cxb_blocks_kept(void) {
  pthread_mutex_lock(&blocks.lock);
  size_t kept = blocks.kept;
  pthread_mutex_unlock(&blocks.lock);
  return kept;
}
