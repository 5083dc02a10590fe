#include "command/synopsis.h"

#include "testing/testing.h"

static struct synopsis parsed;

static const struct synopsis *parse(const char *line, int words) {
    const char *wrong = synopsis_parse(&parsed, line, words);
    if (wrong) fail_msg("%s: %s", line, wrong);
    return &parsed;
}

static void assert_wrong(const char *line) {
    if (!synopsis_parse(&parsed, line, 1)) fail_msg("taken: %s", line);
}

static void assert_bytes(struct bytes bytes, const char *text) {
    if (!bytes_equal(bytes, bytes_of(text)))
        fail_msg("'%.*s' is not '%s'", (int)bytes.len, bytes.data, text);
}

TEST(arity_is_exact_when_all_is_fixed_and_a_minimum_otherwise) {
    static const struct {
        const char *line;
        int words, arity;
    } cases[] = {
        { "PING [message]", 1, -1 },
        { "GET key", 1, 2 },
        { "TIME", 1, 1 },
        { "CLIENT ID", 2, 2 },
        { "CLIENT NO-EVICT <ON | OFF>", 2, 3 },
        { "AUTH [username] password", 1, -2 },
        { "BLPOP key [key ...] timeout:double", 1, -3 },
        { "SET key value [NX | XX] [EX seconds:int | KEEPTTL]", 1, -3 },
        { "X <a b | c d>", 1, 3 },
        { "X <a b | c>", 1, -2 },
        { "EVAL script numkeys:int [key [key ...]] [arg [arg ...]]", 1, -3 },
        { "BITFIELD key [GET encoding offset:int | SET encoding offset:int value:int ...]", 1, -2 },
        { "XREADGROUP GROUP group consumer [COUNT count:int] STREAMS key [key ...] id [id ...]", 1,
          -7 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(parse(cases[i].line, cases[i].words)->arity, cases[i].arity);
}

TEST(a_subcommand_is_named_by_two_words) {
    assert_bytes(parse("CLIENT ID", 2)->name, "CLIENT ID");
    assert_bytes(parse("GET key", 1)->name, "GET");
}

TEST(a_group_that_repeats_gives_a_rule_of_parity_when_all_else_is_fixed) {
    const struct synopsis *s = parse("HSET key field value [field value ...]", 1);
    assert_int_equal(s->parity_from, 4);
    assert_int_equal(s->parity_step, 2);
    s = parse("CONFIG SET parameter value [parameter value ...]", 2);
    assert_int_equal(s->parity_from, 4);
    assert_int_equal(s->parity_step, 2);
    s = parse("GEOADD key [NX | XX] [CH] longitude:double latitude:double member "
              "[longitude:double latitude:double member ...]",
              1);
    assert_int_equal(s->parity_step, 0);
    assert_int_equal(parse("DEL key [key ...]", 1)->parity_step, 0);
    assert_int_equal(parse("XREAD STREAMS key [key ...] id [id ...]", 1)->parity_step, 0);
}

TEST(a_repeat_covers_the_items_it_says_again_or_stands_for_itself) {
    const struct synopsis *s = parse("MSET key value [key value ...]", 1);
    assert_int_equal(s->nodes[3].kind, SYNOPSIS_REPEAT);
    assert_int_equal(s->nodes[3].span, 2);
    s = parse("X a [b ...]", 1);
    assert_int_equal(s->nodes[2].kind, SYNOPSIS_REPEAT);
    assert_int_equal(s->nodes[2].span, 0);
    s = parse("X <A | B> [<A | B> ...]", 1);
    const struct synopsis_node *repeat = &s->nodes[s->nodes[s->nodes[0].child].next];
    assert_int_equal(repeat->kind, SYNOPSIS_REPEAT);
    assert_int_equal(repeat->span, 1);
}

TEST(keys_stand_where_the_synopsis_says) {
    static const struct {
        const char *line;
        int begin, last, step, limit;
    } cases[] = {
        { "GET key", 1, 0, 1, 0 },
        { "MGET key [key ...]", 1, -1, 1, 0 },
        { "MSET key value [key value ...]", 1, -1, 2, 0 },
        { "BLPOP key [key ...] timeout:double", 1, -2, 1, 0 },
        { "PFMERGED [key ...]", 1, -1, 1, 0 },
        { "BLPOPPED [key [key ...]] timeout:double", 1, -2, 1, 0 },
        { "X a b key", 3, 0, 1, 0 },
        { "X key [key ...] id [id ...]", 1, -1, 1, 2 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct synopsis *s = parse(cases[i].line, 1);
        assert_int_equal(s->keys_count, 1);
        assert_int_equal(s->keys[0].begin_index, cases[i].begin);
        assert_int_equal(s->keys[0].last, cases[i].last);
        assert_int_equal(s->keys[0].step, cases[i].step);
        assert_int_equal(s->keys[0].limit, cases[i].limit);
        assert_false(s->keys[0].counted);
    }
}

TEST(a_key_behind_an_option_is_found_by_its_keyword) {
    const struct synopsis *s = parse(
        "XREADGROUP GROUP group consumer [COUNT count:int] STREAMS key [key ...] id [id ...]", 1);
    assert_int_equal(s->keys_count, 1);
    assert_bytes(s->keys[0].keyword, "STREAMS");
    assert_int_equal(s->keys[0].start_from, 4);
    assert_int_equal(s->keys[0].limit, 2);

    s = parse("GEORADIUS key longitude:double latitude:double radius:double unit "
              "[STORE key | STOREDIST key] [ASC | DESC]",
              1);
    assert_int_equal(s->keys_count, 3);
    assert_int_equal(s->keys[0].begin_index, 1);
    assert_bytes(s->keys[1].keyword, "STORE");
    assert_bytes(s->keys[2].keyword, "STOREDIST");
    assert_int_equal(s->keys[2].start_from, 6);
    assert_int_equal(s->keys[2].last, 0);
}

TEST(a_count_of_keys_begins_them) {
    const struct synopsis *s = parse(
        "ZUNIONSTORE destination:key numkeys:int key [key ...] [WEIGHTS weight [weight ...]]", 1);
    assert_int_equal(s->keys_count, 2);
    assert_int_equal(s->keys[0].begin_index, 1);
    assert_int_equal(s->keys[1].begin_index, 2);
    assert_true(s->keys[1].counted);
}

TEST(an_empty_word_may_stand_for_no_key) {
    const struct synopsis *s =
        parse("MIGRATE host port:int <key | \"\"> db:int [KEYS key [key ...]]", 1);
    assert_int_equal(s->keys_count, 2);
    assert_int_equal(s->keys[0].begin_index, 3);
    assert_true(s->keys[0].or_empty);
    assert_bytes(s->keys[1].keyword, "KEYS");
    assert_int_equal(s->keys[1].last, -1);
    assert_false(s->keys[1].or_empty);
}

TEST(an_option_says_how_many_words_it_takes) {
    struct bytes token;
    const struct synopsis *s = parse("SORT key [BY pattern:pattern] [LIMIT offset:int count:int] "
                                     "[ASC | DESC] [STORE destination:key]",
                                     1);
    assert_int_equal(synopsis_option(s, BYTES("limit"), &token), 3);
    assert_bytes(token, "LIMIT");
    assert_int_equal(synopsis_option(s, BYTES("DESC"), &token), 1);
    assert_bytes(token, "DESC");
    assert_int_equal(synopsis_option(s, BYTES("other"), &token), 1);
    assert_int_equal(token.len, 0);
}

TEST(lines_that_say_nothing_sensible_are_refused) {
    assert_wrong("");
    assert_wrong(" GET key");
    assert_wrong("X [a");
    assert_wrong("X <a");
    assert_wrong("X a]");
    assert_wrong("X a >");
    assert_wrong("X []");
    assert_wrong("X <a | >");
    assert_wrong("X a | | b");
    assert_wrong("X a ... b");
    assert_wrong("X [key...]");
    assert_wrong("X key:number");
    assert_wrong("X aBc");
    assert_wrong("X [NX] key");
    assert_wrong("X key [a] [key [a] ...]");
    assert_wrong("X [[[[[[[[[[[[a]]]]]]]]]]]]");
    if (!synopsis_parse(&parsed, "CLIENT", 2)) fail_msg("a container alone was taken");
}

TEST(too_many_parts_are_refused) {
    char line[2048] = "X";
    for (size_t i = 0; i <= SYNOPSIS_NODES_MAX; i++)
        strncat(line, " A", sizeof line - strlen(line) - 1);
    assert_wrong(line);
}

TEST(a_copy_holds_what_the_original_does) {
    const struct synopsis *s = parse("MSET key value [key value ...]", 1);
    struct synopsis *copy = synopsis_copy(s);
    assert_int_equal(copy->arity, s->arity);
    assert_int_equal(copy->keys_count, 1);
    assert_bytes(copy->nodes[1].text, "key");
    assert_null(synopsis_free(copy));
    assert_null(synopsis_free(NULL));
}
