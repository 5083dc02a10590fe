/* Sessions: the registry, and the line each shows of itself. */
#include "testing/testing.h"

#include <string.h>

#undef fail /* cmocka's; command/call.h has another */

#include "base/arena.h"
#include "base/env.h"
#include "command/acl.h"
#include "command/pulse.h"
#include "command/session.h"

struct fixture {
    struct pulse pulse;
    struct arena arena;
};

static void setup(struct fixture *f) {
    memset(f, 0, sizeof *f);
    f->pulse.env = env_sim_new(1);
    f->pulse.settings = settings_new();
    f->pulse.commands = commands_new();
    f->pulse.sessions = sessions_new();
    f->pulse.acl = acl_new(&f->pulse);
    arena_init(&f->arena);
}

static void teardown(struct fixture *f) {
    arena_deinit(&f->arena);
    f->pulse.acl = acl_free(f->pulse.acl);
    f->pulse.sessions = sessions_free(f->pulse.sessions);
    f->pulse.commands = commands_free(f->pulse.commands);
    settings_free(f->pulse.settings);
    env_sim_free(f->pulse.env);
}

static bool count_ids(void *self, struct session *session) {
    uint64_t *last = self;
    assert_true(session->id > *last);
    *last = session->id;
    return true;
}

TEST(the_registry_visits_sessions_oldest_first) {
    struct fixture f;
    setup(&f);
    struct session a, b, c;
    session_init(&a, &f.pulse, "127.0.0.1:1", "127.0.0.1:6380", 3, NULL);
    session_init(&b, &f.pulse, "127.0.0.1:2", "127.0.0.1:6380", 4, NULL);
    session_init(&c, &f.pulse, "127.0.0.1:3", "127.0.0.1:6380", 5, NULL);
    session_deinit(&b, &f.pulse);
    assert_int_equal(sessions_count(f.pulse.sessions), 2);
    uint64_t last = 0;
    sessions_each(f.pulse.sessions, count_ids, &last);
    assert_int_equal(last, c.id);
    session_deinit(&a, &f.pulse);
    session_deinit(&c, &f.pulse);
    assert_int_equal(sessions_count(f.pulse.sessions), 0);
    teardown(&f);
}

TEST(a_session_shows_itself_as_redis_does) {
    struct fixture f;
    setup(&f);
    struct session s;
    session_init(&s, &f.pulse, "127.0.0.1:5000", "127.0.0.1:6380", 8, NULL);
    assert_true(session_set_name(&s, &f.pulse, BYTES("bob")));
    assert_true(session_set_library(&s, &f.pulse, true, BYTES("1.2")));
    char expected[512];
    snprintf(expected, sizeof expected,
             "id=1 addr=127.0.0.1:5000 laddr=127.0.0.1:6380 fd=8 name=bob age=3 idle=3 flags=N "
             "db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 "
             "rbp=0 obl=0 oll=0 omem=0 tot-mem=%zu events=r cmd=NULL user=default redir=-1 resp=2 "
             "lib-name= lib-ver=1.2",
             sizeof s);
    struct bytes line = session_line(&s, &f.arena, s.created_ms + 3999);
    assert_int_equal(line.len, strlen(expected));
    assert_memory_equal(line.data, expected, line.len);
    session_deinit(&s, &f.pulse);
    teardown(&f);
}

TEST(names_hold_no_spaces) {
    struct fixture f;
    setup(&f);
    struct session s;
    session_init(&s, &f.pulse, "127.0.0.1:5000", "127.0.0.1:6380", 8, NULL);
    assert_true(session_set_name(&s, &f.pulse, BYTES("a")));
    assert_false(session_set_name(&s, &f.pulse, BYTES("a b")));
    assert_false(session_set_name(&s, &f.pulse, BYTES("a\n")));
    assert_true(bytes_equal(session_who(&s), BYTES("a")));
    assert_true(session_set_name(&s, &f.pulse, BYTES("")));
    assert_true(bytes_equal(session_who(&s), BYTES("127.0.0.1:5000")));
    session_deinit(&s, &f.pulse);
    teardown(&f);
}

TEST(a_password_is_asked_of_new_sessions_and_after_a_reset) {
    struct fixture f;
    setup(&f);
    struct session early, late;
    struct problem why = {};
    struct setting_pair pair = { BYTES("requirepass"), BYTES("x") };
    size_t wrong;
    session_init(&early, &f.pulse, "127.0.0.1:1", "127.0.0.1:6380", 8, NULL);
    assert_int_equal(settings_change(f.pulse.settings, &pair, 1, true, &wrong, &why), OK);
    session_init(&late, &f.pulse, "127.0.0.1:2", "127.0.0.1:6380", 9, NULL);
    assert_true(early.authenticated);
    assert_false(late.authenticated);
    early.db = 3;
    session_reset(&early, &f.pulse);
    assert_false(early.authenticated);
    assert_int_equal(early.db, 0);
    session_deinit(&early, &f.pulse);
    session_deinit(&late, &f.pulse);
    teardown(&f);
}
