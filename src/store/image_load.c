/* image_load.c: an image becomes a store again.
 *
 *     PAST ──► records appended anew; map: position then ──► position now
 *     SHARD ─► databases, periods, tables of the right size
 *     KEYS ──► entries, straight into their tables, their positions translated by the map
 *     END ───► what was forgotten; totals compared
 *
 * A position that the map does not know was dropped before it was copied, or forgotten, and reads so. A record that
 * is told as a difference needs a newer state that is long enough to take it; where a file has another one, the
 * chain ends as if the rest had been dropped.
 * What a file can say is checked here and answered with CORRUPT; nothing it says is asserted. */
#include "store/image.h"

#include "base/limits.h"
#include "base/varint.h"
#include "store/shard.h"

enum {
    GROUP = 24,      /* keys whose cache misses overlap */
    KEY_ROW_MIN = 6, /* bytes */
};
#define STAMP_MAX ((uint64_t)INT64_MAX) /* the year 2262 */

enum stage { LOADING_PAST, LOADING_KEYS, LOADED };

/* Where a record is now. `need`: 0 for a whole state; for a difference one more than the length that the next
 * newer state must have for it to apply. */
struct moved {
    uint64_t then : 47, need_high : 16;
    uint64_t now : 47, need_low : 16;
};
static_assert(sizeof(struct moved) == 16);

struct loaded_table {
    struct index *index; /* borrowed from the databases that hold it; NULL: none does so far */
    uint64_t expected;
    uint32_t db;
    bool now; /* it is the present of `db`, and not only past */
};

struct loading { /* of a shard */
    enum stage stage;
    uint64_t captured, visited;
    uint64_t newest; /* of all stamps in it */
    uint64_t keys, records;
    struct moved *map; /* ascending */
    size_t map_count, map_cap;
    struct loaded_table *tables;
    uint32_t tables_count;
};

struct image_loader {
    struct store *store;
    struct loading *shards;
    _Atomic uint64_t keys;
    _Atomic uint64_t room; /* keys for which tables may still be made in advance */
    bool begun;
};

static enum status bad(struct problem *why, const char *what) {
    return problem_set(why, CORRUPT, 0, "the snapshot's %s", what);
}

/* A section on its way through. */
struct reading {
    struct image_loader *loader;
    struct loading *loading; /* of its shard */
    struct shard *shard;
    struct worker *worker;
    struct bytes rest;
    struct problem *why;
};

static bool take(struct reading *reading, uint64_t *out) {
    return varint_take(&reading->rest, out);
}

static bool take_stamp(struct reading *reading, uint64_t *out) {
    if (!varint_take(&reading->rest, out) || *out > STAMP_MAX) return false;
    raise(&reading->loading->newest, *out);
    return true;
}

/* A stamp that is told as a distance from another. */
static bool take_stamp_near(struct reading *reading, uint64_t base, bool before, uint64_t *out) {
    int64_t distance;
    if (!varint_take_signed(&reading->rest, &distance)) return false;
    *out = before ? base - (uint64_t)distance : base + (uint64_t)distance;
    if (*out > STAMP_MAX) return false;
    raise(&reading->loading->newest, *out);
    return true;
}

static enum status too_many_databases(struct problem *why, uint64_t db) {
    return problem_set(why, UNSUPPORTED, 0,
                       "there is data in database %llu: start with a higher setting of databases",
                       (unsigned long long)db);
}

static enum status unknown_type(struct problem *why, unsigned type) {
    return problem_set(why, UNSUPPORTED, 0,
                       "the snapshot has a value of type %u, which this version does not know",
                       type);
}

/* --- the store --- */

struct image_loader *image_loader_new(struct store *store, uint64_t bytes) {
    struct image_loader *loader = mem_new_zero(sizeof *loader);
    loader->store = store;
    loader->shards = mem_new_zero(store->shards_count * sizeof *loader->shards);
    loader->room = bytes / KEY_ROW_MIN;
    atomic_fetch_add_explicit(&store->loading, 1, memory_order_release);
    return loader;
}

static void forget_map(struct loading *loading) {
    mem_free(loading->map, loading->map_cap * sizeof *loading->map);
    loading->map = NULL;
    loading->map_count = loading->map_cap = 0;
}

