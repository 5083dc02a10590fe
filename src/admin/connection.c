/* connection.c: the commands with which a client introduces itself: HELLO, AUTH, PING, ECHO, SELECT,
 * QUIT, RESET.
 *
 * Who gives too many wrong passwords waits before the next one is looked at (acl_guess.c): AUTH then
 * answers HELD, and is run again when the time is over. Nobody else waits for that. */
#include "command/acl.h"
#include "command/command.h"
#include "command/pulse.h"

#define ERR_WRONGPASS "WRONGPASS invalid username-password pair or user is disabled."

static enum outcome refuse_password(struct call *call, struct bytes user) {
    struct acl_denied why = { ACL_DENIED_AUTH, call->args[0] };
    struct acl *acl = call->pulse->acl;
    counter_add(worker_counters(call->worker), COUNTER_auth_failures, 1);
    acl_guess_failed(acl, call->session->address);
    acl_note(acl, call->session, call->in_multi ? ACL_IN_MULTI : ACL_TOPLEVEL, &why, user);
    return fail(call, ERR_WRONGPASS);
}

/* DONE: in. */
static enum outcome let_in(struct call *call, struct bytes user, struct bytes password) {
    struct session *session = call->session;
    struct acl *acl = call->pulse->acl;
    int64_t wait =
        acl && session->mailbox && !session->has_waited ? acl_guess_wait(acl, session->address) : 0;
    session->has_waited = false;
    if (wait && call->in_multi) return fail(call, ERR_WRONGPASS); /* EXEC cannot be held */
    if (wait) {
        session->held_until_ms = worker_now_ms(call->worker) + wait;
        session_flag_set(session, SESSION_PAUSED, true);
        return HELD;
    }
    if (!acl_login(acl, session, user, password)) return refuse_password(call, user);
    return DONE;
}

static enum outcome auth(struct call *call) {
    if (call->args_count > 3) return fail(call, ERR_SYNTAX);
    bool named = call->args_count == 3;
    if (!named && !acl_default_has_password(call->pulse->acl))
        return fail(call, "ERR AUTH <password> called without any password configured for the "
                          "default user. Are you sure your configuration is correct?");
    struct bytes user = named ? call->args[1] : BYTES("default");
    enum outcome outcome = let_in(call, user, call->args[named ? 2 : 1]);
    return outcome == DONE ? reply_ok(call) : outcome;
}

static void speak(struct call *call, int64_t protocol) {
    bool resp = call->reply->writer == &resp2_writer || call->reply->writer == &resp3_writer;
    if (!resp) return; /* HTTP answers in JSON whatever is asked */
    call->reply->writer = protocol == 3 ? &resp3_writer : &resp2_writer;
    atomic_store_explicit(&call->session->protocol, (uint32_t)protocol, memory_order_relaxed);
}

static void introduce(struct call *call) {
    const struct reply_writer *writer = call->reply->writer;
    struct reply *reply = call->reply;
    writer->map(reply, 7);
    writer->bulk(reply, BYTES("server"));
    writer->bulk(reply, BYTES("redis"));
    writer->bulk(reply, BYTES("version"));
    writer->bulk(reply, BYTES("7.2.4"));
    writer->bulk(reply, BYTES("proto"));
    writer->integer(reply, atomic_load_explicit(&call->session->protocol, memory_order_relaxed));
    writer->bulk(reply, BYTES("id"));
    writer->integer(reply, (int64_t)call->session->id);
    writer->bulk(reply, BYTES("mode"));
    writer->bulk(reply, BYTES("standalone"));
    writer->bulk(reply, BYTES("role"));
    writer->bulk(reply, BYTES("master"));
    writer->bulk(reply, BYTES("modules"));
    writer->array(reply, 0);
}

#define ERR_CLIENT_NAME "ERR Client names cannot contain spaces, newlines or special characters."

static enum outcome hello(struct call *call) {
    int64_t protocol = 0; /* as it is */
    if (call->args_count > 1) {
        if (!int_parse(call->args[1], &protocol))
            return fail(call, "ERR Protocol version is not an integer or out of range");
        if (protocol < 2 || protocol > 3) return fail(call, "NOPROTO unsupported protocol version");
    }
    size_t user = 0, name = 0;
    for (struct words w = call_rest(call, 2); w.at < w.count;) {
        size_t value;
        if (words_left(&w) >= 3 && words_take(&w, BYTES("AUTH"))) {
            user = w.at;
            w.at += 2;
        } else if (words_take_value(&w, BYTES("SETNAME"), &value)) {
            if (!session_name_fits(call->args[value])) return fail(call, ERR_CLIENT_NAME);
            name = value;
        } else {
            struct bytes option = call->args[w.at];
            struct bytes text = arena_format(call->arena, "ERR Syntax error in HELLO option '%.*s'",
                                             (int)option.len, option.data);
            call->reply->writer->error(call->reply, text); /* however long, as in Redis */
            return FAILED;
        }
    }
    enum outcome outcome = user ? let_in(call, call->args[user], call->args[user + 1]) : DONE;
    if (outcome != DONE) return outcome;
    if (!call->session->authenticated)
        return fail(call, "NOAUTH HELLO must be called with the client already authenticated, "
                          "otherwise the HELLO AUTH <user> <pass> option can be used to "
                          "authenticate the client and select the RESP protocol version at the "
                          "same time");
    if (name && !session_set_name(call->session, call->pulse, call->args[name]))
        return fail(call, ERR_CLIENT_NAME);
    if (protocol) speak(call, protocol);
    introduce(call);
    return DONE;
}

