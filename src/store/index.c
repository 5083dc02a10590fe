#include "store/index.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "store/epoch.h"

enum {
    LOG2N_MIN = 1, /* x >> 64 is undefined */
    LOG2N_MAX = 40,
    MAP_MIN = 256 * 1024,       /* larger tables come from mmap, and go back to it */
    HUGE_MIN = 2 * 1024 * 1024, /* and ask for huge pages: allowed because we never fork */
    GROW_PERCENT_MIN = 80,
    SHRINK_PERCENT = 12,
    MIGRATE_STEP = 2, /* buckets moved by each insertion and removal */
};

static size_t table_bytes(uint64_t table) {
    return sizeof(struct bucket) << (table & 63);
}

static uint64_t table_new(struct index *index, unsigned log2n) {
    assert(log2n >= LOG2N_MIN && log2n <= LOG2N_MAX);
    size_t size = sizeof(struct bucket) << log2n;
    void *at;
    if (size < MAP_MIN) {
        at = aligned_alloc(64, size);
        assert(at);
        memset(at, 0, size);
    } else {
        at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert(at != MAP_FAILED);
        if (size >= HUGE_MIN) madvise(at, size, MADV_HUGEPAGE);
    }
    atomic_fetch_add_explicit(&index->table_size, size, memory_order_relaxed);
    return (uint64_t)(uintptr_t)at | log2n;
}

static struct bucket *overflow_new(struct index *index) {
    struct bucket *bucket = aligned_alloc(64, sizeof *bucket);
    assert(bucket);
    memset(bucket, 0, sizeof *bucket);
    index->overflow++;
    atomic_fetch_add_explicit(&index->table_size, sizeof *bucket, memory_order_relaxed);
    return bucket;
}

/* Frees the buckets, not what they point to. Returns how many overflow buckets there were. */
static size_t table_free(uint64_t table) {
    struct bucket *buckets = table_bucket(table, 0);
    size_t overflow = 0;
    for (size_t i = 0; i < (size_t)1 << (table & 63); i++) {
        uint64_t link = buckets[i].w[INDEX_SLOTS - 1];
        while (link & INDEX_LINK) {
            struct bucket *bucket = word_bucket(link);
            link = bucket->w[INDEX_SLOTS - 1];
            free(bucket);
            overflow++;
        }
    }
    size_t size = table_bytes(table);
    if (size < MAP_MIN)
        free(buckets);
    else
        munmap(buckets, size);
    return overflow;
}

static void table_free_later(void *table, size_t size) {
    (void)size;
    table_free((uint64_t)(uintptr_t)table);
}

struct index *index_new(const struct siphash_key *seed, unsigned shard_bits, unsigned shard) {
    struct index *index = mem_new_zero(sizeof *index);
    index->seed = seed;
    index->refs = 1;
    index->shard_bits = (uint8_t)shard_bits;
    index->grow_percent = (uint8_t)(GROW_PERCENT_MIN + shard * 37 % 64 * 20 / 63);
    index->cur = table_new(index, LOG2N_MIN);
    return index;
}

void index_reserve(struct index *index, uint64_t keys) {
    assert(index->used == 0 && index->old == 0);
    unsigned log2n = LOG2N_MIN;
    while (log2n < LOG2N_MAX &&
           ((uint64_t)INDEX_SLOTS << log2n) * index->grow_percent / 100 <= keys)
        log2n++;
    if (log2n <= (index->cur & 63)) return;
    uint64_t small = index->cur;
    index->cur = table_new(index, log2n);
    atomic_fetch_sub_explicit(&index->table_size, table_bytes(small), memory_order_relaxed);
    table_free(small);
}

static void entry_free(void *self, struct entry *entry) {
    (void)self;
    blob_unref(entry_blob(entry));
    mem_free(entry, entry_size(entry));
}

struct index *index_free(struct index *index) {
    if (!index) return NULL;
    uint64_t x = 0;
    do x = index_visit(index, x, entry_free, NULL);
    while (x);
    if (index->old) table_free(index->old);
    table_free(index->cur);
    mem_free(index, sizeof *index);
    return NULL;
}

static void table_put(struct index *index, struct bucket *bucket, uint64_t word) {
    for (;;) {
        uint64_t link = atomic_load_explicit(&bucket->w[INDEX_SLOTS - 1], memory_order_relaxed);
        unsigned slots = link & INDEX_LINK ? INDEX_SLOTS - 1 : INDEX_SLOTS;
        for (unsigned i = 0; i < slots; i++) {
            if (atomic_load_explicit(&bucket->w[i], memory_order_relaxed) != 0) continue;
            atomic_store_explicit(&bucket->w[i], word, memory_order_release);
            return;
        }
        if (link & INDEX_LINK) {
            bucket = word_bucket(link);
            continue;
        }
        struct bucket *more = overflow_new(index);
        atomic_store_explicit(&more->w[0], link, memory_order_relaxed);
        atomic_store_explicit(&more->w[1], word, memory_order_relaxed);
        atomic_store_explicit(&bucket->w[INDEX_SLOTS - 1], (uint64_t)(uintptr_t)more | INDEX_LINK,
                              memory_order_release);
        return;
    }
}

