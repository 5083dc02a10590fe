#include "proto/request.h"

#include <stdlib.h>

#include "base/buffer.h"
#include "base/limits.h"
#include "base/mem.h"
#include "testing/testing.h"

enum { WORDS_CAP = 8, TRANSCRIPT_MAX = 64 * 1024 * 1024 };

static const struct resp_limits usual = {
    .args_max = ARGS_MAX,
    .bulk_max = 512 * 1024 * 1024,
    .inline_max = INLINE_SIZE_MAX,
    .authenticated = true,
};
static const struct resp_limits stranger = {
    .args_max = UNAUTH_ARGS_MAX,
    .bulk_max = UNAUTH_BULK_MAX,
    .inline_max = INLINE_SIZE_MAX,
    .authenticated = false,
};

/* ---- what a stream means, as text: "[SET|k|v]", "." for nothing, "!error", and "~" for an incomplete rest ---- */

static bool word_is_inside(const struct resp_parser *parser, struct bytes input,
                           struct bytes word) {
    uintptr_t at = (uintptr_t)word.data, text = (uintptr_t)parser->text;
    uintptr_t start = (uintptr_t)input.data;
    return (at >= start && at + word.len <= start + input.len) ||
           (at >= text && at + word.len <= text + parser->text_cap);
}

static void tell_command(struct buffer *told, const struct resp_parser *parser, struct bytes input,
                         const struct resp_request *request) {
    for (size_t i = 0; i < request->count; i++) {
        assert_true(word_is_inside(parser, input, request->args[i]));
        buffer_put(told, i ? BYTES("|") : BYTES("["));
        buffer_put(told, request->args[i]);
    }
    buffer_put(told, BYTES("]"));
}

/* Cuts of a stream: how many bytes the next piece has. */
typedef size_t piece_fn(void *state);

static size_t piece_whole(void *state) {
    (void)state;
    return SIZE_MAX;
}
static size_t piece_one(void *state) {
    (void)state;
    return 1;
}
static uint64_t chance(uint64_t *state) { /* xorshift64 */
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}
static size_t piece_random(void *state) {
    uint64_t r = chance(state);
    return r % 3 ? 1 + r / 3 % 7 : 1 + r / 3 % 200;
}

/* Feeds `stream` piece by piece. Each call sees memory of its own that ends where the input ends, so
 * that AddressSanitizer sees a step beyond, and nobody may count on the input staying where it was.
 * With `obey`, calls below parser.wanted are left out. */
static void feed(struct bytes stream, const struct resp_limits *limits, size_t args_cap,
                 piece_fn *piece, void *state, bool obey, struct buffer *told) {
    struct resp_parser parser;
    struct resp_request request = {};
    struct bytes *args = calloc(args_cap, sizeof *args);
    resp_parser_init(&parser);
    size_t start = 0, end = 0;
    enum resp_result result = RESP_MORE;
    buffer_clear(told);
    while (result != RESP_WRONG && (result != RESP_MORE || end < stream.len)) {
        if (result == RESP_MORE) {
            size_t n = piece(state);
            end = n < stream.len - end ? end + n : stream.len;
            if (obey && end - start < parser.wanted && end < stream.len) continue;
        }
        char *copy = malloc(end - start + !(end - start));
        memcpy(copy, stream.data + start, end - start);
        struct bytes input = { copy, end - start };
        result = resp_parse(&parser, input, limits, args, args_cap, &request);
        switch (result) {
        case RESP_COMMAND: tell_command(told, &parser, input, &request); break;
        case RESP_NOTHING: buffer_put(told, BYTES(".")); break;
        case RESP_MORE: assert_true(parser.wanted > input.len); break;
        case RESP_WRONG: buffer_format(told, "!%s", request.error); break;
        }
        if (result == RESP_COMMAND || result == RESP_NOTHING) {
            assert_true(request.consumed > 0);
            assert_true(request.consumed <= input.len);
            start += request.consumed;
        }
        free(copy);
    }
    if (result == RESP_MORE && start < end) buffer_put(told, BYTES("~"));
    resp_parser_deinit(&parser);
    free(args);
}

