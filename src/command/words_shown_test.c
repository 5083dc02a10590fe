/* Which words of a call others may see. */
#include "command/redact.h"

#include <stdio.h>

#include "testing/testing.h"

#undef fail /* cmocka's; command/call.h has another */

#include "base/arena.h"
#include "command/command.h"

/* The words of `line`, as they are shown for the command `name`. */
static const char *shown(const char *name, const char *line) {
    static char text[512];
    char words[512];
    struct bytes args[32];
    size_t count = 0;
    snprintf(words, sizeof words, "%s", line);
    char *rest = words, *word;
    while ((word = strsep(&rest, " "))) args[count++] = bytes_of(word);
    struct arena arena;
    arena_init(&arena);
    struct command_info info = { .name = bytes_of(name) };
    struct call call = { .args = args, .args_count = count, .info = &info, .arena = &arena };
    const struct bytes *as = call_words_shown(&call);
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s", i ? " " : "", (int)as[i].len,
                               as[i].data);
    arena_deinit(&arena);
    return text;
}

TEST(secrets_are_redacted_and_nothing_else_is) {
    assert_string_equal(shown("get", "GET auth"), "GET auth");
    assert_string_equal(shown("auth", "AUTH pw"), "AUTH (redacted)");
    assert_string_equal(shown("auth", "AUTH u pw"), "AUTH (redacted) (redacted)");
    assert_string_equal(shown("hello", "HELLO 3 AUTH u pw SETNAME n"),
                        "HELLO 3 AUTH (redacted) (redacted) SETNAME n");
    assert_string_equal(shown("hello", "HELLO 3 SETNAME n AUTH u"),
                        "HELLO 3 SETNAME n AUTH (redacted)");
    assert_string_equal(shown("hello", "HELLO 3"), "HELLO 3");
    assert_string_equal(shown("config|set", "CONFIG SET port 1 REQUIREPASS x masterauth y"),
                        "CONFIG SET port 1 REQUIREPASS (redacted) masterauth (redacted)");
    assert_string_equal(shown("config|set", "CONFIG SET requirepass"), "CONFIG SET requirepass");
    assert_string_equal(shown("acl|setuser", "ACL SETUSER bob on >pw"),
                        "ACL SETUSER (redacted) (redacted) (redacted)");
    assert_string_equal(shown("acl|whoami", "ACL WHOAMI"), "ACL WHOAMI");
    assert_string_equal(shown("migrate", "MIGRATE h 1 k 0 1 AUTH pw"),
                        "MIGRATE h 1 k 0 1 AUTH (redacted)");
    assert_string_equal(shown("migrate", "MIGRATE h 1 k 0 1 AUTH2 u pw KEYS k"),
                        "MIGRATE h 1 k 0 1 AUTH2 (redacted) (redacted) KEYS k");
}
