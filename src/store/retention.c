/* retention.c: how much past is kept (STORE.md 8.3). The oldest of the whole database goes first: a
 * flushed database, then the shard's segment that ends earliest. So the horizon is the same for all
 * shards, and a cold key's past is not lost to a hot one any earlier than everyone else's. */
#include "base/status.h"
#include "store/past.h"
#include "store/shard.h"

enum { HISTORY_MEMORY_MIN = 64 * 1024 * 1024, HISTORY_SHARE = 10 };

static uint64_t data_size(struct store *store, const struct txn *txn, uint64_t *tombstones) {
    uint64_t data = 0;
    *tombstones = 0;
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        txn_visit(txn, shard);
        for (unsigned db = 0; db < store->databases; db++) {
            struct index *index = database_now(&shard->databases[db]);
            if (!index) continue;
            data += index->data_size;
            *tombstones += index->tombstone_size;
        }
        txn_leave(txn, shard);
    }
    return data;
}

uint64_t store_history_size(struct store *store, const struct txn *txn) {
    uint64_t size;
    data_size(store, txn, &size);
    size += atomic_load_explicit(&store->flushed_size, memory_order_relaxed);
    for (unsigned i = 0; i < store->shards_count; i++)
        size += atomic_load_explicit(&store_shard(store, i)->history.size, memory_order_relaxed);
    return size;
}

uint64_t store_history_budget(struct store *store, const struct txn *txn) {
    uint64_t budget = atomic_load_explicit(&store->history_memory, memory_order_relaxed);
    if (budget) return budget;
    uint64_t tombstones, share = data_size(store, txn, &tombstones) / HISTORY_SHARE;
    return share > HISTORY_MEMORY_MIN ? share : HISTORY_MEMORY_MIN;
}

/* A segment's tombstones are taken out a few at a time: thousands would hold the lock for long. */
enum { DROP_GROUP = 32 };

struct drop {
    struct store *store;
    struct shard *shard;
    size_t count;
    struct {
        uint64_t hash, position;
        uint32_t db;
    } group[DROP_GROUP];
};

struct drop_candidate {
    struct drop *drop;
    uint64_t position;
    uint64_t stamp; /* of the tombstone that was removed */
    _Atomic uint64_t *slot;
    struct entry *entry;
};

static void match_tombstone(void *self, _Atomic uint64_t *slot, struct entry *entry) {
    struct drop_candidate *c = self;
    if (!entry_is_tombstone(entry) || entry_history(entry) != c->position) return;
    c->slot = slot;
    c->entry = entry;
}

static void entry_freed(void *ptr, size_t size) {
    mem_free(ptr, size);
}

/* The tombstone that hangs on a dropped record goes with it, wherever its table is now. */
static void drop_tombstone(struct drop *drop, uint64_t hash, uint32_t db, uint64_t position) {
    struct database *database = &drop->shard->databases[db];
    struct worker *worker = drop->store->janitor_worker;
    struct index *index = database_now(database);
    for (uint32_t i = 0;; i++) {
        struct drop_candidate c = { .drop = drop, .position = position };
        if (index)
            index_candidates(index, (uint32_t)(index_x(index, hash) >> 32), match_tombstone, &c);
        if (c.entry) {
            size_t size = entry_memory(c.entry);
            raise(&drop->shard->forgotten, c.entry->stamp);
            raise(&drop->shard->deletion_forgotten, c.entry->stamp);
            tally(&index->tombstones, UINT64_MAX);
            tally(&index->tombstone_size, 0 - (uint64_t)size);
            if (index->aside) {
                index->aside -= size;
                atomic_fetch_sub_explicit(&drop->store->flushed_size, size, memory_order_relaxed);
            }
            index_remove(index, worker, c.slot);
            worker_retire(worker, c.entry, entry_size(c.entry), entry_freed);
            return;
        }
        if (i >= database->periods_count) return;
        index = database->periods[i].index;
    }
}

static void drop_group(struct drop *drop) {
    lock_take(&drop->shard->lock);
    for (size_t i = 0; i < drop->count; i++) {
        const struct index *index = database_now(&drop->shard->databases[drop->group[i].db]);
        if (index) (void)index_prefetch(index, index_x(index, drop->group[i].hash));
    }
    for (size_t i = 0; i < drop->count; i++)
        drop_tombstone(drop, drop->group[i].hash, drop->group[i].db, drop->group[i].position);
    lock_release(&drop->shard->lock);
    drop->count = 0;
}

static void gather_tombstone(void *self, uint64_t hash, uint32_t db, uint64_t position) {
    struct drop *drop = self;
    drop->group[drop->count].hash = hash;
    drop->group[drop->count].db = db;
    drop->group[drop->count].position = position;
    if (++drop->count == DROP_GROUP) drop_group(drop);
}

static void drop_segment(struct store *store, struct shard *shard) {
    lock_take(&shard->lock);
    struct segment *segment = history_drop(&shard->history);
    lock_release(&shard->lock);
    if (!segment) return;
    /* It is nobody else's now, and a tombstone whose record is gone reads as not known: no hurry. */
    struct drop drop = { .store = store, .shard = shard };
    segment_tombstones(segment, gather_tombstone, &drop);
    drop_group(&drop);
    segment_free(&store->pool, segment); /* its blobs may be large: not under the lock */
}

