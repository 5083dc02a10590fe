/* get.c: reading strings, whole or in part; and reading one while its life is ended or changed. */
#include "command/command.h"
#include "store/blob.h"
#include "types/string/string.h"

static enum outcome get(struct call *call) {
    struct key key = call_key(call, 1);
    struct value value;
    bool found;
    if (UNLIKELY(!call_read_string(call, &key, true, &value, &found))) return FAILED;
    return found ? reply_value(call, &value) : reply_null(call);
}

static enum outcome getdel(struct call *call) {
    struct key key = call_key(call, 1);
    struct value value;
    bool found;
    if (!call_read_string(call, &key, true, &value, &found)) return FAILED;
    if (!found) return reply_null(call);
    reply_value(call, &value);
    txn_delete(call->txn, &key);
    return DONE;
}

static bool getex_options(struct call *call, struct expiry *expiry, bool *persist) {
    for (struct words w = call_rest(call, 2); words_left(&w);) {
        if (expiry->unit == EXPIRY_NONE && words_take(&w, BYTES("PERSIST"))) {
            *persist = true;
        } else if (*persist || !expiry_take(&w, expiry)) {
            fail(call, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static enum outcome getex(struct call *call) {
    struct key key = call_key(call, 1);
    struct expiry expiry = {};
    bool persist = false, found;
    if (!getex_options(call, &expiry, &persist)) return FAILED;
    struct value value;
    if (!call_read_string(call, &key, true, &value, &found)) return FAILED;
    if (!found) return reply_null(call);
    int64_t at_ms = 0;
    if (expiry.unit != EXPIRY_NONE && !expiry_resolve(call, &expiry, &at_ms)) return FAILED;

    reply_value(call, &value);
    struct txn *txn = call->txn;
    if (at_ms != 0 && at_ms <= txn->now_ms) {
        txn->event = "del";
        txn_delete(txn, &key);
    } else if (at_ms != 0) {
        txn_set_expire(txn, &key, at_ms);
    } else if (persist && value.expire_at_ms != 0) {
        txn->event = "persist";
        txn_set_expire(txn, &key, 0);
    }
    return DONE;
}

/* From one end's `start` to `end`, both of them in; below 0 they count from the other end. */
static struct bytes part_of(struct bytes text, int64_t start, int64_t end) {
    int64_t len = (int64_t)text.len;
    if (start < 0 && end < 0 && start > end) return BYTES("");
    if (start < 0) start += len;
    if (end < 0) end += len;
    if (start < 0) start = 0;
    if (end < 0) end = 0;
    if (end >= len) end = len - 1;
    if (start > end) return BYTES("");
    return (struct bytes){ text.data + start, (size_t)(end - start) + 1 };
}

static enum outcome getrange(struct call *call) {
    struct key key = call_key(call, 1);
    int64_t start, end;
    if (!arg_int(call, 2, &start) || !arg_int(call, 3, &end)) return FAILED;
    struct value value;
    bool found;
    if (!call_read_string(call, &key, true, &value, &found)) return FAILED;
    if (!found) return reply_bulk(call, BYTES(""));

    char scratch[INT_TEXT_MAX];
    struct bytes part = part_of(value_text(&value, scratch), start, end);
    if (LIKELY(part.len < REPLY_BY_REFERENCE_MIN || value.encoding != STRING_BLOB))
        return reply_bulk(call, part);
    call->reply->writer->bulk_ref(call->reply, part, blob_release, blob_ref(value.blob));
    return DONE;
}

/* `strlen` is the C library's. */
static enum outcome string_strlen(struct call *call) {
    struct key key = call_key(call, 1);
    struct value value;
    bool found;
    if (!call_read_string(call, &key, true, &value, &found)) return FAILED;
    return reply_int(call, found ? (int64_t)value_text_len(&value) : 0);
}

static enum outcome mget(struct call *call) {
    call->reply->writer->array(call->reply, call->args_count - 1);
    for (size_t i = 1; i < call->args_count; i++) {
        struct key key = call_key(call, i);
        struct value value;
        if (call_read(call, &key, &value) && value.type == VALUE_STRING)
            reply_value(call, &value);
        else
            reply_null(call);
    }
    return DONE;
}

#define RANGE_COMPLEXITY                                                                    \
    "O(N) where N is the length of the returned string. The complexity is ultimately "      \
    "determined by the returned length, but because creating a substring from an existing " \
    "string is very cheap, it can be considered O(1) for small strings."

COMMAND(get) = {
    .synopsis = "GET key",
    .summary = "Returns the string at a key.",
    .since = "1.0.0",
    .group = "string",
    .complexity = "O(1)",
    .flags = CMD_READONLY | CMD_FAST | CMD_PEEK,
    .keys = KEY_RO | KEY_ACCESS,
    .acl = ACL_STRING,
    .run = get,
};

COMMAND(getdel) = {
    .synopsis = "GETDEL key",
    .summary = "Returns the string at a key and deletes the key.",
    .since = "6.2.0",
    .group = "string",
    .complexity = "O(1)",
    .event = "del",
    .flags = CMD_WRITE | CMD_FAST,
    .keys = KEY_RW | KEY_ACCESS | KEY_DELETE,
    .acl = ACL_STRING,
    .run = getdel,
};

COMMAND(getex) = {
    .synopsis = "GETEX key [EX seconds:int | PX milliseconds:int | EXAT unix-time-seconds:time | "
                "PXAT unix-time-milliseconds:time | PERSIST]",
    .summary = "Returns the string at a key and changes when it ends.",
    .since = "6.2.0",
    .group = "string",
    .complexity = "O(1)",
    .event = "expire",
    .flags = CMD_WRITE | CMD_FAST,
    .keys = KEY_RW | KEY_ACCESS | KEY_UPDATE,
    .acl = ACL_STRING,
    .run = getex,
};

COMMAND(getrange) = {
    .synopsis = "GETRANGE key start:int end:int",
    .summary = "Returns a part of the string at a key.",
    .since = "2.4.0",
    .group = "string",
    .complexity = RANGE_COMPLEXITY,
    .flags = CMD_READONLY | CMD_PEEK,
    .keys = KEY_RO | KEY_ACCESS,
    .acl = ACL_STRING,
    .run = getrange,
};

COMMAND(substr) = {
    .synopsis = "SUBSTR key start:int end:int",
    .summary = "Returns a part of the string at a key: the old name of GETRANGE.",
    .since = "1.0.0",
    .group = "string",
    .complexity = RANGE_COMPLEXITY,
    .flags = CMD_READONLY | CMD_PEEK,
    .keys = KEY_RO | KEY_ACCESS,
    .acl = ACL_STRING,
    .run = getrange,
    .deprecated = "2.0.0: `GETRANGE`",
};

COMMAND(strlen) = {
    .synopsis = "STRLEN key",
    .summary = "Returns how many bytes the string at a key has.",
    .since = "2.2.0",
    .group = "string",
    .complexity = "O(1)",
    .flags = CMD_READONLY | CMD_FAST | CMD_PEEK,
    .keys = KEY_RO,
    .acl = ACL_STRING,
    .run = string_strlen,
};

COMMAND(mget) = {
    .synopsis = "MGET key [key ...]",
    .summary = "Returns the strings at several keys, all as of one instant.",
    .since = "1.0.0",
    .group = "string",
    .complexity = "O(N) where N is the number of keys to retrieve.",
    .flags = CMD_READONLY | CMD_FAST,
    .keys = KEY_RO | KEY_ACCESS,
    .acl = ACL_STRING,
    .run = mget,
    .tips = "request_policy:multi_shard",
};
