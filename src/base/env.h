/* env.h: the world, behind an interface: clocks, randomness and files.
 *
 * The server takes no time, no chance and no file but through here, so that a simulation can hold
 * the whole world in its hand (env_sim) and replay it from a seed. The real one is env_real.
 * Thread: any, for every call; a `struct env_file` belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attributes.h"
#include "base/bytes.h"
#include "base/status.h"

struct env;
struct env_file;

enum env_open {
    ENV_READ = 1 << 0,
    ENV_WRITE = 1 << 1,
    ENV_CREATE = 1 << 2,   /* make it, mode 0600; fails with EEXIST when it is there */
    ENV_TRUNCATE = 1 << 3, /* with ENV_WRITE: empty it, or make it */
    ENV_APPEND = 1 << 4,   /* every write goes to the end */
};

struct env_ops {
    uint64_t (*monotonic_ns)(struct env *env); /* since an unknown instant; never goes back */
    uint64_t (*realtime_ns)(struct env *env);  /* Unix time; may step either way */
    void (*random)(struct env *env, void *out, size_t len); /* unguessable in the real world */
    void (*sleep_ns)(struct env *env, uint64_t ns);

    /* Files. Each returns 0 (or a count) or a negative errno. `path` ends in NUL. Interrupted calls
     * are repeated inside. */
    int (*open)(struct env *env, const char *path, unsigned flags, struct env_file **out);
    void (*close)(struct env *env, struct env_file *file); /* NULL is fine */
    int64_t (*pread)(struct env *env, struct env_file *file, void *out, size_t len, uint64_t at);
    int64_t (*pwrite)(struct env *env, struct env_file *file, const void *data, size_t len,
                      uint64_t at);                      /* may write less */
    int (*sync)(struct env *env, struct env_file *file); /* fdatasync */
    int (*truncate)(struct env *env, struct env_file *file, uint64_t len);
    int64_t (*size)(struct env *env, struct env_file *file);
    int (*rename)(struct env *env, const char *from, const char *to);
    int (*unlink)(struct env *env, const char *path);
    int (*mkdir)(struct env *env, const char *path);    /* 0700; -EEXIST when it is there */
    int (*sync_dir)(struct env *env, const char *path); /* makes names in it durable */
    /* Calls `name` for each entry but . and .. ; stops when it returns false. */
    int (*list)(struct env *env, const char *path, bool (*name)(void *self, const char *name),
                void *self);
};

struct env {
    const struct env_ops *ops;
};

/* The operating system. Borrowed, never freed. */
struct env *env_real(void);

/* A world of its own: time moves only by env_sim_advance and sleep_ns, chance comes from `seed`,
 * files live in memory and what was not synced can be lost. There is no folder but / and the current
 * one until mkdir; paths may not climb (..); a folder cannot be renamed or removed. */
struct env *env_sim_new(uint64_t seed);
struct env *env_sim_free(struct env *env);               /* always NULL; its files must be closed */
void env_sim_advance(struct env *env, uint64_t ns);      /* both clocks */
void env_sim_step_realtime(struct env *env, int64_t ns); /* somebody sets the clock */
void env_sim_crash(
    struct env *env); /* a power cut: everything unsynced is gone, files are closed */
/* The n-th file call from now (close does not count) fails with the errno `error`, once, and does
 * nothing (n 0: never). */
void env_sim_fail_at(struct env *env, uint64_t n, int error);

static inline uint64_t env_monotonic_ns(struct env *env) {
    return env->ops->monotonic_ns(env);
}
static inline uint64_t env_realtime_ns(struct env *env) {
    return env->ops->realtime_ns(env);
}
static inline void env_random(struct env *env, void *out, size_t len) {
    env->ops->random(env, out, len);
}

/* Whole small files (configuration). `*out` is for mem_free(data, len); data is NULL when the file is
 * empty. A file longer than `limit` is LIMIT, one that is not there NOT_FOUND. */
MUST_USE enum status env_read_file(struct env *env, const char *path, size_t limit,
                                   struct bytes *out, struct problem *why);
/* Replaces a file as a whole: temporary beside it (`path`.tmp), fsync, rename, fsync of the folder. On
 * failure the old content stands, unless it is the last step that failed: then either may. */
MUST_USE enum status env_replace_file(struct env *env, const char *path, struct bytes content,
                                      struct problem *why);
