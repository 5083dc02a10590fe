/* text.c: how pulsedb-check says things, and how it finds out whether a server is at work. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/number.h"
#include "check.h"

int ends_by(enum status status) {
    switch (status) {
    case OK: return ENDS_WHOLE;
    case CORRUPT:
    case INVALID:
    case NEED_MORE: return ENDS_DAMAGED;
    case UNSUPPORTED: return ENDS_NEWER;
    case NOT_FOUND:
    case FULL:
    case LIMIT:
    case IO:
    case NO_MEMORY:
    case STOPPED: break;
    }
    return ENDS_UNREADABLE;
}

void put_problem(struct buffer *out, const struct problem *why) {
    buffer_format(out, "%s", why->text);
    if (why->error > 0 && !strstr(why->text, strerror(why->error)))
        buffer_format(out, ": %s", strerror(why->error));
}

int complain(const struct problem *why) {
    struct buffer text;
    buffer_init(&text, 2 * PROBLEM_TEXT_MAX);
    put_problem(&text, why);
    fflush(stdout);
    fprintf(stderr, "pulsedb-check: %.*s\n", (int)text.len, text.data);
    buffer_deinit(&text);
    return ends_by(why->status);
}

const char *instant_text(uint64_t ns, char out[INSTANT_TEXT]) {
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm parts;
    char day[INSTANT_TEXT];
    if (!gmtime_r(&seconds, &parts) || !strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts))
        day[0] = '\0';
    snprintf(out, INSTANT_TEXT, "%.30s.%06uZ", day, (unsigned)(ns / 1000 % 1000000));
    return out;
}

const char *size_text(uint64_t bytes, char out[SIZE_TEXT]) {
    size_human(out, bytes);
    return out;
}

void put_quoted(struct buffer *out, struct bytes text, size_t most) {
    static const char plain[] = "\\\"\n\r\t\a\b", letters[] = "\\\"nrtab";
    size_t shown = text.len < most ? text.len : most;
    buffer_put(out, BYTES("\""));
    for (size_t i = 0; i < shown; i++) {
        char c = text.data[i];
        const char *special = c ? strchr(plain, c) : NULL;
        if (special)
            buffer_format(out, "\\%c", letters[special - plain]);
        else if (c >= ' ' && c <= '~')
            buffer_put(out, (struct bytes){ &c, 1 });
        else
            buffer_format(out, "\\x%02x", (unsigned)(unsigned char)c);
    }
    buffer_put(out, BYTES("\""));
    if (shown < text.len) buffer_put(out, BYTES("..."));
}

void say(struct buffer *out) {
    if (out->len) (void)!fwrite(out->data, 1, out->len, stdout);
    buffer_clear(out);
}

/* A shared lock is refused while a server has its own. -1: there is nothing to lock. */
static int lock_shared(const char *dir, bool *used) {
    char path[PATH_MAX];
    *used = false;
    if (snprintf(path, sizeof path, "%s/LOCK", dir) >= (int)sizeof path) return -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return -1;
    if (flock(fd, LOCK_SH | LOCK_NB) == 0) return fd;
    *used = errno == EWOULDBLOCK;
    close(fd);
    return -1;
}

bool dir_is_used(const char *dir) {
    bool used;
    int fd = lock_shared(dir, &used);
    if (fd >= 0) close(fd);
    return used;
}

bool dir_hold(const char *dir) {
    bool used;
    (void)lock_shared(dir, &used); /* stays open, and so locked, until the process ends */
    return !used;
}
