#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

enum status problem_set(struct problem *why, enum status status, int error, const char *format,
                        ...) {
    if (!why) return status;
    why->status = status;
    why->error = error;
    why->offset = 0;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return status;
}
