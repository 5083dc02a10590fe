/* env_sim_disk.c: a disk keeps two things of each kind: what programs see, and what a power cut leaves.
 *
 *     name    "data/log.1" -> now: node 3, durable: none      sync_dir("data"): durable = now
 *     node 3  data "abcdef", synced "abc"                     sync(file):       synced = data
 *             changes: write "def" at 3
 *
 * A crash is `now = durable` for every name and `data = synced` for every node. The strictest world that
 * POSIX allows: fsync of a file does not make its name durable, rename needs sync_dir too. A torn crash
 * first lets some of the unsynced changes through, in their order.
 *
 * Invariants: outside [differs_from, differs_to), up to the shorter length, data and synced are equal.
 * Unless a sync was lost, `synced` with all changes applied is `data`.
 */
#include "base/env_sim_disk.h"

#include <errno.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/mem.h"

enum { PIECE = 512 }; /* what a disk writes as a whole, or not */

/* A run of bytes that owns its memory. What lies between len and cap is zero. */
struct content {
    char *data;
    size_t len, cap;
};

/* An unsynced change of a file: bytes written, or (`resize`) its new length. */
struct change {
    bool resize;
    size_t at, len;  /* resize: the length is `at` */
    size_t bytes_at; /* in the node's `written` */
};

struct node {
    struct content data, synced;
    size_t differs_from, differs_to;
    struct change *changes; /* oldest first */
    size_t changes_count, changes_cap;
    struct content written; /* the changes' bytes, one after another */
    bool lost;              /* a sync was: data and synced differ by more than the changes */
    bool folder;
    uint64_t locked_in; /* the life in which its lock was taken; 0: it is free */
    size_t refs;        /* names (now and durable counted apart), changes of names and open files */
};

struct name {
    char *path; /* normal form: see path_normal */
    struct node *now, *durable;
};

/* An unsynced change of what a name stands for. */
struct name_change {
    char *path;
    struct node *node;  /* NULL: it was taken away */
    bool with_the_next; /* they are one rename: both survive, or none */
};

/* splitmix64 (Steele, Lea, Flood 2014): any seed will do, 0 too. */
uint64_t chance_next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t chance_below(uint64_t *state, uint64_t limit) {
    assert(limit > 0);
    return chance_next(state) % limit;
}

/* ---- content ---- */

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

static void content_write(struct content *content, const char *data, size_t len, size_t at) {
    if (len == 0) return;
    if (at + len > content->len) content_resize(content, at + len);
    memcpy(content->data + at, data, len);
}

static void content_free(struct content *content) {
    mem_free(content->data, content->cap);
    *content = (struct content){};
}

/* ---- nodes ---- */

static struct node *node_new(bool folder) {
    struct node *node = mem_new(sizeof *node);
    *node = (struct node){ .folder = folder };
    return node;
}

static struct node *node_ref(struct node *node) {
    if (node) node->refs++;
    return node;
}

void node_unref(struct node *node) {
    if (!node) return;
    assert(node->refs > 0);
    if (--node->refs > 0) return;
    content_free(&node->data);
    content_free(&node->synced);
    content_free(&node->written);
    mem_free(node->changes, node->changes_cap * sizeof *node->changes);
    mem_free(node, sizeof *node);
}

static void node_assign(struct node **place, struct node *node) {
    struct node *old = *place;
    *place = node_ref(node);
    node_unref(old);
}

static void node_differs(struct node *node, size_t from, size_t to) {
    if (node->differs_from == node->differs_to) {
        node->differs_from = from;
        node->differs_to = to;
        return;
    }
    if (from < node->differs_from) node->differs_from = from;
    if (to > node->differs_to) node->differs_to = to;
}

static void node_remember(struct node *node, const struct change *change) {
    if (node->changes_count == node->changes_cap) {
        size_t cap = node->changes_cap > 0 ? node->changes_cap * 2 : 16;
        node->changes =
            mem_resize(node->changes, node->changes_cap * sizeof *change, cap * sizeof *change);
        node->changes_cap = cap;
    }
    node->changes[node->changes_count++] = *change;
}

static void node_forget_changes(struct node *node) {
    node->changes_count = 0;
    content_resize(&node->written, 0);
}

uint64_t node_size(const struct node *node) {
    return node->data.len;
}

