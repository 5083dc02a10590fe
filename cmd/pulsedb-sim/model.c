/* model.c: the commands once more, in the plainest way there is. */
#include "model.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/number.h"

const char *key_name(uint32_t key) {
    static const char names[KEYS][NAME_MAX_LEN] = { "mine:0", "mine:1", "mine:2", "mine:3",
                                                    "s1",     "s2",     "s3",     "{t}1",
                                                    "{t}2",   "{t}3",   "n:1",    "n:2" };
    return names[key];
}

/* ---- lines ---- */

static void *grown(void *array, size_t count, size_t size, size_t *cap) {
    if (count < *cap) return array;
    size_t more = *cap > 0 ? *cap * 2 : 8;
    array = mem_resize(array, *cap * size, more * size);
    *cap = more;
    return array;
}

static void version_deinit(struct version *version) {
    if (version->data) mem_free(version->data, version->len);
}

static const struct version *line_last(const struct line *line) {
    return line->count > 0 ? &line->versions[line->count - 1] : NULL;
}

static const struct version *alive(const struct version *version, int64_t now_ms) {
    if (!version || !version->exists) return NULL;
    return version->expire_ms && version->expire_ms <= now_ms ? NULL : version;
}

static void line_cut(struct line *line, uint32_t last) {
    while (line->count > 0 && line->versions[line->count - 1].commit > last)
        version_deinit(&line->versions[--line->count]);
}

/* The key's new state, in the open commit; `text` is copied. A second change in it replaces the first. */
static void put(struct model *model, uint32_t db, uint32_t key, bool exists, struct bytes text,
                int64_t expire_ms, uint32_t birth) {
    struct line *line = &model->lines[db][key];
    struct version version = {
        .commit = model->count, .birth = birth, .exists = exists, .expire_ms = expire_ms
    };
    if (text.len > 0) {
        version.data = mem_new(text.len);
        version.len = text.len;
        memcpy(version.data, text.data, text.len);
    }
    model->changed = true;
    line_cut(line, model->count - 1);
    const struct version *last = line_last(line);
    if (!exists && birth > 0 && (!last || !last->exists))
        return; /* made and gone within the commit */
    if (!exists && !alive(last, model->now_ms)) version.birth = 0;
    line->versions = grown(line->versions, line->count, sizeof version, &line->cap);
    line->versions[line->count++] = version;
}

static void put_state(struct model *model, uint32_t db, uint32_t key, const struct version *state,
                      uint32_t birth) {
    struct bytes text = { state ? state->data : NULL, state ? state->len : 0 };
    put(model, db, key, state != NULL, text, state ? state->expire_ms : 0, birth);
}

static void set(struct model *model, uint32_t db, uint32_t key, struct bytes text, int64_t expire) {
    put(model, db, key, true, text, expire, model->count);
}

static void del(struct model *model, uint32_t db, uint32_t key) {
    put(model, db, key, false, (struct bytes){}, 0, model->count);
}

static const struct version *now(const struct model *model, uint32_t db, uint32_t key) {
    return alive(line_last(&model->lines[db][key]), model->now_ms);
}

const struct version *model_last(const struct model *model, uint32_t db, uint32_t key,
                                 uint32_t commit) {
    const struct line *line = &model->lines[db][key];
    size_t i = line->count;
    while (i > 0 && line->versions[i - 1].commit > commit) i--;
    return i > 0 ? &line->versions[i - 1] : NULL;
}

const struct version *model_state(const struct model *model, uint32_t db, uint32_t key,
                                  uint32_t commit, int64_t now_ms) {
    return alive(model_last(model, db, key, commit), now_ms);
}

static uint32_t commit_at(const struct model *model, uint64_t at) {
    uint32_t commit = model->count - 1;
    while (commit > 0 && model->commits[commit].stamp > at) commit--;
    return commit;
}

const struct version *model_past(const struct model *model, uint32_t db, uint32_t key,
                                 uint64_t at) {
    return model_state(model, db, key, commit_at(model, at), (int64_t)(at / 1'000'000));
}

/* ---- answers ---- */

static void say(struct expected *expected, const char *text) {
    buffer_put(expected->reply, bytes_of(text));
}

static void say_int(struct expected *expected, int64_t n) {
    buffer_format(expected->reply, ":%" PRId64 "\r\n", n);
}

