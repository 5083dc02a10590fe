/* shard.h: the inside of the store, for the files of this folder only. */
#pragma once

#include <pthread.h>

#include "base/siphash.h"
#include "ds/wheel.h"
#include "store/epoch.h"
#include "store/history.h"
#include "store/index.h"
#include "store/lock.h"
#include "store/redo.h"
#include "store/store.h"

/* A time in which a database had another table: FLUSHALL put it aside, UNFLUSH put it back. */
struct period {
    uint64_t from, to;   /* ns: [from, to) */
    struct index *index; /* one reference; NULL: there was nothing */
    bool undoable;       /* ended by a flush that nothing has undone */
};

struct database {
    _Atomic(struct index *) now; /* NULL until the first key */
    _Atomic uint64_t
        changed;      /* ns: when `now` became another table: no reader without the lock is shown
                                  * anything older; stored before `now` is */
    uint64_t since;   /* ns: `now` is the table since then; 0: the beginning */
    uint64_t barrier; /* ns: what was before is not known (SWAPDB) */
    uint64_t swept;   /* keys with a smaller x were looked at in this pass (expiry.c) */
    struct period *periods; /* newest first */
    uint32_t periods_count, periods_cap;
};

/* What was changed since the log's writer last took it: redo.h. The shard's lock. */
struct redo {
    bool on;
    uint32_t records;
    uint64_t stamp; /* of the last record; 0: none */
    char *data;
    size_t len, cap;
};

struct shard {
    _Alignas(64) struct lock lock;
    _Atomic uint32_t txn; /* odd while a transaction of several changes is under way (R6) */
    uint32_t number;
    _Atomic uint64_t last; /* the newest stamp, or the newest instant that was read */
    uint64_t committed;    /* the newest stamp of a change */
    struct redo redo;
    struct database *databases;
    uint64_t forgotten; /* before it, an absent or PRUNED key may have been something else */
    uint64_t excluded_forgotten; /* the same for keys that match history-exclude */
    uint64_t deletion_forgotten; /* newest deletion that left no tombstone (WATCH) */
    struct history history;
    /* Every key that ends before `armed_ms` has a wheel record; the pass under way makes that
     * `arming_ms`, and what is written meanwhile heeds it already. */
    int64_t armed_ms, arming_ms, pass_ms;
    _Alignas(64) struct wheel wheel;
};

struct pin {
    struct bytes name; /* mem_new'd */
    uint64_t at;
};

struct actors;
struct patterns {           /* history-exclude; immutable, swapped as a whole */
    struct patterns *older; /* kept for readers until the store goes: they are few and small */
    size_t count;
    struct bytes list[];
};

struct store {
    struct env *env;
    unsigned shards_count, shard_bits, databases;
    struct siphash_key seed;
    struct sink *const *sinks;
    size_t sinks_count;
    _Atomic uint32_t listeners; /* sinks that listen */
    struct shard *shards;

    /* Settings, read by every worker. */
    _Atomic bool history, lock_free_reads, active_expire;
    _Atomic bool gates_reads; /* replies wait for what they show: workers note what that is */
    _Atomic uint32_t
        loading; /* by so many: nothing is dropped, the budget depends on what is not there yet */
    _Atomic uint64_t history_memory, history_window_ms, history_versions_max;
    _Atomic uint64_t resolution_ns, resolution_seen_ns; /* the present one, the largest ever */
    _Atomic(struct patterns *) exclude;
    struct store_settings shown; /* as configured; settings_lock */
    pthread_mutex_t settings_lock;

    _Alignas(64) _Atomic uint64_t epoch;
    _Atomic uint32_t workers_count;
    _Atomic(struct worker *) workers[WORKERS_MAX];
    pthread_mutex_t workers_lock;

    _Atomic uint64_t past_seen; /* ns: the latest instant that was read as past: closed for ever */
    _Atomic int64_t clock_offset; /* Unix time minus monotonic time, ns */
    uint64_t clock_checked;       /* monotonic ns; the janitor's */

    struct actors *actors;
    struct pool pool; /* of history segments */

