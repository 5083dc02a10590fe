#include "server/server.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "command/acl.h"
#include "log/persist.h"
#include "server/inside.h"

enum { DESCRIPTORS_RESERVED = 64, DESCRIPTORS_OF_LOOP = 4 };

unsigned server_threads(struct settings *settings) {
    int64_t threads = setting_int(settings, threads);
    if (threads > 0) return threads < WORKERS_MAX ? (unsigned)threads : WORKERS_MAX;
    cpu_set_t allowed;
    int count = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
    return count < 1 ? 1 : count < WORKERS_MAX ? (unsigned)count : WORKERS_MAX;
}

static void signals_of_ours(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void server_block_signals(void) {
    sigset_t set;
    signals_of_ours(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- descriptors ---- */

/* How many clients the limit of descriptors lets in, after raising it as far as `wanted` clients ask
 * for and the system allows. */
static int64_t clients_possible(const struct server *server, int64_t wanted) {
    int64_t reserved = DESCRIPTORS_RESERVED + DESCRIPTORS_OF_LOOP * (int64_t)server->loops_count;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
    rlim_t needed = (rlim_t)(wanted + reserved);
    if (limit.rlim_cur < needed) {
        struct rlimit raised = { needed, limit.rlim_max < needed ? needed : limit.rlim_max };
        if (setrlimit(RLIMIT_NOFILE, &raised) != 0) {
            raised = (struct rlimit){ limit.rlim_max < needed ? limit.rlim_max : needed,
                                      limit.rlim_max };
            if (setrlimit(RLIMIT_NOFILE, &raised) != 0) raised = limit;
        }
        limit = raised;
    }
    int64_t possible = limit.rlim_cur > INT64_MAX / 2 ? wanted : (int64_t)limit.rlim_cur - reserved;
    return possible < wanted ? possible : wanted;
}

static enum status fit_maxclients(struct server *server, struct problem *why) {
    struct pulse *pulse = server->pulse;
    int64_t wanted = setting_int(pulse->settings, maxclients);
    int64_t possible = clients_possible(server, wanted);
    if (possible >= wanted) return OK;
    if (possible < 1)
        return problem_set(why, LIMIT, 0,
                           "the limit of open files is too low to serve anybody: raise it with "
                           "ulimit -n, or LimitNOFILE= in the systemd unit");
    log_line(
        pulse->log, LOG_WARNING,
        "maxclients is lowered to what the limit of open files allows: raise that with ulimit -n, "
        "or LimitNOFILE= in the systemd unit",
        LOG_I("wanted", wanted), LOG_I("maxclients", possible));
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)possible);
    return settings_set(pulse->settings, SETTING_ID_maxclients, bytes_of(text), why);
}

static bool apply_maxclients(void *self, enum setting_id id, struct problem *why) {
    (void)id;
    struct server *server = self;
    int64_t wanted = setting_int(server->pulse->settings, maxclients);
    int64_t possible = clients_possible(server, wanted);
    if (possible >= wanted) return true;
    problem_set(why, LIMIT, 0,
                "The operating system is not able to handle the specified number of clients, try "
                "with %lld",
                (long long)(possible < 1 ? 1 : possible));
    return false;
}

/* ---- listeners ---- */

static void watch_everywhere(struct server *server, struct listener *listener, int op) {
    struct epoll_event event = { .events = EPOLLIN | EPOLLEXCLUSIVE,
                                 .data = event_of(listener, EVENT_LISTENER) };
    for (size_t i = 0; i < server->loops_count; i++)
        epoll_ctl(server->loops[i]->epoll, op, listener->fd, &event);
}

/* Opens what the settings ask for and is not open. */
static enum status open_wanted(struct server *server, const struct bytes *words, size_t count,
                               int port, struct problem *why) {
    int backlog = (int)setting_int(server->pulse->settings, tcp_backlog);
    for (size_t i = 0; i < count && port; i++) {
        struct listener *at = server->listeners;
        while (at && !listener_is(at, words[i], port)) at = at->next;
        if (at) continue;
        enum status status = listener_open_tcp(words[i], port, backlog, &at, why);
        if (status != OK) return status;
        if (!at) continue;
        at->next = server->listeners;
        server->listeners = at;
        watch_everywhere(server, at, EPOLL_CTL_ADD);
    }
    return OK;
}

/* Closes what they no longer ask for. Needed first: `*` and an address cannot both have a port. */
static void close_unwanted(struct server *server, const struct bytes *words, size_t count,
                           int port) {
    struct listener **link = &server->listeners, *at;
    while ((at = *link)) {
        bool wanted = at->local;
        for (size_t i = 0; i < count; i++) wanted = wanted || listener_is(at, words[i], port);
        if (wanted) {
            link = &at->next;
            continue;
        }
        *link = at->next;
        at->next = NULL;
        watch_everywhere(server, at, EPOLL_CTL_DEL);
        listeners_close(at);
        at->next = server->retired;
        server->retired = at;
    }
}

static bool listens(const struct server *server) {
    for (struct listener *at = server->listeners; at; at = at->next)
        if (!at->local) return true;
    return false;
}

/* What was closed since `before` was the newest of the retired, once more. */
static void reopen(struct server *server, const struct listener *before) {
    for (struct listener *at = server->retired; at != before; at = at->next) {
        struct bytes word = bytes_of(at->word);
        if (open_wanted(server, &word, 1, at->port, NULL) != OK)
            log_line(server->pulse->log, LOG_WARNING, "No longer listens", LOG_S("at", at->name));
    }
}

static enum status listen_as_set(struct server *server, struct problem *why) {
    struct arena arena;
    arena_init(&arena);
    size_t count;
    struct bytes *words = settings_words(server->pulse->settings, SETTING_ID_bind, &arena, &count);
    int port = (int)setting_int(server->pulse->settings, port);

    pthread_mutex_lock(&server->listeners_lock);
    struct listener *before = server->retired;
    close_unwanted(server, words, count, port);
    enum status status = open_wanted(server, words, count, port, why);
    if (status == OK && port && count && !listens(server))
        status = problem_set(
            why, IO, EADDRNOTAVAIL,
            "cannot listen on port %d: this machine has none of the addresses of bind", port);
    if (status != OK) reopen(server, before);
    pthread_mutex_unlock(&server->listeners_lock);
    arena_deinit(&arena);
    return status;
}

static bool apply_listeners(void *self, enum setting_id id, struct problem *why) {
    (void)id;
    return listen_as_set(self, why) == OK;
}

static enum status listen_unix(struct server *server, struct problem *why) {
    struct settings *settings = server->pulse->settings;
    struct arena arena;
    arena_init(&arena);
    struct bytes path = settings_text(settings, SETTING_ID_unixsocket, &arena);
    enum status status = OK;
    if (path.len) {
        const char *text = arena_format(&arena, "%.*s", (int)path.len, path.data).data;
        struct listener *listener = NULL;
        status = listener_open_unix(text, (unsigned)setting_int(settings, unixsocketperm),
                                    (int)setting_int(settings, tcp_backlog), &listener, why);
        if (status == OK) {
            listener->next = server->listeners;
            server->listeners = listener;
        }
    }
    arena_deinit(&arena);
    return status;
}

void server_addresses(struct server *server,
                      void (*visit)(void *self, const char *name, bool local), void *self) {
    pthread_mutex_lock(&server->listeners_lock);
    for (struct listener *at = server->listeners; at; at = at->next)
        visit(self, at->name, at->local);
    pthread_mutex_unlock(&server->listeners_lock);
}

/* ---- the log ---- */

void server_log_moved(void *self) {
    struct server *server = self;
    struct pulse *pulse = server->pulse;
    const char *refusal = persist_refusal(pulse->persist);
    if (refusal) {
        atomic_store_explicit(&pulse->refusal, refusal, memory_order_relaxed);
        atomic_fetch_or_explicit(&pulse->gates, PULSE_REFUSING, memory_order_release);
    } else {
        atomic_fetch_and_explicit(&pulse->gates, ~(uint32_t)PULSE_REFUSING, memory_order_release);
    }
    atomic_thread_fence(
        memory_order_seq_cst); /* with a loop's `waits`, set before it looks again */
    for (size_t i = 0; i < server->loops_count; i++)
        if (atomic_load_explicit(&server->loops[i]->waits, memory_order_relaxed))
            mailbox_wake(&server->loops[i]->mailbox);
}

/* ---- life ---- */

static enum status make_loops(struct server *server, struct problem *why) {
    for (size_t i = 0; i < server->loops_count; i++) {
        server->loops[i] = loop_new(server, (unsigned)i);
        if (!server->loops[i])
            return problem_set(why, IO, errno, "cannot make an event loop: %s", strerror(errno));
        server->mailboxes[i] = &server->loops[i]->mailbox;
    }
    server->bell.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->bell.fd < 0) return problem_set(why, IO, errno, "eventfd: %s", strerror(errno));
    return OK;
}