struct image_loader *image_loader_free(struct image_loader *loader) {
    if (!loader) return NULL;
    atomic_fetch_sub_explicit(&loader->store->loading, 1, memory_order_release);
    for (unsigned i = 0; i < loader->store->shards_count; i++) {
        struct loading *loading = &loader->shards[i];
        forget_map(loading);
        mem_free(loading->tables, loading->tables_count * sizeof *loading->tables);
    }
    mem_free(loader->shards, loader->store->shards_count * sizeof *loader->shards);
    mem_free(loader, sizeof *loader);
    return NULL;
}

/* What was excluded from history at any time goes behind what is excluded now. */
static void add_patterns(struct store *store, struct patterns *old) {
    pthread_mutex_lock(&store->settings_lock);
    struct patterns *last = atomic_load_explicit(&store->exclude, memory_order_relaxed);
    while (last->older) last = last->older;
    last->older = old;
    pthread_mutex_unlock(&store->settings_lock);
}

static enum status load_patterns(struct reading *reading, uint32_t count) {
    if (count > reading->rest.len) return bad(reading->why, "list of exclusions is cut short");
    if (count == 0) return OK;
    struct patterns *patterns = mem_new(sizeof *patterns + count * sizeof(struct bytes));
    struct bytes rest = reading->rest;
    bool whole = true;
    for (uint32_t i = 0; i < count && whole; i++)
        whole = varint_take_bytes(&rest, &patterns->list[i]);
    if (!whole) {
        mem_free(patterns, sizeof *patterns + count * sizeof(struct bytes));
        return bad(reading->why, "list of exclusions is cut short");
    }
    reading->rest = rest;
    patterns->older = NULL;
    patterns->count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct bytes *pattern = &patterns->list[i];
        char *text = mem_new(pattern->len + 1);
        if (pattern->len) memcpy(text, pattern->data, pattern->len);
        pattern->data = text;
    }
    add_patterns(reading->loader->store, patterns);
    return OK;
}

static enum status load_store(struct reading *reading, uint32_t count) {
    struct store *store = reading->loader->store;
    uint64_t shards, databases, resolution;
    if (reading->loader->begun) return bad(reading->why, "first section is there twice");
    if (!take(reading, &shards) || !take(reading, &databases) || !take(reading, &resolution))
        return bad(reading->why, "first section is cut short");
    if (shards != store->shards_count)
        return problem_set(reading->why, UNSUPPORTED, 0,
                           "the snapshot has %llu shards, and this store %u",
                           (unsigned long long)shards, store->shards_count);
    reading->loader->begun = true;
    if (resolution > atomic_load_explicit(&store->resolution_seen_ns, memory_order_relaxed))
        atomic_store_explicit(&store->resolution_seen_ns, resolution, memory_order_relaxed);
    return load_patterns(reading, count);
}

/* --- the past --- */

static uint64_t moved_need(const struct moved *moved) {
    return (uint64_t)moved->need_high << 16 | moved->need_low;
}

static void map_add(struct loading *loading, uint64_t then, uint64_t now, uint64_t need) {
    if (loading->map_count == loading->map_cap) {
        size_t cap = loading->map_cap ? loading->map_cap * 2 : 64;
        loading->map = mem_resize(loading->map, loading->map_cap * sizeof *loading->map,
                                  cap * sizeof *loading->map);
        loading->map_cap = cap;
    }
    loading->map[loading->map_count++] = (struct moved){ .then = then & POSITION_MAX,
                                                         .need_high = need >> 16 & 0xffff,
                                                         .now = now & POSITION_MAX,
                                                         .need_low = need & 0xffff };
}

/* About where in the map `then` is: exact where all records are of one size. */
static size_t map_guess(const struct loading *loading, uint64_t then) {
    uint64_t first = loading->map[0].then, last = loading->map[loading->map_count - 1].then;
    if (then <= first) return 0;
    if (then >= last) return loading->map_count - 1;
    double part = (double)(then - first) / (double)(last - first);
    return (size_t)(part * (double)(loading->map_count - 1));
}

