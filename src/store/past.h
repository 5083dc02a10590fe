/* past.h: reading what was (STORE.md 8.2). Complete or an error, never silently wrong. */
#pragma once

#include "store/txn.h"

/* One version of a key, newest first. `value` is NULL for a time in which the key did not exist. */
struct version {
    uint64_t stamp; /* when it began, ns */
    uint16_t
        actor; /* who made it; ACTOR_EXPIRED, ACTOR_EVICTED, ACTOR_FLUSHED, ACTOR_UNFLUSHED, or 0: unknown */
    const struct value *value; /* borrowed for the visit */
};

/* The latest instant that this transaction's worker can have seen commits of. An instant after it is
 * read as this one. */
uint64_t past_now(const struct txn *txn);

/* The state at instant `at` (ns). PRUNED: `*oldest` is the instant from which on it is known.
 * Takes the shard's lock unless the transaction holds it; the value is copied into the arena. */
MUST_USE enum found past_read(struct txn *txn, const struct key *key, uint64_t at,
                              struct value *out, uint64_t *oldest);

/* Visits the versions of `key` newest first as of the transaction's `at` (0: now), until `visit`
 * returns false. States that lasted no time (within one transaction) are not shown; a key that
 * ended by its expiry shows absence from its due time on. Returns true when the walk saw the key's
 * whole past, false when it stopped at what is no longer known (`*oldest` as above) or was stopped. */
bool past_versions(struct txn *txn, const struct key *key,
                   bool (*visit)(void *self, const struct version *version), void *self,
                   uint64_t *oldest);

struct past_info {
    uint64_t versions; /* known states, the present one among them */
    uint64_t bytes;    /* history records of this key */
    uint64_t oldest;   /* ns: from here on everything about it is known */
};
void past_info(struct txn *txn, const struct key *key, struct past_info *out);

/* Records of one database, over all shards. */
uint64_t past_records(struct store *store, uint32_t db);

/* Forgets the key's past; the present stays. The shard must be locked. */
void past_purge(struct txn *txn, const struct key *key);
/* The same only for what FLUSH has put aside. Writes no log. */
void past_purge_flushed(struct txn *txn, const struct key *key);

/* The instant from which on every key of every database is known, ns; 0: since the beginning. */
uint64_t past_horizon(struct store *store, const struct txn *txn);
