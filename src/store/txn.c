/* txn.c: the only mutator. Every change of data in the program ends in one of the apply_ functions
 * here; each does the four things of txn.h in the same order: inverse, apply, stamp, tell. */
#include "store/txn.h"

#include "base/arena.h"
#include "store/past.h"
#include "store/shard.h"

/* What would take one change back. */
struct undo {
    struct undo *next;
    struct shard *shard;
    struct index *index;
    struct entry *before, *after; /* NULL: there was, there is none */
    struct history_mark history;
    struct redo_mark redo;
    uint64_t hash;
    /* SPLICE in place: */
    struct blob *blob;
    struct bytes bytes;
    uint64_t offset, length, stamp, position;
    uint16_t actor;
};

struct held {
    struct held *next;
    struct blob *blob;
};

/* --- beginning and ending --- */

static void begin(struct txn *txn, struct worker *worker, struct arena *arena, unsigned flags,
                  uint64_t last) {
    txn->store = worker->store;
    txn->worker = worker;
    txn->arena = arena;
    uint64_t stamp = worker->now_ns;
    uint64_t mine = atomic_load_explicit(&worker->last, memory_order_relaxed);
    if (stamp <= mine) stamp = mine + 1;
    if (stamp <= last) stamp = last + 1;
    txn->stamp = stamp;
    txn->at = 0;
    txn->now_ms = worker->now_ms;
    txn->pruned_before = 0;
    txn->event = NULL;
    txn->session = 0;
    txn->actor = ACTOR_UNKNOWN;
    txn->flags = (uint8_t)flags;
    txn->pruned = txn->marked = txn->unlocked = false;
    txn->changes = txn->expiries = 0;
    txn->last.index = NULL;
    txn->undo = NULL;
    txn->held = NULL;
    txn->told_count = txn->told_cap = 0;
}

void txn_begin_held(struct txn *txn, struct worker *worker, struct arena *arena,
                    struct shard *shard, unsigned flags) {
    begin(txn, worker, arena, flags, shard_last(shard));
    txn->single = shard->number;
    txn->shards = NULL;
}

void txn_begin_single(struct txn *txn, struct worker *worker, struct arena *arena, uint32_t number,
                      unsigned flags) {
    struct shard *shard = store_shard(worker->store, number);
    lock_take(&shard->lock);
    txn_begin_held(txn, worker, arena, shard, flags);
}

/* Calls with each shard of the set, ascending: for (struct shard *s = first(...); s; s = next(...)) */
static struct shard *shard_from(const struct store *store, const struct shardset *set,
                                uint32_t number) {
    while (number < store->shards_count) {
        uint64_t word = set->bits[number / 64] >> (number % 64);
        if (word) return store_shard(store, number + (uint32_t)__builtin_ctzll(word));
        number = (number / 64 + 1) * 64;
    }
    return NULL;
}
#define EACH_SHARD(store, set, shard)                    \
    struct shard *shard = shard_from((store), (set), 0); \
    shard;                                               \
    shard = shard_from((store), (set), shard->number + 1)

void txn_begin(struct txn *txn, struct worker *worker, struct arena *arena, struct shardset *shards,
               unsigned flags) {
    uint64_t last = 0;
    for (EACH_SHARD(worker->store, shards, shard)) {
        lock_take(&shard->lock);
        raise(&last, shard_last(shard));
    }
    begin(txn, worker, arena, flags, last);
    txn->single = SHARDS_MAX;
    txn->shards = shards;
}

void txn_let_held(struct txn *txn) {
    for (struct held *held = txn->held; held; held = held->next) blob_unref(held->blob);
    txn->held = NULL;
}

void txn_begin_unlocked(struct txn *txn, struct worker *worker, struct arena *arena,
                        unsigned flags) {
    begin(txn, worker, arena, flags, 0);
    if (!atomic_load_explicit(&worker->store->lock_free_reads, memory_order_relaxed))
        txn->flags &= (uint8_t)~TXN_PEEK;
    txn->single = SHARDS_MAX;
    txn->shards = NULL;
    txn->unlocked = true;
}

void txn_hold(struct txn *txn, struct blob *blob) {
    struct held *held = arena_new(txn->arena, sizeof *held);
    *held = (struct held){ txn->held, blob_ref(blob) };
    txn->held = held;
}

static void entry_release(void *ptr, size_t size) {
    struct entry *entry = ptr;
    blob_unref(entry_blob(entry));
    mem_free(entry, size);
}

void entry_retire(struct worker *worker, struct entry *entry) {
    worker_retire(worker, entry, entry_size(entry), entry_release);
}

