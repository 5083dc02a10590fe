#include "log/manifest.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/env.h"
#include "base/mem.h"
#include "testing/testing.h"

static void fill(struct manifest *manifest) {
    manifest_init(manifest);
    for (unsigned i = 0; i < 16; i++) manifest->identity[i] = (unsigned char)(i * 17);
    manifest->seed = (struct siphash_key){ 1, UINT64_MAX };
    manifest->shards = 64;
    manifest->base = (struct manifest_base){ .generation = 3,
                                             .seq = 120,
                                             .from = 1767225600000000000,
                                             .to = 1767225600000000009,
                                             .keys_size = 88231,
                                             .id = 0xc0 };
    *manifest_add_log(manifest) = (struct manifest_log){
        .number = 7, .id = 9, .first_seq = 118, .end = 4096, .last_seq = 131
    };
    *manifest_add_log(manifest) = (struct manifest_log){ .number = 9, .id = 10, .first_seq = 132 };
    *manifest_add_log(manifest) = (struct manifest_log){ .number = 10, .id = UINT64_MAX };
}

static void check_same(const struct manifest *a, const struct manifest *b) {
    assert_memory_equal(a->identity, b->identity, sizeof a->identity);
    assert_memory_equal(&a->seed, &b->seed, sizeof a->seed);
    assert_int_equal(a->shards, b->shards);
    assert_memory_equal(&a->base, &b->base, sizeof a->base);
    assert_int_equal(a->logs_count, b->logs_count);
    if (a->logs_count) assert_memory_equal(a->logs, b->logs, a->logs_count * sizeof *a->logs);
    assert_int_equal(a->clean, b->clean);
    assert_int_equal(a->clean_seq, b->clean_seq);
    assert_int_equal(a->clean_cut, b->clean_cut);
}

static struct bytes text_of(struct env *env) {
    struct bytes text;
    assert_int_equal(env_read_file(env, "d/MANIFEST", 100000, &text, NULL), OK);
    return text;
}

static void text_free(struct bytes text) {
    mem_free((char *)(uintptr_t)text.data, text.len);
}

static struct env *world(void) {
    struct env *env = env_sim_new(11);
    assert_int_equal(env->ops->mkdir(env, "d"), 0);
    assert_int_equal(env->ops->sync_dir(env, "."), 0);
    return env;
}

static void put_file(struct env *env, const char *path, const char *text, size_t len) {
    struct env_file *file;
    assert_int_equal(env->ops->open(env, path, ENV_WRITE | ENV_TRUNCATE, &file), 0);
    assert_int_equal(env->ops->pwrite(env, file, text, len, 0), len);
    assert_int_equal(env->ops->sync(env, file), 0);
    env->ops->close(env, file);
    assert_int_equal(env->ops->sync_dir(env, "d"), 0);
}

static bool exists(struct env *env, const char *path) {
    struct env_file *file;
    if (env->ops->open(env, path, ENV_READ, &file) < 0) return false;
    env->ops->close(env, file);
    return true;
}

TEST(what_is_written_is_read_after_a_power_cut) {
    struct env *env = world();
    struct manifest manifest, again;
    struct problem why = {};
    fill(&manifest);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(manifest_write(env, "d", &manifest, &why), OK);
        env_sim_crash(env);
        assert_int_equal(manifest_read(env, "d", &again, &why), OK);
        check_same(&manifest, &again);
        manifest_deinit(&again);
        manifest_copy(&again, &manifest);
        check_same(&manifest, &again);
        manifest_deinit(&again);
        manifest.clean = true;
        manifest.clean_seq = 140;
        manifest.clean_cut = UINT64_MAX;
    }
    manifest_deinit(&manifest);
    env_sim_free(env);
}

TEST(a_directory_is_new_only_if_it_holds_none_of_our_files) {
    struct env *env = world();
    struct manifest manifest;
    struct problem why = {};
    assert_int_equal(manifest_read(env, "d", &manifest, &why), NOT_FOUND);
    put_file(env, "d/LOCK", "x", 1);
    put_file(env, "d/MANIFEST.tmp", "puls", 4);
    put_file(env, "d/log.txt", "x", 1);
    put_file(env, "d/log..plog", "x", 1);
    put_file(env, "d/log.07.plog", "x", 1);
    put_file(env, "d/base.99999999999999999999.keys.snap", "x", 1);
    assert_int_equal(manifest_read(env, "d", &manifest, &why), NOT_FOUND);
    static const char *const ours[] = { "d/log.7.plog", "d/log.7.torn", "d/log.spare.1",
                                        "d/base.1.keys.snap", "d/base.1.past.snap" };
    for (size_t i = 0; i < COUNT_OF(ours); i++) {
        put_file(env, ours[i], "x", 1);
        assert_int_equal(manifest_read(env, "d", &manifest, &why), CORRUPT);
        assert_non_null(strstr(why.text, "pulsedb-check repair"));
        assert_int_equal(env->ops->unlink(env, ours[i]), 0);
    }
    assert_int_equal(manifest_read(env, "none", &manifest, &why), IO);
    env_sim_free(env);
}

