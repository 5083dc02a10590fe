#include "base/arena.h"

#include "testing/testing.h"

TEST(small_things_lie_in_the_arena_itself) {
    struct arena arena;
    arena_init(&arena);
    char *a = arena_new(&arena, 1), *b = arena_new(&arena, 17), *c = arena_new(&arena, 16);
    assert_ptr_equal(a, arena.first);
    assert_ptr_equal(b, a + 16);
    assert_ptr_equal(c, b + 32);
    assert_null(arena.blocks);
    arena_deinit(&arena);
}

TEST(everything_is_aligned_and_apart) {
    struct arena arena;
    arena_init(&arena);
    enum { COUNT = 2000 };
    static unsigned char *things[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        things[i] = arena_new(&arena, i);
        assert_int_equal((uintptr_t)things[i] % 16, 0);
        memset(things[i], (int)(i & 0xff), i);
    }
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = 0; j < i; j++) assert_int_equal(things[i][j], i & 0xff);
    arena_deinit(&arena);
}

TEST(the_first_block_is_used_to_its_end) {
    struct arena arena;
    arena_init(&arena);
    char *all = arena_new(&arena, ARENA_FIRST);
    memset(all, 1, ARENA_FIRST);
    assert_null(arena.blocks);
    char *more = arena_new(&arena, 1);
    *more = 2;
    assert_non_null(arena.blocks);
    arena_deinit(&arena);
}

TEST(a_big_thing_gets_a_block_of_its_own) {
    struct arena arena;
    arena_init(&arena);
    char *before = arena_new(&arena, 16);
    char *big = arena_new(&arena, 3 * ARENA_BLOCK_MAX);
    memset(big, 7, 3 * ARENA_BLOCK_MAX);
    assert_ptr_equal(arena_new(&arena, 16), before + 16);
    assert_true(arena.held >= 3 * (size_t)ARENA_BLOCK_MAX);
    arena_deinit(&arena);
}

TEST(clearing_gives_all_blocks_back) {
    struct arena arena;
    arena_init(&arena);
    for (int i = 0; i < 10'000; i++) memset(arena_new(&arena, 100), i, 100);
    arena_clear(&arena);
    assert_null(arena.blocks);
    assert_int_equal(arena.held, 0);
    assert_ptr_equal(arena_new(&arena, 1), arena.first);
    arena_deinit(&arena);
}

TEST(a_copy_is_equal_and_elsewhere) {
    struct arena arena;
    arena_init(&arena);
    struct bytes text = BYTES("a\0b"), copy = arena_copy(&arena, text);
    assert_true(bytes_equal(copy, text));
    assert_ptr_not_equal(copy.data, text.data);
    assert_int_equal(arena_copy(&arena, (struct bytes){}).len, 0);
    arena_deinit(&arena);
}

TEST(a_text_is_formatted_whole_wherever_the_arena_stands) {
    for (size_t used = ARENA_FIRST - 64; used <= ARENA_FIRST; used += 16) {
        struct arena arena;
        arena_init(&arena);
        char *before = arena_new(&arena, used);
        memset(before, 'x', used);
        struct bytes text = arena_format(&arena, "%s %d", "0123456789abcdefghijklmno", 42);
        assert_true(bytes_equal(text, BYTES("0123456789abcdefghijklmno 42")));
        assert_int_equal(text.data[text.len], 0);
        char *after = arena_new(&arena, 16);
        memset(after, 'y', 16);
        assert_true(bytes_equal(text, BYTES("0123456789abcdefghijklmno 42")));
        for (size_t i = 0; i < used; i++) assert_int_equal(before[i], 'x');
        arena_deinit(&arena);
    }
}
