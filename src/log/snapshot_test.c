/* snapshot_test.c: a snapshot on disk is whole or refused; a failing disk leaves nothing behind; writers do not
 * disturb it. What is in it is src/store/image_test.c's and recover_model_test.c's business. */
#include "log/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/env.h"
#include "log/snapshot_file.h"
#include "store/past.h"
#include "store/replay.h"
#include "store/shard.h"
#include "testing/testing.h"

enum { KEYS = 400 };

static struct store *store_of(struct env *env, const struct siphash_key *seed, unsigned shards) {
    return store_new(&(struct store_options){
        .env = env, .shards = shards, .databases = 2, .workers_max = 8, .seed = seed });
}

static struct key key_of(const struct store *store, uint32_t k, char name[16]) {
    int len = snprintf(name, 16, "key:%u", k);
    return store_key(store, k % 2, (struct bytes){ name, (size_t)len });
}

/* Key `k` of round `round`: what it is then depends on nothing else. */
static void set_key(struct store *store, struct worker *worker, uint32_t k, uint32_t round) {
    char name[16], text[512];
    struct key key = key_of(store, k, name);
    struct arena arena;
    struct txn txn;
    arena_init(&arena);
    txn_begin_single(&txn, worker, &arena, key.shard, 0);
    int len = snprintf(text, sizeof text, "%u", k * 1000 + round);
    if (k % 3) len = snprintf(text, sizeof text, "%u:%*u", k, (int)(k % 300), round);
    assert_int_equal(txn_set_string(&txn, &key, (struct bytes){ text, (size_t)len }, 0), OK);
    txn_commit(&txn);
    arena_deinit(&arena);
}

struct world {
    struct env *env;
    struct store *store;
    struct worker *worker;
    struct manifest_base base;
    struct problem why;
};

static void fill(struct world *w, uint32_t keys, uint32_t rounds) {
    for (uint32_t round = 0; round < rounds; round++)
        for (uint32_t k = 0; k < keys; k++) {
            if (k % 16 == 0) {
                env_sim_advance(w->env, 1000000);
                worker_tick(w->worker);
            }
            set_key(w->store, w->worker, k, round);
        }
}

static struct world *world_new(uint32_t keys, uint32_t rounds) {
    struct world *w = calloc(1, sizeof *w);
    w->env = env_sim_new(7);
    w->store = store_of(w->env, NULL, 4);
    w->worker = worker_new(w->store);
    assert_int_equal(w->env->ops->mkdir(w->env, "d"), 0);
    assert_int_equal(w->env->ops->sync_dir(w->env, "."), 0);
    fill(w, keys, rounds);
    return w;
}

static void world_free(struct world *w) {
    worker_free(w->worker);
    store_free(w->store);
    env_sim_free(w->env);
    free(w);
}

static struct snapshot_options options_of(const struct world *w, bool past) {
    return (struct snapshot_options){ .env = w->env,
                                      .dir = "d",
                                      .store = w->store,
                                      .worker = w->worker,
                                      .generation = 3,
                                      .past = past,
                                      .seq = 12 };
}

/* OK: the files are there; else they are not. */
static enum status take(struct world *w, bool past) {
    struct snapshot_options options = options_of(w, past);
    struct snapshot *snapshot = snapshot_begin(&options, &w->why);
    if (!snapshot) return w->why.status;
    enum status status;
    uint64_t wait_ns;
    do status = snapshot_step(snapshot, &w->base, &wait_ns, &w->why);
    while (status == NEED_MORE);
    snapshot_free(snapshot, status == OK);
    return status;
}

static enum status load(struct world *w, unsigned threads, struct store **out) {
    struct store *store = store_of(w->env, &w->store->seed, 4);
    enum status status =
        snapshot_load(w->env, "d", &w->base, store, NULL, threads, NULL, NULL, &w->why);
    if (status == OK)
        *out = store;
    else
        store_free(store);
    return status;
}

