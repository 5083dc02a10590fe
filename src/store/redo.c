#include "store/redo.h"

#include "base/varint.h"
#include "store/shard.h"

enum {
    REDO_KEEP = 64 * 1024, /* a shard's buffer that has grown over this goes back after a take */
    RECORD_FIXED = 4,      /* operation, database, actor */
    RECORD_HEAD_MAX = RECORD_FIXED + 2 * VARINT_MAX,
    RECORD_ARGS_MAX = 4 * VARINT_MAX + 2,
};

/* --- recording --- */

static char *room(struct redo *redo, size_t more) {
    if (UNLIKELY(redo->cap - redo->len < more)) {
        size_t cap = redo->cap ? redo->cap : 1024;
        while (cap - redo->len < more) cap *= 2;
        redo->data = mem_resize(redo->data, redo->cap, cap);
        redo->cap = cap;
    }
    return redo->data + redo->len;
}

static char *put_bytes(char *at, struct bytes bytes) {
    at = varint_put(at, bytes.len);
    bytes_move(at, bytes.data, bytes.len);
    return at + bytes.len;
}

static char *put_set(char *at, const struct effect *effect) {
    *at++ = (char)(effect->type | effect->encoding << 4);
    at = varint_put(at, varint_fold(effect->expire_at_ms));
    if (effect->encoding == STRING_INT) return varint_put(at, varint_fold(effect->number));
    return put_bytes(at, effect->blob ? blob_bytes(effect->blob) : effect->bytes);
}

static char *put_args(char *at, const struct effect *effect) {
    switch ((enum effect_kind)effect->kind) {
    case EFFECT_SET: return put_set(at, effect);
    case EFFECT_EXPIRE: return varint_put(at, varint_fold(effect->expire_at_ms));
    case EFFECT_SPLICE:
        at = varint_put(at, effect->offset);
        at = varint_put(at, effect->length);
        return put_bytes(at, effect->bytes);
    case EFFECT_UNFLUSH:
    case EFFECT_PIN: return varint_put(at, effect->offset);
    case EFFECT_SWAP: *at++ = (char)effect->other_db; return at;
    case EFFECT_DELETE:
    case EFFECT_FLUSH:
    case EFFECT_PURGE:
    case EFFECT_UNPIN: break;
    }
    return at;
}

void redo_put(struct shard *shard, const struct txn *txn, uint32_t db, struct bytes name,
              const struct effect *effect) {
    struct redo *redo = &shard->redo;
    if (!redo->on) return;
    size_t content = effect->blob ? effect->blob->len : effect->bytes.len;
    char *start = room(redo, RECORD_HEAD_MAX + name.len + RECORD_ARGS_MAX + content), *at = start;
    assert(txn->stamp >= redo->stamp);
    *at++ = (char)effect->kind;
    *at++ = (char)db;
    *at++ = (char)txn->actor;
    *at++ = (char)(txn->actor >> 8);
    at = varint_put(at, txn->stamp - redo->stamp);
    at = put_bytes(at, name);
    at = put_args(at, effect);
    redo->len += (size_t)(at - start);
    redo->records++;
    redo->stamp = txn->stamp;
}

struct redo_mark redo_mark(const struct shard *shard) {
    return (struct redo_mark){ shard->redo.stamp, shard->redo.len, shard->redo.records };
}

void redo_rewind(struct shard *shard, struct redo_mark mark) {
    shard->redo.stamp = mark.stamp;
    shard->redo.len = mark.len;
    shard->redo.records = mark.records;
}

static void redo_forget(struct redo *redo) {
    if (redo->cap > REDO_KEEP || !redo->on) {
        mem_free(redo->data, redo->cap);
        redo->data = NULL;
        redo->cap = 0;
    }
    redo->len = 0;
    redo->records = 0;
    redo->stamp = 0;
}

void redo_deinit(struct shard *shard) {
    shard->redo.on = false;
    redo_forget(&shard->redo);
}

void store_redo_switch(struct store *store, bool on) {
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        lock_take(&shard->lock);
        shard->redo.on = on;
        redo_forget(&shard->redo);
        lock_release(&shard->lock);
    }
}

/* --- taking --- */

void redo_batch_init(struct redo_batch *batch) {
    *batch = (struct redo_batch){ 0 };
    buffer_init(&batch->bytes, SIZE_MAX / 2);
}

void redo_batch_deinit(struct redo_batch *batch) {
    buffer_deinit(&batch->bytes);
}

static void put_u16(char *at, uint32_t n) {
    at[0] = (char)n;
    at[1] = (char)(n >> 8);
}
static void put_u32(char *at, uint32_t n) {
    put_u16(at, n & 0xffff);
    put_u16(at + 2, n >> 16);
}
static uint32_t get_u16(const char *at) {
    return (uint32_t)(unsigned char)at[0] | (uint32_t)(unsigned char)at[1] << 8;
}
static uint32_t get_u32(const char *at) {
    return get_u16(at) | get_u16(at + 2) << 16;
}

