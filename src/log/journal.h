/* journal.h: an ordered, durable sequence of batches. What the store's changes are written to.
 *
 *     append(batch, seq) ── it has a place in the order ── sync ── ack: it survives anything
 *     read(from) ── every batch from there on, in order         trim(to) ── older ones may go
 *
 * An interface, because a local file is only the first of its kinds (DESIGN.md 14, SCALE.md 4). seq
 * goes up by one for each batch, over all files and restarts; an append with another seq than the next is
 * refused, which is how a writer that has been replaced finds out.
 *
 * Thread: append one at a time; sync one at a time, and beside an append; prepare beside both.
 */
#pragma once

#include "base/bytes.h"
#include "base/status.h"

struct journal;

struct journal_batch {
    uint64_t seq;
    uint64_t cut; /* every change at or before this stamp is in this batch or an earlier one, ns */
    uint64_t synced; /* the highest cut that was known durable when it was written */
    uint32_t blocks;
    uint16_t flags; /* enum journal_flag */
    struct bytes bytes;
};
enum journal_flag {
    JOURNAL_CLEAN = 1, /* the trailer of a shutdown in order: nothing follows it before a restart */
};

struct journal_ops {
    /* OK: every later read sees it. IO (ENOSPC among them), FULL: nothing of it is in the journal; the
     * same append may be tried again. */
    enum status (*append)(struct journal *journal, const struct journal_batch *batch,
                          struct problem *why);
    /* OK: everything appended before the call is durable, and `*acked` is the last such seq. IO: it is not
     * known what of it is, and never will be: this journal is finished (RELIABILITY.md 4.5): every later append and
     * sync fails with STOPPED until `restart`. */
    enum status (*sync)(struct journal *journal, uint64_t *acked, struct problem *why);
    /* Calls `visit` for each batch from `from_seq` on until it says something else than OK; the batch is
     * borrowed for the visit. Not beside a trim or a new base: what is read may go by them. */
    enum status (*read)(struct journal *journal, uint64_t from_seq,
                        enum status (*visit)(void *self, const struct journal_batch *batch,
                                             struct problem *why),
                        void *self, struct problem *why);
    /* Batches below `to_seq` are not needed any more. */
    enum status (*trim)(struct journal *journal, uint64_t to_seq, struct problem *why);
    /* Begins again with new files that hold nothing of the old ones; the next seq stays what it would
     * have been. Not beside an append. They are part of the database only from the next manifest on. */
    enum status (*restart)(struct journal *journal, struct problem *why);
    /* Makes room ahead, so that appends and syncs stay quick. To be called often, from a thread that may wait. */
    enum status (*prepare)(struct journal *journal, struct problem *why);
    struct journal *(*free)(struct journal *journal); /* always NULL; syncs nothing */
};

struct journal {
    const struct journal_ops *ops;
};

static inline enum status journal_append(struct journal *journal, const struct journal_batch *batch,
                                         struct problem *why) {
    return journal->ops->append(journal, batch, why);
}
static inline enum status journal_sync(struct journal *journal, uint64_t *acked,
                                       struct problem *why) {
    return journal->ops->sync(journal, acked, why);
}
static inline enum status journal_read(struct journal *journal, uint64_t from_seq,
                                       enum status (*visit)(void *self,
                                                            const struct journal_batch *batch,
                                                            struct problem *why),
                                       void *self, struct problem *why) {
    return journal->ops->read(journal, from_seq, visit, self, why);
}
static inline enum status journal_trim(struct journal *journal, uint64_t to_seq,
                                       struct problem *why) {
    return journal->ops->trim(journal, to_seq, why);
}
static inline enum status journal_restart(struct journal *journal, struct problem *why) {
    return journal->ops->restart(journal, why);
}
static inline enum status journal_prepare(struct journal *journal, struct problem *why) {
    return journal->ops->prepare(journal, why);
}
static inline struct journal *journal_free(struct journal *journal) {
    return journal ? journal->ops->free(journal) : NULL;
}

/* --- the local-file journal: file_journal.c; format in docs/formats/log.md ---
 *
 * Segments log.N.plog of SEGMENT bytes, made ahead and zero-filled, or recycled, so that a sync writes data
 * and no metadata. A frame never crosses segments; one that is larger than a segment gets its own.
 */
struct env;
struct manifest;

