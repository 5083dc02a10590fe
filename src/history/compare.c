/* compare.c: DIFF and REVERT: the past against the present, and back to it. */
#include "base/glob.h"
#include "command/command.h"
#include "command/pulse.h"
#include "history/history.h"
#include "history/instant.h"
#include "store/past.h"

/* A DIFF MATCH cursor walks the keys there are at `to`, then those there were at `from`. */
enum { PHASE_BIT = 48, DIFF_COUNT = 10 };

struct match {
    struct call *call;
    struct bytes pattern;
    struct name **list;
    bool all;
};

static void match_name(void *self, const struct key *key, const struct value *value) {
    struct match *match = self;
    (void)value;
    if (!match->all && !glob_match(match->pattern, key->name, false)) return;
    struct name *name = arena_new(match->call->arena, sizeof *name);
    *name = (struct name){ *match->list, arena_copy(match->call->arena, key->name) };
    *match->list = name;
}

/* One step of a walk over the keys as of `at`; the next cursor. */
static uint64_t scan_names(struct call *call, uint64_t at, struct bytes pattern, uint64_t cursor,
                           size_t count, struct name **list) {
    struct match match = {
        .call = call, .pattern = pattern, .list = list, .all = bytes_equal(pattern, BYTES("*"))
    };
    struct txn *txn = call->txn;
    uint64_t outer = txn->at;
    int64_t outer_ms = txn->now_ms;
    txn->at = at;
    if (at) txn->now_ms = (int64_t)(at / 1000000);
    cursor = txn_scan(txn, call->session->db, cursor, count, match_name, &match);
    txn->at = outer;
    txn->now_ms = outer_ms;
    return cursor;
}

void names_matching(struct call *call, uint64_t at, struct bytes pattern, struct name **list) {
    uint64_t cursor = 0;
    do cursor = scan_names(call, at, pattern, cursor, 1000, list);
    while (cursor);
}

bool same_state(const struct value *a, const struct value *b, bool with_expiry) {
    if (!a || !b) return !a && !b;
    if (a->type != b->type || (with_expiry && a->expire_at_ms != b->expire_at_ms)) return false;
    char one[INT_TEXT_MAX], other[INT_TEXT_MAX];
    return bytes_equal(value_text(a, one), value_text(b, other));
}

/* The key's state at `at`; `*value` is NULL or `scratch`. false: not known, and answered. */
static bool state_at(struct call *call, const struct key *key, uint64_t at, struct value *scratch,
                     const struct value **value) {
    uint64_t oldest = 0;
    enum found found = past_read(call->txn, key, at, scratch, &oldest);
    if (found == PRUNED) {
        fail_pruned(call, oldest);
        return false;
    }
    *value = found == FOUND ? scratch : NULL;
    return true;
}

static void reply_state(struct call *call, const struct value *value) {
    if (value)
        reply_value(call, value);
    else
        reply_null(call);
}

static enum outcome diff_key(struct call *call) {
    struct key key = call_key(call, 1);
    uint64_t from, to;
    if (!arg_instant(call, 2, &from) || !arg_instant(call, 3, &to)) return FAILED;
    struct value scratch[2];
    const struct value *before, *after;
    if (!state_at(call, &key, from, &scratch[0], &before) ||
        !state_at(call, &key, to, &scratch[1], &after))
        return FAILED;
    bool same = same_state(before, after, false);
    call->reply->writer->array(call->reply, same ? 0 : 1);
    if (same) return DONE;
    call->reply->writer->array(call->reply, 3); /* a string is one element without a name */
    reply_null(call);
    reply_state(call, before);
    reply_state(call, after);
    return DONE;
}

struct differing {
    struct differing *next;
    struct bytes name;
    const char *how;
};

