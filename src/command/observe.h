/* observe.h: what is noted of every command that was run: how often, how long, how it failed.
 *
 *     batch, EXEC ── a reading of the clock a command ──► calls_add        (the worker's row)
 *                                                  └ long ► observer_slow ► SLOWLOG, LATENCY
 *
 * `slow_ticks` is the shortest time that anybody wants to hear of; whatever is below it costs one
 * comparison and two additions. It is never above CALL_TICKS_MAX, so what is below it can be counted
 * without another look. One observer a `struct pulse`. Thread: any, but for what takes `calls`: its
 * owner.
 */
#pragma once

#include "base/ticks.h"
#include "command/command.h"
#include "metrics/calls.h"
#include "metrics/error_words.h"
#include "metrics/latency.h"
#include "metrics/slowlog.h"

struct env;
struct settings;

struct observer {
    _Atomic uint64_t slow_ticks;
    _Atomic uint64_t slowlog_ticks; /* UINT64_MAX: SLOWLOG is off */
    struct ticks_rate rate;
    struct env *env;
    struct settings *settings;
    struct calls_board *board;
    struct slowlog *slowlog;
    struct latency latency;
    struct error_words errors;
};

/* Hears of changes of slowlog-* and latency-* from now on. */
struct observer *observer_new(struct env *env, struct settings *settings);
struct observer *observer_free(struct observer *observer); /* always NULL; NULL is fine */

/* The long way of observer_ran. Returns the ticks to count: those of a clock that ran backwards are 0. */
COLD uint64_t observer_slow(struct observer *observer, const struct call *call, uint64_t ticks);
/* A command has run (or failed) and it took so many ticks. */
static inline void observer_ran(struct observer *observer, struct calls *calls,
                                const struct call *call, uint64_t ticks) {
    if (UNLIKELY(ticks >= atomic_load_explicit(&observer->slow_ticks, memory_order_relaxed)))
        ticks = observer_slow(observer, call, ticks);
    calls_add(calls, call->info->id, ticks);
}
/* `n` error replies were written, the last of them beginning with `code`. */
COLD void observer_errors(struct observer *observer, struct calls *calls, struct bytes code,
                          uint64_t n);

enum { PERCENTILES_MAX = 32 };
/* The numbers of latency-tracking-info-percentiles, as they are written and as they are. Texts in the
 * arena. */
struct percentiles {
    size_t count;
    struct bytes texts[PERCENTILES_MAX];
    double numbers[PERCENTILES_MAX];
};
void observer_percentiles(struct observer *observer, struct arena *arena, struct percentiles *out);
