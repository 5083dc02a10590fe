/* Calls: buckets, totals over workers, what a reset takes away. */
#include "testing/testing.h"

#include <string.h>

#include "metrics/calls.h"

TEST(a_bucket_holds_what_lies_between_its_begin_and_the_next) {
    for (unsigned i = 0; i < CALL_BUCKETS; i++) {
        uint64_t begin = call_bucket_begin(i), end = call_bucket_begin(i + 1);
        assert_true(begin < end);
        assert_int_equal(call_bucket(begin), i);
        assert_int_equal(call_bucket(end - 1), i);
    }
    assert_int_equal(call_bucket_begin(CALL_BUCKETS), CALL_TICKS_MAX);
    assert_int_equal(call_bucket(0), 0);
    assert_int_equal(call_bucket(CALL_TICKS_MAX - 1), CALL_BUCKETS - 1);
}

TEST(a_buckets_middle_is_within_a_sixteenth_of_what_it_holds) {
    for (unsigned i = 0; i < CALL_BUCKETS; i++) {
        double begin = (double)call_bucket_begin(i), end = (double)call_bucket_begin(i + 1);
        assert_true((end - begin) / 2 <= begin / 16);
    }
}

TEST(a_total_is_the_sum_over_workers_since_the_last_reset) {
    struct calls_board *board = calls_board_new();
    struct calls *a = calls_join(board), *b = calls_join(board);
    assert_ptr_not_equal(a, b);
    calls_add(a, 3, 1000);
    calls_add(b, 3, 3000);
    calls_reject(b, 3);
    calls_fail(a, 3);
    calls_error(a, 7, 2);
    calls_error(b, 7, 1);
    struct call_total total;
    calls_total(board, 3, &total);
    assert_int_equal(total.calls, 2);
    assert_int_equal(total.ticks, 4000);
    assert_int_equal(total.rejected, 1);
    assert_int_equal(total.failed, 1);
    assert_int_equal(calls_errors(board, 7), 3);

    calls_reset(board);
    calls_total(board, 3, &total);
    assert_int_equal(total.calls, 0);
    assert_int_equal(total.ticks, 0);
    assert_int_equal(calls_errors(board, 7), 0);
    calls_add(b, 3, 500);
    calls_total(board, 3, &total);
    assert_int_equal(total.calls, 1);
    assert_int_equal(total.ticks, 500);
    assert_int_equal(total.took[call_bucket(500)], 1);
    calls_leave(board, a);
    calls_leave(board, b);
    board = calls_board_free(board);
}

TEST(what_a_worker_has_counted_stays_when_it_leaves) {
    struct calls_board *board = calls_board_new();
    struct calls *first = calls_join(board);
    calls_add(first, 1, 100);
    calls_leave(board, first);
    struct calls *next = calls_join(board);
    assert_ptr_equal(first, next);
    struct call_total total;
    calls_total(board, 1, &total);
    assert_int_equal(total.calls, 1);
    calls_leave(board, next);
    board = calls_board_free(board);
}

TEST(a_quantile_is_the_middle_of_the_bucket_that_has_that_call) {
    struct call_total total = {};
    assert_int_equal(call_quantile(&total, 0.5), 0);
    total.calls = 100;
    total.took[call_bucket(1000)] = 98;
    total.took[call_bucket(50000)] = 2;
    unsigned low = call_bucket(1000), high = call_bucket(50000);
    uint64_t few = (call_bucket_begin(low) + call_bucket_begin(low + 1)) / 2;
    uint64_t many = (call_bucket_begin(high) + call_bucket_begin(high + 1)) / 2;
    assert_int_equal(call_quantile(&total, 0), few);
    assert_int_equal(call_quantile(&total, 0.5), few);
    assert_int_equal(call_quantile(&total, 0.98), few);
    assert_int_equal(call_quantile(&total, 0.99), many);
    assert_int_equal(call_quantile(&total, 1), many);
}
