/* model_test.c: the store against a brute-force model that copies every key's state at every commit.
 *
 * Random transactions (of one key and of many, rolled back and not) over strings of every encoding,
 * with expiries, flushes and their undoing, history being dropped meanwhile; then random questions
 * about the past. Every answer must be the model's or be refused, and refused only before the horizon.
 * This is sample/store-models' hist_model on the real code. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/env.h"
#include "store/past.h"
#include "store/shard.h"
#include "testing/testing.h"

enum { DBS = 2, KEYS = 8, STATES_MAX = 6000, TEXT_MAX = 3000 };

struct model_state {
    uint64_t stamp;
    bool exists;
    char *text; /* owned; len bytes */
    size_t len;
    int64_t expire;
};

struct timeline {
    struct model_state *states;
    size_t count;
};

struct world {
    struct env *env;
    struct store *store;
    struct worker *worker;
    struct arena arena;
    struct timeline lines[DBS][KEYS];
    uint64_t random;
    uint64_t questions, refused, versions;
};

static uint64_t next_random(struct world *w) {
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}
static uint32_t below(struct world *w, uint32_t n) {
    return (uint32_t)((next_random(w) >> 20) % n);
}

static struct key key_of(struct world *w, uint32_t db, uint32_t k) {
    static const char names[KEYS][12] = { "a", "b", "key:3", "key:4", "{t}1", "{t}2", "x", "" };
    return store_key(w->store, db, bytes_of(names[k]));
}

static struct world *world_new(uint64_t seed, unsigned shards) {
    struct world *w = calloc(1, sizeof *w);
    w->random = seed * 0x9E3779B97F4A7C15u + 1;
    w->env = env_sim_new(seed);
    w->store = store_new(&(struct store_options){
        .env = w->env, .shards = shards, .databases = DBS, .workers_max = 1 });
    w->worker = worker_new(w->store);
    arena_init(&w->arena);
    return w;
}

static void world_free(struct world *w) {
    worker_free(w->worker);
    store_free(w->store);
    arena_deinit(&w->arena);
    env_sim_free(w->env);
    for (int d = 0; d < DBS; d++)
        for (int k = 0; k < KEYS; k++) {
            for (size_t i = 0; i < w->lines[d][k].count; i++) free(w->lines[d][k].states[i].text);
            free(w->lines[d][k].states);
        }
    free(w);
}

static void remember(struct world *w, uint32_t db, uint32_t k, uint64_t stamp,
                     const struct value *value) {
    struct timeline *line = &w->lines[db][k];
    if (!line->states) line->states = calloc(STATES_MAX, sizeof *line->states);
    assert_true(line->count < STATES_MAX);
    if (line->count && line->states[line->count - 1].stamp == stamp)
        free(line->states[--line->count].text);
    struct model_state *state = &line->states[line->count++];
    *state = (struct model_state){ .stamp = stamp };
    if (!value) return;
    char scratch[INT_TEXT_MAX];
    struct bytes text = value_text(value, scratch);
    state->exists = true;
    state->expire = value->expire_at_ms;
    state->len = text.len;
    state->text = malloc(text.len + 1);
    memcpy(state->text, text.data ? text.data : "", text.len);
}

/* The model's state at `at`, NULL for none. */
static const struct model_state *model_at(const struct world *w, uint32_t db, uint32_t k,
                                          uint64_t at) {
    const struct timeline *line = &w->lines[db][k];
    for (size_t i = line->count; i > 0; i--) {
        const struct model_state *state = &line->states[i - 1];
        if (state->stamp > at) continue;
        bool over = state->expire && state->expire <= (int64_t)(at / 1000000);
        return state->exists && !over ? state : NULL;
    }
    return NULL;
}

static bool same(const struct model_state *state, const struct value *value) {
    char scratch[INT_TEXT_MAX];
    struct bytes text = value_text(value, scratch);
    return bytes_equal(text, (struct bytes){ state->text, state->len }) &&
           state->expire == value->expire_at_ms;
}

static int64_t random_expire(struct world *w, const struct txn *txn) {
    return below(w, 3) ? 0 : txn->now_ms + 1 + below(w, 400);
}

