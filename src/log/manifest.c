/* manifest.c: the manifest as text, and which files are ours.
 *
 *     pulsedb-manifest 1 0.1.0            version of the format, version of the program that wrote it
 *     identity 5f2c... seed 01... 02... shards 64
 *     base generation 3 seq 120 from 17... to 17... keys 88231 past 0 id 00c0...
 *     log number 7 id 93ab... first 118 end 4096 last 131
 *     log number 8 id 1f04... first 132 end 0 last 0
 *     clean seq 140 cut 17...             only after a shutdown in order
 *     crc 0a1b2c3d                        CRC-32C of all before this line
 *
 * A fact is a name and a value, in this order and no other: what is parsed here is what is written here.
 */
#include "log/manifest.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/env.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/number.h"
#include "log/crc32c.h"
#include "log/segment.h"

#define MANIFEST_NAME "MANIFEST"
#define UNFINISHED_NAME "UNFINISHED"

/* Longer than any name of ours, so that a path is never cut short. */
enum { NAME_ROOM = 64, CRC_LINE = sizeof "crc 01234567\n" - 1 };

void manifest_init(struct manifest *manifest) {
    *manifest = (struct manifest){ .base = { .seq = 1 } };
}

void manifest_deinit(struct manifest *manifest) {
    mem_free(manifest->logs, manifest->logs_cap * sizeof *manifest->logs);
    manifest->logs = NULL;
    manifest->logs_count = manifest->logs_cap = 0;
}

void manifest_copy(struct manifest *to, const struct manifest *from) {
    *to = *from;
    to->logs_cap = from->logs_count;
    to->logs = NULL;
    if (from->logs_count == 0) return;
    to->logs = mem_new(from->logs_count * sizeof *to->logs);
    memcpy(to->logs, from->logs, from->logs_count * sizeof *to->logs);
}

struct manifest_log *manifest_add_log(struct manifest *manifest) {
    assert(manifest->logs_count < MANIFEST_LOGS_MAX);
    if (manifest->logs_count == manifest->logs_cap) {
        size_t cap = manifest->logs_cap ? manifest->logs_cap * 2 : 8, size = sizeof *manifest->logs;
        manifest->logs = mem_resize(manifest->logs, manifest->logs_cap * size, cap * size);
        manifest->logs_cap = cap;
    }
    struct manifest_log *log = &manifest->logs[manifest->logs_count++];
    *log = (struct manifest_log){};
    return log;
}

/* --- reading the text --- */

static bool take_word(struct bytes *line, struct bytes *out) {
    if (line->len == 0) return false;
    const char *space = memchr(line->data, ' ', line->len);
    size_t len = space ? (size_t)(space - line->data) : line->len;
    *out = (struct bytes){ line->data, len };
    size_t taken = len + (space != NULL);
    line->data += taken;
    line->len -= taken;
    return len > 0;
}

static bool take_name(struct bytes *line, const char *name) {
    struct bytes word;
    return take_word(line, &word) && bytes_equal(word, bytes_of(name));
}

static bool parse_decimal(struct bytes word, uint64_t *out) {
    uint64_t n = 0;
    if (word.len == 0 || (word.len > 1 && word.data[0] == '0')) return false;
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '9') return false;
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(word.data[i] - '0'), &n))
            return false;
    }
    *out = n;
    return true;
}

static bool take_number(struct bytes *line, const char *name, uint64_t *out) {
    struct bytes word;
    return take_name(line, name) && take_word(line, &word) && parse_decimal(word, out);
}

/* `size` bytes from twice as many digits, the first byte first. */
static bool take_hex(struct bytes *line, unsigned char *out, size_t size) {
    static const char digits[] = "0123456789abcdef";
    struct bytes word;
    if (!take_word(line, &word) || word.len != size * 2) return false;
    for (size_t i = 0; i < size; i++) {
        const char *high = memchr(digits, word.data[2 * i], 16);
        const char *low = memchr(digits, word.data[2 * i + 1], 16);
        if (!high || !low) return false;
        out[i] = (unsigned char)((high - digits) << 4 | (low - digits));
    }
    return true;
}

static bool take_u64(struct bytes *line, uint64_t *out) {
    unsigned char bytes[8];
    if (!take_hex(line, bytes, sizeof bytes)) return false;
    *out = 0;
    for (size_t i = 0; i < sizeof bytes; i++) *out = *out << 8 | bytes[i];
    return true;
}

static bool take_line(struct bytes *text, struct bytes *out) {
    const char *end = text->len ? memchr(text->data, '\n', text->len) : NULL;
    if (!end) return false;
    *out = (struct bytes){ text->data, (size_t)(end - text->data) };
    text->len -= out->len + 1;
    text->data = end + 1;
    return true;
}

