/* client.c: CLIENT: what connections there are, what they are called, and ending them.
 *
 * A session of another thread is never touched but for its atomics: who kills it sets `kill` and
 * rings its loop, which closes it. */
#include "admin/client_filter.h"
#include "command/command.h"
#include "command/pulse.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/buffer.h"

enum { LIST_SIZE_MAX = 1024 * 1024 * 1024 };

static void is_running(struct call *call) { /* so that it shows this command of itself */
    atomic_store_explicit(&call->session->running, call->info, memory_order_relaxed);
}

/* ---- LIST and INFO ---- */

struct line {
    uint64_t id;
    struct bytes text;
};

struct listing {
    struct buffer all;
    struct arena *arena;
    int64_t now_ms;
    const struct client_filter *filter;
    const struct session *skipped; /* SKIPME; NULL: nobody */
    const uint64_t *ids;           /* sorted; NULL: those who fit the filter */
    size_t ids_count;
    struct line *lines; /* of `ids`, by id: sessions are visited oldest first */
    size_t lines_count;
};

static int by_id(const void *a, const void *b) { /* an id, or a struct that begins with one */
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool list_one(void *self, struct session *session) {
    struct listing *listing = self;
    if (!listing->ids) {
        if (session == listing->skipped || !client_fits(listing->filter, session)) return true;
        struct arena arena;
        arena_init(&arena);
        buffer_put(&listing->all, session_line(session, &arena, listing->now_ms));
        buffer_put(&listing->all, BYTES("\n"));
        arena_deinit(&arena);
        return true;
    }
    if (bsearch(&session->id, listing->ids, listing->ids_count, sizeof *listing->ids, by_id))
        listing->lines[listing->lines_count++] =
            (struct line){ session->id, session_line(session, listing->arena, listing->now_ms) };
    return true;
}

static enum outcome list_ids(struct call *call, struct listing *listing) {
    size_t count = call->args_count - 3;
    uint64_t *asked = arena_new(call->arena, count * sizeof *asked);
    for (size_t i = 0; i < count; i++) {
        int64_t id;
        if (!int_parse(call->args[i + 3], &id)) return fail(call, "ERR Invalid client ID");
        asked[i] = (uint64_t)id;
    }
    uint64_t *sorted = arena_new(call->arena, count * sizeof *sorted);
    memcpy(sorted, asked, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_id);
    listing->ids = sorted;
    listing->ids_count = count;
    listing->lines = arena_new(call->arena, count * sizeof *listing->lines);
    sessions_each(call->pulse->sessions, list_one, listing);
    for (size_t i = 0; i < count; i++) {
        const struct line *line =
            bsearch(&asked[i], listing->lines, listing->lines_count, sizeof *listing->lines, by_id);
        if (!line) continue;
        buffer_put(&listing->all, line->text);
        buffer_put(&listing->all, BYTES("\n"));
    }
    return DONE;
}

/* LIST ID alone: in the order in which they were asked for, as Redis. */
static bool asks_for_ids(const struct call *call) {
    if (call->args_count < 4 || !arg_is(call, 2, BYTES("ID"))) return false;
    int64_t id;
    for (size_t i = 4; i < call->args_count; i++)
        if (!int_parse(call->args[i], &id)) return false;
    return true;
}

static enum outcome client_list(struct call *call) {
    is_running(call);
    struct client_filter filter = { .now_ms = worker_now_ms(call->worker) };
    bool ids = asks_for_ids(call);
    if (!ids && client_filter_read(call, 2, &filter) != DONE) return FAILED;
    struct listing listing = { .arena = call->arena, .now_ms = filter.now_ms, .filter = &filter };
    if (filter.skip_me) listing.skipped = call->session;
    buffer_init(&listing.all, LIST_SIZE_MAX);
    enum outcome outcome = DONE;
    if (ids)
        outcome = list_ids(call, &listing);
    else
        sessions_each(call->pulse->sessions, list_one, &listing);
    if (outcome == DONE) call->reply->writer->verbatim(call->reply, buffer_bytes(&listing.all));
    buffer_deinit(&listing.all);
    return outcome;
}

struct own_line {
    struct call *call;
    struct bytes line;
};

static bool find_own(void *self, struct session *session) {
    struct own_line *own = self;
    if (session != own->call->session) return true;
    own->line = session_line(session, own->call->arena, worker_now_ms(own->call->worker));
    return false;
}

static enum outcome client_info(struct call *call) {
    is_running(call);
    struct own_line own = { call, BYTES("") };
    sessions_each(call->pulse->sessions, find_own, &own);
    struct bytes text = arena_format(call->arena, "%.*s\n", (int)own.line.len, own.line.data);
    call->reply->writer->verbatim(call->reply, text);
    return DONE;
}

/* ---- KILL ---- */

struct killing {
    struct call *call;
    struct client_filter filter;
    int64_t count;
    bool self;
};

static bool kill_one(void *self, struct session *session) {
    struct killing *killing = self;
    bool me = session == killing->call->session;
    if (me && killing->filter.skip_me) return true;
    if (!client_fits(&killing->filter, session)) return true;
    killing->count++;
    if (me) {
        killing->self = true;
        return true;
    }
    atomic_store_explicit(&session->kill, true, memory_order_release);
    if (session->mailbox) mailbox_ring(session->mailbox);
    return true;
}

/* CLIENT KILL ip:port: one connection, this one too. */
static enum outcome kill_by_address(struct call *call, struct killing *killing) {
    const struct bytes words[] = { BYTES("ADDR"), call->args[2] };
    struct call as_filter = *call;
    as_filter.args = words;
    as_filter.args_count = COUNT_OF(words);
    killing->filter.skip_me = false;
    if (client_filter_read(&as_filter, 0, &killing->filter) != DONE) return FAILED;
    sessions_each(call->pulse->sessions, kill_one, killing);
    if (!killing->count) return fail(call, "ERR No such client");
    return reply_ok(call);
}

static enum outcome client_kill(struct call *call) {
    struct killing killing = { .call = call };
    killing.filter.now_ms = worker_now_ms(call->worker);
    killing.filter.skip_me = true;
    enum outcome outcome;
    if (call->args_count == 3) {
        outcome = kill_by_address(call, &killing);
    } else {
        outcome = client_filter_read(call, 2, &killing.filter);
        if (outcome != DONE) return outcome;
        sessions_each(call->pulse->sessions, kill_one, &killing);
        reply_int(call, killing.count);
    }
    return killing.self ? CLOSING : outcome;
}

/* ---- the connection itself ---- */

static enum outcome client_id(struct call *call) {
    return reply_int(call, (int64_t)call->session->id);
}

static enum outcome client_getname(struct call *call) {
    if (call->session->name.len == 0) return reply_null(call);
    return reply_bulk(call, call->session->name);
}

static enum outcome client_setname(struct call *call) {
    if (session_set_name(call->session, call->pulse, call->args[2])) return reply_ok(call);
    return fail(call, "ERR Client names cannot contain spaces, newlines or special characters.");
}

static enum outcome client_setinfo(struct call *call) {
    struct bytes option = call->args[2];
    int shown = (int)(option.len < 128 ? option.len : 128);
    bool version = arg_is(call, 2, BYTES("LIB-VER"));
    if (!version && !arg_is(call, 2, BYTES("LIB-NAME")))
        return fail_format(call, "ERR Unrecognized option '%.*s'", shown, option.data);
    if (session_set_library(call->session, call->pulse, version, call->args[3]))
        return reply_ok(call);
    return fail_format(call, "ERR %.*s cannot contain spaces, newlines or special characters.",
                       shown, option.data);
}

static enum outcome client_reply(struct call *call) {
    struct session *session = call->session;
    if (arg_is(call, 2, BYTES("ON"))) {
        session->reply_mode = REPLY_ON;
        return reply_ok(call);
    }
    if (arg_is(call, 2, BYTES("OFF"))) {
        session->reply_mode = REPLY_OFF;
        return DONE;
    }
    if (!arg_is(call, 2, BYTES("SKIP"))) return fail(call, ERR_SYNTAX);
    if (session->reply_mode != REPLY_OFF) session->reply_mode = REPLY_SKIP_NEXT;
    return DONE;
}

/* Argument 2 is ON or OFF; else it has answered and returns false. */
static bool arg_switch(struct call *call, bool *on) {
    *on = arg_is(call, 2, BYTES("ON"));
    if (*on || arg_is(call, 2, BYTES("OFF"))) return true;
    fail(call, ERR_SYNTAX);
    return false;
}

static enum outcome client_no_evict(struct call *call) {
    bool on;
    if (!arg_switch(call, &on)) return FAILED;
    session_flag_set(call->session, SESSION_NO_EVICT, on);
    return reply_ok(call);
}

static enum outcome client_no_touch(struct call *call) {
    bool on;
    if (!arg_switch(call, &on)) return FAILED;
    session_flag_set(call->session, SESSION_NO_TOUCH, on);
    return reply_ok(call);
}

static enum outcome client_import_source(struct call *call) {
    bool on;
    if (!arg_switch(call, &on)) return FAILED;
    return reply_ok(call);
}

/* ---- others ---- */

struct unblocking {
    uint64_t id;
    uint32_t how;
    bool done;
};

static bool unblock_one(void *self, struct session *session) {
    struct unblocking *unblocking = self;
    if (session->id != unblocking->id) return true;
    if (!session_has(session, SESSION_BLOCKED)) return false;
    atomic_store_explicit(&session->unblock, unblocking->how, memory_order_release);
    if (session->mailbox) mailbox_ring(session->mailbox);
    unblocking->done = true;
    return false;
}

static enum outcome client_unblock(struct call *call) {
    struct unblocking unblocking = { .how = 1 };
    int64_t id;
    if (call->args_count > 4) return fail_subcommand_words(call);
    if (call->args_count == 4) {
        if (arg_is(call, 3, BYTES("ERROR")))
            unblocking.how = 2;
        else if (!arg_is(call, 3, BYTES("TIMEOUT")))
            return fail(call, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    }
    if (!arg_int(call, 2, &id)) return FAILED;
    unblocking.id = (uint64_t)id;
    sessions_each(call->pulse->sessions, unblock_one, &unblocking);
    return reply_int(call, unblocking.done);
}

/* A pause is never shortened nor weakened by a later one: UNPAUSE ends it. */
static enum outcome client_pause(struct call *call) {
    int64_t timeout, until;
    if (call->args_count > 4) return fail_subcommand_words(call);
    bool writes_only = call->args_count == 4 && arg_is(call, 3, BYTES("WRITE"));
    if (call->args_count == 4 && !writes_only && !arg_is(call, 3, BYTES("ALL")))
        return fail(call, "ERR CLIENT PAUSE mode must be WRITE or ALL");
    int64_t now = worker_now_ms(call->worker);
    if (!int_parse(call->args[2], &timeout))
        return fail(call, "ERR timeout is not an integer or out of range");
    if (timeout < 0) return fail(call, "ERR timeout is negative");
    if (__builtin_add_overflow(now, timeout, &until))
        return fail(call, "ERR timeout is out of range");
    struct pulse *pulse = call->pulse;
    int64_t before = atomic_load_explicit(&pulse->pause_until_ms, memory_order_relaxed);
    if (before > now) {
        if (before > until) until = before;
        if (!atomic_load_explicit(&pulse->pause_writes_only, memory_order_relaxed))
            writes_only = false;
    }
    atomic_store_explicit(&pulse->pause_writes_only, writes_only, memory_order_relaxed);
    atomic_store_explicit(&pulse->pause_until_ms, until, memory_order_release);
    return reply_ok(call);
}

static enum outcome client_unpause(struct call *call) {
    atomic_store_explicit(&call->pulse->pause_until_ms, 0, memory_order_release);
    pulse_wake(call->pulse);
    return reply_ok(call);
}

static enum outcome client_help(struct call *call) {
    static const char *const lines[] = {
        "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CACHING (YES|NO)",
        "    Whether the keys of the next command are tracked (OPTIN, OPTOUT).",
        "CAPA <capability> [<capability> ...]",
        "    Say what the client can do.",
        "GETNAME",
        "    The name of this connection.",
        "GETREDIR",
        "    The number of the connection that gets the invalidations of this one.",
        "ID",
        "    The number of this connection.",
        "IMPORT-SOURCE (ON|OFF)",
        "    Accepted, without effect.",
        "INFO",
        "    The line of this connection in LIST.",
        "KILL <ip:port>",
        "    Close the connection from there.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Close all connections that fit; not this one unless SKIPME NO is given.",
        "    Options are ID <id> [<id> ...], TYPE (NORMAL|MASTER|REPLICA|PUBSUB), USER <name>,",
        "    ADDR <ip:port>, LADDR <ip:port>, IP <ip>, NAME <name>, LIB-NAME <name>,",
        "    LIB-VER <version>, DB <index>, FLAGS <letters>, each also with NOT- before it;",
        "    MAXAGE <seconds> and IDLE <seconds>: at least so long.",
        "LIST [<option> <value> [<option> <value> [...]]]",
        "    One line for each connection that fits; options as for KILL.",
        "NO-EVICT (ON|OFF)",
        "    Keep this connection when memory runs out.",
        "NO-TOUCH (ON|OFF)",
        "    Let reads of this connection leave no trace.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Hold all commands, or those that write, for so many milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Whether commands are answered.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Say which library the client uses.",
        "SETNAME <name>",
        "    Name this connection.",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [PREFIX <prefix> ...]]",
        "         [OPTIN] [OPTOUT] [NOLOOP]",
        "    Tell this connection when what it has read changes.",
        "TRACKINGINFO",
        "    How this connection tracks.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    End the wait of a blocked client.",
        "UNPAUSE",
        "    End a pause.",
        "HELP",
        "    Print this help.",
    };
    return reply_help(call, lines, COUNT_OF(lines));
}

enum {
    OWN = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
    OTHERS = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
};

COMMAND(client) = {
    .synopsis = "CLIENT",
    .summary = "Connections: a container.",
    .since = "2.4.0",
    .group = "connection",
    .complexity = "Depends on subcommand.",
    .flags = CMD_CONTAINER,
};

#define CLIENT(name_, since_, synopsis_, summary_, complexity_, flags_) \
    COMMAND(client_##name_) = { .synopsis = "CLIENT " synopsis_,        \
                                .summary = (summary_),                  \
                                .since = (since_),                      \
                                .group = "connection",                  \
                                .complexity = (complexity_),            \
                                .flags = (flags_),                      \
                                .acl = ACL_CONNECTION,                  \
                                .run = client_##name_ }

CLIENT(id, "5.0.0", "ID", "Tells the connection's number.", "O(1)", OWN);
CLIENT(getname, "2.6.9", "GETNAME", "Tells the connection's name.", "O(1)", OWN);
CLIENT(setname, "2.6.9", "SETNAME connection-name", "Names the connection.", "O(1)", OWN);
CLIENT(setinfo, "7.2.0", "SETINFO <LIB-NAME libname | LIB-VER libver>",
       "Notes which library the client uses.", "O(1)", OWN);
CLIENT(reply, "3.2.0", "REPLY <ON | OFF | SKIP>", "Says whether commands are answered.", "O(1)",
       OWN);
CLIENT(no_touch, "7.2.0", "NO-TOUCH <ON | OFF>",
       "Says whether the connection's reads leave a trace.", "O(1)", OWN);
CLIENT(no_evict, "7.0.0", "NO-EVICT <ON | OFF>", "Says whether memory is taken from the client.",
       "O(1)", OTHERS);
CLIENT(import_source, "8.1.0", "IMPORT-SOURCE <ON | OFF>", "Accepted, without effect.", "O(1)",
       OWN);
CLIENT(pause, "3.0.0", "PAUSE timeout:int [WRITE | ALL]", "Holds commands for a time.", "O(1)",
       OTHERS);
CLIENT(unpause, "6.2.0", "UNPAUSE", "Ends CLIENT PAUSE.",
       "O(N) Where N is the number of paused clients", OTHERS);
CLIENT(unblock, "5.0.0", "UNBLOCK client-id:int [TIMEOUT | ERROR]",
       "Ends the wait of a blocked client.", "O(log N) where N is the number of client connections",
       OTHERS);

static enum outcome client_capa(struct call *call) {
    return reply_ok(call); /* what is not known is not used */
}
CLIENT(capa, "8.0.0", "CAPA capability [capability ...]", "Notes what the client can do.", "O(1)",
       OWN);

COMMAND(client_help) = {
    .synopsis = "CLIENT HELP",
    .summary = "Prints what the subcommands are.",
    .since = "5.0.0",
    .group = "connection",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE,
    .acl = ACL_CONNECTION,
    .run = client_help,
};

COMMAND(client_info) = {
    .synopsis = "CLIENT INFO",
    .summary = "Describes the connection.",
    .since = "6.2.0",
    .group = "connection",
    .complexity = "O(1)",
    .flags = OWN,
    .acl = ACL_CONNECTION,
    .tips = "nondeterministic_output",
    .run = client_info,
};

COMMAND(client_list) = {
    .synopsis = "CLIENT LIST [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] "
                "[ID client-id:int [client-id:int ...]]",
    .arity = -2, /* there are more options: client_filter.h */
    .summary = "Describes all connections.",
    .since = "2.4.0",
    .history = "2.8.12: Shows `id`.; 5.0.0: `TYPE`.; 6.0.0: Shows `user`.; 6.2.0: `ID`, shows "
               "`argv-mem`, `tot-mem`, `laddr` and `redir`.",
    .group = "connection",
    .complexity = "O(N) where N is the number of client connections",
    .flags = OTHERS,
    .acl = ACL_CONNECTION,
    .tips = "nondeterministic_output",
    .run = client_list,
};

COMMAND(client_kill) = {
    .synopsis = "CLIENT KILL <address | [ID client-id:int | "
                "TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB> | USER username | "
                "ADDR address | LADDR address | SKIPME <YES | NO> | MAXAGE seconds:int ...]>",
    .summary = "Closes connections.",
    .since = "2.4.0",
    .history = "2.8.12: Filters, `ID` among them.; 3.2.0: `TYPE master`.; 5.0.0: `TYPE replica`.; "
               "6.2.0: `LADDR`.",
    .group = "connection",
    .complexity = "O(N) where N is the number of client connections",
    .flags = OTHERS,
    .acl = ACL_CONNECTION,
    .arity = -3,
    .run = client_kill,
};
