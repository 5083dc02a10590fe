/* rdb_write.c: keys as Redis writes them: version 11 for files, 10 for DUMP.
 *
 * For strings, which is all there is yet, the two versions are the same bytes. */
#include <liblzf/lzf.h>

#include "base/assert.h"
#include "log/rdb.h"

enum {
    LENGTH_MAX = 9,         /* bytes of a length */
    PACK_MIN = 21,          /* Redis compresses strings over 20 bytes, */
    PACK_GAIN = 4,          /* when that saves so many */
    INT_TEXT_TRIED_MAX = 11 /* "-2147483648": longer ones have no encoding as an integer */
};

static void put_byte(struct buffer *out, unsigned byte) {
    char c = (char)byte;
    buffer_put(out, (struct bytes){ &c, 1 });
}

/* The low `count` bytes of `n`, lowest first. */
static void put_little(struct buffer *out, uint64_t n, size_t count) {
    char text[8];
    for (size_t i = 0; i < count; i++) text[i] = (char)(n >> (8 * i));
    buffer_put(out, (struct bytes){ text, count });
}

/* Writes it to `at`, highest byte first; returns how many bytes that were. */
static size_t length_format(char *at, uint64_t n) {
    size_t bytes = 0;
    if (n < 1 << 6) {
        *at = (char)n;
        return 1;
    }
    if (n < 1 << 14) {
        *at++ = (char)(n >> 8 | 1 << 6);
        *at = (char)n;
        return 2;
    }
    bytes = n <= UINT32_MAX ? 4 : 8;
    *at++ = (char)(bytes == 4 ? 0x80 : 0x81);
    for (size_t i = 0; i < bytes; i++) at[i] = (char)(n >> (8 * (bytes - 1 - i)));
    return 1 + bytes;
}

static void put_length(struct buffer *out, uint64_t n) {
    char text[LENGTH_MAX];
    size_t len = length_format(text, n);
    buffer_put(out, (struct bytes){ text, len });
}

static void put_encoding(struct buffer *out, enum rdb_encoding encoding) {
    put_byte(out, 0xc0 | (unsigned)encoding);
}

static bool put_integer(struct buffer *out, struct bytes text) {
    int64_t n;
    if (text.len > INT_TEXT_TRIED_MAX || !int_parse(text, &n)) return false;
    if (n < INT32_MIN || n > INT32_MAX) return false;
    enum rdb_encoding encoding = n == (int8_t)n    ? RDB_INT8
                                 : n == (int16_t)n ? RDB_INT16
                                                   : RDB_INT32;
    put_encoding(out, encoding);
    put_little(out, (uint64_t)n, (size_t)1 << encoding);
    return true;
}

/* Compresses into the place where it will stand, behind room for the longest head, and moves it
 * up. */
static bool put_packed(struct buffer *out, struct bytes text) {
    enum { HEAD_MAX = 1 + 2 * LENGTH_MAX };
    size_t room = text.len - PACK_GAIN;
    char *at = buffer_reserve(out, HEAD_MAX + room);
    if (!at) return false;
    size_t packed = lzf_compress(text.data, (unsigned)text.len, at + HEAD_MAX, (unsigned)room);
    if (packed == 0) return false;
    put_encoding(out, RDB_LZF);
    put_length(out, packed);
    put_length(out, text.len);
    memmove(out->data + out->len, at + HEAD_MAX, packed);
    out->len += packed;
    return true;
}

static void put_text(struct buffer *out, struct bytes text, bool compress) {
    if (put_integer(out, text)) return;
    if (compress && text.len >= PACK_MIN && put_packed(out, text)) return;
    put_length(out, text.len);
    buffer_put(out, text);
}

static enum status put_string(struct buffer *out, const struct value *value, bool compress,
                              struct problem *why) {
    char scratch[INT_TEXT_MAX];
    struct bytes text = value_text(value, scratch);
    if (text.len > RDB_STRING_MAX)
        return problem_set(why, LIMIT, 0, "a string has %zu bytes, and RDB takes %d", text.len,
                           RDB_STRING_MAX);
    put_text(out, text, compress);
    return OK;
}

