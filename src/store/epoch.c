#include "store/epoch.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "store/shard.h"

enum { RETIRES_PER_ADVANCE = 64, LIMBO_MIN = 256 };

struct limbo {
    void *ptr;
    size_t size;
    void (*release)(void *ptr, size_t size);
    uint64_t epoch;
};

void worker_enter(struct worker *worker) {
    if (worker->inside) return;
    worker->inside = true;
    uint64_t now = atomic_load_explicit(&worker->store->epoch, memory_order_relaxed);
    atomic_exchange_explicit(&worker->epoch, now, memory_order_seq_cst); /* a full fence */
}

void worker_exit(struct worker *worker) {
    if (!worker->inside) return;
    worker->inside = false;
    atomic_store_explicit(&worker->epoch, 0, memory_order_release);
}

static void advance(struct store *store) {
    uint64_t now = atomic_load_explicit(&store->epoch, memory_order_seq_cst);
    unsigned count = atomic_load_explicit(&store->workers_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++) {
        struct worker *worker = atomic_load_explicit(&store->workers[i], memory_order_acquire);
        if (!worker) continue;
        uint64_t epoch = atomic_load_explicit(&worker->epoch, memory_order_seq_cst);
        if (epoch && epoch != now) return;
    }
    atomic_compare_exchange_strong_explicit(&store->epoch, &now, now + 1, memory_order_seq_cst,
                                            memory_order_relaxed);
}

void worker_reap(struct worker *worker) {
    advance(worker->store);
    uint64_t now = atomic_load_explicit(&worker->store->epoch, memory_order_acquire);
    uint64_t bytes = 0;
    while (worker->limbo_count > 0) {
        struct limbo *oldest = &worker->limbo[worker->limbo_head];
        if (oldest->epoch + 2 > now) break;
        bytes += oldest->size;
        oldest->release(oldest->ptr, oldest->size);
        worker->limbo_head = (worker->limbo_head + 1) & (worker->limbo_cap - 1);
        worker->limbo_count--;
    }
    uint64_t held = atomic_load_explicit(&worker->limbo_bytes, memory_order_relaxed);
    atomic_store_explicit(&worker->limbo_bytes, held - bytes, memory_order_relaxed);
    worker->retired = 0;
}

static void limbo_grow(struct worker *worker) {
    size_t cap = worker->limbo_cap ? worker->limbo_cap * 2 : LIMBO_MIN;
    struct limbo *ring = mem_new(cap * sizeof *ring);
    for (size_t i = 0; i < worker->limbo_count; i++)
        ring[i] = worker->limbo[(worker->limbo_head + i) & (worker->limbo_cap - 1)];
    mem_free(worker->limbo, worker->limbo_cap * sizeof *ring);
    worker->limbo = ring;
    worker->limbo_cap = cap;
    worker->limbo_head = 0;
}

void worker_reap_if_due(struct worker *worker) {
    if (UNLIKELY(worker->retired >= RETIRES_PER_ADVANCE)) worker_reap(worker);
}

void worker_retire(struct worker *worker, void *ptr, size_t size,
                   void (*release)(void *ptr, size_t size)) {
    if (UNLIKELY(worker->limbo_count == worker->limbo_cap)) limbo_grow(worker);
    size_t at = (worker->limbo_head + worker->limbo_count++) & (worker->limbo_cap - 1);
    worker->limbo[at] =
        (struct limbo){ ptr, size, release,
                        atomic_load_explicit(&worker->store->epoch, memory_order_relaxed) };
    uint64_t held = atomic_load_explicit(&worker->limbo_bytes, memory_order_relaxed);
    atomic_store_explicit(&worker->limbo_bytes, held + size, memory_order_relaxed);
    worker->retired++;
}

struct worker *worker_new(struct store *store) {
    struct worker *worker = NULL;
    pthread_mutex_lock(&store->workers_lock);
    unsigned i = 0;
    while (i < store->workers_count && store->workers[i]->alive) i++;
    assert(i < WORKERS_MAX);
    if (i < store->workers_count) {
        worker = store->workers[i]; /* its counters go on */
    } else {
        worker = aligned_alloc(64, sizeof *worker);
        assert(worker);
        memset(worker, 0, sizeof *worker);
        worker->store = store;
        worker->index = i;
        atomic_store_explicit(&store->workers[i], worker, memory_order_release);
        atomic_store_explicit(&store->workers_count, i + 1, memory_order_release);
    }
    worker->alive = true;
    pthread_mutex_unlock(&store->workers_lock);
    worker_tick(worker);
    return worker;
}

struct worker *worker_free(struct worker *worker) {
    if (!worker) return NULL;
    struct store *store = worker->store;
    worker_exit(worker);
    while (worker->limbo_count > 0) {
        worker_reap(worker);
        if (worker->limbo_count > 0) sched_yield(); /* others leave their epoch within one batch */
    }
    mem_free(worker->limbo, worker->limbo_cap * sizeof *worker->limbo);
    worker->limbo = NULL;
    worker->limbo_cap = worker->limbo_head = 0;
    pthread_mutex_lock(&store->workers_lock);
    worker->alive = false; /* its memory stays: others may be looking at its epoch */
    pthread_mutex_unlock(&store->workers_lock);
    return NULL;
}
