/* tracking_table.h: which sessions have seen which keys.
 *
 *     hash of the name ─┬─ low bits ── stripe ─ lock ─ buckets ─ entry: name, handles in order ─ entry ...
 *                       └─ the rest ─ bucket
 *
 * An entry is made by a read and taken out whole by a change, so whoever has seen a key is told of one change and
 * must read again to be told of the next. A key is its name alone, in whatever database (as in Redis). Sessions
 * that have gone stay in entries until those are taken: whoever tells them finds nobody.
 *
 * What is cleared is freed a little at a time, by those who use the stripe afterwards.
 *
 * The stripes' locks are leaves, taken one at a time. Thread: any. */
#pragma once

#include "base/attributes.h"
#include "base/bytes.h"

struct tracking_table;

/* A key and who has seen it; of whoever has taken it out. */
struct tracked {
    struct tracked *next;
    uint64_t hash;
    uint64_t *handles; /* ascending; `one`, or mem_new'd */
    uint64_t one;
    uint32_t count, cap;
    size_t name_len;
    char name[];
};
struct tracked *tracked_free(struct tracked *tracked); /* always NULL; NULL is fine */
static inline struct bytes tracked_name(const struct tracked *tracked) {
    return (struct bytes){ tracked->name, tracked->name_len };
}

struct tracking_table *tracking_table_new(void);
struct tracking_table *tracking_table_free(struct tracking_table *table); /* always NULL */
/* `handle` is about to see the key. Returns how many keys there are if this one is new, else 0. */
uint64_t tracking_table_add(struct tracking_table *table, uint64_t hash, struct bytes name,
                            uint64_t handle);
/* Takes the key out; NULL: nobody has seen it. */
MUST_USE struct tracked *tracking_table_take(struct tracking_table *table, uint64_t hash,
                                             struct bytes name);
/* Takes any key out but the one that has this hash, looking from there on; NULL: there is none. */
MUST_USE struct tracked *tracking_table_evict(struct tracking_table *table, uint64_t hash);
void tracking_table_clear(struct tracking_table *table);
uint64_t tracking_table_keys(const struct tracking_table *table);
/* Pairs of a key and a session. */
uint64_t tracking_table_items(struct tracking_table *table);