/* A row for each type that can be written. */
static const struct {
    enum rdb_type number;
    enum status (*put)(struct buffer *out, const struct value *value, bool compress,
                       struct problem *why);
} types[] = {
    [VALUE_STRING] = { RDB_TYPE_STRING, put_string },
};

static bool can_write(const struct value *value) {
    return value->type < COUNT_OF(types) && types[value->type].put;
}

static enum status refuse(const struct value *value, struct problem *why) {
    return problem_set(why, UNSUPPORTED, 0, "a value of type %u cannot be written as RDB yet",
                       value->type);
}

static enum status memory_of(const struct buffer *out, struct problem *why) {
    if (!out->overflow) return OK;
    return problem_set(why, NO_MEMORY, 0, "no memory for a value's RDB form");
}

/* --- files --- */

static void put_aux(struct rdb_writer *writer, const char *name, struct bytes text) {
    put_byte(writer->out, RDB_AUX);
    put_text(writer->out, bytes_of(name), writer->compress);
    put_text(writer->out, text, writer->compress);
}

static void put_aux_int(struct rdb_writer *writer, const char *name, int64_t n) {
    char text[INT_TEXT_MAX];
    put_aux(writer, name, (struct bytes){ text, int_format(text, n) });
}

void rdb_write_begin(struct rdb_writer *writer, struct buffer *out, bool compress, int64_t now_s) {
    *writer = (struct rdb_writer){ .out = out, .counted = out->len, .compress = compress };
    buffer_format(out, "REDIS%04d", RDB_WRITE_VERSION);
    put_aux(writer, "redis-ver", BYTES("7.2.0")); /* whose format it is: tools ask */
    put_aux(writer, "pulsedb-ver", BYTES(PULSE_VERSION));
    put_aux_int(writer, "redis-bits", 64);
    put_aux_int(writer, "ctime", now_s);
}

void rdb_write_database(struct rdb_writer *writer, uint32_t db, uint64_t keys, uint64_t expires) {
    assert(!writer->any || db > writer->db);
    writer->any = true;
    writer->db = db;
    put_byte(writer->out, RDB_SELECTDB);
    put_length(writer->out, db);
    put_byte(writer->out, RDB_RESIZEDB);
    put_length(writer->out, keys);
    put_length(writer->out, expires);
}

enum status rdb_write_key(struct rdb_writer *writer, const struct rdb_key *key,
                          struct problem *why) {
    assert(writer->any);
    assert(key->db == writer->db);
    if (!can_write(&key->value)) return refuse(&key->value, why);
    if (key->value.expire_at_ms) {
        put_byte(writer->out, RDB_EXPIRETIME_MS);
        put_little(writer->out, (uint64_t)key->value.expire_at_ms, 8);
    }
    put_byte(writer->out, types[key->value.type].number);
    put_text(writer->out, key->name, writer->compress);
    enum status status =
        types[key->value.type].put(writer->out, &key->value, writer->compress, why);
    return status == OK ? memory_of(writer->out, why) : status;
}

void rdb_write_counted(struct rdb_writer *writer) {
    const struct buffer *out = writer->out;
    writer->crc = crc64(writer->crc, out->data + writer->counted, out->len - writer->counted);
    writer->counted = 0;
}

void rdb_write_end(struct rdb_writer *writer) {
    put_byte(writer->out, RDB_EOF);
    rdb_write_counted(writer);
    put_little(writer->out, writer->crc, 8);
}

/* --- DUMP --- */

enum status rdb_dump(const struct value *value, struct buffer *out, struct problem *why) {
    size_t start = out->len;
    if (!can_write(value)) return refuse(value, why);
    put_byte(out, types[value->type].number);
    enum status status = types[value->type].put(out, value, true, why);
    if (status != OK) return status;
    put_little(out, RDB_DUMP_VERSION, 2);
    if (out->overflow) return memory_of(out, why);
    put_little(out, crc64(0, out->data + start, out->len - start), 8);
    return memory_of(out, why);
}
