/* number_test.c: what Redis accepts and writes (cases taken from redis-server 7.0.15), and that
 * what is written reads back. Random tests print their seed. */
#include "base/number.h"
#include "testing/testing.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

static uint64_t random_state;

static uint64_t random_next(void) { /* splitmix64 */
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void random_seed(void) {
    random_state = (uint64_t)time(NULL);
    print_message("# seed %" PRIu64 "\n", random_state);
}

TEST(an_integer_has_one_text) {
    static const char *const good[] = { "0",
                                        "1",
                                        "-1",
                                        "10",
                                        "12345678",
                                        "123456789",
                                        "-12345678",
                                        "1234567890123456",
                                        "9223372036854775807",
                                        "-9223372036854775808" };
    static const char *const bad[] = { "",
                                       "-",
                                       "+1",
                                       "-0",
                                       "00",
                                       "01",
                                       "-01",
                                       " 1",
                                       "1 ",
                                       "1a",
                                       "a",
                                       "1.0",
                                       "0x1",
                                       "--1",
                                       "9223372036854775808",
                                       "-9223372036854775809",
                                       "10000000000000000000",
                                       "18446744073709551616",
                                       "99999999999999999999999",
                                       "1234567:",
                                       "1234567/",
                                       "12345678/0",
                                       "1234567\xb8" };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        int64_t n;
        if (!int_parse(bytes_of(good[i]), &n)) fail_msg("refused %s", good[i]);
        assert_true(n == strtoll(good[i], NULL, 10));
        char out[INT_TEXT_MAX];
        size_t len = int_format(out, n);
        assert_true(bytes_equal((struct bytes){ out, len }, bytes_of(good[i])));
        assert_int_equal(int_text_len(n), len);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t n = 42;
        if (int_parse(bytes_of(bad[i]), &n)) fail_msg("took %s", bad[i]);
        assert_int_equal(n, 42);
    }
    assert_false(int_parse(BYTES("1\0"), &(int64_t){ 0 }));
}

TEST(random_integers_are_written_as_printf_does_and_read_back) {
    random_seed();
    for (int i = 0; i < 300 * 1000; i++) {
        uint64_t u = random_next() >> random_next() % 64;
        if (i < 64) u = (UINT64_C(1) << i) - 1;
        int64_t n = (int64_t)(i % 2 ? u : 0 - u);
        char want[32];
        char out[INT_TEXT_MAX];
        size_t want_len = (size_t)snprintf(want, sizeof want, "%" PRId64, n);
        size_t len = int_format(out, n);
        assert_true(len == want_len && memcmp(out, want, len) == 0);
        assert_int_equal(int_text_len(n), len);
        int64_t back;
        assert_true(int_parse((struct bytes){ out, len }, &back));
        assert_true(back == n);

        want_len = (size_t)snprintf(want, sizeof want, "%" PRIu64, u);
        len = uint_format(out, u);
        assert_true(len == want_len && memcmp(out, want, len) == 0);
    }
}

TEST(powers_of_ten_and_their_neighbours_have_the_right_length) {
    uint64_t power = 1;
    for (unsigned digits = 1; digits <= 19; digits++, power *= 10) {
        char out[INT_TEXT_MAX];
        assert_int_equal(uint_format(out, power), digits);
        assert_int_equal(uint_format(out, power - 1), digits == 1 ? 1 : digits - 1);
    }
}

/* string2ll's peer in libc, made strict: every byte string it would take, and no other. */
static bool strict_strtoll(const char *text, size_t len, int64_t *out) {
    char copy[32] = { 0 };
    memcpy(copy, text, len);
    char *end;
    errno = 0;
    *out = strtoll(copy, &end, 10);
    if (errno || end == copy || end != copy + len) return false;
    char again[32];
    snprintf(again, sizeof again, "%" PRId64, *out);
    return strlen(again) == len && memcmp(again, copy, len) == 0;
}

