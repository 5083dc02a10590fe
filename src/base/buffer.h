/* buffer.h: bytes that grow. A buffer cannot be made without its limit: what would grow it past
 * `limit` (or past the memory there is) is refused and sets `overflow`. Until buffer_clear everything
 * after that is refused too, so that a buffer never holds a text with a hole in it.
 *
 * Invariant: len <= cap <= limit; data is NULL exactly when cap is 0.
 * Thread: one at a time. */
#pragma once

#include <stdbool.h>

#include "base/attributes.h"
#include "base/bytes.h"

struct buffer {
    char *data;
    size_t len, cap, limit;
    bool overflow;
};

void buffer_init(struct buffer *buffer, size_t limit); /* allocates nothing yet */
void buffer_deinit(struct buffer *buffer);
void buffer_clear(struct buffer *buffer); /* empty; keeps its memory */
void buffer_shrink(struct buffer *buffer,
                   size_t keep); /* gives memory back when empty and cap > keep */
void buffer_consume(struct buffer *buffer, size_t n); /* drops the first n bytes, n <= len */

/* buffer_reserve when it takes the allocator; not for others. */
char *buffer_grow(struct buffer *buffer, size_t n);

/* Room for `n` more bytes at data + len, or NULL (overflow). Does not change len. */
static inline char *buffer_reserve(struct buffer *buffer, size_t n) {
    if (LIKELY(n <= buffer->cap - buffer->len && buffer->cap > 0 && !buffer->overflow))
        return buffer->data + buffer->len;
    return buffer_grow(buffer, n);
}

/* Appends all of it, or nothing (overflow). */
static inline void buffer_put(struct buffer *buffer, struct bytes bytes) {
    if (bytes.len == 0) return;
    char *at = buffer_reserve(buffer, bytes.len);
    if (UNLIKELY(!at)) return;
    memcpy(at, bytes.data, bytes.len);
    buffer->len += bytes.len;
}

/* Appends printf's text, without a NUL: all of it, or nothing (overflow). */
PRINTF(2, 3) void buffer_format(struct buffer *buffer, const char *format, ...);

/* What is in it; valid until the buffer changes. */
static inline struct bytes buffer_bytes(const struct buffer *buffer) {
    return (struct bytes){ buffer->data, buffer->len };
}
