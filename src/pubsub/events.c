/* events.c: keyspace notifications: what changes of data are published as.
 *
 *     SET k v     __keyspace@0__:k    set       with K        a word for each change, in a class that
 *                 __keyevent@0__:set  k         with E        notify-keyspace-events must name as well
 *
 * The word is the command's `event` (or one more, txn_also). Two are the store's to say: "new", where the key was not
 * there before, and "expired". The store tells only while somebody can hear of it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/mem.h"
#include "pubsub/channels.h"
#include "pubsub/pubsub.h"

/* Each class is a bit: its place here, those of 'A' first. */
static const char classes[] = "g$lshzxetdmnKE";
enum { CLASSES_OF_ALL = 10, KEYSPACE = 1 << 12, KEYEVENT = 1 << 13, HOW = KEYSPACE | KEYEVENT };

static uint32_t class_bit(char letter) {
    const char *at = memchr(classes, letter, sizeof classes - 1);
    return at ? (uint32_t)1 << (at - classes) : 0;
}

static uint32_t read_classes(struct bytes text) {
    uint32_t events = 0;
    for (size_t i = 0; i < text.len; i++)
        events |=
            text.data[i] == 'A' ? ((uint32_t)1 << CLASSES_OF_ALL) - 1 : class_bit(text.data[i]);
    return events;
}

struct event {
    const char *name;
    char class;
};

/* Redis' words that are not generic, sorted. */
static const struct event known[] = {
    { "append", '$' },
    { "evicted", 'e' },
    { "expired", 'x' },
    { "georadiusstore", 'z' },
    { "geosearchstore", 'z' },
    { "hdel", 'h' },
    { "hexpire", 'h' },
    { "hexpired", 'h' },
    { "hincrby", 'h' },
    { "hincrbyfloat", 'h' },
    { "hpersist", 'h' },
    { "hset", 'h' },
    { "incrby", '$' },
    { "incrbyfloat", '$' },
    { "keymiss", 'm' },
    { "linsert", 'l' },
    { "lpop", 'l' },
    { "lpush", 'l' },
    { "lrem", 'l' },
    { "lset", 'l' },
    { "ltrim", 'l' },
    { "new", 'n' },
    { "pfadd", '$' },
    { "rpop", 'l' },
    { "rpush", 'l' },
    { "sadd", 's' },
    { "sdiffstore", 's' },
    { "set", '$' },
    { "setbit", '$' },
    { "setrange", '$' },
    { "sinterstore", 's' },
    { "sortstore", 'l' },
    { "spop", 's' },
    { "srem", 's' },
    { "sunionstore", 's' },
    { "xadd", 't' },
    { "xautoclaim", 't' },
    { "xclaim", 't' },
    { "xdel", 't' },
    { "xgroup-create", 't' },
    { "xgroup-createconsumer", 't' },
    { "xgroup-delconsumer", 't' },
    { "xgroup-destroy", 't' },
    { "xgroup-setid", 't' },
    { "xsetid", 't' },
    { "xtrim", 't' },
    { "zadd", 'z' },
    { "zdiffstore", 'z' },
    { "zincr", 'z' },
    { "zinterstore", 'z' },
    { "zpopmax", 'z' },
    { "zpopmin", 'z' },
    { "zrangestore", 'z' },
    { "zrem", 'z' },
    { "zremrangebylex", 'z' },
    { "zremrangebyrank", 'z' },
    { "zremrangebyscore", 'z' },
    { "zunionstore", 'z' },
};

static int by_name(const void *name, const void *event) {
    return strcmp(name, ((const struct event *)event)->name);
}

uint32_t events_class(const char *event) {
    const struct event *found = bsearch(event, known, COUNT_OF(known), sizeof known[0], by_name);
    return class_bit(found ? found->class : 'g');
}

/* ---- publishing ---- */

enum { CHANNEL_PREFIX_MAX = 32, CHANNEL_INLINE_MAX = 256 };

/* To the channel "__key...@db__:" and then `rest`. */
static void send_as(struct pubsub *pubsub, const char *prefix, uint32_t db, struct bytes rest,
                    struct bytes payload, uint64_t gate) {
    char few[CHANNEL_INLINE_MAX];
    size_t cap = CHANNEL_PREFIX_MAX + rest.len;
    char *text = cap <= sizeof few ? few : mem_new(cap);
    size_t len = (size_t)snprintf(text, CHANNEL_PREFIX_MAX, "%s@%u__:", prefix, db);
    if (rest.len) memcpy(text + len, rest.data, rest.len);
    channels_send(pubsub, CHANNEL_PLAIN, (struct bytes){ text, len + rest.len }, payload, gate);
    if (text != few) mem_free(text, cap);
}

static void send_event(struct pubsub *pubsub, uint32_t events, const struct key *key,
                       const char *event, uint64_t gate) {
    if (!(events & events_class(event))) return;
    struct bytes word = bytes_of(event);
    if (events & KEYSPACE) send_as(pubsub, "__keyspace", key->db, key->name, word, gate);
    if (events & KEYEVENT) send_as(pubsub, "__keyevent", key->db, word, key->name, gate);
}

/* Whole databases change without a word, as in Redis. */
static bool is_of_key(const struct change *change) {
    return change->kind != EFFECT_FLUSH && change->kind != EFFECT_UNFLUSH &&
           change->kind != EFFECT_SWAP;
}

void events_publish(struct pubsub *pubsub, uint64_t stamp, const struct change *change) {
    uint32_t events = atomic_load_explicit(&pubsub->events, memory_order_relaxed);
    if (!(events & HOW) || !is_of_key(change)) return;
    if (!atomic_load_explicit(&pubsub->listened_to, memory_order_relaxed)) return;
    uint32_t gates = atomic_load_explicit(&pubsub->pulse->gates, memory_order_relaxed);
    if (gates & PULSE_LOADING) return; /* an import brings what is old */
    if (change->fresh) send_event(pubsub, events, &change->key, "new", stamp);
    if (change->event) send_event(pubsub, events, &change->key, change->event, stamp);
}

/* ---- the setting ---- */

static bool configure(void *self, enum setting_id id, struct problem *why) {
    (void)why;
    struct pubsub *pubsub = self;
    struct pulse *pulse = pubsub->pulse;
    struct arena arena;
    arena_init(&arena);
    uint32_t events = read_classes(settings_text(pulse->settings, id, &arena));
    arena_deinit(&arena);
    uint32_t missed = class_bit('m');
    bool heard = events & HOW;
    atomic_store_explicit(&pubsub->events, events, memory_order_relaxed);
    atomic_store_explicit(&pulse->misses_heard, heard && events & missed, memory_order_relaxed);
    store_listen(pulse->store, &pubsub->sink, heard && events & ~(HOW | missed));
    return true;
}

void pubsub_start(struct pubsub *pubsub) {
    enum setting_id id = SETTING_ID_notify_keyspace_events;
    settings_on_change(pubsub->pulse->settings, id, configure, pubsub);
    configure(pubsub, id, NULL);
}
