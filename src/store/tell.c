/* tell.c: what the sinks are told: rows are noted while a transaction goes on, and told when it commits.
 *
 *     a change of data      only while a sink listens (txn_tell), just before it is applied
 *     what is said          always (txn_say)
 *     what is read in vain  when the reader asks for it (txn_missed)
 *
 * Rows lie in the transaction's arena. A rollback drops those after its savepoint. */
#include "base/arena.h"
#include "store/shard.h"

static struct change *told_new(struct txn *txn) {
    if (txn->told_count == txn->told_cap) {
        uint32_t cap = txn->told_cap ? txn->told_cap * 2 : 8;
        struct change *told = arena_new(txn->arena, cap * sizeof *told);
        if (txn->told_count) memcpy(told, txn->told, txn->told_count * sizeof *told);
        txn->told = told;
        txn->told_cap = cap;
    }
    return &txn->told[txn->told_count++];
}

COLD void txn_note(struct txn *txn, const struct key *key, uint8_t kind, uint8_t cause) {
    const char *event = cause == CAUSE_EXPIRED   ? "expired"
                        : cause == CAUSE_EVICTED ? "evicted"
                                                 : txn->event;
    bool fresh = false;
    if (cause == CAUSE_COMMAND && (kind == EFFECT_SET || kind == EFFECT_SPLICE)) {
        struct value value; /* a key whose time is over is told so, and then is a new one */
        fresh = !txn_read_locked(txn, key, &value) || txn->flags & TXN_FRESH;
    }
    struct change *change = told_new(txn);
    *change = (struct change){ *key, event, .kind = kind, .cause = cause, .fresh = fresh };
    if (cause == CAUSE_COMMAND) change->session = txn->session;
    change->key.name = arena_copy(txn->arena, key->name);
}

void txn_say(struct txn *txn, const char *event, struct bytes channel, struct bytes text,
             uint64_t gate) {
    if (txn->store->sinks_count == 0) return;
    *told_new(txn) = (struct change){ .key.name = arena_copy(txn->arena, channel),
                                      .event = event,
                                      .text = arena_copy(txn->arena, text),
                                      .gate = gate,
                                      .cause = CAUSE_SAID };
}

void txn_also(struct txn *txn, const struct key *key, const char *event) {
    if (LIKELY(atomic_load_explicit(&txn->store->listeners, memory_order_relaxed) == 0)) return;
    struct change *change = told_new(txn);
    *change = (struct change){ *key, event, .cause = CAUSE_ALSO };
    change->key.name = arena_copy(txn->arena, key->name);
}

COLD void txn_missed(struct txn *txn, const struct key *key) {
    if (txn->at != 0) return; /* that it was not there is no news */
    const struct change missed = { *key, "keymiss", .cause = CAUSE_MISSED };
    if (txn->unlocked) {
        for (size_t i = 0; i < txn->store->sinks_count; i++) {
            struct sink *sink = txn->store->sinks[i];
            sink->committed(sink, 0, &missed, 1);
        }
        return;
    }
    struct change *change = told_new(txn);
    *change = missed;
    change->key.name = arena_copy(txn->arena, key->name);
}

void store_listen(struct store *store, struct sink *sink, bool on) {
    if (atomic_exchange_explicit(&sink->listens, on, memory_order_seq_cst) == on) return;
    atomic_fetch_add_explicit(&store->listeners, on ? 1 : UINT32_MAX, memory_order_seq_cst);
}

void store_settle(struct store *store) {
    for (unsigned i = 0; i < store->shards_count; i++) {
        struct shard *shard = store_shard(store, i);
        lock_take(&shard->lock);
        lock_release(&shard->lock);
    }
}

void txn_tell_database(struct txn *txn, uint32_t db, uint8_t kind) {
    txn_tell(txn, &(struct key){ .db = db }, kind, CAUSE_COMMAND);
}

COLD void txn_tell_sinks(struct txn *txn) {
    uint64_t stamp = txn->changes ? txn->stamp : 0;
    for (size_t i = 0; i < txn->store->sinks_count; i++) {
        struct sink *sink = txn->store->sinks[i];
        sink->committed(sink, stamp, txn->told, txn->told_count);
    }
}
