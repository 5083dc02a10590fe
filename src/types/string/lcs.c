/* lcs.c: LCS, the longest common subsequence of two strings.
 *
 * A table holds for every pair of prefixes the length of their longest common subsequence; a walk
 * from its last corner back to the first finds one such sequence. The table is what it costs, in
 * memory as in time: proto-max-bulk-len bounds both. When only the length is asked for, two rows at
 * a time suffice, under the same bound. */
#include "base/assert.h"
#include "base/mem.h"
#include "command/command.h"
#include "command/pulse.h"

struct options {
    bool len, idx, with_match_len;
    int64_t match_len_min;
};

struct lcs {
    struct bytes a, b;
    uint32_t *cells;
    size_t width; /* of a row: b.len + 1 */
    size_t rows;  /* kept: a.len + 1, or 2 */
    size_t size;  /* of `cells` in bytes */
};

struct match { /* the same bytes in both */
    size_t a, b, len;
};

static bool read_options(struct call *call, struct options *options) {
    for (struct words w = call_rest(call, 3); words_left(&w);) {
        size_t value;
        if (words_take(&w, BYTES("IDX"))) {
            options->idx = true;
        } else if (words_take(&w, BYTES("LEN"))) {
            options->len = true;
        } else if (words_take(&w, BYTES("WITHMATCHLEN"))) {
            options->with_match_len = true;
        } else if (words_take_value(&w, BYTES("MINMATCHLEN"), &value)) {
            if (!arg_int(call, value, &options->match_len_min)) return false;
        } else {
            fail(call, ERR_SYNTAX);
            return false;
        }
    }
    if (!options->idx || !options->len) return true;
    fail(call, "ERR If you want both the length and indexes, please just use IDX.");
    return false;
}

