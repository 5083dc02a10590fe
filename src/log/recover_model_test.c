/* recover_model_test.c: an image taken while the data changes, and the log up to any cut after its end, are the store
 * as it was at that cut: its present, and as much of its past as the store itself still knew.
 *
 * Random transactions on a store that records redo, between slices of an image; a model that keeps every state of
 * every key; then loading and replay into an empty store, and questions to both. A filter that is broken on purpose
 * must be noticed. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/env.h"
#include "store/image.h"
#include "store/past.h"
#include "store/replay.h"
#include "store/shard.h"
#include "testing/testing.h"

enum {
    DBS = 2,
    KEYS = 180,
    HOT = 10, /* get most of the changes */
    TEXT_MAX = 24 * 1024,
    BATCHES_MAX = 4096,
    SECTIONS_MAX = 4096,
    QUESTIONS = 1500,
};

struct model_state {
    uint64_t stamp;
    bool exists;
    char *text; /* owned; len bytes */
    size_t len;
    int64_t expire;
};

struct timeline {
    struct model_state *states;
    size_t count, cap;
};

struct batch {
    struct bytes bytes; /* owned */
    uint64_t cut;
};

struct world {
    struct env *env;
    struct store *store;
    struct worker *worker;
    struct arena arena;
    struct timeline lines[DBS][KEYS];
    bool vague[KEYS]; /* purged or excluded: a replay may leave a little less of their past */
    uint64_t random;
    bool large; /* values that are sections of their own, now and then */
    bool swaps;
    struct batch *log; /* since before the image */
    size_t log_count;
    struct image_section *sections; /* bytes owned */
    size_t sections_count;
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

static struct key key_of(const struct store *store, uint32_t db, uint32_t k) {
    static char names[KEYS][16];
    int len = snprintf(names[k], sizeof names[k],
                       k % 9 == 8 ? "x:%u"
                       : k % 5    ? "key:%u"
                                  : "{t}%u",
                       k);
    return store_key(store, db, (struct bytes){ names[k], (size_t)len });
}

static struct store *store_like(struct env *env, const struct siphash_key *seed, unsigned shards,
                                bool exclude) {
    struct store *store = store_new(&(struct store_options){
        .env = env, .shards = shards, .databases = DBS, .workers_max = 2, .seed = seed });
    struct store_settings settings = store_settings(store);
    static const struct bytes patterns[] = { { "x:*", 3 } };
    settings.history_exclude = patterns;
    settings.history_exclude_count = exclude;
    settings.history_memory = 100 * 1024 * 1024;
    store_configure(store, &settings);
    return store;
}

static void set_history(struct store *store, uint64_t memory, bool on) {
    struct store_settings settings = store_settings(store);
    settings.history_memory = memory;
    settings.history = on;
    store_configure(store, &settings);
}

static struct world *world_new(uint64_t seed, unsigned shards, bool exclude) {
    struct world *w = calloc(1, sizeof *w);
    w->random = seed * 0x9E3779B97F4A7C15u + 1;
    w->env = env_sim_new(seed);
    w->store = store_like(w->env, NULL, shards, exclude);
    w->worker = worker_new(w->store);
    w->log = calloc(BATCHES_MAX, sizeof *w->log);
    w->sections = calloc(SECTIONS_MAX, sizeof *w->sections);
    arena_init(&w->arena);
    return w;
}

static void forget_log(struct world *w) {
    for (size_t i = 0; i < w->log_count; i++) free((char *)(uintptr_t)w->log[i].bytes.data);
    w->log_count = 0;
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
    forget_log(w);
    for (size_t i = 0; i < w->sections_count; i++)
        free((char *)(uintptr_t)w->sections[i].bytes.data);
    free(w->sections);
    free(w->log);
    free(w);
}

/* --- the model --- */

static void remember(struct world *w, uint32_t db, uint32_t k, uint64_t stamp,
                     const struct value *value) {
    struct timeline *line = &w->lines[db][k];
    if (line->count && line->states[line->count - 1].stamp == stamp)
        free(line->states[--line->count].text);
    if (line->count == line->cap) {
        line->cap = line->cap ? line->cap * 2 : 8;
        line->states = realloc(line->states, line->cap * sizeof *line->states);
    }
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

static void remember_all(struct world *w, struct txn *txn) {
    for (uint32_t d = 0; d < DBS; d++)
        for (uint32_t k = 0; k < KEYS; k++) {
            struct key key = key_of(w->store, d, k);
            if (!txn_holds(txn, key.shard)) continue;
            struct value value;
            bool found = txn_read(txn, &key, &value);
            const struct model_state *then = model_at(w, d, k, txn->stamp);
            if (!found && !then) continue;
            if (found && then && same(then, &value)) continue;
            remember(w, d, k, txn->stamp, found ? &value : NULL);
        }
}

static void remember_one(struct world *w, struct txn *txn, uint32_t db, uint32_t k) {
    struct key key = key_of(w->store, db, k);
    struct value value;
    bool found = txn_read(txn, &key, &value);
    const struct model_state *then = model_at(w, db, k, txn->stamp);
    if (found || then) remember(w, db, k, txn->stamp, found ? &value : NULL);
}

/* --- changes --- */

static int64_t random_expire(struct world *w, const struct txn *txn) {
    return below(w, 3) ? 0 : txn->now_ms + 1 + below(w, 400);
}

static void change(struct world *w, struct txn *txn, const struct key *key) {
    static char text[TEXT_MAX];
    struct value value;
    bool found = txn_read(txn, key, &value);
    uint32_t len = below(w, 8) == 0 ? 1000 + below(w, 1500) : below(w, 40);
    if (w->large && below(w, 30) == 0) len = 17000 + below(w, 5000);
    memset(text, 'a' + (int)below(w, 26), len);
    struct bytes bytes = { text, len };
    switch (below(w, 10)) {
    case 0:
    case 1: assert_int_equal(txn_set_string(txn, key, bytes, random_expire(w, txn)), OK); break;
    case 2:
    case 3:
        txn_set_int(txn, key, (int64_t)next_random(w),
                    found && below(w, 2) ? value.expire_at_ms : random_expire(w, txn));
        break;
    case 4:
    case 5:
        if (found) txn_delete(txn, key);
        break;
    case 6:
        if (found) txn_set_expire(txn, key, random_expire(w, txn));
        break;
    default: { /* edits, mostly appends, so that buffers grow in place */
        size_t old = found ? value_text_len(&value) : 0;
        if (old > 4000 && (!w->large || old > TEXT_MAX)) break;
        uint64_t offset = below(w, 3) ? old : below(w, (uint32_t)old + 100);
        assert_int_equal(txn_splice(txn, key, offset, bytes), OK);
    }
    }
}

static uint32_t random_key(struct world *w) {
    return below(w, 3) ? below(w, HOT) : below(w, KEYS);
}

static void all_shards(const struct store *store, struct shardset *set) {
    memset(set, 0, sizeof *set);
    for (unsigned i = 0; i < store->shards_count; i++) shardset_add(set, i);
}

static void several_keys(struct world *w, struct txn *txn, bool undo) {
    struct savepoint savepoint = txn_savepoint(txn);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t n = below(w, 4); n > 0; n--) {
            struct key key = key_of(w->store, below(w, DBS), random_key(w));
            change(w, txn, &key);
        }
        if (round == 0) savepoint = txn_savepoint(txn);
    }
    uint32_t end = undo ? below(w, 3) : 2;
    if (end == 0) {
        txn_rollback(txn);
        return;
    }
    if (end == 1) txn_rollback_to(txn, savepoint);
    remember_all(w, txn);
    txn_commit(txn);
}

