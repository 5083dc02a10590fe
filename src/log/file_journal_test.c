/* file_journal_test.c: what was acknowledged is always there again; what is broken is never taken for the end.
 *
 * `struct run` is a writer with a memory: it knows which frames were synced, and the content of each follows
 * from its seq, so that what is read back can be checked without keeping it. After each crash run_start looks at
 * the files as a server would. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/env.h"
#include "base/mem.h"
#include "log/crc32c.h"
#include "log/file_journal.h"
#include "log/frame.h"
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

static uint64_t cut_of(uint64_t seq) {
    return 1000 + seq * 10;
}

static size_t len_of(uint64_t seq) {
    uint64_t mixed = seq * 0x9e3779b97f4a7c15u >> 40;
    return seq % 7 == 0 ? 0 : mixed % (seq % 5 == 0 ? PAYLOAD_MAX : 300);
}

static void fill_payload(uint64_t seq, char *out, size_t len) {
    for (size_t i = 0; i < len; i++) out[i] = (char)(seq * 31 + i * 7);
}

static uint64_t chance(struct run *run) {
    uint64_t z = run->chance += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static struct run *run_new(uint64_t seed) {
    struct run *run = calloc(1, sizeof *run);
    run->env = env_sim_new(seed);
    run->chance = seed;
    assert_int_equal(run->env->ops->mkdir(run->env, "d"), 0);
    assert_int_equal(run->env->ops->sync_dir(run->env, "."), 0);
    pthread_mutex_init(&run->share.lock, NULL);
    manifest_init(&run->share.now);
    return run;
}

static void run_stop(struct run *run) {
    run->journal = journal_free(run->journal);
    manifest_deinit(&run->share.now);
    manifest_init(&run->share.now);
}

static void run_free(struct run *run) {
    run_stop(run);
    manifest_deinit(&run->share.now);
    pthread_mutex_destroy(&run->share.lock);
    env_sim_free(run->env);
    free(run);
}

static enum status check_frame(void *self, const struct journal_batch *batch, struct problem *why) {
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
static enum status run_look(struct run *run) {
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

static enum status run_open(struct run *run) {
    run->journal = file_journal_open(run->env, "d", &run->share, &run->tail, SEGMENT, &run->why);
    if (!run->journal) return run->why.status;
    run->written = run->tail.last_seq;
    run->synced_cut = run->tail.cut;
    return OK;
}

/* A start that has to succeed, after a mere crash. */
static void run_start(struct run *run) {
    enum status status = run_look(run);
    if (status == OK && run->tail.last_seq < run->acked)
        fail_msg("frame %llu was acknowledged and the log ends at %llu",
                 (unsigned long long)run->acked, (unsigned long long)run->tail.last_seq);
    if (status == OK) status = run_open(run);
    if (status != OK) fail_msg("%s", run->why.text);
    run->acked = run->tail.last_seq; /* a server shows what it has found */
}

