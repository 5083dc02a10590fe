/* rdb_export.c: walks the databases and writes what it meets; reads a file and sets what it holds.
 *
 *     for each database   a few keys at a time: copied while their shard is locked,
 *                         encoded and written when it is not
 *
 * Keys that match history-exclude have no past: a file of now has them after the others of their
 * database, as they are; a file of an earlier instant has them not.
 *
 * A walk may meet a key twice when a table shrinks, and Redis refuses a file with a key in it
 * twice. A walk goes in the order of hashes, so a key that lies before the place where the step
 * began was written. */
#include "log/rdb_export.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/env.h"
#include "base/mem.h"
#include "log/file_reader.h"
#include "store/blob.h"
#include "store/past.h"
#include "store/shard.h"

enum {
    STEP_SLOTS = 64,             /* keys looked at in one step, under a shard's lock */
    WRITE_SIZE = 256 * 1024,     /* bytes gathered before they are written */
    KEPT_SIZE = 4 * 1024 * 1024, /* memory kept after a large value */
    NS_PER_S = 1000 * 1000 * 1000,
    IMPORT_TICK = 256, /* keys that get stamps of one reading of the clock */
};
static const size_t OUT_MAX = (size_t)2 * RDB_STRING_MAX;

/* --- the file --- */

struct out_file {
    struct env *env;
    const char *path; /* of the finished file */
    char temporary[PATH_MAX];
    struct env_file *file;
    uint64_t size;
};

static enum status file_begin(struct out_file *out, struct env *env, const char *path,
                              struct problem *why) {
    *out = (struct out_file){ .env = env, .path = path };
    int len = snprintf(out->temporary, sizeof out->temporary, "%s.tmp", path);
    if (len < 0 || (size_t)len >= sizeof out->temporary)
        return problem_set(why, IO, ENAMETOOLONG, "cannot write a file with a name that long");
    int error = env->ops->open(env, out->temporary, ENV_WRITE | ENV_TRUNCATE, &out->file);
    if (error < 0) return problem_set(why, IO, -error, "cannot make %s", out->temporary);
    return OK;
}

static enum status file_put(struct out_file *out, struct bytes bytes, struct problem *why) {
    while (bytes.len > 0) {
        int64_t n = out->env->ops->pwrite(out->env, out->file, bytes.data, bytes.len, out->size);
        if (n <= 0)
            return problem_set(why, IO, n < 0 ? (int)-n : EIO, "cannot write %s", out->temporary);
        bytes.data += n;
        bytes.len -= (size_t)n;
        out->size += (uint64_t)n;
    }
    return OK;
}

