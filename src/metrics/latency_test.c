/* The latency monitor: what is kept of what was slow. */
#include "testing/testing.h"

#include <string.h>

#include "metrics/latency.h"

TEST(what_is_below_the_threshold_is_not_kept) {
    struct latency latency;
    struct latency_history history;
    latency_init(&latency);
    latency_add(&latency, LATENCY_COMMAND, 1000, 1); /* 0: nothing is */
    latency.threshold_ms = 10;
    latency_add(&latency, LATENCY_COMMAND, 9, 1);
    latency_read(&latency, LATENCY_COMMAND, &history);
    assert_int_equal(history.count, 0);
    latency_add(&latency, LATENCY_COMMAND, 10, 1);
    latency_read(&latency, LATENCY_COMMAND, &history);
    assert_int_equal(history.count, 1);
    latency_deinit(&latency);
}

TEST(of_one_second_the_longest_is_kept) {
    struct latency latency;
    struct latency_history history;
    latency_init(&latency);
    latency.threshold_ms = 1;
    latency_add(&latency, LATENCY_LOG_WRITE, 20, 7);
    latency_add(&latency, LATENCY_LOG_WRITE, 50, 7);
    latency_add(&latency, LATENCY_LOG_WRITE, 30, 7);
    latency_add(&latency, LATENCY_LOG_WRITE, 5, 8);
    latency_read(&latency, LATENCY_LOG_WRITE, &history);
    assert_int_equal(history.count, 2);
    assert_int_equal(history.samples[0].ms, 50);
    assert_int_equal(history.samples[1].ms, 5);
    assert_int_equal(history.max_ms, 50);
    latency_deinit(&latency);
}

TEST(the_oldest_samples_make_room_and_the_longest_is_remembered) {
    struct latency latency;
    struct latency_history history;
    latency_init(&latency);
    latency.threshold_ms = 1;
    latency_add(&latency, LATENCY_COMMAND, 900, 0);
    for (int64_t s = 1; s <= 2 * LATENCY_SAMPLES; s++)
        latency_add(&latency, LATENCY_COMMAND, (uint64_t)s, s);
    latency_read(&latency, LATENCY_COMMAND, &history);
    assert_int_equal(history.count, LATENCY_SAMPLES);
    assert_int_equal(history.samples[0].second, LATENCY_SAMPLES + 1);
    assert_int_equal(history.samples[LATENCY_SAMPLES - 1].second, 2 * LATENCY_SAMPLES);
    assert_int_equal(history.max_ms, 900);
    assert_true(latency_reset(&latency, LATENCY_COMMAND));
    assert_false(latency_reset(&latency, LATENCY_COMMAND));
    latency_deinit(&latency);
}

TEST(an_event_is_found_by_its_name) {
    enum latency_event event;
    for (unsigned i = 0; i < LATENCY_EVENTS_COUNT; i++) {
        const char *name = latency_event_name((enum latency_event)i);
        assert_true(latency_event_find(bytes_of(name), &event));
        assert_int_equal(event, i);
    }
    assert_true(latency_event_find(BYTES("Fast-Command"), &event));
    assert_false(latency_event_find(BYTES("nosuch"), &event));
}
