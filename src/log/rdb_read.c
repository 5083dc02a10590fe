/* rdb_read.c: what Redis and Valkey wrote, as keys.
 *
 * A type that can be held has a function in its row of the table; one that cannot yet has its name,
 * for the refusal. Numbers from 22 on mean one thing in Redis and another in Valkey, so the magic
 * decides, and in a payload of DUMP, which has none, the version.
 *
 * Bytes come one run after another and are never asked for twice. A length that the file states
 * costs no memory: a run is taken in pieces, and room for the next is made when the last has
 * come. */
#include <liblzf/lzf.h>
#include <stdio.h>

#include "base/limits.h"
#include "log/rdb.h"

enum {
    CHECKSUM_SINCE = 5,     /* files of this version and later end in one */
    PIECE_MIN = 64 * 1024,  /* bytes of a long run taken at once, at first */
    KEPT_MAX = 1024 * 1024, /* memory kept from key to key */
    UNPACKED_MOST = 88,     /* LZF: three bytes become 264 at most */
    SHOWN_MAX = 64,         /* bytes of a key's name in a message */
    FOOTER_LEN = 10,        /* of DUMP: version 2, checksum 8 */
    MODULE_NAME_LEN = 9,
};

struct reader {
    struct rdb_source source;
    struct bytes
        *lent; /* DUMP: what is left of the payload, from which strings are borrowed; or NULL */
    struct problem *why;
    uint64_t offset, crc;
    struct buffer packed; /* the compressed form of a string */
    struct rdb_report report;
};

/* --- bytes --- */

static enum status corrupt(const struct reader *reader, const char *what) {
    problem_set(reader->why, CORRUPT, 0, "%s, at offset %llu", what,
                (unsigned long long)reader->offset);
    if (reader->why) reader->why->offset = reader->offset;
    return CORRUPT;
}

static enum status take(struct reader *reader, void *out, size_t len) {
    enum status status = reader->source.read(reader->source.self, out, len, reader->why);
    if (status == NEED_MORE) return corrupt(reader, "the data ends too early");
    if (status != OK) return status;
    reader->crc = crc64(reader->crc, out, len);
    reader->offset += len;
    return OK;
}

static enum status take_byte(struct reader *reader, uint8_t *out) {
    return take(reader, out, 1);
}

/* Lowest byte first. */
static enum status take_little(struct reader *reader, size_t count, uint64_t *out) {
    unsigned char bytes[8];
    enum status status = take(reader, bytes, count);
    if (status != OK) return status;
    *out = 0;
    for (size_t i = 0; i < count; i++) *out |= (uint64_t)bytes[i] << (8 * i);
    return OK;
}

/* `len` bytes, into `into` or lent. */
static enum status take_run(struct reader *reader, size_t len, struct buffer *into,
                            struct bytes *out) {
    if (reader->lent) {
        if (reader->lent->len < len) return corrupt(reader, "the data ends too early");
        *out = (struct bytes){ reader->lent->data, len };
        reader->lent->data += len;
        reader->lent->len -= len;
        reader->offset += len;
        return OK;
    }
    buffer_clear(into);
    while (into->len < len) {
        size_t piece = into->len > PIECE_MIN ? into->len : PIECE_MIN;
        if (piece > len - into->len) piece = len - into->len;
        char *at = buffer_reserve(into, piece);
        if (!at) return problem_set(reader->why, NO_MEMORY, 0, "no memory for %zu bytes", len);
        enum status status = take(reader, at, piece);
        if (status != OK) return status;
        into->len += piece;
    }
    *out = len ? buffer_bytes(into) : BYTES("");
    return OK;
}

static enum status pass_run(struct reader *reader, uint64_t len) {
    char piece[4096];
    while (len > 0) {
        size_t n = len < sizeof piece ? (size_t)len : sizeof piece;
        enum status status = take(reader, piece, n);
        if (status != OK) return status;
        len -= n;
    }
    return OK;
}

/* --- lengths --- */

/* A length, or (`*encoding` not -1) how the string that stands here is encoded instead. */
static enum status take_length(struct reader *reader, uint64_t *length, int *encoding) {
    unsigned char bytes[8];
    uint8_t first;
    enum status status = take_byte(reader, &first);
    if (status != OK) return status;
    *encoding = -1;
    *length = first & 0x3f;
    size_t more = 0;
    switch (first >> 6) {
    case 0: return OK;
    case 1: more = 1; break;
    case 2:
        if (first != 0x80 && first != 0x81) return corrupt(reader, "this is no length");
        more = first == 0x80 ? 4 : 8;
        *length = 0;
        break;
    default: *encoding = first & 0x3f; return OK;
    }
    status = take(reader, bytes, more);
    for (size_t i = 0; status == OK && i < more; i++) *length = *length << 8 | bytes[i];
    return status;
}

