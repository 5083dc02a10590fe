#include "base/log.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/env.h"
#include "base/mem.h"

#include "testing/testing.h"

/* A log in a simulated world: the first second of 2026, to the file "log". */
struct scene {
    struct env *env;
    struct log *log;
};

static struct scene scene_open(enum log_format format, enum log_timestamp timestamp) {
    setenv("TZ", "UTC", 1);
    tzset();
    struct scene scene = { .env = env_sim_new(1) };
    env_sim_advance(scene.env, 123'000'000);
    scene.log = log_new(scene.env);
    log_configure(scene.log, LOG_VERBOSE, format, timestamp);
    assert_int_equal(log_open(scene.log, "log", NULL), OK);
    return scene;
}

static void scene_close(struct scene *scene) {
    log_free(scene->log);
    env_sim_free(scene->env);
}

/* The log must be `before`, our process id, `after`. */
static void check_log(struct scene *scene, const char *before, const char *after) {
    static char expected[16 * 1024];
    snprintf(expected, sizeof expected, "%s%d%s", before, (int)getpid(), after);
    struct bytes content;
    assert_int_equal(env_read_file(scene->env, "log", 1'000'000, &content, NULL), OK);
    if (!bytes_equal(content, bytes_of(expected)))
        fail_msg("%.*sexpected:\n%s", (int)content.len, content.data, expected);
    mem_free((void *)(uintptr_t)content.data, content.len);
}

TEST(the_legacy_form_is_redis) {
    struct scene scene = scene_open(LOG_FORMAT_LEGACY, LOG_TIME_LEGACY);
    log_line(scene.log, LOG_NOTICE, "Server started", LOG_I("port", 6380), LOG_S("dir", "/a b"));
    check_log(&scene, "", ":M 01 Jan 2026 00:00:00.123 * Server started port=6380 dir=\"/a b\"\n");
    scene_close(&scene);
}

TEST(the_logfmt_form) {
    struct scene scene = scene_open(LOG_FORMAT_LOGFMT, LOG_TIME_ISO8601);
    log_line(scene.log, LOG_WARNING, "Server started", LOG_I("port", -1), LOG_S("dir", "x"));
    check_log(&scene, "pid=",
              " timestamp=\"2026-01-01T00:00:00.123Z\" level=warning "
              "message=\"Server started\" port=-1 dir=x\n");
    scene_close(&scene);
}

TEST(the_json_form) {
    struct scene scene = scene_open(LOG_FORMAT_JSON, LOG_TIME_MILLISECONDS);
    log_line(scene.log, LOG_VERBOSE, "Server started", LOG_I("port", 6380), LOG_S("dir", ""));
    check_log(&scene, "{\"pid\":",
              ",\"timestamp\":1767225600123,\"level\":\"verbose\","
              "\"message\":\"Server started\",\"port\":6380,\"dir\":\"\"}\n");
    scene_close(&scene);
}

TEST(a_line_needs_no_fields) {
    struct scene scene = scene_open(LOG_FORMAT_LEGACY, LOG_TIME_MILLISECONDS);
    log_line(scene.log, LOG_WARNING, "Bye");
    check_log(&scene, "", ":M 1767225600123 # Bye\n");
    scene_close(&scene);
}

TEST(lines_below_the_least_level_are_dropped) {
    struct scene scene = scene_open(LOG_FORMAT_LEGACY, LOG_TIME_MILLISECONDS);
    log_line(scene.log, LOG_DEBUG, "no");
    log_line(scene.log, LOG_VERBOSE, "yes");
    log_configure(scene.log, LOG_NOTHING, LOG_FORMAT_LEGACY, LOG_TIME_MILLISECONDS);
    log_line(scene.log, LOG_WARNING, "no");
    check_log(&scene, "", ":M 1767225600123 - yes\n");
    scene_close(&scene);
}

/* Line ends, quotes, escapes, a terminal's escape sequence, NUL, C1, bad and good UTF-8. */
#define HOSTILE                                                              \
    BYTES("a\nb\r\t\"c\\ \x1b[2J\0\x7f\xc2\x85\xff\xe2\x80\xa8\xed\xa0\x80 " \
          "\xc3\xa9=\xf0\x9f\x98\x80\xc3")
#define HOSTILE_WRITTEN(s)                                                                      \
    "a\\nb\\r\\t\\\"c\\\\ " s "1b[2J" s "00" s "7f" s "c2" s "85" s "ff" s "e2" s "80" s "a8" s \
    "ed" s "a0" s "80 \xc3\xa9=\xf0\x9f\x98\x80" s "c3"

