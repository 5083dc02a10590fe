/* acl_fuzz.c: whatever a users file or the words of ACL SETUSER say, they are taken or refused; what is taken
 * can be written and read again, and is the same; and any call can be asked about.
 * The input: one byte that says which of the two, then the text. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/limits.h"
#include "command/acl.h"
#include "command/pulse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 4096, WORDS_MAX = 64 };

static struct pulse pulse; /* one for all inputs: the command table is the same */

static void ask(void) {
    static struct arena arena;
    arena_init(&arena);
    struct bytes calls[][4] = {
        { BYTES("GET"), BYTES("k") },
        { BYTES("SELECT"), BYTES("0") },
        { BYTES("COPY"), BYTES("a"), BYTES("b"), BYTES("REPLACE") },
        { BYTES("AT"), BYTES("-1s"), BYTES("GET"), BYTES("x") },
    };
    struct acl_rules *rules = acl_find(pulse.acl, BYTES("u"));
    for (size_t i = 0; rules && i < COUNT_OF(calls); i++) {
        size_t count = calls[i][2].data ? 4 : 2;
        struct command_info *container;
        struct acl_denied why = {};
        bool allowed =
            acl_check(rules, commands_resolve(pulse.commands, calls[i], count, &container),
                      calls[i], count, &arena, &why);
        assert(allowed || why.reason != ACL_ALLOWED);
        assert(allowed || !acl_rules_allow_all(rules));
    }
    acl_rules_unref(rules);
    arena_deinit(&arena);
}

/* What there is, written; read; and written again. */
static void check_again(void) {
    struct buffer first, second, errors;
    buffer_init(&first, ACL_FILE_MAX);
    buffer_init(&second, ACL_FILE_MAX);
    buffer_init(&errors, ACL_ERRORS_MAX);
    acl_write(pulse.acl, &first);
    enum status status = acl_read(pulse.acl, "f", buffer_bytes(&first), &errors);
    assert(status == OK);
    acl_write(pulse.acl, &second);
    assert(bytes_equal(buffer_bytes(&first), buffer_bytes(&second)));
    buffer_deinit(&first);
    buffer_deinit(&second);
    buffer_deinit(&errors);
}

static void set_user(char *text, size_t len) {
    static struct arena arena;
    arena_init(&arena);
    struct bytes words[WORDS_MAX], wrong;
    size_t count = 0;
    for (size_t at = 0; at < len && count < WORDS_MAX;) {
        const char *end = memchr(text + at, '\n', len - at);
        words[count] = (struct bytes){ text + at, end ? (size_t)(end - text) - at : len - at };
        at += words[count++].len + 1;
    }
    struct problem why = {};
    enum status status = acl_set_user(pulse.acl, BYTES("u"), words, count, &arena, &wrong, &why);
    assert(status == OK || why.text[0] != '\0');
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > INPUT_MAX) return 0;
    if (!pulse.env) {
        pulse.env = env_sim_new(1);
        pulse.settings = settings_new();
        pulse.commands = commands_new();
        pulse.sessions = sessions_new();
    }
    pulse.acl = acl_new(&pulse);
    size_t len = size - 1;
    char *text = malloc(len + !len); /* memory of its own: nothing lies behind it */
    memcpy(text, data + 1, len);
    if (data[0] & 1) {
        set_user(text, len);
    } else {
        struct buffer errors;
        buffer_init(&errors, ACL_ERRORS_MAX);
        enum status status = acl_read(pulse.acl, "f", (struct bytes){ text, len }, &errors);
        assert((status == OK) == (errors.len == 0));
        buffer_deinit(&errors);
    }
    free(text);
    check_again();
    ask();
    pulse.acl = acl_free(pulse.acl);
    return 0;
}
