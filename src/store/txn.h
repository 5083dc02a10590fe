/* txn.h: a transaction, the seam through which every change passes.
 *
 * A transaction holds the locks of its shards, taken in ascending order, from begin to end, and has
 * one stamp: its instant. What it changes is seen by others as a whole or not at all. txn_change
 * does the four things that a change is: its inverse goes into the history, its effect to the redo
 * buffer (redo.h) and the sinks, the object changes, the entry gets the stamp.
 *
 *     txn_begin ─ txn_read* ─ txn_change* ─┬─ txn_commit
 *                     txn_savepoint ◄──────┴─ txn_rollback
 *
 * A transaction in the past (`at` not 0) only reads: every read gives the state at that instant,
 * taking shard locks one at a time. What can no longer be known sets `pruned` and reads as absent;
 * whoever began it looks at `pruned` before the answer leaves.
 *
 * Thread: the worker that began it.
 */
#pragma once

#include "base/attributes.h"
#include "base/limits.h"
#include "base/status.h"
#include "store/effect.h"
#include "store/value.h"

struct arena;
struct store;
struct worker;
struct shard;
struct entry;
struct undo;
struct held;

enum { SHARDSET_WORDS = SHARDS_MAX / 64 };
struct shardset {
    uint64_t bits[SHARDSET_WORDS];
};

static inline void shardset_add(struct shardset *set, uint32_t shard) {
    set->bits[shard / 64] |= (uint64_t)1 << (shard % 64);
}
static inline bool shardset_has(const struct shardset *set, uint32_t shard) {
    return set->bits[shard / 64] >> (shard % 64) & 1;
}

enum txn_flag {
    TXN_MULTI =
        1 << 0, /* several changes: readers without a lock must not see a part (STORE.md R6) */
    TXN_UNDO = 1 << 1,   /* may be rolled back: keeps what that needs */
    TXN_PEEK = 1 << 2,   /* one read of one key, without a lock where that works; never writes */
    TXN_EXPIRE = 1 << 4, /* txn_scan deletes what it meets whose time is over (SCAN, RANDOMKEY) */
    TXN_FRESH = 1 << 5, /* sinks are told that the keys which are set are new, whatever was there */
    TXN_NO_TOUCH = 1 << 3, /* reads leave no trace (CLIENT NO-TOUCH, OBJECT) */
};

enum found {
    ABSENT = 0, /* the key does not exist (or, in the past, did not) */
    FOUND = 1,
    PRUNED = 2, /* in the past: no longer known. txn_read never returns it, it sets txn->pruned */
};

struct txn {
    struct store *store;
    struct worker *worker;
    struct arena *arena; /* for copies that reads in the past need; the call's */
    uint64_t stamp;      /* this transaction's instant, Unix ns */
    uint64_t at;         /* 0: the present; else the instant that reads see, Unix ns */
    int64_t now_ms;      /* what "now" is for expiry and TTL: of stamp, or of at */
    uint64_t
        pruned_before; /* set with `pruned`: the key's or the database's oldest known instant, ns */
    const char *event; /* what sinks are told; the command's */
    uint64_t session;  /* the same: who has sent it, 0 for nobody */
    uint16_t actor;    /* who writes: store_actor_intern */
    uint8_t flags;     /* enum txn_flag */
    bool pruned;
    bool marked;             /* its shards are odd for readers without a lock */
    bool unlocked;           /* holds no lock; reads take them one at a time */
    uint32_t changes;        /* effects applied so far */
    uint32_t single;         /* the one shard it holds, or SHARDS_MAX: then `shards` says which */
    struct shardset *shards; /* borrowed from txn_begin */

    /* The last entry found, so that a change after a read does not search again. */
    struct {
        const void *index;
        uint64_t hash;
        const char *name;
        uint32_t db;
        _Atomic uint64_t *slot;
        struct entry *entry;
    } last;
    uint32_t expiries;   /* of the changes: deletions of keys whose time was over */
    struct undo *undo;   /* newest first; in the arena */
    struct held *held;   /* blobs kept alive until the end; in the arena */
    struct change *told; /* for the sinks; in the arena */
    uint32_t told_count, told_cap;
};

struct savepoint {
    struct undo *undo;
    uint32_t changes, told_count;
};

/* Takes the locks of `shards` (borrowed until the end), or of the one shard. */
void txn_begin(struct txn *txn, struct worker *worker, struct arena *arena, struct shardset *shards,
               unsigned flags);
void txn_begin_single(struct txn *txn, struct worker *worker, struct arena *arena, uint32_t shard,
                      unsigned flags);
