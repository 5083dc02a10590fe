#include "command/post.h"

#include <errno.h>
#include <unistd.h>

#include "base/attributes.h"
#include "base/limits.h"
#include "command/pulse.h"

void mailbox_init(struct mailbox *mailbox, unsigned number) {
    *mailbox = (struct mailbox){ .fd = -1, .number = number };
    pthread_mutex_init(&mailbox->lock, NULL);
    STAILQ_INIT(&mailbox->posts);
}

static struct post_queue take_all(struct mailbox *mailbox) {
    struct post_queue taken = STAILQ_HEAD_INITIALIZER(taken);
    pthread_mutex_lock(&mailbox->lock);
    STAILQ_CONCAT(&taken, &mailbox->posts);
    pthread_mutex_unlock(&mailbox->lock);
    return taken;
}

static void hand_out(struct post_queue *queue, struct mailbox *to) {
    struct post *post;
    while ((post = STAILQ_FIRST(queue))) {
        STAILQ_REMOVE_HEAD(queue, link);
        post->deliver(post, to);
    }
}

void mailbox_deinit(struct mailbox *mailbox) {
    struct post_queue left = take_all(mailbox);
    hand_out(&left, NULL);
    pthread_mutex_destroy(&mailbox->lock);
}

void mailbox_ring(struct mailbox *mailbox) {
    atomic_store_explicit(&mailbox->attention, true, memory_order_release);
    mailbox_wake(mailbox);
}

void mailbox_wake(struct mailbox *mailbox) {
    uint64_t one = 1;
    /* A full counter means that the bell rings already. */
    while (write(mailbox->fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

/* Counts mailboxes that hold too much, as one crosses the line. */
static void weigh(struct pulse *pulse, size_t before, size_t after) {
    bool was = before > POSTS_SIZE_MAX, is = after > POSTS_SIZE_MAX;
    if (was == is) return;
    atomic_fetch_add_explicit(&pulse->posts_crowded, is ? 1 : UINT32_MAX, memory_order_relaxed);
}

void post_send(struct pulse *pulse, struct mailbox *mailbox, struct post *post) {
    pthread_mutex_lock(&mailbox->lock);
    STAILQ_INSERT_TAIL(&mailbox->posts, post, link);
    size_t before = atomic_load_explicit(&mailbox->size, memory_order_relaxed);
    size_t after = before + post->size + sizeof *post;
    atomic_store_explicit(&mailbox->size, after, memory_order_relaxed);
    weigh(pulse, before, after);
    pthread_mutex_unlock(&mailbox->lock);
    atomic_store_explicit(&mailbox->marked, true, memory_order_release);
    (void)atomic_exchange_explicit(&pulse->posts_marked, true, memory_order_acq_rel);
}

void posts_ring(struct pulse *pulse, const struct mailbox *own) {
    if (LIKELY(!atomic_load_explicit(&pulse->posts_marked, memory_order_relaxed))) return;
    /* Whoever marks after this has a round's end of its own to come. */
    (void)atomic_exchange_explicit(&pulse->posts_marked, false, memory_order_acq_rel);
    for (size_t i = 0; i < pulse->loops_count; i++) {
        struct mailbox *mailbox = pulse->loops[i];
        if (!atomic_load_explicit(&mailbox->marked, memory_order_acquire)) continue;
        if (mailbox == own) continue;
        if (atomic_exchange_explicit(&mailbox->marked, false, memory_order_acq_rel))
            mailbox_wake(mailbox);
    }
}

bool posts_deliver(struct pulse *pulse, struct mailbox *mailbox) {
    if (LIKELY(atomic_load_explicit(&mailbox->size, memory_order_relaxed) == 0)) return false;
    atomic_store_explicit(&mailbox->marked, false, memory_order_relaxed);
    pthread_mutex_lock(&mailbox->lock);
    struct post_queue taken = STAILQ_HEAD_INITIALIZER(taken);
    STAILQ_CONCAT(&taken, &mailbox->posts);
    size_t before = atomic_exchange_explicit(&mailbox->size, 0, memory_order_relaxed);
    weigh(pulse, before, 0);
    pthread_mutex_unlock(&mailbox->lock);
    hand_out(&taken, mailbox);
    return true;
}