static const struct moved *map_find(const struct loading *loading, uint64_t then) {
    size_t count = loading->map_count, low, high, step = 1;
    if (count == 0) return NULL;
    const struct moved *map = loading->map;
    low = high = map_guess(loading, then);
    while (low > 0 && map[low].then > then) { /* away from the guess, ever faster */
        high = low;
        low = low > step ? low - step : 0;
        step *= 2;
    }
    while (high < count && map[high].then <= then) {
        low = high;
        high = count - high > step ? high + step : count;
        step *= 2;
    }
    while (high - low > 1) { /* map[low] <= then < map[high], as far as there is any */
        size_t middle = low + (high - low) / 2;
        if (map[middle].then <= then)
            low = middle;
        else
            high = middle;
    }
    return map[low].then == then ? &map[low] : NULL;
}

/* The position now of what a state refers to, as it was then (0: nothing). `length`: of that state's bytes;
 * `whole`: it cannot be differed from. */
static uint64_t translate(const struct reading *reading, uint64_t then, uint64_t length,
                          bool whole) {
    if (then == 0) return 0;
    const struct moved *moved = map_find(reading->loading, then);
    if (!moved || moved->now < history_head(&reading->shard->history)) return HISTORY_LOST;
    uint64_t need = moved_need(moved);
    if (need && (whole || need - 1 > length)) return HISTORY_LOST;
    return moved->now;
}

/* What the content of a record is, by its kind; checked. */
static enum status take_content(struct reading *reading, struct record_view *view) {
    struct bytes *rest = &reading->rest;
    if (view->kind != EFFECT_SET && (view->type || view->encoding))
        return bad(reading->why, "history has a strange change");
    if (view->kind == EFFECT_DELETE) return OK;
    if (view->kind == EFFECT_EXPIRE) {
        bool whole = varint_take_signed(rest, &view->expire_at_ms);
        return whole ? OK : bad(reading->why, "history is cut short");
    }
    if (view->kind == EFFECT_SPLICE) {
        if (!take(reading, &view->offset) || !take(reading, &view->length) ||
            !varint_take_bytes(&reading->rest, &view->bytes))
            return bad(reading->why, "history is cut short");
        if (view->length > STRING_SIZE_MAX || view->offset > STRING_SIZE_MAX ||
            (view->bytes.len &&
             (view->offset > view->length || view->bytes.len > view->length - view->offset)))
            return bad(reading->why, "history changes what lies outside of its string");
        return OK;
    }
    if (view->type != VALUE_STRING) return unknown_type(reading->why, view->type);
    if (view->encoding > STRING_EDITED) return bad(reading->why, "history has no such encoding");
    bool whole = view->encoding == STRING_INT ? varint_take_signed(rest, &view->number)
                                              : varint_take_bytes(rest, &view->bytes);
    if (!whole) return bad(reading->why, "history is cut short");
    bool in_record = view->encoding == STRING_INLINE || view->encoding == STRING_EDITED;
    if (view->bytes.len > (in_record ? (size_t)STRING_INLINE_MAX : (size_t)STRING_SIZE_MAX))
        return bad(reading->why, "history has a value too long for its encoding");
    return OK;
}

/* Copies what does not lie in the record itself. */
static enum status own_content(struct reading *reading, struct record_view *view) {
    bool blob = view->kind == EFFECT_SPLICE
                    ? view->bytes.len > STRING_INLINE_MAX
                    : view->kind == EFFECT_SET &&
                          (view->encoding == STRING_BLOB || view->encoding == STRING_BUFFER);
    if (!blob) return OK;
    view->blob = blob_of(view->bytes);
    return view->blob ? OK : problem_set(reading->why, NO_MEMORY, 0, "no memory for a large value");
}

/* What the next newer state must be for this record, whose predecessor is now at `record->prev`, to apply. */
static uint64_t need_of(const struct reading *reading, const struct loaded_record *record,
                        uint64_t prev_then) {
    if (record->view.kind == EFFECT_SPLICE) return record->view.length + 1;
    if (record->view.kind != EFFECT_EXPIRE) return 0;
    const struct moved *prev =
        record->prev > HISTORY_LOST ? map_find(reading->loading, prev_then) : NULL;
    uint64_t need = prev ? moved_need(prev) : 0;
    return need ? need : 1;
}

