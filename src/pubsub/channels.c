/* channels.c: subscribing, and getting a message to those who have. */
#include "pubsub/channels.h"

#include "base/assert.h"
#include "base/env.h"
#include "base/glob.h"
#include "base/limits.h"
#include "base/mem.h"

struct mail {
    struct post post;
    struct place *place;
    struct message *message;
    uint64_t gate, epoch;
};

static _Atomic uint32_t *shown_count(struct session *session, enum channel_kind kind) {
    return kind == CHANNEL_PLAIN   ? &session->sub_count
           : kind == CHANNEL_SHARD ? &session->ssub_count
                                   : &session->psub_count;
}

static _Atomic uint64_t *counted(struct pulse *pulse, enum channel_kind kind) {
    return kind == CHANNEL_PLAIN   ? &pulse->pubsub_channels
           : kind == CHANNEL_SHARD ? &pulse->pubsub_shard_channels
                                   : &pulse->pubsub_patterns;
}

void channels_init(struct pubsub *pubsub) {
    env_random(pubsub->pulse->env, &pubsub->seed, sizeof pubsub->seed);
    for (size_t i = 0; i < CHANNEL_KINDS; i++) TAILQ_INIT(&pubsub->lists[i]);
    /* Publishers that never pause must not keep a loop waiting that has somebody to subscribe. */
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&pubsub->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
}

void channels_deinit(struct pubsub *pubsub) {
    for (size_t i = 0; i < CHANNEL_KINDS; i++) assert(pubsub->names[i].count == 0);
    pthread_rwlock_destroy(&pubsub->lock);
}

/* ---- channels and their places; the lock is held for writing ---- */

static size_t channel_size(const struct channel *channel) {
    return sizeof *channel + channel->named.text.len;
}

static void show_channels(struct pubsub *pubsub, enum channel_kind kind) {
    size_t total = 0;
    for (size_t i = 0; i < CHANNEL_KINDS; i++) total += pubsub->names[i].count;
    atomic_store_explicit(&pubsub->listened_to, total > 0, memory_order_relaxed);
    atomic_store_explicit(counted(pubsub->pulse, kind), pubsub->names[kind].count,
                          memory_order_relaxed);
}

static struct channel *channel_find(const struct pubsub *pubsub, enum channel_kind kind,
                                    uint64_t hash, struct bytes name) {
    return (void *)names_find(&pubsub->names[kind], hash, name);
}

static struct channel *channel_new(struct pubsub *pubsub, enum channel_kind kind, uint64_t hash,
                                   struct bytes name) {
    struct channel *channel = mem_new(sizeof *channel + name.len);
    *channel = (struct channel){ .kind = kind, .named.hash = hash };
    bytes_move(channel->text, name.data, name.len);
    channel->named.text = (struct bytes){ channel->text, name.len };
    channel->head = message_head(kind, name);
    LIST_INIT(&channel->places);
    names_add(&pubsub->names[kind], &channel->named);
    TAILQ_INSERT_TAIL(&pubsub->lists[kind], channel, link);
    show_channels(pubsub, kind);
    return channel;
}

static void channel_free(struct pubsub *pubsub, struct channel *channel) {
    enum channel_kind kind = channel->kind;
    names_remove(&pubsub->names[kind], &channel->named);
    TAILQ_REMOVE(&pubsub->lists[kind], channel, link);
    show_channels(pubsub, kind);
    if (kind == CHANNEL_PATTERN) mem_free((char *)(uintptr_t)channel->head.data, channel->head.len);
    mem_free(channel, channel_size(channel));
}

static void place_unref(struct place *place) {
    if (atomic_fetch_sub_explicit(&place->references, 1, memory_order_acq_rel) == 1)
        mem_free(place, sizeof *place);
}

static struct place *place_in(struct channel *channel, struct mailbox *mailbox) {
    struct place *place;
    LIST_FOREACH (place, &channel->places, link)
        if (place->mailbox == mailbox) return place;
    place = mem_new(sizeof *place);
    *place = (struct place){ .mailbox = mailbox, .channel = channel };
    atomic_init(&place->references, 1);
    TAILQ_INIT(&place->subscriptions);
    LIST_INSERT_HEAD(&channel->places, place, link);
    return place;
}