static void put_header(char *at, uint32_t shard, uint32_t records, size_t size) {
    put_u16(at, shard);
    put_u16(at + 2, 0);
    put_u32(at + 4, records);
    put_u32(at + 8, (uint32_t)size);
    put_u32(at + 12, (uint32_t)((uint64_t)size >> 32));
}

static void put_block(struct redo_batch *batch, uint32_t shard, uint32_t records,
                      struct bytes bytes) {
    char *at = buffer_reserve(&batch->bytes, REDO_BLOCK_HEADER + bytes.len);
    assert(at);
    put_header(at, shard, records, bytes.len);
    memcpy(at + REDO_BLOCK_HEADER, bytes.data, bytes.len);
    batch->bytes.len += REDO_BLOCK_HEADER + bytes.len;
    batch->blocks++;
}

/* Puts the records up to the cut into the batch; what is later stays, its first record with its whole stamp
 * instead of a difference. */
static void split_shard(struct shard *shard, struct redo_batch *batch) {
    struct redo *redo = &shard->redo;
    struct bytes rest = { redo->data, redo->len };
    struct redo_record record = { .stamp = 0 };
    const char *at = rest.data;
    uint32_t before = 0;
    for (;; before++) {
        at = rest.data;
        enum status status = redo_next(&rest, record.stamp, &record, NULL);
        assert(status == OK); /* we wrote it, and there is a later one than the cut */
        if (record.stamp > batch->cut) break;
    }
    size_t taken = (size_t)(at - redo->data);
    if (before) put_block(batch, shard->number, before, (struct bytes){ redo->data, taken });
    struct bytes after = { at + RECORD_FIXED, redo->len - taken - RECORD_FIXED };
    uint64_t delta;
    bool read = varint_take(&after, &delta);
    assert(read);
    size_t cap = RECORD_FIXED + VARINT_MAX + after.len;
    char *data = mem_new(cap), *to = data + RECORD_FIXED;
    memcpy(data, at, RECORD_FIXED);
    to = varint_put(to, record.stamp);
    memcpy(to, after.data, after.len);
    mem_free(redo->data, redo->cap);
    redo->data = data;
    redo->cap = cap;
    redo->len = (size_t)(to - data) + after.len;
    redo->records -= before;
    raise(&batch->left, redo->stamp);
}

/* One shard's records up to the cut; its lock is held for a copy of what is mostly some hundred bytes. */
static void take_shard(struct shard *shard, struct redo_batch *batch) {
    struct redo *redo = &shard->redo;
    if (redo->records == 0) return;
    if (UNLIKELY(redo->stamp > batch->cut)) {
        split_shard(shard, batch);
        return;
    }
    put_block(batch, shard->number, redo->records, (struct bytes){ redo->data, redo->len });
    redo_forget(redo);
}

struct actors_writer {
    struct redo_batch *batch;
    size_t start;
    uint32_t rows;
};

static void write_actor(void *self, const struct actor_row *row) {
    struct actors_writer *writer = self;
    struct buffer *bytes = &writer->batch->bytes;
    if (writer->rows == 0) {
        writer->start = bytes->len;
        bytes->len += buffer_reserve(bytes, REDO_BLOCK_HEADER) ? REDO_BLOCK_HEADER : 0;
    }
    char *start = buffer_reserve(bytes, 4 * VARINT_MAX + row->op.len + row->client.len);
    char *at = varint_put(start, row->n);
    at = varint_put(at, row->since);
    at = put_bytes(at, row->op);
    at = put_bytes(at, row->client);
    bytes->len += (size_t)(at - start);
    writer->rows++;
}

/* Whoever wrote what is in this batch was met before it was taken. */
static void take_actors(struct store *store, struct redo_batch *batch) {
    if (store_actors_interned(store) == batch->actors) return;
    struct actors_writer writer = { .batch = batch };
    batch->actors = actors_visit(store, batch->actors, write_actor, &writer);
    if (writer.rows == 0) return;
    put_header(batch->bytes.data + writer.start, REDO_ACTORS, writer.rows,
               batch->bytes.len - writer.start - REDO_BLOCK_HEADER);
    batch->blocks++;
}

void redo_take(struct store *store, uint64_t at_least, struct redo_batch *batch) {
    buffer_clear(&batch->bytes);
    buffer_shrink(&batch->bytes, (size_t)REDO_KEEP * 64);
    batch->blocks = 0;
    batch->left = 0;
    uint64_t cut = store_clock(store);
    raise(&cut, at_least);
    batch->cut = cut;
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        lock_take(&shard->lock);
        take_shard(shard, batch);
        shard_last_raise(shard, cut);
        lock_release(&shard->lock);
    }
    if (batch->blocks) take_actors(store, batch);
}

/* --- reading back --- */

static enum status bad(struct problem *why, const char *what) {
    return problem_set(why, CORRUPT, 0, "a log record %s", what);
}