    pthread_mutex_t pins_lock;
    struct pin *pins; /* by name */
    size_t pins_count;
    uint64_t pins_changed;        /* the stamp of the newest change of them that is in the log */
    _Atomic uint64_t pins_oldest; /* UINT64_MAX: none */
    _Atomic uint64_t pins_dropped;
    void (*pin_dropped)(void *self, struct bytes name);
    void *pin_dropped_self;

    _Atomic uint64_t flushed_size;                  /* tables of past periods: bytes */
    _Atomic uint64_t counters_base[COUNTERS_COUNT]; /* subtracted: CONFIG RESETSTAT */

    pthread_t janitor;
    bool janitor_runs;
    pthread_mutex_t janitor_lock;
    pthread_cond_t janitor_bell;
    bool janitor_stop;
    struct worker *janitor_worker;
};

static inline struct shard *store_shard(const struct store *store, uint32_t number) {
    return &store->shards[number];
}
uint64_t store_clock(struct store *store); /* Unix ns; never goes back within one thread's sight */

static inline uint64_t shard_last(const struct shard *shard) {
    return atomic_load_explicit(&shard->last, memory_order_relaxed);
}
static inline void shard_last_raise(struct shard *shard, uint64_t stamp) {
    if (stamp > shard_last(shard)) atomic_store_explicit(&shard->last, stamp, memory_order_relaxed);
}
static inline void raise(uint64_t *value, uint64_t least) {
    if (*value < least) *value = least;
}

