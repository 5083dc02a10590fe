/* multi.c: MULTI, EXEC, DISCARD, WATCH, UNWATCH. */
#include "command/multi.h"

#include "base/mem.h"
#include "command/command.h"
#include "command/dispatch.h"
#include "command/monitor.h"
#include "command/observe.h"
#include "command/pulse.h"
#include "command/tracking.h"

struct queued {
    const struct command_info *info;
    struct bytes *args; /* one allocation: the array, then the words */
    size_t count, size;
};

struct watched {
    struct bytes name; /* mem_new'd */
    uint32_t db;
    uint64_t stamp, seen; /* txn_watch */
};

struct multi {
    bool rollback; /* MULTI ROLLBACK: all or nothing */
    struct queued *queue;
    size_t count, cap;
    size_t size; /* bytes of all queued words */
    struct watched *watched;
    size_t watched_count, watched_cap;
};

static struct multi *multi_of(struct session *session) {
    if (!session->multi) session->multi = mem_new_zero(sizeof *session->multi);
    return session->multi;
}

static void show(struct session *session) {
    const struct multi *multi = session->multi;
    atomic_store_explicit(&session->multi_count, (uint32_t)multi->count, memory_order_relaxed);
    size_t size = multi->size + multi->cap * sizeof *multi->queue +
                  multi->watched_cap * sizeof *multi->watched;
    atomic_store_explicit(&session->multi_size, size, memory_order_relaxed);
    atomic_store_explicit(&session->watch_count, (uint32_t)multi->watched_count,
                          memory_order_relaxed);
}

static void queue_clear(struct multi *multi) {
    for (size_t i = 0; i < multi->count; i++) mem_free(multi->queue[i].args, multi->queue[i].size);
    mem_free(multi->queue, multi->cap * sizeof *multi->queue);
    multi->queue = NULL;
    multi->count = multi->cap = multi->size = 0;
}

static void watched_clear(struct multi *multi) {
    for (size_t i = 0; i < multi->watched_count; i++)
        mem_free((char *)(uintptr_t)multi->watched[i].name.data, multi->watched[i].name.len + 1);
    mem_free(multi->watched, multi->watched_cap * sizeof *multi->watched);
    multi->watched = NULL;
    multi->watched_count = multi->watched_cap = 0;
}

struct multi *multi_free(struct multi *multi) {
    if (!multi) return NULL;
    queue_clear(multi);
    watched_clear(multi);
    mem_free(multi, sizeof *multi);
    return NULL;
}

void multi_discard(struct session *session) {
    session_flag_set(session, SESSION_MULTI, false);
    session_flag_set(session, SESSION_DIRTY_EXEC, false);
    if (!session->multi) return;
    session->multi->rollback = false;
    queue_clear(session->multi);
    watched_clear(session->multi);
    show(session);
}

void multi_spoil(struct session *session) {
    if (session_has(session, SESSION_MULTI)) session_flag_set(session, SESSION_DIRTY_EXEC, true);
}

/* Of the server's own state and of whole databases nothing is taken back. */
static bool can_be_undone(const struct command_info *info) {
    return !(info->flags & (CMD_NO_UNDO | CMD_ADMIN | CMD_NOSCRIPT));
}

enum outcome multi_queue(struct call *call) {
    struct multi *multi = multi_of(call->session);
    if (multi->rollback && !can_be_undone(call->info)) {
        multi_spoil(call->session);
        return fail_format(call,
                           "ERR '%.*s' cannot be undone, so it cannot be part of MULTI ROLLBACK",
                           (int)call->info->name.len, call->info->name.data);
    }
    size_t size = call->args_count * sizeof(struct bytes);
    for (size_t i = 0; i < call->args_count; i++) size += call->args[i].len;
    if (multi->count == MULTI_COMMANDS_MAX || size > MULTI_SIZE_MAX - multi->size) {
        multi_spoil(call->session);
        return fail_format(call,
                           "ERR this transaction is too large: at most %d commands and %d bytes",
                           MULTI_COMMANDS_MAX, MULTI_SIZE_MAX);
    }
    if (multi->count == multi->cap) {
        size_t cap = multi->cap ? multi->cap * 2 : 8;
        multi->queue =
            mem_resize(multi->queue, multi->cap * sizeof *multi->queue, cap * sizeof *multi->queue);
        multi->cap = cap;
    }
    struct bytes *args = size < MEM_TRY_MIN ? mem_new(size) : mem_try(size);
    if (!args) {
        multi_spoil(call->session);
        return fail(call, ERR_NO_MEMORY);
    }
    char *at = (char *)(args + call->args_count);
    for (size_t i = 0; i < call->args_count; i++) {
        args[i] = (struct bytes){ at, call->args[i].len };
        if (args[i].len) memcpy(at, call->args[i].data, args[i].len);
        at += args[i].len;
    }
    multi->queue[multi->count++] = (struct queued){ call->info, args, call->args_count, size };
    multi->size += size;
    show(call->session);
    return reply_status(call, "QUEUED");
}

