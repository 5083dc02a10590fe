/* segment.h: one file of the local journal, log.N.plog (docs/formats/log.md):
 *
 *     | header 64 | frame | frame | ... | zeros, or what an earlier file left |
 *
 * Internal to the file journal: segment.c makes such files, file_journal_scan.c reads them.
 */
#pragma once

#include "log/journal.h"

struct env_file;

enum {
    SEGMENT_HEADER = 64,
    SEGMENT_RECYCLED = 1, /* header flag: behind the frames lies what an earlier file has left */
    SPARES_MAX = 2,       /* log.spare.1, ... : files to be used again */
};

struct segment_header {
    uint64_t number, id;
    uint64_t first_seq; /* 0: not known when it was made */
    uint32_t flags;
};
void segment_header_encode(const struct segment_header *header, char out[SEGMENT_HEADER]);
/* CORRUPT; UNSUPPORTED: a later version's, both are named. */
MUST_USE enum status segment_header_decode(const char *in, struct segment_header *out,
                                           struct problem *why);

void path_of_spare(const char *dir, unsigned k, char *out);
void path_of_torn(const char *dir, uint64_t number, char *out);

/* One of an open journal's files. Fields are journal->lock's where nothing else is said. */
struct log_segment {
    uint64_t number, id;     /* never change */
    uint64_t first_seq;      /* 0: it is ahead of the current one, and empty */
    uint64_t last_seq;       /* first_seq - 1: it is empty */
    uint64_t synced_seq;     /* frames up to this one are durable */
    uint64_t at;             /* where the next frame goes */
    uint64_t ready;          /* up to here its blocks are written: zeros or an earlier file's */
    uint64_t room;           /* it may become this long */
    bool listed;             /* the manifest names it, durably; making */
    bool named;              /* a manifest that names it may have been written; making */
    bool sealed;             /* from before this journal was opened: no handles, never written to */
    struct env_file *out;    /* the appender's; closed when it goes on to the next */
    struct env_file *syncer; /* who syncs; closed when all is full and durable */
};

static inline bool segment_is_empty(const struct log_segment *segment) {
    return segment->first_seq == 0 || segment->last_seq < segment->first_seq;
}

/* Makes log.NUMBER.plog, of the file `spare` if there is one (NULL: none): header and `ready` bytes of
 * it, durable, name too. Fails without a trace, but the spare may be gone. */
MUST_USE struct log_segment *log_segment_new(struct env *env, const char *dir, uint64_t number,
                                             const char *spare, uint64_t first_seq, uint64_t ready,
                                             uint64_t room, struct problem *why);
struct log_segment *log_segment_free(struct env *env,
                                     struct log_segment *segment); /* always NULL */
/* Writes zeros from segment->ready up to `ready` and makes them durable if `sync`; the caller raises
 * segment->ready. `*sync_failed`: it was the sync, and frames before may be lost by it. */
MUST_USE enum status log_segment_extend(struct env *env, const char *dir,
                                        const struct log_segment *segment, uint64_t ready,
                                        bool sync, bool *sync_failed, struct problem *why);
/* All of it, however short the writes are. 0 or a negative errno. */
MUST_USE int write_fully(struct env *env, struct env_file *file, const char *data, size_t len,
                         uint64_t at);

/* --- file_journal_scan.c, for file_journal_open --- */

/* What a scan has found torn in one of the manifest's logs. Equal: nothing. */
struct torn {
    uint64_t from, to;
};
/* file_journal_scan that also says what is torn, in each of the manifest's logs. */
MUST_USE enum status file_journal_survey(struct env *env, const char *dir,
                                         const struct manifest *manifest,
                                         struct file_journal_tail *out, struct torn *torn,
                                         struct problem *why);
