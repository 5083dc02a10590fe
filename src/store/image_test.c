/* image_test.c: what an image keeps, and what a loader makes of one that was damaged.
 *
 * src/log/recover_model_test.c has the random worlds; here stands each kind of thing once. */
#include "store/image.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/env.h"
#include "store/past.h"
#include "store/shard.h"
#include "testing/testing.h"

enum { SECTIONS_MAX = 4096, INSTANTS_MAX = 256 };

struct world {
    struct env *env;
    struct store *store;
    struct worker *worker;
    struct arena arena;
    struct image_section *sections; /* bytes owned */
    size_t sections_count;
    uint64_t instants[INSTANTS_MAX]; /* after each change */
    size_t instants_count;
};

static struct store *store_of(struct env *env, const struct siphash_key *seed, unsigned databases) {
    return store_new(&(struct store_options){
        .env = env, .shards = 4, .databases = databases, .workers_max = 2, .seed = seed });
}

static struct world *world_new(void) {
    struct world *w = calloc(1, sizeof *w);
    w->env = env_sim_new(1);
    w->store = store_of(w->env, NULL, 4);
    w->worker = worker_new(w->store);
    w->sections = calloc(SECTIONS_MAX, sizeof *w->sections);
    arena_init(&w->arena);
    return w;
}

static void forget_sections(struct world *w) {
    for (size_t i = 0; i < w->sections_count; i++)
        free((char *)(uintptr_t)w->sections[i].bytes.data);
    w->sections_count = 0;
}

static void world_free(struct world *w) {
    worker_free(w->worker);
    store_free(w->store);
    arena_deinit(&w->arena);
    env_sim_free(w->env);
    forget_sections(w);
    free(w->sections);
    free(w);
}

/* --- changing --- */

static struct key key_of(const struct world *w, uint32_t db, const char *name) {
    return store_key(w->store, db, bytes_of(name));
}

static void pass(struct world *w) {
    env_sim_advance(w->env, 5000000);
    worker_tick(w->worker);
    if (w->instants_count < INSTANTS_MAX)
        w->instants[w->instants_count++] = worker_now_ns(w->worker);
}

static void begin(struct world *w, struct txn *txn, const struct key *key) {
    pass(w);
    txn_begin_single(txn, w->worker, &w->arena, key->shard, 0);
}

static void begin_all(struct world *w, struct txn *txn, struct shardset *set) {
    pass(w);
    *set = (struct shardset){ { 0 } };
    for (unsigned i = 0; i < w->store->shards_count; i++) shardset_add(set, i);
    txn_begin(txn, w->worker, &w->arena, set, TXN_MULTI);
}

static void set_text(struct world *w, uint32_t db, const char *name, struct bytes text,
                     int64_t ttl_ms) {
    struct key key = key_of(w, db, name);
    struct txn txn;
    begin(w, &txn, &key);
    assert_int_equal(txn_set_string(&txn, &key, text, ttl_ms ? txn.now_ms + ttl_ms : 0), OK);
    txn_commit(&txn);
}

static void set(struct world *w, const char *name, const char *text) {
    set_text(w, 0, name, bytes_of(text), 0);
}

static void append(struct world *w, const char *name, size_t len, char fill) {
    struct key key = key_of(w, 0, name);
    char *text = malloc(len);
    memset(text, fill, len);
    struct txn txn;
    struct value value;
    begin(w, &txn, &key);
    uint64_t old = txn_read(&txn, &key, &value) ? value_text_len(&value) : 0;
    assert_int_equal(txn_splice(&txn, &key, old, (struct bytes){ text, len }), OK);
    txn_commit(&txn);
    free(text);
}

static void erase(struct world *w, const char *name) {
    struct key key = key_of(w, 0, name);
    struct txn txn;
    begin(w, &txn, &key);
    struct value value;
    assert_true(txn_read(&txn, &key, &value));
    txn_delete(&txn, &key);
    txn_commit(&txn);
}

/* --- images --- */

static void keep(struct world *w, const struct image_section *section) {
    if (!section->kind) return;
    assert_true(w->sections_count < SECTIONS_MAX);
    size_t len = section->bytes.len + section->tail.len;
    char *copy = malloc(len + 1);
    if (section->bytes.len) memcpy(copy, section->bytes.data, section->bytes.len);
    if (section->tail.len) memcpy(copy + section->bytes.len, section->tail.data, section->tail.len);
    struct image_section *kept = &w->sections[w->sections_count++];
    *kept = *section;
    kept->bytes = (struct bytes){ copy, len };
    kept->tail = (struct bytes){ 0 };
}

