/* value.h: keys and values as the store hands them out. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/number.h"

struct blob;
struct index;

enum value_type {                 /* low nibble of an entry's kind */
                  VALUE_NONE = 0, /* a tombstone: the key is gone, its past is not */
                  VALUE_STRING = 1,
                  VALUE_HASH = 2,
                  VALUE_LIST = 3,
                  VALUE_SET = 4,
                  VALUE_ZSET = 5,
                  VALUE_STREAM = 6,
};

enum string_encoding {                    /* high nibble of an entry's kind */
                       STRING_INT = 0,    /* a signed 64-bit integer in canonical decimal */
                       STRING_INLINE = 1, /* bytes in the entry, at most STRING_INLINE_MAX */
                       STRING_BLOB = 2,   /* bytes in a blob, which never changes */
                       STRING_BUFFER = 3, /* bytes in a blob of its own, changed in place */
                       STRING_EDITED =
                           4, /* as INLINE, made by APPEND or SETRANGE ("raw" to OBJECT) */
};

enum { STRING_INLINE_MAX = 1024 };

/* A key, hashed. `name` is borrowed. Made by store_key. */
struct key {
    struct bytes name;
    uint64_t hash;
    uint32_t shard;
    uint32_t db;
    /* Where store_prefetch_entry saw its word, in which table: a first place to look, for as long as
     * the worker stays inside the epoch (then to be cleared). NULL: not known. */
    _Atomic uint64_t *hint;
    const struct index *hint_index;
};

/* A key's state as a reader sees it. Bytes are borrowed: until the next change of that key by this
 * transaction, or its end. */
struct value {
    uint8_t type;         /* enum value_type, never VALUE_NONE */
    uint8_t encoding;     /* enum string_encoding */
    uint16_t actor;       /* who wrote it: store_actor */
    int64_t number;       /* STRING_INT */
    struct bytes bytes;   /* INLINE, BLOB, BUFFER, EDITED */
    struct blob *blob;    /* BLOB, BUFFER: what `bytes` lie in; BLOB may be blob_ref'd */
    int64_t expire_at_ms; /* Unix ms; 0: never */
    uint64_t stamp;       /* when this state was born, Unix ns */
};

/* The string's bytes; an integer is written into `scratch` (INT_TEXT_MAX bytes at least). */
static inline struct bytes value_text(const struct value *value, char *scratch) {
    if (value->encoding != STRING_INT) return value->bytes;
    return (struct bytes){ scratch, int_format(scratch, value->number) };
}
static inline size_t value_text_len(const struct value *value) {
    return value->encoding == STRING_INT ? int_text_len(value->number) : value->bytes.len;
}
