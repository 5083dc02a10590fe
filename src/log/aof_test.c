/* aof_test.c: which files of an append-only log are read, in which order, what of their end may be
 * missing, and that nobody is told anything of a log that is broken. */
#include "log/aof.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/env.h"
#include "testing/testing.h"

struct world {
    struct env *env;
    struct buffer told;
    struct aof_report report;
    struct problem why;
    unsigned fails_at; /* the n-th thing told is refused */
    unsigned count;
};

static enum status count(struct world *w, struct problem *why) {
    if (++w->count != w->fails_at) return OK;
    return problem_set(why, FULL, 0, "no more of it");
}

static enum status tell_key(void *self, const struct rdb_key *key, struct problem *why) {
    struct world *w = self;
    char scratch[INT_TEXT_MAX];
    buffer_format(&w->told, "%u ", key->db);
    buffer_put(&w->told, key->name);
    buffer_format(&w->told, "=");
    buffer_put(&w->told, value_text(&key->value, scratch));
    buffer_format(&w->told, ";");
    return count(w, why);
}

static enum status tell_command(void *self, const struct bytes *args, size_t args_count,
                                struct problem *why) {
    struct world *w = self;
    for (size_t i = 0; i < args_count; i++) {
        if (i) buffer_format(&w->told, " ");
        buffer_put(&w->told, args[i]);
    }
    buffer_format(&w->told, ";");
    return count(w, why);
}

static struct world *world_new(void) {
    struct world *w = calloc(1, sizeof *w);
    w->env = env_sim_new(1);
    buffer_init(&w->told, 1 << 24);
    return w;
}

static void world_free(struct world *w) {
    buffer_deinit(&w->told);
    env_sim_free(w->env);
    free(w);
}

/* With the folders on the way. */
static void put(struct world *w, const char *path, struct bytes content) {
    char folder[64];
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        (void)w->env->ops->mkdir(w->env, folder); /* it may be there */
    }
    assert_int_equal(env_replace_file(w->env, path, content, &w->why), OK);
}
#define PUT(w, path, literal) put(w, path, BYTES(literal))

static enum status read_log(struct world *w, const char *path) {
    struct aof_visitor visitor = { .key = tell_key, .command = tell_command, .self = w };
    buffer_clear(&w->told);
    w->count = 0;
    return aof_read(w->env, path, &visitor, &w->report, &w->why);
}

static void assert_told(struct world *w, const char *path, const char *expected) {
    enum status status = read_log(w, path);
    if (status != OK) fail_msg("%s", w->why.text);
    buffer_put(&w->told, (struct bytes){ "", 1 });
    assert_string_equal(w->told.data, expected);
}

static void assert_refused(struct world *w, const char *path, enum status expected,
                           const char *sentence) {
    enum status status = read_log(w, path);
    if (status != expected) fail_msg("status %d: %s", (int)status, w->why.text);
    if (!strstr(w->why.text, sentence)) assert_string_equal(w->why.text, sentence);
    assert_int_equal(w->told.len, 0);
}

#define SELECT_0 "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
#define SET_A "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
#define DEL_A "*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC "*1\r\n$4\r\nEXEC\r\n"
#define RDB "REDIS0009\xfe\x02\x00\x01r\x01v\xff\0\0\0\0\0\0\0\0" /* its checksum switched off */

TEST(commands_come_in_their_order) {
    struct world *w = world_new();
    PUT(w, "appendonly.aof",
        SELECT_0 "#TS:1700000000\r\n" SET_A MULTI DEL_A EXEC
                 "*2\r\n$3\r\ndel\r\n$5\r\na\r\n\0b\r\n");
    assert_int_equal(read_log(w, "appendonly.aof"), OK);
    static const char expected[] = "SELECT 0;SET a 1;MULTI;DEL a;EXEC;del a\r\n\0b;";
    assert_int_equal(w->told.len, sizeof expected - 1);
    assert_memory_equal(w->told.data, expected, sizeof expected - 1);
    assert_int_equal(w->report.files, 1);
    assert_int_equal(w->report.commands, 6);
    assert_int_equal(w->report.dropped, 0);
    assert_string_equal(w->report.last, "appendonly.aof");
    PUT(w, "empty.aof", "");
    assert_told(w, "empty.aof", "");
    world_free(w);
}

