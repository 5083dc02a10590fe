/* request.h: from bytes to words.
 *
 * resp_parse takes what a connection has received and finds one command in it: a RESP array of bulk
 * strings, or an inline command (words with Redis' quoting). The words are views into the input: no
 * copy. A command that is not complete leaves a note of how far it was read, so that a large one
 * arriving in pieces is read once, not once a piece; nothing is ever allocated from a declared
 * length, only for what has come.
 *
 * Framing is strict: lengths are canonical decimals, and the CRLF after each bulk is checked.
 * Thread: the connection's.
 */
#pragma once

#include <stdbool.h>

#include "base/attributes.h"
#include "base/bytes.h"

struct resp_limits {
    size_t args_max;    /* words of one command */
    size_t bulk_max;    /* bytes of one word (proto-max-bulk-len) */
    size_t inline_max;  /* bytes of one line: an inline command, or a length (never below 32) */
    bool authenticated; /* false: the errors say "unauthenticated ..." as Redis' do */
};

enum resp_result {
    RESP_COMMAND, /* `args` holds a command; `consumed` bytes of the input made it */
    RESP_NOTHING, /* an empty line or an empty array: consumed, nothing to do, go on */
    RESP_MORE,  /* the input ends before the command does; call again with more of the same input */
    RESP_WRONG, /* not RESP: `error` says why, in Redis' words; answer and close */
};

struct resp_span; /* where a word lies, from the start of the input */

/* One for each connection; the fields are the parser's own but for `wanted`. */
struct resp_span { /* a word's place in the input */
    size_t at, len;
};

struct resp_parser {
    size_t wanted; /* after RESP_MORE: the input's length at which trying again makes sense */
    bool
        bulky; /* args or text are larger than a quiet connection may keep: freed at the next call */
    size_t
        expected; /* words still to come of the incomplete command; 0: its header is still to come */
    size_t at; /* how far the incomplete command was read: the start of a word or of the header */
    size_t scanned; /* how far the line at `at` was searched for its end */
    struct resp_span
        *spans; /* of a command that came in pieces or has many words; grows as they come */
    size_t spans_count, spans_cap;
    struct bytes *args; /* words of the last command that did not fit the caller's array */
    size_t args_cap;
    char *text; /* unquoted words of the last inline command */
    size_t text_cap;
};

/* What it has allocated. */
static inline size_t resp_parser_memory(const struct resp_parser *parser) {
    return parser->spans_cap * sizeof(struct resp_span) + parser->args_cap * sizeof(struct bytes) +
           parser->text_cap;
}

struct resp_request {
    struct bytes *args; /* the caller's array, or the parser's own (then `owned`) */
    size_t count;
    size_t consumed;
    bool owned; /* the words die at the next resp_parse of this parser: do not gather another */
    const char *error;   /* after RESP_WRONG, with its code: "ERR Protocol error: ..." */
    char error_text[64]; /* where `error` points when it is made up */
};

void resp_parser_init(struct resp_parser *parser);
void resp_parser_deinit(struct resp_parser *parser);

/* `input` starts at the first byte not yet consumed; after RESP_MORE it must start at the same byte
 * again, though it may lie elsewhere. `args` has room for `args_cap` words (at least 1). */
enum resp_result resp_parse(struct resp_parser *parser, struct bytes input,
                            const struct resp_limits *limits, struct bytes *args, size_t args_cap,
                            struct resp_request *request);