struct server *server_new(struct pulse *pulse, struct problem *why) {
    struct server *server = mem_new_zero(sizeof *server);
    server->pulse = pulse;
    mailbox_init(&server->bell, 0);
    server->machine_memory = pulse_machine_memory();
    server->loops_count = server_threads(pulse->settings);
    server->loops = mem_new_zero(server->loops_count * sizeof(void *));
    server->mailboxes = mem_new_zero(server->loops_count * sizeof(void *));
    pthread_mutex_init(&server->listeners_lock, NULL);
    if (fit_maxclients(server, why) != OK || make_loops(server, why) != OK ||
        listen_as_set(server, why) != OK || listen_unix(server, why) != OK)
        return server_free(server);
    pulse->loops = server->mailboxes;
    pulse->loops_count = server->loops_count;
    settings_on_change(pulse->settings, SETTING_ID_maxclients, apply_maxclients, server);
    settings_on_change(pulse->settings, SETTING_ID_port, apply_listeners, server);
    settings_on_change(pulse->settings, SETTING_ID_bind, apply_listeners, server);
    return server;
}

/* The users file may have changed as well. */
static void reload_users(struct pulse *pulse) {
    struct buffer errors;
    buffer_init(&errors, ACL_ERRORS_MAX);
    enum status status = acl_load(pulse->acl, &errors);
    if (status == OK)
        log_line(pulse->log, LOG_NOTICE, "Users loaded again, as SIGHUP asks for");
    else if (status != UNSUPPORTED)
        log_line(pulse->log, LOG_WARNING, "The users file is not loaded: all stays as it was",
                 LOG_B("error", buffer_bytes(&errors)));
    buffer_deinit(&errors);
}