static enum outcome ping(struct call *call) {
    if (call->args_count > 2) return fail_arity(call);
    struct bytes message = call->args_count == 2 ? call->args[1] : BYTES("");
    if (session_has(call->session, SESSION_PUBSUB) && call->reply->writer == &resp2_writer) {
        call->reply->writer->array(call->reply, 2); /* as whatever else it hears */
        reply_text(call, "pong");
        return reply_bulk(call, message);
    }
    if (call->args_count == 2) return reply_bulk(call, message);
    return reply_status(call, "PONG");
}

static enum outcome echo(struct call *call) {
    return reply_bulk(call, call->args[1]);
}

static enum outcome select_db(struct call *call) {
    int64_t db;
    if (!arg_int_range(call, 1, INT32_MIN, INT32_MAX, &db)) return FAILED;
    if (db < 0 || db >= store_databases(call->pulse->store)) return fail(call, ERR_DB_INDEX);
    session_select(call->session, (uint32_t)db);
    return reply_ok(call);
}

static enum outcome quit(struct call *call) {
    reply_ok(call);
    return CLOSING;
}

static enum outcome reset(struct call *call) {
    session_reset(call->session, call->pulse);
    speak(call, 2);
    return reply_status(call, "RESET");
}

enum {
    INTRODUCES = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY
};

COMMAND(auth) = {
    .synopsis = "AUTH [username] password",
    .summary = "Lets a client in that knows the password.",
    .since = "1.0.0",
    .history = "6.0.0: A user may be named.",
    .group = "connection",
    .complexity = "O(N) where N is the number of passwords defined for the user",
    .flags = INTRODUCES,
    .acl = ACL_CONNECTION,
    .run = auth,
};

COMMAND(hello) = {
    .synopsis = "HELLO [protover:int [AUTH username password] [SETNAME clientname]]",
    .summary = "Chooses the protocol, and may log in and name the connection on the way.",
    .since = "6.0.0",
    .history = "6.2.0: Every argument may be left out.",
    .group = "connection",
    .complexity = "O(1)",
    .flags = INTRODUCES,
    .acl = ACL_CONNECTION,
    .run = hello,
};

COMMAND(ping) = {
    .synopsis = "PING [message]",
    .summary = "Answers, to show that the server is there.",
    .since = "1.0.0",
    .group = "connection",
    .complexity = "O(1)",
    .flags = CMD_FAST | CMD_SUBSCRIBED,
    .acl = ACL_CONNECTION,
    .tips = "request_policy:all_shards response_policy:all_succeeded",
    .run = ping,
};

COMMAND(echo) = {
    .synopsis = "ECHO message",
    .summary = "Gives its argument back.",
    .since = "1.0.0",
    .group = "connection",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
    .acl = ACL_CONNECTION,
    .run = echo,
};

COMMAND(select) = {
    .synopsis = "SELECT index:int",
    .summary = "Changes the database that the connection works on.",
    .since = "1.0.0",
    .group = "connection",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
    .acl = ACL_CONNECTION,
    .run = select_db,
};

COMMAND(quit) = {
    .synopsis = "QUIT",
    .summary = "Closes the connection after everything asked before has been answered.",
    .since = "1.0.0",
    .group = "connection",
    .complexity = "O(1)",
    .flags = INTRODUCES | CMD_NOW | CMD_SUBSCRIBED,
    .acl = ACL_CONNECTION,
    .arity = -1,
    .deprecated = "7.2.0: just closing the connection",
    .run = quit,
};

COMMAND(reset) = {
    .synopsis = "RESET",
    .summary = "Puts the connection back to what it was when it was made.",
    .since = "6.2.0",
    .group = "connection",
    .complexity = "O(1)",
    .flags = INTRODUCES | CMD_NOW | CMD_SUBSCRIBED,
    .acl = ACL_CONNECTION,
    .run = reset,
};
