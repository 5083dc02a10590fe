/* The settings: their words, their sources, their changes. */
#include "testing/testing.h"

#include <string.h>

#include "base/arena.h"
#include "base/env.h"
#include "base/mem.h"
#include "command/settings.h"

#define WORD(text) ((char *)(uintptr_t)(text)) /* as main gets them */

struct warnings {
    size_t count;
    char last[1024];
};

static void warned(void *self, const char *text) {
    struct warnings *warnings = self;
    warnings->count++;
    snprintf(warnings->last, sizeof warnings->last, "%s", text);
}

/* "value" of a setting, whatever its kind; good until the next call. */
static const char *shown(struct settings *settings, const char *name) {
    static char text[1024];
    struct arena arena;
    arena_init(&arena);
    enum setting_id id;
    assert_true(setting_find(bytes_of(name), &id));
    struct bytes value = settings_get(settings, id, &arena);
    snprintf(text, sizeof text, "%.*s", (int)value.len, value.data);
    arena_deinit(&arena);
    return text;
}

static enum status read_text(struct settings *settings, const char *text, struct warnings *warnings,
                             struct problem *why) {
    return settings_read(settings, env_real(), "test.conf", bytes_of(text), warned, warnings, why);
}

static void refuses(const char *line, const char *reason) {
    struct settings *settings = settings_new();
    struct warnings warnings = {};
    struct problem why = {};
    assert_int_equal(read_text(settings, line, &warnings, &why), INVALID);
    assert_string_equal(why.text, reason);
    settings_free(settings);
}

static enum status change(struct settings *settings, const char *name, const char *value,
                          struct problem *why) {
    struct setting_pair pair = { bytes_of(name), bytes_of(value) };
    size_t wrong;
    return settings_change(settings, &pair, 1, true, &wrong, why);
}

TEST(settings_begin_with_their_defaults) {
    struct settings *settings = settings_new();
    assert_int_equal(setting_int(settings, port), 6380);
    assert_int_equal(setting_int(settings, shards), 64);
    assert_int_equal(setting_int(settings, history_memory), -10);
    assert_string_equal(shown(settings, "bind"), "127.0.0.1 -::1");
    assert_string_equal(shown(settings, "history-memory"), "10%");
    assert_string_equal(shown(settings, "proto-max-bulk-len"), "536870912");
    assert_int_equal(settings_output_limit(settings, OUTPUT_PUBSUB).soft_seconds, 60);
    settings_free(settings);
}

TEST(a_file_is_lines_of_names_and_words) {
    struct settings *settings = settings_new();
    struct warnings warnings = {};
    struct problem why = {};
    assert_int_equal(read_text(settings,
                               "# comment\n  port 7000\r\n\nPORT 7001\nmaxmemory 10mb\n"
                               "bind 10.0.0.1 \"::1\"\nrequirepass \"a \\x41\\n\"\n"
                               "unixsocketperm 700\nslave-priority 7\nhistory-window 24h\n"
                               "replicaof 10.0.0.2 6379",
                               &warnings, &why),
                     OK);
    assert_int_equal(setting_int(settings, port), 7001);
    assert_int_equal(setting_int(settings, maxmemory), 10 * 1024 * 1024);
    assert_string_equal(shown(settings, "bind"), "10.0.0.1 ::1");
    assert_string_equal(shown(settings, "requirepass"), "a A\n");
    assert_int_equal(setting_int(settings, unixsocketperm), 0700);
    assert_string_equal(shown(settings, "unixsocketperm"), "700");
    assert_int_equal(setting_int(settings, replica_priority), 7);
    assert_int_equal(setting_int(settings, history_window), 86400000);
    assert_int_equal(warnings.count, 1);
    assert_string_equal(warnings.last, "test.conf:11: 'replicaof' is a setting of Redis that has "
                                       "no effect here");
    settings_free(settings);
}

TEST(what_is_wrong_in_a_file_is_named_with_its_line) {
    refuses("port 1\nport x", "test.conf:2: port: argument couldn't be parsed into an integer");
    refuses("port 70000", "test.conf:1: port: argument must be between 0 and 65535 inclusive");
    refuses("port 1 2", "test.conf:1: port: wrong number of arguments");
    refuses("port", "test.conf:1: port: wrong number of arguments");
    refuses("prot 1", "test.conf:1: unknown setting 'prot'");
    refuses("history maybe", "test.conf:1: history: argument must be 'yes' or 'no'");
    refuses("maxmemory x", "test.conf:1: maxmemory: argument must be a memory value");
    refuses("history-memory 101%",
            "test.conf:1: history-memory: percentage argument must be less or equal to 100");
    refuses("loglevel x", "test.conf:1: loglevel: argument(s) must be one of the following: debug, "
                          "verbose, notice, warning, nothing");
    refuses("save \"1", "test.conf:1: Unbalanced quotes in configuration line");
    refuses("save 1", "test.conf:1: save: Invalid save parameters");
    refuses("shards 3", "test.conf:1: shards: argument must be a power of two");
    refuses("unixsocketperm 8",
            "test.conf:1: unixsocketperm: argument couldn't be parsed into an integer");
}

