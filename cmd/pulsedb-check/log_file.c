#include "log_file.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "log/manifest.h"

enum {
    LOOKALIKES_MAX = 256
}; /* bytes of false frames may be checked so many times the file's size */

static enum status read_all(struct log_file *log, struct env *env, struct env_file *file,
                            struct problem *why) {
    int64_t size = env->ops->size(env, file);
    if (size < 0) return problem_set(why, IO, (int)-size, "cannot look at %s", log->path);
    log->size = (size_t)size;
    log->cap = log->size + 1;
    log->data = mem_try(log->cap);
    if (!log->data)
        return problem_set(why, NO_MEMORY, 0, "no memory to read %s (%zu bytes)", log->path,
                           log->size);
    size_t done = 0;
    while (done < log->size) {
        int64_t n = env->ops->pread(env, file, log->data + done, log->size - done, done);
        if (n < 0) return problem_set(why, IO, (int)-n, "cannot read %s", log->path);
        if (n == 0) break;
        done += (size_t)n;
    }
    memset(log->data + done, 0, log->size - done); /* it was cut shorter meanwhile */
    return OK;
}

static void read_header(struct log_file *log, uint64_t id) {
    if (log->size < SEGMENT_HEADER)
        log->header_status = problem_set(&log->header_why, CORRUPT, 0, "its header is not whole");
    else
        log->header_status = segment_header_decode(log->data, &log->header, &log->header_why);
    if (log->header_status != OK) log->header = (struct segment_header){ .id = id };
    log->seed = frame_seed(log->header.id);
}

enum status log_file_open(struct log_file *log, struct env *env, const char *path, uint64_t id,
                          struct problem *why) {
    struct env_file *file;
    *log = (struct log_file){ .size = 0 };
    snprintf(log->path, sizeof log->path, "%s", path);
    int error = env->ops->open(env, path, ENV_READ, &file);
    if (error < 0)
        return problem_set(why, error == -ENOENT ? NOT_FOUND : IO, -error, "cannot open %s", path);
    enum status status = read_all(log, env, file, why);
    env->ops->close(env, file);
    if (status != OK)
        log_file_close(log);
    else
        read_header(log, id);
    return status;
}

void log_file_close(struct log_file *log) {
    if (log->data) mem_free(log->data, log->cap);
    log->data = NULL;
    log->size = log->cap = 0;
}

bool log_file_frame(const struct log_file *log, uint64_t at, struct journal_batch *out) {
    if (at > log->size) return false;
    struct bytes rest = { log->data + at, log->size - (size_t)at };
    return frame_decode(rest, log->seed, out, NULL) == OK && frame_size(out->bytes.len) <= rest.len;
}

bool log_file_seek(const struct log_file *log, uint64_t *at, struct journal_batch *out) {
    uint64_t doubts = 0;
    for (uint64_t i = *at; i + FRAME_HEADER <= log->size; i += FRAME_ALIGN) {
        struct frame_header header;
        if (!frame_peek(log->data + i, &header)) continue;
        if (frame_size(header.len) > log->size - i) continue;
        if (log_file_frame(log, i, out)) {
            *at = i;
            return true;
        }
        doubts += header.len;
        if (doubts / LOOKALIKES_MAX > log->size) return false;
    }
    return false;
}

bool log_file_ends(const struct log_file *log, uint64_t at, uint64_t seq) {
    if (at >= log->size) return true;
    struct frame_header header;
    bool frame = log->size - at >= FRAME_HEADER && frame_peek(log->data + at, &header);
    if (log->header.flags & SEGMENT_RECYCLED) return !frame || header.batch.seq != seq;
    while (at < log->size && log->data[at] == 0) at++;
    return at == log->size;
}

struct logs_walk {
    uint64_t next, to;
    enum status (*visit)(void *self, const struct log_place *place,
                         const struct journal_batch *frame, struct problem *why);
    void *self;
};

static enum status visit_file(struct logs_walk *walk, struct log_place *place,
                              struct problem *why) {
    struct journal_batch frame;
    for (place->at = SEGMENT_HEADER; log_file_seek(place->file, &place->at, &frame);
         place->at += frame_size(frame.bytes.len)) {
        if (frame.seq != walk->next) continue;
        enum status status = walk->visit(walk->self, place, &frame, why);
        if (status != OK) return status;
        if (walk->next++ == walk->to) break;
    }
    return OK;
}

enum status logs_visit(struct env *env, const char *dir, const struct manifest *manifest,
                       uint64_t from, uint64_t to,
                       enum status (*visit)(void *self, const struct log_place *place,
                                            const struct journal_batch *frame, struct problem *why),
                       void *self, struct problem *why) {
    struct logs_walk walk = { .next = from, .to = to, .visit = visit, .self = self };
    for (size_t i = 0; i < manifest->logs_count && walk.next <= to; i++) {
        const struct manifest_log *log = &manifest->logs[i];
        if (log->end && log->last_seq < from) continue;
        char path[PATH_MAX];
        struct log_file file;
        path_of_log(dir, log->number, path);
        enum status status = log_file_open(&file, env, path, log->id, NULL);
        if (status == NO_MEMORY)
            return problem_set(why, NO_MEMORY, 0, "no memory to read %s", path);
        if (status != OK) continue;
        if (log->end && log->end < file.size) file.size = (size_t)log->end;
        if (file.header.id == log->id)
            status = visit_file(&walk, &(struct log_place){ .log = i, .file = &file }, why);
        log_file_close(&file);
        if (status != OK) return status;
    }
    return OK;
}
