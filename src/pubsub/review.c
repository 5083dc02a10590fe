/* review.c: closing those who may no longer listen to what they are subscribed to.
 *
 * Only a session's loop may look at its subscriptions, so each loop gets a post and looks at its own. */
#include "base/mem.h"
#include "pubsub/channels.h"
#include "pubsub/pubsub.h"

struct review {
    struct post post;
    struct pulse *pulse;
    struct mailbox *mailbox;
    bool (*may)(void *self, const struct session *session, struct bytes channel, bool pattern);
    void *self;
    bool found;
};

static bool may_all(const struct review *review, const struct session *session) {
    for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++) {
        const struct subscription *subscription = channels_oldest(session, kind);
        for (; subscription; subscription = TAILQ_NEXT(subscription, link))
            if (!review->may(review->self, session, subscription->named.text,
                             kind == CHANNEL_PATTERN))
                return false;
    }
    return true;
}

static bool review_one(void *self, struct session *session) {
    struct review *review = self;
    if (session->mailbox != review->mailbox || may_all(review, session)) return true;
    atomic_store_explicit(&session->kill, true, memory_order_release);
    review->found = true;
    return true;
}

static void deliver(struct post *post, struct mailbox *mailbox) {
    struct review *review = (void *)post;
    if (mailbox) {
        review->mailbox = mailbox;
        sessions_each(review->pulse->sessions, review_one, review);
        if (review->found) mailbox_ring(mailbox);
    }
    mem_free(review, sizeof *review);
}

void pubsub_review(struct pubsub *pubsub,
                   bool (*may)(void *self, const struct session *session, struct bytes channel,
                               bool pattern),
                   void *self) {
    struct pulse *pulse = pubsub->pulse;
    for (size_t i = 0; i < pulse->loops_count; i++) {
        struct review *review = mem_new_zero(sizeof *review);
        review->post = (struct post){ .size = sizeof *review, .deliver = deliver };
        review->pulse = pulse;
        review->may = may;
        review->self = self;
        post_send(pulse, pulse->loops[i], &review->post);
    }
}
