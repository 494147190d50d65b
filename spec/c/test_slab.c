/* base/slab: blocks by size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/slab.h"
#include "host/host.h"
#include "host/state.h"

/* The host's list of rooms: none is needed. */
const cxb_module *const cxb_modules[] = {NULL};
const int cxb_modules_count = 0;

enum { BLOCKS = 4000, TURNS = 200000 };

typedef struct block {
  uint8_t *at;
  size_t size;
  uint8_t mark;
} block;

static block blocks[BLOCKS];

static int teardown(void **state) {
  memset(blocks, 0, sizeof blocks);
  return 0;
}

static void resize(cxb_slab *slab, block *b, size_t size) {
  b->at = cxb_slab_resize(slab, b->at, b->size, size);
  b->size = size;
  assert_true(size == 0 ? b->at == NULL : b->at != NULL);
}

static void give_all_back(cxb_slab *slab) {
  for (size_t i = 0; i < BLOCKS; i++)
    resize(slab, &blocks[i], 0);
}

static size_t in_use(const cxb_slab *slab) {
  return slab->chunks - slab->spares;
}

/* Mostly small ones, now and then one that malloc gives. */
static size_t some_size(void) {
  return (size_t)rand() % (rand() % 8 ? 300 : 3 * CXB_SLAB_MAX);
}

/* Each is filled with a mark of its own: what overlaps or moves wrongly shows. */
static void blocks_keep_what_is_in_them_when_they_and_others_change(void **state) {
  cxb_slab slab = {0};
  srand(11);
  for (int turn = 0; turn < TURNS; turn++) {
    block *b = &blocks[rand() % BLOCKS];
    size_t size = some_size(), kept = b->size < size ? b->size : size;
    for (size_t i = 0; i < b->size; i++)
      assert_int_equal(b->at[i], b->mark);
    resize(&slab, b, size);
    for (size_t i = 0; i < kept; i++)
      assert_int_equal(b->at[i], b->mark);
    b->mark = (uint8_t)rand();
    if (size > 0)
      memset(b->at, b->mark, size);
  }
  give_all_back(&slab);
  assert_int_equal(in_use(&slab), 0);
  cxb_slab_free(&slab);
}

static void blocks_are_aligned_for_whatever_lies_in_them(void **state) {
  cxb_slab slab = {0};
  for (size_t i = 0; i < BLOCKS; i++) {
    resize(&slab, &blocks[i], 1 + i % (CXB_SLAB_MAX + 100));
    assert_int_equal((uintptr_t)blocks[i].at % _Alignof(max_align_t), 0);
  }
  give_all_back(&slab);
  cxb_slab_free(&slab);
}

static void memory_that_was_given_back_is_given_again(void **state) {
  cxb_slab slab = {0};
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < BLOCKS; i++)
      resize(&slab, &blocks[i], 64);
    size_t chunks = in_use(&slab);
    for (size_t i = 0; i < BLOCKS; i += 2)
      resize(&slab, &blocks[i], 0);
    for (size_t i = 0; i < BLOCKS; i += 2)
      resize(&slab, &blocks[i], 64);
    assert_int_equal(in_use(&slab), chunks);
    give_all_back(&slab);
    for (size_t i = 0; i < BLOCKS; i++)
      resize(&slab, &blocks[i], 48); /* of another size */
    assert_true(in_use(&slab) <= chunks);
    give_all_back(&slab);
  }
  cxb_slab_free(&slab);
}

static void what_nobody_uses_goes_back_to_the_system(void **state) {
  cxb_slab slab = {0};
  for (size_t i = 0; i < BLOCKS; i++)
    resize(&slab, &blocks[i], CXB_SLAB_MAX);
  size_t most = slab.chunks;
  give_all_back(&slab);
  assert_int_equal(in_use(&slab), 0);
  assert_true(slab.chunks <= most / 8);
  cxb_slab_free(&slab);
  assert_int_equal(slab.chunks, 0);
}

static void a_block_stays_as_it_was_when_there_is_no_memory(void **state) {
#ifndef __SANITIZE_ADDRESS__ /* which ends the program then */
  cxb_slab slab = {0};
  resize(&slab, &blocks[0], 100);
  memset(blocks[0].at, 7, 100);
  assert_null(cxb_slab_resize(&slab, blocks[0].at, 100, SIZE_MAX / 2));
  for (size_t i = 0; i < 100; i++)
    assert_int_equal(blocks[0].at[i], 7);
  give_all_back(&slab);
  cxb_slab_free(&slab);
#endif
}

/* However early the memory ends while the libraries are opened. (With less than LuaJIT's own state
 * needs, which is 12 KB, it falls over itself.) */
static void a_state_that_cannot_be_made_leaves_nothing_behind(void **state) {
  lua_State *L = NULL;
  for (size_t cap = 16384; !L && cap < 4 << 20; cap += 4096) {
    cxb_memory memory = {.cap = cap, .enforce = true};
    L = cxb_state_new(&memory, "/");
    if (L)
      cxb_state_close(L, &memory);
    assert_int_equal(memory.slab.chunks, 0);
    assert_int_equal(memory.used, 0);
  }
  assert_non_null(L);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(blocks_keep_what_is_in_them_when_they_and_others_change, teardown),
      cmocka_unit_test_teardown(blocks_are_aligned_for_whatever_lies_in_them, teardown),
      cmocka_unit_test_teardown(memory_that_was_given_back_is_given_again, teardown),
      cmocka_unit_test_teardown(what_nobody_uses_goes_back_to_the_system, teardown),
      cmocka_unit_test_teardown(a_block_stays_as_it_was_when_there_is_no_memory, teardown),
      cmocka_unit_test(a_state_that_cannot_be_made_leaves_nothing_behind),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
