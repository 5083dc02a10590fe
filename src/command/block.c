#include "command/block.h"

#include <string.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/mem.h"
#include "command/pulse.h"
#include "command/session.h"
#include "store/store.h"

enum {
    STRIPES = 64, /* each with a lock of its own */
    BUCKETS = 64, /* of a stripe, to begin with */
    NS_PER_MS = 1000000,
};

struct place { /* a waiter in a lane, first come first */
    TAILQ_ENTRY(place) link;
    struct lane *lane;
    struct blocked *owner;
};
TAILQ_HEAD(places, place);

struct lane {
    LIST_ENTRY(lane) link;
    struct line *line;
    uint64_t number;
    bool shared; /* of those who take nothing away; has no number */
    struct places places;
};

struct line { /* of one key; there is one as long as somebody stands in it, and so with its lanes */
    LIST_ENTRY(line) link;
    uint64_t hash;
    uint32_t db;
    struct bytes name; /* owned */
    LIST_HEAD(lanes, lane) lanes;
};
LIST_HEAD(lines, line);

struct stripe {
    pthread_mutex_t lock;
    struct lines *buckets;
    size_t buckets_count, lines_count;
};

struct waiters {
    struct sink sink;
    struct pulse *pulse;
    pthread_mutex_t counting;
    _Atomic uint64_t
        places; /* in all lines; changed under `counting`. Without any the sink does not listen */
    struct stripe stripes[STRIPES];
};

/* A session that waits. The post is its call: at most one is on its way, and it outlives the session. */
struct blocked {
    struct post post;
    struct waiters *waiters;
    struct session *session; /* NULL: gone while the post was on its way */
    _Atomic bool called;     /* from being called until it stands in line again */
    bool arrived;            /* the call has */
    uint8_t end;             /* enum wait_end */
    uint64_t deadline_ns, durable, kinds;
    size_t count;
    struct place places[];
};

static struct stripe *stripe_of(struct waiters *waiters, uint64_t hash) {
    return &waiters->stripes[hash % STRIPES];
}

/* ---- lines: under the stripe's lock ---- */

static struct lines *bucket_of(const struct stripe *stripe, uint64_t hash) {
    return &stripe->buckets[hash / STRIPES % stripe->buckets_count];
}

static struct line *line_find(const struct stripe *stripe, const struct key *key) {
    struct line *line;
    LIST_FOREACH (line, bucket_of(stripe, key->hash), link)
        if (line->hash == key->hash && line->db == key->db && bytes_equal(line->name, key->name))
            return line;
    return NULL;
}

static void stripe_grow(struct stripe *stripe) {
    struct lines *old = stripe->buckets;
    size_t count = stripe->buckets_count;
    stripe->buckets_count = count * 2;
    stripe->buckets = mem_new_zero(stripe->buckets_count * sizeof *stripe->buckets);
    for (size_t i = 0; i < count; i++) {
        struct line *line;
        while ((line = LIST_FIRST(&old[i]))) {
            LIST_REMOVE(line, link);
            LIST_INSERT_HEAD(bucket_of(stripe, line->hash), line, link);
        }
    }
    mem_free(old, count * sizeof *old);
}

static struct line *line_new(struct stripe *stripe, const struct key *key) {
    if (stripe->lines_count == stripe->buckets_count) stripe_grow(stripe);
    struct line *line = mem_new(sizeof *line);
    char *name = mem_new(key->name.len + 1);
    bytes_move((unsigned char *)name, key->name.data, key->name.len);
    *line = (struct line){ .hash = key->hash, .db = key->db, .name = { name, key->name.len } };
    LIST_INIT(&line->lanes);
    LIST_INSERT_HEAD(bucket_of(stripe, key->hash), line, link);
    stripe->lines_count++;
    return line;
}

static void line_end(struct stripe *stripe, struct line *line) {
    LIST_REMOVE(line, link);
    stripe->lines_count--;
    mem_free((char *)(uintptr_t)line->name.data, line->name.len + 1);
    mem_free(line, sizeof *line);
}

