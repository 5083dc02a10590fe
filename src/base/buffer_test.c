#include "base/buffer.h"

#include "base/mem.h"

#include "testing/testing.h"

static void check_holds(const struct buffer *buffer, const char *text) {
    struct bytes held = buffer_bytes(buffer);
    assert_int_equal(held.len, strlen(text));
    assert_true(bytes_equal(held, bytes_of(text)));
}

TEST(a_new_buffer_holds_no_memory) {
    struct buffer buffer;
    buffer_init(&buffer, 100);
    assert_null(buffer.data);
    assert_int_equal(buffer_bytes(&buffer).len, 0);
    buffer_deinit(&buffer);
}

TEST(what_is_put_is_appended) {
    struct buffer buffer;
    buffer_init(&buffer, 100);
    buffer_put(&buffer, BYTES("one "));
    buffer_put(&buffer, BYTES(""));
    buffer_put(&buffer, (struct bytes){});
    buffer_format(&buffer, "%d", 2);
    check_holds(&buffer, "one 2");
    buffer_deinit(&buffer);
}

TEST(reserving_nothing_gives_a_place) {
    struct buffer buffer;
    buffer_init(&buffer, 10);
    assert_non_null(buffer_reserve(&buffer, 0));
    buffer_put(&buffer, BYTES("0123456789"));
    assert_non_null(buffer_reserve(&buffer, 0));
    assert_false(buffer.overflow);
    buffer_deinit(&buffer);
}

TEST(the_limit_can_be_reached_and_not_passed) {
    struct buffer buffer;
    buffer_init(&buffer, 10);
    buffer_put(&buffer, BYTES("01234567"));
    buffer_format(&buffer, "%s", "89");
    check_holds(&buffer, "0123456789");
    assert_false(buffer.overflow);
    buffer_put(&buffer, BYTES("!"));
    assert_true(buffer.overflow);
    check_holds(&buffer, "0123456789");
    buffer_deinit(&buffer);
}

TEST(after_an_overflow_nothing_goes_in_until_it_is_cleared) {
    struct buffer buffer;
    buffer_init(&buffer, 100);
    buffer_put(&buffer, BYTES("head"));
    assert_null(buffer_reserve(&buffer, 97));
    buffer_put(&buffer, BYTES("tail"));
    buffer_format(&buffer, "%d", 1);
    assert_null(buffer_reserve(&buffer, 0));
    check_holds(&buffer, "head");
    buffer_clear(&buffer);
    buffer_put(&buffer, BYTES("new"));
    check_holds(&buffer, "new");
    buffer_deinit(&buffer);
}

TEST(a_size_beyond_all_sizes_overflows) {
    struct buffer buffer;
    buffer_init(&buffer, SIZE_MAX);
    buffer_put(&buffer, BYTES("x"));
    assert_null(buffer_reserve(&buffer, SIZE_MAX));
    assert_true(buffer.overflow);
    buffer_deinit(&buffer);
}

TEST(refused_memory_is_an_overflow_that_loses_nothing) {
    struct buffer buffer;
    buffer_init(&buffer, 10'000'000);
    buffer_put(&buffer, BYTES("kept"));
    mem_try_fail_at(1);
    assert_null(buffer_reserve(&buffer, 1'000'000));
    assert_true(buffer.overflow);
    check_holds(&buffer, "kept");
    buffer_deinit(&buffer);
}

TEST(a_buffer_grows_through_every_size) {
    struct buffer buffer;
    buffer_init(&buffer, 1'000'000);
    for (size_t i = 0; i < 1'000'000; i++)
        buffer_put(&buffer, (struct bytes){ &"0123456789"[i % 10], 1 });
    assert_int_equal(buffer.len, 1'000'000);
    assert_false(buffer.overflow);
    for (size_t i = 0; i < buffer.len; i++) assert_int_equal(buffer.data[i], "0123456789"[i % 10]);
    buffer_deinit(&buffer);
}

TEST(a_long_text_is_formatted_whole) {
    struct buffer buffer;
    buffer_init(&buffer, 10'000);
    buffer_format(&buffer, "%05000d", 7);
    assert_int_equal(buffer.len, 5000);
    assert_int_equal(buffer.data[0], '0');
    assert_int_equal(buffer.data[4999], '7');
    buffer_deinit(&buffer);
}

TEST(consuming_drops_the_head) {
    struct buffer buffer;
    buffer_init(&buffer, 100);
    buffer_consume(&buffer, 0);
    buffer_put(&buffer, BYTES("head tail"));
    buffer_consume(&buffer, 5);
    check_holds(&buffer, "tail");
    buffer_consume(&buffer, 4);
    check_holds(&buffer, "");
    buffer_deinit(&buffer);
}

TEST(only_an_empty_buffer_that_is_too_big_shrinks) {
    struct buffer buffer;
    buffer_init(&buffer, 10'000);
    assert_non_null(buffer_reserve(&buffer, 5000));
    buffer_put(&buffer, BYTES("x"));
    buffer_shrink(&buffer, 100);
    check_holds(&buffer, "x");
    buffer_clear(&buffer);
    buffer_shrink(&buffer, 8192);
    assert_true(buffer.cap >= 5000);
    buffer_shrink(&buffer, 100);
    assert_int_equal(buffer.cap, 0);
    buffer_put(&buffer, BYTES("again"));
    check_holds(&buffer, "again");
    buffer_deinit(&buffer);
}
