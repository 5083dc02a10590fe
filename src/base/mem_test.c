#include "base/mem.h"

#include <string.h>

#ifndef PULSE_PLAIN_MALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "testing/testing.h"

#ifndef PULSE_PLAIN_MALLOC
TEST(mem_class_is_what_jemalloc_sets_aside) {
    for (size_t size = 1; size <= 1024 * 1024; size++)
        if (mem_class(size) != nallocx(size, 0))
            fail_msg("%zu: %zu, jemalloc %zu", size, mem_class(size), nallocx(size, 0));
}

TEST(mem_class_holds_for_large_sizes_too) {
    for (unsigned shift = 20; shift < 40; shift++) {
        size_t size = (size_t)1 << shift;
        assert_int_equal(mem_class(size), nallocx(size, 0));
        assert_int_equal(mem_class(size - 1), nallocx(size - 1, 0));
        assert_int_equal(mem_class(size + 1), nallocx(size + 1, 0));
    }
}
#endif

TEST(a_class_is_its_own_class) {
    for (size_t size = 1; size <= 4096; size++) {
        assert_true(mem_class(size) >= size);
        assert_int_equal(mem_class(mem_class(size)), mem_class(size));
    }
}

TEST(cleared_memory_is_zero) {
    char *ptr = mem_new_zero(10'000);
    for (size_t i = 0; i < 10'000; i++) assert_int_equal(ptr[i], 0);
    mem_free(ptr, 10'000);
}

TEST(resizing_keeps_what_was_there) {
    char *ptr = mem_resize(NULL, 0, 10);
    memcpy(ptr, "0123456789", 10);
    for (size_t size = 10; size < 1'000'000; size *= 3) ptr = mem_resize(ptr, size, size * 3);
    assert_memory_equal(ptr, "0123456789", 10);
    size_t size = 10;
    while (size < 1'000'000) size *= 3;
    ptr = mem_resize(ptr, size, 5);
    assert_memory_equal(ptr, "01234", 5);
    mem_free(ptr, 5);
}

TEST(freeing_nothing_is_fine) {
    mem_free(NULL, 0);
    mem_free(NULL, 100);
}

TEST(an_impossible_request_is_refused) {
    assert_null(mem_try(SIZE_MAX));
    assert_null(mem_try((size_t)1 << 62));
}

TEST(the_chosen_try_fails_once) {
    mem_try_fail_at(3);
    for (int i = 1; i <= 5; i++) {
        void *ptr = mem_try(100);
        if (i == 3)
            assert_null(ptr);
        else
            assert_non_null(ptr);
        mem_free(ptr, 100);
    }
}
