/* aof_files.h: the files of an append-only log, in the order in which they are read. For aof.c. */
#pragma once

#include <limits.h>

#include "base/arena.h"
#include "base/env.h"
#include "base/mem.h"
#include "log/aof.h"

struct aof_file {
    struct aof_file *next;
    struct bytes name;
    bool base; /* the manifest says so */
};

struct aof_files {
    struct arena arena; /* of all below */
    char folder[PATH_MAX];
    struct aof_file *first, **end;
};

/* Statuses as aof_read. In any case: aof_files_deinit. */
MUST_USE enum status aof_files_find(struct aof_files *files, struct env *env, const char *path,
                                    struct problem *why);
void aof_files_deinit(struct aof_files *files);
/* FOLDER/NAME, into PATH_MAX bytes. */
MUST_USE enum status aof_file_path(const struct aof_files *files, struct bytes name, char *out,
                                   struct problem *why);