/* Others must not see a part of what follows: shards become odd before the first change. */
void txn_mark(struct txn *txn) {
    txn->marked = true;
    if (txn->single < SHARDS_MAX) {
        atomic_fetch_add_explicit(&store_shard(txn->store, txn->single)->txn, 1,
                                  memory_order_acq_rel);
        return;
    }
    for (EACH_SHARD(txn->store, txn->shards, shard))
        atomic_fetch_add_explicit(&shard->txn, 1, memory_order_acq_rel);
}

static void shard_committed(struct shard *shard, uint64_t stamp) {
    atomic_store_explicit(&shard->last, stamp, memory_order_relaxed);
    shard->committed = stamp;
}

static void let_go(struct txn *txn) {
    if (UNLIKELY(txn->held != NULL)) txn_let_held(txn);
    if (txn->unlocked) return;
    bool stamped = txn->changes > 0;
    if (stamped) {
        atomic_store_explicit(&txn->worker->last, txn->stamp, memory_order_relaxed);
        raise(&txn->worker->seen, txn->stamp);
    }
    if (LIKELY(txn->single < SHARDS_MAX)) {
        struct shard *shard = store_shard(txn->store, txn->single);
        if (stamped) shard_committed(shard, txn->stamp);
        if (txn->marked) atomic_fetch_add_explicit(&shard->txn, 1, memory_order_release);
        lock_release(&shard->lock);
        worker_reap_if_due(txn->worker);
        return;
    }
    for (EACH_SHARD(txn->store, txn->shards, shard)) {
        if (stamped) shard_committed(shard, txn->stamp);
        if (txn->marked) atomic_fetch_add_explicit(&shard->txn, 1, memory_order_release);
    }
    for (EACH_SHARD(txn->store, txn->shards, shard)) lock_release(&shard->lock);
    worker_reap_if_due(txn->worker);
}

static void undo_forget(struct txn *txn) {
    for (struct undo *undo = txn->undo; undo; undo = undo->next) {
        if (undo->before) entry_retire(txn->worker, undo->before);
        blob_unref(undo->blob);
    }
    txn->undo = NULL;
}

void txn_commit(struct txn *txn) {
    if (UNLIKELY(txn->undo != NULL)) undo_forget(txn);
    if (UNLIKELY(txn->told_count > 0)) txn_tell_sinks(txn);
    if (txn->changes) counter_add(&txn->worker->counters, COUNTER_changes, txn->changes);
    let_go(txn);
}

void txn_settle(struct txn *txn) {
    undo_forget(txn);
    txn->flags &= (uint8_t)~TXN_UNDO;
}

struct savepoint txn_savepoint(const struct txn *txn) {
    return (struct savepoint){ txn->undo, txn->changes, txn->told_count };
}

/* --- entries --- */

static uint64_t size_with_blob(const struct entry *entry) {
    struct blob *blob = entry_blob(entry);
    return entry_memory(entry) + (UNLIKELY(blob != NULL) ? blob_memory(blob) : 0);
}

void entry_count(struct index *index, const struct entry *entry, int sign) {
    uint64_t one = (uint64_t)(int64_t)sign;
    if (entry_is_tombstone(entry)) {
        tally(&index->tombstones, one);
        tally(&index->tombstone_size, entry_memory(entry) * one);
        return;
    }
    tally(&index->live, one);
    tally(&index->data_size, size_with_blob(entry) * one);
    if (entry->words & ENTRY_EXPIRE) tally(&index->expiring, one);
}

/* The same for an entry that takes another's place; mostly nothing but a few bytes differ. */
void entry_count_swap(struct index *index, const struct entry *before, const struct entry *after) {
    if (LIKELY(!entry_is_tombstone(before) && !entry_is_tombstone(after) &&
               !((before->words ^ after->words) & ENTRY_EXPIRE))) {
        uint64_t more = size_with_blob(after) - size_with_blob(before);
        if (more) tally(&index->data_size, more);
        return;
    }
    entry_count(index, before, -1);
    entry_count(index, after, 1);
}

static struct index *index_of(struct txn *txn, const struct key *key) {
    struct shard *shard = store_shard(txn->store, key->shard);
    struct database *database = &shard->databases[key->db];
    struct index *index = database_now(database);
    if (LIKELY(index != NULL)) return index;
    index = index_new(&txn->store->seed, txn->store->shard_bits, shard->number);
    atomic_store_explicit(&database->now, index, memory_order_release);
    return index;
}

