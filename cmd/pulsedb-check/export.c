/* export.c: RDB files: writing one of a database's files, and verifying one. */
#include <stdio.h>

#include "check.h"
#include "history/instant.h"
#include "load.h"
#include "log/file_reader.h"
#include "log/rdb_export.h"
#include "store/store.h"

enum { DATABASES_SHOWN = 256 };

/* The instant that was asked for: up to there the log is needed. A restore point is found once
 * all is loaded. */
static enum status read_until(const struct request *request, uint64_t *until, struct problem *why) {
    *until = UINT64_MAX;
    if (!request->at || request->at[0] == '@' || strcmp(request->at, "now") == 0) return OK;
    if (instant_parse(bytes_of(request->at), env_realtime_ns(request->env), until)) return OK;
    return problem_set(why, INVALID, 0,
                       "not an instant: %.100s (Unix milliseconds, 2026-11-23T05:41:00Z, -10m, "
                       "@name)",
                       request->at);
}

static enum status find_instant(const struct request *request, struct store *store,
                                const struct loaded *loaded, uint64_t until, uint64_t *at,
                                struct problem *why) {
    *at = loaded->cut;
    if (request->at && request->at[0] == '@') {
        if (store_pin_find(store, bytes_of(request->at + 1), at)) return OK;
        return problem_set(why, NOT_FOUND, 0, "there is no restore point %.100s", request->at + 1);
    }
    if (until < *at) *at = until;
    return OK;
}

static enum status write_rdb(const struct request *request, const struct manifest *manifest,
                             struct store *store, struct problem *why) {
    uint64_t until, at;
    struct loaded loaded;
    enum status status = read_until(request, &until, why);
    /* What the snapshot shows of its past is found in the past: then all of the log is needed. */
    bool past = until < manifest->base.to;
    if (status == OK)
        status = database_load(request->env, request->path, manifest, past ? UINT64_MAX : until,
                               store, &loaded, why);
    if (status == OK) status = find_instant(request, store, &loaded, until, &at, why);
    if (status != OK) return status;
    struct worker *worker = worker_new(store);
    struct rdb_export_report report;
    status = rdb_export(request->env, request->target, store, worker, at ? at : 1, &report, why);
    worker_free(worker);
    if (status != OK) return status;
    char instant[INSTANT_TEXT];
    printf("%s: %llu key%s, %llu bytes, as of %s\n", request->target, wide(report.keys),
           plural(report.keys), wide(report.bytes), instant_text(at, instant));
    if (report.fuzzy)
        printf("%llu of them have no history: they are as they were last\n",
               wide(report.fuzzy_keys));
    return OK;
}

static enum status export_dir(const struct request *request, struct problem *why) {
    struct manifest manifest;
    enum status status = manifest_read(request->env, request->path, &manifest, why);
    if (status != OK) return status;
    struct store *store = store_for(request->env, &manifest, why);
    status = store ? write_rdb(request, &manifest, store, why) : why->status;
    store_free(store);
    manifest_deinit(&manifest);
    return status;
}

int check_export(const struct request *request) {
    struct problem why = { .status = OK };
    uint64_t unused;
    if (read_until(request, &unused, &why) != OK) {
        complain(&why);
        return ENDS_USAGE;
    }
    if (!dir_hold(request->path)) {
        problem_set(&why, FULL, 0,
                    "a server is using %.160s: ask it (SAVE RDB file.rdb), or stop it",
                    request->path);
        return complain(&why);
    }
    return export_dir(request, &why) == OK ? ENDS_WHOLE : complain(&why);
}

/* --- looking at one --- */

struct rdb_counts {
    uint64_t keys[DATABASES_SHOWN], expiring[DATABASES_SHOWN];
    uint64_t others; /* of databases beyond */
};

static enum status count_key(void *self, const struct rdb_key *key, struct problem *why) {
    struct rdb_counts *counts = self;
    (void)why;
    if (key->db >= DATABASES_SHOWN) {
        counts->others++;
        return OK;
    }
    counts->keys[key->db]++;
    counts->expiring[key->db] += key->value.expire_at_ms != 0;
    return OK;
}

static void say_rdb(const char *path, const struct rdb_report *report,
                    const struct rdb_counts *counts) {
    printf("%s: %s RDB, version %u\n", path, report->valkey ? "a Valkey" : "a Redis",
           report->version);
    for (unsigned db = 0; db < DATABASES_SHOWN; db++)
        if (counts->keys[db])
            printf("  db%u  %llu key%s, %llu with an expiry\n", db, wide(counts->keys[db]),
                   plural(counts->keys[db]), wide(counts->expiring[db]));
    if (counts->others)
        printf("  databases from %d on: %llu keys\n", DATABASES_SHOWN, wide(counts->others));
    if (report->functions)
        printf("  %llu function libraries: an import passes over them\n", wide(report->functions));
    if (report->modules)
        printf("  %llu parts of modules: an import passes over them\n", wide(report->modules));
    puts("Whole.");
}

int check_rdb(const struct request *request) {
    struct file_reader reader;
    struct problem why = { .status = OK };
    if (file_reader_open(&reader, request->env, request->path, &why) != OK) return complain(&why);
    struct bytes start;
    enum status status = file_reader_peek(&reader, RDB_MAGIC_LEN, &start, &why);
    if (status == OK && !rdb_is(start))
        status = problem_set(&why, IO, 0, "%s is not an RDB file", request->path);
    struct rdb_counts counts = { .others = 0 };
    struct rdb_report report;
    if (status == OK) {
        struct rdb_source source = { file_reader_read, &reader };
        status = rdb_read(source, 0, count_key, &counts, &report, &why);
        if (status == OK && file_reader_left(&reader) > 0)
            status = problem_set(&why, CORRUPT, 0, "%llu bytes follow its end",
                                 wide(file_reader_left(&reader)));
        status = file_reader_blame(&reader, status, &why);
    }
    file_reader_close(&reader);
    if (status != OK) return complain(&why);
    say_rdb(request->path, &report, &counts);
    return ENDS_WHOLE;
}
