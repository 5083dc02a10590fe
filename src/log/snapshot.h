/* snapshot.h: an image of the store on disk: base.G.keys.snap and base.G.past.snap.
 *
 * A snapshot is written in steps by a thread that may wait, and becomes the database's base only by the manifest
 * that names it. Until then it is a file that nobody reads; a crash leaves it for the next start to remove.
 * Format: docs/formats/snapshot.md. Thread: one at a time.
 */
#pragma once

#include "log/manifest.h"
#include "store/image.h"

struct snapshot;

struct snapshot_options {
    struct env *env;
    const char *dir;
    struct store *store;
    struct worker *worker; /* of the calling thread */
    uint64_t generation;
    bool past; /* history-persist */
    uint64_t
        rate; /* bytes a second at most; 0: no limit. The caller sleeps: snapshot_step's `*wait_ns` */
    uint64_t seq; /* replay starts at this frame */
};

/* Makes the files and captures the store. NULL: `why`. */
MUST_USE struct snapshot *snapshot_begin(const struct snapshot_options *options,
                                         struct problem *why);
/* Some more of it, for about a tenth of a millisecond. NEED_MORE: go on, after `*wait_ns`. OK: all is written and
 * durable, names too, and `*base` is complete. Else it has failed: snapshot_free removes what is there. */
MUST_USE enum status snapshot_step(struct snapshot *snapshot, struct manifest_base *base,
                                   uint64_t *wait_ns, struct problem *why);
struct snapshot_progress {
    uint64_t keys_done, keys_total, bytes;
};
struct snapshot_progress snapshot_progress(const struct snapshot *snapshot);
struct snapshot *snapshot_free(struct snapshot *snapshot, bool keep_files); /* always NULL */

/* Loads a base into an empty store: `threads` of them, each with every threads-th shard. `progress` is called
 * now and then (any of the threads; one at a time) and may be NULL. After it, replay_base was told of every shard. */
struct replay;
MUST_USE enum status
snapshot_load(struct env *env, const char *dir, const struct manifest_base *base,
              struct store *store, struct replay *replay, unsigned threads,
              void (*progress)(void *self, uint64_t bytes, uint64_t total, uint64_t keys),
              void *self, struct problem *why);
/* Checks every checksum, every section's header and the trailer, calling `visit` (NULL: nothing) for each; loads nothing. */
MUST_USE enum status snapshot_verify(struct env *env, const char *dir,
                                     const struct manifest_base *base,
                                     void (*visit)(void *self, const struct image_section *section,
                                                   bool past, uint64_t offset),
                                     void *self, struct problem *why);
