/* block_test.c: commands that wait, on a server with four loops: two commands of its own, which treat a number as so many
 * things to take.
 *
 *     TAKE key [key ...] timeout     takes one thing from the first key that has any, else waits
 *     SEE key timeout                the key's value, once it has one: takes nothing away
 */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/env.h"
#include "base/log.h"
#include "command/block.h"
#include "command/command.h"
#include "command/observe.h"
#include "command/pulse.h"
#include "server/server.h"
#include "store/store.h"

#undef fail /* cmocka has another */
#include "testing/testing.h"

static _Atomic int runs, taken;

static bool take_from(struct call *call, const struct key *key) {
    struct value value;
    if (call_is_behind(call, key, 0) || !txn_read(call->txn, key, &value)) return false;
    int64_t left = value.number - 1;
    if (left > 0) {
        txn_set_int(call->txn, key, left, 0);
        call_next(call, key, 0);
    } else {
        txn_delete(call->txn, key);
    }
    atomic_fetch_add(&taken, 1);
    return true;
}

static enum outcome take(struct call *call) {
    atomic_fetch_add(&runs, 1);
    size_t count = call->args_count - 2;
    int64_t timeout_ms;
    if (!arg_positive(call, call->args_count - 1, &timeout_ms)) return FAILED;
    struct key *keys = arena_new(call->arena, count * sizeof *keys);
    for (size_t i = 0; i < count; i++) {
        keys[i] = call_key(call, i + 1);
        if (take_from(call, &keys[i])) return reply_bulk(call, keys[i].name);
    }
    struct wait_on on = { .keys = keys, .keys_count = count, .timeout_ms = (uint64_t)timeout_ms };
    return call_waits(call, &on) ? BLOCKED : reply_null(call);
}

static enum outcome see(struct call *call) {
    atomic_fetch_add(&runs, 1);
    int64_t timeout_ms;
    if (!arg_positive(call, 2, &timeout_ms)) return FAILED;
    struct key key = call_key(call, 1);
    struct value value;
    if (txn_read(call->txn, &key, &value)) return reply_value(call, &value);
    struct wait_on on = {
        .keys = &key, .keys_count = 1, .shared = true, .timeout_ms = (uint64_t)timeout_ms
    };
    return call_waits(call, &on) ? BLOCKED : reply_null(call);
}

#define OF_A_TEST \
    .summary = "A test's.", .since = "pulse 1.0", .group = "generic", .complexity = "O(1)"

COMMAND(take) = { .synopsis = "TAKE key [key ...] timeout:int",
                  OF_A_TEST,
                  .flags = CMD_WRITE | CMD_BLOCKING,
                  .keys = KEY_RW | KEY_ACCESS | KEY_DELETE,
                  .run = take };

COMMAND(see) = { .synopsis = "SEE key timeout:int",
                 OF_A_TEST,
                 .flags = CMD_WRITE | CMD_BLOCKING, /* it has to hold the shard's lock */
                 .keys = KEY_RO | KEY_ACCESS,
                 .run = see };

/* ---- a server ---- */

struct fixture {
    struct pulse pulse;
    struct sink *sinks[1];
    struct server *server;
    pthread_t thread;
    char dir[64], path[96];
};

static void *serve(void *self) {
    server_run(self);
    return NULL;
}

static void set(struct fixture *f, enum setting_id id, const char *value) {
    struct problem why;
    assert_int_equal(settings_set(f->pulse.settings, id, bytes_of(value), &why), OK);
}

static struct fixture *fixture_new(void) {
    struct fixture *f = calloc(1, sizeof *f);
    struct pulse *pulse = &f->pulse;
    snprintf(f->dir, sizeof f->dir, "/tmp/block_test.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/socket", f->dir);
    pulse->env = env_real();
    pulse->log = log_new(pulse->env);
    log_configure(pulse->log, LOG_NOTHING, LOG_FORMAT_LEGACY, LOG_TIME_LEGACY);
    pulse->settings = settings_new();
    set(f, SETTING_ID_port, "0");
    set(f, SETTING_ID_threads, "4");
    set(f, SETTING_ID_unixsocket, f->path);
    pulse->commands = commands_new();
    pulse->sessions = sessions_new();
    pulse->observer = observer_new(pulse->env, pulse->settings);
    pulse->waiters = waiters_new(pulse);
    f->sinks[0] = waiters_sink(pulse->waiters);
    pulse->store = store_new(&(struct store_options){ .env = pulse->env,
                                                      .shards = 8,
                                                      .databases = 2,
                                                      .workers_max = 8,
                                                      .sinks = f->sinks,
                                                      .sinks_count = 1 });
    struct problem why;
    f->server = server_new(pulse, &why);
    assert_non_null(f->server);
    assert_int_equal(server_start(f->server, &why), OK);
    pthread_create(&f->thread, NULL, serve, f->server);
    atomic_store(&runs, 0);
    atomic_store(&taken, 0);
    return f;
}

static int connect_to(struct fixture *f) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", f->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (void *)&address, sizeof address), 0);
    return fd;
}

