/* redact.c: AUTH, HELLO ... AUTH, MIGRATE ... AUTH, ACL SETUSER, CONFIG SET of a secret setting. */
#include "command/redact.h"

#include "command/settings.h"

static bool is(struct bytes word, struct bytes other) {
    return bytes_equal_nocase(word, other);
}

/* AUTH [username] password: Redis shows neither. */
static bool in_auth(const struct bytes *args, size_t i) {
    (void)args;
    return i >= 1;
}

/* HELLO 3 AUTH username password SETNAME name */
static bool in_hello(const struct bytes *args, size_t i) {
    return (i >= 3 && is(args[i - 1], BYTES("AUTH"))) || (i >= 4 && is(args[i - 2], BYTES("AUTH")));
}

/* MIGRATE host port key db timeout ... AUTH password | AUTH2 username password */
static bool in_migrate(const struct bytes *args, size_t i) {
    return i >= 7 && (is(args[i - 1], BYTES("AUTH")) || is(args[i - 1], BYTES("AUTH2")) ||
                      is(args[i - 2], BYTES("AUTH2")));
}

static bool in_acl(const struct bytes *args, size_t i) {
    (void)args;
    return i >= 2;
}

static bool is_secret_setting(struct bytes name) {
    enum setting_id id;
    if (!setting_find(name, &id)) return false;
    return setting_row(id)->flags & SETTING_SECRET || id == SETTING_ID_masteruser; /* as Redis */
}

/* CONFIG SET name value [name value ...] */
static bool in_config_set(const struct bytes *args, size_t i) {
    return i >= 3 && i % 2 && is_secret_setting(args[i - 1]);
}

bool word_is_secret(const struct command_info *info, const struct bytes *args, size_t i) {
    static const struct {
        const char *name;
        bool (*holds)(const struct bytes *args, size_t i);
    } secrets[] = {
        { "auth", in_auth },       { "hello", in_hello },           { "migrate", in_migrate },
        { "acl|setuser", in_acl }, { "acl|deluser", in_acl }, /* names, as in Redis */
        { "acl|getuser", in_acl }, { "config|set", in_config_set },
    };
    for (size_t s = 0; s < COUNT_OF(secrets); s++)
        if (bytes_equal(info->name, bytes_of(secrets[s].name))) return secrets[s].holds(args, i);
    return false;
}

const struct bytes *call_words_shown(const struct call *call) {
    struct bytes *copy = NULL;
    for (size_t i = 1; call->info && i < call->args_count; i++) {
        if (!word_is_secret(call->info, call->args, i)) continue;
        if (!copy) {
            copy = arena_new(call->arena, call->args_count * sizeof *copy);
            memcpy(copy, call->args, call->args_count * sizeof *copy);
        }
        copy[i] = REDACTED;
    }
    return copy ? copy : call->args;
}