static enum outcome multi(struct call *call) {
    bool rollback = call->args_count == 2;
    if (rollback && !arg_is(call, 1, BYTES("ROLLBACK"))) {
        multi_spoil(call->session);
        return fail_arity(call);
    }
    if (session_has(call->session, SESSION_MULTI))
        return fail(call, "ERR MULTI calls can not be nested");
    multi_of(call->session)->rollback = rollback;
    session_flag_set(call->session, SESSION_MULTI, true);
    show(call->session);
    return reply_ok(call);
}

static enum outcome discard(struct call *call) {
    if (!session_has(call->session, SESSION_MULTI)) return fail(call, "ERR DISCARD without MULTI");
    multi_discard(call->session);
    return reply_ok(call);
}

static bool watches_hold(struct call *call, struct txn *txn) {
    const struct multi *multi = call->session->multi;
    for (size_t i = 0; i < multi->watched_count; i++) {
        const struct watched *watched = &multi->watched[i];
        struct key key = call_key_of(call, watched->db, watched->name);
        if (!txn_unchanged(txn, &key, watched->stamp, watched->seen)) return false;
    }
    return true;
}

/* It is counted as if it had been sent alone; EXEC has not failed because it has. */
static void note(const struct call *inner, uint64_t errors, uint64_t *ticks) {
    struct observer *observer = inner->pulse->observer;
    uint64_t now = ticks_now(), more = inner->reply->errors - errors;
    if (UNLIKELY(more != 0)) {
        counter_add(worker_counters(inner->worker), COUNTER_error_replies, more);
        observer_errors(observer, inner->calls, bytes_of(inner->reply->error_code), more);
        calls_fail(inner->calls, inner->info->id);
        inner->reply->errors = errors;
    }
    observer_ran(observer, inner->calls, inner, now - *ticks);
    *ticks = now;
}

/* Users may have changed since it was queued. */
static enum outcome fail_changed(struct call *call, const struct acl_denied *why) {
    return fail_format(
        call,
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC "
        "call. This command is no longer allowed for the following reason: %s",
        why->reason == ACL_DENIED_COMMAND ? "no permission to execute the command or subcommand"
        : why->reason == ACL_DENIED_KEY   ? "no permission to touch the specified keys"
                                          : "no permission to access one of the channels used as "
                                            "arguments to the command");
}

static enum outcome run_one(struct call *call, struct txn *txn) {
    struct acl_denied why;
    if (!dispatch_allows(call, ACL_IN_MULTI, &why)) return fail_changed(call, &why);
    if (!command_arity_fits(call->info, call->args_count)) return fail_arity(call);
    return dispatch_run(call, txn);
}

static struct call call_queued(const struct call *call, const struct queued *queued) {
    struct call inner = *call;
    inner.info = queued->info;
    inner.args = queued->args;
    inner.args_count = queued->count;
    inner.first = NULL;
    inner.in_multi = true;
    return inner;
}

/* One queued command, in the transaction of all. It began at `*ticks`, which becomes when it ended. Whether it answered
 * without an error. */
static bool run_queued(struct call *call, struct txn *txn, const struct queued *queued,
                       uint64_t *ticks) {
    struct call inner = call_queued(call, queued);
    uint64_t errors = call->reply->errors;
    struct out_mark mark = out_mark(call->reply->out);
    bool past = call->session->at && queued->info->flags & CMD_READONLY;
    txn->at = past ? call->session->at : 0;
    txn->now_ms = past ? (int64_t)(txn->at / 1000000) : worker_now_ms(call->worker);
    txn->pruned = false;
    txn->flags &=
        (uint8_t) ~(TXN_EXPIRE | TXN_NO_TOUCH | TXN_FRESH); /* what the command before asked for */
    bool undo = queued->info->flags & CMD_UNDO && !(txn->flags & TXN_UNDO);
    if (undo) txn->flags |= TXN_UNDO;
    struct savepoint before = txn_savepoint(txn);
    enum outcome outcome = run_one(&inner, txn);
    if (undo) {
        if (outcome == FAILED) txn_rollback_to(txn, before);
        txn_settle(txn);
    }
    monitor_show(&inner);
    txn->at = 0;
    if (txn->pruned) {
        out_rewind(call->reply->out, mark);
        outcome = fail_pruned(&inner, txn->pruned_before);
    }
    bool right = outcome != FAILED && inner.reply->errors == errors;
    note(&inner, errors, ticks);
    return right;
}

