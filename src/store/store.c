/* store.c: the store as a whole: making it, its clock, its settings, its figures. */
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/env.h"
#include "base/glob.h"
#include "store/past.h"
#include "store/shard.h"

enum {
    JANITOR_MS = 100,
    JANITOR_NICE = 10,
    SEGMENTS_READY = 32, /* 2 MiB: what writers fill in some 30 ms at full speed */
    CLOCK_CHECK_NS = 1000 * 1000 * 1000,
    SLEW_PART = 10, /* a clock that was set back is followed by 10 % at most */
};

/* --- the clock --- */

/* Unix time minus monotonic time, never more than it is: read between two reads of the other. */
static int64_t measure_offset(struct env *env) {
    uint64_t real = env_realtime_ns(env);
    return (int64_t)(real - env_monotonic_ns(env));
}

uint64_t store_clock(struct store *store) {
    int64_t offset = atomic_load_explicit(&store->clock_offset, memory_order_relaxed);
    return env_monotonic_ns(store->env) + (uint64_t)offset;
}

uint64_t store_now(struct store *store) {
    return store_clock(store);
}

void store_clock_raise(struct store *store, uint64_t now) {
    uint64_t present = store_clock(store);
    if (now >
        present) /* followed back to the system's time slowly, as if somebody had set that back */
        atomic_fetch_add_explicit(&store->clock_offset, (int64_t)(now - present),
                                  memory_order_relaxed);
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        lock_take(&shard->lock);
        shard_last_raise(shard, now);
        lock_release(&shard->lock);
    }
}

uint64_t store_past_seen(struct store *store) {
    return atomic_load_explicit(&store->past_seen, memory_order_relaxed);
}

void store_gate_reads(struct store *store, bool on) {
    atomic_store_explicit(&store->gates_reads, on, memory_order_relaxed);
}

static void follow_clock(struct store *store) {
    uint64_t now = env_monotonic_ns(store->env);
    uint64_t passed = now - store->clock_checked;
    if (passed < CLOCK_CHECK_NS) return;
    store->clock_checked = now;
    int64_t offset = atomic_load_explicit(&store->clock_offset, memory_order_relaxed);
    int64_t measured = measure_offset(store->env);
    int64_t slew = (int64_t)(passed / SLEW_PART);
    if (measured >= offset || offset - measured < 1000000) {
        if (measured > offset) offset = measured; /* jitter of the reading is no step back */
    } else {
        offset -= offset - measured < slew ? offset - measured : slew;
    }
    atomic_store_explicit(&store->clock_offset, offset, memory_order_relaxed);
}

void worker_tick(struct worker *worker) {
    uint64_t now = store_clock(worker->store);
    if (now > worker->now_ns) worker->now_ns = now;
    worker->now_ms = worker->time_stands ? 0 : (int64_t)(worker->now_ns / 1000000);
}
void worker_stop_time(struct worker *worker) {
    worker->time_stands = true;
    worker->now_ms = 0;
}
uint64_t worker_now_ns(const struct worker *worker) {
    return worker->now_ns;
}
int64_t worker_now_ms(const struct worker *worker) {
    return worker->now_ms;
}
uint64_t worker_take_seen(struct worker *worker) {
    uint64_t seen = worker->seen;
    worker->seen = 0;
    return seen;
}
struct counters *worker_counters(struct worker *worker) {
    return &worker->counters;
}

/* --- making and freeing --- */

