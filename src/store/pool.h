/* pool.h: memory for history segments: 2 MiB at a time, on huge pages.
 *
 *     chunk, 2 MiB    [seg][seg][seg] ... 32        free ones of all chunks in one list
 *
 * A walk through a key's past jumps from segment to segment; on 4 KiB pages each jump also missed the
 * translation buffer, which cost as much as the data. A chunk goes back to the system when all its
 * segments are free and enough others are. Thread: any; a leaf lock.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum { POOL_CHUNK = 2 * 1024 * 1024 };

struct pool_free; /* a free block's first words */
struct pool_chunk;

struct pool {
    pthread_mutex_t lock;
    size_t block_size, blocks; /* of a chunk */
    struct pool_chunk *chunks; /* by address: chunks_count */
    size_t chunks_count, chunks_cap;
    size_t free_count;
};

void pool_init(struct pool *pool, size_t block_size); /* a power of two below POOL_CHUNK */
void pool_deinit(struct pool *pool);                  /* everything must have been given back */
void *pool_take(struct pool *pool);                   /* not cleared; never NULL */
void pool_give(struct pool *pool, void *block);       /* NULL is fine */
/* Makes `count` blocks ready before they are needed, so that no writer waits for the system: once a
 * first one was taken. */
void pool_prepare(struct pool *pool, size_t count);
