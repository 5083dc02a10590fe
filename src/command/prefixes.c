#include "command/prefixes.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

enum { SLOTS_LEAST = 16 };

struct prefix {
    struct prefix *next;
    uint64_t hash;
    uint64_t *handles;
    size_t count, cap;
    size_t len;
    char text[];
};

struct length { /* that some prefixes have */
    size_t len, prefixes;
};

struct prefixes {
    pthread_rwlock_t lock;
    struct siphash_key seed;
    struct prefix **slots;
    size_t slots_count, count;
    struct length *lengths; /* ascending */
    size_t lengths_count, lengths_cap;
};

static struct bytes text_of(const struct prefix *prefix) {
    return (struct bytes){ prefix->text, prefix->len };
}

struct prefixes *prefixes_new(const struct siphash_key *seed) {
    struct prefixes *prefixes = mem_new_zero(sizeof *prefixes);
    pthread_rwlock_init(&prefixes->lock, NULL);
    prefixes->seed = *seed;
    prefixes->slots_count = SLOTS_LEAST;
    prefixes->slots = mem_new_zero(SLOTS_LEAST * sizeof(struct prefix *));
    return prefixes;
}

static void prefix_free(struct prefix *prefix) {
    mem_free(prefix->handles, prefix->cap * sizeof *prefix->handles);
    mem_free(prefix, sizeof *prefix + prefix->len);
}

struct prefixes *prefixes_free(struct prefixes *prefixes) {
    if (!prefixes) return NULL;
    for (size_t i = 0; i < prefixes->slots_count; i++) {
        struct prefix *prefix;
        while ((prefix = prefixes->slots[i])) {
            prefixes->slots[i] = prefix->next;
            prefix_free(prefix);
        }
    }
    mem_free(prefixes->slots, prefixes->slots_count * sizeof(struct prefix *));
    mem_free(prefixes->lengths, prefixes->lengths_cap * sizeof *prefixes->lengths);
    pthread_rwlock_destroy(&prefixes->lock);
    mem_free(prefixes, sizeof *prefixes);
    return NULL;
}

static struct prefix **find(const struct prefixes *prefixes, struct bytes text) {
    uint64_t hash = siphash(&prefixes->seed, text);
    struct prefix **link = &prefixes->slots[hash & (prefixes->slots_count - 1)];
    while (*link && ((*link)->hash != hash || !bytes_equal(text_of(*link), text)))
        link = &(*link)->next;
    return link;
}

static void grow_slots(struct prefixes *prefixes) {
    size_t count = prefixes->slots_count * 2;
    struct prefix **slots = mem_new_zero(count * sizeof(struct prefix *));
    for (size_t i = 0; i < prefixes->slots_count; i++) {
        struct prefix *prefix;
        while ((prefix = prefixes->slots[i])) {
            prefixes->slots[i] = prefix->next;
            prefix->next = slots[prefix->hash & (count - 1)];
            slots[prefix->hash & (count - 1)] = prefix;
        }
    }
    mem_free(prefixes->slots, prefixes->slots_count * sizeof(struct prefix *));
    prefixes->slots = slots;
    prefixes->slots_count = count;
}

/* One prefix more of that length, or one less. */
static void count_length(struct prefixes *prefixes, size_t len, bool more) {
    size_t at = 0;
    while (at < prefixes->lengths_count && prefixes->lengths[at].len < len) at++;
    struct length *length = prefixes->lengths + at;
    bool known = at < prefixes->lengths_count && length->len == len;
    size_t after = prefixes->lengths_count - at;
    if (known && more) {
        length->prefixes++;
    } else if (known) {
        if (--length->prefixes) return;
        memmove(length, length + 1, (after - 1) * sizeof *length);
        prefixes->lengths_count--;
    } else {
        assert(more);
        if (prefixes->lengths_count == prefixes->lengths_cap) {
            size_t cap = prefixes->lengths_cap ? prefixes->lengths_cap * 2 : 8;
            prefixes->lengths = mem_resize(
                prefixes->lengths, prefixes->lengths_cap * sizeof *length, cap * sizeof *length);
            prefixes->lengths_cap = cap;
            length = prefixes->lengths + at;
        }
        memmove(length + 1, length, after * sizeof *length);
        *length = (struct length){ len, 1 };
        prefixes->lengths_count++;
    }
}

static struct prefix *prefix_new(struct prefixes *prefixes, struct bytes text) {
    if (++prefixes->count > prefixes->slots_count) grow_slots(prefixes);
    struct prefix *prefix = mem_new(sizeof *prefix + text.len);
    *prefix = (struct prefix){ .hash = siphash(&prefixes->seed, text), .len = text.len };
    if (text.len) memcpy(prefix->text, text.data, text.len);
    struct prefix **slot = &prefixes->slots[prefix->hash & (prefixes->slots_count - 1)];
    prefix->next = *slot;
    *slot = prefix;
    count_length(prefixes, text.len, true);
    return prefix;
}

