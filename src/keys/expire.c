/* expire.c: when keys end. EXPIRE and its three sisters set it, PERSIST takes it away, TTL and its
 * three sisters tell it. Inside it is one number, an instant in Unix ms. */
#include "command/command.h"

enum { SECOND_MS = 1000, OPTION_SHOWN_MAX = 64 * 1024 };

enum condition { IF_NONE = 1, IF_SOME = 2, IF_LATER = 4, IF_EARLIER = 8 };

/* Tells which word it does not know, as Redis up to its first NUL. */
static bool fail_option(struct call *call, struct bytes word) {
    int len = word.len < OPTION_SHOWN_MAX ? (int)word.len : OPTION_SHOWN_MAX;
    call->reply->writer->error(call->reply, arena_format(call->arena, "ERR Unsupported option %.*s",
                                                         len, len ? word.data : ""));
    return false;
}

static bool read_conditions(struct call *call, unsigned *conditions) {
    for (struct words w = call_rest(call, 3); words_left(&w);) {
        if (words_take(&w, BYTES("NX")))
            *conditions |= IF_NONE;
        else if (words_take(&w, BYTES("XX")))
            *conditions |= IF_SOME;
        else if (words_take(&w, BYTES("GT")))
            *conditions |= IF_LATER;
        else if (words_take(&w, BYTES("LT")))
            *conditions |= IF_EARLIER;
        else
            return fail_option(call, w.args[w.at]);
    }
    bool none = *conditions & IF_NONE, later = *conditions & IF_LATER;
    if (none && *conditions != IF_NONE) {
        fail(call, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if (later && *conditions & IF_EARLIER) {
        fail(call, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* `old` 0 is never, which is later than all else. */
static bool conditions_hold(unsigned conditions, int64_t old, int64_t at_ms) {
    if (conditions & IF_NONE && old != 0) return false;
    if (conditions & IF_SOME && old == 0) return false;
    if (conditions & IF_LATER && (old == 0 || at_ms <= old)) return false;
    if (conditions & IF_EARLIER && old != 0 && at_ms >= old) return false;
    return true;
}

/* Argument 2 in `unit_ms`, counted from `base_ms`. An instant in the past deletes the key. */
static enum outcome expire_at(struct call *call, int64_t base_ms, int64_t unit_ms) {
    struct key key = call_key(call, 1);
    unsigned conditions = 0;
    int64_t at_ms;
    if (!read_conditions(call, &conditions)) return FAILED;
    if (!arg_int(call, 2, &at_ms)) return FAILED;
    if (__builtin_mul_overflow(at_ms, unit_ms, &at_ms) ||
        __builtin_add_overflow(at_ms, base_ms, &at_ms))
        return fail_format(call, "ERR invalid expire time in '%.*s' command",
                           (int)call->info->name.len, call->info->name.data);

    struct value value;
    if (!txn_read(call->txn, &key, &value)) return reply_int(call, 0);
    if (!conditions_hold(conditions, value.expire_at_ms, at_ms)) return reply_int(call, 0);
    if (at_ms <= call->txn->now_ms) {
        call->txn->event = "del";
        txn_delete(call->txn, &key);
    } else {
        txn_set_expire(call->txn, &key, at_ms);
    }
    return reply_int(call, 1);
}

static enum outcome expire(struct call *call) {
    return expire_at(call, call->txn->now_ms, SECOND_MS);
}

static enum outcome pexpire(struct call *call) {
    return expire_at(call, call->txn->now_ms, 1);
}

static enum outcome expireat(struct call *call) {
    return expire_at(call, 0, SECOND_MS);
}

static enum outcome pexpireat(struct call *call) {
    return expire_at(call, 0, 1);
}

static enum outcome persist(struct call *call) {
    struct key key = call_key(call, 1);
    struct value value;
    if (!txn_read(call->txn, &key, &value) || value.expire_at_ms == 0) return reply_int(call, 0);
    txn_set_expire(call->txn, &key, 0);
    return reply_int(call, 1);
}

enum { NO_KEY = -2, NO_END = -1 };

/* When the key of argument 1 ends, counted from `base_ms`; NO_KEY or NO_END. */
static int64_t end_of(struct call *call, int64_t base_ms) {
    struct key key = call_key(call, 1);
    struct value value;
    if (!call_read(call, &key, &value)) return NO_KEY;
    if (value.expire_at_ms == 0) return NO_END;
    return value.expire_at_ms > base_ms ? value.expire_at_ms - base_ms : 0;
}

static int64_t to_seconds(int64_t ms) {
    if (ms < 0) return ms; /* NO_KEY, NO_END */
    return ms / SECOND_MS + (ms % SECOND_MS >= SECOND_MS / 2);
}

static enum outcome ttl(struct call *call) {
    return reply_int(call, to_seconds(end_of(call, call->txn->now_ms)));
}

static enum outcome pttl(struct call *call) {
    return reply_int(call, end_of(call, call->txn->now_ms));
}

static enum outcome expiretime(struct call *call) {
    return reply_int(call, to_seconds(end_of(call, 0)));
}

static enum outcome pexpiretime(struct call *call) {
    return reply_int(call, end_of(call, 0));
}

#define SET_HISTORY "7.0.0: Takes `NX`, `XX`, `GT` and `LT`."

enum {
    SET_FLAGS = CMD_WRITE | CMD_FAST,
    SET_KEYS = KEY_RW | KEY_UPDATE,
    TELL_FLAGS = CMD_READONLY | CMD_FAST | CMD_PEEK,
    TELL_KEYS = KEY_RO | KEY_ACCESS,
};

COMMAND(expire) = {
    .synopsis = "EXPIRE key seconds:int [NX | XX | GT | LT]",
    .summary = "Makes a key end after so many seconds.",
    .since = "1.0.0",
    .group = "generic",
    .complexity = "O(1)",
    .history = SET_HISTORY,
    .event = "expire",
    .flags = SET_FLAGS,
    .keys = SET_KEYS,
    .acl = ACL_KEYSPACE,
    .run = expire,
};

COMMAND(pexpire) = {
    .synopsis = "PEXPIRE key milliseconds:int [NX | XX | GT | LT]",
    .summary = "Makes a key end after so many milliseconds.",
    .since = "2.6.0",
    .group = "generic",
    .complexity = "O(1)",
    .history = SET_HISTORY,
    .event = "expire",
    .flags = SET_FLAGS,
    .keys = SET_KEYS,
    .acl = ACL_KEYSPACE,
    .run = pexpire,
};

COMMAND(expireat) = {
    .synopsis = "EXPIREAT key unix-time-seconds:time [NX | XX | GT | LT]",
    .summary = "Makes a key end at an instant, given in Unix seconds.",
    .since = "1.2.0",
    .group = "generic",
    .complexity = "O(1)",
    .history = SET_HISTORY,
    .event = "expire",
    .flags = SET_FLAGS,
    .keys = SET_KEYS,
    .acl = ACL_KEYSPACE,
    .run = expireat,
};

COMMAND(pexpireat) = {
    .synopsis = "PEXPIREAT key unix-time-milliseconds:time [NX | XX | GT | LT]",
    .summary = "Makes a key end at an instant, given in Unix milliseconds.",
    .since = "2.6.0",
    .group = "generic",
    .complexity = "O(1)",
    .history = SET_HISTORY,
    .event = "expire",
    .flags = SET_FLAGS,
    .keys = SET_KEYS,
    .acl = ACL_KEYSPACE,
    .run = pexpireat,
};

COMMAND(persist) = {
    .synopsis = "PERSIST key",
    .summary = "Makes a key last that was to end.",
    .since = "2.2.0",
    .group = "generic",
    .complexity = "O(1)",
    .event = "persist",
    .flags = SET_FLAGS,
    .keys = SET_KEYS,
    .acl = ACL_KEYSPACE,
    .run = persist,
};

COMMAND(ttl) = {
    .synopsis = "TTL key",
    .summary = "Tells in how many seconds a key ends.",
    .since = "1.0.0",
    .group = "generic",
    .complexity = "O(1)",
    .history = "2.8.0: Answers -2 for a key that does not exist.",
    .flags = TELL_FLAGS,
    .keys = TELL_KEYS,
    .acl = ACL_KEYSPACE,
    .run = ttl,
    .tips = "nondeterministic_output",
};

COMMAND(pttl) = {
    .synopsis = "PTTL key",
    .summary = "Tells in how many milliseconds a key ends.",
    .since = "2.6.0",
    .group = "generic",
    .complexity = "O(1)",
    .history = "2.8.0: Answers -2 for a key that does not exist.",
    .flags = TELL_FLAGS,
    .keys = TELL_KEYS,
    .acl = ACL_KEYSPACE,
    .run = pttl,
    .tips = "nondeterministic_output",
};

COMMAND(expiretime) = {
    .synopsis = "EXPIRETIME key",
    .summary = "Tells at which instant a key ends, in Unix seconds.",
    .since = "7.0.0",
    .group = "generic",
    .complexity = "O(1)",
    .flags = TELL_FLAGS,
    .keys = TELL_KEYS,
    .acl = ACL_KEYSPACE,
    .run = expiretime,
};

COMMAND(pexpiretime) = {
    .synopsis = "PEXPIRETIME key",
    .summary = "Tells at which instant a key ends, in Unix milliseconds.",
    .since = "7.0.0",
    .group = "generic",
    .complexity = "O(1)",
    .flags = TELL_FLAGS,
    .keys = TELL_KEYS,
    .acl = ACL_KEYSPACE,
    .run = pexpiretime,
};
