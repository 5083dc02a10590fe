/* file_journal_run_test.h: a writer with a memory, for the tests of the journal in files.
 *
 * It knows which frames were synced, and the content of each follows from its seq, so that what is read back can
 * be checked without keeping it. After each crash run_start looks at the files as a server would. */
#pragma once

#include <stdlib.h>

#include "base/env.h"
#include "base/mem.h"
#include "log/segment.h"
#include "testing/testing.h"

enum { SEGMENT = 16 * 1024, PAYLOAD_MAX = 3000 };

struct run {
    struct env *env;
    struct manifest_share share;
    struct file_journal_tail tail;
    struct journal *journal;
    uint64_t chance;
    uint64_t acked;   /* frames up to this one were synced, in a log that counts */
    uint64_t written; /* frames up to this one were appended */
    uint64_t synced_cut;
    struct problem why;
};

static inline uint64_t cut_of(uint64_t seq) {
    return 1000 + seq * 10;
}

static inline size_t len_of(uint64_t seq) {
    uint64_t mixed = seq * 0x9e3779b97f4a7c15u >> 40;
    return seq % 7 == 0 ? 0 : mixed % (seq % 5 == 0 ? PAYLOAD_MAX : 300);
}

static inline void fill_payload(uint64_t seq, char *out, size_t len) {
    for (size_t i = 0; i < len; i++) out[i] = (char)(seq * 31 + i * 7);
}