/* The key's entry (tombstones too), remembered for the change that may follow. */
struct entry *txn_find(struct txn *txn, const struct key *key) {
    if (txn->last.index && txn->last.hash == key->hash && txn->last.name == key->name.data &&
        txn->last.db == key->db)
        return txn->last.entry;
    struct shard *shard = store_shard(txn->store, key->shard);
    debug_assert(txn_holds(txn, key->shard));
    struct index *index = database_now(&shard->databases[key->db]);
    if (!index) return NULL;
    _Atomic uint64_t *slot = key->hint;
    uint64_t word = 0;
    if (LIKELY(slot && key->hint_index == index))
        word = hint_find(slot, index_x(index, key->hash), key->name);
    if (UNLIKELY(!word)) {
        slot = NULL;
        word = index_find(index, key->hash, key->name, &slot);
    }
    txn->last.index = index;
    txn->last.hash = key->hash;
    txn->last.name = key->name.data;
    txn->last.db = key->db;
    txn->last.slot = slot;
    txn->last.entry = word ? word_entry(word) : NULL;
    return txn->last.entry;
}

struct entry *entry_new(const struct txn *txn, struct bytes name, const struct effect *state,
                        unsigned words, uint64_t position) {
    bool word = state->type != VALUE_NONE && state->encoding != STRING_INLINE &&
                state->encoding != STRING_EDITED;
    bool long_key = UNLIKELY(name.len >= ENTRY_KLEN_LONG);
    words |= (state->expire_at_ms ? ENTRY_EXPIRE : 0u) | (position ? ENTRY_HISTORY : 0u) |
             (long_key ? ENTRY_LONG_KEY : 0u) | (word ? ENTRY_VALUE : 0u);
    size_t vlen = word || state->type == VALUE_NONE ? 0 : state->bytes.len;
    assert(vlen <= STRING_INLINE_MAX);
    size_t extra = entry_words_size(words);
    struct entry *entry = mem_new(sizeof *entry + extra + name.len + vlen);
    entry->stamp = txn->stamp;
    entry->vlen = (uint16_t)vlen;
    entry->actor = txn->actor;
    entry->klen = long_key ? ENTRY_KLEN_LONG : (uint16_t)name.len;
    entry->kind = (uint8_t)(state->type | state->encoding << 4);
    entry->words = (uint8_t)words;
    unsigned char *at = entry->data;
    if (words & ENTRY_EXPIRE) {
        memcpy(at, &state->expire_at_ms, 8);
        at += 8;
    }
    if (words & ENTRY_HISTORY) {
        memcpy(at, &position, 8);
        at += 8;
    }
    if (long_key) {
        uint64_t len = name.len;
        memcpy(at, &len, 8);
        at += 8;
    }
    if (word) {
        uint64_t value = state->encoding == STRING_INT ? (uint64_t)state->number
                                                       : (uint64_t)(uintptr_t)state->blob;
        memcpy(at, &value, 8);
        at += 8;
    }
    bytes_move(at, name.data, name.len);
    bytes_move(at + name.len, state->bytes.data, vlen);
    return entry;
}

static struct undo *undo_push(struct txn *txn, const struct key *key, struct index *index) {
    struct undo *undo = arena_new(txn->arena, sizeof *undo);
    struct shard *shard = store_shard(txn->store, key->shard);
    *undo = (struct undo){ .next = txn->undo,
                           .shard = shard,
                           .index = index,
                           .history = history_mark(&shard->history),
                           .redo = redo_mark(shard),
                           .hash = key->hash };
    txn->undo = undo;
    return undo;
}

/* Whether the state that `entry` holds is to be kept as a version when it is replaced now. */
static bool keeps_past(const struct txn *txn, const struct shard *shard,
                       const struct entry *entry) {
    if (!atomic_load_explicit(&txn->store->history, memory_order_relaxed)) return false;
    if (entry->words & ENTRY_EXCLUDED) return false;
    uint64_t resolution = atomic_load_explicit(&txn->store->resolution_ns, memory_order_relaxed);
    bool brief =
        entry->stamp == txn->stamp || /* of this transaction: nobody ever saw it */
        (UNLIKELY(resolution != 0) && entry->stamp / resolution == txn->stamp / resolution);
    if (LIKELY(!brief)) return true;
    /* It can be left out, unless the next older state is told as a difference to it. */
    const struct record *record = history_at(&shard->history, entry_history(entry));
    return record && !record_is_whole(record);
}

/* A state is replaced and not kept: what can no longer be known. False: the chain of records ends
 * with it, since older ones may be told as a difference to it. */
