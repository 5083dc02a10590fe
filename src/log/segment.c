/* segment.c: making a log file: written, durable, named, and only then anybody's. */
#include "log/segment.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/mem.h"
#include "log/crc32c.h"

enum { SEGMENT_VERSION = 1, ZEROS = 64 * 1024 };

struct header_layout {
    char magic[8];
    uint32_t version, flags;
    uint64_t number, id, first_seq;
    char unused[20];
    uint32_t crc; /* of all before it */
};
static_assert(sizeof(struct header_layout) == 64);
static_assert(SEGMENT_HEADER == 64);

static const char MAGIC[8] = "PULSELOG"; /* no NUL: there is no room for one */

void segment_header_encode(const struct segment_header *header, char out[SEGMENT_HEADER]) {
    struct header_layout layout = {
        .version = SEGMENT_VERSION,
        .flags = header->flags,
        .number = header->number,
        .id = header->id,
        .first_seq = header->first_seq,
    };
    memcpy(layout.magic, MAGIC, sizeof MAGIC);
    layout.crc = crc32c(0, &layout, offsetof(struct header_layout, crc));
    memcpy(out, &layout, sizeof layout);
}

enum status segment_header_decode(const char *in, struct segment_header *out, struct problem *why) {
    struct header_layout layout;
    memcpy(&layout, in, sizeof layout);
    if (memcmp(layout.magic, MAGIC, sizeof MAGIC) != 0)
        return problem_set(why, CORRUPT, 0, "its header is damaged");
    bool right = layout.crc == crc32c(0, &layout, offsetof(struct header_layout, crc));
    if (layout.version > SEGMENT_VERSION && right)
        return problem_set(why, UNSUPPORTED, 0,
                           "it has format %u, and this is PulseDB " PULSE_VERSION
                           ", which reads format %d",
                           layout.version, SEGMENT_VERSION);
    if (!right || layout.version != SEGMENT_VERSION)
        return problem_set(why, CORRUPT, 0, "its header is damaged");
    if (layout.flags & ~(uint32_t)SEGMENT_RECYCLED)
        return problem_set(why, UNSUPPORTED, 0,
                           "it uses features (%#x) that this PulseDB " PULSE_VERSION
                           " does not know",
                           layout.flags);
    *out = (struct segment_header){
        .number = layout.number,
        .id = layout.id,
        .first_seq = layout.first_seq,
        .flags = layout.flags,
    };
    return OK;
}

void path_of_spare(const char *dir, unsigned k, char *out) {
    int len = snprintf(out, PATH_MAX, "%s/log.spare.%u", dir, k);
    assert(len > 0 && len < PATH_MAX);
}

void path_of_torn(const char *dir, uint64_t number, char *out) {
    int len = snprintf(out, PATH_MAX, "%s/log.%llu.torn", dir, (unsigned long long)number);
    assert(len > 0 && len < PATH_MAX);
}