/* How many keys read differently in the two, now or at `at`. */
static size_t differences(struct store *one, struct store *two, uint32_t keys, uint64_t at) {
    struct store *stores[2] = { one, two };
    struct worker *workers[2] = { worker_new(one), worker_new(two) };
    struct arena arena;
    arena_init(&arena);
    size_t differ = 0;
    for (uint32_t k = 0; k < keys; k++) {
        struct value values[2];
        enum found found[2];
        for (int i = 0; i < 2; i++) {
            char name[16];
            struct key key = key_of(stores[i], k, name);
            struct txn txn;
            uint64_t oldest;
            worker_tick(workers[i]);
            txn_begin_unlocked(&txn, workers[i], &arena, 0);
            found[i] = past_read(&txn, &key, at, &values[i], &oldest);
            if (found[i] == FOUND) {
                char *scratch = arena_new(&arena, INT_TEXT_MAX);
                values[i].bytes = arena_copy(&arena, value_text(&values[i], scratch));
            }
            txn_commit(&txn);
        }
        bool same = found[0] == found[1] &&
                    (found[0] != FOUND || (bytes_equal(values[0].bytes, values[1].bytes) &&
                                           values[0].stamp == values[1].stamp));
        differ += !same;
        arena_clear(&arena);
    }
    worker_free(workers[0]);
    worker_free(workers[1]);
    arena_deinit(&arena);
    return differ;
}

static int64_t size_of(struct world *w, bool past) {
    char path[PATH_MAX];
    struct env_file *file;
    path_of_base("d", 3, past, path);
    int error = w->env->ops->open(w->env, path, ENV_READ, &file);
    if (error < 0) return error;
    int64_t size = w->env->ops->size(w->env, file);
    w->env->ops->close(w->env, file);
    return size;
}

/* --- tests --- */

TEST(what_was_written_is_loaded_by_any_number_of_threads) {
    struct world *w = world_new(KEYS, 6);
    assert_int_equal(take(w, true), OK);
    assert_int_equal(w->base.generation, 3);
    assert_int_equal(w->base.seq, 12);
    assert_true(w->base.from && w->base.from <= w->base.to);
    assert_int_equal(w->base.keys_size, size_of(w, false));
    assert_int_equal(w->base.past_size, size_of(w, true));
    assert_int_equal(snapshot_verify(w->env, "d", &w->base, NULL, NULL, &w->why), OK);
    for (unsigned threads = 0; threads <= 5; threads++) {
        struct store *store;
        assert_int_equal(load(w, threads, &store), OK);
        uint64_t now = store_now(w->store);
        for (uint64_t back = 0; back < 200; back += 7)
            assert_int_equal(differences(w->store, store, KEYS, now - back * 1000000), 0);
        store_free(store);
    }
    world_free(w);
}

TEST(an_empty_store_has_a_snapshot_too) {
    struct world *w = world_new(0, 0);
    for (int past = 0; past < 2; past++) {
        assert_int_equal(take(w, past), OK);
        struct store *store;
        assert_int_equal(load(w, 1, &store), OK);
        struct store_stats stats;
        store_stats(store, NULL, &stats);
        assert_int_equal(stats.keys, 0);
        store_free(store);
        char path[PATH_MAX];
        path_of_base("d", 3, false, path);
        assert_int_equal(w->env->ops->unlink(w->env, path), 0);
    }
    world_free(w);
}

TEST(a_snapshot_that_is_through_survives_a_power_cut) {
    struct world *w = world_new(KEYS, 3);
    assert_int_equal(take(w, true), OK);
    env_sim_crash(w->env);
    assert_int_equal(snapshot_verify(w->env, "d", &w->base, NULL, NULL, &w->why), OK);
    world_free(w);
}