static void assert_told(struct bytes stream, const struct resp_limits *limits,
                        const char *expected) {
    struct buffer told;
    buffer_init(&told, TRANSCRIPT_MAX);
    piece_fn *const pieces[] = { piece_whole, piece_one };
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        feed(stream, limits, WORDS_CAP, pieces[i], NULL, false, &told);
        buffer_put(&told, (struct bytes){ "", 1 });
        assert_string_equal(told.data, expected);
    }
    buffer_deinit(&told);
}

struct row {
    struct bytes stream;
    const char *told;
};
#define ROW(stream_, told_) \
    { BYTES(stream_), told_ }

static void assert_rows(const struct row *rows, size_t count, const struct resp_limits *limits) {
    for (size_t i = 0; i < count; i++) assert_told(rows[i].stream, limits, rows[i].told);
}

/* ---- arrays ---- */

TEST(good_arrays_are_commands) {
    static const struct row rows[] = {
        ROW("*1\r\n$4\r\nPING\r\n", "[PING]"),
        ROW("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n", "[GET|k][PING]"),
        ROW("*3\r\n$3\r\nSET\r\n$14\r\nkey:0000000001\r\n$16\r\n0123456789abcdef\r\n",
            "[SET|key:0000000001|0123456789abcdef]"),
        ROW("*2\r\n$0\r\n\r\n$0\r\n\r\n", "[|]"),
        ROW("*1\r\n$9\r\n123456789\r\n*1\r\n$10\r\n1234567890\r\n", "[123456789][1234567890]"),
        ROW("*1\r\n$6\r\na\r\n$1b\r\n", "[a\r\n$1b]"),
        ROW("*12\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n"
            "$1\r\nh\r\n$1\r\ni\r\n$1\r\nj\r\n$1\r\nk\r\n$1\r\nl\r\n",
            "[a|b|c|d|e|f|g|h|i|j|k|l]"),
    };
    assert_rows(rows, COUNT_OF(rows), &usual);
}

TEST(a_word_of_any_length_is_found) {
    char *stream = malloc(100'100), *expected = malloc(100'100);
    static const size_t lengths[] = { 1, 9, 10, 11, 98, 99, 100, 101, 999, 1000, 65'535, 100'000 };
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        size_t len = lengths[i], head = (size_t)snprintf(stream, 64, "*1\r\n$%zu\r\n", len);
        memset(stream + head, 'x', len);
        memcpy(stream + head + len, "\r\n", 2);
        snprintf(expected, 100'100, "[%.*s]", (int)len, stream + head);
        assert_told((struct bytes){ stream, head + len + 2 }, &usual, expected);
    }
    free(stream);
    free(expected);
}

TEST(nothing_is_skipped) {
    static const struct row rows[] = {
        ROW("*0\r\n*1\r\n$4\r\nPING\r\n", ".[PING]"),
        ROW("*-1\r\n*1\r\n$4\r\nPING\r\n", ".[PING]"),
        ROW("\r\n*1\r\n$4\r\nPING\r\n", ".[PING]"),
        ROW("\r\n\r\n*1\r\n$4\r\nPING\r\n", "..[PING]"),
        ROW("\n*1\r\n$4\r\nPING\r\n", ".[PING]"),
        ROW(" \t \r\n*1\r\n$4\r\nPING\r\n", ".[PING]"),
        ROW("*-1000000000000\r\n", "."),
    };
    assert_rows(rows, COUNT_OF(rows), &usual);
}

TEST(what_is_not_complete_waits) {
    static const struct row rows[] = {
        ROW("*", "~"),
        ROW("*1", "~"),
        ROW("*1\r", "~"),
        ROW("*abc", "~"),
        ROW("*1\r\n", "~"),
        ROW("*1\r\n$", "~"),
        ROW("*1\r\n$4\r\nPING", "~"),
        ROW("*1\r\n$4\r\nPING\r", "~"),
        ROW("*1048576\r\n", "~"),
        ROW("*1\r\n$536870912\r\nabc", "~"),
        ROW("PING", "~"),
        ROW("PING\r", "~"),
        ROW("", ""),
    };
    assert_rows(rows, COUNT_OF(rows), &usual);
}

#define BAD_COUNT "!ERR Protocol error: invalid multibulk length"
#define BAD_BULK "!ERR Protocol error: invalid bulk length"
#define BAD_END "!ERR Protocol error: expected CRLF after bulk"
#define GOT(c) "!ERR Protocol error: expected '$', got '" c "'"

