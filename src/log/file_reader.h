/* file_reader.h: a file read from its front to its end, in large pieces. Thread: one at a time. */
#pragma once

#include "base/env.h"

struct file_reader {
    struct env *env;
    struct env_file *file;
    const char *path; /* borrowed */
    uint64_t size;    /* when it was opened: what comes after is not read */
    uint64_t offset;  /* of the next byte to be handed out */
    char *piece;
    size_t at, end; /* of `piece`: what is read and not handed out yet */
};

/* NOT_FOUND: there is no such file. After OK: file_reader_close. */
MUST_USE enum status file_reader_open(struct file_reader *reader, struct env *env, const char *path,
                                      struct problem *why);
void file_reader_close(struct file_reader *reader);
static inline uint64_t file_reader_left(const struct file_reader *reader) {
    return reader->size - reader->offset;
}
/* Fills `out`. NEED_MORE: so much is not left; nothing was taken. `self` is the reader
 * (rdb_source). */
MUST_USE enum status file_reader_read(void *self, void *out, size_t len, struct problem *why);
/* Up to `len` of the next bytes (at most FILE_READER_PEEK), which stay; borrowed until the next
 * call. */
enum { FILE_READER_PEEK = 1024 };
MUST_USE enum status file_reader_peek(struct file_reader *reader, size_t len, struct bytes *out,
                                      struct problem *why);
/* Puts the file's path before the sentence of a problem that was found in its bytes; returns
 * `status`. */
enum status file_reader_blame(const struct file_reader *reader, enum status status,
                              struct problem *why);
