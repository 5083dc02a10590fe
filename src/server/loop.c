#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/log.h"
#include "base/mem.h"
#include "command/acl.h"
#include "command/block.h"
#include "command/observe.h"
#include "log/persist.h"
#include "server/inside.h"

enum {
    CHORES_BUDGET_NS = 100 * 1000,
    CHORES_PAUSE_NS = CHORES_BUDGET_NS,
    NS_PER_MS = 1000 * 1000,
    OWED_NS_MAX = 500 * 1000, /* so long a change waits for others to share its sync */
    SECOND_MS = 1000,
    LINGER_MS = 10 * 1000,   /* for a closing connection to take what waits */
    STOP_MS_MAX = 2000,      /* for all of them, when the server stops */
    HTTP_LOG_MS = 10 * 1000, /* between two lines about HTTP at this port */
};

/* ---- the replies' memory ---- */

static void lend(struct loop *loop, struct out *out) {
    out->data = LIKELY(loop->lent_count) ? loop->lent[--loop->lent_count] : mem_new(LENT_SIZE);
    out->cap = LENT_SIZE;
}

static void take_back(struct loop *loop, struct out *out) {
    if (UNLIKELY(out->cap != LENT_SIZE)) {
        out_sent(out, 0, 0); /* it has grown: back to the allocator with it */
        return;
    }
    if (LIKELY(loop->lent_count < LENT_MAX))
        loop->lent[loop->lent_count++] = out->data;
    else
        mem_free(out->data, LENT_SIZE);
    out->data = NULL;
    out->cap = out->len = out->sent = 0;
}

/* ---- a round ---- */

static void start_closing(struct connection *c) {
    if (c->state != CONNECTION_OPEN) return;
    c->state = CONNECTION_CLOSING;
    c->closing_since_ms = worker_now_ms(c->loop->worker);
    c->stopped = true;
    session_flag_set(&c->session, SESSION_CLOSE_SOON, true);
}

static void enter_round(struct loop *loop, struct connection *c) {
    assert(!c->in_round);
    c->in_round = true;
    c->stopped = c->skipped = false;
    if (LIKELY(!c->out.data)) lend(loop, &c->out);
    loop->round[loop->round_count++] = c;
}

static bool round_has_room(const struct loop *loop) {
    return loop->round_count < ROUND_MAX && AREA_SIZE - loop->area_used >= QUERY_READ_SIZE;
}

static void ended(void *owner, enum batch_result result) {
    struct connection *c = owner;
    size_t end = c->loop->ends[c->loop->ended++];
    if (LIKELY(result == BATCH_DONE)) {
        c->done = end;
    } else if (result == BATCH_CLOSE) {
        start_closing(c);
    } else {
        c->stopped = c->skipped = true;
    }
}

static void run_batch(struct loop *loop) {
    if (batch_count(loop->batch) == 0) return;
    loop->ended = 0;
    batch_run(loop->batch, ended);
}

/* What a browser says when a page makes it talk to this port. Its next lines may be commands of that
 * page's choosing. */
static inline bool is_http(struct bytes word) {
    if (LIKELY(word.len != 4 && word.len != 5)) return false;
    if (LIKELY((word.data[1] | 0x20) != 'o')) return false;
    return bytes_equal_nocase(word, BYTES("post")) || bytes_equal_nocase(word, BYTES("host:"));
}

static COLD void refuse_http(struct loop *loop, struct connection *c) {
    loop->http_seen++;
    int64_t now = worker_now_ms(loop->worker);
    if (!loop->http_logged_ms || now - loop->http_logged_ms >= HTTP_LOG_MS) {
        loop->http_logged_ms = now;
        log_line(loop->pulse->log, LOG_WARNING,
                 "Closed a client that speaks HTTP at the RESP port: perhaps a web page tries to "
                 "send commands",
                 LOG_S("addr", c->session.address), LOG_I("seen", (int64_t)loop->http_seen));
    }
    connection_close(c);
}

static COLD void refuse_malformed(struct loop *loop, struct connection *c) {
    run_batch(loop); /* what came before is answered first */
    if (c->stopped || c->state != CONNECTION_OPEN) return;
    struct bytes error = bytes_of(loop->request.error);
    log_line(loop->pulse->log, LOG_VERBOSE, "Closed a client for what it sent",
             LOG_S("addr", c->session.address), LOG_B("error", error));
    c->reply.writer->error(&c->reply, error);
    batch_note_error(loop->batch, &c->reply);
    start_closing(c);
}

/* A client without its password may not make us keep answers for it. */
static bool hears_its_refusals(struct connection *c) {
    if (out_pending(&c->out) <= UNAUTH_OUTPUT_MAX) return true;
    if (connection_send(c) && out_pending(&c->out) <= UNAUTH_OUTPUT_MAX) return true;
    counter_add(c->loop->counters, COUNTER_clients_closed_output, 1);
    connection_close(c);
    return false;
}