static void say(int fd, const char *line) {
    char text[256];
    int n = snprintf(text, sizeof text, "%s\r\n", line);
    assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
}

/* What comes next, as text; "" when nothing does within `ms`. */
static const char *hear(int fd, int ms) {
    static _Thread_local char text[512];
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    ssize_t n = poll(&ready, 1, ms) > 0 ? recv(fd, text, sizeof text - 1, 0) : 0;
    text[n > 0 ? n : 0] = '\0';
    return text;
}

enum { LONG_MS = 20000 }; /* a test that waits so long has failed */

static void hears(int fd, const char *expected) {
    assert_string_equal(hear(fd, LONG_MS), expected);
}

static void asks(int fd, const char *line, const char *expected) {
    say(fd, line);
    hears(fd, expected);
}

static long id_of(int fd) {
    say(fd, "CLIENT ID");
    return strtol(hear(fd, LONG_MS) + 1, NULL, 10);
}

static uint64_t count_blocked(struct fixture *f) {
    int fd = connect_to(f);
    say(fd, "CLIENT LIST");
    char text[65536];
    size_t len = 0;
    uint64_t count = 0;
    while (len < 3 || memcmp(text + len - 3, "\n\r\n", 3) != 0) {
        ssize_t n = recv(fd, text + len, sizeof text - len - 1, 0);
        assert_true(n > 0);
        len += (size_t)n;
    }
    text[len] = '\0';
    for (const char *at = text; (at = strstr(at, "flags=")); at++)
        count += strchr(at, 'b') < strchr(at, ' ') && strchr(at, 'b');
    close(fd);
    return count;
}

static void until_blocked(struct fixture *f, uint64_t count) {
    for (int i = 0; i < LONG_MS && count_blocked(f) != count; i++) usleep(1000);
    assert_int_equal(count_blocked(f), count);
}

static void fixture_free(struct fixture *f) {
    int fd = connect_to(f);
    say(fd, "SHUTDOWN NOSAVE");
    pthread_join(f->thread, NULL);
    close(fd);
    server_stop(f->server);
    server_free(f->server);
    struct pulse *pulse = &f->pulse;
    store_free(pulse->store);
    waiters_free(pulse->waiters);
    observer_free(pulse->observer);
    sessions_free(pulse->sessions);
    commands_free(pulse->commands);
    settings_free(pulse->settings);
    log_free(pulse->log);
    unlink(f->path);
    rmdir(f->dir);
    free(f);
}

/* ---- tests ---- */

TEST(what_is_there_is_taken_at_once_and_what_is_not_is_waited_for) {
    struct fixture *f = fixture_new();
    int one = connect_to(f), two = connect_to(f);
    asks(one, "SET k 1", "+OK\r\n");
    asks(one, "TAKE k 0", "$1\r\nk\r\n");
    say(one, "TAKE none k 0");
    until_blocked(f, 1);
    asks(two, "SET other 1", "+OK\r\n");
    asks(two, "SET k 1", "+OK\r\n");
    hears(one, "$1\r\nk\r\n");
    asks(two, "EXISTS k", ":0\r\n");
    close(one);
    close(two);
    fixture_free(f);
}

TEST(first_come_first_served_and_one_is_called_for_each_change) {
    enum { COUNT = 40 };
    struct fixture *f = fixture_new();
    int waiters[COUNT], writer = connect_to(f);
    for (uint64_t i = 0; i < COUNT; i++) {
        waiters[i] = connect_to(f);
        say(waiters[i], "TAKE k 0");
        until_blocked(f, i + 1);
    }
    assert_int_equal(runs, COUNT);
    for (int i = 0; i < COUNT; i++) {
        asks(writer, "SET k 1", "+OK\r\n");
        hears(waiters[i], "$1\r\nk\r\n");
        assert_int_equal(runs, COUNT + i + 1);
        close(waiters[i]);
    }
    close(writer);
    fixture_free(f);
}

TEST(who_leaves_something_calls_the_next) {
    struct fixture *f = fixture_new();
    int a = connect_to(f), b = connect_to(f), c = connect_to(f), writer = connect_to(f);
    say(a, "TAKE k 0");
    until_blocked(f, 1);
    say(b, "TAKE k 0");
    until_blocked(f, 2);
    say(c, "TAKE k 0");
    until_blocked(f, 3);
    asks(writer, "SET k 2", "+OK\r\n");
    hears(a, "$1\r\nk\r\n");
    hears(b, "$1\r\nk\r\n");
    /* What a leaves is a SET as well, so that c is called for it, in vain: six runs. */
    for (int i = 0; i < LONG_MS && runs < 6; i++) usleep(1000);
    assert_int_equal(runs, 6);
    until_blocked(f, 1);
    asks(writer, "MULTI", "+OK\r\n");
    asks(writer, "SET k 1", "+QUEUED\r\n");
    asks(writer, "TAKE k 0", "+QUEUED\r\n");
    asks(writer, "TAKE k 0", "+QUEUED\r\n");
    asks(writer, "EXEC", "*3\r\n+OK\r\n$1\r\nk\r\n$-1\r\n"); /* in MULTI nobody waits */
    asks(writer, "SET k 1", "+OK\r\n");
    hears(c, "$1\r\nk\r\n");
    close(a), close(b), close(c), close(writer);
    fixture_free(f);
}

