/* file_journal_full_test.c: a start on a disk that takes no new file: what is there is read and stays as it is, and the
 * log is taken up once there is room. */
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "log/file_journal_run_test.h"

static const struct env_sim_faults NO_ROOM = { .disk_size = 1 };
static const struct env_sim_faults ALL_WELL = {};

static void append_some(struct run *run, int count) {
    for (int i = 0; i < count; i++) ok(run, run_append(run));
}

/* A process that was killed: 60 frames, of which 40 are durable for sure. */
static struct run *killed(uint64_t seed) {
    struct run *run = run_new(seed);
    run_start(run);
    append_some(run, 40);
    ok(run, run_sync(run, true));
    append_some(run, 20);
    run_stop(run);
    return run;
}

static void open_in_vain(struct run *run) {
    ok(run, run_look(run));
    ok(run, run_open(run));
    assert_false(file_journal_is_open(run->journal));
    assert_int_equal(run->why.status, IO);
}

static void start_finds(struct run *run, uint64_t last_seq) {
    env_sim_faults(run->env, &ALL_WELL);
    env_sim_crash_torn(run->env);
    run_stop(run);
    run_start(run);
    assert_true(file_journal_is_open(run->journal));
    assert_int_equal(run->tail.last_seq, last_seq);
}

static bool count_file(void *self, const char *name) {
    uint64_t number;
    *(unsigned *)self += file_kind(name, &number) != FILE_OTHER || strcmp(name, "MANIFEST") == 0;
    return true;
}

static unsigned files_count(struct run *run) {
    unsigned count = 0;
    assert_int_equal(run->env->ops->list(run->env, "d", count_file, &count), 0);
    return count;
}

static void check_same(struct run *run, const char *path, struct bytes before) {
    struct bytes now = file_bytes(run, path);
    assert_int_equal(now.len, before.len);
    assert_memory_equal(now.data, before.data, now.len);
    bytes_free(now);
}

TEST(on_a_full_disk_the_old_log_stays_as_it_is_and_is_taken_up_once_there_is_room) {
    struct run *run = killed(1);
    struct bytes manifest = file_bytes(run, "d/MANIFEST"), log = file_bytes(run, "d/log.1.plog");
    env_sim_faults(run->env, &NO_ROOM);
    for (int start = 0; start < 3; start++) {
        open_in_vain(run);
        assert_int_equal(run->why.error, ENOSPC);
        assert_int_equal(run->tail.last_seq, 60);
        assert_int_equal(file_journal_next_seq(run->journal), 61);
        assert_int_equal(file_journal_size(run->journal, 1), 0);
        assert_int_equal(run_append(run), IO);
        assert_int_equal(journal_prepare(run->journal, NULL), IO);
        assert_int_equal(run_sync(run, false), IO);
        assert_int_equal(run_put_base(run, 1), STOPPED);
        assert_int_equal(journal_trim(run->journal, 60, &run->why), OK);
        assert_int_equal(file_journal_close_clean(run->journal, cut_of(61), &run->why), IO);
        check_same(run, "d/MANIFEST", manifest);
        check_same(run, "d/log.1.plog", log);
        assert_int_equal(files_count(run), 3); /* tries leave nothing behind */
        run_stop(run);
    }
    open_in_vain(run);
    env_sim_faults(run->env, &ALL_WELL);
    ok(run, journal_prepare(run->journal, &run->why));
    assert_true(file_journal_is_open(run->journal));
    assert_false(file_exists(run, "d/log.1.plog"));
    append_some(run, 5);
    ok(run, run_sync(run, true));
    start_finds(run, 65);
    run_free(run);
    bytes_free(manifest);
    bytes_free(log);
}

TEST(an_append_takes_the_log_up_as_well) {
    struct run *run = killed(2);
    env_sim_faults(run->env, &NO_ROOM);
    open_in_vain(run);
    env_sim_faults(run->env, &ALL_WELL);
    append_some(run, 5);
    ok(run, run_sync(run, true));
    start_finds(run, 65);
    run_free(run);
}

/* Whichever call of the opening fails, and then another one of the next try: it goes on where it was. */
TEST(whichever_calls_of_an_opening_fail_the_next_try_takes_the_log_up) {
    unsigned in_vain = 0;
    for (uint64_t n = 1; n < 120; n++) {
        struct run *run = killed(100 + n);
        ok(run, run_look(run));
        env_sim_fail_at(run->env, n, n % 2 ? ENOSPC : EIO);
        if (run_open(run) != OK) { /* the directory could not be listed */
            assert_int_equal(n, 1);
            run_free(run);
            continue;
        }
        in_vain += !file_journal_is_open(run->journal);
        env_sim_fail_at(run->env, 1 + n * 7 % 23, ENOSPC);
        (void)!journal_prepare(run->journal, &run->why);
        env_sim_fail_at(run->env, 0, 0);
        if (n % 3 == 0) { /* an end in between */
            if (!file_journal_is_open(run->journal))
                assert_int_equal(file_journal_found_durable(run->journal), cut_of(60));
            start_finds(run, 60);
        }
        append_some(run, 5);
        ok(run, run_sync(run, true));
        start_finds(run, run->acked);
        run_free(run);
    }
    assert_true(in_vain > 15);
}