TEST(an_rdb_part_comes_first) {
    struct world *w = world_new();
    PUT(w, "mixed.aof", RDB SELECT_0 SET_A);
    assert_told(w, "mixed.aof", "2 r=v;SELECT 0;SET a 1;");
    assert_int_equal(w->report.rdb.version, 9);
    assert_int_equal(w->report.rdb.keys, 1);
    PUT(w, "rdb.aof", RDB);
    assert_told(w, "rdb.aof", "2 r=v;");
    PUT(w, "over.aof", "REDIS0009\xfc\x01\0\0\0\0\0\0\0\x00\x01r\x01v\xff\0\0\0\0\0\0\0\0" SET_A);
    assert_told(w, "over.aof", "0 r=v;SET a 1;"); /* its time is over; commands may need it */
    world_free(w);
}

TEST(a_manifest_names_the_files_and_their_order) {
    struct world *w = world_new();
    PUT(w, "aof/a.manifest",
        "# a remark\n"
        "file a.1.incr.aof seq 1 type h\n"
        "file a.2.incr.aof seq 2 type i startoffset 0\n"
        "seq 3 type b file a.3.base.rdb\n"
        "file \"a 4\\x2e\\\"incr\" seq 4 type i\n");
    PUT(w, "aof/a.2.incr.aof", SELECT_0 SET_A);
    PUT(w, "aof/a.3.base.rdb", RDB);
    PUT(w, "aof/a 4.\"incr", DEL_A);
    static const char expected[] = "2 r=v;SELECT 0;SELECT 0;SET a 1;SELECT 0;DEL a;";
    assert_told(w, "aof", expected);
    assert_told(w, "aof/a.manifest", expected);
    assert_int_equal(w->report.files, 3);
    assert_int_equal(w->report.commands, 3);
    assert_string_equal(w->report.last, "a 4.\"incr");
    PUT(w, "dir/appendonlydir/appendonly.aof.manifest", "file x seq 1 type b\n");
    PUT(w, "dir/appendonlydir/x", SET_A);
    PUT(w, "dir/dump.rdb", "");
    assert_told(w, "dir", "SET a 1;");
    world_free(w);
}

TEST(a_manifest_that_makes_no_sense_is_refused) {
    static const struct {
        struct bytes text;
        const char *sentence;
    } cases[] = {
        { BYTES(""), "names no file" },
        { BYTES("# nothing\n"), "names no file" },
        { BYTES("file x seq 1 type i"), "line 1: it is too long or has no end" },
        { BYTES("\n"), "line 1: it has no file" },
        { BYTES("file x seq 1 type i\nfile x seq 1\n"),
          "line 2: it has no file, no seq or no type" },
        { BYTES("file x seq 1 type\n"), "a word has no value" },
        { BYTES("file x seq 0 type i\n"), "no seq" },
        { BYTES("file x seq 1a type i\n"), "seq is no number" },
        { BYTES("file x seq 1 type q\n"), "none of b, i and h" },
        { BYTES("file ../x seq 1 type i\n"), "no plain name" },
        { BYTES("file \"a\\x00b\" seq 1 type i\n"), "no plain name" },
        { BYTES("file \"x seq 1 type i\n"), "make no sense" },
        { BYTES("file \"x\\\n"), "make no sense" },
        { BYTES("file \"x\"y seq 1 type i\n"), "make no sense" },
        { BYTES("file x seq 2 type i\nfile y seq 2 type i\n"), "does not come after" },
        { BYTES("file x seq 2 type b\nfile y seq 3 type b\n"), "second base" },
        { BYTES("file nothere seq 1 type i\n"), "cannot open aof/nothere" },
    };
    struct world *w = world_new();
    PUT(w, "aof/x", SET_A);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        put(w, "aof/a.manifest", cases[i].text);
        bool absent = strstr(cases[i].sentence, "nothere");
        assert_refused(w, "aof", absent ? NOT_FOUND : CORRUPT, cases[i].sentence);
    }
    PUT(w, "aof/b.manifest", "file x seq 1 type i\n");
    assert_refused(w, "aof", INVALID, "2 manifests");
    assert_told(w, "aof/b.manifest", "SET a 1;");
    assert_refused(w, "nothere.aof", NOT_FOUND, "cannot open ./nothere.aof");
    PUT(w, "plain/x", SET_A);
    assert_refused(w, "plain", NOT_FOUND, "plain has no manifest");
    world_free(w);
}

