/* settings.c: the values. How a value is read and shown, kind by kind; how several are changed at
 * once or not at all. Where values come from is settings_load.c.
 *
 * Two locks: `change_lock` is held through a whole CONFIG SET, so that two of them do not mix;
 * `texts_lock`, inside it, for the moment in which a text is copied or swapped. Appliers run under
 * the first only and so may read every setting. */
#include "command/settings.h"

#include <pthread.h>

#include "base/assert.h"
#include "base/glob.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/number.h"
#include "command/settings_words.h"

enum { TEXT_SIZE_MAX = 1024 * 1024, BINDS_MAX = 16 };

static const struct setting rows[SETTINGS_COUNT] = {
#define SETTING(field, name, kind, initial, min, max, bounds, flags) \
    { name, kind, initial, min, max, bounds, flags },
#include "command/settings.def"
#undef SETTING
};

static const size_t fields[SETTINGS_COUNT] = {
#define SETTING(field, name, kind, initial, min, max, bounds, flags) \
    offsetof(struct setting_values, field),
#include "command/settings.def"
#undef SETTING
};

static const struct {
    const char *name;
    enum setting_id id;
} aliases[] = {
    { "hash-max-ziplist-entries", SETTING_ID_hash_max_listpack_entries },
    { "hash-max-ziplist-value", SETTING_ID_hash_max_listpack_value },
    { "list-max-ziplist-size", SETTING_ID_list_max_listpack_size },
    { "zset-max-ziplist-entries", SETTING_ID_zset_max_listpack_entries },
    { "zset-max-ziplist-value", SETTING_ID_zset_max_listpack_value },
    { "slave-read-only", SETTING_ID_replica_read_only },
    { "slave-serve-stale-data", SETTING_ID_replica_serve_stale_data },
    { "slave-ignore-maxmemory", SETTING_ID_replica_ignore_maxmemory },
    { "slave-lazy-flush", SETTING_ID_replica_lazy_flush },
    { "slave-priority", SETTING_ID_replica_priority },
    { "slave-announce-ip", SETTING_ID_replica_announce_ip },
    { "slave-announce-port", SETTING_ID_replica_announce_port },
    { "repl-ping-slave-period", SETTING_ID_repl_ping_replica_period },
    { "min-slaves-to-write", SETTING_ID_min_replicas_to_write },
    { "min-slaves-max-lag", SETTING_ID_min_replicas_max_lag },
    { "primaryauth", SETTING_ID_masterauth },
    { "primaryuser", SETTING_ID_masteruser },
    { "busy-reply-threshold", SETTING_ID_lua_time_limit },
};

struct applier {
    bool (*apply)(void *self, enum setting_id id, struct problem *why);
    void *self;
};

struct settings {
    struct setting_values values;
    pthread_mutex_t change_lock, texts_lock;
    struct bytes texts[SETTINGS_COUNT]; /* mem_new'd, as CONFIG GET shows them; texts_lock */
    uint8_t sources[SETTINGS_COUNT];    /* enum setting_source; change_lock */
    struct applier appliers[SETTINGS_COUNT];
    _Atomic uint64_t limits[OUTPUT_CLASSES][3]; /* what client-output-buffer-limit says */
    char *file;
    struct buffer users; /* settings_users */
    void (*put_users)(void *self, struct buffer *out);
    void *put_users_self;
};

struct parsed {
    int64_t number;
    struct bytes text; /* of TEXT and WORDS; in the arena */
};

static bool is_text(enum setting_id id) {
    return rows[id].kind == SETTING_TEXT || rows[id].kind == SETTING_WORDS;
}

static _Atomic int64_t *field_of(struct settings *settings, enum setting_id id) {
    return (_Atomic int64_t *)(void *)((char *)&settings->values + fields[id]);
}

const struct setting *setting_row(enum setting_id id) {
    return &rows[id];
}

bool setting_find(struct bytes name, enum setting_id *id) {
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        if (!bytes_equal_nocase(name, bytes_of(rows[i].name))) continue;
        *id = (enum setting_id)i;
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(aliases); i++) {
        if (!bytes_equal_nocase(name, bytes_of(aliases[i].name))) continue;
        *id = aliases[i].id;
        return true;
    }
    return false;
}

/* Reading numbers, a kind at a time. */

