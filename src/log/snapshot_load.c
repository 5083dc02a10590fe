/* snapshot_load.c: reading a snapshot: checked as a whole, or loaded.
 *
 *     thread 0   past: sections of shards 0, 2, 4 ..   keys: the same, writers, restore points, trailers
 *     thread 1   past: sections of shards 1, 3, 5 ..   keys: the same
 *
 * Each goes through both files for itself, from header to header, and reads what is its own. A header that lies about
 * whose it is makes one thread read it and find the checksum wrong; one that lies about its length leads to a place
 * where no next header is. */
#include "log/snapshot.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/mem.h"
#include "log/snapshot_file.h"
#include "store/replay.h"
#include "store/store.h"

enum {
    LOAD_THREADS_MAX = 64,
    TELL_EVERY = 4 * 1024 * 1024, /* bytes between two calls of `progress` */
    KEEP_MAX = 1024 * 1024,       /* a larger buffer than this goes back after its section */
};

/* --- one file --- */

struct reader {
    struct env *env;
    const struct manifest_base *base;
    struct env_file *file;
    char path[PATH_MAX];
    uint64_t size, at;
    uint32_t number; /* of the next section */
    uint64_t rows;   /* of the sections so far, as their headers say */
    char *buffer;
    size_t cap;
};

/* `at`: where the trouble lies. */
static enum status damaged(const struct reader *reader, uint64_t at, const char *what,
                           struct problem *why) {
    enum status status = problem_set(why, CORRUPT, 0, "%s %s, at byte %llu", reader->path, what,
                                     (unsigned long long)at);
    if (why) why->offset = at;
    return status;
}

static enum status read_at(const struct reader *reader, char *out, size_t len, uint64_t at,
                           struct problem *why) {
    while (len > 0) {
        int64_t n = reader->env->ops->pread(reader->env, reader->file, out, len, at);
        if (n < 0) return problem_set(why, IO, (int)-n, "cannot read %s", reader->path);
        if (n == 0) return damaged(reader, at, "became shorter while it was read", why);
        out += n;
        len -= (size_t)n;
        at += (uint64_t)n;
    }
    return OK;
}

static enum status check_header(struct reader *reader, bool past, struct problem *why) {
    char header[SNAPSHOT_HEADER];
    enum status status = read_at(reader, header, sizeof header, 0, why);
    if (status != OK) return status;
    if (memcmp(header, SNAPSHOT_MAGIC, 8) != 0)
        return damaged(reader, 0, "does not begin as a snapshot does", why);
    uint64_t version = get_le(header + 8, 4), features = get_le(header + 12, 4);
    bool whole = get_le(header + SNAPSHOT_HEADER_CRC, 4) == crc32c(0, header, SNAPSHOT_HEADER_CRC);
    if (!whole) return damaged(reader, 0, "has a damaged header", why);
    if (version != SNAPSHOT_VERSION || features)
        return problem_set(why, UNSUPPORTED, 0,
                           "%s is of version %u, features %x: this program reads version %d",
                           reader->path, (unsigned)version, (unsigned)features, SNAPSHOT_VERSION);
    if (get_le(header + 16, 8) != reader->base->generation ||
        get_le(header + 24, 8) != reader->base->id || header[32] != (char)past)
        return damaged(reader, 0, "is not the snapshot that the manifest names", why);
    return OK;
}

static void reader_close(struct reader *reader) {
    if (reader->file) reader->env->ops->close(reader->env, reader->file);
    mem_free(reader->buffer, reader->cap);
    *reader = (struct reader){ 0 };
}