/* A row but for its content: `*then` is where it was, `*prev_then` where its predecessor was. */
static enum status take_record(struct reading *reading, uint64_t last, uint64_t *then,
                               uint64_t *prev_then, struct loaded_record *record) {
    if (reading->rest.len < 4) return bad(reading->why, "history is cut short");
    const unsigned char *fixed = (const unsigned char *)reading->rest.data;
    reading->rest.data += 4;
    reading->rest.len -= 4;
    unsigned bits = fixed[2];
    uint64_t ahead, back, actor;
    record->view.kind = fixed[0];
    record->view.type = fixed[1] & 15;
    record->view.encoding = fixed[1] >> 4;
    record->db = fixed[3];
    record->tombstone = bits & IMAGE_PAST_TOMBSTONE;
    if (!take(reading, &ahead) || !take(reading, &back) || !take(reading, &actor) ||
        !take_stamp_near(reading, last, true, &record->birth))
        return bad(reading->why, "history is cut short or out of time");
    if (ahead == 0 || ahead > POSITION_MAX - *then || actor > UINT16_MAX)
        return bad(reading->why, "history is out of order");
    *then += ahead;
    if (back >= *then) return bad(reading->why, "history is out of order");
    *prev_then = back ? *then - back : 0;
    record->actor = (uint16_t)actor;
    if (record->db >= reading->loader->store->databases)
        return too_many_databases(reading->why, record->db);
    if (record->view.kind < EFFECT_SET || record->view.kind > EFFECT_SPLICE || bits > 3)
        return bad(reading->why, "history has a record of an unknown kind");
    bool whole = record->view.kind == EFFECT_SET || record->view.kind == EFFECT_DELETE;
    if (record->tombstone && (!whole || !take(reading, &record->hash)))
        return bad(reading->why, "history has a strange deletion");
    record->hash <<= 8;
    bool expires = bits & IMAGE_PAST_EXPIRE;
    if (expires && (record->view.kind != EFFECT_SET ||
                    !varint_take_signed(&reading->rest, &record->view.expire_at_ms)))
        return bad(reading->why, "history has a strange expiry");
    return take_content(reading, &record->view);
}

static enum status load_past(struct reading *reading, uint32_t count) {
    struct loading *loading = reading->loading;
    if (loading->stage != LOADING_PAST) return bad(reading->why, "history comes after its keys");
    uint64_t last, then = 0;
    if (!take_stamp(reading, &last)) return bad(reading->why, "history is cut short");
    uint64_t newest = loading->map_count ? loading->map[loading->map_count - 1].then : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct loaded_record record = { .tombstone = false };
        uint64_t prev_then = 0;
        enum status status = take_record(reading, last, &then, &prev_then, &record);
        if (status != OK) return status;
        if (then <= newest) return bad(reading->why, "history is out of order");
        uint64_t length = record.view.kind == EFFECT_SPLICE   ? record.view.length
                          : record.view.kind == EFFECT_EXPIRE ? UINT64_MAX
                                                              : record.view.bytes.len;
        record.prev = translate(reading, prev_then, length, record.view.kind == EFFECT_DELETE);
        uint64_t need = need_of(reading, &record, prev_then);
        status = own_content(reading, &record.view);
        if (status != OK) return status;
        uint64_t now = history_put_loaded(&reading->shard->history, &record, last);
        map_add(loading, then, now, need);
    }
    loading->records += count;
    return OK;
}

/* --- databases --- */

/* The table that goes by `number`, with a reference for who asks; `*out` is NULL for 0. */
static enum status refer(struct reading *reading, uint64_t number, uint32_t db, bool now,
                         struct index **out) {
    struct loading *loading = reading->loading;
    struct store *store = reading->loader->store;
    *out = NULL;
    if (number == 0) return OK;
    if (number > loading->tables_count)
        return bad(reading->why, "databases name a table that is not there");
    struct loaded_table *table = &loading->tables[number - 1];
    if (table->index && table->db != db) return bad(reading->why, "databases share a table");
    if (table->index) {
        table->index->refs++;
    } else {
        table->index = index_new(&store->seed, store->shard_bits, reading->shard->number);
        table->db = db;
        uint64_t room = atomic_load_explicit(&reading->loader->room, memory_order_relaxed);
        uint64_t keys = table->expected < room ? table->expected : room;
        atomic_fetch_sub_explicit(&reading->loader->room, keys, memory_order_relaxed);
        index_reserve(table->index, keys);
    }
    table->now |= now;
    *out = table->index;
    return OK;
}

