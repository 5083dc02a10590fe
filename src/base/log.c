#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/mem.h"

/* A byte takes at most six to write (\u0000, or \\x00 in JSON is five). */
enum {
    ESCAPE_MAX = 6,
    NAME_MAX_LEN = 64,
    FIELD_MAX = NAME_MAX_LEN + ESCAPE_MAX * LOG_TEXT_MAX + 32
};
enum { LINE_SIZE = 16 * 1024 };
static_assert(LINE_SIZE > 2 * FIELD_MAX); /* head and message, then one field at least */

struct log {
    struct env *env;
    _Atomic int least, format, timestamp; /* relaxed: each is a choice of its own */
    pthread_mutex_t lock;                 /* guards what follows */
    struct env_file *file;                /* NULL: standard output */
    char *path;                           /* of `file`; NULL: standard output */
};

/* The text of one line as it grows. Callers see to the room: each part has a greatest length. */
struct line {
    size_t len;
    char text[LINE_SIZE];
};

enum quoting { PLAIN, QUOTED, JSON };

static void line_put(struct line *line, const char *text, size_t len) {
    assert(len <= sizeof line->text - line->len);
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

static void line_puts(struct line *line, const char *text) {
    line_put(line, text, strlen(text));
}

PRINTF(2, 3) static void line_format(struct line *line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    size_t room = sizeof line->text - line->len;
    int len = vsnprintf(line->text + line->len, room, format, args);
    va_end(args);
    assert(len >= 0);
    assert((size_t)len < room);
    line->len += (size_t)len;
}

/* The length of the UTF-8 character at the start of `text`, or 0: none, or a control character. */
static size_t utf8_len(const unsigned char *text, size_t len) {
    if (text[0] < 0x80) return text[0] >= 0x20 && text[0] != 0x7f;
    size_t n = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    if (text[0] < 0xc2 || text[0] > 0xf4 || n > len) return 0;
    for (size_t i = 1; i < n; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    if (text[0] == 0xc2 && text[1] < 0xa0) return 0;  /* C1 controls */
    if (text[0] == 0xe0 && text[1] < 0xa0) return 0;  /* overlong */
    if (text[0] == 0xed && text[1] >= 0xa0) return 0; /* surrogates */
    if (text[0] == 0xf0 && text[1] < 0x90) return 0;  /* overlong */
    if (text[0] == 0xf4 && text[1] >= 0x90) return 0; /* above U+10FFFF */
    if (text[0] == 0xe2 && text[1] == 0x80 && (text[2] & 0xfe) == 0xa8) return 0; /* U+2028, 2029 */
    return n;
}

static void put_escaped_byte(struct line *line, unsigned char byte, enum quoting quoting) {
    switch (byte) {
    case '\n': line_puts(line, "\\n"); return;
    case '\r': line_puts(line, "\\r"); return;
    case '\t': line_puts(line, "\\t"); return;
    default:
        /* JSON knows no \x; its reader shall see the same text as that of the other forms. */
        line_format(line, quoting == JSON ? "\\\\x%02x" : "\\x%02x", byte);
    }
}

static void put_escaped(struct line *line, struct bytes bytes, enum quoting quoting) {
    bool cut = bytes.len > LOG_TEXT_MAX;
    size_t len = cut ? LOG_TEXT_MAX : bytes.len;
    for (size_t i = 0; i < len;) {
        const unsigned char *at = (const unsigned char *)bytes.data + i;
        size_t n = utf8_len(at, len - i);
        if (n == 0) {
            put_escaped_byte(line, *at, quoting);
            n = 1;
        } else {
            if (quoting != PLAIN && (*at == '"' || *at == '\\')) line_puts(line, "\\");
            line_put(line, bytes.data + i, n);
        }
        i += n;
    }
    if (cut) line_puts(line, "...");
}

static void put_quoted(struct line *line, struct bytes bytes, enum quoting quoting) {
    line_puts(line, "\"");
    put_escaped(line, bytes, quoting);
    line_puts(line, "\"");
}

/* A value that reads as one word needs no quotes in logfmt. */
static bool is_word(struct bytes bytes) {
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.data[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\') return false;
    }
    return bytes.len > 0 && bytes.len <= LOG_TEXT_MAX;
}

static void put_value(struct line *line, struct bytes bytes) {
    if (is_word(bytes))
        line_put(line, bytes.data, bytes.len);
    else
        put_quoted(line, bytes, QUOTED);
}

static void put_time(struct line *line, struct env *env, enum log_timestamp form) {
    uint64_t ms = env_realtime_ns(env) / 1'000'000u;
    time_t seconds = (time_t)(ms / 1000);
    unsigned rest = (unsigned)(ms % 1000);
    char text[64];
    struct tm parts;
    switch (form) {
    case LOG_TIME_MILLISECONDS: line_format(line, "%" PRIu64, ms); return;
    case LOG_TIME_ISO8601:
        gmtime_r(&seconds, &parts);
        line_put(line, text, strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts));
        line_format(line, ".%03uZ", rest);
        return;
    case LOG_TIME_LEGACY:
        localtime_r(&seconds, &parts);
        line_put(line, text, strftime(text, sizeof text, "%d %b %Y %H:%M:%S", &parts));
        line_format(line, ".%03u", rest);
        return;
    }
}

static void put_legacy(struct line *line, struct env *env, enum log_level level,
                       enum log_timestamp timestamp, const char *message) {
    line_format(line, "%d:M ", (int)getpid());
    put_time(line, env, timestamp);
    line_format(line, " %c ", ".-*#"[level]);
    put_escaped(line, bytes_of(message), PLAIN);
}

static const char *const level_names[] = { "debug", "verbose", "notice", "warning" };

static void put_logfmt(struct line *line, struct env *env, enum log_level level,
                       enum log_timestamp timestamp, const char *message) {
    const char *quote = timestamp == LOG_TIME_MILLISECONDS ? "" : "\"";
    line_format(line, "pid=%d timestamp=%s", (int)getpid(), quote);
    put_time(line, env, timestamp);
    line_format(line, "%s level=%s message=", quote, level_names[level]);
    put_quoted(line, bytes_of(message), QUOTED);
}

static void put_json(struct line *line, struct env *env, enum log_level level,
                     enum log_timestamp timestamp, const char *message) {
    const char *quote = timestamp == LOG_TIME_MILLISECONDS ? "" : "\"";
    line_format(line, "{\"pid\":%d,\"timestamp\":%s", (int)getpid(), quote);
    put_time(line, env, timestamp);
    line_format(line, "%s,\"level\":\"%s\",\"message\":", quote, level_names[level]);
    put_quoted(line, bytes_of(message), JSON);
}

static void put_field(struct line *line, const struct log_field *field, enum log_format format) {
    assert(strlen(field->name) <= NAME_MAX_LEN);
    line_format(line, format == LOG_FORMAT_JSON ? ",\"%s\":" : " %s=", field->name);
    if (field->kind == LOG_INT)
        line_format(line, "%" PRId64, field->number);
    else if (format == LOG_FORMAT_JSON)
        put_quoted(line, field->text, JSON);
    else
        put_value(line, field->text);
}

static void line_make(struct line *line, struct log *log, enum log_level level, const char *message,
                      const struct log_field *fields, size_t fields_count) {
    enum log_format format =
        (enum log_format)atomic_load_explicit(&log->format, memory_order_relaxed);
    enum log_timestamp timestamp =
        (enum log_timestamp)atomic_load_explicit(&log->timestamp, memory_order_relaxed);

    line->len = 0;
    switch (format) {
    case LOG_FORMAT_LEGACY: put_legacy(line, log->env, level, timestamp, message); break;
    case LOG_FORMAT_LOGFMT: put_logfmt(line, log->env, level, timestamp, message); break;
    case LOG_FORMAT_JSON: put_json(line, log->env, level, timestamp, message); break;
    }
    for (size_t i = 0; i < fields_count && i < LOG_FIELDS_MAX; i++) {
        if (sizeof line->text - line->len < FIELD_MAX) break;
        put_field(line, &fields[i], format);
    }
    line_puts(line, format == LOG_FORMAT_JSON ? "}\n" : "\n");
}

/* Errors end here: there is nobody left to tell. */
static void line_send(const struct line *line, struct log *log) {
    const char *at = line->text, *end = line->text + line->len;
    while (at < end) {
        int64_t n = log->file
                        ? log->env->ops->pwrite(log->env, log->file, at, (size_t)(end - at), 0)
                        : write(STDOUT_FILENO, at, (size_t)(end - at));
        if (n < 0 && !log->file && errno == EINTR) continue;
        if (n <= 0) return;
        at += n;
    }
}

static int open_end(struct env *env, const char *path, struct env_file **out) {
    int error = env->ops->open(env, path, ENV_WRITE | ENV_APPEND, out);
    if (error != -ENOENT) return error;
    error = env->ops->open(env, path, ENV_WRITE | ENV_APPEND | ENV_CREATE, out);
    if (error != -EEXIST) return error;
    return env->ops->open(env, path, ENV_WRITE | ENV_APPEND, out); /* somebody made it meanwhile */
}

struct log *log_new(struct env *env) {
    struct log *log = mem_new_zero(sizeof *log);
    log->env = env;
    pthread_mutex_init(&log->lock, NULL);
    log_configure(log, LOG_NOTICE, LOG_FORMAT_LEGACY, LOG_TIME_LEGACY);
    return log;
}

/* Lends `file` and `path` to the log; what it had is closed. */
static void log_take_file(struct log *log, struct env_file *file, char *path) {
    pthread_mutex_lock(&log->lock);
    struct env_file *old_file = log->file;
    char *old_path = log->path;
    log->file = file;
    log->path = path;
    pthread_mutex_unlock(&log->lock);
    log->env->ops->close(log->env, old_file);
    mem_free(old_path, old_path ? strlen(old_path) + 1 : 0);
}

struct log *log_free(struct log *log) {
    if (!log) return NULL;
    log_take_file(log, NULL, NULL);
    pthread_mutex_destroy(&log->lock);
    mem_free(log, sizeof *log);
    return NULL;
}

enum status log_open(struct log *log, const char *path, struct problem *why) {
    if (path[0] == '\0') {
        log_take_file(log, NULL, NULL);
        return OK;
    }
    struct env_file *file;
    int error = open_end(log->env, path, &file);
    if (error < 0) return problem_set(why, IO, -error, "cannot open the log file %s", path);
    size_t size = strlen(path) + 1;
    char *copy = mem_new(size);
    memcpy(copy, path, size);
    log_take_file(log, file, copy);
    return OK;
}

void log_reopen(struct log *log) {
    pthread_mutex_lock(&log->lock);
    struct env_file *fresh;
    if (log->path && open_end(log->env, log->path, &fresh) == 0) {
        log->env->ops->close(log->env, log->file);
        log->file = fresh;
    }
    pthread_mutex_unlock(&log->lock);
}

void log_configure(struct log *log, enum log_level least, enum log_format format,
                   enum log_timestamp timestamp) {
    atomic_store_explicit(&log->least, (int)least, memory_order_relaxed);
    atomic_store_explicit(&log->format, (int)format, memory_order_relaxed);
    atomic_store_explicit(&log->timestamp, (int)timestamp, memory_order_relaxed);
}

void log_write(struct log *log, enum log_level level, const char *message,
               const struct log_field *fields, size_t fields_count) {
    assert(level < LOG_NOTHING);
    if ((int)level < atomic_load_explicit(&log->least, memory_order_relaxed)) return;
    struct line line;
    line_make(&line, log, level, message, fields, fields_count);
    pthread_mutex_lock(&log->lock);
    line_send(&line, log);
    pthread_mutex_unlock(&log->lock);
}
