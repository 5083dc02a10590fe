/* tracking.c: CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR: what a client that keeps copies may ask for.
 * What is done for it is command/tracking.h's. */
#include "command/tracking.h"
#include "command/command.h"
#include "command/pulse.h"

struct asked {
    struct tracking_wish wish;
    struct bytes *prefixes; /* of the wish; room for every word */
};

/* Words that only switch something on. */
static const struct {
    struct bytes word;
    enum session_flag flag;
} switches[] = {
    { { "bcast", 5 }, SESSION_TRACKING_BCAST },
    { { "optin", 5 }, SESSION_TRACKING_OPTIN },
    { { "optout", 6 }, SESSION_TRACKING_OPTOUT },
    { { "noloop", 6 }, SESSION_TRACKING_NOLOOP },
};

static bool take_switch(struct words *words, struct tracking_wish *wish) {
    for (size_t i = 0; i < COUNT_OF(switches); i++) {
        if (!words_take(words, switches[i].word)) continue;
        wish->flags |= switches[i].flag;
        return true;
    }
    return false;
}

/* false: it has answered. */
static bool take_redirect(struct call *call, size_t i, struct tracking_wish *wish) {
    int64_t id;
    if (wish->redirect) {
        fail(call, "ERR A client can only redirect to a single other client");
        return false;
    }
    if (!arg_int(call, i, &id)) return false;
    wish->redirect = (uint64_t)id;
    wish->redirect_to = sessions_mailbox(call->pulse->sessions, (uint64_t)id);
    if (wish->redirect_to) return true;
    fail(call, "ERR The client ID you want redirect to does not exist");
    return false;
}

