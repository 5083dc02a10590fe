/* The slow log: how words are cut, how many entries are kept. */
#include "testing/testing.h"

#include <string.h>

#include "base/attributes.h"
#include "metrics/slowlog.h"

static size_t cut_of(size_t count, struct bytes *out, char *scratch) {
    static struct bytes words[100];
    for (size_t i = 0; i < COUNT_OF(words); i++) words[i] = BYTES("w");
    return slowlog_cut(words, count, out, scratch);
}

TEST(thirty_two_words_are_kept_and_more_are_counted) {
    struct bytes out[SLOWLOG_WORDS_MAX];
    char scratch[SLOWLOG_SCRATCH];
    assert_int_equal(cut_of(32, out, scratch), 32);
    assert_true(bytes_equal(out[31], BYTES("w")));
    assert_int_equal(cut_of(33, out, scratch), 32);
    assert_true(bytes_equal(out[30], BYTES("w")));
    assert_true(bytes_equal(out[31], BYTES("... (2 more arguments)")));
}

TEST(a_long_word_is_cut_and_says_so) {
    char text[200];
    memset(text, 'x', sizeof text);
    struct bytes words[] = { { text, 128 }, { text, 129 } }, out[SLOWLOG_WORDS_MAX];
    char scratch[SLOWLOG_SCRATCH], expected[200];
    assert_int_equal(slowlog_cut(words, 2, out, scratch), 2);
    assert_true(bytes_equal(out[0], words[0]));
    memset(expected, 'x', 128);
    memcpy(expected + 128, "... (1 more bytes)", 19);
    assert_true(bytes_equal(out[1], bytes_of(expected)));
}

TEST(the_longest_words_there_can_be_fit) {
    struct bytes words[1000], out[SLOWLOG_WORDS_MAX];
    char scratch[SLOWLOG_SCRATCH], text[129] = "";
    for (size_t i = 0; i < COUNT_OF(words); i++) words[i] = (struct bytes){ text, SIZE_MAX };
    assert_int_equal(slowlog_cut(words, COUNT_OF(words), out, scratch), SLOWLOG_WORDS_MAX);
    struct bytes last = out[SLOWLOG_WORDS_MAX - 1];
    assert_true(bytes_equal(last, BYTES("... (969 more arguments)")));
}

struct seen {
    size_t count;
    uint64_t ids[16];
};

static void begin(void *self, size_t count) {
    *(struct seen *)self = (struct seen){};
    assert_true(count <= 16);
}

static void visit(void *self, const struct slowlog_entry *entry) {
    struct seen *seen = self;
    seen->ids[seen->count++] = entry->id;
    assert_int_equal(entry->words_count, 2);
    assert_true(bytes_equal(entry->words[1], BYTES("key")));
    assert_true(bytes_equal(entry->address, BYTES("here:1")));
    assert_int_equal(entry->name.len, 0);
}

TEST(the_newest_entries_are_kept_and_shown_first) {
    struct slowlog *slowlog = slowlog_new();
    struct bytes words[] = { BYTES("get"), BYTES("key") };
    struct slowlog_entry entry = { .us = 5, .address = BYTES("here:1"), .words = words };
    entry.words_count = 2;
    slowlog_put(slowlog, &entry); /* 0 are kept yet */
    assert_int_equal(slowlog_len(slowlog), 0);
    slowlog_limit(slowlog, 3);
    for (int i = 0; i < 5; i++) slowlog_put(slowlog, &entry);
    struct seen seen;
    slowlog_each(slowlog, 10, begin, visit, &seen);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.ids[0], 5);
    assert_int_equal(seen.ids[2], 3);
    slowlog_limit(slowlog, 1);
    slowlog_each(slowlog, UINT64_MAX, begin, visit, &seen);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.ids[0], 5);
    slowlog_reset(slowlog);
    assert_int_equal(slowlog_len(slowlog), 0);
    slowlog = slowlog_free(slowlog);
}