/* Bit `n` of x from the top, for a word whose bucket number has n bits: from its tag if it is there. */
static uint64_t next_bit(const struct index *index, uint64_t word, unsigned n) {
    if (n >= INDEX_TAG_FIRST && n < INDEX_TAG_FIRST + 16)
        return word >> (INDEX_TAG_SHIFT + 15 - (n - INDEX_TAG_FIRST)) & 1;
    uint64_t hash = siphash(index->seed, entry_name(word_entry(word)));
    return index_x(index, hash) >> (63 - n) & 1;
}

static void migrate_bucket(struct index *index, uint64_t old, uint64_t cur, uint64_t number) {
    unsigned from = (unsigned)(old & 63), to = (unsigned)(cur & 63);
    struct bucket *first = table_bucket(old, 0) + number, *bucket = first;
    for (;;) {
        uint64_t link = atomic_load_explicit(&bucket->w[INDEX_SLOTS - 1], memory_order_relaxed);
        unsigned slots = link & INDEX_LINK ? INDEX_SLOTS - 1 : INDEX_SLOTS;
        for (unsigned i = 0; i < slots; i++) {
            uint64_t word = atomic_load_explicit(&bucket->w[i], memory_order_relaxed);
            if (!word) continue;
            uint64_t target = to > from ? number * 2 + next_bit(index, word, from) : number / 2;
            table_put(index, table_bucket(cur, 0) + target, word);
        }
        if (!(link & INDEX_LINK)) break;
        bucket = word_bucket(link);
    }
    for (bucket = first;;) { /* only now: until then readers find everything here */
        uint64_t link = atomic_load_explicit(&bucket->w[INDEX_SLOTS - 1], memory_order_relaxed);
        unsigned slots = link & INDEX_LINK ? INDEX_SLOTS - 1 : INDEX_SLOTS;
        for (unsigned i = 0; i < slots; i++)
            atomic_store_explicit(&bucket->w[i], 0, memory_order_release);
        if (!(link & INDEX_LINK)) break;
        bucket = word_bucket(link);
    }
}

static size_t overflow_of(struct bucket *bucket) {
    size_t count = 0;
    for (uint64_t link = bucket->w[INDEX_SLOTS - 1]; link & INDEX_LINK;
         link = word_bucket(link)->w[INDEX_SLOTS - 1])
        count++;
    return count;
}

bool index_migrate(struct index *index, struct worker *worker, size_t buckets) {
    uint64_t old = atomic_load_explicit(&index->old, memory_order_relaxed);
    if (!old) return false;
    uint64_t cur = atomic_load_explicit(&index->cur, memory_order_relaxed);
    uint64_t count = (uint64_t)1 << (old & 63);
    for (; buckets > 0 && index->migrated < count; buckets--, index->migrated++) {
        size_t overflow = overflow_of(table_bucket(old, 0) + index->migrated);
        migrate_bucket(index, old, cur, index->migrated);
        index->overflow -= overflow;
        atomic_fetch_sub_explicit(&index->table_size, overflow * sizeof(struct bucket),
                                  memory_order_relaxed);
    }
    if (index->migrated < count) return true;
    atomic_store_explicit(&index->old, 0, memory_order_release);
    atomic_fetch_sub_explicit(&index->table_size, table_bytes(old), memory_order_relaxed);
    worker_retire(worker, (void *)(uintptr_t)old, 0, table_free_later);
    return false;
}

static void resize(struct index *index, unsigned log2n) {
    assert(index->old == 0);
    uint64_t cur = index->cur, fresh = table_new(index, log2n);
    index->migrated = 0;
    atomic_store_explicit(&index->old, cur, memory_order_release);
    atomic_store_explicit(&index->cur, fresh, memory_order_release);
}

void index_insert(struct index *index, struct worker *worker, uint64_t hash, struct entry *entry) {
    uint64_t x = index_x(index, hash);
    if (UNLIKELY(index->old != 0)) index_migrate(index, worker, MIGRATE_STEP);
    uint64_t cur = atomic_load_explicit(&index->cur, memory_order_relaxed);
    uint64_t word = index_tag(x) | (uint64_t)(uintptr_t)entry;
    if (entry->words & ENTRY_EXPIRE) word |= INDEX_TTL;
    table_put(index, table_bucket(cur, x), word);
    index->used++;
    uint64_t slots = (uint64_t)INDEX_SLOTS << (cur & 63);
    if (UNLIKELY(index->used * 100 > slots * index->grow_percent) && index->old == 0)
        resize(index, (unsigned)(cur & 63) + 1);
}

