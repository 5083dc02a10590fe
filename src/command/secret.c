#include "command/secret.h"

#include "command/command.h"

/* CONFIG SET of one of these: its value is a secret (as in Redis). */
static bool is_secret_setting(struct bytes name) {
    static const char *const secrets[] = { "requirepass", "masterauth", "masteruser",
                                           "tls-key-file-pass", "tls-client-key-file-pass" };
    for (size_t i = 0; i < COUNT_OF(secrets); i++)
        if (bytes_equal_nocase(name, bytes_of(secrets[i]))) return true;
    return false;
}

/* How many words from word `i` on are secrets because of what stands there or before; `*skip` of them are not. */
static size_t secrets_after(struct bytes word, bool migrates) {
    if (bytes_equal_nocase(word, BYTES("auth"))) return migrates ? 1 : 2;
    return migrates && bytes_equal_nocase(word, BYTES("auth2")) ? 2 : 0;
}

struct shown {
    const struct call *call;
    struct bytes *copy; /* NULL: nothing was a secret so far */
};

static void hide(struct shown *shown, size_t from, size_t count) {
    const struct call *call = shown->call;
    if (from >= call->args_count) return;
    if (count > call->args_count - from) count = call->args_count - from;
    if (!shown->copy) {
        shown->copy = arena_new(call->arena, call->args_count * sizeof *shown->copy);
        memcpy(shown->copy, call->args, call->args_count * sizeof *shown->copy);
    }
    for (size_t i = 0; i < count; i++) shown->copy[from + i] = BYTES("(redacted)");
}

static void hide_after_auth(struct shown *shown, size_t from, bool migrates) {
    const struct call *call = shown->call;
    for (size_t i = from; i < call->args_count; i++) {
        size_t secrets = secrets_after(call->args[i], migrates);
        hide(shown, i + 1, secrets);
        i += secrets;
    }
}

const struct bytes *call_words_shown(const struct call *call) {
    struct shown shown = { .call = call };
    struct bytes name = call->info ? call->info->name : BYTES("");
    if (bytes_equal(name, BYTES("auth"))) {
        hide(&shown, 1, call->args_count);
    } else if (bytes_equal(name, BYTES("hello"))) {
        hide_after_auth(&shown, 2, false);
    } else if (bytes_equal(name, BYTES("migrate"))) {
        hide_after_auth(&shown, 6, true);
    } else if (bytes_equal(name, BYTES("config|set"))) {
        for (size_t i = 2; i + 1 < call->args_count; i += 2)
            if (is_secret_setting(call->args[i])) hide(&shown, i + 1, 1);
    } else if (bytes_equal(name, BYTES("acl|setuser")) || bytes_equal(name, BYTES("acl|deluser")) ||
               bytes_equal(name, BYTES("acl|getuser"))) {
        hide(&shown, 2, call->args_count);
    }
    return shown.copy ? shown.copy : call->args;
}
