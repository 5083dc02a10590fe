/* accept.c: who may come in, and which loop gets them.
 *
 * All loops watch all listeners; whichever wakes accepts, and the loop with the fewest connections
 * gets the socket. So few long connections are spread evenly, which hashing (SO_REUSEPORT) or waking
 * order (EPOLLEXCLUSIVE alone) would not do. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "command/acl.h"
#include "server/inside.h"

enum {
    ACCEPT_TURN_MAX = 64,
    ACCEPT_REST_MS = 100,       /* when there are no descriptors left */
    REFUSED_LOG_MS = 10 * 1000, /* between two lines about the same thing */
};

static const char denied[] =
    "-DENIED PulseDB runs in protected mode: it has no password, so it takes commands from its own "
    "machine only. To let others in, connect from the machine itself and set a password with "
    "CONFIG SET requirepass (and in the configuration file, to keep it). If every machine that can "
    "reach this port may be trusted, CONFIG SET protected-mode no works too.\r\n";
static const char too_many[] = "-ERR max number of clients reached\r\n";

void loop_listen(struct loop *loop, bool on) {
    if (loop->listening == on) return;
    loop->listening = on;
    struct server *server = loop->server;
    pthread_mutex_lock(&server->listeners_lock);
    for (struct listener *listener = server->listeners; listener; listener = listener->next) {
        struct epoll_event event = { .events = EPOLLIN | EPOLLEXCLUSIVE,
                                     .data = event_of(listener, EVENT_LISTENER) };
        epoll_ctl(loop->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listener->fd, &event);
    }
    pthread_mutex_unlock(&server->listeners_lock);
}

static bool is_loopback(const struct sockaddr_storage *address) {
    if (address->ss_family == AF_UNIX) return true;
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->ss_family != AF_INET6) return false;
    const struct sockaddr_in6 *in = (const void *)address;
    return IN6_IS_ADDR_LOOPBACK(&in->sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr) && in->sin6_addr.s6_addr[12] == 127);
}

static bool is_protected(struct pulse *pulse) {
    if (!setting_int(pulse->settings, protected_mode)) return false;
    return acl_is_open(pulse->acl);
}

/* The socket is new, so it takes a line without waiting. */
static void refuse(struct loop *loop, int fd, struct bytes answer, const char *log) {
    (void)!send(fd, answer.data, answer.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)!recv(fd, NULL, READ_MAX, MSG_DONTWAIT | MSG_TRUNC);
    close(fd);
    counter_add(loop->counters, COUNTER_connections_rejected, 1);
    int64_t now = worker_now_ms(loop->worker);
    if (loop->refused_logged_ms && now - loop->refused_logged_ms < REFUSED_LOG_MS) return;
    loop->refused_logged_ms = now;
    log_line(loop->pulse->log, LOG_WARNING, log,
             LOG_I("maxclients", setting_int(loop->pulse->settings, maxclients)));
}

/* A socket that is counted already, as of this loop. */
static void adopt(struct loop *loop, int fd) {
    counter_add(loop->counters, COUNTER_connections_received, 1);
    connection_new(loop, fd);
}

/* Puts the socket into another loop's inbox; false when that is full. */
static bool hand_over(struct loop *to, int fd) {
    pthread_mutex_lock(&to->inbox_lock);
    bool room = to->inbox_count < INBOX_MAX;
    if (room) to->inbox[to->inbox_count++] = fd;
    pthread_mutex_unlock(&to->inbox_lock);
    if (room) mailbox_ring(&to->mailbox);
    return room;
}

void loop_take_inbox(struct loop *loop) {
    int fds[INBOX_MAX];
    pthread_mutex_lock(&loop->inbox_lock);
    size_t count = loop->inbox_count;
    memcpy(fds, loop->inbox, count * sizeof *fds);
    loop->inbox_count = 0;
    pthread_mutex_unlock(&loop->inbox_lock);
    for (size_t i = 0; i < count; i++) adopt(loop, fds[i]);
}

static uint32_t load_of(struct loop *loop) {
    return atomic_load_explicit(&loop->load, memory_order_relaxed);
}

static struct loop *least_loaded(struct loop *loop) {
    struct server *server = loop->server;
    struct loop *least = loop;
    for (size_t i = 0; i < server->loops_count; i++)
        if (load_of(server->loops[i]) < load_of(least)) least = server->loops[i];
    return least;
}

static void admit(struct loop *loop, int fd, const struct sockaddr_storage *peer) {
    struct server *server = loop->server;
    int64_t before = atomic_fetch_add_explicit(&server->connections, 1, memory_order_relaxed);
    bool full = before >= setting_int(loop->pulse->settings, maxclients);
    if (full || (!is_loopback(peer) && is_protected(loop->pulse))) {
        atomic_fetch_sub_explicit(&server->connections, 1, memory_order_relaxed);
        if (full)
            refuse(loop, fd, bytes_of(too_many), "Clients refused: maxclients are connected");
        else
            refuse(loop, fd, bytes_of(denied),
                   "Clients refused: protected mode (no password is set, and they are not local)");
        return;
    }
    struct loop *to = least_loaded(loop);
    atomic_fetch_add_explicit(&to->load, 1, memory_order_relaxed);
    if (to != loop && hand_over(to, fd)) return;
    if (to != loop) {
        atomic_fetch_sub_explicit(&to->load, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&loop->load, 1, memory_order_relaxed);
    }
    adopt(loop, fd);
}

/* No descriptor is left: the spare one lets the first in the queue be told by a close, and then all
 * others wait for a while, since a listener that is not accepted from would wake us at once. */
static void out_of_descriptors(struct loop *loop, struct listener *listener) {
    int64_t now = worker_now_ms(loop->worker);
    if (loop->spare >= 0) {
        close(loop->spare);
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) close(fd);
        loop->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    counter_add(loop->counters, COUNTER_connections_rejected, 1);
    loop_listen(loop, false);
    loop->accept_again_ms = now + ACCEPT_REST_MS;
    if (loop->refused_logged_ms && now - loop->refused_logged_ms < REFUSED_LOG_MS) return;
    loop->refused_logged_ms = now;
    log_line(loop->pulse->log, LOG_WARNING,
             "Clients refused: no file descriptors left (raise the limit with ulimit -n, or "
             "LimitNOFILE=)",
             LOG_I("connections",
                   atomic_load_explicit(&loop->server->connections, memory_order_relaxed)));
}

void loop_accept(struct loop *loop, struct listener *listener) {
    for (int i = 0; i < ACCEPT_TURN_MAX && loop->listening; i++) {
        if (atomic_load_explicit(&listener->closed, memory_order_acquire)) return;
        struct sockaddr_storage peer = {};
        socklen_t size = sizeof peer;
        int fd = accept4(listener->fd, (void *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (listener->local) peer.ss_family = AF_UNIX;
            admit(loop, fd, &peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            out_of_descriptors(loop, listener);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}
