/* snapshot.c: writing an image into files.
 *
 *     keys  | header | STORE SHARD.. KEYS.................. |      | END.. ACTORS PINS | trailer | sync
 *     past                                          | header | PAST.. | trailer | sync |
 *
 * One file at a time, from front to end, through one buffer. It goes to the disk in small pieces, one after another:
 * a large write, and the end of a large sync, take a processor for milliseconds in which nobody else gets it, even
 * a thread that serves. The ends of shards are written when the past is, because
 * they say what had been dropped from it by then. */
#include "log/snapshot.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/mem.h"
#include "log/snapshot_file.h"

enum {
    BUFFER_SIZE = 64 * 1024,        /* a write: some 90 us, measured; 1 MiB: 1.4 ms */
    WRITE_BACK = 256 * 1024,        /* the end of a write-back: 0.1 ms; 32 MiB: 11 ms */
    SYNC_EVERY = 256 * 1024 * 1024, /* little is left to do by then, but to note the size */
    STEP_NS = 100 * 1000,
    STEP_SECTIONS = 32, /* where time stands still, a step ends too */
    NS_PER_S = 1000 * 1000 * 1000,
};

enum stage { WRITING_KEYS, WRITING_PAST, WRITING_REST, WRITTEN, BROKEN };

struct part { /* one of the two files */
    struct env_file *file;
    char path[PATH_MAX];
    uint64_t size;   /* with what is in the buffer */
    uint64_t begun;  /* the disk has begun with it, up to here */
    uint64_t synced; /* up to here */
    uint64_t rows;
    uint32_t sections;
    bool made;
};

struct snapshot {
    struct env *env;
    char dir[PATH_MAX];
    struct image *image;
    struct manifest_base base;
    uint64_t rate, started_ns;
    enum stage stage;
    bool with_past;
    struct part keys, past;
    char *buffer;
    size_t buffered;
};

/* --- one file --- */

static enum status failed(const struct part *part, const char *what, int64_t error,
                          struct problem *why) {
    return problem_set(why, IO, (int)-error, "cannot %s %s", what, part->path);
}

static enum status write_out(struct snapshot *snapshot, struct part *part, const char *data,
                             size_t len, uint64_t at, struct problem *why) {
    while (len > 0) {
        int64_t n = snapshot->env->ops->pwrite(snapshot->env, part->file, data, len, at);
        if (n <= 0) return failed(part, "write", n ? n : -EIO, why);
        data += n;
        len -= (size_t)n;
        at += (uint64_t)n;
    }
    return OK;
}

static enum status sync_part(struct snapshot *snapshot, struct part *part, struct problem *why) {
    int error = snapshot->env->ops->sync(snapshot->env, part->file);
    if (error < 0) return failed(part, "make durable", error, why);
    part->synced = part->size - snapshot->buffered;
    return OK;
}

static enum status write_back(struct snapshot *snapshot, struct part *part, struct problem *why) {
    int error = snapshot->env->ops->write_back(snapshot->env, part->file, part->begun, WRITE_BACK);
    if (error < 0) return failed(part, "write", error, why);
    part->begun += WRITE_BACK;
    return OK;
}

static enum status flush(struct snapshot *snapshot, struct part *part, struct problem *why) {
    size_t len = snapshot->buffered;
    enum status status = write_out(snapshot, part, snapshot->buffer, len, part->size - len, why);
    if (status != OK) return status;
    snapshot->buffered = 0;
    if (part->size - part->synced >= SYNC_EVERY) return sync_part(snapshot, part, why);
    return part->size - part->begun < WRITE_BACK ? OK : write_back(snapshot, part, why);
}

static enum status put(struct snapshot *snapshot, struct part *part, struct bytes bytes,
                       struct problem *why) {
    while (bytes.len > 0) {
        if (snapshot->buffered == BUFFER_SIZE) {
            enum status status = flush(snapshot, part, why);
            if (status != OK) return status;
        }
        size_t room = BUFFER_SIZE - snapshot->buffered;
        size_t n = bytes.len < room ? bytes.len : room;
        memcpy(snapshot->buffer + snapshot->buffered, bytes.data, n);
        snapshot->buffered += n;
        part->size += n;
        bytes.data += n;
        bytes.len -= n;
    }
    return OK;
}