static void take_with(struct world *w, bool past, void (*meanwhile)(struct world *w)) {
    struct image *image = image_begin(w->store, w->worker, past);
    struct image_section section;
    while (image_keys(image, &section)) {
        keep(w, &section);
        if (meanwhile) meanwhile(w);
    }
    while (image_past(image, &section)) keep(w, &section);
    while (image_rest(image, &section)) keep(w, &section);
    assert_false(image_failed(image));
    image_end(image);
}

static void take(struct world *w, bool past) {
    take_with(w, past, NULL);
}

static int pass_of(const struct image_section *section) {
    return section->kind == IMAGE_STORE ? 0 : section->kind == IMAGE_PAST ? 1 : 2;
}

/* Loads the sections in the order of the files, as far as they are good. */
static enum status load_into(const struct world *w, struct store *store, struct worker *worker,
                             struct problem *why) {
    struct image_loader *loader = image_loader_new(store, 1 << 20);
    enum status status = OK;
    for (int pass = 0; pass < 3; pass++)
        for (size_t i = 0; i < w->sections_count && status == OK; i++)
            if (pass_of(&w->sections[i]) == pass)
                status = image_load(loader, worker, &w->sections[i], why);
    for (uint32_t i = 0; i < store->shards_count && status == OK; i++) {
        uint64_t captured, visited;
        status = image_loaded(loader, i, &captured, &visited, why);
        if (status == OK) assert_true(captured && captured <= visited);
    }
    image_loader_free(loader);
    return status;
}

/* The world that the image makes: its own store, the same time. */
static struct world *load(struct world *w) {
    struct world *other = calloc(1, sizeof *other);
    other->env = w->env;
    other->store = store_of(w->env, &w->store->seed, 4);
    other->worker = worker_new(other->store);
    arena_init(&other->arena);
    struct problem why = { .text = "" };
    enum status status = load_into(w, other->store, other->worker, &why);
    if (status != OK) print_message("%s\n", why.text);
    assert_int_equal(status, OK);
    worker_tick(other->worker);
    return other;
}

static void unload(struct world *other) {
    worker_free(other->worker);
    store_free(other->store);
    arena_deinit(&other->arena);
    free(other);
}

/* --- comparing --- */

static enum found read_at(struct world *w, uint32_t db, const char *name, uint64_t at,
                          struct value *value, uint64_t *oldest) {
    struct key key = key_of(w, db, name);
    struct txn txn;
    txn_begin_unlocked(&txn, w->worker, &w->arena, 0);
    *oldest = 0;
    enum found found = past_read(&txn, &key, at, value, oldest);
    if (found == FOUND) {
        char scratch[INT_TEXT_MAX];
        value->bytes = arena_copy(&w->arena, value_text(value, scratch));
    }
    txn_commit(&txn);
    return found;
}

static void same_at(struct world *w, struct world *other, uint32_t db, const char *name,
                    uint64_t at) {
    struct value one, two;
    uint64_t oldest, other_oldest;
    enum found found = read_at(w, db, name, at, &one, &oldest);
    assert_int_equal(found, read_at(other, db, name, at, &two, &other_oldest));
    assert_int_equal(oldest, other_oldest);
    if (found != FOUND) return;
    assert_true(bytes_equal(one.bytes, two.bytes));
    assert_int_equal(one.encoding, two.encoding);
    assert_int_equal(one.expire_at_ms, two.expire_at_ms);
    assert_int_equal(one.stamp, two.stamp);
    assert_int_equal(one.actor, two.actor);
}

struct listed {
    uint64_t stamps[64];
    uint16_t actors[64];
    size_t count;
};

static bool list_version(void *self, const struct version *version) {
    struct listed *listed = self;
    assert_true(listed->count < COUNT_OF(listed->stamps));
    listed->stamps[listed->count] = version->stamp;
    listed->actors[listed->count++] = version->actor;
    return true;
}

static bool list(struct world *w, uint32_t db, const char *name, struct listed *out) {
    struct key key = key_of(w, db, name);
    struct txn txn;
    uint64_t oldest;
    *out = (struct listed){ .count = 0 };
    txn_begin_unlocked(&txn, w->worker, &w->arena, 0);
    bool complete = past_versions(&txn, &key, list_version, out, &oldest);
    txn_commit(&txn);
    return complete;
}