/* Adds the commands of `c` to the batch and runs that whenever it is full. true: there may be more,
 * but what was added has to run first: its words would not outlive the next parse, or it may be an
 * AUTH that changes what is allowed. */
static bool gather(struct loop *loop, struct connection *c) {
    struct resp_request *request = &loop->request;
    while (LIKELY(!c->stopped && c->state == CONNECTION_OPEN)) {
        struct bytes rest = { c->view.data + c->taken, c->view.len - c->taken };
        if (rest.len == 0 || rest.len < c->parser.wanted) return false;
        if (batch_full(loop->batch)) {
            run_batch(loop);
            continue;
        }
        bool known = c->session.authenticated;
        if (UNLIKELY(!known) && !hears_its_refusals(c)) return false;

        size_t cap;
        struct bytes *args = batch_args(loop->batch, &cap);
        enum resp_result result = resp_parse(
            &c->parser, rest, LIKELY(known) ? &loop->limits : &loop->unauthenticated_limits, args,
            cap, request);
        if (LIKELY(result == RESP_COMMAND)) {
            if (UNLIKELY(is_http(request->args[0]))) {
                refuse_http(loop, c);
                return false;
            }
            c->taken += request->consumed;
            loop->ends[batch_count(loop->batch)] = c->taken;
            batch_add(loop->batch, &c->session, &c->reply, request->args, request->count, c);
            if (UNLIKELY(request->owned || !known)) return true;
        } else if (result == RESP_NOTHING) {
            c->taken += request->consumed;
        } else {
            if (result == RESP_WRONG) refuse_malformed(loop, c);
            return false;
        }
    }
    return false;
}

static void run_all(struct loop *loop) {
    struct connection **list = loop->round;
    size_t count = loop->round_count;
    while (count) {
        size_t more = 0;
        for (size_t i = 0; i < count; i++)
            if (UNLIKELY(gather(loop, list[i]))) loop->again[more++] = list[i];
        run_batch(loop);
        list = loop->again;
        count = more;
    }
}

static size_t query_limit_of(const struct connection *c) {
    return LIKELY(c->session.authenticated) ? c->loop->query_limit : UNAUTH_QUERY_MAX;
}

static COLD void close_for(struct connection *c, enum counter counter, const char *why) {
    counter_add(c->loop->counters, counter, 1);
    log_line(c->loop->pulse->log, LOG_WARNING, why, LOG_S("addr", c->session.address),
             LOG_I("id", (int64_t)c->session.id), LOG_I("query_bytes", (int64_t)c->in.len),
             LOG_I("output_bytes", (int64_t)out_pending(&c->out)));
    connection_close(c);
}

static const char query_too_long[] =
    "Closed a client: a command of its is larger than client-query-buffer-limit";
static const char output_too_long[] =
    "Closed a client: more replies wait for it than client-output-buffer-limit allows";

static void put_in(struct connection_list *list, struct connection *c,
                   enum connection_place place) {
    if (c->place != PLACE_NONE) return;
    c->place = (uint8_t)place;
    TAILQ_INSERT_TAIL(list, c, place_link);
}

/* ---- commands that wait ---- */

static void put_in_blocked(struct loop *loop, struct connection *c) {
    if (c->place != PLACE_NONE) return;
    put_in(&loop->blocked, c, PLACE_BLOCKED);
    uint64_t at_ns = block_deadline_ns(&c->session);
    if (at_ns != UINT64_MAX) deadlines_add(&loop->deadlines, c, at_ns);
    if (!block_durable(&c->session)) return;
    loop->durable_count++;
    atomic_store_explicit(&loop->waits, true, memory_order_seq_cst);
}

void loop_unblock(struct connection *c) {
    struct loop *loop = c->loop;
    TAILQ_REMOVE(&loop->blocked, c, place_link);
    c->place = PLACE_NONE;
    deadlines_remove(&loop->deadlines, c);
    if (block_durable(&c->session)) loop->durable_count--;
}

/* Its command runs again: from the backlog, where its words are parsed anew. */
static void resume(struct connection *c) {
    if (c->state != CONNECTION_OPEN || !c->session.blocked) return;
    session_flag_set(&c->session, SESSION_BLOCKED, false);
    if (c->place != PLACE_BLOCKED) return; /* it will be put there, or is there */
    loop_unblock(c);
    put_in(&c->loop->backlog, c, PLACE_BACKLOG);
}

static void end_blocking(struct connection *c, enum wait_end end) {
    if (!c->session.blocked) return;
    block_ended(&c->session, end);
    resume(c);
}

