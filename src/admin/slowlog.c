/* slowlog.c: SLOWLOG: the commands that took longer than slowlog-log-slower-than. */
#include "metrics/slowlog.h"

#include "command/command.h"
#include "command/observe.h"
#include "command/pulse.h"

enum { GET_DEFAULT = 10 };

static void begin(void *self, size_t count) {
    struct call *call = self;
    call->reply->writer->array(call->reply, count);
}

static void show(void *self, const struct slowlog_entry *entry) {
    struct call *call = self;
    call->reply->writer->array(call->reply, 6);
    reply_int(call, (int64_t)entry->id);
    reply_int(call, entry->second);
    reply_int(call, (int64_t)entry->us);
    call->reply->writer->array(call->reply, entry->words_count);
    for (size_t i = 0; i < entry->words_count; i++) reply_bulk(call, entry->words[i]);
    reply_bulk(call, entry->address);
    reply_bulk(call, entry->name);
}

static enum outcome slowlog_get(struct call *call) {
    int64_t count = GET_DEFAULT;
    if (call->args_count > 3) return fail_subcommand_words(call);
    if (call->args_count == 3 && (!int_parse(call->args[2], &count) || count < -1))
        return fail(call, "ERR count should be greater than or equal to -1");
    slowlog_each(call->pulse->observer->slowlog, count < 0 ? UINT64_MAX : (uint64_t)count, begin,
                 show, call);
    return DONE;
}

static enum outcome slowlog_len_run(struct call *call) {
    return reply_int(call, (int64_t)slowlog_len(call->pulse->observer->slowlog));
}

static enum outcome slowlog_reset_run(struct call *call) {
    slowlog_reset(call->pulse->observer->slowlog);
    return reply_ok(call);
}

static enum outcome slowlog_help(struct call *call) {
    static const char *const lines[] = {
        "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET [<count>]",
        "    The newest <count> entries (10; -1: all of them). An entry is: its id, when it",
        "    ended, how many microseconds it took, the command's words, the client's address",
        "    and its name.",
        "LEN",
        "    How many entries there are.",
        "RESET",
        "    Forget them.",
        "HELP",
        "    Print this help.",
    };
    return reply_help(call, lines, COUNT_OF(lines));
}

enum { SLOWLOG_FLAGS = CMD_ADMIN | CMD_LOADING | CMD_STALE };

COMMAND(slowlog) = {
    .synopsis = "SLOWLOG",
    .summary = "Commands that took long: a container.",
    .since = "2.2.12",
    .group = "server",
    .complexity = "Depends on subcommand.",
    .flags = CMD_CONTAINER,
};

COMMAND(slowlog_get) = {
    .synopsis = "SLOWLOG GET [count:int]",
    .summary = "Shows the newest commands that took long.",
    .since = "2.2.12",
    .history = "4.0.0: The client's address and name.",
    .group = "server",
    .complexity = "O(N) where N is the number of entries returned",
    .flags = SLOWLOG_FLAGS,
    .tips = "request_policy:all_nodes nondeterministic_output",
    .run = slowlog_get,
};

COMMAND(slowlog_len) = {
    .synopsis = "SLOWLOG LEN",
    .summary = "Counts the commands that took long.",
    .since = "2.2.12",
    .group = "server",
    .complexity = "O(1)",
    .flags = SLOWLOG_FLAGS,
    .tips = "request_policy:all_nodes response_policy:agg_sum nondeterministic_output",
    .run = slowlog_len_run,
};

COMMAND(slowlog_reset) = {
    .synopsis = "SLOWLOG RESET",
    .summary = "Forgets the commands that took long.",
    .since = "2.2.12",
    .group = "server",
    .complexity = "O(N) where N is the number of entries in the slowlog",
    .flags = SLOWLOG_FLAGS,
    .tips = "request_policy:all_nodes response_policy:all_succeeded",
    .run = slowlog_reset_run,
};

COMMAND(slowlog_help) = {
    .synopsis = "SLOWLOG HELP",
    .summary = "Prints what the subcommands are.",
    .since = "6.2.0",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE,
    .run = slowlog_help,
};