/* No locks: for TXN_PEEK, for reads in the past and for commands that walk shard by shard. */
void txn_begin_unlocked(struct txn *txn, struct worker *worker, struct arena *arena,
                        unsigned flags);

/* An unlocked transaction can be used for one command after another: this is all that a command may
 * leave behind in one that changes nothing. */
void txn_let_held(struct txn *txn);

void txn_commit(struct txn *txn);   /* tells the sinks, lets go of the locks */
void txn_rollback(struct txn *txn); /* asserts TXN_UNDO if anything but an expiry was changed */

struct savepoint txn_savepoint(const struct txn *txn);
void txn_rollback_to(struct txn *txn, struct savepoint savepoint); /* needs TXN_UNDO */
/* What was changed so far stays changed; TXN_UNDO ends. */
void txn_settle(struct txn *txn);

/* Something for the sinks that changes no data: a message to a channel. It is told when this commits, in its place among
 * the changes, and not at all when it is rolled back. Needs no lock. `event` is a literal; the others are copied. It may speak of what has the stamp `gate`: it is not
 * heard before that is safe. */
void txn_say(struct txn *txn, const char *event, struct bytes channel, struct bytes text,
             uint64_t gate);
/* For the sinks that listen, one more word for what was just changed: SET with EX is "set" and "expire". `event` is a
 * literal. */
void txn_also(struct txn *txn, const struct key *key, const char *event);
/* The key was read and is not there. A transaction that holds no lock tells it at once. */
void txn_missed(struct txn *txn, const struct key *key);

/* The state of `key` as this transaction sees it. A key whose time is over is absent (and, in the
 * present and under the lock, deleted first). The shard's lock must be held, or the transaction be
 * unlocked: then it is taken for the moment and `*out` copied into the arena. */
MUST_USE bool txn_read(struct txn *txn, const struct key *key, struct value *out);

/* Applies `effect` to `key`, whose shard must be locked. SET and DELETE replace whatever is there;
 * DELETE, EXPIRE and SPLICE need the key to exist. */
void txn_change(struct txn *txn, const struct key *key, const struct effect *effect);

/* The common ones. A string's encoding is chosen here: a canonical integer, inline, or a blob. */
/* NO_MEMORY when a large value was refused; then nothing is changed. */
MUST_USE enum status txn_set_string(struct txn *txn, const struct key *key, struct bytes bytes,
                                    int64_t expire_at_ms);
void txn_set_int(struct txn *txn, const struct key *key, int64_t number, int64_t expire_at_ms);
void txn_delete(struct txn *txn, const struct key *key);
void txn_set_expire(struct txn *txn, const struct key *key, int64_t at_ms);
/* Makes the state of `key` that of `value` (RENAME, COPY, REVERT); its stamp is this transaction's. */
MUST_USE enum status txn_set_value(struct txn *txn, const struct key *key,
                                   const struct value *value);
/* Overwrites a part of a string, growing it with zeros as needed; the key may be absent. Chooses
 * between a new inline value, a new buffer and a change in place. */
MUST_USE enum status txn_splice(struct txn *txn, const struct key *key, uint64_t offset,
                                struct bytes bytes);

/* Visits keys of `db` in hash order from `cursor` (0: the beginning) until about `count` slots were
 * looked at; returns the cursor to go on from, 0 at the end. Every key that exists from start to end
 * is visited at least once. Shards not held are locked one at a time while they are visited; keys
 * and values are borrowed for the visit, which must not change data. */
uint64_t txn_scan(struct txn *txn, uint32_t db, uint64_t cursor, size_t count,
                  void (*visit)(void *self, const struct key *key, const struct value *value),
                  void *self);
uint64_t txn_size(struct txn *txn, uint32_t db); /* keys in db; in the past it walks */
/* A random key of db, its name copied to the arena; false if there is none. */
MUST_USE bool txn_random(struct txn *txn, uint32_t db, struct bytes *name);

/* These need all shards. */
void txn_flush(struct txn *txn, uint32_t db);
void txn_swap(struct txn *txn, uint32_t a, uint32_t b);
/* When `db` was flushed last, if that can be undone; else 0. */
uint64_t txn_flushed_at(struct txn *txn, uint32_t db);
/* Puts back what that flush took; keys written since then win. `*keys`: how many came back. */
void txn_unflush(struct txn *txn, uint32_t db, uint64_t *keys);

/* The same for a key that was watched: its stamp now (0: absent), and whether that is still `stamp`
 * when it was read at `seen` (then absent stays absent only if no deletion was forgotten since). */
uint64_t txn_watch(struct txn *txn, const struct key *key, uint64_t *seen);
MUST_USE bool txn_unchanged(struct txn *txn, const struct key *key, uint64_t stamp, uint64_t seen);