static struct lane *lane_find(const struct line *line, uint64_t number, bool shared) {
    struct lane *lane;
    LIST_FOREACH (lane, &line->lanes, link)
        if (lane->shared == shared && (shared || lane->number == number)) return lane;
    return NULL;
}

static struct lane *lane_new(struct line *line, uint64_t number, bool shared) {
    struct lane *lane = mem_new(sizeof *lane);
    *lane = (struct lane){ .line = line, .number = number, .shared = shared };
    TAILQ_INIT(&lane->places);
    LIST_INSERT_HEAD(&line->lanes, lane, link);
    return lane;
}

static void lane_end(struct stripe *stripe, struct lane *lane) {
    struct line *line = lane->line;
    LIST_REMOVE(lane, link);
    mem_free(lane, sizeof *lane);
    if (LIST_EMPTY(&line->lanes)) line_end(stripe, line);
}

/* ---- calling ---- */

static void blocked_free(struct blocked *blocked) {
    mem_free(blocked, sizeof *blocked + blocked->count * sizeof *blocked->places);
}

/* In its own thread: its turn has come, or it has gone. */
static void arrive(struct post *post, struct mailbox *mailbox) {
    struct blocked *blocked = (struct blocked *)post;
    if (!blocked->session) {
        blocked_free(blocked);
        return;
    }
    blocked->arrived = true;
    if (mailbox) blocked->session->carrier->resume(blocked->session);
}

/* true: it was not called before. The stripe's lock keeps it alive. */
static bool call_one(struct waiters *waiters, struct blocked *blocked) {
    if (atomic_exchange_explicit(&blocked->called, true, memory_order_acq_rel)) return false;
    post_send(waiters->pulse, blocked->session->mailbox, &blocked->post);
    return true;
}

enum { ANY_KIND = 0 }; /* for call_lane */

static bool wants(const struct blocked *blocked, uint8_t kind) {
    return kind == ANY_KIND || blocked->kinds >> kind & 1;
}

/* The first who is not called already and wants such a change; where they share, everyone. */
static void call_lane(struct waiters *waiters, const struct lane *lane, uint8_t kind) {
    struct place *place;
    TAILQ_FOREACH (place, &lane->places, link)
        if (wants(place->owner, kind) && call_one(waiters, place->owner) && !lane->shared) return;
}

static void call_for_key(struct waiters *waiters, const struct key *key, uint8_t kind) {
    struct stripe *stripe = stripe_of(waiters, key->hash);
    pthread_mutex_lock(&stripe->lock);
    const struct line *line = line_find(stripe, key);
    const struct lane *lane = line ? LIST_FIRST(&line->lanes) : NULL;
    for (; lane; lane = LIST_NEXT(lane, link)) call_lane(waiters, lane, kind);
    pthread_mutex_unlock(&stripe->lock);
}

/* A whole database has changed: everyone who waits there looks again. */
static void call_for_all(struct waiters *waiters) {
    for (size_t i = 0; i < STRIPES; i++) {
        struct stripe *stripe = &waiters->stripes[i];
        pthread_mutex_lock(&stripe->lock);
        for (size_t b = 0; b < stripe->buckets_count; b++) {
            const struct line *line;
            const struct lane *lane;
            struct place *place;
            LIST_FOREACH (line, &stripe->buckets[b], link)
                LIST_FOREACH (lane, &line->lanes, link)
                    TAILQ_FOREACH (place, &lane->places, link)
                        (void)call_one(waiters, place->owner);
        }
        pthread_mutex_unlock(&stripe->lock);
    }
}

static void committed(struct sink *sink, uint64_t stamp, const struct change *changes,
                      size_t count) {
    (void)stamp;
    struct waiters *waiters = (struct waiters *)sink;
    if (atomic_load_explicit(&waiters->places, memory_order_relaxed) == 0) return;
    for (size_t i = 0; i < count; i++) {
        const struct change *change = &changes[i];
        if (change->kind == 0) continue; /* no data has changed */
        bool whole = change->kind == EFFECT_FLUSH || change->kind == EFFECT_UNFLUSH ||
                     change->kind == EFFECT_SWAP;
        if (whole)
            call_for_all(waiters);
        else
            call_for_key(waiters, &change->key, change->kind);
    }
}