struct file_journal_tail { /* what file_journal_scan found at the end */
    uint64_t last_seq;     /* of the last good frame; base.seq - 1: there is none */
    uint64_t cut;          /* its cut, or base.from */
    uint64_t
        highest_cut; /* of any frame seen, the torn ones among them: no new stamp may be below it */
    uint64_t
        durable_cut; /* the frames themselves prove that it was durable up to here, perhaps further */
    uint64_t torn_bytes; /* after it, never acknowledged: cut off */
    uint64_t torn_log;   /* in which log, */
    uint64_t torn_at;    /* from which offset on */
    uint64_t bytes;      /* of good frames from base.seq on */
};

/* Looks at every frame from manifest->base.seq on and applies the tail rule (RELIABILITY.md 4.2). OK:
 * what is in `*out` is all that was ever acknowledged, and perhaps more. CORRUPT: acknowledged data is damaged;
 * `why` names file, offset and what to do, and frames base.seq..out->last_seq are those before the damage (where a
 * file is missing `*out` stays as it is). UNSUPPORTED: a file of a later version. Changes nothing. */
MUST_USE enum status file_journal_scan(struct env *env, const char *dir,
                                       const struct manifest *manifest,
                                       struct file_journal_tail *out, struct problem *why);
/* Reads what file_journal_scan accepted: frames base.seq..tail->last_seq; see journal_ops.read. For recovery
 * and pulsedb-check; needs no open journal. */
MUST_USE enum status file_journal_read(
    struct env *env, const char *dir, const struct manifest *manifest, uint64_t from_seq,
    uint64_t to_seq,
    enum status (*visit)(void *self, const struct journal_batch *batch, struct problem *why),
    void *self, struct problem *why);
/* Opens it for appending, frame tail->last_seq + 1 next, always in a new segment: what was read is never written
 * to again. Copies a torn tail to log.N.torn, seals the old segments in the manifest (end, last_seq), adds the
 * new one, takes `clean` away, and writes the manifest (which the journal then shares: `lock` guards it, and the journal
 * writes it when it adds a segment). `segment` is a segment's size in bytes (0: 64 MiB); tests use small ones.
 * `why` is also filled, and the journal returned, when a torn tail could not be copied aside.
 *
 * Where the disk takes none of that (IO: it is full, say) the journal is returned as well, but is not open: the manifest
 * names the files of before, as they are. Each prepare, and each append, tries the rest again, and fails as long as that
 * does. A restart leaves it at a new beginning. NULL: it was not for want of a file (CORRUPT, LIMIT), or the
 * directory cannot even be listed. */
struct manifest_share;
MUST_USE struct journal *file_journal_open(struct env *env, const char *dir,
                                           struct manifest_share *manifest,
                                           const struct file_journal_tail *tail, uint64_t segment,
                                           struct problem *why);
bool file_journal_is_open(const struct journal *journal);
/* For one that is not open: the cut up to which what was found is on the disk, not just in memory. Syncs it first, and
 * then reads what the disk holds, as a sync that has failed long ago makes the next one lie. */
uint64_t file_journal_found_durable(struct journal *journal);
/* The bytes of frames appended since `seq`: when to make a new snapshot. */
uint64_t file_journal_size(const struct journal *journal, uint64_t since_seq);
uint64_t file_journal_next_seq(const struct journal *journal);

/* The manifest as two parties change it: the journal its logs, the snapshots its base. */
#include "log/manifest.h"
#include <pthread.h>
struct manifest_share {
    pthread_mutex_t lock;
    struct manifest now; /* as on disk; lock */
};
/* After journal_restart: the manifest that holds `base` and only the new segments, written durably;
 * then the old files are removed. Also the way to put a new base in at all: the logs below base->seq are dropped
 * from the list and recycled or removed. The log up to base->to must be durable. After IO the manifest on disk may be
 * either one: the files of both bases must stay until a call has succeeded. Thread: beside all but itself. */
MUST_USE enum status file_journal_put_base(struct journal *journal,
                                           const struct manifest_base *base, struct problem *why);
/* A shutdown in order: the trailer frame (seq, cut), a sync, then the manifest says so. May be tried again; appends are
 * over. INVALID: after a restart without file_journal_put_base. Thread: as append. */
MUST_USE enum status file_journal_close_clean(struct journal *journal, uint64_t cut,
                                              struct problem *why);