TEST(random_texts_are_taken_only_if_canonical) {
    random_seed();
    static const char alphabet[] = "0123456789012345678901234567890123456789-+ a:/";
    for (int i = 0; i < 500 * 1000; i++) {
        char text[23];
        size_t len = random_next() % sizeof text;
        size_t range = random_next() % 4 ? 40 : sizeof alphabet - 1;
        for (size_t j = 0; j < len; j++) text[j] = alphabet[random_next() % range];
        if (len && random_next() % 4 == 0) text[0] = '-';
        int64_t want;
        int64_t n;
        bool taken = int_parse((struct bytes){ text, len }, &n);
        assert_true(taken == strict_strtoll(text, len, &want));
        if (taken) assert_true(n == want);
    }
}

TEST(doubles_are_taken_as_redis_takes_them) {
    static const struct {
        const char *text;
        double value;
    } good[] = { { "1", 1 },
                 { "+1", 1 },
                 { "-0", 0 },
                 { ".5", 0.5 },
                 { "5.", 5 },
                 { "1e5", 1e5 },
                 { "inf", HUGE_VAL },
                 { "-INF", -HUGE_VAL },
                 { "infinity", HUGE_VAL },
                 { "0x10", 16 },
                 { "0x1p4", 16 },
                 { "1e-310", 1e-310 },
                 { "4.9e-324", 0x1p-1074 },
                 { "3.14", 3.14 },
                 { "1e308", 1e308 },
                 { "123456789012345.6", 123456789012345.6 },
                 { "000000000000000000000000000001.5", 1.5 } };
    static const char *const bad[] = { "",       " 1", "1 ",    "\v1",    "\n1",    "nan", "-nan",
                                       "nan(1)", "1e", "1e400", "-1e400", "1e-400", "--1", ".",
                                       "-",      "+",  "-.",    "1_0",    "1.2.3",  "abc", "1,5" };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        double n;
        if (!double_parse(bytes_of(good[i].text), &n)) fail_msg("refused %s", good[i].text);
        assert_true(n == good[i].value);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        double n = 42;
        if (double_parse(bytes_of(bad[i]), &n)) fail_msg("took '%s'", bad[i]);
        assert_true(n == 42);
    }
    double n;
    assert_false(double_parse(BYTES("1\0"), &n));
    assert_true(double_parse(BYTES("-0"), &n));
    assert_true(signbit(n));
}

TEST(a_double_text_may_be_long) {
    enum { LEN = 200 * 1000 };
    char *text = malloc(LEN);
    assert_non_null(text);
    memset(text, '0', LEN);
    text[LEN - 1] = '7';
    double n;
    assert_true(double_parse((struct bytes){ text, LEN }, &n));
    assert_true(n == 7);
    free(text);
}

static void assert_double_text(double n, const char *want) {
    char out[40];
    size_t len = double_format(out, n);
    if (!bytes_equal((struct bytes){ out, len }, bytes_of(want)))
        fail_msg("%.17g is '%.*s', not '%s'", n, (int)len, out, want);
}

TEST(a_double_is_written_in_its_shortest_form) {
    assert_double_text(0, "0");
    assert_double_text(-0.0, "-0");
    assert_double_text(1, "1");
    assert_double_text(-42, "-42");
    assert_double_text(0.1, "0.1");
    assert_double_text(-0.1, "-0.1");
    assert_double_text(3.14, "3.14");
    assert_double_text(0.1 + 0.2, "0.30000000000000004");
    assert_double_text(1.05, "1.05");
    assert_double_text(100.25, "100.25");
    assert_double_text(1700000000.123456, "1700000000.123456");
    assert_double_text(0.0001, "0.0001");
    assert_double_text(0.00012345678901234567, "0.00012345678901234567");
    assert_double_text(0.00001, "1e-05");
    assert_double_text(1.5e-7, "1.5e-07");
    assert_double_text(1e100, "1e+100");
    assert_double_text(-1.25e100, "-1.25e+100");
    assert_double_text(9007199254740992.0, "9007199254740992");
    assert_double_text(1e16, "10000000000000000");
    assert_double_text(1e17, "1e+17");
    assert_double_text(123456789012345680.0, "1.2345678901234568e+17");
    assert_double_text(1.7976931348623157e308, "1.7976931348623157e+308");
    assert_double_text(2.2250738585072014e-308, "2.2250738585072014e-308");
    assert_double_text(0x1p-1074, "5e-324");
    assert_double_text(1e-310, "1e-310");
    assert_double_text(577045151699344.25, "577045151699344.2"); /* a true half: to even */
    assert_double_text(810839.24788949825, "810839.2478894982"); /* a half by rounding only */
    assert_double_text(9.5367431640625e-07, "9.5367431640625e-07");
    assert_double_text(HUGE_VAL, "inf");
    assert_double_text(-HUGE_VAL, "-inf");
    assert_double_text(NAN, "nan");
    assert_double_text(-NAN, "nan");
}

