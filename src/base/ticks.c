/* ticks.c: what a tick is worth. */
#include "base/ticks.h"

#include <time.h>

enum {
    MEASURE_NS =
        2 * 1000 * 1000, /* so the error of reading a clock is some 50 parts in a million */
    NEAR_TRIES = 16,
};

uint64_t ticks_by_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

struct instant {
    uint64_t ticks, ns;
};

/* Both clocks at one time: the closest of some tries, for a thread may be stopped between two reads. */
static struct instant both_now(void) {
    struct instant best = {};
    uint64_t nearest = UINT64_MAX;
    for (int i = 0; i < NEAR_TRIES; i++) {
        uint64_t before = ticks_now();
        uint64_t ns = ticks_by_clock();
        uint64_t apart = ticks_now() - before;
        if (apart >= nearest) continue;
        nearest = apart;
        best = (struct instant){ before + apart / 2, ns };
    }
    return best;
}

struct ticks_rate ticks_rate_measure(void) {
    struct instant from = both_now();
    struct timespec wait = { .tv_nsec = MEASURE_NS };
    nanosleep(&wait, NULL);
    struct instant to = both_now();
    double rate = to.ns > from.ns ? (double)(to.ticks - from.ticks) / (double)(to.ns - from.ns) : 1;
    return (struct ticks_rate){ rate > 0 ? rate : 1 };
}
