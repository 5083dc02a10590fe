/* reply.h: an answer, whoever is listening.
 *
 * A command says what it answers; a writer puts it into the words of RESP2, RESP3 or (issue 7) JSON.
 * What RESP2 lacks is written as Redis does: a map as a flat array, a set as an array, a double as a
 * bulk string, true and false as 1 and 0, null as a null bulk. Aggregates are opened with their
 * count, then their elements follow; a map's count is in pairs.
 *
 * Errors and statuses pass one place that replaces CR and LF by spaces, so that no text of a
 * client's can end a line. Thread: the connection's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "proto/out.h"

struct reply;

struct reply_writer {
    void (*status)(struct reply *reply, struct bytes text);
    void (*error)(struct reply *reply, struct bytes text); /* with its code: "ERR no such key" */
    void (*integer)(struct reply *reply, int64_t n);
    void (*bulk)(struct reply *reply, struct bytes bytes);
    /* As bulk, without a copy: `release(owner)` when sent. */
    void (*bulk_ref)(struct reply *reply, struct bytes bytes, void (*release)(void *), void *owner);
    void (*verbatim)(struct reply *reply, struct bytes text); /* "txt" */
    void (*number)(struct reply *reply, double n);
    void (*boolean)(struct reply *reply, bool b);
    void (*null)(struct reply *reply);
    void (*null_array)(struct reply *reply); /* RESP2: *-1, what EXEC and BLPOP answer */
    void (*array)(struct reply *reply, size_t count);
    void (*map)(struct reply *reply, size_t pairs);
    void (*set)(struct reply *reply, size_t count);
    void (*push)(struct reply *reply, size_t count);
};

enum { REPLY_CODE_SIZE = 32 };
enum { ERROR_NOTE_MAX = 256 };
struct error_note { /* the first of its bytes, as it was given */
    size_t len;
    char text[ERROR_NOTE_MAX];
};

struct reply {
    const struct reply_writer *writer;
    struct out *out;
    uint64_t errors; /* error replies written so far, for the one who counts them */
    char error_code[REPLY_CODE_SIZE]; /* what the last of them begins with, and a NUL */
    struct error_note *note;          /* where the next errors are noted as well; NULL: nowhere */
};

extern const struct reply_writer resp2_writer, resp3_writer;

static inline bool reply_is_resp3(const struct reply *reply) {
    return reply->writer == &resp3_writer;
}

/* The hot ones, both protocols alike: */
void resp_bulk(struct reply *reply, struct bytes bytes);
void resp_integer(struct reply *reply, int64_t n);
