#include "command/tracking.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/env.h"
#include "base/mem.h"
#include "command/command.h"
#include "command/handle.h"
#include "command/prefixes.h"
#include "command/pulse.h"
#include "command/tracking_table.h"

enum {
    TRACKING_HOW = SESSION_TRACKING_BCAST | SESSION_TRACKING_OPTIN | SESSION_TRACKING_OPTOUT |
                   SESSION_TRACKING_NOLOOP,
    TRACKING_ALL =
        TRACKING_HOW | SESSION_TRACKING | SESSION_TRACKING_CACHING | SESSION_TRACKING_BROKEN,
};

struct tracking {
    struct sink sink; /* first */
    struct pulse *pulse;
    struct notices *notices;
    struct tracking_table *table;
    struct prefixes *prefixes;
    pthread_mutex_t lock;        /* who tracks at all; after shards' locks */
    _Atomic uint32_t readers;    /* sessions in the default mode; changed under `lock` */
    _Atomic uint32_t broadcasts; /* sessions with BCAST; the same */
};

static void committed(struct sink *sink, uint64_t stamp, const struct change *changes,
                      size_t count);

struct tracking *tracking_new(struct pulse *pulse) {
    struct tracking *tracking = mem_new_zero(sizeof *tracking);
    struct siphash_key seed;
    env_random(pulse->env, &seed, sizeof seed);
    tracking->sink.name = "tracking";
    tracking->sink.committed = committed;
    tracking->pulse = pulse;
    tracking->notices = notices_new(pulse);
    tracking->table = tracking_table_new();
    tracking->prefixes = prefixes_new(&seed);
    pthread_mutex_init(&tracking->lock, NULL);
    return tracking;
}

struct tracking *tracking_free(struct tracking *tracking) {
    if (!tracking) return NULL;
    tracking_table_free(tracking->table);
    prefixes_free(tracking->prefixes);
    notices_free(tracking->notices);
    pthread_mutex_destroy(&tracking->lock);
    mem_free(tracking, sizeof *tracking);
    return NULL;
}

struct sink *tracking_sink(struct tracking *tracking) {
    return &tracking->sink;
}

static uint32_t load(const _Atomic uint32_t *number) {
    return atomic_load_explicit(number, memory_order_relaxed);
}

void tracking_count(struct tracking *tracking, struct tracking_counts *out) {
    *out = (struct tracking_counts){
        .clients = load(&tracking->readers) + load(&tracking->broadcasts),
        .keys = tracking_table_keys(tracking->table),
        .items = tracking_table_items(tracking->table),
        .prefixes = prefixes_count(tracking->prefixes),
    };
}

/* ---- on and off ---- */

static void count_session(struct tracking *tracking, uint32_t flags, uint32_t by) {
    _Atomic uint32_t *which =
        flags & SESSION_TRACKING_BCAST ? &tracking->broadcasts : &tracking->readers;
    pthread_mutex_lock(&tracking->lock);
    atomic_fetch_add_explicit(which, by, memory_order_relaxed);
    bool anybody = load(&tracking->readers) + load(&tracking->broadcasts) > 0;
    store_listen(tracking->pulse->store, &tracking->sink, anybody);
    pthread_mutex_unlock(&tracking->lock);
}

static int compare_texts(const void *a, const void *b) {
    const struct bytes *x = a, *y = b;
    return bytes_order(*x, *y);
}

static void add_prefixes(struct session *session, struct tracking *tracking,
                         const struct bytes *prefixes, size_t count) {
    size_t before = session->prefixes_count;
    session->prefixes = mem_resize(session->prefixes, before * sizeof *prefixes,
                                   (before + count) * sizeof *prefixes);
    for (size_t i = 0; i < count; i++) {
        char *text = mem_new(prefixes[i].len + 1);
        if (prefixes[i].len) memcpy(text, prefixes[i].data, prefixes[i].len);
        session->prefixes[before + i] = (struct bytes){ text, prefixes[i].len };
        prefixes_add(tracking->prefixes, prefixes[i], handle_of(session));
    }
    session->prefixes_count += count;
    qsort(session->prefixes, session->prefixes_count, sizeof *prefixes, compare_texts);
}