static bool starts_with(struct bytes line, const char *name) {
    size_t len = strlen(name);
    return line.len >= len && memcmp(line.data, name, len) == 0;
}

static bool parse_database(struct bytes line, struct manifest *out) {
    uint64_t shards;
    if (!take_name(&line, "identity") || !take_hex(&line, out->identity, sizeof out->identity) ||
        !take_name(&line, "seed") || !take_u64(&line, &out->seed.k0) ||
        !take_u64(&line, &out->seed.k1) || !take_number(&line, "shards", &shards))
        return false;
    if (line.len > 0 || shards == 0 || shards > SHARDS_MAX || shards & (shards - 1)) return false;
    out->shards = (uint32_t)shards;
    return true;
}

static bool parse_base(struct bytes line, struct manifest_base *out) {
    return take_name(&line, "base") && take_number(&line, "generation", &out->generation) &&
           take_number(&line, "seq", &out->seq) && take_number(&line, "from", &out->from) &&
           take_number(&line, "to", &out->to) && take_number(&line, "keys", &out->keys_size) &&
           take_number(&line, "past", &out->past_size) && take_name(&line, "id") &&
           take_u64(&line, &out->id) && line.len == 0 && out->seq > 0 &&
           (out->generation == 0 || out->from <= out->to);
}

static bool parse_log(struct bytes line, struct manifest *out) {
    struct manifest_log log;
    if (!take_name(&line, "log") || !take_number(&line, "number", &log.number) ||
        !take_name(&line, "id") || !take_u64(&line, &log.id) ||
        !take_number(&line, "first", &log.first_seq) || !take_number(&line, "end", &log.end) ||
        !take_number(&line, "last", &log.last_seq) || line.len > 0)
        return false;
    const struct manifest_log *before = out->logs_count ? &out->logs[out->logs_count - 1] : NULL;
    if (before ? log.number <= before->number : log.first_seq == 0) return false;
    if (log.end ? log.end < SEGMENT_HEADER || log.first_seq == 0 || log.last_seq < log.first_seq - 1
                : log.last_seq != 0)
        return false;
    if (before && log.first_seq && log.first_seq < before->first_seq) return false;
    if (out->logs_count == MANIFEST_LOGS_MAX) return false;
    *manifest_add_log(out) = log;
    return true;
}

static bool parse_clean(struct bytes line, struct manifest *out) {
    out->clean = true;
    return take_name(&line, "clean") && take_number(&line, "seq", &out->clean_seq) &&
           take_number(&line, "cut", &out->clean_cut) && line.len == 0;
}

/* The first line: who may read the rest. It is looked at before the checksum, which a later version may
 * have elsewhere. */
static enum status parse_version(struct bytes *text, struct problem *why) {
    struct bytes line, writer;
    uint64_t version;
    if (!take_line(text, &line) || !take_number(&line, "pulsedb-manifest", &version) ||
        !take_word(&line, &writer) || version == 0)
        return problem_set(why, CORRUPT, 0, MANIFEST_NAME " does not begin as a manifest does");
    if (version > MANIFEST_VERSION)
        return problem_set(why, UNSUPPORTED, 0,
                           "the data directory has format %llu, written by PulseDB %.*s; "
                           "this is PulseDB " PULSE_VERSION ", which reads format %d: "
                           "nothing was changed",
                           (unsigned long long)version, (int)(writer.len < 32 ? writer.len : 32),
                           writer.data, MANIFEST_VERSION);
    return line.len == 0
               ? OK
               : problem_set(why, CORRUPT, 0, "the first line of " MANIFEST_NAME " is damaged");
}

static bool parse_facts(struct bytes text, struct manifest *out) {
    struct bytes line;
    if (!take_line(&text, &line) || !parse_database(line, out)) return false;
    if (!take_line(&text, &line) || !parse_base(line, &out->base)) return false;
    while (take_line(&text, &line)) {
        if (out->clean) return false; /* nothing follows it */
        if (starts_with(line, "clean ") ? !parse_clean(line, out) : !parse_log(line, out))
            return false;
    }
    return text.len == 0;
}

static bool crc_is_right(struct bytes *text) {
    if (text->len < CRC_LINE) return false;
    text->len -= CRC_LINE;
    char expected[CRC_LINE + 1];
    (void)snprintf(expected, sizeof expected, "crc %08x\n", crc32c(0, text->data, text->len));
    return memcmp(text->data + text->len, expected, CRC_LINE) == 0;
}

