/* rdb_export_test.c: a store's file is of one instant whatever happens meanwhile, takes the old
 * one's place as a whole or not at all, and is a store again. What happens meanwhile happens in
 * write calls. */
#include "log/rdb_export.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/env.h"
#include "base/mem.h"
#include "store/store.h"
#include "testing/testing.h"

enum { KEYS = 4000, VALUE_LEN = 200 };

struct world {
    struct env env; /* the simulated one, but for `pwrite` */
    struct env_ops ops;
    struct env *sim;
    struct store *store;
    struct worker *worker, *other;
    struct arena arena;
    void (*meanwhile)(struct world *w); /* at the first write */
};

static int64_t world_pwrite(struct env *env, struct env_file *file, const void *data, size_t len,
                            uint64_t at) {
    struct world *w = (struct world *)(void *)env;
    void (*meanwhile)(struct world *) = w->meanwhile;
    w->meanwhile = NULL;
    if (meanwhile) meanwhile(w);
    return w->sim->ops->pwrite(w->sim, file, data, len, at);
}

/* The other calls of the world are the simulated one's, which finds itself behind `env`. */
#define FORWARD(type, name, declared, passed)          \
    static type world_##name declared {                \
        struct world *w = (struct world *)(void *)env; \
        return w->sim->ops->name passed;               \
    }
FORWARD(uint64_t, monotonic_ns, (struct env * env), (w->sim))
FORWARD(uint64_t, realtime_ns, (struct env * env), (w->sim))
FORWARD(void, random, (struct env * env, void *out, size_t len), (w->sim, out, len))
FORWARD(int, open, (struct env * env, const char *path, unsigned flags, struct env_file **out),
        (w->sim, path, flags, out))
FORWARD(void, close, (struct env * env, struct env_file *file), (w->sim, file))
FORWARD(int64_t, pread,
        (struct env * env, struct env_file *file, void *out, size_t len, uint64_t at),
        (w->sim, file, out, len, at))
FORWARD(int, sync, (struct env * env, struct env_file *file), (w->sim, file))
FORWARD(int64_t, size, (struct env * env, struct env_file *file), (w->sim, file))
FORWARD(int, rename, (struct env * env, const char *from, const char *to), (w->sim, from, to))
FORWARD(int, unlink, (struct env * env, const char *path), (w->sim, path))
FORWARD(int, sync_dir, (struct env * env, const char *path), (w->sim, path))

static struct store *store_of(struct world *w) {
    return store_new(
        &(struct store_options){ .env = &w->env, .shards = 4, .databases = 3, .workers_max = 2 });
}

static struct world *world_new(void) {
    struct world *w = calloc(1, sizeof *w);
    w->sim = env_sim_new(5);
    w->ops = (struct env_ops){ .monotonic_ns = world_monotonic_ns,
                               .realtime_ns = world_realtime_ns,
                               .random = world_random,
                               .open = world_open,
                               .close = world_close,
                               .pread = world_pread,
                               .pwrite = world_pwrite,
                               .sync = world_sync,
                               .size = world_size,
                               .rename = world_rename,
                               .unlink = world_unlink,
                               .sync_dir = world_sync_dir };
    w->env.ops = &w->ops;
    w->store = store_of(w);
    w->worker = worker_new(w->store);
    w->other = worker_new(w->store);
    arena_init(&w->arena);
    return w;
}

static void leave_store(struct world *w) {
    w->worker = worker_free(w->worker);
    w->other = worker_free(w->other);
    w->store = store_free(w->store);
}

static void world_free(struct world *w) {
    leave_store(w);
    arena_deinit(&w->arena);
    env_sim_free(w->sim);
    free(w);
}

/* Another store, which is empty, in the same world. */
static void other_store(struct world *w) {
    leave_store(w);
    w->store = store_of(w);
    w->worker = worker_new(w->store);
    w->other = worker_new(w->store);
}

/* `text` NULL deletes. */
static void put(struct world *w, uint32_t db, const char *name, const char *text,
                int64_t expire_at_ms) {
    struct key key = store_key(w->store, db, bytes_of(name));
    struct txn txn;
    struct value value;
    env_sim_advance(w->sim, 1000);
    worker_tick(w->other);
    txn_begin_single(&txn, w->other, &w->arena, key.shard, 0);
    if (text)
        assert_int_equal(txn_set_string(&txn, &key, bytes_of(text), expire_at_ms), OK);
    else if (txn_read(&txn, &key, &value))
        txn_delete(&txn, &key);
    txn_commit(&txn);
    arena_clear(&w->arena);
}