static void same_versions(struct world *w, struct world *other, uint32_t db, const char *name) {
    struct listed one, two;
    assert_int_equal(list(w, db, name, &one), list(other, db, name, &two));
    assert_int_equal(one.count, two.count);
    assert_memory_equal(one.stamps, two.stamps, sizeof one.stamps);
    assert_memory_equal(one.actors, two.actors, sizeof one.actors);
}

static void same_key(struct world *w, struct world *other, uint32_t db, const char *name) {
    for (size_t i = 0; i < w->instants_count; i++) same_at(w, other, db, name, w->instants[i]);
    same_at(w, other, db, name, worker_now_ns(w->worker));
    same_versions(w, other, db, name);
    arena_clear(&w->arena);
    arena_clear(&other->arena);
}

static void same_figures(struct world *w, struct world *other) {
    struct store_stats one, two;
    store_stats(w->store, NULL, &one);
    store_stats(other->store, NULL, &two);
    assert_int_equal(one.keys, two.keys);
    assert_int_equal(one.keys_with_expiry, two.keys_with_expiry);
    assert_int_equal(one.tombstones, two.tombstones);
    assert_int_equal(one.history_records, two.history_records);
    assert_int_equal(one.horizon, two.horizon);
}

/* --- tests --- */

static void make_one_of_each(struct world *w) {
    char long_text[900], longer[3000];
    memset(long_text, 'l', sizeof long_text);
    memset(longer, 'b', sizeof longer);
    set(w, "int", "17");
    set(w, "int", "-9223372036854775808");
    set(w, "int", "17");
    set(w, "inline", "some text");
    set_text(w, 0, "inline", (struct bytes){ long_text, sizeof long_text }, 0);
    set_text(w, 0, "blob", (struct bytes){ longer, sizeof longer }, 100000);
    set_text(w, 0, "blob", (struct bytes){ longer, sizeof longer - 1 }, 200000);
    set(w, "edited", "first");
    append(w, "edited", 30, 'e');
    for (int i = 0; i < 9; i++) append(w, "buffer", 700, (char)('a' + i));
    set(w, "gone", "was here");
    erase(w, "gone");
    set(w, "back", "one life");
    erase(w, "back");
    set(w, "back", "another");
    set(w, "", "the empty name");
    set_text(w, 1, "int", BYTES("in another database"), 7000);
    set_text(w, 3, "inline", BYTES(""), 0);
}

static const char *const one_of_each[] = { "int",  "inline", "blob", "edited", "buffer",
                                           "gone", "back",   "",     "never" };

TEST(every_encoding_and_every_version_comes_back) {
    struct world *w = world_new();
    make_one_of_each(w);
    take(w, true);
    struct world *other = load(w);
    same_figures(w, other);
    for (uint32_t db = 0; db < 4; db++)
        for (size_t i = 0; i < COUNT_OF(one_of_each); i++) same_key(w, other, db, one_of_each[i]);
    unload(other);
    world_free(w);
}

TEST(large_values_and_names_are_sections_of_their_own) {
    struct world *w = world_new();
    size_t len = 300000;
    char *text = malloc(len), *name = malloc(70001);
    memset(text, 'x', len);
    memset(name, 'n', 70000);
    name[70000] = '\0';
    for (size_t i = 0; i < 3; i++) set_text(w, 0, "blob", (struct bytes){ text, len - i }, 0);
    append(w, "buffer", 100000, 'p');
    append(w, "buffer", 50000, 'q');
    set(w, name, "short");
    set(w, name, "other");
    take(w, true);
    for (size_t i = 0; i < w->sections_count; i++)
        if (w->sections[i].bytes.len > 60000) assert_int_equal(w->sections[i].count, 1);
    struct world *other = load(w);
    same_key(w, other, 0, "blob");
    same_key(w, other, 0, "buffer");
    same_key(w, other, 0, name);
    unload(other);
    world_free(w);
    free(text);
    free(name);
}