static void whole_databases(struct world *w, struct txn *txn) {
    uint32_t db = below(w, DBS), what = below(w, 5);
    uint64_t keys;
    if (what <= 1)
        txn_flush(txn, db);
    else if (what <= 3 && txn_flushed_at(txn, db))
        txn_unflush(txn, db, &keys);
    else if (what == 4 && w->swaps)
        txn_swap(txn, 0, 1);
    remember_all(w, txn);
    txn_commit(txn);
}

static void random_transaction(struct world *w) {
    struct shardset set;
    struct txn txn;
    all_shards(w->store, &set);
    uint32_t what = below(w, 100);
    if (what < 10) {
        txn_begin(&txn, w->worker, &w->arena, &set, TXN_MULTI | (what < 5 ? TXN_UNDO : 0u));
        several_keys(w, &txn, what < 5);
        return;
    }
    if (what < 12) {
        txn_begin(&txn, w->worker, &w->arena, &set, TXN_MULTI);
        whole_databases(w, &txn);
        return;
    }
    uint32_t db = below(w, DBS), k = random_key(w);
    struct key key = key_of(w->store, db, k);
    txn_begin_single(&txn, w->worker, &w->arena, key.shard, 0);
    if (what < 14) {
        past_purge(&txn, &key);
        w->vague[k] = true;
    } else {
        change(w, &txn, &key);
    }
    remember_one(w, &txn, db, k);
    txn_commit(&txn);
}