enum status redo_next_block(struct bytes *rest, struct redo_block *out, struct problem *why) {
    if (rest->len == 0) return NOT_FOUND;
    if (rest->len < REDO_BLOCK_HEADER)
        return problem_set(why, CORRUPT, 0, "a log block's header is cut short");
    uint64_t size = get_u32(rest->data + 8) | (uint64_t)get_u32(rest->data + 12) << 32;
    if (size > rest->len - REDO_BLOCK_HEADER)
        return problem_set(why, CORRUPT, 0, "a log block ends after its frame does");
    *out = (struct redo_block){ .shard = (uint16_t)get_u16(rest->data),
                                .records = get_u32(rest->data + 4),
                                .bytes = { rest->data + REDO_BLOCK_HEADER, (size_t)size } };
    rest->data += REDO_BLOCK_HEADER + size;
    rest->len -= REDO_BLOCK_HEADER + size;
    return OK;
}

static enum status read_set(struct bytes *at, struct redo_record *out, struct problem *why) {
    if (at->len == 0) return bad(why, "is cut short");
    unsigned char form = (unsigned char)*at->data;
    at->data++;
    at->len--;
    out->type = form & 15;
    out->encoding = form >> 4;
    if (out->type != VALUE_STRING)
        return problem_set(
            why, UNSUPPORTED, 0,
            "a log record holds a value of type %u, which this version does not know", out->type);
    if (out->encoding > STRING_EDITED) return bad(why, "has an unknown encoding");
    if (!varint_take_signed(at, &out->expire_at_ms)) return bad(why, "is cut short");
    bool whole = out->encoding == STRING_INT ? varint_take_signed(at, &out->number)
                                             : varint_take_bytes(at, &out->bytes);
    if (!whole) return bad(why, "is cut short");
    bool in_entry = out->encoding == STRING_INLINE || out->encoding == STRING_EDITED;
    if (in_entry && out->bytes.len > STRING_INLINE_MAX)
        return bad(why, "is too long for its encoding");
    return OK;
}

static enum status read_splice(struct bytes *at, struct redo_record *out, struct problem *why) {
    if (!varint_take(at, &out->offset) || !varint_take(at, &out->length) ||
        !varint_take_bytes(at, &out->bytes))
        return bad(why, "is cut short");
    if (out->length > STRING_SIZE_MAX || out->offset > out->length ||
        out->bytes.len > out->length - out->offset)
        return bad(why, "changes what lies outside of its string");
    return OK;
}

static enum status read_args(struct bytes *at, struct redo_record *out, struct problem *why) {
    switch ((enum effect_kind)out->op) {
    case EFFECT_SET: return read_set(at, out, why);
    case EFFECT_EXPIRE:
        return varint_take_signed(at, &out->expire_at_ms) ? OK : bad(why, "is cut short");
    case EFFECT_SPLICE: return read_splice(at, out, why);
    case EFFECT_UNFLUSH:
    case EFFECT_PIN: return varint_take(at, &out->at) ? OK : bad(why, "is cut short");
    case EFFECT_SWAP:
        if (at->len == 0) return bad(why, "is cut short");
        out->other_db = (uint8_t)*at->data;
        at->data++;
        at->len--;
        return OK;
    case EFFECT_DELETE:
    case EFFECT_FLUSH:
    case EFFECT_PURGE:
    case EFFECT_UNPIN: return OK;
    }
    return problem_set(why, UNSUPPORTED, 0,
                       "a log record is of kind %u, which this version does not know", out->op);
}

enum status redo_next(struct bytes *rest, uint64_t stamp, struct redo_record *out,
                      struct problem *why) {
    if (rest->len == 0) return NOT_FOUND;
    if (rest->len < 4) return bad(why, "is cut short");
    struct bytes at = { rest->data + 4, rest->len - 4 };
    struct redo_record record = { .op = (uint8_t)rest->data[0],
                                  .db = (uint8_t)rest->data[1],
                                  .actor = (uint16_t)get_u16(rest->data + 2) };
    uint64_t delta;
    if (!varint_take(&at, &delta) || !varint_take_bytes(&at, &record.key))
        return bad(why, "is cut short");
    if (__builtin_add_overflow(stamp, delta, &record.stamp) || record.stamp == 0)
        return bad(why, "has an impossible time");
    bool pin = record.op == EFFECT_PIN || record.op == EFFECT_UNPIN;
    if (record.key.len > (pin ? PIN_NAME_MAX : KEY_SIZE_MAX)) return bad(why, "has too long a key");
    enum status status = read_args(&at, &record, why);
    if (status != OK) return status;
    *rest = at;
    *out = record;
    return OK;
}

bool redo_take_actor(struct bytes *rest, struct actor_row *out) {
    return varint_take(rest, &out->n) && varint_take(rest, &out->since) &&
           varint_take_bytes(rest, &out->op) && varint_take_bytes(rest, &out->client) &&
           out->op.len <= ACTOR_TEXT_MAX && out->client.len <= ACTOR_TEXT_MAX;
}
