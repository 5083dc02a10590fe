/* snapshot_fuzz.c: whatever a snapshot says under right checksums, loading it answers OK, CORRUPT or UNSUPPORTED, and
 * what was loaded by then can be read, written to, forgotten and freed.
 *
 * The input is a list of sections: kind 1 | shard 1 | rows 2 | bytes 2 | bytes. PAST sections go to the past file, all
 * others to the keys file. One kind stands for a whole good image: pieces of the input then change it. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buffer.h"
#include "base/env.h"
#include "log/snapshot.h"
#include "log/snapshot_file.h"
#include "store/past.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SHARDS = 2, DBS = 2, INPUT_MAX = 8192, SECTION_HEAD = 6, ID = 77 };

static const struct siphash_key seed = { 1, 2 };
static const char *const names[] = { "a", "b", "c", "d", "e", "" };

struct file {
    struct buffer bytes;
    uint32_t sections;
    uint64_t rows;
};

static void file_begin(struct file *file, bool past) {
    buffer_init(&file->bytes, SIZE_MAX / 2);
    file->sections = 0;
    file->rows = 0;
    char header[SNAPSHOT_HEADER] = SNAPSHOT_MAGIC;
    put_le(header + 8, SNAPSHOT_VERSION, 4);
    put_le(header + 16, 1, 8);
    put_le(header + 24, ID, 8);
    header[32] = past;
    put_le(header + SNAPSHOT_HEADER_CRC, crc32c(0, header, SNAPSHOT_HEADER_CRC), 4);
    buffer_put(&file->bytes, (struct bytes){ header, sizeof header });
}

static void file_put(struct file *file, uint8_t kind, uint16_t shard, uint32_t count,
                     struct bytes content) {
    struct snapshot_section section = { .kind = kind,
                                        .shard = shard,
                                        .number = file->sections++,
                                        .count = count,
                                        .len = (uint32_t)content.len };
    char head[SNAPSHOT_SECTION];
    snapshot_put_section(&section, head);
    section.crc = crc32c(snapshot_crc(ID, head), content.data, content.len);
    snapshot_put_section(&section, head);
    file->rows += count;
    buffer_put(&file->bytes, (struct bytes){ head, sizeof head });
    buffer_put(&file->bytes, content);
}

/* Returns the file's size. */
static uint64_t file_end(struct file *file, struct env *env, bool past) {
    char content[SNAPSHOT_TRAILER_SIZE], path[PATH_MAX];
    put_le(content, file->sections + 1u, 8);
    put_le(content + 8, file->rows, 8);
    put_le(content + 16, file->bytes.len + SNAPSHOT_SECTION + SNAPSHOT_TRAILER_SIZE, 8);
    file_put(file, SNAPSHOT_TRAILER, 0, 0, (struct bytes){ content, sizeof content });
    path_of_base(".", 1, past, path);
    struct env_file *out;
    int error = env->ops->open(env, path, ENV_WRITE | ENV_CREATE, &out);
    assert(error == 0);
    int64_t n = env->ops->pwrite(env, out, file->bytes.data, file->bytes.len, 0);
    assert(n == (int64_t)file->bytes.len);
    env->ops->close(env, out);
    uint64_t size = file->bytes.len;
    buffer_deinit(&file->bytes);
    return size;
}

static bool skip_version(void *self, const struct version *version) {
    int *left = self;
    (void)version;
    return --*left > 0;
}

static void read_all(struct store *store, struct worker *worker) {
    static const uint64_t backs[] = { 0, 1, 1000000, 1000000000, 100000000000, UINT64_MAX / 2 };
    struct arena arena;
    arena_init(&arena);
    for (uint32_t db = 0; db < DBS; db++)
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            struct key key = store_key(store, db, bytes_of(names[i]));
            struct txn txn;
            struct value value;
            uint64_t oldest;
            int left = 1000;
            txn_begin_single(&txn, worker, &arena, key.shard, TXN_UNDO);
            for (size_t n = 0; n < COUNT_OF(backs); n++) {
                uint64_t now = worker_now_ns(worker);
                uint64_t at = backs[n] < now ? now - backs[n] : backs[n];
                if (past_read(&txn, &key, at, &value, &oldest) == FOUND)
                    (void)arena_copy(&arena, value.bytes);
            }
            (void)past_versions(&txn, &key, skip_version, &left, &oldest);
            enum status status = OK;
            if (i % 2) status = txn_splice(&txn, &key, i * 10, BYTES("written"));
            assert(status == OK || status == NO_MEMORY);
            txn_commit(&txn);
            arena_clear(&arena);
        }
    arena_deinit(&arena);
}

/* What a store that was loaded, wholly or in part, has to put up with. */
static void use(struct env *env, struct store *store) {
    struct worker *worker = worker_new(store);
    worker_tick(worker);
    read_all(store, worker);
    env_sim_advance(env, 1000000000);
    for (int i = 0; i < 4; i++) (void)worker_chores(worker, 0, 1, 1000000000);
    read_all(store, worker);
    struct store_settings settings = store_settings(store);
    settings.history_memory = 1;
    store_configure(store, &settings);
    store_janitor(store);
    read_all(store, worker);
    struct store_stats stats;
    store_stats(store, NULL, &stats);
    worker_free(worker);
}

