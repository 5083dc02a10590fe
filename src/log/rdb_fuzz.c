/* rdb_fuzz.c: whatever the bytes of a file or of a payload, reading them ends with a status, and
 * what was read can be written and is then read as the same.
 * The input: one byte (0: a file; odd: a payload, which gets a right end and is version 10 or 80),
 * then the bytes. */
#include <stdlib.h>

#include "base/assert.h"
#include "log/rdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 64 * 1024, OUT_MAX = 256 * 1024 * 1024 };

static enum status from_memory(void *self, void *out, size_t len, struct problem *why) {
    struct bytes *left = self;
    (void)why;
    if (left->len < len) return NEED_MORE;
    memcpy(out, left->data, len);
    left->data += len;
    left->len -= len;
    return OK;
}

struct copy {
    struct buffer out;
    struct rdb_writer writer;
    uint64_t keys;
    bool full;
};

static enum status rewrite(void *self, const struct rdb_key *key, struct problem *why) {
    struct copy *copy = self;
    assert(key->value.type == VALUE_STRING);
    copy->keys++;
    if (copy->full || (copy->writer.any && key->db < copy->writer.db)) {
        copy->full = true; /* databases come in order in what we write */
        return OK;
    }
    if (!copy->writer.any || key->db > copy->writer.db)
        rdb_write_database(&copy->writer, key->db, 1, 0);
    enum status status = rdb_write_key(&copy->writer, key, why);
    copy->full = status != OK;
    return OK;
}

static enum status count(void *self, const struct rdb_key *key, struct problem *why) {
    (void)key;
    (void)why;
    ++*(uint64_t *)self;
    return OK;
}

static void read_file(struct bytes file) {
    struct copy copy = { .keys = 0 };
    struct rdb_report report;
    struct problem why;
    struct bytes left = file;
    buffer_init(&copy.out, OUT_MAX);
    rdb_write_begin(&copy.writer, &copy.out, true, 0);
    enum status status =
        rdb_read((struct rdb_source){ from_memory, &left }, 0, rewrite, &copy, &report, &why);
    assert(status == OK || why.status == status);
    assert(report.keys == copy.keys);
    rdb_write_end(&copy.writer);
    if (!copy.full && !copy.out.overflow) {
        uint64_t keys = 0;
        left = buffer_bytes(&copy.out);
        status =
            rdb_read((struct rdb_source){ from_memory, &left }, 0, count, &keys, &report, &why);
        assert(status == OK);
        assert(keys == copy.keys);
        assert(left.len == 0);
    }
    buffer_deinit(&copy.out);
}

static void read_payload(struct bytes body, unsigned version) {
    struct buffer payload, scratch, again, scratch_again;
    struct value value, back;
    struct problem why;
    buffer_init(&payload, INPUT_MAX + 16);
    buffer_init(&scratch, RDB_STRING_MAX);
    buffer_init(&again, RDB_STRING_MAX);
    buffer_init(&scratch_again, RDB_STRING_MAX);
    buffer_put(&payload, body);
    buffer_put(&payload, (struct bytes){ (const char[]){ (char)version, 0 }, 2 });
    uint64_t crc = crc64(0, payload.data, payload.len);
    buffer_put(&payload, (struct bytes){ (const char *)&crc, 8 });
    enum status status = rdb_restore(buffer_bytes(&payload), &scratch, &value, &why);
    assert(status != INVALID);
    if (status == OK && rdb_dump(&value, &again, &why) == OK) {
        char text[INT_TEXT_MAX], text_back[INT_TEXT_MAX];
        status = rdb_restore(buffer_bytes(&again), &scratch_again, &back, &why);
        assert(status == OK);
        assert(bytes_equal(value_text(&value, text), value_text(&back, text_back)));
    }
    buffer_deinit(&payload);
    buffer_deinit(&scratch);
    buffer_deinit(&again);
    buffer_deinit(&scratch_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > INPUT_MAX) return 0;
    char *copy = malloc(size); /* memory of its own: its end is watched */
    memcpy(copy, data + 1, size - 1);
    struct bytes input = { copy, size - 1 };
    if (data[0] & 1)
        read_payload(input, data[0] & 2 ? RDB_VALKEY_VERSION : RDB_DUMP_VERSION);
    else
        read_file(input);
    free(copy);
    return 0;
}