TEST(what_is_cut_off_at_the_end_is_dropped_and_counted) {
    static const char whole[] = SELECT_0 SET_A DEL_A;
    struct world *w = world_new();
    size_t first = strlen(SELECT_0 SET_A);
    for (size_t len = first + 1; len < sizeof whole - 1; len++) {
        put(w, "a.aof", (struct bytes){ whole, len });
        assert_told(w, "a.aof", "SELECT 0;SET a 1;");
        assert_int_equal(w->report.dropped, len - first);
        assert_int_equal(w->report.dropped_at, first);
    }
    PUT(w, "a.aof", SET_A "#TS:17");
    assert_told(w, "a.aof", "SET a 1;");
    assert_int_equal(w->report.dropped, 6);
    world_free(w);
}

TEST(a_transaction_that_was_not_finished_is_dropped_as_a_whole) {
    static const char whole[] = SET_A MULTI DEL_A SET_A EXEC;
    struct world *w = world_new();
    size_t first = strlen(SET_A);
    for (size_t len = first; len < sizeof whole - 1; len++) {
        put(w, "a.aof", (struct bytes){ whole, len });
        assert_told(w, "a.aof", "SET a 1;");
        assert_int_equal(w->report.dropped, len - first);
    }
    PUT(w, "a.aof", SET_A MULTI DEL_A EXEC);
    assert_told(w, "a.aof", "SET a 1;MULTI;DEL a;EXEC;");
    world_free(w);
}

TEST(only_the_last_file_may_be_cut_off) {
    struct world *w = world_new();
    PUT(w, "aof/a.manifest", "file b seq 1 type b\nfile i seq 1 type i\n");
    PUT(w, "aof/b", SET_A);
    PUT(w, "aof/i", SET_A MULTI);
    assert_told(w, "aof", "SET a 1;SELECT 0;SET a 1;");
    assert_int_equal(w->report.dropped, strlen(MULTI));
    PUT(w, "aof/b", SET_A MULTI);
    assert_refused(w, "aof", CORRUPT, "aof/b: the file ends within a command, and it is not the");
    assert_int_equal(w->why.offset, strlen(SET_A));
    PUT(w, "aof/b", SET_A "*1");
    assert_refused(w, "aof", CORRUPT, "not the last one, at offset 27");
    world_free(w);
}

TEST(a_base_that_is_cut_off_is_refused) {
    struct world *w = world_new();
    PUT(w, "aof/a.manifest", "file b.rdb seq 1 type b\n");
    for (size_t len = 0; len < sizeof RDB - 1; len++) {
        put(w, "aof/b.rdb", (struct bytes){ RDB, len });
        assert_refused(w, "aof", CORRUPT, "aof/b.rdb: ");
    }
    PUT(w, "aof/b.rdb", "REDIS0009\x04\x01h\x00\xff\0\0\0\0\0\0\0\0");
    assert_refused(w, "aof", UNSUPPORTED, "aof/b.rdb: key 'h' is a hash (type 4)");
    world_free(w);
}

