/* session.h: one client's state, whatever carries it: a TCP connection, an HTTP request, a test.
 *
 * The fields in the first part belong to the session's own thread. Those in the second part are read
 * by others (CLIENT LIST, CLIENT KILL from another thread): they are atomics, or guarded by the
 * registry's lock. A session is never freed while the registry's lock is held by a reader, and other
 * threads name it by `id`, never by pointer across a yield.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/status.h"
#include "command/call.h"
#include "command/post.h"

struct blocked;
struct acl_rules;
struct multi; /* queued commands and watched keys: multi.c */
struct pulse;
struct session;
struct subscriptions; /* pubsub/channels.h */

enum session_reply_mode { REPLY_ON, REPLY_OFF, REPLY_SKIP_NEXT, REPLY_SKIP };

enum session_flag { /* in `flags`, set by its own thread, read by any */
                    SESSION_MULTI = 1 << 0,
                    SESSION_DIRTY_EXEC = 1 << 1, /* an error while queueing: EXEC will refuse */
                    SESSION_NO_EVICT = 1 << 2,
                    SESSION_NO_TOUCH = 1 << 3,
                    SESSION_UNIX = 1 << 4,
                    SESSION_CLOSE_SOON = 1 << 5, /* close after what waits is sent */
                    SESSION_PAUSED = 1 << 6,     /* held by CLIENT PAUSE */
                    SESSION_BLOCKED = 1 << 7,
                    SESSION_HTTP = 1 << 8,
                    SESSION_LOADER = 1 << 9,    /* brings the data itself: need not wait for it */
                    SESSION_TRACKING = 1 << 10, /* CLIENT TRACKING, and how: tracking.h */
                    SESSION_TRACKING_BCAST = 1 << 11,
                    SESSION_TRACKING_OPTIN = 1 << 12,
                    SESSION_TRACKING_OPTOUT = 1 << 13,
                    SESSION_TRACKING_NOLOOP = 1 << 14,
                    SESSION_TRACKING_CACHING = 1 << 15, /* CLIENT CACHING, for the next command */
                    SESSION_TRACKING_BROKEN = 1 << 16,  /* who it redirects to is gone */
                    SESSION_MONITOR = 1 << 17,          /* is shown every command */
                    SESSION_PUBSUB = 1 << 18,           /* is subscribed to something */
};

/* How something that is no answer reaches the session's peer (session_push). */
struct carrier {
    /* Where to write it, whole, in the peer's protocol; NULL: it is closing. */
    struct reply *(*open)(struct session *session);
    /* It is written. It leaves when what has the stamp `gate` is as safe as an answer has to be. */
    void (*done)(struct session *session, uint64_t gate);
    /* It is blocked, and its command is to run again. */
    void (*resume)(struct session *session);
};

struct session {
    /* Its own thread's: */
    const struct carrier *carrier; /* NULL: nothing but answers reaches it */
    uint32_t db;
    _Atomic bool
        unrestricted; /* let in, and may do everything: the hot path's only look. Others clear it
                                * when users change (acl.h) */
    bool authenticated;
    bool trusted;            /* acl_trust */
    bool has_waited;         /* for the right to give a password: AUTH is looked at now */
    uint8_t reply_mode;      /* enum session_reply_mode */
    int64_t held_until_ms;   /* its AUTH waits until then (acl_guess.c); 0: it does not */
    struct acl_rules *rules; /* a reference; NULL: everything is allowed */
    uint64_t rules_seen;     /* the acl's generation when they were taken */
    uint64_t at;             /* AT instant: the connection lives in the past, ns; else 0 */
    struct multi *multi;     /* NULL until MULTI or WATCH */
    struct blocked *blocked; /* while its command waits: block.h */
    struct subscriptions *subscriptions;                         /* NULL: none */
    void (*leave)(struct session *session, struct pulse *pulse); /* ends those; NULL: none ever */
    const struct command_info *last; /* the last command found, a cache for the next */
    struct bytes last_name;          /* how it was spelled; data points to last_text */
    char last_text[16];
    struct {               /* who writes, cached by command: store_actor_intern */
        uint64_t interned; /* pairs known when it was: it may be reused after 65,000 more */
        uint32_t command_id;
        uint16_t actor;
    } actors[4];
    uint32_t actors_next;
    uint64_t commands; /* run so far */
    uint64_t gate;     /* the newest stamp that its replies show: they leave when that is safe */
    struct bytes *prefixes; /* CLIENT TRACKING's, in order; mem_new'd, and so is each text */
    size_t prefixes_count;
    struct mailbox *redirect_to; /* of the session `redirect` */

