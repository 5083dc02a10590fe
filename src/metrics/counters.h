/* counters.h: numbers that only grow, counted without a shared cache line.
 *
 * Each worker has a row of its own and is the only one to add to it; whoever wants a total sums the
 * rows. So counting is one plain add (relaxed, for ThreadSanitizer's sake), and a total may be a few
 * events behind. Thread: counter_add the row's owner, counters_total any.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define COUNTERS(X)                                                            \
    X(commands_processed)     /* INFO total_commands_processed */              \
    X(connections_received)   /* INFO total_connections_received */            \
    X(connections_rejected)   /* INFO rejected_connections */                  \
    X(net_input_bytes)                                                         \
    X(net_output_bytes)                                                        \
    X(keyspace_hits)                                                           \
    X(keyspace_misses)                                                         \
    X(expired_keys)                                                            \
    X(error_replies)          /* INFO total_error_replies */                   \
    X(reads_processed)        /* INFO total_reads_processed */                 \
    X(writes_processed)       /* INFO total_writes_processed */                \
    X(reads_unlocked)         /* keys read without a lock */                   \
    X(changes)                /* effects applied: rdb_changes_since_last_save */ \
    X(batches)                /* batches run */                                \
    X(auth_failures)          /* INFO acl_access_denied_auth */                \
    X(commands_denied)        /* INFO acl_access_denied_cmd, and so on */      \
    X(keys_denied)                                                             \
    X(channels_denied)                                                         \
    X(clients_closed_output)  /* closed for their unread output */             \
    X(clients_closed_query)   /* closed for their query buffer */              \
    X(clients_evicted)        /* INFO evicted_clients: maxmemory-clients */

enum counter {
#define X(name) COUNTER_##name,
    COUNTERS(X)
#undef X
    COUNTERS_COUNT
};

struct counters {
    _Alignas(64) _Atomic uint64_t row[COUNTERS_COUNT];
};

static inline void counter_add(struct counters *counters, enum counter counter, uint64_t n) {
    uint64_t now = atomic_load_explicit(&counters->row[counter], memory_order_relaxed);
    atomic_store_explicit(&counters->row[counter], now + n, memory_order_relaxed);
}
static inline uint64_t counter_read(const struct counters *counters, enum counter counter) {
    return atomic_load_explicit(&counters->row[counter], memory_order_relaxed);
}