TEST(without_the_past_it_is_not_known_rather_than_empty) {
    struct world *w = world_new();
    make_one_of_each(w);
    take(w, false);
    for (size_t i = 0; i < w->sections_count; i++)
        assert_int_not_equal(w->sections[i].kind, IMAGE_PAST);
    struct world *other = load(w);
    for (size_t i = 0; i < COUNT_OF(one_of_each); i++) {
        same_at(w, other, 0, one_of_each[i], worker_now_ns(w->worker));
        for (size_t n = 0; n < w->instants_count; n++) {
            struct value one, two;
            uint64_t oldest;
            enum found found = read_at(other, 0, one_of_each[i], w->instants[n], &two, &oldest);
            if (found == PRUNED) continue;
            assert_int_equal(found, read_at(w, 0, one_of_each[i], w->instants[n], &one, &oldest));
            if (found == FOUND) assert_true(bytes_equal(one.bytes, two.bytes));
        }
    }
    struct store_stats stats;
    store_stats(other->store, NULL, &stats);
    assert_int_equal(stats.tombstones, 0);
    assert_int_equal(stats.history_records, 0);
    assert_true(stats.horizon >= w->instants[w->instants_count - 1]);
    unload(other);
    world_free(w);
}

static void flush(struct world *w, uint32_t db) {
    struct txn txn;
    struct shardset set;
    begin_all(w, &txn, &set);
    txn_flush(&txn, db);
    txn_commit(&txn);
}

static uint64_t unflush(struct world *w, uint32_t db) {
    struct txn txn;
    struct shardset set;
    uint64_t keys = 0;
    begin_all(w, &txn, &set);
    if (txn_flushed_at(&txn, db)) txn_unflush(&txn, db, &keys);
    txn_commit(&txn);
    return keys;
}

TEST(flushed_databases_come_back_as_such) {
    struct world *w = world_new();
    set(w, "a", "1");
    set(w, "b", "2");
    flush(w, 0);
    set(w, "b", "3");
    assert_int_equal(unflush(w, 0), 2);
    set(w, "c", "4");
    set_text(w, 1, "c", BYTES("kept"), 0);
    flush(w, 1);
    struct txn txn;
    struct shardset all;
    begin_all(w, &txn, &all);
    txn_swap(&txn, 2, 3);
    txn_commit(&txn);
    take(w, true);
    struct world *other = load(w);
    same_figures(w, other);
    assert_int_equal(w->store->flushed_size, other->store->flushed_size);
    for (uint32_t db = 0; db < 4; db++) {
        same_key(w, other, db, "a");
        same_key(w, other, db, "b");
        same_key(w, other, db, "c");
    }
    other->instants_count = INSTANTS_MAX;
    assert_int_equal(unflush(other, 1), 1);
    assert_int_equal(unflush(other, 0), 0);
    unload(other);
    world_free(w);
}

TEST(a_flush_can_be_undone_even_without_the_past) {
    struct world *w = world_new();
    set(w, "a", "1");
    set(w, "a", "2");
    set(w, "gone", "x");
    erase(w, "gone");
    flush(w, 0);
    set(w, "b", "3");
    take(w, false);
    struct world *other = load(w);
    struct value value;
    uint64_t oldest;
    assert_int_equal(read_at(other, 0, "a", worker_now_ns(w->worker), &value, &oldest), ABSENT);
    assert_int_equal(unflush(other, 0), 1);
    pass(other);
    assert_int_equal(read_at(other, 0, "a", worker_now_ns(other->worker), &value, &oldest), FOUND);
    assert_true(bytes_equal(value.bytes, BYTES("2")));
    assert_int_equal(read_at(other, 0, "b", worker_now_ns(other->worker), &value, &oldest), FOUND);
    unload(other);
    world_free(w);
}

TEST(what_was_excluded_or_purged_stays_unknown) {
    struct world *w = world_new();
    struct store_settings settings = store_settings(w->store);
    struct bytes pattern = BYTES("x:*"), later = BYTES("y:*");
    settings.history_exclude = &pattern;
    settings.history_exclude_count = 1;
    store_configure(w->store, &settings);
    set(w, "x:1", "a");
    set(w, "x:1", "b");
    set(w, "x:2", "a");
    erase(w, "x:2");
    settings.history_exclude = &later;
    store_configure(w->store, &settings);
    set(w, "purged", "a");
    set(w, "purged", "b");
    set(w, "left", "a");
    set(w, "left", "b");
    struct key key = key_of(w, 0, "purged");
    struct txn txn;
    begin(w, &txn, &key);
    past_purge(&txn, &key);
    txn_commit(&txn);
    take(w, true);
    struct world *other = load(w);
    static const char *const names[] = { "x:1", "x:2", "x:3", "y:1", "purged", "left" };
    for (size_t i = 0; i < COUNT_OF(names); i++) same_key(w, other, 0, names[i]);
    assert_true(store_ever_excluded(other->store, BYTES("x:9")));
    assert_true(store_ever_excluded(other->store, BYTES("y:9")));
    assert_false(store_ever_excluded(other->store, BYTES("z:9")));
    unload(other);
    world_free(w);
}

