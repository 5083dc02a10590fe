/* rdb_export.h: a store's keys as an RDB file, and back.
 *
 * A file is of one instant although writing it takes a while: it is read from the past. Where there
 * is no past it is `fuzzy`: each key as it was when the walk met it.
 *
 * Thread: the worker's.
 */
#pragma once

#include "log/rdb.h"

struct env;
struct store;
struct worker;

struct rdb_export_report {
    uint64_t keys, bytes;
    uint64_t at;         /* the instant that the file shows, Unix ns; 0: fuzzy throughout */
    bool fuzzy;          /* some keys are of slightly different instants, namely so many: */
    uint64_t fuzzy_keys; /* all (history no, or a history-resolution), or the excluded ones */
};

/* Writes PATH.tmp and puts it in the place of `path` when it is durable. `at`: the instant, Unix
 * ns; 0: now. LIMIT: what was at that instant is no longer known, or was forgotten while the file
 * was written. On failure the file that was there stands. */
MUST_USE enum status rdb_export(struct env *env, const char *path, struct store *store,
                                struct worker *worker, uint64_t at,
                                struct rdb_export_report *report, struct problem *why);

/* Sets every key that the file holds, as they come; what else the store has stays. The file is read
 * twice: unless all of it is sound and can be held, nothing is changed (but for NO_MEMORY). LIMIT:
 * it has a database that the store has not. */
MUST_USE enum status rdb_import(struct env *env, const char *path, struct store *store,
                                struct worker *worker, struct rdb_report *report,
                                struct problem *why);

/* One key into the store, as rdb_import does it; for the keys of an AOF's RDB part, too. */
MUST_USE enum status rdb_import_key(struct store *store, struct worker *worker,
                                    const struct rdb_key *key, struct problem *why);
