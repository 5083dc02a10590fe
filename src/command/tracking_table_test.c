/* Who has seen which key: the table against a list that is searched from end to end. */
#include "command/tracking_table.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/number.h"
#include "testing/testing.h"

enum { KEYS = 300, SESSIONS = 20, STEPS = 200000 };

static struct bytes name_of(unsigned key, char out[16]) {
    snprintf(out, 16, "key:%u", key);
    return bytes_of(out);
}

/* Two keys share each hash, and all share few buckets. */
static uint64_t hash_of(unsigned key) {
    return (uint64_t)(key / 2) * 0x9e3779b97f4a7c15u;
}

static void check_taken(struct tracked *tracked, bool seen[SESSIONS]) {
    size_t count = 0;
    for (unsigned s = 0; s < SESSIONS; s++) count += seen[s];
    assert_true((tracked != NULL) == (count > 0));
    if (tracked) assert_int_equal(tracked->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_true(seen[tracked->handles[i]]);
        if (i) assert_true(tracked->handles[i - 1] < tracked->handles[i]);
    }
    memset(seen, 0, SESSIONS * sizeof *seen);
    tracked_free(tracked);
}

TEST(a_table_remembers_who_has_seen_what_until_it_is_taken) {
    static bool seen[KEYS][SESSIONS];
    struct tracking_table *table = tracking_table_new();
    unsigned seed = 7;
    uint64_t keys = 0, items = 0;
    char text[16];
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned key = (unsigned)rand_r(&seed) % KEYS, session = (unsigned)rand_r(&seed) % SESSIONS;
        unsigned what = (unsigned)rand_r(&seed) % 1000;
        if (what < 700) {
            uint64_t now = tracking_table_add(table, hash_of(key), name_of(key, text), session);
            bool is_new = true;
            for (unsigned s = 0; s < SESSIONS; s++) is_new = is_new && !seen[key][s];
            keys += is_new;
            items += !seen[key][session];
            assert_int_equal(now, is_new ? keys : 0);
            seen[key][session] = true;
        } else if (what < 998) {
            struct tracked *tracked = tracking_table_take(table, hash_of(key), name_of(key, text));
            keys -= tracked != NULL;
            if (tracked) items -= tracked->count;
            check_taken(tracked, seen[key]);
        } else if (what < 999) {
            struct tracked *tracked = tracking_table_evict(table, hash_of(key));
            if (!tracked) continue;
            struct bytes digits = { tracked->name + 4, tracked->name_len - 4 };
            int64_t victim;
            assert_true(int_parse(digits, &victim));
            assert_true(hash_of((unsigned)victim) != hash_of(key));
            keys--;
            items -= tracked->count;
            check_taken(tracked, seen[victim]);
        } else if (what == 999) {
            tracking_table_clear(table);
            memset(seen, 0, sizeof seen);
            keys = items = 0;
        }
        assert_int_equal(tracking_table_keys(table), keys);
        if (step % 1000 == 0) assert_int_equal(tracking_table_items(table), items);
    }
    assert_null(tracking_table_free(table));
}

TEST(the_only_key_is_not_evicted_for_its_own_sake) {
    struct tracking_table *table = tracking_table_new();
    assert_int_equal(tracking_table_add(table, 5, BYTES("a"), 1), 1);
    assert_null(tracking_table_evict(table, 5));
    struct tracked *tracked = tracking_table_evict(table, 4);
    assert_non_null(tracked);
    tracked_free(tracked);
    assert_int_equal(tracking_table_keys(table), 0);
    tracking_table_free(table);
}
