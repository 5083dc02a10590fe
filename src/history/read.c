/* read.c: GETAT, AT, HIST: seeing the past. */
#include "command/command.h"
#include "command/pulse.h"
#include "history/history.h"
#include "history/instant.h"
#include "store/past.h"

enum { HIST_LIMIT = 10 };

static enum outcome getat(struct call *call) {
    struct key key = call_key(call, 1);
    uint64_t at, oldest = 0;
    if (!arg_instant(call, 2, &at)) return FAILED;
    struct value value;
    enum found found = past_read(call->txn, &key, at, &value, &oldest);
    counter_add(worker_counters(call->worker),
                found == FOUND ? COUNTER_keyspace_hits : COUNTER_keyspace_misses, 1);
    if (found == PRUNED) return fail_pruned(call, oldest);
    if (found == ABSENT) return reply_null(call);
    if (value.type != VALUE_STRING)
        return fail(call, ERR_WRONGTYPE ": AT instant reads every type");
    return reply_value(call, &value);
}

static enum outcome at(struct call *call) {
    if (call->args_count == 2 && arg_is(call, 1, BYTES("OFF"))) {
        call->session->at = 0;
        return reply_ok(call);
    }
    uint64_t instant;
    if (!arg_instant(call, 1, &instant)) return FAILED;
    if (call->args_count > 2)
        return call_nested(call, instant, call->args + 2, call->args_count - 2);
    if (call->in_multi) return fail(call, "ERR AT without a command is not for MULTI");
    call->session->at = instant ? instant : 1;
    return reply_ok(call);
}

static bool at_keys(const struct commands *commands, const struct bytes *args, size_t count,
                    struct arena *arena, struct key_positions *out) {
    out->count = 0;
    out->at = out->few;
    if (count < 3) return true;
    struct command_info *container;
    struct command_info *info = commands_resolve(commands, args + 2, count - 2, &container);
    if (!info || info->flags & CMD_CONTAINER || !command_arity_fits(info, count - 2)) return false;
    if (!command_keys(commands, info, args + 2, count - 2, arena, out)) return false;
    for (uint32_t i = 0; i < out->count; i++) out->at[i] += 2;
    return true;
}

struct hist {
    struct call *call;
    uint64_t from, to;
    size_t limit, count;
    bool meta;
    struct hist_row {
        struct hist_row *next;
        uint64_t stamp;
        uint16_t actor;
        bool exists;
        struct value value;
    } * first, **last;
};

/* Rows are gathered first: their number stands before them. */
static bool gather(void *self, const struct version *version) {
    struct hist *hist = self;
    if (version->stamp > hist->to) return true;
    if (version->stamp < hist->from || hist->count == hist->limit) return false;
    struct hist_row *row = arena_new(hist->call->arena, sizeof *row);
    *row = (struct hist_row){ .stamp = version->stamp,
                              .actor = version->actor,
                              .exists = version->value != NULL };
    if (version->value) {
        row->value = *version->value;
        row->value.bytes = arena_copy(hist->call->arena, version->value->bytes);
        row->value.blob = NULL;
        if (row->value.encoding == STRING_BLOB) row->value.encoding = STRING_BUFFER;
    }
    *hist->last = row;
    hist->last = &row->next;
    hist->count++;
    return true;
}

static void reply_state(struct call *call, const struct hist_row *row) {
    if (row->exists)
        reply_value(call, &row->value);
    else
        reply_null(call);
}

static void reply_meta(struct call *call, const struct hist_row *row) {
    const struct reply_writer *w = call->reply->writer;
    struct bytes op = { 0 }, client = { 0 };
    bool known = store_actor(call->pulse->store, row->actor, row->stamp, call->arena, &op, &client);
    w->map(call->reply, 5);
    reply_text(call, "stamp");
    reply_int(call, (int64_t)row->stamp);
    reply_text(call, "ts");
    reply_int(call, (int64_t)(row->stamp / 1000000));
    reply_text(call, "op");
    known ? reply_bulk(call, op) : reply_null(call);
    reply_text(call, "client");
    known &&client.len ? reply_bulk(call, client) : reply_null(call);
    reply_text(call, "value");
    reply_state(call, row);
}

static enum outcome hist(struct call *call) {
    struct hist hist = { .call = call, .to = UINT64_MAX, .limit = HIST_LIMIT };
    hist.last = &hist.first;
    size_t i;
    int64_t n;
    for (struct words w = call_rest(call, 2); words_left(&w);) {
        if (words_take(&w, BYTES("WITHMETA"))) {
            hist.meta = true;
        } else if (words_take_value(&w, BYTES("FROM"), &i)) {
            /* A millisecond names its end, a range begins with its beginning. */
            if (!arg_instant(call, i, &hist.from)) return FAILED;
            if (hist.from % 1000000 == 999999) hist.from -= 999999;
        } else if (words_take_value(&w, BYTES("TO"), &i)) {
            if (!arg_instant(call, i, &hist.to)) return FAILED;
        } else if (words_take_value(&w, BYTES("COUNT"), &i)) {
            if (!arg_positive(call, i, &n)) return FAILED;
            hist.limit = (size_t)n;
        } else if (w.at == 2) {
            if (!arg_positive(call, w.at++, &n)) return FAILED;
            hist.limit = (size_t)n;
        } else {
            return fail(call, ERR_SYNTAX);
        }
    }
    struct key key = call_key(call, 1);
    uint64_t oldest;
    past_versions(call->txn, &key, gather, &hist, &oldest);

    call->reply->writer->array(call->reply, hist.meta ? hist.count : hist.count * 2);
    for (const struct hist_row *row = hist.first; row; row = row->next) {
        if (hist.meta) {
            reply_meta(call, row);
            continue;
        }
        reply_int(call, (int64_t)(row->stamp / 1000000));
        reply_state(call, row);
    }
    return DONE;
}

COMMAND(getat) = {
    .synopsis = "GETAT key instant",
    .summary = "Reads a string as it was at an instant.",
    .since = "pulse 1.0",
    .group = "history",
    .complexity = "O(log V) with V the versions since then",
    .flags = CMD_READONLY | CMD_FAST | CMD_PAST,
    .keys = KEY_RO | KEY_ACCESS,
    .acl = ACL_STRING,
    .run = getat,
};

COMMAND(at) = {
    .synopsis = "AT <OFF | instant [command [arg ...]]>",
    .summary = "Runs a read-only command as of an instant, or puts the connection into the past.",
    .since = "pulse 1.0",
    .group = "history",
    .complexity = "That of the command, times the versions since then",
    .flags = CMD_UNLOCKED | CMD_MOVABLEKEYS,
    .keys = KEY_RO | KEY_ACCESS,
    .arity = -2,
    .inner = 2,
    .run = at,
    .find_keys = at_keys,
};

COMMAND(hist) = {
    .synopsis = "HIST key [limit:int] [FROM instant] [TO instant] [COUNT count:int] [WITHMETA]",
    .summary = "Lists a key's versions, newest first.",
    .since = "pulse 1.0",
    .group = "history",
    .complexity = "O(V) with V the versions looked at",
    .flags = CMD_READONLY,
    .keys = KEY_RO | KEY_ACCESS,
    .acl = ACL_KEYSPACE,
    .run = hist,
};
