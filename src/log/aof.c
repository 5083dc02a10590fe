/* aof.c: the commands in the files of an append-only log.
 *
 * The first time, everything is looked at and nobody is told: so the end is known before anything
 * is handed over, which is what a MULTI without its EXEC needs, and a broken file changes
 * nothing. */
#include "log/aof.h"

#include "base/limits.h"
#include "log/aof_files.h"
#include "log/file_reader.h"

enum {
    LINE_MAX_LEN = 32,       /* of "*3\r\n" and "$5\r\n" */
    WORD_LEN_MIN = 6,        /* "$0\r\n\r\n" */
    KEPT_BYTES = 1024 * 1024 /* memory kept from command to command */
};
static const size_t COMMAND_SIZE_MAX = (size_t)2 * 1024 * 1024 * 1024; /* bytes of its words */

struct aof {
    struct env *env;
    const struct aof_visitor *visitor; /* NULL: the first time */
    struct aof_report *report;
    struct problem *why;
    struct buffer text; /* the words of one command, one behind the other */
    struct bytes *args;
    size_t count, args_cap;
    uint64_t last_end; /* what of the last file is whole: found the first time */
};

static enum status corrupt(const struct aof *aof, const struct file_reader *reader,
                           const char *what) {
    problem_set(aof->why, CORRUPT, 0, "%s: %s, at offset %llu", reader->path, what,
                (unsigned long long)reader->offset);
    if (aof->why) aof->why->offset = reader->offset;
    return CORRUPT;
}

/* --- one command --- */

/* The bytes up to the next line's end, which must come within `max`; they are taken later.
 * NEED_MORE: the file ends first. */
static enum status peek_line(struct aof *aof, struct file_reader *reader, size_t max,
                             struct bytes *line) {
    struct bytes seen;
    enum status status = file_reader_peek(reader, max, &seen, aof->why);
    if (status != OK) return status;
    const char *end = seen.len ? memchr(seen.data, '\n', seen.len) : NULL;
    if (!end && seen.len == file_reader_left(reader)) return NEED_MORE;
    if (!end) return corrupt(aof, reader, "a line is too long");
    *line = (struct bytes){ seen.data, (size_t)(end - seen.data) + 1 };
    return OK;
}

static enum status pass(struct aof *aof, struct file_reader *reader, size_t len) {
    char passed[FILE_READER_PEEK];
    return file_reader_read(reader, passed, len, aof->why);
}

/* "*3\r\n", "$5\r\n": the number behind `sign`. */
static enum status take_number(struct aof *aof, struct file_reader *reader, char sign,
                               int64_t *out) {
    struct bytes line, first;
    enum status status = file_reader_peek(reader, 1, &first, aof->why);
    if (status != OK) return status;
    if (first.len == 0) return NEED_MORE;
    if (*first.data != sign)
        return corrupt(aof, reader, sign == '*' ? "no command begins here" : "a word is missing");
    status = peek_line(aof, reader, LINE_MAX_LEN, &line);
    if (status != OK) return status;
    struct bytes digits = { line.data + 1, line.len - 3 };
    if (line.len < 3 || line.data[line.len - 2] != '\r' || !int_parse(digits, out))
        return corrupt(aof, reader, "a number makes no sense");
    return pass(aof, reader, line.len);
}

static enum status take_word(struct aof *aof, struct file_reader *reader, size_t *len) {
    int64_t n;
    char end[2];
    enum status status = take_number(aof, reader, '$', &n);
    if (status != OK) return status;
    if (n < 0 || n > RDB_STRING_MAX) return corrupt(aof, reader, "a word's length cannot be");
    if (file_reader_left(reader) < (uint64_t)n + sizeof end) return NEED_MORE;
    *len = (size_t)n;
    char *at = buffer_reserve(&aof->text, *len);
    if (!at)
        return problem_set(aof->why, NO_MEMORY, 0, "%s: no memory for the command at offset %llu",
                           reader->path, (unsigned long long)reader->offset);
    status = file_reader_read(reader, at, *len, aof->why);
    if (status == OK) status = file_reader_read(reader, end, sizeof end, aof->why);
    if (status != OK) return status;
    if (memcmp(end, "\r\n", 2) != 0) return corrupt(aof, reader, "a word does not end");
    aof->text.len += *len;
    return OK;
}

static void make_room(struct aof *aof, size_t count) {
    if (count <= aof->args_cap) return;
    size_t size = sizeof *aof->args;
    aof->args = mem_resize(aof->args, aof->args_cap * size, count * size);
    aof->args_cap = count;
}