static enum status open_checked(struct reader *reader, const char *dir, bool past,
                                struct problem *why) {
    path_of_base(dir, reader->base->generation, past, reader->path);
    int error = reader->env->ops->open(reader->env, reader->path, ENV_READ, &reader->file);
    if (error == -ENOENT)
        return problem_set(why, CORRUPT, ENOENT, "%s is missing, and the manifest names it",
                           reader->path);
    if (error < 0) return problem_set(why, IO, -error, "cannot open %s", reader->path);
    int64_t size = reader->env->ops->size(reader->env, reader->file);
    if (size < 0) return problem_set(why, IO, (int)-size, "cannot look at %s", reader->path);
    reader->size = past ? reader->base->past_size : reader->base->keys_size;
    if ((uint64_t)size != reader->size || reader->size < SNAPSHOT_HEADER)
        return problem_set(why, CORRUPT, 0, "%s has %lld bytes, and should have %llu", reader->path,
                           (long long)size, (unsigned long long)reader->size);
    reader->at = SNAPSHOT_HEADER;
    return check_header(reader, past, why);
}

static enum status reader_open(struct reader *reader, struct env *env, const char *dir,
                               const struct manifest_base *base, bool past, struct problem *why) {
    *reader = (struct reader){ .env = env, .base = base };
    enum status status = open_checked(reader, dir, past, why);
    if (status != OK) reader_close(reader);
    return status;
}

/* The header of the next section, not checked but for its place. */
static enum status read_head(struct reader *reader, char head[SNAPSHOT_SECTION],
                             struct snapshot_section *out, struct problem *why) {
    if (reader->size - reader->at < SNAPSHOT_SECTION)
        return damaged(reader, reader->at, "ends without a trailer", why);
    enum status status = read_at(reader, head, SNAPSHOT_SECTION, reader->at, why);
    if (status != OK) return status;
    *out = snapshot_get_section(head);
    if (out->number != reader->number || out->len > reader->size - reader->at - SNAPSHOT_SECTION)
        return damaged(reader, reader->at, "has a damaged section", why);
    return OK;
}

static void skip(struct reader *reader, const struct snapshot_section *section) {
    reader->at += SNAPSHOT_SECTION + (uint64_t)section->len;
    reader->number++;
    reader->rows += section->count;
}

static enum status make_room(struct reader *reader, size_t len, struct problem *why) {
    if (reader->cap < len || (reader->cap > KEEP_MAX && len <= KEEP_MAX)) {
        mem_free(reader->buffer, reader->cap);
        reader->cap = 0;
        size_t cap = len < KEEP_MAX / 4 ? KEEP_MAX / 4 : len;
        reader->buffer = mem_try(cap);
        if (reader->buffer) reader->cap = cap;
    }
    return reader->buffer ? OK
                          : problem_set(why, NO_MEMORY, 0, "no memory to read %s", reader->path);
}

/* The content of the section whose header was just read; borrowed until the next call. */
static enum status read_content(struct reader *reader, const char head[SNAPSHOT_SECTION],
                                const struct snapshot_section *section, struct bytes *out,
                                struct problem *why) {
    enum status status = make_room(reader, section->len, why);
    if (status != OK) return status;
    status = read_at(reader, reader->buffer, section->len, reader->at + SNAPSHOT_SECTION, why);
    if (status != OK) return status;
    if (crc32c(snapshot_crc(reader->base->id, head), reader->buffer, section->len) !=
            section->crc ||
        head[1] || get_le(head + 16, 4))
        return damaged(reader, reader->at, "has a damaged section", why);
    *out = (struct bytes){ reader->buffer, section->len };
    return OK;
}

/* The trailer was reached: is it where it says, and was everything before it? */
static enum status check_trailer(const struct reader *reader, struct bytes content,
                                 struct problem *why) {
    bool whole = content.len == SNAPSHOT_TRAILER_SIZE &&
                 get_le(content.data, 8) == reader->number + 1u &&
                 get_le(content.data + 8, 8) == reader->rows &&
                 get_le(content.data + 16, 8) == reader->size &&
                 reader->at + SNAPSHOT_SECTION + SNAPSHOT_TRAILER_SIZE == reader->size;
    return whole ? OK : damaged(reader, reader->at, "has a trailer that does not fit", why);
}

