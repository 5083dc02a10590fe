/* request.c: from bytes to words, on two roads.
 *
 * The fast road takes an array of bulk strings that lies in the input as a whole, in one pass, and
 * keeps no state. Whatever it does not like (a piece is missing, a length is odd, too many words,
 * an inline command, an error) it leaves to the slow road, which begins again at the first byte of
 * the command and says what is the matter. So only the slow road has errors, and whatever the fast
 * road accepts the slow road would have accepted with the same words.
 *
 * The slow road can stop after any byte. It keeps `at`, the start of the word that is not complete,
 * and the words before it as offsets, since the input may move meanwhile. Each decision depends on
 * the bytes up to it alone, never on where the input happened to end: that makes any cutting of a
 * stream give the same commands.
 */
#include "proto/request.h"

#include <endian.h>
#include <stdint.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/number.h"

enum {
    SPANS_FIRST = 16,
    WORDS_KEPT = 256, /* of spans and of args, between commands: 4 KiB each */
    TEXT_KEPT = 1024, /* bytes of text, between commands */
    LINE_MIN = 32,    /* a limit below it would refuse good lengths */
    COMMAND_MIN = sizeof "*1\r\n$0\r\n\r\n" - 1,
    JOINT_MIN = sizeof "\r\n$0\r\n\r\n" - 1,
};

static const char out_of_memory[] = "ERR not enough memory for this request";

/* ---- the fast road ---- */

static inline uint64_t load8(const char *at) { /* the first byte is the lowest, on any machine */
    uint64_t x;
    memcpy(&x, at, sizeof x);
    return le64toh(x);
}

static inline uint16_t load2(const char *at) {
    uint16_t x;
    memcpy(&x, at, sizeof x);
    return x;
}

static inline bool is_crlf(const char *at) {
    return load2(at) == load2("\r\n");
}

static inline unsigned digit(char c) {
    return (unsigned)(unsigned char)c - '0'; /* above 9: none */
}

/* A canonical length of one to nine digits at `at`, its line end there too; 0 for any other, so that
 * what needs no fast road (0 itself) need not be told apart. Moves `at` to the line end. */
static inline size_t read_digits(struct bytes input, size_t *at) {
    size_t n = 0, p = *at, stop = input.len - p > 9 ? p + 9 : input.len;
    if (input.data[p] == '0') return 0;
    for (; p < stop && digit(input.data[p]) <= 9; p++) n = n * 10 + digit(input.data[p]);
    if (input.len - p < 2 || !is_crlf(input.data + p)) return 0;
    *at = p;
    return n;
}

/* Compares a joint (the line end that closes what was read, `$`, digits, CRLF) with a joint whose
 * digits are 0. What differs are the digits' values, turned here to the lowest bytes; anything else
 * that differs makes the result larger than digits can. `len` is the joint's length. */
static inline uint64_t compare_joint(uint64_t joint, uint64_t zeros, unsigned len) {
    uint64_t differences = (joint ^ zeros) << (8 * (8 - len)); /* without what follows the joint */
    unsigned first = 8 * (3 + 8 - len); /* bit where the first digit is now */
    return differences >> first | differences << (64 - first);
}

/* Takes the command at the start of `input`, which has COMMAND_MIN bytes at least; false when the slow
 * road has to look. `at` stands on the line end that closes what was read. */
