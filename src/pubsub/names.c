/* names.c: chains in a power of two of buckets: twice as many when there are as many names, none when empty. */
#include "pubsub/names.h"

#include "base/assert.h"
#include "base/mem.h"

enum { BUCKETS_FIRST = 4 };

static struct named **bucket_of(const struct names *names, uint64_t hash) {
    return &names->buckets[hash & (names->buckets_count - 1)];
}

struct named *names_find(const struct names *names, uint64_t hash, struct bytes text) {
    if (names->count == 0) return NULL;
    struct named *name = *bucket_of(names, hash);
    while (name && (name->hash != hash || !bytes_equal(name->text, text))) name = name->next;
    return name;
}

static void buckets_free(struct named **buckets, size_t count) {
    mem_free(buckets, count * sizeof(struct named *));
}

static void grow(struct names *names) {
    struct names larger = { .buckets_count =
                                names->buckets_count ? names->buckets_count * 2 : BUCKETS_FIRST };
    larger.buckets = mem_new_zero(larger.buckets_count * sizeof(struct named *));
    for (size_t i = 0; i < names->buckets_count; i++) {
        struct named *name = names->buckets[i], *next;
        for (; name; name = next) {
            next = name->next;
            struct named **bucket = bucket_of(&larger, name->hash);
            name->next = *bucket;
            *bucket = name;
        }
    }
    buckets_free(names->buckets, names->buckets_count);
    names->buckets = larger.buckets;
    names->buckets_count = larger.buckets_count;
}

void names_add(struct names *names, struct named *name) {
    if (names->count == names->buckets_count) grow(names);
    struct named **bucket = bucket_of(names, name->hash);
    name->next = *bucket;
    *bucket = name;
    names->count++;
}

void names_remove(struct names *names, struct named *name) {
    assert(names->count > 0);
    struct named **at = bucket_of(names, name->hash);
    while (*at != name) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = name->next;
    name->next = NULL;
    if (--names->count > 0) return;
    buckets_free(names->buckets, names->buckets_count);
    *names = (struct names){};
}
