/* scan.c: walking all keys of a database.
 *
 * A cursor is a place in hash order, not in a table: the shard's number, then the top bits of the
 * position inside it, 48 bits together so that clients with signed or floating cursors survive. So a
 * walk goes on across any number of resizes. 0 is both the beginning and the end. */
#include "base/arena.h"
#include "base/env.h"
#include "store/past.h"
#include "store/shard.h"

enum { CURSOR_BITS = 48 };

struct over { /* a key whose time is over */
    struct over *next;
    struct bytes name;
};

struct scan {
    struct txn *txn;
    struct over *over; /* met, to be deleted; with TXN_EXPIRE */
    struct shard *shard;
    uint32_t db;
    size_t seen;
    void (*visit)(void *self, const struct key *key, const struct value *value);
    void *self;
};

static void note_over(struct scan *scan, struct bytes name) {
    struct over *over = arena_new(scan->txn->arena, sizeof *over);
    *over = (struct over){ scan->over, arena_copy(scan->txn->arena, name) };
    scan->over = over;
}

/* Reading a key whose time is over deletes it. */
static void delete_over(const struct scan *scan) {
    for (const struct over *over = scan->over; over; over = over->next) {
        struct key key = store_key(scan->txn->store, scan->db, over->name);
        struct value value;
        (void)!txn_read(scan->txn, &key, &value);
    }
}

static void scan_entry(void *self, struct entry *entry) {
    struct scan *scan = self;
    struct txn *txn = scan->txn;
    scan->seen++;
    struct value value;
    if (UNLIKELY(txn->at != 0)) {
        if (entry->words & ENTRY_EXCLUDED) return; /* no past: no part in walks of the past */
        uint64_t oldest = 0;
        enum found found = past_state(txn, scan->shard, scan->db, entry_name(entry), entry, txn->at,
                                      &value, &oldest);
        if (found == PRUNED) {
            txn->pruned = true;
            raise(&txn->pruned_before, oldest);
        }
        if (found != FOUND) return;
    } else {
        if (entry_is_tombstone(entry)) return;
        entry_value(entry, &value);
        if (value.expire_at_ms && value.expire_at_ms <= txn->now_ms) {
            if (txn->flags & TXN_EXPIRE) note_over(scan, entry_name(entry));
            return;
        }
    }
    struct key key = store_key(txn->store, scan->db, entry_name(entry));
    scan->visit(scan->self, &key, &value);
}

/* In the past, the whole database must be known: a key that was forgotten would be missing. */
static void check_known(struct txn *txn, struct shard *shard, uint32_t db) {
    uint64_t known = shard_horizon(shard);
    raise(&known, shard->databases[db].barrier);
    if (txn->at >= known) return;
    txn->pruned = true;
    raise(&txn->pruned_before, known);
}

static struct index *scan_index(struct txn *txn, struct shard *shard, uint32_t db) {
    struct database *database = &shard->databases[db];
    if (LIKELY(txn->at == 0)) return database_now(database);
    uint64_t now = past_now(txn);
    shard_last_raise(shard, txn->at < now ? txn->at : now);
    check_known(txn, shard, db);
    return database_at(database, txn->at);
}

uint64_t txn_scan(struct txn *txn, uint32_t db, uint64_t cursor, size_t count,
                  void (*visit)(void *self, const struct key *key, const struct value *value),
                  void *self) {
    struct store *store = txn->store;
    unsigned x_bits = CURSOR_BITS - store->shard_bits;
    uint64_t number = cursor >> x_bits;
    uint64_t x = x_bits ? cursor << (64 - x_bits) : 0;
    size_t buckets = 0;
    /* Words looked at, and a bound on empty buckets, as Redis has it (10 for each asked). */
    size_t buckets_max = count > SIZE_MAX / 10 ? SIZE_MAX : count * 10;
    struct scan scan = { .txn = txn, .db = db, .visit = visit, .self = self };
    for (; number < store->shards_count; number++, x = 0) {
        struct shard *shard = store_shard(store, (uint32_t)number);
        txn_look(txn, shard);
        struct index *index = scan_index(txn, shard, db);
        scan.shard = shard;
        bool more = index != NULL;
        while (more && scan.seen < count && buckets < buckets_max) {
            x = index_visit(index, x, scan_entry, &scan);
            buckets++;
            more = x != 0;
        }
        txn_leave(txn, shard);
        if (more) break;
        if (scan.seen >= count || buckets >= buckets_max) {
            number++;
            x = 0;
            break;
        }
    }
    delete_over(&scan);
    return number < store->shards_count ? number << x_bits | x >> (64 - x_bits) : 0;
}

static void count_key(void *self, const struct key *key, const struct value *value) {
    (void)key;
    (void)value;
    ++*(uint64_t *)self;
}

uint64_t txn_size(struct txn *txn, uint32_t db) {
    uint64_t size = 0;
    if (txn->at) {
        for (uint64_t cursor = 0;;) {
            cursor = txn_scan(txn, db, cursor, 1000, count_key, &size);
            if (!cursor) return size;
        }
    }
    for (unsigned i = 0; i < txn->store->shards_count; i++) {
        struct shard *shard = store_shard(txn->store, i);
        txn_look(txn, shard);
        struct index *index = database_now(&shard->databases[db]);
        if (index) size += index->live;
        txn_leave(txn, shard);
    }
    return size;
}

struct pick {
    struct arena *arena;
    struct bytes name;
    uint64_t count, random;
};

/* One of the keys visited, each with the same chance. */
static void pick_key(void *self, const struct key *key, const struct value *value) {
    struct pick *pick = self;
    (void)value;
    pick->count++;
    pick->random = pick->random * 6364136223846793005u + 1442695040888963407u;
    if ((pick->random >> 33) % pick->count == 0) pick->name = arena_copy(pick->arena, key->name);
}

bool txn_random(struct txn *txn, uint32_t db, struct bytes *name) {
    struct store *store = txn->store;
    uint64_t random[2];
    env_random(store->env, random, sizeof random);
    struct pick pick = { .arena = txn->arena, .random = random[0] };
    unsigned x_bits = CURSOR_BITS - store->shard_bits;
    /* From a random place to the end, then from the beginning: the first keys that are met. */
    uint64_t cursor = random[1] & (((uint64_t)store->shards_count << x_bits) - 1);
    for (int rounds = 0; rounds < 2; rounds++) {
        do cursor = txn_scan(txn, db, cursor, 16, pick_key, &pick);
        while (cursor && pick.count == 0);
        if (pick.count) break;
    }
    *name = pick.name;
    return pick.count > 0;
}