static int sync_folder(struct env *env, const char *path) {
    char folder[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    if (slash) {
        size_t len = slash == path ? 1 : (size_t)(slash - path);
        memcpy(folder, path, len);
        folder[len] = '\0';
    }
    return env->ops->sync_dir(env, folder);
}

/* Durable, and in its place; or not at all. */
static enum status file_end(struct out_file *out, enum status status, struct problem *why) {
    struct env *env = out->env;
    int error = status == OK ? env->ops->sync(env, out->file) : 0;
    env->ops->close(env, out->file);
    if (status == OK && error == 0) error = env->ops->rename(env, out->temporary, out->path);
    if (status != OK || error < 0) (void)env->ops->unlink(env, out->temporary);
    if (status != OK) return status;
    if (error == 0) error = sync_folder(env, out->path);
    if (error < 0) return problem_set(why, IO, -error, "cannot make %s durable", out->path);
    return OK;
}

/* --- writing --- */

struct row { /* a key that was met, in the arena */
    struct row *next;
    struct rdb_key key;
    struct blob *blob; /* a reference, or NULL */
};

enum part { ALL, KEPT, EXCLUDED }; /* which keys of a database: KEPT have a past */

struct export {
    struct store *store;
    struct worker *worker;
    struct out_file file;
    struct buffer out;
    struct rdb_writer writer;
    struct arena arena; /* of one step */
    struct rdb_export_report *report;
    struct problem *why;
    uint64_t at; /* 0: the present */
    bool split;  /* databases are walked in two parts */
    uint32_t db;
    bool begun; /* the database's header is written */
    /* One step of the walk: */
    enum part part;
    uint32_t shard; /* where it began, */
    uint64_t x;     /* at which place of its hash order */
    struct row *rows, **end;
};

static bool was_met(const struct export *export, const struct key *key) {
    unsigned shard_bits = (unsigned)__builtin_ctz(store_shards(export->store));
    return key->shard == export->shard && key->hash << shard_bits < export->x;
}

/* Copies what it can only borrow while the shard is locked. */
static void note(void *self, const struct key *key, const struct value *value) {
    struct export *export = self;
    if (was_met(export, key)) return;
    if (export->part != ALL &&
        store_ever_excluded(export->store, key->name) != (export->part == EXCLUDED))
        return;
    struct row *row = arena_new(&export->arena, sizeof *row);
    *row = (struct row){
        .key = { .db = key->db, .name = arena_copy(&export->arena, key->name), .value = *value }
    };
    if (value->encoding == STRING_BLOB && value->blob)
        row->blob = blob_ref(value->blob);
    else if (value->encoding != STRING_INT)
        row->key.value.bytes = arena_copy(&export->arena, value->bytes);
    *export->end = row;
    export->end = &row->next;
}

static enum status flush(struct export *export) {
    rdb_write_counted(&export->writer);
    enum status status = file_put(&export->file, buffer_bytes(&export->out), export->why);
    buffer_clear(&export->out);
    buffer_shrink(&export->out, KEPT_SIZE);
    return status;
}

static void begin_database(struct export *export) {
    struct db_stats stats;
    store_db_stats(export->store, NULL, export->db, &stats);
    rdb_write_database(&export->writer, export->db, stats.keys, stats.expires);
    export->begun = true;
}

/* Writes what the step met, and lets go of it. */
static enum status write_rows(struct export *export) {
    enum status status = OK;
    for (struct row *row = export->rows; row; row = row->next) {
        if (status == OK && !export->begun) begin_database(export);
        if (status == OK) status = rdb_write_key(&export->writer, &row->key, export->why);
        if (status == OK && export->out.len >= WRITE_SIZE) status = flush(export);
        if (status == OK) export->report->keys++;
        if (status == OK && export->part == EXCLUDED) export->report->fuzzy_keys++;
        blob_unref(row->blob);
    }
    return status;
}

/* One step from `*cursor`, in the past or (the excluded) in the present. */
static enum status step(struct export *export, uint64_t *cursor) {
    enum { CURSOR_BITS = 48 }; /* scan.c: a shard's number, then the top bits of a place in it */
    unsigned x_bits = CURSOR_BITS - (unsigned)__builtin_ctz(store_shards(export->store));
    export->shard = (uint32_t)(*cursor >> x_bits);
    export->x = *cursor << (64 - x_bits);
    export->rows = NULL;
    export->end = &export->rows;
    struct txn txn;
    worker_tick(export->worker);
    txn_begin_unlocked(&txn, export->worker, &export->arena, TXN_NO_TOUCH);
    if (export->part != EXCLUDED) txn.at = export->at;
    *cursor = txn_scan(&txn, export->db, *cursor, STEP_SLOTS, note, export);
    bool pruned = txn.pruned;
    txn_commit(&txn);
    enum status status = write_rows(export);
    arena_clear(&export->arena);
    if (status == OK && pruned)
        return problem_set(export->why, LIMIT, 0,
                           "what was at the instant of the file is not known any more: too little "
                           "history-memory or history-window, or a SWAPDB came between");
    return status;
}

static enum status walk(struct export *export, enum part part) {
    uint64_t cursor = 0;
    enum status status;
    export->part = part;
    do status = step(export, &cursor);
    while (status == OK && cursor != 0);
    return status;
}

static enum status write_databases(struct export *export) {
    enum status status = OK;
    for (uint32_t db = 0; status == OK && db < store_databases(export->store); db++) {
        export->db = db;
        export->begun = false;
        status = walk(export, export->split ? KEPT : ALL);
        if (status == OK && export->split) status = walk(export, EXCLUDED);
    }
    if (status != OK) return status;
    rdb_write_end(&export->writer);
    if (export->out.overflow) return problem_set(export->why, NO_MEMORY, 0, "no memory to write");
    return file_put(&export->file, buffer_bytes(&export->out), export->why);
}

/* Whether a key may ever have been left out of the history. */
static bool ever_excludes(const struct store *store) {
    const struct patterns *patterns = atomic_load_explicit(&store->exclude, memory_order_acquire);
    while (patterns && patterns->count == 0) patterns = patterns->older;
    return patterns != NULL;
}

/* The instant to read: 0 where no instant can be read as it was. */
static uint64_t choose_instant(const struct export *export, uint64_t at) {
    struct store_settings settings = store_settings(export->store);
    if (at) return at;
    if (!settings.history || settings.history_resolution_ms) return 0;
    struct txn txn;
    struct arena arena;
    arena_init(&arena);
    txn_begin_unlocked(&txn, export->worker, &arena, TXN_NO_TOUCH);
    at = past_now(&txn);
    txn_commit(&txn);
    arena_deinit(&arena);
    return at;
}

enum status rdb_export(struct env *env, const char *path, struct store *store,
                       struct worker *worker, uint64_t at, struct rdb_export_report *report,
                       struct problem *why) {
    struct export export = { .store = store, .worker = worker, .report = report, .why = why };
    *report = (struct rdb_export_report){ 0 };
    enum status status = file_begin(&export.file, env, path, why);
    if (status != OK) return status;
    worker_tick(worker);
    report->at = export.at = choose_instant(&export, at);
    export.split = !at && export.at && ever_excludes(store);
    uint64_t written_at = export.at ? export.at : worker_now_ns(worker);
    arena_init(&export.arena);
    buffer_init(&export.out, OUT_MAX);
    rdb_write_begin(&export.writer, &export.out, true, (int64_t)(written_at / NS_PER_S));
    status = write_databases(&export);
    buffer_deinit(&export.out);
    arena_deinit(&export.arena);
    if (!export.at) report->fuzzy_keys = report->keys;
    report->fuzzy = report->fuzzy_keys > 0;
    report->bytes = export.file.size;
    return file_end(&export.file, status, why);
}

/* --- reading --- */

enum status rdb_import_key(struct store *store, struct worker *worker, const struct rdb_key *key,
                           struct problem *why) {
    char scratch[INT_TEXT_MAX];
    if (key->db >= store_databases(store))
        return problem_set(why, LIMIT, 0, "it has a database %u, and there are %u here", key->db,
                           store_databases(store));
    struct key place = store_key(store, key->db, key->name);
    UNINITIALIZED struct arena arena;
    struct txn txn;
    arena_init(&arena);
    txn_begin_single(&txn, worker, &arena, place.shard, 0);
    txn.actor = store_actor_intern(store, BYTES("import"), BYTES(""));
    enum status status =
        txn_set_string(&txn, &place, value_text(&key->value, scratch), key->value.expire_at_ms);
    txn_commit(&txn);
    arena_deinit(&arena);
    if (status != OK) return problem_set(why, status, 0, "no memory for a key's value");
    return OK;
}

struct import {
    struct store *store;
    struct worker *worker;
    bool dry; /* the first time: only looks */
    uint64_t keys;
};

static enum status import_key(void *self, const struct rdb_key *key, struct problem *why) {
    struct import *import = self;
    if (import->dry && key->db < store_databases(import->store)) return OK; /* else: see below */
    if (import->keys++ % IMPORT_TICK == 0) worker_tick(import->worker);
    return rdb_import_key(import->store, import->worker, key, why);
}

static enum status import_once(struct import *import, struct env *env, const char *path,
                               int64_t now_ms, struct rdb_report *report, struct problem *why) {
    struct file_reader reader;
    enum status status = file_reader_open(&reader, env, path, why);
    if (status != OK) return status;
    struct rdb_source source = { file_reader_read, &reader };
    status = rdb_read(source, now_ms, import_key, import, report, why);
    if (status == OK && file_reader_left(&reader) > 0)
        status =
            problem_set(why, CORRUPT, 0, "%llu bytes follow the end of the RDB file: is it an AOF?",
                        (unsigned long long)file_reader_left(&reader));
    status = file_reader_blame(&reader, status, why);
    file_reader_close(&reader);
    return status;
}

enum status rdb_import(struct env *env, const char *path, struct store *store,
                       struct worker *worker, struct rdb_report *report, struct problem *why) {
    struct import import = { .store = store, .worker = worker, .dry = true };
    worker_tick(worker);
    int64_t now_ms = worker_now_ms(worker);
    enum status status = import_once(&import, env, path, now_ms, report, why);
    import.dry = false;
    return status == OK ? import_once(&import, env, path, now_ms, report, why) : status;
}