/* A number's text, long and not to be compressed well. */
static const char *text_of(unsigned n, unsigned salt) {
    static char text[VALUE_LEN + 1];
    uint64_t chance = n * 977 + salt;
    for (size_t i = 0; i < VALUE_LEN; i++)
        text[i] = (char)('!' + ((chance = chance * 6364136223846793005u + 99991) >> 33) % 90);
    return text;
}

static const char *name_of(unsigned n) {
    static char name[16];
    snprintf(name, sizeof name, "key%u", n);
    return name;
}

static void fill(struct world *w, unsigned salt) {
    for (unsigned i = 0; i < KEYS; i++) put(w, i % 3, name_of(i), text_of(i, salt), 0);
}

static bool is(struct world *w, uint32_t db, const char *name, const char *text) {
    struct key key = store_key(w->store, db, bytes_of(name));
    struct txn txn;
    struct value value;
    char scratch[INT_TEXT_MAX];
    txn_begin_single(&txn, w->worker, &w->arena, key.shard, 0);
    bool found = txn_read(&txn, &key, &value);
    bool same = found == (text != NULL) &&
                (!found || bytes_equal(value_text(&value, scratch), bytes_of(text)));
    txn_commit(&txn);
    arena_clear(&w->arena);
    return same;
}

static uint64_t keys(struct world *w) {
    struct store_stats stats;
    store_stats(w->store, NULL, &stats);
    return stats.keys;
}

static void assert_filled(struct world *w, unsigned salt) {
    assert_int_equal(keys(w), KEYS);
    for (unsigned i = 0; i < KEYS; i++) assert_true(is(w, i % 3, name_of(i), text_of(i, salt)));
}

static struct rdb_export_report export(struct world *w) {
    struct rdb_export_report report;
    struct problem why = { 0 };
    enum status status = rdb_export(&w->env, "dump.rdb", w->store, w->worker, 0, &report, &why);
    if (status != OK) fail_msg("%s", why.text);
    return report;
}

static struct rdb_report import(struct world *w) {
    struct rdb_report report;
    struct problem why = { 0 };
    enum status status = rdb_import(&w->env, "dump.rdb", w->store, w->worker, &report, &why);
    if (status != OK) fail_msg("%s", why.text);
    return report;
}

static void replace_everything(struct world *w) {
    for (unsigned i = 0; i < KEYS; i++) put(w, i % 3, name_of(i), i % 5 ? text_of(i, 2) : NULL, 0);
    for (unsigned i = KEYS; i < 2 * KEYS; i++) put(w, i % 3, name_of(i), "new", 0);
}

TEST(a_file_is_of_one_instant_whatever_is_written_meanwhile) {
    struct world *w = world_new();
    fill(w, 1);
    w->meanwhile = replace_everything;
    struct rdb_export_report report = export(w);
    assert_null(w->meanwhile);
    assert_int_equal(report.keys, KEYS);
    assert_false(report.fuzzy);
    assert_int_equal(report.fuzzy_keys, 0);
    assert_true(report.at > 0);
    assert_true(report.bytes > KEYS * VALUE_LEN);
    other_store(w);
    struct rdb_report read = import(w);
    assert_int_equal(read.keys, KEYS);
    assert_int_equal(read.version, RDB_WRITE_VERSION);
    assert_filled(w, 1);
    world_free(w);
}

static void on_all(struct world *w, void (*change)(struct txn *txn)) {
    struct shardset all = { 0 };
    struct txn txn;
    for (unsigned i = 0; i < 4; i++) shardset_add(&all, i);
    env_sim_advance(w->sim, 1000);
    worker_tick(w->other);
    txn_begin(&txn, w->other, &w->arena, &all, TXN_MULTI);
    change(&txn);
    txn_commit(&txn);
}

static void flush_one(struct txn *txn) {
    txn_flush(txn, 1);
}
static void swap_two(struct txn *txn) {
    txn_swap(txn, 0, 2);
}
static void flush(struct world *w) {
    on_all(w, flush_one);
}
static void swap(struct world *w) {
    on_all(w, swap_two);
}

TEST(a_flush_meanwhile_is_not_in_the_file) {
    struct world *w = world_new();
    fill(w, 1);
    w->meanwhile = flush;
    assert_int_equal(export(w).keys, KEYS);
    other_store(w);
    import(w);
    assert_filled(w, 1);
    world_free(w);
}

TEST(an_instant_can_be_chosen) {
    struct world *w = world_new();
    fill(w, 1);
    uint64_t at = worker_now_ns(w->other);
    replace_everything(w);
    struct rdb_export_report report;
    struct problem why;
    assert_int_equal(rdb_export(&w->env, "dump.rdb", w->store, w->worker, at, &report, &why), OK);
    assert_int_equal(report.at, at);
    other_store(w);
    import(w);
    assert_filled(w, 1);
    world_free(w);
}

