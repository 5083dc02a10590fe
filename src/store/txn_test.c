/* txn_test.c: what a transaction promises beyond its effects: what sinks are told, what a rollback
 * leaves, and the rules of keeping: exclusion, resolution, purge, pins. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/env.h"
#include "store/past.h"
#include "store/shard.h"
#include "testing/testing.h"

static char told[512];

static void hear(struct sink *self, uint64_t stamp, const struct change *changes, size_t count) {
    (void)self;
    (void)stamp;
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(told);
        snprintf(told + len, sizeof told - len, "%s %.*s %d;", changes[i].event,
                 (int)changes[i].key.name.len, changes[i].key.name.data, changes[i].cause);
    }
}

struct fixture {
    struct env *env;
    struct store *store;
    struct worker *worker;
    struct arena arena;
    struct sink sink;
    struct sink *sinks[1];
    struct shardset all;
};

static struct fixture *fixture_new(void) {
    struct fixture *f = calloc(1, sizeof *f);
    f->env = env_sim_new(3);
    f->sink = (struct sink){ .name = "test", .committed = hear };
    f->sinks[0] = &f->sink;
    f->store = store_new(&(struct store_options){ .env = f->env,
                                                  .shards = 4,
                                                  .databases = 2,
                                                  .workers_max = 1,
                                                  .sinks = f->sinks,
                                                  .sinks_count = 1 });
    store_listen(f->store, &f->sink, true);
    f->worker = worker_new(f->store);
    arena_init(&f->arena);
    for (unsigned i = 0; i < 4; i++) shardset_add(&f->all, i);
    told[0] = '\0';
    return f;
}

static void fixture_free(struct fixture *f) {
    worker_free(f->worker);
    store_free(f->store);
    arena_deinit(&f->arena);
    env_sim_free(f->env);
    free(f);
}

static void later(struct fixture *f, uint64_t ms) {
    env_sim_advance(f->env, ms * 1000000);
    worker_tick(f->worker);
}

static void begin(struct fixture *f, struct txn *txn, unsigned flags) {
    txn_begin(txn, f->worker, &f->arena, &f->all, flags);
    txn->event = "event";
}

static void set(struct fixture *f, struct txn *txn, const char *name, const char *text) {
    struct key key = store_key(f->store, 0, bytes_of(name));
    assert_int_equal(txn_set_string(txn, &key, bytes_of(text), 0), OK);
}

static void set_now(struct fixture *f, const char *name, const char *text) {
    struct txn txn;
    begin(f, &txn, 0);
    set(f, &txn, name, text);
    txn_commit(&txn);
}

/* The key's text `ms_ago`; NULL: none; "?": no longer known. */
static const char *was(struct fixture *f, const char *name, uint64_t ms_ago) {
    static char text[64];
    struct key key = store_key(f->store, 0, bytes_of(name));
    struct txn txn;
    struct value value;
    uint64_t oldest;
    txn_begin_unlocked(&txn, f->worker, &f->arena, 0);
    enum found found =
        past_read(&txn, &key, worker_now_ns(f->worker) - ms_ago * 1000000, &value, &oldest);
    if (found == FOUND) {
        char scratch[INT_TEXT_MAX];
        struct bytes bytes = value_text(&value, scratch);
        snprintf(text, sizeof text, "%.*s", (int)bytes.len, bytes.data);
    }
    txn_commit(&txn);
    return found == FOUND ? text : found == PRUNED ? "?" : NULL;
}

TEST(a_sink_that_does_not_listen_is_told_what_is_said_and_no_change) {
    struct fixture *f = fixture_new();
    struct key key = store_key(f->store, 0, BYTES("k"));
    store_listen(f->store, &f->sink, false);
    struct txn txn;
    txn_begin_single(&txn, f->worker, &f->arena, key.shard, TXN_UNDO);
    txn_set_int(&txn, &key, 1, 0);
    txn_say(&txn, "publish", BYTES("news"), BYTES("one"), 0);
    struct savepoint before = txn_savepoint(&txn);
    txn_say(&txn, "publish", BYTES("news"), BYTES("two"), 0);
    txn_rollback_to(&txn, before);
    assert_string_equal(told, "");
    txn_commit(&txn);
    assert_string_equal(told, "publish news 3;");
    store_listen(f->store, &f->sink, true);
    store_settle(f->store);
    txn_begin_single(&txn, f->worker, &f->arena, key.shard, 0);
    txn.event = "set";
    txn_set_int(&txn, &key, 2, 0);
    txn_commit(&txn);
    assert_string_equal(told, "publish news 3;set k 0;");
    fixture_free(f);
}

