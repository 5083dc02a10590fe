#include "base/arena.h"
#include "command/command.h"
#include "testing/testing.h"

static enum outcome stub(struct call *call) {
    (void)call;
    return DONE;
}

/* Names that no command of the server has. */
COMMAND(one) = { .synopsis = "TESTONE key", .keys = KEY_RO, .run = stub };
COMMAND(pairs) = { .synopsis = "TESTPAIRS key field value [field value ...]",
                   .keys = KEY_RW,
                   .run = stub };
COMMAND(lookalike) = { .synopsis = "TESTPAIRX key", .keys = KEY_RW, .run = stub };
COMMAND(dash) = { .synopsis = "TEST-IT", .run = stub };
COMMAND(tiny) = { .synopsis = "Q_Z", .run = stub };
COMMAND(box) = { .synopsis = "TESTBOX", .flags = CMD_CONTAINER };
COMMAND(box_two) = { .synopsis = "TESTBOX TWO key", .keys = KEY_RO, .run = stub };
COMMAND(box_one) = { .synopsis = "TESTBOX ONE", .run = stub };
COMMAND(alone) = { .synopsis = "TESTALONE", .flags = CMD_CONTAINER, .run = stub };
COMMAND(alone_sub) = { .synopsis = "TESTALONE SUB [a]", .run = stub };

static struct command_info *find(const struct commands *commands, const char *name) {
    return commands_find(commands, bytes_of(name));
}

static void assert_name(const struct command_info *info, const char *name) {
    assert_non_null(info);
    if (!bytes_equal(info->name, bytes_of(name)))
        fail_msg("'%.*s' is not '%s'", (int)info->name.len, info->name.data, name);
}

TEST(a_command_is_found_in_any_case) {
    struct commands *commands = commands_new();
    assert_name(find(commands, "testone"), "testone");
    assert_name(find(commands, "TESTONE"), "testone");
    assert_name(find(commands, "tEsToNe"), "testone");
    assert_name(find(commands, "testpairs"), "testpairs");
    assert_name(find(commands, "testpairx"), "testpairx");
    assert_name(find(commands, "test-it"), "test-it");
    assert_name(find(commands, "q_z"), "q_z");
    assert_null(commands_free(commands));
}

TEST(what_only_hashes_alike_is_not_found) {
    struct commands *commands = commands_new();
    assert_null(find(commands, ""));
    assert_null(find(commands, "t"));
    assert_null(find(commands, "testonf"));
    assert_null(find(commands, "test\rit")); /* as test-it with 0x20 cleared */
    assert_null(find(commands, "q\x7fz"));
    assert_null(find(commands, "testpairy"));
    assert_null(find(commands, "testbox|one"));
    commands_free(commands);
}

TEST(every_command_is_found_by_its_name_and_has_its_place_as_id) {
    struct commands *commands = commands_new();
    assert_true(commands_count(commands) >= 10);
    for (size_t i = 0; i < commands_count(commands); i++) {
        struct command_info *info = commands_at(commands, i);
        assert_int_equal(info->id, i);
        if (!info->parent) assert_ptr_equal(commands_find(commands, info->name), info);
        assert_true(info->command->run || info->flags & CMD_CONTAINER);
    }
    commands_free(commands);
}

TEST(a_subcommand_is_found_in_its_container) {
    struct commands *commands = commands_new();
    struct command_info *container;
    struct bytes args[] = { BYTES("TestBox"), BYTES("Two"), BYTES("k") };
    assert_name(commands_resolve(commands, args, 3, &container), "testbox|two");
    assert_name(container, "testbox");
    assert_int_equal(container->children_count, 2);
    assert_name(container->children[0], "testbox|one");
    assert_ptr_equal(container->children[0]->parent, container);
    assert_int_equal(container->arity, -2);

    args[1] = BYTES("three");
    assert_null(commands_resolve(commands, args, 2, &container));
    assert_name(container, "testbox");

    assert_name(commands_resolve(commands, args, 1, &container), "testbox");
    assert_null(container);
    args[0] = BYTES("nosuch");
    assert_null(commands_resolve(commands, args, 2, &container));
    assert_null(container);
    commands_free(commands);
}

TEST(a_container_that_runs_is_a_command_too) {
    struct commands *commands = commands_new();
    struct command_info *info = find(commands, "testalone");
    assert_int_equal(info->arity, -1);
    assert_false(info->flags & CMD_CONTAINER);
    assert_int_equal(info->children_count, 1);
    commands_free(commands);
}

TEST(an_odd_tail_does_not_fit) {
    struct commands *commands = commands_new();
    const struct command_info *pairs = find(commands, "testpairs");
    assert_false(command_arity_fits(pairs, 3));
    assert_true(command_arity_fits(pairs, 4));
    assert_false(command_arity_fits(pairs, 5));
    assert_true(command_arity_fits(pairs, 6));
    assert_true(command_arity_fits(find(commands, "testone"), 2));
    assert_false(command_arity_fits(find(commands, "testone"), 3));
    commands_free(commands);
}

