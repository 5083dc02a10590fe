/* crc32c.c: CRC-32C as fast as the memory is read.
 *
 * The instruction takes eight bytes and answers three cycles later, but a new one can begin each cycle. So
 * long inputs go in three lanes at once, which are put together at the end of each round: the checksum
 * of "A and then B" is that of A, moved over as many zero bytes as B has, xor that of B. Moving over a fixed
 * number of zero bytes is linear in the checksum's bits: four tables of 256 do it, made once before main.
 *
 *     |<-- LANE -->|<-- LANE -->|<-- LANE -->|
 *      crc ───────► 0 ─────────► 0 ─────────►     move(move(a) ^ b) ^ c
 */
#include "log/crc32c.h"

#include <assert.h>
#include <string.h>

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bytes go into the words in their order");

#if defined(__SSE4_2__) || defined(__ARM_FEATURE_CRC32)

enum { LANE = 2048 };

static uint32_t moved[4][256]; /* moved[k][b]: the checksum b << 8k, LANE zero bytes later */

static inline uint32_t step_byte(uint32_t crc, unsigned char byte) {
#if defined(__SSE4_2__)
    return _mm_crc32_u8(crc, byte);
#else
    return __crc32cb(crc, byte);
#endif
}

static inline uint32_t step_word(uint32_t crc, const char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
#if defined(__SSE4_2__)
    return (uint32_t)_mm_crc32_u64(crc, word);
#else
    return __crc32cd(crc, word);
#endif
}

__attribute__((constructor)) static void make_tables(void) {
    static const char zeros[LANE];
    for (unsigned k = 0; k < 4; k++) {
        for (uint32_t b = 1; b < 256; b++) {
            uint32_t low = b & (b - 1); /* all bits but the lowest: made already */
            if (low) {
                moved[k][b] = moved[k][low] ^ moved[k][b ^ low];
                continue;
            }
            uint32_t crc = b << (8 * k);
            for (size_t i = 0; i < LANE; i += 8) crc = step_word(crc, zeros + i);
            moved[k][b] = crc;
        }
    }
}

static inline uint32_t move(uint32_t crc) {
    return moved[0][crc & 0xff] ^ moved[1][crc >> 8 & 0xff] ^ moved[2][crc >> 16 & 0xff] ^
           moved[3][crc >> 24];
}

static uint32_t run(uint32_t crc, const char *at, size_t len) {
    for (; len >= (size_t)3 * LANE; at += (size_t)3 * LANE, len -= (size_t)3 * LANE) {
        uint32_t second = 0, third = 0;
        for (size_t i = 0; i < LANE; i += 8) {
            crc = step_word(crc, at + i);
            second = step_word(second, at + LANE + i);
            third = step_word(third, at + (size_t)2 * LANE + i);
        }
        crc = move(move(crc) ^ second) ^ third;
    }
    for (; len >= 8; at += 8, len -= 8) crc = step_word(crc, at);
    for (; len > 0; at++, len--) crc = step_byte(crc, (unsigned char)*at);
    return crc;
}

#else

static uint32_t table[256];

__attribute__((constructor)) static void make_table(void) {
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;
        for (int i = 0; i < 8; i++) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
        table[b] = crc;
    }
}

static uint32_t run(uint32_t crc, const char *at, size_t len) {
    for (; len > 0; at++, len--) crc = crc >> 8 ^ table[(crc ^ (unsigned char)*at) & 0xff];
    return crc;
}

#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t len) {
    return ~run(~crc, data, len);
}