TEST(those_who_share_are_all_called) {
    struct fixture *f = fixture_new();
    int a = connect_to(f), b = connect_to(f), taker = connect_to(f), writer = connect_to(f);
    say(a, "SEE k 0");
    say(b, "SEE k 0");
    until_blocked(f, 2);
    asks(writer, "SET k 7", "+OK\r\n");
    hears(a, "$1\r\n7\r\n");
    hears(b, "$1\r\n7\r\n");
    asks(taker, "TAKE k 0", "$1\r\nk\r\n");
    close(a), close(b), close(taker), close(writer);
    fixture_free(f);
}

TEST(a_deadline_an_unblock_and_a_closed_peer_end_it) {
    struct fixture *f = fixture_new();
    int a = connect_to(f), b = connect_to(f), c = connect_to(f), writer = connect_to(f);
    asks(a, "TAKE k 30", "$-1\r\n");
    char line[64];
    long id_of_a = id_of(a), id_of_b = id_of(b);
    say(a, "TAKE k 0\r\nPING"); /* what comes after it waits as well */
    until_blocked(f, 1);
    assert_string_equal(hear(a, 20), "");
    snprintf(line, sizeof line, "CLIENT UNBLOCK %ld", id_of_a);
    asks(writer, line, ":1\r\n");
    hears(a, "$-1\r\n+PONG\r\n");
    say(a, "TAKE k 0");
    until_blocked(f, 1);
    snprintf(line, sizeof line, "CLIENT UNBLOCK %ld ERROR", id_of_a);
    asks(writer, line, ":1\r\n");
    hears(a, "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    asks(writer, line, ":0\r\n");
    say(a, "TAKE k 0");
    until_blocked(f, 1);
    say(b, "TAKE k 0");
    until_blocked(f, 2);
    say(c, "TAKE k 0");
    until_blocked(f, 3);
    close(a);
    until_blocked(f, 2);
    snprintf(line, sizeof line, "CLIENT KILL ID %ld", id_of_b);
    asks(writer, line, ":1\r\n");
    until_blocked(f, 1);
    asks(writer, "SET k 1", "+OK\r\n");
    hears(c, "$1\r\nk\r\n");
    close(b), close(c), close(writer);
    fixture_free(f);
}

TEST(a_database_that_is_swapped_in_wakes_those_who_wait) {
    struct fixture *f = fixture_new();
    int waiter = connect_to(f), writer = connect_to(f);
    say(waiter, "TAKE k 0");
    until_blocked(f, 1);
    asks(writer, "SELECT 1", "+OK\r\n");
    asks(writer, "SET k 1", "+OK\r\n");
    asks(writer, "SWAPDB 0 1", "+OK\r\n");
    hears(waiter, "$1\r\nk\r\n");
    close(waiter), close(writer);
    fixture_free(f);
}

/* ---- a storm: nothing is taken twice, and nobody waits while there is something ---- */

enum { KEYS = 5, THREADS = 8, THINGS = 4000 };

struct storm {
    struct fixture *fixture;
    unsigned seed;
    _Atomic int *made;
};

/* Takes, with deadlines and without; sometimes goes away instead of waiting for the answer. */
static void *storm_takes(void *self) {
    struct storm *storm = self;
    int fd = connect_to(storm->fixture);
    while (atomic_load(&taken) < THINGS) {
        char line[64];
        snprintf(line, sizeof line, "TAKE k%d k%d %d", rand_r(&storm->seed) % KEYS,
                 rand_r(&storm->seed) % KEYS, rand_r(&storm->seed) % 3 ? 50 : 3);
        say(fd, line);
        if (rand_r(&storm->seed) % 16) {
            assert_true(hear(fd, LONG_MS)[0] == '$');
            continue;
        }
        if (rand_r(&storm->seed) % 2) usleep(1000);
        close(fd);
        fd = connect_to(storm->fixture);
    }
    close(fd);
    return NULL;
}

static void *storm_makes(void *self) {
    struct storm *storm = self;
    int fd = connect_to(storm->fixture);
    while (atomic_fetch_add(storm->made, 1) < THINGS) {
        char line[64];
        snprintf(line, sizeof line, "INCR k%d", rand_r(&storm->seed) % KEYS);
        say(fd, line);
        assert_true(hear(fd, LONG_MS)[0] == ':');
    }
    close(fd);
    return NULL;
}

TEST(in_a_storm_nothing_is_lost_and_nothing_taken_twice) {
    struct fixture *f = fixture_new();
    _Atomic int made = 0;
    pthread_t threads[THREADS];
    struct storm storms[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        storms[i] = (struct storm){ f, i + 1, &made };
        pthread_create(&threads[i], NULL, i < 2 ? storm_makes : storm_takes, &storms[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(taken, THINGS);
    int fd = connect_to(f);
    asks(fd, "DBSIZE", ":0\r\n");
    close(fd);
    fixture_free(f);
}
