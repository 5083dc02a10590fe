/* wheel.c: where a record lies, and how it comes nearer.
 *
 * A record lies at the lowest level at which its slot is fewer than 256 slots ahead of `now`:
 *
 *     level 3   [ . . . F . . . . . . . . L ]   F: 3 slots of 2^24 ticks ahead
 *     level 2   [ . . . . . . . . . . . . . ]   L: the last slot, 255 ahead; it has the parked ones
 *     level 1   [ . . n . . . . . . . . . . ]
 *     level 0   [ . d . . . . . . . . . . . ]   d: fires when now reaches its tick
 *
 * When `now` comes to the first tick of a slot above level 0, that slot is taken apart and each of
 * its records put in again, one level lower or more. So at levels 1 to 3 the slot of `now` itself
 * is always empty, and the slot's place gives the bits of a deadline that the record has no room
 * for: while a slot of level 3 is taken apart, bits 24 and up of all its deadlines are those of
 * `now`.
 *
 * Only a parked record lies without such help. It takes two words, its record and its whole
 * deadline, filled into a chunk from the back while the ordinary ones grow from the front:
 *
 *     | next | near_count far_count | near near near ->  ...  <- far deadline far deadline |
 *
 * `now` stays on a tick until everything due at it is handed over; that is why wheel_idle need not
 * look at `due` once `now` is past. Empty slots are jumped over, level by level: next_busy.
 */
#include "ds/wheel.h"

#include "base/assert.h"
#include "base/mem.h"

enum {
    SLOT_BITS = 8,
    DEADLINE_BITS = 64 - WHEEL_PAYLOAD_BITS,
    CHUNK_SIZE = 512,
    CHUNK_WORDS = 62,
    WHEEL_FREE_MAX = 64, /* 32 KiB a shard: what one burst of a cascade takes and gives back */
};

struct wheel_chunk {
    struct wheel_chunk *next;
    uint32_t near_count; /* records of one word, from words[0] up */
    uint32_t far_count;  /* records of two words, from words[CHUNK_WORDS - 2] down */
    uint64_t words[CHUNK_WORDS];
};

static_assert(sizeof(struct wheel_chunk) == CHUNK_SIZE);
static_assert(1 << SLOT_BITS == WHEEL_SLOTS);
static_assert(DEADLINE_BITS == SLOT_BITS * (WHEEL_LEVELS - 1), "level 3 needs no bit of a record");

static struct wheel_chunk *chunk_new(struct wheel *wheel, struct wheel_chunk *next) {
    struct wheel_chunk *chunk = wheel->free;
    if (chunk) {
        wheel->free = chunk->next;
        wheel->free_count--;
    } else {
        chunk = mem_new(sizeof *chunk);
        wheel->memory += sizeof *chunk;
    }
    chunk->next = next;
    chunk->near_count = 0;
    chunk->far_count = 0;
    return chunk;
}

/* Returns the chunk behind it. */
static struct wheel_chunk *chunk_free(struct wheel *wheel, struct wheel_chunk *chunk) {
    struct wheel_chunk *next = chunk->next;
    if (wheel->free_count < WHEEL_FREE_MAX) {
        chunk->next = wheel->free;
        wheel->free = chunk;
        wheel->free_count++;
    } else {
        mem_free(chunk, sizeof *chunk);
        wheel->memory -= sizeof *chunk;
    }
    return next;
}

/* The chunk at the head of `slot`, one with room for `words` more. */
static struct wheel_chunk *slot_room(struct wheel *wheel, struct wheel_chunk **slot,
                                     uint32_t words) {
    struct wheel_chunk *head = *slot;
    if (head && head->near_count + 2 * head->far_count + words <= CHUNK_WORDS) return head;
    *slot = chunk_new(wheel, head);
    return *slot;
}

static void slot_push(struct wheel *wheel, struct wheel_chunk **slot, uint64_t record) {
    struct wheel_chunk *chunk = slot_room(wheel, slot, 1);
    chunk->words[chunk->near_count++] = record;
}

static uint64_t *far_record(struct wheel_chunk *chunk, uint32_t i) {
    return &chunk->words[CHUNK_WORDS - 2 * (i + 1)];
}

static void slot_push_far(struct wheel *wheel, struct wheel_chunk **slot, uint64_t record,
                          uint64_t deadline) {
    struct wheel_chunk *chunk = slot_room(wheel, slot, 2);
    uint64_t *words = far_record(chunk, chunk->far_count++);
    words[0] = record;
    words[1] = deadline;
}

/* Puts a record where it belongs as seen from `now`, which its deadline is not behind. */
static void put(struct wheel *wheel, uint64_t record, uint64_t deadline) {
    assert(deadline >= wheel->now);
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        uint64_t at = deadline >> SLOT_BITS * level;
        if (at - (wheel->now >> SLOT_BITS * level) >= WHEEL_SLOTS) continue;
        slot_push(wheel, &wheel->slots[level][at % WHEEL_SLOTS], record);
        return;
    }
    unsigned top = WHEEL_LEVELS - 1;
    uint64_t last = (wheel->now >> SLOT_BITS * top) + WHEEL_SLOTS - 1;
    slot_push_far(wheel, &wheel->slots[top][last % WHEEL_SLOTS], record, deadline);
}

/* Takes the slot of `now` at `level` apart. */
static void cascade(struct wheel *wheel, unsigned level) {
    struct wheel_chunk **slot =
        &wheel->slots[level][(wheel->now >> SLOT_BITS * level) % WHEEL_SLOTS];
    struct wheel_chunk *chunk = *slot;
    *slot = NULL;
    uint64_t low = (UINT64_C(1) << DEADLINE_BITS) - 1;
    while (chunk) {
        for (uint32_t i = 0; i < chunk->near_count; i++) {
            uint64_t record = chunk->words[i];
            put(wheel, record, (wheel->now & ~low) | (record & low));
        }
        for (uint32_t i = 0; i < chunk->far_count; i++) {
            const uint64_t *far = far_record(chunk, i);
            put(wheel, far[0], far[1]);
        }
        chunk = chunk_free(wheel, chunk);
    }
    assert(!*slot);
}

