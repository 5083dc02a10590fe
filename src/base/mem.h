/* mem.h: memory from jemalloc, counted by its size classes.
 *
 * mem_new never fails: it ends the process with a report (the budget is checked before a command
 * that grows runs). mem_try is for requests above MEM_TRY_MIN whose size a client drives.
 * Freed memory is always given with the size it was asked for, which is cheaper (sdallocx).
 * Builds with -DPULSE_PLAIN_MALLOC (the sanitizers') take malloc instead.
 * Thread: any.
 */
#pragma once

#include <stddef.h>

#include "base/attributes.h"

enum { MEM_TRY_MIN = 64 * 1024 };

MUST_USE void *mem_new(size_t size);                                /* not cleared; size > 0 */
MUST_USE void *mem_new_zero(size_t size);                           /* cleared */
MUST_USE void *mem_try(size_t size);                                /* NULL when refused */
MUST_USE void *mem_resize(void *ptr, size_t old_size, size_t size); /* ptr NULL: new; never fails */
void mem_free(void *ptr, size_t size);                              /* NULL is fine */

/* Test aid: the n-th mem_try from now returns NULL, once (0: never). */
void mem_try_fail_at(size_t n);

/* The bytes that jemalloc really sets aside for `size`: multiples of 16 to 128 (8 for up to 8), then
 * four classes for each doubling. A unit test holds it against nallocx. */
static inline size_t mem_class(size_t size) {
    if (size <= 8) return 8;
    if (size <= 128) return (size + 15) & ~(size_t)15;
    unsigned top = 63u - (unsigned)__builtin_clzl(size - 1);
    size_t step = (size_t)1 << (top - 2);
    return (size + step - 1) & ~(step - 1);
}
