/* aof_manifest.c: which files make up an append-only log, and in which order.
 *
 *     file NAME seq N type b|i|h      b: the base, at most one; i: increments, N ascending; h: left
 * over
 *
 * A name with a strange byte in it stands in quotes, with \n, \\, \xhh and the like. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/number.h"
#include "log/aof_files.h"

enum { MANIFEST_SIZE_LIMIT = 1024 * 1024, LINE_BYTES_MAX = 1024 };

/* --- where it is --- */

struct listing {
    char manifest[NAME_MAX + 1];
    size_t manifests;
    bool redis; /* it has a folder as Redis makes it */
};

static bool see(void *self, const char *name) {
    struct listing *listing = self;
    size_t len = strlen(name);
    if (strcmp(name, "appendonlydir") == 0) listing->redis = true;
    if (len <= NAME_MAX && bytes_ends_with(bytes_of(name), BYTES(".manifest"))) {
        memcpy(listing->manifest, name, len + 1);
        listing->manifests++;
    }
    return true;
}

static enum status set_folder(struct aof_files *files, struct bytes folder, struct problem *why) {
    if (folder.len >= sizeof files->folder)
        return problem_set(why, IO, ENAMETOOLONG, "the path of the AOF is too long");
    memcpy(files->folder, folder.data, folder.len);
    files->folder[folder.len] = '\0';
    return OK;
}

static void add(struct aof_files *files, struct bytes name, bool base) {
    struct aof_file *file = arena_new(&files->arena, sizeof *file);
    *file = (struct aof_file){ .name = arena_copy(&files->arena, name), .base = base };
    *files->end = file;
    files->end = &file->next;
}

enum status aof_file_path(const struct aof_files *files, struct bytes name, char *out,
                          struct problem *why) {
    int len = snprintf(out, PATH_MAX, "%s/%.*s", files->folder, (int)name.len, name.data);
    if (len >= 0 && len < PATH_MAX) return OK;
    return problem_set(why, IO, ENAMETOOLONG, "the path of an AOF is too long");
}

/* --- what is in it --- */

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char next(struct bytes *text) {
    text->len--;
    return *text->data++;
}

/* What stands behind a backslash; moves `*text` past it. */
static bool unescape(struct bytes *text, char *out) {
    static const char signs[] = "nrtab", bytes[] = "\n\r\t\a\b";
    if (text->len == 0) return false;
    char sign = next(text);
    const char *known = sign ? strchr(signs, sign) : NULL;
    *out = known ? bytes[known - signs] : sign;
    if (sign != 'x') return true;
    int high = text->len >= 2 ? hex(text->data[0]) : -1;
    int low = text->len >= 2 ? hex(text->data[1]) : -1;
    if (high < 0 || low < 0) return false;
    *out = (char)(high << 4 | low);
    text->data += 2;
    text->len -= 2;
    return true;
}

/* The next word of `*line`, in `room`, which is as long as the longest line. */
static bool take_word(struct bytes *line, char *room, struct bytes *word) {
    bool quoted = line->len > 0 && *line->data == '"';
    size_t len = 0;
    if (quoted) (void)next(line);
    while (line->len > 0 && *line->data != (quoted ? '"' : ' ')) {
        char c = next(line);
        if (quoted && c == '\\' && !unescape(line, &c)) return false;
        room[len++] = c;
    }
    if (quoted && line->len == 0) return false;
    if (quoted) (void)next(line);
    if (line->len > 0 && *line->data != ' ') return false;
    while (line->len > 0 && *line->data == ' ') (void)next(line);
    *word = (struct bytes){ room, len };
    return true;
}

struct row {
    struct bytes name;
    int64_t seq;
    char type;
};

/* NULL, or what is wrong with the line. `room` holds the name. */
static const char *read_row(struct bytes line, char *room, struct row *row) {
    char other[LINE_BYTES_MAX];
    *row = (struct row){ 0 };
    while (line.len > 0) {
        struct bytes word, value;
        if (!take_word(&line, other, &word)) return "it has words that make no sense";
        bool name = bytes_equal_nocase(word, BYTES("file"));
        bool seq = bytes_equal_nocase(word, BYTES("seq"));
        bool type = bytes_equal_nocase(word, BYTES("type"));
        if (line.len == 0) return "a word has no value";
        if (!take_word(&line, name ? room : other, &value)) return "its words make no sense";
        if (name) row->name = value;
        if (seq && !int_parse(value, &row->seq)) return "its seq is no number";
        if (type && value.len == 1) row->type = *value.data;
    }
    if (row->name.len == 0 || row->seq <= 0 || row->type == 0)
        return "it has no file, no seq or no type";
    if (row->name.len > AOF_FILE_NAME_MAX || memchr(row->name.data, '/', row->name.len) ||
        memchr(row->name.data, '\0', row->name.len))
        return "its file is no plain name";
    return NULL;
}