/* What of `names` differs, appended. The second phase only looks for what is gone. */
static bool compare_names(struct call *call, const struct name *names, uint64_t from, uint64_t to,
                          bool gone_only, struct differing ***last, size_t *count) {
    for (; names; names = names->next) {
        struct key key = call_key_of(call, call->session->db, names->bytes);
        struct value scratch[2];
        const struct value *before, *after;
        if (!state_at(call, &key, from, &scratch[0], &before) ||
            !state_at(call, &key, to, &scratch[1], &after))
            return false;
        if (gone_only ? after != NULL || !before : same_state(before, after, false)) continue;
        struct differing *row = arena_new(call->arena, sizeof *row);
        *row = (struct differing){ NULL, names->bytes,
                                   !before  ? "added"
                                   : !after ? "removed"
                                            : "changed" };
        **last = row;
        *last = &row->next;
        ++*count;
    }
    return true;
}

static enum outcome diff_match(struct call *call) {
    uint64_t from, to, cursor = 0;
    if (!arg_instant(call, 3, &from) || !arg_instant(call, 4, &to)) return FAILED;
    int64_t wanted = 0, at = 0;
    size_t i;
    bool paged = false;
    for (struct words w = call_rest(call, 5); words_left(&w);) {
        if (words_take_value(&w, BYTES("COUNT"), &i)) {
            if (!arg_positive(call, i, &wanted)) return FAILED;
            if (!wanted) return fail(call, ERR_SYNTAX); /* as SCAN */
        } else if (words_take_value(&w, BYTES("CURSOR"), &i)) {
            if (!int_parse(call->args[i], &at) || at < 0) return fail(call, "ERR invalid cursor");
        } else {
            return fail(call, ERR_SYNTAX);
        }
        paged = true;
    }
    if (!wanted) wanted = DIFF_COUNT;
    cursor = (uint64_t)at;
    struct differing *rows = NULL, **last = &rows;
    size_t count = 0;
    do { /* the whole walk, or one step of it */
        bool gone = cursor >> PHASE_BIT & 1;
        uint64_t place = cursor & (((uint64_t)1 << PHASE_BIT) - 1);
        struct name *names = NULL;
        place = scan_names(call, gone ? from : to, call->args[2], place,
                           paged ? (size_t)wanted : 1000, &names);
        if (call->txn->pruned) return fail_pruned(call, call->txn->pruned_before);
        if (!compare_names(call, names, from, to, gone, &last, &count)) return FAILED;
        cursor = place ? (uint64_t)gone << PHASE_BIT | place : gone ? 0 : (uint64_t)1 << PHASE_BIT;
    } while (cursor && !paged);

    if (paged) {
        char text[INT_TEXT_MAX];
        call->reply->writer->array(call->reply, 2);
        reply_bulk(call, (struct bytes){ text, uint_format(text, cursor) });
    }
    call->reply->writer->array(call->reply, count);
    for (const struct differing *row = rows; row; row = row->next) {
        call->reply->writer->array(call->reply, 2);
        reply_bulk(call, row->name);
        reply_text(call, row->how);
    }
    return DONE;
}

static enum outcome diff(struct call *call) {
    if (call->args_count == 4) return diff_key(call);
    if (call->args_count >= 5 && arg_is(call, 1, BYTES("MATCH"))) return diff_match(call);
    return fail(call, ERR_SYNTAX);
}

/* The form with a key has one, at word 1; the one with a pattern has none that are known. */
static bool one_key_if(bool key, struct key_positions *out) {
    out->at = out->few;
    out->few[0] = 1;
    out->count = key;
    return true;
}

static bool diff_keys(const struct commands *commands, const struct bytes *args, size_t count,
                      struct arena *arena, struct key_positions *out) {
    (void)commands;
    (void)args;
    (void)arena;
    return one_key_if(count == 4, out);
}

static bool revert_keys(const struct commands *commands, const struct bytes *args, size_t count,
                        struct arena *arena, struct key_positions *out) {
    (void)commands;
    (void)args;
    (void)arena;
    return one_key_if(count == 3, out);
}

