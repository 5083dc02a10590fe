/* Users: what sessions learn of them, when, and how they come from files. */
#include "command/acl.h"

#include "testing/testing.h"

#include <pthread.h>
#include <string.h>

#undef fail /* cmocka's; command/call.h has another */

#include "base/env.h"
#include "base/limits.h"
#include "base/mem.h"
#include "command/pulse.h"

struct fixture {
    struct pulse pulse;
    struct arena arena;
    struct session session;
};

static void setup(struct fixture *f) {
    memset(f, 0, sizeof *f);
    f->pulse.env = env_sim_new(1);
    f->pulse.settings = settings_new();
    f->pulse.commands = commands_new();
    f->pulse.sessions = sessions_new();
    f->pulse.acl = acl_new(&f->pulse);
    arena_init(&f->arena);
    session_init(&f->session, &f->pulse, "10.0.0.1:7", "10.0.0.2:6380", 1, NULL);
}

static void teardown(struct fixture *f) {
    session_deinit(&f->session, &f->pulse);
    arena_deinit(&f->arena);
    f->pulse.acl = acl_free(f->pulse.acl);
    f->pulse.sessions = sessions_free(f->pulse.sessions);
    f->pulse.commands = commands_free(f->pulse.commands);
    settings_free(f->pulse.settings);
    env_sim_free(f->pulse.env);
}

static enum status set(struct fixture *f, const char *name, const char *rule) {
    struct bytes word = bytes_of(rule), wrong;
    return acl_set_user(f->pulse.acl, bytes_of(name), &word, 1, &f->arena, &wrong, NULL);
}

static const char *everybody(struct fixture *f) {
    struct buffer text;
    buffer_init(&text, ACL_FILE_MAX);
    acl_write(f->pulse.acl, &text);
    const char *copy = arena_format(&f->arena, "%.*s", (int)text.len, text.data).data;
    buffer_deinit(&text);
    return copy;
}

static const char *load(struct fixture *f, const char *text) {
    struct buffer errors;
    buffer_init(&errors, ACL_ERRORS_MAX);
    enum status status = acl_read(f->pulse.acl, "f", bytes_of(text), &errors);
    assert_int_equal(status == OK, errors.len == 0);
    const char *copy = arena_format(&f->arena, "%.*s", (int)errors.len, errors.data).data;
    buffer_deinit(&errors);
    return copy;
}

TEST(a_session_is_default_and_unrestricted_until_that_changes) {
    struct fixture f;
    setup(&f);
    assert_true(session_is_unrestricted(&f.session));
    assert_int_equal(set(&f, "default", "-get"), OK);
    assert_false(session_is_unrestricted(&f.session));
    assert_true(acl_rules_allow_all(f.session.rules)); /* what it holds does not change */
    assert_true(acl_refresh(f.pulse.acl, &f.session));
    assert_false(acl_rules_allow_all(f.session.rules));
    assert_false(session_is_unrestricted(&f.session));
    assert_int_equal(set(&f, "default", "+@all"), OK);
    assert_true(acl_refresh(f.pulse.acl, &f.session));
    assert_true(session_is_unrestricted(&f.session));
    teardown(&f);
}

TEST(only_the_right_password_of_a_user_that_is_on_lets_in) {
    struct fixture f;
    setup(&f);
    struct acl *acl = f.pulse.acl;
    assert_int_equal(set(&f, "u", ">p"), OK);
    assert_false(acl_login(acl, &f.session, BYTES("u"), BYTES("p"))); /* off */
    assert_int_equal(set(&f, "u", "on"), OK);
    assert_false(acl_login(acl, &f.session, BYTES("u"), BYTES("x")));
    assert_false(acl_login(acl, &f.session, BYTES("nobody"), BYTES("p")));
    assert_true(acl_login(acl, &f.session, BYTES("u"), BYTES("p")));
    assert_memory_equal(f.session.user.data, "u", 1);
    assert_false(session_is_unrestricted(&f.session));
    session_reset(&f.session, &f.pulse);
    assert_true(session_is_unrestricted(&f.session));
    teardown(&f);
}