TEST(a_sink_is_told_what_is_new_and_what_was_over) {
    struct fixture *f = fixture_new();
    struct key key = store_key(f->store, 0, BYTES("k"));
    struct txn txn;
    begin(f, &txn, 0);
    assert_int_equal(txn_set_string(&txn, &key, BYTES("1"), worker_now_ms(f->worker) + 5), OK);
    txn_also(&txn, &key, "also");
    assert_true(txn.told[0].fresh);
    txn_commit(&txn);
    begin(f, &txn, 0);
    set(f, &txn, "k", "2");
    assert_false(txn.told[0].fresh);
    txn.flags |= TXN_FRESH;
    assert_int_equal(txn_set_string(&txn, &key, BYTES("3"), worker_now_ms(f->worker) + 5), OK);
    assert_true(txn.told[1].fresh);
    txn_commit(&txn);
    later(f, 10);
    begin(f, &txn, 0);
    set(f, &txn, "k", "4");
    assert_true(txn.told[1].fresh);
    txn_missed(&txn, &key);
    txn_commit(&txn);
    assert_string_equal(told, "event k 0;also k 4;event k 0;event k 0;expired k 1;event k 0;"
                              "keymiss k 5;");
    told[0] = '\0';
    txn_begin_unlocked(&txn, f->worker, &f->arena, TXN_PEEK);
    txn_missed(&txn, &key);
    assert_string_equal(told, "keymiss k 5;");
    txn_commit(&txn);
    fixture_free(f);
}

TEST(a_sink_is_told_each_change_once_in_order) {
    struct fixture *f = fixture_new();
    struct txn txn;
    begin(f, &txn, TXN_MULTI);
    set(f, &txn, "a", "1");
    set(f, &txn, "b", "2");
    assert_string_equal(told, "");
    txn_commit(&txn);
    assert_string_equal(told, "event a 0;event b 0;");
    fixture_free(f);
}

TEST(a_rollback_leaves_no_trace) {
    struct fixture *f = fixture_new();
    set_now(f, "a", "before");
    struct store_stats before, after;
    store_stats(f->store, NULL, &before);
    told[0] = '\0';
    later(f, 10);
    struct txn txn;
    begin(f, &txn, TXN_MULTI | TXN_UNDO);
    set(f, &txn, "a", "after");
    set(f, &txn, "b", "new");
    struct key key = store_key(f->store, 0, BYTES("a"));
    txn_delete(&txn, &key);
    txn_rollback(&txn);
    assert_string_equal(told, "");
    store_stats(f->store, NULL, &after);
    assert_int_equal(after.keys, before.keys);
    assert_int_equal(after.data_memory, before.data_memory);
    assert_int_equal(after.history_records, before.history_records);
    assert_string_equal(was(f, "a", 0), "before");
    assert_null(was(f, "b", 0));
    fixture_free(f);
}

TEST(an_expiry_is_told_as_such) {
    struct fixture *f = fixture_new();
    struct txn txn;
    begin(f, &txn, 0);
    struct key key = store_key(f->store, 0, BYTES("k"));
    txn_set_int(&txn, &key, 7, txn.now_ms + 50);
    txn_commit(&txn);
    told[0] = '\0';
    later(f, 40);
    while (worker_chores(f->worker, 0, 1, 1000000000)) {
    }
    assert_string_equal(told, "");
    later(f, 40);
    while (worker_chores(f->worker, 0, 1, 1000000000)) {
    }
    assert_string_equal(told, "expired k 1;");
    assert_int_equal(store_counter(f->store, COUNTER_expired_keys), 1);
    fixture_free(f);
}

TEST(a_deadline_that_is_put_off_holds) {
    struct fixture *f = fixture_new();
    struct key key = store_key(f->store, 0, BYTES("k"));
    struct txn txn;
    struct value value;
    begin(f, &txn, 0);
    txn_set_int(&txn, &key, 7, txn.now_ms + 50);
    txn_commit(&txn);
    for (int i = 0; i < 20; i++) {
        later(f, 30);
        while (worker_chores(f->worker, 0, 1, 1000000000)) {
        }
        begin(f, &txn, 0);
        assert_true(txn_read(&txn, &key, &value));
        txn_set_expire(&txn, &key, txn.now_ms + 50);
        txn_commit(&txn);
    }
    assert_true(store_shard(f->store, key.shard)->wheel.records <
                4); /* refreshing does not pile up */
    later(f, 100);
    while (worker_chores(f->worker, 0, 1, 1000000000)) {
    }
    begin(f, &txn, 0);
    assert_false(txn_read(&txn, &key, &value));
    txn_commit(&txn);
    fixture_free(f);
}

