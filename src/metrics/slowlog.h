/* slowlog.h: the commands that took long, newest first, at most so many of them.
 *
 * An entry keeps a command's words as Redis' does: at most SLOWLOG_WORDS_MAX of them, of each at most
 * SLOWLOG_WORD_MAX bytes; what is left out is counted in its place. Which words are secret is decided
 * by who puts it there. So an entry takes 5 KiB at most, whatever a client sends.
 * Thread: any.
 */
#pragma once

#include <stdint.h>

#include "base/bytes.h"

enum {
    SLOWLOG_WORDS_MAX = 32,
    SLOWLOG_WORD_MAX = 128,
    SLOWLOG_ENTRIES_MAX = 1024 * 1024, /* however high slowlog-max-len is */
};

struct slowlog_entry {
    uint64_t id;    /* 0, 1, ... since the start */
    int64_t second; /* Unix time at which it had ended */
    uint64_t us;
    struct bytes address, name; /* of the client; the name may be empty */
    size_t words_count;         /* at most SLOWLOG_WORDS_MAX */
    struct bytes *words;
};

struct slowlog;

struct slowlog *slowlog_new(void);
struct slowlog *slowlog_free(struct slowlog *slowlog); /* always NULL; NULL is fine */
/* Keeps so many from now on. */
void slowlog_limit(struct slowlog *slowlog, uint64_t entries);

/* Cuts a command's words to what an entry holds, in `out` (room for SLOWLOG_WORDS_MAX); the texts that
 * say what is missing are written into `scratch`. Returns how many there are. */
enum { SLOWLOG_SCRATCH = SLOWLOG_WORDS_MAX * (SLOWLOG_WORD_MAX + 48) };
size_t slowlog_cut(const struct bytes *words, size_t count, struct bytes *out,
                   char scratch[SLOWLOG_SCRATCH]);
/* Copies the entry; its id is given here. */
void slowlog_put(struct slowlog *slowlog, const struct slowlog_entry *entry);

size_t slowlog_len(struct slowlog *slowlog);
void slowlog_reset(struct slowlog *slowlog); /* ids go on */
/* Calls `begin` with how many there will be, at most `max`, and `visit` for each, newest first, under
 * the log's lock. */
void slowlog_each(struct slowlog *slowlog, uint64_t max, void (*begin)(void *self, size_t count),
                  void (*visit)(void *self, const struct slowlog_entry *entry), void *self);
