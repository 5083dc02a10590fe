#include "history/instant.h"

#include "store/past.h"

enum { MS_DIGITS = 13, US_DIGITS = 16, NS_DIGITS = 19, NS_PER_MS = 1000000 };
#define NS_PER_S 1000000000ull

struct text {
    const char *at, *end;
};

static bool take_digit(struct text *text, unsigned *digit) {
    if (text->at == text->end || *text->at < '0' || *text->at > '9') return false;
    *digit = (unsigned)(*text->at++ - '0');
    return true;
}

static bool take_number(struct text *text, size_t digits, unsigned min, unsigned max,
                        unsigned *out) {
    unsigned n = 0, digit;
    for (size_t i = 0; i < digits; i++) {
        if (!take_digit(text, &digit)) return false;
        n = n * 10 + digit;
    }
    *out = n;
    return n >= min && n <= max;
}

static bool take_sign(struct text *text, char sign) {
    if (text->at == text->end || (*text->at | 0x20) != (sign | 0x20)) return false;
    text->at++;
    return true;
}

static bool parse_digits(struct bytes text, uint64_t *at) {
    uint64_t n = 0;
    if (text.len == 0 || text.len > NS_DIGITS) return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
        n = n * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (text.len <= MS_DIGITS)
        *at = n * NS_PER_MS + (NS_PER_MS - 1);
    else
        *at = text.len <= US_DIGITS ? n * 1000 : n;
    return true;
}

static bool parse_ago(struct bytes text, uint64_t now_ns, uint64_t *at) {
    static const struct {
        struct bytes unit;
        uint64_t ns;
    } units[] = {
        { BYTES("ms"), NS_PER_MS },       { BYTES("s"), NS_PER_S },
        { BYTES("m"), 60 * NS_PER_S },    { BYTES("h"), 3600 * NS_PER_S },
        { BYTES("d"), 86400 * NS_PER_S },
    };
    size_t digits = 1;
    uint64_t n = 0;
    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9') {
        if (digits > NS_DIGITS) return false;
        n = n * 10 + (uint64_t)(text.data[digits++] - '0');
    }
    if (digits == 1) return false;
    struct bytes unit = { text.data + digits, text.len - digits };
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        uint64_t ago;
        if (!bytes_equal_nocase(unit, units[i].unit)) continue;
        if (__builtin_mul_overflow(n, units[i].ns, &ago) || ago > now_ns) ago = now_ns;
        *at = now_ns - ago;
        return true;
    }
    return false;
}

/* Days from 1970-01-01 to a day of the proleptic Gregorian calendar. */
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day) {
    year -= month <= 2; /* years begin in March, so that the leap day is the last */
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static unsigned month_days(unsigned year, unsigned month) {
    static const unsigned char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

static bool parse_rfc3339(struct bytes whole, uint64_t *at) {
    struct text text = { whole.data, whole.data + whole.len };
    unsigned year, month, day, hour, minute, second, digit;
    if (!take_number(&text, 4, 1970, 2261, &year) || !take_sign(&text, '-') ||
        !take_number(&text, 2, 1, 12, &month) || !take_sign(&text, '-') ||
        !take_number(&text, 2, 1, month_days(year, month), &day))
        return false;
    if (!take_sign(&text, 'T') && !take_sign(&text, ' ')) return false;
    if (!take_number(&text, 2, 0, 23, &hour) || !take_sign(&text, ':') ||
        !take_number(&text, 2, 0, 59, &minute) || !take_sign(&text, ':') ||
        !take_number(&text, 2, 0, 60, &second))
        return false;
    uint64_t fraction = 0, weight = NS_PER_S / 10;
    bool exact = take_sign(&text, '.');
    if (exact && (text.at == text.end || *text.at < '0' || *text.at > '9')) return false;
    while (exact && take_digit(&text, &digit)) {
        fraction += digit * weight;
        weight /= 10;
    }
    int64_t offset = 0;
    if (!take_sign(&text, 'Z')) {
        int sign = take_sign(&text, '+') ? 1 : take_sign(&text, '-') ? -1 : 0;
        unsigned hours, minutes;
        if (!sign || !take_number(&text, 2, 0, 23, &hours) || !take_sign(&text, ':') ||
            !take_number(&text, 2, 0, 59, &minutes))
            return false;
        offset = sign * ((int64_t)hours * 3600 + (int64_t)minutes * 60);
    }
    if (text.at != text.end) return false;
    int64_t seconds = days_from_civil(year, month, day) * 86400 + (int64_t)hour * 3600 +
                      (int64_t)minute * 60 + second - offset;
    if (seconds < 0) return false;
    *at = (uint64_t)seconds * NS_PER_S + fraction;
    return true;
}

bool instant_parse(struct bytes text, uint64_t now_ns, uint64_t *at) {
    if (text.len > 1 && text.data[0] == '-') return parse_ago(text, now_ns, at);
    return parse_digits(text, at) || parse_rfc3339(text, at);
}

bool arg_instant(struct call *call, size_t i, uint64_t *at) {
    struct bytes text = call->args[i];
    uint64_t now = past_now(call->txn), found;
    if (text.len == MS_DIGITS && parse_digits(text, &found)) { /* what HIST prints: mostly this */
        *at = found < now ? found : now;
        return true;
    }
    if (bytes_equal_nocase(text, BYTES("now"))) {
        found = now;
    } else if (text.len > 1 && text.data[0] == '@') {
        struct bytes name = { text.data + 1, text.len - 1 };
        if (!txn_pin_find(call->txn, name, &found)) {
            fail(call, "ERR there is no restore point of that name: see HISTORY PINS");
            return false;
        }
    } else if (!instant_parse(text, now, &found)) {
        fail(call, "ERR invalid instant: Unix milliseconds, -5m, 2026-11-23T05:41:00Z, @name or "
                   "now");
        return false;
    }
    *at = found < now ? found : now;
    return true;
}
