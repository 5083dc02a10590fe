#include "store/pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/mem.h"

enum { FREE_KEPT_MAX = 128 }; /* blocks kept beyond whole free chunks: 8 MiB of segments */

struct pool_free {
    struct pool_free *next;
};

struct pool_chunk {
    char *base;
    struct pool_free *free;
    size_t free_count;
};

void pool_init(struct pool *pool, size_t block_size) {
    assert(block_size < POOL_CHUNK && POOL_CHUNK % block_size == 0);
    memset(pool, 0, sizeof *pool);
    pthread_mutex_init(&pool->lock, NULL);
    pool->block_size = block_size;
    pool->blocks = POOL_CHUNK / block_size;
}

#ifdef PULSE_PLAIN_MALLOC /* a sanitizer watches each block by itself */

void pool_deinit(struct pool *pool) {
    pthread_mutex_destroy(&pool->lock);
}
void *pool_take(struct pool *pool) {
    return mem_new(pool->block_size);
}
void pool_give(struct pool *pool, void *block) {
    mem_free(block, pool->block_size);
}
void pool_prepare(struct pool *pool, size_t count) {
    (void)pool;
    (void)count;
}

#else

/* An aligned chunk: twice as much is asked for, and what sticks out goes back at once. */
static char *chunk_map(void) {
    char *at =
        mmap(NULL, 2 * POOL_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert(at != MAP_FAILED);
    size_t before = (POOL_CHUNK - (uintptr_t)at % POOL_CHUNK) % POOL_CHUNK;
    if (before) munmap(at, before);
    munmap(at + before + POOL_CHUNK, POOL_CHUNK - before);
    madvise(at + before, POOL_CHUNK, MADV_HUGEPAGE);
    return at + before;
}

/* Where a chunk of this base stands, or should. */
static size_t chunk_place(const struct pool *pool, const char *base) {
    size_t low = 0, high = pool->chunks_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (pool->chunks[middle].base < base)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void chunk_add(struct pool *pool, char *base) {
    if (pool->chunks_count == pool->chunks_cap) {
        size_t cap = pool->chunks_cap ? pool->chunks_cap * 2 : 16;
        pool->chunks = mem_resize(pool->chunks, pool->chunks_cap * sizeof *pool->chunks,
                                  cap * sizeof *pool->chunks);
        pool->chunks_cap = cap;
    }
    size_t place = chunk_place(pool, base);
    memmove(pool->chunks + place + 1, pool->chunks + place,
            (pool->chunks_count - place) * sizeof *pool->chunks);
    struct pool_chunk *chunk = &pool->chunks[place];
    *chunk = (struct pool_chunk){ .base = base, .free_count = pool->blocks };
    for (size_t i = pool->blocks; i > 0; i--) { /* the first block first, so that pages follow */
        struct pool_free *block = (struct pool_free *)(void *)(base + (i - 1) * pool->block_size);
        block->next = chunk->free;
        chunk->free = block;
    }
    pool->chunks_count++;
    pool->free_count += pool->blocks;
}

static void chunk_remove(struct pool *pool, size_t place) {
    munmap(pool->chunks[place].base, POOL_CHUNK);
    pool->chunks_count--;
    pool->free_count -= pool->blocks;
    memmove(pool->chunks + place, pool->chunks + place + 1,
            (pool->chunks_count - place) * sizeof *pool->chunks);
}

void pool_deinit(struct pool *pool) {
    assert(pool->free_count == pool->chunks_count * pool->blocks);
    while (pool->chunks_count) chunk_remove(pool, pool->chunks_count - 1);
    mem_free(pool->chunks, pool->chunks_cap * sizeof *pool->chunks);
    pthread_mutex_destroy(&pool->lock);
}

void *pool_take(struct pool *pool) {
    pthread_mutex_lock(&pool->lock);
    if (pool->free_count == 0) chunk_add(pool, chunk_map());
    size_t place = 0;
    while (!pool->chunks[place].free) place++; /* the lowest: so that high ones empty */
    struct pool_chunk *chunk = &pool->chunks[place];
    struct pool_free *block = chunk->free;
    chunk->free = block->next;
    chunk->free_count--;
    pool->free_count--;
    pthread_mutex_unlock(&pool->lock);
    return block;
}

void pool_give(struct pool *pool, void *ptr) {
    if (!ptr) return;
    struct pool_free *block = ptr;
    char *base = (char *)((uintptr_t)ptr & ~(uintptr_t)(POOL_CHUNK - 1));
    pthread_mutex_lock(&pool->lock);
    size_t place = chunk_place(pool, base);
    struct pool_chunk *chunk = &pool->chunks[place];
    assert(place < pool->chunks_count && chunk->base == base);
    block->next = chunk->free;
    chunk->free = block;
    chunk->free_count++;
    pool->free_count++;
    if (chunk->free_count == pool->blocks && pool->free_count > pool->blocks + FREE_KEPT_MAX)
        chunk_remove(pool, place);
    pthread_mutex_unlock(&pool->lock);
}

void pool_prepare(struct pool *pool, size_t count) {
    for (;;) {
        pthread_mutex_lock(&pool->lock);
        bool enough = pool->free_count >= count || pool->chunks_count == 0; /* nobody writes */
        pthread_mutex_unlock(&pool->lock);
        if (enough) return;
        char *base = chunk_map();
        memset(base, 0, POOL_CHUNK); /* the system clears it now, not under a shard's lock */
        pthread_mutex_lock(&pool->lock);
        chunk_add(pool, base);
        pthread_mutex_unlock(&pool->lock);
    }
}

#endif
