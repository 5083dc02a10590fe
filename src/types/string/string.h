/* string.h: what the string commands share: reading a number, the limit on a string's size, and the
 * options that say when a key ends. */
#pragma once

#include "command/call.h"

/* The number that the string at `key` reads as, 0 if there is no such key, and when the key ends (ms,
 * 0: never). false, and answered, if it is no string or no number. Not counted as a hit or a miss. */
MUST_USE bool string_get_int(struct call *call, const struct key *key, int64_t *number,
                             int64_t *expire_at_ms);

/* Whether a string of `size` + `more` bytes may be (proto-max-bulk-len); both at most INT64_MAX. If
 * not, it has answered. */
MUST_USE bool string_fits(struct call *call, uint64_t size, uint64_t more);

enum expiry_unit { EXPIRY_NONE, EXPIRY_EX, EXPIRY_PX, EXPIRY_EXAT, EXPIRY_PXAT };

/* A time that was given and not read yet: a syntax error further on is told first. */
struct expiry {
    enum expiry_unit unit;
    size_t index; /* the argument that is its number */
};

/* Takes EX, PX, EXAT or PXAT and its number. The same option may come again, the last one counts;
 * one that does not go with what `expiry` holds is not taken. */
MUST_USE bool expiry_take(struct words *words, struct expiry *expiry);
/* The instant it means, Unix ms and above 0. Or answers that it is no number or no possible time. */
MUST_USE bool expiry_resolve(struct call *call, const struct expiry *expiry, int64_t *at_ms);
