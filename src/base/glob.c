/* glob.c: one walk over the text, with one place to come back to.
 *
 * Everything but '*' takes exactly one byte, so a star that has been passed by a later one never
 * needs another try: what stood between the two matched as far left as it can, and moving it right
 * only leaves less text for the rest. Hence the two indices `retry_*` where others recurse.
 *
 * Malformed patterns mean what they have always meant to clients, and none of it is an error:
 *     "[ab"    a class ends with the pattern     "[a-]"   a range from 'a' to ']', and open
 *     "[]"     holds nothing                     "[^]"    holds everything
 *     "[z-a]"  is [a-z]                          "x\"     ends with a backslash
 * One oddity: an empty text is matched by the empty pattern alone, not by "*".
 */
#include "base/glob.h"

#include "base/assert.h"

/* ASCII only: tolower() would ask the locale for every byte. */
static char lower(char c) {
    if (c >= 'A' && c <= 'Z') return (char)(c | 0x20);
    return c;
}

static bool same(char a, char b, bool nocase) {
    return a == b || (nocase && lower(a) == lower(b));
}

/* Bytes above 127 count as negative, whatever `char` is on this machine: so does Redis on x86. The
 * ends are put in order before they are lowered, so that [N-l] without case is n..l, hence empty.
 * */
static bool in_range(char first, char last, char c, bool nocase) {
    if ((signed char)first > (signed char)last) {
        char swapped = first;
        first = last;
        last = swapped;
    }
    if (nocase) {
        first = lower(first);
        last = lower(last);
        c = lower(c);
    }
    return (signed char)first <= (signed char)c && (signed char)c <= (signed char)last;
}

/* Whether the class that begins behind `*at` (at its '[') holds c; moves `*at` behind the class. */
static bool class_takes(struct bytes pattern, size_t *at, char c, bool nocase) {
    size_t i = *at + 1;
    bool negated = i < pattern.len && pattern.data[i] == '^';
    if (negated) i++;

    bool found = false;
    for (; i < pattern.len && pattern.data[i] != ']'; i++) {
        size_t left = pattern.len - i;
        if (pattern.data[i] == '\\' && left >= 2) {
            i++;
            found |= pattern.data[i] == c; /* an escape is exact, even without case */
        } else if (left >= 3 && pattern.data[i + 1] == '-') {
            found |= in_range(pattern.data[i], pattern.data[i + 2], c, nocase);
            i += 2;
        } else {
            found |= same(pattern.data[i], c, nocase);
        }
    }
    *at = i < pattern.len ? i + 1 : i;
    return found != negated;
}

/* Whether the element at `*at`, which is no star, takes c; if so moves `*at` behind it. */
static bool element_takes(struct bytes pattern, size_t *at, char c, bool nocase) {
    switch (pattern.data[*at]) {
    case '?': ++*at; return true;
    case '[': return class_takes(pattern, at, c, nocase);
    case '\\':
        if (*at + 1 < pattern.len) ++*at;
        [[fallthrough]];
    default: return same(pattern.data[(*at)++], c, nocase);
    }
}

static size_t skip_stars(struct bytes pattern, size_t at) {
    while (at < pattern.len && pattern.data[at] == '*') at++;
    return at;
}

bool glob_match(struct bytes pattern, struct bytes text, bool nocase) {
    if (text.len == 0) return pattern.len == 0;

    size_t at = 0;
    size_t read = 0;
    size_t retry_at = 0; /* behind the last star; 0: there was none */
    size_t retry_read = 0;
    while (read < text.len) {
        if (at < pattern.len && pattern.data[at] == '*') {
            at = skip_stars(pattern, at);
            if (at == pattern.len) return true;
            retry_at = at;
            retry_read = read;
            continue;
        }
        if (at < pattern.len && element_takes(pattern, &at, text.data[read], nocase)) {
            read++;
            continue;
        }
        if (retry_at == 0) return false;
        at = retry_at;
        read = ++retry_read;
    }
    assert(at <= pattern.len);
    return skip_stars(pattern, at) == pattern.len;
}