TEST(hostile_bytes_stay_inside_their_field) {
    struct scene scene = scene_open(LOG_FORMAT_LEGACY, LOG_TIME_MILLISECONDS);
    log_line(scene.log, LOG_NOTICE, "Refused", LOG_B("name", HOSTILE), LOG_I("n", 1));
    check_log(&scene, "", ":M 1767225600123 * Refused name=\"" HOSTILE_WRITTEN("\\x") "\" n=1\n");
    scene_close(&scene);

    scene = scene_open(LOG_FORMAT_LOGFMT, LOG_TIME_MILLISECONDS);
    log_line(scene.log, LOG_NOTICE, "Refused", LOG_B("name", HOSTILE), LOG_I("n", 1));
    check_log(&scene, "pid=",
              " timestamp=1767225600123 level=notice message=\"Refused\" name=\"" HOSTILE_WRITTEN(
                  "\\x") "\" n=1\n");
    scene_close(&scene);

    scene = scene_open(LOG_FORMAT_JSON, LOG_TIME_MILLISECONDS);
    log_line(scene.log, LOG_NOTICE, "Refused", LOG_B("name", HOSTILE), LOG_I("n", 1));
    check_log(&scene, "{\"pid\":",
              ",\"timestamp\":1767225600123,\"level\":\"notice\","
              "\"message\":\"Refused\",\"name\":\"" HOSTILE_WRITTEN("\\\\x") "\",\"n\":1}\n");
    scene_close(&scene);
}

TEST(a_message_cannot_forge_a_line) {
    struct scene scene = scene_open(LOG_FORMAT_LEGACY, LOG_TIME_MILLISECONDS);
    log_write(scene.log, LOG_NOTICE, "one\n1:M 2 * \"two\"", NULL, 0);
    check_log(&scene, "", ":M 1767225600123 * one\\n1:M 2 * \"two\"\n");
    scene_close(&scene);
}

TEST(every_byte_keeps_a_line_one_line) {
    for (int format = LOG_FORMAT_LEGACY; format <= LOG_FORMAT_JSON; format++) {
        struct scene scene = scene_open((enum log_format)format, LOG_TIME_ISO8601);
        char all[256];
        for (int i = 0; i < 256; i++) all[i] = (char)i;
        log_line(scene.log, LOG_NOTICE, "All", LOG_B("bytes", ((struct bytes){ all, 256 })));
        struct bytes content;
        assert_int_equal(env_read_file(scene.env, "log", 10'000, &content, NULL), OK);
        for (size_t i = 0; i < content.len; i++) {
            bool end = i == content.len - 1;
            assert_true(end ? content.data[i] == '\n'
                            : content.data[i] >= 0x20 && content.data[i] < 0x7f);
        }
        mem_free((void *)(uintptr_t)content.data, content.len);
        scene_close(&scene);
    }
}

TEST(long_texts_are_cut_and_many_fields_end) {
    static char text[100'000];
    memset(text, 1, sizeof text);
    struct log_field fields[40];
    for (size_t i = 0; i < 40; i++) fields[i] = LOG_B("x", ((struct bytes){ text, sizeof text }));
    for (int format = LOG_FORMAT_LEGACY; format <= LOG_FORMAT_JSON; format++) {
        struct scene scene = scene_open((enum log_format)format, LOG_TIME_LEGACY);
        text[sizeof text - 1] = '\0';
        log_write(scene.log, LOG_NOTICE, text, fields, 40);
        struct bytes content;
        assert_int_equal(env_read_file(scene.env, "log", 16 * 1024, &content, NULL), OK);
        assert_true(content.len > 8 * 1024);
        assert_int_equal(content.data[content.len - 1], '\n');
        mem_free((void *)(uintptr_t)content.data, content.len);
        scene_close(&scene);
    }
}

TEST(a_rotated_file_is_left_after_reopen) {
    struct scene scene = scene_open(LOG_FORMAT_LEGACY, LOG_TIME_MILLISECONDS);
    log_line(scene.log, LOG_NOTICE, "old");
    assert_int_equal(scene.env->ops->rename(scene.env, "log", "log.1"), 0);
    log_line(scene.log, LOG_NOTICE, "still old");
    log_reopen(scene.log);
    log_line(scene.log, LOG_NOTICE, "new");
    check_log(&scene, "", ":M 1767225600123 * new\n");
    assert_int_equal(log_open(scene.log, "log", NULL), OK); /* appends */
    assert_int_equal(scene.env->ops->unlink(scene.env, "log.1"), 0);
    check_log(&scene, "", ":M 1767225600123 * new\n");
    scene_close(&scene);
}

TEST(a_file_that_cannot_be_opened_changes_nothing) {
    struct scene scene = scene_open(LOG_FORMAT_LEGACY, LOG_TIME_MILLISECONDS);
    struct problem why = {};
    assert_int_equal(log_open(scene.log, "no/such/folder", &why), IO);
    assert_string_equal(why.text, "cannot open the log file no/such/folder");
    log_line(scene.log, LOG_NOTICE, "here");
    check_log(&scene, "", ":M 1767225600123 * here\n");
    scene_close(&scene);
}