/* CLIENT UNBLOCK. */
static void look_whether_unblocked(struct connection *c) {
    uint32_t how = atomic_exchange_explicit(&c->session.unblock, 0, memory_order_acq_rel);
    if (how) end_blocking(c, how == 1 ? WAIT_OVER : WAIT_REFUSED);
}

static uint64_t monotonic_ns(struct loop *loop) {
    return env_monotonic_ns(loop->pulse->env);
}

static void end_overdue(struct loop *loop) {
    uint64_t now = monotonic_ns(loop);
    while (deadlines_first_ns(&loop->deadlines) <= now)
        end_blocking(loop->deadlines.heap[0].connection, WAIT_OVER);
}

/* Those whose changes have reached the disk. */
static void end_durable(struct loop *loop) {
    uint64_t durable = persist_durable(loop->pulse->persist);
    struct connection *c = TAILQ_FIRST(&loop->blocked), *next;
    for (; c; c = next) {
        next = TAILQ_NEXT(c, place_link);
        uint64_t wanted = block_durable(&c->session);
        if (wanted && wanted <= durable) resume(c);
    }
}

static void show(_Atomic uint64_t *where, size_t n) {
    atomic_store_explicit(where, n, memory_order_relaxed);
}

/* What CLIENT LIST says, once a turn. */
static void publish(struct loop *loop, struct connection *c, size_t pending) {
    struct session *session = &c->session;
    atomic_store_explicit(&session->active_ms, worker_now_ms(loop->worker), memory_order_relaxed);
    show(&session->query_size, c->in.len);
    show(&session->query_room, c->in.cap - c->in.len);
    show(&session->output_size, pending);
    show(&session->output_refs, c->out.refs_count - c->out.refs_sent);
    clients_memory_weigh(c);
    if (UNLIKELY(c->in.cap > atomic_load_explicit(&loop->query_max, memory_order_relaxed)))
        show(&loop->query_max, c->in.cap);
    if (UNLIKELY(pending > atomic_load_explicit(&loop->output_max, memory_order_relaxed)))
        show(&loop->output_max, pending);
}

static const struct output_limit *output_limit_of(const struct connection *c) {
    return UNLIKELY(session_has(&c->session, SESSION_PUBSUB)) ? &c->loop->pubsub_limit
                                                              : &c->loop->output_limit;
}

static bool is_too_much(const struct connection *c, size_t pending) {
    uint64_t most = output_limit_of(c)->hard_size;
    return most && pending > most;
}

/* Its replies may leave: they are sent, and the next step is chosen. */
static void answer(struct loop *loop, struct connection *c) {
    /* While epoll is to tell when there is room, there is none. */
    if (out_pending(&c->out) && LIKELY(!(c->watched & EPOLLOUT)) && UNLIKELY(!connection_send(c))) {
        connection_close(c);
        return;
    }
    size_t pending = out_pending(&c->out);
    if (LIKELY(pending == 0)) {
        take_back(loop, &c->out);
        if (UNLIKELY(c->state == CONNECTION_CLOSING)) {
            connection_close(c);
            return;
        }
    } else if (UNLIKELY(is_too_much(c, pending))) {
        close_for(c, COUNTER_clients_closed_output, output_too_long);
        return;
    }
    c->held = pending > OUTPUT_PAUSE_SIZE;
    if (UNLIKELY(c->skipped && c->state == CONNECTION_OPEN)) {
        if (session_has(&c->session, SESSION_PAUSED))
            put_in(&loop->paused, c, PLACE_PAUSED);
        else if (session_has(&c->session, SESSION_BLOCKED))
            put_in_blocked(loop, c);
        else if (!c->held)
            put_in(&loop->backlog, c, PLACE_BACKLOG);
    }
    publish(loop, c, pending);
    connection_watch(c);
}

/* Its replies show what is not durable enough yet. */
static void wait_for_log(struct loop *loop, struct connection *c) {
    put_in(&loop->waiting, c, PLACE_WAITING);
    atomic_store_explicit(&loop->waits, true, memory_order_seq_cst);
    if (c->watched & EPOLLOUT) connection_watch(c);
}

/* The end of a round for one connection: input is put in order, output sent, or kept until the log has what it
 * shows. */
static void finish(struct loop *loop, struct connection *c) {
    c->in_round = false;
    if (UNLIKELY(c->state == CONNECTION_CLOSED)) return;
    if (UNLIKELY(c->state == CONNECTION_CLOSING)) {
        connection_drop_input(c);
    } else if (UNLIKELY(!connection_settle(c, query_limit_of(c)))) {
        close_for(c, COUNTER_clients_closed_query, query_too_long);
        return;
    }
    if (UNLIKELY(c->session.gate > loop->acked) && out_pending(&c->out))
        wait_for_log(loop, c);
    else
        answer(loop, c);
}

