/* actors.c: who writes, in 16 bits.
 *
 * An actor is a command's name with a client's name or address. A ring of 65,000 of them: a new pair
 * takes the place of the oldest, and remembers since when it has it, so that a version older than
 * that has no writer rather than a wrong one. */
#include "base/arena.h"
#include "base/env.h"
#include "store/shard.h"

enum { ACTORS_MAX = 65536, BUCKETS = 65536 };

struct actor {
    struct bytes op, client; /* one allocation, at op.data */
    uint64_t since;          /* ns */
    uint32_t next;           /* in its bucket; 0: none */
};

struct actors {
    pthread_mutex_t lock;
    uint32_t next; /* the slot to be taken next */
    _Atomic uint64_t interned;
    struct siphash_key seed;
    uint32_t buckets[BUCKETS];
    struct actor ring[ACTORS_MAX];
};

struct actors *actors_new(void) {
    struct actors *actors = mem_new_zero(sizeof *actors);
    pthread_mutex_init(&actors->lock, NULL);
    actors->next = ACTOR_FIRST;
    return actors;
}

struct actors *actors_free(struct actors *actors) {
    if (!actors) return NULL;
    for (uint32_t i = ACTOR_FIRST; i < ACTORS_MAX && actors->ring[i].op.data; i++)
        mem_free((char *)(uintptr_t)actors->ring[i].op.data,
                 actors->ring[i].op.len + actors->ring[i].client.len + 1);
    pthread_mutex_destroy(&actors->lock);
    mem_free(actors, sizeof *actors);
    return NULL;
}

static uint32_t bucket_of(const struct store *store, struct bytes op, struct bytes client) {
    return (uint32_t)((siphash(&store->seed, op) * 3 + siphash(&store->seed, client)) % BUCKETS);
}

static void unlink_actor(struct store *store, uint32_t slot) {
    struct actor *actor = &store->actors->ring[slot];
    uint32_t *at = &store->actors->buckets[bucket_of(store, actor->op, actor->client)];
    while (*at != slot) at = &store->actors->ring[*at].next;
    *at = actor->next;
    mem_free((char *)(uintptr_t)actor->op.data, actor->op.len + actor->client.len + 1);
}

/* Gives the next slot to a new pair; the lock is held. */
static uint32_t place(struct store *store, struct bytes op, struct bytes client, uint64_t since) {
    struct actors *actors = store->actors;
    uint32_t slot = actors->next, bucket = bucket_of(store, op, client);
    actors->next = slot + 1 < ACTORS_MAX ? slot + 1 : ACTOR_FIRST;
    if (actors->ring[slot].op.data) unlink_actor(store, slot);
    struct actor *actor = &actors->ring[slot];
    char *text = mem_new(op.len + client.len + 1);
    if (op.len) memcpy(text, op.data, op.len);
    if (client.len) memcpy(text + op.len, client.data, client.len);
    text[op.len + client.len] = '\0';
    *actor = (struct actor){ .op = { text, op.len },
                             .client = { text + op.len, client.len },
                             .since = since,
                             .next = actors->buckets[bucket] };
    actors->buckets[bucket] = slot;
    atomic_fetch_add_explicit(&actors->interned, 1, memory_order_relaxed);
    return slot;
}

uint16_t store_actor_intern(struct store *store, struct bytes op, struct bytes client) {
    struct actors *actors = store->actors;
    if (op.len > ACTOR_TEXT_MAX) op.len = ACTOR_TEXT_MAX;
    if (client.len > ACTOR_TEXT_MAX) client.len = ACTOR_TEXT_MAX;
    pthread_mutex_lock(&actors->lock);
    uint32_t bucket = bucket_of(store, op, client);
    uint32_t slot = actors->buckets[bucket];
    while (slot && !(bytes_equal(actors->ring[slot].op, op) &&
                     bytes_equal(actors->ring[slot].client, client)))
        slot = actors->ring[slot].next;
    if (!slot) slot = place(store, op, client, store_clock(store));
    pthread_mutex_unlock(&actors->lock);
    return (uint16_t)slot;
}

enum { ACTORS_KEPT = ACTORS_MAX - ACTOR_FIRST };

static uint32_t slot_of(uint64_t n) {
    return ACTOR_FIRST + (uint32_t)(n % ACTORS_KEPT);
}

uint64_t actors_visit_some(struct store *store, uint64_t from, uint64_t count,
                           void (*visit)(void *self, const struct actor_row *row), void *self) {
    struct actors *actors = store->actors;
    pthread_mutex_lock(&actors->lock);
    uint64_t met = atomic_load_explicit(&actors->interned, memory_order_relaxed);
    if (met > ACTORS_KEPT && from < met - ACTORS_KEPT) from = met - ACTORS_KEPT;
    uint64_t end = met > from && met - from > count ? from + count : met;
    for (uint64_t n = from; n < end; n++) {
        const struct actor *actor = &actors->ring[slot_of(n)];
        if (!actor->op.data) continue; /* from before this ring's time */
        visit(self, &(struct actor_row){ n, actor->since, actor->op, actor->client });
    }
    pthread_mutex_unlock(&actors->lock);
    return end;
}

uint64_t actors_visit(struct store *store, uint64_t from,
                      void (*visit)(void *self, const struct actor_row *row), void *self) {
    return actors_visit_some(store, from, UINT64_MAX, visit, self);
}

void actors_put(struct store *store, const struct actor_row *row) {
    struct actors *actors = store->actors;
    pthread_mutex_lock(&actors->lock);
    uint64_t met = atomic_load_explicit(&actors->interned, memory_order_relaxed);
    if (row->n >= met) { /* else it is known already: a snapshot and the log both tell */
        actors->next = slot_of(row->n);
        atomic_store_explicit(&actors->interned, row->n, memory_order_relaxed);
        (void)place(store, row->op, row->client, row->since);
    }
    pthread_mutex_unlock(&actors->lock);
}

uint64_t store_actors_interned(struct store *store) {
    return atomic_load_explicit(&store->actors->interned, memory_order_relaxed);
}

bool store_actor(struct store *store, uint16_t actor, uint64_t stamp, struct arena *arena,
                 struct bytes *op, struct bytes *client) {
    static const struct bytes own[ACTOR_FIRST] = { [ACTOR_EXPIRED] = BYTES("expired"),
                                                   [ACTOR_EVICTED] = BYTES("evicted"),
                                                   [ACTOR_FLUSHED] = BYTES("flushed"),
                                                   [ACTOR_UNFLUSHED] = BYTES("unflush") };
    if (actor == ACTOR_UNKNOWN) return false;
    if (actor < ACTOR_FIRST) {
        *op = own[actor];
        *client = (struct bytes){ 0 };
        return true;
    }
    pthread_mutex_lock(&store->actors->lock);
    const struct actor *found = &store->actors->ring[actor];
    /* A batch's stamp is its clock, read a little before the pair was met for the first time. */
    bool known = found->op.data && stamp + 1000000000 >= found->since;
    if (known) {
        *op = arena_copy(arena, found->op);
        *client = arena_copy(arena, found->client);
    }
    pthread_mutex_unlock(&store->actors->lock);
    return known;
}
