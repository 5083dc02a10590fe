/* past.c: the algorithm of STORE.md 8.2, which was model-checked: take the present state and apply
 * inverse records, newest first, until one restores a state born at or before the instant asked. */
#include "store/past.h"

#include "base/arena.h"
#include "store/shard.h"

/* A state on its way back: what the records so far have made of it. */
struct state {
    bool exists;
    struct value value;
    uint64_t cap; /* of value.bytes, when it is an arena copy that splices may change; else 0 */
};

static void state_of_entry(const struct entry *entry, struct state *state) {
    state->exists = !entry_is_tombstone(entry);
    state->cap = 0;
    if (state->exists)
        entry_value(entry, &state->value);
    else
        state->value = (struct value){ .stamp = entry->stamp, .actor = entry->actor };
}

static void state_splice(struct arena *arena, struct state *state, const struct record_view *undo) {
    struct value *value = &state->value;
    if (!state->cap || state->cap < undo->length) { /* a copy of its own */
        uint64_t cap = value->bytes.len > undo->length ? value->bytes.len : undo->length;
        char *copy = arena_new(arena, cap + 1);
        if (value->bytes.len) memcpy(copy, value->bytes.data, value->bytes.len);
        value->bytes.data = copy;
        state->cap = cap + 1;
    }
    char *data = (char *)(uintptr_t)value->bytes.data;
    if (undo->bytes.len) memcpy(data + undo->offset, undo->bytes.data, undo->bytes.len);
    value->bytes.len = undo->length;
    value->encoding = STRING_BUFFER;
    value->blob = NULL;
}

/* One step back: `state` becomes what `record` restores. */
static void state_back(struct arena *arena, struct state *state, const struct record *record) {
    struct record_view view = record_view(record);
    switch (view.kind) {
    case EFFECT_SET:
        state->exists = true;
        state->cap = 0;
        state->value = (struct value){ .type = view.type,
                                       .encoding = view.encoding,
                                       .number = view.number,
                                       .expire_at_ms = view.expire_at_ms,
                                       .bytes = view.bytes,
                                       .blob = view.blob };
        break;
    case EFFECT_EXPIRE: state->value.expire_at_ms = view.expire_at_ms; break;
    case EFFECT_SPLICE: state_splice(arena, state, &view); break;
    default:
        assert(view.kind == EFFECT_DELETE);
        state->exists = false;
        state->cap = 0;
        state->value = (struct value){ 0 };
        break;
    }
    state->value.stamp = record->birth;
    state->value.actor = record->actor;
}

/* Where to go on from `record` at `position` when states born after `at` do not matter. */
static uint64_t step(const struct history *history, const struct record *record, uint64_t position,
                     uint64_t at) {
    if (record->skip && record_is_whole(record)) {
        const struct record *far = history_at(history, position - record->skip);
        if (far && record_is_whole(far) && far->birth > at) return position - record->skip;
    }
    return record->prev;
}

/* Whether what lies before the oldest record of `entry` is unknown at `at`; and since when it is. */
static bool unknown_before(const struct store *store, const struct shard *shard,
                           const struct entry *entry, struct bytes name, uint64_t at,
                           uint64_t *oldest) {
    if (entry && entry->words & (ENTRY_PURGED | ENTRY_EXCLUDED)) return true;
    uint64_t forgotten = shard->forgotten;
    if (shard->excluded_forgotten > forgotten && store_ever_excluded(store, name))
        forgotten = shard->excluded_forgotten;
    if (entry && !(entry->words & ENTRY_PRUNED)) return false;
    if (at >= forgotten) return false;
    raise(oldest, forgotten);
    return true;
}

/* The records that lead back to a state: the last whole one (NULL: the present), and the differences
 * that are to be applied to it, newest first. Only these are taken apart. */
struct trail {
    const struct record *base;
    const struct record **differences;
    size_t count, cap;
    const struct record *few[16];
};