enum status manifest_parse(struct bytes text, struct manifest *out, struct problem *why) {
    struct bytes whole = text;
    enum status status = parse_version(&text, why);
    if (status != OK) return status;
    if (!crc_is_right(&whole))
        return problem_set(why, CORRUPT, 0, MANIFEST_NAME " is damaged: its checksum is wrong");
    struct bytes facts = { text.data,
                           whole.len > 0 ? (size_t)(whole.data + whole.len - text.data) : 0 };
    struct manifest manifest;
    manifest_init(&manifest);
    if (whole.data + whole.len < text.data || !parse_facts(facts, &manifest)) {
        manifest_deinit(&manifest);
        return problem_set(why, CORRUPT, 0, MANIFEST_NAME " makes no sense");
    }
    *out = manifest;
    return OK;
}

/* --- writing it --- */

static void put_hex(struct buffer *out, const unsigned char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) buffer_format(out, "%02x", bytes[i]);
}

static unsigned long long wide(uint64_t n) {
    return n;
}

static void format(const struct manifest *manifest, struct buffer *out) {
    const struct manifest_base *base = &manifest->base;
    buffer_format(out, "pulsedb-manifest %d " PULSE_VERSION "\nidentity ", MANIFEST_VERSION);
    put_hex(out, manifest->identity, sizeof manifest->identity);
    buffer_format(out, " seed %016llx %016llx shards %u\n", wide(manifest->seed.k0),
                  wide(manifest->seed.k1), manifest->shards);
    buffer_format(out,
                  "base generation %llu seq %llu from %llu to %llu keys %llu past %llu id "
                  "%016llx\n",
                  wide(base->generation), wide(base->seq), wide(base->from), wide(base->to),
                  wide(base->keys_size), wide(base->past_size), wide(base->id));
    for (size_t i = 0; i < manifest->logs_count; i++) {
        const struct manifest_log *log = &manifest->logs[i];
        buffer_format(out, "log number %llu id %016llx first %llu end %llu last %llu\n",
                      wide(log->number), wide(log->id), wide(log->first_seq), wide(log->end),
                      wide(log->last_seq));
    }
    if (manifest->clean)
        buffer_format(out, "clean seq %llu cut %llu\n", wide(manifest->clean_seq),
                      wide(manifest->clean_cut));
    if (!out->overflow) buffer_format(out, "crc %08x\n", crc32c(0, out->data, out->len));
}

static enum status check_dir(const char *dir, struct problem *why) {
    if (strlen(dir) + NAME_ROOM < PATH_MAX) return OK;
    return problem_set(why, IO, ENAMETOOLONG, "the data directory's name is too long");
}

enum status manifest_write(struct env *env, const char *dir, const struct manifest *manifest,
                           struct problem *why) {
    enum status status = check_dir(dir, why);
    if (status != OK) return status;
    struct buffer text;
    buffer_init(&text, MANIFEST_SIZE_MAX);
    format(manifest, &text);
    assert(!text.overflow); /* MANIFEST_LOGS_MAX lines fit */
    struct manifest again;
    struct problem mistake = {};
    status = manifest_parse(buffer_bytes(&text), &again, &mistake);
    assert(status == OK); /* what cannot be read back must not replace what can */
    manifest_deinit(&again);
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/" MANIFEST_NAME, dir);
    status = env_replace_file(env, path, buffer_bytes(&text), why);
    buffer_deinit(&text);
    return status;
}

/* --- files --- */

void path_of_log(const char *dir, uint64_t number, char *out) {
    int len = snprintf(out, PATH_MAX, "%s/log.%llu.plog", dir, wide(number));
    assert(len > 0 && len < PATH_MAX);
}

void path_of_base(const char *dir, uint64_t generation, bool past, char *out) {
    int len = snprintf(out, PATH_MAX, "%s/base.%llu.%s.snap", dir, wide(generation),
                       past ? "past" : "keys");
    assert(len > 0 && len < PATH_MAX);
}

/* "PREFIX<number>SUFFIX" */
static bool name_is(struct bytes name, const char *prefix, const char *suffix, uint64_t *number) {
    size_t before = strlen(prefix), after = strlen(suffix);
    if (name.len < before + after || !starts_with(name, prefix) ||
        !bytes_ends_with(name, bytes_of(suffix)))
        return false;
    return parse_decimal((struct bytes){ name.data + before, name.len - before - after }, number);
}

enum file_kind file_kind(const char *name, uint64_t *number) {
    struct bytes bytes = bytes_of(name);
    if (name_is(bytes, "log.", ".plog", number)) return FILE_LOG;
    if (name_is(bytes, "log.spare.", "", number)) return FILE_SPARE;
    if (name_is(bytes, "log.", ".torn", number)) return FILE_TORN;
    if (name_is(bytes, "base.", ".keys.snap", number)) return FILE_BASE;
    if (name_is(bytes, "base.", ".past.snap", number)) return FILE_BASE;
    return FILE_OTHER;
}

