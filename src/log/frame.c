/* frame.c: see frame.h. */
#include "log/frame.h"

#include "base/assert.h"
#include "log/crc32c.h"

enum { CRC_AT = 4, COUNTED_AT = 8 }; /* the checksum; what is in it */

/* The header as it lies in the file. */
struct layout {
    uint32_t magic, crc;
    uint64_t len;
    uint32_t blocks;
    uint16_t flags, zero;
    uint64_t seq, cut, synced;
};
static_assert(sizeof(struct layout) == FRAME_HEADER);
static_assert(offsetof(struct layout, crc) == CRC_AT);
static_assert(offsetof(struct layout, len) == COUNTED_AT);
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the layout is copied as it is");

uint32_t frame_seed(uint64_t id) {
    return crc32c(0, &id, sizeof id);
}

void frame_encode(const struct journal_batch *batch, uint32_t seed, char out[FRAME_HEADER]) {
    assert(batch->bytes.len <= FRAME_PAYLOAD_MAX);
    struct layout layout = {
        .magic = FRAME_MAGIC,
        .len = batch->bytes.len,
        .blocks = batch->blocks,
        .flags = batch->flags,
        .seq = batch->seq,
        .cut = batch->cut,
        .synced = batch->synced,
    };
    memcpy(out, &layout, FRAME_HEADER);
    uint32_t crc = crc32c(seed, out + COUNTED_AT, FRAME_HEADER - COUNTED_AT);
    crc = crc32c(crc, batch->bytes.data, batch->bytes.len);
    memcpy(out + CRC_AT, &crc, sizeof crc);
}

bool frame_peek(const char *in, struct frame_header *out) {
    struct layout layout;
    memcpy(&layout, in, FRAME_HEADER);
    if (layout.magic != FRAME_MAGIC || layout.len > FRAME_PAYLOAD_MAX) return false;
    *out = (struct frame_header){
        .crc = layout.crc,
        .len = layout.len,
        .batch = { .seq = layout.seq,
                   .cut = layout.cut,
                   .synced = layout.synced,
                   .blocks = layout.blocks,
                   .flags = layout.flags },
    };
    return true;
}

enum status frame_decode(struct bytes in, uint32_t seed, struct journal_batch *out,
                         struct problem *why) {
    struct frame_header header;
    if (in.len < FRAME_HEADER) return problem_set(why, NEED_MORE, 0, "the header is not whole");
    if (!frame_peek(in.data, &header)) return problem_set(why, CORRUPT, 0, "no frame begins here");
    if (in.len - FRAME_HEADER < header.len)
        return problem_set(why, NEED_MORE, 0, "the frame is not whole");
    size_t counted = FRAME_HEADER - COUNTED_AT + header.len;
    if (crc32c(seed, in.data + COUNTED_AT, counted) != header.crc)
        return problem_set(why, CORRUPT, 0, "the frame's checksum is wrong");
    *out = header.batch;
    out->bytes = (struct bytes){ in.data + FRAME_HEADER, header.len };
    return OK;
}
