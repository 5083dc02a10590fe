/* clients_memory.c: one budget for the buffers of all clients: maxmemory-clients.
 *
 * What a connection holds (unfinished input, answers that wait, words that MULTI has queued) is weighed
 * at the end of each of its turns. A loop adds the differences up by itself and tells the server only
 * when they are WEIGH_STEP, so the sum may be wrong by that much a loop, and a quiet server shares
 * nothing. Whoever finds the sum over the budget looks at all sessions and has the largest closed until
 * the rest fits: by their own loops, which are rung, as for CLIENT KILL. Those that were told to go
 * count no more, and clients of CLIENT NO-EVICT are left alone and do not count, as in Redis. */
#include <string.h>

#include "base/log.h"
#include "server/inside.h"

enum {
    WEIGH_STEP = 64 * 1024,
    SHARE_PERCENT = 25, /* maxmemory-clients 0: of maxmemory, or of the machine's memory */
    VICTIMS_MAX = 16,   /* of one look at all sessions */
    LOOKS_MAX = 64,     /* in a row: what is left then is the next one's */
};

struct victim {
    uint64_t id;
    uint64_t size;
};

struct look {
    uint64_t sum;
    struct victim victims[VICTIMS_MAX]; /* the largest, the largest first */
    size_t count;
};

static uint64_t budget(struct server *server) {
    struct settings *settings = server->pulse->settings;
    int64_t n = setting_int(settings, maxmemory_clients);
    if (n > 0) return (uint64_t)n;
    uint64_t all = (uint64_t)setting_int(settings, maxmemory);
    if (all == 0) all = server->machine_memory;
    return all / 100 * (n < 0 ? (uint64_t)-n : SHARE_PERCENT);
}

static uint64_t size_of(const struct session *session) {
    return atomic_load_explicit(&session->memory, memory_order_relaxed);
}

static void keep_if_large(struct look *look, struct victim victim) {
    size_t at = look->count;
    while (at > 0 && look->victims[at - 1].size < victim.size) at--;
    if (at == VICTIMS_MAX) return;
    if (look->count < VICTIMS_MAX) look->count++;
    for (size_t i = look->count - 1; i > at; i--) look->victims[i] = look->victims[i - 1];
    look->victims[at] = victim;
}

static bool look_at(void *self, struct session *session) {
    struct look *look = self;
    uint64_t size = size_of(session);
    if (size == 0 || session_has(session, SESSION_NO_EVICT) ||
        atomic_load_explicit(&session->kill, memory_order_relaxed))
        return true;
    look->sum += size;
    keep_if_large(look, (struct victim){ session->id, size });
    return true;
}

struct closing {
    const struct victim *victims;
    size_t count;
    size_t found;
    char addresses[VICTIMS_MAX][sizeof((struct session *)0)->address];
    uint64_t sizes[VICTIMS_MAX], ids[VICTIMS_MAX];
};

static bool close_victim(void *self, struct session *session) {
    struct closing *closing = self;
    for (size_t i = 0; i < closing->count; i++) {
        if (closing->victims[i].id != session->id) continue;
        size_t at = closing->found++;
        memcpy(closing->addresses[at], session->address, sizeof session->address);
        closing->sizes[at] = closing->victims[i].size;
        closing->ids[at] = session->id;
        atomic_store_explicit(&session->kill, true, memory_order_release);
        if (session->mailbox) mailbox_ring(session->mailbox);
    }
    return closing->found < closing->count;
}

static void tell(struct loop *loop, const struct closing *closing) {
    counter_add(loop->counters, COUNTER_clients_evicted, closing->found);
    for (size_t i = 0; i < closing->found; i++)
        log_line(loop->pulse->log, LOG_WARNING,
                 "Closed a client: the buffers of all clients are larger than maxmemory-clients, "
                 "and its are among the largest",
                 LOG_S("addr", closing->addresses[i]), LOG_I("id", (int64_t)closing->ids[i]),
                 LOG_I("bytes", (int64_t)closing->sizes[i]));
}

/* Closes some of those that are too much. Whether there may be more. */
static bool close_largest(struct loop *loop, uint64_t limit) {
    struct sessions *sessions = loop->pulse->sessions;
    struct look look = {};
    sessions_each(sessions, look_at, &look);
    struct closing closing = { .victims = look.victims };
    while (look.sum > limit && closing.count < look.count)
        look.sum -= look.victims[closing.count++].size;
    if (closing.count) sessions_each(sessions, close_victim, &closing);
    tell(loop, &closing);
    return look.sum > limit && closing.count == VICTIMS_MAX;
}

void clients_memory_check(struct loop *loop) {
    struct server *server = loop->server;
    uint64_t limit = budget(server);
    int64_t sum = atomic_load_explicit(&server->clients_memory, memory_order_relaxed);
    if (LIKELY(sum <= 0 || (uint64_t)sum <= limit)) return;
    if (atomic_exchange_explicit(&server->evicting, true, memory_order_acquire)) return;
    for (int i = 0; i < LOOKS_MAX && close_largest(loop, limit); i++) {
    }
    atomic_store_explicit(&server->evicting, false, memory_order_release);
}

static size_t held_by(const struct connection *c) {
    const struct out *out = &c->out;
    uint64_t queued = atomic_load_explicit(&c->session.multi_size, memory_order_relaxed);
    return c->in.cap + out->cap + out->refs_size + out->refs_cap * sizeof *out->refs +
           resp_parser_memory(&c->parser) + queued;
}

static void weigh_as(struct connection *c, uint64_t size) {
    struct loop *loop = c->loop;
    uint64_t before = size_of(&c->session);
    if (LIKELY(size == before)) return;
    atomic_store_explicit(&c->session.memory, size, memory_order_relaxed);
    loop->untold_memory += (int64_t)(size - before);
    if (loop->untold_memory < WEIGH_STEP && loop->untold_memory > -WEIGH_STEP) return;
    atomic_fetch_add_explicit(&loop->server->clients_memory, loop->untold_memory,
                              memory_order_relaxed);
    bool more = loop->untold_memory > 0;
    loop->untold_memory = 0;
    if (more) clients_memory_check(loop);
}

void clients_memory_weigh(struct connection *c) {
    weigh_as(c, held_by(c));
}

void clients_memory_leave(struct connection *c) {
    weigh_as(c, 0);
}