static void leave_place(struct pubsub *pubsub, struct subscription *subscription) {
    struct place *place = subscription->place;
    struct channel *channel = place->channel;
    TAILQ_REMOVE(&place->subscriptions, subscription, beside);
    channel->subscribers--;
    if (!TAILQ_EMPTY(&place->subscriptions)) return;
    LIST_REMOVE(place, link);
    place->channel = NULL;
    place_unref(place);
    if (channel->subscribers == 0) channel_free(pubsub, channel);
}

/* ---- a session's subscriptions ---- */

static void show_session(struct pubsub *pubsub, struct session *session, enum channel_kind kind) {
    const struct subscriptions *all = session->subscriptions;
    bool was = session_has(session, SESSION_PUBSUB), is = all != NULL;
    atomic_store_explicit(shown_count(session, kind), is ? (uint32_t)all->names[kind].count : 0,
                          memory_order_relaxed);
    if (was == is) return;
    session_flag_set(session, SESSION_PUBSUB, is);
    atomic_fetch_add_explicit(&pubsub->pulse->pubsub_clients, is ? 1 : UINT64_MAX,
                              memory_order_relaxed);
}

static void unsubscribe(struct pubsub *pubsub, struct subscription *subscription,
                        enum channel_kind kind) {
    struct session *session = subscription->session;
    struct subscriptions *all = session->subscriptions;
    names_remove(&all->names[kind], &subscription->named);
    TAILQ_REMOVE(&all->lists[kind], subscription, link);
    all->count--;
    all->size -= subscription->named.text.len;
    pthread_rwlock_wrlock(&pubsub->lock);
    leave_place(pubsub, subscription);
    pthread_rwlock_unlock(&pubsub->lock);
    mem_free(subscription, sizeof *subscription);
    if (all->count == 0) {
        mem_free(all, sizeof *all);
        session->subscriptions = NULL;
    }
    show_session(pubsub, session, kind);
}

/* The session ends, or begins anew. */
static void leave_all(struct session *session, struct pulse *pulse) {
    for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++) {
        struct subscription *subscription;
        while ((subscription = channels_oldest(session, kind)))
            unsubscribe(pulse->pubsub, subscription, kind);
    }
}

static struct subscriptions *subscriptions_of(struct session *session) {
    if (session->subscriptions) return session->subscriptions;
    struct subscriptions *all = mem_new_zero(sizeof *all);
    for (size_t i = 0; i < CHANNEL_KINDS; i++) TAILQ_INIT(&all->lists[i]);
    session->subscriptions = all;
    session->leave = leave_all;
    return all;
}

enum subscribed channels_subscribe(struct pubsub *pubsub, struct session *session,
                                   enum channel_kind kind, struct bytes name) {
    uint64_t hash = siphash(&pubsub->seed, name);
    const struct subscriptions *has = session->subscriptions;
    if (has && names_find(&has->names[kind], hash, name)) return SUBSCRIBED_ALREADY;
    size_t count = has ? has->count : 0, size = has ? has->size : 0;
    if (count == SUBSCRIPTIONS_MAX || name.len > SUBSCRIPTIONS_SIZE_MAX - size)
        return SUBSCRIBED_TOO_MUCH;

    struct subscriptions *all = subscriptions_of(session);
    struct subscription *subscription = mem_new_zero(sizeof *subscription);
    subscription->session = session;
    pthread_rwlock_wrlock(&pubsub->lock);
    struct channel *channel = channel_find(pubsub, kind, hash, name);
    if (!channel) channel = channel_new(pubsub, kind, hash, name);
    channel->subscribers++;
    subscription->place = place_in(channel, session->mailbox);
    subscription->since = ++pubsub->epoch;
    pthread_rwlock_unlock(&pubsub->lock);

    TAILQ_INSERT_TAIL(&subscription->place->subscriptions, subscription, beside);
    subscription->named = (struct named){ .hash = hash, .text = channel->named.text };
    names_add(&all->names[kind], &subscription->named);
    TAILQ_INSERT_TAIL(&all->lists[kind], subscription, link);
    all->count++;
    all->size += name.len;
    show_session(pubsub, session, kind);
    return SUBSCRIBED;
}

void channels_unsubscribe(struct pubsub *pubsub, struct session *session, enum channel_kind kind,
                          struct bytes name) {
    if (!session->subscriptions) return;
    struct subscription *subscription = (void *)names_find(&session->subscriptions->names[kind],
                                                           siphash(&pubsub->seed, name), name);
    if (subscription) unsubscribe(pubsub, subscription, kind);
}