void index_remove(struct index *index, struct worker *worker, _Atomic uint64_t *slot) {
    assert(index->used > 0);
    atomic_store_explicit(slot, 0, memory_order_release);
    index->used--;
    if (UNLIKELY(index->old != 0)) index_migrate(index, worker, MIGRATE_STEP);
    uint64_t cur = atomic_load_explicit(&index->cur, memory_order_relaxed);
    unsigned log2n = (unsigned)(cur & 63);
    uint64_t slots = (uint64_t)INDEX_SLOTS << log2n;
    if (UNLIKELY(index->used * 100 < slots * SHRINK_PERCENT) && log2n > 4 && index->old == 0)
        resize(index, log2n - 1);
}

void index_replace(_Atomic uint64_t *slot, struct entry *entry) {
    uint64_t word = atomic_load_explicit(slot, memory_order_relaxed);
    word = (word & ~(INDEX_POINTER | INDEX_TTL)) | (uint64_t)(uintptr_t)entry;
    if (entry->words & ENTRY_EXPIRE) word |= INDEX_TTL;
    atomic_store_explicit(slot, word, memory_order_release);
}

static void chain_visit(struct bucket *bucket, void (*visit)(void *self, struct entry *entry),
                        void *self) {
    for (;;) {
        uint64_t link = atomic_load_explicit(&bucket->w[INDEX_SLOTS - 1], memory_order_relaxed);
        unsigned slots = link & INDEX_LINK ? INDEX_SLOTS - 1 : INDEX_SLOTS;
        for (unsigned i = 0; i < slots; i++) {
            uint64_t word = atomic_load_explicit(&bucket->w[i], memory_order_relaxed);
            if (word) visit(self, word_entry(word));
        }
        if (!(link & INDEX_LINK)) return;
        bucket = word_bucket(link);
    }
}

uint64_t index_visit(struct index *index, uint64_t x,
                     void (*visit)(void *self, struct entry *entry), void *self) {
    uint64_t tables[2] = { index->old, index->cur };
    unsigned coarse = (unsigned)(tables[1] & 63);
    if (tables[0] && (tables[0] & 63) < coarse) coarse = (unsigned)(tables[0] & 63);
    uint64_t number = x >> (64 - coarse);
    for (unsigned t = 0; t < 2; t++) {
        if (!tables[t]) continue;
        unsigned finer = (unsigned)(tables[t] & 63) - coarse;
        struct bucket *first = table_bucket(tables[t], 0) + (number << finer);
        for (uint64_t i = 0; i < (uint64_t)1 << finer; i++) chain_visit(first + i, visit, self);
    }
    return (number + 1) << (64 - coarse); /* overflows to 0 after the last */
}

void index_candidates(struct index *index, uint32_t prefix32,
                      void (*visit)(void *self, _Atomic uint64_t *slot, struct entry *entry),
                      void *self) {
    uint64_t x = (uint64_t)prefix32 << 32, tag = index_tag(x);
    uint64_t tables[2] = { index->old, index->cur };
    for (unsigned t = 0; t < 2; t++) {
        if (!tables[t]) continue;
        for (struct bucket *bucket = table_bucket(tables[t], x);;) {
            uint64_t link = atomic_load_explicit(&bucket->w[INDEX_SLOTS - 1], memory_order_relaxed);
            unsigned slots = link & INDEX_LINK ? INDEX_SLOTS - 1 : INDEX_SLOTS;
            for (unsigned i = 0; i < slots; i++) {
                uint64_t word = atomic_load_explicit(&bucket->w[i], memory_order_relaxed);
                if (word && (word ^ tag) >> INDEX_TAG_SHIFT == 0)
                    visit(self, &bucket->w[i], word_entry(word));
            }
            if (!(link & INDEX_LINK)) break;
            bucket = word_bucket(link);
        }
    }
}

_Atomic uint64_t *index_prefetch(const struct index *index, uint64_t x) {
    uint64_t tag = index_tag(x);
    uint64_t cur = atomic_load_explicit(&index->cur, memory_order_acquire);
    struct bucket *bucket = table_bucket(cur, x);
    for (unsigned i = 0; i < INDEX_SLOTS; i++) {
        uint64_t word = atomic_load_explicit(&bucket->w[i], memory_order_relaxed);
        if (word == 0 || (word ^ tag) >> INDEX_TAG_SHIFT != 0) continue;
        __builtin_prefetch(word_entry(word));
        __builtin_prefetch((char *)word_entry(word) + 64);
        return &bucket->w[i];
    }
    return NULL;
}

size_t index_buckets(const struct index *index) {
    size_t count = (size_t)1 << (index->cur & 63);
    return index->old ? count + ((size_t)1 << (index->old & 63)) : count;
}
