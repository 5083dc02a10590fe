/* acl_users_commands.c: ACL: users, made, changed, shown and deleted; and their file. */
#include "base/limits.h"
#include "base/log.h"
#include "command/acl.h"
#include "command/command.h"
#include "command/pulse.h"

enum { SHOWN_MAX = 128 };

static int shown(struct bytes text) {
    return (int)(text.len < SHOWN_MAX ? text.len : SHOWN_MAX);
}

/* ---- SETUSER and DELUSER ---- */

static enum outcome acl_setuser(struct call *call) {
    struct bytes name = call->args[2], wrong = {};
    if (!acl_name_fits(name))
        return fail(call, "ERR Usernames can't contain spaces or null characters");
    struct problem why = {};
    enum status status = acl_set_user(call->pulse->acl, name, call->args + 3, call->args_count - 3,
                                      call->arena, &wrong, &why);
    if (status == OK) return reply_ok(call);
    if (status == CORRUPT) return fail_format(call, "ERR %s", why.text);
    return fail_format(call, "ERR Error in ACL SETUSER modifier '%.*s': %s", shown(wrong),
                       wrong.data, why.text);
}

static enum outcome acl_deluser(struct call *call) {
    struct acl *acl = call->pulse->acl;
    for (size_t i = 2; i < call->args_count; i++)
        if (bytes_equal(call->args[i], BYTES("default")))
            return fail(call, "ERR The 'default' user cannot be removed");
    size_t deleted = acl_delete_users(acl, call->args + 2, call->args_count - 2);
    reply_int(call, (int64_t)deleted);
    return acl_refresh(acl, call->session) ? DONE : CLOSING;
}

/* ---- GETUSER ---- */

static void put_text(struct call *call, const char *name, struct buffer *text) {
    call->reply->writer->bulk(call->reply, bytes_of(name));
    call->reply->writer->bulk(call->reply, buffer_bytes(text));
    buffer_clear(text);
}

static void put_selector(struct call *call, const struct acl_selector *selector) {
    struct buffer text;
    buffer_init(&text, ACL_FILE_MAX);
    acl_describe_commands(selector, &text);
    put_text(call, "commands", &text);
    acl_describe_keys(selector, &text);
    put_text(call, "keys", &text);
    acl_describe_channels(selector, &text);
    put_text(call, "channels", &text);
    buffer_deinit(&text);
}

static void put_flags(struct call *call, const struct acl_rules *rules) {
    const struct reply_writer *writer = call->reply->writer;
    writer->bulk(call->reply, BYTES("flags"));
    writer->set(call->reply, rules->nopass ? 3 : 2);
    writer->bulk(call->reply, rules->on ? BYTES("on") : BYTES("off"));
    if (rules->nopass) writer->bulk(call->reply, BYTES("nopass"));
    writer->bulk(call->reply,
                 rules->skip_sanitize ? BYTES("skip-sanitize-payload") : BYTES("sanitize-payload"));
}

static enum outcome acl_getuser(struct call *call) {
    const struct reply_writer *writer = call->reply->writer;
    struct acl_rules *rules = acl_find(call->pulse->acl, call->args[2]);
    if (!rules) {
        writer->null(call->reply);
        return DONE;
    }
    writer->map(call->reply, 6);
    put_flags(call, rules);
    writer->bulk(call->reply, BYTES("passwords"));
    writer->array(call->reply, rules->passwords_count);
    for (size_t i = 0; i < rules->passwords_count; i++) {
        char text[ACL_DIGEST_TEXT];
        acl_digest_text(rules->passwords[i], text);
        writer->bulk(call->reply, (struct bytes){ text, sizeof text });
    }
    put_selector(call, &rules->selectors[0]);
    writer->bulk(call->reply, BYTES("selectors"));
    writer->array(call->reply, rules->selectors_count - 1);
    for (size_t i = 1; i < rules->selectors_count; i++) {
        writer->map(call->reply, 3);
        put_selector(call, &rules->selectors[i]);
    }
    acl_rules_unref(rules);
    return DONE;
}

/* ---- LIST, USERS, WHOAMI ---- */

struct names {
    struct bytes *list;
    size_t count, cap;
    struct arena *arena;
};

static void take_name(void *self, struct bytes name, const struct acl_rules *rules) {
    (void)rules;
    struct names *names = self;
    if (names->count == names->cap) {
        size_t cap = names->cap ? 2 * names->cap : 16;
        struct bytes *list = arena_new(names->arena, cap * sizeof *list);
        if (names->count) memcpy(list, names->list, names->count * sizeof *list);
        names->list = list;
        names->cap = cap;
    }
    names->list[names->count++] = arena_copy(names->arena, name);
}

static enum outcome acl_users(struct call *call) {
    struct names names = { .arena = call->arena };
    acl_each(call->pulse->acl, take_name, &names);
    call->reply->writer->array(call->reply, names.count);
    for (size_t i = 0; i < names.count; i++) call->reply->writer->bulk(call->reply, names.list[i]);
    return DONE;
}

