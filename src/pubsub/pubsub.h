/* pubsub.h: publish/subscribe as the rest of the program sees it: one instance, one sink, one question.
 *
 *     PUBLISH ── txn_say ──┐                                  ┌── post ── loop 1 ── its subscribers
 *                          ├── commit: the sink ── channels ──┤
 *     a change of data ────┘     (events.c words it)          └── post ── loop 2 ── its subscribers
 *
 * What is published by a transaction is heard in the order of what it did, after it has committed, and not at all if
 * it is rolled back. The whole is told in docs/pubsub.md.
 */
#pragma once

#include "base/attributes.h"
#include "base/bytes.h"

struct pubsub;
struct pulse;
struct session;
struct sink;

MUST_USE struct pubsub *pubsub_new(struct pulse *pulse);
struct pubsub *
pubsub_free(struct pubsub *pubsub); /* always NULL; sessions and posts must be gone */
/* For store_options.sinks. */
struct sink *pubsub_sink(struct pubsub *pubsub);
/* When the store is there: follows notify-keyspace-events from now on. */
void pubsub_start(struct pubsub *pubsub);

/* Closes every session that is subscribed to something which `may` no longer allows: for when a user's channels
 * became fewer. `pattern`: `channel` is one, and has to be allowed literally. Returns at once; `may` is called by
 * each loop's thread, under the lock of the registry of sessions, and must be good for as long as the server runs. */
void pubsub_review(struct pubsub *pubsub,
                   bool (*may)(void *self, const struct session *session, struct bytes channel,
                               bool pattern),
                   void *self);