/* Goes on to the next section that is `mine`. OK, NOT_FOUND: there are no more, and the trailer is right. */
static enum status next_section(struct reader *reader,
                                bool (*mine)(const void *self, const struct snapshot_section *s),
                                const void *self, struct image_section *out, struct problem *why) {
    for (;;) {
        char head[SNAPSHOT_SECTION];
        struct snapshot_section section;
        struct bytes content;
        enum status status = read_head(reader, head, &section, why);
        if (status != OK) return status;
        bool last = section.kind == SNAPSHOT_TRAILER;
        if (!last && !mine(self, &section)) {
            skip(reader, &section);
            continue;
        }
        status = read_content(reader, head, &section, &content, why);
        if (status != OK) return status;
        if (last) {
            status = check_trailer(reader, content, why);
            return status == OK ? NOT_FOUND : status;
        }
        *out = (struct image_section){
            .kind = section.kind, .shard = section.shard, .count = section.count, .bytes = content
        };
        skip(reader, &section);
        return OK;
    }
}

/* --- loading --- */

struct load { /* shared by the threads */
    struct env *env;
    const char *dir;
    const struct manifest_base *base;
    struct store *store;
    struct image_loader *loader;
    unsigned threads;
    _Atomic bool failed; /* one of them: the others need not go on */
    _Atomic uint64_t bytes;
    uint64_t told; /* lock */
    pthread_mutex_t lock;
    void (*progress)(void *self, uint64_t bytes, uint64_t total, uint64_t keys);
    void *self;
};

struct loading_thread {
    struct load *load;
    unsigned number;
    pthread_t thread;
    enum status status;
    struct problem problem;
};

static uint64_t total_of(const struct manifest_base *base) {
    return base->keys_size + base->past_size;
}

static void tell_progress(struct load *load, uint64_t bytes) {
    uint64_t sum = atomic_fetch_add_explicit(&load->bytes, bytes, memory_order_relaxed) + bytes;
    if (!load->progress) return;
    pthread_mutex_lock(&load->lock);
    if (sum >= load->told + TELL_EVERY) {
        load->told = sum;
        load->progress(load->self, sum, total_of(load->base), image_loaded_keys(load->loader));
    }
    pthread_mutex_unlock(&load->lock);
}

static bool is_first(const void *self, const struct snapshot_section *section) {
    (void)self;
    return section->kind == IMAGE_STORE;
}

static bool is_mine(const void *self, const struct snapshot_section *section) {
    const struct loading_thread *thread = self;
    return section->kind != IMAGE_STORE && section->shard % thread->load->threads == thread->number;
}

static enum status load_file(struct loading_thread *thread, struct worker *worker, bool past) {
    struct load *load = thread->load;
    struct problem *why = &thread->problem;
    struct reader reader;
    enum status status = reader_open(&reader, load->env, load->dir, load->base, past, why);
    if (status != OK) return status;
    struct image_section section;
    while ((status = next_section(&reader, is_mine, thread, &section, why)) == OK) {
        if (atomic_load_explicit(&load->failed, memory_order_relaxed)) break;
        uint64_t end = reader.at;
        if (past != (section.kind == IMAGE_PAST))
            status = damaged(&reader, end, "has a section of the other file", why);
        else
            status = image_load(load->loader, worker, &section, why);
        if (status == CORRUPT && why->offset == 0) why->offset = end - section.bytes.len;
        if (status != OK) break;
        tell_progress(load, SNAPSHOT_SECTION + section.bytes.len);
    }
    reader_close(&reader);
    return status == NOT_FOUND ? OK : status;
}

static void *load_shards(void *self) {
    struct loading_thread *thread = self;
    struct load *load = thread->load;
    struct worker *worker = worker_new(load->store);
    thread->status = OK;
    if (load->base->past_size) thread->status = load_file(thread, worker, true);
    if (thread->status == OK) thread->status = load_file(thread, worker, false);
    if (thread->status != OK) atomic_store_explicit(&load->failed, true, memory_order_relaxed);
    worker_free(worker);
    return NULL;
}