static uint64_t bits_of(double n) {
    uint64_t bits;
    memcpy(&bits, &n, sizeof bits);
    return bits;
}

/* Reads back as the same double; and no printf of fewer digits does. */
static void assert_round_trip(double n) {
    char out[41];
    size_t len = double_format(out, n);
    assert_true(len <= 40);
    double back;
    if (!double_parse((struct bytes){ out, len }, &back)) fail_msg("refused %.*s", (int)len, out);
    if (bits_of(back) != bits_of(n)) fail_msg("%.17g became %.17g", n, back);

    size_t digits = 0;
    size_t zeros = 0;
    for (size_t i = 0; i < len && out[i] != 'e'; i++) {
        if (out[i] < '0' || out[i] > '9' || (digits == 0 && out[i] == '0')) continue;
        digits++;
        zeros = out[i] == '0' ? zeros + 1 : 0;
    }
    digits -= zeros; /* of an integer: they are no digits of its decimal */
    /* printf is most of this test's time, so only some are asked */
    if (digits < 2 || random_next() % 4 != 0) return;
    char shorter[40];
    snprintf(shorter, sizeof shorter, "%.*e", (int)digits - 2, n);
    if (strtod(shorter, NULL) == n) fail_msg("%.*s could be %s", (int)len, out, shorter);
}

TEST(a_million_random_doubles_read_back_as_themselves) {
    random_seed();
    for (int i = 0; i < 1000 * 1000; i++) {
        uint64_t bits = random_next();
        double n;
        memcpy(&n, &bits, sizeof n);
        if (isfinite(n)) assert_round_trip(n);
    }
}

TEST(random_short_decimals_read_back_as_themselves) {
    random_seed();
    for (int i = 0; i < 300 * 1000; i++) {
        uint64_t whole = random_next() >> (10 + random_next() % 54);
        assert_round_trip((double)whole / pow(10, (double)(random_next() % 23)));
        uint64_t bits = random_next() >> 12 >> random_next() % 52; /* subnormal */
        double n;
        memcpy(&n, &bits, sizeof n);
        assert_round_trip(n);
    }
    for (int e = -1074; e < 1024; e++) {
        assert_round_trip(ldexp(1, e));
        assert_round_trip(nextafter(ldexp(1, e), HUGE_VAL));
        assert_round_trip(nextafter(ldexp(1, e), 0));
    }
}

TEST(random_decimal_texts_are_read_as_strtod_reads_them) {
    random_seed();
    static const char alphabet[] = "01234567890123456789.-+e";
    for (int i = 0; i < 500 * 1000; i++) {
        char text[24] = { 0 };
        size_t len = 1 + random_next() % (sizeof text - 1);
        size_t range = random_next() % 4 ? 20 : sizeof alphabet - 1;
        for (size_t j = 0; j < len; j++) text[j] = alphabet[random_next() % range];
        if (random_next() % 2) text[random_next() % len] = '.';
        if (random_next() % 4 == 0) text[0] = "+-"[random_next() % 2];
        char *end;
        errno = 0;
        double want = strtod(text, &end);
        bool good = end == text + len && !(errno == ERANGE && (isinf(want) || want == 0));
        double n;
        bool taken = double_parse((struct bytes){ text, len }, &n);
        if (taken != good) fail_msg("'%s' taken: %d", text, taken);
        if (taken && bits_of(n) != bits_of(want)) fail_msg("'%s' became %.17g", text, n);
    }
}

static void assert_long_double_text(const char *text, const char *want) {
    long double n;
    if (!long_double_parse(bytes_of(text), &n)) fail_msg("refused %s", text);
    static char out[DOUBLE_TEXT_MAX];
    size_t len = long_double_format(out, n);
    if (!bytes_equal((struct bytes){ out, len }, bytes_of(want)))
        fail_msg("%s is '%.*s', not '%s'", text, (int)len, out, want);
}

