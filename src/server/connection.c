#include "server/connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "command/block.h"
#include "server/inside.h"

static_assert(EAGAIN == EWOULDBLOCK, "one question is enough");

enum {
    VECTORS_MAX = 64,
    SEND_MAX = 4 * 1024 * 1024, /* in one turn, to one peer */
    DRAIN_MAX = 1024 * 1024,
    READ_LEAST = QUERY_READ_SIZE / 4, /* less room than that is not worth a recv */
    ADDRESS_SIZE = sizeof((struct session *)NULL)->address,
};

/* Redis' form: "127.0.0.1:5000", "[::1]:5000", "/run/pulsedb.sock:0". */
static void address_format(const struct sockaddr_storage *address, char *out) {
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(out, ADDRESS_SIZE, "%s:%u", host, ntohs(in->sin_port));
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)address;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        snprintf(out, ADDRESS_SIZE, "[%s]:%u", host, ntohs(in->sin6_port));
    } else {
        const struct sockaddr_un *in = (const void *)address;
        snprintf(out, ADDRESS_SIZE, "%.*s:0", ADDRESS_SIZE - 3, in->sun_path);
    }
}

/* A peer that vanished without a word is found out by the kernel, within twice the time set. */
static void keep_alive(int fd, int seconds) {
    int on = 1, interval = seconds / 3 ? seconds / 3 : 1, probes = 3;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (seconds == 0) return;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

static void leave_counts(struct loop *loop) {
    atomic_fetch_sub_explicit(&loop->load, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&loop->server->connections, 1, memory_order_relaxed);
}

void connection_new(struct loop *loop, int fd) {
    struct sockaddr_storage peer = {}, own = {};
    socklen_t peer_size = sizeof peer, own_size = sizeof own;
    if (getpeername(fd, (void *)&peer, &peer_size) != 0 ||
        getsockname(fd, (void *)&own, &own_size) != 0) {
        close(fd);
        leave_counts(loop);
        return;
    }
    char address[ADDRESS_SIZE], local_address[ADDRESS_SIZE];
    bool local = own.ss_family == AF_UNIX;
    address_format(&own, local_address);
    address_format(local ? &own : &peer, address); /* a client's end of a Unix socket has no name */
    if (!local) keep_alive(fd, (int)setting_int(loop->pulse->settings, tcp_keepalive));

    struct connection *c = mem_new_zero(sizeof *c);
    c->loop = loop;
    c->fd = fd;
    out_init(&c->out);
    c->reply = (struct reply){ .writer = &resp2_writer, .out = &c->out };
    resp_parser_init(&c->parser);
    buffer_init(&c->in, loop->query_limit);
    session_init(&c->session, loop->pulse, address, local_address, fd, &loop->mailbox);
    c->session.carrier = &connection_carrier;
    if (local) session_flag_set(&c->session, SESSION_UNIX, true);
    TAILQ_INSERT_TAIL(&loop->connections, c, link);

    c->watched = EPOLLIN;
    struct epoll_event event = { .events = EPOLLIN, .data = event_of(c, EVENT_CONNECTION) };
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) != 0) connection_close(c);
}

static void leave_place(struct connection *c) {
    if (c->place == PLACE_BACKLOG) TAILQ_REMOVE(&c->loop->backlog, c, place_link);
    if (c->place == PLACE_PAUSED) TAILQ_REMOVE(&c->loop->paused, c, place_link);
    if (c->place == PLACE_BLOCKED) loop_unblock(c);
    if (c->place == PLACE_WAITING) TAILQ_REMOVE(&c->loop->waiting, c, place_link);
    c->place = PLACE_NONE;
    if (c->pushed) TAILQ_REMOVE(&c->loop->pushed, c, pushed_link);
    c->pushed = false;
}

void connection_close(struct connection *c) {
    if (c->state == CONNECTION_CLOSED) return;
    struct loop *loop = c->loop;
    /* Unread input would turn the end into a reset, and the peer might lose our last answer. */
    if (c->state == CONNECTION_CLOSING)
        (void)!recv(c->fd, NULL, DRAIN_MAX, MSG_DONTWAIT | MSG_TRUNC);
    leave_place(c);
    block_end(&c->session, false);
    clients_memory_leave(c);
    if (c->watched & EPOLLOUT) loop->unsent--;
    close(c->fd);
    c->state = CONNECTION_CLOSED;
    TAILQ_REMOVE(&loop->connections, c, link);
    TAILQ_INSERT_TAIL(&loop->dead, c, link);
    leave_counts(loop);
}

void connection_free(struct connection *c) {
    assert(c->state == CONNECTION_CLOSED);
    TAILQ_REMOVE(&c->loop->dead, c, link);
    session_deinit(&c->session, c->loop->pulse);
    out_deinit(&c->out);
    buffer_deinit(&c->in);
    resp_parser_deinit(&c->parser);
    mem_free(c, sizeof *c);
}

/* One run of bytes is the common case and needs no vectors. */
static ssize_t send_once(struct connection *c) {
    struct out *out = &c->out;
    if (LIKELY(out->refs_count == out->refs_sent))
        return send(c->fd, out->data + out->sent, out->len - out->sent, MSG_NOSIGNAL);
    struct iovec vectors[VECTORS_MAX];
    struct msghdr message = { .msg_iov = vectors };
    message.msg_iovlen = out_vectors(out, vectors, VECTORS_MAX);
    return sendmsg(c->fd, &message, MSG_NOSIGNAL);
}

