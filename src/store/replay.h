/* replay.h: the other way round: a log's records become data again.
 *
 * A record is applied if its stamp is after what the snapshot shows of its shard and of its key (the
 * stamp filter of STORE.md 9.5), and not after the log's last cut. History comes into being as it did
 * the first time, by the same functions. Sinks are not told and nothing is logged.
 *
 * Thread: one shard belongs to one thread at a time; that thread's worker.
 */
#pragma once

#include "store/redo.h"

struct replay;
struct worker;

struct replay *replay_new(struct store *store);
struct replay *replay_free(struct replay *replay); /* always NULL */

/* What a snapshot says of one shard, before its log is replayed: every change stamped at or before
 * `captured` is in the snapshot; after `visited` none of its keys is. Without a snapshot: 0, 0. */
void replay_base(struct replay *replay, uint32_t shard, uint64_t captured, uint64_t visited);

/* Applies the records of one block up to `cut`. CORRUPT with a sentence if a record makes no sense. */
MUST_USE enum status replay_block(struct replay *replay, struct worker *worker,
                                  const struct redo_block *block, uint64_t cut,
                                  struct problem *why);
/* After the last block: no stamp will ever be given at or before `cut`. */
void replay_end(struct replay *replay, uint64_t cut);
uint64_t replay_records(const struct replay *replay); /* applied so far */
