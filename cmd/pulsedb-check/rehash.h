/* rehash.h: a database whose seed is lost: which keys belong to which shard is then no longer
 * known, so all of it is loaded key by key into a store with a new seed, and written anew. */
#pragma once

#include "log/manifest.h"

struct env;

/* `dir` holds whole files, which `manifest` names, but for its seed. Adds a base and a log that
 * say the same and writes a manifest of these. What the snapshot had of older versions is not
 * taken along: the log's are. */
MUST_USE enum status database_rehash(struct env *env, const char *dir, struct manifest *manifest,
                                     struct problem *why);
