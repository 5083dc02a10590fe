/* purge.c: forgetting for good: HISTORY PURGE. The present stays, and says that it had a past. */
#include "store/past.h"
#include "store/shard.h"

static void wipe_records(struct history *history, const struct entry *entry) {
    for (uint64_t position = entry_history(entry); position;) {
        const struct record *record = history_at(history, position);
        if (!record) return;
        uint64_t prev = record->prev;
        record_wipe(history, position);
        position = prev;
    }
}

/* Puts in the place of `before` an entry without a past, which says that it had one. `gone`: without
 * a present either, its tombstone being of `stamp`. */
static void forget_entry(struct txn *txn, const struct key *key, struct index *index,
                         _Atomic uint64_t *slot, struct entry *before, bool gone, uint64_t stamp) {
    struct shard *shard = store_shard(txn->store, key->shard);
    wipe_records(&shard->history, before);
    struct value value = { 0 };
    uint64_t position = 0;
    if (!gone) {
        entry_value(before, &value);
    } else if (entry_is_tombstone(before)) { /* it goes when this record does */
        position = history_put_state(&shard->history, before, txn->stamp, true, key->hash, key->db);
        history_cut(&shard->history, position);
    }
    struct effect state = { .kind = EFFECT_SET,
                            .type = value.type,
                            .encoding = value.encoding,
                            .number = value.number,
                            .expire_at_ms = value.expire_at_ms,
                            .bytes = value.bytes,
                            .blob = value.blob ? blob_ref(value.blob) : NULL };
    unsigned words = before->words & (ENTRY_LASTING | ENTRY_ARMED);
    struct entry *after = entry_new(txn, key->name, &state, words | ENTRY_PURGED, position);
    after->stamp = stamp;
    after->actor = gone ? ACTOR_UNKNOWN : before->actor;
    entry_count_swap(index, before, after);
    index_replace(slot, after);
    entry_retire(txn->worker, before);
}

void past_purge_flushed(struct txn *txn, const struct key *key) {
    struct database *database = &store_shard(txn->store, key->shard)->databases[key->db];
    const struct index *now = database_now(database);
    assert(txn_holds(txn, key->shard));
    txn->last.index = NULL;
    for (uint32_t i = 0; i < database->periods_count; i++) {
        struct period *period = &database->periods[i];
        bool met = !period->index || period->index == now;
        for (uint32_t n = 0; n < i; n++) met |= database->periods[n].index == period->index;
        if (met) continue; /* a table is purged once, as of the last time it was put aside */
        _Atomic uint64_t *slot = NULL;
        uint64_t word = index_find(period->index, key->hash, key->name, &slot);
        if (word) forget_entry(txn, key, period->index, slot, word_entry(word), true, period->to);
    }
}

void past_purge(struct txn *txn, const struct key *key) {
    struct shard *shard = store_shard(txn->store, key->shard);
    struct database *database = &shard->databases[key->db];
    assert(txn_holds(txn, key->shard));
    struct entry *entry = txn_find(txn, key);
    struct index *index = database_now(database);
    if (entry)
        forget_entry(txn, key, index, txn->last.slot, entry, entry_is_tombstone(entry),
                     entry->stamp);
    past_purge_flushed(txn, key);
    txn->changes++;
    redo_put(shard, txn, key->db, key->name, &(struct effect){ .kind = EFFECT_PURGE });
}