static enum status take_count(struct reader *reader, uint64_t *count) {
    int encoding;
    enum status status = take_length(reader, count, &encoding);
    if (status == OK && encoding >= 0) return corrupt(reader, "a number is missing");
    return status;
}

static enum status take_counts(struct reader *reader, unsigned how_many) {
    enum status status = OK;
    uint64_t count;
    while (status == OK && how_many-- > 0) status = take_count(reader, &count);
    return status;
}

/* --- strings --- */

static enum status take_integer(struct reader *reader, int encoding, struct buffer *into,
                                struct bytes *out) {
    uint64_t raw;
    enum status status = take_little(reader, (size_t)1 << encoding, &raw);
    if (status != OK) return status;
    int64_t n = encoding == RDB_INT8    ? (int8_t)raw
                : encoding == RDB_INT16 ? (int16_t)raw
                                        : (int32_t)raw;
    buffer_clear(into);
    char *at = buffer_reserve(into, INT_TEXT_MAX);
    if (!at) return problem_set(reader->why, NO_MEMORY, 0, "no memory for a number");
    into->len = int_format(at, n);
    *out = buffer_bytes(into);
    return OK;
}

static enum status take_packed(struct reader *reader, size_t max, struct buffer *into,
                               struct bytes *out) {
    uint64_t packed_len, len;
    enum status status = take_count(reader, &packed_len);
    if (status == OK) status = take_count(reader, &len);
    if (status != OK) return status;
    if (packed_len == 0 || packed_len > max || len == 0 || len > max ||
        len > packed_len * UNPACKED_MOST)
        return corrupt(reader, "a compressed string's lengths cannot be");
    struct bytes packed;
    status = take_run(reader, (size_t)packed_len, &reader->packed, &packed);
    if (status != OK) return status;
    buffer_clear(into);
    char *at = buffer_reserve(into, (size_t)len);
    if (!at)
        return problem_set(reader->why, NO_MEMORY, 0, "no memory for %llu bytes",
                           (unsigned long long)len);
    if (lzf_decompress(packed.data, (unsigned)packed.len, at, (unsigned)len) != len)
        return corrupt(reader, "a compressed string is damaged");
    into->len = (size_t)len;
    *out = buffer_bytes(into);
    return OK;
}

/* A string of at most `max` bytes: in `into`, or lent. */
static enum status take_text(struct reader *reader, size_t max, struct buffer *into,
                             struct bytes *out) {
    uint64_t len;
    int encoding;
    enum status status = take_length(reader, &len, &encoding);
    if (status != OK) return status;
    if (encoding == RDB_LZF) return take_packed(reader, max, into, out);
    if (encoding > RDB_LZF) return corrupt(reader, "a string's encoding is unknown");
    if (encoding >= 0) return take_integer(reader, encoding, into, out);
    if (len > max) return corrupt(reader, "a string is longer than any may be");
    return take_run(reader, (size_t)len, into, out);
}

static enum status pass_text(struct reader *reader) {
    uint64_t len;
    int encoding;
    enum status status = take_length(reader, &len, &encoding);
    if (status != OK) return status;
    if (encoding > RDB_LZF) return corrupt(reader, "a string's encoding is unknown");
    if (encoding == RDB_LZF) {
        status = take_count(reader, &len);
        if (status == OK) status = take_counts(reader, 1);
    } else if (encoding >= 0) {
        len = (uint64_t)1 << encoding;
    }
    return status == OK ? pass_run(reader, len) : status;
}

/* --- values --- */

static enum status read_string(struct reader *reader, struct buffer *into, struct value *out) {
    struct bytes text;
    enum status status = take_text(reader, RDB_STRING_MAX, into, &text);
    if (status != OK) return status;
    *out = (struct value){ .type = VALUE_STRING, .encoding = STRING_INLINE };
    if (int_parse(text, &out->number))
        out->encoding = STRING_INT;
    else
        out->bytes = text;
    return OK;
}

enum dialect { REDIS = 1, VALKEY = 2, BOTH = 3 };

