/* rdb.h: Redis' snapshot format: reading versions 1 to 12 and Valkey's 80, writing 11.
 *
 *     REDIS0011 | opcode ... | SELECTDB n  RESIZEDB ..  key key ... | SELECTDB .. | EOF crc
 *                              key: [EXPIRETIME_MS t] type name value
 *
 * A reader hands over keys one by one; a writer takes them one by one. The same encoding of a
 * value, framed differently, is DUMP's payload. Everything read is hostile: lengths are checked
 * before memory is asked for, memory grows with the bytes that really came, and a value of a type
 * that is not built yet is UNSUPPORTED, by its name. What is read and what is not:
 * docs/redis-formats.md.
 *
 * Thread: one at a time.
 */
#pragma once

#include "base/buffer.h"
#include "base/status.h"
#include "store/value.h"

enum {
    RDB_WRITE_VERSION = 11, /* of files: Redis 7.2 and later, Valkey 7.2 and later */
    RDB_DUMP_VERSION = 10,  /* of DUMP's payloads: Redis 7.0 takes them, too */
    RDB_READ_VERSION_MAX = 12,
    RDB_VALKEY_VERSION = 80,
    RDB_STRING_MAX = 512 * 1024 * 1024, /* bytes of a value; Redis' own default limit */
    RDB_MAGIC_LEN = 9,
};

enum rdb_opcode {                        /* where a type could stand */
                  RDB_SLOT_IMPORT = 243, /* Valkey 9's; not Redis' */
                  RDB_SLOT_INFO = 244,
                  RDB_FUNCTION = 245,
                  RDB_FUNCTION_PRE_GA = 246,
                  RDB_MODULE_AUX = 247,
                  RDB_IDLE = 248,
                  RDB_FREQ = 249,
                  RDB_AUX = 250,
                  RDB_RESIZEDB = 251,
                  RDB_EXPIRETIME_MS = 252,
                  RDB_EXPIRETIME = 253,
                  RDB_SELECTDB = 254,
                  RDB_EOF = 255,
};

enum rdb_type { RDB_TYPE_STRING = 0, RDB_TYPE_MODULE = 7 }; /* all others: rdb_read.c's table */

enum rdb_encoding { /* of a string, instead of a length */
                    RDB_INT8 = 0,
                    RDB_INT16 = 1,
                    RDB_INT32 = 2,
                    RDB_LZF = 3,
};

struct rdb_key {
    uint32_t db;
    struct bytes name; /* borrowed until the next one */
    /* STRING: INT, or any other encoding with `bytes` of any length; and expire_at_ms. A reader
     * gives INT for what is canonical decimal and INLINE for all else: for txn_set_string, which
     * chooses again. */
    struct value value;
};

/* --- reading --- */

/* Where bytes come from: fills `out` with exactly `len` bytes, or says why not (NEED_MORE: the
 * end). Nothing behind the file's last byte is asked for, so more may follow it (an AOF does). */
struct rdb_source {
    enum status (*read)(void *self, void *out, size_t len, struct problem *why);
    void *self;
};

struct rdb_report {
    unsigned version;
    bool valkey;
    uint64_t keys, expired;      /* handed over; left out because their time was over */
    uint64_t functions, modules; /* libraries, and data of modules beside the keys: passed over */
};
/* Reads a whole file. `visit` returns OK to go on. CORRUPT names what is wrong and the offset. The
 * checksum at the end is checked unless it is 0. Keys whose time is over at `now_ms` are left out
 * (0: none are). */
MUST_USE enum status rdb_read(struct rdb_source source, int64_t now_ms,
                              enum status (*visit)(void *self, const struct rdb_key *key,
                                                   struct problem *why),
                              void *self, struct rdb_report *report, struct problem *why);
/* Whether a file that begins with these bytes (RDB_MAGIC_LEN are enough) means to be one. */
bool rdb_is(struct bytes start);

/* RESTORE: the value in a payload of DUMP. INVALID: "DUMP payload version or checksum are wrong";
 * CORRUPT: "Bad data format"; UNSUPPORTED: the type; NO_MEMORY. Its bytes are borrowed from
 * `payload` or lie in `scratch`, whose limit is to be RDB_STRING_MAX. */
MUST_USE enum status rdb_restore(struct bytes payload, struct buffer *scratch, struct value *out,
                                 struct problem *why);

/* --- writing --- */

/* Begin, then each database and its keys, then end. Appends to `out`. Its owner empties it as it
 * goes, after rdb_write_counted, and looks at `out->overflow` in the end. */
struct rdb_writer {
    struct buffer *out;
    uint64_t crc;
    size_t counted; /* bytes of `out` that are in `crc` */
    uint32_t db;
    bool any;      /* a database was begun */
    bool compress; /* LZF for strings over 20 bytes, as Redis does */
};
void rdb_write_begin(struct rdb_writer *writer, struct buffer *out, bool compress, int64_t now_s);
/* `keys`, `expires` of the database that now begins, about (RESIZEDB); called before its first
 * key. */
void rdb_write_database(struct rdb_writer *writer, uint32_t db, uint64_t keys, uint64_t expires);
/* UNSUPPORTED: a type that is not built yet. LIMIT: longer than RDB_STRING_MAX. NO_MEMORY: of
 * `out`. */
MUST_USE enum status rdb_write_key(struct rdb_writer *writer, const struct rdb_key *key,
                                   struct problem *why);
/* Adds all of `out` to the checksum; to be called before all of it is taken away. */
void rdb_write_counted(struct rdb_writer *writer);
void rdb_write_end(struct rdb_writer *writer);

/* DUMP: type, value, RDB_DUMP_VERSION, CRC-64. The same statuses as rdb_write_key. */
MUST_USE enum status rdb_dump(const struct value *value, struct buffer *out, struct problem *why);

/* CRC-64 as Redis has it (Jones' polynomial, reflected, nothing inverted). Begins with 0;
 * crc64(crc64(0, a), b) is that of a and b in a row. Thread: any. */
uint64_t crc64(uint64_t crc, const void *data, size_t len);
