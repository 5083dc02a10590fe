/* settings_words.h: the inside of settings: words and their quoting, and the one way in for a value.
 * For settings*.c and acl_file.c only. */
#pragma once

#include "base/arena.h"
#include "base/buffer.h"
#include "command/settings.h"

/* Splits a line into words: spaces between, "..." with \n \r \t \b \a \xHH and \c, '...' with \'. The
 * words are in the arena. false: quotes do not balance. */
MUST_USE bool words_split(struct bytes line, struct arena *arena, struct bytes **words,
                          size_t *count);
/* Appends a word, with a space before it unless the buffer is empty, and in quotes where it needs them. */
void words_put(struct buffer *buffer, struct bytes word);

enum setting_source {
    FROM_DEFAULT,
    FROM_FILE,
    FROM_ENVIRONMENT,
    FROM_FLAGS,
    FROM_CLIENT,
};

/* Gives a setting the value that `words` spell. A setting of several lines adds them up as long as
 * they come from the same source. `why` gets the reason only, without name or place. */
MUST_USE enum status settings_put(struct settings *settings, enum setting_id id,
                                  const struct bytes *words, size_t count,
                                  enum setting_source source, struct problem *why);
enum setting_source settings_source(const struct settings *settings, enum setting_id id);
/* Keeps every other CONFIG SET and REWRITE out. */
void settings_hold(struct settings *settings);
void settings_release(struct settings *settings);
/* The words of a line after `user`. false: there is too much of them. */
MUST_USE bool settings_add_user(struct settings *settings, const struct bytes *words, size_t count);
void settings_put_users(struct settings *settings, struct buffer *out); /* settings_on_rewrite's */
void settings_set_file(struct settings *settings, const char *absolute);

/* Whether two collections agree on a setting. */
bool settings_agree(struct settings *a, struct settings *b, enum setting_id id);

/* A directive of Redis' or Valkey's that is known and not implemented. */
bool setting_is_foreign(struct bytes name);