/* Lets go of those whose replies may leave by now. */
static void end_waiting(struct loop *loop) {
    uint64_t acked = persist_acked(loop->pulse->persist);
    if (acked == loop->acked) return;
    loop->acked = acked;
    struct connection *c = TAILQ_FIRST(&loop->waiting), *next;
    for (; c; c = next) {
        next = TAILQ_NEXT(c, place_link);
        if (c->session.gate > acked) continue;
        TAILQ_REMOVE(&loop->waiting, c, place_link);
        c->place = PLACE_NONE;
        answer(loop, c);
    }
    if (TAILQ_EMPTY(&loop->waiting) && loop->durable_count == 0)
        atomic_store_explicit(&loop->waits, false, memory_order_relaxed);
}

/* ---- what is no answer ---- */

static struct connection *connection_of(struct session *session) {
    void *at = (char *)session - offsetof(struct connection, session);
    return at;
}

static struct reply *push_open(struct session *session) {
    struct connection *c = connection_of(session);
    if (c->state != CONNECTION_OPEN) return NULL;
    if (!c->out.data) lend(c->loop, &c->out);
    return &c->reply;
}

/* Posts may bring more at once than should wait: what can leave does. false: it is closed. */
static bool relieve(struct connection *c) {
    bool may = c->session.gate <= c->loop->acked && !(c->watched & EPOLLOUT);
    if (may && !connection_send(c)) {
        connection_close(c);
        return false;
    }
    if (!is_too_much(c, out_pending(&c->out))) return true;
    close_for(c, COUNTER_clients_closed_output, output_too_long);
    return false;
}

static void push_done(struct session *session, uint64_t gate) {
    struct connection *c = connection_of(session);
    if (gate > session->gate) session->gate = gate;
    if (UNLIKELY(out_pending(&c->out) > OUTPUT_PAUSE_SIZE) && !relieve(c)) return;
    if (c->in_round || c->pushed) return;
    c->pushed = true;
    TAILQ_INSERT_TAIL(&c->loop->pushed, c, pushed_link);
}

static void push_resume(struct session *session) {
    resume(connection_of(session));
}

const struct carrier connection_carrier = { push_open, push_done, push_resume };

/* Sends what posts have brought, as far as it may leave. Who is in a line of commands that wait sends it then. */
static void send_pushed(struct loop *loop) {
    struct connection *c;
    while ((c = TAILQ_FIRST(&loop->pushed))) {
        TAILQ_REMOVE(&loop->pushed, c, pushed_link);
        c->pushed = false;
        if (c->session.gate <= loop->acked)
            answer(loop, c);
        else
            wait_for_log(loop, c);
    }
}

/* What this round has changed, or shown before it was safe, is made as safe as the settings ask. */
static void log_round(struct loop *loop) {
    struct persist *persist = loop->pulse->persist;
    const struct connection *c;
    uint64_t gate = 0;
    for (size_t i = 0; i < loop->round_count; i++)
        if (loop->round[i]->session.gate > gate) gate = loop->round[i]->session.gate;
    TAILQ_FOREACH (c, &loop->pushed, pushed_link)
        if (c->session.gate > gate) gate = c->session.gate;
    if (gate <= loop->acked) return;
    if (persist_gates_reads(persist)) { /* with those that are ready by now, in one sync: see pay */
        if (!loop->owed) loop->owed_ns = worker_now_ns(loop->worker);
        if (gate > loop->owed) loop->owed = gate;
        return;
    }
    persist_flush(persist, gate);
    if (TAILQ_EMPTY(&loop->waiting)) /* else end_waiting is to see that it has moved */
        loop->acked = persist_acked(persist);
}

/* What was sent before a command of this round was asked is heard before its answer: nobody who ends a subscription
 * misses what he knows to be published. */
static void run_round(struct loop *loop) {
    (void)posts_deliver(loop->pulse, &loop->mailbox);
    run_all(loop);
    posts_ring(loop->pulse, &loop->mailbox);
    (void)posts_deliver(loop->pulse, &loop->mailbox);
    log_round(loop);
    for (size_t i = 0; i < loop->round_count; i++) finish(loop, loop->round[i]);
    loop->round_count = loop->area_used = 0;
    if (UNLIKELY(!TAILQ_EMPTY(&loop->pushed))) send_pushed(loop);
}

/* What others have sent while there was no round, and what chores have. */
static void take_posts(struct loop *loop) {
    posts_ring(loop->pulse, &loop->mailbox);
    if (LIKELY(!posts_deliver(loop->pulse, &loop->mailbox))) return;
    log_round(loop);
    send_pushed(loop);
}