static void *janitor_run(void *self) {
    struct store *store = self;
    /* It can wait; who serves cannot. Where priorities cannot be set it is as it was. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + JANITOR_NICE);
    pthread_mutex_lock(&store->janitor_lock);
    while (!store->janitor_stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += JANITOR_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        int rc = pthread_cond_timedwait(&store->janitor_bell, &store->janitor_lock, &until);
        assert(rc == 0 || rc == ETIMEDOUT);
        if (store->janitor_stop) break;
        pthread_mutex_unlock(&store->janitor_lock);
        store_janitor(store);
        pthread_mutex_lock(&store->janitor_lock);
    }
    pthread_mutex_unlock(&store->janitor_lock);
    return NULL;
}

void store_janitor(struct store *store) {
    worker_tick(store->janitor_worker);
    follow_clock(store);
    retention_round(store);
    if (atomic_load_explicit(&store->history, memory_order_relaxed))
        pool_prepare(&store->pool, SEGMENTS_READY);
    worker_reap(store->janitor_worker);
}

static struct patterns *patterns_new(const struct bytes *list, size_t count) {
    size_t size = sizeof(struct patterns) + count * sizeof(struct bytes);
    struct patterns *patterns = mem_new(size);
    patterns->older = NULL;
    patterns->count = count;
    for (size_t i = 0; i < count; i++) {
        char *text = mem_new(list[i].len + 1);
        memcpy(text, list[i].data, list[i].len);
        patterns->list[i] = (struct bytes){ text, list[i].len };
    }
    return patterns;
}

static void patterns_free(struct patterns *patterns) {
    while (patterns) {
        struct patterns *older = patterns->older;
        for (size_t i = 0; i < patterns->count; i++)
            mem_free((char *)(uintptr_t)patterns->list[i].data, patterns->list[i].len + 1);
        mem_free(patterns, sizeof *patterns + patterns->count * sizeof(struct bytes));
        patterns = older;
    }
}

static bool matches(const struct patterns *patterns, struct bytes name) {
    for (size_t i = 0; i < patterns->count; i++)
        if (glob_match(patterns->list[i], name, false)) return true;
    return false;
}

bool store_excluded(const struct store *store, struct bytes name) {
    return matches(atomic_load_explicit(&store->exclude, memory_order_acquire), name);
}

bool store_ever_excluded(const struct store *store, struct bytes name) {
    const struct patterns *patterns = atomic_load_explicit(&store->exclude, memory_order_acquire);
    while (patterns && !matches(patterns, name)) patterns = patterns->older;
    return patterns != NULL;
}

static bool same_patterns(const struct patterns *patterns, const struct store_settings *settings) {
    if (patterns->count != settings->history_exclude_count) return false;
    for (size_t i = 0; i < patterns->count; i++)
        if (!bytes_equal(patterns->list[i], settings->history_exclude[i])) return false;
    return true;
}

struct store *store_new(const struct store_options *options) {
    assert(options->shards >= 1 && options->shards <= SHARDS_MAX);
    assert((options->shards & (options->shards - 1)) == 0);
    assert(options->databases >= 1 && options->databases <= DATABASES_MAX);
    struct store *store = aligned_alloc(64, (sizeof *store + 63) & ~(size_t)63);
    assert(store);
    memset(store, 0, sizeof *store);
    store->env = options->env;
    store->shards_count = options->shards;
    store->shard_bits = (unsigned)__builtin_ctz(options->shards);
    store->databases = options->databases;
    store->sinks = options->sinks;
    store->sinks_count = options->sinks_count;
    if (options->seed)
        store->seed = *options->seed;
    else
        env_random(store->env, &store->seed, sizeof store->seed);
    store->epoch = 2;
    store->history = store->lock_free_reads = store->active_expire = true;
    store->shown =
        (struct store_settings){ .history = true, .lock_free_reads = true, .active_expire = true };
    store->exclude = patterns_new(NULL, 0);
    store->pins_oldest = UINT64_MAX;
    store->pins = mem_new(PINS_MAX * sizeof *store->pins);
    store->clock_offset = measure_offset(store->env);
    store->clock_checked = env_monotonic_ns(store->env);
    store->actors = actors_new();
    pool_init(&store->pool, SEGMENT_SIZE);
    pthread_mutex_init(&store->settings_lock, NULL);
    pthread_mutex_init(&store->workers_lock, NULL);
    pthread_mutex_init(&store->pins_lock, NULL);
    pthread_mutex_init(&store->janitor_lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&store->janitor_bell, &monotonic);
    pthread_condattr_destroy(&monotonic);

    store->shards = aligned_alloc(64, store->shards_count * sizeof *store->shards);
    assert(store->shards);
    memset(store->shards, 0, store->shards_count * sizeof *store->shards);
    uint64_t tick = store_clock(store) / 1000000 / WHEEL_TICK_MS;
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        shard->number = i;
        shard->databases = mem_new_zero(store->databases * sizeof *shard->databases);
        history_init(&shard->history, store->databases, &store->pool);
        wheel_init(&shard->wheel, tick);
        expiry_init(shard, (int64_t)(store_clock(store) / 1000000));
    }
    store->janitor_worker = worker_new(store);
    store->janitor_runs = options->janitor_thread;
    if (store->janitor_runs) {
        int rc = pthread_create(&store->janitor, NULL, janitor_run, store);
        assert(rc == 0);
    }
    return store;
}

struct store *store_free(struct store *store) {
    if (!store) return NULL;
    if (store->janitor_runs) {
        pthread_mutex_lock(&store->janitor_lock);
        store->janitor_stop = true;
        pthread_cond_signal(&store->janitor_bell);
        pthread_mutex_unlock(&store->janitor_lock);
        pthread_join(store->janitor, NULL);
    }
    store->janitor_worker = worker_free(store->janitor_worker);
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        for (unsigned db = 0; db < store->databases; db++) {
            struct database *database = &shard->databases[db];
            for (uint32_t p = 0; p < database->periods_count; p++) {
                struct index *index = database->periods[p].index;
                if (index && --index->refs == 0) index_free(index);
            }
            mem_free(database->periods, database->periods_cap * sizeof(struct period));
            struct index *now = database->now;
            if (now && --now->refs == 0) index_free(now);
        }
        mem_free(shard->databases, store->databases * sizeof *shard->databases);
        history_deinit(&shard->history);
        redo_deinit(shard);
        wheel_deinit(&shard->wheel);
    }
    free(store->shards);
    for (unsigned i = 0; i < store->workers_count; i++) {
        assert(!store->workers[i]->alive);
        free(store->workers[i]);
    }
    while (store->pins_count) store_unpin(store, store->pins[0].name);
    mem_free(store->pins, PINS_MAX * sizeof *store->pins);
    patterns_free(store->exclude);
    actors_free(store->actors);
    pool_deinit(&store->pool);
    pthread_cond_destroy(&store->janitor_bell);
    pthread_mutex_destroy(&store->janitor_lock);
    pthread_mutex_destroy(&store->pins_lock);
    pthread_mutex_destroy(&store->workers_lock);
    pthread_mutex_destroy(&store->settings_lock);
    free(store);
    return NULL;
}

/* --- settings --- */

void store_configure(struct store *store, const struct store_settings *settings) {
    pthread_mutex_lock(&store->settings_lock);
    atomic_store_explicit(&store->lock_free_reads, settings->lock_free_reads, memory_order_relaxed);
    atomic_store_explicit(&store->active_expire, settings->active_expire, memory_order_relaxed);
    atomic_store_explicit(&store->history_memory, settings->history_memory, memory_order_relaxed);
    atomic_store_explicit(&store->history_window_ms, settings->history_window_ms,
                          memory_order_relaxed);
    atomic_store_explicit(&store->history_versions_max, settings->history_versions_max,
                          memory_order_relaxed);
    uint64_t resolution = settings->history_resolution_ms * 1000000;
    if (resolution > store->resolution_seen_ns)
        atomic_store_explicit(&store->resolution_seen_ns, resolution, memory_order_relaxed);
    atomic_store_explicit(&store->resolution_ns, resolution, memory_order_relaxed);
    atomic_store_explicit(&store->history, settings->history, memory_order_relaxed);

    struct patterns *fresh = store->exclude;
    if (!same_patterns(fresh, settings)) {
        fresh = patterns_new(settings->history_exclude, settings->history_exclude_count);
        fresh->older = store->exclude;
        atomic_store_explicit(&store->exclude, fresh, memory_order_release);
    }
    store->shown = *settings;
    store->shown.history_exclude = fresh->list;
    pthread_mutex_unlock(&store->settings_lock);
    if (!settings->history) retention_drop_pins(store);
}

struct store_settings store_settings(struct store *store) {
    pthread_mutex_lock(&store->settings_lock);
    struct store_settings settings = store->shown;
    pthread_mutex_unlock(&store->settings_lock);
    return settings;
}

unsigned store_databases(const struct store *store) {
    return store->databases;
}
unsigned store_shards(const struct store *store) {
    return store->shards_count;
}

/* --- keys --- */

/* The part of a name that decides its shard: what stands between its first braces, if anything. */
static struct bytes shard_part(struct bytes name) {
    const char *open = memchr(name.data, '{', name.len);
    if (!open) return name;
    size_t rest = name.len - (size_t)(open + 1 - name.data);
    const char *close = memchr(open + 1, '}', rest);
    if (!close || close == open + 1) return name;
    return (struct bytes){ open + 1, (size_t)(close - open - 1) };
}

/* Whether there is a '{' in a short name, eight bytes at a time: cheaper than a call of memchr. */
static inline bool has_brace(struct bytes name) {
    const uint64_t ones = 0x0101010101010101, braces = ones * '{';
    if (name.len < 8 || name.len > 64) return name.len > 0 && memchr(name.data, '{', name.len);
    uint64_t found = 0, word;
    for (size_t i = 0;; i += 8) {
        memcpy(&word, name.data + (i + 8 < name.len ? i : name.len - 8), 8);
        word ^= braces;
        found |= (word - ones) & ~word & (ones << 7); /* a byte that became zero */
        if (i + 8 >= name.len) return found;
    }
}

struct key store_key(const struct store *store, uint32_t db, struct bytes name) {
    struct key key = { .name = name, .hash = siphash(&store->seed, name), .db = db };
    uint64_t by = key.hash;
    if (UNLIKELY(has_brace(name))) {
        struct bytes part = shard_part(name);
        if (part.data != name.data) by = siphash(&store->seed, part);
    }
    key.shard = store->shard_bits ? (uint32_t)(by >> (64 - store->shard_bits)) : 0;
    return key;
}

void store_prefetch_bucket(struct store *store, const struct key *key) {
    const struct shard *shard = store_shard(store, key->shard);
    const struct index *index =
        atomic_load_explicit(&shard->databases[key->db].now, memory_order_acquire);
    if (!index) return;
    uint64_t cur = atomic_load_explicit(&index->cur, memory_order_acquire);
    __builtin_prefetch(table_bucket(cur, index_x(index, key->hash)));
}

void store_prefetch_entry(struct store *store, struct key *key) {
    const struct shard *shard = store_shard(store, key->shard);
    const struct index *index =
        atomic_load_explicit(&shard->databases[key->db].now, memory_order_acquire);
    if (UNLIKELY(!index)) return;
    key->hint = index_prefetch(index, index_x(index, key->hash));
    key->hint_index = index;
}

size_t store_key_memory(struct txn *txn, const struct key *key) {
    struct shard *shard = store_shard(txn->store, key->shard);
    txn_look(txn, shard);
    size_t size = 0;
    struct index *index = database_now(&shard->databases[key->db]);
    _Atomic uint64_t *slot;
    uint64_t word = index ? index_find(index, key->hash, key->name, &slot) : 0;
    if (word && !entry_is_tombstone(word_entry(word))) {
        const struct entry *entry = word_entry(word);
        size = entry_memory(entry) + (entry->words & ENTRY_EXPIRE ? 9 : 0);
        if (entry_blob(entry)) size += blob_memory(entry_blob(entry));
        size += index->table_size / (index->used ? index->used : 1);
    }
    txn_leave(txn, shard);
    return size;
}

/* --- figures --- */

uint64_t store_counter(struct store *store, enum counter counter) {
    uint64_t sum = 0;
    unsigned count = atomic_load_explicit(&store->workers_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++) sum += counter_read(&store->workers[i]->counters, counter);
    return sum - atomic_load_explicit(&store->counters_base[counter], memory_order_relaxed);
}

void store_counters_reset(struct store *store) {
    for (unsigned i = 0; i < COUNTERS_COUNT; i++)
        atomic_fetch_add_explicit(&store->counters_base[i], store_counter(store, (enum counter)i),
                                  memory_order_relaxed);
}

void store_stats(struct store *store, const struct txn *txn, struct store_stats *out) {
    *out = (struct store_stats){ 0 };
    uint64_t now_ms = store_clock(store) / 1000000;
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        txn_visit(txn, shard);
        for (unsigned db = 0; db < store->databases; db++) {
            struct index *index = database_now(&shard->databases[db]);
            if (!index) continue;
            out->keys += index->live;
            out->keys_with_expiry += index->expiring;
            out->tombstones += index->tombstones;
            out->data_memory += index->data_size;
            out->index_memory += index->table_size;
            out->overflow_buckets += index->overflow;
            out->buckets += index_buckets(index);
        }
        out->wheel_memory += shard->wheel.memory + sizeof shard->wheel;
        out->history_records += shard->history.records;
        raise(&out->last_stamp, shard_last(shard));
        if (shard->wheel.records) {
            uint64_t wheel_ms = shard->wheel.now * WHEEL_TICK_MS;
            if (wheel_ms < now_ms) raise(&out->wheel_lag_ms, now_ms - wheel_ms);
        }
        txn_leave(txn, shard);
    }
    unsigned count = atomic_load_explicit(&store->workers_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++)
        out->limbo_bytes +=
            atomic_load_explicit(&store->workers[i]->limbo_bytes, memory_order_relaxed);
    out->history_memory = store_history_size(store, txn);
    out->history_budget = store_history_budget(store, txn);
    out->horizon = past_horizon(store, txn);
    out->pins_dropped = atomic_load_explicit(&store->pins_dropped, memory_order_relaxed);
}