static const struct type {
    uint8_t number;
    uint8_t dialect;
    const char *name;
    enum status (*read)(struct reader *reader, struct buffer *into, struct value *out);
} types[] = {
    { RDB_TYPE_STRING, BOTH, "a string", read_string },
    { 1, BOTH, "a list", NULL },
    { 2, BOTH, "a set", NULL },
    { 3, BOTH, "a sorted set", NULL },
    { 4, BOTH, "a hash", NULL },
    { 5, BOTH, "a sorted set", NULL },
    { 6, BOTH, "a module's value", NULL },
    { RDB_TYPE_MODULE, BOTH, "a module's value", NULL },
    { 9, BOTH, "a hash", NULL },                     /* zipmap */
    { 10, BOTH, "a list", NULL },                    /* ziplist */
    { 11, BOTH, "a set", NULL },                     /* intset */
    { 12, BOTH, "a sorted set", NULL },              /* ziplist */
    { 13, BOTH, "a hash", NULL },                    /* ziplist */
    { 14, BOTH, "a list", NULL },                    /* quicklist of ziplists */
    { 15, BOTH, "a stream", NULL },                  /* 5.0 */
    { 16, BOTH, "a hash", NULL },                    /* listpack */
    { 17, BOTH, "a sorted set", NULL },              /* listpack */
    { 18, BOTH, "a list", NULL },                    /* quicklist of listpacks */
    { 19, BOTH, "a stream", NULL },                  /* 7.0 */
    { 20, BOTH, "a set", NULL },                     /* listpack */
    { 21, BOTH, "a stream", NULL },                  /* 7.2 */
    { 22, REDIS, "a hash whose fields end", NULL },  /* of a release candidate of 7.4 */
    { 22, VALKEY, "a hash whose fields end", NULL }, /* 9.0; other bytes than Redis' */
    { 23, REDIS, "a hash whose fields end", NULL },  /* listpack, of a release candidate of 7.4 */
    { 24, REDIS, "a hash whose fields end", NULL },
    { 25, REDIS, "a hash whose fields end", NULL }, /* listpack */
};

static const struct type *type_of(uint8_t number, bool valkey) {
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (types[i].number == number && types[i].dialect & (valkey ? VALKEY : REDIS))
            return &types[i];
    return NULL;
}

