#include "base/env.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

#include "testing/testing.h"

static struct env_file *open_ok(struct env *env, const char *path, unsigned flags) {
    struct env_file *file = NULL;
    assert_int_equal(env->ops->open(env, path, flags, &file), 0);
    return file;
}

static void write_ok(struct env *env, struct env_file *file, const char *text, uint64_t at) {
    assert_int_equal(env->ops->pwrite(env, file, text, strlen(text), at), strlen(text));
}

/* Makes or empties `path` and writes `text`, without a sync. */
static void write_file(struct env *env, const char *path, const char *text) {
    struct env_file *file = open_ok(env, path, ENV_WRITE | ENV_TRUNCATE);
    write_ok(env, file, text, 0);
    env->ops->close(env, file);
}

static void sync_file(struct env *env, const char *path) {
    struct env_file *file = open_ok(env, path, ENV_READ);
    assert_int_equal(env->ops->sync(env, file), 0);
    env->ops->close(env, file);
}

static void check_file(struct env *env, const char *path, const char *text) {
    struct bytes content;
    struct problem why = {};
    enum status status = env_read_file(env, path, 1'000'000, &content, &why);
    if (status != OK) fail_msg("%s: %s", path, why.text);
    assert_true(bytes_equal(content, bytes_of(text)));
    mem_free((void *)(uintptr_t)content.data, content.len);
}

static void check_missing(struct env *env, const char *path) {
    struct bytes content;
    struct problem why = {};
    assert_int_equal(env_read_file(env, path, 1'000'000, &content, &why), NOT_FOUND);
    assert_int_equal(why.error, ENOENT);
}

static bool count_name(void *self, const char *name) {
    assert_true(name[0] != '.');
    return ++*(int *)self < 100;
}

static bool stop_at_first(void *self, const char *name) {
    (void)name;
    ++*(int *)self;
    return false;
}

