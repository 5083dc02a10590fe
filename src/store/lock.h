/* lock.h: a shard's lock: four bytes, a futex.
 *
 * 0 free, 1 held, 2 held and somebody sleeps. A short spin first, since what is done under it takes
 * tens of nanoseconds; then sleep, since its holder may have lost its processor (a container with a
 * quota). Lock order: shards ascending, then leaf locks. Thread: any.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attributes.h"

struct CAPABILITY("lock") lock {
    _Atomic uint32_t state;
};

void lock_wait(struct lock *lock); /* the slow halves: lock.c */
void lock_wake(struct lock *lock);

static inline bool lock_try(struct lock *lock) {
    uint32_t free = 0;
    return atomic_compare_exchange_strong_explicit(&lock->state, &free, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}
static inline void lock_take(struct lock *lock) {
    if (UNLIKELY(!lock_try(lock))) lock_wait(lock);
}
static inline void lock_release(struct lock *lock) {
    if (UNLIKELY(atomic_exchange_explicit(&lock->state, 0, memory_order_release) == 2))
        lock_wake(lock);
}
