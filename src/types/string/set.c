/* set.c: SET and its older sisters, which are SET with some of its options; MSET and MSETNX, which
 * set several keys or none. */
#include "base/assert.h"
#include "base/mem.h"
#include "command/command.h"
#include "store/blob.h"
#include "types/string/string.h"

enum when { ALWAYS, IF_ABSENT, IF_PRESENT };

struct options {
    enum when when;
    bool get, keep;
    struct expiry expiry;
};

static bool read_options(struct call *call, struct options *options) {
    for (struct words w = call_rest(call, 3); words_left(&w);) {
        if (options->when != IF_PRESENT && words_take(&w, BYTES("NX"))) {
            options->when = IF_ABSENT;
        } else if (options->when != IF_ABSENT && words_take(&w, BYTES("XX"))) {
            options->when = IF_PRESENT;
        } else if (words_take(&w, BYTES("GET"))) {
            options->get = true;
        } else if (options->expiry.unit == EXPIRY_NONE && words_take(&w, BYTES("KEEPTTL"))) {
            options->keep = true;
        } else if (options->keep || !expiry_take(&w, &options->expiry)) {
            fail(call, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static enum outcome set_with_options(struct call *call, const struct key *key) {
    struct options options = {};
    int64_t expire_at_ms = 0;
    if (!read_options(call, &options)) return FAILED;
    if (options.expiry.unit != EXPIRY_NONE && !expiry_resolve(call, &options.expiry, &expire_at_ms))
        return FAILED;

    struct value old;
    bool found = false;
    if (options.get) {
        if (!call_read_string(call, key, true, &old, &found)) return FAILED;
    } else if (options.when != ALWAYS || options.keep) {
        found = txn_read(call->txn, key, &old);
    }
    /* The old value is answered before it is overwritten, and taken back if that should fail. */
    struct out_mark mark = out_mark(call->reply->out);
    if (options.get) {
        if (found)
            reply_value(call, &old);
        else
            reply_null(call);
    }
    if (options.when != ALWAYS && found != (options.when == IF_PRESENT))
        return options.get ? DONE : reply_null(call);

    if (options.keep && found) expire_at_ms = old.expire_at_ms;
    if (txn_set_string(call->txn, key, call->args[2], expire_at_ms) != OK) {
        out_rewind(call->reply->out, mark);
        return fail(call, ERR_NO_MEMORY);
    }
    if (options.expiry.unit != EXPIRY_NONE) txn_also(call->txn, key, "expire");
    return options.get ? DONE : reply_ok(call);
}

static enum outcome set(struct call *call) {
    struct key key = call_key(call, 1);
    if (UNLIKELY(call->args_count > 3)) return set_with_options(call, &key);
    if (UNLIKELY(txn_set_string(call->txn, &key, call->args[2], 0) != OK))
        return fail(call, ERR_NO_MEMORY);
    return reply_ok(call);
}

static unsigned set_access(const struct bytes *args, size_t count) {
    for (size_t i = 3; i < count; i++)
        if (bytes_equal_nocase(args[i], BYTES("GET"))) return KEY_RW | KEY_ACCESS | KEY_UPDATE;
    return KEY_OW | KEY_UPDATE;
}

static enum outcome setnx(struct call *call) {
    struct key key = call_key(call, 1);
    struct value old;
    if (txn_read(call->txn, &key, &old)) return reply_int(call, 0);
    if (txn_set_string(call->txn, &key, call->args[2], 0) != OK) return fail(call, ERR_NO_MEMORY);
    return reply_int(call, 1);
}

static enum outcome set_until(struct call *call, enum expiry_unit unit) {
    struct key key = call_key(call, 1);
    int64_t expire_at_ms;
    if (!expiry_resolve(call, &(struct expiry){ .unit = unit, .index = 2 }, &expire_at_ms))
        return FAILED;
    if (txn_set_string(call->txn, &key, call->args[3], expire_at_ms) != OK)
        return fail(call, ERR_NO_MEMORY);
    txn_also(call->txn, &key, "expire");
    return reply_ok(call);
}

static enum outcome setex(struct call *call) {
    return set_until(call, EXPIRY_EX);
}

static enum outcome psetex(struct call *call) {
    return set_until(call, EXPIRY_PX);
}

static enum outcome getset(struct call *call) {
    struct key key = call_key(call, 1);
    struct value old;
    bool found;
    if (!call_read_string(call, &key, true, &old, &found)) return FAILED;
    struct out_mark mark = out_mark(call->reply->out);
    if (found)
        reply_value(call, &old);
    else
        reply_null(call);
    if (txn_set_string(call->txn, &key, call->args[2], 0) != OK) {
        out_rewind(call->reply->out, mark);
        return fail(call, ERR_NO_MEMORY);
    }
    return DONE;
}

/* Values from here on get their memory before the first key changes, since it may be refused; that
 * of smaller ones never is. */
enum { PREPARED_MIN = MEM_TRY_MIN / 2 };
static_assert((int)PREPARED_MIN > (int)STRING_INLINE_MAX);

/* One blob for each pair, NULL where none is needed; `*ret_blobs` NULL when none is at all. */
static bool prepare(struct call *call, struct blob ***ret_blobs) {
    size_t pairs = call->args_count / 2;
    struct blob **blobs = NULL;
    for (size_t i = 0; i < pairs; i++) {
        struct bytes value = call->args[2 * i + 2];
        if (LIKELY(value.len < PREPARED_MIN)) continue;
        if (!blobs) {
            blobs = arena_new(call->arena, pairs * sizeof(struct blob *));
            memset(blobs, 0, pairs * sizeof(struct blob *));
        }
        blobs[i] = blob_of(value);
        if (blobs[i]) continue;
        while (i-- > 0) blob_unref(blobs[i]);
        return false;
    }
    *ret_blobs = blobs;
    return true;
}

/* Sets every pair. false: memory was refused and nothing is changed. */
static bool set_pairs(struct call *call) {
    struct blob **blobs;
    if (!prepare(call, &blobs)) return false;
    for (size_t i = 0; i < call->args_count / 2; i++) {
        struct key key = call_key(call, 2 * i + 1);
        if (UNLIKELY(blobs && blobs[i])) {
            txn_change(call->txn, &key,
                       &(struct effect){ .kind = EFFECT_SET,
                                         .type = VALUE_STRING,
                                         .encoding = STRING_BLOB,
                                         .blob = blobs[i] });
            continue;
        }
        enum status status = txn_set_string(call->txn, &key, call->args[2 * i + 2], 0);
        assert(status == OK);
    }
    return true;
}

static enum outcome mset(struct call *call) {
    return set_pairs(call) ? reply_ok(call) : fail(call, ERR_NO_MEMORY);
}

static enum outcome msetnx(struct call *call) {
    for (size_t i = 1; i < call->args_count; i += 2) {
        struct key key = call_key(call, i);
        struct value old;
        if (txn_read(call->txn, &key, &old)) return reply_int(call, 0);
    }
    return set_pairs(call) ? reply_int(call, 1) : fail(call, ERR_NO_MEMORY);
}

COMMAND(set) = {
    .synopsis = "SET key value [NX | XX] [GET] [EX seconds:int | PX milliseconds:int | "
                "EXAT unix-time-seconds:time | PXAT unix-time-milliseconds:time | KEEPTTL]",
    .summary = "Makes a key a string, whatever it held before.",
    .since = "1.0.0",
    .group = "string",
    .complexity = "O(1)",
    .history = "2.6.12: Takes `EX`, `PX`, `NX` and `XX`.; 6.0.0: Takes `KEEPTTL`.; "
               "6.2.0: Takes `GET`, `EXAT` and `PXAT`.; 7.0.0: `NX` and `GET` go together.",
    .event = "set",
    .flags = CMD_WRITE | CMD_DENYOOM,
    .keys = KEY_RW | KEY_ACCESS | KEY_UPDATE | KEY_VARIABLE,
    .acl = ACL_STRING,
    .run = set,
    .access = set_access,
};

COMMAND(setnx) = {
    .synopsis = "SETNX key value",
    .summary = "Makes a key a string if it does not exist.",
    .since = "1.0.0",
    .group = "string",
    .complexity = "O(1)",
    .event = "set",
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .keys = KEY_OW | KEY_INSERT,
    .acl = ACL_STRING,
    .run = setnx,
};

COMMAND(setex) = {
    .synopsis = "SETEX key seconds:int value",
    .summary = "Makes a key a string that ends after so many seconds.",
    .since = "2.0.0",
    .group = "string",
    .complexity = "O(1)",
    .event = "set",
    .flags = CMD_WRITE | CMD_DENYOOM,
    .keys = KEY_OW | KEY_UPDATE,
    .acl = ACL_STRING,
    .run = setex,
};

COMMAND(psetex) = {
    .synopsis = "PSETEX key milliseconds:int value",
    .summary = "Makes a key a string that ends after so many milliseconds.",
    .since = "2.6.0",
    .group = "string",
    .complexity = "O(1)",
    .event = "set",
    .flags = CMD_WRITE | CMD_DENYOOM,
    .keys = KEY_OW | KEY_UPDATE,
    .acl = ACL_STRING,
    .run = psetex,
};

COMMAND(getset) = {
    .synopsis = "GETSET key value",
    .summary = "Makes a key a string and returns the one it was.",
    .since = "1.0.0",
    .group = "string",
    .complexity = "O(1)",
    .event = "set",
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .keys = KEY_RW | KEY_ACCESS | KEY_UPDATE,
    .acl = ACL_STRING,
    .run = getset,
    .deprecated = "6.2.0: `SET` with the `!GET` argument",
};

COMMAND(mset) = {
    .synopsis = "MSET key value [key value ...]",
    .summary = "Makes several keys strings, all at one instant.",
    .since = "1.0.1",
    .group = "string",
    .complexity = "O(N) where N is the number of keys to set.",
    .event = "set",
    .flags = CMD_WRITE | CMD_DENYOOM,
    .keys = KEY_OW | KEY_UPDATE,
    .acl = ACL_STRING,
    .run = mset,
    .tips = "request_policy:multi_shard response_policy:all_succeeded",
};

COMMAND(msetnx) = {
    .synopsis = "MSETNX key value [key value ...]",
    .summary = "Makes several keys strings if none of them exists.",
    .since = "1.0.1",
    .group = "string",
    .complexity = "O(N) where N is the number of keys to set.",
    .event = "set",
    .flags = CMD_WRITE | CMD_DENYOOM,
    .keys = KEY_OW | KEY_INSERT,
    .acl = ACL_STRING,
    .run = msetnx,
    .tips = "request_policy:multi_shard response_policy:agg_min",
};
