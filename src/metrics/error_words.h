/* error_words.h: the first words that errors have begun with (ERR, WRONGTYPE), numbered.
 *
 * A word keeps its number for good. There is room for ERROR_WORDS_MAX - 1 of them; the last number is
 * shared by all others, so that no client can make the list grow with words of its own. Looking a known
 * word up takes no lock. Thread: any.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/bytes.h"
#include "metrics/calls.h"

enum { ERROR_WORD_SIZE = 32 }; /* with NUL; what is longer is cut */

struct error_words {
    pthread_mutex_t lock; /* of adding */
    _Atomic unsigned count;
    char words[ERROR_WORDS_MAX][ERROR_WORD_SIZE];
};

void error_words_init(struct error_words *words);
void error_words_deinit(struct error_words *words);
/* The number of the word that `error` begins with, up to a space. */
unsigned error_words_number(struct error_words *words, struct bytes error);
/* How many have a number, and what number `i` is. */
unsigned error_words_count(const struct error_words *words);
struct bytes error_words_at(const struct error_words *words, unsigned i);