static void drop_prefixes(struct session *session, struct tracking *tracking) {
    for (size_t i = 0; i < session->prefixes_count; i++) {
        struct bytes text = session->prefixes[i];
        prefixes_remove(tracking->prefixes, text, handle_of(session));
        mem_free((char *)(uintptr_t)text.data, text.len + 1);
    }
    mem_free(session->prefixes, session->prefixes_count * sizeof *session->prefixes);
    session->prefixes = NULL;
    session->prefixes_count = 0;
}

void tracking_start(struct session *session, struct pulse *pulse,
                    const struct tracking_wish *wish) {
    struct tracking *tracking = pulse->tracking;
    uint32_t flags = load(&session->flags);
    if (!(flags & SESSION_TRACKING)) count_session(tracking, wish->flags, 1);
    flags &= ~(uint32_t)(TRACKING_HOW | SESSION_TRACKING_BROKEN);
    flags |= SESSION_TRACKING | wish->flags;
    atomic_store_explicit(&session->flags, flags, memory_order_relaxed);
    atomic_store_explicit(&session->redirect, wish->redirect, memory_order_relaxed);
    session->redirect_to = wish->redirect_to;
    if (wish->prefixes_count)
        add_prefixes(session, tracking, wish->prefixes, wish->prefixes_count);
    else if (flags & SESSION_TRACKING_BCAST && session->prefixes_count == 0)
        add_prefixes(session, tracking, &BYTES(""), 1);
}

void tracking_stop(struct session *session, struct pulse *pulse) {
    uint32_t flags = load(&session->flags);
    if (LIKELY(!(flags & SESSION_TRACKING))) return;
    drop_prefixes(session, pulse->tracking);
    count_session(pulse->tracking, flags, UINT32_MAX);
    atomic_store_explicit(&session->flags, flags & ~(uint32_t)TRACKING_ALL, memory_order_relaxed);
    atomic_store_explicit(&session->redirect, 0, memory_order_relaxed);
    session->redirect_to = NULL;
}

/* ---- what is read ---- */

/* Makes room: those that were told are not in the table any more, as if the key had changed. */
static COLD void evict(struct tracking *tracking, uint64_t hash) {
    struct tracked *victim = tracking_table_evict(tracking->table, hash);
    if (!victim) return;
    struct changed_name name = { .name = tracked_name(victim) };
    notice_key(tracking->notices, victim->handles, victim->count, &name, 0);
    tracked_free(victim);
}

static uint64_t keys_max(const struct tracking *tracking) {
    int64_t max = setting_int(tracking->pulse->settings, tracking_table_max_keys);
    return max ? (uint64_t)max : UINT64_MAX;
}

void tracking_trim(struct tracking *tracking) {
    uint64_t keys = tracking_table_keys(tracking->table), max = keys_max(tracking);
    for (; keys > max; keys--) evict(tracking, keys); /* from all stripes in turn */
}

static void remember(struct tracking *tracking, const struct key *key, uint64_t handle) {
    uint64_t keys = tracking_table_add(tracking->table, key->hash, key->name, handle);
    if (LIKELY(keys == 0)) return;
    uint64_t max = keys_max(tracking);
    for (unsigned i = 0; UNLIKELY(keys > max) && i < TRACKING_EVICTIONS_MAX; i++, keys--)
        evict(tracking, key->hash);
}

void tracking_remember(const struct call *call) {
    const struct session *session = call->session;
    struct tracking *tracking = call->pulse->tracking;
    uint32_t flags = load(&session->flags);
    bool caching = flags & SESSION_TRACKING_CACHING;
    if (flags & SESSION_TRACKING_BCAST) return;
    if (flags & SESSION_TRACKING_OPTIN && !caching) return;
    if (flags & SESSION_TRACKING_OPTOUT && caching) return;
    uint64_t handle = handle_of(session);
    if (LIKELY(call->first != NULL)) {
        remember(tracking, call->first, handle);
        return;
    }
    struct key_positions keys;
    if (!command_has_keys(call->info) ||
        !command_keys(call->pulse->commands, call->info, call->args, call->args_count, call->arena,
                      &keys))
        return;
    for (uint32_t i = 0; i < keys.count; i++) {
        struct key key = call_key(call, keys.at[i]);
        remember(tracking, &key, handle);
    }
}

