/* aof.h: what Redis logged: an append-only file, or several under a manifest.
 *
 *     appendonlydir/appendonly.aof.manifest        file appendonly.aof.1.base.rdb seq 1 type b
 *                                                  file appendonly.aof.1.incr.aof seq 1 type i
 *     each file:  [a whole RDB file] [*3 $3 SET $1 k $1 v | #TS:1700000000]...
 *
 * The reader hands over keys and commands; what they do is the caller's to know. Everything is read
 * twice: nothing is handed over before all of it was found whole.
 *
 * A command does what it did only at the time it was given: INCR of a key whose time has come since
 * then would make a key without an end. So whoever runs the commands must see no key as over
 * meanwhile, as Redis does while it loads. For the same reason the keys of an RDB part come even if
 * they are over.
 *
 * Thread: one at a time.
 */
#pragma once

#include "log/rdb.h"

struct env;

enum { AOF_FILE_NAME_MAX = 255 };

struct aof_report {
    uint64_t files, commands;
    struct rdb_report rdb; /* of the RDB part, if there was one (version not 0) */
    /* What was cut off at the end of the last file: a command that is not whole, or MULTI without
     * its EXEC. 0: nothing. */
    uint64_t dropped;
    uint64_t dropped_at;              /* from which offset on */
    char last[AOF_FILE_NAME_MAX + 1]; /* the last file's name, without folders */
};

struct aof_visitor {
    enum status (*key)(void *self, const struct rdb_key *key, struct problem *why);
    /* One command, borrowed. SELECT, MULTI and EXEC come like all others. Each file begins with
     * database 0: a SELECT of it comes before the commands of every file but the first. */
    enum status (*command)(void *self, const struct bytes *args, size_t count, struct problem *why);
    void *self;
};

/* `path`: Redis' appendonlydir or the folder around it, a manifest, or the one file of before Redis
 * 7. NOT_FOUND: there is none. CORRUPT: where; what is not the end of the last file is never left
 * out. UNSUPPORTED: see rdb_read. A visitor's own status ends it. */
MUST_USE enum status aof_read(struct env *env, const char *path, const struct aof_visitor *visitor,
                              struct aof_report *report, struct problem *why);