struct pins {
    size_t count;
    uint64_t sum;
};

static void count_pin(void *self, struct bytes name, uint64_t at) {
    struct pins *pins = self;
    pins->count++;
    pins->sum += at * name.len;
}

TEST(restore_points_and_writers_come_back) {
    struct world *w = world_new();
    struct key key = key_of(w, 0, "k");
    uint16_t actors[3];
    for (size_t i = 0; i < 3; i++) {
        char client[16];
        int len = snprintf(client, sizeof client, "client-%zu", i);
        struct txn txn;
        begin(w, &txn, &key);
        actors[i] = txn.actor =
            store_actor_intern(w->store, BYTES("set"), (struct bytes){ client, (size_t)len });
        assert_int_equal(txn_set_string(&txn, &key, (struct bytes){ client, (size_t)len }, 0), OK);
        txn_commit(&txn);
    }
    assert_int_equal(store_pin(w->store, NULL, BYTES("before"), w->instants[0], NULL), OK);
    assert_int_equal(store_pin(w->store, NULL, BYTES("after"), w->instants[2], NULL), OK);
    take(w, true);
    struct world *other = load(w);
    same_key(w, other, 0, "k");
    for (size_t i = 0; i < 3; i++) {
        struct bytes op, client;
        assert_true(
            store_actor(other->store, actors[i], w->instants[i], &other->arena, &op, &client));
        assert_true(bytes_equal(op, BYTES("set")));
        assert_int_equal(client.data[client.len - 1], '0' + (char)i);
    }
    assert_int_equal(store_actors_interned(w->store), store_actors_interned(other->store));
    struct pins one = { 0 }, two = { 0 };
    store_pins(w->store, count_pin, &one);
    store_pins(other->store, count_pin, &two);
    assert_int_equal(one.count, two.count);
    assert_int_equal(one.sum, two.sum);
    assert_int_equal(w->store->pins_oldest, other->store->pins_oldest);
    unload(other);
    world_free(w);
}

static void set_many(struct world *w) {
    static unsigned n;
    for (int i = 0; i < 40; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "new:%u", n++);
        set(w, name, "x");
    }
}

TEST(a_table_that_grows_meanwhile_loses_no_key) {
    struct world *w = world_new();
    char name[24];
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(name, sizeof name, "old:%u", i);
        set(w, name, name);
    }
    take_with(w, true, set_many);
    struct world *other = load(w);
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(name, sizeof name, "old:%u", i);
        same_at(w, other, 0, name, worker_now_ns(w->worker));
    }
    unload(other);
    world_free(w);
}

static void drop_some_past(struct world *w) {
    static unsigned n;
    if (++n % 3 == 0) store_janitor(w->store);
    for (int i = 0; i < 20; i++) set(w, "hot", i % 2 ? "one" : "other");
}

TEST(what_is_dropped_while_it_is_copied_reads_as_dropped) {
    struct world *w = world_new();
    struct store_settings settings = store_settings(w->store);
    settings.history_memory = 300 * 1024;
    store_configure(w->store, &settings);
    char name[24], text[600];
    memset(text, 't', sizeof text);
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(name, sizeof name, "k:%u", i % 500);
        set_text(w, 0, name, (struct bytes){ text, i % sizeof text }, 0);
        if (i % 7 == 0) erase(w, name);
    }
    take_with(w, true, drop_some_past);
    struct world *other = load(w);
    w->instants_count = 0;
    for (unsigned i = 0; i < 500; i++) {
        (void)snprintf(name, sizeof name, "k:%u", i);
        same_at(w, other, 0, name, worker_now_ns(w->worker));
        for (uint64_t back = 1; back < 9; back++) {
            struct value value;
            uint64_t at = worker_now_ns(w->worker) - back * 1000000000, oldest;
            enum found known = read_at(w, 0, name, at, &value, &oldest);
            if (known != PRUNED)
                assert_int_equal(read_at(other, 0, name, at, &value, &oldest), known);
        }
    }
    /* And all of it can go. */
    settings.history_memory = 1;
    store_configure(other->store, &settings);
    for (int i = 0; i < 3; i++) store_janitor(other->store);
    struct store_stats stats;
    store_stats(other->store, NULL, &stats);
    assert_int_equal(stats.tombstones, 0);
    assert_int_equal(stats.history_memory, 0);
    unload(other);
    world_free(w);
}