/* What both worlds must do, in a folder that is there and empty. */
static void check_world(struct env *env, const char *folder) {
    char a[256], b[256], sub[256], inner[512];
    snprintf(a, sizeof a, "%s/a", folder);
    snprintf(b, sizeof b, "%s/b", folder);
    snprintf(sub, sizeof sub, "%s/sub", folder);
    snprintf(inner, sizeof inner, "%s/inner", sub);

    struct env_file *file = NULL, *again = NULL;
    assert_int_equal(env->ops->open(env, a, ENV_READ, &file), -ENOENT);
    file = open_ok(env, a, ENV_READ | ENV_WRITE | ENV_CREATE);
    assert_int_equal(env->ops->open(env, a, ENV_WRITE | ENV_CREATE, &again), -EEXIST);

    char text[32];
    write_ok(env, file, "hello", 0);
    write_ok(env, file, "world", 8); /* leaves a hole */
    assert_int_equal(env->ops->size(env, file), 13);
    assert_int_equal(env->ops->pread(env, file, text, sizeof text, 3), 10);
    assert_memory_equal(text, "lo\0\0\0world", 10);
    assert_int_equal(env->ops->pread(env, file, text, sizeof text, 13), 0);
    assert_int_equal(env->ops->truncate(env, file, 4), 0);
    assert_int_equal(env->ops->truncate(env, file, 6), 0);
    assert_int_equal(env->ops->pread(env, file, text, sizeof text, 0), 6);
    assert_memory_equal(text, "hell\0\0", 6);
    assert_int_equal(env->ops->sync(env, file), 0);
    env->ops->close(env, file);
    env->ops->close(env, NULL);

    write_file(env, b, "one");
    file = open_ok(env, b, ENV_WRITE | ENV_APPEND);
    write_ok(env, file, " two", 0); /* the place is ignored */
    assert_true(env->ops->pread(env, file, text, sizeof text, 0) < 0);
    env->ops->close(env, file);
    check_file(env, b, "one two");

    assert_int_equal(env->ops->rename(env, b, a), 0);
    check_missing(env, b);
    check_file(env, a, "one two");
    assert_int_equal(env->ops->rename(env, b, a), -ENOENT);

    assert_int_equal(env->ops->mkdir(env, sub), 0);
    assert_int_equal(env->ops->mkdir(env, sub), -EEXIST);
    write_file(env, inner, "in");
    int count = 0;
    assert_int_equal(env->ops->list(env, folder, count_name, &count), 0);
    assert_int_equal(count, 2); /* a and sub */
    count = 0;
    assert_int_equal(env->ops->list(env, folder, stop_at_first, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(env->ops->list(env, b, count_name, &count), -ENOENT);
    assert_int_equal(env->ops->sync_dir(env, sub), 0);
    assert_int_equal(env->ops->sync_dir(env, folder), 0);
    assert_int_equal(env->ops->sync_dir(env, b), -ENOENT);

    assert_int_equal(env->ops->unlink(env, inner), 0);
    assert_int_equal(env->ops->unlink(env, a), 0);
    assert_int_equal(env->ops->unlink(env, a), -ENOENT);

    assert_int_equal(env->ops->lock(env, a, &file), 0); /* makes it */
    assert_int_equal(env->ops->lock(env, a, &again), -EWOULDBLOCK);
    write_ok(env, file, "mine", 0);
    assert_int_equal(env->ops->pread(env, file, text, sizeof text, 0), 4);
    env->ops->close(env, file);
    assert_int_equal(env->ops->lock(env, a, &file), 0);
    assert_int_equal(env->ops->size(env, file), 4);
    env->ops->close(env, file);
    assert_int_equal(env->ops->lock(env, inner, &file), 0);
    env->ops->close(env, file);
    assert_int_equal(env->ops->unlink(env, inner), 0);
    assert_int_equal(env->ops->unlink(env, a), 0);
}

static void check_whole_files(struct env *env, const char *folder) {
    char path[256], nowhere[256];
    snprintf(path, sizeof path, "%s/whole", folder);
    snprintf(nowhere, sizeof nowhere, "%s/no/whole", folder);
    struct bytes content = BYTES("untouched");
    struct problem why = {};

    assert_int_equal(env_replace_file(env, path, BYTES("first"), &why), OK);
    check_file(env, path, "first");
    assert_int_equal(env_replace_file(env, path, BYTES("2"), NULL), OK);
    check_file(env, path, "2");
    assert_int_equal(env_replace_file(env, path, BYTES(""), &why), OK);
    check_file(env, path, "");
    assert_int_equal(env_replace_file(env, path, BYTES("12345"), &why), OK);
    assert_int_equal(env_read_file(env, path, 4, &content, &why), LIMIT);
    assert_true(bytes_equal(content, BYTES("untouched")));
    assert_int_equal(env_replace_file(env, nowhere, BYTES("x"), &why), IO);
    assert_int_equal(why.error, ENOENT);
    assert_int_equal(env->ops->unlink(env, path), 0);
    int count = 0;
    assert_int_equal(env->ops->list(env, folder, count_name, &count), 0);
    assert_int_equal(count, 0); /* no temporary is left */
}

/* What was synced is read from the disk like from anywhere, where the file system can be asked for that at all. */
static void check_disk(struct env *env, const char *folder) {
    char path[256], text[5000];
    snprintf(path, sizeof path, "%s/disk", folder);
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i % 26);
    struct env_file *file = open_ok(env, path, ENV_WRITE | ENV_CREATE), *on_disk;
    assert_int_equal(env->ops->pwrite(env, file, text, sizeof text, 0), sizeof text);
    assert_int_equal(env->ops->sync(env, file), 0);
    env->ops->close(env, file);
    int error = env->ops->open(env, path, ENV_READ | ENV_DISK, &on_disk);
    assert_true(error == 0 || error == -EINVAL);
    static const size_t places[] = { 0, 1, 4090, 4096, 4999 };
    for (size_t i = 0; i < COUNT_OF(places) && error == 0; i++) {
        char found[sizeof text];
        int64_t n = env->ops->pread(env, on_disk, found, 20, places[i]);
        assert_int_equal(n, places[i] == 4999 ? 1 : 20);
        assert_memory_equal(found, text + places[i], (size_t)n);
    }
    if (error == 0) assert_int_equal(env->ops->pread(env, on_disk, text, 20, 5000), 0);
    if (error == 0) env->ops->close(env, on_disk);
    assert_int_equal(env->ops->unlink(env, path), 0);
}

TEST(the_disk_holds_what_was_synced_and_not_what_only_programs_see) {
    struct env *env = env_sim_new(1);
    struct env_file *file = open_ok(env, "a", ENV_READ | ENV_WRITE | ENV_CREATE);
    struct env_file *on_disk = open_ok(env, "a", ENV_READ | ENV_DISK);
    char text[8];
    write_ok(env, file, "one", 0);
    assert_int_equal(env->ops->sync(env, file), 0);
    write_ok(env, file, "two", 3);
    assert_int_equal(env->ops->pread(env, file, text, sizeof text, 0), 6);
    assert_int_equal(env->ops->pread(env, on_disk, text, sizeof text, 0), 3);
    env_sim_faults(env, &(struct env_sim_faults){ .sync_errors = 1000000 });
    assert_int_equal(env->ops->sync(env, file), -EIO);
    env_sim_faults(env, &(struct env_sim_faults){});
    assert_int_equal(env->ops->sync(env, file), 0); /* which is a lie */
    assert_int_equal(env->ops->pread(env, on_disk, text, sizeof text, 0), 3);
    env->ops->close(env, file);
    env->ops->close(env, on_disk);
    env_sim_free(env);
}

TEST(the_real_world_keeps_the_contract) {
    char folder[] = "/tmp/pulse-env-XXXXXX", sub[64];
    assert_non_null(mkdtemp(folder));
    check_whole_files(env_real(), folder);
    check_world(env_real(), folder);
    check_disk(env_real(), folder);
    snprintf(sub, sizeof sub, "%s/sub", folder);
    assert_int_equal(rmdir(sub), 0);
    assert_int_equal(rmdir(folder), 0);
}

TEST(the_simulated_world_keeps_the_contract) {
    struct env *env = env_sim_new(1);
    assert_int_equal(env->ops->mkdir(env, "/data"), 0);
    check_whole_files(env, "/data");
    check_world(env, "/data");
    check_disk(env, "/data");
    env_sim_free(env);
}

TEST(real_clocks_go_on_and_chance_differs) {
    struct env *env = env_real();
    uint64_t before = env_monotonic_ns(env);
    env->ops->sleep_ns(env, 2'000'000);
    assert_true(env_monotonic_ns(env) >= before + 2'000'000);
    assert_true(env_realtime_ns(env) > 1'600'000'000ull * 1'000'000'000u);
    uint64_t a[4] = {}, b[4] = {};
    env_random(env, a, sizeof a);
    env_random(env, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
}

TEST(simulated_time_moves_only_when_told) {
    struct env *env = env_sim_new(1);
    uint64_t monotonic = env_monotonic_ns(env), realtime = env_realtime_ns(env);
    assert_int_equal(env_monotonic_ns(env), monotonic);
    env_sim_advance(env, 5);
    env->ops->sleep_ns(env, 7);
    assert_int_equal(env_monotonic_ns(env), monotonic + 12);
    assert_int_equal(env_realtime_ns(env), realtime + 12);
    env_sim_step_realtime(env, -1'000'000);
    assert_int_equal(env_monotonic_ns(env), monotonic + 12);
    assert_int_equal(env_realtime_ns(env), realtime + 12 - 1'000'000);
    env_sim_free(env);
}

TEST(the_same_seed_gives_the_same_chance) {
    struct env *a = env_sim_new(7), *b = env_sim_new(7), *c = env_sim_new(8);
    char from_a[33], from_b[33], from_c[33];
    env_random(a, from_a, sizeof from_a);
    env_random(b, from_b, sizeof from_b);
    env_random(c, from_c, sizeof from_c);
    assert_memory_equal(from_a, from_b, sizeof from_a);
    assert_memory_not_equal(from_a, from_c, sizeof from_a);
    env_sim_free(a);
    env_sim_free(b);
    env_sim_free(c);
}

TEST(what_was_not_synced_is_lost_in_a_crash) {
    struct env *env = env_sim_new(1);
    struct env_file *file = open_ok(env, "f", ENV_READ | ENV_WRITE | ENV_CREATE);
    write_ok(env, file, "abcdef", 0);
    assert_int_equal(env->ops->sync(env, file), 0);
    assert_int_equal(env->ops->sync_dir(env, "."), 0);
    write_ok(env, file, "XY", 2);
    write_ok(env, file, "tail", 6);
    check_file(env, "./f", "abXYeftail");
    env_sim_crash(env);
    check_file(env, "f", "abcdef");

    char text[8];
    assert_int_equal(env->ops->pread(env, file, text, sizeof text, 0), -EBADF);
    assert_int_equal(env->ops->sync(env, file), -EBADF);
    env->ops->close(env, file);
    env_sim_free(env);
}

TEST(an_unsynced_truncation_is_undone_by_a_crash) {
    struct env *env = env_sim_new(1);
    write_file(env, "f", "abcdef");
    sync_file(env, "f");
    assert_int_equal(env->ops->sync_dir(env, "."), 0);
    write_file(env, "f", "new"); /* empties it first */
    env_sim_crash(env);
    check_file(env, "f", "abcdef");
    write_file(env, "f", "new");
    sync_file(env, "f");
    env_sim_crash(env);
    check_file(env, "f", "new");
    env_sim_free(env);
}

TEST(a_name_without_sync_dir_is_lost_in_a_crash) {
    struct env *env = env_sim_new(1);
    write_file(env, "f", "data");
    sync_file(env, "f");
    env_sim_crash(env);
    check_missing(env, "f");
    env_sim_free(env);
}

TEST(a_rename_and_an_unlink_need_sync_dir) {
    struct env *env = env_sim_new(1);
    write_file(env, "a", "A");
    sync_file(env, "a");
    write_file(env, "b", "B");
    sync_file(env, "b");
    assert_int_equal(env->ops->sync_dir(env, "."), 0);
    assert_int_equal(env->ops->rename(env, "a", "b"), 0);
    env_sim_crash(env);
    check_file(env, "a", "A");
    check_file(env, "b", "B");

    assert_int_equal(env->ops->unlink(env, "a"), 0);
    env_sim_crash(env);
    check_file(env, "a", "A");

    assert_int_equal(env->ops->rename(env, "a", "b"), 0);
    assert_int_equal(env->ops->sync_dir(env, "."), 0);
    env_sim_crash(env);
    check_missing(env, "a");
    check_file(env, "b", "A");
    env_sim_free(env);
}

TEST(a_folder_whose_name_was_not_synced_takes_its_content_along) {
    struct env *env = env_sim_new(1);
    assert_int_equal(env->ops->mkdir(env, "d"), 0);
    assert_int_equal(env->ops->mkdir(env, "d/e"), 0);
    write_file(env, "d/e/f", "x");
    sync_file(env, "d/e/f");
    assert_int_equal(env->ops->sync_dir(env, "d/e"), 0);
    assert_int_equal(env->ops->sync_dir(env, "d"), 0);
    env_sim_crash(env);
    check_missing(env, "d/e/f");
    assert_int_equal(env->ops->mkdir(env, "d"), 0);
    env_sim_free(env);
}

TEST(a_replaced_file_is_old_or_new_wherever_a_call_fails) {
    for (uint64_t n = 1;; n++) {
        struct env *env = env_sim_new(n);
        assert_int_equal(env_replace_file(env, "conf", BYTES("old"), NULL), OK);
        env_sim_fail_at(env, n, ENOSPC);
        struct problem why = {};
        enum status status = env_replace_file(env, "conf", BYTES("new one"), &why);
        if (status != OK) assert_int_equal(why.error, ENOSPC);
        env_sim_crash(env);
        check_file(env, "conf", status == OK ? "new one" : "old");
        env_sim_free(env);
        if (status == OK) {
            assert_int_equal(n, 6); /* open, write, sync, rename, sync_dir: each failed once */
            break;
        }
    }
}

TEST(an_injected_failure_happens_once) {
    struct env *env = env_sim_new(1);
    struct env_file *file = open_ok(env, "f", ENV_WRITE | ENV_CREATE);
    env_sim_fail_at(env, 2, EIO);
    write_ok(env, file, "a", 0);
    assert_int_equal(env->ops->pwrite(env, file, "b", 1, 1), -EIO);
    assert_int_equal(env->ops->size(env, file), 1);
    write_ok(env, file, "b", 1);
    env_sim_fail_at(env, 1, EIO);
    env_sim_fail_at(env, 0, EIO);
    write_ok(env, file, "c", 2);
    env->ops->close(env, file);
    env_sim_free(env);
}

TEST(random_writes_and_crashes_agree_with_a_plain_model) {
    enum { SIZE = 256 };
    struct env *env = env_sim_new(42);
    write_file(env, "f", "");
    sync_file(env, "f");
    assert_int_equal(env->ops->sync_dir(env, "."), 0);
    char now[SIZE] = {}, durable[SIZE] = {}, text[SIZE];
    size_t now_len = 0, durable_len = 0;
    struct env_file *file = open_ok(env, "f", ENV_READ | ENV_WRITE);
    for (int i = 0; i < 20'000; i++) {
        unsigned char r[4];
        env_random(env, r, sizeof r);
        size_t at = r[1] / 2, len = r[2] / 2u;
        if (r[0] < 150) {
            memset(text, r[3], len);
            assert_int_equal(env->ops->pwrite(env, file, text, len, at), len);
            if (len > 0) {
                memcpy(now + at, text, len);
                if (at + len > now_len) now_len = at + len;
            }
        } else if (r[0] < 190) {
            assert_int_equal(env->ops->truncate(env, file, at), 0);
            memset(now + at, 0, SIZE - at);
            now_len = at;
        } else if (r[0] < 230) {
            assert_int_equal(env->ops->sync(env, file), 0);
            memcpy(durable, now, SIZE);
            durable_len = now_len;
        } else {
            env_sim_crash(env);
            env->ops->close(env, file);
            file = open_ok(env, "f", ENV_READ | ENV_WRITE);
            memcpy(now, durable, SIZE);
            now_len = durable_len;
        }
        assert_int_equal(env->ops->size(env, file), now_len);
        assert_int_equal(env->ops->pread(env, file, text, sizeof text, 0), now_len);
        assert_memory_equal(text, now, now_len);
    }
    env->ops->close(env, file);
    env_sim_free(env);
}

/* ---- what a torn crash may leave ---- */

static void write_piece(struct env *env, struct env_file *file, size_t piece, char with) {
    char bytes[512];
    memset(bytes, with, sizeof bytes);
    assert_int_equal(env->ops->pwrite(env, file, bytes, sizeof bytes, piece * sizeof bytes),
                     sizeof bytes);
}

/* Whether `piece` is 512 times one of `with`; which one. */
static char piece_of(struct env *env, const char *path, size_t piece, const char *with) {
    char bytes[512];
    struct env_file *file = open_ok(env, path, ENV_READ);
    int64_t n = env->ops->pread(env, file, bytes, sizeof bytes, piece * sizeof bytes);
    env->ops->close(env, file);
    if (n == 0) return '\0';
    assert_int_equal(n, sizeof bytes);
    for (size_t i = 1; i < sizeof bytes; i++) assert_int_equal(bytes[i], bytes[0]);
    assert_true(bytes[0] == '\0' || strchr(with, bytes[0]) != NULL);
    return bytes[0];
}

TEST(a_torn_crash_keeps_whole_pieces_of_unsynced_writes_and_all_that_was_synced) {
    unsigned kept = 0, lost = 0, out_of_order = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct env *env = env_sim_new(seed);
        struct env_file *file = open_ok(env, "f", ENV_READ | ENV_WRITE | ENV_CREATE);
        for (size_t i = 0; i < 4; i++) write_piece(env, file, i, 's');
        assert_int_equal(env->ops->sync(env, file), 0);
        assert_int_equal(env->ops->sync_dir(env, "."), 0);
        for (size_t i = 2; i < 8; i++) write_piece(env, file, i, 'u');
        env_sim_crash_torn(env);
        env->ops->close(env, file);
        for (size_t i = 0; i < 2; i++) assert_int_equal(piece_of(env, "f", i, "s"), 's');
        for (size_t i = 2; i < 4; i++) assert_true(piece_of(env, "f", i, "su") != '\0');
        bool gap = false;
        for (size_t i = 2; i < 8; i++) {
            bool survived = piece_of(env, "f", i, "su") == 'u';
            kept += survived;
            lost += !survived;
            out_of_order += survived && gap;
            gap |= !survived;
        }
        env_sim_free(env);
    }
    assert_true(kept > 200 && lost > 200 && out_of_order > 50);
}

TEST(a_torn_crash_keeps_the_first_so_many_changes_of_names) {
    unsigned seen[4] = {};
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct env *env = env_sim_new(seed);
        write_file(env, "a", "A");
        sync_file(env, "a");
        write_file(env, "b", "B");
        sync_file(env, "b");
        assert_int_equal(env->ops->sync_dir(env, "."), 0);
        assert_int_equal(env->ops->rename(env, "a", "b"), 0);
        assert_int_equal(env->ops->rename(env, "b", "c"), 0);
        assert_int_equal(env->ops->unlink(env, "c"), 0);
        env_sim_crash_torn(env);
        int count = 0;
        assert_int_equal(env->ops->list(env, ".", count_name, &count), 0);
        struct env_file *file = NULL;
        bool renamed = env->ops->open(env, "a", ENV_READ, &file) == -ENOENT;
        if (!renamed) env->ops->close(env, file);
        assert_true(count == 2 ? !renamed : renamed && count < 2);
        if (!renamed) check_file(env, "b", "B");
        bool first = count == 1 && env->ops->open(env, "b", ENV_READ, &file) == 0;
        if (first) env->ops->close(env, file);
        if (count == 1) check_file(env, first ? "b" : "c", "A");
        seen[count == 2 ? 0 : first ? 1 : count == 1 ? 2 : 3]++;
        env_sim_free(env);
    }
    for (size_t i = 0; i < 4; i++) assert_true(seen[i] > 5);
}

