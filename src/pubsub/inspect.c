/* inspect.c: PUBSUB: which channels are listened to, and by how many. */
#include "base/glob.h"
#include "command/command.h"
#include "pubsub/channels.h"

/* Names that match, in the arena: the channels may go as soon as the lock does. */
struct match {
    struct match *next;
    struct bytes name;
};

struct search {
    struct arena *arena;
    const struct bytes *pattern; /* NULL: all */
    struct match *first, **last;
    size_t count;
};

static void look(void *self, struct bytes name) {
    struct search *search = self;
    if (search->pattern && !glob_match(*search->pattern, name, false)) return;
    struct match *match = arena_new(search->arena, sizeof *match);
    *match = (struct match){ .name = arena_copy(search->arena, name) };
    *search->last = match;
    search->last = &match->next;
    search->count++;
}

static enum outcome list_channels(struct call *call, enum channel_kind kind) {
    if (call->args_count > 3) return fail_subcommand_words(call);
    struct search search = { .arena = call->arena,
                             .pattern = call->args_count == 3 ? &call->args[2] : NULL };
    search.last = &search.first;
    if (call->pulse->pubsub) channels_each(call->pulse->pubsub, kind, look, &search);
    call->reply->writer->array(call->reply, search.count);
    for (const struct match *match = search.first; match; match = match->next)
        reply_bulk(call, match->name);
    return DONE;
}

static enum outcome count_subscribers(struct call *call, enum channel_kind kind) {
    struct pubsub *pubsub = call->pulse->pubsub;
    call->reply->writer->array(call->reply, (call->args_count - 2) * 2);
    for (size_t i = 2; i < call->args_count; i++) {
        reply_bulk(call, call->args[i]);
        reply_int(call, pubsub ? (int64_t)channels_subscribers(pubsub, kind, call->args[i]) : 0);
    }
    return DONE;
}

static enum outcome pubsub_channels(struct call *call) {
    return list_channels(call, CHANNEL_PLAIN);
}
static enum outcome pubsub_shardchannels(struct call *call) {
    return list_channels(call, CHANNEL_SHARD);
}
static enum outcome pubsub_numsub(struct call *call) {
    return count_subscribers(call, CHANNEL_PLAIN);
}
static enum outcome pubsub_shardnumsub(struct call *call) {
    return count_subscribers(call, CHANNEL_SHARD);
}
static enum outcome pubsub_numpat(struct call *call) {
    return reply_int(
        call, (int64_t)atomic_load_explicit(&call->pulse->pubsub_patterns, memory_order_relaxed));
}

static enum outcome pubsub_help(struct call *call) {
    static const char *const lines[] = {
        "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CHANNELS [<pattern>]",
        "    The channels that somebody listens to: those that match, or all.",
        "NUMPAT",
        "    How many patterns somebody listens to.",
        "NUMSUB [<channel> ...]",
        "    For each channel how many listen to it by its name.",
        "SHARDCHANNELS [<pattern>]",
        "    The shard channels that somebody listens to: those that match, or all.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    For each shard channel how many listen to it.",
        "HELP",
        "    Print this help.",
    };
    return reply_help(call, lines, COUNT_OF(lines));
}

COMMAND(pubsub) = {
    .synopsis = "PUBSUB",
    .summary = "Who listens: a container.",
    .since = "2.8.0",
    .group = "pubsub",
    .complexity = "Depends on subcommand.",
    .flags = CMD_CONTAINER,
};

#define PUBSUB(name_, since_, synopsis_, summary_, complexity_)                \
    COMMAND(pubsub_##name_) = { .synopsis = "PUBSUB " synopsis_,               \
                                .summary = (summary_),                         \
                                .since = (since_),                             \
                                .group = "pubsub",                             \
                                .complexity = (complexity_),                   \
                                .flags = CMD_PUBSUB | CMD_LOADING | CMD_STALE, \
                                .acl = ACL_PUBSUB,                             \
                                .run = pubsub_##name_ }

PUBSUB(channels, "2.8.0", "CHANNELS [pattern:pattern]", "Lists channels that are listened to.",
       "O(N) where N is the number of active channels, and assuming constant time pattern matching "
       "(relatively short channels and patterns)");
PUBSUB(numsub, "2.8.0", "NUMSUB [channel [channel ...]]", "Counts those who listen to channels.",
       "O(N) for the NUMSUB subcommand, where N is the number of requested channels");
PUBSUB(numpat, "2.8.0", "NUMPAT", "Counts the patterns that are listened to.", "O(1)");
PUBSUB(shardchannels, "7.0.0", "SHARDCHANNELS [pattern:pattern]",
       "Lists shard channels that are listened to.",
       "O(N) where N is the number of active shard channels, and assuming constant time pattern "
       "matching (relatively short shard channels).");
PUBSUB(shardnumsub, "7.0.0", "SHARDNUMSUB [shardchannel [shardchannel ...]]",
       "Counts those who listen to shard channels.",
       "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels");

COMMAND(pubsub_help) = {
    .synopsis = "PUBSUB HELP",
    .summary = "Prints what the subcommands are.",
    .since = "6.2.0",
    .group = "pubsub",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE,
    .run = pubsub_help,
};
