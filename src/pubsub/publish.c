/* publish.c: PUBLISH and SPUBLISH; and the sink, which is where what they say goes on when it is committed. */
#include "command/command.h"
#include "pubsub/channels.h"
#include "pubsub/pubsub.h"

#include "base/mem.h"

/* Literals, told apart by their address: other features may say something too. */
static const char said_publish[] = "publish", said_spublish[] = "spublish";

static enum outcome publish_to(struct call *call, enum channel_kind kind, const char *event) {
    struct pubsub *pubsub = call->pulse->pubsub;
    if (!pubsub) return reply_int(call, 0);
    /* A client may tell of what it was not answered yet. */
    txn_say(call->txn, event, call->args[1], call->args[2], call->session->gate);
    return reply_int(call, (int64_t)channels_receivers(pubsub, kind, call->args[1]));
}

static enum outcome publish(struct call *call) {
    return publish_to(call, CHANNEL_PLAIN, said_publish);
}
static enum outcome spublish(struct call *call) {
    return publish_to(call, CHANNEL_SHARD, said_spublish);
}

static void committed(struct sink *self, uint64_t stamp, const struct change *changes,
                      size_t count) {
    struct pubsub *pubsub = (void *)self;
    for (size_t i = 0; i < count; i++) {
        const struct change *change = &changes[i];
        uint64_t gate = change->gate > stamp ? change->gate : stamp;
        if (change->cause != CAUSE_SAID)
            events_publish(pubsub, stamp, change);
        else if (change->event == said_publish)
            channels_send(pubsub, CHANNEL_PLAIN, change->key.name, change->text, gate);
        else if (change->event == said_spublish)
            channels_send(pubsub, CHANNEL_SHARD, change->key.name, change->text, gate);
    }
}

struct pubsub *pubsub_new(struct pulse *pulse) {
    struct pubsub *pubsub = mem_new_zero(sizeof *pubsub);
    pubsub->pulse = pulse;
    pubsub->sink.name = "pubsub";
    pubsub->sink.committed = committed;
    channels_init(pubsub);
    return pubsub;
}

struct pubsub *pubsub_free(struct pubsub *pubsub) {
    if (!pubsub) return NULL;
    channels_deinit(pubsub);
    mem_free(pubsub, sizeof *pubsub);
    return NULL;
}

struct sink *pubsub_sink(struct pubsub *pubsub) {
    return &pubsub->sink;
}

enum { SPEAKS = CMD_PUBSUB | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_MAY_REPLICATE };

COMMAND(publish) = {
    .synopsis = "PUBLISH channel message",
    .summary = "Sends a message to everybody who listens to a channel now.",
    .since = "2.0.0",
    .group = "pubsub",
    .complexity = "O(N+M) where N is the number of clients subscribed to the receiving channel and "
                  "M is the total number of subscribed patterns (by any client).",
    .flags = SPEAKS,
    .acl = ACL_PUBSUB,
    .channels = CHANNELS_PUBLISH,
    .run = publish,
};

COMMAND(spublish) = {
    .synopsis = "SPUBLISH shardchannel:key message",
    .summary = "Sends a message to everybody who listens to a shard channel now.",
    .since = "7.0.0",
    .group = "pubsub",
    .complexity = "O(N) where N is the number of clients subscribed to the receiving shard "
                  "channel.",
    .flags = SPEAKS,
    .keys = KEY_NOT_KEY,
    .acl = ACL_PUBSUB,
    .channels = CHANNELS_PUBLISH,
    .run = spublish,
};
