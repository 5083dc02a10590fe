/* store.h: the keyspace: shards, databases, workers, history, expiry. A library; the server is one
 * user of it. See README.md beside this file for how the parts fit. */
#pragma once

#include "base/siphash.h"
#include "metrics/counters.h"
#include "store/txn.h"

struct env;
struct problem;
struct store;
struct worker;

struct store_options {
    struct env *env;
    unsigned shards;      /* power of two, 1..SHARDS_MAX; default 64 */
    unsigned databases;   /* 1..DATABASES_MAX; default 16 */
    unsigned workers_max; /* workers that will ever be alive together */
    struct sink *const
        *sinks; /* told of every commit, in this order; borrowed for the store's life */
    size_t sinks_count;
    const struct siphash_key *seed; /* of the keys' hash; NULL: a random one */
    bool janitor_thread; /* false: the owner calls store_janitor itself (tests, simulation) */
};

/* What can change while it runs. */
struct store_settings {
    bool history;
    bool lock_free_reads;
    bool active_expire;                  /* DEBUG SET-ACTIVE-EXPIRE */
    uint64_t history_memory;             /* bytes; 0: 10 % of live data, at least 64 MiB */
    uint64_t history_window_ms;          /* 0: as long as it fits */
    uint64_t history_versions_max;       /* 0: no limit */
    uint64_t history_resolution_ms;      /* 0: every version */
    const struct bytes *history_exclude; /* patterns; copied */
    size_t history_exclude_count;
};

struct store *store_new(const struct store_options *options);
struct store *store_free(struct store *store); /* always NULL; its workers must be gone */
void store_configure(struct store *store, const struct store_settings *settings);
struct store_settings
store_settings(struct store *store); /* patterns borrowed until configured anew */
unsigned store_databases(const struct store *store);
unsigned store_shards(const struct store *store);

/* Turns a sink's ear for changes of data on or off. Any thread, any time. A transaction that is under way may have
 * changed something unheard: store_settle waits for all of those; no shard may be held then. */
void store_listen(struct store *store, struct sink *sink, bool on);
void store_settle(struct store *store);
/* Whether workers note the stamp of everything that they read (worker_take_seen): for when a reply must not show
 * what a crash could still undo. */
void store_gate_reads(struct store *store, bool on);
/* From now on the clock says at least `now`: no stamp is given at or before it. */
void store_clock_raise(struct store *store, uint64_t now);
/* The latest instant that anybody has read as past: no stamp may be given at or before it, after a restart
 * neither. */
uint64_t store_past_seen(struct store *store);
uint64_t store_now(struct store *store); /* the store's clock, Unix ns; also before its stamps */

/* A thread's place in the store. One a thread, made and freed by that thread. */
struct worker *worker_new(struct store *store);
struct worker *worker_free(struct worker *worker); /* always NULL */
struct counters *worker_counters(struct worker *worker);
/* The newest stamp of what this worker has changed, and under store_gate_reads shown, since it was last asked. */
uint64_t worker_take_seen(struct worker *worker);
/* Reads the clock: once after each round of reading sockets. All stamps until the next call are of
 * this instant or just after it. */
void worker_tick(struct worker *worker);
/* For this worker no key's time is over any more: it does what was done before. */
void worker_stop_time(struct worker *worker);
uint64_t worker_now_ns(const struct worker *worker);
int64_t worker_now_ms(const struct worker *worker);
/* Brackets a batch: between them values read without a lock stay where they are. Nothing blocks
 * inside, and at most BATCH_MAX commands run. */
void worker_enter(struct worker *worker);
void worker_exit(struct worker *worker);
/* Expiry and small chores for this worker's share of the shards, for about `budget_ns`. Returns true
 * if there is more to do now. */
bool worker_chores(struct worker *worker, unsigned index, unsigned count, uint64_t budget_ns);

/* One round of what the janitor thread does every 100 ms: retention, freeing, the clock. */
void store_janitor(struct store *store);

