/* history.h: one shard's past: a log of inverse effects, first in, first out (STORE.md 8).
 *
 *     segment  0         1         2          64 KiB each; the oldest is dropped as a whole
 *            [r r r r] [r r r r] [r r . .]
 *             ^head                   ^tail   positions count 8-byte units since the shard's birth
 *
 * An entry points to its newest record, a record to its predecessor. A position below the head is
 * "pruned": nothing needs to be unlinked. A record restores the state that its change replaced:
 * `birth` is when that state was born, `actor` who made it. The change's own instant is the birth
 * of the next newer record, or the entry's stamp.
 *
 *     | prev 47 | db 8 | kind 3 | type 3 | encoding 3 | skip 32 | len 11 | flags 5 | actor 16 |
 *     | birth 64 | payload |
 *
 *     payload of SET     [expiry ms 8] then number 8 | inline bytes | blob pointer 8 (owned)
 *                EXPIRE  the expiry before, 8
 *                SPLICE  offset 8, length before 8, then the bytes before | blob pointer 8 (owned)
 *                DELETE  nothing: the key did not exist
 *     and for a change that left a tombstone, 8 more: the key's hash, its low byte the database
 *
 * `skip` is the distance back to the newest record of this key in an earlier segment, 0 for none.
 * Thread: whoever holds the shard's lock.
 */
#pragma once

#include "store/effect.h"
#include "store/entry.h"
#include "store/pool.h"

enum {
    SEGMENT_SIZE = 64 * 1024,
    SEGMENT_UNITS = SEGMENT_SIZE / 8,
    SEGMENT_HEADER = 64,
};
#define POSITION_MAX (((uint64_t)1 << 47) - 1)
enum { RECORD_LEN_MAX = (1 << 11) - 1, HISTORY_MIXED = 0xffff };

enum record_flag {
    RECORD_EXPIRE = 1,    /* SET: an expiry comes first */
    RECORD_OWNED = 2,     /* the payload ends in a pointer to a blob of which it has a reference */
    RECORD_TOMBSTONE = 4, /* the change left a tombstone; its hash follows the payload */
    RECORD_WIPED = 8,     /* what it restored was forgotten (record_wipe) */
};

struct record {
    uint64_t prev : 47, db : 8, kind : 3, type : 3, encoding : 3;
    uint64_t skip : 32, len : 11, flags : 5, actor : 16;
    uint64_t birth;
    unsigned char payload[];
};
static_assert(sizeof(struct record) == 24);

struct segment {
    uint64_t number;     /* position / SEGMENT_UNITS */
    uint64_t last;       /* the newest stamp of a change in it */
    uint64_t owned_size; /* bytes of blobs it owns */
    uint32_t units;      /* used */
    uint32_t records, tombstones, owned;
    uint16_t db; /* of all its records, or HISTORY_MIXED */
    char unused[SEGMENT_HEADER - 42];
    unsigned char mem[SEGMENT_SIZE - SEGMENT_HEADER];
};
static_assert(sizeof(struct segment) == SEGMENT_SIZE);

struct history {
    struct pool *pool;     /* where segments come from */
    struct segment **ring; /* by number & (ring_cap - 1) */
    size_t ring_cap;
    uint64_t head;         /* number of the oldest segment */
    uint64_t tail;         /* number of the segment being filled; head > tail: there is none */
    _Atomic uint64_t size; /* bytes: segments and what they own */
    _Atomic uint64_t records;
    _Atomic uint64_t oldest;      /* last stamp of the head segment; 0: there is none */
    _Atomic uint64_t *db_records; /* by database: HISTORY STATS */
    uint32_t databases;
    uint64_t dropped; /* last stamp of the newest dropped segment */
};

struct history_mark { /* for history_rewind */
    uint64_t tail;
    uint32_t units;
};

void history_init(struct history *history, uint32_t databases, struct pool *pool);
void history_deinit(struct history *history);

/* What the entry's state was, as the inverse of a whole change; returns the record's position. The
 * record takes its own reference of a blob. */
uint64_t history_put_state(struct history *history, const struct entry *entry, uint64_t stamp,
                           bool tombstone, uint64_t hash, uint32_t db);
/* The inverse of EXPIRE. */
uint64_t history_put_expire(struct history *history, const struct entry *entry, uint64_t stamp,
                            uint32_t db);
/* The inverse of SPLICE on a buffer of `blob`'s present content: what `len` bytes at `offset` are. */
uint64_t history_put_splice(struct history *history, const struct entry *entry, uint64_t stamp,
                            uint32_t db, const struct blob *blob, uint64_t offset, uint64_t len);

/* The record at `position`, or NULL when that is 0 or was dropped. */
const struct record *history_at(const struct history *history, uint64_t position);
static inline uint64_t history_head(const struct history *history) {
    return history->head * SEGMENT_UNITS;
}

struct history_mark history_mark(const struct history *history);
void history_rewind(struct history *history, struct history_mark mark);

/* Takes out the oldest segment, be it the one that is being filled; NULL when there is none. The
 * caller looks at its tombstones and gives it to segment_free. */
struct segment *history_drop(struct history *history);
/* Calls `visit` for each record that left a tombstone: hash (low byte 0), db and position. */
void segment_tombstones(const struct segment *segment,
                        void (*visit)(void *self, uint64_t hash, uint32_t db, uint64_t position),
                        void *self);
void segment_free(struct pool *pool, struct segment *segment);

/* Makes the record at `position` the oldest of its key. */
void history_cut(struct history *history, uint64_t position);

/* Whether it restores a state whatever came after; else it is a difference to the next newer one. */
static inline bool record_is_whole(const struct record *record) {
    return record->kind == EFFECT_SET || record->kind == EFFECT_DELETE;
}

/* A record taken apart. */
struct record_view {
    uint8_t kind; /* enum effect_kind */
    uint8_t type, encoding;
    int64_t number, expire_at_ms;
    struct bytes bytes;
    struct blob *blob; /* borrowed */
    uint64_t offset, length;
};
struct record_view record_view(const struct record *record);
size_t record_size(const struct record *record);
/* Overwrites what the record remembers with zeros (HISTORY PURGE); lets go of its blob. */
void record_wipe(struct history *history, uint64_t position);

/* --- for snapshots --- */

/* A copy of segment `number`, with references of its own to what it owns, for segment_free. false: it
 * is not there. */
MUST_USE bool history_copy(const struct history *history, uint64_t number, struct segment *out);
/* Of an empty history: from now on HISTORY_LOST is a position whose record was dropped. */
void history_begin_loading(struct history *history);
#define HISTORY_LOST ((uint64_t)SEGMENT_UNITS)
/* A record as it was in another history, its `prev` as it is in this one. */
struct loaded_record {
    struct record_view
        view; /* with a blob: one reference, taken over; without: `bytes` fit in a record */
    uint64_t prev, birth, hash;
    uint16_t actor;
    uint8_t db;
    bool tombstone; /* it left one, of the key with that hash; SET and DELETE only */
};
/* Returns its position. `stamp`: no later than then its change was made. */
uint64_t history_put_loaded(struct history *history, const struct loaded_record *record,
                            uint64_t stamp);
