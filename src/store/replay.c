#include "store/replay.h"

#include "base/arena.h"
#include "store/past.h"
#include "store/shard.h"

/* The keys that the transaction under way has changed: their entries bear its stamp because of it, and not because
 * the snapshot saw them after it. Hashes; open addressing. */
struct touched {
    uint64_t stamp;
    uint64_t *hashes; /* 0: free */
    size_t count, cap;
};

struct replayed {           /* of one shard */
    uint64_t captured;      /* up to here the snapshot has everything */
    uint64_t visited;       /* after here it has nothing */
    uint64_t records, last; /* applied; the newest stamp of a block */
    struct touched touched;
};

struct replay {
    struct store *store;
    struct replayed *shards;
};

struct replay *replay_new(struct store *store) {
    struct replay *replay = mem_new(sizeof *replay);
    *replay = (struct replay){ store, mem_new_zero(store->shards_count * sizeof(struct replayed)) };
    atomic_fetch_add_explicit(&store->loading, 1, memory_order_release);
    return replay;
}

struct replay *replay_free(struct replay *replay) {
    if (!replay) return NULL;
    atomic_fetch_sub_explicit(&replay->store->loading, 1, memory_order_release);
    for (unsigned i = 0; i < replay->store->shards_count; i++)
        mem_free(replay->shards[i].touched.hashes,
                 replay->shards[i].touched.cap * sizeof(uint64_t));
    mem_free(replay->shards, replay->store->shards_count * sizeof(struct replayed));
    mem_free(replay, sizeof *replay);
    return NULL;
}

void replay_base(struct replay *replay, uint32_t shard, uint64_t captured, uint64_t visited) {
    replay->shards[shard].captured = captured;
    replay->shards[shard].visited = visited;
}

/* --- the stamp filter --- */

static uint64_t whom(const struct key *key) {
    return (key->hash ^ (uint64_t)key->db * 0x9e3779b97f4a7c15) | 1;
}

static uint64_t *touched_place(const struct touched *touched, uint64_t hash) {
    size_t i = hash & (touched->cap - 1);
    while (touched->hashes[i] && touched->hashes[i] != hash) i = (i + 1) & (touched->cap - 1);
    return &touched->hashes[i];
}

static void touched_grow(struct touched *touched) {
    struct touched old = *touched;
    touched->cap = old.cap ? old.cap * 2 : 16;
    touched->hashes = mem_new_zero(touched->cap * sizeof(uint64_t));
    for (size_t i = 0; i < old.cap; i++)
        if (old.hashes[i]) *touched_place(touched, old.hashes[i]) = old.hashes[i];
    mem_free(old.hashes, old.cap * sizeof(uint64_t));
}

static bool touched_has(struct touched *touched, uint64_t stamp, uint64_t hash) {
    return touched->stamp == stamp && touched->count && *touched_place(touched, hash);
}

static void touched_add(struct touched *touched, uint64_t stamp, uint64_t hash) {
    if (touched->stamp != stamp) {
        if (touched->count) memset(touched->hashes, 0, touched->cap * sizeof(uint64_t));
        touched->stamp = stamp;
        touched->count = 0;
    }
    if (touched->count * 2 >= touched->cap) touched_grow(touched);
    uint64_t *place = touched_place(touched, hash);
    if (!*place) touched->count++;
    *place = hash;
}

/* Whether the snapshot shows this key without the change. */
static bool is_news(struct replayed *shard, const struct index *index, const struct key *key,
                    uint64_t stamp) {
    if (stamp > shard->visited) return true;
    _Atomic uint64_t *slot;
    uint64_t word = index ? index_find(index, key->hash, key->name, &slot) : 0;
    if (!word || word_entry(word)->stamp < stamp) return true;
    return word_entry(word)->stamp == stamp && touched_has(&shard->touched, stamp, whom(key));
}

/* --- applying --- */