static void say_value(struct expected *expected, const struct version *version) {
    if (!version) {
        say(expected, "$-1\r\n");
        return;
    }
    buffer_format(expected->reply, "$%zu\r\n", version->len);
    buffer_put(expected->reply, (struct bytes){ version->data, version->len });
    say(expected, "\r\n");
}

/* Whoever gets this answer has seen what the key is after commit `commit`. A value that outlived UNFLUSH may
 * have been left as it was: that it shows more than its first commit cannot be told. */
static void shows(const struct model *model, struct expected *expected, uint32_t db, uint32_t key,
                  uint32_t commit) {
    const struct version *last = model_last(model, db, key, commit);
    bool left = last && last->exists && last->birth == 0;
    if (last && !left && last->commit > expected->shown) expected->shown = last->commit;
}

/* ---- commands ---- */

/* Makes a text of the state with `part` at `offset`, zeros before it if need be. */
static void splice(struct model *model, const struct action *a, const struct version *state,
                   size_t offset, struct expected *expected) {
    size_t old = state ? state->len : 0, end = offset + a->text.len;
    size_t len = end > old ? end : old;
    char *text = mem_new_zero(len);
    if (old > 0) memcpy(text, state->data, old);
    memcpy(text + offset, a->text.data, a->text.len);
    set(model, a->db, a->key, (struct bytes){ text, len }, state ? state->expire_ms : 0);
    mem_free(text, len);
    say_int(expected, (int64_t)len);
}

static void incr(struct model *model, const struct action *a, const struct version *state,
                 struct expected *expected) {
    int64_t n = 0;
    char text[INT_TEXT_MAX];
    if (state && !int_parse((struct bytes){ state->data, state->len }, &n)) {
        say(expected, "-ERR value is not an integer or out of range\r\n");
        return;
    }
    if (n == INT64_MAX) {
        say(expected, "-ERR increment or decrement would overflow\r\n");
        return;
    }
    set(model, a->db, a->key, (struct bytes){ text, int_format(text, n + 1) },
        state ? state->expire_ms : 0);
    say_int(expected, n + 1);
}

static void expire(struct model *model, const struct action *a, const struct version *state,
                   struct expected *expected) {
    bool changes = state && (a->kind == PEXPIRE || state->expire_ms);
    int64_t at = a->kind == PEXPIRE ? model->now_ms + a->number : 0;
    if (changes) set(model, a->db, a->key, (struct bytes){ state->data, state->len }, at);
    say_int(expected, changes);
}

static void rename_key(struct model *model, const struct action *a, const struct version *state,
                       struct expected *expected) {
    if (!state) {
        say(expected, "-ERR no such key\r\n");
        return;
    }
    if (a->key != a->other) {
        put_state(model, a->db, a->other, state, model->count);
        del(model, a->db, a->key);
    }
    say(expected, "+OK\r\n");
}

static uint32_t target(const struct action *a) {
    return a->kind == MOVE ? a->key : a->other;
}

/* It is refused before anything is looked at. */
static bool copies_itself(const struct action *a) {
    return a->kind == COPY && a->db == a->other_db && a->key == target(a);
}

static void copy(struct model *model, const struct action *a, const struct version *state,
                 struct expected *expected) {
    uint32_t to = target(a);
    if (copies_itself(a)) {
        say(expected, "-ERR source and destination objects are the same\r\n");
        return;
    }
    bool fits = state && (a->replace || !now(model, a->other_db, to));
    if (fits) put_state(model, a->other_db, to, state, model->count);
    if (fits && a->kind == MOVE) del(model, a->db, a->key);
    if (state) shows(model, expected, a->other_db, to, model->count);
    say_int(expected, fits);
}

static void flush(struct model *model, uint32_t db) {
    struct flushed flushed = { .commit = model->count, .db = db };
    for (uint32_t key = 0; key < KEYS; key++) {
        if (!now(model, db, key)) continue;
        del(model, db, key);
        flushed.keys = true;
    }
    model->open.flushed[db] = flushed; /* the one before it can no longer be undone */
    model->changed = true;
}

static const struct flushed *newest_flush(const struct model *model) {
    const struct flushed *newest = &model->open.flushed[0];
    for (uint32_t db = 1; db < DBS; db++)
        if (model->open.flushed[db].commit > newest->commit) newest = &model->open.flushed[db];
    return newest->commit > 0 ? newest : NULL;
}

