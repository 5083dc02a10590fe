/* check.c: what a start has found on the disk, against what must be there.
 *
 * The database is asked, as a client would, for every key: value, end, and when its state began. Commits have
 * an order, so a correct recovery is the model after some commit, and one that is not before what was
 * promised. It is looked for from the last one backwards. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/env.h"
#include "base/number.h"
#include "sim.h"
#include "store/store.h"

/* A key as the database has it. */
struct finding {
    bool exists;
    struct bytes text;
    int64_t expire_ms;
    uint64_t stamp;  /* when the newest version (or the absence) began; 0: that is not known */
    uint64_t before; /* the same of the version before that */
};

struct image {
    struct finding keys[DBS][KEYS];
    uint64_t now_ns;
    int64_t now_ms;
};

/* What stands after the first `mark` of a reply, as a number. */
static uint64_t number_after(struct bytes reply, const char *mark) {
    const char *at = memmem(reply.data, reply.len, mark, strlen(mark));
    return at ? strtoull(at + strlen(mark), NULL, 10) : 0;
}

/* After the second one. */
static uint64_t second_after(struct bytes reply, const char *mark) {
    const char *at = memmem(reply.data, reply.len, mark, strlen(mark));
    if (!at) return 0;
    at += strlen(mark);
    return number_after((struct bytes){ at, (size_t)(reply.data + reply.len - at) }, mark);
}

static struct bytes bulk_of(struct bytes reply) {
    const char *line = memchr(reply.data, '\n', reply.len);
    size_t len = strtoull(reply.data + 1, NULL, 10);
    return (struct bytes){ line + 1, len };
}

static struct bytes ask_key(struct sim *sim, uint32_t db, const char *name, uint32_t key) {
    struct bytes words[] = { bytes_of(name), bytes_of(key_name(key)), BYTES("2"),
                             BYTES("WITHMETA") };
    return ask(sim, db, strcmp(name, "HIST") == 0 ? 4 : 2, words);
}

static struct finding find(struct sim *sim, uint32_t db, uint32_t key) {
    struct finding found = {};
    struct bytes reply = ask_key(sim, db, "GET", key);
    found.exists = reply.len > 1 && reply.data[0] == '$' && reply.data[1] != '-';
    if (found.exists) {
        found.text = bulk_of(reply);
        int64_t end = 0;
        struct bytes text = ask_key(sim, db, "PEXPIRETIME", key);
        if (text.len > 3 && int_parse((struct bytes){ text.data + 1, text.len - 3 }, &end) &&
            end > 0)
            found.expire_ms = end;
    }
    struct bytes versions = ask_key(sim, db, "HIST", key);
    found.stamp = number_after(versions, "stamp\r\n:");
    found.before = second_after(versions, "stamp\r\n:");
    return found;
}

static uint64_t count_keys(struct sim *sim, uint32_t db) {
    struct bytes words[] = { BYTES("KEYS"), BYTES("*") };
    return number_after(ask(sim, db, 2, words), "*");
}

static void look(struct sim *sim, struct image *image) {
    image->now_ns = worker_now_ns(sim->process.worker);
    image->now_ms = worker_now_ms(sim->process.worker);
    for (uint32_t db = 0; db < DBS; db++) {
        uint64_t exist = 0, keys = count_keys(sim, db);
        for (uint32_t key = 0; key < KEYS; key++) {
            image->keys[db][key] = find(sim, db, key);
            exist += image->keys[db][key].exists;
        }
        if (keys != exist)
            sim_fail(sim, "database %u has %" PRIu64 " keys, and %" PRIu64 " of ours", db, keys,
                     exist);
    }
}

/* Without history-persist a start may no longer know this. */
static const char unlike[] = "is not there since another time";

