/* edit.c: changing a part of a string: APPEND and SETRANGE. */
#include "command/command.h"
#include "types/string/string.h"

static enum outcome append(struct call *call) {
    struct key key = call_key(call, 1);
    struct bytes tail = call->args[2];
    struct value value;
    bool found;
    if (!call_read_string(call, &key, false, &value, &found)) return FAILED;
    size_t len = found ? value_text_len(&value) : 0;
    if (found && !string_fits(call, len, tail.len)) return FAILED;
    enum status status =
        found ? txn_splice(call->txn, &key, len, tail) : txn_set_string(call->txn, &key, tail, 0);
    if (status != OK) return fail(call, ERR_NO_MEMORY);
    return reply_int(call, (int64_t)(len + tail.len));
}

static enum outcome setrange(struct call *call) {
    struct key key = call_key(call, 1);
    struct bytes bytes = call->args[3];
    int64_t offset;
    if (!arg_int(call, 2, &offset)) return FAILED;
    if (offset < 0) return fail(call, "ERR offset is out of range");
    struct value value;
    bool found;
    if (!call_read_string(call, &key, false, &value, &found)) return FAILED;
    size_t len = found ? value_text_len(&value) : 0;
    if (bytes.len == 0) return reply_int(call, (int64_t)len); /* changes nothing, creates nothing */
    if (!string_fits(call, (uint64_t)offset, bytes.len)) return FAILED;
    if (txn_splice(call->txn, &key, (uint64_t)offset, bytes) != OK)
        return fail(call, ERR_NO_MEMORY);
    size_t end = (size_t)offset + bytes.len;
    return reply_int(call, (int64_t)(end > len ? end : len));
}

COMMAND(append) = {
    .synopsis = "APPEND key value",
    .summary = "Adds bytes at the end of the string at a key, which may not exist yet.",
    .since = "2.0.0",
    .group = "string",
    .complexity = "O(1). The amortized time complexity is O(1): room for more is kept behind a "
                  "string that grows.",
    .event = "append",
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .keys = KEY_RW | KEY_INSERT,
    .acl = ACL_STRING,
    .run = append,
};

COMMAND(setrange) = {
    .synopsis = "SETRANGE key offset:int value",
    .summary = "Overwrites a part of the string at a key, growing it with zeros as needed.",
    .since = "2.2.0",
    .group = "string",
    .complexity = "O(M) where M is the length of the value; O(N) where N is the length of the "
                  "string at the key when that has to move.",
    .event = "setrange",
    .flags = CMD_WRITE | CMD_DENYOOM,
    .keys = KEY_RW | KEY_UPDATE,
    .acl = ACL_STRING,
    .run = setrange,
};