TEST(whichever_call_fails_it_says_so_and_leaves_nothing) {
    struct world *w = world_new(200, 3);
    for (int past = 0; past < 2; past++) {
        uint64_t n = 1;
        for (;; n++) {
            env_sim_fail_at(w->env, n, n % 2 ? EIO : ENOSPC);
            enum status status = take(w, past);
            env_sim_fail_at(w->env, 0, 0);
            if (status == OK) break;
            assert_int_equal(status, IO);
            assert_int_equal(w->why.error, n % 2 ? EIO : ENOSPC);
            assert_non_null(strstr(w->why.text, "d/base.3."));
            assert_int_equal(size_of(w, false), -ENOENT);
            assert_int_equal(size_of(w, true), -ENOENT);
        }
        assert_true(n > 4);
        char path[PATH_MAX];
        path_of_base("d", 3, false, path);
        assert_int_equal(w->env->ops->unlink(w->env, path), 0);
    }
    world_free(w);
}

TEST(it_does_not_write_over_what_is_there) {
    struct world *w = world_new(10, 1);
    assert_int_equal(take(w, false), OK);
    int64_t size = size_of(w, false);
    assert_int_equal(take(w, false), IO);
    assert_int_equal(w->why.error, EEXIST);
    assert_int_equal(size_of(w, false), size);
    world_free(w);
}

/* Overwrites `len` bytes of a file. */
static void poke(struct world *w, bool past, uint64_t at, const char *data, size_t len) {
    char path[PATH_MAX];
    struct env_file *file;
    path_of_base("d", 3, past, path);
    assert_int_equal(w->env->ops->open(w->env, path, ENV_WRITE, &file), 0);
    assert_int_equal(w->env->ops->pwrite(w->env, file, data, len, at), len);
    w->env->ops->close(w->env, file);
}

static char peek(struct world *w, bool past, uint64_t at) {
    char path[PATH_MAX], byte;
    struct env_file *file;
    path_of_base("d", 3, past, path);
    assert_int_equal(w->env->ops->open(w->env, path, ENV_READ, &file), 0);
    assert_int_equal(w->env->ops->pread(w->env, file, &byte, 1, at), 1);
    w->env->ops->close(w->env, file);
    return byte;
}

TEST(no_byte_can_change_unnoticed) {
    struct world *w = world_new(60, 3);
    assert_int_equal(take(w, true), OK);
    size_t tried = 0;
    for (int past = 0; past < 2; past++) {
        uint64_t size = past ? w->base.past_size : w->base.keys_size;
        for (uint64_t at = 0; at < size; at++) {
            char was = peek(w, past, at), is = (char)(was ^ (1 << at % 8));
            poke(w, past, at, &is, 1);
            enum status status = snapshot_verify(w->env, "d", &w->base, NULL, NULL, &w->why);
            assert_true(status == CORRUPT || status == UNSUPPORTED);
            struct store *store;
            if (at % 37 == 0) {
                status = load(w, 1 + (unsigned)at % 3, &store);
                assert_true(status == CORRUPT || status == UNSUPPORTED);
                assert_true(w->why.text[0]);
            }
            poke(w, past, at, &was, 1);
            tried++;
        }
    }
    assert_int_equal(snapshot_verify(w->env, "d", &w->base, NULL, NULL, &w->why), OK);
    print_message("# %zu bytes\n", tried);
    world_free(w);
}

