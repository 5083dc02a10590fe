/* history.h: what the commands of time travel share. */
#pragma once

#include "command/call.h"

struct name {
    struct name *next;
    struct bytes bytes;
};

/* The names of keys of the session's database that match `pattern`, as of `at` (0: now), appended to
 * *list; copied into the arena. What is not known sets txn->pruned. */
void names_matching(struct call *call, uint64_t at, struct bytes pattern, struct name **list);

/* Whether two states are the same content; the expiry counts if `with_expiry`. NULL: no key. */
bool same_state(const struct value *a, const struct value *b, bool with_expiry);
