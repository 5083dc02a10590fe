/* glob_test.c: a table of what Redis answers (taken from redis-server 7.0.15), and a twin.
 *
 * The twin takes another road: it first turns the pattern into a list of sets of bytes, then fills
 * the textbook table of (elements used, bytes used). It shares no line with glob.c. */
#include "base/attributes.h"
#include "base/glob.h"
#include "testing/testing.h"

#include <ctype.h>
#include <stdlib.h>
#include <time.h>

static bool matches(const char *pattern, const char *text) {
    return glob_match(bytes_of(pattern), bytes_of(text), false);
}

static bool matches_nocase(const char *pattern, const char *text) {
    return glob_match(bytes_of(pattern), bytes_of(text), true);
}

TEST(well_formed_patterns_mean_what_they_say) {
    static const struct {
        const char *pattern;
        const char *text;
        bool match;
    } cases[] = {
        { "hello", "hello", true },
        { "hello", "hell", false },
        { "hell", "hello", false },
        { "h?llo", "hallo", true },
        { "h?llo", "hllo", false },
        { "h*llo", "hllo", true },
        { "h*llo", "heeeello", true },
        { "h[ae]llo", "hello", true },
        { "h[ae]llo", "hillo", false },
        { "h[^e]llo", "hallo", true },
        { "h[^e]llo", "hello", false },
        { "h[a-c]llo", "hbllo", true },
        { "h[a-c]llo", "hdllo", false },
        { "h\\*llo", "h*llo", true },
        { "h\\*llo", "hello", false },
        { "[\\]]", "]", true },
        { "[a\\-z]", "-", true },
        { "[a\\-z]", "b", false },
        { "a**", "a", true },
        { "*a*b*", "xxaxxbxx", true },
        { "*a*b*", "xxbxxaxx", false },
        { "*ab", "aab", true },
        { "user:*:name", "user:17:x:name", true },
        { "user:*:name", "user:17:nam", false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (matches(cases[i].pattern, cases[i].text) != cases[i].match)
            fail_msg("'%s' on '%s'", cases[i].pattern, cases[i].text);
    }
}

TEST(malformed_patterns_mean_what_redis_makes_of_them) {
    static const struct {
        const char *pattern;
        const char *text;
        bool match;
    } cases[] = {
        { "k[a", "ka", true },   { "k[a", "kb", false },
        { "k[", "k", false },    { "k[", "k[", false },
        { "k[^", "kx", true },   { "[]", "x", false },
        { "[]", "[]", false },   { "[]a]", "a]", false },
        { "[^]", "x", true },    { "[^]a]", "xa]", true },
        { "[c-a]", "b", true },  { "[a-]", "b", false },
        { "[a-]", "a", true },   { "[a-]", "]", true }, /* the range a..] */
        { "[a-", "-", true },    { "[a-", "a", true },
        { "a\\", "a\\", true },  { "a\\", "a", false },
        { "[\\", "\\", true },   { "[a\\", "\\", true },
        { "[^\\", "\\", false }, { "[]-a]", "^", false },
        { "]", "]", true },      { "[-]", "-", true },
        { "[--a]", "A", true },  { "**", "x", true },
        { "", "x", false },      { "", "", true },
        { "*", "", false }, /* KEYS * is answered without asking us */
        { "**", "", false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (matches(cases[i].pattern, cases[i].text) != cases[i].match)
            fail_msg("'%s' on '%s'", cases[i].pattern, cases[i].text);
    }
}

TEST(case_is_forgotten_but_not_behind_a_backslash_in_a_class) {
    assert_true(matches_nocase("MAX*", "maxmemory"));
    assert_true(matches_nocase("[L-N]ax", "max"));
    assert_true(matches_nocase("[n-L]ax", "max"));
    assert_false(matches_nocase("[N-l]ax", "max"));
    assert_false(matches_nocase("[\\M]ax", "max"));
    assert_true(matches_nocase("\\Max", "max"));
    assert_false(matches_nocase("[^M]ax", "max"));
    assert_false(matches("MAX*", "maxmemory"));
}

TEST(bytes_are_compared_signed_and_nul_is_a_byte) {
    assert_true(matches("[\xe0-\xff]", "\xe9"));
    assert_false(matches("[\x01-\xff]", "a")); /* -1 .. 1 */
    assert_true(glob_match(BYTES("a\0*"), BYTES("a\0b"), false));
    assert_false(glob_match(BYTES("a\0b"), BYTES("a\0c"), false));
    assert_true(glob_match(BYTES("[\0]"), BYTES("\0"), false));
}

TEST(fifty_stars_end_in_bounded_time) {
    char pattern[101];
    for (size_t i = 0; i < 100; i++) pattern[i] = "a*"[i % 2];
    pattern[100] = 'b';
    enum { TEXT_LEN = 10 * 1000 };
    char *text = malloc(TEXT_LEN);
    assert_non_null(text);
    memset(text, 'a', TEXT_LEN);

    clock_t start = clock();
    for (int i = 0; i < 10; i++) {
        assert_false(glob_match((struct bytes){ pattern, sizeof pattern },
                                (struct bytes){ text, TEXT_LEN }, false));
    }
    /* Ten times pattern × text is 10^7 steps; one that went back to each star would take 10^100. */
    assert_true(clock() - start < 5 * CLOCKS_PER_SEC);
    free(text);
}

enum { TWIN_MAX = 16 };

struct element {
    bool star;
    bool takes[256];
};

static void element_add(struct element *e, char member, bool nocase) {
    for (int c = 0; c < 256; c++) {
        bool alike = nocase && tolower(c) == tolower((unsigned char)member);
        if (c == (unsigned char)member || alike) e->takes[c] = true;
    }
}

static void element_add_range(struct element *e, char a, char b, bool nocase) {
    int low = a < b ? a : b;
    int high = a < b ? b : a;
    for (int c = 0; c < 128; c++) { /* the alphabets here are ASCII */
        bool inside = nocase ? tolower(low) <= tolower(c) && tolower(c) <= tolower(high)
                             : low <= c && c <= high;
        if (inside) e->takes[c] = true;
    }
}

static const char *parse_class(const char *p, const char *end, struct element *e, bool nocase) {
    bool negated = p < end && *p == '^';
    p += negated;
    while (p < end && *p != ']') {
        if (*p == '\\' && p + 1 < end) {
            e->takes[(unsigned char)p[1]] = true;
            p += 2;
        } else if (p + 2 < end && p[1] == '-') {
            element_add_range(e, p[0], p[2], nocase);
            p += 3;
        } else {
            element_add(e, *p++, nocase);
        }
    }
    for (int c = 0; negated && c < 256; c++) e->takes[c] = !e->takes[c];
    return p < end ? p + 1 : p;
}

static size_t parse(const char *p, size_t len, struct element *out, bool nocase) {
    size_t count = 0;
    for (const char *end = p + len; p < end; count++) {
        struct element *e = &out[count];
        *e = (struct element){ .star = *p == '*' };
        if (*p == '[') {
            p = parse_class(p + 1, end, e, nocase);
            continue;
        }
        if (*p == '?')
            memset(e->takes, true, sizeof e->takes);
        else if (*p == '\\' && p + 1 < end)
            element_add(e, *++p, nocase);
        else if (*p != '*')
            element_add(e, *p, nocase);
        p++;
    }
    return count;
}

static bool twin(const char *pattern, size_t len, const char *text, size_t text_len, bool nocase) {
    if (text_len == 0) return len == 0;
    static struct element elements[TWIN_MAX];
    size_t count = parse(pattern, len, elements, nocase);

    bool reached[TWIN_MAX + 1][TWIN_MAX + 1] = { { true } };
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j <= text_len; j++) {
            if (elements[i].star)
                reached[i + 1][j] = reached[i][j] || (j && reached[i + 1][j - 1]);
            else
                reached[i + 1][j] =
                    j && reached[i][j - 1] && elements[i].takes[(unsigned char)text[j - 1]];
        }
    }
    return reached[count][text_len];
}

