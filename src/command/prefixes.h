/* prefixes.h: which sessions want to hear of every key that begins so (CLIENT TRACKING BCAST).
 *
 * A set of prefixes, each with its sessions. A key is looked up once for every length that a prefix has and the
 * key reaches, so many prefixes cost no more than few.
 *
 * The lock is a leaf; those who look share it. Thread: any. */
#pragma once

#include "base/bytes.h"
#include "base/siphash.h"
#include "command/notice.h"

struct prefixes;

struct prefixes *prefixes_new(const struct siphash_key *seed);
struct prefixes *prefixes_free(struct prefixes *prefixes); /* always NULL */
void prefixes_add(struct prefixes *prefixes, struct bytes prefix, uint64_t handle);
void prefixes_remove(struct prefixes *prefixes, struct bytes prefix, uint64_t handle);
size_t prefixes_count(struct prefixes *prefixes);

/* Calls `matched` for each prefix that any of `names` begins with, in the order of the prefixes' bytes: with those
 * names, in the order given, and with the prefix' sessions. The lock is held: it may not come back here. */
void prefixes_match(struct prefixes *prefixes, const struct changed_name *names, size_t count,
                    void (*matched)(void *self, const struct changed_name *names, size_t count,
                                    const uint64_t *handles, size_t handles_count),
                    void *self);
