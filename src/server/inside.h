/* inside.h: what the files of server/ share: a loop, and the server as its loops see it.
 *
 * A turn of a loop:
 *
 *     epoll_wait ─ accept ─┬─ read ─ clock ─ gather, run, gather, run ... ─ send ─┬─ chores ─ bury
 *                          └──────────── round, as often as the area fills ───────┘
 *
 * A round reads at most AREA_SIZE, so that whoever is read first does not wait for the answer until
 * the last has been read. Thread: a loop belongs to its thread, but for what is marked.
 */
#pragma once

#include <pthread.h>
#include <sys/epoll.h>

#include "base/limits.h"
#include "command/batch.h"
#include "command/pulse.h"
#include "server/connection.h"
#include "server/deadlines.h"
#include "server/listen.h"
#include "store/store.h"

enum {
    EVENTS_MAX = 256,       /* of one epoll_wait */
    ROUND_MAX = 256,        /* connections of one round */
    AREA_SIZE = 256 * 1024, /* input of one round, but for what goes to a connection's own buffer */
    READ_MAX = 4 * QUERY_READ_SIZE, /* of one connection in one turn */
    LENT_SIZE = 16 * 1024,          /* a run lent to a connection for its replies */
    LENT_MAX = 64,                  /* so many are kept ready */
    INBOX_MAX = 256,                /* accepted sockets on their way to another loop */
    TURN_MS = 16,                   /* an idle turn: a tick of the wheels */
    QUIET_TURN_MS = 48,             /* after a second of those: expiry stays within 100 ms */
};

enum event_kind { EVENT_CONNECTION, EVENT_LISTENER, EVENT_BELL, EVENT_KINDS_MASK = 3 };
/* What epoll carries for us: a pointer with its kind in the low bits. */
static inline epoll_data_t event_of(const void *at, enum event_kind kind) {
    return (epoll_data_t){ .u64 = (uint64_t)(uintptr_t)at | (uint64_t)kind };
}

struct server;

struct loop {
    struct server *server;
    struct pulse *pulse;
    struct worker *worker;
    struct counters *counters; /* the worker's */
    struct batch *batch;
    struct mailbox mailbox; /* rung by any */
    int epoll;
    unsigned index;
    pthread_t thread;
    _Atomic uint32_t load; /* connections it has or will get; any */

    struct connection_list connections, backlog, paused, blocked, waiting, pushed, dead;
    struct deadlines deadlines; /* of those in `blocked` that have one */
    size_t durable_count;       /* of those in `blocked` that wait for the log */
    uint64_t acked;             /* replies that show nothing younger may leave (persist_acked) */
    uint64_t owed,
        owed_ns; /* `always`: the newest stamp that the log was not yet asked for; since when */
    _Atomic bool
        waits; /* somebody is in `waiting`, or waits for the log: to be rung when that moves */
    uint32_t unsent;       /* connections that wait for EPOLLOUT */
    int64_t untold_memory; /* of its clients, not yet in server->clients_memory */
    bool more_chores, stopping, listening;
    int64_t event_ms;         /* the last turn that had anything to do */
    uint64_t chores_again_ns; /* with more_chores: not before */
    int64_t chores_ms, second_ms, stop_ms, accept_again_ms; /* when last, or when next; 0: not */
    int64_t http_logged_ms, refused_logged_ms;
    uint64_t http_seen;

    /* Refreshed once a second. */
    struct resp_limits limits, unauthenticated_limits;
    size_t query_limit;
    struct output_limit output_limit, pubsub_limit; /* pubsub: of those that are subscribed */
    _Atomic uint64_t query_max, output_max;         /* of its connections; read by the first loop */

    /* A round. */
    char *area;
    size_t area_used;
    size_t round_count;
    struct connection *round[ROUND_MAX], *again[ROUND_MAX];
    size_t
        ends[BATCH_MAX]; /* of each command in the batch: where it ends in its connection's view */
    size_t ended;        /* so many of them were told */
    struct resp_request request;
    struct epoll_event events[EVENTS_MAX];

    size_t lent_count;
    char *lent[LENT_MAX];

    int spare; /* a descriptor to give up when there are no more */
    pthread_mutex_t inbox_lock;
    size_t inbox_count; /* inbox_lock */
    int inbox[INBOX_MAX];
};

struct server {
    struct pulse *pulse;
    struct loop **loops;
    struct mailbox **mailboxes;
    size_t loops_count, loops_started; /* started: threads, of all but the first */
    pthread_t watcher;
    bool watched;
    struct mailbox bell; /* wakes the watcher */
    _Atomic bool stopping;
    _Atomic int64_t connections;    /* for maxclients */
    _Atomic int64_t clients_memory; /* all clients' buffers: clients_memory.c */
    _Atomic bool evicting;          /* some loop looks for those to close */
    uint64_t machine_memory;
    uint64_t last_commands, last_input, last_output; /* the first loop's, for rates */
    pthread_mutex_t listeners_lock;
    struct listener *listeners; /* listeners_lock; open ones */
    struct listener *retired;   /* listeners_lock; closed ones */
};

struct loop *loop_new(struct server *server, unsigned index); /* NULL: errno says why */
struct loop *loop_free(struct loop *loop);                    /* always NULL; must have ended */
void *loop_run(void *loop);                                   /* a thread */

extern const struct carrier connection_carrier;   /* loop.c */
void loop_unblock(struct connection *connection); /* out of `blocked` and what belongs to it */
/* Accepts what waits at a listener, here or for a loop with fewer connections. */
void loop_accept(struct loop *loop, struct listener *listener);
void loop_take_inbox(struct loop *loop); /* sockets that others have accepted for this loop */
/* What the connection holds now, at the end of its turn; may have others closed, or it, later. */
void clients_memory_weigh(struct connection *connection);
void clients_memory_leave(struct connection *connection); /* it holds nothing any more */
void clients_memory_check(struct loop *loop);             /* closes the largest if need be */
void loop_listen(struct loop *loop, bool on);
