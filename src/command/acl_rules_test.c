/* Rule sets: their grammar, there and back, and what they allow. */
#include "command/acl_rules.h"

#include "testing/testing.h"

#include <string.h>

#undef fail /* cmocka's; command/call.h has another */

#include "base/limits.h"
#include "command/command.h"

enum { WORDS_MAX = 16 };

static struct commands *commands;
static struct arena arena;

static struct acl_rules *start(void) {
    commands = commands_new();
    arena_init(&arena);
    return acl_rules_new(commands, false);
}

static void end(struct acl_rules *rules) {
    acl_rules_unref(rules);
    arena_deinit(&arena);
    commands = commands_free(commands);
}

static size_t words_of(const char *text, struct bytes words[WORDS_MAX]) {
    size_t count = 0;
    while (*text && count < WORDS_MAX) {
        size_t len = strcspn(text, " ");
        words[count++] = (struct bytes){ text, len };
        text += len + (text[len] == ' ');
    }
    return count;
}

static enum status apply(struct acl_rules *rules, const char *text, struct problem *why) {
    struct bytes words[WORDS_MAX], wrong;
    return acl_rules_apply_all(rules, words, words_of(text, words), &arena, &wrong, why);
}

/* What `rules` look like, in the arena. */
static const char *shown(const struct acl_rules *rules) {
    struct buffer text;
    buffer_init(&text, ACL_FILE_MAX);
    acl_rules_describe(rules, &text);
    const char *copy = arena_format(&arena, "%.*s", (int)text.len, text.data).data;
    buffer_deinit(&text);
    return copy;
}

/* "", or what was denied: "command get", "key k", "channel c". */
static const char *asked(const struct acl_rules *rules, const char *call) {
    static const char *const reasons[] = { "", "command", "key", "auth", "channel" };
    struct bytes words[WORDS_MAX];
    size_t count = words_of(call, words);
    struct command_info *container;
    const struct command_info *info = commands_resolve(commands, words, count, &container);
    assert_non_null(info);
    struct acl_denied why;
    if (acl_check(rules, info, words, count, &arena, &why)) return "";
    return arena_format(&arena, "%s %.*s", reasons[why.reason], (int)why.object.len,
                        why.object.data)
        .data;
}

TEST(a_new_user_may_do_nothing_and_an_open_one_everything) {
    struct acl_rules *rules = start();
    assert_string_equal(shown(rules), "off sanitize-payload resetchannels -@all");
    assert_false(acl_rules_allow_all(rules));
    assert_string_equal(asked(rules, "GET k"), "command get");
    assert_string_equal(asked(rules, "AUTH x"), ""); /* or nobody could ever log in */
    acl_rules_open(rules);
    assert_string_equal(shown(rules), "on nopass sanitize-payload ~* &* +@all");
    assert_true(acl_rules_allow_all(rules));
    assert_int_equal(apply(rules, "-get", NULL), OK);
    assert_false(acl_rules_allow_all(rules));
    end(rules);
}

TEST(rules_come_back_as_they_were_said_without_what_is_void) {
    static const struct {
        const char *said, *shown;
    } rows[] = {
        { "+get +set -get", "-@all +set -get" },
        { "+@all -config|get -config", "+@all -config" },
        { "-config +config|get", "+@all -config +config|get" },
        { "+@READ +GET -CONFIG|GET +@read", "+@all -config +get -config|get +@read" },
        { "nocommands +select|0", "-@all +select|0" },
        { "+select", "-@all +select" },
        { "allcommands", "+@all" },
        { "reset +@all -@dangerous +acl|whoami", "+@all -@dangerous +acl|whoami" },
    };
    struct acl_rules *rules = start();
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(apply(rules, rows[i].said, NULL), OK);
        struct buffer text;
        buffer_init(&text, ACL_FILE_MAX);
        acl_describe_commands(&rules->selectors[0], &text);
        assert_int_equal(text.len, strlen(rows[i].shown));
        assert_memory_equal(text.data, rows[i].shown, text.len);
        buffer_deinit(&text);
    }
    end(rules);
}