TEST(a_crash_frees_locks_and_a_dead_process_writes_nothing) {
    struct env *env = env_sim_new(1);
    struct env_file *file = NULL, *again = NULL;
    assert_int_equal(env->ops->lock(env, "lock", &file), 0);
    env_sim_power(env, false);
    assert_int_equal(env->ops->lock(env, "lock", &again), -EIO);
    assert_int_equal(env->ops->pwrite(env, file, "x", 1, 0), -EIO);
    assert_int_equal(env->ops->unlink(env, "lock"), -EIO);
    env_sim_power(env, true);
    env_sim_power_off_at(env, 2);
    assert_int_equal(env->ops->size(env, file), 0);
    assert_true(env_sim_has_power(env));
    assert_int_equal(env->ops->size(env, file), -EIO);
    assert_int_equal(env->ops->size(env, file), -EIO);
    assert_false(env_sim_has_power(env));
    env_sim_power(env, true);
    assert_int_equal(env->ops->sync_dir(env, "."), 0);
    env_sim_crash(env);
    assert_int_equal(env->ops->lock(env, "lock", &again), 0);
    env->ops->close(env, file); /* from before: lets nothing go */
    assert_int_equal(env->ops->lock(env, "lock", &file), -EWOULDBLOCK);
    env->ops->close(env, again);
    env_sim_free(env);
}