static void trail_add(struct trail *trail, struct arena *arena, const struct record *record) {
    if (LIKELY(record_is_whole(record))) {
        trail->base = record;
        trail->count = 0;
        return;
    }
    if (trail->count == trail->cap) {
        const struct record **more = arena_new(arena, trail->cap * 2 * sizeof *more);
        memcpy(more, trail->differences, trail->count * sizeof *more);
        trail->differences = more;
        trail->cap *= 2;
    }
    trail->differences[trail->count++] = record;
}

/* The state where the trail ends. */
static void trail_follow(const struct trail *trail, struct arena *arena, const struct entry *entry,
                         struct state *state) {
    if (trail->base)
        state_back(arena, state, trail->base);
    else
        state_of_entry(entry, state);
    for (size_t i = 0; i < trail->count; i++) state_back(arena, state, trail->differences[i]);
}

enum found past_state(struct txn *txn, struct shard *shard, uint32_t db, struct bytes name,
                      struct entry *entry, uint64_t at, struct value *out, uint64_t *oldest) {
    *oldest = shard->databases[db].barrier;
    if (at < *oldest) return PRUNED;
    if (!entry) return unknown_before(txn->store, shard, NULL, name, at, oldest) ? PRUNED : ABSENT;

    UNINITIALIZED struct trail trail;
    trail.base = NULL;
    trail.differences = trail.few;
    trail.count = 0;
    trail.cap = COUNT_OF(trail.few);
    uint64_t versions_max =
        atomic_load_explicit(&txn->store->history_versions_max, memory_order_relaxed);
    uint64_t versions = 1, birth = entry->stamp;
    for (uint64_t position = entry_history(entry); birth > at;) {
        const struct record *record = position ? history_at(&shard->history, position) : NULL;
        if (!record || (UNLIKELY(versions_max != 0) && ++versions > versions_max)) {
            uint64_t since = birth;
            if (position == 0 && !unknown_before(txn->store, shard, entry, name, at, &since))
                return ABSENT; /* before it was made */
            *oldest = since;
            return PRUNED;
        }
        trail_add(&trail, txn->arena, record);
        birth = record->birth;
        if (birth <= at) break; /* no look at what lies further back: it would be a cache miss */
        position = UNLIKELY(versions_max != 0) ? record->prev
                                               : step(&shard->history, record, position, at);
    }
    UNINITIALIZED struct state state;
    trail_follow(&trail, txn->arena, entry, &state);
    if (!state.exists) return ABSENT;
    int64_t expire = state.value.expire_at_ms;
    if (expire && expire <= (int64_t)(at / 1000000)) return ABSENT;
    *out = state.value;
    return FOUND;
}

uint64_t past_now(const struct txn *txn) {
    uint64_t last = atomic_load_explicit(&txn->worker->last, memory_order_relaxed);
    return last > txn->worker->now_ns ? last : txn->worker->now_ns;
}

/* The instant that is really read: thinned times are read at their interval's end. */
static uint64_t instant(const struct txn *txn, uint64_t at) {
    uint64_t resolution =
        atomic_load_explicit(&txn->store->resolution_seen_ns, memory_order_relaxed);
    if (UNLIKELY(resolution != 0)) at = at / resolution * resolution + (resolution - 1);
    uint64_t now = past_now(txn);
    return at > now ? now : at;
}

