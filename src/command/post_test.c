/* post_test.c: posts arrive in order, once, and bells ring for those that were sent some. */
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/limits.h"
#include "command/pulse.h"
#include "testing/testing.h"

struct note {
    struct post post;
    int number;
};

static int heard[16], heard_count, dropped;

static void hear(struct post *post, struct mailbox *mailbox) {
    struct note *note = (void *)post;
    if (mailbox)
        heard[heard_count++] = note->number;
    else
        dropped++;
    free(note);
}

static void send_note(struct pulse *pulse, struct mailbox *to, int number, size_t size) {
    struct note *note = calloc(1, sizeof *note);
    note->post = (struct post){ .size = size, .deliver = hear };
    note->number = number;
    post_send(pulse, to, &note->post);
}

static bool has_rung(struct mailbox *mailbox) {
    uint64_t times;
    return read(mailbox->fd, &times, sizeof times) == (ssize_t)sizeof times;
}

TEST(posts_are_delivered_once_in_order_and_others_are_rung) {
    struct mailbox one, two;
    mailbox_init(&one, 0);
    mailbox_init(&two, 1);
    one.fd = eventfd(0, EFD_NONBLOCK);
    two.fd = eventfd(0, EFD_NONBLOCK);
    struct mailbox *all[] = { &one, &two };
    struct pulse pulse = { .loops = all, .loops_count = 2 };
    heard_count = dropped = 0;

    assert_false(posts_deliver(&pulse, &one));
    send_note(&pulse, &one, 1, 0);
    send_note(&pulse, &two, 2, 0);
    send_note(&pulse, &two, 3, 0);
    posts_ring(&pulse, &one);
    assert_false(has_rung(&one));
    assert_true(has_rung(&two));
    send_note(&pulse, &one, 4, 0);
    posts_ring(&pulse, NULL);
    assert_true(has_rung(&one));
    assert_false(has_rung(&two));

    assert_true(posts_deliver(&pulse, &two));
    assert_false(posts_deliver(&pulse, &two));
    assert_int_equal(heard_count, 2);
    assert_int_equal(heard[0], 2);
    assert_int_equal(heard[1], 3);
    assert_int_equal(dropped, 0);

    close(one.fd);
    close(two.fd);
    mailbox_deinit(&one);
    mailbox_deinit(&two);
    assert_int_equal(dropped, 2);
}

TEST(a_mailbox_that_holds_too_much_is_counted_until_it_is_emptied) {
    struct mailbox mailbox;
    mailbox_init(&mailbox, 0);
    struct mailbox *all[] = { &mailbox };
    struct pulse pulse = { .loops = all, .loops_count = 1 };
    send_note(&pulse, &mailbox, 1, POSTS_SIZE_MAX / 2);
    assert_int_equal(pulse.posts_crowded, 0);
    send_note(&pulse, &mailbox, 2, POSTS_SIZE_MAX);
    send_note(&pulse, &mailbox, 3, POSTS_SIZE_MAX);
    assert_int_equal(pulse.posts_crowded, 1);
    assert_true(posts_deliver(&pulse, &mailbox));
    assert_int_equal(pulse.posts_crowded, 0);
    mailbox_deinit(&mailbox);
}
