/* connection.h: one client's socket, and the bytes on their way in and out.
 *
 * A quiet connection costs its struct and no more. Input is read into the loop's area, which all
 * connections of a round share; only what is not consumed at the round's end (half a command, or
 * commands that have to wait) is copied into the connection's own buffer, and then read on there.
 * The run that replies are written to is lent by the loop and goes back once it is sent.
 *
 *     view  [ done: answered | taken: gathered, not yet answered | not yet parsed ]
 *
 * Invariant: done <= taken <= view.len; the view lies in the area or in `in`, and neither moves from
 * the round's reading to its end. To close is a change of `state`: the struct is freed by the loop at
 * the end of its turn. Thread: the loop's.
 */
#pragma once

#include <sys/queue.h>

#include "base/buffer.h"
#include "command/session.h"
#include "proto/out.h"
#include "proto/reply.h"
#include "proto/request.h"

struct loop;

enum connection_state {
    CONNECTION_OPEN,
    CONNECTION_CLOSING, /* nothing is read or run any more: what waits is sent, then it is closed */
    CONNECTION_CLOSED,  /* its socket is closed; on the loop's list of the dead */
};

enum connection_place { /* which list `place_link` is in */
                        PLACE_NONE,
                        PLACE_BACKLOG, /* has commands that nothing keeps from running */
                        PLACE_PAUSED,  /* CLIENT PAUSE */
                        PLACE_BLOCKED, /* its command waits: block.h */
                        PLACE_WAITING, /* its replies show what is not yet durable */
};

struct connection {
    struct loop *loop;
    int fd;
    uint8_t state;    /* enum connection_state */
    uint8_t place;    /* enum connection_place */
    bool in_round;    /* is in loop->round */
    bool stopped;     /* in this round: gathers no more */
    bool skipped;     /* in this round: a gathered command was not run, its bytes stay */
    bool held;        /* more than OUTPUT_PAUSE_SIZE waits: not read, not run */
    bool pushed;      /* in loop->pushed: something was written that is no answer */
    uint32_t watched; /* what epoll tells of: EPOLLIN, EPOLLOUT */
    struct bytes view;
    size_t taken, done;
    struct out out;
    struct reply reply;
    struct resp_parser parser;
    struct buffer in;
    size_t deadline_at;                 /* its place in loop->deadlines, or 0 */
    int64_t closing_since_ms;           /* of CONNECTION_CLOSING */
    int64_t output_since_ms;            /* since when more than the soft limit waits; 0: does not */
    TAILQ_ENTRY(connection) link;       /* loop->connections, or loop->dead */
    TAILQ_ENTRY(connection) place_link; /* enum connection_place */
    TAILQ_ENTRY(connection) pushed_link;
    struct session session;
};
TAILQ_HEAD(connection_list, connection);

/* Takes over a connected socket, which is in the counts already. If its peer is gone it leaves them. */
void connection_new(struct loop *loop, int fd);
/* Closes the socket; what was not sent is dropped. The struct stays until connection_free. */
void connection_close(struct connection *connection);
void connection_free(struct connection *connection); /* must be closed */

/* Sends what waits, as far as the socket takes it. false: the peer is gone. */
MUST_USE bool connection_send(struct connection *connection);

enum read_result { READ_SOME, READ_NONE, READ_END, READ_FAILED, READ_TOO_MUCH };
/* One recv, into the area or into the connection's own buffer; sets its view. READ_TOO_MUCH: its own
 * buffer would grow over `limit`. */
enum read_result connection_read(struct connection *connection, size_t limit);
/* Shows what is left in its own buffer, without reading. */
void connection_view(struct connection *connection);
/* Drops what was consumed, keeps the rest in the connection's own buffer. false: it has no room. */
MUST_USE bool connection_settle(struct connection *connection, size_t limit);
/* Forgets all input. */
void connection_drop_input(struct connection *connection);
/* Tells epoll what matters now, if that has changed. */
void connection_watch(struct connection *connection);
