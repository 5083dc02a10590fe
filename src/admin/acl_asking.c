/* acl_asking.c: ACL: categories, passwords by chance, trying a call without making it, and what was
 * refused. */
#include "base/env.h"
#include "command/acl.h"
#include "command/category.h"
#include "command/command.h"
#include "command/pulse.h"

enum { SHOWN_MAX = 128, GENPASS_BITS = 256, GENPASS_BITS_MAX = 4096, LOG_SHOWN = 10 };

static int shown(struct bytes text) {
    return (int)(text.len < SHOWN_MAX ? text.len : SHOWN_MAX);
}

/* ---- CAT and GENPASS ---- */

static enum outcome list_categories(struct call *call) {
    size_t count = 0;
    while (categories_at(count)) count++;
    call->reply->writer->array(call->reply, count);
    for (size_t i = 0; i < count; i++)
        call->reply->writer->bulk(call->reply, bytes_of(categories_at(i)->name + 1));
    return DONE;
}

static enum outcome acl_cat(struct call *call) {
    if (call->args_count > 3) return fail_subcommand_words(call);
    if (call->args_count == 2) return list_categories(call);
    unsigned category = category_find(call->args[2]);
    if (!category)
        return fail_format(call, "ERR Unknown category '%.*s'", shown(call->args[2]),
                           call->args[2].data);
    const struct commands *commands = call->pulse->commands;
    size_t count = 0;
    for (int put = 0; put < 2; put++) {
        if (put) call->reply->writer->array(call->reply, count);
        for (size_t i = 0; i < commands_count(commands); i++) {
            const struct command_info *info = commands_at(commands, i);
            if (info->flags & CMD_CONTAINER || !(command_categories(info) & category)) continue;
            count++;
            if (put) call->reply->writer->bulk(call->reply, info->name);
        }
    }
    return DONE;
}

static enum outcome acl_genpass(struct call *call) {
    static const char digits[] = "0123456789abcdef";
    int64_t bits = GENPASS_BITS;
    if (call->args_count > 3) return fail_subcommand_words(call);
    if (call->args_count == 3 && !arg_int(call, 2, &bits)) return FAILED;
    if (bits <= 0 || bits > GENPASS_BITS_MAX)
        return fail_format(call,
                           "ERR ACL GENPASS argument must be the number of bits for the output "
                           "password, a positive number up to %d",
                           GENPASS_BITS_MAX);
    unsigned char chance[GENPASS_BITS_MAX / 8];
    char text[GENPASS_BITS_MAX / 4];
    size_t len = (size_t)(bits + 3) / 4;
    env_random(call->pulse->env, chance, (len + 1) / 2);
    for (size_t i = 0; i < len; i++) text[i] = digits[chance[i / 2] >> (i % 2 ? 0 : 4) & 15];
    return reply_bulk(call, (struct bytes){ text, len });
}

/* ---- DRYRUN ---- */

static enum outcome try_call(struct call *call, const struct acl_rules *rules) {
    const struct bytes *args = call->args + 3;
    size_t count = call->args_count - 3;
    struct command_info *container;
    struct command_info *info = commands_resolve(call->pulse->commands, args, count, &container);
    if (!info)
        return fail_format(call, "ERR Command '%.*s' not found", shown(args[0]), args[0].data);
    if (info->flags & CMD_CONTAINER || !command_count_fits(info, count))
        return fail_format(call, "ERR wrong number of arguments for '%.*s' command",
                           (int)info->name.len, info->name.data);
    struct acl_denied why;
    if (acl_check(rules, info, args, count, call->arena, &why)) return reply_ok(call);
    struct bytes text =
        why.reason == ACL_DENIED_COMMAND
            ? arena_format(call->arena, "This user has no permissions to run the '%.*s' command",
                           (int)why.object.len, why.object.data)
            : arena_format(call->arena, "This user has no permissions to access the '%.*s' %s",
                           shown(why.object), why.object.data,
                           why.reason == ACL_DENIED_KEY ? "key" : "channel");
    return reply_bulk(call, text);
}

static enum outcome acl_dryrun(struct call *call) {
    struct bytes name = call->args[2];
    struct acl_rules *rules = acl_find(call->pulse->acl, name);
    if (!rules) return fail_format(call, "ERR User '%.*s' not found", shown(name), name.data);
    enum outcome outcome = try_call(call, rules);
    acl_rules_unref(rules);
    return outcome;
}

/* ---- LOG ---- */