/* ---- events ---- */

static void on_readable(struct loop *loop, struct connection *c) {
    switch (connection_read(c, query_limit_of(c))) {
    case READ_SOME:
        show(&c->session.query_size, c->view.len);
        enter_round(loop, c);
        return;
    case READ_NONE: return;
    case READ_TOO_MUCH: close_for(c, COUNTER_clients_closed_query, query_too_long); return;
    case READ_END: /* it may still listen */
        start_closing(c);
        if (out_pending(&c->out) == 0)
            connection_close(c);
        else
            connection_watch(c);
        return;
    case READ_FAILED: connection_close(c); return;
    }
}

static void on_writable(struct loop *loop, struct connection *c) {
    if (!connection_send(c)) {
        connection_close(c);
        return;
    }
    c->held = out_pending(&c->out) > OUTPUT_PAUSE_SIZE;
    if (c->in_round) return;
    enter_round(loop, c); /* what comes next is decided at its end */
    if (c->state == CONNECTION_OPEN && !c->held && c->place == PLACE_NONE)
        connection_view(c);
    else
        c->stopped = true;
}

static void on_connection(struct loop *loop, struct connection *c, uint32_t events) {
    if (UNLIKELY(c->state == CONNECTION_CLOSED)) return;
    if (UNLIKELY(events & EPOLLERR)) {
        connection_close(c);
        return;
    }
    if (UNLIKELY(events & EPOLLOUT)) on_writable(loop, c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP)) || c->state == CONNECTION_CLOSED) return;
    if (UNLIKELY(!(c->watched & EPOLLIN))) {
        if (events & EPOLLHUP || (events & EPOLLRDHUP && c->place == PLACE_BLOCKED))
            connection_close(c); /* both ways are shut; it would ring on and on */
        return;
    }
    if (UNLIKELY(c->in_round || c->place == PLACE_BACKLOG)) return; /* comes again */
    if (UNLIKELY(c->place == PLACE_WAITING)) {
        connection_watch(c); /* what it has sent meanwhile is read when it has its answer */
        return;
    }
    on_readable(loop, c);
}

static void on_bell(struct loop *loop) {
    uint64_t rung;
    (void)!read(loop->mailbox.fd, &rung, sizeof rung);
    if (!atomic_exchange_explicit(&loop->mailbox.attention, false, memory_order_acq_rel)) return;
    loop_take_inbox(loop);
    struct connection *c = TAILQ_FIRST(&loop->connections), *next;
    for (; c; c = next) {
        next = TAILQ_NEXT(c, link);
        if (atomic_load_explicit(&c->session.kill, memory_order_acquire))
            connection_close(c);
        else
            look_whether_unblocked(c);
    }
}

static void on_event(struct loop *loop, const struct epoll_event *event) {
    uint64_t tagged = event->data.u64;
    void *at =
        (void *)(uintptr_t)(tagged & ~(uint64_t)EVENT_KINDS_MASK); /* NOLINT: a tagged pointer */
    switch ((enum event_kind)(tagged & EVENT_KINDS_MASK)) {
    case EVENT_CONNECTION: on_connection(loop, at, event->events); return;
    case EVENT_LISTENER: loop_accept(loop, at); return;
    case EVENT_BELL: on_bell(loop); return;
    case EVENT_KINDS_MASK: return;
    }
}

/* Connections whose commands had to wait for others' sake. Those that have to wait again get in line
 * for the next turn. */
static void take_backlog(struct loop *loop) {
    struct connection *c;
    while (loop->round_count < ROUND_MAX && (c = TAILQ_FIRST(&loop->backlog))) {
        TAILQ_REMOVE(&loop->backlog, c, place_link);
        c->place = PLACE_NONE;
        connection_view(c);
        enter_round(loop, c);
    }
}

static void end_pause(struct loop *loop) {
    int64_t until = atomic_load_explicit(&loop->pulse->pause_until_ms, memory_order_acquire);
    int64_t now = worker_now_ms(loop->worker);
    struct connection *c = TAILQ_FIRST(&loop->paused), *next;
    for (; c; c = next) {
        next = TAILQ_NEXT(c, place_link);
        int64_t held = c->session.held_until_ms; /* for an AUTH too many; else by CLIENT PAUSE */
        if (now < (held ? held : until)) continue;
        if (held) c->session.has_waited = true;
        c->session.held_until_ms = 0;
        TAILQ_REMOVE(&loop->paused, c, place_link);
        c->place = PLACE_NONE;
        session_flag_set(&c->session, SESSION_PAUSED, false);
        put_in(&loop->backlog, c, PLACE_BACKLOG);
        connection_watch(c);
    }
}

