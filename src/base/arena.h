/* arena.h: memory that is freed all at once: a command's scratch, a request's copies.
 *
 * The first block lies inside the struct's owner (ARENA_FIRST bytes), so that most commands never
 * reach the allocator. Blocks double up to ARENA_BLOCK_MAX; bigger requests get their own.
 * Thread: one at a time.
 */
#pragma once

#include <stddef.h>

#include "base/attributes.h"
#include "base/bytes.h"

enum { ARENA_FIRST = 2048, ARENA_BLOCK_MAX = 256 * 1024 };

struct arena_block;
struct arena {
    char *at, *end;
    struct arena_block *blocks; /* newest first; NULL as long as the first block suffices */
    size_t held;                /* bytes in `blocks` */
    _Alignas(16) char first[ARENA_FIRST];
};

void arena_init(struct arena *arena);
void arena_deinit(struct arena *arena);

/* arena_clear and arena_new when it takes the allocator; not for others. */
void arena_free_blocks(struct arena *arena);
MUST_USE void *arena_new_block(struct arena *arena, size_t size);

/* Everything handed out is gone; keeps nothing but `first`. */
static inline void arena_clear(struct arena *arena) {
    if (UNLIKELY(arena->blocks != NULL)) arena_free_blocks(arena);
    arena->at = arena->first;
    arena->end = arena->first + ARENA_FIRST;
}

/* 16-byte aligned, not cleared, never NULL. */
MUST_USE static inline void *arena_new(struct arena *arena, size_t size) {
    /* The room is a multiple of 16, so what fits still fits when rounded up, and cannot overflow. */
    if (UNLIKELY(size > (size_t)(arena->end - arena->at))) return arena_new_block(arena, size);
    char *at = arena->at;
    arena->at += (size + 15) & ~(size_t)15;
    return at;
}

/* A copy of `bytes` that lives as long as the arena's content. */
struct bytes arena_copy(struct arena *arena, struct bytes bytes);
/* printf into the arena. A NUL follows the text, outside its len. */
PRINTF(2, 3) struct bytes arena_format(struct arena *arena, const char *format, ...);