/* ---- keys ---- */

static size_t split(char *line, struct bytes *args, size_t max) {
    size_t count = 0;
    char *save = NULL;
    for (char *word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        if (count == max) fail_msg("too many words");
        args[count++] = strcmp(word, "\"\"") == 0 ? BYTES("") : bytes_of(word);
    }
    return count;
}

/* The keys of `call`, with spaces between; "!" when the words do not fit. */
static void keys_of(const char *synopsis, int words, unsigned two, const char *call, char *out,
                    size_t size) {
    struct command command = { .synopsis = synopsis, .keys = KEY_RO, .keys_two = two, .run = stub };
    struct command_info info;
    const char *wrong = command_info_init(&info, &command, words);
    if (wrong) fail_msg("%s: %s", synopsis, wrong);

    char line[512];
    snprintf(line, sizeof line, "%s", call);
    struct bytes args[64];
    size_t count = split(line, args, COUNT_OF(args));
    static struct arena arena;
    arena_init(&arena);
    struct key_positions keys, again;
    unsigned *access;
    snprintf(out, size, "!");
    bool fits = command_keys(NULL, &info, args, count, &arena, &keys);
    if (fits) {
        *out = '\0';
        for (uint32_t i = 0; i < keys.count; i++)
            snprintf(out + strlen(out), size - strlen(out), "%s%.*s", i ? " " : "",
                     (int)args[keys.at[i]].len, args[keys.at[i]].data);
        for (uint32_t i = 1; i < keys.count; i++) assert_true(keys.at[i - 1] < keys.at[i]);
    }
    assert_int_equal(command_keys_access(NULL, &info, args, count, &arena, &again, &access), fits);
    for (uint32_t i = 0; fits && i < keys.count; i++) {
        assert_int_equal(again.at[i], keys.at[i]);
        assert_true(access[i] == KEY_RO || (two && access[i] == two));
    }
    arena_deinit(&arena);
    command_info_deinit(&info);
}

#define SORT                                                                                \
    "SORT key [BY pattern:pattern] [LIMIT offset:int count:int] [GET pattern:pattern [GET " \
    "pattern:pattern ...]] [ASC | DESC] [ALPHA] [STORE destination:key]"
#define MIGRATE                                                                                 \
    "MIGRATE host port:int <key | \"\"> destination-db:int timeout:int [COPY] [REPLACE] [AUTH " \
    "password | AUTH2 username password] [KEYS key [key ...]]"
#define GEORADIUS                                                                      \
    "GEORADIUS key longitude:double latitude:double radius:double <M | KM | FT | MI> " \
    "[WITHCOORD] [COUNT count:int [ANY]] [ASC | DESC] [STORE key | STOREDIST key]"
#define XREAD "XREAD [COUNT count:int] [BLOCK milliseconds:int] STREAMS key [key ...] id [id ...]"
#define XREADGROUP                                                                                \
    "XREADGROUP GROUP group consumer [COUNT count:int] [BLOCK milliseconds:int] [NOACK] STREAMS " \
    "key [key ...] id [id ...]"
#define ZUNIONSTORE                                                                 \
    "ZUNIONSTORE destination:key numkeys:int key [key ...] [WEIGHTS weight:double " \
    "[weight:double ...]] [AGGREGATE <SUM | MIN | MAX>]"
#define EVAL "EVAL script numkeys:int [key [key ...]] [arg [arg ...]]"

