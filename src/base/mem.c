#include "base/mem.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef PULSE_PLAIN_MALLOC

/* A refused request is an answer here, as with jemalloc, and no reason to end the program. */
const char *__asan_default_options(void);
__attribute__((visibility("default"), used)) const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void);
__attribute__((visibility("default"), used)) const char *__tsan_default_options(void) {
    return "allocator_may_return_null=1";
}

static void *allocate(size_t size) {
    return malloc(size);
}
static void *allocate_zero(size_t size) {
    return calloc(1, size);
}
static void *resize(void *ptr, size_t size) {
    return realloc(ptr, size);
}
static void release(void *ptr, size_t size) {
    (void)size;
    free(ptr);
}

#else

#include <jemalloc/jemalloc.h>

/* malloc is jemalloc's here, and has a shorter way than mallocx. */
static void *allocate(size_t size) {
    return malloc(size);
}
static void *allocate_zero(size_t size) {
    return mallocx(size, MALLOCX_ZERO);
}
static void *resize(void *ptr, size_t size) {
    return rallocx(ptr, size, 0);
}
static void release(void *ptr, size_t size) {
    sdallocx(ptr, size, 0);
}

#endif

/* How many more mem_try until one fails; 0: none will. */
static _Atomic size_t tries_left;

COLD __attribute__((noreturn)) static void end_without_memory(size_t size) {
    dprintf(2, "pulsedb: out of memory: the system refused %zu bytes\n", size);
    abort();
}

void *mem_new(size_t size) {
    void *ptr = allocate(size);
    if (UNLIKELY(!ptr)) end_without_memory(size);
    return ptr;
}

void *mem_new_zero(size_t size) {
    void *ptr = allocate_zero(size);
    if (UNLIKELY(!ptr)) end_without_memory(size);
    return ptr;
}

/* Relaxed: a test aid, whose count only has to be exact. */
COLD static bool try_is_to_fail(void) {
    size_t left = atomic_load_explicit(&tries_left, memory_order_relaxed);
    while (left > 0) {
        if (atomic_compare_exchange_weak_explicit(&tries_left, &left, left - 1,
                                                  memory_order_relaxed, memory_order_relaxed))
            return left == 1;
    }
    return false;
}

void *mem_try(size_t size) {
    if (UNLIKELY(atomic_load_explicit(&tries_left, memory_order_relaxed) > 0) && try_is_to_fail())
        return NULL;
    if (UNLIKELY(size > PTRDIFF_MAX)) return NULL;
    return allocate(size);
}

void *mem_resize(void *ptr, size_t old_size, size_t size) {
    if (!ptr) return mem_new(size);
#ifndef PULSE_PLAIN_MALLOC
    /* Within a size class there is nothing to move, and rallocx is not cheap to ask. */
    if (mem_class(old_size) == mem_class(size)) return ptr;
#else
    (void)old_size;
#endif
    void *resized = resize(ptr, size);
    if (UNLIKELY(!resized)) end_without_memory(size);
    return resized;
}

void mem_free(void *ptr, size_t size) {
    if (ptr) release(ptr, size);
}

void mem_try_fail_at(size_t n) {
    atomic_store_explicit(&tries_left, n, memory_order_relaxed);
}