static inline bool read_whole(struct bytes input, const struct resp_limits *limits,
                              struct bytes *args, size_t args_cap, struct resp_request *request) {
    const uint64_t one = load8("\r\n$0\r\n\0"), two = load8("\r\n$00\r\n");
    size_t at = 2, words = digit(input.data[1]);
    if (UNLIKELY(input.data[0] != '*')) return false;
    if (UNLIKELY(words > 9 || !is_crlf(input.data + 2))) {
        at = 1;
        words = read_digits(input, &at);
    }
    if (UNLIKELY(words - 1 >= args_cap || words > limits->args_max)) return false;
    if (UNLIKELY(limits->bulk_max < 99))
        return false; /* so one and two digits need no look at it */

    struct bytes *arg = args, *end = args + words;
    do {
        if (UNLIKELY(at + JOINT_MIN > input.len)) return false;
        uint64_t joint = load8(input.data + at);
        uint64_t len = compare_joint(joint, one, 6);
        if (len <= 9) {
            at += 6;
        } else if ((len = compare_joint(joint, two, 7)) <= 0x0909 && (len & 0xff) - 1 <= 8) {
            len = (len & 0xff) * 10 + (len >> 8);
            at += 7;
        } else {
            if (UNLIKELY(!is_crlf(input.data + at) || input.data[at + 2] != '$')) return false;
            at += 3;
            len = read_digits(input, &at);
            if (UNLIKELY(len == 0 || len > limits->bulk_max)) return false;
            at += 2;
        }
        *arg++ = (struct bytes){ input.data + at, len };
        at += len; /* may lie behind the input's end: looked at next */
    } while (arg != end);
    if (UNLIKELY(at + 2 > input.len || !is_crlf(input.data + at))) return false;
    request->args = args;
    request->count = words;
    request->consumed = at + 2;
    request->owned = false;
    return true;
}

/* ---- the slow road ---- */

/* The arguments of resp_parse, together. */
struct road {
    struct resp_parser *parser;
    struct bytes input;
    const struct resp_limits *limits;
    struct bytes *args;
    size_t args_cap;
    struct resp_request *request;
};

static enum resp_result more(struct road *road, size_t wanted) {
    assert(wanted > road->input.len);
    road->parser->wanted = wanted;
    return RESP_MORE;
}

/* The parser stands between two commands again. */
static enum resp_result finish(struct road *road, enum resp_result result, size_t consumed) {
    struct resp_parser *parser = road->parser;
    road->request->consumed = consumed;
    parser->wanted = parser->expected = parser->at = parser->scanned = parser->spans_count = 0;
    if (parser->spans_cap > WORDS_KEPT) {
        mem_free(parser->spans, parser->spans_cap * sizeof *parser->spans);
        parser->spans = NULL;
        parser->spans_cap = 0;
    }
    parser->bulky = parser->args_cap > WORDS_KEPT || parser->text_cap > TEXT_KEPT;
    return result;
}

static enum resp_result wrong(struct road *road, const char *error) {
    road->request->error = error;
    return finish(road, RESP_WRONG, 0);
}

/* An array of `count` elements in place of one of `old_count`; NULL, and the old one as it was, when
 * memory is refused. */
static void *enlarge(void *old, size_t old_count, size_t count, size_t element_size) {
    void *larger = mem_try(count * element_size);
    if (!larger) return NULL;
    if (old_count) memcpy(larger, old, old_count * element_size);
    mem_free(old, old_count * element_size);
    return larger;
}

static bool args_enlarge(struct resp_parser *parser, size_t count) {
    if (count <= parser->args_cap) return true;
    struct bytes *args = enlarge(parser->args, parser->args_cap, count, sizeof *args);
    if (!args) return false;
    parser->args = args;
    parser->args_cap = count;
    return true;
}

static bool spans_add(struct resp_parser *parser, struct resp_span span) {
    if (parser->spans_count == parser->spans_cap) {
        size_t cap = parser->spans_cap ? parser->spans_cap * 2 : SPANS_FIRST;
        struct resp_span *spans = enlarge(parser->spans, parser->spans_cap, cap, sizeof *spans);
        if (!spans) return false;
        parser->spans = spans;
        parser->spans_cap = cap;
    }
    parser->spans[parser->spans_count++] = span;
    return true;
}

enum found { FOUND, NOT_YET, TOO_FAR };

/* Looks for `byte` in the line at parser->at, as its byte inline_max + 1 at most. Goes on where it
 * left off, so that a line which comes byte by byte is looked through once. */
