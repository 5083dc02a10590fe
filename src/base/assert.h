/* assert.h: what must be true of our own work. On in every build: a database that runs on with a
 * broken invariant writes the damage down. Never on anything that a client or a file can send. */
#pragma once

#include <assert.h> /* static_assert; its assert gives way to ours */

#include "base/attributes.h"

/* Prints the condition with its place to standard error and aborts. */
COLD __attribute__((noreturn)) void assert_failed(const char *condition, const char *file,
                                                  int line);

#undef assert
#define assert(condition) \
    (LIKELY(condition) ? (void)0 : assert_failed(#condition, __FILE__, __LINE__))

/* For checks that cost more than O(1): on in builds with -Ddebug_checks=true only. */
#ifdef PULSE_DEBUG_CHECKS
#define debug_assert(condition) assert(condition)
#else
#define debug_assert(condition) ((void)sizeof(!(condition)))
#endif