static enum status run_append(struct run *run) {
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

static enum status run_sync(struct run *run, bool counts) {
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
static struct manifest_base base_now(struct run *run, uint64_t generation) {
    return (struct manifest_base){ .generation = generation,
                                   .seq = run->written + 1,
                                   .from = cut_of(run->written),
                                   .to = cut_of(run->written),
                                   .keys_size = 1 };
}

static enum status run_put_base(struct run *run, uint64_t generation) {
    struct manifest_base base = base_now(run, generation);
    return file_journal_put_base(run->journal, &base, &run->why);
}

/* What a server does when a sync has failed: a new log, a new base. */
static enum status run_heal(struct run *run) {
    enum status status = journal_restart(run->journal, &run->why);
    if (status == OK) status = run_put_base(run, run->share.now.base.generation + 1);
    if (status == OK) run->acked = run->written; /* it is in the base */
    return status;
}

static void ok(struct run *run, enum status status) {
    if (status != OK) fail_msg("%s", run->why.text);
}

static bool file_exists(struct run *run, const char *path) {
    struct env_file *file;
    if (run->env->ops->open(run->env, path, ENV_READ, &file) < 0) return false;
    run->env->ops->close(run->env, file);
    return true;
}

static struct bytes file_bytes(struct run *run, const char *path) {
    struct bytes bytes;
    assert_int_equal(env_read_file(run->env, path, 10000000, &bytes, NULL), OK);
    return bytes;
}

static void bytes_free(struct bytes bytes) {
    mem_free((char *)(uintptr_t)bytes.data, bytes.len);
}

static void overwrite(struct run *run, const char *path, uint64_t at, const void *data,
                      size_t len) {
    struct env_file *file;
    assert_int_equal(run->env->ops->open(run->env, path, ENV_WRITE, &file), 0);
    assert_int_equal(write_fully(run->env, file, data, len, at), 0);
    run->env->ops->close(run->env, file);
}

static void cut_off(struct run *run, const char *path, uint64_t len) {
    struct env_file *file;
    assert_int_equal(run->env->ops->open(run->env, path, ENV_WRITE, &file), 0);
    assert_int_equal(run->env->ops->truncate(run->env, file, len), 0);
    run->env->ops->close(run->env, file);
}

/* --- in order --- */

TEST(what_was_appended_is_read_again_in_order_over_files_and_restarts) {
    struct run *run = run_new(1);
    for (int round = 0; round < 4; round++) {
        run_start(run);
        assert_int_equal(file_journal_next_seq(run->journal), run->written + 1);
        for (int i = 0; i < 100; i++) {
            ok(run, run_append(run));
            if (i % 9 == 0) ok(run, journal_prepare(run->journal, &run->why));
            if (i % 20 == 0) ok(run, run_sync(run, true));
        }
        uint64_t seq = 30;
        ok(run, journal_read(run->journal, 30, check_frame, &seq, &run->why));
        assert_int_equal(seq, run->written + 1);
        run_stop(run); /* the process ends: nothing is lost, synced or not */
        run->acked = run->written;
    }
    run_start(run);
    assert_int_equal(run->written, 400);
    assert_int_equal(run->tail.torn_bytes, 0);
    assert_true(run->share.now.logs_count > 4);
    run_free(run);
}

TEST(a_power_cut_takes_what_was_not_synced_and_no_more) {
    struct run *run = run_new(2);
    run_start(run);
    for (int i = 0; i < 50; i++) ok(run, run_append(run));
    ok(run, run_sync(run, true));
    for (int i = 0; i < 20; i++) ok(run, run_append(run));
    env_sim_crash(run->env);
    run_stop(run);
    run_start(run);
    assert_int_equal(run->tail.last_seq, 50);
    assert_int_equal(run->tail.cut, cut_of(50));
    run_free(run);
}

TEST(what_was_found_after_a_crash_of_the_process_survives_a_power_cut_after_it) {
    struct run *run = run_new(3);
    run_start(run);
    for (int i = 0; i < 50; i++) ok(run, run_append(run));
    run_stop(run); /* not one frame was synced */
    run_start(run);
    assert_int_equal(run->acked, 50);
    env_sim_crash(run->env);
    run_stop(run);
    run_start(run);
    run_free(run);
}

TEST(a_frame_that_is_larger_than_a_segment_gets_its_own) {
    struct run *run = run_new(4);
    run_start(run);
    char *large = calloc(1, SEGMENT * 5);
    for (uint64_t seq = 1; seq <= 5; seq++) {
        struct journal_batch batch = { .seq = seq,
                                       .cut = seq,
                                       .bytes = { large, seq % 2 ? 100 : SEGMENT * 5 } };
        ok(run, journal_append(run->journal, &batch, &run->why));
    }
    run->written = 5;
    ok(run, run_sync(run, true));
    assert_int_equal(file_journal_size(run->journal, 1), 3 * 144 + 2 * (SEGMENT * 5 + 40));
    assert_int_equal(file_journal_size(run->journal, 5), 144);
    assert_int_equal(file_journal_size(run->journal, 6), 0);
    env_sim_crash(run->env);
    run_stop(run);
    assert_int_equal(manifest_read(run->env, "d", &run->share.now, &run->why), OK);
    ok(run, file_journal_scan(run->env, "d", &run->share.now, &run->tail, &run->why));
    assert_int_equal(run->tail.last_seq, 5);
    assert_int_equal(run->tail.bytes, 3 * 144 + 2 * (SEGMENT * 5 + 40));
    free(large);
    run_free(run);
}

TEST(a_frame_that_does_not_follow_is_refused) {
    struct run *run = run_new(5);
    run_start(run);
    ok(run, run_append(run));
    struct journal_batch batch = { .seq = 1, .cut = cut_of(2) };
    assert_int_equal(journal_append(run->journal, &batch, &run->why), INVALID);
    batch.seq = 3;
    assert_int_equal(journal_append(run->journal, &batch, &run->why), INVALID);
    batch = (struct journal_batch){ .seq = 2, .cut = cut_of(1) - 1 };
    assert_int_equal(journal_append(run->journal, &batch, &run->why), INVALID);
    ok(run, run_append(run));
    run_free(run);
}

TEST(a_shutdown_in_order_is_known_and_a_new_start_forgets_it) {
    struct run *run = run_new(6);
    for (int round = 0; round < 3; round++) {
        run_start(run);
        assert_false(run->share.now.clean);
        for (int i = 0; i < round * 10; i++) ok(run, run_append(run)); /* none at first */
        ok(run, file_journal_close_clean(run->journal, cut_of(run->written + 1), &run->why));
        run->written++;
        assert_int_equal(run_append(run), STOPPED);
        run->acked = run->written;
        env_sim_crash(run->env);
        run_stop(run);
        ok(run, run_look(run));
        assert_true(run->share.now.clean);
        assert_int_equal(run->share.now.clean_seq, run->acked);
        assert_int_equal(run->tail.last_seq, run->acked);
        assert_int_equal(run->tail.torn_bytes, 0);
        manifest_deinit(&run->share.now);
    }
    run_free(run);
}

TEST(a_new_base_takes_the_place_of_the_logs_before_it_whose_files_are_used_again) {
    struct run *run = run_new(7);
    run_start(run);
    struct env_file *file;
    for (uint64_t generation = 1; generation < 6; generation++) {
        for (int i = 0; i < 150; i++) {
            ok(run, journal_prepare(run->journal, &run->why));
            ok(run, run_append(run));
        }
        ok(run, run_sync(run, true));
        assert_true(file_journal_size(run->journal, run->share.now.base.seq) > 2 * SEGMENT);
        char path[100];
        snprintf(path, sizeof path, "d/base.%d.keys.snap", (int)generation);
        assert_int_equal(run->env->ops->open(run->env, path, ENV_WRITE | ENV_TRUNCATE, &file), 0);
        run->env->ops->close(run->env, file);
        ok(run, run_put_base(run, generation));
        assert_true(file_exists(run, path));
        snprintf(path, sizeof path, "d/base.%d.keys.snap", (int)generation - 1);
        assert_false(file_exists(run, path));
        assert_int_equal(file_journal_size(run->journal, run->share.now.base.seq), 0);
        assert_true(run->share.now.logs_count <= 2);
        assert_true(file_exists(run, "d/log.spare.1"));
        ok(run, run_append(run));
        ok(run, run_sync(run, true));
        env_sim_crash(run->env);
        run_stop(run);
        run_start(run);
        assert_int_equal(run->tail.torn_bytes, 0); /* an earlier log's frames are no torn end */
        assert_int_equal(run->share.now.base.generation, generation);
    }
    run_free(run);
}

TEST(a_trim_drops_no_log_that_the_base_needs) {
    struct run *run = run_new(8);
    run_start(run);
    for (int i = 0; i < 200; i++) ok(run, run_append(run));
    ok(run, run_sync(run, true));
    size_t logs = run->share.now.logs_count;
    ok(run, journal_trim(run->journal, 150, &run->why));
    assert_int_equal(run->share.now.logs_count, logs);
    uint64_t seq = 1;
    ok(run, journal_read(run->journal, 1, check_frame, &seq, &run->why));
    run_free(run);
}

TEST(a_log_begun_for_one_base_can_be_closed_at_once) {
    struct run *run = run_new(9);
    run_start(run);
    for (int i = 0; i < 30; i++) ok(run, run_append(run));
    ok(run, journal_restart(run->journal, &run->why));
    assert_int_equal(file_journal_close_clean(run->journal, cut_of(31), &run->why), INVALID);
    ok(run, run_put_base(run, 1));
    ok(run, file_journal_close_clean(run->journal, cut_of(31), &run->why));
    env_sim_crash(run->env);
    run_stop(run);
    ok(run, run_look(run));
    assert_int_equal(run->tail.last_seq, 31);
    assert_int_equal(run->share.now.base.seq, 31);
    assert_int_equal(run->share.now.logs_count, 1);
    run_free(run);
}

/* --- what fails --- */

TEST(after_a_failed_append_the_same_one_succeeds_and_is_there_once) {
    for (int short_writes = 0; short_writes < 2; short_writes++) {
        struct run *run = run_new(10);
        run_start(run);
        struct env_sim_faults faults = { .write_errors = 300000,
                                         .write_error = ENOSPC,
                                         .short_writes = short_writes ? 500000 : 0 };
        env_sim_faults(run->env, &faults);
        for (int i = 0, failed = 0; i < 300;) {
            enum status status = run_append(run);
            if (status == OK) {
                i++;
                continue;
            }
            assert_int_equal(status, IO);
            assert_int_equal(run->why.error, ENOSPC);
            assert_true(++failed < 10000);
        }
        env_sim_faults(run->env, &(struct env_sim_faults){});
        ok(run, run_sync(run, true));
        env_sim_crash(run->env);
        run_stop(run);
        run_start(run);
        assert_int_equal(run->tail.last_seq, 300);
        assert_int_equal(run->tail.torn_bytes, 0);
        run_free(run);
    }
}

TEST(another_append_after_a_failed_one_is_refused_where_it_would_leave_a_whole_frame_behind) {
    struct run *run = run_new(11);
    run_start(run);
    static char large[SEGMENT - 200];
    struct journal_batch batch = { .seq = 1, .cut = 1, .bytes = { large, 8000 } };
    ok(run, journal_append(run->journal, &batch, &run->why));
    ok(run, journal_prepare(run->journal, &run->why));
    batch = (struct journal_batch){ .seq = 2, .cut = 2, .bytes = { large, 100 } };
    env_sim_fail_at(run->env, 1, EIO);
    assert_int_equal(journal_append(run->journal, &batch, &run->why), IO);
    batch.bytes.len = sizeof large;
    assert_int_equal(journal_append(run->journal, &batch, &run->why), INVALID);
    batch.bytes.len = 10;
    ok(run, journal_append(run->journal, &batch, &run->why));
    run_free(run);
}

TEST(a_failed_sync_ends_the_log_until_it_is_begun_anew) {
    struct run *run = run_new(12);
    run_start(run);
    for (int i = 0; i < 10; i++) ok(run, run_append(run));
    ok(run, run_sync(run, true));
    for (int i = 0; i < 10; i++) ok(run, run_append(run));
    struct env_sim_faults faults = { .sync_errors = 1000000 };
    env_sim_faults(run->env, &faults);
    assert_int_equal(run_sync(run, true), IO);
    env_sim_faults(run->env, &(struct env_sim_faults){});
    assert_int_equal(run_sync(run, true), STOPPED); /* the disk would say yes now, and lie */
    assert_int_equal(run_append(run), STOPPED);
    assert_int_equal(run_put_base(run, 1), STOPPED);
    ok(run, journal_restart(run->journal, &run->why));
    for (int i = 0; i < 10; i++) ok(run, run_append(run));
    ok(run, journal_prepare(run->journal, &run->why));
    ok(run, run_sync(run, false));
    struct manifest_base early = { .generation = 1, .seq = 5 };
    assert_int_equal(file_journal_put_base(run->journal, &early, &run->why), INVALID);
    struct manifest_base base = base_now(run, 1);
    base.seq = 21;
    base.from = base.to = cut_of(20);
    ok(run, file_journal_put_base(run->journal, &base, &run->why));
    run->acked = 30;
    env_sim_crash(run->env);
    run_stop(run);
    run_start(run);
    assert_int_equal(run->tail.last_seq, 30);
    assert_false(file_exists(run, "d/log.1.plog"));
    run_free(run);
}

TEST(a_log_begun_anew_counts_only_from_the_next_base_on) {
    struct run *run = run_new(13);
    run_start(run);
    for (int i = 0; i < 10; i++) ok(run, run_append(run));
    ok(run, run_sync(run, true));
    ok(run, journal_restart(run->journal, &run->why));
    for (int i = 0; i < 200; i++) { /* several files, none of them in the manifest */
        ok(run, run_append(run));
        ok(run, journal_prepare(run->journal, &run->why));
    }
    ok(run, run_sync(run, false));
    env_sim_crash(run->env);
    run_stop(run);
    run_start(run);
    assert_int_equal(run->tail.last_seq, 10);
    run_free(run);
}

/* A life of a server: as far as it gets. Answers failures as a server would. */
static void live(struct run *run) {
    if (run_look(run) != OK || run_open(run) != OK) return;
    run->acked = run->tail.last_seq;
    for (int i = 0; i < 60; i++) {
        enum status status = run_append(run);
        for (int again = 0; status == IO && again < 3; again++) status = run_append(run);
        if (status == OK && i % 7 == 0) status = run_sync(run, true);
        if (i % 5 == 0) (void)!journal_prepare(run->journal, &run->why);
        if (status == OK && i == 25) {
            status = run_sync(run, true);
            if (status == OK) (void)!run_put_base(run, run->share.now.base.generation + 1);
        }
        if (status != OK && run_heal(run) != OK && run_heal(run) != OK) return;
    }
    if (file_journal_close_clean(run->journal, cut_of(run->written + 1), &run->why) == OK)
        run->acked = run->written + 1;
}

/* An earlier life that ended in order, so that there is something to find, and a second one. */
static struct run *two_lives(uint64_t seed, uint64_t power_off_at, uint64_t fail_at, int error) {
    struct run *run = run_new(seed);
    live(run);
    env_sim_crash(run->env);
    run_stop(run);
    env_sim_power_off_at(run->env, power_off_at);
    env_sim_fail_at(run->env, fail_at, error);
    live(run);
    return run;
}

/* The file calls of a second life. */
static uint64_t calls_count(void) {
    for (uint64_t n = 100;; n++) {
        struct run *run = two_lives(1, n, 0, 0);
        bool lived = env_sim_has_power(run->env);
        env_sim_power_off_at(run->env, 0);
        env_sim_power(run->env, true);
        run_free(run);
        if (lived) return n - 1;
    }
}

/* In the second life the power fails, or one call, and every start after it finds what was acknowledged. */
static void check_life(uint64_t power_off_at, uint64_t fail_at, int error) {
    uint64_t n = power_off_at + fail_at;
    struct run *run = two_lives(100 + n, power_off_at, fail_at, error);
    env_sim_fail_at(run->env, 0, 0);
    env_sim_power_off_at(run->env, 0);
    env_sim_power(run->env, true);
    if (n % 3 == 0)
        env_sim_crash(run->env);
    else
        env_sim_crash_torn(run->env);
    run_stop(run);
    for (uint64_t cut = 1 + n % 13; cut < 40; cut += 20) { /* the start is cut short as well */
        env_sim_power_off_at(run->env, cut);
        if (run_look(run) == OK) (void)!run_open(run);
        env_sim_power_off_at(run->env, 0);
        env_sim_power(run->env, true);
        env_sim_crash_torn(run->env);
        run_stop(run);
    }
    run_start(run);
    for (int i = 0; i < 10; i++) ok(run, run_append(run));
    ok(run, run_sync(run, true));
    env_sim_crash_torn(run->env);
    run_stop(run);
    run_start(run);
    run_free(run);
}

TEST(wherever_the_power_is_cut_what_was_acknowledged_is_there_after) {
    uint64_t calls = calls_count();
    assert_true(calls > 150);
    for (uint64_t n = 1; n <= calls; n++) check_life(n, 0, 0);
}

TEST(whichever_call_fails_what_was_acknowledged_is_there_after) {
    uint64_t calls = calls_count() + 20; /* a failure leads to others */
    for (uint64_t n = 1; n <= calls; n++) check_life(0, n, n % 2 ? EIO : ENOSPC);
    for (uint64_t n = 1; n <= calls; n++) check_life(0, n, n % 2 ? ENOSPC : EIO);
}

/* One random life after another. */
static void random_lives(uint64_t seed) {
    struct run *run = run_new(seed);
    for (int life = 0; life < 12; life++) {
        struct env_sim_faults faults = {};
        env_sim_faults(run->env, &faults);
        run_start(run);
        if (chance(run) % 2) faults.write_errors = 20000;
        if (chance(run) % 3 == 0) faults.sync_errors = 50000;
        faults.write_error = chance(run) % 2 ? ENOSPC : EIO;
        faults.short_writes = chance(run) % 2 ? 200000 : 0;
        env_sim_faults(run->env, &faults);
        bool broken = false;
        for (uint64_t steps = chance(run) % 200; steps > 0; steps--) {
            enum status status = OK;
            uint64_t what = chance(run) % 20;
            if (broken)
                broken = run_heal(run) != OK;
            else if (what == 0)
                (void)!journal_prepare(run->journal, &run->why);
            else if (what < 3)
                broken = run_sync(run, true) != OK;
            else if (what == 3 && chance(run) % 4 == 0 && run_sync(run, true) == OK)
                (void)!run_put_base(run, run->share.now.base.generation + 1);
            else
                status = run_append(run);
            if (status != OK && run->why.status != IO) broken = true;
        }
        bool power = chance(run) % 4 > 0;
        if (!power && !broken) { /* kill -9: what was written is there, if no page was lost */
            if (faults.sync_errors == 0) run->acked = run->written;
        } else if (chance(run) % 2) {
            env_sim_crash(run->env);
        } else {
            env_sim_crash_torn(run->env);
        }
        run_stop(run);
    }
    run_free(run);
}

TEST(random_lives_and_deaths_lose_nothing) {
    const char *from = getenv("JOURNAL_SEED"), *count = getenv("JOURNAL_SEEDS");
    uint64_t first = from ? strtoull(from, NULL, 10) : 1000;
    uint64_t seeds = count ? strtoull(count, NULL, 10) : 150;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        if (count) fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        random_lives(seed);
    }
}

/* --- what is broken --- */

static void flip(struct run *run, const char *path, uint64_t bit) {
    struct bytes bytes = file_bytes(run, path);
    char flipped = (char)(bytes.data[bit / 8] ^ 1 << bit % 8);
    overwrite(run, path, bit / 8, &flipped, 1);
    bytes_free(bytes);
}

/* A log of some files, closed in order, with a base in its midst. */
static struct run *run_closed(uint64_t seed) {
    struct run *run = run_new(seed);
    run_start(run);
    for (int i = 0; i < 250; i++) {
        ok(run, run_append(run));
        if (i % 10 == 9) ok(run, run_sync(run, true));
        if (i % 6 == 0) ok(run, journal_prepare(run->journal, &run->why));
        if (i == 99) ok(run, run_put_base(run, 1));
    }
    ok(run, file_journal_close_clean(run->journal, cut_of(251), &run->why));
    run->acked = 251;
    run_stop(run);
    return run;
}

/* What is there is complete, or is refused by name. */
static void check_damage(struct run *run, const char *what, uint64_t where) {
    enum status status = run_look(run);
    if (status == OK && run->tail.last_seq != run->acked)
        fail_msg("%s %llu: the log ends at %llu", what, (unsigned long long)where,
                 (unsigned long long)run->tail.last_seq);
    if (status == OK) assert_int_equal(run->tail.torn_bytes, 0);
    if (status != OK && status != CORRUPT && status != UNSUPPORTED)
        fail_msg("%s %llu: %s", what, (unsigned long long)where, run->why.text);
    if (status == CORRUPT) assert_non_null(strstr(run->why.text, "pulsedb-check repair"));
    manifest_deinit(&run->share.now);
}

static size_t needed_logs(struct run *run, uint64_t *numbers) {
    ok(run, run_look(run));
    size_t count = run->share.now.logs_count;
    for (size_t i = 0; i < count; i++) numbers[i] = run->share.now.logs[i].number;
    manifest_deinit(&run->share.now);
    return count;
}

TEST(a_bit_that_flips_in_a_closed_log_is_noticed_or_does_not_matter) {
    struct run *run = run_closed(20);
    uint64_t numbers[100], noticed = 0;
    size_t count = needed_logs(run, numbers);
    assert_true(count > 2);
    for (size_t i = 0; i < count; i++) {
        char path[100];
        path_of_log("d", numbers[i], path);
        struct bytes bytes = file_bytes(run, path);
        size_t len = bytes.len;
        bytes_free(bytes);
        for (size_t at = 0; at < len; at += at < 300 ? 1 : 1 + chance(run) % 40) {
            uint64_t bit = at * 8 + chance(run) % 8;
            flip(run, path, bit);
            check_damage(run, path, at);
            noticed += run->why.status == CORRUPT;
            flip(run, path, bit);
        }
    }
    assert_true(noticed > 1000);
    ok(run, run_look(run));
    run_free(run);
}

TEST(a_closed_log_that_is_cut_short_emptied_swapped_or_removed_is_noticed) {
    struct run *run = run_closed(21);
    uint64_t numbers[100];
    size_t count = needed_logs(run, numbers);
    char path[100], other[100];
    for (size_t i = 0; i < count; i++) {
        path_of_log("d", numbers[i], path);
        struct bytes bytes = file_bytes(run, path);
        for (size_t len = bytes.len; len > 0;) {
            size_t step = len < 300 ? 1 : 1 + chance(run) % 100;
            len -= step < len ? step : len;
            cut_off(run, path, len);
            check_damage(run, path, len);
            if (len < SEGMENT_HEADER) assert_int_equal(run->why.status, CORRUPT);
        }
        assert_int_equal(run->env->ops->unlink(run->env, path), 0);
        assert_int_equal(run_look(run), CORRUPT);
        manifest_deinit(&run->share.now);
        path_of_log("d", numbers[(i + 1) % count], other);
        struct bytes others = file_bytes(run, other);
        struct env_file *file;
        assert_int_equal(run->env->ops->open(run->env, path, ENV_WRITE | ENV_CREATE, &file), 0);
        run->env->ops->close(run->env, file);
        overwrite(run, path, 0, others.data, others.len);
        bytes_free(others);
        assert_int_equal(run_look(run), CORRUPT);
        manifest_deinit(&run->share.now);
        cut_off(run, path, 0);
        overwrite(run, path, 0, bytes.data, bytes.len);
        bytes_free(bytes);
    }
    ok(run, run_look(run));
    run_free(run);
}

TEST(a_bit_that_flips_in_an_open_log_costs_nothing_that_a_later_frame_knows_to_be_durable) {
    struct run *run = run_new(22);
    run_start(run);
    uint64_t known = 0;
    for (int i = 0; i < 120; i++) {
        ok(run, run_append(run));
        known = (run->synced_cut - cut_of(0)) / 10;
        if (i % 11 == 0) ok(run, run_sync(run, true));
        if (i % 6 == 0) ok(run, journal_prepare(run->journal, &run->why));
    }
    run_stop(run);
    uint64_t numbers[100], torn = 0;
    size_t count = needed_logs(run, numbers);
    char path[100];
    for (size_t i = 0; i < count; i++) {
        path_of_log("d", numbers[i], path);
        struct bytes bytes = file_bytes(run, path);
        for (size_t at = 0; at < bytes.len; at += at < 300 ? 1 : 1 + chance(run) % 40) {
            char flipped = (char)(bytes.data[at] ^ 1 << chance(run) % 8);
            overwrite(run, path, at, &flipped, 1);
            enum status status = run_look(run);
            assert_true(status == OK || status == CORRUPT || status == UNSUPPORTED);
            if (status == OK) assert_true(run->tail.last_seq >= known);
            if (status == OK && run->tail.last_seq < 120) {
                torn++;
                assert_true(run->tail.torn_bytes > 0);
                if (run->tail.last_seq < 119) assert_int_equal(run->tail.highest_cut, cut_of(120));
            }
            overwrite(run, path, at, bytes.data + at, 1);
            manifest_deinit(&run->share.now);
        }
        bytes_free(bytes);
    }
    assert_true(torn > 5);
    run_free(run);
}

/* Fifty frames that were synced and ten that were not; `damaged` is broken. Returns its offset in log 1. */
static uint64_t run_broken(struct run *run, uint64_t damaged) {
    uint64_t at = SEGMENT_HEADER, place = 0;
    run_start(run);
    for (uint64_t seq = 1; seq <= 40; seq++) {
        if (seq == damaged) place = at;
        at += frame_size(len_of(seq));
        ok(run, run_append(run));
        if (seq == 30) ok(run, run_sync(run, true));
    }
    assert_true(at < SEGMENT);
    run_stop(run);
    overwrite(run, "d/log.1.plog", place + 16, "what is this", 12);
    return place;
}

TEST(a_torn_end_is_cut_off_counted_and_kept_aside) {
    struct run *run = run_new(23);
    uint64_t place = run_broken(run, 31);
    struct bytes log = file_bytes(run, "d/log.1.plog");
    run_start(run);
    assert_int_equal(run->tail.last_seq, 30);
    assert_int_equal(run->tail.torn_log, 1);
    assert_int_equal(run->tail.torn_at, place);
    assert_int_equal(run->tail.highest_cut, cut_of(40));
    struct bytes torn = file_bytes(run, "d/log.1.torn");
    assert_int_equal(torn.len, run->tail.torn_bytes);
    assert_memory_equal(torn.data, log.data + place, torn.len);
    bytes_free(torn);
    bytes_free(log);
    ok(run, run_append(run));
    run_stop(run);
    run_start(run);
    assert_int_equal(run->tail.last_seq, 31);
    assert_int_equal(run->tail.torn_bytes, 0);
    run_free(run);
}

TEST(damage_to_what_was_acknowledged_is_refused_with_its_place_and_nothing_is_touched) {
    struct run *run = run_new(24);
    uint64_t place = run_broken(run, 20);
    struct bytes before = file_bytes(run, "d/log.1.plog");
    assert_int_equal(run_look(run), CORRUPT);
    assert_int_equal(run->why.offset, place);
    assert_non_null(strstr(run->why.text, "log.1.plog"));
    assert_non_null(strstr(run->why.text, "after frame 19"));
    assert_int_equal(run->tail.last_seq, 19); /* for whoever repairs */
    struct bytes after = file_bytes(run, "d/log.1.plog");
    assert_true(bytes_equal(before, after));
    bytes_free(before);
    bytes_free(after);
    run_free(run);
}

TEST(damage_to_frames_that_the_base_replaces_does_not_matter) {
    struct run *run = run_new(25);
    run_start(run);
    for (int i = 0; i < 30; i++) ok(run, run_append(run));
    ok(run, run_sync(run, true));
    ok(run, run_put_base(run, 1));
    for (int i = 0; i < 10; i++) ok(run, run_append(run));
    ok(run, run_sync(run, true));
    ok(run, run_append(run));
    run_stop(run);
    overwrite(run, "d/log.1.plog", SEGMENT_HEADER + 50, "what is this", 12);
    run_start(run);
    assert_int_equal(run->tail.last_seq, 41);
    run_stop(run);
    run_start(run);
    assert_int_equal(run->tail.last_seq, 41);
    run_free(run);
}

TEST(a_log_of_a_later_version_is_refused_and_both_are_named) {
    struct run *run = run_new(26);
    run_start(run);
    ok(run, run_append(run));
    run_stop(run);
    char header[SEGMENT_HEADER];
    struct bytes bytes = file_bytes(run, "d/log.1.plog");
    memcpy(header, bytes.data, sizeof header);
    bytes_free(bytes);
    header[8] = 9;
    uint32_t crc = crc32c(0, header, SEGMENT_HEADER - 4);
    memcpy(header + SEGMENT_HEADER - 4, &crc, 4);
    overwrite(run, "d/log.1.plog", 0, header, sizeof header);
    assert_int_equal(run_look(run), UNSUPPORTED);
    assert_non_null(strstr(run->why.text, "format 9"));
    assert_non_null(strstr(run->why.text, PULSE_VERSION));
    run_free(run);
}

TEST(a_value_full_of_what_looks_like_frames_costs_no_more_than_a_refusal) {
    struct run *run = run_new(27);
    run_start(run);
    enum { SIZE = 1024 * 1024 };
    char *hostile = malloc(SIZE);
    struct journal_batch fake = { .seq = 2, .cut = 100, .bytes = { hostile, SIZE / 2 } };
    memset(hostile, 0, SIZE);
    for (size_t at = 0; at + FRAME_HEADER <= SIZE; at += FRAME_HEADER)
        frame_encode(&(struct journal_batch){ .seq = 2, .cut = 100 }, 1, hostile + at);
    for (size_t at = 0; at + FRAME_HEADER <= SIZE; at += FRAME_HEADER) {
        uint32_t len = (uint32_t)(SIZE / 2);
        memcpy(hostile + at + 8, &len, sizeof len);
    }
    fake.seq = 1;
    fake.bytes.len = SIZE;
    ok(run, journal_append(run->journal, &fake, &run->why));
    run_stop(run);
    overwrite(run, "d/log.1.plog", SEGMENT_HEADER + 16, "x", 1);
    assert_int_equal(run_look(run), CORRUPT);
    free(hostile);
    run_free(run);
}

/* --- several threads --- */

enum { STRESS_FRAMES = 3000 };

struct stress {
    struct run *run;
    _Atomic uint64_t written, synced;
    _Atomic bool done;
};

static void *stress_sync(void *self) {
    struct stress *stress = self;
    while (!stress->done) {
        uint64_t acked, before = stress->written;
        assert_int_equal(journal_sync(stress->run->journal, &acked, NULL), OK);
        assert_true(acked >= before);
        stress->synced = acked;
    }
    return NULL;
}

static void *stress_prepare(void *self) {
    struct stress *stress = self;
    while (!stress->done) {
        assert_int_equal(journal_prepare(stress->run->journal, NULL), OK);
        (void)file_journal_size(stress->run->journal, 1);
    }
    return NULL;
}

static void *stress_base(void *self) {
    struct stress *stress = self;
    for (uint64_t generation = 1; !stress->done; generation++) {
        uint64_t seq = stress->synced;
        struct manifest_base base = {
            .generation = generation, .seq = seq + 1, .from = cut_of(seq), .to = cut_of(seq)
        };
        assert_int_equal(file_journal_put_base(stress->run->journal, &base, NULL), OK);
        assert_int_equal(journal_trim(stress->run->journal, seq, NULL), OK);
    }
    return NULL;
}

TEST(appends_syncs_preparations_and_bases_go_on_beside_each_other) {
    struct run *run = run_new(30);
    run_start(run);
    struct stress stress = { .run = run };
    void *(*const work[])(void *) = { stress_sync, stress_prepare, stress_base };
    pthread_t threads[COUNT_OF(work)];
    for (size_t i = 0; i < COUNT_OF(work); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work[i], &stress), 0);
    for (int i = 0; i < STRESS_FRAMES; i++) {
        ok(run, run_append(run));
        stress.written = run->written;
    }
    stress.done = true;
    for (size_t i = 0; i < COUNT_OF(work); i++) pthread_join(threads[i], NULL);
    ok(run, run_sync(run, true));
    env_sim_crash(run->env);
    run_stop(run);
    run_start(run);
    assert_int_equal(run->tail.last_seq, STRESS_FRAMES);
    run_free(run);
}