/* The section that must come before all: what the store was. */
static enum status load_first(struct load *load, struct problem *why) {
    struct reader reader;
    struct image_section section;
    enum status status = reader_open(&reader, load->env, load->dir, load->base, false, why);
    if (status != OK) return status;
    status = next_section(&reader, is_first, NULL, &section, why);
    if (status == NOT_FOUND)
        status = damaged(&reader, SNAPSHOT_HEADER, "says nothing of its store", why);
    if (status == OK) status = image_load(load->loader, NULL, &section, why);
    reader_close(&reader);
    return status;
}

static enum status load_all(struct load *load, struct problem *why) {
    struct loading_thread threads[LOAD_THREADS_MAX];
    for (unsigned i = 0; i < load->threads; i++)
        threads[i] = (struct loading_thread){ .load = load, .number = i };
    for (unsigned i = 1; i < load->threads; i++) {
        int rc = pthread_create(&threads[i].thread, NULL, load_shards, &threads[i]);
        assert(rc == 0);
    }
    load_shards(&threads[0]);
    for (unsigned i = 1; i < load->threads; i++) pthread_join(threads[i].thread, NULL);
    for (unsigned i = 0; i < load->threads; i++) {
        if (threads[i].status == OK) continue;
        if (why) *why = threads[i].problem;
        return threads[i].status;
    }
    return OK;
}

static enum status tell_replay(const struct load *load, struct replay *replay,
                               struct problem *why) {
    for (uint32_t i = 0; i < store_shards(load->store); i++) {
        uint64_t captured, visited;
        enum status status = image_loaded(load->loader, i, &captured, &visited, why);
        if (status != OK) return status;
        if (replay) replay_base(replay, i, captured, visited);
    }
    return OK;
}

enum status snapshot_load(struct env *env, const char *dir, const struct manifest_base *base,
                          struct store *store, struct replay *replay, unsigned threads,
                          void (*progress)(void *self, uint64_t bytes, uint64_t total,
                                           uint64_t keys),
                          void *self, struct problem *why) {
    struct load load = { .env = env,
                         .dir = dir,
                         .base = base,
                         .store = store,
                         .loader = image_loader_new(store, total_of(base)),
                         .threads = threads ? threads : 1,
                         .progress = progress,
                         .self = self };
    if (load.threads > LOAD_THREADS_MAX) load.threads = LOAD_THREADS_MAX;
    if (load.threads > store_shards(store)) load.threads = store_shards(store);
    pthread_mutex_init(&load.lock, NULL);
    enum status status = load_first(&load, why);
    if (status == OK) status = load_all(&load, why);
    if (status == OK) status = tell_replay(&load, replay, why);
    if (status == OK && progress)
        progress(self, total_of(base), total_of(base), image_loaded_keys(load.loader));
    pthread_mutex_destroy(&load.lock);
    image_loader_free(load.loader);
    return status;
}

/* --- checking --- */

static bool is_any(const void *self, const struct snapshot_section *section) {
    (void)self;
    (void)section;
    return true;
}

enum status snapshot_verify(struct env *env, const char *dir, const struct manifest_base *base,
                            void (*visit)(void *self, const struct image_section *section,
                                          bool past, uint64_t offset),
                            void *self, struct problem *why) {
    for (int past = 0; past <= (base->past_size != 0); past++) {
        struct reader reader;
        struct image_section section;
        enum status status = reader_open(&reader, env, dir, base, past, why);
        if (status != OK) return status;
        uint64_t offset = reader.at;
        while ((status = next_section(&reader, is_any, NULL, &section, why)) == OK) {
            if (visit) visit(self, &section, past, offset);
            offset = reader.at;
        }
        reader_close(&reader);
        if (status != NOT_FOUND) return status;
    }
    return OK;
}
