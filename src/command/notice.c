#include "command/notice.h"

#include <pthread.h>

#include "base/limits.h"
#include "base/mem.h"
#include "command/handle.h"
#include "command/pulse.h"
#include "command/tracking.h"

enum notice_kind {
    NOTICE_KEY,        /* to those that read it */
    NOTICE_PREFIX,     /* to those that asked for the prefix */
    NOTICE_ALL,        /* to all who track, of this loop */
    NOTICE_REDIRECTED, /* for `handles[0]`, from the session `origin` */
    NOTICE_BROKEN,     /* to `handles[0]`: who it redirects to is gone */
};

struct notice {
    struct post post;
    STAILQ_ENTRY(notice) link;
    struct notices *notices;
    bool told; /* by notices_deliver: what is left is to free it. Its loop's */
    uint64_t stamp;
    uint64_t origin; /* NOTICE_REDIRECTED: the handle */
    uint64_t *handles;
    struct changed_name *names; /* none: forget all */
    size_t handles_count, names_count;
    uint8_t kind;    /* enum notice_kind */
    uint64_t room[]; /* for handles, names and their bytes */
};
STAILQ_HEAD(notice_list, notice);

struct queue {
    pthread_mutex_t lock;
    struct notice_list list; /* lock */
    _Atomic size_t count;
};

struct notices {
    struct pulse *pulse;
    struct queue queues[WORKERS_MAX]; /* by the number of the loop */
};

/* What has been decided about one message. */
struct message {
    struct notices *notices;
    const struct changed_name *names;
    size_t count;
    bool all;
    uint64_t stamp;
};

struct notices *notices_new(struct pulse *pulse) {
    struct notices *notices = mem_new_zero(sizeof *notices);
    notices->pulse = pulse;
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        pthread_mutex_init(&notices->queues[i].lock, NULL);
        STAILQ_INIT(&notices->queues[i].list);
    }
    return notices;
}

struct notices *notices_free(struct notices *notices) {
    if (!notices) return NULL;
    for (size_t i = 0; i < WORKERS_MAX; i++) pthread_mutex_destroy(&notices->queues[i].lock);
    mem_free(notices, sizeof *notices);
    return NULL;
}

/* ---- sending ---- */

static void deliver(struct post *post, struct mailbox *mailbox);

static struct notice *notice_new(enum notice_kind kind, const struct message *message,
                                 const uint64_t *handles, size_t handles_count) {
    size_t size = handles_count * sizeof *handles + message->count * sizeof *message->names;
    for (size_t i = 0; i < message->count; i++) size += message->names[i].name.len;
    struct notice *notice = mem_new(sizeof *notice + size);
    *notice = (struct notice){ .post = { .size = size, .deliver = deliver },
                               .notices = message->notices,
                               .stamp = message->stamp,
                               .handles_count = handles_count,
                               .names_count = message->count,
                               .kind = (uint8_t)kind };
    void *room = notice->room;
    notice->handles = room;
    notice->names = (void *)(notice->handles + handles_count);
    char *at = (char *)(notice->names + message->count);
    if (handles_count) memcpy(notice->handles, handles, handles_count * sizeof *handles);
    for (size_t i = 0; i < message->count; i++) {
        struct changed_name name = message->names[i];
        if (name.name.len) memcpy(at, name.name.data, name.name.len);
        notice->names[i] = (struct changed_name){ { at, name.name.len }, name.session };
        at += name.name.len;
    }
    return notice;
}

static void send_to(struct notice *notice, unsigned loop) {
    struct notices *notices = notice->notices;
    struct queue *queue = &notices->queues[loop];
    pthread_mutex_lock(&queue->lock);
    STAILQ_INSERT_TAIL(&queue->list, notice, link);
    atomic_fetch_add_explicit(&queue->count, 1, memory_order_relaxed);
    pthread_mutex_unlock(&queue->lock);
    post_send(notices->pulse, notices->pulse->loops[loop], &notice->post); /* frees it */
}

/* ---- what a peer is sent ---- */

/* A RESP2 peer has no pushes: it is sent what looks like a message, if it is there to hear those. */
static bool can_hear(const struct session *session, bool redirected) {
    return atomic_load_explicit(&session->protocol, memory_order_relaxed) == 3 ||
           (redirected && tracking_hears_messages(session));
}

