/* number.c: decimal text and back.
 *
 * Integers are the hot half: each INCR parses one and writes one. They are read eight digits at a
 * time and written four at a time, from a table of pairs.
 *
 * Doubles have a fast road for what people store (prices, timestamps, small decimals) that needs
 * only exact arithmetic, and a slow one through strtod and snprintf that decides all other cases.
 * Both rely on LC_NUMERIC being "C": the server never calls setlocale for numbers.
 *
 * The fast road's one fact, used in both directions: an integer m < 2^53 and a power 10^k, k <= 22,
 * are doubles without error, and one division of the two rounds once. So m / 10^k is the double
 * that strtod makes of that decimal. For m < 2^64 and k <= 27 the same holds in the 80-bit format;
 * what is then rounded to a double is right unless it lies close to the middle of two (wide_value).
 */
#include "base/number.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/assert.h"
#include "base/mem.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "eight_digits reads the first digit lowest");
static_assert(sizeof(long double) > sizeof(double), "INCRBYFLOAT counts on the 80-bit format");

static const uint64_t powers[] = {
    1,
    10,
    100,
    1'000,
    10'000,
    100'000,
    1'000'000,
    10'000'000,
    100'000'000,
    1'000'000'000,
    10'000'000'000,
    100'000'000'000,
    1'000'000'000'000,
    10'000'000'000'000,
    100'000'000'000'000,
    1'000'000'000'000'000,
    10'000'000'000'000'000,
    100'000'000'000'000'000,
    1'000'000'000'000'000'000,
    10'000'000'000'000'000'000ull,
};

static const char pairs[] = "0001020304050607080910111213141516171819"
                            "2021222324252627282930313233343536373839"
                            "4041424344454647484950515253545556575859"
                            "6061626364656667686970717273747576777879"
                            "8081828384858687888990919293949596979899";

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Reads eight digits as one word: checks that each byte is '0'..'9' (high half 3, and still 3 after
 * adding 6), then joins neighbours, first to pairs, then to fours, then to the eight. */
