#include "log/file_reader.h"

#include <errno.h>

#include "base/assert.h"
#include "base/mem.h"

enum { PIECE_SIZE = 256 * 1024 };
static_assert((int)FILE_READER_PEEK <= (int)PIECE_SIZE);

enum status file_reader_open(struct file_reader *reader, struct env *env, const char *path,
                             struct problem *why) {
    struct env_file *file;
    int error = env->ops->open(env, path, ENV_READ, &file);
    if (error < 0)
        return problem_set(why, error == -ENOENT ? NOT_FOUND : IO, -error, "cannot open %s", path);
    int64_t size = env->ops->size(env, file);
    if (size < 0) {
        env->ops->close(env, file);
        return problem_set(why, IO, (int)-size, "cannot learn the size of %s", path);
    }
    *reader = (struct file_reader){
        .env = env, .file = file, .path = path, .size = (uint64_t)size, .piece = mem_new(PIECE_SIZE)
    };
    return OK;
}

void file_reader_close(struct file_reader *reader) {
    reader->env->ops->close(reader->env, reader->file);
    mem_free(reader->piece, PIECE_SIZE);
    *reader = (struct file_reader){ 0 };
}

/* Moves what is left to the front of the piece and fills the rest. */
static enum status fill(struct file_reader *reader, struct problem *why) {
    size_t kept = reader->end - reader->at;
    if (kept) memmove(reader->piece, reader->piece + reader->at, kept);
    reader->at = 0;
    reader->end = kept;
    uint64_t from = reader->offset + kept;
    while (reader->end < PIECE_SIZE && from < reader->size) {
        size_t room = PIECE_SIZE - reader->end;
        if (room > reader->size - from) room = (size_t)(reader->size - from);
        int64_t n = reader->env->ops->pread(reader->env, reader->file, reader->piece + reader->end,
                                            room, from);
        if (n < 0) return problem_set(why, IO, (int)-n, "cannot read %s", reader->path);
        if (n == 0)
            return problem_set(why, IO, EIO, "%s became shorter while it was read", reader->path);
        reader->end += (size_t)n;
        from += (uint64_t)n;
    }
    return OK;
}

enum status file_reader_read(void *self, void *out, size_t len, struct problem *why) {
    struct file_reader *reader = self;
    char *to = out;
    if (len > file_reader_left(reader))
        return problem_set(why, NEED_MORE, 0, "%s ends too early", reader->path);
    while (len > 0) {
        if (reader->at == reader->end) {
            enum status status = fill(reader, why);
            if (status != OK) return status;
        }
        size_t n = reader->end - reader->at;
        if (n > len) n = len;
        memcpy(to, reader->piece + reader->at, n);
        reader->at += n;
        reader->offset += n;
        to += n;
        len -= n;
    }
    return OK;
}

enum status file_reader_peek(struct file_reader *reader, size_t len, struct bytes *out,
                             struct problem *why) {
    assert(len <= FILE_READER_PEEK);
    if (len > file_reader_left(reader)) len = (size_t)file_reader_left(reader);
    if (reader->end - reader->at < len) {
        enum status status = fill(reader, why);
        if (status != OK) return status;
    }
    *out = (struct bytes){ reader->piece + reader->at, len };
    return OK;
}

enum status file_reader_blame(const struct file_reader *reader, enum status status,
                              struct problem *why) {
    if (!why || status == OK || status == IO) return status; /* IO names it already */
    struct problem found = *why;
    problem_set(why, status, found.error, "%s: %s", reader->path, found.text);
    why->offset = found.offset;
    return status;
}