/* What was read as past stays as it is: the log is to know of it (store_past_seen). */
static void note_seen(struct store *store, uint64_t at) {
    uint64_t seen = atomic_load_explicit(&store->past_seen, memory_order_relaxed);
    while (at > seen &&
           !atomic_compare_exchange_weak_explicit(&store->past_seen, &seen, at,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

static struct entry *entry_in(const struct index *index, const struct key *key) {
    if (!index) return NULL;
    _Atomic uint64_t *slot;
    uint64_t word = 0;
    if (key->hint && key->hint_index == index)
        word = hint_find(key->hint, index_x(index, key->hash), key->name);
    if (!word) word = index_find(index, key->hash, key->name, &slot);
    return word ? word_entry(word) : NULL;
}

enum found past_read(struct txn *txn, const struct key *key, uint64_t at, struct value *out,
                     uint64_t *oldest) {
    struct shard *shard = store_shard(txn->store, key->shard);
    at = instant(txn, at);
    note_seen(txn->store, at);
    bool held = txn_holds(txn, shard->number);
    if (!held) lock_take(&shard->lock);
    shard_last_raise(shard, at); /* from now on no commit slips in at or below it */
    struct index *index = database_at(&shard->databases[key->db], at);
    enum found found =
        past_state(txn, shard, key->db, key->name, entry_in(index, key), at, out, oldest);
    if (found == FOUND) txn_keep(txn, out);
    txn_saw(txn, at); /* no commit slips in below it after a crash either */
    txn_leave(txn, shard);
    return found;
}

/* --- all versions of one key --- */

struct walk {
    struct txn *txn;
    struct shard *shard;
    const struct key *key;
    bool (*visit)(void *self, const struct version *version);
    void *self;
    uint64_t limit; /* versions after it are not shown */
    uint64_t now;   /* what ends before it is over */
    uint64_t versions, versions_max;
    uint64_t *oldest;
    /* An absence that was met and not yet shown: an older state may say that it began before. */
    bool absence;
    struct version absent;
    bool stopped;
};

static void show(struct walk *walk, const struct version *version) {
    if (walk->stopped || version->stamp > walk->limit) return;
    if (walk->versions_max && walk->versions == walk->versions_max) {
        walk->stopped = true;
        return;
    }
    walk->versions++;
    if (!walk->visit(walk->self, version)) walk->stopped = true;
}

static void show_absence(struct walk *walk) {
    if (walk->absence) show(walk, &walk->absent);
    walk->absence = false;
}

/* A state that held in [from, end): shown newest first. */
static void show_state(struct walk *walk, const struct state *state, uint64_t from, uint64_t end,
                       uint16_t actor) {
    if (!state->exists) {
        if (!walk->absence || from < walk->absent.stamp)
            walk->absent = (struct version){ .stamp = from, .actor = actor };
        walk->absence = true;
        return;
    }
    uint64_t expire = (uint64_t)state->value.expire_at_ms, over = end < walk->now ? end : walk->now;
    if (expire && expire <= UINT64_MAX / 1000000 && expire * 1000000 < over) {
        uint64_t due = expire * 1000000 < from ? from : expire * 1000000;
        walk->absence = true; /* however late the deletion came */
        walk->absent = (struct version){ .stamp = due, .actor = ACTOR_EXPIRED };
    }
    show_absence(walk);
    show(walk, &(struct version){ .stamp = from, .actor = actor, .value = &state->value });
}

/* The versions of one period. Returns false when the walk met what is not known. */
static bool walk_period(struct walk *walk, const struct index *index, uint64_t from, uint64_t to) {
    struct entry *entry = entry_in(index, walk->key);
    struct state state;
    if (!entry) {
        uint64_t oldest = 0;
        if (unknown_before(walk->txn->store, walk->shard, NULL, walk->key->name, from, &oldest)) {
            raise(walk->oldest, oldest);
            return false;
        }
        state = (struct state){ .exists = false, .value = { .stamp = from } };
        show_state(walk, &state, from, to, ACTOR_UNKNOWN);
        return true;
    }
    state_of_entry(entry, &state);
    uint64_t end = to;
    for (uint64_t position = entry_history(entry);;) {
        uint64_t birth = state.value.stamp;
        if (birth < from) { /* it came back with an UNFLUSH; its own time is an earlier period's */
            if (end > from) show_state(walk, &state, from, end, ACTOR_UNFLUSHED);
            return true;
        }
        if (birth < end) {
            show_state(walk, &state, birth, end, state.value.actor);
            end = birth;
        }
        if (walk->stopped) return false;
        const struct record *record = position ? history_at(&walk->shard->history, position) : NULL;
        if (!record) {
            *walk->oldest = birth;
            uint64_t ignored = 0;
            bool known = position == 0 && !unknown_before(walk->txn->store, walk->shard, entry,
                                                          walk->key->name, from, &ignored);
            if (known && end > from) { /* before its creation it was not there */
                struct state none = { .exists = false };
                show_state(walk, &none, from, end, ACTOR_UNKNOWN);
            }
            return known;
        }
        state_back(walk->txn->arena, &state, record);
        position = record->prev;
    }
}

bool past_versions(struct txn *txn, const struct key *key,
                   bool (*visit)(void *self, const struct version *version), void *self,
                   uint64_t *oldest) {
    struct shard *shard = store_shard(txn->store, key->shard);
    struct database *database = &shard->databases[key->db];
    struct walk walk = { .txn = txn,
                         .shard = shard,
                         .key = key,
                         .visit = visit,
                         .self = self,
                         .limit = txn->at ? instant(txn, txn->at) : UINT64_MAX,
                         .now = (uint64_t)txn->now_ms * 1000000 + 1,
                         .oldest = oldest };
    walk.versions_max =
        atomic_load_explicit(&txn->store->history_versions_max, memory_order_relaxed);
    *oldest = database->barrier;
    txn_look(txn, shard);
    shard_last_raise(shard, past_now(txn));
    uint64_t end = shard_last(shard) + 1;
    if (txn->stamp >= end) end = txn->stamp + 1;
    bool known = walk_period(&walk, database_now(database), database->since, end);
    uint64_t from = database->since;
    for (uint32_t i = 0; known && !walk.stopped && i < database->periods_count; i++) {
        const struct period *period = &database->periods[i];
        if (walk.absence)
            walk.absent.actor = ACTOR_FLUSHED; /* it began with that flush, if at all */
        known = walk_period(&walk, period->index, period->from, period->to);
        from = period->from;
    }
    if (known && from) { /* what was before that flush was dropped */
        known = walk.absence = false;
        raise(oldest, from);
    }
    /* An absence that goes back to the beginning is no version. */
    if (walk.absence && !known && !walk.stopped) show_absence(&walk);
    txn_leave(txn, shard);
    return known && !walk.stopped;
}

struct tally_versions {
    uint64_t versions;
};

static bool tally_version(void *self, const struct version *version) {
    (void)version;
    ((struct tally_versions *)self)->versions++;
    return true;
}

void past_info(struct txn *txn, const struct key *key, struct past_info *out) {
    struct tally_versions count = { 0 };
    *out = (struct past_info){ 0 };
    bool complete = past_versions(txn, key, tally_version, &count, &out->oldest);
    out->versions = count.versions;
    struct shard *shard = store_shard(txn->store, key->shard);
    txn_visit(txn, shard);
    if (complete) out->oldest = shard->databases[key->db].barrier;
    struct entry *entry = entry_in(database_now(&shard->databases[key->db]), key);
    for (uint64_t position = entry ? entry_history(entry) : 0; position;) {
        const struct record *record = history_at(&shard->history, position);
        if (!record) break;
        out->bytes += record_size(record);
        if (record->flags & RECORD_OWNED) out->bytes += blob_memory(record_view(record).blob);
        position = record->prev;
    }
    txn_leave(txn, shard);
}

uint64_t shard_horizon(const struct shard *shard) {
    uint64_t horizon = shard->forgotten;
    raise(&horizon, shard->history.dropped);
    return horizon;
}

uint64_t past_horizon(struct store *store, const struct txn *txn) {
    uint64_t horizon = 0;
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        txn_visit(txn, shard);
        raise(&horizon, shard_horizon(shard));
        for (unsigned db = 0; db < store->databases; db++)
            raise(&horizon, shard->databases[db].barrier);
        txn_leave(txn, shard);
    }
    return horizon;
}

uint64_t past_records(struct store *store, uint32_t db) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < store->shards_count; i++)
        sum += atomic_load_explicit(&store_shard(store, i)->history.db_records[db],
                                    memory_order_relaxed);
    return sum;
}
