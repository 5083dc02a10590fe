/* session.c: the registry of sessions, and what one shows of itself.
 *
 * Sessions stand in a list, oldest first. The registry's lock guards the list and the three texts
 * that other threads read (name, library, its version); everything else they read is atomic. */
#include "command/session.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/env.h"
#include "base/mem.h"
#include "command/acl.h"
#include "command/block.h"
#include "command/monitor.h"
#include "command/multi.h"
#include "command/pulse.h"
#include "command/tracking.h"

struct sessions {
    pthread_mutex_t lock;
    struct session *oldest, *newest;
    size_t count;
    struct session **slots; /* by id; chained by same_slot */
    size_t slots_count;     /* a power of two */
};

enum { SLOTS_LEAST = 64 };

struct sessions *sessions_new(void) {
    struct sessions *sessions = mem_new_zero(sizeof *sessions);
    pthread_mutex_init(&sessions->lock, NULL);
    sessions->slots_count = SLOTS_LEAST;
    sessions->slots = mem_new_zero(SLOTS_LEAST * sizeof(struct session *));
    return sessions;
}

struct sessions *sessions_free(struct sessions *sessions) {
    if (!sessions) return NULL;
    assert(sessions->count == 0);
    pthread_mutex_destroy(&sessions->lock);
    mem_free(sessions->slots, sessions->slots_count * sizeof(struct session *));
    mem_free(sessions, sizeof *sessions);
    return NULL;
}

/* Ids are given one after another, so their low bits spread them evenly. */
static struct session **slot_of(const struct sessions *sessions, uint64_t id) {
    return &sessions->slots[id & (sessions->slots_count - 1)];
}

static void grow_slots(struct sessions *sessions) {
    mem_free(sessions->slots, sessions->slots_count * sizeof(struct session *));
    sessions->slots_count *= 2;
    sessions->slots = mem_new_zero(sessions->slots_count * sizeof(struct session *));
    for (struct session *session = sessions->oldest; session; session = session->next) {
        struct session **slot = slot_of(sessions, session->id);
        session->same_slot = *slot;
        *slot = session;
    }
}

static struct session *find(const struct sessions *sessions, uint64_t id) {
    struct session *session = *slot_of(sessions, id);
    while (session && session->id != id) session = session->same_slot;
    return session;
}

static void link_newest(struct sessions *sessions, struct session *session) {
    session->previous = sessions->newest;
    if (sessions->newest)
        sessions->newest->next = session;
    else
        sessions->oldest = session;
    sessions->newest = session;
    if (++sessions->count > sessions->slots_count) {
        grow_slots(sessions);
        return;
    }
    struct session **slot = slot_of(sessions, session->id);
    session->same_slot = *slot;
    *slot = session;
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
    struct session **link = slot_of(sessions, session->id);
    while (*link != session) link = &(*link)->same_slot;
    *link = session->same_slot;
    sessions->count--;
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
    session->created_ms = now_ms(pulse);
    atomic_store_explicit(&session->active_ms, session->created_ms, memory_order_relaxed);
    atomic_store_explicit(&session->protocol, 2, memory_order_relaxed);
    pthread_mutex_lock(&pulse->sessions->lock);
    link_newest(pulse->sessions, session);
    pthread_mutex_unlock(&pulse->sessions->lock);
    acl_enter(pulse->acl, session);
}

static void text_free(struct bytes *text) {
    if (text->len) mem_free((void *)(uintptr_t)text->data, text->len);
    *text = (struct bytes){};
}

static void leave_channels(struct session *session, struct pulse *pulse) {
    if (session->subscriptions) session->leave(session, pulse);
}

