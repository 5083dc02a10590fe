/* rehash.c: see rehash.h.
 *
 *     KEYS of the base  ── as if each had just been SET, at its stamp ──►  replay  ──┐
 *     records of the log ── what the base does not show of their key ──►  replay  ──┴──►  a snapshot
 *
 * Records are given to the replay of the store, in blocks of the new shards; it does with them
 * what it does at a start. A flush stands in every shard's block of the log: it is wanted once
 * in each new one. (A SWAPDB within the fraction of a millisecond in which the snapshot captured
 * its shards is swapped for those as well that had it already.) */
#include "rehash.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/varint.h"
#include "base_file.h"
#include "load.h"
#include "log/journal.h"
#include "log/snapshot.h"
#include "salvage.h"
#include "store/epoch.h"
#include "store/replay.h"
#include "store/store.h"
#include "writers.h"

enum { NEW_SHARDS = 64, HEAD = 4, PINS_SHARD = 0, OF_ALL = UINT16_MAX };

struct item { /* a record, but for its stamp */
    uint64_t stamp, order;
    uint32_t shard; /* the new one; OF_ALL: each */
    char head[HEAD];
    struct bytes tail; /* in the arena */
};

struct items {
    struct arena arena;
    struct item *list;
    size_t count, cap;
};

struct tables { /* of an old shard: which database a table is the present of */
    uint64_t captured;
    uint64_t count;
    uint16_t *db; /* of `count`; UINT16_MAX: none */
};

struct rehashing {
    struct env *env;
    const char *dir;
    struct manifest *manifest;
    struct store *store;
    struct worker *worker;
    struct tables tables[SHARDS_MAX];
    struct items items;
    uint64_t cut;
};

/* --- gathering --- */

static void add(struct rehashing *rehashing, uint64_t stamp, uint32_t shard, const char head[HEAD],
                struct bytes tail) {
    struct items *items = &rehashing->items;
    if (items->count == items->cap) {
        size_t cap = items->cap ? items->cap * 2 : 1024, size = sizeof *items->list;
        items->list = mem_resize(items->list, items->cap * size, cap * size);
        items->cap = cap;
    }
    struct item *item = &items->list[items->count];
    *item = (struct item){ .stamp = stamp, .order = items->count, .shard = shard };
    memcpy(item->head, head, HEAD);
    item->tail = tail;
    items->count++;
}

static void clear(struct items *items) {
    arena_clear(&items->arena);
    items->count = 0;
}

static enum status bad_base(struct problem *why) {
    return problem_set(why, CORRUPT, 0, "the snapshot's sections make no sense");
}

/* The present of each database of a shard. */
static enum status read_shard(struct rehashing *rehashing, uint16_t shard, uint32_t rows,
                              struct bytes rest, struct problem *why) {
    if (shard >= SHARDS_MAX || rehashing->tables[shard].db) return bad_base(why);
    struct tables *tables = &rehashing->tables[shard];
    uint64_t ignored;
    if (!varint_take(&rest, &tables->captured) || !varint_take(&rest, &tables->count) ||
        tables->count > rest.len)
        return bad_base(why);
    tables->db = mem_new((tables->count + 1) * sizeof *tables->db);
    for (uint64_t i = 0; i <= tables->count; i++) tables->db[i] = UINT16_MAX;
    for (uint64_t i = 0; i < tables->count; i++)
        if (!varint_take(&rest, &ignored)) return bad_base(why);
    for (uint32_t row = 0; row < rows; row++) {
        uint64_t db, table, periods;
        if (!varint_take(&rest, &db) || !varint_take(&rest, &ignored) ||
            !varint_take(&rest, &ignored) || !varint_take(&rest, &table) ||
            !varint_take(&rest, &periods) || db >= DATABASES_MAX || table > tables->count ||
            periods > rest.len)
            return bad_base(why);
        if (table) tables->db[table - 1] = (uint16_t)db;
        for (uint64_t i = 0; i < 4 * periods; i++)
            if (!varint_take(&rest, &ignored)) return bad_base(why);
    }
    return OK;
}

