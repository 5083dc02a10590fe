/* deadlines.h: which of a loop's connections is the first to have waited long enough: a binary heap. Exact, because
 * the loop sleeps until then. Thread: the loop's. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct connection;

struct deadline {
    uint64_t at_ns; /* monotonic */
    struct connection *connection;
};

struct deadlines {
    struct deadline *heap; /* heap[0] is the first */
    size_t count, cap;
};

void deadlines_deinit(struct deadlines *deadlines);
/* `connection` must not be in it. */
void deadlines_add(struct deadlines *deadlines, struct connection *connection, uint64_t at_ns);
void deadlines_remove(struct deadlines *deadlines, struct connection *connection);
/* UINT64_MAX: there is none. */
static inline uint64_t deadlines_first_ns(const struct deadlines *deadlines) {
    return deadlines->count ? deadlines->heap[0].at_ns : UINT64_MAX;
}
