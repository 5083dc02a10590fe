/* counter.c: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT.
 *
 * A counter is a string that reads as a signed 64-bit decimal. The first four commands are one
 * addition; they differ in where the addend comes from. What they log is the sum (an effect is
 * exact), so replaying one twice does not count twice. INCRBYFLOAT is the same on a long double. */
#include <math.h>

#include "command/command.h"
#include "types/string/string.h"

static enum outcome add(struct call *call, int64_t addend) {
    struct key key = call_key(call, 1);
    int64_t number, expire_at_ms;
    if (!string_get_int(call, &key, &number, &expire_at_ms)) return FAILED;
    if (__builtin_add_overflow(number, addend, &number))
        return fail(call, "ERR increment or decrement would overflow");

    txn_set_int(call->txn, &key, number, expire_at_ms);
    return reply_int(call, number);
}

static enum outcome incr(struct call *call) {
    return add(call, 1);
}

static enum outcome decr(struct call *call) {
    return add(call, -1);
}

static enum outcome incrby(struct call *call) {
    int64_t addend;
    if (!arg_int(call, 2, &addend)) return FAILED;
    return add(call, addend);
}

static enum outcome decrby(struct call *call) {
    int64_t addend;
    if (!arg_int(call, 2, &addend)) return FAILED;
    if (addend == INT64_MIN)
        return fail(call, "ERR decrement would overflow"); /* has no negative */
    return add(call, -addend);
}

static enum outcome incrbyfloat(struct call *call) {
    struct key key = call_key(call, 1);
    struct value value;
    bool found;
    if (!call_read_string(call, &key, false, &value, &found)) return FAILED;
    char scratch[INT_TEXT_MAX];
    long double number = 0, addend;
    if ((found && !long_double_parse(value_text(&value, scratch), &number)) ||
        !long_double_parse(call->args[2], &addend))
        return fail(call, ERR_NOT_FLOAT);
    number += addend;
    if (!isfinite(number)) return fail(call, "ERR increment would produce NaN or Infinity");

    char *text = arena_new(call->arena, DOUBLE_TEXT_MAX);
    struct bytes sum = { text, long_double_format(text, number) };
    int64_t expire_at_ms = found ? value.expire_at_ms : 0;
    if (txn_set_string(call->txn, &key, sum, expire_at_ms) != OK) return fail(call, ERR_NO_MEMORY);
    return reply_bulk(call, sum);
}

enum {
    COUNTER_FLAGS = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    COUNTER_KEYS = KEY_RW | KEY_ACCESS | KEY_UPDATE,
};

COMMAND(incr) = {
    .synopsis = "INCR key",
    .summary = "Adds one to the number at a key, taking 0 for a key that does not exist.",
    .since = "1.0.0",
    .group = "string",
    .complexity = "O(1)",
    .event = "incrby",
    .flags = COUNTER_FLAGS,
    .keys = COUNTER_KEYS,
    .acl = ACL_STRING,
    .run = incr,
};

COMMAND(decr) = {
    .synopsis = "DECR key",
    .summary = "Takes one from the number at a key, taking 0 for a key that does not exist.",
    .since = "1.0.0",
    .group = "string",
    .complexity = "O(1)",
    .event = "incrby", /* Redis' word, here too */
    .flags = COUNTER_FLAGS,
    .keys = COUNTER_KEYS,
    .acl = ACL_STRING,
    .run = decr,
};

COMMAND(incrby) = {
    .synopsis = "INCRBY key increment:int",
    .summary = "Adds to the number at a key, taking 0 for a key that does not exist.",
    .since = "1.0.0",
    .group = "string",
    .complexity = "O(1)",
    .event = "incrby",
    .flags = COUNTER_FLAGS,
    .keys = COUNTER_KEYS,
    .acl = ACL_STRING,
    .run = incrby,
};

COMMAND(decrby) = {
    .synopsis = "DECRBY key decrement:int",
    .summary = "Takes from the number at a key, taking 0 for a key that does not exist.",
    .since = "1.0.0",
    .group = "string",
    .complexity = "O(1)",
    .event = "incrby",
    .flags = COUNTER_FLAGS,
    .keys = COUNTER_KEYS,
    .acl = ACL_STRING,
    .run = decrby,
};

COMMAND(incrbyfloat) = {
    .synopsis = "INCRBYFLOAT key increment:double",
    .summary = "Adds to the decimal fraction at a key, taking 0 for a key that does not exist.",
    .since = "2.6.0",
    .group = "string",
    .complexity = "O(1)",
    .event = "incrbyfloat",
    .flags = COUNTER_FLAGS,
    .keys = COUNTER_KEYS,
    .acl = ACL_STRING,
    .run = incrbyfloat,
};
