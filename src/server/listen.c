#include "server/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

enum { HOST_SIZE = LISTENER_NAME_SIZE - 16 };

static struct listener *listener_new(int fd, bool local, const char *name) {
    struct listener *listener = mem_new_zero(sizeof *listener);
    listener->fd = fd;
    listener->local = local;
    snprintf(listener->name, sizeof listener->name, "%s", name);
    return listener;
}

/* What to do about it, for the one who reads the message. */
static const char *advice(int error) {
    switch (error) {
    case EADDRINUSE: return "another server runs there: stop it, or choose another with --port";
    case EACCES: return "ports below 1024 need a privilege: choose another with --port";
    case EADDRNOTAVAIL: return "this machine has no such address: see --bind";
    default: return "see --bind and --port";
    }
}

static bool is_absent_address(int error) {
    return error == EADDRNOTAVAIL || error == EAFNOSUPPORT || error == EPROTONOSUPPORT ||
           error == ESOCKTNOSUPPORT || error == ENOPROTOOPT || error == EPFNOSUPPORT;
}

/* A listening socket, or a negative errno. */
static int open_socket(const struct addrinfo *at, int backlog) {
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int on = 1;
    bool fine = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
    if (at->ai_family == AF_INET6)
        fine = fine && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0;
    if (fine && bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, backlog) == 0) return fd;
    int error = errno;
    close(fd);
    return -error;
}

/* The host that getaddrinfo understands; false: too long, or none. */
static bool host_of(struct bytes word, char out[static HOST_SIZE]) {
    if (word.len && word.data[0] == '-') {
        word.data++;
        word.len--;
    }
    if (word.len == 0 || word.len >= HOST_SIZE) return false;
    if (bytes_equal(word, BYTES("*"))) word = BYTES("0.0.0.0");
    if (bytes_equal(word, BYTES("::*"))) word = BYTES("::");
    memcpy(out, word.data, word.len);
    out[word.len] = '\0';
    return true;
}

enum status listener_open_tcp(struct bytes word, int port, int backlog, struct listener **out,
                              struct problem *why) {
    char host[HOST_SIZE], service[16], name[LISTENER_NAME_SIZE];
    *out = NULL;
    if (!host_of(word, host)) return problem_set(why, INVALID, 0, "bind: not an address");
    snprintf(service, sizeof service, "%d", port);
    if (strchr(host, ':'))
        snprintf(name, sizeof name, "[%s]:%d", host, port);
    else
        snprintf(name, sizeof name, "%s:%d", host, port);

    struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                              .ai_family = AF_UNSPEC,
                              .ai_socktype = SOCK_STREAM };
    struct addrinfo *found;
    int failure = getaddrinfo(host, service, &hints, &found);
    if (failure)
        return problem_set(why, INVALID, 0, "cannot listen on %s: %s", name, gai_strerror(failure));
    int fd = open_socket(found, backlog);
    freeaddrinfo(found);
    if (fd < 0 && word.data[0] == '-' && is_absent_address(-fd)) return OK;
    if (fd < 0)
        return problem_set(why, IO, -fd, "cannot listen on %s: %s (%s)", name, strerror(-fd),
                           advice(-fd));
    *out = listener_new(fd, false, name);
    (*out)->port = port;
    memcpy((*out)->word, word.data, word.len);
    return OK;
}

bool listener_is(const struct listener *listener, struct bytes word, int port) {
    return listener->port == port && bytes_equal(word, bytes_of(listener->word));
}

/* Whether somebody answers at the socket file. */
static bool is_served(const struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    bool served = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
                  errno == EAGAIN; /* its queue is full */
    close(fd);
    return served;
}

enum status listener_open_unix(const char *path, unsigned mode, int backlog, struct listener **out,
                               struct problem *why) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    static_assert(sizeof address.sun_path <= LISTENER_NAME_SIZE, "a path fits a name");
    if (strlen(path) >= sizeof address.sun_path)
        return problem_set(why, LIMIT, 0, "unixsocket: a path of at most %zu bytes, please",
                           sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);

    struct stat there;
    if (lstat(path, &there) == 0) {
        if (!S_ISSOCK(there.st_mode))
            return problem_set(why, IO, EEXIST, "unixsocket: %s is there and is not a socket",
                               path);
        if (is_served(&address))
            return problem_set(why, IO, EADDRINUSE,
                               "unixsocket: another server listens at %s: stop it, or choose "
                               "another with --unixsocket",
                               path);
        unlink(path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return problem_set(why, IO, errno, "unixsocket: %s", strerror(errno));
    mode_t before = umask(077); /* nobody else may connect before its mode is what was asked for */
    bool bound = bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    int error = errno;
    umask(before);
    if (bound && ((mode && chmod(path, mode) != 0) || listen(fd, backlog) != 0)) {
        error = errno;
        bound = false;
        unlink(path);
    }
    if (!bound) {
        close(fd);
        return problem_set(why, IO, error, "cannot listen on %s: %s", path, strerror(error));
    }
    *out = listener_new(fd, true, path);
    return OK;
}

void listeners_close(struct listener *list) {
    for (; list; list = list->next) {
        if (atomic_exchange(&list->closed, true)) continue;
        close(list->fd);
        if (list->local) unlink(list->name);
    }
}

struct listener *listeners_free(struct listener *list) {
    listeners_close(list);
    while (list) {
        struct listener *next = list->next;
        mem_free(list, sizeof *list);
        list = next;
    }
    return NULL;
}
