/* redo.h: what the shards' changes were, as bytes: the store's half of the log.
 *
 * txn_change appends each effect to its shard's redo buffer, under the shard's lock. Whoever writes
 * the log takes all buffers at once (redo_take) and so gets a batch with a cut: every change stamped
 * at or before the cut is in this batch or in an earlier one, because each shard's clock was raised to
 * the cut before its lock was let go (STORE.md 9.3). What is stamped after the cut stays for the next
 * batch, so that a transaction over many shards is in one batch whole.
 *
 *     record:  op 1 | db 1 | actor 2 | varint (stamp - stamp before it in the block; first: stamp)
 *              | varint key length | key | what the op needs (docs/formats/log.md)
 *
 * Within one shard's block stamps never fall. A block does not depend on how its shard is numbered,
 * except that the whole block belongs to one shard.
 */
#pragma once

#include "base/buffer.h"
#include "base/status.h"
#include "store/effect.h"

struct store;

/* A pair of command and client that was interned: the n-th that was ever met. */
struct actor_row {
    uint64_t n, since;       /* since: ns */
    struct bytes op, client; /* borrowed */
};

enum { REDO_BLOCK_HEADER = 16 };

/* A batch: [block]... ready for the journal. Owned by who takes; reused from take to take. */
struct redo_batch {
    struct buffer bytes; /* block: shard u16 | flags u16 (0) | records u32 | bytes u64 | records */
    uint32_t blocks;     /* shards' blocks; one more for actors, whose shard is REDO_ACTORS */
    uint64_t cut;        /* ns */
    uint64_t left;       /* the newest stamp that was left for the next batch; 0: nothing was */
    uint64_t actors;     /* how many actors were written so far, over all batches */
};
enum { REDO_ACTORS = 0xffff };

void redo_batch_init(struct redo_batch *batch);
void redo_batch_deinit(struct redo_batch *batch);

/* From now on changes are written to the redo buffers, or no longer; what was not taken is dropped.
 * Takes the locks one after another: what is recorded is complete from the next redo_take's cut on.
 * Thread: any, one at a time. */
void store_redo_switch(struct store *store, bool on);
/* Fills `batch` (what it held is gone) with all that was recorded since the last take; its cut is at
 * least `at_least`. Thread: any, one at a time. */
void redo_take(struct store *store, uint64_t at_least, struct redo_batch *batch);

/* One record, decoded; bytes borrowed from the block. */
struct redo_record {
    uint8_t op; /* enum effect_kind */
    uint8_t db;
    uint16_t actor;
    uint64_t stamp;
    struct bytes key;        /* PIN, UNPIN: the restore point's name */
    uint8_t type, encoding;  /* SET */
    int64_t number;          /* SET of STRING_INT */
    int64_t expire_at_ms;    /* SET, EXPIRE */
    struct bytes bytes;      /* SET, SPLICE */
    uint64_t offset, length; /* SPLICE */
    uint64_t at;             /* UNFLUSH: the flush that is undone; PIN: the instant, ns */
    uint8_t other_db;        /* SWAP */
};
/* The next record at the front of `*rest`, whose predecessor's stamp was `stamp` (0: none); moves
 * `*rest` past it. OK, NOT_FOUND at the end, CORRUPT with a sentence. Checks all that can be checked
 * without the store: numbers, lengths, types and encodings of this version. */
MUST_USE enum status redo_next(struct bytes *rest, uint64_t stamp, struct redo_record *out,
                               struct problem *why);
/* The next block at the front of a batch's bytes. Same statuses. */
struct redo_block {
    uint16_t shard; /* or REDO_ACTORS */
    uint32_t records;
    struct bytes bytes;
};
MUST_USE enum status redo_next_block(struct bytes *rest, struct redo_block *out,
                                     struct problem *why);
/* The next row of a REDO_ACTORS block. false: it makes no sense. */
MUST_USE bool redo_take_actor(struct bytes *rest, struct actor_row *out);