struct ttl_sample {
    int64_t now_ms, sum, count;
};

static void sample_ttl(void *self, struct entry *entry) {
    struct ttl_sample *sample = self;
    int64_t expire = entry_expire(entry);
    if (entry_is_tombstone(entry) || expire <= sample->now_ms) return;
    sample->sum += expire - sample->now_ms;
    sample->count++;
}

void store_db_stats(struct store *store, const struct txn *txn, uint32_t db, struct db_stats *out) {
    enum { SAMPLED_BUCKETS = 4 };
    *out = (struct db_stats){ 0 };
    struct ttl_sample sample = { .now_ms = (int64_t)(store_clock(store) / 1000000) };
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        txn_visit(txn, shard);
        struct index *index = database_now(&shard->databases[db]);
        if (index) {
            out->keys += index->live;
            out->expires += index->expiring;
            uint64_t x = 0;
            for (int n = 0; index->expiring && n < SAMPLED_BUCKETS; n++) {
                x = index_visit(index, x, sample_ttl, &sample);
                if (!x) break;
            }
        }
        txn_leave(txn, shard);
    }
    if (sample.count) out->average_ttl_ms = sample.sum / sample.count;
}

void store_shard_histories(struct store *store, const struct txn *txn,
                           void (*visit)(void *self, uint32_t shard, uint64_t horizon,
                                         uint64_t records, uint64_t bytes),
                           void *self) {
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        txn_visit(txn, shard);
        uint64_t horizon = shard_horizon(shard);
        uint64_t records = shard->history.records, bytes = shard->history.size;
        txn_leave(txn, shard);
        visit(self, i, horizon, records, bytes);
    }
}