static int64_t content_read(const struct content *content, void *out, size_t len, uint64_t at) {
    if (at >= content->len) return 0;
    size_t n = len < content->len - at ? len : content->len - (size_t)at;
    if (n > 0) memcpy(out, content->data + at, n);
    return (int64_t)n;
}

int64_t node_read(const struct node *node, void *out, size_t len, uint64_t at) {
    return content_read(&node->data, out, len, at);
}

int64_t node_read_synced(const struct node *node, void *out, size_t len, uint64_t at) {
    return content_read(&node->synced, out, len, at);
}

void node_write(struct node *node, const void *data, size_t len, size_t at) {
    if (len == 0) return;
    size_t old = node->data.len;
    struct change change = { .at = at, .len = len, .bytes_at = node->written.len };
    content_write(&node->written, data, len, change.bytes_at);
    node_remember(node, &change);
    content_write(&node->data, data, len, at);
    node_differs(node, at < old ? at : old, at + len); /* a hole is new too */
}

void node_truncate(struct node *node, size_t len) {
    size_t old = node->data.len;
    content_resize(&node->data, len);
    node_differs(node, len < old ? len : old, len < old ? old : len);
    node_remember(node, &(struct change){ .resize = true, .at = len });
}

/* Lets one change through to the disk, but for the pieces that `chance` takes out: each survives with a
 * probability of `eighths` of 8. Without `chance` all do. */
static void node_apply(struct node *node, const struct change *change, uint64_t *chance,
                       unsigned eighths) {
    if (change->resize) {
        if (!chance || chance_below(chance, 8) < eighths) content_resize(&node->synced, change->at);
        return;
    }
    const char *bytes = node->written.data + change->bytes_at;
    size_t end = change->at + change->len;
    if (!chance) {
        content_write(&node->synced, bytes, change->len, change->at);
        return;
    }
    for (size_t at = change->at; at < end;) {
        size_t next = (at / PIECE + 1) * PIECE;
        if (next > end) next = end;
        if (chance_below(chance, 8) < eighths)
            content_write(&node->synced, bytes + (at - change->at), next - at, at);
        at = next;
    }
}

void node_sync(struct node *node) {
    for (size_t i = 0; i < node->changes_count; i++) node_apply(node, &node->changes[i], NULL, 0);
    node_forget_changes(node);
    if (!node->lost) node->differs_from = node->differs_to = 0;
}

void node_sync_lost(struct node *node) {
    if (node->changes_count > 0) node->lost = true;
    node_forget_changes(node);
}

/* The first so many changes reach the disk, and a part of the next one: what a file system that keeps
 * to the order does. */
static void node_tear_in_order(struct node *node, uint64_t *chance) {
    size_t whole = chance_below(chance, node->changes_count + 1);
    for (size_t i = 0; i < whole; i++) node_apply(node, &node->changes[i], NULL, 0);
    if (whole == node->changes_count || node->changes[whole].resize) return;
    struct change part = node->changes[whole];
    size_t end = (part.at + chance_below(chance, part.len + 1)) / PIECE * PIECE;
    if (end <= part.at) return;
    part.len = end - part.at;
    node_apply(node, &part, NULL, 0);
}

static void node_tear(struct node *node, uint64_t *chance) {
    unsigned eighths = (unsigned)chance_below(chance, 9);
    if (chance_below(chance, 2) == 0) {
        node_tear_in_order(node, chance);
        return;
    }
    for (size_t i = 0; i < node->changes_count; i++)
        node_apply(node, &node->changes[i], chance, eighths);
}

/* After a power cut: what programs see is what the disk holds. */
static void node_restart(struct node *node) {
    node_forget_changes(node);
    struct content *data = &node->data, *synced = &node->synced;
    content_resize(data, synced->len);
    size_t end = node->differs_to < synced->len ? node->differs_to : synced->len;
    if (node->differs_from < end)
        memcpy(data->data + node->differs_from, synced->data + node->differs_from,
               end - node->differs_from);
    node->differs_from = node->differs_to = 0;
    node->lost = false;
}

bool node_lock(struct node *node, uint64_t life) {
    if (node->locked_in == life) return false;
    node->locked_in = life;
    return true;
}

void node_unlock(struct node *node) {
    node->locked_in = 0;
}

/* ---- paths ---- */

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

static char *path_copy(const char *path) {
    size_t size = strlen(path) + 1;
    char *copy = mem_new(size);
    memcpy(copy, path, size);
    return copy;
}