/* ---- once a second ---- */

static void refresh(struct loop *loop) {
    struct settings *settings = loop->pulse->settings;
    size_t bulk_max = (size_t)setting_int(settings, proto_max_bulk_len);
    loop->limits = (struct resp_limits){ .args_max = ARGS_MAX,
                                         .bulk_max = bulk_max,
                                         .inline_max = INLINE_SIZE_MAX,
                                         .authenticated = true };
    loop->unauthenticated_limits = (struct resp_limits){ .args_max = UNAUTH_ARGS_MAX,
                                                         .bulk_max = UNAUTH_BULK_MAX,
                                                         .inline_max = INLINE_SIZE_MAX };
    loop->query_limit = (size_t)setting_int(settings, client_query_buffer_limit);
    loop->output_limit = settings_output_limit(settings, OUTPUT_NORMAL);
    loop->pubsub_limit = settings_output_limit(settings, OUTPUT_PUBSUB);
}

/* The soft limit: so much for so long. */
static bool output_too_long_for(struct connection *c, int64_t now) {
    const struct output_limit *limit = output_limit_of(c);
    if (!limit->soft_size || out_pending(&c->out) <= limit->soft_size) {
        c->output_since_ms = 0;
        return false;
    }
    if (!c->output_since_ms) c->output_since_ms = now;
    return now - c->output_since_ms >= (int64_t)limit->soft_seconds * SECOND_MS;
}

/* Whether it has used up the time that it had. */
static bool is_overdue(struct loop *loop, struct connection *c, int64_t now, bool password) {
    if (c->state == CONNECTION_CLOSING) return now - c->closing_since_ms > LINGER_MS;
    if (password && !c->session.authenticated &&
        now - c->session.created_ms > (int64_t)UNAUTH_SECONDS_MAX * SECOND_MS)
        return true;
    int64_t timeout_ms = setting_int(loop->pulse->settings, timeout) * SECOND_MS;
    int64_t active = atomic_load_explicit(&c->session.active_ms, memory_order_relaxed);
    bool waits = c->place == PLACE_PAUSED || c->place == PLACE_WAITING ||
                 c->place == PLACE_BLOCKED ||
                 session_has(&c->session, SESSION_PUBSUB); /* for messages */
    return timeout_ms && now - active > timeout_ms && !waits;
}

static uint64_t rate(struct loop *loop, enum counter counter, uint64_t *last, int64_t elapsed_ms) {
    uint64_t total = store_counter(loop->pulse->store, counter);
    uint64_t more = total > *last ? total - *last : 0; /* CONFIG RESETSTAT takes it back to 0 */
    *last = total;
    return more * SECOND_MS / (uint64_t)elapsed_ms;
}

static void put_rate(_Atomic uint64_t *where, uint64_t n) {
    atomic_store_explicit(where, n, memory_order_relaxed);
}

/* The first loop's: figures of the whole server. */
static void measure(struct loop *loop, int64_t elapsed_ms) {
    struct pulse *pulse = loop->pulse;
    struct server *server = loop->server;
    put_rate(&pulse->ops_per_second,
             rate(loop, COUNTER_commands_processed, &server->last_commands, elapsed_ms));
    put_rate(&pulse->input_per_second,
             rate(loop, COUNTER_net_input_bytes, &server->last_input, elapsed_ms));
    put_rate(&pulse->output_per_second,
             rate(loop, COUNTER_net_output_bytes, &server->last_output, elapsed_ms));
    uint64_t input = 0, output = 0;
    for (size_t i = 0; i < server->loops_count; i++) {
        struct loop *other = server->loops[i];
        uint64_t n = atomic_exchange_explicit(&other->query_max, 0, memory_order_relaxed);
        if (n > input) input = n;
        n = atomic_exchange_explicit(&other->output_max, 0, memory_order_relaxed);
        if (n > output) output = n;
    }
    put_rate(&pulse->max_input_buffer, input);
    put_rate(&pulse->max_output_buffer, output);
    uint64_t used = pulse_used_memory();
    if (used > atomic_load_explicit(&pulse->peak_memory, memory_order_relaxed))
        put_rate(&pulse->peak_memory, used);
}

static void each_second(struct loop *loop, int64_t now) {
    int64_t elapsed_ms = now > loop->second_ms ? now - loop->second_ms : SECOND_MS;
    loop->second_ms = now;
    refresh(loop);
    bool password = !acl_is_open(loop->pulse->acl);
    struct connection *c = TAILQ_FIRST(&loop->connections), *next;
    for (; c; c = next) {
        next = TAILQ_NEXT(c, link);
        if (is_overdue(loop, c, now, password))
            connection_close(c);
        else if (output_too_long_for(c, now))
            close_for(c, COUNTER_clients_closed_output, output_too_long);
    }
    if (loop->index == 0) measure(loop, elapsed_ms);
    if (loop->index == 0) clients_memory_check(loop); /* the settings may be others */
}

