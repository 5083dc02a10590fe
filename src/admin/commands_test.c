#include "admin/commands_info.h"

#include <stdlib.h>

#include "command/category.h"
#include "proto/out.h"
#include "testing/testing.h"

/* What is answered about `command`, as RESP3 with a space for each line's end. */
static void answer(const struct command *command, int words,
                   void (*put)(struct call *call, const struct command_info *info), char *text,
                   size_t size) {
    struct command_info info;
    const char *wrong = command_info_init(&info, command, words);
    if (wrong) fail_msg("%s: %s", command->synopsis, wrong);
    static struct arena arena;
    arena_init(&arena);
    struct out out;
    out_init(&out);
    struct reply reply = { .writer = &resp3_writer, .out = &out };
    struct call call = { .reply = &reply, .arena = &arena };
    put(&call, &info);

    size_t len = 0;
    for (size_t i = 0; i < out.len && len < size - 1; i++) {
        if (out.data[i] == '\r') continue;
        text[len] = out.data[i];
        if (text[len] == '\n') text[len] = ' ';
        len++;
    }
    text[len] = '\0';
    out_deinit(&out);
    arena_deinit(&arena);
    command_info_deinit(&info);
}

static enum outcome stub(struct call *call) {
    (void)call;
    return DONE;
}

TEST(info_tells_flags_keys_categories_and_tips) {
    static const struct command mget = { .synopsis = "MGET key [key ...]",
                                         .keys = KEY_RO | KEY_ACCESS,
                                         .flags = CMD_READONLY | CMD_FAST,
                                         .acl = ACL_STRING,
                                         .tips = "request_policy:multi_shard",
                                         .run = stub };
    char text[4096];
    answer(&mget, 1, commands_info_reply, text, sizeof text);
    assert_string_equal(
        text, "*10 $4 mget :-2 ~2 +readonly +fast :1 :-1 :1 ~3 +@read +@string +@fast ~1 $26 "
              "request_policy:multi_shard ~1 %3 $5 flags ~2 +RO +access $12 begin_search %2 $4 "
              "type $5 index $4 spec %1 $5 index :1 $9 find_keys %2 $4 type $5 range $4 spec %3 "
              "$7 lastkey :-1 $7 keystep :1 $5 limit :0 ~0 ");
}

TEST(info_leaves_scripts_out_of_read_and_marks_keys_that_move) {
    static const struct command eval_ro = {
        .synopsis = "EVAL_RO script numkeys:int [key [key ...]] [arg [arg ...]]",
        .keys = KEY_RO | KEY_ACCESS,
        .flags = CMD_READONLY | CMD_NOSCRIPT | CMD_STALE | CMD_SKIP_MONITOR | CMD_NO_MANDATORY_KEYS,
        .acl = ACL_SCRIPTING,
        .run = stub
    };
    char text[4096];
    answer(&eval_ro, 1, commands_info_reply, text, sizeof text);
    assert_string_equal(
        text, "*10 $7 eval_ro :-3 ~6 +readonly +noscript +stale +skip_monitor +no_mandatory_keys "
              "+movablekeys :0 :0 :0 ~2 +@slow +@scripting ~0 ~1 %3 $5 flags ~2 +RO +access $12 "
              "begin_search %2 $4 type $5 index $4 spec %1 $5 index :2 $9 find_keys %2 $4 type $6 "
              "keynum $4 spec %3 $9 keynumidx :0 $8 firstkey :1 $7 keystep :1 ~0 ");
}

/* "first last step movable specs" of COMMAND INFO. */
static void legacy(const struct command *command, int words, char *text, size_t size) {
    char all[8192];
    answer(command, words, commands_info_reply, all, sizeof all);
    bool movable = strstr(all, "+movablekeys") != NULL;
    const char *at = strchr(all, '~'); /* flags, statuses, then the three numbers */
    long numbers[3];
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        at = at ? strstr(at, " :") : NULL;
        if (!at) {
            fail_msg("%s", all);
            return;
        }
        char *end;
        numbers[i] = strtol(at + 2, &end, 10);
        at = end;
    }
    int specs = 0;
    for (const char *spec = all; (spec = strstr(spec, "begin_search")); spec++) specs++;
    snprintf(text, size, "%ld %ld %ld %s %d", numbers[0], numbers[1], numbers[2],
             movable ? "moves" : "stays", specs);
}