/* ---- getting into line ---- */

static void take_place(struct waiters *waiters, struct place *place, const struct key *key,
                       const struct wait_on *on) {
    struct stripe *stripe = stripe_of(waiters, key->hash);
    pthread_mutex_lock(&stripe->lock);
    struct line *line = line_find(stripe, key);
    if (!line) line = line_new(stripe, key);
    struct lane *lane = lane_find(line, on->lane, on->shared);
    if (!lane) lane = lane_new(line, on->lane, on->shared);
    place->lane = lane;
    TAILQ_INSERT_TAIL(&lane->places, place, link);
    pthread_mutex_unlock(&stripe->lock);
}

/* `call`: the next one is called for it. */
static void leave_place(struct waiters *waiters, struct place *place, bool call) {
    struct lane *lane = place->lane;
    struct stripe *stripe = stripe_of(waiters, lane->line->hash);
    pthread_mutex_lock(&stripe->lock);
    TAILQ_REMOVE(&lane->places, place, link);
    if (call && !lane->shared) call_lane(waiters, lane, ANY_KIND);
    if (TAILQ_EMPTY(&lane->places)) lane_end(stripe, lane);
    pthread_mutex_unlock(&stripe->lock);
}

static void count_places(struct waiters *waiters, uint64_t more) {
    pthread_mutex_lock(&waiters->counting);
    uint64_t now = atomic_load_explicit(&waiters->places, memory_order_relaxed) + more;
    atomic_store_explicit(&waiters->places, now, memory_order_relaxed);
    store_listen(waiters->pulse->store, &waiters->sink, now > 0);
    pthread_mutex_unlock(&waiters->counting);
}

static uint64_t deadline_of(struct pulse *pulse, uint64_t timeout_ms) {
    uint64_t now = env_monotonic_ns(pulse->env), wait;
    if (timeout_ms == 0 || __builtin_mul_overflow(timeout_ms, (uint64_t)NS_PER_MS, &wait) ||
        __builtin_add_overflow(now, wait, &wait))
        return UINT64_MAX;
    return wait;
}

static struct blocked *blocked_new(struct call *call, const struct wait_on *on) {
    struct waiters *waiters = call->pulse->waiters;
    struct blocked *blocked =
        mem_new_zero(sizeof *blocked + on->keys_count * sizeof *blocked->places);
    blocked->post = (struct post){ .size = sizeof *blocked, .deliver = arrive };
    blocked->waiters = waiters;
    blocked->session = call->session;
    blocked->durable = on->durable;
    blocked->kinds = on->kinds ? on->kinds : ~((uint64_t)1 << EFFECT_DELETE);
    blocked->deadline_ns = deadline_of(call->pulse, on->timeout_ms);
    blocked->count = on->keys_count;
    if (on->keys_count) count_places(waiters, on->keys_count);
    for (size_t i = 0; i < on->keys_count; i++) {
        blocked->places[i].owner = blocked;
        take_place(waiters, &blocked->places[i], &on->keys[i], on);
    }
    return blocked;
}

bool call_waits(struct call *call, const struct wait_on *on) {
    struct session *session = call->session;
    if (call->in_multi || !session->carrier || !call->pulse->waiters) return false;
    struct blocked *blocked = session->blocked;
    if (!blocked) {
        session->blocked = blocked_new(call, on);
        session_flag_set(session, SESSION_BLOCKED, true);
        return true;
    }
    if (blocked->end == WAIT_OVER) return false;
    /* It was called for nothing. What comes from now on calls it anew: the shards are locked. */
    if (blocked->arrived) {
        blocked->arrived = false;
        atomic_store_explicit(&blocked->called, false, memory_order_release);
    }
    session_flag_set(session, SESSION_BLOCKED, true);
    return true;
}