static enum status load_periods(struct reading *reading, struct database *database, uint32_t db) {
    uint64_t count, end = database->since;
    if (!take(reading, &count) || count > reading->rest.len / 4)
        return bad(reading->why, "list of flushes is cut short");
    if (count == 0) return OK;
    database->periods = mem_new(count * sizeof(struct period));
    database->periods_cap = (uint32_t)count;
    for (uint64_t i = 0; i < count; i++) {
        struct period period;
        uint64_t undoable, number;
        if (!take_stamp(reading, &period.from) || !take_stamp(reading, &period.to) ||
            !take(reading, &undoable) || !take(reading, &number))
            return bad(reading->why, "list of flushes is cut short");
        if (period.from > period.to || period.to > end || undoable > 1)
            return bad(reading->why, "list of flushes is out of order");
        end = period.from;
        period.undoable = undoable;
        enum status status = refer(reading, number, db, false, &period.index);
        if (status != OK) return status;
        database->periods[database->periods_count++] = period;
    }
    return OK;
}

static enum status load_database(struct reading *reading, uint64_t *next) {
    uint64_t db, since, barrier, number;
    if (!take(reading, &db) || !take_stamp(reading, &since) || !take_stamp(reading, &barrier) ||
        !take(reading, &number))
        return bad(reading->why, "list of databases is cut short");
    if (db < *next) return bad(reading->why, "list of databases is out of order");
    if (db >= reading->loader->store->databases) return too_many_databases(reading->why, db);
    *next = db + 1;
    struct database *database = &reading->shard->databases[db];
    assert(!database_now(database) && !database->periods);
    struct index *now;
    enum status status = refer(reading, number, (uint32_t)db, true, &now);
    if (status != OK) return status;
    atomic_store_explicit(&database->now, now, memory_order_release);
    database->since = since;
    database->barrier = barrier;
    return load_periods(reading, database, (uint32_t)db);
}

static enum status load_tables(struct reading *reading) {
    uint64_t count;
    struct loading *loading = reading->loading;
    if (!take(reading, &count) || count > reading->rest.len)
        return bad(reading->why, "list of tables is cut short");
    if (count == 0) return OK;
    loading->tables = mem_new_zero(count * sizeof *loading->tables);
    loading->tables_count = (uint32_t)count;
    for (uint64_t i = 0; i < count; i++)
        if (!take(reading, &loading->tables[i].expected))
            return bad(reading->why, "list of tables is cut short");
    return OK;
}

static enum status load_shard(struct reading *reading, uint32_t count) {
    struct loading *loading = reading->loading;
    if (loading->stage != LOADING_PAST) return bad(reading->why, "shard is there twice");
    loading->stage = LOADING_KEYS;
    if (!take_stamp(reading, &loading->captured)) return bad(reading->why, "shard is cut short");
    enum status status = load_tables(reading);
    uint64_t next = 0;
    for (uint32_t i = 0; i < count && status == OK; i++) status = load_database(reading, &next);
    return status;
}

/* --- keys --- */

struct row {
    struct key key;
    uint8_t kind, bits;
    uint16_t actor;
    uint64_t stamp, position;
    int64_t expire_at_ms, number;
    struct bytes bytes;
};

static bool row_is_tombstone(const struct row *row) {
    return (row->kind & 15) == VALUE_NONE;
}

/* Whether the value lies in a word, as a number or a blob, and not behind the key. */
static bool row_has_word(const struct row *row) {
    unsigned encoding = row->kind >> 4;
    return !row_is_tombstone(row) && encoding != STRING_INLINE && encoding != STRING_EDITED;
}

static enum status take_value(struct reading *reading, struct row *row) {
    unsigned type = row->kind & 15, encoding = row->kind >> 4;
    if (type == VALUE_NONE)
        return encoding == 0 && !(row->bits & IMAGE_KEY_EXPIRE)
                   ? OK
                   : bad(reading->why, "list of keys has a strange deletion");
    if (type != VALUE_STRING) return unknown_type(reading->why, type);
    if (encoding > STRING_EDITED) return bad(reading->why, "list of keys has no such encoding");
    if (encoding == STRING_INT)
        return varint_take_signed(&reading->rest, &row->number)
                   ? OK
                   : bad(reading->why, "list of keys is cut short");
    if (!varint_take_bytes(&reading->rest, &row->bytes))
        return bad(reading->why, "list of keys is cut short");
    if (row->bytes.len >
        (row_has_word(row) ? (uint64_t)STRING_SIZE_MAX : (uint64_t)STRING_INLINE_MAX))
        return bad(reading->why, "list of keys has a value too long for its encoding");
    return OK;
}

