/* index.h: from a key's hash to its entry: one 64-bit word a key.
 *
 *     bucket: 64 bytes, one cache line    | w0 | w1 | w2 | w3 | w4 | w5 | w6 | w7 |
 *     word:   | tag 16 | pointer 44 | link 1 | ttl 1 | frequency 2 |
 *
 * x is the hash without its shard's bits, at the top. The bucket is x's top log2n bits, the tag bits
 * 12..27 of x from the top, so that for 4096 buckets and more the tag contains the bit which the next
 * doubling needs: growing never touches an entry. A full bucket turns its 8th word into a link to an
 * overflow bucket. Growing and shrinking are incremental: while `old` is set a key lies in old or in
 * cur, and readers look in that order; a moved word is written to cur before it leaves old, so it is
 * always in one of them.
 *
 * A table is one word: the buckets' address (64-byte aligned) and log2n in its low bits.
 *
 * Thread: changes under the shard's lock. index_peek without it, inside an epoch: it returns the word
 * it matched, never a slot to read again (a false miss in 7 million, before that rule).
 */
#pragma once

#include "base/limits.h"
#include "base/siphash.h"
#include "store/entry.h"

enum { INDEX_SLOTS = 8, INDEX_TAG_SHIFT = 48, INDEX_TAG_FIRST = 12 };
#define INDEX_FREQUENCY 0x3ull
#define INDEX_TTL 0x4ull
#define INDEX_LINK 0x8ull
#define INDEX_POINTER 0x0000fffffffffff0ull

struct bucket {
    _Alignas(64) _Atomic uint64_t w[INDEX_SLOTS];
};

struct worker;

struct index {
    _Atomic uint64_t cur, old; /* tables; 0: none */
    uint64_t migrated;         /* buckets of old that are done */
    uint64_t used;             /* words in use: keys and tombstones */
    uint64_t overflow;         /* overflow buckets */
    _Atomic uint64_t live, tombstones, expiring;
    _Atomic uint64_t data_size;      /* bytes of live entries and their blobs, by size class */
    _Atomic uint64_t tombstone_size; /* bytes of tombstones */
    _Atomic uint64_t table_size;     /* bytes of tables and overflow buckets */
    uint64_t aside;                  /* bytes counted as flushed; 0: it is in use */
    uint32_t refs;                   /* places that hold it: the present, periods, an image */
    uint32_t walkers;                /* of these: images, which only look */
    uint8_t shard_bits;
    uint8_t grow_percent; /* staggered, so that shards do not double together */
    const struct siphash_key *seed;
};

struct index *index_new(const struct siphash_key *seed, unsigned shard_bits, unsigned shard);
/* Makes room for so many keys in an empty index that nobody else has seen yet. */
void index_reserve(struct index *index, uint64_t keys);
/* Frees tables, entries and blobs at once: nobody may see them any more. */
struct index *index_free(struct index *index); /* always NULL */

static inline uint64_t index_x(const struct index *index, uint64_t hash) {
    return hash << index->shard_bits;
}
static inline struct bucket *table_bucket(uint64_t table, uint64_t x) {
    unsigned log2n = (unsigned)(table & 63);
    return (struct bucket *)(uintptr_t)(table & ~(uint64_t)63) + (x >> (64 - log2n));
}
static inline uint64_t index_tag(uint64_t x) {
    return (x >> (64 - INDEX_TAG_FIRST - 16)) << INDEX_TAG_SHIFT;
}
static inline struct entry *word_entry(uint64_t word) {
    return (struct entry *)(uintptr_t)(word & INDEX_POINTER);
}
static inline struct bucket *word_bucket(uint64_t word) {
    return (struct bucket *)(uintptr_t)(word & INDEX_POINTER);
}

