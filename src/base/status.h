/* status.h: how a call that can fail for the world's reasons says so. Zero is good. */
#pragma once

#include <stdint.h>

#include "base/attributes.h"

enum status {
    OK = 0,
    NEED_MORE,   /* the input ends before the thing does */
    NOT_FOUND,   /* there is no such thing */
    FULL,        /* a queue or a table with a limit has reached it */
    LIMIT,       /* the input asks for more than a limit allows */
    IO,          /* the operating system failed a call; problem.error has errno */
    CORRUPT,     /* the bytes are not what was written */
    NO_MEMORY,   /* a budgeted allocation was refused */
    UNSUPPORTED, /* well formed, and not for this build or version */
    STOPPED,     /* the thing is shutting down */
    INVALID,     /* not well formed */
};

enum { PROBLEM_TEXT_MAX = 256 };

/* Filled by cold paths, for the one who tells the user. Owns nothing. */
struct problem {
    enum status status;
    int error;                   /* errno, or 0 */
    uint64_t offset;             /* in the file, or line number, where that makes sense */
    char text[PROBLEM_TEXT_MAX]; /* one sentence, no full stop, no newline */
};

/* Fills `why` (which may be NULL; offset becomes 0) and returns `status`, for `return problem_set(why, IO, errno, ...)`. */
PRINTF(4, 5)
enum status problem_set(struct problem *why, enum status status, int error, const char *format,
                        ...);
