/* program.h: the wired instance, and what only the program knows of it. */
#pragma once

#include <limits.h>
#include <pthread.h>

#include "base/arena.h"
#include "base/siphash.h"
#include "base/status.h"
#include "command/pulse.h"

struct server;
struct sink;

enum { WARNINGS_MAX = 64 };

/* What settings_load has to say comes before it is known where the log goes. */
struct warnings {
    struct arena arena;
    struct bytes texts[WARNINGS_MAX];
    size_t count;
};

struct program {
    struct pulse pulse;
    struct server *server;
    struct warnings warnings;
    char executable[PATH_MAX], dir[PATH_MAX];
    unsigned shards;
    struct siphash_key seed; /* of the keys' hash */
    struct sink *sinks[3];   /* told of what is committed, in this order */

    /* Given on the command line, and no settings: */
    const char *restore_to; /* an instant; NULL: nothing is restored */
    const char
        *restore_from; /* the directory that it is restored from; absolute once it is known */
    char restore_path[PATH_MAX];
    const char *import; /* an RDB file, or Redis' append-only files; NULL: none */
    char import_path[PATH_MAX];

    pthread_t loader;
    _Atomic bool loaded, load_failed;
    struct problem load_why;
    const char *pidfile; /* in the arena of warnings; NULL: none */
};

/* --- durable.c: the directory, and what is in it --- */

/* Takes the directory; says how many shards the store must have, and their seed. */
MUST_USE enum status durable_open(struct program *program, struct problem *why);
/* Loads what is there, then what is to be imported, as a whole or not at all; from then on changes are logged. */
MUST_USE enum status durable_load(struct program *program, struct problem *why);
/* Everything that was answered is on disk when this returns. */
MUST_USE enum status durable_stop(struct program *program, struct problem *why);
/* pulsedb --restore-to: makes a new directory, says so, serves nobody. */
MUST_USE enum status durable_restore(struct program *program, struct problem *why);

/* --- import.c --- */

MUST_USE enum status import_file(struct program *program, const char *path, struct problem *why);
