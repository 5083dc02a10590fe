/* siphash.h: SipHash-1-3, the keyed hash of every table that holds what clients name, so that nobody
 * who lacks the key can make many names collide. Algorithm: Aumasson and Bernstein, 2012, with one
 * compression and three finalisation rounds. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

struct siphash_key {
    uint64_t k0, k1;
};

static inline uint64_t siphash_rotl(uint64_t x, int b) {
    return x << b | x >> (64 - b);
}

#define SIPHASH_ROUND(v0, v1, v2, v3)  \
    do {                               \
        v0 += v1;                      \
        v1 = siphash_rotl(v1, 13) ^ v0; \
        v0 = siphash_rotl(v0, 32);     \
        v2 += v3;                      \
        v3 = siphash_rotl(v3, 16) ^ v2; \
        v0 += v3;                      \
        v3 = siphash_rotl(v3, 21) ^ v0; \
        v2 += v1;                      \
        v1 = siphash_rotl(v1, 17) ^ v2; \
        v2 = siphash_rotl(v2, 32);     \
    } while (0)

static inline uint64_t siphash(const struct siphash_key *key, struct bytes in) {
    uint64_t v0 = key->k0 ^ 0x736f6d6570736575u, v1 = key->k1 ^ 0x646f72616e646f6du;
    uint64_t v2 = key->k0 ^ 0x6c7967656e657261u, v3 = key->k1 ^ 0x7465646279746573u;
    const char *at = in.data, *whole = in.data + (in.len & ~(size_t)7);
    for (; at < whole; at += 8) {
        uint64_t m;
        memcpy(&m, at, 8);
        v3 ^= m;
        SIPHASH_ROUND(v0, v1, v2, v3);
        v0 ^= m;
    }
    uint64_t last = (uint64_t)in.len << 56;
    size_t rest = in.len & 7;
    if (rest && in.len >= 8) { /* the last eight bytes at once, without those that were taken */
        uint64_t m;
        memcpy(&m, at + rest - 8, 8);
        last |= m >> (8 * (8 - rest));
    } else {
        for (size_t i = 0; i < rest; i++) last |= (uint64_t)(unsigned char)at[i] << (8 * i);
    }
    v3 ^= last;
    SIPHASH_ROUND(v0, v1, v2, v3);
    v0 ^= last;
    v2 ^= 0xff;
    SIPHASH_ROUND(v0, v1, v2, v3);
    SIPHASH_ROUND(v0, v1, v2, v3);
    SIPHASH_ROUND(v0, v1, v2, v3);
    return v0 ^ v1 ^ v2 ^ v3;
}