static enum status in_bounds(const struct setting *row, int64_t number, struct problem *why) {
    if (number >= row->min && number <= row->max) return OK;
    if (row->kind == SETTING_OCTAL)
        return problem_set(why, INVALID, 0, "argument must be between %llo and %llo inclusive",
                           (unsigned long long)row->min, (unsigned long long)row->max);
    return problem_set(why, INVALID, 0, "argument must be between %lld and %lld inclusive",
                       (long long)row->min, (long long)row->max);
}

static enum status read_bool(struct bytes word, int64_t *out, struct problem *why) {
    *out = bytes_equal_nocase(word, BYTES("yes"));
    if (*out || bytes_equal_nocase(word, BYTES("no"))) return OK;
    return problem_set(why, INVALID, 0, "argument must be 'yes' or 'no'");
}

/* The n-th of the words between the bars of `bounds`; false after the last. */
static bool enum_word(const char *bounds, size_t n, struct bytes *word) {
    for (; n; n--) {
        bounds = strchr(bounds, '|');
        if (!bounds) return false;
        bounds++;
    }
    *word = (struct bytes){ bounds, strcspn(bounds, "|") };
    return true;
}

static enum status read_enum(const char *bounds, struct bytes word, int64_t *out,
                             struct problem *why) {
    struct bytes known;
    char list[PROBLEM_TEXT_MAX] = "";
    size_t at = 0;
    for (size_t i = 0; enum_word(bounds, i, &known); i++) {
        if (bytes_equal_nocase(word, known)) {
            *out = (int64_t)i;
            return OK;
        }
        if (at + known.len + 3 > sizeof list) continue;
        if (i) {
            list[at++] = ',';
            list[at++] = ' ';
        }
        memcpy(list + at, known.data, known.len);
        at += known.len;
    }
    return problem_set(why, INVALID, 0, "argument(s) must be one of the following: %.*s", (int)at,
                       list);
}

static enum status read_int(enum setting_id id, struct bytes word, int64_t *out,
                            struct problem *why) {
    if (id == SETTING_ID_threads && bytes_equal_nocase(word, BYTES("auto"))) {
        *out = 0;
        return OK;
    }
    if (!int_parse(word, out))
        return problem_set(why, INVALID, 0, "argument couldn't be parsed into an integer");
    if (in_bounds(&rows[id], *out, why) != OK) return INVALID;
    if (id == SETTING_ID_shards && (*out & (*out - 1)))
        return problem_set(why, INVALID, 0, "argument must be a power of two");
    return OK;
}

static enum status read_size(const struct setting *row, struct bytes word, int64_t *out,
                             struct problem *why) {
    if (!size_parse(word, out) || *out < 0)
        return problem_set(why, INVALID, 0, "argument must be a memory value");
    return in_bounds(row, *out, why);
}

static enum status read_percent_or_size(const struct setting *row, struct bytes word, int64_t *out,
                                        struct problem *why) {
    if (bytes_ends_with(word, BYTES("%"))) {
        word.len--;
        if (!int_parse(word, out) || *out < 0)
            return problem_set(why, INVALID, 0, "argument must be a memory or percent value");
        if (*out > 100)
            return problem_set(why, INVALID, 0, "percentage argument must be less or equal to 100");
        *out = -*out;
        return OK;
    }
    if (!size_parse(word, out) || *out < 0)
        return problem_set(why, INVALID, 0, "argument must be a memory or percent value");
    return in_bounds(row, *out, why);
}

static enum status read_octal(const struct setting *row, struct bytes word, int64_t *out,
                              struct problem *why) {
    int64_t number = 0;
    for (size_t i = 0; i < word.len && number <= row->max; i++) {
        if (word.data[i] < '0' || word.data[i] > '7')
            word.len = 0;
        else
            number = number * 8 + (word.data[i] - '0');
    }
    if (word.len == 0)
        return problem_set(why, INVALID, 0, "argument couldn't be parsed into an integer");
    *out = number;
    return in_bounds(row, number, why);
}

