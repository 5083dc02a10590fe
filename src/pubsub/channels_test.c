/* channels_test.c: who gets what: two loops, three sessions, and posts that are delivered when the test says so. */
#include "pubsub/channels.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/env.h"
#include "proto/out.h"
#include "proto/reply.h"
#include "pubsub/pubsub.h"
#include "testing/testing.h"

struct peer {
    struct session session; /* first: the carrier gets this */
    struct out out;
    struct reply reply;
    uint64_t gate;
    bool closing;
};

static struct reply *peer_open(struct session *session) {
    struct peer *peer = (void *)session;
    return peer->closing ? NULL : &peer->reply;
}

static void peer_done(struct session *session, uint64_t gate) {
    ((struct peer *)session)->gate = gate;
}

static const struct carrier peer_carrier = { .open = peer_open, .done = peer_done };

struct fixture {
    struct pulse pulse;
    struct pubsub *pubsub;
    struct mailbox loops[2];
    struct mailbox *all[2];
    struct peer peers[3]; /* the first two at the first loop; the last one speaks RESP3 */
};

static struct fixture *fixture_new(void) {
    struct fixture *f = calloc(1, sizeof *f);
    f->pulse.env = env_sim_new(1);
    f->pulse.settings = settings_new();
    f->pulse.sessions = sessions_new();
    for (unsigned i = 0; i < 2; i++) {
        mailbox_init(&f->loops[i], i);
        f->loops[i].fd = eventfd(0, EFD_NONBLOCK);
        f->all[i] = &f->loops[i];
    }
    f->pulse.loops = f->all;
    f->pulse.loops_count = 2;
    f->pubsub = f->pulse.pubsub = pubsub_new(&f->pulse);
    for (size_t i = 0; i < COUNT_OF(f->peers); i++) {
        struct peer *peer = &f->peers[i];
        session_init(&peer->session, &f->pulse, "127.0.0.1:1", "127.0.0.1:2", -1, f->all[i / 2]);
        peer->session.carrier = &peer_carrier;
        out_init(&peer->out);
        peer->reply =
            (struct reply){ .writer = i == 2 ? &resp3_writer : &resp2_writer, .out = &peer->out };
    }
    return f;
}

static void fixture_free(struct fixture *f) {
    for (size_t i = 0; i < COUNT_OF(f->peers); i++) {
        session_deinit(&f->peers[i].session, &f->pulse);
        out_deinit(&f->peers[i].out);
    }
    for (size_t i = 0; i < 2; i++) {
        close(f->loops[i].fd);
        mailbox_deinit(&f->loops[i]);
    }
    pubsub_free(f->pubsub);
    sessions_free(f->pulse.sessions);
    settings_free(f->pulse.settings);
    env_sim_free(f->pulse.env);
    free(f);
}

static void subscribe(struct fixture *f, size_t peer, enum channel_kind kind, const char *name) {
    assert_int_equal(channels_subscribe(f->pubsub, &f->peers[peer].session, kind, bytes_of(name)),
                     SUBSCRIBED);
}

static void unsubscribe(struct fixture *f, size_t peer, enum channel_kind kind, const char *name) {
    channels_unsubscribe(f->pubsub, &f->peers[peer].session, kind, bytes_of(name));
}

static void publish(struct fixture *f, const char *name, const char *payload) {
    channels_send(f->pubsub, CHANNEL_PLAIN, bytes_of(name), bytes_of(payload), 7);
}

static void deliver(struct fixture *f) {
    for (size_t i = 0; i < 2; i++) posts_deliver(&f->pulse, &f->loops[i]);
}

/* What a peer has got since it was last asked. */
static void assert_got(struct fixture *f, size_t peer, const char *text) {
    struct out *out = &f->peers[peer].out;
    char got[1024];
    snprintf(got, sizeof got, "%.*s", (int)out->len, out->data ? out->data : "");
    assert_string_equal(got, text);
    out_sent(out, out_pending(out), 0);
}