static bool forget(const struct txn *txn, struct shard *shard, const struct entry *entry,
                   unsigned *words) {
    if (entry->words & ENTRY_EXCLUDED) {
        raise(&shard->excluded_forgotten, txn->stamp);
    } else if (!atomic_load_explicit(&txn->store->history, memory_order_relaxed)) {
        raise(&shard->forgotten, txn->stamp);
    } else {
        return true; /* left out, but nothing is lost: see keeps_past */
    }
    *words |= ENTRY_PRUNED;
    return false;
}

/* A deadline that is put off needs no record of its own: the one there is fires, sees the later one
 * and is put in again. Returns ENTRY_ARMED or 0. */
static unsigned arm(struct shard *shard, const struct index *index, const struct key *key,
                    const struct entry *before, int64_t expire_at_ms) {
    bool armed = before && before->words & ENTRY_ARMED && entry_expire(before) <= expire_at_ms &&
                 expire_at_ms < shard->arming_ms;
    if (armed || expiry_arm(shard, index, key->db, key->hash, expire_at_ms)) return ENTRY_ARMED;
    return 0;
}

/* The whole state of a key changes, to that of a SET or, its type being NONE, a DELETE. */
static void apply_state(struct txn *txn, const struct key *key, const struct effect *state) {
    struct shard *shard = store_shard(txn->store, key->shard);
    struct entry *before = txn_find(txn, key);
    struct index *index = index_of(txn, key);
    bool gone = state->type == VALUE_NONE;
    assert(!gone || (before && !entry_is_tombstone(before)));
    unsigned words = 0;
    uint64_t position = 0;
    struct undo *undo = NULL;
    if (UNLIKELY(txn->flags & TXN_UNDO)) {
        undo = undo_push(txn, key, index);
        undo->before = before;
    }

    if (!before) {
        assert(!gone);
        struct patterns *exclude = atomic_load_explicit(&txn->store->exclude, memory_order_acquire);
        if (UNLIKELY(exclude->count) && store_excluded(txn->store, key->name))
            words |= ENTRY_EXCLUDED;
        if (shard->forgotten || shard->excluded_forgotten) words |= ENTRY_PRUNED;
    } else {
        words = before->words & ENTRY_LASTING;
        position = entry_history(before);
        bool history = atomic_load_explicit(&txn->store->history, memory_order_relaxed);
        /* A tombstone goes when its record does, so it always gets one if it has a past at all. */
        bool tombstone = gone && position && history && !(words & ENTRY_EXCLUDED);
        if (tombstone || keeps_past(txn, shard, before))
            position =
                history_put_state(&shard->history, before, txn->stamp, gone, key->hash, key->db);
        else if (!forget(txn, shard, before, &words))
            position = 0;
        if (gone && (position == 0 || words & ENTRY_EXCLUDED || !history)) {
            raise(&shard->deletion_forgotten, txn->stamp); /* no past to hang on to: no tombstone */
            entry_count(index, before, -1);
            index_remove(index, txn->worker, txn->last.slot);
            txn->last.entry = NULL;
            if (!undo) entry_retire(txn->worker, before);
            return;
        }
    }

    if (state->expire_at_ms) {
        words |= arm(shard, index, key, before, state->expire_at_ms);
    }
    struct entry *after = entry_new(txn, key->name, state, words, position);
    if (before) {
        entry_count_swap(index, before, after);
        index_replace(txn->last.slot, after);
        if (!undo) entry_retire(txn->worker, before);
        txn->last.entry = after;
    } else {
        entry_count(index, after, 1);
        index_insert(index, txn->worker, key->hash, after);
        txn->last.index = NULL; /* its slot is not known */
    }
    if (undo) undo->after = after;
}

/* An integer becomes another one, in place: nothing is allocated but the history record. */
static bool apply_int_in_place(struct txn *txn, const struct key *key, int64_t number,
                               int64_t expire_at_ms) {
    if (txn->flags & TXN_UNDO) return false;
    struct entry *entry = txn_find(txn, key);
    if (!entry || entry->kind != (VALUE_STRING | STRING_INT << 4) ||
        entry_expire(entry) != expire_at_ms)
        return false;
    struct shard *shard = store_shard(txn->store, key->shard);
    if (keeps_past(txn, shard, entry)) {
        if (!(entry->words & ENTRY_HISTORY)) return false; /* gets its history word first */
        uint64_t position =
            history_put_state(&shard->history, entry, txn->stamp, false, key->hash, key->db);
        entry_store(entry, ENTRY_HISTORY, position);
    } else {
        unsigned words = entry->words;
        bool chained = forget(txn, shard, entry, &words);
        if (words != entry->words) return false; /* gets its PRUNED bit first */
        if (!chained && words & ENTRY_HISTORY) entry_store(entry, ENTRY_HISTORY, 0);
    }
    entry->stamp = txn->stamp;
    entry->actor = txn->actor;
    atomic_store_explicit(entry_number(entry), number, memory_order_release);
    return true;
}