/* NULL, or in which way the key is not as it was after commit `commit`. */
static const char *difference(const struct sim *sim, const struct image *image, uint32_t db,
                              uint32_t key, uint32_t commit) {
    const struct model *model = &sim->model;
    const struct finding *found = &image->keys[db][key];
    const struct version *state = model_state(model, db, key, commit, image->now_ms);
    if (!state != !found->exists) return state ? "is not there" : "is there";
    if (state) {
        if (!bytes_equal((struct bytes){ state->data, state->len }, found->text))
            return "has another value";
        if (state->expire_ms != found->expire_ms) return "ends at another time";
        uint64_t birth = model->commits[state->birth].stamp;
        return state->birth == 0 || found->stamp == birth ? NULL : "has another stamp";
    }
    const struct version *last = model_last(model, db, key, commit);
    if (!last) return found->stamp == 0 ? NULL : unlike;
    if (last->birth == 0) return NULL;
    uint64_t since = model->commits[last->birth].stamp,
             over = (uint64_t)last->expire_ms * 1'000'000;
    bool expired = last->exists && over > since;
    if (found->stamp != (expired ? over : since)) return unlike;
    /* It may come back with the value it had, if the clock is set back. */
    return !expired || !found->before || found->before == since ? NULL : "had another value";
}

static unsigned differences(const struct sim *sim, const struct image *image, uint32_t commit) {
    unsigned count = 0;
    for (uint32_t db = 0; db < DBS; db++)
        for (uint32_t key = 0; key < KEYS; key++)
            count += difference(sim, image, db, key, commit) != NULL;
    return count;
}

/* How well it is known that a key is absent: 0 it is; 1 but not since when; 2 nor that it should be, were it not
 * for the time, and it may come back when the clock is set back. */
static uint32_t doubt(const struct model *model, uint32_t db, uint32_t key, uint32_t commit,
                      const char *what) {
    const struct version *last = model_last(model, db, key, commit);
    if (!last) return what != NULL;
    if (what) return last->exists ? 2 : 1;
    return last->birth == 0;
}

enum { NO_FIT = UINT32_MAX };

/* The sum of doubts about absent keys; or NO_FIT. */
static uint32_t fits_commit(const struct sim *sim, const struct image *image, uint32_t commit) {
    uint32_t unsure = 0;
    for (uint32_t db = 0; db < DBS; db++)
        for (uint32_t key = 0; key < KEYS; key++) {
            const char *what = difference(sim, image, db, key, commit);
            if (what && (what != unlike || sim->character.history_persist)) return NO_FIT;
            if (!image->keys[db][key].exists) unsure += doubt(&sim->model, db, key, commit, what);
        }
    return unsure;
}

static void show(const struct sim *sim, const struct image *image, uint32_t commit,
                 const char *which) {
    const struct model *model = &sim->model;
    printf("  %s commit %u (stamp %" PRIu64 "):\n", which, commit, model->commits[commit].stamp);
    for (uint32_t db = 0; db < DBS; db++)
        for (uint32_t key = 0; key < KEYS; key++) {
            const char *what = difference(sim, image, db, key, commit);
            if (!what) continue;
            const struct finding *found = &image->keys[db][key];
            const struct version *state = model_last(model, db, key, commit);
            printf("    db%u %s %s\n", db, key_name(key), what);
            printf("      found:    %s %.*s (%zu bytes) ends %" PRId64 " since %" PRIu64 "\n",
                   found->exists ? "=" : "absent",
                   (int)(found->text.len < 40 ? found->text.len : 40), found->text.data,
                   found->text.len, found->expire_ms, found->stamp);
            if (state)
                printf("      expected: %s %.*s (%zu bytes) ends %" PRId64
                       " by commit %u, born %" PRIu64 "\n",
                       state->exists ? "=" : "absent", (int)(state->len < 40 ? state->len : 40),
                       state->data, state->len, state->expire_ms, state->commit,
                       model->commits[state->birth].stamp);
        }
}

static _Noreturn void fail_at_every(struct sim *sim, const struct image *image, uint32_t least) {
    uint32_t last = sim->model.count - 1, nearest = 0;
    unsigned fewest = UINT32_MAX;
    for (uint32_t commit = 0; commit <= last; commit++) {
        unsigned count = differences(sim, image, commit);
        if (count > fewest) continue;
        fewest = count;
        nearest = commit;
    }
    printf("what was recovered is not the state after any commit from %u to %u\n", least, last);
    show(sim, image, nearest, fewest == 0 ? "it is that after" : "nearest is that after");
    if (nearest != least) show(sim, image, least, "what was promised is that after");
    if (nearest != last && least != last) show(sim, image, last, "all there was is that after");
    sim_fail(sim, "a wrong recovery: the model is at %" PRId64 " ms", image->now_ms);
}

