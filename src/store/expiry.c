/* expiry.c: keys whose time is over.
 *
 * Only what ends within ARM_AHEAD_MS is in the wheel. A pass over the whole table, spread over
 * PASS_MS, puts in what has come that near meanwhile; so a key that lives for days costs nothing but
 * its eight bytes of expiry. (With a record for every key it was 8 bytes more: 104.5 against 96.)
 *
 * A wheel record is the top 32 bits of the key's place in its shard and the database: enough to find
 * a few candidates in one bucket. It is never cancelled. When it fires, a candidate whose time is
 * over is deleted, by an effect like every change; one whose time was put off is armed again. */
#include "base/arena.h"
#include "base/env.h"
#include "store/shard.h"

enum {
    ARM_AHEAD_MS = 2 * 60 * 60 * 1000,
    PASS_MS = ARM_AHEAD_MS / 2, /* so that the next pass ends before what this one covers does */
    FIRE_GROUP = 32,            /* records taken at once: their cache misses overlap */
    SWEEP_SLACK = 1024,         /* records beyond twice the keys with an expiry, before a sweep */
    MIGRATE_CHORE = 64,         /* buckets of an idle resize moved at once */
};

static uint64_t tick_of(int64_t expire_at_ms) {
    /* The first tick that begins at or after the deadline: a record never fires early. */
    uint64_t ms = expire_at_ms < 0 ? 0 : (uint64_t)expire_at_ms;
    return ms / WHEEL_TICK_MS + 1;
}

bool expiry_arm(struct shard *shard, const struct index *index, uint32_t db, uint64_t hash,
                int64_t expire_at_ms) {
    static_assert(DATABASES_MAX <= 256);
    if (expire_at_ms >= shard->arming_ms) return false;
    uint64_t payload = (index_x(index, hash) >> 32) << 8 | db;
    wheel_add(&shard->wheel, payload, tick_of(expire_at_ms));
    return true;
}

struct fire {
    struct txn *txn;
    struct shard *shard;
    uint32_t db, prefix;
    int64_t now_ms;
    struct entry *over; /* one whose time is over, and */
    _Atomic uint64_t *slot;
    struct entry *armed[8]; /* candidates that were put off: armed again afterwards */
    size_t armed_count;
};

static void fire_candidate(void *self, _Atomic uint64_t *slot, struct entry *entry) {
    struct fire *fire = self;
    int64_t expire = entry_expire(entry);
    if (!expire || entry_is_tombstone(entry)) return;
    if (expire <= fire->now_ms) {
        fire->over = entry;
        fire->slot = slot;
    } else if (entry->words & ENTRY_ARMED && fire->armed_count < COUNT_OF(fire->armed)) {
        fire->armed[fire->armed_count++] = entry;
    }
}

static void fire_one(struct txn *txn, struct shard *shard, uint64_t payload) {
    uint32_t db = (uint32_t)(payload & 0xff);
    struct index *index = database_now(&shard->databases[db]);
    if (!index) return;
    struct fire fire = { .txn = txn,
                         .shard = shard,
                         .db = db,
                         .prefix = (uint32_t)(payload >> 8),
                         .now_ms = txn->now_ms };
    for (;;) { /* a deletion may move words about: one at a time */
        fire.over = NULL;
        fire.armed_count = 0;
        index_candidates(index, fire.prefix, fire_candidate, &fire);
        if (!fire.over) break;
        txn_expire(txn, db, fire.slot, fire.over);
    }
    for (size_t i = 0; i < fire.armed_count; i++) {
        uint64_t hash = store_key(txn->store, db, entry_name(fire.armed[i])).hash;
        if (index_x(index, hash) >> 32 != fire.prefix) continue; /* somebody else's record */
        (void)expiry_arm(shard, index, db, hash, entry_expire(fire.armed[i]));
    }
}

static void prefetch_group(const struct shard *shard, const uint64_t *payloads, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct index *index = database_now(&shard->databases[payloads[i] & 0xff]);
        if (index) __builtin_prefetch(table_bucket(index->cur, payloads[i] >> 8 << 32));
    }
    for (size_t i = 0; i < count; i++) {
        const struct index *index = database_now(&shard->databases[payloads[i] & 0xff]);
        if (index) (void)index_prefetch(index, payloads[i] >> 8 << 32);
    }
}

struct armed_sweep {
    struct shard *shard;
    bool found;
};

static void sweep_candidate(void *self, _Atomic uint64_t *slot, struct entry *entry) {
    (void)slot;
    if (entry->words & ENTRY_ARMED && !entry_is_tombstone(entry))
        ((struct armed_sweep *)self)->found = true;
}

static bool sweep_keeps(void *self, uint64_t payload) {
    struct armed_sweep sweep = { .shard = self };
    struct index *index = database_now(&sweep.shard->databases[payload & 0xff]);
    if (index) index_candidates(index, (uint32_t)(payload >> 8), sweep_candidate, &sweep);
    return sweep.found;
}

static void sweep_if_crowded(const struct store *store, struct shard *shard) {
    uint64_t expiring = 0;
    for (unsigned db = 0; db < store->databases; db++) {
        struct index *index = database_now(&shard->databases[db]);
        if (index) expiring += atomic_load_explicit(&index->expiring, memory_order_relaxed);
    }
    if (shard->wheel.records > 2 * expiring + SWEEP_SLACK)
        wheel_sweep(&shard->wheel, sweep_keeps, shard);
}