static enum status put_section(struct snapshot *snapshot, struct part *part,
                               const struct image_section *section, struct problem *why) {
    uint64_t len = (uint64_t)section->bytes.len + section->tail.len;
    assert(
        len <=
        UINT32_MAX); /* a key and a value at most, or little more than the image's section size */
    struct snapshot_section head = { .kind = section->kind,
                                     .shard = section->shard,
                                     .number = part->sections++,
                                     .count = section->count,
                                     .len = (uint32_t)len };
    char bytes[SNAPSHOT_SECTION];
    snapshot_put_section(&head, bytes);
    head.crc = snapshot_crc(snapshot->base.id, bytes);
    if (section->bytes.len) head.crc = crc32c(head.crc, section->bytes.data, section->bytes.len);
    if (section->tail.len) head.crc = crc32c(head.crc, section->tail.data, section->tail.len);
    snapshot_put_section(&head, bytes);
    part->rows += section->count;
    enum status status = put(snapshot, part, (struct bytes){ bytes, sizeof bytes }, why);
    if (status == OK) status = put(snapshot, part, section->bytes, why);
    if (status == OK) status = put(snapshot, part, section->tail, why);
    return status;
}

static enum status begin_part(struct snapshot *snapshot, struct part *part, bool past,
                              struct problem *why) {
    path_of_base(snapshot->dir, snapshot->base.generation, past, part->path);
    int error =
        snapshot->env->ops->open(snapshot->env, part->path, ENV_WRITE | ENV_CREATE, &part->file);
    if (error < 0) return failed(part, "make", error, why);
    part->made = true;
    char header[SNAPSHOT_HEADER] = { 0 };
    memcpy(header, SNAPSHOT_MAGIC, 8);
    put_le(header + 8, SNAPSHOT_VERSION, 4);
    put_le(header + 12, 0, 4);
    put_le(header + 16, snapshot->base.generation, 8);
    put_le(header + 24, snapshot->base.id, 8);
    header[32] = past;
    put_le(header + SNAPSHOT_HEADER_CRC, crc32c(0, header, SNAPSHOT_HEADER_CRC), 4);
    return put(snapshot, part, (struct bytes){ header, sizeof header }, why);
}

/* The trailer, and everything on the disk. */
static enum status end_part(struct snapshot *snapshot, struct part *part, struct problem *why) {
    char content[SNAPSHOT_TRAILER_SIZE];
    put_le(content, part->sections + 1u, 8);
    put_le(content + 8, part->rows, 8);
    put_le(content + 16, part->size + SNAPSHOT_SECTION + SNAPSHOT_TRAILER_SIZE, 8);
    struct image_section trailer = { .kind = SNAPSHOT_TRAILER,
                                     .bytes = { content, sizeof content } };
    enum status status = put_section(snapshot, part, &trailer, why);
    if (status == OK) status = flush(snapshot, part, why);
    if (status == OK && part->synced < part->size) status = sync_part(snapshot, part, why);
    return status;
}

/* --- the whole --- */

struct snapshot *snapshot_begin(const struct snapshot_options *options, struct problem *why) {
    struct snapshot *snapshot = mem_new_zero(sizeof *snapshot);
    snapshot->env = options->env;
    (void)snprintf(snapshot->dir, sizeof snapshot->dir, "%s", options->dir);
    snapshot->rate = options->rate;
    snapshot->with_past = options->past;
    snapshot->started_ns = env_monotonic_ns(options->env);
    snapshot->base.generation = options->generation;
    snapshot->base.seq = options->seq;
    env_random(options->env, &snapshot->base.id, sizeof snapshot->base.id);
    snapshot->buffer = mem_new(BUFFER_SIZE);
    if (begin_part(snapshot, &snapshot->keys, false, why) != OK)
        return snapshot_free(snapshot, false);
    snapshot->image = image_begin(options->store, options->worker, options->past);
    snapshot->base.from = image_progress(snapshot->image).captured;
    return snapshot;
}