static uint64_t random_state;

static size_t random_below(size_t n) { /* splitmix64 */
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (size_t)((z ^ z >> 31) % n);
}

static size_t random_text(char *out, size_t len_max, const char *alphabet) {
    size_t len = random_below(len_max + 1);
    for (size_t i = 0; i < len; i++) out[i] = alphabet[random_below(strlen(alphabet))];
    return len;
}

TEST(random_patterns_agree_with_the_twin) {
    random_state = (uint64_t)time(NULL);
    print_message("# seed %llu\n", (unsigned long long)random_state);
    size_t matched = 0;
    for (int i = 0; i < 200 * 1000; i++) {
        bool nocase = random_below(4) == 0;
        char pattern[9];
        char text[7];
        size_t len = random_text(pattern, sizeof pattern, nocase ? "aBb*?[]^-\\" : "ab*?[]^-\\");
        size_t text_len = random_text(text, sizeof text, nocase ? "aAb]-" : "ab]-^\\");
        bool want = twin(pattern, len, text, text_len, nocase);
        matched += want;
        if (glob_match((struct bytes){ pattern, len }, (struct bytes){ text, text_len }, nocase) !=
            want)
            fail_msg("'%.*s' on '%.*s' nocase %d", (int)len, pattern, (int)text_len, text, nocase);
    }
    assert_true(matched > 1000);
}
