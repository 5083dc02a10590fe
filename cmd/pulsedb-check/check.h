/* check.h: what the commands of pulsedb-check share: what was asked, how it ends, how things are
 * said.
 *
 * Everything that is read is hostile: it may have been changed by a disk, a person or an
 * attacker. */
#pragma once

#include "base/buffer.h"
#include "base/env.h"
#include "base/status.h"

/* How the program ends; docs/pulsedb-check.md. */
enum {
    ENDS_WHOLE = 0,
    ENDS_TORN = 1,       /* whole, but for an end that was never acknowledged */
    ENDS_DAMAGED = 2,    /* something is damaged or missing */
    ENDS_UNREADABLE = 3, /* it cannot be read, or is not ours */
    ENDS_NEWER = 4,      /* a newer version wrote it */
    ENDS_USAGE = 64,
};

struct request {
    struct env *env;
    const char *path;         /* the directory, or the file */
    const char *target;       /* export's file, repair's new directory */
    bool load;                /* verify --load */
    uint64_t from, to, limit; /* log */
    struct bytes key;         /* log: a pattern; data NULL: any key */
    const char *at;           /* export: an instant as it was written; NULL: the last one */
};

/* The commands. Each returns how the program ends, and has said why. */
int check_verify(const struct request *request);
int check_list(const struct request *request);
int check_describe(const struct request *request);
int check_repair(const struct request *request);
int check_export(const struct request *request);
int check_rdb(const struct request *request);

/* --- text.c --- */

/* Says on standard error what is wrong; returns how the program ends. */
int complain(const struct problem *why);
int ends_by(enum status status);
/* Appends what a problem says, with the system's word for its errno. */
void put_problem(struct buffer *out, const struct problem *why);

enum { INSTANT_TEXT = 40, SIZE_TEXT = 32 };
/* 2026-11-23T05:41:00.123456Z; returns `out`. */
const char *instant_text(uint64_t ns, char out[INSTANT_TEXT]);
/* 12.34M; returns `out`. */
const char *size_text(uint64_t bytes, char out[SIZE_TEXT]);
/* Appends "text" as redis-cli writes it; what is longer than `most` bytes is cut: "text"... */
void put_quoted(struct buffer *out, struct bytes text, size_t most);
static inline unsigned long long wide(uint64_t n) {
    return n;
}
static inline const char *plural(uint64_t n) {
    return n == 1 ? "" : "s";
}
/* All of it to standard output, which is then empty. */
void say(struct buffer *out);

/* --- who else is there --- */

/* Whether a server uses the directory. Takes nothing away from it. */
bool dir_is_used(const char *dir);
/* Keeps servers out of the directory for as long as this process lives. false: one is in there.
 * A directory that cannot be locked (read-only) counts as ours. */
MUST_USE bool dir_hold(const char *dir);
