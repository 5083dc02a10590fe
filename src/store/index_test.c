/* index_test.c: the table through growth, shrinking and walks, against a plain list of its keys. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/env.h"
#include "store/shard.h"
#include "testing/testing.h"

enum { KEYS = 20000 };

struct fixture {
    struct env *env;
    struct store *store;
    struct worker *worker;
    struct arena arena;
};

static struct fixture *fixture_new(unsigned shards) {
    struct fixture *f = calloc(1, sizeof *f);
    f->env = env_sim_new(7);
    f->store = store_new(&(struct store_options){
        .env = f->env, .shards = shards, .databases = 1, .workers_max = 1 });
    f->worker = worker_new(f->store);
    arena_init(&f->arena);
    struct store_settings settings = store_settings(f->store);
    settings.history = false;
    store_configure(f->store, &settings);
    return f;
}

static void fixture_free(struct fixture *f) {
    worker_free(f->worker);
    store_free(f->store);
    arena_deinit(&f->arena);
    env_sim_free(f->env);
    free(f);
}

static struct key numbered(struct fixture *f, char *name, int n) {
    int len = snprintf(name, 32, "key:%d", n);
    return store_key(f->store, 0, (struct bytes){ name, (size_t)len });
}

static void put(struct fixture *f, int n, bool there) {
    char name[32];
    struct key key = numbered(f, name, n);
    struct txn txn;
    txn_begin_single(&txn, f->worker, &f->arena, key.shard, 0);
    struct value value;
    bool found = txn_read(&txn, &key, &value);
    if (there)
        txn_set_int(&txn, &key, n, 0);
    else if (found)
        txn_delete(&txn, &key);
    txn_commit(&txn);
    arena_clear(&f->arena);
}

static bool there(struct fixture *f, int n) {
    char name[32];
    struct key key = numbered(f, name, n);
    struct txn txn;
    txn_begin_single(&txn, f->worker, &f->arena, key.shard, 0);
    struct value value;
    bool found = txn_read(&txn, &key, &value);
    if (found) assert_int_equal(value.number, n);
    txn_commit(&txn);
    return found;
}

TEST(keys_are_found_while_the_table_grows_and_shrinks) {
    struct fixture *f = fixture_new(1);
    for (int n = 0; n < KEYS; n++) {
        put(f, n, true);
        if (n % 97 == 0)
            for (int k = 0; k <= n; k += 1 + n / 200) assert_true(there(f, k));
    }
    for (int n = 0; n < KEYS; n++) {
        put(f, n, false);
        if (n % 97 == 0)
            for (int k = 0; k < KEYS; k += 191) assert_int_equal(there(f, k), k > n);
    }
    struct store_stats stats;
    store_stats(f->store, NULL, &stats);
    assert_int_equal(stats.keys, 0);
    assert_int_equal(stats.data_memory, 0);
    assert_true(stats.buckets < 4096); /* it has shrunk */
    fixture_free(f);
}

struct seen {
    unsigned char times[KEYS * 2];
};

static void see(void *self, const struct key *key, const struct value *value) {
    struct seen *seen = self;
    (void)key;
    if (seen->times[value->number] < 255) seen->times[value->number]++;
}

static void walk(struct fixture *f, struct seen *seen, size_t count,
                 void (*meanwhile)(struct fixture *f, int step)) {
    uint64_t cursor = 0;
    int step = 0;
    do {
        struct txn txn;
        txn_begin_unlocked(&txn, f->worker, &f->arena, 0);
        cursor = txn_scan(&txn, 0, cursor, count, see, seen);
        txn_commit(&txn);
        assert_true(cursor < (uint64_t)1 << 48);
        if (meanwhile) meanwhile(f, step++);
    } while (cursor);
}

TEST(a_scan_without_change_gives_every_key_once) {
    for (unsigned shards = 1; shards <= 64; shards *= 8) {
        struct fixture *f = fixture_new(shards);
        struct seen *seen = calloc(1, sizeof *seen);
        for (int n = 0; n < 3000; n++) put(f, n, true);
        walk(f, seen, 7, NULL);
        for (int n = 0; n < 3000; n++) assert_int_equal(seen->times[n], 1);
        free(seen);
        fixture_free(f);
    }
}

static void grow_meanwhile(struct fixture *f, int step) {
    for (int i = 0; i < 40 && step * 40 + i < KEYS; i++) put(f, KEYS + step * 40 + i - 1, true);
}
static void shrink_meanwhile(struct fixture *f, int step) {
    for (int i = 0; i < 60; i++) {
        int n = step * 60 + i;
        if (n < KEYS && n % 16) put(f, n, false);
    }
}

TEST(a_scan_gives_what_stays_however_the_table_changes) {
    struct fixture *f = fixture_new(2);
    struct seen *seen = calloc(1, sizeof *seen);
    for (int n = 0; n < 1000; n++) put(f, n, true);
    walk(f, seen, 5, grow_meanwhile);
    for (int n = 0; n < 1000; n++) assert_true(seen->times[n] >= 1);
    free(seen);
    fixture_free(f);

    f = fixture_new(2);
    seen = calloc(1, sizeof *seen);
    for (int n = 0; n < KEYS; n++) put(f, n, true);
    walk(f, seen, 20, shrink_meanwhile);
    for (int n = 0; n < KEYS; n += 16) assert_true(seen->times[n] >= 1);
    free(seen);
    fixture_free(f);
}

TEST(keys_with_one_tag_in_braces_share_a_shard) {
    struct fixture *f = fixture_new(64);
    uint32_t shard = store_key(f->store, 0, BYTES("{user}1")).shard;
    assert_int_equal(store_key(f->store, 0, BYTES("a{user}2")).shard, shard);
    assert_int_equal(store_key(f->store, 0, BYTES("user")).shard, shard);
    assert_true(store_key(f->store, 0, BYTES("{}user")).hash != 0);
    fixture_free(f);
}

TEST(a_key_of_any_length_is_kept) {
    struct fixture *f = fixture_new(4);
    static char name[200000];
    memset(name, 'k', sizeof name);
    const size_t lengths[] = { 0, 1, 1000, 1024, 1025, 65534, 65535, 65536, 200000 };
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        struct key key = store_key(f->store, 0, (struct bytes){ name, lengths[i] });
        struct txn txn;
        txn_begin_single(&txn, f->worker, &f->arena, key.shard, 0);
        assert_int_equal(txn_set_string(&txn, &key, BYTES("value"), (int64_t)i * 3000000000000),
                         OK);
        struct value value;
        assert_true(txn_read(&txn, &key, &value));
        assert_true(bytes_equal(value.bytes, BYTES("value")));
        assert_int_equal(value.expire_at_ms, (int64_t)i * 3000000000000);
        txn_commit(&txn);
    }
    fixture_free(f);
}