/* ---- the turn ---- */

static void do_chores(struct loop *loop, int64_t now) {
    struct observer *observer = loop->pulse->observer;
    uint64_t began = ticks_now();
    loop->chores_ms = now;
    loop->chores_again_ns = worker_now_ns(loop->worker) + CHORES_BUDGET_NS + CHORES_PAUSE_NS;
    loop->more_chores = worker_chores(loop->worker, loop->index,
                                      (unsigned)loop->server->loops_count, CHORES_BUDGET_NS);
    uint64_t ms = (uint64_t)ticks_to_us(observer->rate, ticks_now() - began) / 1000;
    latency_add(&observer->latency, LATENCY_EXPIRE_CYCLE, ms, now / SECOND_MS);
}

static void bury(struct loop *loop) {
    struct connection *c;
    while ((c = TAILQ_FIRST(&loop->dead))) connection_free(c);
}

/* Asks the log for what is owed, unless more clients are ready: they share the sync. Each sync costs as much as
 * some ten commands, and a round is seldom more than that. */
static int pay(struct loop *loop) {
    int count = epoll_wait(loop->epoll, loop->events, EVENTS_MAX, 0);
    if (count > 0 && worker_now_ns(loop->worker) - loop->owed_ns < OWED_NS_MAX) return count;
    persist_flush(loop->pulse->persist, loop->owed);
    loop->owed = 0;
    return count;
}

/* No longer than until the first deadline. */
static int until_first(struct loop *loop, int wait_ms) {
    uint64_t now = monotonic_ns(loop), first = deadlines_first_ns(&loop->deadlines);
    uint64_t rest_ms = first > now ? (first - now + NS_PER_MS - 1) / NS_PER_MS : 0;
    return rest_ms < (uint64_t)wait_ms ? (int)rest_ms : wait_ms;
}

/* Chores that have more to do take half of the time at most; in between, clients. */
static int wait_for_events(struct loop *loop) {
    if (UNLIKELY(loop->owed != 0)) {
        int count = pay(loop);
        if (count != 0) return count;
    }
    if (UNLIKELY(loop->more_chores) && TAILQ_EMPTY(&loop->backlog)) {
        uint64_t now = worker_now_ns(loop->worker);
        uint64_t rest = loop->chores_again_ns > now ? loop->chores_again_ns - now : 0;
        struct timespec wait = { .tv_nsec = (long)rest };
        int count = epoll_pwait2(loop->epoll, loop->events, EVENTS_MAX, &wait, NULL);
        if (count >= 0 || errno != ENOSYS) return count;
        return epoll_wait(loop->epoll, loop->events, EVENTS_MAX, 0); /* before Linux 5.11 */
    }
    bool quiet = worker_now_ms(loop->worker) - loop->event_ms > SECOND_MS;
    int wait_ms = !TAILQ_EMPTY(&loop->backlog) ? 0 : quiet ? QUIET_TURN_MS : TURN_MS;
    if (UNLIKELY(loop->deadlines.count != 0)) wait_ms = until_first(loop, wait_ms);
    return epoll_wait(loop->epoll, loop->events, EVENTS_MAX, wait_ms);
}

static void turn(struct loop *loop) {
    int count = wait_for_events(loop);
    if (UNLIKELY(loop->deadlines.count != 0)) end_overdue(loop);
    if (UNLIKELY(loop->durable_count != 0)) end_durable(loop);
    if (UNLIKELY(!TAILQ_EMPTY(&loop->paused))) end_pause(loop);
    if (UNLIKELY(!TAILQ_EMPTY(&loop->backlog))) take_backlog(loop);
    int at = 0;
    do {
        while (at < count && round_has_room(loop)) on_event(loop, &loop->events[at++]);
        worker_tick(loop->worker);
        if (LIKELY(loop->round_count)) run_round(loop);
    } while (at < count);
    take_posts(loop);
    if (UNLIKELY(!TAILQ_EMPTY(&loop->waiting))) end_waiting(loop);

    int64_t now = worker_now_ms(loop->worker);
    if (count > 0) loop->event_ms = now;
    bool loading = atomic_load_explicit(&loop->pulse->gates, memory_order_relaxed) & PULSE_LOADING;
    if (UNLIKELY(loading)) /* what is over by now may not be so in the log's middle */
        loop->chores_ms = now;
    else if (loop->more_chores ? worker_now_ns(loop->worker) >= loop->chores_again_ns
                               : now - loop->chores_ms >= TURN_MS)
        do_chores(loop, now);
    if (UNLIKELY(now - loop->second_ms >= SECOND_MS)) each_second(loop, now);
    if (UNLIKELY(loop->accept_again_ms) && now >= loop->accept_again_ms) {
        loop->accept_again_ms = 0;
        loop_listen(loop, !loop->stopping);
    }
    if (UNLIKELY(!TAILQ_EMPTY(&loop->dead))) bury(loop);
}

