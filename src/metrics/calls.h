/* calls.h: how often each command was called and how long it took, counted without a shared cache line.
 *
 * Each worker has a `struct calls`: a row for each command that it has run, by the command's id. A row
 * has the sum of the ticks and a histogram of them, whose buckets are eighths of a doubling:
 *
 *     ticks   64   72   80 ... 120   128  144 ... 240   256 ...
 *     bucket   0    1    2 ...   7     8    9 ...  15    16 ...
 *
 * So a bucket's middle is within 6 % of all that it holds; what is shorter is in the first, what is
 * longer in the last. The number of calls is the histogram's sum: counting a call is two additions.
 * Thread: calls_add, calls_reject, calls_fail and calls_error the owner; the rest any.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attributes.h"

enum {
    CALLS_MAX = 1024,      /* commands and subcommands there may be */
    ERROR_WORDS_MAX = 128, /* different errors that are told apart, as Redis */
    CALL_STEP_BITS = 3,
    CALL_STEPS = 1 << CALL_STEP_BITS,
    CALL_TICKS_MIN_BITS = 6,
    CALL_TICKS_MAX_BITS = 44, /* an hour and a half at 3 GHz */
    CALL_BUCKETS = (CALL_TICKS_MAX_BITS - CALL_TICKS_MIN_BITS) * CALL_STEPS,
};
#define CALL_TICKS_MAX \
    (UINT64_C(1) << CALL_TICKS_MAX_BITS) /* the first that is too long to count */

struct call_row {
    _Alignas(64) _Atomic uint64_t ticks; /* sum */
    _Atomic uint64_t rejected, failed;
    _Atomic uint64_t took[CALL_BUCKETS];
};

struct calls {
    _Atomic(struct call_row *) rows[CALLS_MAX]; /* NULL: was never run */
    _Atomic uint64_t errors[ERROR_WORDS_MAX];   /* replies, by error_words' number */
};

/* A command over all workers. */
struct call_total {
    uint64_t calls, ticks, rejected, failed;
    uint64_t took[CALL_BUCKETS];
};

COLD struct call_row *calls_new_row(struct calls *calls, uint32_t id);

static inline void calls_count(_Atomic uint64_t *number, uint64_t n) {
    uint64_t now = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, now + n, memory_order_relaxed);
}
static inline struct call_row *calls_row(struct calls *calls, uint32_t id) {
    struct call_row *row = atomic_load_explicit(&calls->rows[id], memory_order_relaxed);
    return LIKELY(row != NULL) ? row : calls_new_row(calls, id);
}

/* `ticks` < CALL_TICKS_MAX */
static inline unsigned call_bucket(uint64_t ticks) {
    ticks = ticks >= 1 << CALL_TICKS_MIN_BITS ? ticks : 1 << CALL_TICKS_MIN_BITS;
    unsigned shift = 63u - (unsigned)__builtin_clzl(ticks) - CALL_STEP_BITS;
    unsigned offset = (CALL_TICKS_MIN_BITS - CALL_STEP_BITS + 1) * CALL_STEPS;
    return shift * CALL_STEPS + (unsigned)(ticks >> shift) - offset;
}
/* The first that is in a bucket; of CALL_BUCKETS: CALL_TICKS_MAX. */
static inline uint64_t call_bucket_begin(unsigned bucket) {
    unsigned doubling = bucket / CALL_STEPS;
    uint64_t step = bucket % CALL_STEPS;
    return (CALL_STEPS + step) << (CALL_TICKS_MIN_BITS - CALL_STEP_BITS + doubling);
}

static inline void calls_add(struct calls *calls, uint32_t id, uint64_t ticks) {
    struct call_row *row = calls_row(calls, id);
    calls_count(&row->ticks, ticks);
    calls_count(&row->took[call_bucket(ticks)], 1);
}
static inline void calls_reject(struct calls *calls, uint32_t id) {
    calls_count(&calls_row(calls, id)->rejected, 1);
}
static inline void calls_fail(struct calls *calls, uint32_t id) {
    calls_count(&calls_row(calls, id)->failed, 1);
}
static inline void calls_error(struct calls *calls, unsigned word, uint64_t n) {
    calls_count(&calls->errors[word], n);
}

/* The ticks that `part` (0 to 1) of the calls took at most: the middle of the bucket; 0 without calls. */
uint64_t call_quantile(const struct call_total *total, double part);

/* All workers' rows, and what they were at the last reset. */
struct calls_board;

struct calls_board *calls_board_new(void);
struct calls_board *calls_board_free(struct calls_board *board); /* always NULL; NULL is fine */
/* A worker's own rows, for as long as it lives. They go on counting for the next who joins. */
struct calls *calls_join(struct calls_board *board);
void calls_leave(struct calls_board *board, struct calls *calls);

/* Since the last reset. */
void calls_total(struct calls_board *board, uint32_t id, struct call_total *out);
uint64_t calls_errors(struct calls_board *board, unsigned word);
void calls_reset(struct calls_board *board);
