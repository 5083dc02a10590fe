/* fuzz_request.c: however a stream is cut, resp_parse finds the same commands in it; it never looks
 * beyond its input, and its words lie in the input or in the parser's own text.
 * The input: one byte for the limits, one for the room for words, PIECES bytes for the pieces' lengths
 * (taken in turn), then the stream. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "proto/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIECES = 4, HEAD = 2 + PIECES, STREAM_MAX = 4096, ARGS_CAP_MAX = 16, TOLD_MAX = 1 << 20 };

struct cut {
    const uint8_t *pieces; /* NULL: whole */
    size_t next;
    bool obey; /* leaves out the calls that parser.wanted says are in vain */
};

static size_t next_piece(struct cut *cut) {
    if (!cut->pieces) return STREAM_MAX;
    return 1 + (size_t)cut->pieces[cut->next++ % PIECES];
}

static bool within(struct bytes word, const char *data, size_t len) {
    uintptr_t at = (uintptr_t)word.data, start = (uintptr_t)data;
    return at >= start && at <= start + len && word.len <= start + len - at;
}

static void tell(struct buffer *told, const struct resp_parser *parser, struct bytes input,
                 const struct resp_request *request, const struct bytes *args, size_t args_cap) {
    assert(request->count > 0);
    assert(request->owned || request->args == args);
    assert(request->owned || request->count <= args_cap);
    buffer_format(told, "[%zu", request->count);
    for (size_t i = 0; i < request->count; i++) {
        struct bytes word = request->args[i];
        bool in_input = within(word, input.data, input.len);
        assert(in_input || (request->owned && within(word, parser->text, parser->text_cap)));
        buffer_format(told, "|%zu:", word.len);
        buffer_put(told, word);
    }
}

static void feed(struct bytes stream, const struct resp_limits *limits, size_t args_cap,
                 struct cut cut, struct buffer *told) {
    struct resp_parser parser;
    struct resp_request request = {};
    struct bytes args[ARGS_CAP_MAX];
    size_t start = 0, end = 0;
    enum resp_result result = RESP_MORE;
    resp_parser_init(&parser);
    while (result != RESP_WRONG && (result != RESP_MORE || end < stream.len)) {
        if (result == RESP_MORE) {
            size_t n = next_piece(&cut);
            end = n < stream.len - end ? end + n : stream.len;
            if (cut.obey && end - start < parser.wanted && end < stream.len) continue;
        }
        size_t len = end - start; /* memory of its own for each call: see request_test.c */
        char *copy = malloc(len + !len);
        memcpy(copy, stream.data + start, len);
        result = resp_parse(&parser, (struct bytes){ copy, len }, limits, args, args_cap, &request);
        if (result == RESP_COMMAND)
            tell(told, &parser, (struct bytes){ copy, len }, &request, args, args_cap);
        if (result == RESP_COMMAND || result == RESP_NOTHING) {
            assert(request.consumed > 0);
            assert(request.consumed <= len);
            start += request.consumed;
        }
        if (result == RESP_NOTHING) buffer_put(told, BYTES("."));
        if (result == RESP_WRONG) buffer_format(told, "!%s", request.error);
        assert(result != RESP_MORE || parser.wanted > len);
        /* no memory but for what came */
        assert(parser.spans_cap <= 16 + end);
        assert(parser.args_cap <= 32 + end);
        assert(parser.text_cap <= end);
        free(copy);
    }
    buffer_format(told, "~%zu", start);
    resp_parser_deinit(&parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEAD || size > HEAD + STREAM_MAX) return 0;
    struct resp_limits limits = {
        .args_max = data[0] & 1 ? 10 : 1024 * 1024,
        .bulk_max = data[0] & 2 ? 200 : 512 * 1024 * 1024,
        .inline_max = data[0] & 4 ? 40 : 64 * 1024,
        .authenticated = data[0] & 8,
    };
    size_t args_cap = 1 + data[1] % ARGS_CAP_MAX;
    struct bytes stream = { (const char *)data + HEAD, size - HEAD };
    const struct cut cuts[] = { {}, { data + 2, 0, false }, { data + 2, 0, true } };
    struct buffer told[COUNT_OF(cuts)];
    for (size_t i = 0; i < COUNT_OF(cuts); i++) {
        buffer_init(&told[i], TOLD_MAX);
        feed(stream, &limits, args_cap, cuts[i], &told[i]);
        assert(!told[i].overflow);
        assert(bytes_equal(buffer_bytes(&told[0]), buffer_bytes(&told[i])));
    }
    for (size_t i = 0; i < COUNT_OF(cuts); i++) buffer_deinit(&told[i]);
    return 0;
}
