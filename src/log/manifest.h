/* manifest.h: which files make up the database: the one file that is replaced as a whole.
 *
 * Text, a line a fact, the last one a checksum of all before it (docs/formats/manifest.md). A data
 * directory without a manifest is new if it holds none of our files, and damaged if it does.
 *
 * Thread: one at a time.
 */
#pragma once

#include "base/siphash.h"
#include "base/status.h"

struct env;

enum {
    MANIFEST_VERSION = 1, /* of the whole directory: manifest, log, snapshot */
    MANIFEST_LOGS_MAX = 65536,
    MANIFEST_SIZE_MAX = 16 * 1024 * 1024,
};

struct manifest_log {
    uint64_t number;    /* log.NUMBER.plog */
    uint64_t id;        /* random; seeds its checksums */
    uint64_t first_seq; /* of its first frame; 0: made ahead, what comes before it decides */
    uint64_t end;       /* 0: open; else what lies at this offset and after is not part of it */
    uint64_t last_seq;  /* with end: of its last frame (first_seq - 1: it has none) */
};

struct manifest_base {
    uint64_t
        generation;    /* base.GENERATION.keys.snap, base.GENERATION.past.snap; 0: there is none */
    uint64_t seq;      /* the log has to be replayed from this frame on */
    uint64_t from, to; /* ns: captured, ended */
    uint64_t keys_size, past_size; /* bytes; past_size 0: no such file */
    uint64_t id;                   /* random; seeds the checksums of both files */
};

struct manifest {
    unsigned char identity[16]; /* of the database, random */
    struct siphash_key seed;    /* of its hash; shards follow from it */
    uint32_t shards;
    struct manifest_base base;
    struct manifest_log *logs; /* ascending; mem_new'd */
    size_t logs_count, logs_cap;
    bool clean;         /* it was shut down in order, and */
    uint64_t clean_seq; /* this was the last frame, */
    uint64_t clean_cut; /* with this cut */
};

void manifest_init(struct manifest *manifest);
void manifest_deinit(struct manifest *manifest);
void manifest_copy(struct manifest *to, const struct manifest *from); /* `to` is not initialised */
struct manifest_log *manifest_add_log(struct manifest *manifest); /* zeroed; until the next call */

/* OK, NOT_FOUND: the directory holds none of our files. CORRUPT: it holds some and no manifest, or the
 * manifest is damaged. UNSUPPORTED: written by a newer version; names both. INVALID: manifest_unfinished was said
 * and not taken back. All of them touch nothing. */
MUST_USE enum status manifest_read(struct env *env, const char *dir, struct manifest *out,
                                   struct problem *why);
/* Replaces it durably: once this returns OK the new one is what a restart finds. */
MUST_USE enum status manifest_write(struct env *env, const char *dir,
                                    const struct manifest *manifest, struct problem *why);
/* What a directory will hold from now on counts for nothing, durably, until manifest_finished: for a new one
 * whose first base holds what no log has (an import, a restore). */
MUST_USE enum status manifest_unfinished(struct env *env, const char *dir, struct problem *why);
MUST_USE enum status manifest_finished(struct env *env, const char *dir, struct problem *why);
/* Removes the logs and bases that the manifest does not name: what a crash has left over. Nothing else. */
MUST_USE enum status manifest_sweep(struct env *env, const char *dir,
                                    const struct manifest *manifest, struct problem *why);
/* For tests, fuzzers and pulsedb-check. */
MUST_USE enum status manifest_parse(struct bytes text, struct manifest *out, struct problem *why);

/* Paths: "DIR/log.7.plog" and so on, into `out` (PATH_MAX). */
enum file_kind { FILE_OTHER, FILE_LOG, FILE_SPARE, FILE_TORN, FILE_BASE };
/* What a name in the directory is; its number, K of log.spare.K, or generation. */
enum file_kind file_kind(const char *name, uint64_t *number);
void path_of_log(const char *dir, uint64_t number, char *out);
void path_of_base(const char *dir, uint64_t generation, bool past, char *out);
