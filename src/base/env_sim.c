/* env_sim.c: a world in memory, the same each time for the same seed.
 *
 * A disk keeps two things of each kind: what programs see, and what a power cut leaves.
 *
 *     name    "data/log.1" -> now: node 3, durable: none      sync_dir("data"): durable = now
 *     node 3  data "abcdef", synced "abc", dirty [3, 6)       sync(file):       synced = data
 *
 * env_sim_crash is `now = durable` for every name and `data = synced` for every node. The strictest
 * world that POSIX allows: fsync of a file does not make its name durable, rename needs sync_dir too.
 *
 * Invariant: outside [dirty_from, dirty_to), up to the shorter length, data and synced are equal.
 * One lock around each call: a simulation has few threads, and none that is in a hurry.
 */
#include "base/env.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

enum { START_S = 1'767'225'600 }; /* the first second of 2026: no test may lean on "now" */

/* A run of bytes that owns its memory. What lies between len and cap is zero. */
struct content {
    char *data;
    size_t len, cap;
};

/* A file or a folder, whatever it is called. */
struct node {
    struct content data, synced;
    size_t dirty_from, dirty_to;
    size_t refs; /* names (now and durable counted apart) and open files */
    bool folder;
};

struct name {
    char *path; /* normal form: see path_normal */
    struct node *now, *durable;
};

struct env_file {
    struct node *node;
    uint64_t life; /* of the world in which it was opened: a crash closes it */
    unsigned flags;
};

struct env_sim {
    struct env env;
    pthread_mutex_t lock;
    uint64_t monotonic_ns, realtime_ns;
    uint64_t chance;
    uint64_t life;      /* crashes survived */
    uint64_t fails_at;  /* file calls until one fails; 0: none will */
    int fails_with;     /* errno */
    struct name *names; /* in the order in which they were made */
    size_t names_count, names_cap;
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

/* Counts a file call; the injected error when its turn has come, else 0. */
static int injected(struct env_sim *sim) {
    if (sim->fails_at == 0 || --sim->fails_at > 0) return 0;
    return -sim->fails_with;
}

static void content_resize(struct content *content, size_t len) {
    if (len > content->cap) {
        size_t cap = content->cap * 2 > len ? content->cap * 2 : len;
        content->data = mem_resize(content->data, content->cap, cap);
        memset(content->data + content->cap, 0, cap - content->cap);
        content->cap = cap;
    } else if (len < content->len) {
        memset(content->data + len, 0, content->len - len);
    }
    content->len = len;
}

static void content_free(struct content *content) {
    mem_free(content->data, content->cap);
    *content = (struct content){};
}

static struct node *node_new(bool folder) {
    struct node *node = mem_new(sizeof *node);
    *node = (struct node){ .folder = folder };
    return node;
}

static struct node *node_ref(struct node *node) {
    if (node) node->refs++;
    return node;
}

static void node_unref(struct node *node) {
    if (!node) return;
    assert(node->refs > 0);
    if (--node->refs > 0) return;
    content_free(&node->data);
    content_free(&node->synced);
    mem_free(node, sizeof *node);
}

static void node_assign(struct node **place, struct node *node) {
    struct node *old = *place;
    *place = node_ref(node);
    node_unref(old);
}

static void node_touch(struct node *node, size_t from, size_t to) {
    if (node->dirty_from == node->dirty_to) {
        node->dirty_from = from;
        node->dirty_to = to;
        return;
    }
    if (from < node->dirty_from) node->dirty_from = from;
    if (to > node->dirty_to) node->dirty_to = to;
}

static void node_truncate(struct node *node, size_t len) {
    size_t old = node->data.len;
    content_resize(&node->data, len);
    node_touch(node, len < old ? len : old, len < old ? old : len);
}

/* Makes `to` equal to `from`; they differ in the dirty range and in length only. */
static void node_level(struct node *node, struct content *to, const struct content *from) {
    content_resize(to, from->len);
    size_t end = node->dirty_to < from->len ? node->dirty_to : from->len;
    if (node->dirty_from < end)
        memcpy(to->data + node->dirty_from, from->data + node->dirty_from, end - node->dirty_from);
    node->dirty_from = node->dirty_to = 0;
}

/* "./data//x/" -> "data/x"; the current folder is ".", the root "/". */
static int path_normal(const char *path, char out[PATH_MAX]) {
    if (path[0] == '\0') return -ENOENT;
    size_t len = 0;
    if (path[0] == '/') out[len++] = '/';
    for (const char *at = path; *at;) {
        size_t word = strcspn(at, "/");
        if (word == 2 && memcmp(at, "..", 2) == 0) return -ENOTSUP;
        if (word > 0 && !(word == 1 && *at == '.')) {
            if (len + word + 2 > PATH_MAX) return -ENAMETOOLONG;
            if (len > 0 && out[len - 1] != '/') out[len++] = '/';
            memcpy(out + len, at, word);
            len += word;
        }
        at += word + (at[word] == '/');
    }
    if (len == 0) out[len++] = '.';
    out[len] = '\0';
    return 0;
}

/* The folder that holds a normal path's name. */
static void path_folder(const char *path, char out[PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    size_t len = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
    memcpy(out, path, len);
    out[len] = '\0';
    if (len == 0) memcpy(out, ".", 2);
}

static bool path_is_top(const char *path) {
    return strcmp(path, ".") == 0 || strcmp(path, "/") == 0;
}

static struct name *name_find(struct env_sim *sim, const char *path) {
    for (size_t i = 0; i < sim->names_count; i++)
        if (strcmp(sim->names[i].path, path) == 0) return &sim->names[i];
    return NULL;
}

static struct node *node_find(struct env_sim *sim, const char *path) {
    struct name *name = name_find(sim, path);
    return name ? name->now : NULL;
}

static bool folder_exists(struct env_sim *sim, const char *path) {
    if (path_is_top(path)) return true;
    struct node *node = node_find(sim, path);
    return node && node->folder;
}

/* 0 when a name can be made at `path`: its folder is there. */
static int folder_check(struct env_sim *sim, const char *path) {
    char folder[PATH_MAX];
    path_folder(path, folder);
    return folder_exists(sim, folder) ? 0 : -ENOENT;
}

/* The entry for `path`, made if need be, with nothing behind it yet. */
static struct name *name_make(struct env_sim *sim, const char *path) {
    struct name *name = name_find(sim, path);
    if (name) return name;
    if (sim->names_count == sim->names_cap) {
        size_t cap = sim->names_cap > 0 ? sim->names_cap * 2 : 16;
        sim->names = mem_resize(sim->names, sim->names_cap * sizeof *name, cap * sizeof *name);
        sim->names_cap = cap;
    }
    size_t size = strlen(path) + 1;
    name = &sim->names[sim->names_count++];
    *name = (struct name){ .path = mem_new(size) };
    memcpy(name->path, path, size);
    return name;
}

static void name_deinit(struct name *name) {
    node_unref(name->now);
    node_unref(name->durable);
    mem_free(name->path, strlen(name->path) + 1);
}

/* Forgets the names that lead nowhere, now or after a crash. */
static void names_sweep(struct env_sim *sim) {
    size_t kept = 0;
    for (size_t i = 0; i < sim->names_count; i++) {
        struct name *name = &sim->names[i];
        if (name->now || name->durable)
            sim->names[kept++] = *name;
        else
            name_deinit(name);
    }
    sim->names_count = kept;
}

static uint64_t sim_monotonic_ns(struct env *env) {
    struct env_sim *sim = sim_lock(env);
    uint64_t ns = sim->monotonic_ns;
    sim_unlock(sim);
    return ns;
}

static uint64_t sim_realtime_ns(struct env *env) {
    struct env_sim *sim = sim_lock(env);
    uint64_t ns = sim->realtime_ns;
    sim_unlock(sim);
    return ns;
}

/* splitmix64 (Steele, Lea, Flood 2014): any seed will do, 0 too. */
static uint64_t next_chance(struct env_sim *sim) {
    uint64_t z = sim->chance += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void sim_random(struct env *env, void *out, size_t len) {
    struct env_sim *sim = sim_lock(env);
    for (size_t done = 0; done < len;) {
        uint64_t word = next_chance(sim);
        size_t n = len - done < sizeof word ? len - done : sizeof word;
        memcpy((char *)out + done, &word, n);
        done += n;
    }
    sim_unlock(sim);
}

static int open_locked(struct env_sim *sim, const char *path, unsigned flags, struct node **out) {
    int error = injected(sim);
    char normal[PATH_MAX];
    if (error == 0) error = path_normal(path, normal);
    if (error < 0) return error;
    struct node *node = node_find(sim, normal);
    if (path_is_top(normal) || (node && node->folder)) return -EISDIR;
    if (node && (flags & ENV_CREATE)) return -EEXIST;
    if (!node) {
        if (!(flags & (ENV_CREATE | ENV_TRUNCATE))) return -ENOENT;
        error = folder_check(sim, normal);
        if (error < 0) return error;
        node = node_new(false);
        node_assign(&name_make(sim, normal)->now, node);
    } else if (flags & ENV_TRUNCATE) {
        node_truncate(node, 0);
    }
    *out = node_ref(node);
    return 0;
}

static int sim_open(struct env *env, const char *path, unsigned flags, struct env_file **out) {
    struct env_sim *sim = sim_lock(env);
    struct node *node;
    int error = open_locked(sim, path, flags, &node);
    if (error == 0) {
        struct env_file *file = mem_new(sizeof *file);
        *file = (struct env_file){ .node = node, .life = sim->life, .flags = flags };
        *out = file;
    }
    sim_unlock(sim);
    return error;
}

static void sim_close(struct env *env, struct env_file *file) {
    if (!file) return;
    struct env_sim *sim = sim_lock(env);
    node_unref(file->node);
    mem_free(file, sizeof *file);
    sim_unlock(sim);
}

/* 0 when a call on `file` may go on. */
static int file_check(struct env_sim *sim, const struct env_file *file, unsigned needed) {
    int error = injected(sim);
    if (error < 0) return error;
    if (file->life != sim->life) return -EBADF;
    return needed == 0 || file->flags & needed ? 0 : -EBADF;
}

static const unsigned WRITES_FLAGS = ENV_WRITE | ENV_APPEND | ENV_TRUNCATE;

static int64_t sim_pread(struct env *env, struct env_file *file, void *out, size_t len,
                         uint64_t at) {
    struct env_sim *sim = sim_lock(env);
    int64_t result = file_check(sim, file, ENV_READ);
    const struct content *data = &file->node->data;
    if (result == 0 && at < data->len) {
        size_t n = len < data->len - at ? len : data->len - (size_t)at;
        if (n > 0) memcpy(out, data->data + at, n);
        result = (int64_t)n;
    }
    sim_unlock(sim);
    return result;
}

static int64_t sim_pwrite(struct env *env, struct env_file *file, const void *data, size_t len,
                          uint64_t at) {
    struct env_sim *sim = sim_lock(env);
    int64_t result = file_check(sim, file, WRITES_FLAGS);
    struct node *node = file->node;
    if (file->flags & ENV_APPEND) at = node->data.len;
    uint64_t end = 0;
    if (result == 0 && (__builtin_add_overflow(at, len, &end) || end > PTRDIFF_MAX))
        result = -EFBIG;
    if (result == 0 && len > 0) {
        size_t old = node->data.len;
        if (end > old) content_resize(&node->data, (size_t)end);
        memcpy(node->data.data + at, data, len);
        node_touch(node, at < old ? (size_t)at : old, (size_t)end); /* a hole is new too */
        result = (int64_t)len;
    }
    sim_unlock(sim);
    return result;
}

static int sim_sync(struct env *env, struct env_file *file) {
    struct env_sim *sim = sim_lock(env);
    int error = file_check(sim, file, 0);
    if (error == 0) node_level(file->node, &file->node->synced, &file->node->data);
    sim_unlock(sim);
    return error;
}

static int sim_truncate(struct env *env, struct env_file *file, uint64_t len) {
    struct env_sim *sim = sim_lock(env);
    int error = file_check(sim, file, WRITES_FLAGS);
    if (error == 0 && len > PTRDIFF_MAX) error = -EFBIG;
    if (error == 0) node_truncate(file->node, (size_t)len);
    sim_unlock(sim);
    return error;
}

static int64_t sim_size(struct env *env, struct env_file *file) {
    struct env_sim *sim = sim_lock(env);
    int64_t result = file_check(sim, file, 0);
    if (result == 0) result = (int64_t)file->node->data.len;
    sim_unlock(sim);
    return result;
}

static int rename_locked(struct env_sim *sim, const char *from, const char *to) {
    int error = injected(sim);
    char source[PATH_MAX], target[PATH_MAX];
    if (error == 0) error = path_normal(from, source);
    if (error == 0) error = path_normal(to, target);
    if (error < 0) return error;
    struct node *node = node_find(sim, source);
    if (!node) return -ENOENT;
    if (node->folder) return -ENOTSUP;
    if (folder_exists(sim, target)) return -EISDIR;
    error = folder_check(sim, target);
    if (error < 0 || strcmp(source, target) == 0) return error;
    node_assign(&name_make(sim, target)->now, node);
    struct name *old = name_find(sim, source); /* after name_make, which may move the names */
    assert(old != NULL);
    node_assign(&old->now, NULL);
    names_sweep(sim);
    return 0;
}

static int sim_rename(struct env *env, const char *from, const char *to) {
    struct env_sim *sim = sim_lock(env);
    int error = rename_locked(sim, from, to);
    sim_unlock(sim);
    return error;
}

static int unlink_locked(struct env_sim *sim, const char *path) {
    int error = injected(sim);
    char normal[PATH_MAX];
    if (error == 0) error = path_normal(path, normal);
    if (error < 0) return error;
    if (folder_exists(sim, normal)) return -EISDIR;
    struct name *name = name_find(sim, normal);
    if (!name || !name->now) return -ENOENT;
    node_assign(&name->now, NULL);
    names_sweep(sim);
    return 0;
}

static int sim_unlink(struct env *env, const char *path) {
    struct env_sim *sim = sim_lock(env);
    int error = unlink_locked(sim, path);
    sim_unlock(sim);
    return error;
}

static int mkdir_locked(struct env_sim *sim, const char *path) {
    int error = injected(sim);
    char normal[PATH_MAX];
    if (error == 0) error = path_normal(path, normal);
    if (error < 0) return error;
    if (path_is_top(normal) || node_find(sim, normal)) return -EEXIST;
    error = folder_check(sim, normal);
    if (error < 0) return error;
    node_assign(&name_make(sim, normal)->now, node_new(true));
    return 0;
}

static int sim_mkdir(struct env *env, const char *path) {
    struct env_sim *sim = sim_lock(env);
    int error = mkdir_locked(sim, path);
    sim_unlock(sim);
    return error;
}

static int sync_dir_locked(struct env_sim *sim, const char *path) {
    int error = injected(sim);
    char normal[PATH_MAX], folder[PATH_MAX];
    if (error == 0) error = path_normal(path, normal);
    if (error < 0) return error;
    if (!folder_exists(sim, normal)) return -ENOENT;
    for (size_t i = 0; i < sim->names_count; i++) {
        struct name *name = &sim->names[i];
        path_folder(name->path, folder);
        if (strcmp(folder, normal) == 0) node_assign(&name->durable, name->now);
    }
    names_sweep(sim);
    return 0;
}

static int sim_sync_dir(struct env *env, const char *path) {
    struct env_sim *sim = sim_lock(env);
    int error = sync_dir_locked(sim, path);
    sim_unlock(sim);
    return error;
}

/* Copies the last word of the index-th name or the first one after it that is in `folder`; false when
 * there is none. A copy, taken under the lock, as the listener may change the folder. */
static bool list_next(struct env_sim *sim, const char *folder, size_t *index, char out[PATH_MAX]) {
    for (; *index < sim->names_count; ++*index) {
        const struct name *name = &sim->names[*index];
        char parent[PATH_MAX];
        path_folder(name->path, parent);
        if (!name->now || strcmp(parent, folder) != 0) continue;
        const char *slash = strrchr(name->path, '/');
        const char *word = slash ? slash + 1 : name->path;
        memcpy(out, word, strlen(word) + 1);
        ++*index;
        return true;
    }
    return false;
}

static int sim_list(struct env *env, const char *path, bool (*name)(void *self, const char *name),
                    void *self) {
    char folder[PATH_MAX], word[PATH_MAX];
    struct env_sim *sim = sim_lock(env);
    int error = injected(sim);
    if (error == 0) error = path_normal(path, folder);
    if (error == 0 && !folder_exists(sim, folder)) error = -ENOENT;
    for (size_t index = 0; error == 0 && list_next(sim, folder, &index, word);) {
        sim_unlock(sim);
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
        .close = sim_close,
        .pread = sim_pread,
        .pwrite = sim_pwrite,
        .sync = sim_sync,
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
    sim->monotonic_ns = 1'000'000'000u;
    sim->realtime_ns = START_S * UINT64_C(1'000'000'000);
    pthread_mutex_init(&sim->lock, NULL);
    return &sim->env;
}

struct env *env_sim_free(struct env *env) {
    if (!env) return NULL;
    struct env_sim *sim = sim_of(env);
    for (size_t i = 0; i < sim->names_count; i++) name_deinit(&sim->names[i]);
    mem_free(sim->names, sim->names_cap * sizeof *sim->names);
    pthread_mutex_destroy(&sim->lock);
    mem_free(sim, sizeof *sim);
    return NULL;
}

void env_sim_advance(struct env *env, uint64_t ns) {
    struct env_sim *sim = sim_lock(env);
    sim->monotonic_ns += ns;
    sim->realtime_ns += ns;
    sim_unlock(sim);
}

void env_sim_step_realtime(struct env *env, int64_t ns) {
    struct env_sim *sim = sim_lock(env);
    sim->realtime_ns += (uint64_t)ns;
    sim_unlock(sim);
}

/* A durable name in a folder whose own name was not is out of reach: gone as well. */
static bool forget_orphans(struct env_sim *sim) {
    bool found = false;
    for (size_t i = 0; i < sim->names_count; i++) {
        struct name *name = &sim->names[i];
        if (folder_check(sim, name->path) == 0) continue;
        node_assign(&name->now, NULL);
        node_assign(&name->durable, NULL);
        found = true;
    }
    names_sweep(sim);
    return found;
}

void env_sim_crash(struct env *env) {
    struct env_sim *sim = sim_lock(env);
    sim->life++;
    sim->fails_at = 0;
    for (size_t i = 0; i < sim->names_count; i++) {
        struct name *name = &sim->names[i];
        node_assign(&name->now, name->durable);
        if (name->now) node_level(name->now, &name->now->data, &name->now->synced);
    }
    names_sweep(sim);
    while (forget_orphans(sim)) continue;
    sim_unlock(sim);
}

void env_sim_fail_at(struct env *env, uint64_t n, int error) {
    struct env_sim *sim = sim_lock(env);
    sim->fails_at = n;
    sim->fails_with = error;
    sim_unlock(sim);
}