TEST(long_doubles_are_read_and_written_as_incrbyfloat_does) {
    assert_long_double_text("1", "1");
    assert_long_double_text("+1", "1");
    assert_long_double_text("-0", "0");
    assert_long_double_text("10.50", "10.5");
    assert_long_double_text("100", "100");
    assert_long_double_text("0x10", "16");
    assert_long_double_text(".5", "0.5");
    assert_long_double_text("5.0e3", "5000");
    assert_long_double_text("3.0e-5", "0.00003");
    assert_long_double_text("1e-18", "0");
    assert_long_double_text("6e-18", "0.00000000000000001");
    assert_long_double_text("-1e-19", "0");
    assert_long_double_text("3.7e-4950", "0");
    assert_long_double_text("inf", "inf");
    assert_long_double_text("-Infinity", "-inf");
    static const char *const bad[] = { "",        " 1",      "1 ", "nan", "1e5000",
                                       "-1e5000", "1e-5000", "1e", "--1", "abc" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        long double n = 42;
        if (long_double_parse(bytes_of(bad[i]), &n)) fail_msg("took '%s'", bad[i]);
        assert_true(n == 42);
    }
    char out[DOUBLE_TEXT_MAX];
    assert_int_equal(long_double_format(out, (long double)NAN), 3);
    assert_memory_equal(out, "nan", 3);
}

TEST(the_largest_long_double_and_the_longest_text_fit) {
    char text[DOUBLE_TEXT_MAX];
    assert_int_equal(long_double_format(text, -LDBL_MAX), 1 + 4933);
    memset(text, '0', sizeof text);
    text[DOUBLE_TEXT_MAX - 2] = '1';
    long double n;
    assert_true(long_double_parse((struct bytes){ text, DOUBLE_TEXT_MAX - 1 }, &n));
    assert_true(n == 1);
    assert_false(long_double_parse((struct bytes){ text, DOUBLE_TEXT_MAX }, &n));
    assert_false(long_double_parse(BYTES("1\0"), &n));
}

TEST(sizes_have_units) {
    static const struct {
        const char *text;
        int64_t value;
    } good[] = { { "0", 0 },
                 { "100", 100 },
                 { "007", 7 },
                 { "5b", 5 },
                 { "1k", 1000 },
                 { "1kb", 1024 },
                 { "5K", 5000 },
                 { "5mB", 5242880 },
                 { "2m", 2000000 },
                 { "5g", 5000000000 },
                 { "5GB", 5368709120 },
                 { "", 0 },
                 { "mb", 0 },
                 { "9223372036854775807", INT64_MAX } };
    static const char *const bad[] = { "-1",
                                       "+5",
                                       "5t",
                                       "1.5k",
                                       "5 k",
                                       " 5",
                                       "0x5",
                                       "5bb",
                                       "5kbb",
                                       "9223372036854775808",
                                       "9223372036854775807k",
                                       "99999999999999999999" };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        int64_t n;
        if (!size_parse(bytes_of(good[i].text), &n)) fail_msg("refused '%s'", good[i].text);
        assert_true(n == good[i].value);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t n = 42;
        if (size_parse(bytes_of(bad[i]), &n)) fail_msg("took '%s'", bad[i]);
        assert_int_equal(n, 42);
    }
}

TEST(sizes_are_written_for_people) {
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = { { 0, "0B" },
                  { 1023, "1023B" },
                  { 1024, "1.00K" },
                  { UINT64_C(1536) << 10, "1.50M" },
                  { (UINT64_C(1) << 20) - 1, "1024.00K" },
                  { UINT64_C(3) << 30, "3.00G" },
                  { UINT64_C(1) << 40, "1.00T" },
                  { UINT64_C(1) << 50, "1.00P" },
                  { UINT64_C(1) << 60, "1152921504606846976B" },
                  { UINT64_MAX, "18446744073709551615B" } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char out[32];
        size_human(out, cases[i].bytes);
        assert_string_equal(out, cases[i].text);
    }
}