TEST(a_deleted_user_is_gone_even_if_another_of_its_name_comes) {
    struct fixture f;
    setup(&f);
    struct acl *acl = f.pulse.acl;
    assert_int_equal(set(&f, "u", "on"), OK);
    assert_int_equal(set(&f, "u", "nopass"), OK);
    assert_true(acl_login(acl, &f.session, BYTES("u"), BYTES("")));
    struct bytes names[] = { BYTES("u"), BYTES("nobody"), BYTES("default") };
    assert_int_equal(acl_delete_users(acl, names, COUNT_OF(names)), 1);
    assert_true(atomic_load(&f.session.kill));
    assert_int_equal(set(&f, "u", "on"), OK);
    assert_false(acl_refresh(acl, &f.session));
    teardown(&f);
}

TEST(a_users_file_is_taken_whole_or_not_at_all) {
    struct fixture f;
    setup(&f);
    const char *before = everybody(&f);
    assert_string_equal(
        load(&f, "user a on >p ~* +@all\nfoo\nuser b +nosuch\nuser a\nuser c x\n"),
        "f:2 should start with user keyword followed by the username. f:3: Error in "
        "applying operation '+nosuch': Unknown command or category name in ACL. "
        "WARNING: Duplicate user 'a' found on line 4. f:5: Syntax error. WARNING: "
        "ACL errors detected, no change to the previously active ACL rules was "
        "performed");
    assert_string_equal(everybody(&f), before);
    assert_non_null(strstr(load(&f, "user a (+get"), "f:1: Unmatched parenthesis"));
    assert_non_null(strstr(load(&f, "user\n"), "f:1 should start"));
    assert_string_equal(load(&f, "\n  user a on nopass  (~k +get)\t\r\nuser default off +@all"),
                        "");
    assert_string_equal(everybody(&f),
                        "user a on nopass sanitize-payload resetchannels -@all (~k resetchannels "
                        "-@all +get)\nuser default off sanitize-payload resetchannels +@all\n");
    teardown(&f);
}

TEST(who_is_in_the_file_stays_and_who_is_not_goes) {
    struct fixture f;
    setup(&f);
    assert_string_equal(load(&f, "user a on nopass +@all\nuser b on nopass"), "");
    struct session other;
    session_init(&other, &f.pulse, "10.0.0.1:8", "10.0.0.2:6380", 1, NULL);
    assert_true(acl_login(f.pulse.acl, &f.session, BYTES("a"), BYTES("")));
    assert_true(acl_login(f.pulse.acl, &other, BYTES("b"), BYTES("")));
    assert_string_equal(load(&f, "user a on nopass -@all"), "");
    assert_true(acl_refresh(f.pulse.acl, &f.session));
    assert_false(f.session.rules->selectors[0].all_commands);
    assert_false(acl_refresh(f.pulse.acl, &other));
    session_deinit(&other, &f.pulse);
    teardown(&f);
}

TEST(what_is_saved_is_loaded_and_a_failed_write_leaves_the_old_file) {
    struct fixture f;
    setup(&f);
    struct problem why;
    struct buffer errors;
    buffer_init(&errors, ACL_ERRORS_MAX);
    assert_int_equal(acl_save(f.pulse.acl, &why), UNSUPPORTED);
    assert_int_equal(acl_load(f.pulse.acl, &errors), UNSUPPORTED);
    assert_int_equal(settings_set(f.pulse.settings, SETTING_ID_aclfile, BYTES("users"), &why), OK);
    assert_int_equal(set(&f, "u", "%R~a*"), OK);
    assert_int_equal(acl_save(f.pulse.acl, &why), OK);
    const char *saved = everybody(&f);
    assert_int_equal(set(&f, "v", "on"), OK);
    env_sim_fail_at(f.pulse.env, 2, 28);
    assert_int_equal(acl_save(f.pulse.acl, &why), IO);
    assert_int_equal(acl_load(f.pulse.acl, &errors), OK);
    assert_string_equal(everybody(&f), saved);
    buffer_deinit(&errors);
    teardown(&f);
}

