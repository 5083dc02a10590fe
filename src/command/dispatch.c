/* dispatch.c: the checks in order, each a small function; then the locks, the run, the commit. */
#include "command/dispatch.h"

#include <stdio.h>

#include "command/monitor.h"
#include "command/multi.h"
#include "command/tracking.h"

enum { SHOWN_WORD_MAX = 128 };

static enum outcome fail_unknown(struct call *call) {
    char text[512];
    size_t at = 0, limit = SHOWN_WORD_MAX;
    struct bytes name = call->args[0];
    at += (size_t)snprintf(text, sizeof text,
                           "ERR unknown command '%.*s', with args beginning with: ",
                           (int)(name.len < limit ? name.len : limit), name.data);
    size_t shown = 0;
    for (size_t i = 1; i < call->args_count && shown < limit; i++) {
        size_t len = call->args[i].len < limit - shown ? call->args[i].len : limit - shown;
        size_t printed = /* up to a NUL, as in Redis */
            (size_t)snprintf(text + at, sizeof text - at, "'%.*s' ", (int)len, call->args[i].data);
        at += printed;
        shown += printed;
    }
    call->reply->writer->error(call->reply, (struct bytes){ text, at });
    return FAILED;
}

/* A container's name alone or with a word it does not know. */
static enum outcome refuse_container(struct call *call) {
    if (call->args_count == 1)
        return fail_format(call, "ERR wrong number of arguments for '%.*s' command",
                           (int)call->info->name.len, call->info->name.data);
    return fail_subcommand(call);
}

static enum outcome refuse(struct call *call, enum outcome outcome) {
    call->refused = true;
    multi_spoil(call->session); /* a MULTI that had an error while it was queued fails at EXEC */
    return outcome;
}

/* ---- permission ---- */

static const enum counter denied_counters[] = {
    [ACL_DENIED_COMMAND] = COUNTER_commands_denied,
    [ACL_DENIED_KEY] = COUNTER_keys_denied,
    [ACL_DENIED_CHANNEL] = COUNTER_channels_denied,
};

bool dispatch_allows(struct call *call, enum acl_context context, struct acl_denied *why) {
    struct session *session = call->session;
    if (LIKELY(session_is_unrestricted(session)) || !session->rules) return true;
    if (acl_check(session->rules, call->info, call->args, call->args_count, call->arena, why))
        return true;
    counter_add(worker_counters(call->worker), denied_counters[why->reason], 1);
    acl_note(call->pulse->acl, session, context, why, session->user);
    return false;
}

static const char *no_permission(const struct acl_denied *why, char *text, size_t size) {
    if (why->reason == ACL_DENIED_COMMAND)
        snprintf(text, size, "NOPERM this user has no permissions to run the '%.*s' command",
                 (int)why->object.len, why->object.data);
    else
        snprintf(text, size,
                 "NOPERM this user has no permissions to access one of the %s used as arguments",
                 why->reason == ACL_DENIED_KEY ? "keys" : "channels");
    return text;
}

/* A session that may not do everything, or whose user has changed. DONE: it may do this. */
static COLD enum outcome admit(struct call *call) {
    struct session *session = call->session;
    if (!acl_refresh(call->pulse->acl, session)) return CLOSING; /* its user was deleted */
    if (!session->authenticated && !(call->info->flags & CMD_NO_AUTH))
        return refuse(call, fail(call, "NOAUTH Authentication required."));
    bool multi = session_has(session, SESSION_MULTI);
    struct acl_denied why;
    char text[256];
    if (dispatch_allows(call, multi ? ACL_IN_MULTI : ACL_TOPLEVEL, &why)) return DONE;
    call->refused = true;
    return multi_fail_gate(call, no_permission(&why, text, sizeof text));
}

void dispatch_all_shards(const struct pulse *pulse, struct shardset *set) {
    for (unsigned i = 0; i < store_shards(pulse->store); i++) shardset_add(set, i);
}

bool dispatch_shards(struct pulse *pulse, const struct command_info *info, const struct bytes *args,
                     size_t count, struct arena *arena, struct shardset *set) {
    if (info->flags & (CMD_ALL_SHARDS | CMD_UNLOCKED)) {
        dispatch_all_shards(pulse, set);
        return true;
    }
    struct key_positions keys;
    if (!command_keys(pulse->commands, info, args, count, arena, &keys)) return false;
    for (uint32_t i = 0; i < keys.count; i++)
        shardset_add(set, store_key(pulse->store, 0, args[keys.at[i]]).shard);
    return true;
}

static bool shows_the_present(const struct call *call) {
    uint32_t flags = call->info->flags;
    return flags & CMD_READONLY && !(flags & CMD_PAST) && call->txn->at == 0;
}

