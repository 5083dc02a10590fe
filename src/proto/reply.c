/* reply.c: answers in the words of RESP2 and RESP3.
 *
 * Everything but a bulk's bytes is a head: a marker, a number, CRLF. The functions both protocols
 * share come first, then RESP2's way around what it lacks, then RESP3's own. Each asks for its room
 * once and writes straight into it.
 */
#include "proto/reply.h"

#include "base/number.h"

enum {
    HEAD_MAX = 1 + INT_TEXT_MAX + 2,
    NUMBER_TEXT_MAX = 40, /* of double_format */
    COPY_SMALL_MAX = 16,
};

static inline char *put_crlf(char *at) {
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

static inline char *put_head(char *at, char marker, uint64_t n) {
    *at++ = marker;
    if (n < 10) {
        *at++ = (char)('0' + n);
    } else if (n < 100) {
        *at++ = (char)('0' + n / 10);
        *at++ = (char)('0' + n % 10);
    } else {
        at += uint_format(at, n);
    }
    return put_crlf(at);
}

/* memcpy, but sizes that keys and counters have take two loads that overlap instead of a call. */
static inline char *put_bytes(char *at, struct bytes bytes) {
    const char *from = bytes.data;
    size_t len = bytes.len;
    if (len > COPY_SMALL_MAX) {
        memcpy(at, from, len);
    } else if (len >= 8) {
        uint64_t head, tail;
        memcpy(&head, from, 8);
        memcpy(&tail, from + len - 8, 8);
        memcpy(at, &head, 8);
        memcpy(at + len - 8, &tail, 8);
    } else if (len >= 4) {
        uint32_t head, tail;
        memcpy(&head, from, 4);
        memcpy(&tail, from + len - 4, 4);
        memcpy(at, &head, 4);
        memcpy(at + len - 4, &tail, 4);
    } else {
        for (size_t i = 0; i < len; i++) at[i] = from[i];
    }
    return at + len;
}

static inline void advance_to(struct out *out, const char *end) {
    out->len = (size_t)(end - out->data);
}

/* ---- both ---- */

static inline void put_count(struct reply *reply, char marker, uint64_t n) {
    advance_to(reply->out, put_head(out_reserve(reply->out, HEAD_MAX), marker, n));
}

void resp_bulk(struct reply *reply, struct bytes bytes) {
    char *at = out_reserve(reply->out, HEAD_MAX + bytes.len + 2);
    at = put_head(at, '$', bytes.len);
    at = put_bytes(at, bytes);
    advance_to(reply->out, put_crlf(at));
}

void resp_integer(struct reply *reply, int64_t n) {
    if (n >= 0) {
        put_count(reply, ':', (uint64_t)n);
        return;
    }
    char *at = out_reserve(reply->out, HEAD_MAX);
    *at++ = ':';
    at += int_format(at, n);
    advance_to(reply->out, put_crlf(at));
}

static void put_line(struct reply *reply, char marker, struct bytes text) {
    char *at = out_reserve(reply->out, 1 + text.len + 2);
    *at++ = marker;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '\r' || c == '\n') c = ' ';
        *at++ = c;
    }
    advance_to(reply->out, put_crlf(at));
}

static void put_status(struct reply *reply, struct bytes text) {
    if (LIKELY(text.len == 2 && text.data[0] == 'O' && text.data[1] == 'K')) {
        char *at = out_reserve(reply->out, 8);
        memcpy(at, "+OK\r\n", 5); /* what most commands that write answer */
        advance_to(reply->out, at + 5);
        return;
    }
    put_line(reply, '+', text);
}

static COLD void note_error(struct error_note *note, struct bytes text) {
    note->len = text.len < ERROR_NOTE_MAX ? text.len : ERROR_NOTE_MAX;
    memcpy(note->text, text.data, note->len);
}

static void put_error(struct reply *reply, struct bytes text) {
    reply->errors++;
    if (UNLIKELY(reply->note != NULL)) note_error(reply->note, text);
    size_t len = text.len < REPLY_CODE_SIZE ? text.len : REPLY_CODE_SIZE - 1;
    memcpy(reply->error_code, text.data, len);
    reply->error_code[len] = '\0';
    put_line(reply, '-', text);
}

static void put_bulk_ref(struct reply *reply, struct bytes bytes, void (*release)(void *),
                         void *owner) {
    put_count(reply, '$', bytes.len);
    out_put_ref(reply->out, bytes, release, owner);
    out_put(reply->out, BYTES("\r\n"));
}

static void put_array(struct reply *reply, size_t count) {
    put_count(reply, '*', count);
}

/* ---- RESP2 ---- */

static void number_as_bulk(struct reply *reply, double n) {
    char text[NUMBER_TEXT_MAX];
    resp_bulk(reply, (struct bytes){ text, double_format(text, n) });
}

static void boolean_as_integer(struct reply *reply, bool b) {
    out_put(reply->out, b ? BYTES(":1\r\n") : BYTES(":0\r\n"));
}

static void null_bulk(struct reply *reply) {
    out_put(reply->out, BYTES("$-1\r\n"));
}

static void null_array(struct reply *reply) {
    out_put(reply->out, BYTES("*-1\r\n"));
}

static void map_as_array(struct reply *reply, size_t pairs) {
    put_count(reply, '*', (uint64_t)pairs * 2);
}

const struct reply_writer resp2_writer = {
    .status = put_status,
    .error = put_error,
    .integer = resp_integer,
    .bulk = resp_bulk,
    .bulk_ref = put_bulk_ref,
    .verbatim = resp_bulk,
    .number = number_as_bulk,
    .boolean = boolean_as_integer,
    .null = null_bulk,
    .null_array = null_array,
    .array = put_array,
    .map = map_as_array,
    .set = put_array,
    .push = put_array,
};

/* ---- RESP3 ---- */

static void put_verbatim(struct reply *reply, struct bytes text) {
    struct bytes format = BYTES("txt:");
    char *at = out_reserve(reply->out, HEAD_MAX + format.len + text.len + 2);
    at = put_head(at, '=', format.len + text.len);
    at = put_bytes(at, format);
    at = put_bytes(at, text);
    advance_to(reply->out, put_crlf(at));
}

static void put_number(struct reply *reply, double n) {
    char *at = out_reserve(reply->out, 1 + NUMBER_TEXT_MAX + 2);
    *at++ = ',';
    at += double_format(at, n);
    advance_to(reply->out, put_crlf(at));
}

static void put_boolean(struct reply *reply, bool b) {
    out_put(reply->out, b ? BYTES("#t\r\n") : BYTES("#f\r\n"));
}

static void put_null(struct reply *reply) {
    out_put(reply->out, BYTES("_\r\n"));
}

static void put_map(struct reply *reply, size_t pairs) {
    put_count(reply, '%', pairs);
}

static void put_set(struct reply *reply, size_t count) {
    put_count(reply, '~', count);
}

static void put_push(struct reply *reply, size_t count) {
    put_count(reply, '>', count);
}

const struct reply_writer resp3_writer = {
    .status = put_status,
    .error = put_error,
    .integer = resp_integer,
    .bulk = resp_bulk,
    .bulk_ref = put_bulk_ref,
    .verbatim = put_verbatim,
    .number = put_number,
    .boolean = put_boolean,
    .null = put_null,
    .null_array = put_null,
    .array = put_array,
    .map = put_map,
    .set = put_set,
    .push = put_push,
};