TEST(a_key_that_lives_for_days_costs_no_record_and_ends_in_time) {
    struct fixture *f = fixture_new();
    enum { COUNT = 200, MINUTE = 60 * 1000 };
    struct txn txn;
    struct value value;
    char name[16];
    int64_t begin_ms = worker_now_ms(f->worker);
    for (int i = 0; i < COUNT; i++) { /* one every 37 minutes, from three hours on */
        snprintf(name, sizeof name, "k%d", i);
        struct key key = store_key(f->store, 0, bytes_of(name));
        begin(f, &txn, 0);
        txn_set_int(&txn, &key, i, begin_ms + (180 + 37 * i) * MINUTE);
        txn_commit(&txn);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(store_shard(f->store, (unsigned)i)->wheel.records, 0);
    for (int minute = 1; minute < 180 + 37 * COUNT; minute++) {
        later(f, MINUTE);
        while (worker_chores(f->worker, 0, 1, 1000000000)) {
        }
        struct store_stats stats;
        store_stats(f->store, NULL, &stats);
        int ended = minute < 180 ? 0 : (minute - 180) / 37 + ((minute - 180) % 37 > 0);
        assert_int_equal(stats.keys, COUNT - ended);
    }
    begin(f, &txn, 0);
    struct key key = store_key(f->store, 0, BYTES("late"));
    txn_set_int(&txn, &key, 1, txn.now_ms + (int64_t)100 * 60 * MINUTE);
    txn_commit(&txn);
    later(f, (uint64_t)101 * 60 * MINUTE); /* a machine that slept */
    for (int i = 0; i < 4; i++) {
        later(f, 20);
        while (worker_chores(f->worker, 0, 1, 1000000000)) {
        }
    }
    struct store_stats stats;
    store_stats(f->store, NULL, &stats);
    assert_int_equal(stats.keys_with_expiry, 0);
    begin(f, &txn, 0);
    assert_false(txn_read(&txn, &key, &value));
    txn_commit(&txn);
    fixture_free(f);
}

TEST(an_excluded_key_has_no_past_and_says_so) {
    struct fixture *f = fixture_new();
    struct store_settings settings = store_settings(f->store);
    struct bytes patterns[] = { BYTES("cache:*") };
    settings.history_exclude = patterns;
    settings.history_exclude_count = 1;
    store_configure(f->store, &settings);
    set_now(f, "cache:1", "one");
    set_now(f, "kept", "one");
    later(f, 10);
    set_now(f, "cache:1", "two");
    set_now(f, "kept", "two");
    later(f, 10);
    assert_string_equal(was(f, "cache:1", 0), "two");
    assert_string_equal(was(f, "cache:1", 15), "?");
    assert_string_equal(was(f, "kept", 15), "one");
    struct store_stats stats;
    store_stats(f->store, NULL, &stats);
    assert_int_equal(stats.history_records, 1);
    assert_int_equal(stats.horizon, 0);
    fixture_free(f);
}

TEST(without_history_the_past_is_refused_not_guessed) {
    struct fixture *f = fixture_new();
    struct store_settings settings = store_settings(f->store);
    struct key key = store_key(f->store, 0, BYTES("k"));
    struct txn txn;
    begin(f, &txn, 0);
    txn_set_int(&txn, &key, 1, 0);
    txn_commit(&txn);
    later(f, 10);
    begin(f, &txn, 0);
    txn_set_expire(&txn, &key, txn.now_ms + 100000);
    txn_commit(&txn);
    settings.history = false;
    store_configure(f->store, &settings);
    later(f, 10);
    set_now(f, "k", "lost");
    later(f, 10);
    settings.history = true;
    store_configure(f->store, &settings);
    set_now(f, "k", "kept");
    later(f, 10);
    set_now(f, "k", "now");
    assert_string_equal(was(f, "k", 0), "now");
    assert_string_equal(was(f, "k", 5), "kept");
    assert_string_equal(was(f, "k", 15), "lost");
    assert_string_equal(was(f, "k", 25),
                        "?"); /* the record of EXPIRE is a difference to what is lost */
    assert_string_equal(was(f, "k", 35), "?");
    fixture_free(f);
}

TEST(thinned_versions_are_exact_at_the_ends_of_their_intervals) {
    struct fixture *f = fixture_new();
    struct store_settings settings = store_settings(f->store);
    settings.history_resolution_ms = 1000;
    store_configure(f->store, &settings);
    uint64_t now = worker_now_ns(f->worker) / 1000000;
    later(f, 1000 - now % 1000); /* to the beginning of a second */
    for (int i = 0; i < 30; i++) {
        char text[8];
        snprintf(text, sizeof text, "n%d", i);
        set_now(f, "k", text);
        later(f, 100);
    }
    struct store_stats stats;
    store_stats(f->store, NULL, &stats);
    assert_int_equal(stats.history_records, 2); /* of 29 overwritten states, one a second */
    assert_string_equal(was(f, "k", 0), "n29");
    assert_string_equal(was(f, "k", 1100), "n19");
    assert_string_equal(was(f, "k", 1500), "n19");
    assert_string_equal(was(f, "k", 2100), "n9");
    fixture_free(f);
}

TEST(a_purged_past_is_gone_for_good) {
    struct fixture *f = fixture_new();
    set_now(f, "k", "secret");
    later(f, 10);
    set_now(f, "k", "open");
    later(f, 10);
    assert_string_equal(was(f, "k", 15), "secret");
    struct txn txn;
    begin(f, &txn, 0);
    struct key key = store_key(f->store, 0, BYTES("k"));
    past_purge(&txn, &key);
    txn_commit(&txn);
    assert_string_equal(was(f, "k", 5), "open");
    assert_string_equal(was(f, "k", 15), "?");
    struct shard *shard = store_shard(f->store, key.shard);
    const struct segment *segment = shard->history.ring[shard->history.tail & 3];
    assert_null(memmem(segment->mem, sizeof segment->mem, "secret", 6));
    fixture_free(f);
}

TEST(a_deleted_keys_past_can_be_purged_and_its_tombstone_still_goes) {
    struct fixture *f = fixture_new();
    struct txn txn;
    struct key key = store_key(f->store, 0, BYTES("k"));
    set_now(f, "k", "secret");
    later(f, 10);
    begin(f, &txn, 0);
    txn_delete(&txn, &key);
    txn_commit(&txn);
    later(f, 10);
    begin(f, &txn, 0);
    past_purge(&txn, &key);
    txn_commit(&txn);
    assert_null(was(f, "k", 0));
    assert_string_equal(was(f, "k", 15), "?");
    struct store_settings settings = store_settings(f->store);
    settings.history_window_ms = 1;
    store_configure(f->store, &settings);
    for (int i = 0; i < 20000; i++) { /* fills segments of every shard, so that the old ones go */
        char name[16];
        snprintf(name, sizeof name, "x%d", i % 100);
        set_now(f, name, "value");
        arena_clear(&f->arena);
    }
    later(f, 1000);
    store_janitor(f->store);
    struct store_stats stats;
    store_stats(f->store, NULL, &stats);
    assert_int_equal(stats.tombstones, 0);
    fixture_free(f);
}

static char dropped[64];
static void pin_dropped(void *self, struct bytes name) {
    (void)self;
    snprintf(dropped, sizeof dropped, "%.*s", (int)name.len, name.data);
}

static void churn(struct fixture *f, int changes) {
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < changes; i++) {
        char name[16];
        snprintf(name, sizeof name, "churn%d", i % 50);
        set_now(f, name, text);
        arena_clear(&f->arena);
        if (i % 100 == 0) {
            later(f, 1);
            store_janitor(f->store);
        }
    }
}