/* One random change of one key. */
static void change(struct world *w, struct txn *txn, const struct key *key) {
    static char text[TEXT_MAX];
    struct value value;
    bool found = txn_read(txn, key, &value);
    uint32_t len = below(w, 8) == 0 ? 1000 + below(w, 1500) : below(w, 40);
    memset(text, 'a' + (int)below(w, 26), len);
    struct bytes bytes = { text, len };
    switch (below(w, 9)) {
    case 0:
    case 1: assert_int_equal(txn_set_string(txn, key, bytes, random_expire(w, txn)), OK); break;
    case 2:
    case 3:
        txn_set_int(txn, key, (int64_t)next_random(w),
                    found && below(w, 2) ? value.expire_at_ms : random_expire(w, txn));
        break;
    case 4:
        if (found) txn_delete(txn, key);
        break;
    case 5:
        if (found) txn_set_expire(txn, key, random_expire(w, txn));
        break;
    default: { /* edits, mostly appends, so that buffers grow in place */
        size_t old = found ? value_text_len(&value) : 0;
        if (old > TEXT_MAX / 2) break;
        uint64_t offset = below(w, 3) ? old : below(w, (uint32_t)old + 100);
        assert_int_equal(txn_splice(txn, key, offset, bytes), OK);
    }
    }
}

static void remember_all(struct world *w, struct txn *txn) {
    for (uint32_t d = 0; d < DBS; d++)
        for (uint32_t k = 0; k < KEYS; k++) {
            struct key key = key_of(w, d, k);
            if (!txn_holds(txn, key.shard)) continue;
            struct value value;
            bool found = txn_read(txn, &key, &value);
            const struct model_state *then = model_at(w, d, k, txn->stamp);
            if (!found && !then) continue;
            if (found && then && same(then, &value)) continue;
            remember(w, d, k, txn->stamp, found ? &value : NULL);
        }
}

static void all_shards(struct world *w, struct shardset *set) {
    memset(set, 0, sizeof *set);
    for (unsigned i = 0; i < store_shards(w->store); i++) shardset_add(set, i);
}

/* Every key reads as the model says it is now. */
static void check_present(struct world *w) {
    struct shardset set;
    all_shards(w, &set);
    struct txn txn;
    txn_begin(&txn, w->worker, &w->arena, &set, 0);
    for (uint32_t d = 0; d < DBS; d++)
        for (uint32_t k = 0; k < KEYS; k++) {
            struct key key = key_of(w, d, k);
            struct value value;
            bool found = txn_read(&txn, &key, &value);
            const struct model_state *state = model_at(w, d, k, txn.stamp);
            assert_int_equal(found, state != NULL);
            if (found) assert_true(same(state, &value));
        }
    txn_commit(&txn);
}