bool model_can_unflush(const struct model *model) {
    const struct flushed *newest = newest_flush(model);
    for (uint32_t db = 0; newest && db < DBS; db++) {
        const struct flushed *flushed = &model->open.flushed[db];
        if (flushed->commit == newest->commit && flushed->keys) return true;
    }
    return false;
}

void model_forget_flushes(struct model *model) {
    for (uint32_t db = 0; db < DBS; db++)
        model->open.flushed[db] = (struct flushed){ .commit = model->count - 1, .db = db };
    model->commits[model->count - 1] = model->open;
}

/* What was there before the flush comes back, but where something was written since. */
static void unflush(struct model *model, struct expected *expected) {
    expected->begins = ":"; /* it counts keys whose time is over */
    uint32_t commit = newest_flush(model)->commit;
    for (uint32_t db = 0; db < DBS; db++) {
        struct flushed flushed = model->open.flushed[db];
        if (flushed.commit != commit) continue;
        for (uint32_t key = 0; key < KEYS; key++) {
            const struct version *then =
                model_state(model, flushed.db, key, commit - 1, model->now_ms);
            const struct version *state = now(model, db, key);
            if (state)
                put_state(model, db, key, state, 0); /* its shard may have had nothing to undo */
            else /* what comes back may be over already: since when it is not there cannot be told */
                put_state(model, db, key, then, then ? model->count : 0);
        }
        model->open.flushed[db] = (struct flushed){};
    }
}

static void put_moved(struct model *model, uint32_t db, uint32_t key, const struct version *state) {
    put(model, db, key, state->exists, (struct bytes){ state->data, state->len }, state->expire_ms,
        state->birth);
}

static void swap(struct model *model, uint32_t a, uint32_t b) {
    if (a == b) return;
    struct flushed flushed = model->open.flushed[a];
    model->open.flushed[a] = model->open.flushed[b];
    model->open.flushed[b] = flushed;
    model->open.barrier[a] = model->open.barrier[b] =
        UINT64_MAX; /* the commit's stamp, once known */
    for (uint32_t key = 0; key < KEYS; key++) {
        const struct version *one = now(model, a, key), *other = now(model, b, key);
        struct version from = one ? *one : (struct version){}; /* its text stays where it is */
        struct version to = other ? *other : (struct version){};
        put_moved(model, a, key, &to);
        put_moved(model, b, key, &from);
    }
    model->changed = true;
}

static void getat(struct model *model, const struct action *a, struct expected *expected) {
    uint64_t barrier = model->open.barrier[a->db];
    if (model_is_vague(model, a->at)) {
        expected->begins = "";
        return;
    }
    if (a->at < barrier && a->at >= model->known_from) {
        expected->begins = "-NOHISTORY";
        return;
    }
    expected->may_be_unknown = a->at < model->known_from;
    shows(model, expected, a->db, a->key, commit_at(model, a->at));
    say_value(expected, model_past(model, a->db, a->key, a->at));
}

static void hist(const struct model *model, const struct version *state,
                 struct expected *expected) {
    if (!state || state->birth == 0) {
        expected->begins = "*"; /* when it ended is not always told by a commit */
        return;
    }
    uint64_t stamp = model->commits[state->birth].stamp;
    buffer_format(expected->reply, "*2\r\n:%" PRIu64 "\r\n", stamp / 1'000'000);
    say_value(expected, state);
}

static void run_on_database(struct model *model, const struct action *a,
                            struct expected *expected) {
    if (a->kind == UNFLUSH) {
        unflush(model, expected);
        return;
    }
    for (uint32_t db = 0; db < DBS; db++)
        if (a->kind == FLUSHALL || (a->kind == FLUSHDB && db == a->db)) flush(model, db);
    if (a->kind == SWAPDB) swap(model, a->db, a->other_db);
    say(expected, "+OK\r\n");
}