/* The shard whose oldest segment ends earliest, of those that can drop one. */
static struct shard *oldest_shard(struct store *store, uint64_t *last) {
    struct shard *oldest = NULL;
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        uint64_t stamp = atomic_load_explicit(&shard->history.oldest, memory_order_relaxed);
        if (stamp == 0 || (oldest && stamp >= *last)) continue;
        oldest = shard;
        *last = stamp;
    }
    return oldest;
}

/* The end of the oldest period that some database still has; 0: none. */
static uint64_t oldest_period(struct store *store) {
    if (atomic_load_explicit(&store->flushed_size, memory_order_relaxed) == 0) return 0;
    uint64_t oldest = 0;
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        lock_take(&shard->lock);
        for (unsigned db = 0; db < store->databases; db++) {
            struct database *database = &shard->databases[db];
            if (!database->periods_count) continue;
            uint64_t to = database->periods[database->periods_count - 1].to;
            if (!oldest || to < oldest) oldest = to;
        }
        lock_release(&shard->lock);
    }
    return oldest;
}

/* Forgets every period that ended by `to`. */
static void drop_periods(struct store *store, uint64_t to) {
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        lock_take(&shard->lock);
        for (unsigned db = 0; db < store->databases; db++) {
            struct database *database = &shard->databases[db];
            while (database->periods_count &&
                   database->periods[database->periods_count - 1].to <= to) {
                struct period *period = &database->periods[--database->periods_count];
                raise(&shard->forgotten, period->to);
                raise(&shard->deletion_forgotten, period->to);
                index_unref_later(store, store->janitor_worker, period->index);
            }
        }
        lock_release(&shard->lock);
    }
}

static bool drop_oldest_pin(struct store *store) {
    pthread_mutex_lock(&store->pins_lock);
    size_t oldest = 0;
    for (size_t i = 1; i < store->pins_count; i++)
        if (store->pins[i].at < store->pins[oldest].at) oldest = i;
    char text[PIN_NAME_MAX]; /* a copy: a client may unpin it meanwhile */
    struct bytes name = { text, 0 };
    bool found = store->pins_count > 0;
    if (found) {
        name.len = store->pins[oldest].name.len;
        memcpy(text, store->pins[oldest].name.data, name.len);
    }
    pthread_mutex_unlock(&store->pins_lock);
    if (!found) return false;
    if (store->pin_dropped) store->pin_dropped(store->pin_dropped_self, name);
    atomic_fetch_add_explicit(&store->pins_dropped, 1, memory_order_relaxed);
    (void)store_unpin(store, name);
    return true;
}

void retention_drop_pins(struct store *store) {
    while (drop_oldest_pin(store)) {
    }
}

void retention_round(struct store *store) {
    if (atomic_load_explicit(&store->loading, memory_order_acquire)) return;
    uint64_t budget = store_history_budget(store, NULL);
    uint64_t window = atomic_load_explicit(&store->history_window_ms, memory_order_relaxed);
    uint64_t now = store_clock(store);
    uint64_t too_old = window && window < now / 1000000 ? now - window * 1000000 : 0;
    for (;;) {
        uint64_t size = store_history_size(store, NULL);
        bool over = size > budget;
        uint64_t last = 0, period = oldest_period(store);
        struct shard *shard = oldest_shard(store, &last);
        uint64_t pinned = atomic_load_explicit(&store->pins_oldest, memory_order_relaxed);
        if (period && (over || period < too_old)) {
            if (period > pinned) {
                if (!over) return;
                drop_oldest_pin(store);
                continue;
            }
            drop_periods(store, period);
            worker_reap(store->janitor_worker);
            continue;
        }
        if (!shard || (!over && last >= too_old)) return;
        if (last > pinned) { /* a restore point needs it */
            if (!over) return;
            drop_oldest_pin(store);
            continue;
        }
        drop_segment(store, shard);
    }
}

/* --- restore points --- */

/* The lock is held. `txn`: whose change it was that is in the log; NULL: nobody's. */
static void pins_note(struct store *store, const struct txn *txn) {
    if (txn) raise(&store->pins_changed, txn->stamp);
    uint64_t oldest = UINT64_MAX;
    for (size_t i = 0; i < store->pins_count; i++)
        if (store->pins[i].at < oldest) oldest = store->pins[i].at;
    atomic_store_explicit(&store->pins_oldest, oldest, memory_order_relaxed);
}

