/* acl_file.c: users in files: in one of their own (`aclfile`), or as lines of the configuration file.
 *
 *     user alice on #5e88...e8 ~cache:* resetchannels -@all +get
 *
 * A users file is read as a whole: one line that is wrong, and nothing is changed. It is written as a whole
 * too. In the configuration file words may be quoted; in a users file a space is always a space. */
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/limits.h"
#include "base/mem.h"
#include "command/acl_inside.h"
#include "command/pulse.h"
#include "command/settings_words.h"

enum { SHOWN_MAX = 64, PATH_SHOWN_MAX = 256, ERROR_MAX = 1024 };

/* ---- reading ---- */

struct reading {
    struct acl *acl;
    const char *path;
    unsigned long long line;
    struct acl_users users; /* their ids are given when all of them are there */
    struct buffer *errors;
};

/* Of many errors the first are enough. */
PRINTF(2, 3) static void say(struct buffer *errors, const char *format, ...) {
    if (errors->len > ACL_ERRORS_MAX - 2 * ERROR_MAX) return;
    char text[ERROR_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buffer_put(errors,
               (struct bytes){ text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1 });
}

static int shown(struct bytes text) {
    return text.len < SHOWN_MAX ? (int)text.len : SHOWN_MAX;
}

static void say_why(struct reading *reading, enum status status, struct bytes wrong,
                    const char *why) {
    if (status == NOT_FOUND)
        say(reading->errors, "%.*s:%llu: Error in applying operation '%.*s': %s. ", PATH_SHOWN_MAX,
            reading->path, reading->line, shown(wrong), wrong.data, why);
    else
        say(reading->errors, "%.*s:%llu: %s%s ", PATH_SHOWN_MAX, reading->path, reading->line, why,
            status == CORRUPT ? "" : ".");
}

static void read_user(struct reading *reading, struct bytes name, const struct bytes *words,
                      size_t count, struct arena *arena) {
    if (!acl_name_fits(name)) {
        say(reading->errors, "%.*s:%llu: username '%.*s' contains invalid characters. ",
            PATH_SHOWN_MAX, reading->path, reading->line, shown(name), name.data);
        return;
    }
    if (users_find(&reading->users, name)) {
        say(reading->errors, "WARNING: Duplicate user '%.*s' found on line %llu. ", shown(name),
            name.data, reading->line);
        return;
    }
    struct acl_rules *rules = users_new_rules(reading->acl);
    struct bytes wrong = {};
    struct problem why = {};
    enum status status = acl_rules_apply_all(rules, words, count, arena, &wrong, &why);
    if (status == OK)
        status = users_add(&reading->users, name, 0, rules, &why);
    else
        acl_rules_unref(rules);
    if (status != OK) say_why(reading, status, wrong, why.text);
}

static struct bytes trim(struct bytes line) {
    while (line.len && memchr(" \t\r\n", line.data[0], 4)) {
        line.data++;
        line.len--;
    }
    while (line.len && memchr(" \t\r\n", line.data[line.len - 1], 4)) line.len--;
    return line;
}

static struct bytes *split(struct bytes line, struct arena *arena, size_t *count) {
    *count = 1;
    for (size_t i = 0; i < line.len; i++) *count += line.data[i] == ' ';
    struct bytes *words = arena_new(arena, *count * sizeof *words);
    const char *at = line.data, *end = line.data + line.len;
    for (size_t i = 0; i < *count; i++) {
        const char *space = i + 1 < *count ? memchr(at, ' ', (size_t)(end - at)) : end;
        words[i] = (struct bytes){ at, (size_t)(space - at) };
        at = space + 1;
    }
    return words;
}

static void read_line(struct reading *reading, struct bytes line) {
    line = trim(line);
    if (line.len == 0) return;
    struct arena arena;
    arena_init(&arena);
    size_t count;
    struct bytes *words = split(line, &arena, &count);
    if (count < 2 || !bytes_equal(words[0], BYTES("user")))
        say(reading->errors, "%.*s:%llu should start with user keyword followed by the username. ",
            PATH_SHOWN_MAX, reading->path, reading->line);
    else
        read_user(reading, words[1], words + 2, count - 2, &arena);
    arena_deinit(&arena);
}

static void add_default(struct reading *reading) {
    if (users_find(&reading->users, acl_default_name)) return;
    struct acl_rules *rules = users_new_rules(reading->acl);
    acl_rules_open(rules);
    if (users_add(&reading->users, acl_default_name, 0, rules, NULL) != OK)
        say(reading->errors, "There are at most %d users. ", ACL_USERS_MAX);
}

/* Whoever has the name of somebody who was there is that user; all others are new. */
static void take_over(struct reading *reading) {
    struct acl *acl = reading->acl;
    pthread_mutex_lock(&acl->lock);
    for (size_t i = 0; i < reading->users.count; i++) {
        struct acl_user *user = &reading->users.list[i];
        const struct acl_user *before = users_find(&acl->users, user->name);
        user->id = before ? before->id : ++acl->next_id;
    }
    struct acl_users old = acl->users;
    acl->users = reading->users;
    acl_published(acl);
    pthread_mutex_unlock(&acl->lock);
    acl_spread(acl);
    users_free(&old);
}

enum status acl_read(struct acl *acl, const char *path, struct bytes text, struct buffer *errors) {
    struct reading reading = { .acl = acl, .path = path, .errors = errors };
    for (size_t at = 0; at < text.len;) {
        const char *start = text.data + at, *end = memchr(start, '\n', text.len - at);
        struct bytes line = { start, end ? (size_t)(end - start) : text.len - at };
        reading.line++;
        read_line(&reading, line);
        at += line.len + 1;
    }
    add_default(&reading);
    if (errors->len == 0) {
        take_over(&reading);
        return OK;
    }
    users_free(&reading.users);
    buffer_put(errors, BYTES("WARNING: ACL errors detected, no change to the previously active "
                             "ACL rules was performed"));
    return INVALID;
}

/* Ends in NUL; empty: there is none. */
static const char *file_of(const struct acl *acl, struct arena *arena) {
    struct bytes path = settings_text(acl->pulse->settings, SETTING_ID_aclfile, arena);
    return path.len ? arena_format(arena, "%.*s", (int)path.len, path.data).data : "";
}

enum status acl_load(struct acl *acl, struct buffer *errors) {
    struct arena arena;
    arena_init(&arena);
    const char *path = file_of(acl, &arena);
    struct bytes text = {};
    struct problem why = {};
    enum status status = UNSUPPORTED;
    if (path[0]) {
        status = env_read_file(acl->pulse->env, path, ACL_FILE_MAX, &text, &why);
        if (status == OK)
            status = acl_read(acl, path, text, errors);
        else
            say(errors, "Error loading ACLs, opening file '%.*s': %s", PATH_SHOWN_MAX, path,
                why.error ? strerror(why.error) : why.text);
    }
    if (text.len) mem_free((void *)(uintptr_t)text.data, text.len);
    arena_deinit(&arena);
    return status;
}

/* ---- the configuration file ---- */

static enum status read_configured(struct acl *acl, struct bytes lines, struct problem *why) {
    struct buffer errors;
    buffer_init(&errors, ACL_ERRORS_MAX);
    struct reading reading = { .acl = acl, .path = "configuration", .errors = &errors };
    for (size_t at = 0; at < lines.len;) {
        const char *start = lines.data + at, *end = memchr(start, '\n', lines.len - at);
        struct bytes line = { start, (size_t)(end - start) }, *words;
        struct arena arena;
        arena_init(&arena);
        size_t count = 0;
        bool whole = words_split(line, &arena, &words, &count);
        assert(whole); /* words_put has written them */
        reading.line++;
        if (count) read_user(&reading, words[0], words + 1, count - 1, &arena);
        arena_deinit(&arena);
        at += line.len + 1;
    }
    if (errors.len == 0 && !users_find(&reading.users, acl_default_name)) {
        struct acl_rules *rules = acl_find(acl, acl_default_name); /* with requirepass */
        if (users_add(&reading.users, acl_default_name, 0, rules, why) != OK)
            say(&errors, "There are at most %d users. ", ACL_USERS_MAX);
    }
    enum status status = OK;
    if (errors.len) {
        status = problem_set(why, INVALID, 0, "users: %.*s",
                             (int)(errors.len < 200 ? errors.len : 200), errors.data);
        users_free(&reading.users);
    } else {
        take_over(&reading);
    }
    buffer_deinit(&errors);
    return status;
}

enum status acl_start(struct acl *acl, struct problem *why) {
    struct bytes lines = settings_users(acl->pulse->settings);
    struct buffer errors;
    buffer_init(&errors, ACL_ERRORS_MAX);
    enum status status = acl_load(acl, &errors);
    if (status == UNSUPPORTED)
        status = lines.len ? read_configured(acl, lines, why) : OK;
    else if (lines.len)
        status = problem_set(why, INVALID, 0,
                             "there are users in the configuration file and an aclfile: define "
                             "either an ACL file or declare users directly, but not both");
    else if (status != OK)
        problem_set(why, status, 0, "aclfile: %.*s", (int)(errors.len < 200 ? errors.len : 200),
                    errors.data);
    buffer_deinit(&errors);
    return status;
}

/* ---- writing ---- */

static void write_user(void *self, struct bytes name, const struct acl_rules *rules) {
    struct buffer *out = self, line;
    buffer_init(&line, ACL_FILE_MAX);
    buffer_put(&line, BYTES("user "));
    buffer_put(&line, name);
    acl_rules_describe(rules, &line);
    buffer_put(&line, BYTES("\n"));
    buffer_put(out, buffer_bytes(&line));
    buffer_deinit(&line);
}

void acl_write(struct acl *acl, struct buffer *out) {
    acl_each(acl, write_user, out);
}

enum status acl_save(struct acl *acl, struct problem *why) {
    struct arena arena;
    arena_init(&arena);
    const char *path = file_of(acl, &arena);
    enum status status = problem_set(why, UNSUPPORTED, 0, "there is no aclfile");
    if (path[0]) {
        struct buffer text;
        buffer_init(&text, ACL_FILE_MAX);
        acl_write(acl, &text);
        status = text.overflow ? problem_set(why, LIMIT, 0, "more than %d bytes", ACL_FILE_MAX)
                               : env_replace_file(acl->pulse->env, path, buffer_bytes(&text), why);
        buffer_deinit(&text);
    }
    arena_deinit(&arena);
    return status;
}

struct rewriting {
    struct acl *acl;
    struct buffer *out;
    struct bytes plain; /* what `default` is without a line of its own */
};

static void rewrite_user(void *self, struct bytes name, const struct acl_rules *rules) {
    struct rewriting *rewriting = self;
    struct buffer text, line;
    buffer_init(&text, ACL_FILE_MAX);
    acl_rules_describe(rules, &text);
    bool plain =
        bytes_equal(name, acl_default_name) && bytes_equal(buffer_bytes(&text), rewriting->plain);
    struct arena arena;
    arena_init(&arena);
    buffer_init(&line, ACL_FILE_MAX);
    size_t count;
    struct bytes *words = split(buffer_bytes(&text), &arena, &count);
    words_put(&line, BYTES("user"));
    words_put(&line, name);
    for (size_t i = 0; i < count; i++) words_put(&line, words[i]);
    buffer_put(&line, BYTES("\n"));
    if (!plain) buffer_put(rewriting->out, buffer_bytes(&line));
    buffer_deinit(&line);
    buffer_deinit(&text);
    arena_deinit(&arena);
}

void acl_rewrite(void *self, struct buffer *out) {
    struct acl *acl = self;
    struct arena arena;
    arena_init(&arena);
    if (!file_of(acl, &arena)[0]) {
        struct acl_rules *rules = users_new_rules(acl);
        acl_rules_open(rules);
        struct bytes secret = settings_text(acl->pulse->settings, SETTING_ID_requirepass, &arena);
        enum status status = OK;
        if (secret.len)
            status = acl_rules_apply(
                rules, arena_format(&arena, ">%.*s", (int)secret.len, secret.data), NULL);
        assert(status == OK);
        struct buffer plain;
        buffer_init(&plain, ACL_FILE_MAX);
        acl_rules_describe(rules, &plain);
        struct rewriting rewriting = { acl, out, buffer_bytes(&plain) };
        acl_each(acl, rewrite_user, &rewriting);
        buffer_deinit(&plain);
        acl_rules_unref(rules);
    }
    arena_deinit(&arena);
}