TEST(malformed_arrays_are_refused_in_redis_words) {
    static const struct row rows[] = {
        ROW("*abc\r\n", BAD_COUNT),
        ROW("*99999999999999999999\r\n", BAD_COUNT),
        ROW("*2147483648\r\n", BAD_COUNT),
        ROW("*1048577\r\n", BAD_COUNT),
        ROW("* 1\r\n", BAD_COUNT),
        ROW("*01\r\n$4\r\nPING\r\n", BAD_COUNT),
        ROW("*+1\r\n", BAD_COUNT),
        ROW("*-0\r\n", BAD_COUNT),
        ROW("*\r\n", BAD_COUNT),
        ROW("*1\rx$4\r\nPING\r\n", BAD_COUNT),
        ROW("*1\n$4\r\nPING\r\n", BAD_COUNT),
        ROW("*1\r\n$-5\r\n", BAD_BULK),
        ROW("*1\r\n$-1\r\n", BAD_BULK),
        ROW("*1\r\n$abc\r\n", BAD_BULK),
        ROW("*1\r\n$\r\n", BAD_BULK),
        ROW("*1\r\n$04\r\nPING\r\n", BAD_BULK),
        ROW("*1\r\n$00\r\n\r\n", BAD_BULK),
        ROW("*1\r\n$007\r\n1234567\r\n", BAD_BULK),
        ROW("*1\r\n$ 4\r\nPING\r\n", BAD_BULK),
        ROW("*1\r\n$4 \r\nPING\r\n", BAD_BULK),
        ROW("*1\r\n$:\r\n0123456789\r\n", BAD_BULK),
        ROW("*1\r\n$1:\r\n01234567890123456789\r\n", BAD_BULK),
        ROW("*1\r\n$/0\r\n0123456789\r\n", BAD_BULK),
        ROW("*1\r\n$4\r\r\nPING\r\n", BAD_BULK),
        ROW("*1\r\n$4\n\rPING\r\n", BAD_BULK),
        ROW("*1\r\n$99999999999999999999\r\n", BAD_BULK),
        ROW("*1\r\n$9223372036854775807\r\n", BAD_BULK),
        ROW("*1\r\n$536870913\r\n", BAD_BULK),
        ROW("*1\r\n:5\r\n", GOT(":")),
        ROW("*1\r\n*1\r\n$4\r\nPING\r\n", GOT("*")),
        ROW("*1\r\n%1\r\n", GOT("%")),
        ROW("*1\r\n\r\n", GOT("\\x0d")),
        ROW("*1\r\n\0", GOT("\\x00")),
        ROW("*1\r\n\xff", GOT("\\xff")),
        ROW("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", GOT("f")),
        ROW("*1\r\n$4\r\nPINGxx", BAD_END),
        ROW("*1\r\n$4\r\nPING\rx", BAD_END),
        ROW("*1\r\n$4\r\nPING\n\r", BAD_END),
        ROW("*2\r\n$3\r\nGET\r\n$1\r\nkk\r\n", BAD_END),
        ROW("*1\r\n$4\r\nPING\r\n*x\r\n", "[PING]" BAD_COUNT),
    };
    assert_rows(rows, COUNT_OF(rows), &usual);
}

TEST(before_auth_the_errors_say_so) {
    static const struct row rows[] = {
        ROW("*11\r\n", "!ERR Protocol error: unauthenticated multibulk length"),
        ROW("*1000\r\n", "!ERR Protocol error: unauthenticated multibulk length"),
        ROW("*99999999999\r\n", BAD_COUNT),
        ROW("*2\r\n$4\r\nAUTH\r\n$1000000\r\n", "!ERR Protocol error: unauthenticated bulk length"),
        ROW("*2\r\n$4\r\nAUTH\r\n$16385\r\n", "!ERR Protocol error: unauthenticated bulk length"),
        ROW("*2\r\n$4\r\nAUTH\r\n$16384\r\n", "~"),
        ROW("*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n", "[AUTH|pw]"),
        ROW("1 2 3 4 5 6 7 8 9 10 11\r\n", "!ERR Protocol error: unauthenticated multibulk length"),
        ROW("1 2 3 4 5 6 7 8 9 10\r\n", "[1|2|3|4|5|6|7|8|9|10]"),
    };
    assert_rows(rows, COUNT_OF(rows), &stranger);
}