/* The word of `name` in a bucket's chain, or 0; `*slot` is where it lies. */
static inline uint64_t bucket_find(struct bucket *bucket, uint64_t x, struct bytes name,
                                   _Atomic uint64_t **slot) {
    uint64_t tag = index_tag(x);
    for (;;) {
        uint64_t link = 0;
        for (unsigned i = 0; i < INDEX_SLOTS; i++) {
            uint64_t word = atomic_load_explicit(&bucket->w[i], memory_order_acquire);
            if (LIKELY((word ^ tag) >> INDEX_TAG_SHIFT != 0)) continue;
            if (!(word & INDEX_POINTER) || (word & INDEX_LINK)) continue;
            if (entry_is(word_entry(word), name)) {
                *slot = &bucket->w[i];
                return word;
            }
        }
        link = atomic_load_explicit(&bucket->w[INDEX_SLOTS - 1], memory_order_acquire);
        if (LIKELY(!(link & INDEX_LINK))) return 0;
        bucket = word_bucket(link);
    }
}

/* The word in the slot where index_prefetch saw the key's tag, if it still is the key's, else 0. A
 * slot that was left is zero, or became a link; a table that was left takes no new words. */
static inline uint64_t hint_find(_Atomic uint64_t *hint, uint64_t x, struct bytes name) {
    uint64_t word = atomic_load_explicit(hint, memory_order_acquire);
    if (UNLIKELY((word ^ index_tag(x)) >> INDEX_TAG_SHIFT != 0)) return 0;
    if (UNLIKELY(!(word & INDEX_POINTER) || (word & INDEX_LINK))) return 0;
    return LIKELY(entry_is(word_entry(word), name)) ? word : 0;
}

/* Under the lock. */
static inline uint64_t index_find(const struct index *index, uint64_t hash, struct bytes name,
                                  _Atomic uint64_t **slot) {
    uint64_t x = index_x(index, hash);
    uint64_t old = atomic_load_explicit(&index->old, memory_order_relaxed);
    if (UNLIKELY(old != 0)) {
        uint64_t word = bucket_find(table_bucket(old, x), x, name, slot);
        if (word) return word;
    }
    uint64_t cur = atomic_load_explicit(&index->cur, memory_order_relaxed);
    return bucket_find(table_bucket(cur, x), x, name, slot);
}

/* Without the lock, inside an epoch. */
static inline uint64_t index_peek(const struct index *index, uint64_t hash, struct bytes name) {
    uint64_t x = index_x(index, hash);
    for (;;) {
        _Atomic uint64_t *slot;
        uint64_t old = atomic_load_explicit(&index->old, memory_order_acquire);
        uint64_t cur = atomic_load_explicit(&index->cur, memory_order_acquire);
        uint64_t word = 0;
        if (UNLIKELY(old != 0)) word = bucket_find(table_bucket(old, x), x, name, &slot);
        if (!word) word = bucket_find(table_bucket(cur, x), x, name, &slot);
        if (word) return word;
        if (LIKELY(old == atomic_load_explicit(&index->old, memory_order_acquire) &&
                   cur == atomic_load_explicit(&index->cur, memory_order_acquire)))
            return 0;
    }
}

/* Puts a new key's entry in; may begin to grow, and moves a little if growing. */
void index_insert(struct index *index, struct worker *worker, uint64_t hash, struct entry *entry);
/* Empties a slot; may begin to shrink. The entry is the caller's to retire. */
void index_remove(struct index *index, struct worker *worker, _Atomic uint64_t *slot);
/* Swaps the entry of a slot, keeping its tag and frequency. */
void index_replace(_Atomic uint64_t *slot, struct entry *entry);
/* Moves up to `buckets` buckets of a resize under way; true while there is more. */
bool index_migrate(struct index *index, struct worker *worker, size_t buckets);

/* Visits every entry (tombstones too) whose x lies in the interval that begins at `x` and is one
 * bucket of the coarser table long; returns the next interval's x, or 0 at the end. Entries must
 * not come or go meanwhile. */
uint64_t index_visit(struct index *index, uint64_t x,
                     void (*visit)(void *self, struct entry *entry), void *self);
/* Calls `visit` for the entries whose top bits of x are those of `prefix32` and which have the same
 * tag: at most a few. `slot` is theirs. */
void index_candidates(struct index *index, uint32_t prefix32,
                      void (*visit)(void *self, _Atomic uint64_t *slot, struct entry *entry),
                      void *self);
/* Prefetches the first entry behind x's tag, and returns the slot; NULL: there is none. */
_Atomic uint64_t *index_prefetch(const struct index *index, uint64_t x);
size_t index_buckets(const struct index *index);