static int64_t stop_time_ms(struct loop *loop) {
    int64_t ms = setting_int(loop->pulse->settings, shutdown_timeout) * SECOND_MS;
    return ms < STOP_MS_MAX ? ms : STOP_MS_MAX;
}

static int64_t monotonic_ms(struct loop *loop) {
    return (int64_t)(monotonic_ns(loop) / NS_PER_MS);
}

/* Nobody comes in, nothing more is read. */
static void begin_stop(struct loop *loop) {
    loop->stopping = true;
    loop->stop_ms = monotonic_ms(loop) + stop_time_ms(loop);
    loop->accept_again_ms = 0;
    loop_listen(loop, false);
    struct connection *c = TAILQ_FIRST(&loop->connections), *next;
    for (; c; c = next) {
        next = TAILQ_NEXT(c, link);
        connection_watch(c);
    }
}

/* All that was read is answered and all answers are sent, or it has been tried for long enough. */
static bool has_stopped(struct loop *loop) {
    if (!loop->stopping) begin_stop(loop);
    return (TAILQ_EMPTY(&loop->backlog) && TAILQ_EMPTY(&loop->waiting) && loop->unsent == 0) ||
           monotonic_ms(loop) >= loop->stop_ms;
}

void *loop_run(void *self) {
    struct loop *loop = self;
    loop->worker = worker_new(loop->pulse->store);
    loop->counters = worker_counters(loop->worker);
    loop->batch = batch_new(loop->pulse, loop->worker);
    worker_tick(loop->worker);
    loop->chores_ms = loop->second_ms = worker_now_ms(loop->worker);
    refresh(loop);
    loop_listen(loop, true);

    struct server *server = loop->server;
    do {
        turn(loop);
        if (UNLIKELY(atomic_load_explicit(&loop->pulse->stopping, memory_order_relaxed)))
            mailbox_ring(&server->bell);
    } while (!atomic_load_explicit(&server->stopping, memory_order_relaxed) || !has_stopped(loop));

    loop_take_inbox(loop);
    struct connection *c;
    while ((c = TAILQ_FIRST(&loop->connections))) connection_close(c);
    bury(loop);
    loop->batch = batch_free(loop->batch);
    loop->worker = worker_free(loop->worker);
    return NULL;
}

struct loop *loop_new(struct server *server, unsigned index) {
    struct loop *loop = mem_new_zero(sizeof *loop);
    loop->server = server;
    loop->pulse = server->pulse;
    loop->index = index;
    TAILQ_INIT(&loop->connections);
    TAILQ_INIT(&loop->backlog);
    TAILQ_INIT(&loop->paused);
    TAILQ_INIT(&loop->blocked);
    TAILQ_INIT(&loop->waiting);
    TAILQ_INIT(&loop->pushed);
    mailbox_init(&loop->mailbox, index);
    loop->acked = server->pulse->persist ? 0 : UINT64_MAX;
    TAILQ_INIT(&loop->dead);
    pthread_mutex_init(&loop->inbox_lock, NULL);
    loop->area = mem_new(AREA_SIZE);
    loop->mailbox.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct epoll_event event = { .events = EPOLLIN, .data = event_of(loop, EVENT_BELL) };
    if (loop->mailbox.fd < 0 || loop->epoll < 0 ||
        epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->mailbox.fd, &event) != 0) {
        int error = errno;
        loop_free(loop);
        errno = error;
        return NULL;
    }
    return loop;
}

static void close_if_open(int fd) {
    if (fd >= 0) close(fd);
}

struct loop *loop_free(struct loop *loop) {
    if (!loop) return NULL;
    assert(TAILQ_EMPTY(&loop->connections));
    while (loop->lent_count) mem_free(loop->lent[--loop->lent_count], LENT_SIZE);
    for (size_t i = 0; i < loop->inbox_count; i++) close(loop->inbox[i]);
    close_if_open(loop->mailbox.fd);
    mailbox_deinit(&loop->mailbox);
    close_if_open(loop->epoll);
    close_if_open(loop->spare);
    deadlines_deinit(&loop->deadlines);
    mem_free(loop->area, AREA_SIZE);
    pthread_mutex_destroy(&loop->inbox_lock);
    mem_free(loop, sizeof *loop);
    return NULL;
}