TEST(small_limits_hold_on_both_roads) {
    struct resp_limits small = {
        .args_max = 3, .bulk_max = 5, .inline_max = 40, .authenticated = true
    };
    assert_told(BYTES("*3\r\n$1\r\na\r\n$1\r\nb\r\n$5\r\nccccc\r\n"), &small, "[a|b|ccccc]");
    assert_told(BYTES("*1\r\n$6\r\ncccccc\r\n"), &small, BAD_BULK);
    assert_told(BYTES("*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n"), &small, BAD_COUNT);
    assert_told(BYTES("a b c d\n"), &small, BAD_COUNT);
    small.bulk_max = 200; /* above two digits, where the fast road looks */
    char stream[400];
    int head = snprintf(stream, sizeof stream, "*1\r\n$201\r\n");
    memset(stream + head, 'x', 201);
    memcpy(stream + head + 201, "\r\n", 2);
    assert_told((struct bytes){ stream, (size_t)head + 203 }, &small, BAD_BULK);
}

TEST(a_line_without_end_is_refused) {
    static const struct {
        const char *start, *told;
        char filler;
    } rows[] = {
        { "*", "!ERR Protocol error: too big mbulk count string", '1' },
        { "*1\r\n$", "!ERR Protocol error: too big bulk count string", '1' },
        { "", "!ERR Protocol error: too big inline request", 'A' },
        { "PING\r\n", "[PING]!ERR Protocol error: too big inline request", '\0' },
    };
    struct resp_limits limits = usual;
    limits.inline_max = 1000;
    char stream[2000];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        memset(stream, rows[i].filler, sizeof stream);
        memcpy(stream, rows[i].start, strlen(rows[i].start));
        assert_told((struct bytes){ stream, sizeof stream }, &limits, rows[i].told);
    }
}

/* ---- inline ---- */

#define UNBALANCED "!ERR Protocol error: unbalanced quotes in request"

TEST(inline_commands_are_split_as_redis_does) {
    static const struct row rows[] = {
        ROW("PING\r\n", "[PING]"),
        ROW("PING\n", "[PING]"),
        ROW("  SET\tk  v \r\nGET k\r\n", "[SET|k|v][GET|k]"),
        ROW("a b c d e f g h i j k\n", "[a|b|c|d|e|f|g|h|i|j|k]"),
        ROW("SET k \"\"\n", "[SET|k|]"),
        ROW("SET k ''\n", "[SET|k|]"),
        ROW("SET k \"a b\\n\\r\\t\\b\\a\\\"\\\\\\q\\x41\\x0a\"\n", "[SET|k|a b\n\r\t\b\a\"\\qA\n]"),
        ROW("SET k \"\\x4\\xZZ\\X41\"\n", "[SET|k|x4xZZX41]"),
        ROW("SET k 'a \\' \\n \"'\n", "[SET|k|a ' \\n \"]"),
        ROW("foo\"bar baz\" 'q'\n", "[foobar baz|q]"),
        ROW("foo'bar baz'\tx\n", "[foobar baz|x]"),
        ROW("a\vb\n", "[a\vb]"),
        ROW("\va\n", "[a]"),
        ROW("\\x41 \\n\n", "[\\x41|\\n]"),
        ROW("\"a\"\vb\n", "[a|b]"),
        ROW(":1\r\n", "[:1]"),
        ROW("+*1\r\n", "[+*1]"),
        ROW("SET \"k\n", UNBALANCED),
        ROW("SET 'k\r\n", UNBALANCED),
        ROW("SET \"k\"x\n", UNBALANCED),
        ROW("SET 'k'x\n", UNBALANCED),
        ROW("SET \"a\"\"b\"\n", UNBALANCED),
        ROW("SET \"k\\\n", UNBALANCED),
        ROW("SET \"k\\\"\n", UNBALANCED),
        ROW("SET 'k\\'\n", UNBALANCED),
        ROW("SET k\"\n", UNBALANCED),
        ROW("\"\\x4\n", UNBALANCED),
    };
    assert_rows(rows, COUNT_OF(rows), &usual);
}