TEST(first_last_and_step_are_those_of_redis) {
    static const struct {
        const char *synopsis;
        int words;
        unsigned two;
        const char *key_specs, *text;
    } cases[] = {
        { "GET key", 1, 0, NULL, "1 1 1 stays 1" },
        { "TIME", 1, 0, NULL, "0 0 0 stays 0" },
        { "MSET key value [key value ...]", 1, 0, NULL, "1 -1 2 stays 1" },
        { "BLPOP key [key ...] timeout:double", 1, 0, NULL, "1 -2 1 stays 1" },
        { "MEMORY USAGE key [SAMPLES count:int]", 2, 0, NULL, "2 2 1 stays 1" },
        { "COPY source:key destination:key [REPLACE]", 1, KEY_OW, NULL, "1 2 1 stays 2" },
        { "LCS key1:key key2:key [LEN]", 1, 0, NULL, "1 2 1 stays 1" },
        { "BITOP operation destkey:key key [key ...]", 1, KEY_OW, NULL, "2 -1 1 stays 2" },
        { "ZUNIONSTORE destination:key numkeys:int key [key ...]", 1, KEY_OW, NULL,
          "1 1 1 moves 2" },
        { "XREAD [COUNT count:int] STREAMS key [key ...] id [id ...]", 1, 0, NULL,
          "0 0 0 moves 1" },
        { "SORT key [BY pattern:pattern] [STORE destination:key]", 1, KEY_OW,
          "RO access index 1 range 0 1 0; RO access unknown unknown; OW update unknown unknown",
          "1 1 1 moves 3" },
        { "MIGRATE host port:int <key | \"\"> db:int timeout:int [COPY] [KEYS key [key ...]]", 1, 0,
          "RW access delete index 3 range 0 1 0; RW access delete incomplete keyword KEYS -2 "
          "range -1 1 0",
          "3 3 1 moves 2" },
        { "SSUBSCRIBE shardchannel:key [shardchannel:key ...]", 1, 0,
          "not_key index 1 range -1 1 0", "1 -1 1 stays 1" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct command command = { .synopsis = cases[i].synopsis,
                                   .keys = KEY_RO,
                                   .keys_two = cases[i].two,
                                   .key_specs = cases[i].key_specs,
                                   .run = stub };
        char text[256];
        legacy(&command, cases[i].words, text, sizeof text);
        if (strcmp(text, cases[i].text) != 0)
            fail_msg("%s: '%s' is not '%s'", cases[i].synopsis, text, cases[i].text);
    }
}

/* Drops the parts that are not of interest: lengths, and display_text, which repeats the name. */
static void arguments(const char *synopsis, char *out, size_t size) {
    struct command command = { .synopsis = synopsis, .keys = KEY_RO, .run = stub };
    char text[8192];
    answer(&command, 1, commands_docs_reply, text, sizeof text);
    *out = '\0';
    char *save = NULL, *word = strtok_r(text, " ", &save);
    bool skip = false;
    for (; word; word = strtok_r(NULL, " ", &save)) {
        if (*word == '$') continue;
        if (strcmp(word, "display_text") == 0) {
            skip = true;
        } else if (skip) {
            skip = false;
        } else {
            snprintf(out + strlen(out), size - strlen(out), "%s%s", *out ? " " : "", word);
        }
    }
}

TEST(docs_show_the_tree_of_arguments) {
    static const struct {
        const char *synopsis, *text;
    } cases[] = {
        { "X", "x %0" },
        { "X key count:int at:time",
          "x %1 arguments *3 %4 name key type key key_spec_index :0 %3 name count type integer %3 "
          "name at type unix-time" },
        { "X [NX | EX seconds:int]",
          "x %1 arguments *1 %4 name nx_seconds type oneof flags ~1 +optional arguments *2 %4 name "
          "nx type pure-token token NX %4 name seconds type integer token EX" },
        { "X score:double member [score:double member ...]",
          "x %1 arguments *1 %4 name score_member type block flags ~1 +multiple arguments *2 %3 "
          "name score type double %3 name member type string" },
        { "X [GET pattern:pattern [GET pattern:pattern ...]]",
          "x %1 arguments *1 %5 name pattern type pattern token GET flags ~3 +optional +multiple "
          "+multiple_token" },
        { "X [LIMIT offset:int count:int] [ASC]",
          "x %1 arguments *2 %4 name offset_count type block flags ~1 +optional arguments *2 %4 "
          "name offset type integer token LIMIT %3 name count type integer %5 name asc type "
          "pure-token token ASC flags ~1 +optional" },
        { "X STREAMS key [key ...] id [id ...]",
          "x %1 arguments *2 %6 name key type key key_spec_index :0 token STREAMS flags ~1 "
          "+multiple %4 name id type string flags ~1 +multiple" },
        { "X [FILTERBY <A a | B b>]",
          "x %1 arguments *1 %5 name a_b type oneof token FILTERBY flags ~1 +optional arguments *2 "
          "%4 name a type string token A %4 name b type string token B" },
        { "X [arg [arg ...]]",
          "x %1 arguments *1 %4 name arg type string flags ~2 +optional +multiple" },
        { "X [GET a | SET b c ...]",
          "x %1 arguments *1 %4 name a_b_c type oneof flags ~2 +optional +multiple arguments *2 %4 "
          "name a type string token GET %3 name b_c type block arguments *2 %4 name b type string "
          "token SET %3 name c type string" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[8192];
        arguments(cases[i].synopsis, text, sizeof text);
        if (strcmp(text, cases[i].text) != 0)
            fail_msg("%s:\n%s\nis not\n%s", cases[i].synopsis, text, cases[i].text);
    }
}

TEST(docs_tell_history_and_what_is_deprecated) {
    static const struct command command = { .synopsis = "OLD",
                                            .summary = "Is old.",
                                            .since = "1.0.0",
                                            .group = "string",
                                            .history = "2.6.12: Added `EX`; `PX`; 6.0.0: More.",
                                            .deprecated = "6.2.0: `SET` with `GET`",
                                            .run = stub };
    char text[4096];
    answer(&command, 1, commands_docs_reply, text, sizeof text);
    assert_string_equal(
        text, "$3 old %7 $7 summary $7 Is old. $5 since $5 1.0.0 $5 group $6 string $9 "
              "doc_flags ~1 +deprecated $16 deprecated_since $5 6.2.0 $11 replaced_by "
              "$16 `SET` with `GET` $7 history ~2 *2 $6 2.6.12 $16 Added `EX`; `PX` *2 $5 "
              "6.0.0 $5 More. ");
}

TEST(every_command_of_the_server_can_be_described) {
    struct commands *commands = commands_new();
    static struct arena arena;
    arena_init(&arena);
    struct out out;
    out_init(&out);
    struct reply reply = { .writer = &resp2_writer, .out = &out };
    struct call call = { .reply = &reply, .arena = &arena };
    for (size_t i = 0; i < commands_count(commands); i++) {
        commands_info_reply(&call, commands_at(commands, i));
        commands_docs_reply(&call, commands_at(commands, i));
    }
    assert_true(out.len > 0);
    out_deinit(&out);
    arena_deinit(&arena);
    commands_free(commands);
}

TEST(a_category_is_known_by_its_name_without_the_at) {
    assert_int_equal(category_find(BYTES("GEO")), ACL_GEO);
    assert_int_equal(category_find(BYTES("@geo")), 0);
    assert_int_equal(category_find(BYTES("nosuch")), 0);
}