void model_run(struct model *model, const struct action *a, struct expected *expected) {
    const struct version *state = now(model, a->db, a->key);
    if (a->kind != GETAT && a->kind != SELECT && a->kind != SWAPDB && !copies_itself(a))
        shows(model, expected, a->db, a->key, model->count);
    switch (a->kind) {
    case GET: say_value(expected, state); break;
    case GETDEL:
        say_value(expected, state);
        if (state) del(model, a->db, a->key);
        break;
    case SET:
        set(model, a->db, a->key, a->text, a->number ? model->now_ms + a->number : 0);
        say(expected, "+OK\r\n");
        break;
    case DEL:
        say_int(expected, state != NULL);
        if (state) del(model, a->db, a->key);
        break;
    case INCR: incr(model, a, state, expected); break;
    case APPEND: splice(model, a, state, state ? state->len : 0, expected); break;
    case SETRANGE: splice(model, a, state, (size_t)a->number, expected); break;
    case PEXPIRE:
    case PERSIST: expire(model, a, state, expected); break;
    case RENAME: rename_key(model, a, state, expected); break;
    case COPY:
    case MOVE: copy(model, a, state, expected); break;
    case GETAT: getat(model, a, expected); break;
    case HIST: hist(model, state, expected); break;
    case FLUSHDB:
    case FLUSHALL:
    case UNFLUSH:
    case SWAPDB:
    case SELECT: run_on_database(model, a, expected); break;
    case ACTION_KINDS: assert(false); break;
    }
    if (model->changed) expected->shown = model->count;
}

/* ---- commits ---- */

/* A change to what was there already, which the database may have left out. */
static bool changes_nothing(const struct model *model) {
    for (uint32_t db = 0; db < DBS; db++)
        for (uint32_t key = 0; key < KEYS; key++) {
            const struct line *line = &model->lines[db][key];
            const struct version *last = line_last(line);
            if (!last || last->commit != model->count) continue;
            const struct version *before = line->count > 1 ? last - 1 : NULL;
            if (!before || before->exists != last->exists || before->expire_ms != last->expire_ms ||
                !bytes_equal((struct bytes){ before->data, before->len },
                             (struct bytes){ last->data, last->len }))
                return false;
        }
    return true;
}

static void push(struct model *model, uint64_t stamp) {
    size_t cap = model->cap;
    model->commits = grown(model->commits, model->count, sizeof *model->commits, &cap);
    model->cap = (uint32_t)cap;
    struct commit *commit = &model->commits[model->count++];
    model->open.stamp = stamp;
    for (uint32_t db = 0; db < DBS; db++)
        if (model->open.barrier[db] == UINT64_MAX) model->open.barrier[db] = stamp;
    *commit = model->open;
    model->changed = false;
}

const char *model_commit(struct model *model, uint64_t stamp) {
    if (!model->changed) return NULL;
    if (stamp > model->commits[model->count - 1].stamp) {
        push(model, stamp);
        return NULL;
    }
    if (!changes_nothing(model)) return "a change without a stamp of its own";
    struct commit open = model->open;
    model_cut(model, model->count - 1);
    model->open = open; /* a flush of nothing */
    return NULL;
}

void model_cut(struct model *model, uint32_t last) {
    assert(last < model->count);
    for (uint32_t db = 0; db < DBS; db++)
        for (uint32_t key = 0; key < KEYS; key++) line_cut(&model->lines[db][key], last);
    model->count = last + 1;
    model->open = model->commits[last];
    model->changed = false;
}

void model_blur(struct model *model, uint64_t until) {
    struct span span = { model->commits[model->count - 1].stamp + 1, until };
    if (model->vague_count < VAGUE_MAX)
        model->vague[model->vague_count++] = span;
    else
        model->vague[VAGUE_MAX - 1].until = until;
}

bool model_is_vague(const struct model *model, uint64_t at) {
    for (uint32_t i = 0; i < model->vague_count; i++)
        if (at >= model->vague[i].from && at < model->vague[i].until) return true;
    return false;
}

void model_init(struct model *model) {
    *model = (struct model){};
    push(model, 0);
}

void model_deinit(struct model *model) {
    for (uint32_t db = 0; db < DBS; db++)
        for (uint32_t key = 0; key < KEYS; key++) {
            struct line *line = &model->lines[db][key];
            for (size_t i = 0; i < line->count; i++) version_deinit(&line->versions[i]);
            mem_free(line->versions, line->cap * sizeof *line->versions);
        }
    mem_free(model->commits, model->cap * sizeof *model->commits);
}