TEST(each_subscriber_gets_a_message_in_its_protocol) {
    struct fixture *f = fixture_new();
    subscribe(f, 0, CHANNEL_PLAIN, "news");
    subscribe(f, 2, CHANNEL_PLAIN, "news");
    subscribe(f, 1, CHANNEL_PATTERN, "n*");
    subscribe(f, 1, CHANNEL_SHARD, "news");
    assert_int_equal(channels_receivers(f->pubsub, CHANNEL_PLAIN, BYTES("news")), 3);
    assert_int_equal(channels_receivers(f->pubsub, CHANNEL_SHARD, BYTES("news")), 1);
    publish(f, "news", "hi");
    assert_got(f, 0, "");
    deliver(f);
    assert_got(f, 0, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
    assert_got(f, 1, "*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
    assert_got(f, 2, ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
    assert_int_equal(f->peers[2].gate, 7);
    fixture_free(f);
}

TEST(a_post_that_is_older_than_a_subscription_passes_it_by) {
    struct fixture *f = fixture_new();
    subscribe(f, 0, CHANNEL_PLAIN, "c");
    publish(f, "c", "1");
    subscribe(f, 1, CHANNEL_PLAIN, "c");
    publish(f, "c", "2");
    deliver(f);
    assert_got(f, 0,
               "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$"
               "1\r\n2\r\n");
    assert_got(f, 1, "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n2\r\n");
    fixture_free(f);
}

TEST(a_post_outlives_the_channel_that_it_was_for) {
    struct fixture *f = fixture_new();
    subscribe(f, 0, CHANNEL_PLAIN, "c");
    publish(f, "c", "1");
    unsubscribe(f, 0, CHANNEL_PLAIN, "c");
    assert_int_equal(f->pulse.pubsub_channels, 0);
    subscribe(f, 0, CHANNEL_PLAIN, "c");
    deliver(f);
    assert_got(f, 0, "");
    publish(f, "c", "2"); /* never delivered: freed with its mailbox */
    fixture_free(f);
}

TEST(a_session_that_ends_leaves_nothing_behind) {
    struct fixture *f = fixture_new();
    subscribe(f, 2, CHANNEL_PLAIN, "a");
    subscribe(f, 2, CHANNEL_PATTERN, "a*");
    subscribe(f, 2, CHANNEL_SHARD, "a");
    assert_int_equal(channels_subscribe(f->pubsub, &f->peers[2].session, CHANNEL_PLAIN, BYTES("a")),
                     SUBSCRIBED_ALREADY);
    assert_true(session_has(&f->peers[2].session, SESSION_PUBSUB));
    assert_int_equal(f->pulse.pubsub_clients, 1);
    session_reset(&f->peers[2].session, &f->pulse);
    assert_false(session_has(&f->peers[2].session, SESSION_PUBSUB));
    assert_null(f->peers[2].session.subscriptions);
    assert_int_equal(f->pulse.pubsub_clients, 0);
    assert_int_equal(f->pulse.pubsub_patterns, 0);
    assert_int_equal(f->pulse.pubsub_shard_channels, 0);
    fixture_free(f);
}

TEST(who_is_closing_hears_nothing_and_others_do) {
    struct fixture *f = fixture_new();
    subscribe(f, 0, CHANNEL_PLAIN, "c");
    subscribe(f, 1, CHANNEL_PLAIN, "c");
    f->peers[0].closing = true;
    publish(f, "c", "1");
    deliver(f);
    assert_got(f, 0, "");
    assert_got(f, 1, "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n1\r\n");
    fixture_free(f);
}

static bool may_hear_a(void *self, const struct session *session, struct bytes channel,
                       bool pattern) {
    (void)self;
    (void)session;
    return !pattern && bytes_equal(channel, BYTES("a"));
}

TEST(a_review_closes_those_who_hear_what_they_may_not) {
    struct fixture *f = fixture_new();
    subscribe(f, 0, CHANNEL_PLAIN, "a");
    subscribe(f, 1, CHANNEL_PATTERN, "a");
    subscribe(f, 2, CHANNEL_PLAIN, "a");
    subscribe(f, 2, CHANNEL_PLAIN, "b");
    pubsub_review(f->pubsub, may_hear_a, NULL);
    deliver(f);
    assert_false(f->peers[0].session.kill);
    assert_true(f->peers[1].session.kill);
    assert_true(f->peers[2].session.kill);
    fixture_free(f);
}

TEST(words_of_events_are_in_their_classes) {
    const struct {
        const char *event, *as;
    } cases[] = { { "set", "append" },       { "del", "rename_from" }, { "lpush", "sortstore" },
                  { "zadd", "zunionstore" }, { "hset", "hdel" },       { "xadd", "xtrim" },
                  { "sadd", "sunionstore" }, { "expired", "expired" }, { "evicted", "evicted" },
                  { "new", "new" },          { "keymiss", "keymiss" } };
    uint32_t seen = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(events_class(cases[i].event), events_class(cases[i].as));
        assert_false(seen & events_class(cases[i].event));
        seen |= events_class(cases[i].event);
    }
    assert_int_equal(events_class("revert"), events_class("del")); /* a word of ours */
}