/* A row of KEYS as a record SET. */
static enum status read_key(struct rehashing *rehashing, uint64_t captured, uint16_t db,
                            struct bytes *rest, struct problem *why) {
    if (rest->len < 2) return bad_base(why);
    unsigned kind = (unsigned char)rest->data[0], bits = (unsigned char)rest->data[1];
    *rest = (struct bytes){ rest->data + 2, rest->len - 2 };
    uint64_t actor, position;
    int64_t distance, expire_at_ms = 0, number;
    struct bytes name, value;
    if (!varint_take(rest, &actor) || !varint_take_signed(rest, &distance) || actor > UINT16_MAX)
        return bad_base(why);
    if ((bits & IMAGE_KEY_EXPIRE) && !varint_take_signed(rest, &expire_at_ms)) return bad_base(why);
    if ((bits & IMAGE_KEY_HISTORY) && !varint_take(rest, &position)) return bad_base(why);
    const char *start = rest->data;
    if (!varint_take_bytes(rest, &name) || name.len > KEY_SIZE_MAX) return bad_base(why);
    struct bytes key = { start, (size_t)(rest->data - start) };
    if ((kind & 15) == VALUE_NONE) return OK; /* it was deleted before */
    start = rest->data;
    if (kind >> 4 == STRING_INT ? !varint_take_signed(rest, &number)
                                : !varint_take_bytes(rest, &value))
        return bad_base(why);
    struct bytes content = { start, (size_t)(rest->data - start) };
    if (db == UINT16_MAX) return OK; /* it was flushed */
    struct arena *arena = &rehashing->items.arena;
    char *tail = arena_new(arena, key.len + 1 + VARINT_MAX + content.len), *at = tail;
    memcpy(at, key.data, key.len);
    at += key.len;
    *at++ = (char)kind;
    at = varint_put(at, varint_fold(expire_at_ms));
    memcpy(at, content.data, content.len);
    at += content.len;
    char head[HEAD] = { EFFECT_SET, (char)db, (char)actor, (char)(actor >> 8) };
    add(rehashing, captured + (uint64_t)distance, store_key(rehashing->store, db, name).shard, head,
        (struct bytes){ tail, (size_t)(at - tail) });
    return OK;
}

static enum status read_keys(struct rehashing *rehashing, uint16_t shard, uint32_t rows,
                             struct bytes rest, struct problem *why) {
    uint64_t table, captured;
    if (shard >= SHARDS_MAX || !varint_take(&rest, &table) || !varint_take(&rest, &captured))
        return bad_base(why);
    const struct tables *tables = &rehashing->tables[shard];
    if (table == 0 || table > tables->count) return bad_base(why);
    enum status status = OK;
    for (uint32_t i = 0; i < rows && status == OK; i++)
        status = read_key(rehashing, captured, tables->db[table - 1], &rest, why);
    return status;
}

static enum status read_base(struct rehashing *rehashing, struct problem *why) {
    const struct manifest_base *of = &rehashing->manifest->base;
    char path[PATH_MAX];
    struct base_file base;
    if (!of->generation) return OK;
    path_of_base(rehashing->dir, of->generation, false, path);
    enum status status = base_file_open(&base, rehashing->env, path, of->id, why);
    while (status == OK) {
        struct snapshot_section section;
        struct bytes content;
        uint64_t at;
        status = base_file_next(&base, ALL_SECTIONS, &section, &content, &at, why);
        if (status != OK) break;
        if (section.kind == IMAGE_SHARD)
            status = read_shard(rehashing, section.shard, section.count, content, why);
        if (section.kind == IMAGE_KEYS)
            status = read_keys(rehashing, section.shard, section.count, content, why);
    }
    if (base.file) base_file_close(&base);
    return status == NOT_FOUND ? OK : status;
}

static bool is_of_all(uint8_t op) {
    return op == EFFECT_FLUSH || op == EFFECT_UNFLUSH || op == EFFECT_SWAP;
}