/* Where the handle is among those of the prefix, or `count`. */
static size_t place_of(const struct prefix *prefix, uint64_t handle) {
    size_t at = 0;
    while (at < prefix->count && prefix->handles[at] != handle) at++;
    return at;
}

void prefixes_add(struct prefixes *prefixes, struct bytes text, uint64_t handle) {
    pthread_rwlock_wrlock(&prefixes->lock);
    struct prefix *prefix = *find(prefixes, text);
    if (!prefix) prefix = prefix_new(prefixes, text);
    if (place_of(prefix, handle) == prefix->count) {
        if (prefix->count == prefix->cap) {
            size_t cap = prefix->cap ? prefix->cap * 2 : 1;
            prefix->handles = mem_resize(prefix->handles, prefix->cap * sizeof *prefix->handles,
                                         cap * sizeof *prefix->handles);
            prefix->cap = cap;
        }
        prefix->handles[prefix->count++] = handle;
    }
    pthread_rwlock_unlock(&prefixes->lock);
}

void prefixes_remove(struct prefixes *prefixes, struct bytes text, uint64_t handle) {
    pthread_rwlock_wrlock(&prefixes->lock);
    struct prefix **link = find(prefixes, text), *prefix = *link;
    size_t at = prefix ? place_of(prefix, handle) : 0;
    if (prefix && at < prefix->count) {
        prefix->handles[at] = prefix->handles[--prefix->count];
        if (prefix->count == 0) {
            *link = prefix->next;
            prefixes->count--;
            count_length(prefixes, prefix->len, false);
            prefix_free(prefix);
        }
    }
    pthread_rwlock_unlock(&prefixes->lock);
}

size_t prefixes_count(struct prefixes *prefixes) {
    pthread_rwlock_rdlock(&prefixes->lock);
    size_t count = prefixes->count;
    pthread_rwlock_unlock(&prefixes->lock);
    return count;
}

/* ---- matching ---- */

struct match {
    const struct prefix *prefix;
    size_t name;
};

struct matches {
    struct match *list;
    size_t count, cap;
};

static void note(struct matches *matches, const struct prefix *prefix, size_t name) {
    if (matches->count == matches->cap) {
        size_t cap = matches->cap ? matches->cap * 2 : 8;
        matches->list = mem_resize(matches->list, matches->cap * sizeof *matches->list,
                                   cap * sizeof *matches->list);
        matches->cap = cap;
    }
    matches->list[matches->count++] = (struct match){ prefix, name };
}

static int compare_matches(const void *a, const void *b) {
    const struct match *x = a, *y = b;
    int order = x->prefix == y->prefix ? 0 : bytes_order(text_of(x->prefix), text_of(y->prefix));
    return order ? order : x->name < y->name ? -1 : x->name > y->name;
}

static void match_name(const struct prefixes *prefixes, struct bytes name, size_t number,
                       struct matches *matches) {
    for (size_t i = 0; i < prefixes->lengths_count; i++) {
        size_t len = prefixes->lengths[i].len;
        if (len > name.len) return;
        const struct prefix *prefix = *find(prefixes, (struct bytes){ name.data, len });
        if (prefix) note(matches, prefix, number);
    }
}

void prefixes_match(struct prefixes *prefixes, const struct changed_name *names, size_t count,
                    void (*matched)(void *self, const struct changed_name *names, size_t count,
                                    const uint64_t *handles, size_t handles_count),
                    void *self) {
    struct matches matches = {};
    pthread_rwlock_rdlock(&prefixes->lock);
    for (size_t i = 0; i < count; i++) match_name(prefixes, names[i].name, i, &matches);
    if (matches.count > 1)
        qsort(matches.list, matches.count, sizeof *matches.list, compare_matches);
    struct changed_name *those = matches.count ? mem_new(count * sizeof *those) : NULL;
    for (size_t i = 0; i < matches.count;) {
        const struct prefix *prefix = matches.list[i].prefix;
        size_t found = 0;
        for (; i < matches.count && matches.list[i].prefix == prefix; i++)
            those[found++] = names[matches.list[i].name];
        matched(self, those, found, prefix->handles, prefix->count);
    }
    pthread_rwlock_unlock(&prefixes->lock);
    mem_free(those, count * sizeof *those);
    mem_free(matches.list, matches.cap * sizeof *matches.list);
}
