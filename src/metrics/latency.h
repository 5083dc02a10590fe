/* latency.h: the latency monitor: when something took long, by the kind of thing that did.
 *
 * An event is a kind ("command", "expire-cycle"): the last LATENCY_SAMPLES times at which it took at
 * least the threshold, each with the second it was seen in. Of one second only the longest is kept, as
 * in Redis. The threshold is 0 when nothing is to be kept: who measures asks latency_is_slow first,
 * which is one load. Thread: any.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attributes.h"
#include "base/bytes.h"

enum { LATENCY_SAMPLES = 160 }; /* as Redis */

/* In the order in which LATEST shows them. */
#define LATENCY_EVENTS(X)                                                    \
    X(COMMAND, "command")            /* a command without CMD_FAST */        \
    X(FAST_COMMAND, "fast-command")  /* one with it */                       \
    X(LOG_WRITE, "aof-write")        /* a batch handed to the log's file */  \
    X(LOG_FSYNC, "aof-fsync-always") /* a sync under `appendfsync always` */ \
    X(LOG_FSYNC_OTHER, "aof-fsync")  /* any other */                         \
    X(EXPIRE_CYCLE, "expire-cycle")  /* expiry and small chores of a loop */

enum latency_event {
#define X(name, text) LATENCY_##name,
    LATENCY_EVENTS(X)
#undef X
        LATENCY_EVENTS_COUNT
};

struct latency_sample {
    int64_t second; /* Unix time */
    uint64_t ms;
};

struct latency_history {                            /* a copy, for one event */
    struct latency_sample samples[LATENCY_SAMPLES]; /* oldest first */
    size_t count;
    uint64_t max_ms; /* of all time, that is since LATENCY RESET */
};

struct latency {
    _Atomic uint64_t threshold_ms; /* 0: nothing is kept */
    pthread_mutex_t lock;
    struct latency_ring {
        size_t next, count;
        uint64_t max_ms;
        struct latency_sample samples[LATENCY_SAMPLES];
    } rings[LATENCY_EVENTS_COUNT]; /* lock */
};

void latency_init(struct latency *latency);
void latency_deinit(struct latency *latency);

static inline bool latency_is_slow(const struct latency *latency, uint64_t ms) {
    uint64_t threshold = atomic_load_explicit(&latency->threshold_ms, memory_order_relaxed);
    return UNLIKELY(threshold != 0) && ms >= threshold;
}
/* Keeps it if it is slow. `now_s` is Unix time. */
void latency_add(struct latency *latency, enum latency_event event, uint64_t ms, int64_t now_s);

const char *latency_event_name(enum latency_event event);
/* By its name, in any case. false: there is none. */
MUST_USE bool latency_event_find(struct bytes name, enum latency_event *event);
void latency_read(struct latency *latency, enum latency_event event, struct latency_history *out);
/* Forgets its samples; false: it had none. */
bool latency_reset(struct latency *latency, enum latency_event event);
