/* file_journal_test.c: what was acknowledged is always there again, whatever fails and whenever the power does. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "log/file_journal_run_test.h"
#include "log/frame.h"
#include "testing/testing.h"

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
    assert_int_equal(file_journal_size(run->journal, 1), 3 * 152 + 2 * (SEGMENT * 5 + FRAME_HEADER));
    assert_int_equal(file_journal_size(run->journal, 5), 152);
    assert_int_equal(file_journal_size(run->journal, 6), 0);
    env_sim_crash(run->env);
    run_stop(run);
    assert_int_equal(manifest_read(run->env, "d", &run->share.now, &run->why), OK);
    ok(run, file_journal_scan(run->env, "d", &run->share.now, &run->tail, &run->why));
    assert_int_equal(run->tail.last_seq, 5);
    assert_int_equal(run->tail.bytes, 3 * 152 + 2 * (SEGMENT * 5 + FRAME_HEADER));
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

TEST(a_first_start_may_be_cut_short_anywhere) {
    for (uint64_t n = 1; n < 100; n++) {
        struct run *run = run_new(n);
        env_sim_power_off_at(run->env, n);
        if (run_look(run) == OK && run_open(run) == OK && run_append(run) == OK)
            (void)!run_sync(run, true);
        env_sim_power_off_at(run->env, 0);
        env_sim_power(run->env, true);
        if (n % 2)
            env_sim_crash(run->env);
        else
            env_sim_crash_torn(run->env);
        run_stop(run);
        run_start(run);
        run_free(run);
    }
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

/* --- several threads --- */

enum { STRESS_FRAMES = 3000 };

struct stress {
    struct run *run;
    _Atomic uint64_t written;
    _Atomic bool done;
};

static void *stress_sync(void *self) {
    struct stress *stress = self;
    while (!stress->done) {
        uint64_t acked, before = stress->written;
        assert_int_equal(journal_sync(stress->run->journal, &acked, NULL), OK);
        assert_true(acked >= before);
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
        uint64_t seq = stress->written; /* more than is durable: what is being synced must stay */
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