TEST(a_pin_keeps_what_it_needs_and_goes_loudly_when_it_cannot) {
    struct fixture *f = fixture_new();
    struct store_settings settings = store_settings(f->store);
    settings.history_memory = 4 * 1024 * 1024;
    settings.history_window_ms = 1;
    store_configure(f->store, &settings);
    store_on_pin_dropped(f->store, pin_dropped, NULL);
    set_now(f, "k", "then");
    later(f, 10);
    struct problem why;
    uint64_t at = worker_now_ns(f->worker);
    assert_int_equal(store_pin(f->store, NULL, BYTES("deploy"), at, &why), OK);
    later(f, 10);
    set_now(f, "k", "now");
    churn(f, 3000); /* 3 MB: beyond the window, within the budget */
    uint64_t pinned;
    assert_true(store_pin_find(f->store, BYTES("deploy"), &pinned));
    assert_true(past_horizon(f->store, NULL) <= pinned);
    uint64_t ago = (worker_now_ns(f->worker) - pinned) / 1000000;
    assert_string_equal(was(f, "k", ago), "then");

    dropped[0] = '\0';
    churn(f, 3000); /* more than the budget holds */
    assert_string_equal(dropped, "deploy");
    assert_false(store_pin_find(f->store, BYTES("deploy"), &pinned));
    churn(f, 3000);
    assert_true(past_horizon(f->store, NULL) > pinned);
    assert_int_equal(store_pin(f->store, NULL, BYTES("late"), pinned, &why), NOT_FOUND);
    fixture_free(f);
}

