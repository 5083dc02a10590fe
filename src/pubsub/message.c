/* message.c: messages as bytes. */
#include "pubsub/message.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"
#include "command/session.h"
#include "proto/reply.h"

enum { BULK_HEAD_MAX = 32 }; /* "$", a length, CR LF */

static size_t put(char *to, struct bytes bytes) {
    if (bytes.len) memcpy(to, bytes.data, bytes.len);
    return bytes.len;
}

static size_t put_bulk(char *to, struct bytes bytes, struct bytes *where) {
    size_t at = (size_t)snprintf(to, BULK_HEAD_MAX, "$%zu\r\n", bytes.len);
    *where = (struct bytes){ to + at, bytes.len };
    at += put(to + at, bytes);
    return at + put(to + at, BYTES("\r\n"));
}

static size_t size_of(const struct message *message) {
    return sizeof *message + message->channel.len + message->payload.len + 2 * BULK_HEAD_MAX;
}

struct message *message_new(struct bytes channel, struct bytes payload) {
    struct message shape = { .channel = channel, .payload = payload };
    struct message *message = mem_new(size_of(&shape));
    atomic_init(&message->references, 1);
    size_t len = put_bulk(message->data, channel, &message->channel);
    len += put_bulk(message->data + len, payload, &message->payload);
    message->tail = (struct bytes){ message->data, len };
    return message;
}

struct message *message_ref(struct message *message) {
    atomic_fetch_add_explicit(&message->references, 1, memory_order_relaxed);
    return message;
}

void message_unref(struct message *message) {
    if (atomic_fetch_sub_explicit(&message->references, 1, memory_order_acq_rel) == 1)
        mem_free(message, size_of(message));
}

static void release(void *message) {
    message_unref(message);
}

struct bytes message_word(enum channel_kind kind) {
    static const struct bytes words[CHANNEL_KINDS] = {
        [CHANNEL_PLAIN] = { "message", 7 },
        [CHANNEL_SHARD] = { "smessage", 8 },
        [CHANNEL_PATTERN] = { "pmessage", 8 },
    };
    return words[kind];
}

struct bytes message_head(enum channel_kind kind, struct bytes name) {
    if (kind == CHANNEL_PLAIN) return BYTES("3\r\n$7\r\nmessage\r\n");
    if (kind == CHANNEL_SHARD) return BYTES("3\r\n$8\r\nsmessage\r\n");
    struct bytes begin = BYTES("4\r\n$8\r\npmessage\r\n"), where;
    size_t cap = begin.len + name.len + BULK_HEAD_MAX;
    char *data = mem_new(cap);
    size_t len = put(data, begin);
    len += put_bulk(data + len, name, &where);
    data = mem_resize(data, cap, len);
    return (struct bytes){ data, len };
}

/* In the words of a protocol that is not RESP. */
static void write_as_push(const struct message *message, enum channel_kind kind, struct bytes name,
                          struct reply *reply) {
    bool pattern = kind == CHANNEL_PATTERN;
    reply->writer->push(reply, pattern ? 4 : 3);
    reply->writer->bulk(reply, message_word(kind));
    if (pattern) reply->writer->bulk(reply, name);
    reply->writer->bulk(reply, message->channel);
    reply->writer->bulk(reply, message->payload);
}

static void write_as_resp(struct message *message, struct bytes head, struct reply *reply) {
    struct out *out = reply->out;
    bool large = message->tail.len >= REPLY_BY_REFERENCE_MIN;
    char *at = out_reserve(out, 1 + head.len + (large ? 0 : message->tail.len));
    *at++ = reply_is_resp3(reply) ? '>' : '*';
    memcpy(at, head.data, head.len);
    out->len += 1 + head.len;
    if (large) {
        out_put_ref(out, message->tail, release, message_ref(message));
    } else {
        memcpy(at + head.len, message->tail.data, message->tail.len);
        out->len += message->tail.len;
    }
}

void message_write(struct message *message, enum channel_kind kind, struct bytes head,
                   struct bytes name, struct session *session, uint64_t gate) {
    struct reply *reply = session_push(session);
    if (!reply) return;
    if (reply_is_resp3(reply) || reply->writer == &resp2_writer)
        write_as_resp(message, head, reply);
    else
        write_as_push(message, kind, name, reply);
    session_pushed(session, gate);
}