static enum status apply_key(struct replay *replay, struct replayed *replayed, struct txn *txn,
                             struct shard *shard, const struct redo_record *record,
                             struct problem *why) {
    struct key key = store_key(replay->store, record->db, record->key);
    if (key.shard != shard->number)
        return problem_set(why, CORRUPT, 0, "a log record's key belongs to shard %u, not to %u",
                           key.shard, shard->number);
    if (!is_news(replayed, database_now(&shard->databases[record->db]), &key, record->stamp)) {
        /* The key itself was seen after it; what lies aside may have been seen before. */
        if (record->op == EFFECT_PURGE) past_purge_flushed(txn, &key);
        return OK;
    }
    replayed->records++;
    if (record->stamp <= replayed->visited)
        touched_add(&replayed->touched, record->stamp, whom(&key));
    if (record->op == EFFECT_PURGE) {
        past_purge(txn, &key);
        return OK;
    }
    struct effect effect = { .kind = record->op,
                             .type = record->type,
                             .encoding = record->encoding,
                             .number = record->number,
                             .expire_at_ms = record->expire_at_ms,
                             .bytes = record->bytes,
                             .offset = record->offset,
                             .length = record->length };
    if (record->op == EFFECT_SET &&
        (record->encoding == STRING_BLOB || record->encoding == STRING_BUFFER)) {
        effect.blob = blob_of(record->bytes);
        if (!effect.blob) return problem_set(why, NO_MEMORY, 0, "no memory for a large value");
    }
    if (txn_replay(txn, &key, &effect) != OK)
        return problem_set(why, NO_MEMORY, 0, "no memory for a large value");
    return OK;
}

static enum status apply_record(struct replay *replay, struct txn *txn, struct shard *shard,
                                const struct redo_record *record, struct problem *why) {
    struct replayed *replayed = &replay->shards[shard->number];
    if (record->db >= replay->store->databases || record->other_db >= replay->store->databases)
        return problem_set(why, UNSUPPORTED, 0,
                           "there is data in database %u: start with a higher setting of databases",
                           record->db > record->other_db ? record->db : record->other_db);
    txn->stamp = record->stamp;
    txn->actor = record->actor;
    txn->last.index = NULL;
    switch ((enum effect_kind)record->op) {
    case EFFECT_SET:
    case EFFECT_DELETE:
    case EFFECT_EXPIRE:
    case EFFECT_SPLICE:
    case EFFECT_PURGE: return apply_key(replay, replayed, txn, shard, record, why);
    case EFFECT_FLUSH: shard_flush(txn, shard, record->db); break;
    case EFFECT_UNFLUSH: shard_unflush(txn, shard, record->db, record->at); break;
    case EFFECT_SWAP: shard_swap(txn, shard, record->db, record->other_db); break;
    case EFFECT_PIN: pins_put(replay->store, record->key, record->at); break;
    case EFFECT_UNPIN: (void)store_unpin(replay->store, record->key); break;
    }
    replayed->records++;
    txn->changes++;
    return OK;
}

static enum status put_actors(struct store *store, struct bytes rows, struct problem *why) {
    while (rows.len) {
        struct actor_row row;
        if (!redo_take_actor(&rows, &row))
            return problem_set(why, CORRUPT, 0, "the log's list of writers makes no sense");
        actors_put(store, &row);
    }
    return OK;
}

enum status replay_block(struct replay *replay, struct worker *worker,
                         const struct redo_block *block, uint64_t cut, struct problem *why) {
    if (block->shard == REDO_ACTORS) return put_actors(replay->store, block->bytes, why);
    if (block->shard >= replay->store->shards_count)
        return problem_set(why, CORRUPT, 0, "the log has a shard %u, and there are %u",
                           block->shard, replay->store->shards_count);
    struct replayed *replayed = &replay->shards[block->shard];
    struct shard *shard = store_shard(replay->store, block->shard);
    struct arena arena;
    arena_init(&arena);
    struct txn txn;
    txn_begin_single(&txn, worker, &arena, block->shard, 0);
    txn.now_ms = 0; /* what was alive when it was changed is alive now */
    struct bytes rest = block->bytes;
    struct redo_record record = { .stamp = 0 };
    enum status status;
    while ((status = redo_next(&rest, record.stamp, &record, why)) == OK) {
        if (record.stamp > cut) break; /* later than what is asked for: --restore-to */
        if (record.stamp < replayed->last) {
            status = problem_set(why, CORRUPT, 0, "the log goes back in time");
            break;
        }
        replayed->last = record.stamp;
        if (record.stamp <= replayed->captured) continue;
        status = apply_record(replay, &txn, shard, &record, why);
        if (status != OK) break;
    }
    if (status == NOT_FOUND) status = OK;
    txn.stamp = replayed->last;
    txn_commit(&txn);
    arena_deinit(&arena);
    return status;
}

void replay_end(struct replay *replay, uint64_t cut) {
    store_clock_raise(replay->store, cut);
}

uint64_t replay_records(const struct replay *replay) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < replay->store->shards_count; i++) sum += replay->shards[i].records;
    return sum;
}
