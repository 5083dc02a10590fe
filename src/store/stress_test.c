/* stress_test.c: readers without locks against writers, growth, deletion and transactions of several
 * keys. Made for ThreadSanitizer; counts what a reader must never see. STRESS_SECONDS makes it long. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"
#include "base/env.h"
#include "store/shard.h"
#include "testing/testing.h"

enum { STABLE = 2000, READERS = 2, WRITERS = 2, PAIRS = 16 };

struct shared {
    struct store *store;
    _Atomic bool stop;
    _Atomic uint64_t misses, torn, unordered, reads, unlocked, writes;
};

struct job {
    struct shared *shared;
    uint64_t random;
    int number;
};

static uint64_t next_random(struct job *job) {
    job->random ^= job->random << 13;
    job->random ^= job->random >> 7;
    job->random ^= job->random << 17;
    return job->random;
}

static struct key named(struct store *store, char *name, const char *kind, uint64_t n) {
    int len = snprintf(name, 40, "%s:%llu", kind, (unsigned long long)n);
    return store_key(store, 0, (struct bytes){ name, (size_t)len });
}

static bool peek(struct worker *worker, struct arena *arena, const struct key *key,
                 struct value *value) {
    struct txn txn;
    txn_begin_unlocked(&txn, worker, arena, TXN_PEEK);
    bool found = txn_read(&txn, key, value);
    txn_commit(&txn);
    return found;
}

/* A stable key is always there, whole. Of a pair, the second is never older than the first. */
static void *reader(void *self) {
    struct job *job = self;
    struct shared *shared = job->shared;
    struct worker *worker = worker_new(shared->store);
    struct arena arena;
    arena_init(&arena);
    uint64_t reads = 0;
    char name[40];
    while (!shared->stop) {
        worker_tick(worker);
        worker_enter(worker);
        for (int i = 0; i < 16; i++, reads++) {
            struct value value;
            struct key key = named(shared->store, name, "stable", next_random(job) % STABLE);
            if (i % 2) store_prefetch_entry(shared->store, &key);
            if (!peek(worker, &arena, &key, &value)) {
                shared->misses++;
            } else if (value.encoding != STRING_INT) {
                for (size_t b = 1; b < value.bytes.len; b++)
                    if (value.bytes.data[b] != value.bytes.data[0]) {
                        shared->torn++;
                        break;
                    }
            }
            uint64_t pair = next_random(job) % PAIRS;
            struct value one, other;
            key = named(shared->store, name, "one", pair);
            char other_name[40];
            struct key second = named(shared->store, other_name, "other", pair);
            if (i % 2) { /* as in a batch: both places are looked up before either is read */
                store_prefetch_entry(shared->store, &second);
                store_prefetch_entry(shared->store, &key);
            }
            bool has = peek(worker, &arena, &key, &one);
            int64_t first = has ? one.number : 0;
            has = peek(worker, &arena, &second, &other);
            if ((has ? other.number : 0) < first) shared->unordered++;
        }
        worker_exit(worker);
        arena_clear(&arena);
    }
    shared->reads += reads;
    shared->unlocked += counter_read(worker_counters(worker), COUNTER_reads_unlocked);
    arena_deinit(&arena);
    worker_free(worker);
    return NULL;
}

static void write_one(struct job *job, struct worker *worker, struct arena *arena) {
    static const size_t sizes[] = { 1, 20, 60, 900, 1500 };
    struct store *store = job->shared->store;
    char name[40], text[1500];
    struct txn txn;
    uint64_t what = next_random(job) % 8;
    struct key key = named(store, name, what < 5 ? "stable" : "passing",
                           next_random(job) % (what < 5 ? STABLE : STABLE * 50));
    txn_begin_single(&txn, worker, arena, key.shard, 0);
    if (what == 0) {
        txn_set_int(&txn, &key, (int64_t)next_random(job), 0);
    } else {
        size_t len = sizes[next_random(job) % COUNT_OF(sizes)];
        memset(text, 'a' + (int)(next_random(job) % 26), len);
        struct value value;
        bool found = txn_read(&txn, &key, &value);
        if (what == 7 && found)
            txn_delete(&txn, &key);
        else if (txn_set_string(&txn, &key, (struct bytes){ text, len },
                                what == 6 ? txn.now_ms + 5 : 0) != OK)
            abort();
    }
    txn_commit(&txn);
}