static void take_log(struct world *w, uint64_t at_least) {
    struct redo_batch batch;
    redo_batch_init(&batch);
    redo_take(w->store, at_least, &batch);
    assert_true(w->log_count < BATCHES_MAX);
    char *copy = malloc(batch.bytes.len + 1);
    if (batch.bytes.len) memcpy(copy, batch.bytes.data, batch.bytes.len);
    w->log[w->log_count++] = (struct batch){ { copy, batch.bytes.len }, batch.cut };
    redo_batch_deinit(&batch);
}

static void live_on(struct world *w, int steps) {
    for (int i = 0; i < steps; i++) {
        env_sim_advance(w->env, (uint64_t)below(w, 3) * (1 + below(w, 20000000)));
        worker_tick(w->worker);
        random_transaction(w);
        if (below(w, 6) == 0) worker_chores(w->worker, 0, 1, UINT64_MAX / 2);
        if (below(w, 40) == 0) store_janitor(w->store);
        if (below(w, 5) == 0) take_log(w, 0);
        arena_clear(&w->arena);
    }
}

/* --- the image --- */

static void keep_section(struct world *w, const struct image_section *section) {
    if (!section->kind) return;
    assert_true(w->sections_count < SECTIONS_MAX);
    char *copy = malloc(section->bytes.len + section->tail.len + 1);
    if (section->bytes.len) memcpy(copy, section->bytes.data, section->bytes.len);
    if (section->tail.len) memcpy(copy + section->bytes.len, section->tail.data, section->tail.len);
    struct image_section *kept = &w->sections[w->sections_count++];
    *kept = *section;
    kept->bytes = (struct bytes){ copy, section->bytes.len + section->tail.len };
    kept->tail = (struct bytes){ 0 };
}

/* Life goes on between any two slices. Returns the image's end. */
static uint64_t take_image(struct world *w, bool past, int pace) {
    take_log(w, 0);
    forget_log(w); /* what comes before the image */
    struct image *image = image_begin(w->store, w->worker, past);
    struct image_section section;
    while (image_keys(image, &section)) {
        keep_section(w, &section);
        live_on(w, (int)below(w, (uint32_t)pace));
    }
    while (image_past(image, &section)) {
        keep_section(w, &section);
        live_on(w, (int)below(w, (uint32_t)pace));
    }
    while (image_rest(image, &section)) {
        keep_section(w, &section);
        live_on(w, (int)below(w, 2));
    }
    assert_false(image_failed(image));
    uint64_t ended = image_progress(image).ended;
    image_end(image);
    return ended;
}

/* --- recovery --- */

struct recovered {
    struct store *store;
    struct worker *worker;
    uint64_t cut;
};

/* STORE before all, then the past, then the rest: the order of the files. */
static int pass_of(const struct image_section *section) {
    return section->kind == IMAGE_STORE ? 0 : section->kind == IMAGE_PAST ? 1 : 2;
}

