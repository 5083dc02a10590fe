/* commands.c: COMMAND and its subcommands: the server says what it can do. */
#include "admin/commands_info.h"
#include "base/glob.h"
#include "command/category.h"
#include "command/pulse.h"

/* "get" or "client|id". */
static struct command_info *named(const struct commands *commands, struct bytes name) {
    const char *bar = name.len ? memchr(name.data, '|', name.len) : NULL;
    if (!bar) return commands_find(commands, name);
    size_t len = (size_t)(bar - name.data);
    struct bytes words[2] = { { name.data, len }, { bar + 1, name.len - len - 1 } };
    struct command_info *container;
    struct command_info *info = commands_resolve(commands, words, 2, &container);
    return container ? info : NULL;
}

static size_t count_top(const struct commands *commands) {
    size_t count = 0;
    for (size_t i = 0; i < commands_count(commands); i++)
        count += !commands_at(commands, i)->parent;
    return count;
}

/* ---- COMMAND, COMMAND COUNT, COMMAND INFO, COMMAND DOCS ---- */

static enum outcome command_all(struct call *call) {
    const struct commands *commands = call->pulse->commands;
    if (call->args_count > 2) return fail_subcommand(call);
    call->reply->writer->array(call->reply, count_top(commands));
    for (size_t i = 0; i < commands_count(commands); i++) {
        const struct command_info *info = commands_at(commands, i);
        if (!info->parent) commands_info_reply(call, info);
    }
    return DONE;
}

static enum outcome command(struct call *call) {
    return call->args_count > 1 ? fail_subcommand(call) : command_all(call);
}

static enum outcome command_count(struct call *call) {
    return reply_int(call, (int64_t)count_top(call->pulse->commands));
}

static enum outcome command_info(struct call *call) {
    if (call->args_count == 2) return command_all(call);
    call->reply->writer->array(call->reply, call->args_count - 2);
    for (size_t i = 2; i < call->args_count; i++) {
        const struct command_info *info = named(call->pulse->commands, call->args[i]);
        if (info)
            commands_info_reply(call, info);
        else
            call->reply->writer->null(call->reply);
    }
    return DONE;
}

static enum outcome command_docs(struct call *call) {
    const struct commands *commands = call->pulse->commands;
    if (call->args_count == 2) {
        call->reply->writer->map(call->reply, count_top(commands));
        for (size_t i = 0; i < commands_count(commands); i++) {
            const struct command_info *info = commands_at(commands, i);
            if (!info->parent) commands_docs_reply(call, info);
        }
        return DONE;
    }
    size_t known = 0;
    for (size_t i = 2; i < call->args_count; i++) known += !!named(commands, call->args[i]);
    call->reply->writer->map(call->reply, known);
    for (size_t i = 2; i < call->args_count; i++) {
        const struct command_info *info = named(commands, call->args[i]);
        if (info) commands_docs_reply(call, info);
    }
    return DONE;
}

/* ---- COMMAND LIST ---- */

struct filter {
    enum { ALL, MODULE, ACLCAT, PATTERN } by;
    unsigned category;
    struct bytes pattern;
};

static bool filter_read(struct call *call, struct filter *filter) {
    if (call->args_count == 2) return true;
    if (call->args_count != 5 || !arg_is(call, 2, BYTES("FILTERBY"))) return false;
    filter->pattern = call->args[4];
    filter->category = category_find(filter->pattern);
    if (arg_is(call, 3, BYTES("MODULE")))
        filter->by = MODULE;
    else if (arg_is(call, 3, BYTES("ACLCAT")))
        filter->by = ACLCAT;
    else if (arg_is(call, 3, BYTES("PATTERN")))
        filter->by = PATTERN;
    else
        return false;
    return true;
}

static bool filter_passes(const struct filter *filter, const struct command_info *info) {
    switch (filter->by) {
    case ALL: return true;
    case MODULE: return false; /* there are none */
    case ACLCAT: return command_categories(info) & filter->category;
    case PATTERN: return glob_match(filter->pattern, info->name, true);
    }
    return false;
}

static enum outcome command_list(struct call *call) {
    const struct commands *commands = call->pulse->commands;
    struct filter filter = { .by = ALL };
    if (!filter_read(call, &filter)) return fail(call, ERR_SYNTAX);
    size_t count = 0;
    for (size_t i = 0; i < commands_count(commands); i++)
        count += filter_passes(&filter, commands_at(commands, i));
    call->reply->writer->array(call->reply, count);
    for (size_t i = 0; i < commands_count(commands); i++)
        if (filter_passes(&filter, commands_at(commands, i)))
            resp_bulk(call->reply, commands_at(commands, i)->name);
    return DONE;
}

/* ---- COMMAND GETKEYS, COMMAND GETKEYSANDFLAGS ---- */

static bool count_fits(const struct command_info *info, size_t count) {
    return info->arity >= 0 ? count == (size_t)info->arity : count >= (size_t)-info->arity;
}