struct subscription *channels_oldest(const struct session *session, enum channel_kind kind) {
    return session->subscriptions ? TAILQ_FIRST(&session->subscriptions->lists[kind]) : NULL;
}

/* ---- publishing ---- */

/* Calls `visit` for the channel and the patterns that a message to it reaches; the lock is held. */
static void each_reached(struct pubsub *pubsub, enum channel_kind kind, struct bytes name,
                         void (*visit)(void *self, struct channel *channel), void *self) {
    struct channel *channel = NULL;
    if (pubsub->names[kind].count)
        channel = channel_find(pubsub, kind, siphash(&pubsub->seed, name), name);
    if (channel) visit(self, channel);
    if (kind != CHANNEL_PLAIN) return;
    TAILQ_FOREACH (channel, &pubsub->lists[CHANNEL_PATTERN], link)
        if (glob_match(channel->named.text, name, false)) visit(self, channel);
}

static void add_subscribers(void *self, struct channel *channel) {
    *(uint64_t *)self += channel->subscribers;
}

uint64_t channels_receivers(struct pubsub *pubsub, enum channel_kind kind, struct bytes name) {
    if (!atomic_load_explicit(&pubsub->listened_to, memory_order_relaxed)) return 0;
    uint64_t total = 0;
    pthread_rwlock_rdlock(&pubsub->lock);
    each_reached(pubsub, kind, name, add_subscribers, &total);
    pthread_rwlock_unlock(&pubsub->lock);
    return total;
}

static void deliver(struct post *post, struct mailbox *mailbox) {
    struct mail *mail = (void *)post;
    struct place *place = mail->place;
    const struct subscription *subscription;
    if (mailbox) {
        const struct channel *channel = place->channel;
        TAILQ_FOREACH (subscription, &place->subscriptions, beside)
            if (subscription->since <= mail->epoch)
                message_write(mail->message, channel->kind, channel->head, channel->named.text,
                              subscription->session, mail->gate);
    }
    place_unref(place);
    message_unref(mail->message);
    mem_free(mail, sizeof *mail);
}

struct sending {
    struct pubsub *pubsub;
    struct message *message; /* NULL until somebody is reached */
    struct bytes name, payload;
    uint64_t gate;
};

static void send_to(void *self, struct channel *channel) {
    struct sending *sending = self;
    struct pubsub *pubsub = sending->pubsub;
    if (!sending->message) sending->message = message_new(sending->name, sending->payload);
    struct place *place;
    LIST_FOREACH (place, &channel->places, link) {
        struct mail *mail = mem_new(sizeof *mail);
        *mail = (struct mail){
            .post = { .size = sizeof *mail + sending->message->tail.len, .deliver = deliver },
            .place = place,
            .message = message_ref(sending->message),
            .gate = sending->gate,
            .epoch = pubsub->epoch,
        };
        atomic_fetch_add_explicit(&place->references, 1, memory_order_relaxed);
        post_send(pubsub->pulse, place->mailbox, &mail->post);
    }
}

void channels_send(struct pubsub *pubsub, enum channel_kind kind, struct bytes name,
                   struct bytes payload, uint64_t gate) {
    if (!atomic_load_explicit(&pubsub->listened_to, memory_order_relaxed)) return;
    struct sending sending = { pubsub, NULL, name, payload, gate };
    pthread_rwlock_rdlock(&pubsub->lock);
    each_reached(pubsub, kind, name, send_to, &sending);
    pthread_rwlock_unlock(&pubsub->lock);
    if (sending.message) message_unref(sending.message);
}

/* ---- looking ---- */

void channels_each(struct pubsub *pubsub, enum channel_kind kind,
                   void (*visit)(void *self, struct bytes name), void *self) {
    const struct channel *channel;
    pthread_rwlock_rdlock(&pubsub->lock);
    TAILQ_FOREACH (channel, &pubsub->lists[kind], link) visit(self, channel->named.text);
    pthread_rwlock_unlock(&pubsub->lock);
}

uint64_t channels_subscribers(struct pubsub *pubsub, enum channel_kind kind, struct bytes name) {
    pthread_rwlock_rdlock(&pubsub->lock);
    const struct channel *channel = channel_find(pubsub, kind, siphash(&pubsub->seed, name), name);
    uint64_t subscribers = channel ? channel->subscribers : 0;
    pthread_rwlock_unlock(&pubsub->lock);
    return subscribers;
}