static inline uint64_t chance(struct run *run) {
    uint64_t z = run->chance += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline struct run *run_new(uint64_t seed) {
    struct run *run = calloc(1, sizeof *run);
    run->env = env_sim_new(seed);
    run->chance = seed;
    assert_int_equal(run->env->ops->mkdir(run->env, "d"), 0);
    assert_int_equal(run->env->ops->sync_dir(run->env, "."), 0);
    pthread_mutex_init(&run->share.lock, NULL);
    manifest_init(&run->share.now);
    return run;
}

static inline void run_stop(struct run *run) {
    run->journal = journal_free(run->journal);
    manifest_deinit(&run->share.now);
    manifest_init(&run->share.now);
}

static inline void run_free(struct run *run) {
    run_stop(run);
    manifest_deinit(&run->share.now);
    pthread_mutex_destroy(&run->share.lock);
    env_sim_free(run->env);
    free(run);
}

static inline enum status check_frame(void *self, const struct journal_batch *batch,
                                      struct problem *why) {
    (void)why;
    uint64_t *expected = self;
    char payload[PAYLOAD_MAX];
    assert_int_equal(batch->seq, *expected);
    assert_int_equal(batch->cut, cut_of(batch->seq));
    if (!(batch->flags & JOURNAL_CLEAN)) {
        size_t len = len_of(batch->seq);
        assert_int_equal(batch->bytes.len, len);
        fill_payload(batch->seq, payload, len);
        assert_memory_equal(batch->bytes.data, payload, len);
    }
    ++*expected;
    return OK;
}

/* Reads manifest and log as a server does when it starts. OK: whatever must be there is. */
static inline enum status run_look(struct run *run) {
    struct manifest *manifest = &run->share.now;
    run->why = (struct problem){};
    enum status status = manifest_read(run->env, "d", manifest, &run->why);
    if (status == NOT_FOUND) {
        manifest_init(manifest);
        manifest->shards = 4;
        run->tail = (struct file_journal_tail){ .last_seq = 0 };
        return OK;
    }
    if (status != OK) {
        manifest_init(manifest);
        return status;
    }
    status = file_journal_scan(run->env, "d", manifest, &run->tail, &run->why);
    if (status != OK) return status;
    uint64_t seq = manifest->base.seq;
    assert_true(run->tail.last_seq + 1 >= seq);
    return file_journal_read(run->env, "d", manifest, seq, run->tail.last_seq, check_frame, &seq,
                             &run->why);
}

static inline enum status run_open(struct run *run) {
    run->journal = file_journal_open(run->env, "d", &run->share, &run->tail, SEGMENT, &run->why);
    if (!run->journal) return run->why.status;
    run->written = run->tail.last_seq;
    run->synced_cut = run->tail.cut;
    return OK;
}

/* A start that has to succeed, after a mere crash. */
static inline void run_start(struct run *run) {
    enum status status = run_look(run);
    if (status == OK && run->tail.last_seq < run->acked)
        fail_msg("frame %llu was acknowledged and the log ends at %llu",
                 (unsigned long long)run->acked, (unsigned long long)run->tail.last_seq);
    if (status == OK) status = run_open(run);
    if (status != OK) fail_msg("%s", run->why.text);
    run->acked = run->tail.last_seq; /* a server shows what it has found */
}

static inline enum status run_append(struct run *run) {
    char payload[PAYLOAD_MAX];
    uint64_t seq = run->written + 1;
    struct journal_batch batch = { .seq = seq,
                                   .cut = cut_of(seq),
                                   .synced = run->synced_cut,
                                   .blocks = 1,
                                   .bytes = { payload, len_of(seq) } };
    fill_payload(seq, payload, batch.bytes.len);
    enum status status = journal_append(run->journal, &batch, &run->why);
    if (status == OK) run->written = seq;
    return status;
}

static inline enum status run_sync(struct run *run, bool counts) {
    uint64_t acked;
    enum status status = journal_sync(run->journal, &acked, &run->why);
    if (status != OK) return status;
    assert_int_equal(acked, run->written);
    if (counts) {
        run->acked = acked;
        if (acked) run->synced_cut = cut_of(acked);
    }
    return OK;
}

/* A snapshot as of the frame written last. */
static inline struct manifest_base base_now(struct run *run, uint64_t generation) {
    return (struct manifest_base){ .generation = generation,
                                   .seq = run->written + 1,
                                   .from = cut_of(run->written),
                                   .to = cut_of(run->written),
                                   .keys_size = 1 };
}

static inline enum status run_put_base(struct run *run, uint64_t generation) {
    struct manifest_base base = base_now(run, generation);
    return file_journal_put_base(run->journal, &base, &run->why);
}

/* What a server does when a sync has failed: a new log, a new base. */
static inline enum status run_heal(struct run *run) {
    enum status status = journal_restart(run->journal, &run->why);
    if (status == OK) status = run_put_base(run, run->share.now.base.generation + 1);
    if (status == OK) run->acked = run->written; /* it is in the base */
    return status;
}

static inline void ok(struct run *run, enum status status) {
    if (status != OK) fail_msg("%s", run->why.text);
}

static inline bool file_exists(struct run *run, const char *path) {
    struct env_file *file;
    if (run->env->ops->open(run->env, path, ENV_READ, &file) < 0) return false;
    run->env->ops->close(run->env, file);
    return true;
}

static inline struct bytes file_bytes(struct run *run, const char *path) {
    struct bytes bytes;
    assert_int_equal(env_read_file(run->env, path, 10000000, &bytes, NULL), OK);
    return bytes;
}

static inline void bytes_free(struct bytes bytes) {
    mem_free((char *)(uintptr_t)bytes.data, bytes.len);
}

static inline void overwrite(struct run *run, const char *path, uint64_t at, const void *data,
                             size_t len) {
    struct env_file *file;
    assert_int_equal(run->env->ops->open(run->env, path, ENV_WRITE, &file), 0);
    assert_int_equal(write_fully(run->env, file, data, len, at), 0);
    run->env->ops->close(run->env, file);
}

static inline void cut_off(struct run *run, const char *path, uint64_t len) {
    struct env_file *file;
    assert_int_equal(run->env->ops->open(run->env, path, ENV_WRITE, &file), 0);
    assert_int_equal(run->env->ops->truncate(run->env, file, len), 0);
    run->env->ops->close(run->env, file);
}