static enum found find_in_line(struct road *road, char byte, size_t *out) {
    struct resp_parser *parser = road->parser;
    struct bytes input = road->input;
    size_t max = road->limits->inline_max < LINE_MIN ? LINE_MIN : road->limits->inline_max;
    size_t there = input.len - parser->at;
    size_t stop = there > max ? parser->at + max + 1 : input.len;
    size_t from = parser->scanned > parser->at ? parser->scanned : parser->at;

    const char *hit = from < stop ? memchr(input.data + from, byte, stop - from) : NULL;
    if (hit) {
        *out = (size_t)(hit - input.data);
        parser->scanned = *out;
        return FOUND;
    }
    parser->scanned = stop;
    return there > max ? TOO_FAR : NOT_YET;
}

struct length_errors {
    const char *too_far, *invalid, *unauthenticated;
};

static const struct length_errors count_errors = {
    .too_far = "ERR Protocol error: too big mbulk count string",
    .invalid = "ERR Protocol error: invalid multibulk length",
    .unauthenticated = "ERR Protocol error: unauthenticated multibulk length",
};
static const struct length_errors bulk_errors = {
    .too_far = "ERR Protocol error: too big bulk count string",
    .invalid = "ERR Protocol error: invalid bulk length",
    .unauthenticated = "ERR Protocol error: unauthenticated bulk length",
};

/* Reads the length line at parser->at, whose marker was checked: RESP_COMMAND when it is good and at
 * most `max` (it may be negative), with where the next line starts. parser->at stays. */
static enum resp_result read_length(struct road *road, size_t max,
                                    const struct length_errors *errors, int64_t *out,
                                    size_t *next) {
    struct bytes input = road->input;
    size_t at = road->parser->at, cr = 0;
    enum found found = find_in_line(road, '\r', &cr);
    if (found == TOO_FAR) return wrong(road, errors->too_far);
    if (found == NOT_YET || cr + 1 == input.len) return more(road, input.len + 1);

    struct bytes digits = { input.data + at + 1, cr - at - 1 };
    int64_t n;
    if (input.data[cr + 1] != '\n' || !int_parse(digits, &n)) return wrong(road, errors->invalid);
    if (n > 0 && (uint64_t)n > max) {
        bool absurd = road->limits->authenticated || n > INT32_MAX;
        return wrong(road, absurd ? errors->invalid : errors->unauthenticated);
    }
    *out = n;
    *next = cr + 2;
    return RESP_COMMAND;
}

static enum resp_result not_a_bulk(struct road *road, char c) {
    struct resp_request *request = road->request;
    bool printable = c >= ' ' && c <= '~';
    snprintf(request->error_text, sizeof request->error_text,
             printable ? "ERR Protocol error: expected '$', got '%c'"
                       : "ERR Protocol error: expected '$', got '\\x%02x'",
             (unsigned char)c);
    return wrong(road, request->error_text);
}

/* Reads the word at parser->at and moves behind it: RESP_COMMAND. */
static enum resp_result read_word(struct road *road) {
    struct resp_parser *parser = road->parser;
    struct bytes input = road->input;
    if (parser->at == input.len) return more(road, input.len + 1);
    if (input.data[parser->at] != '$') return not_a_bulk(road, input.data[parser->at]);

    int64_t n = 0;
    size_t start = 0;
    enum resp_result result = read_length(road, road->limits->bulk_max, &bulk_errors, &n, &start);
    if (result != RESP_COMMAND) return result;
    if (n < 0) return wrong(road, bulk_errors.invalid);

    size_t len = (size_t)n, there = input.len - start;
    if (there < len || there - len < 2) return more(road, start + len + 2);
    if (!is_crlf(input.data + start + len))
        return wrong(road, "ERR Protocol error: expected CRLF after bulk");
    if (!spans_add(parser, (struct resp_span){ start, len })) return wrong(road, out_of_memory);
    parser->at = start + len + 2;
    return RESP_COMMAND;
}