enum outcome dispatch_run(struct call *call, struct txn *txn) {
    call->txn = txn;
    txn->event = call->info->command->event;
    if (call->info->flags & CMD_WRITE) {
        txn->actor = session_actor(call->session, call->pulse, call->info);
        txn->session = call->session->id;
    }
    uint32_t flags = atomic_load_explicit(&call->session->flags, memory_order_relaxed);
    if (UNLIKELY(flags & (SESSION_NO_TOUCH | SESSION_TRACKING))) {
        if (flags & SESSION_NO_TOUCH) txn->flags |= TXN_NO_TOUCH;
        if (flags & SESSION_TRACKING) {
            tracking_hear(call); /* before: what is told from here on comes after the answer */
            if (shows_the_present(call)) tracking_remember(call);
        }
    }
    return call->info->command->run(call);
}

/* A read of a session that lives in the past (AT instant). */
static enum outcome run_in_past(struct call *call, struct txn *txn) {
    struct out_mark mark = out_mark(call->reply->out);
    txn->at = call->session->at;
    txn->now_ms = (int64_t)(txn->at / 1000000);
    enum outcome outcome = dispatch_run(call, txn);
    if (!txn->pruned) return outcome;
    out_rewind(call->reply->out, mark);
    return fail_pruned(call, txn->pruned_before);
}

static void finish(struct txn *txn, enum outcome outcome) {
    if (UNLIKELY(outcome == FAILED))
        txn_rollback(txn);
    else
        txn_commit(txn);
}

/* Who tracks reads under the lock: what that shows has been told to whoever is to be told, before it let go of it, and
 * so is heard before the answer. */
static bool may_peek(const struct call *call) {
    return !session_has(call->session, SESSION_TRACKING);
}

static enum outcome run_command(struct call *call) {
    const struct command_info *info = call->info;
    struct pulse *pulse = call->pulse;
    uint32_t flags = info->flags;
    UNINITIALIZED struct txn txn;
    enum outcome outcome;
    if (UNLIKELY(call->session->at != 0) && flags & CMD_READONLY) {
        txn_begin_unlocked(&txn, call->worker, call->arena, 0);
        outcome = run_in_past(call, &txn);
    } else if (LIKELY(call->first != NULL)) {
        unsigned with = flags & CMD_UNDO ? TXN_UNDO : 0;
        if (LIKELY(flags & CMD_PEEK && may_peek(call)))
            txn_begin_unlocked(&txn, call->worker, call->arena, TXN_PEEK);
        else
            txn_begin_single(&txn, call->worker, call->arena, call->first->shard, with);
        outcome = dispatch_run(call, &txn);
    } else if (flags & CMD_UNLOCKED ||
               (!info->command->keys && !(flags & CMD_ALL_SHARDS) && !info->command->find_keys)) {
        txn_begin_unlocked(&txn, call->worker, call->arena, 0);
        outcome = dispatch_run(call, &txn);
    } else {
        struct shardset *set = arena_new(call->arena, sizeof *set);
        memset(set, 0, sizeof *set);
        if (!dispatch_shards(pulse, info, call->args, call->args_count, call->arena, set))
            return fail(call, ERR_SYNTAX);
        unsigned with = (flags & CMD_UNDO ? TXN_UNDO : 0u) | (flags & CMD_WRITE ? TXN_MULTI : 0u);
        txn_begin(&txn, call->worker, call->arena, set, with);
        outcome = dispatch_run(call, &txn);
    }
    finish(&txn, outcome);
    return outcome;
}

/* The two times at which not everything can run. */
static const char *closed_gate(const struct call *call) {
    const struct pulse *pulse = call->pulse;
    uint32_t gates = atomic_load_explicit(&pulse->gates, memory_order_acquire);
    if (LIKELY(!gates)) return NULL;
    uint32_t flags = call->info->flags;
    if (gates & PULSE_LOADING && !(flags & CMD_LOADING) &&
        !session_has(call->session, SESSION_LOADER))
        return "LOADING PulseDB is loading the dataset in memory";
    if (gates & PULSE_REFUSING && (flags & CMD_WRITE || multi_would_write(call)))
        return atomic_load_explicit(&pulse->refusal, memory_order_relaxed);
    return NULL;
}

/* A session of RESP2 that listens to channels can tell answers from messages only if there are few sorts of them. */
static bool only_listens(const struct call *call) {
    return UNLIKELY(session_has(call->session, SESSION_PUBSUB)) &&
           !(call->info->flags & CMD_SUBSCRIBED) && call->reply->writer == &resp2_writer;
}

static COLD enum outcome fail_listener(struct call *call) {
    bool exec = bytes_equal(call->info->name, BYTES("exec"));
    if (exec) multi_discard(call->session);
    return fail_format(call,
                       "%s Can't execute '%.*s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / "
                       "QUIT / RESET are allowed in this context",
                       exec ? "EXECABORT Transaction discarded because of:" : "ERR",
                       (int)call->info->name.len, call->info->name.data);
}

