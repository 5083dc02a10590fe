/* Secrets: which words of which commands they are. */
#include "testing/testing.h"

#undef fail /* cmocka's; command/call.h has another */

#include "command/redact.h"

enum { WORDS_MAX = 16 };

/* A call's words, of which those with a '!' before them have to be secret and no others. */
static void check(const struct commands *commands, size_t count, const char *const *texts) {
    struct bytes words[WORDS_MAX];
    for (size_t i = 0; i < count; i++) words[i] = bytes_of(texts[i] + (texts[i][0] == '!'));
    struct command_info *container;
    const struct command_info *info = commands_resolve(commands, words, count, &container);
    assert_non_null(info);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(word_is_secret(info, words, i), texts[i][0] == '!');
}
#define CHECK(commands, ...)                                                             \
    check(commands, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *), \
          (const char *const[]){ __VA_ARGS__ })

TEST(passwords_are_secret_wherever_a_command_takes_them) {
    struct commands *commands = commands_new();
    CHECK(commands, "AUTH", "!password");
    CHECK(commands, "auth", "!user", "!password");
    CHECK(commands, "HELLO", "3", "AUTH", "!user", "!password", "SETNAME", "me");
    CHECK(commands, "HELLO", "3", "SETNAME", "me", "auth", "!user", "!password");
    CHECK(commands, "HELLO", "3", "SETNAME", "me");
    CHECK(commands, "HELLO", "3", "AUTH", "!user");
    CHECK(commands, "CONFIG", "SET", "requirepass", "!secret");
    CHECK(commands, "CONFIG", "SET", "timeout", "1", "MasterAuth", "!secret", "maxclients", "9");
    CHECK(commands, "CONFIG", "SET", "masteruser", "!someone");
    CHECK(commands, "CONFIG", "GET", "requirepass");
    CHECK(commands, "SET", "AUTH", "value");
    commands = commands_free(commands);
}