static void apply_expire(struct txn *txn, const struct key *key, int64_t expire_at_ms) {
    struct shard *shard = store_shard(txn->store, key->shard);
    struct entry *before = txn_find(txn, key);
    assert(before && !entry_is_tombstone(before));
    struct index *index =
        txn->last.index ? (struct index *)(uintptr_t)txn->last.index : index_of(txn, key);
    struct undo *undo = NULL;
    if (UNLIKELY(txn->flags & TXN_UNDO)) {
        undo = undo_push(txn, key, index);
        undo->before = before;
    }
    unsigned words = before->words & ENTRY_LASTING;
    uint64_t position = entry_history(before);
    if (keeps_past(txn, shard, before))
        position = history_put_expire(&shard->history, before, txn->stamp, key->db);
    else if (!forget(txn, shard, before, &words))
        position = 0;

    struct value value;
    entry_value(before, &value);
    struct effect state = { .kind = EFFECT_SET,
                            .type = value.type,
                            .encoding = value.encoding,
                            .number = value.number,
                            .expire_at_ms = expire_at_ms,
                            .bytes = value.bytes,
                            .blob = value.blob ? blob_ref(value.blob) : NULL };
    if (expire_at_ms) {
        words |= arm(shard, index, key, before, expire_at_ms);
    }
    struct entry *after = entry_new(txn, key->name, &state, words, position);
    entry_count_swap(index, before, after);
    index_replace(txn->last.slot, after);
    txn->last.entry = after;
    if (undo)
        undo->after = after;
    else
        entry_retire(txn->worker, before);
}

/* A buffer changes in place; its blob has room (txn_splice saw to that). */
static void apply_splice(struct txn *txn, const struct key *key, const struct effect *effect) {
    struct shard *shard = store_shard(txn->store, key->shard);
    struct entry *entry = txn_find(txn, key);
    assert(entry && entry->kind == (VALUE_STRING | STRING_BUFFER << 4));
    struct blob *blob = entry_blob_word(entry);
    assert(effect->length <= blob->cap);
    if (UNLIKELY(txn->flags & TXN_UNDO)) {
        struct undo *undo = undo_push(txn, key, (struct index *)(uintptr_t)txn->last.index);
        uint64_t kept = effect->offset >= blob->len ? 0 : blob->len - effect->offset;
        if (kept > effect->bytes.len) kept = effect->bytes.len;
        undo->before = NULL;
        undo->after = entry;
        undo->blob = blob_ref(blob);
        undo->bytes = arena_copy(txn->arena, (struct bytes){ blob->data + effect->offset, kept });
        undo->offset = effect->offset;
        undo->length = blob->len;
        undo->stamp = entry->stamp;
        undo->actor = entry->actor;
        undo->position = entry_history(entry);
    }
    if (keeps_past(txn, shard, entry)) {
        uint64_t position = history_put_splice(&shard->history, entry, txn->stamp, key->db, blob,
                                               effect->offset, effect->bytes.len);
        entry_store(entry, ENTRY_HISTORY, position);
    } else {
        unsigned words = entry->words;
        bool chained = forget(txn, shard, entry, &words);
        assert(words == entry->words);
        if (!chained && words & ENTRY_HISTORY) entry_store(entry, ENTRY_HISTORY, 0);
    }
    blob_splice(blob, effect->offset, effect->bytes, effect->length);
    entry->stamp = txn->stamp;
    entry->actor = txn->actor;
}

/* An effect on one key becomes true. */
void txn_apply(struct txn *txn, const struct key *key, const struct effect *effect) {
    if (UNLIKELY(txn->flags & TXN_MULTI) && !txn->marked) txn_mark(txn);
    txn->changes++;
    switch ((enum effect_kind)effect->kind) {
    case EFFECT_SET:
        if (effect->encoding == STRING_INT &&
            apply_int_in_place(txn, key, effect->number, effect->expire_at_ms))
            break;
        apply_state(txn, key, effect);
        break;
    case EFFECT_DELETE: apply_state(txn, key, effect); break;
    case EFFECT_EXPIRE: apply_expire(txn, key, effect->expire_at_ms); break;
    case EFFECT_SPLICE: apply_splice(txn, key, effect); break;
    case EFFECT_FLUSH:
    case EFFECT_UNFLUSH:
    case EFFECT_SWAP:
    case EFFECT_PURGE:
    case EFFECT_PIN:
    case EFFECT_UNPIN: assert(false) /* these have functions of their own */;
    }
}

