/* file_journal.h: the inside of the journal in files: file_journal_open.c makes it, file_journal.c is it.
 *
 *     segments   [sealed] [sealed] [full] [current] [ahead]      dropped ──► log.spare.K, or removed
 *                 from earlier      │         │        └ made by prepare, in the manifest, empty
 *                 openings          │         └ frames | ready, written once: zeros | not yet
 *                                   └ goes on being synced until it is durable
 *
 * Locks: `making` is held by whoever makes, drops or lists files, over disk calls; then the manifest's; then
 * `lock`, for the fields, never over a disk call. Only the appender moves `current`, at and last_seq, and only
 * who syncs moves synced_seq.
 */
#pragma once

#include "log/segment.h"

struct env;
struct opening;

enum {
    SEGMENT_SIZE = 64 * 1024 * 1024,
    EXTEND = 4 * 1024 * 1024, /* kept ready ahead of the frames */
    BEGIN = 1024 * 1024,      /* so much of a first segment: a start is quick */
    SCRATCH = 256 * 1024,     /* written at once */
};

struct file_journal {
    struct journal journal;
    struct env *env;
    char *dir;
    struct manifest_share *share;
    uint64_t segment_size, extend;

    pthread_mutex_t making;
    uint64_t next_number;           /* making */
    bool spares[SPARES_MAX];        /* log.spare.(i + 1) is there; making */
    struct log_segment **abandoned; /* by restart, removed by the next manifest; making */
    size_t abandoned_count;
    struct opening *
        opening; /* what opening has not done yet; NULL: it is open; making, and lock to change it */

    pthread_mutex_t syncing; /* by who syncs, over disk calls; after making */

    pthread_mutex_t lock;
    struct log_segment **segments; /* changes under both locks */
    size_t count, cap, current;
    uint64_t next_seq, cut;
    bool failed;   /* a sync was: nothing more until restart */
    bool detached; /* restarted, and the manifest does not know yet */
    bool soiled;   /* the last append failed, and something of it may lie at current->at */
    bool closed;   /* the trailer is written */
    bool open;     /* there is a current segment, and the manifest knows it or will (`detached`) */

    char *scratch; /* the appender's */
};

/* The journal without segments yet. */
struct file_journal *file_journal_new(struct env *env, const char *dir,
                                      struct manifest_share *manifest, uint64_t segment,
                                      uint64_t next_number);
/* A new file of `ready` bytes, in nobody's list yet. Under `making`. */
MUST_USE struct log_segment *file_journal_make(struct file_journal *file, uint64_t first_seq,
                                               uint64_t ready, struct problem *why);
void file_journal_add(struct file_journal *file, struct log_segment *segment); /* under `making` */

/* Goes on with what the opening has not done yet. Under `making`. */
MUST_USE enum status file_journal_go_on_opening(struct file_journal *file, struct problem *why);
/* Leaves it at that: the segments are then all files of before, as far as they are known, so that they can be
 * abandoned; or, with `opened`, the ones that it made. Under `making`. */
void file_journal_end_opening(struct file_journal *file, bool opened);

struct listing {                      /* what a new manifest says beside the logs */
    const struct manifest_base *base; /* NULL: the old one */
    bool clean;
    uint64_t clean_seq, clean_cut;
};
/* Writes a manifest that names the segments; drops what it no longer needs to name. Under `making`. */
MUST_USE enum status file_journal_list(struct file_journal *file, const struct listing *listing,
                                       struct problem *why);
