/* persistence.c: SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE: asking for snapshots. What they are is log/'s. */
#include <limits.h>
#include <stdio.h>

#include "admin/persistence.h"
#include "base/env.h"
#include "command/command.h"
#include "command/pulse.h"
#include "log/persist.h"
#include "log/rdb_export.h"

static const char no_disk[] = "ERR this server keeps nothing on disk";
static const char busy[] = "ERR Background save already in progress";

static bool has_disk(struct call *call) {
    if (call->pulse->persist) return true;
    fail(call, no_disk);
    return false;
}

static enum outcome fail_problem(struct call *call, const struct problem *why) {
    return fail_format(call, "ERR %s", why->text);
}

/* A file beside our own, for others to read: a plain name, so that nobody writes elsewhere. */
static bool plain_name(struct bytes name) {
    if (name.len == 0 || name.len > NAME_MAX - 8 || name.data[0] == '.') return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] == '/' || (unsigned char)name.data[i] < ' ') return false;
    return bytes_ends_with(name, BYTES(".rdb"));
}

static enum outcome save_rdb(struct call *call) {
    if (!arg_is(call, 1, BYTES("RDB"))) return fail(call, ERR_SYNTAX);
    struct bytes name = call->args[2];
    if (!plain_name(name))
        return fail(call,
                    "ERR SAVE RDB takes the name of a file in the data directory: letters, no "
                    "path, ending in .rdb");
    const char *path = arena_format(call->arena, "%.*s", (int)name.len, name.data).data;
    struct rdb_export_report report;
    struct problem why;
    if (rdb_export(call->pulse->env, path, call->pulse->store, call->worker, 0, &report, &why) !=
        OK)
        return fail_problem(call, &why);
    return reply_ok(call);
}

static enum outcome save(struct call *call) {
    if (!has_disk(call)) return FAILED;
    if (call->args_count == 3) return save_rdb(call);
    if (call->args_count != 1) return fail(call, ERR_SYNTAX);
    struct problem why;
    if (persist_save(call->pulse->persist, false, &why) != OK) return fail_problem(call, &why);
    return reply_ok(call);
}

static void flush_all(struct call *call) {
    struct shardset *set = arena_new(call->arena, sizeof *set);
    memset(set, 0, sizeof *set);
    for (unsigned i = 0; i < store_shards(call->pulse->store); i++) shardset_add(set, i);
    struct txn txn;
    txn_begin(&txn, call->worker, call->arena, set, TXN_MULTI);
    txn.event = "flushall";
    for (unsigned db = 0; db < store_databases(call->pulse->store); db++) txn_flush(&txn, db);
    txn_commit(&txn);
}

enum outcome debug_reload(struct call *call) {
    static const char path[] = "temp-reload.rdb";
    if (call->in_multi) return fail(call, "ERR DEBUG RELOAD is not possible inside a transaction");
    struct pulse *pulse = call->pulse;
    struct rdb_export_report written;
    struct rdb_report read;
    struct problem why;
    if (rdb_export(pulse->env, path, pulse->store, call->worker, 0, &written, &why) != OK)
        return fail_problem(call, &why);
    flush_all(call);
    enum status status = rdb_import(pulse->env, path, pulse->store, call->worker, &read, &why);
    pulse->env->ops->unlink(pulse->env, path);
    if (status != OK) return fail_problem(call, &why);
    return reply_ok(call);
}

static enum outcome bgsave(struct call *call) {
    if (!has_disk(call)) return FAILED;
    bool schedule = call->args_count == 2;
    if (schedule && !arg_is(call, 1, BYTES("SCHEDULE"))) return fail(call, ERR_SYNTAX);
    struct persist *persist = call->pulse->persist;
    if (persist_snapshot(persist, PERSIST_BY_COMMAND))
        return reply_status(call, "Background saving started");
    if (!schedule) return fail(call, busy);
    persist_snapshot_after(persist);
    return reply_status(call, "Background saving scheduled");
}

static enum outcome bgrewriteaof(struct call *call) {
    if (!has_disk(call)) return FAILED;
    struct persist *persist = call->pulse->persist;
    if (persist_snapshot(persist, PERSIST_BY_REWRITE))
        return reply_status(call, "Background append only file rewriting started");
    struct persist_info info;
    persist_info(persist, &info);
    if (info.cause == PERSIST_BY_REWRITE)
        return fail(call, "ERR Background append only file rewriting already in progress");
    persist_snapshot_after(persist);
    return reply_status(call, "Background append only file rewriting scheduled");
}

static enum outcome lastsave(struct call *call) {
    if (!call->pulse->persist) return reply_int(call, call->pulse->started_ms / 1000);
    struct persist_info info;
    persist_info(call->pulse->persist, &info);
    return reply_int(call, info.last_save_s ? info.last_save_s : call->pulse->started_ms / 1000);
}

COMMAND(save) = {
    .synopsis = "SAVE [RDB file]",
    .summary = "Makes a snapshot and waits for it; or writes one that Redis can read.",
    .since = "1.0.0",
    .group = "server",
    .complexity = "O(N) where N is the total number of keys in all databases",
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_ASYNC_LOADING | CMD_NO_MULTI,
    .run = save,
};

COMMAND(bgsave) = {
    .synopsis = "BGSAVE [SCHEDULE]",
    .summary = "Makes a snapshot in the background.",
    .since = "1.0.0",
    .history = "3.2.2: Added the `SCHEDULE` option.",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_ASYNC_LOADING,
    .run = bgsave,
};

COMMAND(bgrewriteaof) = {
    .synopsis = "BGREWRITEAOF",
    .summary = "Makes a snapshot in the background, so that the log can begin anew.",
    .since = "1.0.0",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_ASYNC_LOADING,
    .run = bgrewriteaof,
};

COMMAND(lastsave) = {
    .synopsis = "LASTSAVE",
    .summary = "Tells when the last snapshot was made.",
    .since = "1.0.0",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
    .acl = ACL_ADMIN | ACL_DANGEROUS,
    .tips = "nondeterministic_output",
    .run = lastsave,
};