TEST(a_directory_that_was_not_finished_is_refused_until_it_is) {
    struct env *env = world();
    struct manifest manifest;
    fill(&manifest);
    assert_int_equal(manifest_unfinished(env, "d", NULL), OK);
    assert_int_equal(manifest_read(env, "d", &(struct manifest){}, NULL), INVALID);
    assert_int_equal(manifest_write(env, "d", &manifest, NULL), OK);
    env_sim_crash(env);
    struct problem why;
    assert_int_equal(manifest_read(env, "d", &(struct manifest){}, &why), INVALID);
    assert_non_null(strstr(why.text, "did not finish"));
    assert_int_equal(manifest_finished(env, "d", NULL), OK);
    env_sim_crash(env);
    struct manifest again;
    assert_int_equal(manifest_read(env, "d", &again, NULL), OK);
    check_same(&manifest, &again);
    manifest_deinit(&again);
    manifest_deinit(&manifest);
    env_sim_free(env);
}

TEST(any_bit_that_flips_and_any_byte_that_is_missing_is_noticed) {
    struct env *env = world();
    struct manifest manifest, again;
    fill(&manifest);
    manifest.clean = true;
    assert_int_equal(manifest_write(env, "d", &manifest, NULL), OK);
    manifest_deinit(&manifest);
    struct bytes text = text_of(env);
    char *copy = malloc(text.len);
    memcpy(copy, text.data, text.len);
    for (size_t bit = 0; bit < text.len * 8; bit++) {
        copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
        enum status status = manifest_parse((struct bytes){ copy, text.len }, &again, NULL);
        assert_true(status == CORRUPT || status == UNSUPPORTED);
        copy[bit / 8] = text.data[bit / 8];
    }
    for (size_t len = 0; len < text.len; len++) {
        put_file(env, "d/MANIFEST", copy, len);
        assert_int_equal(manifest_read(env, "d", &again, NULL), CORRUPT);
    }
    free(copy);
    text_free(text);
    env_sim_free(env);
}

TEST(a_manifest_of_a_later_version_is_refused_and_both_are_named) {
    struct env *env = world();
    struct manifest manifest;
    struct problem why = {};
    static const char later[] = "pulsedb-manifest 2 7.5.1\nwho knows what\n";
    put_file(env, "d/MANIFEST", later, sizeof later - 1);
    assert_int_equal(manifest_read(env, "d", &manifest, &why), UNSUPPORTED);
    assert_non_null(strstr(why.text, "7.5.1"));
    assert_non_null(strstr(why.text, PULSE_VERSION));
    struct bytes text = text_of(env);
    assert_true(bytes_equal(text, (struct bytes){ later, sizeof later - 1 }));
    text_free(text);
    env_sim_free(env);
}

TEST(whichever_call_fails_a_crash_leaves_the_old_manifest_or_the_new_one) {
    bool written = false;
    for (uint64_t n = 1; !written; n++) {
        struct env *env = world();
        struct manifest manifest, again;
        fill(&manifest);
        assert_int_equal(manifest_write(env, "d", &manifest, NULL), OK);
        manifest.base.generation = 4;
        env_sim_fail_at(env, n, ENOSPC);
        written = manifest_write(env, "d", &manifest, NULL) == OK;
        env_sim_fail_at(env, 0, 0);
        env_sim_crash_torn(env);
        assert_int_equal(manifest_read(env, "d", &again, NULL), OK);
        assert_true(again.base.generation == 4 || (!written && again.base.generation == 3));
        manifest_deinit(&again);
        manifest_deinit(&manifest);
        env_sim_free(env);
    }
}

TEST(a_sweep_removes_what_no_manifest_names_and_nothing_else) {
    struct env *env = world();
    struct manifest manifest;
    fill(&manifest);
    static const char *const kept[] = {
        "d/log.7.plog",       "d/log.9.plog",       "d/log.10.plog", "d/log.8.torn",
        "d/log.spare.1",      "d/base.3.keys.snap", "d/MANIFEST",    "d/dump.rdb",
        "d/base.3.past.snap", "d/log.8.plog.old",   "d/LOCK",
    };
    static const char *const gone[] = { "d/log.8.plog", "d/log.11.plog", "d/base.2.keys.snap",
                                        "d/base.4.past.snap" };
    for (size_t i = 0; i < COUNT_OF(kept); i++) put_file(env, kept[i], "x", 1);
    for (size_t i = 0; i < COUNT_OF(gone); i++) put_file(env, gone[i], "x", 1);
    assert_int_equal(manifest_sweep(env, "d", &manifest, NULL), OK);
    for (size_t i = 0; i < COUNT_OF(kept); i++) assert_true(exists(env, kept[i]));
    for (size_t i = 0; i < COUNT_OF(gone); i++) assert_false(exists(env, gone[i]));
    manifest_deinit(&manifest);
    env_sim_free(env);
}
