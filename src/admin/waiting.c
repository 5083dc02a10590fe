/* waiting.c: WAIT and WAITAOF: until what this connection has written is as safe as it asks for.
 *
 * There are no replicas yet, so that none ever acknowledges: WAIT says 0 when its time is over. The local half of
 * WAITAOF is the log: 1 once everything that this connection has been answered is on the disk. */
#include "base/number.h"
#include "command/block.h"
#include "command/command.h"
#include "command/pulse.h"
#include "command/session.h"
#include "log/persist.h"

static bool arg_timeout(struct call *call, size_t i, uint64_t *timeout_ms) {
    int64_t ms;
    if (!int_parse(call->args[i], &ms)) {
        fail(call, "ERR timeout is not an integer or out of range");
        return false;
    }
    if (ms < 0) {
        fail(call, "ERR timeout is negative");
        return false;
    }
    *timeout_ms = (uint64_t)ms;
    return true;
}

static enum outcome wait_replicas(struct call *call) {
    int64_t replicas;
    uint64_t timeout_ms;
    if (!arg_int(call, 1, &replicas) || !arg_timeout(call, 2, &timeout_ms)) return FAILED;
    if (replicas > 0 && call_waits(call, &(struct wait_on){ .timeout_ms = timeout_ms }))
        return BLOCKED;
    return reply_int(call, 0);
}

static enum outcome reply_safe(struct call *call, bool local) {
    call->reply->writer->array(call->reply, 2);
    call->reply->writer->integer(call->reply, local);
    return reply_int(call, 0);
}

static enum outcome wait_log(struct call *call) {
    struct persist *persist = call->pulse->persist;
    int64_t local, replicas;
    uint64_t timeout_ms;
    if (!arg_int_range(call, 1, 0, 1, &local) || !arg_positive(call, 2, &replicas) ||
        !arg_timeout(call, 3, &timeout_ms))
        return FAILED;
    bool logged = persist && persist_state(persist) != PERSIST_OFF;
    if (local && !logged)
        return fail(call,
                    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    uint64_t stamp = call->session->gate;
    bool durable = logged && persist_durable(persist) >= stamp;
    if ((!local || durable) && replicas == 0) return reply_safe(call, durable);
    struct wait_on on = { .timeout_ms = timeout_ms, .durable = local && replicas == 0 ? stamp : 0 };
    if (!call_waits(call, &on)) return reply_safe(call, durable);
    if (on.durable) persist_want_sync(persist);
    return BLOCKED;
}

COMMAND(wait) = {
    .synopsis = "WAIT numreplicas:int timeout:int",
    .summary = "Waits until so many replicas have this connection's writes, or so many "
               "milliseconds. Answers how many.",
    .since = "3.0.0",
    .group = "generic",
    .complexity = "O(1)",
    .flags = CMD_NOSCRIPT,
    .acl = ACL_CONNECTION,
    .tips = "request_policy:all_shards response_policy:agg_min",
    .run = wait_replicas,
};

COMMAND(waitaof) = {
    .synopsis = "WAITAOF numlocal:int numreplicas:int timeout:int",
    .summary =
        "Waits until this connection's writes are on this server's disk and on so many replicas'.",
    .since = "7.2.0",
    .group = "generic",
    .complexity = "O(1)",
    .flags = CMD_BLOCKING,
    .acl = ACL_CONNECTION,
    .tips = "request_policy:all_shards response_policy:agg_min",
    .run = wait_log,
};
