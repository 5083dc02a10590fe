/* frame_fuzz.c: whatever the bytes, frame_decode reads nothing beyond them, and what it accepts is what
 * frame_encode would have written.
 * The input: one byte that says whether the checksum is put right, then the frame. */
#include <stdlib.h>

#include "base/assert.h"
#include "log/crc32c.h"
#include "log/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > INPUT_MAX) return 0;
    bool mend = data[0] & 1;
    size_t len = size - 1;
    char *copy = malloc(len + !len); /* memory of its own: nothing lies behind it */
    memcpy(copy, data + 1, len);
    uint32_t seed = frame_seed(7);
    struct frame_header header;
    if (mend && len >= FRAME_HEADER && frame_peek(copy, &header) &&
        header.len <= len - FRAME_HEADER) {
        uint32_t crc = crc32c(seed, copy + 8, FRAME_HEADER - 8 + header.len);
        memcpy(copy + 4, &crc, sizeof crc);
    }
    struct journal_batch batch;
    struct problem why = {};
    enum status status = frame_decode((struct bytes){ copy, len }, seed, &batch, &why);
    assert(status == OK || status == NEED_MORE || status == CORRUPT);
    if (status == OK) {
        char again[FRAME_HEADER];
        frame_encode(&batch, seed, again);
        assert(memcmp(again, copy, FRAME_HEADER) == 0);
        assert(batch.bytes.len <= len - FRAME_HEADER);
    } else {
        assert(why.status == status && why.text[0] != '\0');
    }
    free(copy);
    return 0;
}
