#include "server/deadlines.h"

#include "base/assert.h"
#include "base/mem.h"
#include "server/connection.h"

/* A connection knows its place as deadline_at: 1.., 0 for none. */
static void put(struct deadlines *deadlines, size_t i, struct deadline deadline) {
    deadlines->heap[i] = deadline;
    deadline.connection->deadline_at = i + 1;
}

static void sift_up(struct deadlines *deadlines, size_t i, struct deadline deadline) {
    for (; i > 0 && deadlines->heap[(i - 1) / 2].at_ns > deadline.at_ns; i = (i - 1) / 2)
        put(deadlines, i, deadlines->heap[(i - 1) / 2]);
    put(deadlines, i, deadline);
}

static void sift_down(struct deadlines *deadlines, size_t i, struct deadline deadline) {
    for (size_t child; (child = 2 * i + 1) < deadlines->count; i = child) {
        if (child + 1 < deadlines->count &&
            deadlines->heap[child + 1].at_ns < deadlines->heap[child].at_ns)
            child++;
        if (deadlines->heap[child].at_ns >= deadline.at_ns) break;
        put(deadlines, i, deadlines->heap[child]);
    }
    put(deadlines, i, deadline);
}

void deadlines_add(struct deadlines *deadlines, struct connection *connection, uint64_t at_ns) {
    assert(connection->deadline_at == 0);
    if (deadlines->count == deadlines->cap) {
        size_t cap = deadlines->cap ? 2 * deadlines->cap : 16;
        deadlines->heap = mem_resize(deadlines->heap, deadlines->cap * sizeof *deadlines->heap,
                                     cap * sizeof *deadlines->heap);
        deadlines->cap = cap;
    }
    sift_up(deadlines, deadlines->count++, (struct deadline){ at_ns, connection });
}

void deadlines_remove(struct deadlines *deadlines, struct connection *connection) {
    if (connection->deadline_at == 0) return;
    size_t i = connection->deadline_at - 1;
    connection->deadline_at = 0;
    struct deadline last = deadlines->heap[--deadlines->count];
    if (last.connection == connection) return;
    if (i > 0 && deadlines->heap[(i - 1) / 2].at_ns > last.at_ns)
        sift_up(deadlines, i, last);
    else
        sift_down(deadlines, i, last);
}

void deadlines_deinit(struct deadlines *deadlines) {
    mem_free(deadlines->heap, deadlines->cap * sizeof *deadlines->heap);
    *deadlines = (struct deadlines){};
}
