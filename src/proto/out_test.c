#include "proto/out.h"

#include <stdlib.h>

#include "testing/testing.h"

enum { KEEP = 4096, MODEL_MAX = 1 << 20, VECTORS = 7 };

/* A value that knows how often it was let go. */
struct value {
    char bytes[64];
    size_t len;
    int released;
};

static void value_release(void *owner) {
    struct value *value = owner;
    value->released++;
    memset(value->bytes, '!', sizeof value->bytes); /* whoever reads on, shows */
}

/* Sends at most `max` bytes as writev would, to `sent`; returns how many. */
static size_t send_some(struct out *out, size_t vectors_max, size_t max, char *sent) {
    struct iovec vectors[16];
    size_t count = out_vectors(out, vectors, vectors_max), n = 0;
    assert_true(count <= vectors_max);
    for (size_t i = 0; i < count && n < max; i++) {
        assert_true(vectors[i].iov_len > 0);
        size_t len = vectors[i].iov_len < max - n ? vectors[i].iov_len : max - n;
        memcpy(sent + n, vectors[i].iov_base, len);
        n += len;
    }
    out_sent(out, n, KEEP);
    return n;
}

/* Text, two refs side by side, text, a ref at the end. The model is what must arrive. */
static size_t fill(struct out *out, struct value *values, char *model) {
    size_t len = 0, before = out_pending(out);
    const char *const parts[] = { "+head\r\n", "@0", "@1", "between", "@2" };
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        struct bytes part = bytes_of(parts[i]);
        if (part.data[0] == '@') {
            struct value *value = &values[part.data[1] - '0'];
            value->len = 3 + i;
            value->released = 0;
            memset(value->bytes, 'a' + (int)i, value->len);
            part = (struct bytes){ value->bytes, value->len };
            memcpy(model + len, part.data, part.len);
            out_put_ref(out, part, value_release, value);
        } else {
            memcpy(model + len, part.data, part.len);
            out_put(out, part);
        }
        len += part.len;
        assert_int_equal(out_pending(out), before + len);
    }
    return len;
}

TEST(every_split_of_a_send_arrives_as_one) {
    char model[256], sent[256];
    struct value values[3];
    size_t len = 1;
    for (size_t first = 0; first <= len; first++) {
        for (size_t second = 0; first + second <= len; second++) {
            for (size_t vectors_max = 1; vectors_max <= 6; vectors_max++) {
                struct out out;
                out_init(&out);
                len = fill(&out, values, model);
                size_t n = send_some(&out, vectors_max, first, sent);
                if (second) n += send_some(&out, vectors_max, second, sent + n);
                assert_int_equal(out_pending(&out), len - n);
                while (out_pending(&out)) n += send_some(&out, vectors_max, SIZE_MAX, sent + n);
                assert_int_equal(n, len);
                assert_memory_equal(sent, model, len);
                for (int i = 0; i < 3; i++) assert_int_equal(values[i].released, 1);
                out_deinit(&out);
                for (int i = 0; i < 3; i++) assert_int_equal(values[i].released, 1);
            }
        }
    }
}

TEST(what_was_not_sent_is_released_at_the_end) {
    char model[256], sent[256];
    struct value values[3];
    for (size_t n = 0; n < 30; n++) {
        struct out out;
        out_init(&out);
        fill(&out, values, model);
        send_some(&out, VECTORS, n, sent);
        out_deinit(&out);
        for (int i = 0; i < 3; i++) assert_int_equal(values[i].released, 1);
    }
}

TEST(an_empty_ref_is_released_at_once) {
    struct out out;
    struct value value = {};
    out_init(&out);
    out_put_ref(&out, (struct bytes){ value.bytes, 0 }, value_release, &value);
    assert_int_equal(value.released, 1);
    assert_int_equal(out_pending(&out), 0);
    struct iovec vector;
    assert_int_equal(out_vectors(&out, &vector, 1), 0);
    out_deinit(&out);
    assert_int_equal(value.released, 1);
}

TEST(a_rewind_forgets_and_releases) {
    struct out out;
    char model[256], sent[256];
    struct value values[3], more[3];
    out_init(&out);
    size_t len = fill(&out, values, model);
    size_t n = send_some(&out, VECTORS, 9, sent); /* into the first ref */
    struct out_mark mark = out_mark(&out);
    char junk[256];
    fill(&out, more, junk);
    out_rewind(&out, mark);
    for (int i = 0; i < 3; i++) assert_int_equal(more[i].released, 1);
    assert_int_equal(out_pending(&out), len - n);
    while (out_pending(&out)) n += send_some(&out, VECTORS, SIZE_MAX, sent + n);
    assert_int_equal(n, len);
    assert_memory_equal(sent, model, len);
    for (int i = 0; i < 3; i++) assert_int_equal(values[i].released, 1);
    out_deinit(&out);
}