static enum status read_block(struct rehashing *rehashing, const struct redo_block *block,
                              struct problem *why) {
    if (block->shard >= SHARDS_MAX)
        return problem_set(why, CORRUPT, 0, "the log has a shard %u", block->shard);
    uint64_t captured = rehashing->tables[block->shard].captured, delta;
    struct bytes rest = block->bytes;
    struct redo_record record = { .stamp = 0 };
    enum status status;
    for (;;) {
        const char *start = rest.data;
        status = redo_next(&rest, record.stamp, &record, why);
        if (status != OK) break;
        if (record.stamp <= captured || record.stamp > rehashing->cut) continue;
        struct bytes tail = { start + HEAD, (size_t)(rest.data - start) - HEAD };
        if (!varint_take(&tail, &delta)) break; /* it was there a moment ago */
        uint32_t shard = PINS_SHARD;
        if (is_of_all(record.op))
            shard = OF_ALL;
        else if (record.op != EFFECT_PIN && record.op != EFFECT_UNPIN)
            shard = store_key(rehashing->store, record.db, record.key).shard;
        tail = arena_copy(&rehashing->items.arena, tail);
        add(rehashing, record.stamp, shard, start, tail);
    }
    return status == NOT_FOUND ? OK : status;
}

struct log_reading {
    struct rehashing *rehashing;
    struct replay *replay; /* takes the writers */
};

static enum status read_batch(void *self, const struct journal_batch *batch, struct problem *why) {
    struct log_reading *reading = self;
    struct bytes rest = batch->bytes;
    struct redo_block block;
    enum status status;
    while ((status = redo_next_block(&rest, &block, why)) == OK) {
        if (block.shard == REDO_ACTORS)
            status = replay_block(reading->replay, reading->rehashing->worker, &block, 0, why);
        else
            status = read_block(reading->rehashing, &block, why);
        if (status != OK) return status;
    }
    return status == NOT_FOUND ? OK : status;
}

/* --- replaying --- */

static int by_shard_and_stamp(const void *a, const void *b) {
    const struct item *one = a, *other = b;
    if (one->shard != other->shard) return one->shard < other->shard ? -1 : 1;
    if (one->stamp != other->stamp) return one->stamp < other->stamp ? -1 : 1;
    return one->order < other->order ? -1 : one->order > other->order;
}

static bool says_the_same(const struct item *a, const struct item *b) {
    return a->stamp == b->stamp && memcmp(a->head, b->head, HEAD) == 0 &&
           bytes_equal(a->tail, b->tail);
}

static void encode(struct buffer *out, const struct item *item, uint64_t *stamp) {
    char delta[VARINT_MAX];
    size_t len = (size_t)(varint_put(delta, item->stamp - *stamp) - delta);
    buffer_put(out, (struct bytes){ item->head, HEAD });
    buffer_put(out, (struct bytes){ delta, len });
    buffer_put(out, item->tail);
    *stamp = item->stamp;
}

/* One shard's block: its own items and those of all, in the order of time. */
static enum status replay_shard(struct rehashing *rehashing, struct replay *replay, uint32_t shard,
                                struct item *own, size_t count, struct item *all, size_t all_count,
                                struct problem *why) {
    struct buffer bytes;
    buffer_init(&bytes, SIZE_MAX / 2);
    uint64_t stamp = 0;
    for (size_t i = 0, a = 0; i < count || a < all_count;) {
        bool mine = a == all_count || (i < count && own[i].stamp < all[a].stamp);
        encode(&bytes, mine ? &own[i++] : &all[a++], &stamp);
    }
    struct redo_block block = { .shard = (uint16_t)shard, .bytes = buffer_bytes(&bytes) };
    enum status status =
        bytes.overflow ? problem_set(why, NO_MEMORY, 0, "no memory for all of it") : OK;
    if (status == OK && bytes.len)
        status = replay_block(replay, rehashing->worker, &block, UINT64_MAX, why);
    buffer_deinit(&bytes);
    worker_reap(rehashing->worker);
    return status;
}

static enum status replay_items(struct rehashing *rehashing, struct replay *replay,
                                struct problem *why) {
    struct items *items = &rehashing->items;
    if (items->count == 0) return OK;
    qsort(items->list, items->count, sizeof *items->list, by_shard_and_stamp);
    size_t own = 0;
    while (own < items->count && items->list[own].shard != OF_ALL) own++;
    size_t end = own;
    for (size_t i = own; i < items->count; i++)
        if (end == own || !says_the_same(&items->list[end - 1], &items->list[i]))
            items->list[end++] = items->list[i];
    enum status status = OK;
    size_t at = 0;
    for (uint32_t shard = 0; shard < store_shards(rehashing->store) && status == OK; shard++) {
        size_t n = 0;
        while (at + n < own && items->list[at + n].shard == shard) n++;
        status = replay_shard(rehashing, replay, shard, items->list + at, n, items->list + own,
                              end - own, why);
        at += n;
    }
    return status;
}

