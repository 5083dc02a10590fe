/* error_words.c: a list that is only added to; `count` says how much of it may be looked at. */
#include "metrics/error_words.h"

static const char overflow[] = "ERRORSTATS_OVERFLOW";

void error_words_init(struct error_words *words) {
    memset(words, 0, sizeof *words);
    pthread_mutex_init(&words->lock, NULL);
}

void error_words_deinit(struct error_words *words) {
    pthread_mutex_destroy(&words->lock);
}

unsigned error_words_count(const struct error_words *words) {
    return atomic_load_explicit(&words->count, memory_order_acquire);
}

struct bytes error_words_at(const struct error_words *words, unsigned i) {
    return bytes_of(words->words[i]);
}

static struct bytes first_word(struct bytes error) {
    size_t len = 0;
    while (len < error.len && len < ERROR_WORD_SIZE - 1 && error.data[len] > ' ') len++;
    return (struct bytes){ error.data, len };
}

static bool find(const struct error_words *words, struct bytes word, unsigned *out) {
    unsigned count = error_words_count(words);
    for (unsigned i = 0; i < count; i++) {
        *out = i;
        if (bytes_equal(error_words_at(words, i), word)) return true;
    }
    return false;
}

unsigned error_words_number(struct error_words *words, struct bytes error) {
    struct bytes word = first_word(error);
    unsigned number;
    if (find(words, word, &number)) return number;
    pthread_mutex_lock(&words->lock);
    if (!find(words, word, &number)) { /* by another meanwhile */
        number = error_words_count(words);
        if (number >= ERROR_WORDS_MAX - 1) {
            number = ERROR_WORDS_MAX - 1;
            word = bytes_of(overflow);
        }
        if (number == error_words_count(words)) {
            memcpy(words->words[number], word.data, word.len);
            atomic_store_explicit(&words->count, number + 1, memory_order_release);
        }
    }
    pthread_mutex_unlock(&words->lock);
    return number;
}
