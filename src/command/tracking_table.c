#include "command/tracking_table.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "store/lock.h"

enum {
    STRIPES = 256,
    STRIPE_BITS = 8,
    BUCKETS_LEAST = 4,
    CACHE_LINE = 64,
    FREED_AT_ONCE = 16, /* cleared entries or empty buckets, by each who uses the stripe */
};

struct buckets {
    struct buckets *next; /* of those that were cleared */
    size_t count;         /* a power of two */
    size_t at;            /* cleared: the first that may hold something */
    struct tracked *slots[];
};

struct stripe {
    struct lock lock;
    uint32_t hand; /* where to look for something to evict */
    size_t keys, items;
    struct buckets *buckets; /* NULL: none yet */
    struct buckets *cleared;
    char apart[CACHE_LINE - 2 * sizeof(uint32_t) - 4 * sizeof(void *)];
};

struct tracking_table {
    struct stripe stripes[STRIPES];
    _Atomic uint64_t keys;
};

struct tracked *tracked_free(struct tracked *tracked) {
    if (!tracked) return NULL;
    if (tracked->handles != &tracked->one)
        mem_free(tracked->handles, tracked->cap * sizeof *tracked->handles);
    mem_free(tracked, sizeof *tracked + tracked->name_len);
    return NULL;
}

static size_t buckets_size(size_t count) {
    return sizeof(struct buckets) + count * sizeof(struct tracked *);
}

static struct buckets *buckets_new(size_t count) {
    struct buckets *buckets = mem_new_zero(buckets_size(count));
    buckets->count = count;
    return buckets;
}

/* Frees so much of what was cleared; all of it gone: NULL. */
static struct buckets *free_some(struct buckets *cleared, size_t steps) {
    while (cleared && steps--) {
        if (cleared->at == cleared->count) {
            struct buckets *next = cleared->next;
            mem_free(cleared, buckets_size(cleared->count));
            cleared = next;
            continue;
        }
        struct tracked *first = cleared->slots[cleared->at];
        if (first) {
            cleared->slots[cleared->at] = first->next;
            tracked_free(first);
        } else {
            cleared->at++;
        }
    }
    return cleared;
}

struct tracking_table *tracking_table_new(void) {
    return mem_new_zero(sizeof(struct tracking_table));
}

static void clear_stripe(struct tracking_table *table, struct stripe *stripe) {
    if (!stripe->buckets) return;
    atomic_fetch_sub_explicit(&table->keys, stripe->keys, memory_order_relaxed);
    stripe->buckets->next = stripe->cleared;
    stripe->cleared = stripe->buckets;
    stripe->buckets = NULL;
    stripe->keys = stripe->items = 0;
}

struct tracking_table *tracking_table_free(struct tracking_table *table) {
    if (!table) return NULL;
    for (size_t i = 0; i < STRIPES; i++) {
        clear_stripe(table, &table->stripes[i]);
        free_some(table->stripes[i].cleared, SIZE_MAX);
    }
    mem_free(table, sizeof *table);
    return NULL;
}

static struct tracked **slot_of(struct buckets *buckets, uint64_t hash) {
    return &buckets->slots[hash >> STRIPE_BITS & (buckets->count - 1)];
}

static struct stripe *enter(struct tracking_table *table, size_t number) {
    struct stripe *stripe = &table->stripes[number % STRIPES];
    lock_take(&stripe->lock);
    if (UNLIKELY(stripe->cleared != NULL))
        stripe->cleared = free_some(stripe->cleared, FREED_AT_ONCE);
    return stripe;
}

static void leave(struct stripe *stripe) {
    lock_release(&stripe->lock);
}

/* The link that points at the key's entry, or at the end of its chain. */
static struct tracked **find(const struct stripe *stripe, uint64_t hash, struct bytes name) {
    struct tracked **link = slot_of(stripe->buckets, hash);
    while (*link && ((*link)->hash != hash || (*link)->name_len != name.len ||
                     !bytes_same((*link)->name, name.data, name.len)))
        link = &(*link)->next;
    return link;
}

static void grow(struct stripe *stripe) {
    struct buckets *old = stripe->buckets;
    stripe->buckets = buckets_new(old ? old->count * 2 : BUCKETS_LEAST);
    for (size_t i = 0; old && i < old->count; i++) {
        struct tracked *tracked;
        while ((tracked = old->slots[i])) {
            old->slots[i] = tracked->next;
            struct tracked **slot = slot_of(stripe->buckets, tracked->hash);
            tracked->next = *slot;
            *slot = tracked;
        }
    }
    if (old) mem_free(old, buckets_size(old->count));
}