static enum status take_row(struct reading *reading, const struct loaded_table *table,
                            uint64_t base, struct row *row) {
    if (reading->rest.len < 2) return bad(reading->why, "list of keys is cut short");
    *row = (struct row){ .kind = (uint8_t)reading->rest.data[0],
                         .bits = (uint8_t)reading->rest.data[1] };
    reading->rest.data += 2;
    reading->rest.len -= 2;
    uint64_t actor;
    struct bytes name;
    bool whole = take(reading, &actor) && take_stamp_near(reading, base, false, &row->stamp);
    if (row->bits & IMAGE_KEY_EXPIRE)
        whole =
            whole && varint_take_signed(&reading->rest, &row->expire_at_ms) && row->expire_at_ms;
    if (row->bits & IMAGE_KEY_HISTORY)
        whole = whole && take(reading, &row->position) && row->position &&
                row->position <= POSITION_MAX;
    if (!whole || !varint_take_bytes(&reading->rest, &name))
        return bad(reading->why, "list of keys is cut short or out of time");
    if (actor > UINT16_MAX || row->bits > 31 || name.len > KEY_SIZE_MAX)
        return bad(reading->why, "list of keys has a strange row");
    row->actor = (uint16_t)actor;
    enum status status = take_value(reading, row);
    if (status != OK) return status;
    row->key = store_key(reading->loader->store, table->db, name);
    if (row->key.shard != reading->shard->number)
        return bad(reading->why, "list of keys has one of another shard, or the seed is another");
    return OK;
}

static unsigned lasting_words(const struct row *row) {
    return (row->bits & IMAGE_KEY_EXCLUDED ? ENTRY_EXCLUDED : 0u) |
           (row->bits & IMAGE_KEY_PRUNED ? ENTRY_PRUNED : 0u) |
           (row->bits & IMAGE_KEY_PURGED ? ENTRY_PURGED : 0u);
}

/* NULL: memory for a large value was refused. */
static struct entry *entry_of(const struct row *row, unsigned words, uint64_t position) {
    size_t name = row->key.name.len;
    bool word = row_has_word(row), number = word && row->kind >> 4 == STRING_INT;
    struct blob *blob = word && !number ? blob_of(row->bytes) : NULL;
    if (word && !number && !blob) return NULL;
    words |= (row->expire_at_ms ? ENTRY_EXPIRE : 0u) | (position ? ENTRY_HISTORY : 0u) |
             (name >= ENTRY_KLEN_LONG ? ENTRY_LONG_KEY : 0u) | (word ? ENTRY_VALUE : 0u);
    size_t inline_len = word ? 0 : row->bytes.len;
    struct entry *entry = mem_new(sizeof *entry + entry_words_size(words) + name + inline_len);
    entry->stamp = row->stamp;
    entry->vlen = (uint16_t)inline_len;
    entry->actor = row->actor;
    entry->klen = name >= ENTRY_KLEN_LONG ? ENTRY_KLEN_LONG : (uint16_t)name;
    entry->kind = row->kind;
    entry->words = (uint8_t)words;
    if (words & ENTRY_EXPIRE) entry_store(entry, ENTRY_EXPIRE, (uint64_t)row->expire_at_ms);
    if (words & ENTRY_HISTORY) entry_store(entry, ENTRY_HISTORY, position);
    if (words & ENTRY_LONG_KEY) entry_store(entry, ENTRY_LONG_KEY, name);
    if (word)
        entry_store(entry, ENTRY_VALUE, number ? (uint64_t)row->number : (uint64_t)(uintptr_t)blob);
    unsigned char *at = entry->data + entry_words_size(words);
    bytes_move(at, row->key.name.data, name);
    bytes_move(at + name, row->bytes.data, inline_len);
    return entry;
}

static void entry_drop(struct index *index, struct entry *entry) {
    entry_count(index, entry, -1);
    blob_unref(entry_blob(entry));
    mem_free(entry, entry_size(entry)); /* nobody else has seen it */
}

