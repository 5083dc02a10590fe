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
    /* With ENV_READ: what the disk holds, not what is kept of it in memory. -EINVAL where that cannot be asked for. */
    ENV_DISK = 1 << 5,
};

struct env_ops {
    uint64_t (*monotonic_ns)(struct env *env); /* since an unknown instant; never goes back */
    uint64_t (*realtime_ns)(struct env *env);  /* Unix time; may step either way */
    void (*random)(struct env *env, void *out, size_t len); /* unguessable in the real world */
    void (*sleep_ns)(struct env *env, uint64_t ns);

    /* Files. Each returns 0 (or a count) or a negative errno. `path` ends in NUL. Interrupted calls
     * are repeated inside. */
    int (*open)(struct env *env, const char *path, unsigned flags, struct env_file **out);
    /* Opens a file to write and read, made if need be, and holds its lock until it is closed:
     * -EWOULDBLOCK, at once, when somebody holds it, in this process or another. */
    int (*lock)(struct env *env, const char *path, struct env_file **out);
    void (*close)(struct env *env, struct env_file *file); /* NULL is fine */
    int64_t (*pread)(struct env *env, struct env_file *file, void *out, size_t len, uint64_t at);
    int64_t (*pwrite)(struct env *env, struct env_file *file, const void *data, size_t len,
                      uint64_t at);                      /* may write less */
    int (*sync)(struct env *env, struct env_file *file); /* fdatasync */
    /* Has the disk begin with what was written to this part, once it is done with the part of equal length
     * before it: so a large file goes out evenly. Nothing is durable by it, but an error is as final as sync's. */
    int (*write_back)(struct env *env, struct env_file *file, uint64_t at, uint64_t len);
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

/* A world of its own: time moves only by env_sim_advance, sleep_ns and slow calls, chance comes from
 * `seed`, files live in memory and what was not synced can be lost. There is no folder but / and the
 * current one until mkdir; paths may not climb (..); a folder cannot be renamed or removed. */
struct env *env_sim_new(uint64_t seed);
struct env *env_sim_free(struct env *env);               /* always NULL; its files must be closed */
void env_sim_advance(struct env *env, uint64_t ns);      /* both clocks */
void env_sim_step_realtime(struct env *env, int64_t ns); /* somebody sets the clock */

/* A power cut: files are closed, and of what was not synced nothing is left. */
void env_sim_crash(struct env *env);
/* A power cut as bad as POSIX allows: of what was not synced any 512-byte piece of any write, any
 * change of a size, and the first so many changes of names are left, as chance has it. */
void env_sim_crash_torn(struct env *env);
/* The process is dead: no file call does anything but close, until `on` again. Its remains can so be
 * freed without their writing one more byte; what it wrote before stays. */
void env_sim_power(struct env *env, bool on);
/* The same from the n-th file call from now on, in the middle of whatever it belongs to (n 0: not). */
void env_sim_power_off_at(struct env *env, uint64_t n);
bool env_sim_has_power(struct env *env);
/* From now on, or until now, file calls that only read are a look from outside: none fails or is counted. */
void env_sim_observe(struct env *env, bool on);

/* The n-th file call from now (close does not count) fails with the errno `error`, once, and does
 * nothing (n 0: never). */
void env_sim_fail_at(struct env *env, uint64_t n, int error);

/* What goes wrong by chance, and how slow a disk is. All zero: nothing, not at all. */
struct env_sim_faults {
    uint32_t write_errors; /* of a million calls that write or change a name or a size: fail with */
    int write_error;       /* this errno, and do nothing */
    uint32_t
        sync_errors; /* of a million syncs: EIO. As on Linux what a file holds stays to be read and
                            * counts as clean: it never reaches the disk, and the next sync is fine */
    uint32_t short_writes;      /* of a million writes: write a part */
    uint64_t write_ns, sync_ns; /* how long each such call takes */
    uint64_t look_ns;   /* and how long asking for the time does: what takes a share of it ends */
    uint64_t disk_size; /* all files together, in bytes; beyond: ENOSPC. 0: no limit */
};
void env_sim_faults(struct env *env, const struct env_sim_faults *faults); /* from now on; copied */

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