static enum status read_duration(const struct setting *row, struct bytes word, int64_t *out,
                                 struct problem *why) {
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = { { "ms", 1 },      { "s", 1000 },     { "m", 60000 },
                  { "h", 3600000 }, { "d", 86400000 }, { "w", 604800000 } };
    int64_t ms = 1;
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        struct bytes unit = bytes_of(units[i].unit);
        if (word.len <= unit.len ||
            !bytes_equal_nocase(unit, (struct bytes){ word.data + word.len - unit.len, unit.len }))
            continue;
        word.len -= unit.len;
        ms = units[i].ms;
        break;
    }
    if (!int_parse(word, out) || __builtin_mul_overflow(*out, ms, out))
        return problem_set(
            why, INVALID, 0,
            "argument must be a time in milliseconds or with a unit: 20s, 5m, 24h, 7d");
    return in_bounds(row, *out, why);
}

/* Reading texts. */

static struct bytes join(const struct bytes *words, size_t count, struct bytes before,
                         struct arena *arena) {
    struct buffer buffer;
    buffer_init(&buffer, TEXT_SIZE_MAX);
    buffer_put(&buffer, before);
    for (size_t i = 0; i < count; i++) words_put(&buffer, words[i]);
    struct bytes text = arena_copy(arena, buffer_bytes(&buffer));
    buffer_deinit(&buffer);
    return text;
}

static enum status check_save(const struct bytes *words, size_t count, struct problem *why) {
    for (size_t i = 0; i < count; i++) {
        int64_t number;
        bool seconds = i % 2 == 0;
        if (count % 2 || !int_parse(words[i], &number) || number < (seconds ? 1 : 0))
            return problem_set(why, INVALID, 0, "Invalid save parameters");
    }
    return OK;
}

static enum status check_percentiles(const struct bytes *words, size_t count, struct problem *why) {
    for (size_t i = 0; i < count; i++) {
        double number;
        if (!double_parse(words[i], &number))
            return problem_set(why, INVALID, 0,
                               "Invalid latency-tracking-info-percentiles parameters");
        if (number < 0 || number > 100)
            return problem_set(why, INVALID, 0,
                               "latency-tracking-info-percentiles parameters should sit between "
                               "[0.0,100.0]");
    }
    return OK;
}

static bool output_class(struct bytes word, enum output_class *out) {
    static const char *const names[] = { "normal", "slave", "pubsub" };
    for (size_t i = 0; i < OUTPUT_CLASSES; i++) {
        if (!bytes_equal_nocase(word, bytes_of(names[i]))) continue;
        *out = (enum output_class)i;
        return true;
    }
    *out = OUTPUT_REPLICA;
    return bytes_equal_nocase(word, BYTES("replica"));
}

/* Groups of four: class, hard, soft, seconds. Classes not named stay as they are in `limits`. */
static enum status read_limits(const struct bytes *words, size_t count,
                               struct output_limit limits[OUTPUT_CLASSES], struct problem *why) {
    if (count == 0 || count % 4)
        return problem_set(why, INVALID, 0,
                           "Wrong number of arguments in buffer limit configuration.");
    for (size_t i = 0; i < count; i += 4) {
        enum output_class class;
        if (!output_class(words[i], &class))
            return problem_set(why, INVALID, 0,
                               "Invalid client class specified in buffer limit configuration.");
        int64_t hard, soft, seconds;
        if (!size_parse(words[i + 1], &hard) || !size_parse(words[i + 2], &soft) ||
            !int_parse(words[i + 3], &seconds) || hard < 0 || soft < 0 || seconds < 0)
            return problem_set(why, INVALID, 0,
                               "Error in hard, soft or soft_seconds setting in buffer limit "
                               "configuration.");
        limits[class] = (struct output_limit){ (uint64_t)hard, (uint64_t)soft, (uint64_t)seconds };
    }
    return OK;
}

static struct bytes show_limits(const struct output_limit limits[OUTPUT_CLASSES],
                                struct arena *arena) {
    const struct output_limit *n = &limits[OUTPUT_NORMAL], *r = &limits[OUTPUT_REPLICA],
                              *p = &limits[OUTPUT_PUBSUB];
    return arena_format(arena, "normal %llu %llu %llu slave %llu %llu %llu pubsub %llu %llu %llu",
                        (unsigned long long)n->hard_size, (unsigned long long)n->soft_size,
                        (unsigned long long)n->soft_seconds, (unsigned long long)r->hard_size,
                        (unsigned long long)r->soft_size, (unsigned long long)r->soft_seconds,
                        (unsigned long long)p->hard_size, (unsigned long long)p->soft_size,
                        (unsigned long long)p->soft_seconds);
}