/* A tombstone whose record is gone goes too, as it would have (retention.c). */
static void forget_tombstone(struct reading *reading, struct index *index, const struct row *row,
                             _Atomic uint64_t *slot, struct entry *before) {
    raise(&reading->shard->forgotten, row->stamp);
    raise(&reading->shard->deletion_forgotten, row->stamp);
    if (!before) return;
    index_remove(index, reading->worker, slot);
    entry_drop(index, before);
}

static enum status put_row(struct reading *reading, struct loaded_table *table,
                           const struct row *row) {
    struct index *index = table->index;
    _Atomic uint64_t *slot = NULL;
    uint64_t word = index_find(index, row->key.hash, row->key.name, &slot);
    struct entry *before = word ? word_entry(word) : NULL;
    if (before && before->stamp > row->stamp) return OK; /* a resize showed it to the walk twice */
    bool tombstone = row_is_tombstone(row);
    uint64_t position = translate(reading, row->position, row->bytes.len, tombstone);
    if (tombstone && position == HISTORY_LOST) {
        forget_tombstone(reading, index, row, slot, before);
        return OK;
    }
    unsigned words = lasting_words(row);
    if (row->expire_at_ms && table->now &&
        expiry_arm(reading->shard, index, table->db, row->key.hash, row->expire_at_ms))
        words |= ENTRY_ARMED;
    struct entry *entry = entry_of(row, words, position);
    if (!entry) return problem_set(reading->why, NO_MEMORY, 0, "no memory for a large value");
    entry_count(index, entry, 1);
    if (before) {
        index_replace(slot, entry);
        entry_drop(index, before);
    } else {
        index_insert(index, reading->worker, row->key.hash, entry);
    }
    return OK;
}

static enum status load_keys(struct reading *reading, uint32_t count) {
    struct loading *loading = reading->loading;
    uint64_t number, base;
    if (loading->stage != LOADING_KEYS) return bad(reading->why, "keys come before their shard");
    if (!take(reading, &number) || !take_stamp(reading, &base))
        return bad(reading->why, "list of keys is cut short");
    if (number == 0 || number > loading->tables_count || !loading->tables[number - 1].index)
        return bad(reading->why, "keys belong to a table that is not there");
    struct loaded_table *table = &loading->tables[number - 1];
    UNINITIALIZED struct row rows[GROUP];
    for (uint32_t done = 0; done < count;) {
        uint32_t n = count - done < GROUP ? count - done : GROUP;
        for (uint32_t i = 0; i < n; i++) {
            enum status status = take_row(reading, table, base, &rows[i]);
            if (status != OK) return status;
            if (rows[i].position && loading->map_count)
                __builtin_prefetch(&loading->map[map_guess(loading, rows[i].position)]);
            __builtin_prefetch(
                table_bucket(table->index->cur, index_x(table->index, rows[i].key.hash)), 1);
        }
        for (uint32_t i = 0; i < n; i++) {
            enum status status = put_row(reading, table, &rows[i]);
            if (status != OK) return status;
        }
        done += n;
    }
    loading->keys += count;
    atomic_fetch_add_explicit(&reading->loader->keys, count, memory_order_relaxed);
    return OK;
}

/* --- ends --- */

/* A table that is nobody's present counts as flushed (flush.c). */
static void put_aside(struct store *store, const struct loaded_table *table) {
    struct index *index = table->index;
    if (!index || table->now) return;
    index->aside = atomic_load_explicit(&index->data_size, memory_order_relaxed) +
                   atomic_load_explicit(&index->tombstone_size, memory_order_relaxed) +
                   atomic_load_explicit(&index->table_size, memory_order_relaxed);
    atomic_fetch_add_explicit(&store->flushed_size, index->aside, memory_order_relaxed);
}

