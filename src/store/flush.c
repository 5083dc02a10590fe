/* flush.c: whole databases at once. A flush puts the tables aside instead of emptying them: the keys'
 * past stays readable, and UNFLUSH puts the tables back in constant time. */
#include "base/arena.h"
#include "store/shard.h"

static uint64_t index_size(const struct index *index) {
    return atomic_load_explicit(&index->data_size, memory_order_relaxed) +
           atomic_load_explicit(&index->tombstone_size, memory_order_relaxed) +
           atomic_load_explicit(&index->table_size, memory_order_relaxed);
}

static void period_push(struct database *database, struct period period) {
    if (database->periods_count == database->periods_cap) {
        uint32_t cap = database->periods_cap ? database->periods_cap * 2 : 4;
        database->periods =
            mem_resize(database->periods, database->periods_cap * sizeof(struct period),
                       cap * sizeof(struct period));
        database->periods_cap = cap;
    }
    memmove(database->periods + 1, database->periods,
            database->periods_count * sizeof(struct period));
    database->periods[0] = period;
    database->periods_count++;
}

/* Another table takes the place of the present one. */
static void database_put(struct database *database, struct index *index, uint64_t stamp) {
    atomic_store_explicit(&database->changed, stamp, memory_order_relaxed);
    atomic_store_explicit(&database->now, index, memory_order_release);
}

static void index_released(void *ptr, size_t size) {
    (void)size;
    index_free(ptr);
}

/* Only the last flush of a database can be undone: what an earlier one took stays in the past. */
static void nothing_to_undo(struct database *database) {
    for (uint32_t i = 0; i < database->periods_count; i++) database->periods[i].undoable = false;
}

/* Counts a table as flushed, or no longer. */
static void index_aside(struct store *store, struct index *index, bool aside) {
    atomic_fetch_sub_explicit(&store->flushed_size, index->aside, memory_order_relaxed);
    index->aside = aside ? index_size(index) : 0;
    atomic_fetch_add_explicit(&store->flushed_size, index->aside, memory_order_relaxed);
}

void index_unref_later(struct store *store, struct worker *worker, struct index *index) {
    if (!index) return;
    assert(index->refs > index->walkers);
    index->refs--;
    /* What only an image still looks at is no longer the past's: no budget can win it back. */
    if (index->refs == index->walkers) index_aside(store, index, false);
    if (index->refs > 0) return;
    worker_retire(worker, index, index_size(index), index_released);
}

struct index *database_at(const struct database *database, uint64_t at) {
    if (at >= database->since) return database_now(database);
    for (uint32_t i = 0; i < database->periods_count; i++)
        if (at >= database->periods[i].from && at < database->periods[i].to)
            return database->periods[i].index;
    return NULL;
}

static void begin_change(struct txn *txn) {
    assert(!txn->unlocked && !(txn->flags & TXN_UNDO) && txn->flags & TXN_MULTI);
    if (!txn->marked) txn_mark(txn);
    txn->changes++;
    txn->last.index = NULL;
}

/* Every shard's part of a change of a whole database is a record of that shard. */
static void log_part(struct txn *txn, struct shard *shard, uint32_t db, const struct effect *part) {
    redo_put(shard, txn, db, (struct bytes){ 0 }, part);
}

void shard_flush(struct txn *txn, struct shard *shard, uint32_t db) {
    struct store *store = txn->store;
    assert(txn_holds(txn, shard->number));
    struct database *database = &shard->databases[db];
    struct index *index = database_now(database);
    nothing_to_undo(database);
    if (!index || index->used == 0) return;
    database_put(database, NULL, txn->stamp);
    if (database->since == txn->stamp) { /* filled by this very transaction: no one saw it */
        index_unref_later(store, txn->worker, index);
        return;
    }
    /* While a log is replayed an UNFLUSH may follow, whatever the settings are by now. */
    if (atomic_load_explicit(&store->history, memory_order_relaxed) ||
        UNLIKELY(atomic_load_explicit(&store->loading, memory_order_relaxed) != 0)) {
        period_push(database, (struct period){ .from = database->since,
                                               .to = txn->stamp,
                                               .index = index,
                                               .undoable = true });
        index_aside(store, index, true);
    } else {
        raise(&shard->forgotten, txn->stamp);
        raise(&shard->deletion_forgotten, txn->stamp);
        index_unref_later(store, txn->worker, index);
    }
    database->since = txn->stamp;
}

void txn_flush(struct txn *txn, uint32_t db) {
    begin_change(txn);
    for (unsigned i = 0; i < txn->store->shards_count; i++) {
        struct shard *shard = store_shard(txn->store, i);
        shard_flush(txn, shard, db);
        log_part(txn, shard, db, &(struct effect){ .kind = EFFECT_FLUSH });
    }
    txn_tell_database(txn, db, EFFECT_FLUSH);
}

struct survivor { /* a key written after the flush: it wins */
    struct survivor *next;
    struct bytes name;
    struct value value;
};

struct survivors {
    struct txn *txn;
    struct survivor *first;
};

