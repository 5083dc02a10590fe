/* Error words: one number a word, and a bound on how many there are. */
#include "testing/testing.h"

#include <stdio.h>
#include <string.h>

#include "metrics/error_words.h"

TEST(an_errors_first_word_keeps_its_number) {
    struct error_words words;
    error_words_init(&words);
    unsigned err = error_words_number(&words, BYTES("ERR no such key"));
    unsigned type = error_words_number(&words, BYTES("WRONGTYPE Operation against"));
    assert_int_not_equal(err, type);
    assert_int_equal(error_words_number(&words, BYTES("ERR")), err);
    assert_int_equal(error_words_count(&words), 2);
    assert_true(bytes_equal(error_words_at(&words, type), BYTES("WRONGTYPE")));
    error_words_deinit(&words);
}

TEST(words_beyond_the_limit_share_the_last_number) {
    struct error_words words;
    error_words_init(&words);
    char text[64];
    for (int i = 0; i < 2 * ERROR_WORDS_MAX; i++) {
        snprintf(text, sizeof text, "WORD%d of a client's", i);
        unsigned number = error_words_number(&words, bytes_of(text));
        assert_int_equal(number, i < ERROR_WORDS_MAX - 1 ? i : ERROR_WORDS_MAX - 1);
    }
    assert_int_equal(error_words_count(&words), ERROR_WORDS_MAX);
    struct bytes last = error_words_at(&words, ERROR_WORDS_MAX - 1);
    assert_true(bytes_equal(last, BYTES("ERRORSTATS_OVERFLOW")));
    assert_int_equal(error_words_number(&words, BYTES("WORD5 again")), 5);
    error_words_deinit(&words);
}

TEST(a_long_word_is_cut) {
    struct error_words words;
    error_words_init(&words);
    char text[200];
    memset(text, 'A', sizeof text);
    unsigned number = error_words_number(&words, (struct bytes){ text, sizeof text });
    assert_int_equal(error_words_at(&words, number).len, ERROR_WORD_SIZE - 1);
    assert_int_equal(error_words_number(&words, (struct bytes){ text, sizeof text }), number);
    error_words_deinit(&words);
}