void tracking_hear(const struct call *call) {
    const struct session *session = call->session;
    if (session->reply_mode != REPLY_ON || session->at || call->in_multi) return;
    notices_deliver(call->pulse->tracking->notices, session->mailbox);
}

void tracking_end_caching(const struct call *call) {
    const struct command_info *info = call->info;
    if (session_has(call->session, SESSION_MULTI)) return;
    if (info && info->parent && bytes_equal(info->parent->name, BYTES("client"))) return;
    session_flag_set(call->session, SESSION_TRACKING_CACHING, false);
}

/* ---- what changes ---- */

static void tell_readers(struct tracking *tracking, const struct change *change, uint64_t stamp) {
    struct tracked *tracked =
        tracking_table_take(tracking->table, change->key.hash, change->key.name);
    if (!tracked) return;
    struct changed_name name = { change->key.name, change->session };
    notice_key(tracking->notices, tracked->handles, tracked->count, &name, stamp);
    tracked_free(tracked);
}

struct telling {
    struct tracking *tracking;
    uint64_t stamp;
};

static void tell_prefix(void *self, const struct changed_name *names, size_t count,
                        const uint64_t *handles, size_t handles_count) {
    const struct telling *telling = self;
    notice_prefix(telling->tracking->notices, handles, handles_count, names, count, telling->stamp);
}

/* By name; of one name, what nobody's command has changed comes first. */
static int compare_names(const void *a, const void *b) {
    const struct changed_name *x = a, *y = b;
    int order = bytes_order(x->name, y->name);
    return order ? order : x->session < y->session ? -1 : x->session > y->session;
}

static bool is_of_a_key(const struct change *change) {
    if (change->cause == CAUSE_SAID) return false;
    return change->kind == EFFECT_SET || change->kind == EFFECT_DELETE ||
           change->kind == EFFECT_EXPIRE || change->kind == EFFECT_SPLICE;
}

static bool is_of_a_database(const struct change *change) {
    if (change->cause == CAUSE_SAID) return false;
    return change->kind == EFFECT_FLUSH || change->kind == EFFECT_UNFLUSH ||
           change->kind == EFFECT_SWAP;
}

/* In order, each name once. */
static void tell_broadcasts(struct tracking *tracking, const struct change *changes, size_t count,
                            uint64_t stamp) {
    struct telling telling = { tracking, stamp };
    struct changed_name *names = mem_new(count * sizeof *names);
    size_t found = 0, kept = 0;
    for (size_t i = 0; i < count; i++)
        if (is_of_a_key(&changes[i]))
            names[found++] = (struct changed_name){ changes[i].key.name, changes[i].session };
    if (found > 1) qsort(names, found, sizeof *names, compare_names);
    for (size_t i = 0; i < found; i++)
        if (i == 0 || !bytes_equal(names[i].name, names[kept - 1].name)) names[kept++] = names[i];
    if (kept) prefixes_match(tracking->prefixes, names, kept, tell_prefix, &telling);
    mem_free(names, count * sizeof *names);
}

static void committed(struct sink *sink, uint64_t stamp, const struct change *changes,
                      size_t count) {
    struct tracking *tracking = (struct tracking *)(void *)sink;
    if (!atomic_load_explicit(&sink->listens, memory_order_relaxed)) return;
    bool readers = load(&tracking->readers), whole = false;
    for (size_t i = 0; i < count; i++) {
        if (is_of_a_key(&changes[i]) && readers) tell_readers(tracking, &changes[i], stamp);
        whole = whole || is_of_a_database(&changes[i]);
    }
    if (load(&tracking->broadcasts)) tell_broadcasts(tracking, changes, count, stamp);
    if (!whole) return;
    tracking_table_clear(tracking->table);
    notice_all(tracking->notices, stamp);
}