enum filter { FILTER_RIGHT, FILTER_NONE };

static void load_image(struct world *w, struct recovered *r, struct replay *replay,
                       enum filter filter) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < w->sections_count; i++) bytes += w->sections[i].bytes.len;
    struct image_loader *loader = image_loader_new(r->store, bytes);
    struct problem why = { .text = "" };
    for (int pass = 0; pass < 3; pass++)
        for (size_t i = 0; i < w->sections_count; i++) {
            const struct image_section *section = &w->sections[i];
            if (pass_of(section) != pass) continue;
            enum status status = image_load(loader, r->worker, section, &why);
            if (status != OK) print_message("section of kind %d: %s\n", section->kind, why.text);
            assert_int_equal(status, OK);
        }
    for (uint32_t i = 0; i < r->store->shards_count; i++) {
        uint64_t captured, visited;
        assert_int_equal(image_loaded(loader, i, &captured, &visited, &why), OK);
        replay_base(replay, i, captured, filter == FILTER_NONE ? captured : visited);
    }
    image_loader_free(loader);
}

static void replay_log(struct world *w, struct recovered *r, struct replay *replay, size_t last) {
    r->cut = w->log[last].cut;
    struct problem why = { .text = "" };
    for (size_t i = 0; i <= last; i++) {
        struct bytes rest = w->log[i].bytes;
        struct redo_block block;
        while (redo_next_block(&rest, &block, &why) == OK) {
            enum status status = replay_block(replay, r->worker, &block, r->cut, &why);
            if (status != OK) print_message("replay: %s\n", why.text);
            assert_int_equal(status, OK);
        }
    }
    replay_end(replay, r->cut);
}

/* The store anew, up to a random cut that is not before `ended`. */
static struct recovered recover(struct world *w, uint64_t ended, enum filter filter) {
    size_t first = 0;
    while (w->log[first].cut < ended) first++;
    size_t last = first + below(w, (uint32_t)(w->log_count - first));
    bool exclude = store_settings(w->store).history_exclude_count;
    struct recovered r = { .store = store_like(w->env, &w->store->seed, w->store->shards_count,
                                               exclude) };
    r.worker = worker_new(r.store);
    struct replay *replay = replay_new(r.store);
    load_image(w, &r, replay, filter);
    replay_log(w, &r, replay, last);
    replay_free(replay);
    worker_tick(r.worker);
    return r;
}

/* --- questions --- */

static enum found ask(struct world *w, struct store *store, struct worker *worker, uint32_t db,
                      uint32_t k, uint64_t at, struct value *value) {
    struct key key = key_of(store, db, k);
    struct txn txn;
    uint64_t oldest = 0;
    txn_begin_unlocked(&txn, worker, &w->arena, 0);
    enum found found = past_read(&txn, &key, at, value, &oldest);
    txn_commit(&txn);
    assert_true(found != PRUNED || oldest > at || oldest == 0);
    return found;
}

/* Whether it reads as the model says; `*refused` that it is not known. */
static bool reads_right(struct world *w, struct recovered *r, uint32_t db, uint32_t k, uint64_t at,
                        bool *refused) {
    struct value value;
    enum found found = ask(w, r->store, r->worker, db, k, at, &value);
    *refused = found == PRUNED;
    if (found == PRUNED) return true;
    const struct model_state *state = model_at(w, db, k, at);
    return (found == FOUND) == (state != NULL) && (!state || same(state, &value));
}

static size_t wrong_at_the_cut(struct world *w, struct recovered *r) {
    size_t wrong = 0;
    for (uint32_t d = 0; d < DBS; d++)
        for (uint32_t k = 0; k < KEYS; k++) {
            bool refused;
            if (!reads_right(w, r, d, k, r->cut, &refused) || refused) wrong++;
        }
    return wrong;
}

