/* env_sim.c: a world in memory, the same each time for the same seed.
 *
 * Two clocks and two sequences of chance: one for the program in this world, one for what happens to it,
 * so that a fault more does not change what the program draws. The disk is env_sim_disk's; here a call is
 * timed, refused or cut short before it gets there.
 *
 * One lock around each call: a simulation has few threads, and none that is in a hurry.
 */
#include "base/env.h"

#include <errno.h>
#include <pthread.h>

#include "base/assert.h"
#include "base/env_sim_disk.h"
#include "base/mem.h"

enum { START_S = 1'767'225'600 }; /* the first second of 2026: no test may lean on "now" */
enum { MILLION = 1'000'000 };

struct env_file {
    struct node *node;
    uint64_t life; /* of the world in which it was opened: a crash closes it */
    unsigned flags;
    bool locks; /* it holds the node's lock */
};

struct env_sim {
    struct env env;
    pthread_mutex_t lock;
    uint64_t monotonic_ns, realtime_ns;
    uint64_t chance;     /* the program's */
    uint64_t misfortune; /* the world's */
    uint64_t life;       /* 1, and one more for each crash */
    bool off;
    bool observed; /* calls are nothing that happens in this world */
    uint64_t off_at;   /* file calls until it is; 0: it will not be */
    uint64_t fails_at; /* file calls until one fails; 0: none will */
    int fails_with;    /* errno */
    struct env_sim_faults faults;
    struct disk disk;
};

static struct env_sim *sim_of(struct env *env) {
    return (struct env_sim *)env;
}

static struct env_sim *sim_lock(struct env *env) {
    struct env_sim *sim = sim_of(env);
    pthread_mutex_lock(&sim->lock);
    return sim;
}

static void sim_unlock(struct env_sim *sim) {
    pthread_mutex_unlock(&sim->lock);
}

static void sim_pass(struct env_sim *sim, uint64_t ns) {
    sim->monotonic_ns += ns;
    sim->realtime_ns += ns;
}

static uint64_t sim_monotonic_ns(struct env *env) {
    struct env_sim *sim = sim_lock(env);
    uint64_t ns = sim->monotonic_ns;
    sim_pass(sim, sim->faults.look_ns);
    sim_unlock(sim);
    return ns;
}

static uint64_t sim_realtime_ns(struct env *env) {
    struct env_sim *sim = sim_lock(env);
    uint64_t ns = sim->realtime_ns;
    sim_unlock(sim);
    return ns;
}

static void sim_random(struct env *env, void *out, size_t len) {
    struct env_sim *sim = sim_lock(env);
    for (size_t done = 0; done < len;) {
        uint64_t word = chance_next(&sim->chance);
        size_t n = len - done < sizeof word ? len - done : sizeof word;
        memcpy((char *)out + done, &word, n);
        done += n;
    }
    sim_unlock(sim);
}

/* ---- what goes wrong ---- */

/* Counts a file call; the error when its turn has come, else 0. */
static int injected(struct env_sim *sim) {
    if (sim->observed) return 0;
    if (sim->off_at > 0 && --sim->off_at == 0) sim->off = true;
    if (sim->off) return -EIO;
    if (sim->fails_at == 0 || --sim->fails_at > 0) return 0;
    return -sim->fails_with;
}

static bool befalls(struct env_sim *sim, uint32_t of_a_million) {
    return of_a_million > 0 && !sim->observed &&
           chance_below(&sim->misfortune, MILLION) < of_a_million;
}

/* The same for a call that changes something. */
static int injected_change(struct env_sim *sim) {
    int error = injected(sim);
    if (error < 0) return error;
    sim_pass(sim, sim->faults.write_ns);
    return befalls(sim, sim->faults.write_errors) ? -sim->faults.write_error : 0;
}

/* 0 when a call on `file` may go on. */
static int file_check(const struct env_sim *sim, const struct env_file *file, unsigned needed) {
    if (file->life != sim->life) return -EBADF;
    return needed == 0 || file->flags & needed ? 0 : -EBADF;
}

static const unsigned WRITES_FLAGS = ENV_WRITE | ENV_APPEND | ENV_TRUNCATE;

/* How many of `len` bytes at `at` the disk takes today, or why none. */
static int64_t write_room(struct env_sim *sim, const struct node *node, size_t len, uint64_t at) {
    uint64_t end = 0, size = node_size(node);
    if (__builtin_add_overflow(at, len, &end) || end > PTRDIFF_MAX) return -EFBIG;
    if (len > 1 && befalls(sim, sim->faults.short_writes))
        len = 1 + (size_t)chance_below(&sim->misfortune, len - 1);
    if (sim->faults.disk_size == 0 || at + len <= size) return (int64_t)len;
    uint64_t used = disk_used(&sim->disk);
    uint64_t room = used < sim->faults.disk_size ? sim->faults.disk_size - used : 0;
    uint64_t fits = size + room <= at ? 0 : size + room - at; /* a hole takes room as well */
    if (fits == 0) return -ENOSPC;
    return (int64_t)(fits < len ? fits : len);
}

/* ---- calls ---- */

static struct env_file *file_new(struct env_sim *sim, struct node *node, unsigned flags) {
    struct env_file *file = mem_new(sizeof *file);
    *file = (struct env_file){ .node = node, .life = sim->life, .flags = flags };
    return file;
}

static int sim_open(struct env *env, const char *path, unsigned flags, struct env_file **out) {
    struct env_sim *sim = sim_lock(env);
    struct node *node = NULL;
    int error = flags & (ENV_CREATE | ENV_TRUNCATE) ? injected_change(sim) : injected(sim);
    if (error == 0) error = disk_open(&sim->disk, path, flags, &node);
    if (error == 0) *out = file_new(sim, node, flags);
    sim_unlock(sim);
    return error;
}

static int sim_lock_file(struct env *env, const char *path, struct env_file **out) {
    struct env_sim *sim = sim_lock(env);
    struct node *node = NULL;
    int error = injected_change(sim);
    if (error == 0) error = disk_open(&sim->disk, path, ENV_READ | ENV_WRITE, &node);
    if (error == -ENOENT) error = disk_open(&sim->disk, path, ENV_WRITE | ENV_CREATE, &node);
    if (error == 0 && !node_lock(node, sim->life)) {
        node_unref(node);
        error = -EWOULDBLOCK;
    }
    if (error == 0) {
        *out = file_new(sim, node, ENV_READ | ENV_WRITE);
        (*out)->locks = true;
    }
    sim_unlock(sim);
    return error;
}

static void sim_close(struct env *env, struct env_file *file) {
    if (!file) return;
    struct env_sim *sim = sim_lock(env);
    if (file->locks && file->life == sim->life) node_unlock(file->node);
    node_unref(file->node);
    mem_free(file, sizeof *file);
    sim_unlock(sim);
}

static int64_t sim_pread(struct env *env, struct env_file *file, void *out, size_t len,
                         uint64_t at) {
    struct env_sim *sim = sim_lock(env);
    int64_t result = injected(sim);
    if (result == 0) result = file_check(sim, file, ENV_READ);
    if (result == 0)
        result = file->flags & ENV_DISK ? node_read_synced(file->node, out, len, at)
                                        : node_read(file->node, out, len, at);
    sim_unlock(sim);
    return result;
}

static int64_t sim_pwrite(struct env *env, struct env_file *file, const void *data, size_t len,
                          uint64_t at) {
    struct env_sim *sim = sim_lock(env);
    int64_t result = injected_change(sim);
    if (result == 0) result = file_check(sim, file, WRITES_FLAGS);
    if (file->flags & ENV_APPEND) at = node_size(file->node);
    if (result == 0 && len > 0) result = write_room(sim, file->node, len, at);
    if (result > 0) node_write(file->node, data, (size_t)result, (size_t)at);
    sim_unlock(sim);
    return result;
}

static int sim_sync(struct env *env, struct env_file *file) {
    struct env_sim *sim = sim_lock(env);
    int error = injected(sim);
    if (error == 0) error = file_check(sim, file, 0);
    if (error == 0) {
        sim_pass(sim, sim->faults.sync_ns);
        if (befalls(sim, sim->faults.sync_errors)) {
            node_sync_lost(file->node);
            error = -EIO;
        } else {
            node_sync(file->node);
        }
    }
    sim_unlock(sim);
    return error;
}

static int sim_write_back(struct env *env, struct env_file *file, uint64_t, uint64_t) {
    struct env_sim *sim = sim_lock(env);
    int error = injected(sim);
    if (error == 0) error = file_check(sim, file, 0);
    sim_unlock(sim);
    return error;
}

static int sim_truncate(struct env *env, struct env_file *file, uint64_t len) {
    struct env_sim *sim = sim_lock(env);
    int error = injected_change(sim);
    if (error == 0) error = file_check(sim, file, WRITES_FLAGS);
    if (error == 0 && len > PTRDIFF_MAX) error = -EFBIG;
    if (error == 0) node_truncate(file->node, (size_t)len);
    sim_unlock(sim);
    return error;
}

static int64_t sim_size(struct env *env, struct env_file *file) {
    struct env_sim *sim = sim_lock(env);
    int64_t result = injected(sim);
    if (result == 0) result = file_check(sim, file, 0);
    if (result == 0) result = (int64_t)node_size(file->node);
    sim_unlock(sim);
    return result;
}

static int sim_rename(struct env *env, const char *from, const char *to) {
    struct env_sim *sim = sim_lock(env);
    int error = injected_change(sim);
    if (error == 0) error = disk_rename(&sim->disk, from, to);
    sim_unlock(sim);
    return error;
}

static int sim_unlink(struct env *env, const char *path) {
    struct env_sim *sim = sim_lock(env);
    int error = injected_change(sim);
    if (error == 0) error = disk_unlink(&sim->disk, path);
    sim_unlock(sim);
    return error;
}

static int sim_mkdir(struct env *env, const char *path) {
    struct env_sim *sim = sim_lock(env);
    int error = injected_change(sim);
    if (error == 0) error = disk_mkdir(&sim->disk, path);
    sim_unlock(sim);
    return error;
}

static int sim_sync_dir(struct env *env, const char *path) {
    struct env_sim *sim = sim_lock(env);
    int error = injected(sim);
    if (error == 0) {
        sim_pass(sim, sim->faults.sync_ns);
        error = befalls(sim, sim->faults.sync_errors) ? -EIO : disk_sync_dir(&sim->disk, path);
    }
    sim_unlock(sim);
    return error;
}

static int sim_list(struct env *env, const char *path, bool (*name)(void *self, const char *name),
                    void *self) {
    char folder[PATH_MAX], word[PATH_MAX];
    struct env_sim *sim = sim_lock(env);
    int error = injected(sim);
    if (error == 0) error = disk_folder(&sim->disk, path, folder);
    for (size_t index = 0; error == 0 && disk_list_next(&sim->disk, folder, &index, word);) {
        sim_unlock(sim); /* the listener may change the folder */
        bool more = name(self, word);
        sim_lock(env);
        if (!more) break;
    }
    sim_unlock(sim);
    return error;
}

struct env *env_sim_new(uint64_t seed) {
    static const struct env_ops ops = {
        .monotonic_ns = sim_monotonic_ns,
        .realtime_ns = sim_realtime_ns,
        .random = sim_random,
        .sleep_ns = env_sim_advance,
        .open = sim_open,
        .lock = sim_lock_file,
        .close = sim_close,
        .pread = sim_pread,
        .pwrite = sim_pwrite,
        .sync = sim_sync,
        .write_back = sim_write_back,
        .truncate = sim_truncate,
        .size = sim_size,
        .rename = sim_rename,
        .unlink = sim_unlink,
        .mkdir = sim_mkdir,
        .sync_dir = sim_sync_dir,
        .list = sim_list,
    };
    struct env_sim *sim = mem_new_zero(sizeof *sim);
    sim->env.ops = &ops;
    sim->chance = seed;
    sim->misfortune = ~seed;
    sim->life = 1;
    sim->monotonic_ns = 1'000'000'000u;
    sim->realtime_ns = START_S * UINT64_C(1'000'000'000);
    pthread_mutex_init(&sim->lock, NULL);
    return &sim->env;
}

struct env *env_sim_free(struct env *env) {
    if (!env) return NULL;
    struct env_sim *sim = sim_of(env);
    disk_deinit(&sim->disk);
    pthread_mutex_destroy(&sim->lock);
    mem_free(sim, sizeof *sim);
    return NULL;
}

void env_sim_advance(struct env *env, uint64_t ns) {
    struct env_sim *sim = sim_lock(env);
    sim_pass(sim, ns);
    sim_unlock(sim);
}

void env_sim_step_realtime(struct env *env, int64_t ns) {
    struct env_sim *sim = sim_lock(env);
    sim->realtime_ns += (uint64_t)ns;
    sim_unlock(sim);
}

static void crash(struct env *env, bool torn) {
    struct env_sim *sim = sim_lock(env);
    sim->life++;
    sim->fails_at = 0;
    disk_crash(&sim->disk, torn ? &sim->misfortune : NULL);
    sim_unlock(sim);
}

void env_sim_crash(struct env *env) {
    crash(env, false);
}

void env_sim_crash_torn(struct env *env) {
    crash(env, true);
}

void env_sim_power(struct env *env, bool on) {
    struct env_sim *sim = sim_lock(env);
    sim->off = !on;
    sim->off_at = 0;
    sim_unlock(sim);
}

void env_sim_power_off_at(struct env *env, uint64_t n) {
    struct env_sim *sim = sim_lock(env);
    sim->off_at = n;
    sim_unlock(sim);
}

bool env_sim_has_power(struct env *env) {
    struct env_sim *sim = sim_lock(env);
    bool on = !sim->off;
    sim_unlock(sim);
    return on;
}

void env_sim_observe(struct env *env, bool on) {
    struct env_sim *sim = sim_lock(env);
    sim->observed = on;
    sim_unlock(sim);
}

void env_sim_fail_at(struct env *env, uint64_t n, int error) {
    struct env_sim *sim = sim_lock(env);
    sim->fails_at = n;
    sim->fails_with = error;
    sim_unlock(sim);
}

void env_sim_faults(struct env *env, const struct env_sim_faults *faults) {
    struct env_sim *sim = sim_lock(env);
    sim->faults = *faults;
    sim_unlock(sim);
}