/* Fires what is due, at most `limit` records; true if there may be more. The lock is held. */
static bool fire_due(struct txn *txn, struct shard *shard, uint64_t tick, size_t limit) {
    uint64_t payloads[FIRE_GROUP];
    for (size_t fired = 0; fired < limit;) {
        size_t want = limit - fired < FIRE_GROUP ? limit - fired : FIRE_GROUP;
        size_t got = wheel_turn(&shard->wheel, tick, payloads, want);
        prefetch_group(shard, payloads, got);
        for (size_t i = 0; i < got; i++) fire_one(txn, shard, payloads[i]);
        fired += got;
        if (got < want) {
            sweep_if_crowded(txn->store, shard);
            return false;
        }
    }
    return true;
}

/* Puts what ends in [from_ms, until_ms) into the wheel. */
struct arming {
    struct shard *shard;
    struct index *index;
    struct store *store;
    uint32_t db;
    int64_t from_ms, until_ms;
};

static void arm_entry(void *self, struct entry *entry) {
    struct arming *arming = self;
    int64_t expire = entry_expire(entry);
    if (!expire || expire < arming->from_ms || expire >= arming->until_ms) return;
    if (entry_is_tombstone(entry)) return;
    uint64_t hash = store_key(arming->store, arming->db, entry_name(entry)).hash;
    (void)expiry_arm(arming->shard, arming->index, arming->db, hash, expire);
}

void expiry_init(struct shard *shard, int64_t now_ms) {
    shard->pass_ms = now_ms;
    shard->armed_ms = shard->arming_ms = now_ms + ARM_AHEAD_MS;
}

/* The pass: looks at as much of each table as is due by now. */
static void arm_what_comes(struct store *store, struct shard *shard, int64_t now_ms) {
    int64_t passed = now_ms - shard->pass_ms;
    bool over = passed >= PASS_MS;
    uint64_t due = over ? UINT64_MAX : UINT64_MAX / PASS_MS * (uint64_t)(passed < 0 ? 0 : passed);
    for (uint32_t db = 0; shard->arming_ms > shard->armed_ms && db < store->databases; db++) {
        struct database *database = &shard->databases[db];
        struct index *index = database_now(database);
        if (!index || !index->expiring) continue;
        struct arming arming = { shard, index, store, db, shard->armed_ms, shard->arming_ms };
        while (database->swept < due) {
            uint64_t next = index_visit(index, database->swept, arm_entry, &arming);
            database->swept = next ? next : UINT64_MAX;
        }
    }
    if (!over) return;
    shard->armed_ms = shard->arming_ms;
    shard->pass_ms = now_ms;
    shard->arming_ms = now_ms + ARM_AHEAD_MS;
    for (uint32_t db = 0; db < store->databases; db++) shard->databases[db].swept = 0;
    /* After a long sleep there is more to catch up with than one pass covers. */
    if (now_ms >= shard->armed_ms) shard->pass_ms = now_ms - PASS_MS;
}

void expiry_rearm(struct store *store, struct shard *shard, uint32_t db) {
    struct index *index = database_now(&shard->databases[db]);
    if (!index || !index->expiring) return;
    struct arming arming = { shard, index, store, db, 0, shard->arming_ms };
    uint64_t x = 0;
    do x = index_visit(index, x, arm_entry, &arming);
    while (x);
}

static bool chores_of(struct worker *worker, struct shard *shard, uint64_t tick) {
    struct store *store = worker->store;
    UNINITIALIZED struct arena arena;
    arena_init(&arena);
    UNINITIALIZED struct txn txn;
    txn_begin_single(&txn, worker, &arena, shard->number, 0);
    txn.event = "expired";
    bool more = false;
    arm_what_comes(store, shard, txn.now_ms);
    if (atomic_load_explicit(&store->active_expire, memory_order_relaxed) &&
        !wheel_idle(&shard->wheel, tick))
        more = fire_due(&txn, shard, tick, FIRE_GROUP);
    else if (shard->wheel.records == 0)
        shard->wheel.now = tick; /* nothing to turn */
    for (unsigned db = 0; db < store->databases; db++) {
        struct index *index = database_now(&shard->databases[db]);
        if (index && index->old) more |= index_migrate(index, worker, MIGRATE_CHORE);
    }
    txn_commit(&txn);
    arena_deinit(&arena);
    return more;
}

bool worker_chores(struct worker *worker, unsigned index, unsigned count, uint64_t budget_ns) {
    struct store *store = worker->store;
    uint64_t tick = store_clock(store) / 1000000 / WHEEL_TICK_MS;
    if (tick == worker->chores_tick && !worker->chores_more) return false;
    if (tick != worker->chores_tick) {
        worker->chores_tick = tick;
        worker_reap(worker);
    }
    worker_tick(worker);
    worker_enter(worker); /* a table that is left meanwhile stays until this is done */
    uint64_t end = env_monotonic_ns(store->env) + budget_ns;
    unsigned mine = (store->shards_count + count - 1 - index) / count;
    bool more = false;
    for (unsigned done = 0; done < mine; done++) {
        unsigned number = index + worker->chores_shard++ % mine * count;
        struct shard *shard = store_shard(store, number);
        more |= chores_of(worker, shard, tick);
        if (more && env_monotonic_ns(store->env) >= end) break;
    }
    worker_exit(worker);
    worker->chores_more = more;
    return more;
}
