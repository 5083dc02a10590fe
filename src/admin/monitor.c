/* monitor.c: the command MONITOR. What it does is command/monitor.h's. */
#include "command/monitor.h"
#include "command/command.h"
#include "command/pulse.h"

static enum outcome monitor(struct call *call) {
    if (call->in_multi) return fail(call, "ERR MONITOR isn't allowed for DENY BLOCKING client");
    if (session_has(call->session, SESSION_MONITOR)) return DONE; /* as Redis: not a word */
    if (!call->pulse->monitors || !call->session->mailbox)
        return fail(call, "ERR MONITOR needs a connection that can be written to at any time");
    if (!monitor_start(call->session, call->pulse))
        return fail_format(call, "ERR at most %d clients can monitor", MONITORS_MAX);
    return reply_ok(call);
}

COMMAND(monitor) = {
    .synopsis = "MONITOR",
    .summary = "Shows every command that runs from now on.",
    .since = "1.0.0",
    .group = "server",
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
    .run = monitor,
};