TEST(after_a_failed_sync_the_file_reads_well_and_the_disk_never_gets_it) {
    struct env *env = env_sim_new(1);
    struct env_file *file = open_ok(env, "f", ENV_READ | ENV_WRITE | ENV_CREATE);
    write_ok(env, file, "abcdef", 0);
    assert_int_equal(env->ops->sync(env, file), 0);
    assert_int_equal(env->ops->sync_dir(env, "."), 0);
    write_ok(env, file, "LOST", 1);
    env_sim_faults(env, &(struct env_sim_faults){ .sync_errors = 1'000'000 });
    assert_int_equal(env->ops->sync(env, file), -EIO);
    assert_int_equal(env->ops->sync_dir(env, "."), -EIO);
    env_sim_faults(env, &(struct env_sim_faults){});
    check_file(env, "f", "aLOSTf");
    write_ok(env, file, "h", 7);
    assert_int_equal(env->ops->sync(env, file), 0);
    env_sim_crash(env);
    env->ops->close(env, file);
    char text[16];
    file = open_ok(env, "f", ENV_READ);
    assert_int_equal(env->ops->pread(env, file, text, sizeof text, 0), 8);
    assert_memory_equal(text, "abcdef\0h", 8);
    env->ops->close(env, file);
    env_sim_free(env);
}

