/* block.h: commands that wait.
 *
 * A command that has nothing to answer yet says what it waits for and returns BLOCKED, without an answer. Its words stay
 * where they are, in the connection's input; when its turn comes the same words are run again, from the start, as if
 * they had just arrived. So a command that waits has no second form, and nothing is kept that could be stale.
 *
 *     found something                  answer, DONE
 *     call_waits(call, &on)  true      return BLOCKED
 *                            false     answer what stands for nothing (null, 0): its time is over, or it may not
 *                                      wait (MULTI, a function)
 *
 * Who waits for a key stands in that key's line, first come first:
 *
 *     commit of a change ──► sink ──► the first one of each lane that is not called already,
 *                                     and everyone who shares ──► post ──► its loop runs it again
 *
 * A lane is a group of waiters of which one change satisfies one: all BLPOPs of a list (lane 0), the consumers of one
 * stream group. One that shares (XREAD) takes nothing away and is called for each change. A waiter that is called and
 * finds nothing keeps its place. One that takes less than there is calls the next (call_next); one that was called and
 * goes away (closed, its time over, refused) has the next called for it.
 *
 * No change is missed: a waiter gets into line under the locks of its keys' shards, and a commit looks at the line
 * under them. The line's own lock is a leaf. Thread: a waiter's own, but for what is marked.
 */
#pragma once

#include "command/call.h"
#include "command/post.h"
#include "store/effect.h"

struct session;
struct waiters;

/* What a command waits for. */
struct wait_on {
    const struct key *keys; /* that it holds the locks of; NULL: none */
    size_t keys_count;
    uint64_t lane;       /* 0, or a number of the command's own making (a hash of a group's name) */
    uint64_t kinds;      /* bits 1 << enum effect_kind: changes that call it; 0: all but DELETE */
    bool shared;         /* takes nothing away from those behind it */
    uint64_t durable;    /* or for the log: until this stamp is on the disk; 0: not */
    uint64_t timeout_ms; /* 0: for ever */
};

/* Whether it is to wait (return BLOCKED then). false: answer at once, with what there is. */
MUST_USE bool call_waits(struct call *call, const struct wait_on *on);
/* Whether somebody before this call has been called for `key` and has not yet run: what there is, is his. */
MUST_USE bool call_is_behind(const struct call *call, const struct key *key, uint64_t lane);
/* There is more for the next one in line. Under the key's shard lock. */
void call_next(struct call *call, const struct key *key, uint64_t lane);

/* --- for the instance and the loops --- */

struct waiters *waiters_new(struct pulse *pulse);
struct waiters *waiters_free(struct waiters *waiters); /* always NULL; nobody may wait */
struct sink *waiters_sink(struct waiters *waiters);

enum wait_end { WAIT_CALLED, WAIT_OVER, WAIT_REFUSED };

/* A session is blocked from BLOCKED until its command has answered or block_end. */
/* When it has waited long enough, monotonic ns; UINT64_MAX: never. And what of the log it waits for, or 0. */
uint64_t block_deadline_ns(const struct session *session);
uint64_t block_durable(const struct session *session);
/* Why its command runs again (WAIT_CALLED need not be told). */
void block_ended(struct session *session, enum wait_end end);
/* Whether CLIENT UNBLOCK ... ERROR has ended its waiting: its command is not run, the error is its answer. */
bool block_is_refused(const struct session *session);
/* Its command has answered, or its connection has gone. `used`: it ran, and did not fail. */
void block_end(struct session *session, bool used);