static void path_free(char *path) {
    mem_free(path, strlen(path) + 1);
}

/* ---- names ---- */

static struct name *name_find(const struct disk *disk, const char *path) {
    for (size_t i = 0; i < disk->names_count; i++)
        if (strcmp(disk->names[i].path, path) == 0) return &disk->names[i];
    return NULL;
}

static struct node *node_find(const struct disk *disk, const char *path) {
    struct name *name = name_find(disk, path);
    return name ? name->now : NULL;
}

static bool folder_exists(const struct disk *disk, const char *path) {
    if (path_is_top(path)) return true;
    struct node *node = node_find(disk, path);
    return node && node->folder;
}

/* 0 when a name can be made at `path`: its folder is there. */
static int folder_check(const struct disk *disk, const char *path) {
    char folder[PATH_MAX];
    path_folder(path, folder);
    return folder_exists(disk, folder) ? 0 : -ENOENT;
}

/* The entry for `path`, made if need be, with nothing behind it yet. */
static struct name *name_make(struct disk *disk, const char *path) {
    struct name *name = name_find(disk, path);
    if (name) return name;
    if (disk->names_count == disk->names_cap) {
        size_t cap = disk->names_cap > 0 ? disk->names_cap * 2 : 16;
        disk->names = mem_resize(disk->names, disk->names_cap * sizeof *name, cap * sizeof *name);
        disk->names_cap = cap;
    }
    name = &disk->names[disk->names_count++];
    *name = (struct name){ .path = path_copy(path) };
    return name;
}

static void name_deinit(struct name *name) {
    node_unref(name->now);
    node_unref(name->durable);
    path_free(name->path);
}

/* Forgets the names that lead nowhere, now or after a crash. */
static void names_sweep(struct disk *disk) {
    size_t kept = 0;
    for (size_t i = 0; i < disk->names_count; i++) {
        struct name *name = &disk->names[i];
        if (name->now || name->durable)
            disk->names[kept++] = *name;
        else
            name_deinit(name);
    }
    disk->names_count = kept;
}

/* From now on `path` (a normal one) stands for `node`; the disk learns of it later. */
static void name_set(struct disk *disk, const char *path, struct node *node, bool with_the_next) {
    node_assign(&name_make(disk, path)->now, node);
    if (disk->changes_count == disk->changes_cap) {
        size_t cap = disk->changes_cap > 0 ? disk->changes_cap * 2 : 16;
        disk->changes = mem_resize(disk->changes, disk->changes_cap * sizeof *disk->changes,
                                   cap * sizeof *disk->changes);
        disk->changes_cap = cap;
    }
    disk->changes[disk->changes_count++] =
        (struct name_change){ path_copy(path), node_ref(node), with_the_next };
}

static void change_deinit(struct name_change *change) {
    node_unref(change->node);
    path_free(change->path);
}

static void changes_forget(struct disk *disk) {
    for (size_t i = 0; i < disk->changes_count; i++) change_deinit(&disk->changes[i]);
    disk->changes_count = 0;
}

/* Those of one folder have become durable. */
static void changes_forget_of(struct disk *disk, const char *folder) {
    char parent[PATH_MAX];
    size_t kept = 0;
    for (size_t i = 0; i < disk->changes_count; i++) {
        struct name_change *change = &disk->changes[i];
        path_folder(change->path, parent);
        if (strcmp(parent, folder) == 0)
            change_deinit(change);
        else
            disk->changes[kept++] = *change;
    }
    disk->changes_count = kept;
}

/* ---- the disk ---- */

void disk_deinit(struct disk *disk) {
    changes_forget(disk);
    mem_free(disk->changes, disk->changes_cap * sizeof *disk->changes);
    for (size_t i = 0; i < disk->names_count; i++) name_deinit(&disk->names[i]);
    mem_free(disk->names, disk->names_cap * sizeof *disk->names);
    *disk = (struct disk){};
}

uint64_t disk_used(const struct disk *disk) {
    uint64_t used = 0;
    for (size_t i = 0; i < disk->names_count; i++)
        if (disk->names[i].now) used += disk->names[i].now->data.len;
    return used;
}