/* All words are there: from offsets to views. */
static enum resp_result hand_over(struct road *road) {
    struct resp_parser *parser = road->parser;
    struct resp_request *request = road->request;
    size_t count = parser->spans_count;
    request->owned = count > road->args_cap;
    if (request->owned && !args_enlarge(parser, count)) return wrong(road, out_of_memory);
    request->args = request->owned ? parser->args : road->args;
    request->count = count;
    for (size_t i = 0; i < count; i++) {
        struct resp_span span = parser->spans[i];
        request->args[i] = (struct bytes){ road->input.data + span.at, span.len };
    }
    return finish(road, RESP_COMMAND, parser->at);
}

static enum resp_result read_array(struct road *road) {
    struct resp_parser *parser = road->parser;
    if (!parser->expected) {
        int64_t count = 0;
        size_t next = 0;
        enum resp_result result =
            read_length(road, road->limits->args_max, &count_errors, &count, &next);
        if (result != RESP_COMMAND) return result;
        if (count <= 0) return finish(road, RESP_NOTHING, next);
        parser->expected = (size_t)count;
        parser->at = next;
    }
    for (; parser->expected; parser->expected--) {
        enum resp_result result = read_word(road);
        if (result != RESP_COMMAND) return result;
    }
    return hand_over(road);
}

/* ---- inline commands ---- */

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r'); /* isspace in the C locale */
}

static bool ends_bare_word(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n'; /* not \v and \f: as Redis */
}

/* The value of a hexadecimal digit, or -1. */
static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static char unescaped(char c) {
    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'a': return '\a';
    default: return c;
    }
}

/* What a backslash at `at` in "..." stands for, and moves behind it. A backslash at the very end stands
 * for itself. */
static char read_escape(const char **at, const char *end) {
    const char *p = *at;
    if (end - p >= 4 && p[1] == 'x' && hex_value(p[2]) >= 0 && hex_value(p[3]) >= 0) {
        *at = p + 4;
        return (char)(unsigned char)(hex_value(p[2]) << 4 | hex_value(p[3]));
    }
    if (end - p >= 2) {
        *at = p + 2;
        return unescaped(p[1]);
    }
    *at = end;
    return '\\';
}

/* Writes what the quotes at `at` hold to `text`, moves behind them, returns the end of the text; NULL
 * when the closing quote is missing or something stands right behind it. */
static char *read_quoted(const char **at, const char *end, char *text) {
    const char *p = *at;
    char quote = *p++;
    while (p < end && *p != quote) {
        if (*p == '\\' && quote == '"') {
            *text++ = read_escape(&p, end);
        } else {
            if (*p == '\\' && end - p >= 2 && p[1] == '\'') p++; /* \' in '...' */
            *text++ = *p++;
        }
    }
    if (p == end || (p + 1 < end && !is_space(p[1]))) return NULL;
    *at = p + 1;
    return text;
}

/* Writes the word at `at`, bare and quoted parts as one, to `text`; as read_quoted. */
static char *read_mixed(const char **at, const char *end, char *text) {
    while (*at < end && !ends_bare_word(**at)) {
        if (**at == '"' || **at == '\'') return read_quoted(at, end, text); /* it ends the word */
        *text++ = *(*at)++;
    }
    return text;
}

static bool inline_add(struct road *road, struct bytes word) {
    struct resp_request *request = road->request;
    if (request->count == (request->args == road->args ? road->args_cap : road->parser->args_cap)) {
        if (!args_enlarge(road->parser, request->count * 2)) return false;
        if (request->args == road->args)
            memcpy(road->parser->args, road->args, request->count * sizeof word);
        request->args = road->parser->args;
        request->owned = true;
    }
    request->args[request->count++] = word;
    return true;
}