void txn_change(struct txn *txn, const struct key *key, const struct effect *effect) {
    assert(!txn->unlocked && txn->at == 0);
    debug_assert(txn_holds(txn, key->shard));
    txn_tell(txn, key, effect->kind, CAUSE_COMMAND);
    txn_apply(txn, key, effect);
    redo_put(store_shard(txn->store, key->shard), txn, key->db, key->name, effect);
}

/* --- rolling back --- */

static void undo_one(struct txn *txn, struct undo *undo) {
    if (undo->blob) { /* a splice in place */
        blob_splice(undo->blob, undo->offset, undo->bytes, undo->length);
        undo->after->stamp = undo->stamp;
        undo->after->actor = undo->actor;
        if (undo->after->words & ENTRY_HISTORY)
            entry_store(undo->after, ENTRY_HISTORY, undo->position);
        blob_unref(undo->blob);
    } else if (undo->after) {
        _Atomic uint64_t *slot = NULL;
        uint64_t word = index_find(undo->index, undo->hash, entry_name(undo->after), &slot);
        assert(word_entry(word) == undo->after);
        entry_count(undo->index, undo->after, -1);
        if (undo->before)
            index_replace(slot, undo->before);
        else
            index_remove(undo->index, txn->worker, slot);
        entry_retire(txn->worker, undo->after);
        if (undo->before) entry_count(undo->index, undo->before, 1);
    } else if (undo->before) {
        index_insert(undo->index, txn->worker, undo->hash, undo->before);
        entry_count(undo->index, undo->before, 1);
    }
    history_rewind(&undo->shard->history, undo->history);
    redo_rewind(undo->shard, undo->redo);
}

void txn_rollback_to(struct txn *txn, struct savepoint savepoint) {
    assert(txn->flags & TXN_UNDO || txn->changes == savepoint.changes);
    while (txn->undo != savepoint.undo) {
        struct undo *undo = txn->undo;
        txn->undo = undo->next;
        undo_one(txn, undo);
    }
    txn->last.index = NULL;
    txn->told_count = savepoint.told_count;
}

void txn_rollback(struct txn *txn) {
    if (txn->flags & TXN_UNDO)
        txn_rollback_to(txn, (struct savepoint){ NULL, 0, 0 });
    else
        assert(txn->changes == txn->expiries);
    txn_commit(txn); /* what is left are expiries, which hold whatever else failed */
}

/* --- reading --- */

void entry_value(const struct entry *entry, struct value *out) {
    out->type = (uint8_t)entry_type(entry);
    out->encoding = (uint8_t)entry_encoding(entry);
    out->actor = entry->actor;
    out->expire_at_ms = entry_expire(entry);
    out->stamp = entry->stamp;
    out->number = 0;
    out->blob = NULL;
    if (LIKELY(!(entry->words & ENTRY_VALUE))) {
        out->bytes = entry_inline(entry);
    } else if (out->encoding == STRING_INT) {
        out->bytes = (struct bytes){ 0 };
        out->number = atomic_load_explicit(entry_number(entry), memory_order_relaxed);
    } else {
        out->blob = entry_blob_word(entry);
        out->bytes = blob_bytes(out->blob);
    }
}

static bool expired(const struct entry *entry, int64_t now_ms) {
    return entry->words & ENTRY_EXPIRE && entry_expire(entry) <= now_ms;
}

void txn_expire(struct txn *txn, uint32_t db, _Atomic uint64_t *slot, struct entry *entry) {
    struct bytes name = arena_copy(txn->arena, entry_name(entry));
    struct key key = store_key(txn->store, db, name);
    assert(key.shard == (txn->single < SHARDS_MAX ? txn->single : key.shard));
    txn->last.index = database_now(&store_shard(txn->store, key.shard)->databases[db]);
    txn->last.hash = key.hash;
    txn->last.name = name.data;
    txn->last.db = db;
    txn->last.slot = slot;
    txn->last.entry = entry;
    if (UNLIKELY(txn->flags & TXN_MULTI) && !txn->marked) txn_mark(txn);
    uint16_t actor = txn->actor;
    txn->actor = ACTOR_EXPIRED;
    txn->changes++;
    txn->expiries++;
    struct effect over = { .kind = EFFECT_DELETE };
    apply_state(txn, &key, &over);
    redo_put(store_shard(txn->store, key.shard), txn, db, name, &over);
    txn->actor = actor;
    txn->last.index = NULL;
    txn_tell(txn, &key, EFFECT_DELETE, CAUSE_EXPIRED);
    counter_add(&txn->worker->counters, COUNTER_expired_keys, 1);
}

