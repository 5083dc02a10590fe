/* crc64.c: Redis' checksum: Jones' polynomial 0xad93d23594c935a9, bits reflected, eight bytes a
 * step.
 *
 *     one byte     crc = tables[0][(crc ^ byte) & 255] ^ crc >> 8
 *     eight bytes  tables[k][b] is what byte b has become when k more zero bytes were taken in */
#include "base/assert.h"
#include "log/rdb.h"

enum { STEP = 8 };
static const uint64_t POLYNOMIAL = 0x95ac9329ac4bc9b5; /* reflected */

static uint64_t tables[STEP][256];

/* Before main, so that no thread can meet them half made. */
__attribute__((constructor)) static void make_tables(void) {
    for (unsigned byte = 0; byte < 256; byte++) {
        uint64_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        tables[0][byte] = crc;
    }
    for (unsigned k = 1; k < STEP; k++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            uint64_t before = tables[k - 1][byte];
            tables[k][byte] = tables[0][before & 255] ^ before >> 8;
        }
    }
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__); /* for the eight bytes as one word */

uint64_t crc64(uint64_t crc, const void *data, size_t len) {
    const unsigned char *at = data;
    for (; len >= STEP; at += STEP, len -= STEP) {
        uint64_t word;
        memcpy(&word, at, STEP);
        word ^= crc;
        crc = 0;
        for (unsigned k = 0; k < STEP; k++) crc ^= tables[STEP - 1 - k][word >> (8 * k) & 255];
    }
    for (; len > 0; at++, len--) crc = tables[0][(crc ^ *at) & 255] ^ crc >> 8;
    return crc;
}