static void run_all(struct call *call, struct txn *txn) {
    const struct multi *multi = call->session->multi;
    call->reply->writer->array(call->reply, multi->count);
    uint64_t ticks = ticks_now();
    for (size_t i = 0; i < multi->count; i++) (void)run_queued(call, txn, &multi->queue[i], &ticks);
    txn_commit(txn);
}

/* All of them, or, when one fails, none: `txn` keeps what undoing needs. */
static enum outcome run_all_or_none(struct call *call, struct txn *txn) {
    struct session *session = call->session;
    const struct multi *multi = session->multi;
    struct out_mark mark = out_mark(call->reply->out);
    struct error_note note = { .len = 0 };
    uint64_t ticks = ticks_now();
    uint32_t db = session->db;
    call->reply->note = &note;
    call->reply->writer->array(call->reply, multi->count);
    size_t at = 0;
    bool right = true;
    while (at < multi->count && right) right = run_queued(call, txn, &multi->queue[at++], &ticks);
    call->reply->note = NULL;
    if (right) {
        txn_commit(txn);
        return DONE;
    }
    txn_rollback(txn);
    session_select(session, db);
    out_rewind(call->reply->out, mark);
    return fail_format(call,
                       "EXECABORT Transaction rolled back, as command %zu of %zu failed: %.*s", at,
                       multi->count, (int)note.len, note.text);
}

/* NULL, or why nothing is to run: what some command relies on is no longer so. */
static const struct bytes *ask_all(struct call *call, struct txn *txn, struct exec_check *check) {
    const struct multi *multi = call->session->multi;
    for (size_t i = 0; i < multi->count; i++) {
        struct call inner = call_queued(call, &multi->queue[i]);
        struct acl_denied why;
        inner.txn = txn;
        if (inner.info->command->check && command_arity_fits(inner.info, inner.args_count) &&
            dispatch_allows(&inner, ACL_IN_MULTI, &why))
            inner.info->command->check(&inner, check);
    }
    if (check->lost || (check->done && check->holds)) return &check->lost_error;
    return check->done ? &check->done_error : NULL;
}

static void add_shards(struct call *call, struct shardset *set) {
    const struct multi *multi = call->session->multi;
    for (size_t i = 0; i < multi->count; i++)
        if (!dispatch_shards(call->pulse, multi->queue[i].info, multi->queue[i].args,
                             multi->queue[i].count, call->arena, set))
            dispatch_all_shards(call->pulse, set); /* it will refuse, whatever is locked */
    for (size_t i = 0; i < multi->watched_count; i++)
        shardset_add(set, call_key_of(call, 0, multi->watched[i].name).shard);
}

static enum outcome run_transaction(struct call *call) {
    struct multi *multi = call->session->multi;
    struct shardset *set = arena_new(call->arena, sizeof *set);
    memset(set, 0, sizeof *set);
    add_shards(call, set);
    UNINITIALIZED struct txn txn;
    txn_begin(&txn, call->worker, call->arena, set, TXN_MULTI | (multi->rollback ? TXN_UNDO : 0u));
    if (UNLIKELY(session_has(call->session, SESSION_TRACKING))) tracking_hear(call);
    if (!watches_hold(call, &txn)) {
        txn_commit(&txn);
        call->reply->writer->null_array(call->reply);
        return DONE;
    }
    struct exec_check check = {};
    const struct bytes *error = ask_all(call, &txn, &check);
    if (error) {
        txn_commit(&txn); /* of keys whose time was over, if anything */
        call->reply->writer->error(call->reply, *error);
        return FAILED;
    }
    session_flag_set(call->session, SESSION_MULTI, false);
    if (multi->rollback) return run_all_or_none(call, &txn);
    run_all(call, &txn);
    return DONE;
}

static enum outcome exec(struct call *call) {
    struct session *session = call->session;
    if (!session_has(session, SESSION_MULTI)) return fail(call, "ERR EXEC without MULTI");
    if (session_has(session, SESSION_DIRTY_EXEC)) {
        multi_discard(session);
        return fail(call, "EXECABORT Transaction discarded because of previous errors.");
    }
    enum outcome outcome = run_transaction(call);
    multi_discard(session);
    return outcome;
}

