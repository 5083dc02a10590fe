#include "proto/reply.h"

#include <math.h>
#include <stdlib.h>

#include "testing/testing.h"

static char flat[256 * 1024];

/* All that waits in `out`, as a C string. */
static const char *flatten(struct out *out) {
    struct iovec vectors[16];
    size_t count = out_vectors(out, vectors, COUNT_OF(vectors)), len = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(flat + len, vectors[i].iov_base, vectors[i].iov_len);
        len += vectors[i].iov_len;
    }
    assert_int_equal(len, out_pending(out));
    flat[len] = '\0';
    out_sent(out, len, 0);
    return flat;
}

/* Says one thing in both protocols. */
#define assert_said(in_resp2, in_resp3, method, ...)                     \
    do {                                                                 \
        struct out out_;                                                 \
        out_init(&out_);                                                 \
        struct reply reply_ = { .writer = &resp2_writer, .out = &out_ }; \
        reply_.writer->method(&reply_ __VA_OPT__(, ) __VA_ARGS__);       \
        assert_string_equal(flatten(&out_), in_resp2);                   \
        reply_.writer = &resp3_writer;                                   \
        reply_.writer->method(&reply_ __VA_OPT__(, ) __VA_ARGS__);       \
        assert_string_equal(flatten(&out_), in_resp3);                   \
        out_deinit(&out_);                                               \
    } while (0)

TEST(what_both_protocols_say_alike) {
    assert_said("+OK\r\n", "+OK\r\n", status, BYTES("OK"));
    assert_said("$5\r\nhello\r\n", "$5\r\nhello\r\n", bulk, BYTES("hello"));
    assert_said("$0\r\n\r\n", "$0\r\n\r\n", bulk, BYTES(""));
    assert_said("$0\r\n\r\n", "$0\r\n\r\n", bulk, ((struct bytes){ NULL, 0 }));
    assert_said("*0\r\n", "*0\r\n", array, 0);
    assert_said("*3\r\n", "*3\r\n", array, 3);
    assert_said("*12\r\n", "*12\r\n", array, 12);
    assert_said("*1048576\r\n", "*1048576\r\n", array, 1048576);
}

TEST(integers_of_every_length) {
    assert_said(":0\r\n", ":0\r\n", integer, 0);
    assert_said(":9\r\n", ":9\r\n", integer, 9);
    assert_said(":10\r\n", ":10\r\n", integer, 10);
    assert_said(":99\r\n", ":99\r\n", integer, 99);
    assert_said(":100\r\n", ":100\r\n", integer, 100);
    assert_said(":-1\r\n", ":-1\r\n", integer, -1);
    assert_said(":9223372036854775807\r\n", ":9223372036854775807\r\n", integer, INT64_MAX);
    assert_said(":-9223372036854775808\r\n", ":-9223372036854775808\r\n", integer, INT64_MIN);
}

TEST(what_resp2_lacks_it_says_as_redis_does) {
    assert_said("*4\r\n", "%2\r\n", map, 2);
    assert_said("*2\r\n", "~2\r\n", set, 2);
    assert_said("*3\r\n", ">3\r\n", push, 3);
    assert_said("$-1\r\n", "_\r\n", null);
    assert_said("*-1\r\n", "_\r\n", null_array);
    assert_said(":1\r\n", "#t\r\n", boolean, true);
    assert_said(":0\r\n", "#f\r\n", boolean, false);
    assert_said("$3\r\n1.5\r\n", ",1.5\r\n", number, 1.5);
    assert_said("$2\r\n10\r\n", ",10\r\n", number, 10);
    assert_said("$3\r\ninf\r\n", ",inf\r\n", number, (double)INFINITY);
    assert_said("$4\r\n-inf\r\n", ",-inf\r\n", number, -(double)INFINITY);
    assert_said("$5\r\nhello\r\n", "=9\r\ntxt:hello\r\n", verbatim, BYTES("hello"));
    assert_said("$0\r\n\r\n", "=4\r\ntxt:\r\n", verbatim, BYTES(""));
}

TEST(no_text_ends_a_line_early) {
    assert_said("-ERR no 'a  +OK '\r\n", "-ERR no 'a  +OK '\r\n", error,
                BYTES("ERR no 'a\r\n+OK\n'"));
    assert_said("+a  b\r\n", "+a  b\r\n", status, BYTES("a\n\rb"));
    assert_said("-\r\n", "-\r\n", error, BYTES(""));
}

TEST(errors_are_counted) {
    struct out out;
    out_init(&out);
    struct reply reply = { .writer = &resp2_writer, .out = &out };
    reply.writer->error(&reply, BYTES("ERR one"));
    reply.writer->status(&reply, BYTES("fine"));
    reply.writer->error(&reply, BYTES("ERR two"));
    assert_int_equal(reply.errors, 2);
    assert_false(reply_is_resp3(&reply));
    out_deinit(&out);
}

TEST(bulks_of_every_size_arrive_whole) {
    char text[70'000], head[32];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i % 26);
    struct out out;
    out_init(&out);
    struct reply reply = { .writer = &resp3_writer, .out = &out };
    for (size_t len = 0; len < sizeof text; len += len < 300 ? 1 : 9973) {
        char *exact = malloc(len + !len); /* so that a sanitizer sees a read behind it */
        memcpy(exact, text, len);
        resp_bulk(&reply, (struct bytes){ exact, len });
        free(exact);
        size_t head_len = (size_t)snprintf(head, sizeof head, "$%zu\r\n", len);
        const char *said = flatten(&out);
        assert_memory_equal(said, head, head_len);
        assert_memory_equal(said + head_len, text, len);
        assert_string_equal(said + head_len + len, "\r\n");
    }
    out_deinit(&out);
}

static void count_release(void *owner) {
    ++*(int *)owner;
}

TEST(a_value_by_reference_reads_like_a_bulk) {
    int released = 0;
    struct out out;
    out_init(&out);
    struct reply reply = { .writer = &resp2_writer, .out = &out };
    reply.writer->array(&reply, 3);
    reply.writer->bulk_ref(&reply, BYTES("large"), count_release, &released);
    reply.writer->bulk_ref(&reply, BYTES(""), count_release, &released);
    assert_int_equal(released, 1); /* there was nothing to send of the second */
    resp_integer(&reply, 7);
    assert_string_equal(flatten(&out), "*3\r\n$5\r\nlarge\r\n$0\r\n\r\n:7\r\n");
    assert_int_equal(released, 2);
    out_deinit(&out);
}
