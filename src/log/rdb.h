/* rdb.h: Redis' snapshot format: reading versions 1 to 12 and Valkey's 80, writing 11.
 *
 * A reader hands over keys one by one; a writer takes them one by one. The same encoding of a value, framed
 * differently, is DUMP's payload. Everything read is hostile: lengths are checked before memory is
 * asked for, and a value of a type that is not built yet is UNSUPPORTED, by its name.
 * Thread: one at a time.
 */
#pragma once

#include "base/buffer.h"
#include "store/value.h"

enum { RDB_WRITE_VERSION = 11, RDB_READ_VERSION_MAX = 12, RDB_VALKEY_VERSION = 80 };

/* Where bytes come from: fills `out` with exactly `len` bytes, or says why not (NEED_MORE: the end). */
struct rdb_source {
    enum status (*read)(void *self, void *out, size_t len, struct problem *why);
    void *self;
};

struct rdb_key {
    uint32_t db;
    struct bytes name;    /* borrowed until the next one */
    struct value value;   /* STRING: INT, or INLINE with `bytes` of any length; expire_at_ms */
};

/* Reads a whole file. `visit` returns OK to go on. CORRUPT names what is wrong and the offset. The checksum at
 * the end is checked unless it is 0. Keys whose time is over at `now_ms` are left out (0: none are). */
struct rdb_report {
    unsigned version;
    bool valkey;
    uint64_t keys, expired, functions; /* functions: libraries passed over (not supported yet) */
};
MUST_USE enum status rdb_read(struct rdb_source source, int64_t now_ms,
                              enum status (*visit)(void *self, const struct rdb_key *key,
                                                   struct problem *why),
                              void *self, struct rdb_report *report, struct problem *why);

/* Writing: begin, keys in order of their databases, end. Appends to `out` (whose owner empties it as it
 * goes, counting the checksum is the writer's). */
struct rdb_writer {
    struct buffer *out;
    uint64_t crc;
    size_t counted; /* bytes of `out` that are in `crc` */
    uint32_t db;
    bool any;
    bool compress; /* LZF for strings over 20 bytes, as Redis does */
};
void rdb_write_begin(struct rdb_writer *writer, struct buffer *out, bool compress, int64_t now_s);
/* `keys`, `expires` of the database that now begins (RESIZEDB); called before its first key. */
void rdb_write_database(struct rdb_writer *writer, uint32_t db, uint64_t keys, uint64_t expires);
/* UNSUPPORTED: a type that is not built yet. */
MUST_USE enum status rdb_write_key(struct rdb_writer *writer, const struct rdb_key *key,
                                   struct problem *why);
/* To be called before bytes at the front of `out` are taken away. */
void rdb_write_counted(struct rdb_writer *writer);
void rdb_write_end(struct rdb_writer *writer);

/* DUMP: type, value, version 11, CRC-64. And RESTORE. */
void rdb_dump(const struct value *value, struct buffer *out);
/* INVALID: "DUMP payload version or checksum are wrong"; CORRUPT: "Bad data format"; UNSUPPORTED: the type. The
 * value's bytes are borrowed from `payload` or lie in `arena`. */
struct arena;
MUST_USE enum status rdb_restore(struct bytes payload, struct arena *arena, struct value *out,
                                 struct problem *why);
uint64_t crc64(uint64_t crc, const void *data, size_t len); /* Jones; as Redis */