/* false: it was in it already. */
static bool add_handle(struct tracked *tracked, uint64_t handle) {
    size_t low = 0, high = tracked->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (tracked->handles[middle] == handle) return false;
        if (tracked->handles[middle] < handle)
            low = middle + 1;
        else
            high = middle;
    }
    if (tracked->count == tracked->cap) {
        uint32_t cap = tracked->cap * 4;
        uint64_t *more = mem_new(cap * sizeof *more);
        memcpy(more, tracked->handles, tracked->count * sizeof *more);
        if (tracked->handles != &tracked->one)
            mem_free(tracked->handles, tracked->cap * sizeof *more);
        tracked->handles = more;
        tracked->cap = cap;
    }
    memmove(tracked->handles + low + 1, tracked->handles + low,
            (tracked->count - low) * sizeof *tracked->handles);
    tracked->handles[low] = handle;
    tracked->count++;
    return true;
}

static struct tracked *tracked_new(uint64_t hash, struct bytes name, uint64_t handle) {
    struct tracked *tracked = mem_new(sizeof *tracked + name.len);
    *tracked = (struct tracked){ .hash = hash,
                                 .handles = &tracked->one,
                                 .one = handle,
                                 .count = 1,
                                 .cap = 1,
                                 .name_len = name.len };
    if (name.len) memcpy(tracked->name, name.data, name.len);
    return tracked;
}

uint64_t tracking_table_add(struct tracking_table *table, uint64_t hash, struct bytes name,
                            uint64_t handle) {
    struct stripe *stripe = enter(table, hash);
    if (UNLIKELY(!stripe->buckets || stripe->keys >= stripe->buckets->count)) grow(stripe);
    struct tracked **link = find(stripe, hash, name);
    uint64_t keys = 0;
    if (*link) {
        stripe->items += add_handle(*link, handle);
    } else {
        *link = tracked_new(hash, name, handle);
        stripe->keys++;
        stripe->items++;
        keys = atomic_fetch_add_explicit(&table->keys, 1, memory_order_relaxed) + 1;
    }
    leave(stripe);
    return keys;
}

static struct tracked *unlink_at(struct tracking_table *table, struct stripe *stripe,
                                 struct tracked **link) {
    struct tracked *tracked = *link;
    *link = tracked->next;
    stripe->keys--;
    stripe->items -= tracked->count;
    atomic_fetch_sub_explicit(&table->keys, 1, memory_order_relaxed);
    return tracked;
}

struct tracked *tracking_table_take(struct tracking_table *table, uint64_t hash,
                                    struct bytes name) {
    struct stripe *stripe = enter(table, hash);
    struct tracked *taken = NULL;
    if (stripe->keys) {
        struct tracked **link = find(stripe, hash, name);
        if (*link) taken = unlink_at(table, stripe, link);
    }
    leave(stripe);
    return taken;
}

/* The next entry after the hand that has another hash; NULL: there is none. */
static struct tracked *evict_of(struct tracking_table *table, struct stripe *stripe,
                                uint64_t hash) {
    size_t buckets = stripe->keys ? stripe->buckets->count : 0;
    for (size_t i = 0; i < buckets; i++) {
        struct tracked **link = &stripe->buckets->slots[stripe->hand++ & (buckets - 1)];
        while (*link && (*link)->hash == hash) link = &(*link)->next;
        if (*link) return unlink_at(table, stripe, link);
    }
    return NULL;
}

struct tracked *tracking_table_evict(struct tracking_table *table, uint64_t hash) {
    struct tracked *taken = NULL;
    for (size_t i = 0; i < STRIPES && !taken; i++) {
        struct stripe *stripe = enter(table, (size_t)hash + i);
        taken = evict_of(table, stripe, hash);
        leave(stripe);
    }
    return taken;
}

void tracking_table_clear(struct tracking_table *table) {
    for (size_t i = 0; i < STRIPES; i++) {
        struct stripe *stripe = enter(table, i);
        clear_stripe(table, stripe);
        leave(stripe);
    }
}

uint64_t tracking_table_keys(const struct tracking_table *table) {
    return atomic_load_explicit(&table->keys, memory_order_relaxed);
}

uint64_t tracking_table_items(struct tracking_table *table) {
    uint64_t items = 0;
    for (size_t i = 0; i < STRIPES; i++) {
        struct stripe *stripe = enter(table, i);
        items += stripe->items;
        leave(stripe);
    }
    return items;
}