TEST(a_file_of_another_length_or_another_snapshot_is_refused) {
    struct world *w = world_new(60, 2);
    assert_int_equal(take(w, true), OK);
    struct manifest_base right = w->base;
    struct store *store;
    struct manifest_base wrong[] = { right, right, right, right };
    wrong[0].keys_size--;
    wrong[1].past_size++;
    wrong[2].id++;
    wrong[3].past_size = 0; /* as if it had been written without its past */
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        w->base = wrong[i];
        assert_int_equal(load(w, 1, &store), CORRUPT);
        if (i < 3)
            assert_int_equal(snapshot_verify(w->env, "d", &w->base, NULL, NULL, &w->why), CORRUPT);
    }
    w->base = right;
    char path[PATH_MAX];
    struct env_file *file;
    path_of_base("d", 3, false, path);
    for (uint64_t size = 0; size < right.keys_size; size += 1 + size / 9) {
        assert_int_equal(take(w, true), IO); /* they are still there */
        assert_int_equal(w->env->ops->open(w->env, path, ENV_WRITE, &file), 0);
        assert_int_equal(w->env->ops->truncate(w->env, file, right.keys_size - 1 - size), 0);
        w->env->ops->close(w->env, file);
        assert_int_equal(load(w, 1, &store), CORRUPT);
        w->base.keys_size = right.keys_size - 1 - size; /* even if the manifest believes it */
        assert_int_equal(load(w, 1, &store), CORRUPT);
        w->base = right;
    }
    assert_int_equal(w->env->ops->unlink(w->env, path), 0);
    assert_int_equal(load(w, 1, &store), CORRUPT);
    world_free(w);
}

TEST(a_rate_is_kept_by_pauses) {
    struct world *w = world_new(KEYS, 20);
    struct snapshot_options options = options_of(w, true);
    options.rate = 100000;
    struct snapshot *snapshot = snapshot_begin(&options, &w->why);
    uint64_t started = env_monotonic_ns(w->env), wait_ns;
    while (snapshot_step(snapshot, &w->base, &wait_ns, &w->why) == NEED_MORE)
        env_sim_advance(w->env, wait_ns);
    uint64_t took = env_monotonic_ns(w->env) - started,
             size = w->base.keys_size + w->base.past_size;
    assert_true(took >= (size - 200000) * 10000 && took <= size * 10000 + 1000000);
    struct snapshot_progress progress = snapshot_progress(snapshot);
    assert_int_equal(progress.keys_done, KEYS);
    assert_int_equal(progress.keys_total, KEYS);
    assert_int_equal(progress.bytes, size);
    snapshot_free(snapshot, true);
    world_free(w);
}

struct seen {
    uint64_t bytes, total, keys;
};

static void note_progress(void *self, uint64_t bytes, uint64_t total, uint64_t keys) {
    struct seen *seen = self;
    assert_true(bytes >= seen->bytes && bytes <= total && keys >= seen->keys);
    *seen = (struct seen){ bytes, total, keys };
}

static void count_section(void *self, const struct image_section *section, bool past,
                          uint64_t offset) {
    size_t *counts = self;
    assert_true(offset >= SNAPSHOT_HEADER);
    assert_int_equal(past, section->kind == IMAGE_PAST);
    counts[section->kind]++;
}

TEST(progress_is_told_and_sections_are_shown) {
    struct world *w = world_new(KEYS, 3);
    assert_int_equal(take(w, true), OK);
    size_t counts[8] = { 0 };
    assert_int_equal(snapshot_verify(w->env, "d", &w->base, count_section, counts, &w->why), OK);
    assert_int_equal(counts[IMAGE_STORE], 1);
    assert_int_equal(counts[IMAGE_SHARD], 4);
    assert_int_equal(counts[IMAGE_END], 4);
    assert_true(counts[IMAGE_KEYS] >= 4 && counts[IMAGE_PAST] >= 4);
    struct store *store = store_of(w->env, &w->store->seed, 4);
    struct seen seen = { 0 };
    assert_int_equal(
        snapshot_load(w->env, "d", &w->base, store, NULL, 2, note_progress, &seen, &w->why), OK);
    assert_int_equal(seen.bytes, w->base.keys_size + w->base.past_size);
    assert_int_equal(seen.keys, KEYS);
    store_free(store);
    world_free(w);
}

/* --- while others write --- */

struct hammer {
    struct store *store;
    pthread_t thread;
    uint32_t number;
    _Atomic bool *stop;
    uint64_t writes;
};

