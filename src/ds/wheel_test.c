/* wheel_test.c: the wheel against a list of deadlines.
 *
 * The model knows each record's tick and looks at all of them. Per turn: nothing fires early or
 * twice, and when the limit was not reached nothing due is left. Random tests print their seed. */
#include "base/attributes.h"
#include "ds/wheel.h"
#include "testing/testing.h"

#include <stdlib.h>
#include <time.h>

enum { MODEL_MAX = 4096, OUT_MAX = 512 };

static uint64_t random_state;

static uint64_t random_next(void) { /* splitmix64 */
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t random_below(uint64_t n) {
    return random_next() % n;
}

static void random_seed(void) {
    random_state = (uint64_t)time(NULL);
    print_message("# seed %llu\n", (unsigned long long)random_state);
}

/* Any distance in ticks, each order of magnitude as likely as the others. */
static uint64_t random_distance(unsigned bits_max) {
    return random_next() >> (64 - bits_max) >> random_below(bits_max);
}

struct model {
    struct wheel wheel;
    bool waiting[MODEL_MAX]; /* by payload's low bits */
    uint64_t due[MODEL_MAX];
    uint64_t payload[MODEL_MAX];
    uint64_t count;
};

static void model_add(struct model *m, uint64_t deadline) {
    size_t i = (size_t)random_below(MODEL_MAX);
    if (m->waiting[i]) return;
    uint64_t payload = (random_next() << 12 | i) & ((UINT64_C(1) << WHEEL_PAYLOAD_BITS) - 1);
    wheel_add(&m->wheel, payload, deadline);
    m->waiting[i] = true;
    m->payload[i] = payload;
    m->due[i] = deadline < m->wheel.now ? m->wheel.now : deadline;
    m->count++;
}

static size_t model_turn(struct model *m, uint64_t now, size_t limit) {
    uint64_t out[OUT_MAX];
    uint64_t before = m->wheel.now;
    size_t count = wheel_turn(&m->wheel, now, out, limit);
    assert_true(count <= limit);
    for (size_t j = 0; j < count; j++) {
        size_t i = out[j] % MODEL_MAX;
        assert_true(m->waiting[i]);
        assert_true(m->payload[i] == out[j]);
        assert_true(m->due[i] <= now);
        m->waiting[i] = false;
    }
    m->count -= count;
    assert_true(m->wheel.records == m->count);
    assert_true(m->wheel.now >= before);
    if (count == limit) return count;

    assert_true(m->wheel.now == (now < before ? before : now + 1));
    assert_true(wheel_idle(&m->wheel, now));
    for (size_t i = 0; i < MODEL_MAX; i++) assert_false(m->waiting[i] && m->due[i] <= now);
    return count;
}

static bool keep_most(void *self, uint64_t payload) {
    struct model *m = self;
    size_t i = payload % MODEL_MAX;
    assert_true(m->waiting[i] && m->payload[i] == payload);
    if (random_below(4) != 0) return true;
    m->waiting[i] = false;
    m->count--;
    return false;
}

static void model_step(struct model *m) {
    uint64_t now = m->wheel.now;
    switch (random_below(16)) {
    case 0: model_turn(m, now + random_distance(34), 1 + (size_t)random_below(OUT_MAX)); break;
    case 1: model_turn(m, now + random_distance(18), 1 + (size_t)random_below(4)); break;
    case 2: model_turn(m, now - random_below(now < 300 ? now + 1 : 300), OUT_MAX); break;
    case 3:
        /* to the tick before, at and behind a border of a slot */
        now |= (UINT64_C(1) << 8 * random_below(5)) - 1;
        model_turn(m, now - 1 + random_below(3), OUT_MAX);
        break;
    case 4:
    case 5:
    case 6:
    case 7: model_turn(m, now + random_below(3), (size_t)random_below(OUT_MAX)); break;
    case 8: model_add(m, now - random_below(now < 1000 ? now + 1 : 1000)); break;
    case 9: model_add(m, now + (UINT64_C(1) << 8 * random_below(6)) - 1 + random_below(3)); break;
    default: model_add(m, now + random_distance(random_below(2) ? 14 : 36));
    }
    if (random_below(2000) == 0) {
        wheel_sweep(&m->wheel, keep_most, m);
        assert_true(m->wheel.records == m->count);
    }
}

TEST(each_record_fires_once_never_early_and_late_only_by_the_limit) {
    random_seed();
    struct model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    static const uint64_t starts[] = { 0, 250, 0xfffffe, UINT64_C(0xfffffff0), UINT64_C(1) << 40 };
    for (size_t round = 0; round < COUNT_OF(starts); round++) {
        wheel_init(&m->wheel, starts[round]);
        for (int i = 0; i < 40 * 1000; i++) model_step(m);
        while (m->count > 0) model_turn(m, m->wheel.now + (UINT64_C(1) << 36), OUT_MAX);
        assert_true(m->wheel.records == 0);
        assert_true(m->wheel.memory == m->wheel.free_count * 512);
        assert_true(m->wheel.free_count <= 64);
        wheel_deinit(&m->wheel);
        assert_true(m->wheel.memory == 0);
    }
    free(m);
}

TEST(a_deadline_behind_now_fires_at_the_next_turn) {
    struct wheel wheel;
    uint64_t out[2];
    wheel_init(&wheel, 1000);
    wheel_add(&wheel, 7, 3);
    assert_int_equal(wheel_turn(&wheel, 999, out, 2), 0);
    assert_int_equal(wheel_turn(&wheel, 1000, out, 2), 1);
    assert_int_equal(out[0], 7);
    wheel_deinit(&wheel);
}

TEST(a_tick_is_not_left_before_all_that_is_due_has_been_handed_over) {
    struct wheel wheel;
    uint64_t out[100];
    wheel_init(&wheel, 0);
    for (uint64_t i = 0; i < 150; i++) wheel_add(&wheel, i, 5);
    assert_int_equal(wheel_turn(&wheel, 9, out, 100), 100);
    assert_int_equal(wheel.now, 5);
    assert_false(wheel_idle(&wheel, 9));
    assert_int_equal(wheel_turn(&wheel, 4, out, 100), 0); /* never back */
    assert_int_equal(wheel_turn(&wheel, 9, out, 0), 0);
    assert_int_equal(wheel_turn(&wheel, 9, out, 100), 50);
    assert_true(wheel_idle(&wheel, 9));
    wheel_deinit(&wheel);
}

TEST(what_lies_beyond_the_reach_keeps_its_tick) {
    struct wheel wheel;
    uint64_t out[4];
    wheel_init(&wheel, 12345);
    uint64_t far = 12345 + (UINT64_C(5) << 32) + 77;
    wheel_add(&wheel, 1, far);
    wheel_add(&wheel, 2, UINT64_MAX);
    wheel_add(&wheel, 3, 12345 + (UINT64_C(255) << 24)); /* the same slot, within reach */
    assert_int_equal(wheel_turn(&wheel, 12345 + (UINT64_C(255) << 24) - 1, out, 4), 0);
    assert_int_equal(wheel_turn(&wheel, 12345 + (UINT64_C(255) << 24), out, 4), 1);
    assert_int_equal(out[0], 3);
    assert_int_equal(wheel_turn(&wheel, far - 1, out, 4), 0);
    assert_int_equal(wheel_turn(&wheel, far, out, 4), 1);
    assert_int_equal(out[0], 1);
    assert_int_equal(wheel.records, 1);
    wheel_deinit(&wheel);
}

static bool keep_odd(void *self, uint64_t payload) {
    ++*(size_t *)self;
    return payload % 2 == 1;
}

TEST(a_sweep_sees_every_record_and_gives_memory_back) {
    struct wheel wheel;
    wheel_init(&wheel, 0);
    enum { RECORDS = 20 * 1000 };
    for (uint64_t i = 0; i < RECORDS; i++)
        wheel_add(&wheel, i, i % 3 ? 9 : i % 2 ? 70'000 : UINT64_C(1) << 40);
    uint64_t out[5];
    assert_int_equal(wheel_turn(&wheel, 9, out, 5), 5); /* some of them lie in `due` now */
    size_t memory = wheel.memory;

    size_t asked = 0;
    wheel_sweep(&wheel, keep_odd, &asked);
    assert_int_equal(asked, RECORDS - 5);
    assert_true(wheel.records >= RECORDS / 2 - 5 && wheel.records <= RECORDS / 2);
    assert_true(wheel.memory < memory * 3 / 4);

    asked = 0;
    wheel_sweep(&wheel, keep_odd, &asked);
    assert_int_equal(asked, wheel.records);
    wheel_deinit(&wheel);
}

TEST(eight_bytes_a_record_and_nothing_kept_when_they_have_fired) {
    struct wheel wheel;
    wheel_init(&wheel, 0);
    enum { RECORDS = 1000 * 1000, SIZE_MAX_WANTED = 9 * RECORDS, FREE_SIZE_MAX = 64 * 512 };
    for (uint64_t i = 0; i < RECORDS; i++) wheel_add(&wheel, i, 1 + i % 50'000);
    assert_true(wheel.memory < SIZE_MAX_WANTED);
    static uint64_t out[RECORDS + 1];
    assert_int_equal(wheel_turn(&wheel, 50'000, out, RECORDS + 1), RECORDS);
    assert_true(wheel.memory <= FREE_SIZE_MAX);
    wheel_deinit(&wheel);
}

TEST(an_empty_stretch_is_jumped_over) {
    struct wheel wheel;
    uint64_t out[1];
    wheel_init(&wheel, 0);
    clock_t start = clock();
    for (uint64_t i = 1; i <= 2000; i++) {
        wheel_add(&wheel, i, i * 1'000'000 + 500'000); /* so it is not quite empty */
        assert_int_equal(wheel_turn(&wheel, i * 1'000'000, out, 1), i > 1);
        if (i > 1) assert_int_equal(wheel_turn(&wheel, i * 1'000'000, out, 1), 0);
    }
    /* 2·10^9 ticks. Measured: 4 ms without sanitizers; a walk tick by tick takes seconds. */
    assert_true(clock() - start < CLOCKS_PER_SEC);
    wheel_deinit(&wheel);
}