TEST(a_quiet_connection_holds_no_memory) {
    struct out out;
    char sent[100'000];
    out_init(&out);
    assert_int_equal(out.cap, 0);
    out_put(&out, BYTES("+OK\r\n"));
    assert_int_equal(out.cap, 1024);
    send_some(&out, 1, SIZE_MAX, sent);
    assert_int_equal(out.cap, 1024); /* below KEEP: stays for the next */
    assert_int_equal(out.len, 0);
    for (int i = 0; i < 10'000; i++) out_put(&out, BYTES("+OK\r\n"));
    assert_int_equal(out.cap, 65'536);
    send_some(&out, 1, SIZE_MAX, sent);
    assert_int_equal(out.cap, 0);
    out_deinit(&out);
}

TEST(a_peer_that_is_always_behind_costs_what_it_is_behind) {
    struct out out;
    char sent[4096], text[1000];
    struct value value = {};
    memset(text, 'x', sizeof text);
    out_init(&out);
    out_put(&out, BYTES("rest"));
    for (int i = 0; i < 10'000; i++) {
        out_put(&out, (struct bytes){ text, sizeof text });
        out_put_ref(&out, (struct bytes){ value.bytes, 1 }, value_release, &value);
        assert_int_equal(send_some(&out, VECTORS, sizeof text + 1, sent), sizeof text + 1);
        assert_true(out_pending(&out) > 0);
    }
    assert_true(out.cap <= 64 * 1024);
    assert_true(out.refs_cap <= 256);
    out_deinit(&out);
    assert_int_equal(value.released, 10'000);
}

/* Random puts, refs, marks, rewinds and sends against one flat array. */
TEST(any_history_agrees_with_a_flat_model) {
    enum { ROUNDS = 300, STEPS = 200, REFS = 200 };
    unsigned seed = 20261124;
    const char *given = getenv("SEED");
    if (given) seed = (unsigned)strtoul(given, NULL, 0);
    print_message("# SEED=%u\n", seed);
    srandom(seed);
    char *model = malloc(MODEL_MAX), *sent = malloc(MODEL_MAX);
    struct value *values = calloc(REFS, sizeof *values);
    for (int round = 0; round < ROUNDS; round++) {
        struct out out;
        out_init(&out);
        size_t len = 0, gone = 0, refs = 0, mark_len = 0;
        struct out_mark mark = out_mark(&out);
        size_t piece_max = round % 2 ? 20 : 600;
        for (int step = 0; step < STEPS; step++) {
            long pick = random() % 10;
            if (pick < 4) {
                size_t n = (size_t)random() % piece_max;
                for (size_t i = 0; i < n; i++) model[len + i] = (char)random();
                out_put(&out, (struct bytes){ model + len, n });
                len += n;
            } else if (pick < 7 && refs < REFS) {
                struct value *value = &values[refs++];
                value->len = (size_t)random() % sizeof value->bytes;
                value->released = 0;
                for (size_t i = 0; i < value->len; i++) value->bytes[i] = (char)random();
                memcpy(model + len, value->bytes, value->len);
                len += value->len;
                out_put_ref(&out, (struct bytes){ value->bytes, value->len }, value_release, value);
            } else if (pick == 7) {
                mark = out_mark(&out);
                mark_len = len;
                if (random() % 2) {
                    out_put(&out, BYTES("never to be seen"));
                    out_rewind(&out, mark);
                }
            } else if (pick == 8) {
                out_rewind(&out, mark);
                len = mark_len;
            } else {
                gone += send_some(&out, 1 + (size_t)random() % 16, (size_t)random() % 3000,
                                  sent + gone);
                mark = out_mark(&out);
                mark_len = len;
            }
            assert_int_equal(out_pending(&out), len - gone);
        }
        while (round % 3 && out_pending(&out)) gone += send_some(&out, 16, SIZE_MAX, sent + gone);
        assert_memory_equal(sent, model, gone);
        out_deinit(&out);
        for (size_t i = 0; i < refs; i++) assert_int_equal(values[i].released, 1);
    }
    free(model);
    free(sent);
    free(values);
}