static enum outcome dispatch_checked(struct call *call) {
    const struct command_info *info = call->info;
    struct session *session = call->session;
    if (UNLIKELY(!info)) return refuse(call, fail_unknown(call));
    if (UNLIKELY(info->flags & CMD_CONTAINER)) return refuse(call, refuse_container(call));
    bool queued = UNLIKELY(session_has(session, SESSION_MULTI)) && !(info->flags & CMD_NOW);
    if (UNLIKELY(!(queued ? command_count_fits : command_arity_fits)(info, call->args_count)))
        return refuse(call, multi_fail_arity(call));
    if (UNLIKELY(!session_is_unrestricted(session))) {
        enum outcome outcome = admit(call);
        if (outcome != DONE) return outcome;
    }
    if (only_listens(call)) return refuse(call, fail_listener(call));
    const char *closed = closed_gate(call);
    if (UNLIKELY(closed != NULL)) {
        call->refused = true;
        return multi_fail_gate(call, closed);
    }
    if (UNLIKELY(session_has(session, SESSION_MONITOR)) &&
        info->flags & (CMD_WRITE | CMD_READONLY | CMD_MAY_REPLICATE))
        return refuse(call, fail(call, "ERR Replica can't interact with the keyspace"));
    if (UNLIKELY(session->at != 0) && info->flags & CMD_WRITE)
        return refuse(call, fail(call, "ERR this connection looks at the past and only reads: AT "
                                       "OFF brings it back"));
    if (queued) {
        if (info->flags & CMD_NO_MULTI)
            return refuse(call, fail(call, "ERR Command not allowed inside a transaction"));
        if (multi_queue(call) == DONE) return POSTPONED;
        call->refused = true;
        return FAILED;
    }
    bool again = session->blocked != NULL; /* it was shown when it came */
    enum outcome outcome = run_command(call);
    if (!again && outcome != HELD) monitor_show(call);
    return outcome;
}

/* Nothing is to be said about this call but its answer: one key, the right number of words, no
 * MULTI, no past, nobody who may not do everything. */
static inline bool is_plain(const struct call *call) {
    const struct session *session = call->session;
    uint32_t special =
        SESSION_MULTI | SESSION_NO_TOUCH | SESSION_PUBSUB | SESSION_TRACKING | SESSION_MONITOR;
    return call->first && call->info->arity == (int)call->args_count &&
           session_is_unrestricted(session) && session->at == 0 &&
           !atomic_load_explicit(&call->pulse->gates, memory_order_relaxed) &&
           !(atomic_load_explicit(&session->flags, memory_order_relaxed) & special);
}

enum outcome dispatch(struct call *call) {
    if (LIKELY(is_plain(call))) {
        if (LIKELY(call->info->flags & CMD_PEEK && call->peek)) {
            call->txn = call->peek;
            enum outcome outcome = call->info->command->run(call);
            if (UNLIKELY(call->peek->held != NULL)) txn_let_held(call->peek);
            return outcome;
        }
        return run_command(call);
    }
    enum outcome outcome = dispatch_checked(call);
    if (UNLIKELY(session_has(call->session, SESSION_TRACKING_CACHING))) tracking_end_caching(call);
    return outcome;
}

enum outcome call_nested(struct call *call, uint64_t at, const struct bytes *args, size_t count) {
    struct command_info *container;
    struct command_info *info = commands_resolve(call->pulse->commands, args, count, &container);
    struct call nested = *call;
    nested.args = args;
    nested.args_count = count;
    nested.info = info ? info : container;
    nested.first = NULL;
    if (!nested.info) return fail_unknown(&nested);
    if (nested.info->flags & CMD_CONTAINER) return refuse_container(&nested);
    if (!command_arity_fits(info, count)) return fail_arity(&nested);
    if (!(info->flags & CMD_READONLY)) return fail(call, "ERR AT runs read-only commands");
    struct acl_denied why;
    char text[256];
    if (!dispatch_allows(&nested, call->in_multi ? ACL_IN_MULTI : ACL_TOPLEVEL, &why))
        return fail(call, no_permission(&why, text, sizeof text));

    struct txn *txn = call->txn;
    struct out_mark mark = out_mark(call->reply->out);
    uint64_t outer_at = txn->at;
    int64_t outer_ms = txn->now_ms;
    bool outer_pruned = txn->pruned;
    txn->at = at;
    txn->now_ms = (int64_t)(at / 1000000);
    txn->pruned = false;
    enum outcome outcome = info->command->run(&nested);
    bool pruned = txn->pruned;
    uint64_t oldest = txn->pruned_before;
    txn->at = outer_at;
    txn->now_ms = outer_ms;
    txn->pruned = outer_pruned;
    if (!pruned) return outcome;
    out_rewind(call->reply->out, mark);
    return fail_pruned(call, oldest);
}