/* Into aof->args; none for an annotation. NEED_MORE: the file ends before the command does. */
static enum status take_command(struct aof *aof, struct file_reader *reader) {
    struct bytes start, line;
    int64_t count;
    aof->count = 0;
    buffer_clear(&aof->text);
    buffer_shrink(&aof->text, KEPT_BYTES);
    enum status status = file_reader_peek(reader, 1, &start, aof->why);
    if (status == OK && start.len && *start.data == '#') { /* #TS:..., since Redis 7.0 */
        status = peek_line(aof, reader, FILE_READER_PEEK, &line);
        return status == OK ? pass(aof, reader, line.len) : status;
    }
    if (status == OK) status = take_number(aof, reader, '*', &count);
    if (status != OK) return status;
    if (count < 1 || count > ARGS_MAX) return corrupt(aof, reader, "a count of words cannot be");
    if ((uint64_t)count * WORD_LEN_MIN > file_reader_left(reader)) return NEED_MORE;
    make_room(aof, (size_t)count);
    for (size_t i = 0; status == OK && i < (size_t)count; i++)
        status = take_word(aof, reader, &aof->args[i].len);
    if (status != OK) return status;
    const char *at = aof->text.data ? aof->text.data : "";
    for (size_t i = 0; i < (size_t)count; at += aof->args[i++].len) aof->args[i].data = at;
    aof->count = (size_t)count;
    return OK;
}

/* --- one file --- */

static bool is_word(const struct aof *aof, struct bytes word) {
    return aof->count == 1 && bytes_equal_nocase(aof->args[0], word);
}

/* Commands up to offset `until`. `*whole`: up to here all of them are, and every MULTI has its
 * EXEC. */
static enum status read_commands(struct aof *aof, struct file_reader *reader, uint64_t until,
                                 uint64_t *whole) {
    bool in_multi = false;
    *whole = reader->offset;
    while (reader->offset < until) {
        enum status status = take_command(aof, reader);
        if (status == NEED_MORE) return OK;
        if (status != OK) return status;
        if (is_word(aof, BYTES("MULTI"))) in_multi = true;
        if (is_word(aof, BYTES("EXEC"))) in_multi = false;
        if (aof->count > 0 && aof->visitor) {
            aof->report->commands++;
            status = aof->visitor->command(aof->visitor->self, aof->args, aof->count, aof->why);
            if (status != OK) return file_reader_blame(reader, status, aof->why);
        }
        if (!in_multi) *whole = reader->offset;
    }
    return OK;
}

static enum status pass_key(void *self, const struct rdb_key *key, struct problem *why) {
    (void)self;
    (void)key;
    (void)why;
    return OK;
}

static enum status read_rdb_part(struct aof *aof, struct file_reader *reader,
                                 const struct aof_file *file) {
    struct bytes start;
    enum status status = file_reader_peek(reader, RDB_MAGIC_LEN, &start, aof->why);
    if (status != OK) return status;
    bool named = file->base && bytes_ends_with(file->name, BYTES(".rdb"));
    if (!rdb_is(start)) return named ? corrupt(aof, reader, "this base is no RDB file") : OK;
    struct rdb_source source = { file_reader_read, reader };
    status = rdb_read(source, 0, aof->visitor ? aof->visitor->key : pass_key,
                      aof->visitor ? aof->visitor->self : NULL, &aof->report->rdb, aof->why);
    return file_reader_blame(reader, status, aof->why);
}

static enum status select_first(const struct aof *aof) {
    const struct bytes args[] = { BYTES("SELECT"), BYTES("0") };
    return aof->visitor->command(aof->visitor->self, args, COUNT_OF(args), aof->why);
}

static enum status read_opened(struct aof *aof, struct file_reader *reader,
                               const struct aof_file *file, bool first) {
    bool last = !file->next, visiting = aof->visitor != NULL;
    uint64_t whole;
    enum status status = read_rdb_part(aof, reader, file);
    if (status == OK && visiting && !first) status = select_first(aof);
    if (status != OK) return status;
    status = read_commands(aof, reader, visiting && last ? aof->last_end : reader->size, &whole);
    if (status != OK || visiting) return status;
    if (whole < reader->size && !last) {
        reader->offset = whole;
        return corrupt(aof, reader, "the file ends within a command, and it is not the last one");
    }
    if (last) {
        aof->last_end = aof->report->dropped_at = whole;
        aof->report->dropped = reader->size - whole;
    }
    return OK;
}

static enum status read_files(struct aof *aof, const struct aof_files *files) {
    char path[PATH_MAX];
    struct file_reader reader;
    for (const struct aof_file *file = files->first; file; file = file->next) {
        enum status status = aof_file_path(files, file->name, path, aof->why);
        if (status == OK) status = file_reader_open(&reader, aof->env, path, aof->why);
        if (status != OK) return status;
        status = read_opened(aof, &reader, file, file == files->first);
        file_reader_close(&reader);
        if (status != OK) return status;
        if (aof->visitor) aof->report->files++;
        memcpy(aof->report->last, file->name.data, file->name.len);
        aof->report->last[file->name.len] = '\0';
    }
    return OK;
}

enum status aof_read(struct env *env, const char *path, const struct aof_visitor *visitor,
                     struct aof_report *report, struct problem *why) {
    struct aof aof = { .env = env, .report = report, .why = why };
    struct aof_files files;
    *report = (struct aof_report){ 0 };
    buffer_init(&aof.text, COMMAND_SIZE_MAX);
    enum status status = aof_files_find(&files, env, path, why);
    if (status == OK) status = read_files(&aof, &files);
    aof.visitor = visitor;
    if (status == OK) status = read_files(&aof, &files);
    mem_free(aof.args, aof.args_cap * sizeof *aof.args);
    buffer_deinit(&aof.text);
    aof_files_deinit(&files);
    return status;
}
