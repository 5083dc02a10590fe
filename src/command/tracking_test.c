/* Tracking from a read to the words that reach the peer, on two loops that are turned by hand. */
#include "command/tracking.h"

#include <stdlib.h>

#include "testing/testing.h"

#undef fail /* cmocka's; command/call.h has another */

#include "base/arena.h"
#include "base/env.h"
#include "command/handle.h"
#include "command/pulse.h"

enum { CLIENTS = 3, SHARDS = 4 };

struct client {
    struct session session; /* first */
    struct out out;
    struct reply reply;
    uint64_t gate;
};

struct fixture {
    struct pulse pulse;
    struct mailbox mailboxes[2];
    struct mailbox *loops[2];
    struct sink *sinks[1];
    struct worker *worker;
    struct arena arena;
    struct shardset all;
    struct client clients[CLIENTS]; /* on the loops 0, 1, 0 */
};

static struct reply *open_push(struct session *session) {
    return &((struct client *)(void *)session)->reply;
}

static void done_push(struct session *session, uint64_t gate) {
    ((struct client *)(void *)session)->gate = gate;
}

static const struct carrier carrier = { .open = open_push, .done = done_push };

static struct fixture *fixture_new(void) {
    struct fixture *f = calloc(1, sizeof *f);
    struct pulse *pulse = &f->pulse;
    pulse->env = env_sim_new(1);
    pulse->settings = settings_new();
    pulse->sessions = sessions_new();
    for (unsigned i = 0; i < 2; i++) {
        mailbox_init(&f->mailboxes[i], i);
        f->loops[i] = &f->mailboxes[i];
    }
    pulse->loops = f->loops;
    pulse->loops_count = 2;
    pulse->tracking = tracking_new(pulse);
    f->sinks[0] = tracking_sink(pulse->tracking);
    pulse->store = store_new(&(struct store_options){ .env = pulse->env,
                                                      .shards = SHARDS,
                                                      .databases = 2,
                                                      .workers_max = 1,
                                                      .sinks = f->sinks,
                                                      .sinks_count = 1 });
    f->worker = worker_new(pulse->store);
    arena_init(&f->arena);
    for (unsigned i = 0; i < SHARDS; i++) shardset_add(&f->all, i);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &f->clients[i];
        session_init(&client->session, pulse, "127.0.0.1:1", "127.0.0.1:2", 3, f->loops[i % 2]);
        client->session.carrier = &carrier;
        out_init(&client->out);
        client->reply = (struct reply){ .writer = &resp3_writer, .out = &client->out };
        atomic_store(&client->session.protocol, 3);
    }
    return f;
}

static void fixture_free(struct fixture *f) {
    struct pulse *pulse = &f->pulse;
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (f->clients[i].session.id) session_deinit(&f->clients[i].session, pulse);
        out_deinit(&f->clients[i].out);
    }
    mailbox_deinit(&f->mailboxes[0]);
    mailbox_deinit(&f->mailboxes[1]);
    worker_free(f->worker);
    store_free(pulse->store);
    tracking_free(pulse->tracking);
    sessions_free(pulse->sessions);
    settings_free(pulse->settings);
    env_sim_free(pulse->env);
    arena_deinit(&f->arena);
    free(f);
}

static void track(struct fixture *f, unsigned client, uint32_t flags, unsigned redirect,
                  const char *prefix) {
    struct session *to = redirect ? &f->clients[redirect].session : NULL;
    struct bytes prefixes[] = { bytes_of(prefix ? prefix : "") };
    tracking_start(&f->clients[client].session, &f->pulse,
                   &(struct tracking_wish){ .flags = flags,
                                            .redirect = to ? to->id : 0,
                                            .redirect_to = to ? to->mailbox : NULL,
                                            .prefixes = prefixes,
                                            .prefixes_count = prefix != NULL });
}

