#include "types/string/string.h"

#include "base/assert.h"
#include "command/command.h"
#include "command/pulse.h"

bool string_get_int(struct call *call, const struct key *key, int64_t *number,
                    int64_t *expire_at_ms) {
    struct value value;
    bool found;
    if (!call_read_string(call, key, false, &value, &found)) return false;
    *number = 0;
    *expire_at_ms = 0;
    if (!found) return true;
    *expire_at_ms = value.expire_at_ms;
    if (LIKELY(value.encoding == STRING_INT)) {
        *number = value.number;
        return true;
    }
    if (int_parse(value.bytes, number)) return true; /* made by APPEND or SETRANGE */
    fail(call, ERR_NOT_INTEGER);
    return false;
}

bool string_fits(struct call *call, uint64_t size, uint64_t more) {
    assert(size <= INT64_MAX);
    assert(more <= INT64_MAX);
    if (size + more <= (uint64_t)setting_int(call->pulse->settings, proto_max_bulk_len))
        return true;
    fail(call, ERR_STRING_TOO_LONG);
    return false;
}

static bool take_unit(struct words *words, struct bytes word, enum expiry_unit unit,
                      struct expiry *expiry) {
    if (expiry->unit != EXPIRY_NONE && expiry->unit != unit) return false;
    if (!words_take_value(words, word, &expiry->index)) return false;
    expiry->unit = unit;
    return true;
}

bool expiry_take(struct words *words, struct expiry *expiry) {
    return take_unit(words, BYTES("EX"), EXPIRY_EX, expiry) ||
           take_unit(words, BYTES("PX"), EXPIRY_PX, expiry) ||
           take_unit(words, BYTES("EXAT"), EXPIRY_EXAT, expiry) ||
           take_unit(words, BYTES("PXAT"), EXPIRY_PXAT, expiry);
}

bool expiry_resolve(struct call *call, const struct expiry *expiry, int64_t *at_ms) {
    assert(expiry->unit != EXPIRY_NONE);
    bool seconds = expiry->unit == EXPIRY_EX || expiry->unit == EXPIRY_EXAT;
    bool relative = expiry->unit == EXPIRY_EX || expiry->unit == EXPIRY_PX;
    int64_t time;
    if (!arg_int(call, expiry->index, &time)) return false;
    if (time <= 0 || (seconds && __builtin_mul_overflow(time, 1000, &time)) ||
        (relative && __builtin_add_overflow(time, call->txn->now_ms, &time))) {
        struct bytes name = call->info->name;
        fail_format(call, "ERR invalid expire time in '%.*s' command", (int)name.len, name.data);
        return false;
    }
    *at_ms = time;
    return true;
}