TEST(what_is_described_reads_as_the_same) {
    struct acl_rules *rules = start(), *again = acl_rules_new(commands, true);
    assert_int_equal(apply(rules,
                           "on >p >q ~a* %R~b* %W~c( &x* +@all -@dangerous +config|get "
                           "(~d +get +select|3) (%RW~e &* +@read)",
                           NULL),
                     OK);
    assert_string_equal(
        shown(rules),
        "on sanitize-payload #148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940 "
        "#8e35c2cd3bf6641bdb0e2050b76932cbb2e6034a0ddacc1d9bea82a6ba57f7cf "
        "~a* %R~b* %W~c( resetchannels &x* +@all -@dangerous +config|get "
        "(~d resetchannels -@all +get +select|3) (~e &* -@all +@read)");
    struct bytes words[64], wrong;
    size_t count = 0;
    for (const char *at = shown(rules); *at && count < COUNT_OF(words);) {
        size_t len = strcspn(at, " ");
        words[count++] = (struct bytes){ at, len };
        at += len + (at[len] == ' ');
    }
    assert_int_equal(acl_rules_apply_all(again, words, count, &arena, &wrong, NULL), OK);
    assert_string_equal(shown(again), shown(rules));
    struct acl_rules *copy = acl_rules_copy(rules);
    assert_string_equal(shown(copy), shown(rules));
    acl_rules_unref(copy);
    acl_rules_unref(again);
    end(rules);
}

TEST(what_makes_no_sense_is_refused_in_redis_words) {
    static const struct {
        const char *word, *why;
    } rows[] = {
        { "foo", "Syntax error" },
        { "%X~a", "Syntax error" },
        { "%~a", "Syntax error" },
        { "%RR~a", "Syntax error" },
        { "%R", "Syntax error" },
        { "%", "Syntax error" },
        { ")", "Syntax error" },
        { "~a\tb", "Syntax error" },
        { "+get|", "Syntax error" },
        { "(on)", "Syntax error" },
        { "(>p)", "Syntax error" },
        { "((~a))", "Syntax error" },
        { "(~a))", "Syntax error" },
        { "+", "Unknown command or category name in ACL" },
        { "+|", "Unknown command or category name in ACL" },
        { "+nosuch", "Unknown command or category name in ACL" },
        { "-get|x", "Unknown command or category name in ACL" },
        { "+config|nosuch", "Unknown command or category name in ACL" },
        { "+@nosuch", "Unknown command or category name in ACL" },
        { "+@", "Unknown command or category name in ACL" },
        { "(+nosuch)", "Unknown command or category name in ACL" },
        { "+config|get|x", "Allowing first-arg of a subcommand is not supported" },
        { "<p", "The password you are trying to remove from the user does not exist" },
        { "#zz", "The password hash must be exactly 64 characters and contain only lowercase "
                 "hexadecimal characters" },
        { "(~a", "Unmatched parenthesis in acl selector starting at '(~a'." },
    };
    struct acl_rules *rules = start();
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct problem why = {};
        assert_int_not_equal(apply(rules, rows[i].word, &why), OK);
        assert_string_equal(why.text, rows[i].why);
    }
    assert_int_equal(apply(rules, "allkeys allchannels", NULL), OK);
    assert_int_equal(apply(rules, "~a", NULL), INVALID);
    assert_int_equal(apply(rules, "&a", NULL), INVALID);
    end(rules);
}

TEST(keys_are_read_or_written_by_what_the_command_says_of_them) {
    struct acl_rules *rules = start();
    assert_int_equal(apply(rules, "+@all %R~r* %W~w* ~b*", NULL), OK);
    assert_string_equal(asked(rules, "GET r"), "");
    assert_string_equal(asked(rules, "GET b"), "");
    assert_string_equal(asked(rules, "GET w"), "key w");
    assert_string_equal(asked(rules, "SET w v"), "");
    assert_string_equal(asked(rules, "SET w v GET"), "key w");
    assert_string_equal(asked(rules, "SET r v"), "key r");
    assert_string_equal(asked(rules, "EXISTS r w b"), "");
    assert_string_equal(asked(rules, "EXISTS r x"), "key x");
    assert_string_equal(asked(rules, "MGET r b w r"), "key w");
    assert_string_equal(asked(rules, "RENAME b1 b2"), "");
    assert_string_equal(asked(rules, "COPY r w"), "");
    assert_string_equal(asked(rules, "COPY w r"), "key w");
    assert_string_equal(asked(rules, "PING"), "");
    end(rules);
}

TEST(one_selector_has_to_allow_all_of_a_call) {
    struct acl_rules *rules = start();
    assert_int_equal(apply(rules, "~a +get (~b +set) (~c +get +mget)", NULL), OK);
    assert_string_equal(asked(rules, "GET a"), "");
    assert_string_equal(asked(rules, "SET b v"), "");
    assert_string_equal(asked(rules, "GET c"), "");
    assert_string_equal(asked(rules, "SET a v"), "key a"); /* what came farthest */
    assert_string_equal(asked(rules, "MGET c a"), "key a");
    assert_string_equal(asked(rules, "DEL a"), "command del");
    assert_int_equal(apply(rules, "clearselectors", NULL), OK);
    assert_string_equal(asked(rules, "SET b v"), "command set");
    end(rules);
}