static uint64_t random_instant(struct world *w, uint32_t db, uint32_t k, uint64_t cut) {
    uint64_t at = cut - next_random(w) % (below(w, 2) ? 3000000000u : 100000000u);
    const struct timeline *line = &w->lines[db][k];
    if (line->count && below(w, 2)) { /* just at, before or after something */
        const struct model_state *state = &line->states[below(w, (uint32_t)line->count)];
        at = state->stamp + below(w, 3) - 1;
        if (state->expire && below(w, 2)) at = (uint64_t)state->expire * 1000000 + below(w, 3) - 1;
    }
    return at > cut ? cut : at;
}

struct answers {
    size_t asked, refused, wrong, lost;
};

/* What the store itself still knows, its recovery knows too, if the past was saved. */
static void ask_past(struct world *w, struct recovered *r, struct answers *answers) {
    uint64_t horizon = past_horizon(r->store, NULL);
    for (int i = 0; i < QUESTIONS; i++) {
        uint32_t db = below(w, DBS), k = random_key(w);
        uint64_t at = random_instant(w, db, k, r->cut);
        bool refused;
        answers->asked++;
        if (!reads_right(w, r, db, k, at, &refused)) answers->wrong++;
        answers->refused += refused;
        struct value value;
        if (refused && at >= horizon && !w->vague[k] &&
            ask(w, w->store, w->worker, db, k, at, &value) != PRUNED)
            answers->lost++;
        arena_clear(&w->arena);
    }
}

struct told {
    struct world *w;
    uint64_t last, cut;
    uint64_t barrier; /* what was before a SWAPDB may be shown, and is not compared */
    uint32_t db, k;
    size_t wrong;
};

static bool check_version(void *self, const struct version *version) {
    struct told *told = self;
    const struct model_state *state = model_at(told->w, told->db, told->k, version->stamp);
    bool right = version->stamp < told->last && (state != NULL) == (version->value != NULL) &&
                 (!state || same(state, version->value));
    bool asked = version->stamp <= told->cut && version->stamp >= told->barrier;
    if (asked && !right) told->wrong++;
    told->last = version->stamp;
    return true;
}

static void ask_versions(struct world *w, struct recovered *r, struct answers *answers) {
    for (uint32_t d = 0; d < DBS; d++)
        for (uint32_t k = 0; k < KEYS; k++) {
            struct key key = key_of(r->store, d, k);
            struct told told = { .w = w,
                                 .db = d,
                                 .k = k,
                                 .last = UINT64_MAX,
                                 .cut = r->cut,
                                 .barrier =
                                     store_shard(r->store, key.shard)->databases[d].barrier };
            struct txn txn;
            uint64_t oldest;
            txn_begin_unlocked(&txn, r->worker, &w->arena, 0);
            (void)past_versions(&txn, &key, check_version, &told, &oldest);
            txn_commit(&txn);
            answers->wrong += told.wrong;
            arena_clear(&w->arena);
        }
}

struct figures {
    uint64_t live, tombstones, expiring, used;
};

static void count_entry(void *self, struct entry *entry) {
    struct figures *figures = self;
    figures->used++;
    if (entry_is_tombstone(entry))
        figures->tombstones++;
    else
        figures->live++;
    if (entry_expire(entry) && !entry_is_tombstone(entry)) figures->expiring++;
}

static void check_table(struct index *index) {
    if (!index) return;
    struct figures figures = { 0 };
    uint64_t x = 0;
    do x = index_visit(index, x, count_entry, &figures);
    while (x);
    assert_int_equal(figures.live, index->live);
    assert_int_equal(figures.tombstones, index->tombstones);
    assert_int_equal(figures.expiring, index->expiring);
    assert_int_equal(figures.used, index->used);
    if (figures.used == 0) {
        assert_int_equal(index->data_size, 0);
        assert_int_equal(index->tombstone_size, 0);
    }
}

static void check_figures(struct store *store) {
    uint64_t aside = 0;
    for (unsigned i = 0; i < store->shards_count; i++)
        for (unsigned d = 0; d < store->databases; d++) {
            const struct database *database = &store_shard(store, i)->databases[d];
            check_table(database_now(database));
            for (uint32_t p = 0; p < database->periods_count; p++) {
                struct index *index = database->periods[p].index;
                check_table(index);
                bool first = index && index != database_now(database);
                for (uint32_t q = 0; q < p; q++) first &= database->periods[q].index != index;
                if (first) aside += index->aside;
            }
        }
    assert_int_equal(aside, store->flushed_size);
}

