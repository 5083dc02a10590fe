/* log.h: the lines a server writes about itself.
 *
 * One line is one event: a level, a sentence, and fields. Three forms (log-format):
 *
 *     legacy  4711:M 24 Nov 2026 20:57:01.123 * Server started port=6380
 *     logfmt  pid=4711 timestamp="2026-11-24T20:57:01.123Z" level=notice message="Server started" port=6380
 *     json    {"pid":4711,"timestamp":"...","level":"notice","message":"Server started","port":6380}
 *
 * Bytes from outside cannot end a line or forge a field: control characters, and bytes that are not
 * UTF-8, are written as \n, \r, \t, \xNN; texts of more than LOG_TEXT_MAX bytes are cut and end in "...".
 * A line's time is the env's realtime: local for LOG_TIME_LEGACY, UTC for LOG_TIME_ISO8601.
 * A library function never logs; whoever cannot pass a problem on says it once.
 * Thread: any; a line is written whole, by one write.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/attributes.h"
#include "base/bytes.h"
#include "base/status.h"

struct env;
struct log;

enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING, LOG_NOTHING };
enum log_format { LOG_FORMAT_LEGACY, LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };
enum log_timestamp { LOG_TIME_LEGACY, LOG_TIME_ISO8601, LOG_TIME_MILLISECONDS };

enum { LOG_TEXT_MAX = 1024, LOG_FIELDS_MAX = 16 };

/* One name=value of a line. Fields beyond LOG_FIELDS_MAX are dropped. */
struct log_field {
    const char *name; /* a literal word */
    enum { LOG_INT, LOG_TEXT, LOG_BYTES } kind;
    int64_t number;
    struct bytes text; /* any bytes: escaped as the form demands */
};
#define LOG_I(name_, n) ((struct log_field){ .name = (name_), .kind = LOG_INT, .number = (n) })
#define LOG_S(name_, s) \
    ((struct log_field){ .name = (name_), .kind = LOG_TEXT, .text = bytes_of(s) })
#define LOG_B(name_, b) ((struct log_field){ .name = (name_), .kind = LOG_BYTES, .text = (b) })

/* Writes to standard output until log_open names a file. */
struct log *log_new(struct env *env);
struct log *log_free(struct log *log); /* always NULL */
/* From now on to the end of this file, which is made when it is not there ("": standard output). When
 * it cannot be opened, lines go where they went before. */
MUST_USE enum status log_open(struct log *log, const char *path, struct problem *why);
void log_reopen(struct log *log); /* after the file was rotated away (SIGHUP) */
/* Lines below `least` are dropped. New logs: LOG_NOTICE, legacy, legacy. */
void log_configure(struct log *log, enum log_level least, enum log_format format,
                   enum log_timestamp timestamp);

/* Use log_line(log, LOG_NOTICE, "Server started", LOG_I("port", 6380)). */
void log_write(struct log *log, enum log_level level, const char *message,
               const struct log_field *fields, size_t fields_count);
#define log_line(log, level, message, ...)                                    \
    log_write((log), (level), (message), (struct log_field[]){ __VA_ARGS__ }, \
              sizeof((struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field))
