/* wheel.h: deadlines in constant time, eight bytes each.
 *
 * A wheel of wheels: four levels of 256 slots, a tick is WHEEL_TICK_MS. Level n's slot spans 256^n
 * ticks, so the wheel reaches 2^32 ticks (2.2 years); what lies beyond is parked in the last slot
 * and put in again when that turns. A record is
 *
 *     | payload: 40 bits, the caller's | deadline: low 24 bits of its tick |
 *
 * and a slot a chain of 512-byte chunks of records from a free list of the wheel's own. Nothing is
 * ever cancelled: the caller looks at what fires and ignores what no longer holds. Design: Varghese
 * and Lauck 1987; the measurements are STORE.md 10.
 *
 * Invariant: no record lies in a slot behind `now`. Thread: whoever holds the shard's lock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attributes.h"

enum { WHEEL_TICK_MS = 16, WHEEL_LEVELS = 4, WHEEL_SLOTS = 256, WHEEL_PAYLOAD_BITS = 40 };

struct wheel_chunk;
struct wheel {
    uint64_t now;                                          /* the next tick to be turned */
    struct wheel_chunk *slots[WHEEL_LEVELS][WHEEL_SLOTS];  /* newest chunk first */
    struct wheel_chunk *due;                               /* taken out of its slot, not yet handed over */
    struct wheel_chunk *free;                              /* chunks to be used again */
    size_t free_count;                                     /* at most WHEEL_FREE_MAX are kept */
    uint64_t records;                                      /* in slots and in `due` */
    size_t memory;                                         /* bytes of all chunks */
};

void wheel_init(struct wheel *wheel, uint64_t now_tick);
void wheel_deinit(struct wheel *wheel);

/* `payload` < 2^40. A deadline before `now` fires at the next turn. O(1). */
void wheel_add(struct wheel *wheel, uint64_t payload, uint64_t deadline_tick);

/* Turns to `now_tick` (never back: a smaller one changes nothing) and hands over the payloads of due
 * records, at most `limit`. When it returns `limit` there may be more: call again. It never hands
 * over a record before its tick. Work is bounded by the limit plus one slot's cascade. */
size_t wheel_turn(struct wheel *wheel, uint64_t now_tick, uint64_t *out, size_t limit);

/* Asks `keep` about every record and drops those it refuses. */
void wheel_sweep(struct wheel *wheel, bool (*keep)(void *self, uint64_t payload), void *self);

/* Whether turning to `now_tick` would hand over or move nothing: the cheap test of an idle tick. */
static inline bool wheel_idle(const struct wheel *wheel, uint64_t now_tick) {
    return wheel->now > now_tick || (wheel->records == 0 && !wheel->due);
}
