/* env_sim_disk.h: the disk of a simulated world: files, names, and what a power cut makes of them.
 *
 * What every call does when nothing goes wrong; whether it does is env_sim.c's to say. Calls return 0 (or
 * a count) or a negative errno, as env_ops. Thread: whoever holds the world's lock.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node; /* a file or a folder, whatever it is called */

struct name;
struct name_change;
struct disk {
    struct name *names; /* in the order in which they were made */
    size_t names_count, names_cap;
    struct name_change *changes; /* of names, not synced yet; oldest first */
    size_t changes_count, changes_cap;
};

/* The next of a sequence of chance. Any state will do to begin with. */
uint64_t chance_next(uint64_t *state);
uint64_t chance_below(uint64_t *state, uint64_t limit); /* limit > 0 */

void disk_deinit(struct disk *disk);
uint64_t disk_used(const struct disk *disk); /* bytes of all files that have a name */
/* A power cut. `chance` decides what is left of what was not synced; NULL: nothing is. */
void disk_crash(struct disk *disk, uint64_t *chance);

/* `*out` is the caller's reference: node_unref. `flags`: enum env_open. */
int disk_open(struct disk *disk, const char *path, unsigned flags, struct node **out);
int disk_rename(struct disk *disk, const char *from, const char *to);
int disk_unlink(struct disk *disk, const char *path);
int disk_mkdir(struct disk *disk, const char *path);
int disk_sync_dir(struct disk *disk, const char *path);
/* Puts the normal form of `path` into `folder` if there is such a folder. */
int disk_folder(const struct disk *disk, const char *path, char folder[PATH_MAX]);
/* Copies the last word of the index-th name or of the first one after it that is in `folder` (a
 * normal path); false when there is none. */
bool disk_list_next(const struct disk *disk, const char *folder, size_t *index, char out[PATH_MAX]);

void node_unref(struct node *node); /* NULL is fine */
uint64_t node_size(const struct node *node);
int64_t node_read(const struct node *node, void *out, size_t len, uint64_t at);
int64_t node_read_synced(const struct node *node, void *out, size_t len, uint64_t at);
void node_write(struct node *node, const void *data, size_t len, size_t at);
void node_truncate(struct node *node, size_t len);
void node_sync(struct node *node);
void node_sync_lost(struct node *node); /* clean now, and not on disk */
/* A lock that is free again after a crash: `life` counts those. */
bool node_lock(struct node *node, uint64_t life);
void node_unlock(struct node *node);