/* Both of a pair get the same growing number in one transaction. */
static void write_pair(struct job *job, struct worker *worker, struct arena *arena) {
    struct store *store = job->shared->store;
    uint64_t pair = next_random(job) % PAIRS;
    char one_name[40], other_name[40];
    struct key one = named(store, one_name, "one", pair);
    struct key other = named(store, other_name, "other", pair);
    struct shardset set = { 0 };
    shardset_add(&set, one.shard);
    shardset_add(&set, other.shard);
    struct txn txn;
    txn_begin(&txn, worker, arena, &set, TXN_MULTI);
    struct value value;
    int64_t n = txn_read(&txn, &one, &value) ? value.number : 0;
    txn_set_int(&txn, &one, n + 1, 0);
    txn_set_int(&txn, &other, n + 1, 0);
    txn_commit(&txn);
}

static void *writer(void *self) {
    struct job *job = self;
    struct worker *worker = worker_new(job->shared->store);
    struct arena arena;
    arena_init(&arena);
    uint64_t writes = 0;
    while (!job->shared->stop) {
        worker_tick(worker);
        for (int i = 0; i < 16; i++, writes++) {
            if (next_random(job) % 4)
                write_one(job, worker, &arena);
            else
                write_pair(job, worker, &arena);
            arena_clear(&arena);
        }
        worker_chores(worker, (unsigned)job->number, WRITERS, 100000);
    }
    job->shared->writes += writes;
    arena_deinit(&arena);
    worker_free(worker);
    return NULL;
}

TEST(a_reader_without_a_lock_never_misses_never_sees_half) {
    struct shared shared = { .store = store_new(
                                 &(struct store_options){ .env = env_real(),
                                                          .shards = 4,
                                                          .databases = 1,
                                                          .workers_max = READERS + WRITERS + 1,
                                                          .janitor_thread = true }) };
    struct store_settings settings = store_settings(shared.store);
    settings.history_memory = 4 * 1024 * 1024; /* so that segments are dropped meanwhile */
    store_configure(shared.store, &settings);
    struct worker *worker = worker_new(shared.store);
    struct arena arena;
    arena_init(&arena);
    char name[40];
    for (uint64_t n = 0; n < STABLE; n++) {
        struct key key = named(shared.store, name, "stable", n);
        struct txn txn;
        txn_begin_single(&txn, worker, &arena, key.shard, 0);
        txn_set_int(&txn, &key, (int64_t)n, 0);
        txn_commit(&txn);
    }
    arena_deinit(&arena);
    worker_free(worker);

    struct job jobs[READERS + WRITERS];
    pthread_t threads[READERS + WRITERS];
    for (int i = 0; i < READERS + WRITERS; i++) {
        jobs[i] = (struct job){ &shared, 88172645463325252u + (uint64_t)i * 7919,
                                i < READERS ? i : i - READERS };
        pthread_create(&threads[i], NULL, i < READERS ? reader : writer, &jobs[i]);
    }
    const char *seconds = getenv("STRESS_SECONDS");
    struct timespec wait = { seconds ? atol(seconds) : 2, 0 };
    nanosleep(&wait, NULL);
    shared.stop = true;
    for (int i = 0; i < READERS + WRITERS; i++) pthread_join(threads[i], NULL);
    print_message("# %llu reads (%llu without a lock), %llu writes: %llu missed, %llu torn, %llu "
                  "out of order\n",
                  (unsigned long long)shared.reads, (unsigned long long)shared.unlocked,
                  (unsigned long long)shared.writes, (unsigned long long)shared.misses,
                  (unsigned long long)shared.torn, (unsigned long long)shared.unordered);
    assert_int_equal(shared.misses, 0);
    assert_int_equal(shared.torn, 0);
    assert_int_equal(shared.unordered, 0);
    assert_true(shared.unlocked > shared.reads / 2);
    store_free(shared.store);
}