static void reads(struct fixture *f, unsigned client, const char *name) {
    struct key key = store_key(f->pulse.store, 0, bytes_of(name));
    struct call call = { .session = &f->clients[client].session,
                         .pulse = &f->pulse,
                         .first = &key };
    tracking_remember(&call);
}

/* One transaction of `client` that sets every one of the names (one letter each). Returns its stamp. */
static uint64_t writes(struct fixture *f, unsigned client, const char *names) {
    struct txn txn;
    worker_tick(f->worker);
    txn_begin(&txn, f->worker, &f->arena, &f->all, 0);
    txn.session = f->clients[client].session.id;
    for (; *names; names++) {
        struct key key = store_key(f->pulse.store, 0, (struct bytes){ names, 1 });
        assert_int_equal(txn_set_string(&txn, &key, BYTES("v"), 0), OK);
    }
    txn_commit(&txn);
    arena_clear(&f->arena);
    return txn.stamp;
}

static void turn(struct fixture *f) {
    for (unsigned i = 0; i < 4; i++) (void)posts_deliver(&f->pulse, f->loops[i % 2]);
}

static void expect(struct fixture *f, unsigned client, const char *words) {
    struct out *out = &f->clients[client].out;
    turn(f);
    out_put(out, (struct bytes){ "", 1 });
    assert_string_equal(out->data, words);
    out_rewind(out, (struct out_mark){ 0, 0 });
}

#define PUSH_A ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n"
#define PUSH_B ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nb\r\n"

TEST(who_has_read_a_key_is_told_of_its_next_change_and_no_other) {
    struct fixture *f = fixture_new();
    track(f, 0, 0, 0, NULL);
    track(f, 1, 0, 0, NULL);
    reads(f, 0, "a");
    reads(f, 0, "a");
    reads(f, 1, "a");
    reads(f, 1, "b");
    uint64_t stamp = writes(f, 2, "ac");
    expect(f, 0, PUSH_A);
    expect(f, 1, PUSH_A);
    assert_int_equal(f->clients[0].gate, stamp);
    writes(f, 2, "a");
    expect(f, 0, "");
    writes(f, 2, "ab");
    expect(f, 1, PUSH_B);
    fixture_free(f);
}

TEST(a_session_is_told_of_its_own_changes_unless_it_asked_not_to_be) {
    struct fixture *f = fixture_new();
    track(f, 0, SESSION_TRACKING_NOLOOP, 0, NULL);
    track(f, 1, 0, 0, NULL);
    reads(f, 0, "a");
    reads(f, 1, "a");
    writes(f, 0, "a");
    expect(f, 0, "");
    expect(f, 1, PUSH_A);
    reads(f, 0, "a");
    reads(f, 1, "a");
    writes(f, 1, "a");
    expect(f, 0, PUSH_A);
    expect(f, 1, PUSH_A);
    fixture_free(f);
}

TEST(who_turned_it_off_is_told_nothing_and_nobody_listens_for_nobody) {
    struct fixture *f = fixture_new();
    track(f, 0, 0, 0, NULL);
    reads(f, 0, "a");
    assert_true(atomic_load(&f->sinks[0]->listens));
    tracking_stop(&f->clients[0].session, &f->pulse);
    assert_false(atomic_load(&f->sinks[0]->listens));
    writes(f, 1, "a");
    expect(f, 0, "");
    track(f, 1, 0, 0, NULL);
    writes(f, 1, "a"); /* takes out what the other had left behind */
    expect(f, 0, "");
    struct tracking_counts counts;
    tracking_count(f->pulse.tracking, &counts);
    assert_int_equal(counts.clients, 1);
    assert_int_equal(counts.keys, 0);
    fixture_free(f);
}