/* The last call of the opening that matters has failed: all is made, and a manifest that names it may stand. */
static struct run *all_but_opened(uint64_t seed) {
    for (uint64_t n = 150;; n--) {
        struct run *run = killed(seed);
        ok(run, run_look(run));
        env_sim_fail_at(run->env, n, EIO);
        ok(run, run_open(run));
        env_sim_fail_at(run->env, 0, 0);
        if (!file_journal_is_open(run->journal)) return run;
        run_free(run);
    }
}

TEST(a_log_begun_anew_takes_the_place_of_one_that_was_never_taken_up) {
    for (int made = 0; made < 2; made++) {
        struct run *run = made ? all_but_opened(3) : killed(3);
        env_sim_faults(run->env, &NO_ROOM);
        if (!made) open_in_vain(run);
        env_sim_faults(run->env, &ALL_WELL);
        assert_true(file_exists(run, "d/log.1.plog"));
        ok(run, run_heal(run));
        assert_true(file_journal_is_open(run->journal));
        assert_false(file_exists(run, "d/log.1.plog"));
        assert_int_equal(run->share.now.logs_count, 1);
        append_some(run, 5);
        ok(run, run_sync(run, true));
        start_finds(run, 65);
        run_free(run);
    }
}

/* What is torn is kept when the rest is done, not before: there may be no room for both. */
TEST(a_torn_end_is_copied_aside_once_there_is_room) {
    struct run *run = run_new(4);
    run_start(run);
    append_some(run, 20);
    run_stop(run);
    ok(run, run_look(run));
    overwrite(run, "d/log.1.plog", SEGMENT_HEADER + run->tail.bytes, "torn", 4);
    run_stop(run);
    env_sim_faults(run->env, &NO_ROOM);
    open_in_vain(run);
    assert_int_equal(run->tail.torn_bytes, 4);
    assert_false(file_exists(run, "d/log.1.torn"));
    env_sim_faults(run->env, &ALL_WELL);
    ok(run, journal_prepare(run->journal, &run->why));
    struct bytes torn = file_bytes(run, "d/log.1.torn");
    assert_int_equal(torn.len, 4);
    bytes_free(torn);
    run_free(run);
}

TEST(what_was_found_is_durable_only_where_the_disk_itself_has_it) {
    for (int lost = 0; lost < 2; lost++) {
        struct run *run = run_new(5);
        run_start(run);
        append_some(run, 40);
        ok(run, run_sync(run, true));
        append_some(run, 1); /* says that they are durable */
        ok(run, run_sync(run, true));
        append_some(run, 20);
        env_sim_faults(run->env, &(struct env_sim_faults){ .sync_errors = lost ? 1000000 : 0 });
        assert_int_equal(run_sync(run, false), lost ? IO : OK);
        run_stop(run);
        env_sim_faults(run->env, &NO_ROOM);
        open_in_vain(run); /* all of it is seen */
        assert_int_equal(run->tail.last_seq, 61);
        uint64_t cut = file_journal_found_durable(run->journal);
        assert_int_equal(cut, cut_of(lost ? 41 : 61));
        env_sim_crash(run->env);
        run_stop(run);
        ok(run, run_look(run));
        assert_true(run->tail.cut >= cut);
        run_free(run);
    }
}

static void put_manifest(struct run *run, struct bytes text, bool last) {
    struct env_file *file;
    assert_int_equal(
        run->env->ops->open(run->env, "d/M", ENV_WRITE | ENV_CREATE | ENV_TRUNCATE, &file), 0);
    assert_int_equal(write_fully(run->env, file, text.data, text.len, 0), 0);
    assert_int_equal(run->env->ops->sync(run->env, file), 0);
    run->env->ops->close(run->env, file);
    assert_int_equal(run->env->ops->rename(run->env, "d/M", "d/MANIFEST"), 0);
    if (last) assert_int_equal(run->env->ops->sync_dir(run->env, "d"), 0);
}

/* The process died between a manifest's rename and the sync that makes it last. */
TEST(the_manifest_that_was_found_is_durable_before_what_it_names_is) {
    for (int fails = 0; fails < 2; fails++) {
        struct run *run = killed(7);
        struct bytes older = file_bytes(run, "d/MANIFEST");
        run_start(run);
        append_some(run, 20);
        ok(run, run_sync(run, true));
        run_stop(run);
        struct bytes newer = file_bytes(run, "d/MANIFEST");
        put_manifest(run, older, true);
        put_manifest(run, newer, false);
        env_sim_faults(run->env, &NO_ROOM);
        open_in_vain(run);
        env_sim_faults(run->env, &(struct env_sim_faults){ .sync_errors = fails ? 1000000 : 0 });
        assert_int_equal(file_journal_found_durable(run->journal), fails ? 0 : cut_of(80));
        env_sim_crash(run->env);
        run_stop(run);
        check_same(run, "d/MANIFEST", fails ? older : newer);
        bytes_free(older);
        bytes_free(newer);
        run_free(run);
    }
}

TEST(what_was_not_synced_is_made_durable_where_it_is) {
    struct run *run = killed(6);
    env_sim_faults(run->env, &NO_ROOM);
    open_in_vain(run);
    assert_int_equal(file_journal_found_durable(run->journal), cut_of(60));
    start_finds(run, 60);
    run_free(run);
}