TEST(a_broken_middle_is_refused_with_its_offset) {
    static const struct {
        struct bytes text;
        const char *sentence;
    } cases[] = {
        { BYTES("x"), "no command begins here, at offset 27" },
        { BYTES("\0\0\0\0"), "no command begins here" },
        { BYTES("*0\r\n" SET_A), "count of words" },
        { BYTES("*-1\r\n" SET_A), "count of words" },
        { BYTES("*1048577\r\n" SET_A), "count of words" },
        { BYTES("*1\n$4\r\nPING\r\n"), "a number makes no sense" },
        { BYTES("*x\r\n" SET_A), "a number makes no sense" },
        { BYTES("*99999999999999999999999999999999999999999\r\n"), "a line is too long" },
        { BYTES("*1\r\n4\r\nPING\r\n" SET_A), "a word is missing" },
        { BYTES("*1\r\n$-1\r\n" SET_A), "a word's length" },
        { BYTES("*1\r\n$536870913\r\n" SET_A), "a word's length" },
        { BYTES("*1\r\n$3\r\nPING\r\n" SET_A), "a word does not end" },
    };
    struct world *w = world_new();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[256];
        size_t len = strlen(SET_A);
        memcpy(text, SET_A, len);
        memcpy(text + len, cases[i].text.data, cases[i].text.len);
        put(w, "a.aof", (struct bytes){ text, len + cases[i].text.len });
        assert_refused(w, "a.aof", CORRUPT, cases[i].sentence);
        assert_true(w->why.offset >= len);
    }
    world_free(w);
}

TEST(whoever_is_told_can_end_it) {
    struct world *w = world_new();
    PUT(w, "a.aof", RDB SELECT_0 SET_A);
    for (w->fails_at = 1; w->fails_at <= 3; w->fails_at++) {
        assert_int_equal(read_log(w, "a.aof"), FULL);
        assert_int_equal(w->count, w->fails_at);
        assert_string_equal(w->why.text, "./a.aof: no more of it");
    }
    world_free(w);
}

TEST(a_command_may_be_larger_than_what_is_read_at_once) {
    enum { LEN = 1000000, WORDS = 100000 };
    struct world *w = world_new();
    struct buffer file;
    buffer_init(&file, 1 << 24);
    buffer_format(&file, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n", LEN);
    memset(buffer_reserve(&file, LEN), 'v', LEN);
    file.len += LEN;
    buffer_format(&file, "\r\n*%d\r\n$3\r\nDEL\r\n", WORDS);
    for (int i = 1; i < WORDS; i++) buffer_format(&file, "$6\r\n%06d\r\n", i);
    put(w, "a.aof", buffer_bytes(&file));
    assert_int_equal(read_log(w, "a.aof"), OK);
    assert_int_equal(w->report.commands, 2);
    assert_int_equal(w->told.len, LEN + strlen("SET k ;DEL;") + (WORDS - 1) * strlen(" 000000"));
    put(w, "a.aof", (struct bytes){ file.data, file.len - 1 });
    assert_int_equal(read_log(w, "a.aof"), OK);
    assert_int_equal(w->report.commands, 1);
    buffer_deinit(&file);
    world_free(w);
}

TEST(a_disk_that_fails_is_no_end) {
    struct world *w = world_new();
    PUT(w, "aof/a.manifest", "file b seq 1 type b\nfile i seq 1 type i\n");
    PUT(w, "aof/b", RDB);
    PUT(w, "aof/i", SET_A);
    for (unsigned n = 2, failed = 1; failed; n++) { /* 1: that it is a folder */
        env_sim_fail_at(w->env, n, 5);
        enum status status = read_log(w, "aof");
        env_sim_fail_at(w->env, 0, 0);
        failed = status != OK;
        if (failed) assert_int_equal(status, IO);
    }
    world_free(w);
}
