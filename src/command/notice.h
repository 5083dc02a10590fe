/* notice.h: word to sessions that keys have changed, on its way to their loops.
 *
 *     a change ─ notice_... ─ a queue for each loop ─ the session's loop: is it (still) to be told? ─┬─ its peer
 *                                                                                                    │
 *                                   the loop of the session that it redirects to: is it there? ──────┤
 *                                                                                                    └─ its peer
 *
 * Who is told is named by handle, and looked up by its own loop, which knows what the session wants by then. What
 * is told carries the stamp of the change as its gate, so nobody hears of what a crash could undo.
 *
 * A notice is a post, which counts, rings and frees it, and stands in a queue of its own besides, so that a session
 * can be told before a command of its is answered: what has changed before that was sent is never news to the peer
 * that it hears after the answer (notices_deliver).
 *
 * Thread: any, under any lock but a mailbox' own. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct mailbox;
struct notices;
struct pulse;

struct notices *notices_new(struct pulse *pulse);
/* Always NULL. What was sent must have been delivered or dropped. */
struct notices *notices_free(struct notices *notices);
/* Tells what was sent so far. No answer may be under way but those that are whole. Thread: the mailbox' loop. */
void notices_deliver(struct notices *notices, const struct mailbox *mailbox);

struct changed_name {
    struct bytes name;
    uint64_t session; /* whose command has changed it; 0: nobody's */
};

/* One key has changed that these sessions (ascending) have read. */
void notice_key(struct notices *notices, const uint64_t *handles, size_t count,
                const struct changed_name *name, uint64_t stamp);
/* Keys have changed that begin as these sessions have asked for. */
void notice_prefix(struct notices *notices, const uint64_t *handles, size_t count,
                   const struct changed_name *names, size_t names_count, uint64_t stamp);
/* A database has changed as a whole: everybody who tracks is told to forget all. */
void notice_all(struct notices *notices, uint64_t stamp);