/* Everything past can be dropped, and what is left is still right. */
static void drop_the_past(struct world *w, struct recovered *r) {
    set_history(r->store, 1, true);
    for (int i = 0; i < 4; i++) store_janitor(r->store);
    check_figures(r->store);
    for (unsigned i = 0; i < r->store->shards_count; i++)
        assert_int_equal(store_shard(r->store, i)->history.size, 0);
    struct answers answers = { 0 };
    ask_past(w, r, &answers);
    assert_int_equal(answers.wrong, 0);
    assert_int_equal(wrong_at_the_cut(w, r), 0);
}

struct plan {
    uint64_t seed;
    unsigned shards;
    bool past, exclude, large, swaps, scarce; /* scarce: the past is dropped all the time */
    enum filter filter;
};

/* How much was wrong after recovery. */
static struct answers run(const struct plan *plan) {
    struct world *w = world_new(plan->seed, plan->shards, plan->exclude);
    w->large = plan->large;
    w->swaps = plan->swaps;
    for (uint32_t k = 0; k < KEYS && plan->exclude; k++)
        w->vague[k] = store_excluded(w->store, key_of(w->store, 0, k).name);
    store_redo_switch(w->store, true);
    if (plan->scarce) set_history(w->store, 300 * 1024, true);
    live_on(w, 50 + (int)below(w, 600));
    uint64_t ended = take_image(w, plan->past, 1 + (int)below(w, 80));
    live_on(w, (int)below(w, 300));
    take_log(w, ended);
    check_figures(w->store);
    struct recovered r = recover(w, ended, plan->filter);
    struct answers answers = { 0 };
    answers.wrong += wrong_at_the_cut(w, &r);
    ask_past(w, &r, &answers);
    ask_versions(w, &r, &answers);
    if (plan->filter == FILTER_RIGHT) {
        check_figures(r.store);
        drop_the_past(w, &r);
    }
    worker_free(r.worker);
    store_free(r.store);
    world_free(w);
    return answers;
}

static uint64_t seeds(void) {
    const char *more = getenv("RECOVER_SEEDS");
    return more ? strtoull(more, NULL, 10) : 24;
}

static void run_right(uint64_t base, struct plan plan) {
    struct answers sum = { 0 };
    for (uint64_t seed = base; seed < base + seeds(); seed++) {
        plan.seed = seed;
        plan.shards = seed % 3 ? 1 : 4;
        plan.large = seed % 4 == 1;
        plan.exclude = seed % 5 == 2;
        plan.swaps = seed % 4 == 2; /* they make most of the past unknown */
        struct answers answers = run(&plan);
        if (answers.wrong || (plan.past && answers.lost)) print_message("seed %" PRIu64 "\n", seed);
        assert_int_equal(answers.wrong, 0);
        if (plan.past) assert_int_equal(answers.lost, 0);
        sum.asked += answers.asked;
        sum.refused += answers.refused;
    }
    print_message("# %" PRIu64 " worlds from seed %" PRIu64 " on: %zu questions, %zu refused\n",
                  seeds(), base, sum.asked, sum.refused);
}

TEST(an_image_and_its_log_are_the_store_at_the_cut) {
    run_right(1, (struct plan){ .past = true });
}

TEST(so_are_they_where_the_past_is_dropped_meanwhile) {
    run_right(1001, (struct plan){ .past = true, .scarce = true });
}

TEST(without_the_past_nothing_is_guessed) {
    run_right(2001, (struct plan){ .past = false });
}

TEST(a_broken_filter_is_noticed) {
    size_t wrong = 0;
    for (uint64_t seed = 1; seed <= 8; seed++)
        wrong +=
            run(&(struct plan){ .seed = seed, .shards = 1, .past = true, .filter = FILTER_NONE })
                .wrong;
    assert_true(wrong > 0);
}
