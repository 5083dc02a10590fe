#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

struct arena_block {
    struct arena_block *next; /* older */
    size_t size;              /* as allocated, this header included */
};

static_assert(sizeof(struct arena_block) == 16); /* what follows it is 16-byte aligned */
static_assert(ARENA_FIRST % 16 == 0);
static_assert(offsetof(struct arena, first) % 16 == 0);

void arena_init(struct arena *arena) {
    arena->blocks = NULL;
    arena->held = 0;
    arena->at = arena->first;
    arena->end = arena->first + ARENA_FIRST;
}

void arena_deinit(struct arena *arena) {
    arena_free_blocks(arena);
    arena_init(arena);
}

void arena_free_blocks(struct arena *arena) {
    for (struct arena_block *block = arena->blocks, *older; block; block = older) {
        older = block->next;
        arena->held -= block->size;
        mem_free(block, block->size);
    }
    arena->blocks = NULL;
    assert(arena->held == 0);
}

static char *add_block(struct arena *arena, size_t size) {
    struct arena_block *block = mem_new(size);
    *block = (struct arena_block){ .next = arena->blocks, .size = size };
    arena->blocks = block;
    arena->held += size;
    return (char *)(block + 1);
}

void *arena_new_block(struct arena *arena, size_t size) {
    size_t block_size = (size_t)2 * ARENA_FIRST;
    while (block_size <= arena->held && block_size < ARENA_BLOCK_MAX) block_size *= 2;

    assert(size <= PTRDIFF_MAX);
    size = (size + 15) & ~(size_t)15;
    if (size > (block_size - sizeof(struct arena_block)) / 2) {
        /* A block of its own; what is left of the current one stays in use. */
        return add_block(arena, size + sizeof(struct arena_block));
    }
    arena->at = add_block(arena, block_size);
    arena->end = arena->at + block_size - sizeof(struct arena_block);
    char *at = arena->at;
    arena->at += size;
    return at;
}

struct bytes arena_copy(struct arena *arena, struct bytes bytes) {
    char *copy = arena_new(arena, bytes.len);
    if (bytes.len > 0) memcpy(copy, bytes.data, bytes.len);
    return (struct bytes){ copy, bytes.len };
}

struct bytes arena_format(struct arena *arena, const char *format, ...) {
    /* Most texts fit where the arena stands: written there at once, and taken if so. */
    size_t room = (size_t)(arena->end - arena->at);
    va_list args;
    va_start(args, format);
    int len = vsnprintf(arena->at, room, format, args);
    va_end(args);
    assert(len >= 0);

    bool fits = (size_t)len < room;
    char *text = arena_new(arena, (size_t)len + 1);
    if (!fits) {
        va_start(args, format);
        (void)vsnprintf(text, (size_t)len + 1, format, args);
        va_end(args);
    }
    return (struct bytes){ text, (size_t)len };
}
