/* config.c: CONFIG: the settings, seen and changed by a client. */
#include "command/command.h"
#include "command/observe.h"
#include "command/pulse.h"

#include <inttypes.h>

#include "base/env.h"

struct matches { /* a growing list in the arena */
    struct arena *arena;
    struct bytes (*pairs)[2];
    size_t count, cap;
};

static void find_one(void *self, struct bytes name, struct bytes value) {
    struct matches *found = self;
    if (found->count == found->cap) {
        size_t cap = found->cap ? 2 * found->cap : 16;
        struct bytes(*pairs)[2] = arena_new(found->arena, cap * sizeof *pairs);
        if (found->count) memcpy(pairs, found->pairs, found->count * sizeof *pairs);
        found->pairs = pairs;
        found->cap = cap;
    }
    found->pairs[found->count][0] = name;
    found->pairs[found->count][1] = value;
    found->count++;
}

static enum outcome config_get(struct call *call) {
    struct matches found = { .arena = call->arena };
    settings_match(call->pulse->settings, call->args + 2, call->args_count - 2, call->arena,
                   find_one, &found);
    call->reply->writer->map(call->reply, found.count);
    for (size_t i = 0; i < found.count; i++) {
        call->reply->writer->bulk(call->reply, found.pairs[i][0]);
        call->reply->writer->bulk(call->reply, found.pairs[i][1]);
    }
    return DONE;
}

static int shown(struct bytes name) {
    return (int)(name.len < 128 ? name.len : 128);
}

static enum outcome config_set(struct call *call) {
    if (call->args_count % 2) return fail(call, ERR_SYNTAX);
    size_t count = (call->args_count - 2) / 2, wrong = 0;
    struct setting_pair *pairs = arena_new(call->arena, count * sizeof *pairs);
    for (size_t i = 0; i < count; i++)
        pairs[i] = (struct setting_pair){ call->args[2 * i + 2], call->args[2 * i + 3] };
    struct problem why = {};
    enum status status = settings_change(call->pulse->settings, pairs, count,
                                         session_is_local(call->session), &wrong, &why);
    if (status == OK) {
        /* What was under way by other rules has ended when this is answered. */
        if (!call->in_multi) store_settle(call->pulse->store);
        return reply_ok(call);
    }
    struct bytes name = pairs[wrong].name;
    if (status == NOT_FOUND)
        return fail_format(call,
                           "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                           shown(name), name.data);
    return fail_format(call, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
                       shown(name), name.data, why.text);
}

static enum outcome config_resetstat(struct call *call) {
    store_counters_reset(call->pulse->store);
    calls_reset(call->pulse->observer->board);
    atomic_store_explicit(&call->pulse->peak_memory, pulse_used_memory(), memory_order_relaxed);
    return reply_ok(call);
}

static enum outcome config_rewrite(struct call *call) {
    struct problem why = {};
    enum status status = settings_rewrite(call->pulse->settings, call->pulse->env, &why);
    if (status == OK) return reply_ok(call);
    if (status == UNSUPPORTED) return fail(call, "ERR The server is running without a config file");
    return fail_format(call, "ERR Rewriting config file: %s", why.text);
}

static enum outcome config_help(struct call *call) {
    static const char *const lines[] = {
        "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET <pattern> [<pattern> ...]",
        "    The settings whose names match, with their values.",
        "SET <directive> <value> [<directive> <value> ...]",
        "    Change settings: all of them or, if one is refused, none.",
        "RESETSTAT",
        "    Let the counters of INFO begin at zero.",
        "REWRITE",
        "    Write the settings into the configuration file.",
        "HELP",
        "    Print this help.",
    };
    return reply_help(call, lines, COUNT_OF(lines));
}

enum { ADMIN = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE };

COMMAND(config) = {
    .synopsis = "CONFIG",
    .summary = "Settings: a container.",
    .since = "2.0.0",
    .group = "server",
    .complexity = "Depends on subcommand.",
    .flags = CMD_CONTAINER,
};

COMMAND(config_get) = {
    .synopsis = "CONFIG GET parameter [parameter ...]",
    .summary = "Shows the settings whose names match.",
    .since = "2.0.0",
    .history = "7.0.0: Several patterns.",
    .group = "server",
    .complexity = "O(N) when N is the number of configuration parameters provided",
    .flags = ADMIN,
    .run = config_get,
};

COMMAND(config_set) = {
    .synopsis = "CONFIG SET parameter value [parameter value ...]",
    .summary = "Changes settings, all or none.",
    .since = "2.0.0",
    .history = "7.0.0: Several settings at once.",
    .group = "server",
    .complexity = "O(N) when N is the number of configuration parameters provided",
    .flags = ADMIN,
    .tips = "request_policy:all_nodes response_policy:all_succeeded",
    .run = config_set,
};

COMMAND(config_resetstat) = {
    .synopsis = "CONFIG RESETSTAT",
    .summary = "Lets the counters of INFO begin at zero.",
    .since = "2.0.0",
    .group = "server",
    .complexity = "O(1)",
    .flags = ADMIN,
    .run = config_resetstat,
};

COMMAND(config_rewrite) = {
    .synopsis = "CONFIG REWRITE",
    .summary = "Writes the settings into the configuration file.",
    .since = "2.8.0",
    .group = "server",
    .complexity = "O(1)",
    .flags = ADMIN,
    .run = config_rewrite,
};

COMMAND(config_help) = {
    .synopsis = "CONFIG HELP",
    .summary = "Prints what the subcommands are.",
    .since = "5.0.0",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE,
    .run = config_help,
};