static void random_transaction(struct world *w) {
    struct shardset set;
    struct txn txn;
    all_shards(w, &set);
    switch (below(w, 12)) {
    case 0:
    case 1: { /* several keys, undone in part, in whole or not */
        txn_begin(&txn, w->worker, &w->arena, &set, TXN_MULTI | TXN_UNDO);
        for (uint32_t n = below(w, 4); n > 0; n--) {
            struct key key = key_of(w, below(w, DBS), below(w, KEYS));
            change(w, &txn, &key);
        }
        struct savepoint savepoint = txn_savepoint(&txn);
        for (uint32_t n = below(w, 4); n > 0; n--) {
            struct key key = key_of(w, below(w, DBS), below(w, KEYS));
            change(w, &txn, &key);
        }
        uint32_t end = below(w, 3);
        if (end == 0) {
            txn_rollback(&txn);
            return;
        }
        if (end == 1) txn_rollback_to(&txn, savepoint);
        remember_all(w, &txn);
        txn_commit(&txn);
        return;
    }
    case 2: { /* several keys */
        txn_begin(&txn, w->worker, &w->arena, &set, TXN_MULTI);
        for (uint32_t n = 1 + below(w, 5); n > 0; n--) {
            struct key key = key_of(w, below(w, DBS), below(w, KEYS));
            change(w, &txn, &key);
        }
        remember_all(w, &txn);
        txn_commit(&txn);
        return;
    }
    case 3: {
        uint32_t db = below(w, DBS), what = below(w, 20);
        if (what > 1) break;
        txn_begin(&txn, w->worker, &w->arena, &set, TXN_MULTI);
        if (what == 0) {
            txn_flush(&txn, db);
        } else if (txn_flushed_at(&txn, db)) {
            uint64_t at = txn_flushed_at(&txn, db) - 1, keys;
            txn_unflush(&txn, db, &keys);
            for (uint32_t k = 0; k < KEYS; k++) { /* what the model says must have come back */
                const struct model_state *now = model_at(w, db, k, txn.stamp);
                const struct model_state *then = model_at(w, db, k, at);
                struct key key = key_of(w, db, k);
                struct value value;
                bool found = txn_read(&txn, &key, &value);
                const struct model_state *expected = now ? now : then;
                if (expected && expected->expire && expected->expire <= txn.now_ms) expected = NULL;
                assert_int_equal(found, expected != NULL);
                if (found) assert_true(same(expected, &value));
            }
        }
        remember_all(w, &txn);
        txn_commit(&txn);
        return;
    }
    default: break;
    }
    struct key key = key_of(w, below(w, DBS), below(w, KEYS));
    txn_begin_single(&txn, w->worker, &w->arena, key.shard, 0);
    change(w, &txn, &key);
    remember_all(w, &txn);
    txn_commit(&txn);
}

static uint64_t random_instant(struct world *w) {
    uint64_t now = worker_now_ns(w->worker);
    uint64_t span = below(w, 2) ? 2000000000u : 20000000u;
    uint64_t at = now - next_random(w) % span;
    if (below(w, 3) == 0) { /* just at, before or after something */
        const struct timeline *line = &w->lines[below(w, DBS)][below(w, KEYS)];
        if (line->count) {
            const struct model_state *state = &line->states[below(w, (uint32_t)line->count)];
            at = state->stamp + below(w, 3) - 1;
            if (state->expire && below(w, 2))
                at = (uint64_t)state->expire * 1000000 + below(w, 3) - 1;
        }
    }
    return at > now ? now : at;
}

static void ask_one(struct world *w, uint64_t horizon) {
    uint32_t db = below(w, DBS), k = below(w, KEYS);
    uint64_t at = random_instant(w), oldest = 0;
    struct key key = key_of(w, db, k);
    struct txn txn;
    struct value value;
    txn_begin_unlocked(&txn, w->worker, &w->arena, 0);
    enum found found = past_read(&txn, &key, at, &value, &oldest);
    w->questions++;
    if (found == PRUNED) {
        w->refused++;
        assert_true(at < horizon);
        assert_true(oldest > at);
    } else {
        const struct model_state *state = model_at(w, db, k, at);
        assert_int_equal(found == FOUND, state != NULL);
        if (state && !same(state, &value)) {
            char scratch[INT_TEXT_MAX];
            struct bytes text = value_text(&value, scratch);
            print_message("db %u key %u at %" PRIu64 " now %" PRIu64 ": model born %" PRIu64
                          " len %zu %.10s expire %" PRId64 ", store born %" PRIu64
                          " len %zu %.10s expire %" PRId64 " encoding %d\n",
                          db, k, at, worker_now_ns(w->worker), state->stamp, state->len,
                          state->text, state->expire, value.stamp, text.len, text.data,
                          value.expire_at_ms, value.encoding);
            fail();
        }
    }
    txn_commit(&txn);
}

struct scanned {
    struct world *w;
    uint32_t db;
    uint64_t at;
    size_t count;
};

static void scan_one(void *self, const struct key *key, const struct value *value) {
    struct scanned *s = self;
    for (uint32_t k = 0; k < KEYS; k++) {
        if (!bytes_equal(key_of(s->w, s->db, k).name, key->name)) continue;
        const struct model_state *state = model_at(s->w, s->db, k, s->at);
        assert_non_null(state);
        assert_true(same(state, value));
        s->count++;
    }
}