/* Sets the table aside, or answers why it cannot be had. */
static bool table_new(struct call *call, struct lcs *lcs, bool whole) {
    if (lcs->a.len >= UINT32_MAX - 1 || lcs->b.len >= UINT32_MAX - 1) {
        fail(call, "ERR String too long for LCS");
        return false;
    }
    uint64_t size;
    lcs->width = lcs->b.len + 1;
    bool overflow =
        __builtin_mul_overflow((lcs->a.len + 1) * sizeof *lcs->cells, lcs->width, &size);
    if (!overflow && size > (uint64_t)setting_int(call->pulse->settings, proto_max_bulk_len)) {
        fail(call, "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
        return false;
    }
    lcs->rows = whole ? lcs->a.len + 1 : 2;
    lcs->size = lcs->rows * lcs->width * sizeof *lcs->cells;
    lcs->cells = overflow ? NULL : mem_try(lcs->size);
    if (lcs->cells) return true;
    fail(call, "ERR Insufficient memory, failed allocating transient memory for LCS");
    return false;
}

static uint32_t *row_of(const struct lcs *lcs, size_t i) {
    return lcs->cells + i % lcs->rows * lcs->width;
}

/* Returns the length of the longest common subsequence of the whole strings. */
static uint32_t table_fill(struct lcs *lcs) {
    memset(lcs->cells, 0, lcs->width * sizeof *lcs->cells);
    for (size_t i = 1; i <= lcs->a.len; i++) {
        const uint32_t *above = row_of(lcs, i - 1);
        uint32_t *row = row_of(lcs, i);
        char byte = lcs->a.data[i - 1];
        row[0] = 0;
        for (size_t j = 1; j < lcs->width; j++) {
            if (lcs->b.data[j - 1] == byte)
                row[j] = above[j - 1] + 1;
            else
                row[j] = above[j] > row[j - 1] ? above[j] : row[j - 1];
        }
    }
    return row_of(lcs, lcs->a.len)[lcs->b.len];
}

/* The last match within the first `*i` and `*j` bytes, which then are those before it. false: there
 * is none. Of two ways that are as good it takes the one that Redis takes. */
static bool match_before(const struct lcs *lcs, size_t *i, size_t *j, struct match *out) {
    const char *a = lcs->a.data, *b = lcs->b.data;
    while (*i > 0 && *j > 0 && a[*i - 1] != b[*j - 1]) {
        if (row_of(lcs, *i - 1)[*j] > row_of(lcs, *i)[*j - 1])
            --*i;
        else
            --*j;
    }
    if (*i == 0 || *j == 0) return false;
    size_t end = *i;
    while (*i > 0 && *j > 0 && a[*i - 1] == b[*j - 1]) {
        --*i;
        --*j;
    }
    *out = (struct match){ *i, *j, end - *i };
    return true;
}

static void reply_text_of(struct call *call, const struct lcs *lcs, size_t len) {
    char *text = arena_new(call->arena, len);
    size_t i = lcs->a.len, j = lcs->b.len, left = len;
    for (struct match match; match_before(lcs, &i, &j, &match);) {
        assert(match.len <= left);
        left -= match.len;
        memcpy(text + left, lcs->a.data + match.a, match.len);
    }
    assert(left == 0);
    reply_bulk(call, (struct bytes){ text, len });
}

static void reply_range(struct call *call, size_t start, size_t len) {
    call->reply->writer->array(call->reply, 2);
    reply_int(call, (int64_t)start);
    reply_int(call, (int64_t)(start + len - 1));
}

static void reply_matches(struct call *call, const struct lcs *lcs, const struct options *options) {
    const struct reply_writer *writer = call->reply->writer;
    struct match match;
    size_t count = 0;
    for (size_t i = lcs->a.len, j = lcs->b.len; match_before(lcs, &i, &j, &match);)
        if ((int64_t)match.len >= options->match_len_min) count++;
    writer->array(call->reply, count);
    for (size_t i = lcs->a.len, j = lcs->b.len; match_before(lcs, &i, &j, &match);) {
        if ((int64_t)match.len < options->match_len_min) continue;
        writer->array(call->reply, options->with_match_len ? 3 : 2);
        reply_range(call, match.a, match.len);
        reply_range(call, match.b, match.len);
        if (options->with_match_len) reply_int(call, (int64_t)match.len);
    }
}

/* Reads key `i`, missing ones as "". An integer is written into `scratch`. */
static bool read_text(struct call *call, size_t i, char *scratch, struct bytes *out) {
    struct key key = call_key(call, i);
    struct value value;
    *out = BYTES("");
    if (!call_read(call, &key, &value)) return true;
    if (value.type != VALUE_STRING) return false;
    *out = value_text(&value, scratch);
    return true;
}

static enum outcome lcs(struct call *call) {
    char scratch_a[INT_TEXT_MAX], scratch_b[INT_TEXT_MAX];
    struct lcs lcs = {};
    struct options options = {};
    bool a_fits = read_text(call, 1, scratch_a, &lcs.a);
    bool b_fits = read_text(call, 2, scratch_b, &lcs.b);
    if (!a_fits || !b_fits) return fail(call, "ERR The specified keys must contain string values");
    if (!read_options(call, &options)) return FAILED;
    if (!table_new(call, &lcs, !options.len)) return FAILED;

    uint32_t len = table_fill(&lcs);
    if (options.idx) {
        call->reply->writer->map(call->reply, 2);
        reply_text(call, "matches");
        reply_matches(call, &lcs, &options);
        reply_text(call, "len");
        reply_int(call, len);
    } else if (options.len) {
        reply_int(call, len);
    } else {
        reply_text_of(call, &lcs, len);
    }
    mem_free(lcs.cells, lcs.size);
    return DONE;
}

COMMAND(lcs) = {
    .synopsis = "LCS key1:key key2:key [LEN] [IDX] [MINMATCHLEN len:int] [WITHMATCHLEN]",
    .summary = "Finds the longest common subsequence of two strings.",
    .since = "7.0.0",
    .group = "string",
    .complexity = "O(N*M) where N and M are the lengths of s1 and s2, respectively",
    .flags = CMD_READONLY,
    .keys = KEY_RO | KEY_ACCESS,
    .acl = ACL_STRING,
    .run = lcs,
};
