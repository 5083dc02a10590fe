/* calls.c: rows are made when first needed; a total is the sum over them, less what it was at a reset. */
#include "metrics/calls.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"

struct calls_board {
    pthread_mutex_t lock;
    unsigned count;
    struct {
        struct calls *calls;
        bool joined;
    } workers[WORKERS_MAX];
    struct calls base; /* subtracted; its rows are as the workers', written under the lock */
};

struct call_row *calls_new_row(struct calls *calls, uint32_t id) {
    assert(id < CALLS_MAX);
    struct call_row *row = aligned_alloc(_Alignof(struct call_row), sizeof *row);
    assert(row);
    memset(row, 0, sizeof *row);
    atomic_store_explicit(&calls->rows[id], row, memory_order_release);
    return row;
}

static void free_rows(struct calls *calls) {
    for (size_t i = 0; i < CALLS_MAX; i++)
        free(atomic_load_explicit(&calls->rows[i], memory_order_relaxed));
}

struct calls_board *calls_board_new(void) {
    struct calls_board *board = mem_new_zero(sizeof *board);
    pthread_mutex_init(&board->lock, NULL);
    return board;
}

struct calls_board *calls_board_free(struct calls_board *board) {
    if (!board) return NULL;
    for (unsigned i = 0; i < board->count; i++) {
        assert(!board->workers[i].joined);
        free_rows(board->workers[i].calls);
        mem_free(board->workers[i].calls, sizeof(struct calls));
    }
    free_rows(&board->base);
    pthread_mutex_destroy(&board->lock);
    mem_free(board, sizeof *board);
    return NULL;
}

struct calls *calls_join(struct calls_board *board) {
    pthread_mutex_lock(&board->lock);
    unsigned i = 0;
    while (i < board->count && board->workers[i].joined) i++;
    assert(i < WORKERS_MAX);
    if (i == board->count) {
        board->workers[i].calls = mem_new_zero(sizeof(struct calls));
        board->count++;
    }
    board->workers[i].joined = true;
    struct calls *calls = board->workers[i].calls;
    pthread_mutex_unlock(&board->lock);
    return calls;
}

void calls_leave(struct calls_board *board, struct calls *calls) {
    pthread_mutex_lock(&board->lock);
    for (unsigned i = 0; i < board->count; i++)
        if (board->workers[i].calls == calls) board->workers[i].joined = false;
    pthread_mutex_unlock(&board->lock);
}

static uint64_t read_one(const _Atomic uint64_t *number) {
    return atomic_load_explicit(number, memory_order_relaxed);
}

/* Adds a row `sign` times. */
static void add_row(const struct calls *calls, uint32_t id, uint64_t sign,
                    struct call_total *total) {
    const struct call_row *row = atomic_load_explicit(&calls->rows[id], memory_order_acquire);
    if (!row) return;
    total->ticks += sign * read_one(&row->ticks);
    total->rejected += sign * read_one(&row->rejected);
    total->failed += sign * read_one(&row->failed);
    for (size_t i = 0; i < CALL_BUCKETS; i++) {
        uint64_t n = sign * read_one(&row->took[i]);
        total->took[i] += n;
        total->calls += n;
    }
}

/* Since the start. */
static void sum(const struct calls_board *board, uint32_t id, struct call_total *out) {
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < board->count; i++) add_row(board->workers[i].calls, id, 1, out);
}

static uint64_t sum_errors(const struct calls_board *board, unsigned word) {
    uint64_t n = 0;
    for (unsigned i = 0; i < board->count; i++)
        n += read_one(&board->workers[i].calls->errors[word]);
    return n;
}

void calls_total(struct calls_board *board, uint32_t id, struct call_total *out) {
    pthread_mutex_lock(&board->lock);
    sum(board, id, out);
    add_row(&board->base, id, UINT64_MAX, out); /* that is -1: what wraps there wraps back */
    pthread_mutex_unlock(&board->lock);
}

uint64_t calls_errors(struct calls_board *board, unsigned word) {
    pthread_mutex_lock(&board->lock);
    uint64_t n = sum_errors(board, word) - read_one(&board->base.errors[word]);
    pthread_mutex_unlock(&board->lock);
    return n;
}

static void set_one(_Atomic uint64_t *number, uint64_t n) {
    atomic_store_explicit(number, n, memory_order_relaxed);
}

static void set_base(struct calls *base, uint32_t id, const struct call_total *total) {
    if (total->calls == 0 && total->rejected == 0) return; /* and never was anything else */
    struct call_row *row = calls_row(base, id);
    set_one(&row->ticks, total->ticks);
    set_one(&row->rejected, total->rejected);
    set_one(&row->failed, total->failed);
    for (size_t i = 0; i < CALL_BUCKETS; i++) set_one(&row->took[i], total->took[i]);
}

void calls_reset(struct calls_board *board) {
    pthread_mutex_lock(&board->lock);
    for (uint32_t id = 0; id < CALLS_MAX; id++) {
        struct call_total total;
        sum(board, id, &total);
        set_base(&board->base, id, &total);
    }
    for (unsigned i = 0; i < ERROR_WORDS_MAX; i++)
        set_one(&board->base.errors[i], sum_errors(board, i));
    pthread_mutex_unlock(&board->lock);
}

uint64_t call_quantile(const struct call_total *total, double part) {
    if (total->calls == 0) return 0;
    double wanted = part * (double)total->calls;
    uint64_t rank = (uint64_t)wanted;
    if ((double)rank < wanted || rank == 0) rank++;
    uint64_t seen = 0;
    for (unsigned i = 0; i < CALL_BUCKETS; i++) {
        seen += total->took[i];
        if (seen >= rank) return (call_bucket_begin(i) + call_bucket_begin(i + 1)) / 2;
    }
    return CALL_TICKS_MAX;
}