void txn_keep(struct txn *txn, struct value *value) {
    if (value->blob && value->encoding == STRING_BLOB) {
        txn_hold(txn, value->blob);
    } else {
        value->bytes = arena_copy(txn->arena, value->bytes);
        value->blob = NULL;
    }
}

/* What a reader of this key is shown became so then. */
static uint64_t made_at(const struct txn *txn, const struct key *key, const struct entry *entry) {
    const struct shard *shard = store_shard(txn->store, key->shard);
    const struct database *database = &shard->databases[key->db];
    uint64_t stamp = atomic_load_explicit(&database->changed, memory_order_relaxed);
    raise(&stamp, entry ? entry->stamp : shard->deletion_forgotten); /* of whatever key it was */
    return stamp;
}

bool txn_read_locked(struct txn *txn, const struct key *key, struct value *out) {
    struct entry *entry = txn_find(txn, key);
    if (UNLIKELY(atomic_load_explicit(&txn->store->gates_reads, memory_order_relaxed)))
        txn_saw(txn, made_at(txn, key, entry));
    if (!entry || entry_is_tombstone(entry)) return false;
    if (UNLIKELY(expired(entry, txn->now_ms))) {
        txn_expire(txn, key->db, txn->last.slot, entry);
        return false;
    }
    entry_value(entry, out);
    return true;
}

/* Notes what a look without the lock has shown. false: only the lock can tell how old that is (nothing was there,
 * or a number that may have been changed in place meanwhile). */
static bool peek_saw(struct txn *txn, const struct database *database, const struct entry *entry) {
    if (!entry || (entry_type(entry) == VALUE_STRING && entry_encoding(entry) == STRING_INT))
        return false;
    raise(&txn->worker->seen, entry->stamp);
    raise(&txn->worker->seen, atomic_load_explicit(&database->changed, memory_order_relaxed));
    return true;
}

/* Without the lock, inside the batch's epoch (STORE.md 4 and 6). FOUND, ABSENT, or PRUNED for "take
 * the lock". */
static enum found peek(struct txn *txn, const struct key *key, struct value *out) {
    struct shard *shard = store_shard(txn->store, key->shard);
    struct index *index =
        atomic_load_explicit(&shard->databases[key->db].now, memory_order_acquire);
    bool gates = atomic_load_explicit(&txn->store->gates_reads, memory_order_relaxed);
    if (!index) return UNLIKELY(gates) ? PRUNED : ABSENT;
    uint64_t word = 0;
    if (LIKELY(key->hint && key->hint_index == index))
        word = hint_find(key->hint, index_x(index, key->hash), key->name);
    if (UNLIKELY(!word)) word = index_peek(index, key->hash, key->name);
    const struct entry *seen = word ? word_entry(word) : NULL;
    if (LIKELY(word != 0)) {
        const struct entry *entry = seen;
        unsigned type = entry_type(entry), encoding = entry_encoding(entry);
        if (UNLIKELY(type > VALUE_STRING || encoding == STRING_BUFFER)) return PRUNED;
        if (UNLIKELY(expired(entry, txn->now_ms))) return PRUNED;
        if (type == VALUE_STRING) {
            out->type = (uint8_t)type;
            out->encoding = (uint8_t)encoding;
            out->actor = 0;
            out->stamp = 0;
            out->expire_at_ms = entry_expire(entry);
            out->number = 0;
            out->blob = NULL;
            if (LIKELY(!(entry->words & ENTRY_VALUE))) {
                out->bytes = entry_inline(entry);
            } else if (encoding == STRING_INT) {
                out->bytes = (struct bytes){ 0 };
                out->number = atomic_load_explicit(entry_number(entry), memory_order_acquire);
            } else {
                out->blob = entry_blob_word(entry);
                out->bytes = blob_bytes(out->blob);
            }
        } else {
            word = 0; /* a tombstone */
        }
    }
    if (UNLIKELY(atomic_load_explicit(&shard->txn, memory_order_acquire) & 1)) return PRUNED;
    if (UNLIKELY(gates) && !peek_saw(txn, &shard->databases[key->db], seen)) return PRUNED;
    counter_add(&txn->worker->counters, COUNTER_reads_unlocked, 1);
    return word ? FOUND : ABSENT;
}

static bool read_past(struct txn *txn, const struct key *key, struct value *out) {
    uint64_t oldest = 0;
    enum found found = past_read(txn, key, txn->at, out, &oldest);
    if (found != PRUNED) return found == FOUND;
    txn->pruned = true;
    raise(&txn->pruned_before, oldest);
    return false;
}