static int compare(struct bytes a, struct bytes b) {
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* The first pin whose name is not before `name`. */
static size_t pin_place(const struct store *store, struct bytes name) {
    size_t i = 0;
    while (i < store->pins_count && compare(store->pins[i].name, name) < 0) i++;
    return i;
}

/* The lock is held. false: there are too many already. */
static bool pin_set(struct store *store, const struct txn *txn, struct bytes name, uint64_t at) {
    size_t place = pin_place(store, name);
    if (place < store->pins_count && bytes_equal(store->pins[place].name, name)) {
        store->pins[place].at = at;
    } else if (store->pins_count == PINS_MAX) {
        return false;
    } else {
        memmove(store->pins + place + 1, store->pins + place,
                (store->pins_count - place) * sizeof *store->pins);
        char *text = mem_new(name.len + 1);
        memcpy(text, name.data, name.len);
        store->pins[place] = (struct pin){ { text, name.len }, at };
        store->pins_count++;
    }
    pins_note(store, txn);
    return true;
}

enum status store_pin(struct store *store, const struct txn *txn, struct bytes name, uint64_t at,
                      struct problem *why) {
    if (at < past_horizon(store, txn))
        return problem_set(why, NOT_FOUND, 0, "that instant is before what is still known");
    assert(name.len <= PIN_NAME_MAX);
    uint64_t size = store_history_size(store, txn), budget = store_history_budget(store, txn);
    if (size > budget)
        return problem_set(why, FULL, 0,
                           "history takes %llu bytes of its %llu: raise history-memory first",
                           (unsigned long long)size, (unsigned long long)budget);
    pthread_mutex_lock(&store->pins_lock);
    bool set = pin_set(store, txn, name, at);
    pthread_mutex_unlock(&store->pins_lock);
    if (set) return OK;
    return problem_set(why, LIMIT, 0, "there are %d restore points already", PINS_MAX);
}

void pins_put(struct store *store, struct bytes name, uint64_t at) {
    assert(name.len <= PIN_NAME_MAX);
    pthread_mutex_lock(&store->pins_lock);
    (void)pin_set(store, NULL, name,
                  at); /* FULL: it was within the same limit when it was written */
    pthread_mutex_unlock(&store->pins_lock);
}

static bool unpin(struct store *store, const struct txn *txn, struct bytes name) {
    pthread_mutex_lock(&store->pins_lock);
    size_t place = pin_place(store, name);
    bool found = place < store->pins_count && bytes_equal(store->pins[place].name, name);
    if (found) {
        struct bytes old = store->pins[place].name;
        store->pins_count--;
        memmove(store->pins + place, store->pins + place + 1,
                (store->pins_count - place) * sizeof *store->pins);
        mem_free((char *)(uintptr_t)old.data, old.len + 1);
        pins_note(store, txn);
    }
    pthread_mutex_unlock(&store->pins_lock);
    return found;
}

bool store_unpin(struct store *store, struct bytes name) {
    return unpin(store, NULL, name);
}

static void log_pin(struct txn *txn, struct bytes name, const struct effect *effect) {
    assert(txn_holds(txn, 0));
    txn->changes++;
    redo_put(store_shard(txn->store, 0), txn, 0, name, effect);
}

/* After the look: a change that comes between is reported as well, which only waits longer. */
static void saw_pins(const struct txn *txn) {
    pthread_mutex_lock(&txn->store->pins_lock);
    uint64_t stamp = txn->store->pins_changed;
    pthread_mutex_unlock(&txn->store->pins_lock);
    txn_saw(txn, stamp);
}

enum status txn_pin(struct txn *txn, struct bytes name, uint64_t at, struct problem *why) {
    enum status status = store_pin(txn->store, txn, name, at, why);
    if (status == OK)
        log_pin(txn, name, &(struct effect){ .kind = EFFECT_PIN, .offset = at });
    else
        saw_pins(txn); /* how many there are */
    return status;
}

bool txn_unpin(struct txn *txn, struct bytes name) {
    bool found = unpin(txn->store, txn, name);
    if (found)
        log_pin(txn, name, &(struct effect){ .kind = EFFECT_UNPIN });
    else
        saw_pins(txn);
    return found;
}

bool store_pin_find(struct store *store, struct bytes name, uint64_t *at) {
    pthread_mutex_lock(&store->pins_lock);
    size_t place = pin_place(store, name);
    bool found = place < store->pins_count && bytes_equal(store->pins[place].name, name);
    if (found) *at = store->pins[place].at;
    pthread_mutex_unlock(&store->pins_lock);
    return found;
}

void store_pins(struct store *store, void (*visit)(void *self, struct bytes name, uint64_t at),
                void *self) {
    pthread_mutex_lock(&store->pins_lock);
    for (size_t i = 0; i < store->pins_count; i++)
        visit(self, store->pins[i].name, store->pins[i].at);
    pthread_mutex_unlock(&store->pins_lock);
}

bool txn_pin_find(const struct txn *txn, struct bytes name, uint64_t *at) {
    bool found = store_pin_find(txn->store, name, at);
    saw_pins(txn);
    return found;
}

void txn_pins(const struct txn *txn, void (*visit)(void *self, struct bytes name, uint64_t at),
              void *self) {
    store_pins(txn->store, visit, self);
    saw_pins(txn);
}

void store_on_pin_dropped(struct store *store, void (*told)(void *self, struct bytes name),
                          void *self) {
    store->pin_dropped = told;
    store->pin_dropped_self = self;
}