    /* Everyone's: */
    uint64_t id;
    char address[64], local_address[64]; /* "127.0.0.1:5000", or the socket's path; fixed */
    int64_t created_ms;
    _Atomic uint32_t flags; /* enum session_flag */
    _Atomic uint32_t db_shown, protocol, multi_count, watch_count, sub_count, psub_count,
        ssub_count;
    _Atomic int64_t active_ms; /* last interaction */
    _Atomic uint64_t query_size, query_room, args_size, multi_size, output_size, output_refs;
    _Atomic uint64_t memory; /* all its buffers, at the end of its last turn: maxmemory-clients */
    _Atomic(const struct command_info *) running; /* last command, for cmd= */
    _Atomic bool kill;                            /* its owner is to close it */
    _Atomic uint32_t unblock;                     /* 0, or 1 TIMEOUT, 2 ERROR: CLIENT UNBLOCK */
    _Atomic uint64_t redirect;                    /* who gets its invalidations; 0: itself */
    struct bytes name, library, library_version;  /* mem_new'd; registry's lock */
    struct bytes user;                            /* registry's lock; acl_users.c's */
    uint64_t user_id;                             /* registry's lock; 0: no user at all */
    int fd;
    struct mailbox *mailbox;                     /* whom to wake; NULL: nobody (tests) */
    struct session *previous, *next, *same_slot; /* registry's lock */
};

struct sessions; /* the registry */
struct sessions *sessions_new(void);
struct sessions *sessions_free(struct sessions *sessions); /* always NULL; must be empty */

/* In place: zeroes `session`, gives it an id, links it. `address`es are copied. */
void session_init(struct session *session, struct pulse *pulse, const char *address,
                  const char *local_address, int fd, struct mailbox *mailbox);
void session_deinit(struct session *session, struct pulse *pulse); /* unlinks; drops MULTI, WATCH */
void session_reset(struct session *session, struct pulse *pulse);  /* RESET: as if just connected */
/* HELLO's or CLIENT SETNAME's; false: holds a space or a control character. Empty takes it away. */
MUST_USE bool session_set_name(struct session *session, struct pulse *pulse, struct bytes name);
/* Whether session_set_name would take it. */
bool session_name_fits(struct bytes name);
/* CLIENT SETINFO's two; the same rule. */
MUST_USE bool session_set_library(struct session *session, struct pulse *pulse, bool version,
                                  struct bytes text);
/* Whether it comes from this machine: the loopback or a socket of the file system. */
bool session_is_local(const struct session *session);
/* Who it is, for HIST WITHMETA: its name, else its address. */
struct bytes session_who(const struct session *session);
uint16_t session_actor(struct session *session, struct pulse *pulse,
                       const struct command_info *info);

static inline void session_select(struct session *session, uint32_t db) {
    session->db = db;
    atomic_store_explicit(&session->db_shown, db, memory_order_relaxed);
}

/* Writes to a session's peer between its answers: a push (RESP3), or whatever its protocol has for it. Thread: its own,
 * between rounds: within struct post's deliver. NULL: it hears nothing any more. */
static inline struct reply *session_push(struct session *session) {
    return session->carrier ? session->carrier->open(session) : NULL;
}
static inline void session_pushed(struct session *session, uint64_t gate) {
    session->carrier->done(session, gate);
}

/* The same, with a bound on what waits for a peer that does not read: over PUSHED_SIZE_MAX it is closed. */
struct reply *session_push_bounded(struct session *session);

size_t sessions_count(struct sessions *sessions);
/* A session by its id, or NULL. Only its own thread may look at more of it than whether it is there. */
struct session *sessions_find(struct sessions *sessions, uint64_t id);
/* The mailbox of a session that is there and not about to be closed, else NULL. Mailboxes outlive sessions. */
struct mailbox *sessions_mailbox(struct sessions *sessions, uint64_t id);
/* Calls `visit` for every session, oldest first, under the registry's lock; false stops. */
void sessions_each(struct sessions *sessions, bool (*visit)(void *self, struct session *session),
                   void *self);
/* For a few words about one session: the registry's lock. */
void sessions_lock(struct sessions *sessions);
void sessions_unlock(struct sessions *sessions);
/* session_line of the caller's own session, without the lock. */
struct bytes session_describe(const struct session *session, struct pulse *pulse,
                              struct arena *arena, int64_t now_ms);
enum { SESSION_FLAGS_SIZE = 16 };
/* Its flags= in CLIENT LIST, at least "N". */
void session_flags_text(const struct session *session, char out[SESSION_FLAGS_SIZE]);
/* One line of CLIENT LIST / CLIENT INFO, without its newline. Under the registry's lock. */
struct bytes session_line(const struct session *session, struct arena *arena, int64_t now_ms);

static inline bool session_has(const struct session *session, enum session_flag flag) {
    return atomic_load_explicit(&session->flags, memory_order_relaxed) & (uint32_t)flag;
}
static inline bool session_is_unrestricted(const struct session *session) {
    return atomic_load_explicit(&session->unrestricted, memory_order_relaxed);
}
static inline void session_flag_set(struct session *session, enum session_flag flag, bool on) {
    uint32_t now = atomic_load_explicit(&session->flags, memory_order_relaxed);
    atomic_store_explicit(&session->flags, on ? now | (uint32_t)flag : now & ~(uint32_t)flag,
                          memory_order_relaxed);
}