TEST(prefixes_are_told_once_a_transaction_in_order) {
    struct fixture *f = fixture_new();
    track(f, 0, SESSION_TRACKING_BCAST, 0, "a");
    track(f, 1, SESSION_TRACKING_BCAST | SESSION_TRACKING_NOLOOP, 0, NULL);
    writes(f, 2, "cacb");
    expect(f, 0, PUSH_A);
    expect(f, 1, ">2\r\n$10\r\ninvalidate\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n");
    writes(f, 1, "a");
    expect(f, 0, PUSH_A);
    expect(f, 1, "");
    struct tracking_counts counts;
    tracking_count(f->pulse.tracking, &counts);
    assert_int_equal(counts.prefixes, 2);
    tracking_stop(&f->clients[1].session, &f->pulse);
    tracking_count(f->pulse.tracking, &counts);
    assert_int_equal(counts.prefixes, 1);
    writes(f, 2, "b");
    expect(f, 0, "");
    fixture_free(f);
}

#define MESSAGE "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"

TEST(another_session_gets_what_is_redirected_to_it_as_its_protocol_has_it) {
    struct fixture *f = fixture_new();
    track(f, 0, 0, 1, NULL);
    reads(f, 0, "a");
    writes(f, 2, "a");
    expect(f, 0, "");
    expect(f, 1, PUSH_A);

    f->clients[1].reply.writer = &resp2_writer;
    atomic_store(&f->clients[1].session.protocol, 2);
    reads(f, 0, "a");
    writes(f, 2, "a");
    expect(f, 1, ""); /* it hears no messages */
    session_flag_set(&f->clients[1].session, SESSION_PUBSUB, true);
    reads(f, 0, "a");
    writes(f, 2, "a");
    expect(f, 1, MESSAGE "*1\r\n$1\r\na\r\n");
    fixture_free(f);
}

TEST(who_redirects_to_nobody_is_told_that) {
    struct fixture *f = fixture_new();
    track(f, 0, 0, 1, NULL);
    reads(f, 0, "a");
    writes(f, 2, "a");
    (void)posts_deliver(&f->pulse, f->loops[0]); /* on its way to the other loop */
    session_deinit(&f->clients[1].session, &f->pulse);
    f->clients[1].session.id = 0;
    expect(f, 0, ">2\r\n$21\r\ntracking-redir-broken\r\n:2\r\n");
    assert_true(session_has(&f->clients[0].session, SESSION_TRACKING_BROKEN));
    reads(f, 0, "a");
    writes(f, 2, "a");
    expect(f, 0, ">2\r\n$21\r\ntracking-redir-broken\r\n:2\r\n");
    fixture_free(f);
}

TEST(a_flush_makes_everybody_forget_everything) {
    struct fixture *f = fixture_new();
    track(f, 0, SESSION_TRACKING_NOLOOP, 0, NULL);
    track(f, 1, SESSION_TRACKING_BCAST, 0, "x");
    reads(f, 0, "a");
    writes(f, 2, "z");
    struct txn txn;
    txn_begin(&txn, f->worker, &f->arena, &f->all, TXN_MULTI);
    txn_flush(&txn, 0);
    txn_commit(&txn);
    expect(f, 0, ">2\r\n$10\r\ninvalidate\r\n_\r\n");
    expect(f, 1, ">2\r\n$10\r\ninvalidate\r\n_\r\n");
    expect(f, 2, "");
    writes(f, 2, "a");
    expect(f, 0, "");
    fixture_free(f);
}

TEST(a_full_table_forgets_a_key_and_says_so) {
    struct fixture *f = fixture_new();
    struct problem why = {};
    assert_int_equal(
        settings_set(f->pulse.settings, SETTING_ID_tracking_table_max_keys, BYTES("1"), &why), OK);
    track(f, 0, 0, 0, NULL);
    track(f, 1, 0, 0, NULL);
    reads(f, 0, "a");
    expect(f, 0, "");
    reads(f, 1, "b");
    expect(f, 0, PUSH_A);
    struct tracking_counts counts;
    tracking_count(f->pulse.tracking, &counts);
    assert_int_equal(counts.keys, 1);
    assert_int_equal(counts.items, 1);
    writes(f, 2, "ab");
    expect(f, 0, "");
    expect(f, 1, PUSH_B);
    fixture_free(f);
}
