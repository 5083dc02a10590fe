/* entry.h: one key and its present state, in one allocation.
 *
 *     | stamp 8 | vlen 2 | actor 2 | klen 2 | kind 1 | words 1 |          header, 16 bytes
 *     [ expiry ms 8 ][ history word 8 ][ long key's length 8 ][ value word 8 ]   as `words` says
 *     key bytes, inline value bytes
 *
 * kind: type in the low nibble, encoding in the high one. The history word is the position of the
 * key's newest history record. The value word is an integer, or a pointer to a blob.
 *
 * What may change after an entry was published (STORE.md 6, R4): `stamp`, `actor` and the history
 * word, under the lock and read under the lock only; an integer's value word, by an atomic store.
 * Everything else is immutable: a new state is a new entry, swapped in.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "store/blob.h"
#include "store/value.h"

enum entry_word {
    ENTRY_EXPIRE = 1,
    ENTRY_HISTORY = 2,
    ENTRY_LONG_KEY = 4,
    ENTRY_VALUE = 8,
    ENTRY_EXCLUDED = 16, /* matches history-exclude: no records */
    ENTRY_PRUNED = 32,   /* had states before its oldest record that are not known any more */
    ENTRY_PURGED = 64,   /* HISTORY PURGE: nothing before its oldest record is known, ever */
    ENTRY_ARMED = 128,   /* a wheel record will fire at or before its expiry */
};

enum {
    ENTRY_LASTING = ENTRY_EXCLUDED | ENTRY_PRUNED | ENTRY_PURGED
}; /* a new state inherits them */
enum { ENTRY_KLEN_LONG = 0xffff };

struct entry {
    uint64_t stamp;
    uint16_t vlen;
    uint16_t actor;
    uint16_t klen;
    uint8_t kind;
    uint8_t words;
    unsigned char data[];
};
static_assert(sizeof(struct entry) == 16);

static inline unsigned entry_type(const struct entry *entry) {
    return entry->kind & 15;
}
static inline unsigned entry_encoding(const struct entry *entry) {
    return entry->kind >> 4;
}
static inline bool entry_is_tombstone(const struct entry *entry) {
    return entry_type(entry) == VALUE_NONE;
}

/* Where a word lies: after the words of lower bits. */
static inline size_t entry_words_size(unsigned words) {
    return (size_t)__builtin_popcount(words & 15) * 8;
}
static inline unsigned char *entry_word_at(const struct entry *entry, unsigned word) {
    return (unsigned char *)(uintptr_t)entry->data + entry_words_size(entry->words & (word - 1));
}
static inline uint64_t entry_load(const struct entry *entry, unsigned word) {
    uint64_t n;
    memcpy(&n, entry_word_at(entry, word), 8);
    return n;
}
static inline void entry_store(struct entry *entry, unsigned word, uint64_t n) {
    memcpy(entry_word_at(entry, word), &n, 8);
}

static inline int64_t entry_expire(const struct entry *entry) {
    if (!(entry->words & ENTRY_EXPIRE)) return 0;
    int64_t at;
    memcpy(&at, entry->data, 8); /* the lowest word */
    return at;
}
static inline uint64_t entry_history(const struct entry *entry) {
    return entry->words & ENTRY_HISTORY ? entry_load(entry, ENTRY_HISTORY) : 0;
}
static inline _Atomic int64_t *entry_number(const struct entry *entry) {
    return (_Atomic int64_t *)(void *)entry_word_at(entry, ENTRY_VALUE);
}
/* Of a BLOB or BUFFER. */
static inline struct blob *entry_blob_word(const struct entry *entry) {
    return (struct blob *)(uintptr_t)entry_load(entry, ENTRY_VALUE);
}
static inline struct blob *entry_blob(const struct entry *entry) {
    unsigned encoding = entry_encoding(entry);
    bool has = encoding == STRING_BLOB || encoding == STRING_BUFFER;
    return has ? entry_blob_word(entry) : NULL;
}

static inline size_t entry_key_len(const struct entry *entry) {
    if (LIKELY(entry->klen != ENTRY_KLEN_LONG)) return entry->klen;
    return (size_t)entry_load(entry, ENTRY_LONG_KEY);
}
static inline struct bytes entry_name(const struct entry *entry) {
    return (struct bytes){ (const char *)entry->data + entry_words_size(entry->words),
                           entry_key_len(entry) };
}
static inline struct bytes entry_inline(const struct entry *entry) {
    struct bytes name = entry_name(entry);
    return (struct bytes){ name.data + name.len, entry->vlen };
}
static inline size_t entry_size(const struct entry *entry) {
    return sizeof *entry + entry_words_size(entry->words) + entry_key_len(entry) + entry->vlen;
}
static inline size_t entry_memory(const struct entry *entry) {
    return mem_class(entry_size(entry));
}
static inline bool entry_is(const struct entry *entry, struct bytes name) {
    if (LIKELY(name.len < ENTRY_KLEN_LONG))
        return entry->klen == name.len &&
               bytes_same(entry->data + entry_words_size(entry->words), name.data, name.len);
    return bytes_equal(entry_name(entry), name);
}
