/* admin.c: HISTORY and UNFLUSH: what is kept, for how long, and how to let go of it. */
#include "base/glob.h"
#include "base/log.h"
#include "command/command.h"
#include "command/pulse.h"
#include "history/instant.h"
#include "store/past.h"

static void reply_named_int(struct call *call, const char *name, uint64_t n) {
    reply_text(call, name);
    reply_int(call, (int64_t)n);
}

/* ns to the first whole millisecond from which on all is known. */
static uint64_t ms_after(uint64_t ns) {
    return (ns + 999999) / 1000000;
}

static enum outcome history_info(struct call *call) {
    struct key key = call_key(call, 2);
    struct past_info info;
    past_info(call->txn, &key, &info);
    struct store_settings settings = store_settings(call->pulse->store);
    struct bytes rule = settings.history ? BYTES("history-memory") : BYTES("history no");
    for (size_t i = 0; i < settings.history_exclude_count; i++)
        if (glob_match(settings.history_exclude[i], key.name, false)) {
            struct bytes pattern = settings.history_exclude[i];
            rule =
                arena_format(call->arena, "history-exclude %.*s", (int)pattern.len, pattern.data);
            break;
        }
    call->reply->writer->map(call->reply, 4);
    reply_named_int(call, "versions", info.versions);
    reply_named_int(call, "bytes", info.bytes);
    reply_named_int(call, "known-since", ms_after(info.oldest));
    reply_text(call, "rule");
    return reply_bulk(call, rule);
}

static void reply_shard(void *self, uint32_t shard, uint64_t horizon, uint64_t records,
                        uint64_t bytes) {
    struct call *call = self;
    call->reply->writer->array(call->reply, 4);
    reply_int(call, shard);
    reply_int(call, (int64_t)ms_after(horizon));
    reply_int(call, (int64_t)records);
    reply_int(call, (int64_t)bytes);
}

static enum outcome history_stats(struct call *call) {
    struct store *store = call->pulse->store;
    struct store_stats stats;
    store_stats(store, call->txn, &stats);
    call->reply->writer->map(call->reply, 8);
    reply_named_int(call, "versions", stats.history_records);
    reply_named_int(call, "bytes", stats.history_memory);
    reply_named_int(call, "budget", stats.history_budget);
    reply_named_int(call, "horizon", ms_after(stats.horizon));
    reply_named_int(call, "tombstones", stats.tombstones);

    size_t used = 0;
    for (uint32_t db = 0; db < store_databases(store); db++) used += past_records(store, db) > 0;
    reply_text(call, "databases");
    call->reply->writer->map(call->reply, used);
    for (uint32_t db = 0; db < store_databases(store); db++) {
        uint64_t records = past_records(store, db);
        if (!records) continue;
        struct bytes name = arena_format(call->arena, "db%u", db);
        reply_bulk(call, name);
        reply_int(call, (int64_t)records);
    }
    struct store_settings settings = store_settings(store);
    reply_text(call, "rules"); /* an excluded key keeps none: the other rule has them all */
    call->reply->writer->map(call->reply, 1 + settings.history_exclude_count);
    for (size_t i = 0; i < settings.history_exclude_count; i++) {
        struct bytes pattern = settings.history_exclude[i];
        struct bytes name =
            arena_format(call->arena, "history-exclude %.*s", (int)pattern.len, pattern.data);
        reply_bulk(call, name);
        reply_int(call, 0);
    }
    reply_named_int(call, settings.history ? "history-memory" : "history no",
                    stats.history_records);
    reply_text(call, "shards");
    call->reply->writer->array(call->reply, store_shards(store));
    store_shard_histories(store, call->txn, reply_shard, call);
    return DONE;
}

static enum outcome history_purge(struct call *call) {
    struct key key = call_key(call, 2);
    past_purge(call->txn, &key);
    return reply_ok(call);
}

static enum outcome history_pin(struct call *call) {
    uint64_t at = past_now(call->txn);
    struct bytes name = call->args[2];
    if (call->args_count > 3 && !arg_instant(call, 3, &at)) return FAILED;
    if (name.len == 0 || name.len > PIN_NAME_MAX)
        return fail(call, "ERR a restore point's name has 1 to 128 bytes");
    struct problem why;
    enum status status = txn_pin(call->txn, name, at, &why);
    if (status == NOT_FOUND) return fail_pruned(call, past_horizon(call->pulse->store, call->txn));
    if (status != OK) return fail_format(call, "ERR %s", why.text);
    return reply_ok(call);
}

static enum outcome history_unpin(struct call *call) {
    return reply_int(call, txn_unpin(call->txn, call->args[2]));
}

struct pin_row {
    struct pin_row *next;
    struct bytes name;
    uint64_t at;
};
struct pin_rows {
    struct arena *arena;
    struct pin_row *first, **last;
    size_t count;
};

static void gather_pin(void *self, struct bytes name, uint64_t at) {
    struct pin_rows *rows = self;
    struct pin_row *row = arena_new(rows->arena, sizeof *row);
    *row = (struct pin_row){ NULL, arena_copy(rows->arena, name), at };
    *rows->last = row;
    rows->last = &row->next;
    rows->count++;
}

