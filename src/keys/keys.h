/* keys.h: what the commands on keys of any type share. */
#pragma once

#include "base/assert.h"
#include "store/value.h"

/* What TYPE answers, and SCAN's TYPE asks for. */
static inline const char *key_type_name(unsigned type) {
    static const char *const names[] = {
        [VALUE_STRING] = "string", [VALUE_HASH] = "hash", [VALUE_LIST] = "list",
        [VALUE_SET] = "set",       [VALUE_ZSET] = "zset", [VALUE_STREAM] = "stream",
    };
    assert(type >= VALUE_STRING);
    assert(type <= VALUE_STREAM);
    return names[type];
}