bool txn_read(struct txn *txn, const struct key *key, struct value *out) {
    if (UNLIKELY(txn->at != 0)) return read_past(txn, key, out);
    if (txn->flags & TXN_PEEK && LIKELY(txn->worker->inside)) {
        enum found found = peek(txn, key, out);
        if (LIKELY(found != PRUNED)) return found == FOUND;
    }
    if (!txn->unlocked) return txn_read_locked(txn, key, out);
    /* One read under the lock, as a transaction of its own: it may have to delete what is over. */
    UNINITIALIZED struct txn one;
    txn_begin_single(&one, txn->worker, txn->arena, key->shard, 0);
    one.now_ms = txn->now_ms;
    one.event = "expired";
    bool found = txn_read_locked(&one, key, out);
    if (found) txn_keep(txn, out);
    txn_commit(&one);
    return found;
}

/* --- the common changes --- */

void txn_set_int(struct txn *txn, const struct key *key, int64_t number, int64_t expire_at_ms) {
    txn_change(txn, key,
               &(struct effect){ .kind = EFFECT_SET,
                                 .type = VALUE_STRING,
                                 .encoding = STRING_INT,
                                 .number = number,
                                 .expire_at_ms = expire_at_ms });
}

enum status txn_set_string(struct txn *txn, const struct key *key, struct bytes bytes,
                           int64_t expire_at_ms) {
    struct effect effect = { .kind = EFFECT_SET,
                             .type = VALUE_STRING,
                             .encoding = STRING_INLINE,
                             .expire_at_ms = expire_at_ms,
                             .bytes = bytes };
    if (bytes.len <= INT_TEXT_MAX && int_parse(bytes, &effect.number)) {
        effect.encoding = STRING_INT;
    } else if (bytes.len > STRING_INLINE_MAX || bytes.len + key->name.len > STRING_INLINE_MAX) {
        effect.encoding = STRING_BLOB;
        effect.blob = blob_of(bytes);
        if (!effect.blob) return NO_MEMORY;
    }
    txn_change(txn, key, &effect);
    return OK;
}

void txn_delete(struct txn *txn, const struct key *key) {
    txn_change(txn, key, &(struct effect){ .kind = EFFECT_DELETE });
}

void txn_set_expire(struct txn *txn, const struct key *key, int64_t at_ms) {
    txn_change(txn, key, &(struct effect){ .kind = EFFECT_EXPIRE, .expire_at_ms = at_ms });
}

enum status txn_set_value(struct txn *txn, const struct key *key, const struct value *value) {
    struct effect effect = { .kind = EFFECT_SET,
                             .type = value->type,
                             .encoding = value->encoding,
                             .number = value->number,
                             .expire_at_ms = value->expire_at_ms,
                             .bytes = value->bytes };
    assert(value->type == VALUE_STRING);
    if (value->encoding == STRING_BLOB) {
        effect.blob = blob_ref(value->blob);
    } else if (value->encoding == STRING_BUFFER) {
        effect.encoding = STRING_BLOB; /* a buffer has one owner */
        effect.blob = blob_of(value->bytes);
        if (!effect.blob) return NO_MEMORY;
    } else if (value->encoding != STRING_INT) {
        effect.bytes = arena_copy(txn->arena, value->bytes); /* it may lie in what is replaced */
    }
    txn_change(txn, key, &effect);
    return OK;
}

/* --- watching --- */

uint64_t txn_watch(struct txn *txn, const struct key *key, uint64_t *seen) {
    struct value value;
    bool found = txn_read_locked(txn, key, &value);
    struct shard *shard = store_shard(txn->store, key->shard);
    *seen = txn->changes ? txn->stamp : shard_last(shard);
    return found ? value.stamp : 0;
}

bool txn_unchanged(struct txn *txn, const struct key *key, uint64_t stamp, uint64_t seen) {
    struct value value;
    bool found = txn_read_locked(txn, key, &value);
    if (found || stamp) return found && value.stamp == stamp;
    /* Absent, and absent again: was it there in between? A tombstone tells. */
    struct entry *entry = txn_find(txn, key);
    if (entry) return entry->stamp <= seen;
    const struct shard *shard = store_shard(txn->store, key->shard);
    const struct database *database = &shard->databases[key->db];
    for (uint32_t i = 0; i < database->periods_count && database->periods[i].to > seen; i++) {
        const struct index *index = database->periods[i].index;
        _Atomic uint64_t *slot;
        uint64_t word = index ? index_find(index, key->hash, key->name, &slot) : 0;
        if (word && word_entry(word)->stamp > seen) return false;
    }
    return shard->deletion_forgotten <= seen;
}
