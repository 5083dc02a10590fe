/* salvage.h: saving what is whole of a database into a new directory.
 *
 *     repair.c          the manifest, the plan, the report
 *     rebuild.c         a manifest of what lies about, where the true one is lost
 *     base_salvage.c    the snapshot: its whole sections, made one whole again
 *     log_salvage.c     the log: its frames up to the first that is missing
 *
 * The old directory is only read. */
#pragma once

#include "log/manifest.h"

struct env;
struct buffer;

/* --- base_salvage.c --- */

struct base_losses {
    uint32_t shards;      /* how many there were; 0: it does not say */
    bool whole;           /* the copy is what was written */
    uint64_t damaged;     /* bytes that are no section any more */
    uint64_t keys, past;  /* rows that were saved */
    uint64_t keys_lost;   /* as far as it is known: */
    uint64_t shards_lost; /* of so many shards nothing is known, */
    bool uncounted;       /* or it is not known how many keys they had */
    uint64_t past_lost;   /* older versions, as far as it is known */
    bool pins_lost, writers_lost;
};
/* Writes the base that `from` names, as far as it is whole, into the directory `to`; `*base`
 * (in: as it is known; id 0, sizes 0, from and to 0 where it is not) becomes what the new
 * manifest says. NOT_FOUND: nothing of it can be saved; `why` says why. UNSUPPORTED: a later
 * version's. */
MUST_USE enum status base_salvage(struct env *env, const char *from, const char *to,
                                  uint32_t shards, struct manifest_base *base,
                                  struct base_losses *losses, struct problem *why);

/* --- log_salvage.c --- */

struct log_losses {
    uint64_t frames, records;           /* that were saved */
    uint64_t cut;                       /* of the last one; 0: there are none */
    uint64_t last_seq;                  /* base->seq - 1: there are none */
    bool damaged;                       /* a frame is missing that is known to have been there */
    char where[64];                     /* the file that has the damage, or the end, */
    uint64_t at;                        /* and the offset; 0: all of it */
    uint64_t frames_lost, records_lost; /* whole, but behind what is missing */
    uint64_t first_lost, last_lost;     /* instants of these records; 0: they have none */
    uint64_t bytes_lost;                /* of the frames, and of what is no frame */
    uint64_t unreadable;                /* files that are missing or have nothing whole in them */
    uint64_t highest;                   /* the latest instant that was seen anywhere */
};
struct log_salvage;
/* Looks for frames in the logs that `manifest` names (known: as they should be; else as they
 * were found). */
MUST_USE enum status log_salvage_begin(struct log_salvage **out, struct env *env, const char *dir,
                                       const struct manifest *manifest, bool known,
                                       struct log_losses *losses, struct problem *why);
/* Where a log must begin for a base that has everything up to `from`, if no manifest says so. */
uint64_t log_salvage_first_seq(const struct log_salvage *salvage, uint64_t from);
/* The first of the frames that are there in a row up to frame `seq`; `seq` if the one before it
 * is not there. */
uint64_t log_salvage_reach(const struct log_salvage *salvage, uint64_t seq);
/* Copies the frames from base.seq on into `to` and puts the new logs into `out`, whose base is
 * known. */
MUST_USE enum status log_salvage_copy(struct log_salvage *salvage, const char *to,
                                      struct manifest *out, struct log_losses *losses,
                                      struct problem *why);
struct log_salvage *log_salvage_free(struct log_salvage *salvage); /* always NULL */

/* Makes the log log.NUMBER.plog and adds it to the manifest: all that it holds is that it lasts
 * to the base's end. */
MUST_USE enum status log_write_end(struct env *env, const char *dir, struct manifest *manifest,
                                   uint64_t number, struct problem *why);

/* --- rebuild.c --- */

/* A manifest of what is there, where the true one is lost: its logs (the first_seq as their
 * headers have it), and what can be read of an old or damaged MANIFEST: identity, seed, shards
 * (0: nothing). NOT_FOUND: there are no files of ours. */
MUST_USE enum status manifest_rebuild(struct env *env, const char *dir, struct manifest *out,
                                      struct problem *why);
/* The base to be taken: the newest that is whole and not younger than the log, whose last cut is
 * `cut`; else the newest that is whole; else the newest. `out->generation` 0: there is none.
 * `*count`: of so many. */
MUST_USE enum status base_choose(struct env *env, const char *dir, uint64_t cut,
                                 struct manifest_base *out, uint64_t *count, struct problem *why);
