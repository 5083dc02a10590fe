/* channels.h: who listens to what.
 *
 *     struct channel   news ──┬─ place in loop 1: its sessions a, b       the channels, their places and numbers are
 *                             └─ place in loop 2: its session c           under the lock, for all to read
 *     struct subscriptions of a: news, sport                              a place's sessions, and a session's channels,
 *                                                                         are their loop's alone
 *
 * So PUBLISH takes the lock for reading, counts, and sends one post to each place; the loop of a place writes to its
 * sessions without any lock. A place lives as long as a session of its loop listens or a post to it is under way.
 *
 * A session hears what is published after it subscribed, even if a post that is older comes later: `epoch` grows with
 * every subscription, each post carries what it was, and a subscription what it became.
 */
#pragma once

#include <pthread.h>
#include <sys/queue.h>

#include "base/siphash.h"
#include "command/pulse.h"
#include "pubsub/message.h"
#include "pubsub/names.h"

struct channel;
struct place;

struct subscription {
    struct named named; /* in its session's table; the text is the channel's */
    struct session *session;
    struct place *place;
    uint64_t since;                   /* an epoch */
    TAILQ_ENTRY(subscription) beside; /* of the same place */
    TAILQ_ENTRY(subscription) link;   /* of the same session and kind, oldest first */
};
TAILQ_HEAD(subscription_list, subscription);

struct subscriptions { /* a session's; NULL as long as it has none */
    struct names names[CHANNEL_KINDS];
    struct subscription_list lists[CHANNEL_KINDS];
    size_t count, size; /* size: bytes of all names */
};

struct place {
    LIST_ENTRY(place) link; /* lock; of the same channel */
    struct mailbox *mailbox;
    struct channel *channel;                /* as long as there are subscriptions */
    struct subscription_list subscriptions; /* its loop's */
    _Atomic uint32_t references;            /* its channel's, and one for each post */
};
LIST_HEAD(place_list, place);

struct channel {
    struct named named;
    TAILQ_ENTRY(channel) link;
    enum channel_kind kind;
    uint64_t subscribers;     /* lock */
    struct place_list places; /* lock */
    struct bytes head;
    char text[];
};
TAILQ_HEAD(channel_list, channel);

struct pubsub {
    struct sink sink; /* first: what it is told is told to the struct around it */
    struct pulse *pulse;
    struct siphash_key seed;
    _Atomic uint32_t events;  /* what notify-keyspace-events asks for: events.c */
    _Atomic bool listened_to; /* there is a channel; a hint for those who would publish */
    pthread_rwlock_t lock;
    struct names names[CHANNEL_KINDS];        /* lock */
    struct channel_list lists[CHANNEL_KINDS]; /* lock; oldest first */
    uint64_t epoch;                           /* lock */
};

void channels_init(struct pubsub *pubsub);
void channels_deinit(struct pubsub *pubsub);

enum subscribed { SUBSCRIBED, SUBSCRIBED_ALREADY, SUBSCRIBED_TOO_MUCH };
/* The session's own thread; it has a mailbox and a carrier. */
enum subscribed channels_subscribe(struct pubsub *pubsub, struct session *session,
                                   enum channel_kind kind, struct bytes name);
/* Or does nothing. */
void channels_unsubscribe(struct pubsub *pubsub, struct session *session, enum channel_kind kind,
                          struct bytes name);
/* The oldest subscription of that kind, or NULL. */
struct subscription *channels_oldest(const struct session *session, enum channel_kind kind);

/* How many would get a message to the channel `name`, plain or shard: patterns that match count, too. */
uint64_t channels_receivers(struct pubsub *pubsub, enum channel_kind kind, struct bytes name);
/* Any thread, under any lock of the store's. */
void channels_send(struct pubsub *pubsub, enum channel_kind kind, struct bytes name,
                   struct bytes payload, uint64_t gate);

/* Calls `visit` for each channel of that kind, oldest first, under the lock. */
void channels_each(struct pubsub *pubsub, enum channel_kind kind,
                   void (*visit)(void *self, struct bytes name), void *self);
/* Subscribers of exactly that. */
uint64_t channels_subscribers(struct pubsub *pubsub, enum channel_kind kind, struct bytes name);

/* events.c: a change of data, as it is published; and the bit of the class that a word is of. */
void events_publish(struct pubsub *pubsub, uint64_t stamp, const struct change *change);
uint32_t events_class(const char *event);