bool connection_send(struct connection *c) {
    size_t pending = out_pending(&c->out), total = 0;
    while (pending && total < SEND_MAX) {
        ssize_t sent = send_once(c);
        if (UNLIKELY(sent < 0)) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) return false;
            break;
        }
        out_sent(&c->out, (size_t)sent, LENT_SIZE);
        pending -= (size_t)sent;
        total += (size_t)sent;
        counter_add(c->loop->counters, COUNTER_writes_processed, 1);
    }
    counter_add(c->loop->counters, COUNTER_net_output_bytes, total);
    return true;
}

static enum read_result read_failed(ssize_t got) {
    if (got == 0) return READ_END;
    return errno == EAGAIN || errno == EINTR ? READ_NONE : READ_FAILED;
}

static ssize_t read_into_area(struct connection *c) {
    struct loop *loop = c->loop;
    char *to = loop->area + loop->area_used;
    size_t room = AREA_SIZE - loop->area_used;
    ssize_t got = recv(c->fd, to, room < READ_MAX ? room : READ_MAX, MSG_DONTWAIT);
    if (UNLIKELY(got <= 0)) return got;
    loop->area_used += ((size_t)got + 63) & ~(size_t)63;
    if (loop->area_used > AREA_SIZE) loop->area_used = AREA_SIZE;
    c->view = (struct bytes){ to, (size_t)got };
    return got;
}

static ssize_t read_into_own(struct connection *c) {
    size_t room = c->in.cap - c->in.len;
    ssize_t got =
        recv(c->fd, c->in.data + c->in.len, room < READ_MAX ? room : READ_MAX, MSG_DONTWAIT);
    if (got <= 0) return got;
    c->in.len += (size_t)got;
    connection_view(c);
    return got;
}

/* Room for another read, growing by doubling. The last bytes below the limit are used up first. */
static bool make_room(struct connection *c, size_t limit) {
    struct buffer *in = &c->in;
    in->limit = limit > in->cap ? limit : in->cap; /* the setting may have been lowered */
    if (in->cap - in->len >= READ_LEAST) return true;
    if (in->len >= limit) return false;
    size_t more = limit - in->len < QUERY_READ_SIZE ? limit - in->len : QUERY_READ_SIZE;
    return buffer_reserve(in, more) != NULL;
}

enum read_result connection_read(struct connection *c, size_t limit) {
    ssize_t got;
    if (LIKELY(c->in.len == 0)) {
        got = read_into_area(c);
    } else {
        if (!make_room(c, limit)) return READ_TOO_MUCH;
        got = read_into_own(c);
    }
    if (UNLIKELY(got <= 0)) return read_failed(got);
    counter_add(c->loop->counters, COUNTER_net_input_bytes, (uint64_t)got);
    counter_add(c->loop->counters, COUNTER_reads_processed, 1);
    return READ_SOME;
}

void connection_view(struct connection *c) {
    c->view = buffer_bytes(&c->in);
}

static void parser_reset(struct connection *c) {
    resp_parser_deinit(&c->parser);
    resp_parser_init(&c->parser);
}

void connection_drop_input(struct connection *c) {
    buffer_deinit(&c->in);
    parser_reset(c);
    c->view = (struct bytes){};
    c->taken = c->done = 0;
}

bool connection_settle(struct connection *c, size_t limit) {
    size_t gone = c->taken;
    if (UNLIKELY(c->skipped)) {
        gone = c->done;
        parser_reset(c); /* it may stand in the middle of a command that comes after those */
    }
    assert(gone <= c->view.len);
    struct bytes rest = { c->view.data + gone, c->view.len - gone };
    bool fits = true;
    if (c->in.len) {
        buffer_consume(&c->in, gone);
    } else if (UNLIKELY(rest.len)) {
        c->in.limit = limit;
        buffer_put(&c->in, rest);
        fits = !c->in.overflow;
    }
    if (c->in.cap && c->in.len == 0) buffer_deinit(&c->in);
    if (UNLIKELY(c->parser.bulky)) parser_reset(c);
    c->view = (struct bytes){};
    c->taken = c->done = 0;
    return fits;
}

void connection_watch(struct connection *c) {
    bool waits = c->place == PLACE_WAITING, blocked = c->place == PLACE_BLOCKED;
    bool reads = c->state == CONNECTION_OPEN && !c->held && c->place != PLACE_PAUSED && !waits &&
                 !blocked && !c->loop->stopping;
    bool writes = !waits && out_pending(&c->out);
    uint32_t wanted =
        (reads ? (uint32_t)EPOLLIN : 0) | (writes ? (uint32_t)EPOLLOUT : 0) |
        (blocked ? (uint32_t)EPOLLRDHUP : 0); /* nothing is read, but its end is seen */
    if (LIKELY(wanted == c->watched)) return;
    if ((wanted ^ c->watched) & EPOLLOUT) c->loop->unsent += wanted & EPOLLOUT ? 1 : -1u;
    c->watched = wanted;
    struct epoll_event event = { .events = wanted, .data = event_of(c, EVENT_CONNECTION) };
    if (epoll_ctl(c->loop->epoll, EPOLL_CTL_MOD, c->fd, &event) != 0) connection_close(c);
}
