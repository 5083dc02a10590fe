#include "history/instant.h"

#include "testing/testing.h"

static const uint64_t now = 1700000000123456789;

static uint64_t parsed(const char *text) {
    uint64_t at;
    return instant_parse(bytes_of(text), now, &at) ? at : UINT64_MAX;
}

TEST(milliseconds_name_their_end_finer_ones_are_exact) {
    assert_int_equal(parsed("1693353602000"), 1693353602000999999);
    assert_int_equal(parsed("1693353602000123"), 1693353602000123000);
    assert_int_equal(parsed("1693353602000123456"), 1693353602000123456);
    assert_int_equal(parsed("1"), 1999999);
}

TEST(times_ago_count_from_now) {
    assert_int_equal(parsed("-250ms"), now - 250 * 1000000ull);
    assert_int_equal(parsed("-90s"), now - 90 * 1000000000ull);
    assert_int_equal(parsed("-10m"), now - 600 * 1000000000ull);
    assert_int_equal(parsed("-2h"), now - 7200 * 1000000000ull);
    assert_int_equal(parsed("-7d"), now - 7 * 86400 * 1000000000ull);
    assert_int_equal(parsed("-999999999d"), 0); /* before 1970 is 1970 */
}

TEST(dates_are_rfc_3339) {
    assert_int_equal(parsed("1970-01-01T00:00:00Z"), 0);
    assert_int_equal(parsed("2026-11-23T05:41:00Z"), 1795412460000000000);
    assert_int_equal(parsed("2026-11-23t05:41:00.25z"), 1795412460250000000);
    assert_int_equal(parsed("2026-11-23T06:41:00+01:00"), 1795412460000000000);
    assert_int_equal(parsed("2024-02-29T00:00:00Z"), 1709164800000000000);
}

TEST(nonsense_is_refused) {
    static const char *const wrong[] = {
        "",      "-",    "-5",   "-5x",  "-m",   "abc",  "12a", "-9223372036854775808",
        "12345678901234567890", "2026-02-29T00:00:00Z",  "2026-11-23T05:41Z",
        "2026-11-23T05:41:00",  "2026-13-01T00:00:00Z",  "2026-11-23T25:00:00Z",
        "2026-11-23T05:41:00.Z", "2026-11-23T05:41:00Zx", " 1", "1 ", "+1",
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) assert_int_equal(parsed(wrong[i]), UINT64_MAX);
}
