/* names_test.c: the table finds what is in it and nothing else, however full it is. */
#include "pubsub/names.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/siphash.h"
#include "testing/testing.h"

enum { MANY = 1000 };

struct thing {
    struct named named;
    char text[16];
};

static void thing_init(struct thing *thing, int number, uint64_t mask) {
    int len = snprintf(thing->text, sizeof thing->text, "name %d", number);
    thing->named.text = (struct bytes){ thing->text, (size_t)len };
    thing->named.hash = siphash(&(struct siphash_key){ 1, 2 }, thing->named.text) & mask;
}

/* `mask`: of the hashes; 0 lets all names collide. */
static void fill_and_empty(int count, uint64_t mask) {
    struct names names = {};
    struct thing *things = calloc((size_t)count, sizeof *things);
    for (int i = 0; i < count; i++) {
        thing_init(&things[i], i, mask);
        assert_null(names_find(&names, things[i].named.hash, things[i].named.text));
        names_add(&names, &things[i].named);
        assert_int_equal(names.count, i + 1);
    }
    for (int removed = 0; removed < count; removed++) {
        for (int i = 0; i < count; i++)
            assert_ptr_equal(names_find(&names, things[i].named.hash, things[i].named.text),
                             i < removed ? NULL : &things[i].named);
        names_remove(&names, &things[removed].named);
    }
    assert_int_equal(names.count, 0);
    assert_null(names.buckets);
    free(things);
}

TEST(what_is_added_is_found_until_it_is_removed) {
    fill_and_empty(MANY, UINT64_MAX);
}

TEST(names_of_one_hash_are_told_apart) {
    fill_and_empty(50, 0);
}
