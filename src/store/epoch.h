/* epoch.h: when memory that readers without a lock may still see can be freed.
 *
 * A worker that reads without locks is inside an epoch, for at most one batch. What leaves the
 * keyspace is retired: tagged with the global epoch and kept in the worker's limbo, first in, first
 * out. The global epoch advances when every worker is outside or in the present one; what was tagged
 * two epochs ago nobody can see. (Fraser 2004; bounds as STORE.md 6.)
 *
 * Thread: a worker's own, except where said.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attributes.h"
#include "metrics/counters.h"

struct store;
struct limbo;

struct worker {
    _Alignas(64) _Atomic uint64_t epoch; /* 0: outside; read by all who advance */
    _Alignas(64) struct store *store;
    uint64_t now_ns; /* the clock at worker_tick */
    int64_t now_ms;  /* what is over by then; 0: time stands still */
    bool time_stands;
    _Atomic uint64_t last; /* the last stamp given */
    uint64_t
        seen; /* the newest stamp of what was changed or, if the store gates reads, shown since the
                            * owner set it to 0 */
    bool inside;
    bool alive;          /* store->workers_lock */
    unsigned index;      /* in store->workers */
    struct limbo *limbo; /* ring */
    size_t limbo_head, limbo_count, limbo_cap;
    _Atomic uint64_t limbo_bytes;
    unsigned retired; /* since the last try to advance */
    struct counters counters;
    uint64_t chores_tick;  /* wheel tick of the last chores */
    unsigned chores_shard; /* where to go on */
    bool chores_more;
};

/* `release(ptr, size)` once nobody can see it. May be called under a lock: nothing is freed here,
 * since what is freed may be large. */
void worker_retire(struct worker *worker, void *ptr, size_t size,
                   void (*release)(void *ptr, size_t size));
/* Frees what can be freed now; also to be called when idle. Not under a lock. */
void worker_reap(struct worker *worker);
void worker_reap_if_due(struct worker *worker); /* after each transaction */