TEST(a_full_disk_takes_what_fits_and_lets_old_bytes_be_written_over) {
    struct env *env = env_sim_new(1);
    write_file(env, "other", "0123456789");
    struct env_file *file = open_ok(env, "f", ENV_READ | ENV_WRITE | ENV_CREATE);
    env_sim_faults(env, &(struct env_sim_faults){ .disk_size = 16 });
    assert_int_equal(env->ops->pwrite(env, file, "abcdefgh", 8, 0), 6);
    assert_int_equal(env->ops->pwrite(env, file, "gh", 2, 6), -ENOSPC);
    assert_int_equal(env->ops->pwrite(env, file, "far", 3, 100), -ENOSPC);
    assert_int_equal(env->ops->pwrite(env, file, "ABC", 3, 3), 3);
    assert_int_equal(env->ops->unlink(env, "other"), 0);
    write_ok(env, file, "gh", 6);
    check_file(env, "f", "abcABCgh");
    env_sim_faults(env, &(struct env_sim_faults){});
    write_ok(env, file, "a longer text than would fit", 8);
    env->ops->close(env, file);
    env_sim_free(env);
}

TEST(faults_by_chance_hit_about_as_often_as_asked_and_take_their_time) {
    struct env *env = env_sim_new(5);
    struct env_file *file = open_ok(env, "f", ENV_READ | ENV_WRITE | ENV_CREATE);
    env_sim_faults(env, &(struct env_sim_faults){ .write_errors = 100'000,
                                                  .write_error = EIO,
                                                  .short_writes = 500'000,
                                                  .write_ns = 3,
                                                  .sync_ns = 1'000'000 });
    unsigned failed = 0, cut = 0;
    uint64_t before = env_monotonic_ns(env);
    for (int i = 0; i < 1'000; i++) {
        int64_t n = env->ops->pwrite(env, file, "abcd", 4, 0);
        failed += n == -EIO;
        cut += n > 0 && n < 4;
        assert_true(n == -EIO || (n > 0 && n <= 4));
    }
    assert_int_equal(env_monotonic_ns(env) - before, 3'000);
    assert_true(failed > 60 && failed < 150);
    assert_true(cut > 350 && cut < 550);
    assert_int_equal(env->ops->sync(env, file), 0);
    assert_int_equal(env_monotonic_ns(env) - before, 1'003'000);
    env_sim_faults(env, &(struct env_sim_faults){ .look_ns = 7 });
    assert_int_equal(env_monotonic_ns(env) - before, 1'003'000);
    assert_int_equal(env_monotonic_ns(env) - before, 1'003'007);
    env->ops->close(env, file);
    env_sim_free(env);
}