TEST(lines_of_save_add_up_and_an_empty_one_clears) {
    struct settings *settings = settings_new();
    struct warnings warnings = {};
    struct problem why = {};
    assert_int_equal(read_text(settings, "save 900 1\nsave 300 10\n", &warnings, &why), OK);
    assert_string_equal(shown(settings, "save"), "900 1 300 10");
    assert_int_equal(read_text(settings, "save \"\"\n", &warnings, &why), OK);
    assert_string_equal(shown(settings, "save"), "");
    settings_free(settings);
}

TEST(output_limits_change_class_by_class) {
    struct settings *settings = settings_new();
    struct problem why = {};
    assert_int_equal(change(settings, "client-output-buffer-limit", "replica 1mb 2kb 3", &why), OK);
    assert_string_equal(shown(settings, "client-output-buffer-limit"),
                        "normal 0 0 0 slave 1048576 2048 3 pubsub 33554432 8388608 60");
    assert_int_equal(settings_output_limit(settings, OUTPUT_REPLICA).soft_size, 2048);
    assert_int_equal(change(settings, "client-output-buffer-limit", "x 0 0 0", &why), INVALID);
    settings_free(settings);
}

TEST(flags_win_over_the_environment_and_that_over_the_file) {
    struct settings *settings = settings_new();
    struct warnings warnings = {};
    struct problem why = {};
    assert_int_equal(
        read_text(settings, "port 1\ntimeout 1\nmaxclients 1\nsave 1 1\n", &warnings, &why), OK);
    char *environment[] = { WORD("PULSEDB_TIMEOUT=2"),
                            WORD("PULSEDB_MAXCLIENTS=2"),
                            WORD("PATH=/bin"),
                            WORD("PULSEDB_PORT=tcp://10.0.0.1:6380"),
                            WORD("PULSEDB_SERVICE_HOST=x"),
                            WORD("PULSEDB_SAVE=2 2"),
                            NULL };
    char *argv[] = {
        WORD("pulsedb"), WORD("--maxclients"), WORD("3"), WORD("--save"), WORD(""), WORD("--bind"),
        WORD("1.1.1.1"), WORD("2.2.2.2"),      NULL
    };
    assert_int_equal(
        settings_load(settings, env_real(), 8, argv, environment, warned, &warnings, &why), OK);
    assert_int_equal(setting_int(settings, port), 1);
    assert_int_equal(setting_int(settings, timeout), 2);
    assert_int_equal(setting_int(settings, maxclients), 3);
    assert_string_equal(shown(settings, "save"), "");
    assert_string_equal(shown(settings, "bind"), "1.1.1.1 2.2.2.2");
    assert_null(settings_file(settings));
    settings_free(settings);
}

TEST(a_wrong_flag_is_named) {
    struct settings *settings = settings_new();
    struct problem why = {};
    char *argv[] = { WORD("pulsedb"), WORD("--nosuch"), WORD("3"), NULL };
    assert_int_equal(settings_load(settings, env_real(), 3, argv, NULL, NULL, NULL, &why), INVALID);
    assert_string_equal(why.text, "flags: unknown setting 'nosuch'");
    char *stray[] = { WORD("pulsedb"), WORD("-p"), WORD("3"), NULL };
    assert_int_equal(settings_load(settings, env_real(), 3, stray, NULL, NULL, NULL, &why),
                     INVALID);
    settings_free(settings);
}

static void write_file(struct env *env, const char *path, const char *text) {
    struct problem why = {};
    assert_int_equal(env_replace_file(env, path, bytes_of(text), &why), OK);
}

TEST(files_include_others_and_not_themselves_for_ever) {
    struct env *env = env_sim_new(1);
    struct settings *settings = settings_new();
    struct warnings warnings = {};
    struct problem why = {};
    assert_int_equal(env->ops->mkdir(env, "/conf"), 0);
    write_file(env, "/conf/a.conf", "port 1\ntimeout 1\n");
    write_file(env, "/conf/b.conf", "port 2\n");
    write_file(env, "/conf/loop", "include /conf/loop\n");
    write_file(env, "/main", "include /conf/*.conf\ntimeout 5\ninclude /conf/none*\n");
    char *argv[] = { WORD("pulsedb"), WORD("/main"), NULL };
    assert_int_equal(settings_load(settings, env, 2, argv, NULL, warned, &warnings, &why), OK);
    assert_int_equal(setting_int(settings, port), 2);
    assert_int_equal(setting_int(settings, timeout), 5);
    assert_string_equal(settings_file(settings), "/main");
    char *endless[] = { WORD("pulsedb"), WORD("/conf/loop"), NULL };
    assert_int_equal(settings_load(settings, env, 2, endless, NULL, warned, &warnings, &why),
                     LIMIT);
    settings_free(settings);
    env_sim_free(env);
}

