/* slowlog.c: a list, newest first. An entry is one allocation: itself, its words, their bytes. */
#include "metrics/slowlog.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/queue.h>

#include "base/mem.h"

struct kept {
    TAILQ_ENTRY(kept) link;
    size_t size;
    struct slowlog_entry entry;
    struct bytes words[SLOWLOG_WORDS_MAX];
    char text[];
};
TAILQ_HEAD(kept_list, kept);

struct slowlog {
    pthread_mutex_t lock;
    struct kept_list list; /* newest first */
    size_t count;
    uint64_t limit, next_id;
};

struct slowlog *slowlog_new(void) {
    struct slowlog *slowlog = mem_new_zero(sizeof *slowlog);
    pthread_mutex_init(&slowlog->lock, NULL);
    TAILQ_INIT(&slowlog->list);
    return slowlog;
}

static void shorten(struct slowlog *slowlog, uint64_t limit) {
    while (slowlog->count > limit) {
        struct kept *oldest = TAILQ_LAST(&slowlog->list, kept_list);
        TAILQ_REMOVE(&slowlog->list, oldest, link);
        mem_free(oldest, oldest->size);
        slowlog->count--;
    }
}

struct slowlog *slowlog_free(struct slowlog *slowlog) {
    if (!slowlog) return NULL;
    shorten(slowlog, 0);
    pthread_mutex_destroy(&slowlog->lock);
    mem_free(slowlog, sizeof *slowlog);
    return NULL;
}

void slowlog_limit(struct slowlog *slowlog, uint64_t entries) {
    pthread_mutex_lock(&slowlog->lock);
    slowlog->limit = entries < SLOWLOG_ENTRIES_MAX ? entries : SLOWLOG_ENTRIES_MAX;
    shorten(slowlog, slowlog->limit);
    pthread_mutex_unlock(&slowlog->lock);
}

/* printf at the end of what is in `scratch`. */
#define SAY(scratch, used, ...) \
    ((size_t)snprintf((scratch) + *(used), SLOWLOG_SCRATCH - *(used), __VA_ARGS__))

static struct bytes cut_word(struct bytes word, char *scratch, size_t *used) {
    if (word.len <= SLOWLOG_WORD_MAX) return word;
    char *at = scratch + *used;
    memcpy(at, word.data, SLOWLOG_WORD_MAX);
    *used += SLOWLOG_WORD_MAX;
    size_t said = SAY(scratch, used, "... (%zu more bytes)", word.len - SLOWLOG_WORD_MAX);
    *used += said;
    return (struct bytes){ at, SLOWLOG_WORD_MAX + said };
}

size_t slowlog_cut(const struct bytes *words, size_t count, struct bytes *out,
                   char scratch[SLOWLOG_SCRATCH]) {
    size_t used = 0;
    size_t whole = count <= SLOWLOG_WORDS_MAX ? count : SLOWLOG_WORDS_MAX - 1;
    for (size_t i = 0; i < whole; i++) out[i] = cut_word(words[i], scratch, &used);
    if (whole == count) return count;
    size_t said = SAY(scratch, &used, "... (%zu more arguments)", count - whole);
    out[whole] = (struct bytes){ scratch + used, said };
    return whole + 1;
}

static struct bytes copy(char **at, struct bytes from) {
    char *to = *at;
    if (from.len) memcpy(to, from.data, from.len);
    *at += from.len;
    return (struct bytes){ to, from.len };
}

static struct kept *kept_new(const struct slowlog_entry *entry) {
    size_t size = sizeof(struct kept) + entry->address.len + entry->name.len;
    for (size_t i = 0; i < entry->words_count; i++) size += entry->words[i].len;
    struct kept *kept = mem_new(size);
    kept->size = size;
    kept->entry = *entry;
    char *at = kept->text;
    kept->entry.address = copy(&at, entry->address);
    kept->entry.name = copy(&at, entry->name);
    kept->entry.words = kept->words;
    for (size_t i = 0; i < entry->words_count; i++) kept->words[i] = copy(&at, entry->words[i]);
    return kept;
}

void slowlog_put(struct slowlog *slowlog, const struct slowlog_entry *entry) {
    struct kept *kept = kept_new(entry);
    pthread_mutex_lock(&slowlog->lock);
    kept->entry.id = slowlog->next_id++;
    TAILQ_INSERT_HEAD(&slowlog->list, kept, link);
    slowlog->count++;
    shorten(slowlog, slowlog->limit);
    pthread_mutex_unlock(&slowlog->lock);
}

size_t slowlog_len(struct slowlog *slowlog) {
    pthread_mutex_lock(&slowlog->lock);
    size_t count = slowlog->count;
    pthread_mutex_unlock(&slowlog->lock);
    return count;
}

void slowlog_reset(struct slowlog *slowlog) {
    pthread_mutex_lock(&slowlog->lock);
    shorten(slowlog, 0);
    pthread_mutex_unlock(&slowlog->lock);
}

void slowlog_each(struct slowlog *slowlog, uint64_t max, void (*begin)(void *self, size_t count),
                  void (*visit)(void *self, const struct slowlog_entry *entry), void *self) {
    pthread_mutex_lock(&slowlog->lock);
    size_t left = slowlog->count < max ? slowlog->count : (size_t)max;
    begin(self, left);
    struct kept *kept = TAILQ_FIRST(&slowlog->list);
    for (; left > 0; left--, kept = TAILQ_NEXT(kept, link)) visit(self, &kept->entry);
    pthread_mutex_unlock(&slowlog->lock);
}