static void no_pin(void *self, struct bytes name, uint64_t at) {
    (void)self;
    (void)name;
    (void)at;
}

/* What looking at the pins makes a reply wait for: in each way there is to look. */
static uint64_t pins_seen(struct fixture *f) {
    struct txn txn;
    uint64_t at, seen = 0;
    (void)worker_take_seen(f->worker);
    for (int way = 0; way < 3; way++) {
        if (way == 2)
            begin(f, &txn, 0);
        else
            txn_begin_unlocked(&txn, f->worker, &f->arena, 0);
        if (way == 0) txn_pins(&txn, no_pin, NULL);
        if (way == 1) (void)txn_pin_find(&txn, BYTES("p"), &at);
        if (way == 2) assert_false(txn_unpin(&txn, BYTES("never there")));
        txn_commit(&txn);
        uint64_t now = worker_take_seen(f->worker);
        if (way > 0) assert_int_equal(now, seen);
        seen = now;
    }
    return seen;
}

TEST(who_sees_which_pins_there_are_waits_for_the_newest_change_of_them) {
    struct fixture *f = fixture_new();
    struct txn txn;
    struct problem why;
    uint64_t made, at;
    store_gate_reads(f->store, true);
    assert_int_equal(pins_seen(f), 0);
    later(f, 10);
    begin(f, &txn, 0);
    made = txn.stamp;
    assert_int_equal(txn_pin(&txn, BYTES("p"), worker_now_ns(f->worker), &why), OK);
    txn_commit(&txn);
    later(f, 10);
    set_now(f, "k", "is no pin");
    assert_int_equal(pins_seen(f), made);

    later(f, 10);
    begin(f, &txn, 0);
    uint64_t removed = txn.stamp;
    assert_true(txn_unpin(&txn, BYTES("p"))); /* that it is gone is shown as well */
    txn_commit(&txn);
    later(f, 10);
    assert_true(removed > made);
    assert_int_equal(pins_seen(f), removed);
    txn_begin_unlocked(&txn, f->worker, &f->arena, 0);
    assert_false(txn_pin_find(&txn, BYTES("p"), &at));
    txn_commit(&txn);

    store_gate_reads(f->store, false);
    assert_int_equal(pins_seen(f), 0);
    fixture_free(f);
}

TEST(only_the_last_flush_can_be_undone_and_once) {
    struct fixture *f = fixture_new();
    char name[16];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "k%d", i);
        set_now(f, name, "old");
    }
    struct txn txn;
    uint64_t keys;
    begin(f, &txn, TXN_MULTI);
    txn_flush(&txn, 0);
    txn_commit(&txn);
    set_now(f, "b", "new");
    begin(f, &txn, TXN_MULTI);
    txn_flush(&txn, 0);
    txn_commit(&txn);
    begin(f, &txn, TXN_MULTI);
    assert_true(txn_flushed_at(&txn, 0) != 0);
    txn_unflush(&txn, 0, &keys);
    assert_int_equal(keys, 1);
    assert_int_equal(txn_flushed_at(&txn, 0), 0);
    txn_commit(&txn);
    struct store_stats stats;
    store_stats(f->store, NULL, &stats);
    assert_int_equal(stats.keys, 1);
    fixture_free(f);
}

TEST(who_wrote_a_version_is_remembered) {
    struct fixture *f = fixture_new();
    uint16_t actor = store_actor_intern(f->store, BYTES("set"), BYTES("app-1"));
    assert_int_equal(store_actor_intern(f->store, BYTES("set"), BYTES("app-1")), actor);
    struct bytes op, client;
    uint64_t now = worker_now_ns(f->worker);
    assert_true(store_actor(f->store, actor, now, &f->arena, &op, &client));
    assert_true(bytes_equal(op, BYTES("set")) && bytes_equal(client, BYTES("app-1")));
    later(f, 5000);
    for (int i = 0; i < 70000; i++) {
        char name[16];
        struct bytes who = { name, (size_t)snprintf(name, sizeof name, "c%d", i) };
        store_actor_intern(f->store, BYTES("set"), who);
    }
    assert_false(
        store_actor(f->store, actor, now, &f->arena, &op, &client)); /* rather than a wrong one */
    fixture_free(f);
}