TEST(the_same_works_on_a_real_disk) {
    struct run *run = run_new(31);
    char dir[] = "/tmp/pulsedb_journal_XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct env *env = env_real();
    run->share.now.shards = 1;
    run->journal = file_journal_open(env, dir, &run->share, &run->tail, 256 * 1024, &run->why);
    assert_non_null(run->journal);
    for (int i = 0; i < 3000; i++) {
        ok(run, run_append(run));
        if (i % 100 == 0) ok(run, journal_prepare(run->journal, &run->why));
        if (i % 500 == 0) ok(run, run_sync(run, true));
    }
    ok(run, file_journal_close_clean(run->journal, cut_of(3001), &run->why));
    run_stop(run);
    struct manifest *manifest = &run->share.now;
    manifest_deinit(manifest);
    ok(run, manifest_read(env, dir, manifest, &run->why));
    ok(run, file_journal_scan(env, dir, manifest, &run->tail, &run->why));
    assert_int_equal(run->tail.last_seq, 3001);
    uint64_t seq = 1;
    ok(run, file_journal_read(env, dir, manifest, 1, 3001, check_frame, &seq, &run->why));
    assert_int_equal(seq, 3002);
    char path[PATH_MAX];
    for (size_t i = 0; i < manifest->logs_count; i++) {
        path_of_log(dir, manifest->logs[i].number, path);
        assert_int_equal(env->ops->unlink(env, path), 0);
    }
    snprintf(path, sizeof path, "%s/MANIFEST", dir);
    assert_int_equal(env->ops->unlink(env, path), 0);
    assert_int_equal(rmdir(dir), 0); /* nothing else was left there */
    run_free(run);
}
