/* splice.c: strings that change in a part: APPEND, SETRANGE, and their replay. */
#include "base/arena.h"
#include "store/shard.h"

void blob_splice(struct blob *blob, uint64_t offset, struct bytes bytes, uint64_t length) {
    if (offset > blob->len) memset(blob->data + blob->len, 0, offset - blob->len);
    if (bytes.len) memcpy(blob->data + offset, bytes.data, bytes.len);
    blob->len = length;
}

/* Whether an entry has what a change in place must leave behind: a history word for its record, or
 * else the bit that says that its past is not known. */
static bool changes_in_place(const struct txn *txn, const struct entry *entry) {
    bool records = atomic_load_explicit(&txn->store->history, memory_order_relaxed) &&
                   !(entry->words & ENTRY_EXCLUDED);
    return entry->words & (records ? ENTRY_HISTORY : ENTRY_PRUNED);
}

/* Overwrites a part of a string: in place where that works, else by a new value. `*out`: its length then;
 * `*made`: there was none. */
static enum status splice(struct txn *txn, const struct key *key, uint64_t offset,
                          struct bytes bytes, uint64_t *out, bool *made) {
    struct value value = { 0 };
    char scratch[INT_TEXT_MAX];
    bool found = txn_read_locked(txn, key, &value);
    assert(!found || value.type == VALUE_STRING);
    struct bytes old = found ? value_text(&value, scratch) : (struct bytes){ 0 };
    uint64_t length = offset + bytes.len > old.len ? offset + bytes.len : old.len;
    *out = length;
    *made = !found;

    struct entry *entry = found ? txn_find(txn, key) : NULL;
    if (entry && value.encoding == STRING_BUFFER && length <= value.blob->cap &&
        changes_in_place(txn, entry)) {
        txn_apply(txn, key,
                  &(struct effect){
                      .kind = EFFECT_SPLICE, .offset = offset, .bytes = bytes, .length = length });
        return OK;
    }
    struct effect effect = { .kind = EFFECT_SET,
                             .type = VALUE_STRING,
                             .encoding = STRING_EDITED,
                             .expire_at_ms = value.expire_at_ms };
    if (length + key->name.len <= STRING_INLINE_MAX) {
        char *text = arena_new(txn->arena, length ? length : 1);
        if (old.len) memcpy(text, old.data, old.len);
        if (offset > old.len) memset(text + old.len, 0, offset - old.len);
        if (bytes.len) memcpy(text + offset, bytes.data, bytes.len);
        effect.bytes = (struct bytes){ text, length };
    } else {
        /* Room to grow by half, so that appending is linear in all. */
        struct blob *blob = blob_try(0, length + length / 2);
        if (!blob) return NO_MEMORY;
        if (old.len) memcpy(blob->data, old.data, old.len);
        blob->len = old.len;
        blob_splice(blob, offset, bytes, length);
        effect.encoding = STRING_BUFFER;
        effect.blob = blob;
    }
    txn_apply(txn, key, &effect);
    return OK;
}

enum status txn_splice(struct txn *txn, const struct key *key, uint64_t offset,
                       struct bytes bytes) {
    assert(!txn->unlocked && txn->at == 0);
    struct effect effect = { .kind = EFFECT_SPLICE, .offset = offset, .bytes = bytes };
    bool made;
    uint32_t told = txn->told_count;
    txn_tell(txn, key, EFFECT_SPLICE, CAUSE_COMMAND);
    enum status status = splice(txn, key, offset, bytes, &effect.length, &made);
    if (status != OK) {
        if (txn->told_count > told) txn->told_count--;
        return status;
    }
    struct shard *shard = store_shard(txn->store, key->shard);
    /* A replay that does not find the key must know whether it missed a state of it or made it. */
    struct effect empty = { .kind = EFFECT_SET, .type = VALUE_STRING, .encoding = STRING_EDITED };
    if (made) redo_put(shard, txn, key->db, key->name, &empty);
    /* However it was done: the log has what was asked for, which is small. */
    redo_put(shard, txn, key->db, key->name, &effect);
    return OK;
}

enum status txn_replay(struct txn *txn, const struct key *key, const struct effect *effect) {
    uint64_t length;
    const struct entry *entry = txn_find(txn, key);
    bool there = entry && !entry_is_tombstone(entry);
    if (effect->kind == EFFECT_SPLICE) {
        if (!there || entry_type(entry) != VALUE_STRING) return OK;
        bool made;
        return splice(txn, key, effect->offset, effect->bytes, &length, &made);
    }
    /* A key that is not in a snapshot, because it was deleted before it was visited, may still be changed and
     * deleted in the log: that passes it by. */
    if (there || effect->kind == EFFECT_SET) txn_apply(txn, key, effect);
    return OK;
}