static enum outcome acl_list(struct call *call) {
    struct buffer lines;
    buffer_init(&lines, ACL_FILE_MAX);
    acl_write(call->pulse->acl, &lines);
    size_t count = 0;
    for (size_t i = 0; i < lines.len; i++) count += lines.data[i] == '\n';
    call->reply->writer->array(call->reply, count);
    for (size_t at = 0; at < lines.len;) {
        const char *start = lines.data + at, *end = memchr(start, '\n', lines.len - at);
        call->reply->writer->bulk(call->reply, (struct bytes){ start, (size_t)(end - start) });
        at += (size_t)(end - start) + 1;
    }
    buffer_deinit(&lines);
    return DONE;
}

static enum outcome acl_whoami(struct call *call) {
    const struct session *session = call->session;
    return reply_bulk(call, session->user_id ? session->user : BYTES("default"));
}

/* ---- LOAD and SAVE ---- */

#define ERR_NO_FILE                                                                           \
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify "  \
    "users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a " \
    "Redis configuration file set) in order to store users in the Redis configuration."

static enum outcome acl_load_file(struct call *call) {
    struct buffer errors;
    buffer_init(&errors, ACL_ERRORS_MAX);
    enum status status = acl_load(call->pulse->acl, &errors);
    enum outcome outcome;
    if (status == OK) {
        outcome = reply_ok(call);
        if (!acl_refresh(call->pulse->acl, call->session)) outcome = CLOSING;
    } else if (status == UNSUPPORTED) {
        outcome = fail(call, ERR_NO_FILE);
    } else {
        struct bytes text = arena_format(call->arena, "ERR %.*s", (int)errors.len, errors.data);
        call->reply->writer->error(call->reply, text);
        outcome = FAILED;
    }
    buffer_deinit(&errors);
    return outcome;
}

static enum outcome acl_save_file(struct call *call) {
    struct problem why = {};
    enum status status = acl_save(call->pulse->acl, &why);
    if (status == OK) return reply_ok(call);
    if (status == UNSUPPORTED) return fail(call, ERR_NO_FILE);
    log_line(call->pulse->log, LOG_WARNING, "The users file cannot be written",
             LOG_S("error", why.text));
    return fail(call, "ERR There was an error trying to save the ACLs. Please check the server "
                      "logs for more information");
}

/* ---- the commands ---- */

enum { ADMIN = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE };

COMMAND(acl) = {
    .synopsis = "ACL",
    .summary = "Users and what they may do: a container.",
    .since = "6.0.0",
    .group = "server",
    .complexity = "Depends on subcommand.",
    .flags = CMD_CONTAINER,
};

COMMAND(acl_setuser) = {
    .synopsis = "ACL SETUSER username [rule [rule ...]]",
    .summary = "Makes a user, or changes what he may do.",
    .since = "6.0.0",
    .history = "6.2.0: Pub/Sub channel patterns.; 7.0.0: Selectors, and keys to read or to write.",
    .group = "server",
    .complexity = "O(N). Where N is the number of rules provided.",
    .flags = ADMIN,
    .run = acl_setuser,
};

COMMAND(acl_deluser) = {
    .synopsis = "ACL DELUSER username [username ...]",
    .summary = "Deletes users and closes their connections.",
    .since = "6.0.0",
    .group = "server",
    .complexity = "O(1) amortized time considering the typical user.",
    .flags = ADMIN,
    .run = acl_deluser,
};

COMMAND(acl_getuser) = {
    .synopsis = "ACL GETUSER username",
    .summary = "Shows what a user may do.",
    .since = "6.0.0",
    .history = "6.2.0: Pub/Sub channel patterns.; 7.0.0: Selectors; keys and channels as texts.",
    .group = "server",
    .complexity = "O(N). Where N is the number of password, command and pattern rules that the "
                  "user has.",
    .flags = ADMIN,
    .run = acl_getuser,
};

COMMAND(acl_list) = {
    .synopsis = "ACL LIST",
    .summary = "Lists all users as a users file has them.",
    .since = "6.0.0",
    .group = "server",
    .complexity = "O(N). Where N is the number of configured users.",
    .flags = ADMIN,
    .run = acl_list,
};

COMMAND(acl_users) = {
    .synopsis = "ACL USERS",
    .summary = "Lists the names of all users.",
    .since = "6.0.0",
    .group = "server",
    .complexity = "O(N). Where N is the number of configured users.",
    .flags = ADMIN,
    .run = acl_users,
};

COMMAND(acl_whoami) = {
    .synopsis = "ACL WHOAMI",
    .summary = "Tells which user the connection is.",
    .since = "6.0.0",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
    .run = acl_whoami,
};

COMMAND(acl_load) = {
    .synopsis = "ACL LOAD",
    .summary = "Reads the users file: all of it, or nothing is changed.",
    .since = "6.0.0",
    .group = "server",
    .complexity = "O(N). Where N is the number of configured users.",
    .flags = ADMIN,
    .run = acl_load_file,
};

COMMAND(acl_save) = {
    .synopsis = "ACL SAVE",
    .summary = "Writes the users file.",
    .since = "6.0.0",
    .group = "server",
    .complexity = "O(N). Where N is the number of configured users.",
    .flags = ADMIN,
    .run = acl_save_file,
};
