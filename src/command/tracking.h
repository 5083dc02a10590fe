/* tracking.h: CLIENT TRACKING: sessions that keep copies of what they read are told when it changes.
 *
 *     a read      dispatch_run ─ tracking_remember: into the table (tracking_table.h), before the key is read
 *     a change    the sink, at the commit: the key's entry is taken out, its readers are told (notice.h);
 *                 who asked for prefixes is told of all that fit, once a transaction (prefixes.h)
 *
 * Nothing is missed: whoever reads an old state was in the table before it read, and so before the change asked
 * who is; and word of a change is delivered between commands, so never before the answer that it is
 * about. It is delivered before a session's next command as well (tracking_hear): nobody is answered what is newer
 * than a change that it has not been told of.
 *
 * The sink listens while anybody tracks. Tracking is turned on by one who holds every shard, so that no
 * transaction is under way which would not tell of what it has changed.
 *
 * What the past holds does not change: reads of it (AT, GETAT, DIFF) are not remembered. */
#pragma once

#include "command/call.h"
#include "command/session.h"

struct pulse;
struct tracking;

struct tracking *tracking_new(struct pulse *pulse);
struct tracking *tracking_free(struct tracking *tracking); /* always NULL; the store must be gone */
struct sink *tracking_sink(struct tracking *tracking);
/* tracking-table-max-keys has changed. */
void tracking_trim(struct tracking *tracking);

struct tracking_wish {
    uint32_t flags; /* of enum session_flag: how */
    uint64_t redirect;
    struct mailbox *redirect_to;  /* of the session `redirect` */
    const struct bytes *prefixes; /* more of them; copied; without BCAST none */
    size_t prefixes_count;
};
/* Turns it on, or changes how. Every shard must be held. Thread: the session's. */
void tracking_start(struct session *session, struct pulse *pulse, const struct tracking_wish *wish);
void tracking_stop(struct session *session, struct pulse *pulse); /* if it is on */

/* The keys of a call that reads, before it does. */
void tracking_remember(const struct call *call);
/* Tells this loop's sessions what has changed so far. The call is about to run, with the locks it needs; nothing of
 * its answer is written yet, and nothing that is written now will be taken back. */
void tracking_hear(const struct call *call);
/* The call is over: CLIENT CACHING was for this one, unless it was that command itself or MULTI goes on. */
void tracking_end_caching(const struct call *call);

/* Whether a RESP2 session hears messages of channels, and so those about changed keys. */
static inline bool tracking_hears_messages(const struct session *session) {
    return session_has(session, SESSION_PUBSUB);
}

struct tracking_counts {
    uint64_t clients, keys, items, prefixes;
};
void tracking_count(struct tracking *tracking, struct tracking_counts *out);