static void *hammer(void *self) {
    struct hammer *h = self;
    struct worker *worker = worker_new(h->store);
    for (uint32_t round = 1; !atomic_load(h->stop); round++)
        for (uint32_t k = h->number; k < KEYS; k += 2) {
            if (k % 8 < 2) worker_tick(worker);
            set_key(h->store, worker, k, round);
            h->writes++;
        }
    worker_free(worker);
    return NULL;
}

static void keep_batch(struct buffer *log, struct store *store, uint64_t at_least, uint64_t *cut) {
    struct redo_batch batch;
    redo_batch_init(&batch);
    redo_take(store, at_least, &batch);
    buffer_put(log, buffer_bytes(&batch.bytes));
    *cut = batch.cut;
    redo_batch_deinit(&batch);
}

static void replay_all(struct store *store, struct replay *replay, struct bytes log, uint64_t cut) {
    struct worker *worker = worker_new(store);
    struct redo_block block;
    struct problem why;
    while (redo_next_block(&log, &block, &why) == OK)
        assert_int_equal(replay_block(replay, worker, &block, cut, &why), OK);
    replay_end(replay, cut);
    worker_free(worker);
}

/* The cut is at once the instant that is compared: the live store still knows it. */
TEST(writers_do_not_disturb_it) {
    char dir[] = "/tmp/snapshot_test.XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct world w = { .env = env_real() };
    w.store = store_of(w.env, NULL, 4);
    w.worker = worker_new(w.store);
    struct store_settings settings = store_settings(w.store);
    settings.history_memory = (uint64_t)1 << 32;
    store_configure(w.store, &settings);
    for (uint32_t k = 0; k < KEYS; k++) set_key(w.store, w.worker, k, 0);
    struct buffer log;
    uint64_t cut;
    buffer_init(&log, SIZE_MAX / 2);
    store_redo_switch(w.store, true);
    _Atomic bool stop = false;
    struct hammer hammers[2];
    for (uint32_t i = 0; i < 2; i++) {
        hammers[i] = (struct hammer){ .store = w.store, .number = i, .stop = &stop };
        assert_int_equal(pthread_create(&hammers[i].thread, NULL, hammer, &hammers[i]), 0);
    }
    env_real()->ops->sleep_ns(env_real(), 5000000);
    keep_batch(&log, w.store, 0, &cut);
    buffer_clear(&log);
    struct snapshot_options options = options_of(&w, true);
    options.dir = dir;
    struct snapshot *snapshot = snapshot_begin(&options, &w.why);
    assert_non_null(snapshot);
    uint64_t wait_ns;
    enum status status;
    while ((status = snapshot_step(snapshot, &w.base, &wait_ns, &w.why)) == NEED_MORE)
        env_real()->ops->sleep_ns(env_real(), 200000);
    assert_int_equal(status, OK);
    keep_batch(&log, w.store, w.base.to, &cut);
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++) pthread_join(hammers[i].thread, NULL);
    snapshot_free(snapshot, true);

    struct store *store = store_of(w.env, &w.store->seed, 4);
    struct replay *replay = replay_new(store);
    assert_int_equal(snapshot_load(w.env, dir, &w.base, store, replay, 2, NULL, NULL, &w.why), OK);
    replay_all(store, replay, buffer_bytes(&log), cut);
    replay_free(replay);
    for (uint64_t back = 0; back < 8; back++)
        assert_int_equal(differences(w.store, store, KEYS, cut - back * back * 300000), 0);
    print_message("# %" PRIu64 " writes, %" PRIu64 " bytes of snapshot, %zu of log\n",
                  hammers[0].writes + hammers[1].writes, w.base.keys_size + w.base.past_size,
                  log.len);
    store_free(store);
    buffer_deinit(&log);
    worker_free(w.worker);
    store_free(w.store);
    for (int past = 0; past < 2; past++) {
        char path[PATH_MAX];
        path_of_base(dir, 3, past, path);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
}