void session_deinit(struct session *session, struct pulse *pulse) {
    leave_channels(session, pulse);
    tracking_stop(session, pulse);
    monitor_stop(session, pulse);
    pthread_mutex_lock(&pulse->sessions->lock);
    unlink_session(pulse->sessions, session);
    pthread_mutex_unlock(&pulse->sessions->lock);
    block_end(session, false);
    session->multi = multi_free(session->multi);
    acl_leave(session);
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
    leave_channels(session, pulse);
    tracking_stop(session, pulse);
    monitor_stop(session, pulse);
    session_select(session, 0);
    session->at = 0;
    session->reply_mode = REPLY_ON;
    acl_enter(pulse->acl, session);
    session_flag_set(session, SESSION_NO_EVICT, false);
    session_flag_set(session, SESSION_NO_TOUCH, false);
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

void sessions_lock(struct sessions *sessions) {
    pthread_mutex_lock(&sessions->lock);
}

void sessions_unlock(struct sessions *sessions) {
    pthread_mutex_unlock(&sessions->lock);
}

size_t sessions_count(struct sessions *sessions) {
    pthread_mutex_lock(&sessions->lock);
    size_t count = sessions->count;
    pthread_mutex_unlock(&sessions->lock);
    return count;
}

struct session *sessions_find(struct sessions *sessions, uint64_t id) {
    pthread_mutex_lock(&sessions->lock);
    struct session *session = find(sessions, id);
    pthread_mutex_unlock(&sessions->lock);
    return session;
}

struct mailbox *sessions_mailbox(struct sessions *sessions, uint64_t id) {
    pthread_mutex_lock(&sessions->lock);
    const struct session *session = find(sessions, id);
    bool there = session && !atomic_load_explicit(&session->kill, memory_order_acquire);
    struct mailbox *mailbox = there ? session->mailbox : NULL;
    pthread_mutex_unlock(&sessions->lock);
    return mailbox;
}

struct reply *session_push_bounded(struct session *session) {
    struct reply *reply = session_push(session);
    if (!reply || LIKELY(out_pending(reply->out) <= PUSHED_SIZE_MAX)) return reply;
    atomic_store_explicit(&session->kill, true, memory_order_release);
    mailbox_ring(session->mailbox);
    return NULL;
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
        { SESSION_MONITOR, 'O' },        { SESSION_PUBSUB, 'P' },
        { SESSION_MULTI, 'x' },          { SESSION_BLOCKED, 'b' },
        { SESSION_TRACKING, 't' },       { SESSION_TRACKING_BROKEN, 'R' },
        { SESSION_TRACKING_BCAST, 'B' }, { SESSION_DIRTY_EXEC, 'd' },
        { SESSION_UNIX, 'U' },           { SESSION_CLOSE_SOON, 'c' },
        { SESSION_NO_EVICT, 'e' },       { SESSION_NO_TOUCH, 'T' },
    };
    static_assert(COUNT_OF(letters) < SESSION_FLAGS_SIZE, "all of them, and a NUL");
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
    struct bytes user = session->user_id ? session->user : BYTES("default");
    struct bytes command = running ? running->name : BYTES("NULL");
    uint64_t query = shown(&session->query_size), room = shown(&session->query_room);
    uint64_t args = shown(&session->args_size), queued = shown(&session->multi_size);
    uint64_t output = shown(&session->output_size), refs = shown(&session->output_refs);
    int64_t multi = session_has(session, SESSION_MULTI)
                        ? (int64_t)atomic_load_explicit(&session->multi_count, memory_order_relaxed)
                        : -1;
    bool tracks = session_has(session, SESSION_TRACKING);
    int64_t redirect =
        tracks ? (int64_t)atomic_load_explicit(&session->redirect, memory_order_relaxed) : -1;
    return arena_format(
        arena,
        "id=%" PRIu64 " addr=%s laddr=%s fd=%d name=%.*s age=%" PRId64 " idle=%" PRId64
        " flags=%s db=%u sub=%u psub=%u ssub=%u multi=%" PRId64 " qbuf=%" PRIu64
        " qbuf-free=%" PRIu64 " argv-mem=%" PRIu64 " multi-mem=%" PRIu64 " rbs=%" PRIu64
        " rbp=%" PRIu64 " obl=%" PRIu64 " oll=%" PRIu64 " omem=%" PRIu64 " tot-mem=%" PRIu64
        " events=%s cmd=%.*s user=%.*s redir=%" PRId64 " resp=%u lib-name=%.*s lib-ver=%.*s",
        session->id, session->address, session->local_address, session->fd, (int)session->name.len,
        session->name.data ? session->name.data : "", seconds_since(session->created_ms, now_ms),
        seconds_since(atomic_load_explicit(&session->active_ms, memory_order_relaxed), now_ms),
        flags, atomic_load_explicit(&session->db_shown, memory_order_relaxed),
        atomic_load_explicit(&session->sub_count, memory_order_relaxed),
        atomic_load_explicit(&session->psub_count, memory_order_relaxed),
        atomic_load_explicit(&session->ssub_count, memory_order_relaxed), multi, query, room, args,
        queued, output, output, output, refs, output,
        query + room + args + queued + output + (uint64_t)sizeof *session, output ? "rw" : "r",
        (int)command.len, command.data, (int)user.len, user.data, redirect,
        atomic_load_explicit(&session->protocol, memory_order_relaxed), (int)session->library.len,
        session->library.data ? session->library.data : "", (int)session->library_version.len,
        session->library_version.data ? session->library_version.data : "");
}

struct bytes session_describe(const struct session *session, struct pulse *pulse,
                              struct arena *arena, int64_t now_ms) {
    sessions_lock(pulse->sessions);
    struct bytes line = session_line(session, arena, now_ms);
    sessions_unlock(pulse->sessions);
    return line;
}