static bool refuse(void *self, enum setting_id id, struct problem *why) {
    struct settings *settings = self;
    if (id == SETTING_ID_port && setting_int(settings, port) == 13) {
        problem_set(why, IO, 0, "Unable to listen on this port.");
        return false;
    }
    return true;
}

TEST(several_settings_change_together_or_not_at_all) {
    struct settings *settings = settings_new();
    struct problem why = {};
    settings_on_change(settings, SETTING_ID_port, refuse, settings);
    struct setting_pair pairs[] = { { BYTES("timeout"), BYTES("9") },
                                    { BYTES("bind"), BYTES("1.1.1.1") },
                                    { BYTES("port"), BYTES("13") } };
    size_t wrong = 9;
    assert_int_equal(settings_change(settings, pairs, 3, true, &wrong, &why), INVALID);
    assert_int_equal(wrong, 2);
    assert_string_equal(why.text, "Unable to listen on this port.");
    assert_int_equal(setting_int(settings, timeout), 0);
    assert_int_equal(setting_int(settings, port), 6380);
    assert_string_equal(shown(settings, "bind"), "127.0.0.1 -::1");
    pairs[2].value = BYTES("14");
    assert_int_equal(settings_change(settings, pairs, 3, true, &wrong, &why), OK);
    assert_int_equal(setting_int(settings, port), 14);
    assert_int_equal(change(settings, "databases", "3", &why), INVALID);
    assert_string_equal(why.text, "can't set immutable config");
    assert_int_equal(change(settings, "dir", "/", &why), INVALID);
    assert_string_equal(why.text, "can't set protected config");
    assert_int_equal(change(settings, "nosuch", "/", &why), NOT_FOUND);
    settings_free(settings);
}

TEST(a_rewritten_file_keeps_its_comments_and_order) {
    struct env *env = env_sim_new(1);
    struct settings *settings = settings_new();
    struct problem why = {};
    assert_int_equal(settings_rewrite(settings, env, &why), UNSUPPORTED);
    write_file(env, "/main", "# first\nport 1\n\ntimeout  1\n# last\nsave 900 1\nsave 300 10\n");
    char *argv[] = { WORD("pulsedb"), WORD("/main"), NULL };
    assert_int_equal(settings_load(settings, env, 2, argv, NULL, NULL, NULL, &why), OK);
    assert_int_equal(change(settings, "port", "2", &why), OK);
    assert_int_equal(change(settings, "save", "", &why), OK);
    assert_int_equal(change(settings, "requirepass", "a b", &why), OK);
    for (int i = 0; i < 2; i++) { /* again: nothing moves */
        assert_int_equal(settings_rewrite(settings, env, &why), OK);
        struct bytes text;
        assert_int_equal(env_read_file(env, "/main", 10000, &text, &why), OK);
        static const char expected[] = "# first\nport 2\n\ntimeout  1\n# last\nsave \"\"\n"
                                       "# Generated by CONFIG REWRITE\nrequirepass \"a b\"\n";
        assert_int_equal(text.len, sizeof expected - 1);
        assert_memory_equal(text.data, expected, text.len);
        mem_free((void *)(uintptr_t)text.data, text.len);
    }
    settings_free(settings);
    env_sim_free(env);
}

TEST(events_are_shown_in_one_order) {
    struct settings *settings = settings_new();
    struct problem why = {};
    assert_int_equal(change(settings, "notify-keyspace-events", "KEg$", &why), OK);
    assert_string_equal(shown(settings, "notify-keyspace-events"), "g$KE");
    assert_int_equal(change(settings, "notify-keyspace-events", "KEA", &why), OK);
    assert_string_equal(shown(settings, "notify-keyspace-events"), "AKE");
    assert_int_equal(change(settings, "notify-keyspace-events", "q", &why), INVALID);
    settings_free(settings);
}

TEST(debians_redis_conf_loads) {
    struct problem why = {};
    struct bytes text;
    if (env_read_file(env_real(), "/etc/redis/redis.conf", 1 << 20, &text, &why) != OK) skip();
    struct settings *settings = settings_new();
    struct warnings warnings = {};
    assert_int_equal(
        settings_read(settings, env_real(), "redis.conf", text, warned, &warnings, &why), OK);
    assert_int_equal(warnings.count, 0);
    assert_int_equal(setting_int(settings, port), 6379);
    assert_string_equal(shown(settings, "dir"), "/var/lib/redis");
    mem_free((void *)(uintptr_t)text.data, text.len);
    settings_free(settings);
}