TEST(keys_expire_after_loading) {
    struct world *w = world_new();
    set_text(w, 0, "soon", BYTES("x"), 50);
    set_text(w, 0, "late", BYTES("x"), 3 * 60 * 60 * 1000);
    take(w, true);
    struct world *other = load(w);
    struct store_stats stats;
    store_stats(other->store, NULL, &stats);
    assert_int_equal(stats.keys_with_expiry, 2);
    env_sim_advance(w->env, 200000000);
    for (int i = 0; i < 4; i++) worker_chores(other->worker, 0, 1, 1000000000);
    store_stats(other->store, NULL, &stats);
    assert_int_equal(stats.keys, 1);
    assert_int_equal(store_counter(other->store, COUNTER_expired_keys), 1);
    unload(other);
    world_free(w);
}

TEST(what_an_image_still_looks_at_does_not_count_as_past) {
    struct world *w = world_new();
    make_one_of_each(w);
    flush(w, 0);
    assert_true(w->store->flushed_size > 0);
    struct image *image = image_begin(w->store, w->worker, true);
    struct store_settings settings = store_settings(w->store);
    settings.history_memory = 1;
    store_configure(w->store, &settings);
    store_janitor(w->store);
    assert_int_equal(w->store->flushed_size, 0);
    image_end(image);
    assert_int_equal(w->store->flushed_size, 0);
    world_free(w);
}

TEST(half_an_image_can_be_given_up) {
    struct world *w = world_new();
    make_one_of_each(w);
    char text[20000];
    memset(text, 'x', sizeof text);
    for (int i = 0; i < 40; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "l%d", i);
        set_text(w, 0, name, (struct bytes){ text, sizeof text }, 0);
    }
    for (int steps = 0; steps < 30; steps++) {
        struct image *image = image_begin(w->store, w->worker, true);
        struct image_section section;
        for (int i = 0; i < steps; i++)
            if (!image_keys(image, &section) && !image_past(image, &section))
                (void)image_rest(image, &section);
        image_end(image);
    }
    world_free(w);
}

TEST(another_store_is_refused) {
    struct world *w = world_new();
    make_one_of_each(w);
    take(w, true);
    struct problem why;
    struct siphash_key seed = { 1, 2 };
    struct {
        const struct siphash_key *seed;
        unsigned databases;
        enum status expected;
    } cases[] = { { &seed, 4, CORRUPT }, { &w->store->seed, 3, UNSUPPORTED } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct store *store = store_of(w->env, cases[i].seed, cases[i].databases);
        struct worker *worker = worker_new(store);
        assert_int_equal(load_into(w, store, worker, &why), cases[i].expected);
        worker_free(worker);
        store_free(store);
    }
    world_free(w);
}

/* One byte of one section is another: loaded or refused, and whatever was loaded can be read and freed. */
TEST(whatever_a_section_says_nothing_breaks) {
    struct world *w = world_new();
    make_one_of_each(w);
    flush(w, 1);
    take(w, true);
    uint64_t now = worker_now_ns(w->worker);
    size_t refused = 0, tried = 0;
    for (size_t i = 0; i < w->sections_count; i++) {
        char *data = (char *)(uintptr_t)w->sections[i].bytes.data;
        size_t len = w->sections[i].bytes.len, step = len > 400 ? len / 400 : 1;
        for (size_t at = 0; at < len; at += step) {
            char was = data[at];
            data[at] = (char)(was ^ (1 << (at + i) % 8));
            struct world other = { .env = w->env, .store = store_of(w->env, &w->store->seed, 4) };
            other.worker = worker_new(other.store);
            arena_init(&other.arena);
            struct problem why = { .text = "" };
            enum status status = load_into(w, other.store, other.worker, &why);
            assert_true(status == OK || (why.text[0] && status == why.status));
            refused += status != OK;
            tried++;
            for (size_t n = 0; n < COUNT_OF(one_of_each); n++) {
                struct value value;
                uint64_t oldest;
                (void)read_at(&other, 0, one_of_each[n], now, &value, &oldest);
                (void)read_at(&other, 0, one_of_each[n], w->instants[5], &value, &oldest);
            }
            worker_free(other.worker);
            store_free(other.store);
            arena_deinit(&other.arena);
            data[at] = was;
        }
    }
    print_message("# %zu damaged images, %zu refused\n", tried, refused);
    assert_true(refused > 0);
    world_free(w);
}