int disk_open(struct disk *disk, const char *path, unsigned flags, struct node **out) {
    char normal[PATH_MAX];
    int error = path_normal(path, normal);
    if (error < 0) return error;
    struct node *node = node_find(disk, normal);
    if (path_is_top(normal) || (node && node->folder)) return -EISDIR;
    if (node && (flags & ENV_CREATE)) return -EEXIST;
    if (!node) {
        if (!(flags & (ENV_CREATE | ENV_TRUNCATE))) return -ENOENT;
        error = folder_check(disk, normal);
        if (error < 0) return error;
        node = node_new(false);
        name_set(disk, normal, node, false);
    } else if (flags & ENV_TRUNCATE) {
        node_truncate(node, 0);
    }
    *out = node_ref(node);
    return 0;
}

int disk_rename(struct disk *disk, const char *from, const char *to) {
    char source[PATH_MAX], target[PATH_MAX];
    int error = path_normal(from, source);
    if (error == 0) error = path_normal(to, target);
    if (error < 0) return error;
    struct node *node = node_find(disk, source);
    if (!node) return -ENOENT;
    if (node->folder) return -ENOTSUP;
    if (folder_exists(disk, target)) return -EISDIR;
    error = folder_check(disk, target);
    if (error < 0 || strcmp(source, target) == 0) return error;
    name_set(disk, target, node, true);
    name_set(disk, source, NULL, false);
    names_sweep(disk);
    return 0;
}

int disk_unlink(struct disk *disk, const char *path) {
    char normal[PATH_MAX];
    int error = path_normal(path, normal);
    if (error < 0) return error;
    if (folder_exists(disk, normal)) return -EISDIR;
    if (!node_find(disk, normal)) return -ENOENT;
    name_set(disk, normal, NULL, false);
    names_sweep(disk);
    return 0;
}

int disk_mkdir(struct disk *disk, const char *path) {
    char normal[PATH_MAX];
    int error = path_normal(path, normal);
    if (error < 0) return error;
    if (path_is_top(normal) || node_find(disk, normal)) return -EEXIST;
    error = folder_check(disk, normal);
    if (error < 0) return error;
    name_set(disk, normal, node_new(true), false);
    return 0;
}

int disk_folder(const struct disk *disk, const char *path, char folder[PATH_MAX]) {
    int error = path_normal(path, folder);
    if (error < 0) return error;
    return folder_exists(disk, folder) ? 0 : -ENOENT;
}

int disk_sync_dir(struct disk *disk, const char *path) {
    char normal[PATH_MAX], folder[PATH_MAX];
    int error = disk_folder(disk, path, normal);
    if (error < 0) return error;
    for (size_t i = 0; i < disk->names_count; i++) {
        struct name *name = &disk->names[i];
        path_folder(name->path, folder);
        if (strcmp(folder, normal) == 0) node_assign(&name->durable, name->now);
    }
    changes_forget_of(disk, normal);
    names_sweep(disk);
    return 0;
}

bool disk_list_next(const struct disk *disk, const char *folder, size_t *index,
                    char out[PATH_MAX]) {
    for (; *index < disk->names_count; ++*index) {
        const struct name *name = &disk->names[*index];
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

/* ---- a crash ---- */

/* The first so many changes of names had reached the disk. */
static void names_tear(struct disk *disk, uint64_t *chance) {
    size_t kept = chance_below(chance, disk->changes_count + 1);
    while (kept > 0 && kept < disk->changes_count && disk->changes[kept - 1].with_the_next) kept++;
    for (size_t i = 0; i < kept; i++)
        node_assign(&name_make(disk, disk->changes[i].path)->durable, disk->changes[i].node);
}

/* A durable name in a folder whose own name was not is out of reach: gone as well. */
static bool forget_orphans(struct disk *disk) {
    bool found = false;
    for (size_t i = 0; i < disk->names_count; i++) {
        struct name *name = &disk->names[i];
        if (folder_check(disk, name->path) == 0) continue;
        node_assign(&name->now, NULL);
        node_assign(&name->durable, NULL);
        found = true;
    }
    names_sweep(disk);
    return found;
}

void disk_crash(struct disk *disk, uint64_t *chance) {
    if (chance) names_tear(disk, chance);
    changes_forget(disk);
    for (size_t i = 0; i < disk->names_count; i++) {
        struct name *name = &disk->names[i];
        node_assign(&name->now, name->durable);
        if (!name->now) continue;
        if (chance) node_tear(name->now, chance);
        node_restart(name->now);
    }
    names_sweep(disk);
    while (forget_orphans(disk)) continue;
}