enum reverted { UNCHANGED, CHANGED, REFUSED /* and answered */ };

static enum reverted revert_key(struct call *call, const struct key *key, uint64_t at,
                                bool dry_run) {
    struct value then, now;
    const struct value *before, *present = txn_read(call->txn, key, &now) ? &now : NULL;
    if (!state_at(call, key, at, &then, &before)) return REFUSED;
    if (before && before->expire_at_ms && before->expire_at_ms <= call->txn->now_ms)
        before = NULL; /* its time is over by now */
    if (same_state(before, present, true)) return UNCHANGED;
    if (dry_run) return CHANGED;
    if (!before) {
        txn_delete(call->txn, key);
    } else if (txn_set_value(call->txn, key, before) != OK) {
        fail(call, ERR_NO_MEMORY);
        return REFUSED;
    }
    return CHANGED;
}

/* `absent_only`: those that are there now had their turn. */
static bool revert_names(struct call *call, const struct name *names, uint64_t at, bool dry_run,
                         bool absent_only, int64_t *changed) {
    for (; names; names = names->next) {
        struct key key = call_key_of(call, call->session->db, names->bytes);
        struct value value;
        if (absent_only && txn_read(call->txn, &key, &value)) continue;
        enum reverted done = revert_key(call, &key, at, dry_run);
        if (done == REFUSED) return false;
        *changed += done == CHANGED;
    }
    return true;
}

static enum outcome revert(struct call *call) {
    uint64_t at;
    if (call->args_count == 3) {
        if (!arg_instant(call, 2, &at)) return FAILED;
        struct key key = call_key(call, 1);
        enum reverted done = revert_key(call, &key, at, false);
        return done == REFUSED ? FAILED : reply_int(call, done == CHANGED);
    }
    bool dry_run = call->args_count == 5;
    if (!arg_is(call, 1, BYTES("MATCH")) || call->args_count > 5 ||
        (dry_run && !arg_is(call, 4, BYTES("DRYRUN"))))
        return fail(call, ERR_SYNTAX);
    if (!arg_instant(call, 3, &at)) return FAILED;
    struct name *present = NULL, *past = NULL;
    names_matching(call, 0, call->args[2], &present);
    names_matching(call, at, call->args[2], &past);
    if (call->txn->pruned) return fail_pruned(call, call->txn->pruned_before);
    int64_t changed = 0;
    if (!revert_names(call, present, at, dry_run, false, &changed) ||
        !revert_names(call, past, at, dry_run, true, &changed))
        return FAILED;
    return reply_int(call, changed);
}

COMMAND(diff) = {
    .synopsis = "DIFF <key from to | MATCH pattern:pattern from to [COUNT count:int] "
                "[CURSOR cursor:int]>",
    .summary = "Tells what changed between two instants: in one key, or which keys.",
    .since = "pulse 1.0",
    .group = "history",
    .complexity = "O(1) for a key, O(N) for a pattern with N the keys of the database",
    .flags = CMD_READONLY | CMD_UNLOCKED | CMD_PAST,
    .keys = KEY_RO | KEY_ACCESS,
    .acl = ACL_KEYSPACE,
    .arity = -4,
    .run = diff,
    .find_keys = diff_keys,
};

COMMAND(revert) = {
    .synopsis = "REVERT <key instant | MATCH pattern:pattern instant [DRYRUN]>",
    .summary = "Puts a key, or every key of a pattern, back as it was at an instant.",
    .since = "pulse 1.0",
    .group = "history",
    .complexity = "O(1) for a key, O(N) for a pattern with N the keys of the database",
    .event = "revert",
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_ALL_SHARDS | CMD_UNDO,
    .keys = KEY_OW | KEY_UPDATE,
    .acl = ACL_KEYSPACE | ACL_DANGEROUS,
    .arity = -3,
    .run = revert,
    .find_keys = revert_keys,
};
