/* file_journal_damage_test.c: what is broken is never taken for the end of the log. */
#include <stdlib.h>

#include "log/crc32c.h"
#include "log/file_journal_run_test.h"
#include "log/frame.h"
#include "testing/testing.h"

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

TEST(what_a_start_has_found_is_known_to_the_manifest_even_if_nothing_follows) {
    struct run *run = run_new(28);
    run_start(run);
    for (int i = 0; i < 10; i++) ok(run, run_append(run));
    run_stop(run);
    run_start(run);
    uint64_t number = run->share.now.logs[0].number, end = run->share.now.logs[0].end;
    assert_int_equal(run->share.now.logs[0].last_seq, 10);
    run_stop(run);
    char path[100];
    path_of_log("d", number, path);
    overwrite(run, path, end - 16, "what is this", 12);
    assert_int_equal(run_look(run), CORRUPT);
    assert_int_equal(run->tail.last_seq, 9);
    run_free(run);
}

TEST(a_shutdown_in_order_tells_of_frames_that_are_missing_even_if_no_log_is_sealed) {
    struct run *run = run_closed(29);
    ok(run, run_look(run));
    struct manifest *manifest = &run->share.now;
    for (size_t i = 0; i < manifest->logs_count; i++)
        manifest->logs[i].end = manifest->logs[i].last_seq = 0;
    ok(run, file_journal_scan(run->env, "d", manifest, &run->tail, &run->why));
    assert_int_equal(run->tail.last_seq, 251);
    manifest->clean_seq = 252;
    assert_int_equal(file_journal_scan(run->env, "d", manifest, &run->tail, NULL), CORRUPT);
    run_free(run);
}

/* Puts a whole frame behind the `at` bytes of log 1. */
static void plant(struct run *run, uint64_t at, uint64_t id, uint64_t seq, uint64_t cut) {
    char frame[FRAME_HEADER];
    frame_encode(&(struct journal_batch){ .seq = seq, .cut = cut }, frame_seed(id), frame);
    overwrite(run, "d/log.1.plog", at, frame, sizeof frame);
}

TEST(a_frame_is_good_only_in_its_place_with_its_files_id_and_a_cut_that_does_not_fall) {
    struct run *run = run_new(32);
    run_start(run);
    for (int i = 0; i < 3; i++) ok(run, run_append(run));
    uint64_t at = SEGMENT_HEADER + file_journal_size(run->journal, 1);
    uint64_t id = run->share.now.logs[0].id;
    run_stop(run);
    static const struct {
        uint64_t seq, cut, id, last;
    } planted[] = {
        { 4, 1030, 1, 3 }, /* of another file */
        { 4, 1029, 0, 3 }, /* the cut falls */
        { 5, 1050, 0, 3 }, /* one is missing */
        { 3, 1030, 0, 3 }, /* it was there */
        { 4, 1040, 0, 4 }, /* this is it */
    };
    for (size_t i = 0; i < COUNT_OF(planted); i++) {
        plant(run, at, id + planted[i].id, planted[i].seq, planted[i].cut);
        assert_int_equal(manifest_read(run->env, "d", &run->share.now, &run->why), OK);
        ok(run, file_journal_scan(run->env, "d", &run->share.now, &run->tail, &run->why));
        assert_int_equal(run->tail.last_seq, planted[i].last);
        assert_int_equal(run->tail.torn_bytes > 0, planted[i].last == 3);
        manifest_deinit(&run->share.now);
    }
    run_free(run);
}

TEST(a_log_of_another_database_is_refused) {
    struct run *run = run_new(33);
    run_start(run);
    uint64_t id = run->share.now.logs[0].id + 1;
    run_stop(run);
    char header[SEGMENT_HEADER];
    segment_header_encode(&(struct segment_header){ .number = 1, .id = id, .first_seq = 1 },
                          header);
    overwrite(run, "d/log.1.plog", 0, header, sizeof header);
    assert_int_equal(run_look(run), CORRUPT);
    assert_non_null(strstr(run->why.text, "another"));
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
