/* log_file.h: one log file in memory, and the frames that are whole in it, damage or not.
 *
 * What the end of a log means is the journal's to say (file_journal_scan). Here a file is looked
 * at for itself: for listing it, and for saving what can be saved. */
#pragma once

#include <limits.h>

#include "base/env.h"
#include "log/frame.h"
#include "log/segment.h"

struct log_file {
    char path[PATH_MAX];
    struct segment_header header; /* as far as it is true: */
    enum status header_status;    /* OK, CORRUPT, UNSUPPORTED */
    struct problem header_why;
    uint32_t seed;
    char *data;
    size_t size; /* of what belongs to the log: up to the manifest's end of it */
    size_t cap;
};

/* Reads all of it. IO, NOT_FOUND, NO_MEMORY; a bad header is told in header_status. `id` seeds
 * the checksums if the header does not say (0: not known). After OK: log_file_close. */
MUST_USE enum status log_file_open(struct log_file *log, struct env *env, const char *path,
                                   uint64_t id, struct problem *why);
void log_file_close(struct log_file *log);

/* The frame at `at`, if a whole one is there. */
MUST_USE bool log_file_frame(const struct log_file *log, uint64_t at, struct journal_batch *out);
/* The first whole frame at `*at` or behind it; where frames may be, eight bytes apart. false: no
 * more. */
MUST_USE bool log_file_seek(const struct log_file *log, uint64_t *at, struct journal_batch *out);
/* Whether what lies at `at` and behind is zeros; or, in a file that was used before, anything
 * but the begin of frame `seq`: what an earlier file has left there is no part of it. */
bool log_file_ends(const struct log_file *log, uint64_t at, uint64_t seq);

/* The frames from..to of a manifest's logs, in order, as far as they are whole: where each lies.
 * A visit that does not return OK ends it. Files that cannot be read are passed over: the scan
 * has said so. */
struct manifest;
struct log_place {
    size_t log; /* of the manifest's */
    const struct log_file *file;
    uint64_t at;
};
MUST_USE enum status logs_visit(struct env *env, const char *dir, const struct manifest *manifest,
                                uint64_t from, uint64_t to,
                                enum status (*visit)(void *self, const struct log_place *place,
                                                     const struct journal_batch *frame,
                                                     struct problem *why),
                                void *self, struct problem *why);