/* A module's values begin with its name: nine characters of six bits, then ten bits of version. */
static void module_name(struct reader *reader, char *out) {
    static const char signs[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct problem ignored, *why = reader->why;
    uint64_t id;
    *out = '\0';
    reader->why = &ignored;
    if (take_count(reader, &id) == OK)
        for (int i = 0; i < MODULE_NAME_LEN; i++) out[i] = signs[id >> (64 - 6 * (i + 1)) & 63];
    reader->why = why;
}

/* As much of a name as a message takes, and only what can be printed. */
static void show(struct bytes name, char out[SHOWN_MAX + 1]) {
    size_t len = name.len < SHOWN_MAX ? name.len : SHOWN_MAX;
    for (size_t i = 0; i < len; i++)
        out[i] = name.data[i] < ' ' || name.data[i] > '~' ? '?' : name.data[i];
    out[len] = '\0';
}

/* `name` NULL: a payload of DUMP. */
static enum status refuse_type(struct reader *reader, const struct type *type,
                               const struct bytes *name) {
    char shown[SHOWN_MAX + 1], key[sizeof shown + sizeof "key ''"] = "the payload";
    char module[MODULE_NAME_LEN + 1] = "";
    if (name) {
        show(*name, shown);
        snprintf(key, sizeof key, "key '%s'", shown);
    }
    if (type->number == RDB_TYPE_MODULE) module_name(reader, module);
    return problem_set(reader->why, UNSUPPORTED, 0,
                       "%s is %s (type %u%s%s), which this version cannot hold yet", key,
                       type->name, type->number, *module ? ", " : "", module);
}

/* --- what stands beside the keys --- */

static enum status pass_module_data(struct reader *reader) {
    enum { END = 0, SIGNED = 1, UNSIGNED = 2, FLOAT = 3, DOUBLE = 4, STRING = 5 };
    enum status status = take_counts(reader, 3); /* whose, and when it is to be read */
    for (uint64_t kind = UNSIGNED; status == OK;) {
        status = take_count(reader, &kind);
        if (status != OK || kind == END) return status;
        switch (kind) {
        case SIGNED:
        case UNSIGNED: status = take_counts(reader, 1); break;
        case FLOAT: status = pass_run(reader, 4); break;
        case DOUBLE: status = pass_run(reader, 8); break;
        case STRING: status = pass_text(reader); break;
        default: return corrupt(reader, "a module's data makes no sense");
        }
    }
    return status;
}

static enum status pass_slot_import(struct reader *reader) {
    uint64_t ranges;
    enum status status = pass_text(reader);
    if (status == OK) status = take_count(reader, &ranges);
    while (status == OK && ranges-- > 0) status = take_counts(reader, 2);
    return status;
}

/* Passes over what `opcode` announces. NOT_FOUND: it is no such opcode. */
static enum status pass_over(struct reader *reader, uint8_t opcode) {
    enum status status;
    switch (opcode) {
    case RDB_AUX: status = pass_text(reader); return status == OK ? pass_text(reader) : status;
    case RDB_RESIZEDB: return take_counts(reader, 2);
    case RDB_SLOT_INFO: return take_counts(reader, 3);
    case RDB_IDLE: return take_counts(reader, 1);
    case RDB_FREQ: return pass_run(reader, 1);
    case RDB_FUNCTION: reader->report.functions++; return pass_text(reader);
    case RDB_MODULE_AUX: reader->report.modules++; return pass_module_data(reader);
    case RDB_SLOT_IMPORT: return reader->report.valkey ? pass_slot_import(reader) : NOT_FOUND;
    case RDB_FUNCTION_PRE_GA:
        return problem_set(reader->why, UNSUPPORTED, 0,
                           "it holds functions as a release candidate of Redis 7.0 wrote them");
    default: return NOT_FOUND;
    }
}

/* --- the whole file --- */

bool rdb_is(struct bytes start) {
    if (start.len > 6) start.len = 6;
    return bytes_equal(start, BYTES("VALKEY")) ||
           (start.len >= 5 && memcmp(start.data, "REDIS", 5) == 0);
}

static enum status read_header(struct reader *reader) {
    char magic[RDB_MAGIC_LEN];
    enum status status = take(reader, magic, sizeof magic);
    if (status != OK) return status;
    bool valkey = memcmp(magic, "VALKEY", 6) == 0;
    if (!valkey && memcmp(magic, "REDIS", 5) != 0)
        return problem_set(reader->why, CORRUPT, 0,
                           "this is no RDB file: it begins neither with "
                           "REDIS nor with VALKEY");
    unsigned version = 0;
    for (size_t i = valkey ? 6 : 5; i < sizeof magic; i++) {
        if (magic[i] < '0' || magic[i] > '9') return corrupt(reader, "the version is no number");
        version = version * 10 + (unsigned)(magic[i] - '0');
    }
    if (valkey ? version != RDB_VALKEY_VERSION : version < 1 || version > RDB_READ_VERSION_MAX)
        return problem_set(reader->why, UNSUPPORTED, 0,
                           "its RDB version is %s's %u; this program reads Redis' 1 to %d and "
                           "Valkey's %d",
                           valkey ? "Valkey" : "Redis", version, RDB_READ_VERSION_MAX,
                           RDB_VALKEY_VERSION);
    reader->report.version = version;
    reader->report.valkey = valkey;
    return OK;
}

static enum status read_checksum(struct reader *reader) {
    uint64_t expected = reader->crc, found;
    if (reader->report.version < CHECKSUM_SINCE) return OK;
    enum status status = take_little(reader, 8, &found);
    if (status != OK) return status;
    if (found != 0 && found != expected)
        return corrupt(reader, "the checksum is another: the data is damaged");
    return OK;
}

struct visitor {
    int64_t now_ms;
    enum status (*visit)(void *self, const struct rdb_key *key, struct problem *why);
    void *self;
    struct rdb_key key;
    int64_t expire_at_ms; /* of the next key; 0: never */
    struct buffer name, value;
};

/* An instant before 1970, which is long over, must not look like "never". */
static int64_t instant(int64_t ms) {
    return ms > 0 ? ms : 1;
}

static enum status read_key(struct reader *reader, struct visitor *visitor, uint8_t number) {
    const struct type *type = type_of(number, reader->report.valkey);
    if (!type) return corrupt(reader, "a type or an opcode is unknown");
    struct rdb_key *key = &visitor->key;
    enum status status = take_text(reader, KEY_SIZE_MAX, &visitor->name, &key->name);
    if (status != OK) return status;
    if (!type->read) return refuse_type(reader, type, &key->name);
    status = type->read(reader, &visitor->value, &key->value);
    if (status != OK) return status;
    key->value.expire_at_ms = visitor->expire_at_ms;
    visitor->expire_at_ms = 0;
    bool over = key->value.expire_at_ms && key->value.expire_at_ms <= visitor->now_ms;
    if (over)
        reader->report.expired++;
    else
        status = visitor->visit(visitor->self, key, reader->why);
    if (!over && status == OK) reader->report.keys++;
    struct buffer *used[] = { &visitor->name, &visitor->value, &reader->packed };
    for (size_t i = 0; i < COUNT_OF(used); i++) {
        buffer_clear(used[i]);
        buffer_shrink(used[i], KEPT_MAX);
    }
    return status;
}

static enum status read_entries(struct reader *reader, struct visitor *visitor) {
    for (;;) {
        uint8_t opcode;
        uint64_t n;
        enum status status = take_byte(reader, &opcode);
        if (status != OK) return status;
        switch (opcode) {
        case RDB_EOF: return read_checksum(reader);
        case RDB_SELECTDB:
            status = take_count(reader, &n);
            if (status == OK && n > INT32_MAX)
                return corrupt(reader, "no database has that number");
            if (status == OK) visitor->key.db = (uint32_t)n;
            break;
        case RDB_EXPIRETIME_MS:
            status = take_little(reader, 8, &n);
            if (status == OK) visitor->expire_at_ms = instant((int64_t)n);
            break;
        case RDB_EXPIRETIME:
            status = take_little(reader, 4, &n);
            if (status == OK) visitor->expire_at_ms = instant((int64_t)(int32_t)n * 1000);
            break;
        default:
            status = pass_over(reader, opcode);
            if (status == NOT_FOUND) status = read_key(reader, visitor, opcode);
            break;
        }
        if (status != OK) return status;
    }
}

enum status rdb_read(struct rdb_source source, int64_t now_ms,
                     enum status (*visit)(void *self, const struct rdb_key *key,
                                          struct problem *why),
                     void *self, struct rdb_report *report, struct problem *why) {
    struct reader reader = { .source = source, .why = why };
    struct visitor visitor = { .now_ms = now_ms, .visit = visit, .self = self };
    buffer_init(&reader.packed, RDB_STRING_MAX);
    buffer_init(&visitor.name, KEY_SIZE_MAX);
    buffer_init(&visitor.value, RDB_STRING_MAX);
    enum status status = read_header(&reader);
    if (status == OK) status = read_entries(&reader, &visitor);
    *report = reader.report;
    buffer_deinit(&reader.packed);
    buffer_deinit(&visitor.name);
    buffer_deinit(&visitor.value);
    return status;
}

/* --- RESTORE --- */

static enum status lend(void *self, void *out, size_t len, struct problem *why) {
    struct bytes *left = self;
    (void)why;
    if (left->len < len) return NEED_MORE;
    if (len) memcpy(out, left->data, len);
    left->data += len;
    left->len -= len;
    return OK;
}

static enum status read_payload(struct reader *reader, struct buffer *scratch, struct value *out) {
    uint8_t number;
    enum status status = take_byte(reader, &number);
    if (status != OK) return status;
    const struct type *type = type_of(number, reader->report.valkey);
    if (!type) return corrupt(reader, "its type is unknown");
    if (!type->read) return refuse_type(reader, type, NULL);
    status = type->read(reader, scratch, out);
    if (status == OK && reader->lent->len > 0) return corrupt(reader, "more follows the value");
    return status;
}

enum status rdb_restore(struct bytes payload, struct buffer *scratch, struct value *out,
                        struct problem *why) {
    bool whole = payload.len >= FOOTER_LEN;
    unsigned char footer[FOOTER_LEN] = { 0 };
    if (whole) memcpy(footer, payload.data + payload.len - FOOTER_LEN, FOOTER_LEN);
    unsigned version = footer[0] | (unsigned)footer[1] << 8;
    uint64_t checksum;
    memcpy(&checksum, footer + 2, 8); /* little-endian, as crc64.c has made sure */
    bool known = version <= RDB_READ_VERSION_MAX || version == RDB_VALKEY_VERSION;
    if (!whole || !known || crc64(0, payload.data, payload.len - 8) != checksum)
        return problem_set(why, INVALID, 0, "DUMP payload version or checksum are wrong");

    struct bytes left = { payload.data, payload.len - FOOTER_LEN };
    struct reader reader = { .source = { lend, &left }, .lent = &left, .why = why };
    reader.report.valkey = version == RDB_VALKEY_VERSION;
    struct value value;
    enum status status = read_payload(&reader, scratch, &value);
    if (status == OK) *out = value;
    return status;
}
