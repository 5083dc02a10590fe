/* server_commands.c: whole databases and the process: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB, TIME,
 * SHUTDOWN, and what a server without replicas and modules says of them. */
#include "command/command.h"
#include "command/pulse.h"

#include "base/env.h"

static enum outcome dbsize(struct call *call) {
    return reply_int(call, (int64_t)txn_size(call->txn, call->session->db));
}

/* ASYNC and SYNC are taken and make no difference: a flush puts the tables aside at once, and they
 * are freed a little at a time. */
static bool flush_words_fit(struct call *call) {
    if (call->args_count == 1) return true;
    bool fits = call->args_count == 2 &&
                (arg_is(call, 1, BYTES("ASYNC")) || arg_is(call, 1, BYTES("SYNC")));
    if (!fits) fail(call, ERR_SYNTAX);
    return fits;
}

static enum outcome flushdb(struct call *call) {
    if (!flush_words_fit(call)) return FAILED;
    txn_flush(call->txn, call->session->db);
    return reply_ok(call);
}

static enum outcome flushall(struct call *call) {
    if (!flush_words_fit(call)) return FAILED;
    for (uint32_t db = 0; db < store_databases(call->pulse->store); db++) txn_flush(call->txn, db);
    return reply_ok(call);
}

static enum outcome swapdb(struct call *call) {
    int64_t a, b, count = store_databases(call->pulse->store);
    if (!int_parse(call->args[1], &a) || a > INT32_MAX || a < INT32_MIN)
        return fail(call, "ERR invalid first DB index");
    if (!int_parse(call->args[2], &b) || b > INT32_MAX || b < INT32_MIN)
        return fail(call, "ERR invalid second DB index");
    if (a < 0 || b < 0 || a >= count || b >= count) return fail(call, ERR_DB_INDEX);
    if (a != b) txn_swap(call->txn, (uint32_t)a, (uint32_t)b);
    return reply_ok(call);
}

static enum outcome time_run(struct call *call) {
    uint64_t us = env_realtime_ns(call->pulse->env) / 1000;
    char text[INT_TEXT_MAX];
    call->reply->writer->array(call->reply, 2);
    reply_bulk(call, (struct bytes){ text, uint_format(text, us / 1000000) });
    return reply_bulk(call, (struct bytes){ text, uint_format(text, us % 1000000) });
}

static enum outcome shutdown_run(struct call *call) {
    bool save = false, nosave = false, abort_asked = false, other = false;
    for (struct words w = call_rest(call, 1); words_left(&w);) {
        if (words_take(&w, BYTES("SAVE")))
            save = true;
        else if (words_take(&w, BYTES("NOSAVE")))
            nosave = true;
        else if (words_take(&w, BYTES("NOW")) || words_take(&w, BYTES("FORCE")))
            other = true;
        else if (words_take(&w, BYTES("ABORT")))
            abort_asked = true;
        else
            return fail(call, ERR_SYNTAX);
    }
    if ((save && nosave) || (abort_asked && (save || nosave || other)))
        return fail(call, ERR_SYNTAX);
    if (abort_asked) return fail(call, "ERR No shutdown in progress.");
    atomic_store_explicit(&call->pulse->shutdown_save,
                          save     ? SHUTDOWN_SAVE
                          : nosave ? SHUTDOWN_NOSAVE
                                   : SHUTDOWN_AS_SET,
                          memory_order_relaxed);
    atomic_store_explicit(&call->pulse->stopping, 1, memory_order_release);
    pulse_wake(call->pulse);
    return CLOSING; /* without an answer: the end of the connection is the answer */
}

static enum outcome role(struct call *call) {
    call->reply->writer->array(call->reply, 3);
    reply_text(call, "master");
    reply_int(call, 0);
    call->reply->writer->array(call->reply, 0);
    return DONE;
}

static enum outcome module_list(struct call *call) {
    call->reply->writer->array(call->reply, 0);
    return DONE;
}

