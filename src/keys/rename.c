/* rename.c: a key's state moves, or is copied, under another name or into another database: RENAME,
 * RENAMENX, COPY, MOVE. When it ends goes with it; its past stays where it was.
 *
 * The new key is made before the old one goes, so that a refusal of memory leaves both as they were. */
#include "command/command.h"
#include "command/pulse.h"

/* Makes `to` what `from` is, which is `value` (borrowed), and deletes `from`. */
static bool move_state(struct txn *txn, const struct key *from, const char *event_from,
                       const struct key *to, const char *event_to, const struct value *value) {
    txn->flags |= TXN_MULTI | TXN_FRESH; /* nobody sees it in both places, or in none */
    txn->event = NULL;                   /* told when both have happened, in Redis' order */
    if (txn_set_value(txn, to, value) != OK) return false;
    txn_delete(txn, from);
    txn_also(txn, from, event_from);
    txn_also(txn, to, event_to);
    return true;
}

static enum outcome rename_to(struct call *call, bool if_absent) {
    struct key from = call_key(call, 1), to = call_key(call, 2);
    struct value value, other;
    if (!txn_read(call->txn, &from, &value)) return fail(call, ERR_NO_SUCH_KEY);
    bool same = bytes_equal(from.name, to.name);
    if (if_absent && (same || txn_read(call->txn, &to, &other))) return reply_int(call, 0);
    if (!same && !move_state(call->txn, &from, "rename_from", &to, "rename_to", &value))
        return fail(call, ERR_NO_MEMORY);
    return if_absent ? reply_int(call, 1) : reply_ok(call);
}

static enum outcome rename_key(struct call *call) {
    return rename_to(call, false);
}

static enum outcome renamenx(struct call *call) {
    return rename_to(call, true);
}

static bool arg_db(struct call *call, size_t i, uint32_t *db) {
    int64_t n;
    if (!arg_int_range(call, i, INT32_MIN, INT32_MAX, &n)) return false;
    if (n >= 0 && n < store_databases(call->pulse->store)) {
        *db = (uint32_t)n;
        return true;
    }
    fail(call, ERR_DB_INDEX);
    return false;
}

static enum outcome fail_same(struct call *call) {
    return fail(call, "ERR source and destination objects are the same");
}

static bool copy_options(struct call *call, uint32_t *db, bool *replace) {
    for (struct words w = call_rest(call, 3); words_left(&w);) {
        size_t value;
        if (words_take(&w, BYTES("REPLACE"))) {
            *replace = true;
        } else if (words_take_value(&w, BYTES("DB"), &value)) {
            if (!arg_db(call, value, db)) return false;
        } else {
            fail(call, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static enum outcome copy(struct call *call) {
    uint32_t db = call->session->db;
    bool replace = false;
    if (!copy_options(call, &db, &replace)) return FAILED;
    struct key from = call_key(call, 1), to = call_key_of(call, db, call->args[2]);
    if (from.db == to.db && bytes_equal(from.name, to.name)) return fail_same(call);
    struct value value, other;
    if (!call_read(call, &from, &value)) return reply_int(call, 0);
    if (!replace && txn_read(call->txn, &to, &other)) return reply_int(call, 0);
    call->txn->flags |= TXN_FRESH;
    if (txn_set_value(call->txn, &to, &value) != OK) return fail(call, ERR_NO_MEMORY);
    return reply_int(call, 1);
}

static enum outcome move(struct call *call) {
    uint32_t db;
    if (!arg_db(call, 2, &db)) return FAILED;
    if (db == call->session->db) return fail_same(call);
    struct key from = call_key(call, 1), to = call_key_of(call, db, call->args[1]);
    struct value value, other;
    if (!txn_read(call->txn, &from, &value)) return reply_int(call, 0);
    if (txn_read(call->txn, &to, &other)) return reply_int(call, 0);
    if (!move_state(call->txn, &from, "move_from", &to, "move_to", &value))
        return fail(call, ERR_NO_MEMORY);
    return reply_int(call, 1);
}

COMMAND(rename) = {
    .synopsis = "RENAME key newkey:key",
    .summary = "Gives a key another name, in place of the key that bears it.",
    .since = "1.0.0",
    .group = "generic",
    .complexity = "O(1)",
    .event = "rename_to",
    .flags = CMD_WRITE,
    .keys = KEY_RW | KEY_ACCESS | KEY_DELETE,
    .keys_two = KEY_OW | KEY_UPDATE,
    .acl = ACL_KEYSPACE,
    .run = rename_key,
};

COMMAND(renamenx) = {
    .synopsis = "RENAMENX key newkey:key",
    .summary = "Gives a key another name if no key bears it.",
    .since = "1.0.0",
    .group = "generic",
    .complexity = "O(1)",
    .history = "3.2.0: Twice the same name is no error.",
    .event = "rename_to",
    .flags = CMD_WRITE | CMD_FAST,
    .keys = KEY_RW | KEY_ACCESS | KEY_DELETE,
    .keys_two = KEY_OW | KEY_INSERT,
    .acl = ACL_KEYSPACE,
    .run = renamenx,
};

COMMAND(copy) = {
    .synopsis = "COPY source:key destination:key [DB destination-db:int] [REPLACE]",
    .summary = "Makes one key the same as another, in any database.",
    .since = "6.2.0",
    .group = "generic",
    .complexity = "O(N) worst case for collections, where N is the number of nested items. O(1) "
                  "for string values.",
    .event = "copy_to",
    .flags = CMD_WRITE | CMD_DENYOOM,
    .keys = KEY_RO | KEY_ACCESS,
    .keys_two = KEY_OW | KEY_UPDATE,
    .acl = ACL_KEYSPACE,
    .run = copy,
};

COMMAND(move) = {
    .synopsis = "MOVE key db:int",
    .summary = "Moves a key into another database that has none of its name.",
    .since = "1.0.0",
    .group = "generic",
    .complexity = "O(1)",
    .event = "move_to",
    .flags = CMD_WRITE | CMD_FAST,
    .keys = KEY_RW | KEY_ACCESS | KEY_UPDATE,
    .acl = ACL_KEYSPACE,
    .run = move,
};