bool call_is_behind(const struct call *call, const struct key *key, uint64_t lane) {
    struct waiters *waiters = call->pulse->waiters;
    if (!waiters || atomic_load_explicit(&waiters->places, memory_order_relaxed) == 0) return false;
    struct stripe *stripe = stripe_of(waiters, key->hash);
    bool behind = false;
    pthread_mutex_lock(&stripe->lock);
    struct line *line = line_find(stripe, key);
    const struct lane *found = line ? lane_find(line, lane, false) : NULL;
    const struct place *place = found ? TAILQ_FIRST(&found->places) : NULL;
    for (; place && !behind && place->owner != call->session->blocked;
         place = TAILQ_NEXT(place, link))
        behind = atomic_load_explicit(&place->owner->called, memory_order_relaxed);
    pthread_mutex_unlock(&stripe->lock);
    return behind;
}

void call_next(struct call *call, const struct key *key, uint64_t lane) {
    struct waiters *waiters = call->pulse->waiters;
    if (!waiters || atomic_load_explicit(&waiters->places, memory_order_relaxed) == 0) return;
    struct stripe *stripe = stripe_of(waiters, key->hash);
    pthread_mutex_lock(&stripe->lock);
    struct line *line = line_find(stripe, key);
    const struct lane *found = line ? lane_find(line, lane, false) : NULL;
    if (found) call_lane(waiters, found, ANY_KIND);
    pthread_mutex_unlock(&stripe->lock);
}

/* ---- the end ---- */

uint64_t block_deadline_ns(const struct session *session) {
    return session->blocked->deadline_ns;
}

uint64_t block_durable(const struct session *session) {
    return session->blocked->durable;
}

void block_ended(struct session *session, enum wait_end end) {
    session->blocked->end = (uint8_t)end;
}

bool block_is_refused(const struct session *session) {
    return session->blocked && session->blocked->end == WAIT_REFUSED;
}

void block_end(struct session *session, bool used) {
    struct blocked *blocked = session->blocked;
    if (!blocked) return;
    session->blocked = NULL;
    session_flag_set(session, SESSION_BLOCKED, false);
    /* From now on it counts as called, so that nobody calls it. */
    bool called = atomic_exchange_explicit(&blocked->called, true, memory_order_acq_rel);
    for (size_t i = 0; i < blocked->count; i++)
        leave_place(blocked->waiters, &blocked->places[i], called && !used);
    if (blocked->count) count_places(blocked->waiters, 0 - (uint64_t)blocked->count);
    if (called && !blocked->arrived)
        blocked->session = NULL; /* the post is on its way, and will find that out */
    else
        blocked_free(blocked);
}

/* ---- life ---- */

struct waiters *waiters_new(struct pulse *pulse) {
    struct waiters *waiters = mem_new_zero(sizeof *waiters);
    waiters->sink = (struct sink){ .name = "waiters", .committed = committed };
    waiters->pulse = pulse;
    pthread_mutex_init(&waiters->counting, NULL);
    for (size_t i = 0; i < STRIPES; i++) {
        struct stripe *stripe = &waiters->stripes[i];
        pthread_mutex_init(&stripe->lock, NULL);
        stripe->buckets_count = BUCKETS;
        stripe->buckets = mem_new_zero(BUCKETS * sizeof *stripe->buckets);
    }
    return waiters;
}

struct waiters *waiters_free(struct waiters *waiters) {
    if (!waiters) return NULL;
    assert(atomic_load(&waiters->places) == 0);
    for (size_t i = 0; i < STRIPES; i++) {
        struct stripe *stripe = &waiters->stripes[i];
        mem_free(stripe->buckets, stripe->buckets_count * sizeof *stripe->buckets);
        pthread_mutex_destroy(&stripe->lock);
    }
    pthread_mutex_destroy(&waiters->counting);
    mem_free(waiters, sizeof *waiters);
    return NULL;
}

struct sink *waiters_sink(struct waiters *waiters) {
    return &waiters->sink;
}