TEST(a_first_word_is_allowed_until_the_command_is_spoken_of) {
    struct acl_rules *rules = start();
    assert_int_equal(apply(rules, "+select|0 +select|1", NULL), OK);
    assert_string_equal(asked(rules, "SELECT 0"), "");
    assert_string_equal(asked(rules, "SELECT 2"), "command select");
    assert_int_equal(apply(rules, "-select", NULL), OK);
    assert_string_equal(asked(rules, "SELECT 0"), "command select");
    end(rules);
}

TEST(a_call_inside_a_call_is_asked_about_too) {
    struct acl_rules *rules = start();
    assert_int_equal(apply(rules, "+at +get ~a", NULL), OK);
    assert_string_equal(asked(rules, "AT -1s GET a"), "");
    assert_string_equal(asked(rules, "AT -1s GET b"), "key b");
    assert_string_equal(asked(rules, "AT -1s STRLEN a"), "command strlen");
    assert_string_equal(asked(rules, "AT OFF"), "");
    assert_int_equal(apply(rules, "-at", NULL), OK);
    assert_string_equal(asked(rules, "AT -1s GET a"), "command at");
    end(rules);
}

TEST(channels_match_and_patterns_are_compared) {
    struct acl_rules *rules = start();
    static const struct command publish = { .synopsis = "PUBLISH channel message",
                                            .channels = CHANNELS_PUBLISH },
                                patterns = { .synopsis = "PSUBSCRIBE pattern [pattern ...]",
                                             .channels = CHANNELS_PATTERNS };
    struct command_info one, many;
    assert_null(command_info_init(&one, &publish, 1));
    assert_null(command_info_init(&many, &patterns, 1));
    struct bytes words[] = { BYTES("x"), BYTES("news.a"), BYTES("news.*") };
    struct acl_denied why;
    assert_int_equal(apply(rules, "+@all &news.*", NULL), OK);
    assert_true(acl_check(rules, &one, words, 3, &arena, &why)); /* the message is no channel */
    assert_false(acl_check(rules, &many, words, 2, &arena, &why));
    assert_int_equal(why.reason, ACL_DENIED_CHANNEL);
    words[1] = BYTES("news.*");
    assert_true(acl_check(rules, &many, words, 2, &arena, &why));
    words[1] = BYTES("old");
    assert_false(acl_check(rules, &one, words, 3, &arena, &why));
    assert_true(acl_may_hear(rules, BYTES("news.b"), false));
    assert_false(acl_may_hear(rules, BYTES("news.b"), true));
    assert_false(acl_may_read_all(rules));
    command_info_deinit(&one);
    command_info_deinit(&many);
    end(rules);
}

TEST(passwords_are_added_and_taken_away) {
    struct acl_rules *rules = start();
    assert_false(acl_rules_password(rules, BYTES("")));
    assert_int_equal(apply(rules, ">a >b >a", NULL), OK);
    assert_int_equal(rules->passwords_count, 2);
    assert_true(acl_rules_password(rules, BYTES("a")));
    assert_true(acl_rules_password(rules, BYTES("b")));
    assert_false(acl_rules_password(rules, BYTES("c")));
    assert_int_equal(apply(rules, "<a", NULL), OK);
    assert_false(acl_rules_password(rules, BYTES("a")));
    assert_int_equal(apply(rules, "nopass", NULL), OK);
    assert_int_equal(rules->passwords_count, 0);
    assert_int_equal(apply(rules, ">a", NULL), OK);
    assert_false(rules->nopass);
    end(rules);
}

TEST(a_user_has_limits) {
    struct acl_rules *rules = start();
    for (int i = 0; i < ACL_SELECTORS_MAX; i++) assert_int_equal(apply(rules, "(~a)", NULL), OK);
    assert_int_equal(apply(rules, "(~a)", NULL), LIMIT);
    char *long_one = arena_new(&arena, ACL_USER_SIZE_MAX + 2);
    memset(long_one, 'a', ACL_USER_SIZE_MAX + 2);
    long_one[0] = '~';
    assert_int_equal(
        acl_rules_apply(rules, (struct bytes){ long_one, ACL_USER_SIZE_MAX + 2 }, NULL), LIMIT);
    end(rules);
}