static bool see_ours(void *self, const char *name) {
    uint64_t number;
    bool *ours = self;
    *ours = file_kind(name, &number) != FILE_OTHER;
    return !*ours;
}

/* There is no manifest: is that because nothing is there yet? A MANIFEST.tmp does not count: the first one that
 * is ever written may have been cut short, and it comes before any other file. */
static enum status explain_missing(struct env *env, const char *dir, struct problem *why) {
    bool ours = false;
    int error = env->ops->list(env, dir, see_ours, &ours);
    if (error < 0) return problem_set(why, IO, -error, "cannot list %s", dir);
    if (!ours) return problem_set(why, NOT_FOUND, 0, "%s holds no database", dir);
    return problem_set(
        why, CORRUPT, 0,
        "%.160s holds files of a database but no " MANIFEST_NAME ": run pulsedb-check repair", dir);
}

enum status manifest_unfinished(struct env *env, const char *dir, struct problem *why) {
    enum status status = check_dir(dir, why);
    if (status != OK) return status;
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/" UNFINISHED_NAME, dir);
    return env_replace_file(env, path, BYTES("A database is made here, and is not whole yet.\n"),
                            why);
}

enum status manifest_finished(struct env *env, const char *dir, struct problem *why) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/" UNFINISHED_NAME, dir);
    int error = env->ops->unlink(env, path);
    if (error == 0) error = env->ops->sync_dir(env, dir);
    if (error == 0) return OK;
    return problem_set(why, IO, -error, "cannot remove " UNFINISHED_NAME);
}

static enum status check_finished(struct env *env, const char *dir, struct problem *why) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/" UNFINISHED_NAME, dir);
    struct env_file *file;
    int error = env->ops->open(env, path, ENV_READ, &file);
    if (error == -ENOENT) return OK;
    if (error < 0) return problem_set(why, IO, -error, "cannot open " UNFINISHED_NAME);
    env->ops->close(env, file);
    return problem_set(why, INVALID, 0,
                       "an import or a restore into %.160s did not finish, so it holds no whole "
                       "database: remove it, and begin again",
                       dir);
}

enum status manifest_read(struct env *env, const char *dir, struct manifest *out,
                          struct problem *why) {
    enum status status = check_dir(dir, why);
    if (status == OK) status = check_finished(env, dir, why);
    if (status != OK) return status;
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/" MANIFEST_NAME, dir);
    struct bytes text;
    status = env_read_file(env, path, MANIFEST_SIZE_MAX, &text, why);
    if (status == NOT_FOUND) return explain_missing(env, dir, why);
    if (status == LIMIT)
        return problem_set(why, CORRUPT, 0, MANIFEST_NAME " is larger than any manifest");
    if (status != OK) return status;
    status = manifest_parse(text, out, why);
    mem_free((char *)(uintptr_t)text.data, text.len);
    return status;
}

struct sweep {
    const struct manifest *manifest;
    struct buffer names; /* of what is to go, each with its NUL */
};

static bool is_named(const struct manifest *manifest, enum file_kind kind, uint64_t number) {
    if (kind == FILE_BASE) return number == manifest->base.generation;
    for (size_t i = 0; i < manifest->logs_count; i++)
        if (manifest->logs[i].number == number) return true;
    return false;
}

static bool gather_unnamed(void *self, const char *name) {
    struct sweep *sweep = self;
    uint64_t number;
    enum file_kind kind = file_kind(name, &number);
    bool kept = kind != FILE_LOG && kind != FILE_BASE;
    if (!kept && !is_named(sweep->manifest, kind, number))
        buffer_put(&sweep->names, (struct bytes){ name, strlen(name) + 1 });
    return true;
}

enum status manifest_sweep(struct env *env, const char *dir, const struct manifest *manifest,
                           struct problem *why) {
    struct sweep sweep = { .manifest = manifest };
    buffer_init(&sweep.names, MANIFEST_SIZE_MAX);
    int error = env->ops->list(env, dir, gather_unnamed, &sweep);
    enum status status = OK;
    if (error < 0) status = problem_set(why, IO, -error, "cannot list %s", dir);
    for (size_t at = 0; at < sweep.names.len && status == OK;) {
        const char *name = sweep.names.data + at;
        char path[PATH_MAX];
        (void)snprintf(path, sizeof path, "%s/%s", dir, name);
        error = env->ops->unlink(env, path);
        if (error < 0 && error != -ENOENT)
            status = problem_set(why, IO, -error, "cannot remove %.200s", name);
        at += strlen(name) + 1;
    }
    buffer_deinit(&sweep.names);
    return status;
}
