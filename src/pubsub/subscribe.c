/* subscribe.c: SUBSCRIBE and its five sisters, which are two: subscribe to names, unsubscribe from names or from all;
 * each for channels, for patterns of channels and for shard channels.
 *
 * They answer once for each name, with a push that says how much the session is subscribed to now: channels and
 * patterns together, shard channels by themselves. */
#include "command/command.h"
#include "pubsub/channels.h"

static const struct bytes subscribed_words[CHANNEL_KINDS] = {
    [CHANNEL_PLAIN] = { "subscribe", 9 },
    [CHANNEL_SHARD] = { "ssubscribe", 10 },
    [CHANNEL_PATTERN] = { "psubscribe", 10 },
};
static const struct bytes unsubscribed_words[CHANNEL_KINDS] = {
    [CHANNEL_PLAIN] = { "unsubscribe", 11 },
    [CHANNEL_SHARD] = { "sunsubscribe", 12 },
    [CHANNEL_PATTERN] = { "punsubscribe", 12 },
};

static size_t subscribed_to(const struct session *session, enum channel_kind kind) {
    const struct subscriptions *all = session->subscriptions;
    if (!all) return 0;
    if (kind == CHANNEL_SHARD) return all->names[CHANNEL_SHARD].count;
    return all->names[CHANNEL_PLAIN].count + all->names[CHANNEL_PATTERN].count;
}

/* `name` NULL: there was none. What follows is the count. */
static void begin_answer(struct call *call, struct bytes word, const struct bytes *name) {
    const struct reply_writer *writer = call->reply->writer;
    writer->push(call->reply, 3);
    writer->bulk(call->reply, word);
    if (name)
        writer->bulk(call->reply, *name);
    else
        writer->null(call->reply);
}

static void end_answer(struct call *call, enum channel_kind kind) {
    reply_int(call, (int64_t)subscribed_to(call->session, kind));
}

static enum outcome subscribe_to(struct call *call, enum channel_kind kind) {
    struct session *session = call->session;
    if (!call->pulse->pubsub || !session->carrier || !session->mailbox)
        return fail(call, "ERR nothing but answers can reach this client");
    for (size_t i = 1; i < call->args_count; i++) {
        struct out_mark mark = out_mark(call->reply->out);
        begin_answer(call, subscribed_words[kind], &call->args[i]);
        if (channels_subscribe(call->pulse->pubsub, session, kind, call->args[i]) ==
            SUBSCRIBED_TOO_MUCH) {
            out_rewind(call->reply->out, mark);
            return fail_format(call,
                               "ERR a client can be subscribed to %d channels, of %d bytes "
                               "together",
                               SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_SIZE_MAX);
        }
        end_answer(call, kind);
    }
    return DONE;
}

static void unsubscribe_from_all(struct call *call, enum channel_kind kind) {
    const struct subscription *oldest = channels_oldest(call->session, kind);
    if (!oldest) {
        begin_answer(call, unsubscribed_words[kind], NULL);
        end_answer(call, kind);
    }
    for (; oldest; oldest = channels_oldest(call->session, kind)) {
        begin_answer(call, unsubscribed_words[kind], &oldest->named.text);
        channels_unsubscribe(call->pulse->pubsub, call->session, kind, oldest->named.text);
        end_answer(call, kind);
    }
}

static enum outcome unsubscribe_from(struct call *call, enum channel_kind kind) {
    if (call->args_count == 1) unsubscribe_from_all(call, kind);
    for (size_t i = 1; i < call->args_count; i++) {
        begin_answer(call, unsubscribed_words[kind], &call->args[i]);
        channels_unsubscribe(call->pulse->pubsub, call->session, kind, call->args[i]);
        end_answer(call, kind);
    }
    return DONE;
}

static enum outcome subscribe(struct call *call) {
    return subscribe_to(call, CHANNEL_PLAIN);
}
static enum outcome psubscribe(struct call *call) {
    return subscribe_to(call, CHANNEL_PATTERN);
}
static enum outcome ssubscribe(struct call *call) {
    return subscribe_to(call, CHANNEL_SHARD);
}
static enum outcome unsubscribe(struct call *call) {
    return unsubscribe_from(call, CHANNEL_PLAIN);
}
static enum outcome punsubscribe(struct call *call) {
    return unsubscribe_from(call, CHANNEL_PATTERN);
}
static enum outcome sunsubscribe(struct call *call) {
    return unsubscribe_from(call, CHANNEL_SHARD);
}

enum { LISTENS = CMD_PUBSUB | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_SUBSCRIBED };

COMMAND(subscribe) = {
    .synopsis = "SUBSCRIBE channel [channel ...]",
    .summary = "Listens to what is published to channels.",
    .since = "2.0.0",
    .group = "pubsub",
    .complexity = "O(N) where N is the number of channels to subscribe to.",
    .flags = LISTENS,
    .acl = ACL_PUBSUB,
    .channels = CHANNELS_SUBSCRIBE,
    .run = subscribe,
};

COMMAND(psubscribe) = {
    .synopsis = "PSUBSCRIBE pattern:pattern [pattern:pattern ...]",
    .summary = "Listens to what is published to all channels whose names match.",
    .since = "2.0.0",
    .group = "pubsub",
    .complexity = "O(N) where N is the number of patterns to subscribe to.",
    .flags = LISTENS,
    .acl = ACL_PUBSUB,
    .channels = CHANNELS_PATTERNS,
    .run = psubscribe,
};

COMMAND(ssubscribe) = {
    .synopsis = "SSUBSCRIBE shardchannel:key [shardchannel:key ...]",
    .summary = "Listens to what is published to shard channels.",
    .since = "7.0.0",
    .group = "pubsub",
    .complexity = "O(N) where N is the number of shard channels to subscribe to.",
    .flags = LISTENS,
    .keys = KEY_NOT_KEY,
    .acl = ACL_PUBSUB,
    .channels = CHANNELS_SUBSCRIBE,
    .run = ssubscribe,
};

COMMAND(unsubscribe) = {
    .synopsis = "UNSUBSCRIBE [channel [channel ...]]",
    .summary = "Listens no longer to channels, or to any.",
    .since = "2.0.0",
    .group = "pubsub",
    .complexity = "O(N) where N is the number of channels to unsubscribe from.",
    .flags = LISTENS,
    .acl = ACL_PUBSUB,
    .run = unsubscribe,
};

COMMAND(punsubscribe) = {
    .synopsis = "PUNSUBSCRIBE [pattern:pattern [pattern:pattern ...]]",
    .summary = "Listens no longer to patterns of channels, or to any.",
    .since = "2.0.0",
    .group = "pubsub",
    .complexity = "O(N) where N is the number of patterns to unsubscribe from.",
    .flags = LISTENS,
    .acl = ACL_PUBSUB,
    .run = punsubscribe,
};

COMMAND(sunsubscribe) = {
    .synopsis = "SUNSUBSCRIBE [shardchannel:key [shardchannel:key ...]]",
    .summary = "Listens no longer to shard channels, or to any.",
    .since = "7.0.0",
    .group = "pubsub",
    .complexity = "O(N) where N is the number of shard channels to unsubscribe from.",
    .flags = LISTENS,
    .keys = KEY_NOT_KEY,
    .acl = ACL_PUBSUB,
    .run = sunsubscribe,
};
