/* effect.h: one change of data, exact and absolute: never "add one", always "is now 42".
 *
 * A command computes, then says the outcome as effects. The same effect is what history inverts,
 * what the log writes, what a replica applies and what sinks are told.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "store/value.h"

enum effect_kind {
#define EFFECT(NAME, name, number) EFFECT_##NAME = (number),
#include "store/effects.def"
#undef EFFECT
};

struct effect {
    uint8_t kind;         /* enum effect_kind */
    uint8_t type;         /* SET: enum value_type */
    uint8_t encoding;     /* SET: enum string_encoding */
    int64_t number;       /* SET of STRING_INT */
    int64_t expire_at_ms; /* SET, EXPIRE; 0: never */
    struct bytes bytes; /* SET of INLINE and EDITED (at most STRING_INLINE_MAX), SPLICE; borrowed */
    struct blob *blob;  /* SET of BLOB, BUFFER: one reference, taken over */
    uint64_t offset;    /* SPLICE: where `bytes` go */
    uint64_t length;    /* SPLICE: the string's length afterwards; what lies between is zero */
    uint32_t other_db;  /* SWAP */
};

/* Told of commits: after the change is in memory, before it is answered. */
struct change {
    struct key key;    /* name borrowed until the sink returns; empty for FLUSH and SWAP */
    const char *event; /* the command's word for it ("set", "incrby"); NULL: none */
    struct bytes text; /* CAUSE_SAID: what is said; borrowed as well */
    uint64_t session;  /* whose command it was; 0: nobody's (what expires) */
    uint64_t gate;     /* CAUSE_SAID: it may be heard when this stamp is safe, and the commit's */
    uint8_t kind;      /* enum effect_kind; 0 where no data has changed */
    uint8_t cause;     /* enum change_cause */
    bool fresh; /* SET, SPLICE: the key was not there before, or is taken to be another one */
};
enum change_cause {
    CAUSE_COMMAND,
    CAUSE_EXPIRED,
    CAUSE_EVICTED,
    /* No data has changed: */
    CAUSE_SAID,   /* a message to the channel `key.name` (txn_say) */
    CAUSE_ALSO,   /* one more word for the changes before it (txn_also) */
    CAUSE_MISSED, /* somebody read the key, which is not there (txn_missed) */
};

/* One who is told. What nobody listens for is not even noted, so that it costs nothing. */
struct sink {
    const char *name;
    _Atomic bool
        listens; /* store_listen; for changes of data. What is said or missed is always told. */
    /* Everything is borrowed. Thread: the committing one, which holds the locks of the shards. */
    void (*committed)(struct sink *self, uint64_t stamp, const struct change *changes,
                      size_t count);
};
