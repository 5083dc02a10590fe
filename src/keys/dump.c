/* dump.c: a key's state as bytes that Redis takes, too, and back: DUMP, RESTORE, RESTORE-ASKING.
 *
 * RESTORE-ASKING is what MIGRATE says to a node of a cluster; here it is RESTORE. IDLETIME and FREQ
 * are read and not kept: the store has its own idea of what is used. */
#include "command/command.h"
#include "log/rdb.h"

enum { PAYLOAD_MAX = RDB_STRING_MAX + 64, FREQUENCY_MAX = 255 };

static enum outcome dump(struct call *call) {
    struct key key = call_key(call, 1);
    struct value value;
    struct buffer payload;
    struct problem why;
    if (!call_read(call, &key, &value)) return reply_null(call);
    buffer_init(&payload, PAYLOAD_MAX);
    enum status status = rdb_dump(&value, &payload, &why);
    enum outcome outcome = status == OK          ? reply_bulk(call, buffer_bytes(&payload))
                           : status == NO_MEMORY ? fail(call, ERR_NO_MEMORY)
                                                 : fail_format(call, "ERR %s", why.text);
    buffer_deinit(&payload);
    return outcome;
}

struct options {
    bool replace, absolute, idle, frequency;
};

static bool read_options(struct call *call, struct options *options) {
    for (struct words w = call_rest(call, 4); words_left(&w);) {
        size_t at;
        int64_t n;
        if (words_take(&w, BYTES("REPLACE"))) {
            options->replace = true;
        } else if (words_take(&w, BYTES("ABSTTL"))) {
            options->absolute = true;
        } else if (!options->frequency && words_take_value(&w, BYTES("IDLETIME"), &at)) {
            options->idle = true;
            if (!arg_int(call, at, &n)) return false;
            if (n < 0) {
                fail(call, "ERR Invalid IDLETIME value, must be >= 0");
                return false;
            }
        } else if (!options->idle && words_take_value(&w, BYTES("FREQ"), &at)) {
            options->frequency = true;
            if (!arg_int(call, at, &n)) return false;
            if (n < 0 || n > FREQUENCY_MAX) {
                fail(call, "ERR Invalid FREQ value, must be >= 0 and <= 255");
                return false;
            }
        } else {
            fail(call, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* Argument 2, ms; 0: never. Or answers what is wrong with it. */
static bool read_ttl(struct call *call, int64_t *ttl) {
    if (!arg_int(call, 2, ttl)) return false;
    if (*ttl >= 0) return true;
    fail(call, "ERR Invalid TTL value, must be >= 0");
    return false;
}

static enum outcome fail_payload(struct call *call, enum status status, const struct problem *why) {
    if (status == NO_MEMORY) return fail(call, ERR_NO_MEMORY);
    return fail_format(call, "ERR %s", status == CORRUPT ? "Bad data format" : why->text);
}

/* Makes the key what the payload says, or nothing if its end is over. */
static enum outcome put(struct call *call, const struct key *key, bool found,
                        const struct value *value, int64_t ttl, bool absolute) {
    char scratch[INT_TEXT_MAX];
    int64_t at_ms = ttl;
    if (ttl && !absolute && __builtin_add_overflow(ttl, call->txn->now_ms, &at_ms))
        return fail_format(call, "ERR invalid expire time in '%.*s' command",
                           (int)call->info->name.len, call->info->name.data);
    if (at_ms && at_ms <= call->txn->now_ms) {
        call->txn->event = "del";
        if (found) txn_delete(call->txn, key);
        return reply_ok(call);
    }
    call->txn->flags |= TXN_FRESH;
    if (txn_set_string(call->txn, key, value_text(value, scratch), at_ms) != OK)
        return fail(call, ERR_NO_MEMORY);
    return reply_ok(call);
}

static enum outcome restore(struct call *call) {
    struct key key = call_key(call, 1);
    struct options options = {};
    struct value value;
    struct buffer scratch;
    struct problem why;
    int64_t ttl;
    if (!read_options(call, &options)) return FAILED;
    bool found = txn_read(call->txn, &key, &value);
    if (found && !options.replace) return fail(call, "BUSYKEY Target key name already exists.");
    if (!read_ttl(call, &ttl)) return FAILED;
    buffer_init(&scratch, RDB_STRING_MAX);
    enum status status = rdb_restore(call->args[3], &scratch, &value, &why);
    enum outcome outcome = status == OK ? put(call, &key, found, &value, ttl, options.absolute)
                                        : fail_payload(call, status, &why);
    buffer_deinit(&scratch);
    return outcome;
}

COMMAND(dump) = {
    .synopsis = "DUMP key",
    .summary = "Tells a key's value in the form that RESTORE takes.",
    .since = "2.6.0",
    .group = "generic",
    .complexity = "O(N) where N is the size of the value.",
    .flags = CMD_READONLY | CMD_PEEK,
    .keys = KEY_RO | KEY_ACCESS,
    .acl = ACL_KEYSPACE,
    .run = dump,
    .tips = "nondeterministic_output",
};

#define RESTORE_OPTIONS \
    " key ttl:int serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds:int] [FREQ frequency:int]"
#define RESTORE_HISTORY        \
    "3.0.0: Takes `REPLACE`; " \
    "5.0.0: Takes `ABSTTL`; "  \
    "5.0.0: Takes `IDLETIME` and `FREQ`."

enum {
    RESTORE_FLAGS = CMD_WRITE | CMD_DENYOOM,
    RESTORE_KEYS = KEY_OW | KEY_UPDATE,
    RESTORE_ACL = ACL_KEYSPACE | ACL_DANGEROUS,
};

COMMAND(restore) = {
    .synopsis = "RESTORE" RESTORE_OPTIONS,
    .summary = "Makes a key from what DUMP told.",
    .since = "2.6.0",
    .group = "generic",
    .complexity = "O(N) where N is the size of the value.",
    .history = RESTORE_HISTORY,
    .event = "restore",
    .flags = RESTORE_FLAGS,
    .keys = RESTORE_KEYS,
    .acl = RESTORE_ACL,
    .run = restore,
};

COMMAND(restore_asking) = {
    .synopsis = "RESTORE-ASKING" RESTORE_OPTIONS,
    .summary = "Makes a key from what DUMP told, in a slot that is on its way into this node.",
    .since = "3.0.0",
    .group = "server",
    .complexity = "O(N) where N is the size of the value.",
    .history = RESTORE_HISTORY,
    .event = "restore",
    .flags = RESTORE_FLAGS,
    .keys = RESTORE_KEYS,
    .acl = RESTORE_ACL,
    .run = restore,
};
