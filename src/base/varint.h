/* varint.h: numbers in as few bytes as they need: seven bits a byte, the lowest first, the top bit says
 * that there is more (LEB128). Signed ones are folded first, so that small negative ones stay short. */
#pragma once

#include "base/bytes.h"

enum { VARINT_MAX = 10 };

static inline uint64_t varint_fold(int64_t n) {
    return ((uint64_t)n << 1) ^ (uint64_t)(n >> 63);
}
static inline int64_t varint_unfold(uint64_t n) {
    return (int64_t)(n >> 1) ^ -(int64_t)(n & 1);
}

/* Writes at `at`, which has VARINT_MAX bytes of room; returns what follows. */
static inline char *varint_put(char *at, uint64_t n) {
    while (n >= 0x80) {
        *at++ = (char)(n | 0x80);
        n >>= 7;
    }
    *at++ = (char)n;
    return at;
}

/* Takes one off the front. false: the bytes end before it does, or it has more than 64 bits. */
static inline bool varint_take(struct bytes *from, uint64_t *out) {
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 64 && from->len; shift += 7) {
        unsigned char byte = (unsigned char)*from->data;
        from->data++;
        from->len--;
        if (shift == 63 && byte > 1) return false;
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = n;
            return true;
        }
    }
    return false;
}

static inline bool varint_take_signed(struct bytes *from, int64_t *out) {
    uint64_t n;
    if (!varint_take(from, &n)) return false;
    *out = varint_unfold(n);
    return true;
}

/* A length and so many bytes. */
static inline bool varint_take_bytes(struct bytes *from, struct bytes *out) {
    struct bytes rest = *from;
    uint64_t len;
    if (!varint_take(&rest, &len) || len > rest.len) return false;
    *out = (struct bytes){ rest.data, (size_t)len };
    *from = (struct bytes){ rest.data + len, rest.len - (size_t)len };
    return true;
}