/* Event classes in the order in which Redis shows them; A stands for those from g to d. */
static enum status read_events(struct bytes word, struct arena *arena, struct bytes *out,
                               struct problem *why) {
    static const char known[] = "g$lshzxetdKEmn";
    const size_t all = 10;
    char *text = arena_new(arena, sizeof known + 1);
    bool on[sizeof known - 1] = {}, every = true;
    for (size_t i = 0; i < word.len; i++) {
        const char *class = memchr(known, word.data[i], sizeof known - 1);
        if (class)
            on[class - known] = true;
        else if (word.data[i] == 'A')
            memset(on, true, all);
        else
            return problem_set(why, INVALID, 0,
                               "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    }
    for (size_t i = 0; i < all; i++) every = every && on[i];
    size_t len = 0;
    if (every) text[len++] = 'A';
    for (size_t i = every ? all : 0; i < sizeof known - 1; i++)
        if (on[i]) text[len++] = known[i];
    *out = (struct bytes){ text, len };
    return OK;
}

static enum status read_text(enum setting_id id, struct bytes word, struct arena *arena,
                             struct bytes *out, struct problem *why) {
    if (word.len > TEXT_SIZE_MAX) return problem_set(why, INVALID, 0, "argument is too long");
    if (word.len && memchr(word.data, '\0', word.len))
        return problem_set(why, INVALID, 0, "argument must not hold a NUL");
    if (id == SETTING_ID_notify_keyspace_events) return read_events(word, arena, out, why);
    bool name_only = id == SETTING_ID_dbfilename || id == SETTING_ID_appendfilename ||
                     id == SETTING_ID_appenddirname;
    if (name_only && word.len && memchr(word.data, '/', word.len))
        return problem_set(why, INVALID, 0, "%s can't be a path, just a filename", rows[id].name);
    *out = word;
    return OK;
}

struct output_limit settings_output_limit(struct settings *settings, enum output_class class) {
    _Atomic uint64_t *limit = settings->limits[class];
    return (struct output_limit){ atomic_load_explicit(&limit[0], memory_order_relaxed),
                                  atomic_load_explicit(&limit[1], memory_order_relaxed),
                                  atomic_load_explicit(&limit[2], memory_order_relaxed) };
}

static enum status read_words(struct settings *settings, enum setting_id id,
                              const struct bytes *words, size_t count, struct bytes before,
                              struct arena *arena, struct bytes *out, struct problem *why) {
    if (id == SETTING_ID_client_output_buffer_limit) {
        struct output_limit limits[OUTPUT_CLASSES];
        for (unsigned i = 0; i < OUTPUT_CLASSES; i++)
            limits[i] = settings_output_limit(settings, (enum output_class)i);
        if (read_limits(words, count, limits, why) != OK) return INVALID;
        *out = show_limits(limits, arena);
        return OK;
    }
    if (count == 1 && words[0].len == 0) {
        *out = BYTES("");
        return OK;
    }
    enum status status = OK;
    if (id == SETTING_ID_save) status = check_save(words, count, why);
    if (id == SETTING_ID_latency_tracking_info_percentiles)
        status = check_percentiles(words, count, why);
    if (id == SETTING_ID_bind && count > BINDS_MAX)
        status = problem_set(why, INVALID, 0, "Too many bind addresses specified.");
    if (status == OK) *out = join(words, count, before, arena);
    return status;
}

static enum status read_value(struct settings *settings, enum setting_id id,
                              const struct bytes *words, size_t count, struct bytes before,
                              struct arena *arena, struct parsed *out, struct problem *why) {
    const struct setting *row = &rows[id];
    *out = (struct parsed){};
    if (row->kind == SETTING_WORDS)
        return read_words(settings, id, words, count, before, arena, &out->text, why);
    if (count != 1) return problem_set(why, INVALID, 0, "wrong number of arguments");
    switch (row->kind) {
    case SETTING_BOOL: return read_bool(words[0], &out->number, why);
    case SETTING_INT: return read_int(id, words[0], &out->number, why);
    case SETTING_SIZE: return read_size(row, words[0], &out->number, why);
    case SETTING_PERCENT_OR_SIZE: return read_percent_or_size(row, words[0], &out->number, why);
    case SETTING_ENUM: return read_enum(row->bounds, words[0], &out->number, why);
    case SETTING_OCTAL: return read_octal(row, words[0], &out->number, why);
    case SETTING_DURATION: return read_duration(row, words[0], &out->number, why);
    case SETTING_TEXT:
    case SETTING_WORDS: break;
    }
    return read_text(id, words[0], arena, &out->text, why);
}

/* Putting values in place. */

static void store_limits(struct settings *settings, struct bytes text) {
    struct arena arena;
    arena_init(&arena);
    struct bytes *words;
    size_t count;
    struct output_limit limits[OUTPUT_CLASSES] = {};
    bool read =
        words_split(text, &arena, &words, &count) && read_limits(words, count, limits, NULL) == OK;
    assert(read); /* it is what show_limits wrote */
    arena_deinit(&arena);
    for (unsigned i = 0; i < OUTPUT_CLASSES; i++) {
        uint64_t values[3] = { limits[i].hard_size, limits[i].soft_size, limits[i].soft_seconds };
        for (unsigned v = 0; v < 3; v++)
            atomic_store_explicit(&settings->limits[i][v], values[v], memory_order_relaxed);
    }
}

static void store_value(struct settings *settings, enum setting_id id, const struct parsed *value) {
    atomic_store_explicit(field_of(settings, id), value->number, memory_order_relaxed);
    if (!is_text(id)) return;
    struct bytes copy = {};
    if (value->text.len) {
        char *data = mem_new(value->text.len);
        memcpy(data, value->text.data, value->text.len);
        copy = (struct bytes){ data, value->text.len };
    }
    pthread_mutex_lock(&settings->texts_lock);
    struct bytes old = settings->texts[id];
    settings->texts[id] = copy;
    pthread_mutex_unlock(&settings->texts_lock);
    if (old.len) mem_free((void *)(uintptr_t)old.data, old.len);
    if (id == SETTING_ID_client_output_buffer_limit) store_limits(settings, value->text);
}

static void save_value(struct settings *settings, enum setting_id id, struct arena *arena,
                       struct parsed *out) {
    out->number = atomic_load_explicit(field_of(settings, id), memory_order_relaxed);
    out->text = is_text(id) ? settings_text(settings, id, arena) : BYTES("");
}

enum status settings_put(struct settings *settings, enum setting_id id, const struct bytes *words,
                         size_t count, enum setting_source source, struct problem *why) {
    struct arena arena;
    arena_init(&arena);
    bool adds = rows[id].flags & SETTING_MULTI_LINE && settings->sources[id] == source &&
                source != FROM_CLIENT;
    struct bytes before = adds ? settings_text(settings, id, &arena) : BYTES("");
    struct parsed value;
    enum status status = read_value(settings, id, words, count, before, &arena, &value, why);
    if (status == OK) {
        store_value(settings, id, &value);
        settings->sources[id] = (uint8_t)source;
    }
    arena_deinit(&arena);
    return status;
}

void settings_hold(struct settings *settings) {
    pthread_mutex_lock(&settings->change_lock);
}

void settings_release(struct settings *settings) {
    pthread_mutex_unlock(&settings->change_lock);
}

enum setting_source settings_source(const struct settings *settings, enum setting_id id) {
    return (enum setting_source)settings->sources[id];
}

bool settings_is_default(const struct settings *settings, enum setting_id id) {
    return settings->sources[id] == FROM_DEFAULT;
}

void settings_set_file(struct settings *settings, const char *absolute) {
    if (settings->file) mem_free(settings->file, strlen(settings->file) + 1);
    size_t size = strlen(absolute) + 1;
    settings->file = mem_new(size);
    memcpy(settings->file, absolute, size);
}

bool settings_add_user(struct settings *settings, const struct bytes *words, size_t count) {
    struct buffer line;
    buffer_init(&line, CONFIG_FILE_MAX);
    for (size_t i = 0; i < count; i++) words_put(&line, words[i]);
    buffer_put(&line, BYTES("\n"));
    buffer_put(&settings->users, buffer_bytes(&line));
    bool whole = !line.overflow && !settings->users.overflow;
    buffer_deinit(&line);
    return whole;
}

struct bytes settings_users(const struct settings *settings) {
    return buffer_bytes(&settings->users);
}

void settings_on_rewrite(struct settings *settings,
                         void (*put_users)(void *self, struct buffer *out), void *self) {
    settings->put_users = put_users;
    settings->put_users_self = self;
}

void settings_put_users(struct settings *settings, struct buffer *out) {
    if (settings->put_users) settings->put_users(settings->put_users_self, out);
}

const char *settings_file(const struct settings *settings) {
    return settings->file;
}

static enum status spelled(enum setting_id id, struct bytes value, struct arena *arena,
                           struct bytes **words, size_t *count, struct problem *why) {
    if (rows[id].kind != SETTING_WORDS) {
        struct bytes *one = arena_new(arena, sizeof *one);
        *one = value;
        *words = one;
        *count = 1;
        return OK;
    }
    if (!words_split(value, arena, words, count))
        return problem_set(why, INVALID, 0, "Unbalanced quotes in configuration line");
    if (*count == 0) { /* CONFIG SET save "" */
        (*words)[0] = BYTES("");
        *count = 1;
    }
    return OK;
}

struct settings *settings_new(void) {
    struct settings *settings = mem_new_zero(sizeof *settings);
    pthread_mutex_init(&settings->change_lock, NULL);
    pthread_mutex_init(&settings->texts_lock, NULL);
    buffer_init(&settings->users, CONFIG_FILE_MAX);
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        struct problem why = {};
        enum status status =
            settings_set(settings, (enum setting_id)i, bytes_of(rows[i].initial), &why);
        assert(status == OK);
        settings->sources[i] = FROM_DEFAULT;
    }
    return settings;
}

struct settings *settings_free(struct settings *settings) {
    if (!settings) return NULL;
    for (size_t i = 0; i < SETTINGS_COUNT; i++)
        if (settings->texts[i].len)
            mem_free((void *)(uintptr_t)settings->texts[i].data, settings->texts[i].len);
    if (settings->file) mem_free(settings->file, strlen(settings->file) + 1);
    buffer_deinit(&settings->users);
    pthread_mutex_destroy(&settings->texts_lock);
    pthread_mutex_destroy(&settings->change_lock);
    mem_free(settings, sizeof *settings);
    return NULL;
}

struct setting_values *settings_values(struct settings *settings) {
    return &settings->values;
}

struct bytes settings_text(struct settings *settings, enum setting_id id, struct arena *arena) {
    assert(is_text(id));
    pthread_mutex_lock(&settings->texts_lock);
    struct bytes text = settings->texts[id];
    text = text.len ? arena_copy(arena, text) : BYTES("");
    pthread_mutex_unlock(&settings->texts_lock);
    return text;
}

struct bytes settings_get(struct settings *settings, enum setting_id id, struct arena *arena) {
    int64_t number = atomic_load_explicit(field_of(settings, id), memory_order_relaxed);
    struct bytes word = BYTES("");
    switch (rows[id].kind) {
    case SETTING_TEXT:
    case SETTING_WORDS: return settings_text(settings, id, arena);
    case SETTING_BOOL: return number ? BYTES("yes") : BYTES("no");
    case SETTING_ENUM: {
        bool known = enum_word(rows[id].bounds, (size_t)number, &word);
        assert(known);
        return word;
    }
    case SETTING_OCTAL: return arena_format(arena, "%llo", (unsigned long long)number);
    case SETTING_PERCENT_OR_SIZE:
        if (number < 0) return arena_format(arena, "%lld%%", (long long)-number);
        break;
    case SETTING_INT:
    case SETTING_SIZE:
    case SETTING_DURATION: break;
    }
    return arena_format(arena, "%lld", (long long)number);
}

struct bytes *settings_words(struct settings *settings, enum setting_id id, struct arena *arena,
                             size_t *count) {
    struct bytes *words;
    bool split = words_split(settings_text(settings, id, arena), arena, &words, count);
    assert(split); /* it is what words_put wrote */
    return words;
}

bool settings_agree(struct settings *a, struct settings *b, enum setting_id id) {
    struct arena arena;
    arena_init(&arena);
    bool same = bytes_equal(settings_get(a, id, &arena), settings_get(b, id, &arena));
    arena_deinit(&arena);
    return same;
}

enum status settings_set(struct settings *settings, enum setting_id id, struct bytes value,
                         struct problem *why) {
    struct arena arena;
    arena_init(&arena);
    struct bytes *words;
    size_t count;
    enum status status = spelled(id, value, &arena, &words, &count, why);
    if (status == OK) status = settings_put(settings, id, words, count, FROM_CLIENT, why);
    arena_deinit(&arena);
    return status;
}

void settings_on_change(struct settings *settings, enum setting_id id,
                        bool (*apply)(void *self, enum setting_id id, struct problem *why),
                        void *self) {
    settings->appliers[id] = (struct applier){ apply, self };
}

/* Changing several at once. */

struct change { /* one pair of a CONFIG SET */
    enum setting_id id;
    struct parsed before;
    uint8_t source;
};

static enum status may_change(struct settings *settings, const struct change *changes, size_t n,
                              bool local, struct problem *why) {
    enum setting_id id = changes[n].id;
    if (rows[id].flags & SETTING_FIXED)
        return problem_set(why, INVALID, 0, "can't set immutable config");
    int64_t allowed = setting_int(settings, enable_protected_configs); /* no, yes, local */
    if (rows[id].flags & SETTING_PROTECTED && !(allowed == 1 || (allowed == 2 && local)))
        return problem_set(why, INVALID, 0, "can't set protected config");
    for (size_t i = 0; i < n; i++)
        if (changes[i].id == id) return problem_set(why, INVALID, 0, "duplicate parameter");
    return OK;
}

static bool apply(struct settings *settings, enum setting_id id, struct problem *why) {
    const struct applier *applier = &settings->appliers[id];
    return !applier->apply || applier->apply(applier->self, id, why);
}

/* The first `stored` of `changes` go back; those of them that were applied are applied again. */
static void undo(struct settings *settings, const struct change *changes, size_t stored,
                 size_t applied) {
    for (size_t i = 0; i < stored; i++) {
        store_value(settings, changes[i].id, &changes[i].before);
        settings->sources[changes[i].id] = changes[i].source;
    }
    for (size_t i = 0; i < applied; i++) {
        struct problem unheard;
        (void)apply(settings, changes[i].id, &unheard);
    }
}

static enum status change_all(struct settings *settings, const struct setting_pair *pairs,
                              size_t count, struct change *changes, struct arena *arena,
                              size_t *wrong, struct problem *why) {
    for (size_t i = 0; i < count; i++) {
        enum setting_id id = changes[i].id;
        save_value(settings, id, arena, &changes[i].before);
        changes[i].source = settings->sources[id];
        *wrong = i;
        if (settings_set(settings, id, pairs[i].value, why) == OK) continue;
        undo(settings, changes, i, 0);
        return INVALID;
    }
    for (size_t i = 0; i < count; i++) {
        *wrong = i;
        if (apply(settings, changes[i].id, why)) continue;
        undo(settings, changes, count, i + 1);
        return INVALID;
    }
    return OK;
}

enum status settings_change(struct settings *settings, const struct setting_pair *pairs,
                            size_t count, bool local, size_t *wrong, struct problem *why) {
    struct arena arena;
    arena_init(&arena);
    struct change *changes = arena_new(&arena, count * sizeof *changes + 1);
    pthread_mutex_lock(&settings->change_lock);
    enum status status = OK;
    for (size_t i = 0; i < count && status == OK; i++) {
        *wrong = i;
        if (!setting_find(pairs[i].name, &changes[i].id))
            status = problem_set(why, NOT_FOUND, 0, "unknown setting");
        else
            status = may_change(settings, changes, i, local, why);
    }
    if (status == OK) status = change_all(settings, pairs, count, changes, &arena, wrong, why);
    pthread_mutex_unlock(&settings->change_lock);
    arena_deinit(&arena);
    return status;
}

static bool matches(struct bytes name, const struct bytes *patterns, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (glob_match(patterns[i], name, true)) return true;
    return false;
}

void settings_match(struct settings *settings, const struct bytes *patterns, size_t count,
                    struct arena *arena,
                    void (*visit)(void *self, struct bytes name, struct bytes value), void *self) {
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        struct bytes name = bytes_of(rows[i].name);
        if (matches(name, patterns, count))
            visit(self, name, settings_get(settings, (enum setting_id)i, arena));
    }
    for (size_t i = 0; i < COUNT_OF(aliases); i++) {
        struct bytes name = bytes_of(aliases[i].name);
        if (matches(name, patterns, count))
            visit(self, name, settings_get(settings, aliases[i].id, arena));
    }
}
