/* post.h: what one thread has for the clients of another.
 *
 * A session belongs to its loop, and only that writes to it. Whoever has something for one (a published message,
 * word that a key has changed, a waiter's turn) puts a post into the mailbox of its loop:
 *
 *     any thread, under any lock    post_send: into the queue; the mailbox is marked
 *     at the end of its round       posts_ring: the bells of those that were marked, and no lock is held
 *     the mailbox' loop             posts_deliver: between two rounds, so never within an answer,
 *                                   in the order of sending
 *
 * Posts are bounded: while a mailbox holds more than POSTS_SIZE_MAX the server runs no more commands than its
 * loops can deliver the posts of (posts_crowded).
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct pulse;
struct mailbox;

struct post {
    STAILQ_ENTRY(post) link;
    size_t size; /* bytes that it keeps alive */
    /* Called once, and frees it. `mailbox` NULL: nobody is there any more. Thread: the loop's. */
    void (*deliver)(struct post *post, struct mailbox *mailbox);
};
STAILQ_HEAD(post_queue, post);

/* A loop's bell and its posts. */
struct mailbox {
    int fd;                 /* an eventfd; owned by the loop */
    unsigned number;        /* its place in pulse->loops */
    _Atomic bool attention; /* there is something to look for, beside replies that may leave now */
    _Atomic bool marked;    /* was sent posts that it has not been rung for */
    _Atomic size_t size;    /* bytes of all posts */
    pthread_mutex_t lock;
    struct post_queue posts; /* lock */
};
void mailbox_init(struct mailbox *mailbox, unsigned number); /* all but fd */
void mailbox_deinit(struct mailbox *mailbox);                /* posts are dropped */
void mailbox_ring(
    struct mailbox *mailbox); /* for what asks for attention: `kill`, `unblock`, a stop */
void mailbox_wake(struct mailbox *mailbox); /* for what its loop looks at in every turn */

/* Takes `post` over. */
void post_send(struct pulse *pulse, struct mailbox *mailbox, struct post *post);
/* Rings whom posts were sent to, but for `own` (or NULL), which looks by itself. */
void posts_ring(struct pulse *pulse, const struct mailbox *own);
/* Delivers what was sent so far. false: there was nothing. */
bool posts_deliver(struct pulse *pulse, struct mailbox *mailbox);