static void tell(struct session *session, bool redirected, const struct message *message) {
    if (!can_hear(session, redirected)) return;
    struct reply *reply = session_push_bounded(session);
    if (!reply) return;
    const struct reply_writer *writer = reply->writer;
    if (reply_is_resp3(reply)) {
        writer->push(reply, 2);
        writer->bulk(reply, BYTES("invalidate"));
    } else {
        writer->array(reply, 3);
        writer->bulk(reply, BYTES("message"));
        writer->bulk(reply, BYTES("__redis__:invalidate"));
    }
    if (message->all) {
        writer->null(reply);
    } else {
        writer->array(reply, message->count);
        for (size_t i = 0; i < message->count; i++) writer->bulk(reply, message->names[i].name);
    }
    session_pushed(session, message->stamp);
}

static void tell_broken(struct session *session) {
    if (!session_has(session, SESSION_TRACKING)) return;
    session_flag_set(session, SESSION_TRACKING_BROKEN, true);
    if (!can_hear(session, false)) return;
    struct reply *reply = session_push_bounded(session);
    if (!reply) return;
    reply->writer->push(reply, 2);
    reply->writer->bulk(reply, BYTES("tracking-redir-broken"));
    reply->writer->integer(reply,
                           (int64_t)atomic_load_explicit(&session->redirect, memory_order_relaxed));
    session_pushed(session, 0);
}

/* ---- whom it concerns ---- */

static void redirect(struct session *session, uint64_t id, const struct message *message) {
    struct sessions *sessions = message->notices->pulse->sessions;
    if (!sessions_mailbox(sessions, id)) {
        tell_broken(session);
        return;
    }
    struct mailbox *mailbox = session->redirect_to;
    if (mailbox == session->mailbox) {
        tell(sessions_find(sessions, id), true, message);
        return;
    }
    uint64_t target = handle_new(id, mailbox->number);
    struct notice *notice = notice_new(NOTICE_REDIRECTED, message, &target, 1);
    notice->origin = handle_of(session);
    send_to(notice, mailbox->number);
}

static void pass_on(struct session *session, const struct message *message) {
    uint64_t id = atomic_load_explicit(&session->redirect, memory_order_relaxed);
    if (id)
        redirect(session, id, message);
    else
        tell(session, false, message);
}

/* NOLOOP: what it has changed itself is left out. */
static void tell_others_changes(struct session *session, const struct message *message) {
    struct changed_name *names = mem_new(message->count * sizeof *names);
    struct message others = *message;
    others.names = names;
    others.count = 0;
    for (size_t i = 0; i < message->count; i++)
        if (message->names[i].session != session->id) names[others.count++] = message->names[i];
    if (others.count) pass_on(session, &others);
    mem_free(names, message->count * sizeof *names);
}

static void deliver_to(struct session *session, enum notice_kind kind,
                       const struct message *message) {
    if (!session_has(session, SESSION_TRACKING)) return;
    bool broadcast = session_has(session, SESSION_TRACKING_BCAST);
    if (kind != NOTICE_ALL && broadcast != (kind == NOTICE_PREFIX)) return;
    if (!message->all && session_has(session, SESSION_TRACKING_NOLOOP))
        tell_others_changes(session, message);
    else
        pass_on(session, message);
}

/* Those of a loop that track, for when all of them are to be told. */
struct roll {
    const struct mailbox *mailbox;
    uint64_t *ids;
    size_t count, cap;
};

static bool enlist(void *self, struct session *session) {
    struct roll *roll = self;
    if (session->mailbox != roll->mailbox || !session_has(session, SESSION_TRACKING)) return true;
    if (roll->count == roll->cap) {
        size_t cap = roll->cap ? roll->cap * 2 : 16;
        roll->ids = mem_resize(roll->ids, roll->cap * sizeof *roll->ids, cap * sizeof *roll->ids);
        roll->cap = cap;
    }
    roll->ids[roll->count++] = session->id;
    return true;
}

static void deliver_to_all(const struct mailbox *mailbox, const struct message *message) {
    struct sessions *sessions = message->notices->pulse->sessions;
    struct roll roll = { .mailbox = mailbox };
    sessions_each(sessions, enlist, &roll);
    for (size_t i = 0; i < roll.count; i++)
        deliver_to(sessions_find(sessions, roll.ids[i]), NOTICE_ALL, message);
    mem_free(roll.ids, roll.cap * sizeof *roll.ids);
}

