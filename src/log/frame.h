/* frame.h: one batch of the log as bytes (docs/formats/log.md), little endian:
 *
 *     magic 4 | crc 4 | len 8 | blocks 4 | flags 2 | 0 2 | seq 8 | cut 8 | synced 8 | payload len | 0 to 8
 *                     └─────────────────────────── crc ────────────────────────────────────────────┘
 *
 * The checksum is seeded with the random id of the file, so that what an earlier file has left in the same
 * blocks is no frame of this one. Thread: any.
 */
#pragma once

#include "log/journal.h"

enum {
    FRAME_MAGIC = 0x31464c50, /* "PLF1" */
    FRAME_HEADER = 48,
    FRAME_ALIGN = 8,
};
#define FRAME_PAYLOAD_MAX ((uint64_t)1 << 40) /* more than any batch: what is longer is no frame */

/* What a header says before anybody knows whether it is true. */
struct frame_header {
    uint32_t crc;
    uint64_t len;
    struct journal_batch batch; /* without its bytes */
};

uint32_t frame_seed(uint64_t id);

static inline uint64_t frame_size(uint64_t payload_len) {
    return (FRAME_HEADER + payload_len + FRAME_ALIGN - 1) & ~(uint64_t)(FRAME_ALIGN - 1);
}

/* The header, with the checksum of it and of batch->bytes, which follow it. */
void frame_encode(const struct journal_batch *batch, uint32_t seed, char out[FRAME_HEADER]);
/* false: no frame begins with these FRAME_HEADER bytes. */
MUST_USE bool frame_peek(const char *in, struct frame_header *out);
/* The frame at the front of `in`; its bytes are borrowed. OK, NEED_MORE, CORRUPT. */
MUST_USE enum status frame_decode(struct bytes in, uint32_t seed, struct journal_batch *out,
                                  struct problem *why);
