/* load.h: a database's files as a store in this process, as a start of the server would load
 * them. */
#pragma once

#include "log/manifest.h"

struct env;
struct store;

/* What a store that is filled from `manifest` must be. It keeps all history that the files hold.
 * CORRUPT, UNSUPPORTED: there is no such store. */
MUST_USE struct store *store_for(struct env *env, const struct manifest *manifest,
                                 struct problem *why);

struct loaded {
    uint64_t keys, versions, records; /* records: of the log, applied */
    uint64_t cut;                     /* what it shows: up to this instant, Unix ns */
};
/* Loads what `manifest` names into the empty store, up to `until`. The log is to be sound as far
 * as the base needs it; a torn end is left out. Statuses of file_journal_scan, snapshot_load and
 * replay_block. */
MUST_USE enum status database_load(struct env *env, const char *dir,
                                   const struct manifest *manifest, uint64_t until,
                                   struct store *store, struct loaded *out, struct problem *why);