/* Unquoting never lengthens, so the line's length is room for all its words and `text` never moves. */
static bool text_reserve(struct resp_parser *parser, size_t len) {
    if (len <= parser->text_cap) return true;
    char *text = mem_try(len);
    if (!text) return false;
    mem_free(parser->text, parser->text_cap);
    parser->text = text;
    parser->text_cap = len;
    return true;
}

/* Words without quotes are views into the line, the others lie in parser->text. NULL, or the error. */
static const char *split_line(struct road *road, struct bytes line) {
    struct resp_parser *parser = road->parser;
    struct resp_request *request = road->request;
    const char *at = line.data, *end = line.data + line.len;
    size_t text_len = 0;
    request->args = road->args;
    request->count = 0;
    request->owned = false;
    for (;;) {
        while (at < end && is_space(*at)) at++;
        if (at == end) return NULL;
        if (request->count == road->limits->args_max)
            return road->limits->authenticated ? count_errors.invalid
                                               : count_errors.unauthenticated;

        const char *start = at;
        while (at < end && !ends_bare_word(*at) && *at != '"' && *at != '\'') at++;
        struct bytes word = { start, (size_t)(at - start) };
        if (at < end && !ends_bare_word(*at)) { /* a quote */
            if (!text_reserve(parser, line.len)) return out_of_memory;
            char *text = parser->text + text_len;
            at = start;
            char *text_end = read_mixed(&at, end, text);
            if (!text_end) return "ERR Protocol error: unbalanced quotes in request";
            word = (struct bytes){ text, (size_t)(text_end - text) };
            text_len += word.len;
            request->owned = true;
        }
        if (!inline_add(road, word)) return out_of_memory;
    }
}

static enum resp_result read_inline(struct road *road) {
    size_t lf = 0;
    enum found found = find_in_line(road, '\n', &lf);
    if (found == TOO_FAR) return wrong(road, "ERR Protocol error: too big inline request");
    if (found == NOT_YET) return more(road, road->input.len + 1);

    const char *error = split_line(road, (struct bytes){ road->input.data, lf });
    if (error) return wrong(road, error);
    return finish(road, road->request->count ? RESP_COMMAND : RESP_NOTHING, lf + 1);
}

/* ---- */

static void args_release(struct resp_parser *parser) {
    mem_free(parser->args, parser->args_cap * sizeof *parser->args);
    mem_free(parser->text, parser->text_cap);
    parser->args = NULL;
    parser->text = NULL;
    parser->args_cap = parser->text_cap = 0;
    parser->bulky = false;
}

void resp_parser_init(struct resp_parser *parser) {
    *parser = (struct resp_parser){};
}

void resp_parser_deinit(struct resp_parser *parser) {
    args_release(parser);
    mem_free(parser->spans, parser->spans_cap * sizeof *parser->spans);
    *parser = (struct resp_parser){};
}

/* Kept out of resp_parse, whose frame it would make larger. */
static __attribute__((noinline)) enum resp_result
read_slowly(struct resp_parser *parser, struct bytes input, const struct resp_limits *limits,
            struct bytes *args, size_t args_cap, struct resp_request *request) {
    struct road road = { parser, input, limits, args, args_cap, request };
    assert(args_cap > 0);
    if (parser->bulky) args_release(parser);
    if (input.len == 0) return more(&road, 1);
    if (input.len < parser->wanted) return RESP_MORE;
    return input.data[0] == '*' ? read_array(&road) : read_inline(&road);
}

enum resp_result resp_parse(struct resp_parser *parser, struct bytes input,
                            const struct resp_limits *limits, struct bytes *args, size_t args_cap,
                            struct resp_request *request) {
    /* wanted > 1: a command was begun. An empty input wants 1, and has begun none. */
    bool fresh = parser->wanted <= 1 && !parser->bulky;
    if (LIKELY(fresh && input.len >= COMMAND_MIN)) {
        if (LIKELY(read_whole(input, limits, args, args_cap, request))) return RESP_COMMAND;
    }
    return read_slowly(parser, input, limits, args, args_cap, request);
}