static bool same_flushes(const struct model *model, uint32_t a, uint32_t b) {
    for (uint32_t db = 0; db < DBS; db++)
        if (model->commits[a].flushed[db].commit != model->commits[b].flushed[db].commit ||
            model->commits[a].flushed[db].db != model->commits[b].flushed[db].db)
            return false;
    return true;
}

static bool same_barriers(const struct model *model, uint32_t a, uint32_t b) {
    for (uint32_t db = 0; db < DBS; db++)
        if (model->commits[a].barrier[db] != model->commits[b].barrier[db]) return false;
    return true;
}

/* Some commits leave nothing to be seen: a flush of an empty database, a swap of equal ones, a key made and deleted
 * again if the past is not kept. Of those that fit best the first is taken, and what depends on which it was is
 * not asked any more. */
uint32_t check_recovered(struct sim *sim, uint32_t least) {
    struct image image;
    worker_tick(sim->process.worker);
    look(sim, &image);
    struct model *model = &sim->model;
    uint32_t last = model->count - 1, commit = last, first = last, fits = 0, least_unsure = NO_FIT;
    bool same_undo = true, same_past = sim->character.history_persist;
    for (uint32_t i = last + 1; i-- > least;) {
        if (model->commits[i].stamp > image.now_ns) continue; /* no clock is behind what was recovered */
        uint32_t unsure = fits_commit(sim, &image, i);
        if (unsure == NO_FIT) continue;
        same_undo &= fits == 0 || same_flushes(model, i, commit);
        same_past &= fits == 0 || same_barriers(model, i, commit);
        if (unsure <= least_unsure) commit = i;
        if (unsure < least_unsure) least_unsure = unsure;
        first = i;
        fits++;
    }
    if (fits == 0) fail_at_every(sim, &image, least);
    trace(sim, "recovered commit %u of %u, at least %u was promised", commit, last, least);
    sim->tally.lost += last - commit;
    model_cut(model, commit);
    if (!same_undo) model_forget_flushes(model);
    if (!same_past) model->known_from = image.now_ns;
    if (fits > 1) model_blur(model, image.now_ns);
    arena_clear(&sim->arena);
    return first;
}

void check_present(struct sim *sim) {
    struct image image;
    look(sim, &image);
    uint32_t last = sim->model.count - 1;
    if (fits_commit(sim, &image, last) == NO_FIT) {
        show(sim, &image, last, "the state is not that after");
        sim_fail(sim, "a wrong state: the model is at %" PRId64 " ms", image.now_ms);
    }
    arena_clear(&sim->arena);
}

void check_past(struct sim *sim, unsigned questions) {
    struct model *model = &sim->model;
    for (unsigned i = 0; i < questions; i++) {
        uint32_t db = (uint32_t)below(sim, DBS), key = (uint32_t)below(sim, KEYS);
        uint64_t at = model->commits[below(sim, model->count)].stamp;
        if (at > 0 && one_in(sim, 2)) at--;
        struct bytes words[] = { BYTES("GETAT"), bytes_of(key_name(key)),
                                 arena_format(&sim->arena, "%019" PRIu64, at) };
        struct bytes reply = ask(sim, db, 3, words);
        if (model_is_vague(model, at)) continue;
        sim->tally.past++;
        bool unknown = reply.data[0] == '-';
        if (unknown && (at < model->known_from || at < model->open.barrier[db])) continue;
        const struct version *state = model_past(model, db, key, at);
        bool exists = reply.data[0] == '$' && reply.data[1] != '-';
        bool right = !unknown && exists == (state != NULL);
        if (right && state)
            right = bytes_equal((struct bytes){ state->data, state->len }, bulk_of(reply));
        if (at < model->open.barrier[db] && at >= model->known_from) right = false;
        if (!right)
            sim_fail(sim,
                     "db%u %s at %" PRIu64 " is %.*s (%zu bytes) by commit %u, and answered: %.*s",
                     db, key_name(key), at, state ? (int)(state->len < 40 ? state->len : 40) : 6,
                     state ? state->data : "absent", state ? state->len : 0,
                     state ? state->commit : 0, (int)(reply.len < 60 ? reply.len : 60), reply.data);
    }
    arena_clear(&sim->arena);
}
