#include "log/crc32c.h"

#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "testing/testing.h"

/* The definition, a bit at a time. */
static uint32_t slow(uint32_t crc, const unsigned char *data, size_t len) {
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    return ~crc;
}

TEST(the_vectors_of_rfc_3720_come_out) {
    unsigned char block[32];
    memset(block, 0, sizeof block);
    assert_int_equal(crc32c(0, block, sizeof block), 0x8a9136aa);
    memset(block, 0xff, sizeof block);
    assert_int_equal(crc32c(0, block, sizeof block), 0x62a8ab43);
    for (unsigned i = 0; i < sizeof block; i++) block[i] = (unsigned char)i;
    assert_int_equal(crc32c(0, block, sizeof block), 0x46dd794e);
    for (unsigned i = 0; i < sizeof block; i++) block[i] = (unsigned char)(31 - i);
    assert_int_equal(crc32c(0, block, sizeof block), 0x113fdb5c);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, "", 0), 0);
}

TEST(every_length_and_alignment_is_as_the_definition_says) {
    enum { SIZE = 40000 };
    struct env *env = env_sim_new(7);
    unsigned char *data = malloc(SIZE);
    env_random(env, data, SIZE);
    for (size_t len = 0; len < 100; len++)
        for (size_t from = 0; from < 9; from++)
            assert_int_equal(crc32c(1, data + from, len), slow(1, data + from, len));
    for (size_t len = 6000; len < SIZE - 16; len += 1111)
        assert_int_equal(crc32c(77, data + len % 9, len), slow(77, data + len % 9, len));
    free(data);
    env_sim_free(env);
}

TEST(a_checksum_goes_on_where_the_last_one_ended) {
    enum { SIZE = 20000 };
    struct env *env = env_sim_new(8);
    unsigned char *data = malloc(SIZE);
    env_random(env, data, SIZE);
    uint32_t whole = crc32c(5, data, SIZE);
    for (size_t cut = 0; cut <= SIZE; cut += 333)
        assert_int_equal(crc32c(crc32c(5, data, cut), data + cut, SIZE - cut), whole);
    free(data);
    env_sim_free(env);
}