/* For counters that one thread at a time changes (under a lock) and any reads. */
static inline void tally(_Atomic uint64_t *sum, uint64_t n) {
    atomic_store_explicit(sum, atomic_load_explicit(sum, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline struct index *database_now(const struct database *database) {
    return atomic_load_explicit(&database->now, memory_order_relaxed);
}
/* The table that held `database` at instant `at`. */
struct index *database_at(const struct database *database, uint64_t at);
bool store_excluded(const struct store *store, struct bytes name);
bool store_ever_excluded(const struct store *store,
                         struct bytes name); /* by patterns of any time */

/* txn.c, for expiry.c: deletes `entry`, whose time is over; the shard is the transaction's. */
void txn_expire(struct txn *txn, uint32_t db, _Atomic uint64_t *slot, struct entry *entry);
/* A transaction on a shard whose lock is already held. */
void txn_begin_held(struct txn *txn, struct worker *worker, struct arena *arena,
                    struct shard *shard, unsigned flags);
static inline bool txn_holds(const struct txn *txn, uint32_t shard) {
    if (!txn || txn->unlocked) return false;
    return txn->single < SHARDS_MAX ? txn->single == shard : shardset_has(txn->shards, shard);
}
/* A reply will show something of that stamp. */
static inline void txn_saw(const struct txn *txn, uint64_t stamp) {
    if (UNLIKELY(atomic_load_explicit(&txn->store->gates_reads, memory_order_relaxed)))
        raise(&txn->worker->seen, stamp);
}
/* Brackets a look at a shard that may not be held. */
static inline void txn_visit(const struct txn *txn, struct shard *shard) {
    if (!txn_holds(txn, shard->number)) lock_take(&shard->lock);
}
/* The same for what shows data: whatever was committed there. */
static inline void txn_look(const struct txn *txn, struct shard *shard) {
    txn_visit(txn, shard);
    txn_saw(txn, shard->committed);
}
static inline void txn_leave(const struct txn *txn, struct shard *shard) {
    if (!txn_holds(txn, shard->number)) lock_release(&shard->lock);
}
/* Keeps a blob alive until the transaction ends; and whatever a value borrows from under the lock. */
void txn_hold(struct txn *txn, struct blob *blob);
void txn_keep(struct txn *txn, struct value *value);

/* txn.c, for the files beside it. The shard is the transaction's in all of them. */
/* The key's entry (tombstones too), remembered for the change that may follow; NULL: there is none. */
struct entry *txn_find(struct txn *txn, const struct key *key);
/* As txn_change, written nowhere and told to nobody. */
void txn_apply(struct txn *txn, const struct key *key, const struct effect *effect);
/* The present state under the lock; deletes a key whose time is over. */
bool txn_read_locked(struct txn *txn, const struct key *key, struct value *out);
/* tell.c: notes a change for the sinks; tells them what was noted. */
void txn_note(struct txn *txn, const struct key *key, uint8_t kind, uint8_t cause);
void txn_tell_sinks(struct txn *txn);
/* Before the change is applied, so that it can be seen what was there. */
static inline void txn_tell(struct txn *txn, const struct key *key, uint8_t kind, uint8_t cause) {
    if (UNLIKELY(atomic_load_explicit(&txn->store->listeners, memory_order_relaxed) != 0))
        txn_note(txn, key, kind, cause);
}
struct entry *entry_new(const struct txn *txn, struct bytes name, const struct effect *state,
                        unsigned words, uint64_t position);
void entry_retire(struct worker *worker, struct entry *entry);
/* For an entry that takes another's place; mostly nothing but a few bytes differ. */
void entry_count_swap(struct index *index, const struct entry *before, const struct entry *after);
/* Bytes at an offset of a blob that has room for them; what lies between is zero. */
void blob_splice(struct blob *blob, uint64_t offset, struct bytes bytes, uint64_t length);
/* Adds to (sign 1) or takes from (-1) the table's figures what `entry` is. */
void entry_count(struct index *index, const struct entry *entry, int sign);
/* For replay.c: as txn_change, told to nobody and written nowhere, where the key may not be what the
 * effect expects: then it does nothing. */
MUST_USE enum status txn_replay(struct txn *txn, const struct key *key,
                                const struct effect *effect);
/* flush.c, for replay.c: the same on one shard of the transaction. `to`: the flush that is undone. */
void shard_flush(struct txn *txn, struct shard *shard, uint32_t db);
void shard_unflush(struct txn *txn, struct shard *shard, uint32_t db, uint64_t to);
void shard_swap(struct txn *txn, struct shard *shard, uint32_t a, uint32_t b);

/* redo.c: the record of a change, if the shard records any. The lock is held; after the change. */
void redo_put(struct shard *shard, const struct txn *txn, uint32_t db, struct bytes name,
              const struct effect *effect);
struct redo_mark {
    uint64_t stamp;
    size_t len;
    uint32_t records;
};
struct redo_mark redo_mark(const struct shard *shard);
void redo_rewind(struct shard *shard, struct redo_mark mark);
void redo_deinit(struct shard *shard);

/* past.c: the state of an entry's key at `at`; the lock is held, `entry` may be NULL. */
enum found past_state(struct txn *txn, struct shard *shard, uint32_t db, struct bytes name,
                      struct entry *entry, uint64_t at, struct value *out, uint64_t *oldest);
/* The instant from which on every key of this shard is known. */
uint64_t shard_horizon(const struct shard *shard);
void entry_value(const struct entry *entry, struct value *out);

void txn_mark(struct txn *txn);
void txn_tell_database(struct txn *txn, uint32_t db, uint8_t kind);

/* flush.c: drops one reference; the last one frees the table when nobody can see it any more. */
void index_unref_later(struct store *store, struct worker *worker, struct index *index);

/* expiry.c */
void expiry_rearm(struct store *store, struct shard *shard, uint32_t db); /* it is locked */
/* Sees to it that the key ends in time. False: that is so late that a later pass will. */
bool expiry_arm(struct shard *shard, const struct index *index, uint32_t db, uint64_t hash,
                int64_t expire_at_ms);
void expiry_init(struct shard *shard, int64_t now_ms);

/* retention.c */
void retention_round(struct store *store);
void retention_drop_pins(struct store *store); /* all, loudly: nothing is kept any more */
void pins_put(struct store *store, struct bytes name, uint64_t at); /* unasked: it was one before */
uint64_t store_history_size(struct store *store, const struct txn *txn);
uint64_t store_history_budget(struct store *store, const struct txn *txn);

/* actors.c */
struct actors *actors_new(void);
struct actors *actors_free(struct actors *actors);
/* Visits the pairs from the `from`-th on that are still known, in order; returns how many were ever met. */
uint64_t actors_visit(struct store *store, uint64_t from,
                      void (*visit)(void *self, const struct actor_row *row), void *self);
/* The same for at most `count` of them; returns where to go on, which at the end is how many were ever met. */
uint64_t actors_visit_some(struct store *store, uint64_t from, uint64_t count,
                           void (*visit)(void *self, const struct actor_row *row), void *self);
/* Puts one in at its old place. Rows come in order. */
void actors_put(struct store *store, const struct actor_row *row);
