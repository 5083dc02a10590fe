/* Which sessions want to hear of a key, by its beginning: against a list that is searched from end to end. */
#include "command/prefixes.h"

#include <stdlib.h>

#include "testing/testing.h"

enum { SESSIONS = 6, TEXTS = 40, STEPS = 20000 };

struct world {
    bool wants[TEXTS][SESSIONS];
    char texts[TEXTS][8];
    size_t told; /* pairs of a name and a prefix */
};

static unsigned text_of(const struct world *world, struct bytes text) {
    unsigned i = 0;
    while (!bytes_equal(bytes_of(world->texts[i]), text)) i++;
    return i;
}

static bool starts_with(struct bytes name, struct bytes text) {
    return name.len >= text.len && bytes_equal((struct bytes){ name.data, text.len }, text);
}

/* What it was called with must be one of the prefixes: the one whose sessions and names these are. */
static void check(void *self, const struct changed_name *names, size_t count,
                  const uint64_t *handles, size_t handles_count) {
    struct world *world = self;
    bool any = false;
    for (unsigned t = 0; t < TEXTS && !any; t++) {
        size_t wanted = 0;
        for (unsigned s = 0; s < SESSIONS; s++) wanted += world->wants[t][s];
        bool fits = wanted == handles_count;
        for (size_t i = 0; i < handles_count; i++) fits = fits && world->wants[t][handles[i]];
        for (size_t i = 0; i < count; i++)
            fits = fits && starts_with(names[i].name, bytes_of(world->texts[t]));
        any = fits;
    }
    assert_true(any);
    world->told += count * handles_count;
}

TEST(a_key_is_told_to_those_who_want_any_beginning_of_it) {
    struct world *world = calloc(1, sizeof *world);
    struct siphash_key seed = { 1, 2 };
    struct prefixes *prefixes = prefixes_new(&seed);
    unsigned chance = 11;
    for (unsigned t = 0; t < TEXTS; t++) {
        size_t len = t ? 1 + t % 5 : 0;
        for (size_t i = 0; i < len; i++) world->texts[t][i] = (char)('a' + (t >> i & 1));
        world->texts[t][len] = '\0';
    }
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned session = (unsigned)rand_r(&chance) % SESSIONS;
        struct bytes text = bytes_of(world->texts[(unsigned)rand_r(&chance) % TEXTS]);
        bool *wants = &world->wants[text_of(world, text)][session];
        if (rand_r(&chance) % 2) {
            prefixes_add(prefixes, text, session);
            *wants = true;
        } else {
            prefixes_remove(prefixes, text, session);
            *wants = false;
        }
        struct changed_name names[] = { { BYTES("aabab"), 0 },
                                        { BYTES("b"), 0 },
                                        { BYTES(""), 0 } };
        size_t expected = 0, different = 0;
        for (unsigned t = 0; t < TEXTS; t++) {
            size_t wanted = 0, fitting = 0;
            for (unsigned s = 0; s < SESSIONS; s++) wanted += world->wants[t][s];
            for (size_t i = 0; i < 3; i++)
                fitting += starts_with(names[i].name, bytes_of(world->texts[t]));
            expected += wanted * fitting;
            different += wanted > 0;
        }
        world->told = 0;
        prefixes_match(prefixes, names, 3, check, world);
        assert_int_equal(world->told, expected);
        assert_int_equal(prefixes_count(prefixes), different);
    }
    assert_null(prefixes_free(prefixes));
    free(world);
}