TEST(like_refusals_within_a_minute_are_one_entry) {
    struct fixture f;
    setup(&f);
    struct acl_denied get = { ACL_DENIED_COMMAND, BYTES("get") },
                      key = { ACL_DENIED_KEY, BYTES("k") };
    struct acl *acl = f.pulse.acl;
    struct acl_refusal *list;
    acl_note(acl, &f.session, ACL_TOPLEVEL, &get, BYTES("u"));
    acl_note(acl, &f.session, ACL_TOPLEVEL, &key, BYTES("u"));
    env_sim_advance(f.pulse.env, UINT64_C(59'000'000'000));
    acl_note(acl, &f.session, ACL_TOPLEVEL, &get, BYTES("u"));
    assert_int_equal(acl_refusals(acl, 10, &f.arena, &list), 2);
    assert_int_equal(list[0].count, 2);
    assert_int_equal(list[0].updated_ms - list[0].created_ms, 59000);
    assert_int_equal(list[1].reason, ACL_DENIED_KEY);
    acl_note(acl, &f.session, ACL_IN_MULTI, &get, BYTES("u"));
    env_sim_advance(f.pulse.env, UINT64_C(61'000'000'000));
    acl_note(acl, &f.session, ACL_TOPLEVEL, &get, BYTES("u"));
    assert_int_equal(acl_refusals(acl, 10, &f.arena, &list), 4);
    struct problem why;
    assert_int_equal(settings_set(f.pulse.settings, SETTING_ID_acllog_max_len, BYTES("1"), &why),
                     OK);
    acl_note(acl, &f.session, ACL_TOPLEVEL, &key, BYTES("u"));
    assert_int_equal(acl_refusals(acl, 10, &f.arena, &list), 1);
    acl_forget_refusals(acl);
    assert_int_equal(acl_refusals(acl, 10, &f.arena, &list), 0);
    teardown(&f);
}

TEST(who_guesses_waits_and_others_do_not) {
    struct fixture f;
    setup(&f);
    struct acl *acl = f.pulse.acl;
    for (int i = 0; i < 20; i++) acl_guess_failed(acl, "10.0.0.1:7");
    assert_int_equal(acl_guess_wait(acl, "10.0.0.1:8"), 0);
    acl_guess_failed(acl, "10.0.0.1:9");
    int64_t wait = acl_guess_wait(acl, "10.0.0.1:8");
    assert_true(wait > 0 && wait <= 1000);
    assert_int_equal(acl_guess_wait(acl, "10.0.0.10:8"), 0);
    for (int i = 0; i < 1000; i++) acl_guess_failed(acl, "10.0.0.1:9");
    assert_true(acl_guess_wait(acl, "10.0.0.1:8") <= 1000);
    env_sim_advance(f.pulse.env, UINT64_C(2'000'000'000));
    assert_int_equal(acl_guess_wait(acl, "10.0.0.1:8"), 0);
    for (unsigned i = 0; i < 10000; i++) { /* the table is bounded */
        char address[32];
        snprintf(address, sizeof address, "10.%u.%u.9:1", i / 256, i % 256);
        acl_guess_failed(acl, address);
    }
    teardown(&f);
}

/* ---- threads ---- */

enum { CHANGES = 2000 };

struct racing {
    struct fixture f;
    _Atomic bool ended;
};

static void *change(void *self) {
    struct racing *racing = self;
    struct arena arena;
    arena_init(&arena);
    for (int i = 0; i < CHANGES; i++) {
        struct bytes word = i % 2 ? BYTES("+@all") : BYTES("-get"), wrong;
        enum status status =
            acl_set_user(racing->f.pulse.acl, BYTES("default"), &word, 1, &arena, &wrong, NULL);
        assert_int_equal(status, OK);
    }
    struct bytes word = BYTES("-get"), wrong;
    assert_int_equal(
        acl_set_user(racing->f.pulse.acl, BYTES("default"), &word, 1, &arena, &wrong, NULL), OK);
    atomic_store(&racing->ended, true);
    arena_deinit(&arena);
    return NULL;
}

TEST(no_change_is_missed_however_the_threads_run) {
    static struct racing racing;
    setup(&racing.f);
    atomic_store(&racing.ended, false);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, change, &racing), 0);
    struct session *session = &racing.f.session;
    while (!atomic_load(&racing.ended))
        if (!session_is_unrestricted(session))
            assert_true(acl_refresh(racing.f.pulse.acl, session));
    pthread_join(thread, NULL);
    assert_false(session_is_unrestricted(session)); /* the last word was -get */
    teardown(&racing.f);
}