/* Makes `tick` the present. Top level first: what it lets fall may belong to a slot right below
 * that is about to be taken apart as well. */
static void arrive(struct wheel *wheel, uint64_t tick) {
    wheel->now = tick;
    for (unsigned level = WHEEL_LEVELS - 1; level > 0; level--) {
        uint64_t inside = (UINT64_C(1) << SLOT_BITS * level) - 1;
        if ((tick & inside) == 0) cascade(wheel, level);
    }
}

/* The first tick up to `until` whose arrival empties a slot, or until + 1 if there is none. Looks
 * at no slot that begins later than the best yet, so a single step costs one look, and a jump over
 * any distance at most 256 at each level. */
static uint64_t next_busy(const struct wheel *wheel, uint64_t until) {
    uint64_t best = until + 1;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        uint64_t here = wheel->now >> SLOT_BITS * level;
        uint64_t last = (best - 1) >> SLOT_BITS * level;
        if (last - here >= WHEEL_SLOTS) last = here + WHEEL_SLOTS - 1;
        for (uint64_t at = here + (level > 0); at <= last; at++) {
            if (!wheel->slots[level][at % WHEEL_SLOTS]) continue;
            best = at << SLOT_BITS * level;
            break;
        }
    }
    return best;
}

/* Moves payloads from `due` to `out` until one of them is used up. */
static size_t hand_over(struct wheel *wheel, uint64_t *out, size_t limit) {
    size_t count = 0;
    while (wheel->due && count < limit) {
        struct wheel_chunk *chunk = wheel->due;
        assert(chunk->far_count == 0);
        while (chunk->near_count > 0 && count < limit)
            out[count++] = chunk->words[--chunk->near_count] >> DEADLINE_BITS;
        if (chunk->near_count == 0) wheel->due = chunk_free(wheel, chunk);
    }
    assert(wheel->records >= count);
    wheel->records -= count;
    return count;
}

static void chain_deinit(struct wheel_chunk **chain) {
    for (struct wheel_chunk *chunk = *chain; chunk;) {
        struct wheel_chunk *next = chunk->next;
        mem_free(chunk, sizeof *chunk);
        chunk = next;
    }
    *chain = NULL;
}

/* Keeps the wanted records of a chain, packed into as few chunks as they need. */
static void chain_sweep(struct wheel *wheel, struct wheel_chunk **chain,
                        bool (*keep)(void *self, uint64_t payload), void *self) {
    struct wheel_chunk *kept = NULL;
    for (struct wheel_chunk *chunk = *chain; chunk; chunk = chunk_free(wheel, chunk)) {
        wheel->records -= chunk->near_count + chunk->far_count;
        for (uint32_t i = 0; i < chunk->near_count; i++) {
            uint64_t record = chunk->words[i];
            if (!keep(self, record >> DEADLINE_BITS)) continue;
            slot_push(wheel, &kept, record);
            wheel->records++;
        }
        for (uint32_t i = 0; i < chunk->far_count; i++) {
            const uint64_t *far = far_record(chunk, i);
            if (!keep(self, far[0] >> DEADLINE_BITS)) continue;
            slot_push_far(wheel, &kept, far[0], far[1]);
            wheel->records++;
        }
    }
    *chain = kept;
}

void wheel_init(struct wheel *wheel, uint64_t now_tick) {
    *wheel = (struct wheel){ .now = now_tick };
}

void wheel_deinit(struct wheel *wheel) {
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        for (unsigned i = 0; i < WHEEL_SLOTS; i++) chain_deinit(&wheel->slots[level][i]);
    }
    chain_deinit(&wheel->due);
    chain_deinit(&wheel->free);
    wheel->free_count = 0;
    wheel->records = 0;
    wheel->memory = 0;
}

void wheel_add(struct wheel *wheel, uint64_t payload, uint64_t deadline_tick) {
    assert(payload >> WHEEL_PAYLOAD_BITS == 0);
    uint64_t deadline = deadline_tick < wheel->now ? wheel->now : deadline_tick;
    uint64_t low = deadline & ((UINT64_C(1) << DEADLINE_BITS) - 1);
    put(wheel, payload << DEADLINE_BITS | low, deadline);
    wheel->records++;
}

size_t wheel_turn(struct wheel *wheel, uint64_t now_tick, uint64_t *out, size_t limit) {
    assert(now_tick < UINT64_MAX); /* now_tick + 1 is still a tick */
    if (now_tick < wheel->now) return 0;

    size_t count = 0;
    for (;;) {
        count += hand_over(wheel, out + count, limit - count);
        if (count == limit) return count;
        assert(!wheel->due);
        if (wheel->records == 0) {
            wheel->now = now_tick + 1;
            return count;
        }
        struct wheel_chunk **slot = &wheel->slots[0][wheel->now % WHEEL_SLOTS];
        wheel->due = *slot;
        *slot = NULL;
        if (wheel->due) continue;
        arrive(wheel, next_busy(wheel, now_tick));
        if (wheel->now > now_tick) return count;
    }
}

void wheel_sweep(struct wheel *wheel, bool (*keep)(void *self, uint64_t payload), void *self) {
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        for (unsigned i = 0; i < WHEEL_SLOTS; i++) {
            if (wheel->slots[level][i]) chain_sweep(wheel, &wheel->slots[level][i], keep, self);
        }
    }
    chain_sweep(wheel, &wheel->due, keep, self);
}