bool multi_would_write(const struct call *call) {
    const struct multi *multi = call->session->multi;
    if (call->info->command->run != exec || !multi) return false;
    for (size_t i = 0; i < multi->count; i++)
        if (multi->queue[i].info->flags & CMD_WRITE) return true;
    return false;
}

enum outcome multi_fail_gate(struct call *call, const char *why) {
    if (call->info->command->run != exec) {
        multi_spoil(call->session);
        return fail(call, why);
    }
    multi_discard(call->session);
    return fail_format(call, "EXECABORT Transaction discarded because of: %s", why);
}

enum outcome multi_fail_arity(struct call *call) {
    if (call->info->command->run != exec) return fail_arity(call);
    multi_discard(call->session);
    return fail(call, "EXECABORT Transaction discarded because of: wrong number of arguments for "
                      "'exec' command");
}

static enum outcome watch(struct call *call) {
    if (session_has(call->session, SESSION_MULTI))
        return fail(call, "ERR WATCH inside MULTI is not allowed");
    struct multi *multi = multi_of(call->session);
    size_t more = call->args_count - 1;
    if (more > WATCHED_KEYS_MAX - multi->watched_count)
        return fail_format(call, "ERR at most %d keys can be watched", WATCHED_KEYS_MAX);
    for (size_t i = 1; i < call->args_count; i++) {
        struct key key = call_key(call, i);
        struct watched watched = { .db = key.db };
        watched.stamp = txn_watch(call->txn, &key, &watched.seen);
        if (multi->watched_count == multi->watched_cap) {
            size_t cap = multi->watched_cap ? multi->watched_cap * 2 : 4;
            multi->watched = mem_resize(multi->watched, multi->watched_cap * sizeof watched,
                                        cap * sizeof watched);
            multi->watched_cap = cap;
        }
        char *name = mem_new(key.name.len + 1);
        if (key.name.len) memcpy(name, key.name.data, key.name.len);
        watched.name = (struct bytes){ name, key.name.len };
        multi->watched[multi->watched_count++] = watched;
    }
    show(call->session);
    return reply_ok(call);
}

static enum outcome unwatch(struct call *call) {
    if (call->session->multi) {
        watched_clear(call->session->multi);
        show(call->session);
    }
    return reply_ok(call);
}

enum {
    MULTI_FLAGS = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_ALLOW_BUSY,
};

COMMAND(multi) = {
    .synopsis = "MULTI [ROLLBACK]",
    .summary = "Begins a transaction: what follows is queued until EXEC. With ROLLBACK, EXEC "
               "undoes all when a "
               "command fails.",
    .since = "1.2.0",
    .history = "pulse 1.0: Added ROLLBACK",
    .group = "transactions",
    .complexity = "O(1)",
    .flags = MULTI_FLAGS | CMD_NOW,
    .acl = ACL_TRANSACTION,
    .run = multi,
};

COMMAND(exec) = {
    .synopsis = "EXEC",
    .summary = "Runs the queued commands as one transaction, unless a watched key has changed.",
    .since = "1.2.0",
    .group = "transactions",
    .complexity = "Depends on commands in the transaction",
    .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_SKIP_SLOWLOG | CMD_NOW,
    .acl = ACL_TRANSACTION,
    .run = exec,
};

COMMAND(discard) = {
    .synopsis = "DISCARD",
    .summary = "Drops the queued commands and the watched keys.",
    .since = "2.0.0",
    .group = "transactions",
    .complexity = "O(N), when N is the number of queued commands",
    .flags = MULTI_FLAGS | CMD_NOW,
    .acl = ACL_TRANSACTION,
    .run = discard,
};

COMMAND(watch) = {
    .synopsis = "WATCH key [key ...]",
    .summary = "Makes the next EXEC fail if one of these keys changes before it.",
    .since = "2.2.0",
    .group = "transactions",
    .complexity = "O(1) for every key.",
    .flags = MULTI_FLAGS | CMD_NOW,
    .keys = KEY_RO,
    .acl = ACL_TRANSACTION,
    .run = watch,
};

COMMAND(unwatch) = {
    .synopsis = "UNWATCH",
    .summary = "Forgets the watched keys.",
    .since = "2.2.0",
    .group = "transactions",
    .complexity = "O(1)",
    .flags = MULTI_FLAGS,
    .acl = ACL_TRANSACTION,
    .run = unwatch,
};