static enum outcome put_keys(struct call *call, bool with_access) {
    const struct commands *commands = call->pulse->commands;
    const struct bytes *args = call->args + 2;
    size_t count = call->args_count - 2;
    struct command_info *container;
    const struct command_info *info = commands_resolve(commands, args, count, &container);
    if (!info) return fail(call, "ERR Invalid command specified");
    if (!command_has_keys(info)) return fail(call, "ERR The command has no key arguments");
    if (!count_fits(info, count))
        return fail(call, "ERR Invalid number of arguments specified for command");

    struct key_positions keys;
    unsigned *access;
    bool fits = command_keys_access(commands, info, args, count, call->arena, &keys, &access);
    if (!fits) keys.count = 0;
    if (keys.count == 0 && !(info->flags & CMD_NO_MANDATORY_KEYS))
        return fail(call, "ERR Invalid arguments specified for command");
    call->reply->writer->array(call->reply, keys.count);
    for (uint32_t i = 0; i < keys.count; i++) {
        if (with_access) call->reply->writer->array(call->reply, 2);
        resp_bulk(call->reply, args[keys.at[i]]);
        if (with_access) commands_access_reply(call, access[i] & ~(unsigned)KEY_VARIABLE);
    }
    return DONE;
}

static enum outcome command_getkeys(struct call *call) {
    return put_keys(call, false);
}

static enum outcome command_getkeysandflags(struct call *call) {
    return put_keys(call, true);
}

static enum outcome command_help(struct call *call) {
    static const char *const lines[] = {
        "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "(no subcommand)",
        "    What COMMAND INFO says, of every command.",
        "COUNT",
        "    How many commands there are; subcommands do not count.",
        "LIST [FILTERBY <MODULE <name> | ACLCAT <category> | PATTERN <pattern>>]",
        "    The names of commands and subcommands.",
        "INFO [<command-name> ...]",
        "    Arity, flags, keys and categories of commands; without names, of all.",
        "DOCS [<command-name> ...]",
        "    What commands do and which arguments they take; without names, all.",
        "GETKEYS <full-command>",
        "    The keys among the words of a command.",
        "GETKEYSANDFLAGS <full-command>",
        "    The same, with what the command does to each of them.",
        "HELP",
        "    Prints this help.",
    };
    return reply_help(call, lines, COUNT_OF(lines));
}

COMMAND(command) = {
    .synopsis = "COMMAND",
    .summary = "Describes all commands.",
    .since = "2.8.13",
    .group = "server",
    .complexity = "O(N) where N is the number of commands",
    .flags = CMD_CONTAINER | CMD_LOADING | CMD_STALE,
    .acl = ACL_CONNECTION,
    .tips = "nondeterministic_output_order",
    .run = command,
};

COMMAND(command_count) = {
    .synopsis = "COMMAND COUNT",
    .summary = "Counts the commands.",
    .since = "2.8.13",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE,
    .acl = ACL_CONNECTION,
    .run = command_count,
};

COMMAND(command_list) = {
    .synopsis =
        "COMMAND LIST [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern:pattern>]",
    .summary = "Lists the names of commands and subcommands.",
    .since = "7.0.0",
    .group = "server",
    .complexity = "O(N) where N is the number of commands",
    .flags = CMD_LOADING | CMD_STALE,
    .acl = ACL_CONNECTION,
    .tips = "nondeterministic_output_order",
    .run = command_list,
};

COMMAND(command_info) = {
    .synopsis = "COMMAND INFO [command-name [command-name ...]]",
    .summary = "Tells arity, flags, keys and categories of commands.",
    .since = "2.8.13",
    .group = "server",
    .complexity = "O(N) where N is the number of commands asked for",
    .history = "7.0.0: Without a name it tells of all commands.",
    .flags = CMD_LOADING | CMD_STALE,
    .acl = ACL_CONNECTION,
    .tips = "nondeterministic_output_order",
    .run = command_info,
};

COMMAND(command_docs) = {
    .synopsis = "COMMAND DOCS [command-name [command-name ...]]",
    .summary = "Tells what commands do and which arguments they take.",
    .since = "7.0.0",
    .group = "server",
    .complexity = "O(N) where N is the number of commands asked for",
    .flags = CMD_LOADING | CMD_STALE,
    .acl = ACL_CONNECTION,
    .tips = "nondeterministic_output_order",
    .run = command_docs,
};

COMMAND(command_getkeys) = {
    .synopsis = "COMMAND GETKEYS command arg [arg ...]",
    .summary = "Finds the keys among the words of a command.",
    .since = "2.8.13",
    .group = "server",
    .complexity = "O(N) where N is the number of words",
    .flags = CMD_LOADING | CMD_STALE,
    .acl = ACL_CONNECTION,
    .run = command_getkeys,
};

COMMAND(command_getkeysandflags) = {
    .synopsis = "COMMAND GETKEYSANDFLAGS command arg [arg ...]",
    .summary = "Finds the keys among the words of a command, and what it does to them.",
    .since = "7.0.0",
    .group = "server",
    .complexity = "O(N) where N is the number of words",
    .flags = CMD_LOADING | CMD_STALE,
    .acl = ACL_CONNECTION,
    .run = command_getkeysandflags,
};

COMMAND(command_help) = {
    .synopsis = "COMMAND HELP",
    .summary = "Prints what the subcommands are.",
    .since = "5.0.0",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE,
    .acl = ACL_CONNECTION,
    .run = command_help,
};
