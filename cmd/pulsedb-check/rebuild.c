/* rebuild.c: what the files say about themselves, where MANIFEST is lost or damaged. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/varint.h"
#include "base_file.h"
#include "log_file.h"
#include "salvage.h"

struct names {
    struct manifest *logs;
    uint64_t generations[64]; /* more than ever lie about */
    size_t generations_count;
};

static bool see_name(void *self, const char *name) {
    struct names *names = self;
    uint64_t number;
    enum file_kind kind = file_kind(name, &number);
    if (kind == FILE_LOG && names->logs && names->logs->logs_count < MANIFEST_LOGS_MAX)
        manifest_add_log(names->logs)->number = number;
    if (kind == FILE_BASE && names->generations_count < 64) {
        for (size_t i = 0; i < names->generations_count; i++)
            if (names->generations[i] == number) return true;
        names->generations[names->generations_count++] = number;
    }
    return true;
}

static int by_number(const void *a, const void *b) {
    const struct manifest_log *one = a, *other = b;
    return one->number < other->number ? -1 : one->number > other->number;
}

static int newest_first(const void *a, const void *b) {
    const uint64_t *one = a, *other = b;
    return *one > *other ? -1 : *one < *other;
}

/* --- an old or damaged manifest --- */

/* "identity 5f2c... seed 01... 02... shards 64": the one line that stands nowhere else. */
static bool parse_database(const char *line, struct manifest *out) {
    char identity[33];
    unsigned long long k0, k1;
    unsigned shards;
    int end = 0;
    if (sscanf(line, "identity %32[0-9a-f] seed %16llx %16llx shards %u%n", identity, &k0, &k1,
               &shards, &end) != 4)
        return false;
    if (line[end] != '\0' || strlen(identity) != 32 || shards == 0 || shards > SHARDS_MAX ||
        (shards & (shards - 1)))
        return false;
    for (size_t i = 0; i < sizeof out->identity; i++) {
        unsigned byte;
        if (sscanf(identity + 2 * i, "%2x", &byte) != 1) return false;
        out->identity[i] = (unsigned char)byte;
    }
    out->seed = (struct siphash_key){ k0, k1 };
    out->shards = shards;
    return true;
}

static void read_old(struct env *env, const char *dir, const char *name, struct manifest *out) {
    char path[PATH_MAX];
    struct bytes text;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (out->shards || env_read_file(env, path, MANIFEST_SIZE_MAX, &text, NULL) != OK) return;
    for (size_t start = 0; start < text.len && !out->shards;) {
        const char *end = memchr(text.data + start, '\n', text.len - start);
        size_t len = end ? (size_t)(end - text.data) - start : text.len - start;
        char line[256];
        if (len < sizeof line) {
            memcpy(line, text.data + start, len);
            line[len] = '\0';
            (void)parse_database(line, out);
        }
        start += len + 1;
    }
    mem_free((char *)(uintptr_t)text.data, text.len);
}

/* --- the files --- */

enum status manifest_rebuild(struct env *env, const char *dir, struct manifest *out,
                             struct problem *why) {
    manifest_init(out);
    struct names names = { .logs = out };
    int error = env->ops->list(env, dir, see_name, &names);
    if (error < 0) return problem_set(why, IO, -error, "cannot list %.200s", dir);
    if (out->logs_count == 0 && names.generations_count == 0)
        return problem_set(why, NOT_FOUND, 0, "%.200s holds no database", dir);
    if (out->logs_count) qsort(out->logs, out->logs_count, sizeof *out->logs, by_number);
    for (size_t i = 0; i < out->logs_count; i++) {
        struct log_file file;
        char path[PATH_MAX];
        path_of_log(dir, out->logs[i].number, path);
        enum status status = log_file_open(&file, env, path, 0, why);
        if (status == NO_MEMORY) return status;
        if (status != OK) continue;
        out->logs[i].id = file.header.id;
        out->logs[i].first_seq = file.header.first_seq;
        log_file_close(&file);
    }
    read_old(env, dir, "MANIFEST", out);
    read_old(env, dir, "MANIFEST.tmp", out);
    if (!out->shards) env_random(env, out->identity, sizeof out->identity);
    return OK;
}

/* --- bases --- */

struct candidate {
    uint64_t id;
    bool whole;
    uint64_t to; /* the latest that it shows, as far as can be seen */
};

/* A shard's END begins with when it was visited and its last stamp. */
static uint64_t last_of(struct bytes content) {
    uint64_t visited, last;
    return varint_take(&content, &visited) && varint_take(&content, &last) ? last : 0;
}

static enum status look_at(struct env *env, const char *path, struct candidate *out,
                           struct problem *why) {
    struct base_file base;
    *out = (struct candidate){ .id = 0 };
    enum status status = base_file_open(&base, env, path, 0, why);
    if (status != OK) return status == NOT_FOUND ? OK : status;
    out->id = base.id;
    struct snapshot_section section;
    struct bytes content;
    uint64_t at;
    while (base.id &&
           (status = base_file_next(&base, ALL_SECTIONS, &section, &content, &at, why)) == OK) {
        uint64_t last = section.kind == IMAGE_END ? last_of(content) : 0;
        if (last > out->to) out->to = last;
    }
    out->whole = base.trailer && base.header_status == OK;
    base_file_close(&base);
    return status == NOT_FOUND ? OK : status;
}

enum status base_choose(struct env *env, const char *dir, uint64_t cut, struct manifest_base *out,
                        uint64_t *count, struct problem *why) {
    struct names names = { .logs = NULL };
    int error = env->ops->list(env, dir, see_name, &names);
    if (error < 0) return problem_set(why, IO, -error, "cannot list %.200s", dir);
    qsort(names.generations, names.generations_count, sizeof *names.generations, newest_first);
    *out = (struct manifest_base){ .seq = 1 };
    *count = names.generations_count;
    int best = 0;
    for (size_t i = 0; i < names.generations_count; i++) {
        char path[PATH_MAX];
        struct candidate keys, past;
        path_of_base(dir, names.generations[i], false, path);
        enum status status = look_at(env, path, &keys, why);
        path_of_base(dir, names.generations[i], true, path);
        if (status == OK) status = look_at(env, path, &past, why);
        if (status != OK) return status;
        uint64_t id = keys.id ? keys.id : past.id;
        bool whole = keys.whole && (past.whole || !past.id || past.id != keys.id);
        int good = !id ? 0 : !whole ? 1 : keys.to > cut ? 2 : 3;
        if (good <= best) continue;
        best = good;
        out->generation = names.generations[i];
        out->id = id;
    }
    return OK;
}
