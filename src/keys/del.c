/* del.c: whether keys exist, of which type they are, and their end: DEL, UNLINK, EXISTS, TOUCH, TYPE.
 *
 * DEL and UNLINK are one: a deleted value goes into the history and is freed when that forgets it. */
#include "command/command.h"
#include "keys/keys.h"

static enum outcome del(struct call *call) {
    int64_t deleted = 0;
    for (size_t i = 1; i < call->args_count; i++) {
        struct key key = call_key(call, i);
        struct value value;
        if (!txn_read(call->txn, &key, &value)) continue;
        txn_delete(call->txn, &key);
        deleted++;
    }
    return reply_int(call, deleted);
}

/* A key that is named twice is counted twice. */
static enum outcome exists(struct call *call) {
    int64_t found = 0;
    for (size_t i = 1; i < call->args_count; i++) {
        struct key key = call_key(call, i);
        struct value value;
        found += call_read(call, &key, &value);
    }
    return reply_int(call, found);
}

static enum outcome type(struct call *call) {
    struct key key = call_key(call, 1);
    struct value value;
    bool found = call_read(call, &key, &value);
    return reply_status(call, found ? key_type_name(value.type) : "none");
}

COMMAND(del) = {
    .synopsis = "DEL key [key ...]",
    .summary = "Deletes keys.",
    .since = "1.0.0",
    .group = "generic",
    .complexity = "O(N) where N is the number of keys that will be removed.",
    .event = "del",
    .flags = CMD_WRITE,
    .keys = KEY_RM | KEY_DELETE,
    .acl = ACL_KEYSPACE,
    .run = del,
    .tips = "request_policy:multi_shard response_policy:agg_sum",
};

COMMAND(unlink) = {
    .synopsis = "UNLINK key [key ...]",
    .summary = "Deletes keys; their memory is freed later, as DEL's is too.",
    .since = "4.0.0",
    .group = "generic",
    .complexity = "O(N) where N is the number of keys that will be removed.",
    .event = "del",
    .flags = CMD_WRITE | CMD_FAST,
    .keys = KEY_RM | KEY_DELETE,
    .acl = ACL_KEYSPACE,
    .run = del,
    .tips = "request_policy:multi_shard response_policy:agg_sum",
};

COMMAND(exists) = {
    .synopsis = "EXISTS key [key ...]",
    .summary = "Counts those of the keys that exist.",
    .since = "1.0.0",
    .group = "generic",
    .complexity = "O(N) where N is the number of keys to check.",
    .history = "3.0.3: Takes several keys.",
    .flags = CMD_READONLY | CMD_FAST,
    .keys = KEY_RO,
    .acl = ACL_KEYSPACE,
    .run = exists,
    .tips = "request_policy:multi_shard response_policy:agg_sum",
};

COMMAND(touch) = {
    .synopsis = "TOUCH key [key ...]",
    .summary = "Counts those of the keys that exist, and marks them as used just now.",
    .since = "3.2.1",
    .group = "generic",
    .complexity = "O(N) where N is the number of keys that will be touched.",
    .flags = CMD_READONLY | CMD_FAST,
    .keys = KEY_RO,
    .acl = ACL_KEYSPACE,
    .run = exists,
    .tips = "request_policy:multi_shard response_policy:agg_sum",
};

COMMAND(type) = {
    .synopsis = "TYPE key",
    .summary = "Tells what kind of value a key holds.",
    .since = "1.0.0",
    .group = "generic",
    .complexity = "O(1)",
    .flags = CMD_READONLY | CMD_FAST | CMD_PEEK,
    .keys = KEY_RO,
    .acl = ACL_KEYSPACE,
    .run = type,
};
