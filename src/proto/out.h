/* out.h: the bytes that wait to be sent to one peer.
 *
 * One growing run of bytes, into which large values are spliced by reference: a ref says that after
 * `at` bytes of the run these other bytes come. out_vectors lists both in order for writev, out_sent
 * drops what went. Thread: the connection's.
 */
#pragma once

#include <stdbool.h>
#include <sys/uio.h>

#include "base/attributes.h"
#include "base/bytes.h"

struct out_ref {
    size_t at;          /* position in `data` that it comes before, counted from data[0] */
    struct bytes bytes; /* what is still to be sent of it */
    void (*release)(void *owner);
    void *owner;
};

struct out {
    char *data;
    size_t len, cap;
    size_t sent;          /* bytes of `data` that are gone */
    struct out_ref *refs; /* in the order of their `at` */
    size_t refs_count, refs_cap;
    size_t refs_sent; /* so many of them, from refs[0], are gone and released */
    size_t refs_size; /* bytes still to be sent of all refs */
};

struct out_mark { /* a place to rewind to; good until the next out_sent */
    size_t len, refs_count;
};

void out_init(struct out *out);
void out_deinit(struct out *out); /* releases what was not sent */

/* Makes room for `n` bytes and returns where; out->len is the caller's to move. The slow half: */
char *out_grow(struct out *out, size_t n);

static inline char *out_reserve(struct out *out, size_t n) {
    if (LIKELY(out->cap - out->len >= n)) return out->data + out->len;
    return out_grow(out, n);
}
static inline void out_put(struct out *out, struct bytes bytes) {
    if (bytes.len) memcpy(out_reserve(out, bytes.len), bytes.data, bytes.len);
    out->len += bytes.len;
}

/* Sends `bytes` without copying them; `release(owner)` is called once, when they are sent or dropped. */
void out_put_ref(struct out *out, struct bytes bytes, void (*release)(void *owner), void *owner);

static inline size_t out_pending(const struct out *out) {
    return out->len - out->sent + out->refs_size;
}
static inline struct out_mark out_mark(const struct out *out) {
    return (struct out_mark){ out->len, out->refs_count };
}
/* Forgets (and releases) everything put after `mark`. */
void out_rewind(struct out *out, struct out_mark mark);

/* Fills at most `max` vectors with what is to be sent next; returns how many. */
size_t out_vectors(const struct out *out, struct iovec *vectors, size_t max);
/* `n` bytes of those were sent. Gives memory back when all is sent and the run is larger than `keep`. */
void out_sent(struct out *out, size_t n, size_t keep);