static enum status load_end(struct reading *reading) {
    struct loading *loading = reading->loading;
    struct shard *shard = reading->shard;
    if (loading->stage != LOADING_KEYS) return bad(reading->why, "shard ends before it begins");
    uint64_t last, committed, forgotten, excluded, deletion, dropped, keys, records;
    if (!take_stamp(reading, &loading->visited) || !take_stamp(reading, &last) ||
        !take_stamp(reading, &committed) || !take_stamp(reading, &forgotten) ||
        !take_stamp(reading, &excluded) || !take_stamp(reading, &deletion) ||
        !take_stamp(reading, &dropped) || !take(reading, &keys) || !take(reading, &records))
        return bad(reading->why, "shard's end is cut short");
    if (loading->newest > last || loading->captured > loading->visited)
        return bad(reading->why, "shard has something of after its end");
    if (keys != loading->keys || records != loading->records)
        return bad(reading->why, "shard has lost some of its keys or of their history");
    shard_last_raise(shard, last);
    raise(&shard->committed, committed);
    raise(&shard->forgotten, forgotten);
    raise(&shard->excluded_forgotten, excluded);
    raise(&shard->deletion_forgotten, deletion);
    raise(&shard->history.dropped, dropped);
    for (uint32_t i = 0; i < loading->tables_count; i++)
        put_aside(reading->loader->store, &loading->tables[i]);
    forget_map(loading);
    loading->stage = LOADED;
    return OK;
}

static enum status load_actors(struct reading *reading, uint32_t count) {
    uint64_t next = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct actor_row row;
        if (!redo_take_actor(&reading->rest, &row) || row.n < next || row.n > STAMP_MAX)
            return bad(reading->why, "list of writers makes no sense");
        next = row.n + 1;
        actors_put(reading->loader->store, &row);
    }
    return OK;
}

static enum status load_pins(struct reading *reading, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct bytes name;
        uint64_t at;
        if (!varint_take_bytes(&reading->rest, &name) || name.len > PIN_NAME_MAX ||
            !take(reading, &at) || count > PINS_MAX)
            return bad(reading->why, "list of restore points makes no sense");
        pins_put(reading->loader->store, name, at);
    }
    return OK;
}

static enum status load_of_shard(struct reading *reading, const struct image_section *section) {
    struct image_loader *loader = reading->loader;
    if (section->shard >= loader->store->shards_count)
        return bad(reading->why, "shards are more than there are");
    reading->shard = store_shard(loader->store, section->shard);
    reading->loading = &loader->shards[section->shard];
    enum status status;
    lock_take(&reading->shard->lock); /* the janitor looks at shards too */
    if (reading->shard->history.head == 1) history_begin_loading(&reading->shard->history);
    if (section->kind == IMAGE_PAST)
        status = load_past(reading, section->count);
    else if (section->kind == IMAGE_SHARD)
        status = load_shard(reading, section->count);
    else if (section->kind == IMAGE_KEYS)
        status = load_keys(reading, section->count);
    else
        status = load_end(reading);
    lock_release(&reading->shard->lock);
    return status;
}

enum status image_load(struct image_loader *loader, struct worker *worker,
                       const struct image_section *section, struct problem *why) {
    struct loading none = { .newest = 0 };
    struct reading reading = {
        .loader = loader, .loading = &none, .worker = worker, .rest = section->bytes, .why = why
    };
    enum status status;
    if (!loader->begun && section->kind != IMAGE_STORE) return bad(why, "first section is missing");
    switch ((enum image_section_kind)section->kind) {
    case IMAGE_STORE: status = load_store(&reading, section->count); break;
    case IMAGE_ACTORS: status = load_actors(&reading, section->count); break;
    case IMAGE_PINS: status = load_pins(&reading, section->count); break;
    case IMAGE_SHARD:
    case IMAGE_KEYS:
    case IMAGE_PAST:
    case IMAGE_END: status = load_of_shard(&reading, section); break;
    default:
        return problem_set(
            why, UNSUPPORTED, 0,
            "the snapshot has a section of kind %u, which this version does not know",
            section->kind);
    }
    if (status == OK && reading.rest.len) return bad(why, "section is longer than its rows");
    return status;
}

enum status image_loaded(struct image_loader *loader, uint32_t shard, uint64_t *captured,
                         uint64_t *visited, struct problem *why) {
    const struct loading *loading = &loader->shards[shard];
    if (loading->stage != LOADED)
        return problem_set(why, CORRUPT, 0, "the snapshot does not have all of shard %u", shard);
    *captured = loading->captured;
    *visited = loading->visited;
    return OK;
}

uint64_t image_loaded_keys(const struct image_loader *loader) {
    return atomic_load_explicit(&loader->keys, memory_order_relaxed);
}
