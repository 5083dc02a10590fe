/* message.h: what is published, as the bytes that subscribers get.
 *
 * A message goes to many, and differs between them only in how it begins:
 *
 *     * or >   3 $7 message             $4 news $5 hello         to subscribers of news
 *     * or >   4 $8 pmessage $2 n*      $4 news $5 hello         to those of the pattern n*
 *     protocol  the channel's head      tail, made once
 *
 * so to write it to one is two copies of bytes; a large tail is sent by reference. Thread: any.
 */
#pragma once

#include <stdatomic.h>

#include "base/attributes.h"
#include "base/bytes.h"

struct session;

enum channel_kind { CHANNEL_PLAIN, CHANNEL_SHARD, CHANNEL_PATTERN, CHANNEL_KINDS };

struct message {
    _Atomic uint32_t references;
    struct bytes tail, channel, payload; /* the latter two lie in the tail */
    char data[];
};

MUST_USE struct message *message_new(struct bytes channel, struct bytes payload);
struct message *message_ref(struct message *message);
void message_unref(struct message *message);

/* How messages begin, after the first byte: to subscribers of channels a literal, to those of the pattern `name`
 * mem_new'd, of its len. */
MUST_USE struct bytes message_head(enum channel_kind kind, struct bytes name);
/* The word that a message, or an answer to SUBSCRIBE and its like, begins with. */
struct bytes message_word(enum channel_kind kind);

/* Writes it to a subscriber of `name`, unless that hears nothing any more. It leaves when what has the stamp `gate`
 * is safe. Thread: the session's, between rounds. */
void message_write(struct message *message, enum channel_kind kind, struct bytes head,
                   struct bytes name, struct session *session, uint64_t gate);
