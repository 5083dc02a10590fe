/* session.c: the registry of sessions, and what one shows of itself.
 *
 * Sessions stand in a list, oldest first. The registry's lock guards the list and the three texts
 * that other threads read (name, library, its version); everything else they read is atomic. */
#include "command/session.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/env.h"
#include "base/mem.h"
#include "command/multi.h"
#include "command/pulse.h"

struct sessions {
    pthread_mutex_t lock;
    struct session *oldest, *newest;
    size_t count;
};

void mailbox_ring(struct mailbox *mailbox) {
    atomic_store_explicit(&mailbox->attention, true, memory_order_release);
    uint64_t one = 1;
    /* A full counter means that the bell rings already. */
    while (write(mailbox->fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

struct sessions *sessions_new(void) {
    struct sessions *sessions = mem_new_zero(sizeof *sessions);
    pthread_mutex_init(&sessions->lock, NULL);
    return sessions;
}

struct sessions *sessions_free(struct sessions *sessions) {
    if (!sessions) return NULL;
    assert(sessions->count == 0);
    pthread_mutex_destroy(&sessions->lock);
    mem_free(sessions, sizeof *sessions);
    return NULL;
}

static void link_newest(struct sessions *sessions, struct session *session) {
    session->previous = sessions->newest;
    if (sessions->newest)
        sessions->newest->next = session;
    else
        sessions->oldest = session;
    sessions->newest = session;
    sessions->count++;
}

static void unlink_session(struct sessions *sessions, struct session *session) {
    if (session->previous)
        session->previous->next = session->next;
    else
        sessions->oldest = session->next;
    if (session->next)
        session->next->previous = session->previous;
    else
        sessions->newest = session->previous;
    session->previous = session->next = NULL;
    sessions->count--;
}

static bool needs_no_password(struct pulse *pulse) {
    struct arena arena;
    arena_init(&arena);
    bool none = settings_text(pulse->settings, SETTING_ID_requirepass, &arena).len == 0;
    arena_deinit(&arena);
    return none;
}

static int64_t now_ms(struct pulse *pulse) {
    return (int64_t)(env_realtime_ns(pulse->env) / 1000000);
}

void session_init(struct session *session, struct pulse *pulse, const char *address,
                  const char *local_address, int fd, struct mailbox *mailbox) {
    memset(session, 0, sizeof *session);
    session->id = atomic_fetch_add_explicit(&pulse->next_session_id, 1, memory_order_relaxed) + 1;
    snprintf(session->address, sizeof session->address, "%s", address);
    snprintf(session->local_address, sizeof session->local_address, "%s", local_address);
    session->fd = fd;
    session->mailbox = mailbox;
    session->authenticated = needs_no_password(pulse);
    session->created_ms = now_ms(pulse);
    atomic_store_explicit(&session->active_ms, session->created_ms, memory_order_relaxed);
    atomic_store_explicit(&session->protocol, 2, memory_order_relaxed);
    pthread_mutex_lock(&pulse->sessions->lock);
    link_newest(pulse->sessions, session);
    pthread_mutex_unlock(&pulse->sessions->lock);
}

static void text_free(struct bytes *text) {
    if (text->len) mem_free((void *)(uintptr_t)text->data, text->len);
    *text = (struct bytes){};
}

void session_deinit(struct session *session, struct pulse *pulse) {
    pthread_mutex_lock(&pulse->sessions->lock);
    unlink_session(pulse->sessions, session);
    pthread_mutex_unlock(&pulse->sessions->lock);
    session->multi = multi_free(session->multi);
    text_free(&session->name);
    text_free(&session->library);
    text_free(&session->library_version);
}

enum { NAME_SIZE_MAX = 64 * 1024 }; /* every CLIENT LIST shows it */

/* Spaces and control characters would break the lines of CLIENT LIST. */
bool session_name_fits(struct bytes name) {
    if (name.len > NAME_SIZE_MAX) return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] < '!' || name.data[i] > '~') return false;
    return true;
}

static bool replace_text(struct pulse *pulse, struct bytes *text, struct bytes with) {
    if (!session_name_fits(with)) return false;
    struct bytes copy = {};
    if (with.len) {
        char *data = mem_new(with.len);
        memcpy(data, with.data, with.len);
        copy = (struct bytes){ data, with.len };
    }
    pthread_mutex_lock(&pulse->sessions->lock);
    struct bytes old = *text;
    *text = copy;
    pthread_mutex_unlock(&pulse->sessions->lock);
    text_free(&old);
    return true;
}

static void forget_actors(struct session *session) {
    memset(session->actors, 0, sizeof session->actors);
    session->actors_next = 0;
}

bool session_set_name(struct session *session, struct pulse *pulse, struct bytes name) {
    if (!replace_text(pulse, &session->name, name)) return false;
    forget_actors(session); /* it writes under another name from now on */
    return true;
}

bool session_set_library(struct session *session, struct pulse *pulse, bool version,
                         struct bytes text) {
    return replace_text(pulse, version ? &session->library_version : &session->library, text);
}

/* The library's name and version stay, as in Redis: the program at the other end is the same. */
void session_reset(struct session *session, struct pulse *pulse) {
    multi_discard(session);
    session->db = 0;
    session->at = 0;
    session->reply_mode = REPLY_ON;
    session->authenticated = needs_no_password(pulse);
    session_flag_set(session, SESSION_NO_EVICT, false);
    session_flag_set(session, SESSION_NO_TOUCH, false);
    atomic_store_explicit(&session->db_shown, 0, memory_order_relaxed);
    atomic_store_explicit(&session->protocol, 2, memory_order_relaxed);
    bool unnamed = session_set_name(session, pulse, BYTES(""));
    assert(unnamed);
}

bool session_is_local(const struct session *session) {
    const char *address = session->address;
    return session_has(session, SESSION_UNIX) || strncmp(address, "127.", 4) == 0 ||
           strncmp(address, "::1:", 4) == 0 || strncmp(address, "[::1]", 5) == 0;
}

struct bytes session_who(const struct session *session) {
    return session->name.len ? session->name : bytes_of(session->address);
}

uint16_t session_actor(struct session *session, struct pulse *pulse,
                       const struct command_info *info) {
    uint64_t interned = store_actors_interned(pulse->store);
    for (size_t i = 0; i < COUNT_OF(session->actors); i++)
        if (session->actors[i].actor && session->actors[i].command_id == info->id &&
            interned - session->actors[i].interned < ACTORS_LASTING)
            return session->actors[i].actor;
    uint16_t actor = store_actor_intern(pulse->store, info->name, session_who(session));
    size_t slot = session->actors_next++ % COUNT_OF(session->actors);
    session->actors[slot].interned = interned;
    session->actors[slot].command_id = info->id;
    session->actors[slot].actor = actor;
    return actor;
}

size_t sessions_count(struct sessions *sessions) {
    pthread_mutex_lock(&sessions->lock);
    size_t count = sessions->count;
    pthread_mutex_unlock(&sessions->lock);
    return count;
}

void sessions_each(struct sessions *sessions, bool (*visit)(void *self, struct session *session),
                   void *self) {
    pthread_mutex_lock(&sessions->lock);
    struct session *next = NULL;
    for (struct session *session = sessions->oldest; session; session = next) {
        next = session->next;
        if (!visit(self, session)) break;
    }
    pthread_mutex_unlock(&sessions->lock);
}

void session_flags_text(const struct session *session, char out[SESSION_FLAGS_SIZE]) {
    static const struct {
        enum session_flag flag;
        char letter;
    } letters[] = {
        { SESSION_MULTI, 'x' },    { SESSION_BLOCKED, 'b' },    { SESSION_DIRTY_EXEC, 'd' },
        { SESSION_UNIX, 'U' },     { SESSION_CLOSE_SOON, 'c' }, { SESSION_NO_EVICT, 'e' },
        { SESSION_NO_TOUCH, 'T' },
    };
    size_t at = 0;
    for (size_t i = 0; i < COUNT_OF(letters); i++)
        if (session_has(session, letters[i].flag)) out[at++] = letters[i].letter;
    if (at == 0) out[at++] = 'N';
    out[at] = '\0';
}

static uint64_t shown(const _Atomic uint64_t *number) {
    return atomic_load_explicit(number, memory_order_relaxed);
}

/* Whole seconds from `then` on; clocks may step back. */
static int64_t seconds_since(int64_t then_ms, int64_t now_ms) {
    return now_ms > then_ms ? (now_ms - then_ms) / 1000 : 0;
}

struct bytes session_line(const struct session *session, struct arena *arena, int64_t now_ms) {
    char flags[SESSION_FLAGS_SIZE];
    session_flags_text(session, flags);
    const struct command_info *running =
        atomic_load_explicit(&session->running, memory_order_relaxed);
    struct bytes command = running ? running->name : BYTES("NULL");
    uint64_t query = shown(&session->query_size), room = shown(&session->query_room);
    uint64_t args = shown(&session->args_size), queued = shown(&session->multi_size);
    uint64_t output = shown(&session->output_size), refs = shown(&session->output_refs);
    int64_t multi = session_has(session, SESSION_MULTI)
                        ? (int64_t)atomic_load_explicit(&session->multi_count, memory_order_relaxed)
                        : -1;
    return arena_format(
        arena,
        "id=%" PRIu64 " addr=%s laddr=%s fd=%d name=%.*s age=%" PRId64 " idle=%" PRId64
        " flags=%s db=%u sub=0 psub=0 ssub=0 multi=%" PRId64 " qbuf=%" PRIu64 " qbuf-free=%" PRIu64
        " argv-mem=%" PRIu64 " multi-mem=%" PRIu64 " rbs=%" PRIu64 " rbp=%" PRIu64 " obl=%" PRIu64
        " oll=%" PRIu64 " omem=%" PRIu64 " tot-mem=%" PRIu64
        " events=%s cmd=%.*s user=default redir=-1 resp=%u lib-name=%.*s lib-ver=%.*s",
        session->id, session->address, session->local_address, session->fd, (int)session->name.len,
        session->name.data ? session->name.data : "", seconds_since(session->created_ms, now_ms),
        seconds_since(atomic_load_explicit(&session->active_ms, memory_order_relaxed), now_ms),
        flags, atomic_load_explicit(&session->db_shown, memory_order_relaxed), multi, query, room,
        args, queued, output, output, output, refs, output,
        query + room + args + queued + output + (uint64_t)sizeof *session, output ? "rw" : "r",
        (int)command.len, command.data,
        atomic_load_explicit(&session->protocol, memory_order_relaxed), (int)session->library.len,
        session->library.data ? session->library.data : "", (int)session->library_version.len,
        session->library_version.data ? session->library_version.data : "");
}