static void deliver_redirected(const struct notice *notice, const struct message *message) {
    struct sessions *sessions = notice->notices->pulse->sessions;
    struct session *target = sessions_find(sessions, handle_id(notice->handles[0]));
    if (target) {
        tell(target, true, message);
        return;
    }
    struct message nothing = { .notices = notice->notices };
    send_to(notice_new(NOTICE_BROKEN, &nothing, &notice->origin, 1), handle_loop(notice->origin));
}

static void deliver_notice(const struct notice *notice, const struct mailbox *mailbox) {
    struct sessions *sessions = notice->notices->pulse->sessions;
    struct message message = { .notices = notice->notices,
                               .names = notice->names,
                               .count = notice->names_count,
                               .all = notice->names_count == 0,
                               .stamp = notice->stamp };
    enum notice_kind kind = (enum notice_kind)notice->kind;
    if (kind == NOTICE_ALL) {
        deliver_to_all(mailbox, &message);
        return;
    }
    if (kind == NOTICE_REDIRECTED) {
        deliver_redirected(notice, &message);
        return;
    }
    for (size_t i = 0; i < notice->handles_count; i++) {
        struct session *session = sessions_find(sessions, handle_id(notice->handles[i]));
        if (!session) continue;
        if (kind == NOTICE_BROKEN)
            tell_broken(session);
        else
            deliver_to(session, kind, &message);
    }
}

void notices_deliver(struct notices *notices, const struct mailbox *mailbox) {
    struct queue *queue = &notices->queues[mailbox->number];
    if (LIKELY(atomic_load_explicit(&queue->count, memory_order_acquire) == 0)) return;
    struct notice_list taken = STAILQ_HEAD_INITIALIZER(taken);
    pthread_mutex_lock(&queue->lock);
    STAILQ_CONCAT(&taken, &queue->list);
    atomic_store_explicit(&queue->count, 0, memory_order_relaxed);
    pthread_mutex_unlock(&queue->lock);
    struct notice *notice;
    while ((notice = STAILQ_FIRST(&taken))) {
        STAILQ_REMOVE_HEAD(&taken, link);
        notice->told = true;
        deliver_notice(notice, mailbox);
    }
}

/* Those before it in the queue are told first. */
static void deliver(struct post *post, struct mailbox *mailbox) {
    struct notice *notice = (void *)post;
    if (mailbox && !notice->told) notices_deliver(notice->notices, mailbox);
    mem_free(notice, sizeof *notice + post->size);
}

/* ---- to whom ---- */

static void send_all(enum notice_kind kind, const struct message *message, const uint64_t *handles,
                     size_t count) {
    if (LIKELY(count == 1)) {
        send_to(notice_new(kind, message, handles, 1), handle_loop(handles[0]));
        return;
    }
    uint64_t *here = mem_new(count * sizeof *here);
    size_t sent = 0;
    for (unsigned loop = 0; sent < count && loop < message->notices->pulse->loops_count; loop++) {
        size_t found = 0;
        for (size_t i = 0; i < count; i++)
            if (handle_loop(handles[i]) == loop) here[found++] = handles[i];
        if (found) send_to(notice_new(kind, message, here, found), loop);
        sent += found;
    }
    mem_free(here, count * sizeof *here);
}

void notice_key(struct notices *notices, const uint64_t *handles, size_t count,
                const struct changed_name *name, uint64_t stamp) {
    struct message message = { .notices = notices, .names = name, .count = 1, .stamp = stamp };
    send_all(NOTICE_KEY, &message, handles, count);
}

void notice_prefix(struct notices *notices, const uint64_t *handles, size_t count,
                   const struct changed_name *names, size_t names_count, uint64_t stamp) {
    struct message message = {
        .notices = notices, .names = names, .count = names_count, .stamp = stamp
    };
    send_all(NOTICE_PREFIX, &message, handles, count);
}

void notice_all(struct notices *notices, uint64_t stamp) {
    struct message message = { .notices = notices, .stamp = stamp };
    for (unsigned i = 0; i < notices->pulse->loops_count; i++)
        send_to(notice_new(NOTICE_ALL, &message, NULL, 0), i);
}