static bool read_options(struct call *call, struct asked *asked) {
    struct tracking_wish *wish = &asked->wish;
    asked->prefixes = arena_new(call->arena, call->args_count * sizeof *asked->prefixes);
    wish->prefixes = asked->prefixes;
    for (struct words w = call_rest(call, 3); words_left(&w);) {
        size_t value;
        if (take_switch(&w, wish)) continue;
        if (words_take_value(&w, BYTES("redirect"), &value)) {
            if (!take_redirect(call, value, wish)) return false;
        } else if (words_take_value(&w, BYTES("prefix"), &value)) {
            asked->prefixes[wish->prefixes_count++] = call->args[value];
        } else {
            fail(call, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static bool overlap(struct bytes a, struct bytes b) {
    size_t len = a.len < b.len ? a.len : b.len;
    return bytes_equal((struct bytes){ a.data, len }, (struct bytes){ b.data, len });
}

static bool refuse_overlap(struct call *call, struct bytes prefix, const char *with,
                           struct bytes other) {
    enum { SHOWN_MAX = 128 };
    int len = (int)(prefix.len < SHOWN_MAX ? prefix.len : SHOWN_MAX);
    int other_len = (int)(other.len < SHOWN_MAX ? other.len : SHOWN_MAX);
    fail_format(call,
                "ERR Prefix '%.*s' overlaps with %s prefix '%.*s'. Prefixes for a single client "
                "must not overlap.",
                len, prefix.data, with, other_len, other.data);
    return false;
}

static bool prefixes_fit(struct call *call, const struct tracking_wish *wish) {
    const struct session *session = call->session;
    if (wish->prefixes_count > TRACKING_PREFIXES_MAX - session->prefixes_count) {
        fail_format(call, "ERR at most %d prefixes can be tracked", TRACKING_PREFIXES_MAX);
        return false;
    }
    for (size_t i = 0; i < wish->prefixes_count; i++) {
        struct bytes prefix = wish->prefixes[i];
        for (size_t j = 0; j < session->prefixes_count; j++)
            if (overlap(prefix, session->prefixes[j]))
                return refuse_overlap(call, prefix, "an existing", session->prefixes[j]);
        for (size_t j = i + 1; j < wish->prefixes_count; j++)
            if (overlap(prefix, wish->prefixes[j]))
                return refuse_overlap(call, prefix, "another provided", wish->prefixes[j]);
    }
    return true;
}

#define ERR_SWITCH(what)                                                                 \
    "ERR You can't switch " what " before disabling tracking for this client, and then " \
    "re-enabling it with a different mode."

/* NULL, or why this cannot be asked for. */
static const char *contradiction(const struct session *session, const struct tracking_wish *wish) {
    uint32_t now = atomic_load_explicit(&session->flags, memory_order_relaxed);
    uint32_t then = wish->flags, in = SESSION_TRACKING_OPTIN, out = SESSION_TRACKING_OPTOUT;
    bool broadcast = then & SESSION_TRACKING_BCAST;
    if (wish->prefixes_count && !broadcast)
        return "ERR PREFIX option requires BCAST mode to be enabled";
    if (now & SESSION_TRACKING && (now ^ then) & SESSION_TRACKING_BCAST)
        return ERR_SWITCH("BCAST mode on/off");
    if (broadcast && then & (in | out)) return "ERR OPTIN and OPTOUT are not compatible with BCAST";
    if (then & in && then & out) return "ERR You can't specify both OPTIN mode and OPTOUT mode";
    if ((then & in && now & out) || (then & out && now & in))
        return ERR_SWITCH("OPTIN/OPTOUT mode");
    return NULL;
}

static enum outcome client_tracking(struct call *call) {
    struct asked asked = {};
    if (!read_options(call, &asked)) return FAILED;
    if (arg_is(call, 2, BYTES("off"))) {
        tracking_stop(call->session, call->pulse);
        return reply_ok(call);
    }
    if (!arg_is(call, 2, BYTES("on"))) return fail(call, ERR_SYNTAX);
    const char *wrong = contradiction(call->session, &asked.wish);
    if (wrong) return fail(call, wrong);
    if (!prefixes_fit(call, &asked.wish)) return FAILED;
    if (!call->pulse->tracking || !call->session->mailbox)
        return fail(call, "ERR tracking needs a connection that can be written to at any time");
    tracking_start(call->session, call->pulse, &asked.wish);
    return reply_ok(call);
}

static enum outcome client_caching(struct call *call) {
    const struct session *session = call->session;
    if (!session_has(session, SESSION_TRACKING))
        return fail(call, "ERR CLIENT CACHING can be called only when the client is in tracking "
                          "mode with OPTIN or OPTOUT mode enabled");
    if (arg_is(call, 2, BYTES("yes"))) {
        if (!session_has(session, SESSION_TRACKING_OPTIN))
            return fail(call, "ERR CLIENT CACHING YES is only valid when tracking is enabled in "
                              "OPTIN mode.");
    } else if (arg_is(call, 2, BYTES("no"))) {
        if (!session_has(session, SESSION_TRACKING_OPTOUT))
            return fail(call, "ERR CLIENT CACHING NO is only valid when tracking is enabled in "
                              "OPTOUT mode.");
    } else {
        return fail(call, ERR_SYNTAX);
    }
    session_flag_set(call->session, SESSION_TRACKING_CACHING, true);
    return reply_ok(call);
}

/* Who gets its invalidations: -1 without tracking, 0 itself. */
static int64_t redirect_of(const struct session *session) {
    if (!session_has(session, SESSION_TRACKING)) return -1;
    return (int64_t)atomic_load_explicit(&session->redirect, memory_order_relaxed);
}

static enum outcome client_getredir(struct call *call) {
    return reply_int(call, redirect_of(call->session));
}

static void reply_flags(struct call *call) {
    const struct session *session = call->session;
    bool on = session_has(session, SESSION_TRACKING);
    bool caching = session_has(session, SESSION_TRACKING_CACHING);
    bool in = session_has(session, SESSION_TRACKING_OPTIN);
    bool out = session_has(session, SESSION_TRACKING_OPTOUT);
    const struct {
        bool shown;
        const char *word;
    } flags[] = {
        { on, "on" },
        { !on, "off" },
        { session_has(session, SESSION_TRACKING_BCAST), "bcast" },
        { in, "optin" },
        { in && caching, "caching-yes" },
        { out, "optout" },
        { out && caching, "caching-no" },
        { session_has(session, SESSION_TRACKING_NOLOOP), "noloop" },
        { session_has(session, SESSION_TRACKING_BROKEN), "broken_redirect" },
    };
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(flags); i++) count += flags[i].shown;
    call->reply->writer->set(call->reply, count);
    for (size_t i = 0; i < COUNT_OF(flags); i++)
        if (flags[i].shown) reply_text(call, flags[i].word);
}

static enum outcome client_trackinginfo(struct call *call) {
    const struct session *session = call->session;
    call->reply->writer->map(call->reply, 3);
    reply_text(call, "flags");
    reply_flags(call);
    reply_text(call, "redirect");
    reply_int(call, redirect_of(session));
    reply_text(call, "prefixes");
    call->reply->writer->array(call->reply, session->prefixes_count);
    for (size_t i = 0; i < session->prefixes_count; i++) reply_bulk(call, session->prefixes[i]);
    return DONE;
}

enum { TRACKING_FLAGS = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE };

COMMAND(client_tracking) = {
    .synopsis = "CLIENT TRACKING <ON | OFF> [REDIRECT client-id:int] [PREFIX prefix ...] [BCAST] "
                "[OPTIN] [OPTOUT] [NOLOOP]",
    .summary = "Says whether the connection is told of changes of what it has read.",
    .since = "6.0.0",
    .group = "connection",
    .complexity = "O(1). Some options may introduce additional complexity.",
    .flags = TRACKING_FLAGS | CMD_ALL_SHARDS, /* tracking_start needs them */
    .acl = ACL_CONNECTION,
    .arity = -3,
    .run = client_tracking,
};

COMMAND(client_caching) = {
    .synopsis = "CLIENT CACHING <YES | NO>",
    .summary = "Says whether the keys of the next command are tracked.",
    .since = "6.0.0",
    .group = "connection",
    .complexity = "O(1)",
    .flags = TRACKING_FLAGS,
    .acl = ACL_CONNECTION,
    .run = client_caching,
};

COMMAND(client_trackinginfo) = {
    .synopsis = "CLIENT TRACKINGINFO",
    .summary = "Tells how the connection tracks.",
    .since = "6.2.0",
    .group = "connection",
    .complexity = "O(1)",
    .flags = TRACKING_FLAGS,
    .acl = ACL_CONNECTION,
    .run = client_trackinginfo,
};

COMMAND(client_getredir) = {
    .synopsis = "CLIENT GETREDIR",
    .summary = "Tells which connection gets the invalidations of this one.",
    .since = "6.0.0",
    .group = "connection",
    .complexity = "O(1)",
    .flags = TRACKING_FLAGS,
    .acl = ACL_CONNECTION,
    .run = client_getredir,
};
