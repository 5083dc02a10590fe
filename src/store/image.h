/* image.h: the whole store as a stream of sections, and back: the store's half of a snapshot.
 *
 * An image is fuzzy: its keys are copied while they change. What makes it exact is the log: each key
 * carries its stamp, each shard says since when the log has to be replayed for it (STORE.md 9.5).
 *
 *     image_begin ── capture: for each shard, under its lock: stamp, databases, tables (referenced)
 *        │
 *     image_keys* ── round-robin: a few buckets of one shard, then of the next, into that shard's
 *        │           section buffer; a full buffer is handed out
 *     image_past* ── the shards' history segments, a segment at a time
 *        │
 *     image_rest ─── ends of shards, actors, restore points
 *
 * A background walk never takes a shard's lock again that it has just released (unless there is only
 * one left), and holds it for a few microseconds at most. A section's bytes do not depend on pointers
 * or on struct layouts; what they are is written in docs/formats/snapshot.md.
 */
#pragma once

#include "base/bytes.h"
#include "base/status.h"

struct store;
struct worker;
struct image;

/* clang-format off */
enum image_section_kind { /* numbers in files: never reused */
    IMAGE_STORE = 1,      /* shards, databases, what was ever excluded from history */
    IMAGE_SHARD = 2,      /* a shard as captured: databases, periods, tables */
    IMAGE_KEYS = 3,       /* keys of one table of one shard */
    IMAGE_PAST = 4,       /* history records of one shard, oldest first */
    IMAGE_END = 5,        /* of a shard: when its last key was visited; what was forgotten */
    IMAGE_ACTORS = 6,
    IMAGE_PINS = 7,
};
enum image_key_bit { /* in a row of KEYS */
    IMAGE_KEY_EXPIRE = 1,
    IMAGE_KEY_HISTORY = 2,
    IMAGE_KEY_EXCLUDED = 4,
    IMAGE_KEY_PRUNED = 8,
    IMAGE_KEY_PURGED = 16,
};
enum image_past_bit { /* in a row of PAST */
    IMAGE_PAST_EXPIRE = 1,
    IMAGE_PAST_TOMBSTONE = 2,
};
/* clang-format on */

struct image_section {
    uint8_t kind;       /* enum image_section_kind */
    uint16_t shard;     /* 0 where it is of none */
    uint32_t count;     /* rows in it */
    struct bytes bytes; /* borrowed until the next call */
    struct bytes tail;  /* the rest of it: a large value that was not copied. Loading: empty */
};

/* Captures every shard. `with_past`: history too. Thread: the worker's; all calls. */
struct image *image_begin(struct store *store, struct worker *worker, bool with_past);
/* The next sections, one a call; false when there are no more of that sort. In this order. `*out` may
 * have kind 0: work was done, nothing is full yet (so that the caller can pause). */
bool image_keys(struct image *image, struct image_section *out); /* STORE, SHARD.., KEYS.. */
bool image_past(struct image *image, struct image_section *out); /* PAST.. */
bool image_rest(struct image *image, struct image_section *out); /* END.., ACTORS, PINS */
/* Whether memory for a large value was refused: then the image has a hole and is good for nothing. */
bool image_failed(const struct image *image);
struct image_progress {
    uint64_t keys_done, keys_total; /* total: as captured */
    uint64_t captured;              /* ns: the earliest capture of a shard */
    uint64_t ended;                 /* ns: no stamp in it is later; once image_rest is through */
};
struct image_progress image_progress(const struct image *image);
struct image *image_end(struct image *image); /* always NULL; also half way */

/* Loading, into an empty store that has as many shards and the same seed. STORE before all; then, of
 * a shard, all PAST sections in their order, its SHARD, KEYS, END; ACTORS and PINS at any time.
 * Everything is checked: CORRUPT with a sentence, or UNSUPPORTED (a type, more databases than this
 * store has). Until the loader goes, retention rests. `bytes`: how large the image is; no memory is
 * set aside for more keys than fit in that. Thread: one shard belongs to one thread at a time. */
struct image_loader;
struct image_loader *image_loader_new(struct store *store, uint64_t bytes);
MUST_USE enum status image_load(struct image_loader *loader, struct worker *worker,
                                const struct image_section *section, struct problem *why);
/* The shard is complete: what replay_base needs. CORRUPT if something of it was missing. */
MUST_USE enum status image_loaded(struct image_loader *loader, uint32_t shard, uint64_t *captured,
                                  uint64_t *visited, struct problem *why);
uint64_t image_loaded_keys(const struct image_loader *loader);       /* any thread */
struct image_loader *image_loader_free(struct image_loader *loader); /* always NULL */
