/* multi.h: MULTI's queue and WATCH's keys of one session.
 *
 * Queued words are copied. EXEC locks the shards of all queued commands' keys in ascending order,
 * compares the watched keys under those locks and runs the commands as one transaction with one
 * stamp. The queue is bounded in commands and bytes (base/limits.h). Thread: the session's. */
#pragma once

#include "command/call.h"

struct multi;

/* Queues the call's words, or answers why not (and makes the transaction fail at EXEC). */
enum outcome multi_queue(struct call *call);
/* Whether the call is an EXEC of something that writes. */
bool multi_would_write(const struct call *call);
/* Refuses a call because not everything can run now: a MULTI is spoiled, an EXEC discards it. */
enum outcome multi_fail_gate(struct call *call, const char *why);
/* Answers that the call has the wrong number of words. An EXEC that has it ends the transaction all the
 * same, so that a client is never left inside one. */
enum outcome multi_fail_arity(struct call *call);
/* Remembers that a command was refused while queueing. */
void multi_spoil(struct session *session);
void multi_discard(struct session *session);   /* drops the queue and the watched keys */
struct multi *multi_free(struct multi *multi); /* always NULL; NULL is fine */