/* The stage under way is through. */
static enum status next_stage(struct snapshot *snapshot, struct problem *why) {
    enum status status = OK;
    if (snapshot->stage == WRITING_KEYS) {
        snapshot->stage = snapshot->with_past ? WRITING_PAST : WRITING_REST;
        if (!snapshot->with_past) return OK;
        status = flush(snapshot, &snapshot->keys, why);
        return status == OK ? begin_part(snapshot, &snapshot->past, true, why) : status;
    }
    if (snapshot->stage == WRITING_PAST) {
        snapshot->stage = WRITING_REST;
        return end_part(snapshot, &snapshot->past, why);
    }
    status = end_part(snapshot, &snapshot->keys, why);
    if (status != OK) return status;
    int error = snapshot->env->ops->sync_dir(snapshot->env, snapshot->dir);
    if (error < 0) return failed(&snapshot->keys, "make durable the name of", error, why);
    snapshot->base.to = image_progress(snapshot->image).ended;
    snapshot->base.keys_size = snapshot->keys.size;
    snapshot->base.past_size = snapshot->past.size;
    snapshot->stage = WRITTEN;
    return OK;
}

static enum status write_some(struct snapshot *snapshot, struct problem *why) {
    struct image_section section;
    bool more;
    if (snapshot->stage == WRITING_KEYS)
        more = image_keys(snapshot->image, &section);
    else if (snapshot->stage == WRITING_PAST)
        more = image_past(snapshot->image, &section);
    else
        more = image_rest(snapshot->image, &section);
    if (image_failed(snapshot->image))
        return problem_set(why, NO_MEMORY, 0, "no memory for a snapshot of a large value");
    if (!more) return next_stage(snapshot, why);
    if (!section.kind) return OK;
    struct part *part = snapshot->stage == WRITING_PAST ? &snapshot->past : &snapshot->keys;
    return put_section(snapshot, part, &section, why);
}

/* How long to pause for the rate to be kept on average. */
static uint64_t wait_of(const struct snapshot *snapshot) {
    if (!snapshot->rate) return 0;
    uint64_t size = snapshot->keys.size + snapshot->past.size;
    uint64_t whole = size / snapshot->rate, part = size % snapshot->rate;
    uint64_t due = whole * NS_PER_S + (uint64_t)((double)part / (double)snapshot->rate * NS_PER_S);
    uint64_t passed = env_monotonic_ns(snapshot->env) - snapshot->started_ns;
    return due > passed ? due - passed : 0;
}

enum status snapshot_step(struct snapshot *snapshot, struct manifest_base *base, uint64_t *wait_ns,
                          struct problem *why) {
    assert(snapshot->stage < WRITTEN);
    uint64_t end = env_monotonic_ns(snapshot->env) + STEP_NS;
    *wait_ns = 0;
    for (int i = 0; i < STEP_SECTIONS; i++) {
        enum status status = write_some(snapshot, why);
        if (status != OK) snapshot->stage = BROKEN;
        if (status != OK) return status;
        if (snapshot->stage == WRITTEN) {
            *base = snapshot->base;
            return OK;
        }
        if (env_monotonic_ns(snapshot->env) >= end) break;
    }
    *wait_ns = wait_of(snapshot);
    return NEED_MORE;
}

struct snapshot_progress snapshot_progress(const struct snapshot *snapshot) {
    struct image_progress progress = image_progress(snapshot->image);
    return (struct snapshot_progress){ progress.keys_done, progress.keys_total,
                                       snapshot->keys.size + snapshot->past.size };
}

static void part_free(struct snapshot *snapshot, struct part *part, bool keep) {
    if (part->file) snapshot->env->ops->close(snapshot->env, part->file);
    if (part->made && !keep) (void)snapshot->env->ops->unlink(snapshot->env, part->path);
}

struct snapshot *snapshot_free(struct snapshot *snapshot, bool keep_files) {
    if (!snapshot) return NULL;
    snapshot->image = image_end(snapshot->image);
    part_free(snapshot, &snapshot->keys, keep_files);
    part_free(snapshot, &snapshot->past, keep_files);
    mem_free(snapshot->buffer, BUFFER_SIZE);
    mem_free(snapshot, sizeof *snapshot);
    return NULL;
}