TEST(words_of_the_parsers_own_are_said_to_be) {
    struct resp_parser parser;
    struct resp_request request;
    struct bytes args[2];
    resp_parser_init(&parser);
    assert_int_equal(resp_parse(&parser, BYTES("a b\n"), &usual, args, 2, &request), RESP_COMMAND);
    assert_false(request.owned);
    assert_ptr_equal(request.args, args);
    assert_int_equal(resp_parse(&parser, BYTES("a b c\n"), &usual, args, 2, &request),
                     RESP_COMMAND);
    assert_true(request.owned);
    assert_int_equal(resp_parse(&parser, BYTES("a 'b'\n"), &usual, args, 2, &request),
                     RESP_COMMAND);
    assert_true(request.owned);
    struct bytes three = BYTES("*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n");
    assert_int_equal(resp_parse(&parser, three, &usual, args, 2, &request), RESP_COMMAND);
    assert_true(request.owned);
    assert_true(request.args != args);
    assert_int_equal(request.count, 3);
    resp_parser_deinit(&parser);
}

/* ---- properties ---- */

static size_t make_stream(uint64_t *state, char *out, size_t max) {
    static const struct bytes parts[] = {
        BYTES("*3\r\n"),
        BYTES("$3\r\n"),
        BYTES("SET\r\n"),
        BYTES("\r\n"),
        BYTES("$-1\r\n"),
        BYTES("*-1\r\n"),
        BYTES("$0\r\n\r\n"),
        BYTES("a"),
        BYTES("\0"),
        BYTES("PING"),
        BYTES("*1000000\r\n"),
        BYTES("$12\r\n"),
        BYTES("*1\r\n$4\r\nPING\r\n"),
        BYTES("*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n"),
        BYTES("\""),
        BYTES("'"),
        BYTES("\\x4a"),
        BYTES(" "),
        BYTES("\n"),
        BYTES("\r"),
        BYTES("SET k \"v w\"\r\n"),
        BYTES("*9\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n$"
              "1\r\nh\r\n$1\r\ni\r\n"),
        BYTES("$1"),
        BYTES("*1\r\n"),
        BYTES("$100\r\n"),
        BYTES("9"),
        BYTES("*0\r\n"),
        BYTES("GET k\n"),
        BYTES("*1\r\n$1\r\n"),
        BYTES("a b c d e f g h i j\n"),
    };
    size_t len = 0, count = 1 + chance(state) % 12;
    bool mostly_good = chance(state) % 2;
    for (size_t i = 0; i < count; i++) {
        static const size_t good[] = { 12, 13, 20, 21, 26, 27, 29 };
        size_t pick = chance(state) % COUNT_OF(parts);
        if (mostly_good && chance(state) % 8) pick = good[pick % COUNT_OF(good)];
        if (len + parts[pick].len > max) break;
        memcpy(out + len, parts[pick].data, parts[pick].len);
        len += parts[pick].len;
    }
    if (len && chance(state) % 4 == 0) out[chance(state) % len] = (char)chance(state);
    return len;
}

TEST(a_stream_means_the_same_however_it_is_cut) {
    uint64_t seed = 0x9e3779b97f4a7c15u, random_state = seed;
    const char *given = getenv("SEED");
    if (given) seed = random_state = strtoull(given, NULL, 0);
    print_message("# SEED=0x%llx\n", (unsigned long long)seed);
    struct buffer expected, told;
    buffer_init(&expected, TRANSCRIPT_MAX);
    buffer_init(&told, TRANSCRIPT_MAX);
    char stream[2048];
    struct resp_limits short_lines = usual;
    short_lines.inline_max = 40;
    for (int round = 0; round < 20'000; round++) {
        struct bytes bytes = { stream, make_stream(&random_state, stream, sizeof stream) };
        const struct resp_limits *all[] = { &usual, &stranger, &short_lines };
        const struct resp_limits *limits = all[round % 3];
        size_t args_cap = 1 + chance(&random_state) % 10;
        feed(bytes, limits, args_cap, piece_whole, NULL, false, &expected);
        for (int how = 0; how < 4; how++) {
            /* with another room for words, too */
            feed(bytes, limits, 1 + chance(&random_state) % 10, how == 0 ? piece_one : piece_random,
                 &random_state, how == 3, &told);
            assert_int_equal(told.len, expected.len);
            assert_memory_equal(told.data, expected.data, told.len);
        }
    }
    buffer_deinit(&expected);
    buffer_deinit(&told);
}