static void remove_most(struct world *w) {
    for (unsigned i = 0; i < KEYS; i++)
        if (i % 50) put(w, 0, name_of(i), NULL, 0);
    for (int i = 0; i < 1000; i++) worker_chores(w->other, 0, 1, 1000000); /* tables shrink */
}

static enum status met_once(void *self, const struct rdb_key *key, struct problem *why) {
    unsigned char *met = self;
    (void)why;
    unsigned n = 0;
    for (size_t i = strlen("key"); i < key->name.len; i++)
        n = n * 10 + (unsigned)(key->name.data[i] - '0');
    assert_true(n < KEYS);
    assert_int_equal(met[n], 0);
    met[n] = 1;
    return OK;
}

static enum status from_file(void *self, void *out, size_t len, struct problem *why) {
    struct bytes *left = self;
    (void)why;
    if (left->len < len) return NEED_MORE;
    memcpy(out, left->data, len);
    left->data += len;
    left->len -= len;
    return OK;
}

TEST(without_history_a_file_is_fuzzy_and_has_no_key_twice) {
    for (unsigned variation = 0; variation < 20; variation++) { /* where the first write comes */
        struct world *w = world_new();
        struct store_settings settings = store_settings(w->store);
        settings.history = false;
        store_configure(w->store, &settings);
        for (unsigned i = 0; i < KEYS; i++) put(w, 0, name_of(i), text_of(i, 1) + 7 * variation, 0);
        w->meanwhile = remove_most;
        struct rdb_export_report report = export(w);
        assert_true(report.fuzzy);
        assert_int_equal(report.at, 0);
        assert_int_equal(report.fuzzy_keys, report.keys);
        assert_in_range(report.keys, KEYS / 50 + 1, KEYS - 1);
        struct bytes file, rest;
        struct problem why;
        struct rdb_report read;
        static unsigned char met[KEYS];
        memset(met, 0, sizeof met);
        assert_int_equal(env_read_file(&w->env, "dump.rdb", 1 << 24, &file, &why), OK);
        rest = file;
        struct rdb_source source = { from_file, &rest };
        assert_int_equal(rdb_read(source, 0, met_once, met, &read, &why), OK);
        for (unsigned i = 0; i < KEYS; i += 50) assert_int_equal(met[i], 1);
        mem_free((char *)(uintptr_t)file.data, file.len);
        world_free(w);
    }
}

TEST(keys_without_a_past_are_in_the_file_as_they_are) {
    struct world *w = world_new();
    struct bytes pattern = BYTES("key1*");
    struct store_settings settings = store_settings(w->store);
    settings.history_exclude = &pattern;
    settings.history_exclude_count = 1;
    store_configure(w->store, &settings);
    fill(w, 1);
    struct rdb_export_report report = export(w);
    assert_int_equal(report.keys, KEYS);
    assert_int_equal(report.fuzzy_keys, 1111); /* key1, key1?, key1??, key1??? */
    assert_true(report.fuzzy);
    other_store(w);
    import(w);
    assert_filled(w, 1);
    world_free(w);
}

static void churn(struct world *w) {
    struct store_settings settings = store_settings(w->store);
    settings.history_memory = 1;
    store_configure(w->store, &settings);
    for (unsigned salt = 5; salt < 8; salt++) fill(w, salt);
    store_janitor(w->store);
}

TEST(a_swap_meanwhile_fails_the_file) { /* the past is not followed through one */
    struct world *w = world_new();
    fill(w, 1);
    w->meanwhile = swap;
    struct rdb_export_report report;
    struct problem why;
    assert_int_equal(rdb_export(&w->env, "dump.rdb", w->store, w->worker, 0, &report, &why), LIMIT);
    assert_non_null(strstr(why.text, "SWAPDB"));
    world_free(w);
}

TEST(what_was_forgotten_meanwhile_fails_the_file) {
    struct world *w = world_new();
    fill(w, 1);
    export(w);
    fill(w, 3);
    w->meanwhile = churn;
    struct rdb_export_report report;
    struct problem why;
    assert_int_equal(rdb_export(&w->env, "dump.rdb", w->store, w->worker, 0, &report, &why), LIMIT);
    assert_non_null(strstr(why.text, "history-memory"));
    other_store(w);
    import(w);
    assert_filled(w, 1); /* the file of before stands */
    world_free(w);
}