static const char *add_row(struct aof_files *files, const struct row *row, int64_t *last_seq,
                           struct bytes *base) {
    switch (row->type) {
    case 'h': return NULL; /* Redis was about to remove it */
    case 'b':
        if (base->len) return "it is a second base";
        *base = arena_copy(&files->arena, row->name);
        return NULL;
    case 'i':
        if (row->seq <= *last_seq) return "its seq does not come after the one before";
        *last_seq = row->seq;
        add(files, row->name, false);
        return NULL;
    default: return "its type is none of b, i and h";
    }
}

static enum status read_rows(struct aof_files *files, const char *path, struct bytes text,
                             struct problem *why) {
    char room[LINE_BYTES_MAX];
    int64_t last_seq = 0;
    struct bytes base = { 0 };
    for (uint64_t number = 1; text.len > 0; number++) {
        const char *end = memchr(text.data, '\n', text.len), *wrong = NULL;
        struct bytes line = { text.data, end ? (size_t)(end - text.data) : text.len };
        struct row row;
        if (!end || line.len >= LINE_BYTES_MAX)
            wrong = "it is too long or has no end";
        else if (line.len == 0 || *line.data != '#')
            wrong = read_row(line, room, &row);
        if (!wrong && *line.data != '#') wrong = add_row(files, &row, &last_seq, &base);
        if (wrong)
            return problem_set(why, CORRUPT, 0, "%s: line %llu: %s", path,
                               (unsigned long long)number, wrong);
        text.data += line.len + 1;
        text.len -= line.len + 1;
    }
    if (base.len) { /* before all others, wherever its line stands */
        struct aof_file *rest = files->first;
        files->first = NULL;
        files->end = &files->first;
        add(files, base, true);
        files->first->next = rest;
    }
    if (!files->first) return problem_set(why, CORRUPT, 0, "%s names no file", path);
    return OK;
}

static enum status read_manifest(struct aof_files *files, struct env *env, const char *name,
                                 struct problem *why) {
    char path[PATH_MAX];
    struct bytes text;
    enum status status = aof_file_path(files, bytes_of(name), path, why);
    if (status == OK) status = env_read_file(env, path, MANIFEST_SIZE_LIMIT, &text, why);
    if (status != OK) return status;
    status = read_rows(files, path, text, why);
    mem_free((char *)(uintptr_t)text.data, text.len);
    return status;
}

static enum status in_folder(struct aof_files *files, struct env *env, const char *path,
                             struct listing listing, struct problem *why) {
    char inside[PATH_MAX];
    enum status status = set_folder(files, bytes_of(path), why);
    if (status == OK && listing.manifests == 0 && listing.redis) {
        status = aof_file_path(files, BYTES("appendonlydir"), inside, why);
        if (status == OK) status = set_folder(files, bytes_of(inside), why);
        listing.redis = false;
        if (status == OK) (void)env->ops->list(env, inside, see, &listing);
    }
    if (status != OK) return status;
    if (listing.manifests == 1) return read_manifest(files, env, listing.manifest, why);
    if (listing.manifests > 1)
        return problem_set(why, INVALID, 0, "%s has %zu manifests: name the one that is meant",
                           files->folder, listing.manifests);
    return problem_set(why, NOT_FOUND, 0,
                       "%s has no manifest of an AOF (an older Redis wrote one file: name that)",
                       files->folder);
}

enum status aof_files_find(struct aof_files *files, struct env *env, const char *path,
                           struct problem *why) {
    struct listing listing = { .manifests = 0 };
    arena_init(&files->arena);
    files->first = NULL;
    files->end = &files->first;
    if (env->ops->list(env, path, see, &listing) == 0)
        return in_folder(files, env, path, listing, why);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    struct bytes folder = { path, slash ? (size_t)(slash - path) : 0 };
    enum status status = set_folder(files, slash ? folder : BYTES("."), why);
    if (status != OK) return status;
    if (bytes_ends_with(bytes_of(name), BYTES(".manifest")))
        return read_manifest(files, env, name, why);
    if (strlen(name) > AOF_FILE_NAME_MAX)
        return problem_set(why, IO, ENAMETOOLONG, "the name of the AOF is too long");
    add(files, bytes_of(name), false);
    return OK;
}

void aof_files_deinit(struct aof_files *files) {
    arena_deinit(&files->arena);
}