TEST(a_million_words_byte_by_byte_are_read_once) {
    enum { WORDS = 1'000'000, WORD = 7 }; /* "$1\r\nx\r\n" */
    size_t head, len;
    char *stream = malloc(WORDS * WORD + 32);
    head = len = (size_t)snprintf(stream, 32, "*%d\r\n", WORDS);
    for (int i = 0; i < WORDS; i++, len += WORD) memcpy(stream + len, "$1\r\nx\r\n", WORD);

    struct resp_parser parser;
    struct resp_request request;
    struct bytes args[WORDS_CAP];
    resp_parser_init(&parser);
    size_t steps = 0; /* bytes that the calls could look at: from where each begins to the end */
    for (size_t n = 1; n < len; n++) {
        steps += n - parser.at;
        assert_int_equal(
            resp_parse(&parser, (struct bytes){ stream, n }, &usual, args, WORDS_CAP, &request),
            RESP_MORE);
        assert_true(n < head ? parser.at == 0 : n - parser.at < WORD);
        assert_true(parser.spans_cap <= 16 || parser.spans_cap <= 2 * n / WORD);
    }
    assert_true(steps < len * (WORD + 1));
    assert_int_equal(
        resp_parse(&parser, (struct bytes){ stream, len }, &usual, args, WORDS_CAP, &request),
        RESP_COMMAND);
    assert_int_equal(request.count, WORDS);
    assert_int_equal(request.consumed, len);
    assert_int_equal(parser.spans_cap, 0); /* given back at once */
    assert_ptr_equal(request.args[WORDS - 1].data, stream + len - 3);

    assert_int_equal(
        resp_parse(&parser, BYTES("*1\r\n$4\r\nPING\r\n"), &usual, args, WORDS_CAP, &request),
        RESP_COMMAND);
    assert_int_equal(request.count, 1);
    assert_int_equal(parser.args_cap, 0); /* and these at the next command */
    resp_parser_deinit(&parser);
    free(stream);
}

TEST(nothing_is_allocated_for_what_was_only_announced) {
    static const struct bytes streams[] = {
        BYTES("*1048576\r\n"),
        BYTES("*1048576\r\n$536870912\r\nabc"),
        BYTES("*9\r\n$1"),
    };
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct resp_parser parser;
        struct resp_request request;
        struct bytes args[WORDS_CAP];
        resp_parser_init(&parser);
        mem_try_fail_at(1); /* would turn any allocation into RESP_WRONG */
        assert_int_equal(resp_parse(&parser, streams[i], &usual, args, WORDS_CAP, &request),
                         RESP_MORE);
        mem_try_fail_at(0);
        assert_int_equal(parser.spans_cap + parser.args_cap + parser.text_cap, 0);
        resp_parser_deinit(&parser);
    }
}

TEST(a_big_bulk_says_how_much_it_waits_for) {
    struct resp_parser parser;
    struct resp_request request;
    struct bytes args[WORDS_CAP];
    resp_parser_init(&parser);
    struct bytes start = BYTES("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc");
    assert_int_equal(resp_parse(&parser, start, &usual, args, WORDS_CAP, &request), RESP_MORE);
    assert_int_equal(parser.wanted, start.len - 3 + 536870912 + 2);
    assert_int_equal(resp_parse(&parser, start, &usual, args, WORDS_CAP, &request), RESP_MORE);
    resp_parser_deinit(&parser);
}

/* Fails each allocation in turn: an error, never a crash or a leak, and the parser is fit for more. */
TEST(memory_refused_is_an_error) {
    static const char *const lines[] = { "a b c d e f\n", "'a' b \"c\" d e\n",
                                         "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n" };
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        enum resp_result result = RESP_WRONG;
        for (size_t n = 1; result == RESP_WRONG; n++) {
            struct resp_parser parser;
            struct resp_request request;
            struct bytes args[2];
            resp_parser_init(&parser);
            mem_try_fail_at(n);
            result = resp_parse(&parser, bytes_of(lines[i]), &usual, args, 2, &request);
            mem_try_fail_at(0);
            if (result == RESP_WRONG) {
                assert_string_equal(request.error, "ERR not enough memory for this request");
                result = resp_parse(&parser, bytes_of(lines[i]), &usual, args, 2, &request);
                assert_int_equal(result, RESP_COMMAND);
                result = RESP_WRONG;
            }
            resp_parser_deinit(&parser);
            assert_true(n < 10);
        }
        assert_int_equal(result, RESP_COMMAND);
    }
}