static void on_signal(struct server *server, int signal, bool *stop) {
    struct log *log = server->pulse->log;
    if (signal == SIGHUP) {
        log_reopen(log);
        log_line(log, LOG_NOTICE, "Log reopened, as SIGHUP asks for");
        reload_users(server->pulse);
        posts_ring(server->pulse, NULL); /* this thread has no rounds */
    } else {
        log_line(log, LOG_NOTICE, "Stopping", LOG_S("signal", signal == SIGINT ? "INT" : "TERM"));
        *stop = true;
    }
}

static void stop_loops(struct server *server) {
    atomic_store(&server->pulse->stopping, 1);
    atomic_store(&server->stopping, true);
    for (size_t i = 0; i < server->loops_count; i++) mailbox_ring(&server->loops[i]->mailbox);
}

/* The thread that waits for signals and for SHUTDOWN, so that the main one can serve. */
static void *watch(void *self) {
    struct server *server = self;
    sigset_t set;
    signals_of_ours(&set);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    struct pollfd waits[] = { { .fd = signals, .events = POLLIN },
                              { .fd = server->bell.fd, .events = POLLIN } };
    bool stop = false;
    while (!stop) {
        if (poll(waits, COUNT_OF(waits), -1) < 0 && errno != EINTR) break;
        struct signalfd_siginfo info;
        while (read(signals, &info, sizeof info) == (ssize_t)sizeof info)
            on_signal(server, (int)info.ssi_signo, &stop);
        if (!stop && atomic_load(&server->pulse->stopping)) {
            if (!atomic_load(&server->stopping))
                log_line(server->pulse->log, LOG_NOTICE, "Stopping", LOG_S("by", "SHUTDOWN"));
            stop = true;
        }
    }
    if (signals >= 0) close(signals);
    stop_loops(server);
    return NULL;
}

static enum status thread_start(pthread_t *thread, void *(*run)(void *), void *self,
                                const char *name, struct problem *why) {
    int error = pthread_create(thread, NULL, run, self);
    if (error) return problem_set(why, IO, error, "cannot make a thread: %s", strerror(error));
    pthread_setname_np(*thread, name);
    return OK;
}

enum status server_start(struct server *server, struct problem *why) {
    for (size_t i = 1; i < server->loops_count; i++) {
        struct loop *loop = server->loops[i];
        char name[16];
        snprintf(name, sizeof name, "pulse-loop-%zu", i % 1000);
        if (thread_start(&loop->thread, loop_run, loop, name, why) != OK) return why->status;
        server->loops_started++;
    }
    if (thread_start(&server->watcher, watch, server, "pulse-watch", why) != OK) return why->status;
    server->watched = true;
    return OK;
}

void server_run(struct server *server) {
    loop_run(server->loops[0]);
}

void server_stop(struct server *server) {
    stop_loops(server);
    for (size_t i = 1; i <= server->loops_started; i++)
        pthread_join(server->loops[i]->thread, NULL);
    server->loops_started = 0;
    if (server->watched) {
        mailbox_ring(&server->bell);
        pthread_join(server->watcher, NULL);
        server->watched = false;
    }
    listeners_close(server->listeners);
}

struct server *server_free(struct server *server) {
    if (!server) return NULL;
    if (server->loops_started || server->watched) server_stop(server);
    for (size_t i = 0; i < server->loops_count; i++) loop_free(server->loops[i]);
    if (server->pulse->loops == server->mailboxes) {
        server->pulse->loops = NULL;
        server->pulse->loops_count = 0;
    }
    listeners_free(server->listeners);
    listeners_free(server->retired);
    if (server->bell.fd >= 0) close(server->bell.fd);
    mailbox_deinit(&server->bell);
    mem_free(server->loops, server->loops_count * sizeof(void *));
    mem_free(server->mailboxes, server->loops_count * sizeof(void *));
    pthread_mutex_destroy(&server->listeners_lock);
    mem_free(server, sizeof *server);
    return NULL;
}