static enum status fill(struct rehashing *rehashing, struct problem *why) {
    struct manifest *manifest = rehashing->manifest;
    struct file_journal_tail tail;
    enum status status = file_journal_scan(rehashing->env, rehashing->dir, manifest, &tail, why);
    if (status != OK) return status;
    rehashing->cut = tail.cut;
    struct replay *base = replay_new(rehashing->store), *log = replay_new(rehashing->store);
    /* What the log says of a key counts if it is later than what the base shows of it. */
    for (uint32_t i = 0; i < store_shards(rehashing->store); i++)
        replay_base(log, i, 0, UINT64_MAX);
    writers_read(rehashing->store, rehashing->env, rehashing->dir, manifest);
    status = read_base(rehashing, why);
    if (status == OK) status = replay_items(rehashing, base, why);
    clear(&rehashing->items);
    struct log_reading reading = { rehashing, log };
    if (status == OK)
        status = file_journal_read(rehashing->env, rehashing->dir, manifest, manifest->base.seq,
                                   tail.last_seq, read_batch, &reading, why);
    if (status == OK) status = replay_items(rehashing, log, why);
    if (status == OK) replay_end(log, tail.cut);
    replay_free(base);
    replay_free(log);
    return status;
}

/* --- writing --- */

static enum status write_base(struct rehashing *rehashing, struct manifest_base *base,
                              struct problem *why) {
    struct snapshot_options options = { .env = rehashing->env,
                                        .dir = rehashing->dir,
                                        .store = rehashing->store,
                                        .worker = rehashing->worker,
                                        .generation = rehashing->manifest->base.generation + 1,
                                        .past = true,
                                        .seq = 1 };
    struct snapshot *snapshot = snapshot_begin(&options, why);
    if (!snapshot) return why->status;
    uint64_t wait_ns;
    enum status status;
    do status = snapshot_step(snapshot, base, &wait_ns, why);
    while (status == NEED_MORE);
    snapshot_free(snapshot, status == OK);
    return status;
}

static enum status write_all(struct rehashing *rehashing, struct problem *why) {
    struct manifest *manifest = rehashing->manifest, new;
    manifest_copy(&new, manifest);
    new.logs_count = 0;
    enum status status = write_base(rehashing, &new.base, why);
    uint64_t number = manifest->logs_count ? manifest->logs[manifest->logs_count - 1].number : 0;
    if (status == OK) status = log_write_end(rehashing->env, rehashing->dir, &new, number + 1, why);
    if (status == OK) status = manifest_write(rehashing->env, rehashing->dir, &new, why);
    if (status == OK) status = manifest_sweep(rehashing->env, rehashing->dir, &new, why);
    struct manifest *gone = status == OK ? manifest : &new;
    struct manifest kept = status == OK ? new : *manifest;
    manifest_deinit(gone);
    *manifest = kept;
    return status;
}

enum status database_rehash(struct env *env, const char *dir, struct manifest *manifest,
                            struct problem *why) {
    if (!manifest->shards) manifest->shards = NEW_SHARDS;
    env_random(env, &manifest->seed, sizeof manifest->seed);
    struct store *store = store_for(env, manifest, why);
    if (!store) return why->status;
    struct rehashing *rehashing = mem_new_zero(sizeof *rehashing);
    rehashing->env = env;
    rehashing->dir = dir;
    rehashing->manifest = manifest;
    rehashing->store = store;
    rehashing->worker = worker_new(store);
    arena_init(&rehashing->items.arena);
    enum status status = fill(rehashing, why);
    if (status == OK) status = write_all(rehashing, why);
    for (size_t i = 0; i < SHARDS_MAX; i++)
        if (rehashing->tables[i].db)
            mem_free(rehashing->tables[i].db,
                     (rehashing->tables[i].count + 1) * sizeof *rehashing->tables[i].db);
    mem_free(rehashing->items.list, rehashing->items.cap * sizeof *rehashing->items.list);
    arena_deinit(&rehashing->items.arena);
    worker_free(rehashing->worker);
    store_free(store);
    mem_free(rehashing, sizeof *rehashing);
    return status;
}
