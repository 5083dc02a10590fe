/* multi_test.c: what a queued command is asked before EXEC runs anything (struct exec_check), with a command that
 * answers what its word says. What a client sees of MULTI is in tests/test_transactions.py. */
#include "testing/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef fail /* cmocka's; command/call.h has another */

#include "base/arena.h"
#include "base/env.h"
#include "command/batch.h"
#include "command/command.h"
#include "command/observe.h"
#include "command/pulse.h"
#include "command/session.h"
#include "proto/out.h"
#include "store/store.h"

static int runs;

static enum outcome lease(struct call *call) {
    runs++;
    return reply_ok(call);
}

static void lease_check(struct call *call, struct exec_check *check) {
    struct bytes text = arena_format(call->arena, "%.*s EXEC discarded: of %.*s",
                                     arg_is(call, 2, BYTES("done")) ? 7 : 9,
                                     arg_is(call, 2, BYTES("done")) ? "TXNDONE" : "LEASELOST",
                                     (int)call->args[1].len, call->args[1].data);
    if (arg_is(call, 2, BYTES("holds")) && check->holds++ == 0) return;
    if (arg_is(call, 2, BYTES("lost")) && check->lost++ == 0) check->lost_error = text;
    if (arg_is(call, 2, BYTES("done")) && check->done++ == 0) {
        check->done_error = text;
        if (!check->lost_error.len)
            check->lost_error = arena_format(call->arena, "LEASELOST EXEC discarded: of %.*s",
                                             (int)call->args[1].len, call->args[1].data);
    }
}

COMMAND(lease) = {
    .synopsis = "LEASE key state",
    .summary = "A test's.",
    .since = "pulse 1.0",
    .group = "generic",
    .complexity = "O(1)",
    .flags = CMD_WRITE,
    .keys = KEY_RW,
    .run = lease,
    .check = lease_check,
};

struct fixture {
    struct pulse pulse;
    struct worker *worker;
    struct batch *batch;
    struct session session;
    struct out out;
    struct reply reply;
};

static struct fixture *fixture_new(void) {
    struct fixture *f = calloc(1, sizeof *f);
    f->pulse.env = env_sim_new(1);
    f->pulse.settings = settings_new();
    f->pulse.sessions = sessions_new();
    f->pulse.observer = observer_new(f->pulse.env, f->pulse.settings);
    f->pulse.commands = commands_new();
    f->pulse.store = store_new(&(struct store_options){
        .env = f->pulse.env, .shards = 4, .databases = 2, .workers_max = 1 });
    f->worker = worker_new(f->pulse.store);
    f->batch = batch_new(&f->pulse, f->worker);
    session_init(&f->session, &f->pulse, "test:1", "test:0", -1, NULL);
    out_init(&f->out);
    f->reply = (struct reply){ .writer = &resp2_writer, .out = &f->out };
    runs = 0;
    return f;
}

static void fixture_free(struct fixture *f) {
    session_deinit(&f->session, &f->pulse);
    out_deinit(&f->out);
    batch_free(f->batch);
    worker_free(f->worker);
    store_free(f->pulse.store);
    commands_free(f->pulse.commands);
    observer_free(f->pulse.observer);
    sessions_free(f->pulse.sessions);
    settings_free(f->pulse.settings);
    env_sim_free(f->pulse.env);
    free(f);
}

/* Runs commands, each a line of words; the answer of the last one is `expected`. */
static void says(struct fixture *f, const char *lines, const char *expected) {
    char copy[256], *rest = copy;
    snprintf(copy, sizeof copy, "%s", lines);
    for (char *line; (line = strsep(&rest, "\n"));) {
        struct bytes words[8];
        size_t count = 0;
        for (char *word; (word = strsep(&line, " "));) words[count++] = bytes_of(word);
        out_rewind(&f->out, (struct out_mark){});
        (void)batch_run_one(f->batch, &f->session, &f->reply, words, count);
    }
    assert_int_equal(f->out.len, strlen(expected));
    assert_memory_equal(f->out.data, expected, f->out.len);
}

TEST(exec_runs_when_all_that_is_asked_for_holds) {
    struct fixture *f = fixture_new();
    says(f, "MULTI\nLEASE a holds\nLEASE b holds\nEXEC", "*2\r\n+OK\r\n+OK\r\n");
    says(f, "MULTI\nLEASE a nothing\nEXEC", "*1\r\n+OK\r\n");
    assert_int_equal(runs, 3);
    fixture_free(f);
}

TEST(exec_runs_nothing_when_something_is_lost) {
    struct fixture *f = fixture_new();
    const char *lost = "-LEASELOST EXEC discarded: of b\r\n";
    says(f, "MULTI\nLEASE a holds\nSET k v\nLEASE b lost\nEXEC", lost);
    says(f, "MULTI\nLEASE a done\nLEASE b lost\nLEASE c lost\nEXEC", lost);
    says(f, "GET k", "$-1\r\n");
    says(f, "EXEC", "-ERR EXEC without MULTI\r\n");
    assert_int_equal(runs, 0);
    fixture_free(f);
}

TEST(what_was_done_before_is_said_unless_a_part_of_it_still_holds) {
    struct fixture *f = fixture_new();
    says(f, "MULTI\nLEASE a done\nLEASE b done\nEXEC", "-TXNDONE EXEC discarded: of a\r\n");
    says(f, "MULTI\nLEASE a done\nLEASE b holds\nEXEC", "-LEASELOST EXEC discarded: of a\r\n");
    assert_int_equal(runs, 0);
    fixture_free(f);
}

TEST(a_watched_key_is_looked_at_first) {
    struct fixture *f = fixture_new();
    says(f, "WATCH k\nSET k v\nMULTI\nLEASE a lost\nEXEC", "*-1\r\n");
    fixture_free(f);
}