static struct store *store_of(struct env *env) {
    return store_new(&(struct store_options){
        .env = env, .shards = SHARDS, .databases = DBS, .workers_max = 2, .seed = &seed });
}

/* A few keys of every kind, with a past. */
static void make_some(struct store *store, struct worker *worker) {
    struct arena arena;
    arena_init(&arena);
    for (uint32_t n = 0; n < 40; n++) {
        struct key key = store_key(store, n / 8 % DBS, bytes_of(names[n % 5]));
        struct txn txn;
        struct value value;
        txn_begin_single(&txn, worker, &arena, key.shard, 0);
        bool found = txn_read(&txn, &key, &value);
        enum status status = OK;
        char text[1200];
        memset(text, 'a' + (int)(n % 26), sizeof text);
        struct bytes bytes = { text, n % 7 == 0 ? sizeof text : n };
        if (n % 5 == 0)
            txn_set_int(&txn, &key, (int64_t)n * 1000, n % 2 ? txn.now_ms + 100 : 0);
        else if (n % 11 == 10 && found)
            txn_delete(&txn, &key);
        else if (n % 3)
            status = txn_splice(&txn, &key, n * 20, bytes);
        else
            status = txn_set_string(&txn, &key, bytes, 0);
        assert(status == OK);
        txn_commit(&txn);
    }
    arena_deinit(&arena);
}

enum { GOOD_MAX = 64 };
static struct image_section good[GOOD_MAX]; /* a good image; made once, bytes kept for ever */
static size_t good_count;

static void keep(const struct image_section *section) {
    if (!section->kind) return;
    assert(good_count < GOOD_MAX && section->tail.len == 0);
    char *copy = malloc(section->bytes.len + 1);
    if (section->bytes.len) memcpy(copy, section->bytes.data, section->bytes.len);
    good[good_count] = *section;
    good[good_count++].bytes.data = copy;
}

static void make_good_image(void) {
    struct env *env = env_sim_new(1);
    struct store *store = store_of(env);
    struct worker *worker = worker_new(store);
    make_some(store, worker);
    struct image *image = image_begin(store, worker, true);
    struct image_section section;
    while (image_keys(image, &section)) keep(&section);
    while (image_past(image, &section)) keep(&section);
    while (image_rest(image, &section)) keep(&section);
    image_end(image);
    worker_free(worker);
    store_free(store);
    env_sim_free(env);
}

/* The good image with the bytes changed that the input names: position 2 | byte 1. */
static void put_good_image(struct file files[2], const uint8_t *data, size_t size) {
    uint64_t start = 0;
    for (size_t n = 0; n < good_count; n++) {
        const struct image_section *section = &good[n];
        char *copy = malloc(section->bytes.len + 1);
        if (section->bytes.len) memcpy(copy, section->bytes.data, section->bytes.len);
        for (size_t i = 0; i + 3 <= size; i += 3) {
            uint64_t position = (data[i] | (uint64_t)data[i + 1] << 8);
            if (position >= start && position < start + section->bytes.len)
                copy[position - start] = (char)data[i + 2];
        }
        start += section->bytes.len;
        file_put(&files[section->kind == IMAGE_PAST], section->kind, section->shard, section->count,
                 (struct bytes){ copy, section->bytes.len });
        free(copy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > INPUT_MAX) return 0;
    struct env *env = env_sim_new(1);
    struct file files[2];
    file_begin(&files[0], false);
    file_begin(&files[1], true);
    if (data[0] == 0) {
        if (!good_count) make_good_image();
        put_good_image(files, data + 1, size - 1);
    } else {
        while (size >= SECTION_HEAD) {
            size_t len = (size_t)data[4] | (size_t)data[5] << 8;
            if (len > size - SECTION_HEAD) len = size - SECTION_HEAD;
            file_put(&files[data[0] == IMAGE_PAST], data[0], data[1],
                     data[2] | (uint32_t)data[3] << 8,
                     (struct bytes){ (const char *)data + SECTION_HEAD, len });
            data += SECTION_HEAD + len;
            size -= SECTION_HEAD + len;
        }
    }
    struct manifest_base base = { .generation = 1, .id = ID };
    base.keys_size = file_end(&files[0], env, false);
    base.past_size = file_end(&files[1], env, true);
    struct store *store = store_of(env);
    struct problem why = { .text = "" };
    enum status status = snapshot_load(env, ".", &base, store, NULL, 1, NULL, NULL, &why);
    assert(status == OK || status == CORRUPT || status == UNSUPPORTED || status == NO_MEMORY);
    assert(status == OK || (why.status == status && why.text[0]));
    use(env, store);
    store_free(store);
    env_sim_free(env);
    return 0;
}
