#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

enum { BUFFER_MIN = 64, FORMAT_SIZE = 512 };

void buffer_init(struct buffer *buffer, size_t limit) {
    *buffer = (struct buffer){ .limit = limit };
}

void buffer_deinit(struct buffer *buffer) {
    mem_free(buffer->data, buffer->cap);
    *buffer = (struct buffer){ .limit = buffer->limit };
}

void buffer_clear(struct buffer *buffer) {
    buffer->len = 0;
    buffer->overflow = false;
}

void buffer_shrink(struct buffer *buffer, size_t keep) {
    if (buffer->len > 0 || buffer->cap <= keep) return;
    mem_free(buffer->data, buffer->cap);
    buffer->data = NULL;
    buffer->cap = 0;
}

void buffer_consume(struct buffer *buffer, size_t n) {
    assert(n <= buffer->len);
    buffer->len -= n;
    if (n > 0 && buffer->len > 0) memmove(buffer->data, buffer->data + n, buffer->len);
}

/* The next capacity for `needed` bytes: twice the last one, to keep copying linear in the end. */
static size_t grown_cap(const struct buffer *buffer, size_t needed) {
    size_t cap = buffer->cap < buffer->limit / 2 ? buffer->cap * 2 : buffer->limit;
    if (cap < needed) cap = needed;
    if (cap < BUFFER_MIN) cap = BUFFER_MIN;
    cap = mem_class(cap);
    return cap < buffer->limit ? cap : buffer->limit;
}

/* false when the memory is refused, which only sizes that a client drives can be. */
static bool move_to(struct buffer *buffer, size_t cap) {
    if (cap < MEM_TRY_MIN) {
        buffer->data = mem_resize(buffer->data, buffer->cap, cap);
    } else {
        char *data = mem_try(cap);
        if (!data) return false;
        if (buffer->len > 0) memcpy(data, buffer->data, buffer->len);
        mem_free(buffer->data, buffer->cap);
        buffer->data = data;
    }
    buffer->cap = cap;
    return true;
}

char *buffer_grow(struct buffer *buffer, size_t n) {
    assert(buffer->len <= buffer->cap);
    if (buffer->overflow) return NULL;
    size_t needed;
    bool absurd = __builtin_add_overflow(buffer->len, n, &needed) || needed > PTRDIFF_MAX;
    if (absurd || needed > buffer->limit || buffer->limit == 0) {
        buffer->overflow = true;
        return NULL;
    }
    if (needed == 0) needed = 1; /* even for no bytes at all the answer is a place */
    if (needed > buffer->cap && !move_to(buffer, grown_cap(buffer, needed))) {
        buffer->overflow = true;
        return NULL;
    }
    return buffer->data + buffer->len;
}

void buffer_format(struct buffer *buffer, const char *format, ...) {
    char text[FORMAT_SIZE];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert(len >= 0);
    if ((size_t)len < sizeof text) {
        buffer_put(buffer, (struct bytes){ text, (size_t)len });
        return;
    }
    size_t size = (size_t)len + 1;
    char *long_text = mem_new(size);
    va_start(args, format);
    (void)vsnprintf(long_text, size, format, args);
    va_end(args);
    buffer_put(buffer, (struct bytes){ long_text, (size_t)len });
    mem_free(long_text, size);
}