/* The key's hash and shard ({tag} rule). */
struct key store_key(const struct store *store, uint32_t db, struct bytes name);
/* Hints for a batch: first all buckets, then all entries. */
void store_prefetch_bucket(struct store *store, const struct key *key);
void store_prefetch_entry(struct store *store, struct key *key); /* and remembers its place */

/* Who writes: a command's name with a client's name or address, interned to 16 bits. The same pair
 * gives the same number for as long as it is not pushed out by 65,000 newer pairs. */
enum {
    ACTOR_UNKNOWN = 0,
    ACTOR_EXPIRED = 1,
    ACTOR_EVICTED = 2,
    ACTOR_FLUSHED = 3,
    ACTOR_UNFLUSHED = 4,
    ACTOR_FIRST = 5,
    ACTORS_LASTING = 60000, /* pairs that may be met before a number means another one */
};
uint64_t store_actors_interned(struct store *store); /* how many pairs were met so far */
uint16_t store_actor_intern(struct store *store, struct bytes op, struct bytes client);
/* false: no longer known for a version of that stamp. The bytes are copied into `arena`. */
MUST_USE bool store_actor(struct store *store, uint16_t actor, uint64_t stamp, struct arena *arena,
                          struct bytes *op, struct bytes *client);

/* Restore points. */
enum status store_pin(struct store *store, const struct txn *txn, struct bytes name, uint64_t at,
                      struct problem *why);
bool store_unpin(struct store *store, struct bytes name);
/* The same, written to the log: for a transaction that holds every shard. */
enum status txn_pin(struct txn *txn, struct bytes name, uint64_t at, struct problem *why);
bool txn_unpin(struct txn *txn, struct bytes name);
bool store_pin_find(struct store *store, struct bytes name, uint64_t *at);
/* Calls `visit` for each pin in the order of their names. */
void store_pins(struct store *store, void (*visit)(void *self, struct bytes name, uint64_t at),
                void *self);
/* The same for a reply: it shows the pins that are there, and that there are no others. */
bool txn_pin_find(const struct txn *txn, struct bytes name, uint64_t *at);
void txn_pins(const struct txn *txn, void (*visit)(void *self, struct bytes name, uint64_t at),
              void *self);
/* Called (any thread, no lock held) when a pin had to be dropped for the budget's sake. */
void store_on_pin_dropped(struct store *store, void (*told)(void *self, struct bytes name),
                          void *self);

struct store_stats {
    uint64_t keys, keys_with_expiry, tombstones; /* in all databases */
    uint64_t data_memory;                        /* entries and blobs of live keys, by size class */
    uint64_t index_memory, wheel_memory;
    uint64_t history_memory; /* segments, blobs they own, tombstones, flushed tables */
    uint64_t history_records, history_budget;
    uint64_t horizon;      /* ns */
    uint64_t last_stamp;   /* ns: the newest commit */
    uint64_t limbo_bytes;  /* retired, not yet freed */
    uint64_t wheel_lag_ms; /* how far expiry is behind */
    uint64_t pins_dropped;
    uint64_t overflow_buckets, buckets;
};
/* What looks at every shard takes their locks one at a time, but for those that `txn` holds (NULL:
 * none): INFO inside MULTI. */
void store_stats(struct store *store, const struct txn *txn, struct store_stats *out);
uint64_t store_counter(struct store *store,
                       enum counter counter);   /* over all workers, gone ones too */
void store_counters_reset(struct store *store); /* CONFIG RESETSTAT */

struct db_stats {
    uint64_t keys, expires;
    int64_t average_ttl_ms; /* 0 where unknown */
};
void store_db_stats(struct store *store, const struct txn *txn, uint32_t db, struct db_stats *out);
/* Bytes that one key takes: entry, blob and its share of the index; 0 if it is absent. */
size_t store_key_memory(struct txn *txn, const struct key *key);
/* How far back each shard knows everything: calls `visit` with horizon ns, records and bytes. */
void store_shard_histories(struct store *store, const struct txn *txn,
                           void (*visit)(void *self, uint32_t shard, uint64_t horizon,
                                         uint64_t records, uint64_t bytes),
                           void *self);