static void note_survivor(void *self, struct entry *entry) {
    struct survivors *survivors = self;
    struct txn *txn = survivors->txn;
    int64_t expire = entry_expire(entry);
    if (entry_is_tombstone(entry) || (expire && expire <= txn->now_ms)) return;
    struct survivor *survivor = arena_new(txn->arena, sizeof *survivor);
    survivor->next = survivors->first;
    survivor->name = arena_copy(txn->arena, entry_name(entry));
    entry_value(entry, &survivor->value);
    survivors->first = survivor;
}

uint64_t txn_flushed_at(struct txn *txn, uint32_t db) {
    struct store *store = txn->store;
    uint64_t newest = 0; /* the same instant in every shard that had keys */
    for (unsigned i = 0; i < store->shards_count; i++) {
        const struct database *database = &store_shard(store, i)->databases[db];
        if (database->periods_count && database->periods[0].undoable &&
            database->periods[0].to > newest)
            newest = database->periods[0].to;
    }
    return newest;
}

void shard_unflush(struct txn *txn, struct shard *shard, uint32_t db, uint64_t to) {
    struct store *store = txn->store;
    struct database *database = &shard->databases[db];
    bool flushed =
        database->periods_count && database->periods[0].undoable && database->periods[0].to == to;
    nothing_to_undo(database);
    if (!flushed) return;
    struct index *back = database->periods[0].index, *since = database_now(database);
    back->refs++;
    index_aside(store, back, false);
    period_push(database,
                (struct period){ .from = database->since, .to = txn->stamp, .index = since });
    if (since) index_aside(store, since, true);
    database->since = txn->stamp;
    database_put(database, back, txn->stamp);
    txn->last.index = NULL;
    expiry_rearm(store, shard, db); /* the wheel may have passed over keys while they were aside */
}

/* What was written since the flush. */
static struct survivor *find_survivors(struct txn *txn, struct shard *shard, uint32_t db) {
    struct survivors survivors = { .txn = txn };
    struct index *since = database_now(&shard->databases[db]);
    uint64_t x = 0;
    do x = since ? index_visit(since, x, note_survivor, &survivors) : 0;
    while (x);
    return survivors.first;
}

static void put_survivors(struct txn *txn, uint32_t db, const struct survivor *first) {
    uint16_t actor = txn->actor;
    for (const struct survivor *s = first; s; s = s->next) {
        struct key key = store_key(txn->store, db, s->name);
        txn->actor = s->value.actor;
        enum status status = txn_set_value(txn, &key, &s->value);
        assert(status == OK || status == NO_MEMORY); /* NO_MEMORY: a buffer too big to copy */
    }
    txn->actor = actor;
}

void txn_unflush(struct txn *txn, uint32_t db, uint64_t *keys) {
    struct store *store = txn->store;
    uint64_t newest = txn_flushed_at(txn, db);
    *keys = 0;
    assert(newest);
    begin_change(txn);
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        struct database *database = &shard->databases[db];
        const struct survivor *survivors = NULL;
        if (database->periods_count && database->periods[0].undoable &&
            database->periods[0].to == newest) {
            *keys += atomic_load_explicit(&database->periods[0].index->live, memory_order_relaxed);
            survivors = find_survivors(txn, shard, db);
        }
        shard_unflush(txn, shard, db, newest);
        log_part(txn, shard, db, &(struct effect){ .kind = EFFECT_UNFLUSH, .offset = newest });
        put_survivors(txn, db, survivors);
    }
    txn_tell_database(txn, db, EFFECT_UNFLUSH);
}

void shard_swap(struct txn *txn, struct shard *shard, uint32_t a, uint32_t b) {
    assert(txn_holds(txn, shard->number));
    struct database *one = &shard->databases[a], *other = &shard->databases[b];
    struct index *index = database_now(one);
    database_put(one, database_now(other), txn->stamp);
    database_put(other, index, txn->stamp);
    struct period *periods = one->periods;
    uint32_t count = one->periods_count, cap = one->periods_cap;
    uint64_t since = one->since;
    one->periods = other->periods;
    one->periods_count = other->periods_count;
    one->periods_cap = other->periods_cap;
    one->since = other->since;
    other->periods = periods;
    other->periods_count = count;
    other->periods_cap = cap;
    other->since = since;
    one->barrier = other->barrier = txn->stamp; /* what was before is not followed through */
    raise(&shard->deletion_forgotten, txn->stamp);
    /* Wheel records name the database: those of either look into the other now and find nothing.
     * Arm every key with an expiry again. */
    expiry_rearm(txn->store, shard, a);
    expiry_rearm(txn->store, shard, b);
}

void txn_swap(struct txn *txn, uint32_t a, uint32_t b) {
    if (a == b) return;
    begin_change(txn);
    for (unsigned i = 0; i < txn->store->shards_count; i++) {
        struct shard *shard = store_shard(txn->store, i);
        shard_swap(txn, shard, a, b);
        log_part(txn, shard, a, &(struct effect){ .kind = EFFECT_SWAP, .other_db = b });
    }
    txn_tell_database(txn, a, EFFECT_SWAP);
}