TEST(a_file_takes_the_place_of_the_old_one_or_nothing_happens) {
    struct world *w = world_new();
    fill(w, 1);
    export(w);
    put(w, 0, "more", "than before", 0);
    struct problem why;
    struct rdb_export_report report;
    struct rdb_report read;
    enum status status = IO;
    unsigned n = 0;
    while (status != OK) {
        env_sim_fail_at(w->sim, ++n, ENOSPC);
        status = rdb_export(&w->env, "dump.rdb", w->store, w->worker, 0, &report, &why);
        env_sim_fail_at(w->sim, 0, 0);
        if (status == OK) break;
        assert_int_equal(status, IO);
        assert_int_equal(why.error, ENOSPC);
        assert_int_equal(rdb_import(&w->env, "dump.rdb", w->store, w->worker, &read, &why), OK);
        assert_in_range(read.keys, KEYS, KEYS + 1); /* + 1: only the folder's sync failed */
        struct bytes left;
        assert_int_equal(env_read_file(&w->env, "dump.rdb.tmp", 1 << 24, &left, &why), NOT_FOUND);
        assert_true(is(w, 0, "more", "than before"));
    }
    assert_true(n > 5);
    env_sim_crash(w->sim);
    assert_int_equal(rdb_import(&w->env, "dump.rdb", w->store, w->worker, &read, &why), OK);
    assert_int_equal(read.keys, KEYS + 1);
    world_free(w);
}

static void file_is(struct world *w, struct bytes body) {
    char file[1024];
    size_t len = 9;
    memcpy(file, "REDIS0009", len);
    memcpy(file + len, body.data, body.len);
    len += body.len;
    memcpy(file + len, "\xff\0\0\0\0\0\0\0", 9);
    assert_int_equal(env_replace_file(&w->env, "dump.rdb", (struct bytes){ file, len + 9 }, NULL),
                     OK);
}

TEST(a_file_that_cannot_be_held_changes_nothing) {
    static const struct {
        struct bytes body;
        enum status status;
        const char *sentence;
    } cases[] = {
        { BYTES("\xfe\x00\x00\x01k\x01v\x04\x01h\x00"), UNSUPPORTED,
          "dump.rdb: key 'h' is a hash" },
        { BYTES("\xfe\x00\x00\x01k\x01v\xfe\x03\x00\x01k\x01v"), LIMIT,
          "dump.rdb: it has a database 3, and there are 3 here" },
        { BYTES("\xfe\x00\x00\x01k\x01v\x00"), CORRUPT, "dump.rdb: " },
        { BYTES("\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0*1\r\n"), CORRUPT, "is it an AOF?" },
    };
    struct world *w = world_new();
    struct rdb_report report;
    struct problem why;
    put(w, 0, "k", "old", 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        file_is(w, cases[i].body);
        assert_int_equal(rdb_import(&w->env, "dump.rdb", w->store, w->worker, &report, &why),
                         cases[i].status);
        if (!strstr(why.text, cases[i].sentence)) assert_string_equal(why.text, cases[i].sentence);
        assert_true(is(w, 0, "k", "old"));
        assert_int_equal(keys(w), 1);
    }
    assert_int_equal(rdb_import(&w->env, "none.rdb", w->store, w->worker, &report, &why),
                     NOT_FOUND);
    file_is(w, BYTES("\xfe\x00\x00\x01k\x01v\xfc\x01\0\0\0\0\0\0\0\x00\x01o\x01v"));
    report = import(w);
    assert_int_equal(report.keys, 1);
    assert_int_equal(report.expired, 1);
    assert_true(is(w, 0, "k", "v"));
    world_free(w);
}

TEST(values_of_every_size_and_their_ends_come_back) {
    struct world *w = world_new();
    char *large = malloc(300001);
    for (size_t i = 0; i < 300000; i++) large[i] = (char)('a' + i % 7 + i / 1000 % 13);
    large[300000] = '\0';
    put(w, 0, "small", "", 0);
    put(w, 1, "number", "-42", 32503680000000);
    put(w, 1, "large", large, 0);
    large[2000] = '\0';
    put(w, 2, "middle", large, 32503680000001);
    put(w, 2, "over", "x", 1); /* its time is over: it is not there */
    assert_int_equal(export(w).keys, 4);
    other_store(w);
    assert_int_equal(import(w).keys, 4);
    assert_true(is(w, 0, "small", ""));
    assert_true(is(w, 1, "number", "-42"));
    assert_true(is(w, 2, "middle", large));
    large[2000] = (char)('a' + 2000 % 7 + 2);
    assert_true(is(w, 1, "large", large));
    struct db_stats stats;
    store_db_stats(w->store, NULL, 2, &stats);
    assert_int_equal(stats.expires, 1);
    free(large);
    world_free(w);
}