static enum outcome history_pins(struct call *call) {
    struct pin_rows rows = { .arena = call->arena };
    rows.last = &rows.first;
    txn_pins(call->txn, gather_pin, &rows);
    call->reply->writer->map(call->reply, rows.count);
    for (const struct pin_row *row = rows.first; row; row = row->next) {
        reply_bulk(call, row->name);
        reply_int(call, (int64_t)(row->at / 1000000));
    }
    return DONE;
}

static enum outcome history_help(struct call *call) {
    static const char *const lines[] = {
        "HISTORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "INFO <key>",
        "    What is kept of the key's past: versions, bytes, since when, by which rule.",
        "STATS",
        "    What is kept in all, by database, rule and shard.",
        "PURGE <key>",
        "    Forget the key's past for good.",
        "PIN <name> [<instant>]",
        "    Make a restore point: @name is an instant until it is unpinned.",
        "UNPIN <name>",
        "    Let go of a restore point.",
        "PINS",
        "    List the restore points with their Unix milliseconds.",
        "HELP",
        "    Print this help.",
    };
    return reply_help(call, lines, COUNT_OF(lines));
}

static enum outcome unflush(struct call *call) {
    struct store *store = call->pulse->store;
    uint64_t newest = 0, keys, sum = 0;
    for (uint32_t db = 0; db < store_databases(store); db++) {
        uint64_t at = txn_flushed_at(call->txn, db);
        if (at > newest) newest = at;
    }
    if (!newest) return fail(call, "ERR there is no flush that can still be undone");
    for (uint32_t db = 0; db < store_databases(store); db++) {
        if (txn_flushed_at(call->txn, db) != newest) continue;
        txn_unflush(call->txn, db, &keys);
        sum += keys;
    }
    return reply_int(call, (int64_t)sum);
}

COMMAND(history) = {
    .synopsis = "HISTORY",
    .summary = "What is kept of the past.",
    .since = "pulse 1.0",
    .group = "history",
    .complexity = "Depends on subcommand.",
    .flags = CMD_CONTAINER,
};

COMMAND(history_info) = {
    .synopsis = "HISTORY INFO key",
    .summary = "Tells what is kept of a key's past.",
    .since = "pulse 1.0",
    .group = "history",
    .complexity = "O(V) with V the key's versions",
    .flags = CMD_READONLY,
    .keys = KEY_RO,
    .acl = ACL_KEYSPACE,
    .run = history_info,
};

COMMAND(history_stats) = {
    .synopsis = "HISTORY STATS",
    .summary = "Tells what is kept of the past in all.",
    .since = "pulse 1.0",
    .group = "history",
    .complexity = "O(S) with S the shards",
    .flags = CMD_LOADING | CMD_STALE,
    .run = history_stats,
};

COMMAND(history_purge) = {
    .synopsis = "HISTORY PURGE key",
    .summary = "Forgets a key's past for good.",
    .since = "pulse 1.0",
    .group = "history",
    .complexity = "O(V) with V the key's versions",
    .flags = CMD_WRITE | CMD_ADMIN | CMD_NO_UNDO,
    .keys = KEY_RW | KEY_DELETE,
    .acl = ACL_KEYSPACE,
    .run = history_purge,
};

COMMAND(history_pin) = {
    .synopsis = "HISTORY PIN name [instant]",
    .summary = "Makes a restore point.",
    .since = "pulse 1.0",
    .group = "history",
    .complexity = "O(S) with S the shards",
    .flags = CMD_ADMIN | CMD_ALL_SHARDS,
    .run = history_pin,
};

COMMAND(history_unpin) = {
    .synopsis = "HISTORY UNPIN name",
    .summary = "Lets go of a restore point.",
    .since = "pulse 1.0",
    .group = "history",
    .complexity = "O(P) with P the restore points",
    .flags = CMD_ADMIN | CMD_ALL_SHARDS,
    .run = history_unpin,
};

COMMAND(history_pins) = {
    .synopsis = "HISTORY PINS",
    .summary = "Lists the restore points.",
    .since = "pulse 1.0",
    .group = "history",
    .complexity = "O(P) with P the restore points",
    .flags = CMD_LOADING | CMD_STALE,
    .run = history_pins,
};

COMMAND(history_help) = {
    .synopsis = "HISTORY HELP",
    .summary = "Prints the subcommands.",
    .since = "pulse 1.0",
    .group = "history",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE,
    .run = history_help,
};

COMMAND(unflush) = {
    .synopsis = "UNFLUSH",
    .summary = "Undoes the last FLUSHALL or FLUSHDB; keys written since then win.",
    .since = "pulse 1.0",
    .group = "history",
    .complexity = "O(K) with K the keys written since, and those with an expiry",
    .event = "unflush",
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_ALL_SHARDS | CMD_NO_UNDO,
    .acl = ACL_KEYSPACE | ACL_DANGEROUS,
    .run = unflush,
};