static void put_refusal(struct call *call, const struct acl_refusal *refusal, int64_t now_ms) {
    static const char *const reasons[] = { [ACL_DENIED_COMMAND] = "command",
                                           [ACL_DENIED_KEY] = "key",
                                           [ACL_DENIED_AUTH] = "auth",
                                           [ACL_DENIED_CHANNEL] = "channel" };
    static const char *const contexts[] = { [ACL_TOPLEVEL] = "toplevel",
                                            [ACL_IN_MULTI] = "multi",
                                            [ACL_IN_SCRIPT] = "lua",
                                            [ACL_IN_FUNCTION] = "module" };
    struct reply *reply = call->reply;
    const struct reply_writer *writer = reply->writer;
    int64_t age_ms = now_ms > refusal->updated_ms ? now_ms - refusal->updated_ms : 0;
    writer->map(reply, 10);
    writer->bulk(reply, BYTES("count"));
    writer->integer(reply, (int64_t)refusal->count);
    writer->bulk(reply, BYTES("reason"));
    writer->bulk(reply, bytes_of(reasons[refusal->reason]));
    writer->bulk(reply, BYTES("context"));
    writer->bulk(reply, bytes_of(contexts[refusal->context]));
    writer->bulk(reply, BYTES("object"));
    writer->bulk(reply, refusal->object);
    writer->bulk(reply, BYTES("username"));
    writer->bulk(reply, refusal->user);
    writer->bulk(reply, BYTES("age-seconds"));
    writer->number(reply, (double)age_ms / 1000);
    writer->bulk(reply, BYTES("client-info"));
    writer->bulk(reply, refusal->client);
    writer->bulk(reply, BYTES("entry-id"));
    writer->integer(reply, (int64_t)refusal->id);
    writer->bulk(reply, BYTES("timestamp-created"));
    writer->integer(reply, refusal->created_ms);
    writer->bulk(reply, BYTES("timestamp-last-updated"));
    writer->integer(reply, refusal->updated_ms);
}

static enum outcome acl_log(struct call *call) {
    int64_t limit = LOG_SHOWN;
    if (call->args_count > 3) return fail_subcommand_words(call);
    if (call->args_count == 3 && arg_is(call, 2, BYTES("RESET"))) {
        acl_forget_refusals(call->pulse->acl);
        return reply_ok(call);
    }
    if (call->args_count == 3 && !arg_int(call, 2, &limit)) return FAILED;
    struct acl_refusal *list;
    size_t count =
        acl_refusals(call->pulse->acl, limit < 0 ? 0 : (size_t)limit, call->arena, &list);
    int64_t now_ms = (int64_t)(env_realtime_ns(call->pulse->env) / 1000000);
    call->reply->writer->array(call->reply, count);
    for (size_t i = 0; i < count; i++) put_refusal(call, &list[i], now_ms);
    return DONE;
}

static enum outcome acl_help(struct call *call) {
    static const char *const lines[] = {
        "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CAT [<category>]",
        "    The commands of a category, or all categories.",
        "DELUSER <username> [<username> ...]",
        "    Delete users and close their connections.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Whether a user may make a call, without making it.",
        "GENPASS [<bits>]",
        "    A password by chance, of 256 bits or so many.",
        "GETUSER <username>",
        "    What a user may do.",
        "LIST",
        "    All users, as a users file has them.",
        "LOAD",
        "    Read the users file.",
        "LOG [<count> | RESET]",
        "    What was refused, newest first.",
        "SAVE",
        "    Write the users file.",
        "SETUSER <username> <attribute> [<attribute> ...]",
        "    Make a user, or change one.",
        "USERS",
        "    The names of all users.",
        "WHOAMI",
        "    The user of this connection.",
        "HELP",
        "    Print this help.",
    };
    return reply_help(call, lines, COUNT_OF(lines));
}

/* ---- the commands ---- */

enum {
    OPEN = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
    ADMIN = OPEN | CMD_ADMIN,
};

COMMAND(acl_cat) = {
    .synopsis = "ACL CAT [category]",
    .summary = "Lists categories of commands, or the commands of one.",
    .since = "6.0.0",
    .group = "server",
    .complexity = "O(1) since the categories and commands are a fixed set.",
    .flags = OPEN,
    .run = acl_cat,
};

COMMAND(acl_genpass) = {
    .synopsis = "ACL GENPASS [bits:int]",
    .summary = "Makes a password by chance.",
    .since = "6.0.0",
    .group = "server",
    .complexity = "O(1)",
    .flags = OPEN,
    .run = acl_genpass,
};

COMMAND(acl_dryrun) = {
    .synopsis = "ACL DRYRUN username command [arg [arg ...]]",
    .summary = "Tells whether a user may make a call, without making it.",
    .since = "7.0.0",
    .group = "server",
    .complexity = "O(1).",
    .flags = ADMIN,
    .run = acl_dryrun,
};

COMMAND(acl_log) = {
    .synopsis = "ACL LOG [count:int | RESET]",
    .summary = "Lists what was refused to whom, newest first.",
    .since = "6.0.0",
    .history = "7.2.0: Shows `entry-id`, `timestamp-created` and `timestamp-last-updated`.",
    .group = "server",
    .complexity = "O(N) with N being the number of entries shown.",
    .flags = ADMIN,
    .run = acl_log,
};

COMMAND(acl_help) = {
    .synopsis = "ACL HELP",
    .summary = "Prints what the subcommands are.",
    .since = "6.0.0",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE,
    .run = acl_help,
};
