/* ticks.h: time that costs next to nothing to read, for measuring how long something took.
 *
 * On x86 and 64-bit ARM it is the processor's own counter, a register; elsewhere the monotonic clock.
 * What a tick is worth is measured once (ticks_rate_measure). Nothing may be decided by it but what
 * figures say: it is no part of `struct env`, so a simulation runs on it as it likes.
 * Two readings on different processors may be out of order by a little: a difference can be negative.
 * Thread: any.
 */
#pragma once

#include <stdint.h>

uint64_t ticks_by_clock(void); /* the monotonic clock, ns */

static inline uint64_t ticks_now(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return ticks_by_clock();
#endif
}

struct ticks_rate {
    double per_ns;
};

/* Takes some milliseconds. */
struct ticks_rate ticks_rate_measure(void);

static inline double ticks_to_ns(struct ticks_rate rate, uint64_t ticks) {
    return (double)ticks / rate.per_ns;
}
static inline double ticks_to_us(struct ticks_rate rate, uint64_t ticks) {
    return ticks_to_ns(rate, ticks) / 1000;
}
/* What is longer than can be counted is the longest that can. */
static inline uint64_t ticks_of_us(struct ticks_rate rate, uint64_t us) {
    double ticks = (double)us * 1000 * rate.per_ns;
    return ticks < 9e18 ? (uint64_t)ticks : UINT64_MAX;
}