static enum outcome module_help(struct call *call) {
    static const char *const lines[] = {
        "MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "LIST",
        "    Always empty: there are no modules here.",
        "HELP",
        "    Print this help.",
    };
    return reply_help(call, lines, COUNT_OF(lines));
}

COMMAND(dbsize) = {
    .synopsis = "DBSIZE",
    .summary = "Counts the keys of the database.",
    .since = "1.0.0",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_READONLY | CMD_FAST | CMD_UNLOCKED,
    .acl = ACL_KEYSPACE,
    .tips = "request_policy:all_shards response_policy:agg_sum",
    .run = dbsize,
};

COMMAND(flushdb) = {
    .synopsis = "FLUSHDB [ASYNC | SYNC]",
    .summary = "Removes all keys of the database.",
    .since = "1.0.0",
    .history = "4.0.0: `ASYNC`.; 6.2.0: `SYNC`.",
    .group = "server",
    .complexity = "O(1) now, O(N) in the background",
    .event = "flushdb",
    .flags = CMD_WRITE | CMD_ALL_SHARDS | CMD_NO_UNDO,
    .acl = ACL_KEYSPACE | ACL_DANGEROUS,
    .tips = "request_policy:all_shards response_policy:all_succeeded",
    .run = flushdb,
};

COMMAND(flushall) = {
    .synopsis = "FLUSHALL [ASYNC | SYNC]",
    .summary = "Removes all keys of all databases.",
    .since = "1.0.0",
    .history = "4.0.0: `ASYNC`.; 6.2.0: `SYNC`.",
    .group = "server",
    .complexity = "O(1) now, O(N) in the background",
    .event = "flushall",
    .flags = CMD_WRITE | CMD_ALL_SHARDS | CMD_NO_UNDO,
    .acl = ACL_KEYSPACE | ACL_DANGEROUS,
    .tips = "request_policy:all_shards response_policy:all_succeeded",
    .run = flushall,
};

COMMAND(swapdb) = {
    .synopsis = "SWAPDB index1:int index2:int",
    .summary = "Lets two databases change places.",
    .since = "4.0.0",
    .group = "server",
    .complexity = "O(1)",
    .event = "swapdb",
    .flags = CMD_WRITE | CMD_FAST | CMD_ALL_SHARDS | CMD_NO_UNDO,
    .acl = ACL_KEYSPACE | ACL_DANGEROUS,
    .run = swapdb,
};

COMMAND(time) = {
    .synopsis = "TIME",
    .summary = "Tells the server's time.",
    .since = "2.6.0",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
    .tips = "nondeterministic_output",
    .run = time_run,
};

COMMAND(shutdown) = {
    .synopsis = "SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
    .summary = "Stops the server.",
    .since = "1.0.0",
    .history = "7.0.0: `NOW`, `FORCE` and `ABORT`.",
    .group = "server",
    .complexity = "O(1), or O(N) when it saves N keys",
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_NO_MULTI | CMD_ALLOW_BUSY,
    .run = shutdown_run,
};

COMMAND(role) = {
    .synopsis = "ROLE",
    .summary = "Tells the server's place in replication.",
    .since = "2.8.12",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST,
    .acl = ACL_ADMIN | ACL_DANGEROUS,
    .run = role,
};

COMMAND(module) = {
    .synopsis = "MODULE",
    .summary = "Modules: a container.",
    .since = "4.0.0",
    .group = "server",
    .complexity = "Depends on subcommand.",
    .flags = CMD_CONTAINER,
};

COMMAND(module_list) = {
    .synopsis = "MODULE LIST",
    .summary = "Lists the loaded modules: none.",
    .since = "4.0.0",
    .group = "server",
    .complexity = "O(N) where N is the number of loaded modules.",
    .flags = CMD_ADMIN | CMD_NOSCRIPT,
    .tips = "nondeterministic_output_order",
    .run = module_list,
};

COMMAND(module_help) = {
    .synopsis = "MODULE HELP",
    .summary = "Prints what the subcommands are.",
    .since = "5.0.0",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE,
    .run = module_help,
};
