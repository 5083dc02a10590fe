/* snapshot_file.h: a snapshot's two files as bytes, for who writes and who reads them: a header, sections, a
 * trailer (docs/formats/snapshot.md). All numbers little endian. */
#pragma once

#include "base/bytes.h"
#include "log/crc32c.h"

#define SNAPSHOT_MAGIC "PULSESNP"
enum {
    SNAPSHOT_VERSION = 1,
    SNAPSHOT_HEADER = 64,
    SNAPSHOT_HEADER_CRC = 60, /* where it lies */
    SNAPSHOT_SECTION = 24,
    SNAPSHOT_SECTION_CRC = 20,
    SNAPSHOT_TRAILER = 255, /* a section's kind: the last one */
    SNAPSHOT_TRAILER_SIZE = 24,
};

static inline void put_le(char *at, uint64_t n, size_t size) {
    for (size_t i = 0; i < size; i++) at[i] = (char)(n >> (8 * i));
}
static inline uint64_t get_le(const char *at, size_t size) {
    uint64_t n = 0;
    for (size_t i = 0; i < size; i++) n |= (uint64_t)(unsigned char)at[i] << (8 * i);
    return n;
}

/* What a section begins with. */
struct snapshot_section {
    uint8_t kind;
    uint16_t shard;
    uint32_t number, count, len;
    uint32_t crc;
};

/* Of a section's first bytes; its content follows. `id` is the snapshot's. */
static inline uint32_t snapshot_crc(uint64_t id, const char head[SNAPSHOT_SECTION]) {
    char seed[8];
    put_le(seed, id, sizeof seed);
    return crc32c(crc32c(0, seed, sizeof seed), head, SNAPSHOT_SECTION_CRC);
}

static inline void snapshot_put_section(const struct snapshot_section *section,
                                        char head[SNAPSHOT_SECTION]) {
    put_le(head, section->kind, 2);
    put_le(head + 2, section->shard, 2);
    put_le(head + 4, section->number, 4);
    put_le(head + 8, section->count, 4);
    put_le(head + 12, section->len, 4);
    put_le(head + 16, 0, 4);
    put_le(head + SNAPSHOT_SECTION_CRC, section->crc, 4);
}

static inline struct snapshot_section snapshot_get_section(const char head[SNAPSHOT_SECTION]) {
    return (struct snapshot_section){ .kind = (uint8_t)head[0],
                                      .shard = (uint16_t)get_le(head + 2, 2),
                                      .number = (uint32_t)get_le(head + 4, 4),
                                      .count = (uint32_t)get_le(head + 8, 4),
                                      .len = (uint32_t)get_le(head + 12, 4),
                                      .crc = (uint32_t)get_le(head + SNAPSHOT_SECTION_CRC, 4) };
}