static bool eight_digits(const char *text, uint64_t *out) {
    uint64_t word;
    memcpy(&word, text, sizeof word);
    uint64_t high = 0xf0f0f0f0f0f0f0f0u;
    if ((word & high) != 0x3030303030303030u) return false;
    if (((word + 0x0606060606060606u) & high) != 0x3030303030303030u) return false;

    word &= 0x0f0f0f0f0f0f0f0fu;
    word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ffu;
    word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffffu;
    *out = (word * 10'000 + (word >> 32)) & 0xffffffffu;
    return true;
}

/* At most 19 digits: they cannot overflow 64 bits without a sign. */
static bool digits_parse(const char *text, size_t len, uint64_t *out) {
    uint64_t n = 0;
    while (len >= 8) {
        uint64_t eight;
        if (!eight_digits(text, &eight)) return false;
        n = n * 100'000'000 + eight;
        text += 8;
        len -= 8;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(text[i])) return false;
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    *out = n;
    return true;
}

bool int_parse(struct bytes text, int64_t *out) {
    enum { DIGITS_MAX = 19 };
    bool negative = text.len > 1 && text.data[0] == '-';
    const char *digits = text.data + negative;
    size_t len = text.len - negative;
    if (len == 0 || len > DIGITS_MAX) return false;
    if (digits[0] == '0' && text.len > 1) return false; /* "-0", "007" */

    uint64_t n;
    if (!digits_parse(digits, len, &n)) return false;
    if (n > (uint64_t)INT64_MAX + negative) return false;
    *out = (int64_t)(negative ? 0 - n : n);
    return true;
}

static unsigned uint_text_len(uint64_t n) {
    if (n < 10) return 1;
    /* 1233 / 4096 is just above log10(2): right or one too few, which the table settles. */
    unsigned bits = 64u - (unsigned)__builtin_clzll(n);
    unsigned guess = bits * 1233 >> 12;
    return guess + (n >= powers[guess]);
}

unsigned int_text_len(int64_t n) {
    return n < 0 ? 1 + uint_text_len(0 - (uint64_t)n) : uint_text_len((uint64_t)n);
}

/* Writes n right-aligned into exactly `len` bytes, with leading zeros where n is shorter. */
static void uint_fill(char *out, size_t len, uint64_t n) {
    char *at = out + len;
    while (at - out >= 4) {
        uint64_t rest = n / 10'000;
        uint32_t four = (uint32_t)(n - rest * 10'000);
        at -= 4;
        memcpy(at, &pairs[2 * (size_t)(four / 100)], 2);
        memcpy(at + 2, &pairs[2 * (size_t)(four % 100)], 2);
        n = rest;
    }
    if (at - out >= 2) {
        at -= 2;
        memcpy(at, &pairs[2 * (n % 100)], 2);
        n /= 100;
    }
    if (at > out) *out = (char)('0' + n % 10);
}

size_t uint_format(char *out, uint64_t n) {
    size_t len = uint_text_len(n);
    uint_fill(out, len, n);
    return len;
}

size_t int_format(char *out, int64_t n) {
    if (n >= 0) return uint_format(out, (uint64_t)n);
    *out = '-';
    return 1 + uint_format(out + 1, 0 - (uint64_t)n);
}

static const double exact_powers[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                       1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                       1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

static const long double wide_powers[] = { 1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,
                                           1e7L,  1e8L,  1e9L,  1e10L, 1e11L, 1e12L, 1e13L,
                                           1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L, 1e20L,
                                           1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L };

/* The double nearest to m × 10^exponent, if one wide operation can tell. Its error is half a unit
 * of the wide format: when a whole unit up and down round to the same double, so does the true
 * value. */
static bool wide_value(uint64_t m, int exponent, double *out) {
    static_assert(LDBL_MANT_DIG >= 64, "m and 10^27 are exact");
    if (abs(exponent) >= (int)COUNT_OF(wide_powers)) return false;
    long double power = wide_powers[abs(exponent)];
    long double n = exponent < 0 ? (long double)m / power : (long double)m * power;
    long double unit = n * LDBL_EPSILON;
    double n_low = (double)(n - unit);
    double n_high = (double)(n + unit);
    if (n_low != n_high) return false;
    *out = n_low;
    return true;
}

/* isspace of the C locale. strtod would skip these; Redis refuses them. */
static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* [+-] digits [. digits], at most 19 digits: the fast road. false says nothing about the text. */
static bool short_decimal_parse(struct bytes text, double *out) {
    enum { DIGITS_MAX = 19, EXACT_DIGITS = 15 };
    bool negative = text.data[0] == '-';
    size_t i = negative || text.data[0] == '+';
    if (text.len - i > DIGITS_MAX + 1) return false;

    uint64_t digits = 0;
    size_t digits_count = 0;
    size_t point = 0; /* digits before the point + 1; 0: none seen */
    for (; i < text.len; i++) {
        if (is_digit(text.data[i])) {
            digits = digits * 10 + (uint64_t)(text.data[i] - '0');
            digits_count++;
        } else if (text.data[i] == '.' && point == 0) {
            point = digits_count + 1;
        } else {
            return false;
        }
    }
    if (digits_count == 0 || digits_count > DIGITS_MAX) return false;
    size_t places = point ? digits_count - (point - 1) : 0;
    double n = 0;
    if (digits_count <= EXACT_DIGITS)
        n = (double)digits / exact_powers[places];
    else if (!wide_value(digits, -(int)places, &n))
        return false;
    *out = negative ? -n : n;
    return true;
}

/* strtod wants a NUL behind the text, so it reads a copy. An underflow to zero and an overflow to
 * infinity are refused; a subnormal, for which ERANGE is set too, is a number. */
static bool any_double_parse(struct bytes text, double *out) {
    char small[128];
    size_t copy_size = text.len + 1;
    char *copy = copy_size <= sizeof small ? small : mem_try(copy_size);
    if (!copy) return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';

    char *end;
    errno = 0;
    double n = strtod(copy, &end);
    bool whole = end == copy + text.len;
    bool out_of_range = errno == ERANGE && (isinf(n) || n == 0);
    if (copy != small) mem_free(copy, copy_size);

    if (!whole || out_of_range || isnan(n)) return false;
    *out = n;
    return true;
}

bool double_parse(struct bytes text, double *out) {
    if (text.len == 0 || is_space(text.data[0])) return false;
    return short_decimal_parse(text, out) || any_double_parse(text, out);
}

/* A positive decimal: digits × 10^(exponent - digits_count + 1), that is d.ddd × 10^exponent. */
struct decimal {
    uint64_t digits;
    int exponent;
};

static double decimal_value(struct decimal d) {
    int last_exponent = d.exponent - (int)uint_text_len(d.digits) + 1;
    double n;
    if (wide_value(d.digits, last_exponent, &n)) return n;

    char text[40];
    size_t len = uint_format(text, d.digits);
    text[len++] = 'e';
    len += int_format(text + len, last_exponent);
    text[len] = '\0';
    return strtod(text, NULL);
}

/* The size of the last place that stays when `d` is cut to `digits_count` digits. */
static uint64_t cut_unit(struct decimal d, unsigned digits_count) {
    unsigned cut = uint_text_len(d.digits) - digits_count;
    assert(cut < COUNT_OF(powers));
    return powers[cut];
}

/* `d` cut to `digits_count` digits, up or down. Up may carry into one digit more (999 to 1000),
 * which is then a power of ten, so its last zero goes. */
static struct decimal decimal_cut(struct decimal d, unsigned digits_count, bool up) {
    d.digits = d.digits / cut_unit(d, digits_count) + up;
    if (uint_text_len(d.digits) > digits_count) {
        d.digits /= 10;
        d.exponent++;
    }
    return d;
}

/* The decimal of `digits_count` digits, two at least, that is nearest to n; zeros may end it. */
static struct decimal decimal_nearest(double n, unsigned digits_count) {
    char text[40];
    int len = snprintf(text, sizeof text, "%.*e", (int)digits_count - 1, n);
    assert(len > (int)digits_count + 1 && len < (int)sizeof text);
    struct decimal d = { .exponent = (int)strtol(text + digits_count + 2, NULL, 10) };
    text[1] = text[0]; /* over the point */
    bool digits_only = digits_parse(text + 1, digits_count, &d.digits);
    assert(digits_only);
    return d;
}

/* Whether n, which is `d` to 17 digits, can be had with `digits_count`: the nearer neighbour is
 * asked first. The farther one matters below a power of two, where a double's lower half interval
 * is the smaller. A half may have become one by rounding to 17, so printf decides which one is
 * nearer. */
static bool decimal_shorten(struct decimal *d, unsigned digits_count, double n) {
    uint64_t unit = cut_unit(*d, digits_count);
    uint64_t rest = d->digits % unit;
    bool nearer_up = rest > unit / 2;
    if (rest == unit / 2 && digits_count > 1)
        nearer_up = decimal_nearest(n, digits_count).digits != d->digits / unit;
    for (int i = 0; i < 2; i++) {
        struct decimal candidate = decimal_cut(*d, digits_count, nearer_up ^ (i == 1));
        if (decimal_value(candidate) != n) continue;
        *d = candidate;
        return true;
    }
    return false;
}

/* The shortest decimal of n > 0 by trial. 17 digits always suffice; every decimal of 15 survives a
 * normal double, so trying 15 finds all shorter ones too, with zeros behind. A subnormal has fewer
 * bits and is asked from one digit on. */
static struct decimal decimal_shortest(double n) {
    enum { DIGITS_ENOUGH = 17 };
    struct decimal exact = decimal_nearest(n, DIGITS_ENOUGH);
    struct decimal shortest = exact;
    if (n < DBL_MIN) {
        for (unsigned count = 1; count < DIGITS_ENOUGH; count++) {
            if (decimal_shorten(&shortest, count, n)) break;
        }
    } else if (decimal_shorten(&shortest, 16, n)) {
        struct decimal shorter = exact;
        if (decimal_shorten(&shorter, 15, n)) shortest = shorter;
    }
    while (shortest.digits % 10 == 0) shortest.digits /= 10;
    return shortest;
}

/* "0.00012", "12.5", "120": the places of "%.17g". */
static size_t decimal_format_plain(char *out, struct decimal d) {
    size_t len = uint_text_len(d.digits);
    if (d.exponent < 0) {
        size_t zeros = (size_t)(-d.exponent - 1);
        memcpy(out, "0.0000", 2 + zeros);
        uint_fill(out + 2 + zeros, len, d.digits);
        return 2 + zeros + len;
    }
    size_t whole = (size_t)d.exponent + 1;
    uint_fill(out, len, d.digits);
    if (len <= whole) {
        memset(out + len, '0', whole - len);
        return whole;
    }
    memmove(out + whole + 1, out + whole, len - whole);
    out[whole] = '.';
    return len + 1;
}

/* "1.5e+100", "1e-07": two digits of exponent at least, as printf has it. */
static size_t decimal_format_exponent(char *out, struct decimal d) {
    size_t len = uint_text_len(d.digits);
    uint_fill(out + 1, len, d.digits);
    out[0] = out[1];
    out[1] = '.';
    size_t at = len > 1 ? len + 1 : 1;
    out[at++] = 'e';
    out[at++] = d.exponent < 0 ? '-' : '+';
    uint64_t size = (uint64_t)abs(d.exponent);
    size_t size_len = size < 100 ? 2 : 3;
    uint_fill(out + at, size_len, size);
    return at + size_len;
}

/* The fast road of writing: the least k for which n × 10^k is, but for rounding, an integer m of at
 * most 15 digits that divides back to n. Fewer places would have been found first, so it is the
 * shortest. false: not short, or too small for plain digits. */
static bool short_decimal_format(char *out, double n, size_t *len) {
    enum { PLACES_MAX = 9 };
    if (n < 1e-4 || n >= 1e14) return false;
    for (unsigned places = 1; places <= PLACES_MAX; places++) {
        double scaled = n * exact_powers[places];
        if (scaled >= 1e15) return false;
        uint64_t m = (uint64_t)(scaled + 0.5);
        if ((double)m / exact_powers[places] != n) continue;
        size_t whole = uint_format(out, m / powers[places]);
        out[whole] = '.';
        uint_fill(out + whole + 1, places, m % powers[places]);
        *len = whole + 1 + places;
        return true;
    }
    return false;
}

static size_t append_word(char *out, struct bytes word) {
    memcpy(out, word.data, word.len);
    return word.len;
}

size_t double_format(char *out, double n) {
    if (isnan(n)) {
        return append_word(out, BYTES("nan"));
    }
    size_t sign = signbit(n) != 0;
    if (sign) *out++ = '-';
    n = fabs(n);
    if (isinf(n)) {
        return sign + append_word(out, BYTES("inf"));
    }
    if (n <= 0x1p53 && n == (double)(uint64_t)n) return sign + uint_format(out, (uint64_t)n);

    size_t len;
    if (short_decimal_format(out, n, &len)) return sign + len;
    struct decimal d = decimal_shortest(n);
    bool plain = d.exponent >= -4 && d.exponent < 17;
    return sign + (plain ? decimal_format_plain(out, d) : decimal_format_exponent(out, d));
}

bool long_double_parse(struct bytes text, long double *out) {
    if (text.len == 0 || text.len >= DOUBLE_TEXT_MAX || is_space(text.data[0])) return false;
    char copy[DOUBLE_TEXT_MAX]; /* Redis' limit, so never longer */
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';

    char *end;
    errno = 0;
    long double n = strtold(copy, &end);
    if (end != copy + text.len) return false;
    if (errno == ERANGE && (isinf(n) || n == 0)) return false;
    if (isnan(n)) return false;
    *out = n;
    return true;
}

size_t long_double_format(char *out, long double n) {
    if (isnan(n)) {
        return append_word(out, BYTES("nan"));
    }
    if (isinf(n)) {
        size_t sign = n < 0;
        if (sign) *out++ = '-';
        return sign + append_word(out, BYTES("inf"));
    }
    static_assert(LDBL_MAX_10_EXP + 1 + sizeof("-.") + 17 <= DOUBLE_TEXT_MAX, "the largest fits");
    int written = snprintf(out, DOUBLE_TEXT_MAX, "%.17Lf", n);
    assert(written > 17 && written < DOUBLE_TEXT_MAX);
    size_t len = (size_t)written;
    while (out[len - 1] == '0') len--; /* stops at the point */
    if (out[len - 1] == '.') len--;
    if (len == 2 && memcmp(out, "-0", 2) == 0) {
        out[0] = '0';
        return 1;
    }
    return len;
}

/* What a unit multiplies by; 0: no unit of ours. */
static int64_t unit_size(struct bytes unit) {
    static const struct {
        struct bytes name;
        int64_t size;
    } units[] = {
        { { "", 0 }, 1 },
        { { "b", 1 }, 1 },
        { { "k", 1 }, 1'000 },
        { { "kb", 2 }, 1'024 },
        { { "m", 1 }, 1'000'000 },
        { { "mb", 2 }, INT64_C(1) << 20 },
        { { "g", 1 }, 1'000'000'000 },
        { { "gb", 2 }, INT64_C(1) << 30 },
    };
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (bytes_equal_nocase(unit, units[i].name)) return units[i].size;
    }
    return 0;
}

/* As Redis, digits may be missing ("" and "mb" are 0) and may begin with zeros. Unlike Redis, what
 * does not fit is refused: there 9223372036854775807k wraps around to another size. */
bool size_parse(struct bytes text, int64_t *out) {
    int64_t n = 0;
    size_t i = 0;
    for (; i < text.len && is_digit(text.data[i]); i++) {
        if (__builtin_mul_overflow(n, 10, &n)) return false;
        if (__builtin_add_overflow(n, text.data[i] - '0', &n)) return false;
    }
    int64_t unit = unit_size((struct bytes){ text.data + i, text.len - i });
    if (unit == 0) return false;
    if (__builtin_mul_overflow(n, unit, &n)) return false;
    *out = n;
    return true;
}

void size_human(char *out, uint64_t bytes) {
    enum { OUT_SIZE = 32, UNIT_BITS = 10 };
    static const char units[] = "BKMGTP";
    unsigned unit = bytes ? (63u - (unsigned)__builtin_clzll(bytes)) / UNIT_BITS : 0;
    if (unit == 0 || unit >= sizeof units - 1) {
        snprintf(out, OUT_SIZE, "%lluB", (unsigned long long)bytes);
        return;
    }
    double scaled = (double)bytes / (double)(UINT64_C(1) << unit * UNIT_BITS);
    snprintf(out, OUT_SIZE, "%.2f%c", scaled, units[unit]);
}