/* What redis-server 7.0.15 answers to COMMAND GETKEYS (an error: "!" or nothing), but where noted. */
TEST(keys_are_those_that_redis_names) {
    static const struct {
        const char *synopsis, *call, *keys;
    } cases[] = {
        { "SET key value [NX | XX] [GET]", "SET a b GET", "a" },
        { "MGET key [key ...]", "MGET a b c d e f g h i j", "a b c d e f g h i j" },
        { "MSET key value [key value ...]", "MSET a 1 b 2", "a b" },
        { "MSET key value [key value ...]", "MSET a 1 b", "a b" },
        { "DEL key [key ...]", "DEL a a a", "a a a" },
        { "BLPOP key [key ...] timeout:double", "BLPOP a b 0", "a b" },
        { "BITOP operation destkey:key key [key ...]", "BITOP AND d a b", "d a b" },
        { "RENAME key newkey:key", "RENAME a b", "a b" },
        { "PFMERGE destkey:key [sourcekey:key [sourcekey:key ...]]", "PFMERGE d", "d" },
        { "PFMERGE destkey:key [sourcekey:key ...]", "PFMERGE d a b", "d a b" },
        { "PING [message]", "PING a", "" },
        { EVAL, "EVAL s 0", "" },
        { EVAL, "EVAL s 0 a b", "" },
        { EVAL, "EVAL s 2 a b c", "a b" },
        { EVAL, "EVAL s 3 a b", "!" },
        { EVAL, "EVAL s -1 a", "!" },
        { EVAL, "EVAL s x a", "!" },
        { EVAL, "EVAL s 9223372036854775807 a", "!" },
        { EVAL, "EVAL s 99999999999999999999 a", "!" },
        { ZUNIONSTORE, "ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b" },
        { ZUNIONSTORE, "ZUNIONSTORE d 1 d", "d d" },
        { ZUNIONSTORE, "ZUNIONSTORE d 3 a b", "!" },
        { "ZUNION numkeys:int key [key ...] [WITHSCORES]", "ZUNION 2 a b WITHSCORES", "a b" },
        { "LMPOP numkeys:int key [key ...] <LEFT | RIGHT>", "LMPOP 2 a b LEFT", "a b" },
        { "BLMPOP timeout:double numkeys:int key [key ...] <LEFT | RIGHT>", "BLMPOP 0 2 a b LEFT",
          "a b" },
        { XREAD, "XREAD STREAMS a b 0 0", "a b" },
        { XREAD, "XREAD STREAMS a b 0", "a" },
        { XREAD, "XREAD COUNT 2 BLOCK 0 STREAMS a 0", "a" },
        { XREAD, "XREAD COUNT streams STREAMS a b 1 2", "a b" }, /* Redis: streams a */
        { XREAD, "XREAD COUNT 1 a b", "" },
        { XREADGROUP, "XREADGROUP GROUP g c STREAMS a b > >", "a b" },
        { XREADGROUP, "xreadgroup group streams c streams a b > >", "a b" },
        { XREADGROUP, "XREADGROUP GROUP g STREAMS NOACK STREAMS STREAMS >", "STREAMS" },
        { SORT, "SORT a", "a" },
        { SORT, "SORT a BY store STORE c", "a c" },
        { SORT, "SORT a BY x LIMIT store b GET store store c", "a c" },
        { SORT, "SORT a STORE c DESC", "a c" },
        { SORT, "SORT a STORE b STORE c", "a b c" }, /* Redis: a c */
        { SORT, "SORT a STORE", "a" },
        { GEORADIUS, "GEORADIUS k 1 2 3 m STORE a STOREDIST b", "k a b" },
        { GEORADIUS, "GEORADIUS k 1 2 3 m COUNT store STORE b", "k b" }, /* Redis: k store */
        { GEORADIUS, "GEORADIUS k 1 2 3 m COUNT 1 ANY WITHCOORD storedist b", "k b" },
        { MIGRATE, "MIGRATE h 1 a 0 1", "a" },
        { MIGRATE, "MIGRATE h 1 \"\" 0 1 KEYS a b", "a b" },
        { MIGRATE, "MIGRATE h 1 \"\" 0 1 AUTH keys COPY KEYS a b", "a b" },
        { MIGRATE, "MIGRATE h 1 \"\" 0 1 AUTH2 keys keys KEYS a b", "a b" },
        { MIGRATE, "MIGRATE h 1 \"\" 0 1 KEYS keys auth", "keys auth" },
        { "LCS key1:key key2:key [LEN]", "LCS a b LEN", "a b" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char keys[256];
        keys_of(cases[i].synopsis, 1, KEY_OW, cases[i].call, keys, sizeof keys);
        if (strcmp(keys, cases[i].keys) != 0)
            fail_msg("%s: '%s' is not '%s'", cases[i].call, keys, cases[i].keys);
    }
}

TEST(a_subcommands_key_is_counted_from_the_containers_word) {
    char keys[64];
    keys_of("MEMORY USAGE key [SAMPLES count:int]", 2, 0, "MEMORY USAGE a SAMPLES 5", keys,
            sizeof keys);
    assert_string_equal(keys, "a");
}

TEST(only_a_command_with_one_key_in_front_takes_the_fast_path) {
    static const struct {
        const char *synopsis;
        unsigned keys;
        bool one;
    } cases[] = {
        { "GET key", KEY_RO, true },
        { "SET key value [NX]", KEY_RW, true },
        { "DEL key [key ...]", KEY_RM, false },
        { "RENAME key newkey:key", KEY_RW, false },
        { "ZUNION numkeys:int key [key ...]", KEY_RO, false },
        { "SPUBLISH shardchannel:key message", KEY_NOT_KEY, false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct command command = { .synopsis = cases[i].synopsis,
                                   .keys = cases[i].keys,
                                   .run = stub };
        struct command_info info;
        assert_null(command_info_init(&info, &command, 1));
        assert_int_equal(info.one_key, cases[i].one);
        assert_int_equal(command_has_keys(&info), cases[i].keys != KEY_NOT_KEY);
        command_info_deinit(&info);
    }
}

TEST(keys_that_the_command_does_not_speak_of_are_refused) {
    struct command command = { .synopsis = "GET key", .run = stub };
    struct command_info info;
    assert_non_null(command_info_init(&info, &command, 1));
}