static void ask_all(struct world *w, uint64_t horizon) {
    struct scanned s = { .w = w, .db = below(w, DBS), .at = random_instant(w) };
    struct txn txn;
    txn_begin_unlocked(&txn, w->worker, &w->arena, 0);
    txn.at = s.at;
    uint64_t cursor = 0;
    do cursor = txn_scan(&txn, s.db, cursor, 3, scan_one, &s);
    while (cursor);
    if (s.at >= horizon) assert_false(txn.pruned);
    if (!txn.pruned) {
        size_t expected = 0;
        for (uint32_t k = 0; k < KEYS; k++) expected += model_at(w, s.db, k, s.at) != NULL;
        assert_int_equal(s.count, expected);
    }
    txn_commit(&txn);
}

struct told {
    struct world *w;
    uint32_t db, k;
    uint64_t last;
};

static bool check_version(void *self, const struct version *version) {
    struct told *told = self;
    assert_true(version->stamp < told->last);
    told->last = version->stamp;
    told->w->versions++;
    const struct model_state *state = model_at(told->w, told->db, told->k, version->stamp);
    assert_int_equal(state != NULL, version->value != NULL);
    if (state) assert_true(same(state, version->value));
    return true;
}

/* Every version shown is the model's at that instant, and none of the model's is left out. */
static void ask_versions(struct world *w) {
    struct told told = { .w = w, .db = below(w, DBS), .k = below(w, KEYS), .last = UINT64_MAX };
    struct key key = key_of(w, told.db, told.k);
    struct txn txn;
    uint64_t oldest, before = w->versions;
    txn_begin_unlocked(&txn, w->worker, &w->arena, 0);
    bool complete = past_versions(&txn, &key, check_version, &told, &oldest);
    txn_commit(&txn);
    if (!complete) return;
    /* Changes of what the key reads as, in the model. */
    const struct timeline *line = &w->lines[told.db][told.k];
    uint64_t now = worker_now_ns(w->worker), shown = w->versions - before, expected = 0;
    const struct model_state *was = NULL;
    for (size_t i = 0; i < line->count; i++) {
        const struct model_state *state = &line->states[i];
        uint64_t end = i + 1 < line->count ? state[1].stamp : now + 1;
        bool over = state->expire && state->expire <= (int64_t)(state->stamp / 1000000);
        bool exists = state->exists && !over;
        if (exists || was) expected++;
        was = exists ? state : NULL;
        if (exists && state->expire && (uint64_t)state->expire * 1000000 < end) {
            expected++;
            was = NULL;
        }
    }
    assert_true(shown >= expected); /* more: a change that changed nothing is a version too */
}

static void run_world(uint64_t seed, unsigned shards, uint64_t budget, int steps) {
    struct world *w = world_new(seed, shards);
    struct store_settings settings = store_settings(w->store);
    settings.history_memory = budget;
    store_configure(w->store, &settings);
    for (int i = 0; i < steps; i++) {
        env_sim_advance(w->env, (uint64_t)below(w, 3) * (1 + below(w, 20000000)));
        worker_tick(w->worker);
        random_transaction(w);
        if (below(w, 6) == 0) worker_chores(w->worker, 0, 1, UINT64_MAX / 2);
        if (below(w, 40) == 0) store_janitor(w->store);
        uint64_t horizon = past_horizon(w->store, NULL);
        if (below(w, 8) == 0) check_present(w);
        for (int q = 0; q < 3; q++) ask_one(w, horizon);
        if (below(w, 8) == 0) ask_all(w, horizon);
        if (below(w, 8) == 0) ask_versions(w);
        arena_clear(&w->arena);
    }
    print_message("# seed %" PRIu64 ": %" PRIu64 " questions, %" PRIu64 " refused, %" PRIu64
                  " versions\n",
                  seed, w->questions, w->refused, w->versions);
    world_free(w);
}

TEST(the_past_is_what_the_model_says) {
    for (uint64_t seed = 1; seed <= 12; seed++) run_world(seed, seed % 2 ? 1 : 4, 0, 2000);
}

TEST(what_is_dropped_is_refused_and_nothing_else_is) {
    for (uint64_t seed = 101; seed <= 112; seed++)
        run_world(seed, seed % 2 ? 1 : 2, 200 * 1024, 4000);
}
