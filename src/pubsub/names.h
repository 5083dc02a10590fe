/* names.h: a table of what clients name: channels, patterns, one session's subscriptions.
 *
 *     buckets  [ | | | ]      each a chain of `struct named`, which lies at the head of its owner's struct
 *
 * Hashes come from the caller, who hashes a name once for all tables that it is looked up in. The table owns
 * its buckets and nothing else: who takes a name out frees what it is the head of. Thread: the owner's.
 */
#pragma once

#include "base/attributes.h"
#include "base/bytes.h"

struct named {
    struct named *next; /* in its bucket */
    uint64_t hash;
    struct bytes text;
};

struct names { /* all zero: empty */
    struct named **buckets;
    size_t buckets_count; /* a power of two, or 0 */
    size_t count;
};

MUST_USE struct named *names_find(const struct names *names, uint64_t hash,
                                  struct bytes text);       /* or NULL */
void names_add(struct names *names, struct named *name);    /* must not be in it */
void names_remove(struct names *names, struct named *name); /* must be in it */