int write_fully(struct env *env, struct env_file *file, const char *data, size_t len, uint64_t at) {
    while (len > 0) {
        int64_t n = env->ops->pwrite(env, file, data, len, at);
        if (n < 0) return (int)n;
        if (n == 0) return -EIO; /* a file that takes nothing never will */
        data += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_zeros(struct env *env, struct env_file *file, uint64_t from, uint64_t to) {
    static const char zeros[ZEROS];
    while (from < to) {
        size_t n = to - from < ZEROS ? (size_t)(to - from) : ZEROS;
        int error = write_fully(env, file, zeros, n, from);
        if (error < 0) return error;
        from += n;
    }
    return 0;
}

/* Makes the file's content what a new segment's must be, durably. Raises *ready to the length it has. */
static int write_new(struct env *env, struct env_file *file, struct segment_header *header,
                     uint64_t *ready) {
    int64_t old = env->ops->size(env, file);
    if (old < 0) return (int)old;
    if (old > SEGMENT_HEADER) header->flags |= SEGMENT_RECYCLED;
    char bytes[SEGMENT_HEADER];
    segment_header_encode(header, bytes);
    int error = write_fully(env, file, bytes, sizeof bytes, 0);
    uint64_t from = old > SEGMENT_HEADER ? (uint64_t)old : SEGMENT_HEADER;
    if (error == 0) error = write_zeros(env, file, from, *ready);
    if (error == 0) error = env->ops->sync(env, file);
    if (error == 0 && *ready < from) *ready = from;
    return error;
}

static int make_file(struct env *env, const char *dir, const char *path, const char *spare,
                     struct segment_header *header, uint64_t *ready) {
    struct env_file *file;
    int error = env->ops->open(env, spare ? spare : path,
                               ENV_READ | ENV_WRITE | (spare ? 0 : ENV_CREATE), &file);
    if (error < 0) return error;
    error = write_new(env, file, header, ready);
    env->ops->close(env, file);
    if (error == 0 && spare) error = env->ops->rename(env, spare, path);
    if (error == 0) error = env->ops->sync_dir(env, dir);
    if (error < 0) (void)env->ops->unlink(env, path);
    if (error < 0 && spare) (void)env->ops->unlink(env, spare);
    return error;
}

struct log_segment *log_segment_new(struct env *env, const char *dir, uint64_t number,
                                    const char *spare, uint64_t first_seq, uint64_t ready,
                                    uint64_t room, struct problem *why) {
    assert(ready >= SEGMENT_HEADER);
    struct segment_header header = { .number = number, .first_seq = first_seq };
    env_random(env, &header.id, sizeof header.id);
    char path[PATH_MAX];
    path_of_log(dir, number, path);
    int error = make_file(env, dir, path, spare, &header, &ready);
    if (error < 0) {
        problem_set(why, IO, -error, "cannot make log.%llu.plog", (unsigned long long)number);
        return NULL;
    }
    struct log_segment *segment = mem_new(sizeof *segment);
    *segment = (struct log_segment){
        .number = number,
        .id = header.id,
        .first_seq = first_seq,
        .last_seq = first_seq ? first_seq - 1 : 0,
        .synced_seq = first_seq ? first_seq - 1 : 0,
        .at = SEGMENT_HEADER,
        .ready = ready,
        .room = room > ready ? room : ready,
    };
    error = env->ops->open(env, path, ENV_WRITE, &segment->out);
    if (error == 0) error = env->ops->open(env, path, ENV_WRITE, &segment->syncer);
    if (error == 0) return segment;
    (void)env->ops->unlink(env, path);
    problem_set(why, IO, -error, "cannot open log.%llu.plog", (unsigned long long)number);
    return log_segment_free(env, segment);
}

struct log_segment *log_segment_free(struct env *env, struct log_segment *segment) {
    if (!segment) return NULL;
    env->ops->close(env, segment->out);
    env->ops->close(env, segment->syncer);
    mem_free(segment, sizeof *segment);
    return NULL;
}

enum status log_segment_extend(struct env *env, const char *dir, const struct log_segment *segment,
                               uint64_t ready, bool sync, bool *sync_failed, struct problem *why) {
    assert(ready > segment->ready);
    *sync_failed = false;
    char path[PATH_MAX];
    path_of_log(dir, segment->number, path);
    struct env_file
        *file; /* of its own: what goes wrong here the syncer's handle is told as well */
    int error = env->ops->open(env, path, ENV_WRITE, &file);
    if (error == 0) {
        error = write_zeros(env, file, segment->ready, ready);
        if (error == 0 && sync) {
            error = env->ops->sync(env, file);
            *sync_failed = error < 0;
        }
        env->ops->close(env, file);
    }
    if (error == 0) return OK;
    return problem_set(why, IO, -error, "cannot extend log.%llu.plog",
                       (unsigned long long)segment->number);
}
