/* out.c: the bytes that wait to be sent to one peer. */
#include "proto/out.h"

#include "base/assert.h"
#include "base/mem.h"

enum {
    DATA_FIRST = 1024,
    REFS_FIRST = 4,
    REFS_KEPT = 64,        /* by an empty out */
    SLIDE_MIN = 16 * 1024, /* sent bytes below that are not worth moving the others */
};

void out_init(struct out *out) {
    *out = (struct out){};
}

static void release(struct out *out, struct out_ref *ref) {
    out->refs_size -= ref->bytes.len;
    ref->release(ref->owner);
}

static void data_free(struct out *out) {
    mem_free(out->data, out->cap);
    out->data = NULL;
    out->cap = 0;
}

static void refs_free(struct out *out) {
    mem_free(out->refs, out->refs_cap * sizeof *out->refs);
    out->refs = NULL;
    out->refs_cap = 0;
}

void out_deinit(struct out *out) {
    for (size_t i = out->refs_sent; i < out->refs_count; i++) release(out, &out->refs[i]);
    assert(out->refs_size == 0);
    data_free(out);
    refs_free(out);
    out_init(out);
}

/* Positions stay as they are: there may be marks. Only out_sent moves bytes within the run. */
char *out_grow(struct out *out, size_t n) {
    size_t needed;
    bool overflow = __builtin_add_overflow(out->len, n, &needed) || needed > SIZE_MAX / 2;
    assert(!overflow);
    if (needed > out->cap) {
        size_t cap = out->cap ? out->cap : DATA_FIRST;
        while (cap < needed) cap *= 2;
        out->data = mem_resize(out->data, out->cap, cap);
        out->cap = cap;
    }
    return out->data + out->len;
}

void out_put_ref(struct out *out, struct bytes bytes, void (*release_owner)(void *owner),
                 void *owner) {
    if (bytes.len == 0) {
        release_owner(owner);
        return;
    }
    if (out->refs_count == out->refs_cap) {
        size_t cap = out->refs_cap ? out->refs_cap * 2 : REFS_FIRST;
        size_t size = sizeof *out->refs;
        out->refs = mem_resize(out->refs, out->refs_cap * size, cap * size);
        out->refs_cap = cap;
    }
    out->refs[out->refs_count++] = (struct out_ref){ out->len, bytes, release_owner, owner };
    out->refs_size += bytes.len;
}

void out_rewind(struct out *out, struct out_mark mark) {
    assert(mark.len >= out->sent);
    assert(mark.len <= out->len);
    assert(mark.refs_count >= out->refs_sent);
    while (out->refs_count > mark.refs_count) release(out, &out->refs[--out->refs_count]);
    out->len = mark.len;
}

size_t out_vectors(const struct out *out, struct iovec *vectors, size_t max) {
    size_t count = 0, at = out->sent;
    for (size_t i = out->refs_sent; i < out->refs_count && count < max; i++) {
        const struct out_ref *ref = &out->refs[i];
        if (ref->at > at) {
            vectors[count++] = (struct iovec){ out->data + at, ref->at - at };
            at = ref->at;
        }
        if (count == max) return count;
        /* iovec is not const, and writev does not write */
        vectors[count++] = (struct iovec){ (void *)(uintptr_t)ref->bytes.data, ref->bytes.len };
    }
    if (count < max && out->len > at)
        vectors[count++] = (struct iovec){ out->data + at, out->len - at };
    return count;
}

/* Everything went: the run begins anew. */
static void start_over(struct out *out, size_t keep) {
    assert(out->refs_size == 0);
    out->len = out->sent = out->refs_count = out->refs_sent = 0;
    if (out->cap > keep) data_free(out);
    if (out->refs_cap > REFS_KEPT) refs_free(out);
}

/* A peer that is never quite up to date would let the run grow for ever: what went is dropped once it
 * is more than what is left, so that each byte is moved less than once on average. */
static void slide(struct out *out) {
    size_t left = out->len - out->sent, refs_left = out->refs_count - out->refs_sent;
    if (out->sent >= SLIDE_MIN && out->sent > left) {
        if (left) memmove(out->data, out->data + out->sent, left);
        for (size_t i = out->refs_sent; i < out->refs_count; i++) out->refs[i].at -= out->sent;
        out->len = left;
        out->sent = 0;
    }
    if (out->refs_sent > REFS_KEPT && out->refs_sent > refs_left) {
        if (refs_left)
            memmove(out->refs, out->refs + out->refs_sent, refs_left * sizeof *out->refs);
        out->refs_count = refs_left;
        out->refs_sent = 0;
    }
}

void out_sent(struct out *out, size_t n, size_t keep) {
    assert(n <= out_pending(out));
    while (n) {
        struct out_ref *ref = out->refs_sent < out->refs_count ? &out->refs[out->refs_sent] : NULL;
        size_t before = (ref ? ref->at : out->len) - out->sent; /* bytes of the run before it */
        if (before) {
            size_t step = n < before ? n : before;
            out->sent += step;
            n -= step;
        } else {
            assert(ref);
            size_t step = n < ref->bytes.len ? n : ref->bytes.len;
            ref->bytes.data += step;
            ref->bytes.len -= step;
            out->refs_size -= step;
            n -= step;
            if (ref->bytes.len == 0) {
                out->refs_sent++;
                release(out, ref);
            }
        }
    }
    if (out_pending(out) == 0) {
        start_over(out, keep);
    } else {
        slide(out);
    }
}
