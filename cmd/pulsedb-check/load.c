#include "load.h"

#include <stdio.h>

#include "base/env.h"
#include "base/limits.h"
#include "log/journal.h"
#include "log/snapshot.h"
#include "store/replay.h"
#include "store/store.h"

enum { LOAD_THREADS = 2 };

struct store *store_for(struct env *env, const struct manifest *manifest, struct problem *why) {
    if (manifest->shards & (manifest->shards - 1)) {
        problem_set(why, CORRUPT, 0, "MANIFEST says %u shards, which no server makes",
                    manifest->shards);
        return NULL;
    }
    struct store_options options = {
        .env = env,
        .shards = manifest->shards,
        .databases = DATABASES_MAX,
        .workers_max = LOAD_THREADS + 2,
        .seed = &manifest->seed,
    };
    struct store *store = store_new(&options);
    struct store_settings settings = store_settings(store);
    settings.active_expire = false;
    settings.history_memory = UINT64_MAX / 4; /* what is in the files has to fit anyway */
    store_configure(store, &settings);
    return store;
}

struct loading {
    struct replay *replay;
    struct worker *worker;
    uint64_t cut;
};

static enum status apply(void *self, const struct journal_batch *batch, struct problem *why) {
    struct loading *loading = self;
    struct bytes rest = batch->bytes;
    struct redo_block block;
    enum status status;
    while ((status = redo_next_block(&rest, &block, why)) == OK) {
        status = replay_block(loading->replay, loading->worker, &block, loading->cut, why);
        if (status != OK) break;
    }
    if (status == NOT_FOUND) return OK;
    struct problem found = *why;
    return problem_set(why, status, found.error, "%.180s (frame %llu of the log)", found.text,
                       (unsigned long long)batch->seq);
}

static enum status load_all(struct env *env, const char *dir, const struct manifest *manifest,
                            const struct file_journal_tail *tail, struct store *store,
                            struct loading *loading, struct problem *why) {
    const struct manifest_base *base = &manifest->base;
    if (base->generation) {
        enum status status =
            snapshot_load(env, dir, base, store, loading->replay, LOAD_THREADS, NULL, NULL, why);
        if (status != OK) return status;
    }
    return file_journal_read(env, dir, manifest, base->seq, tail->last_seq, apply, loading, why);
}

enum status database_load(struct env *env, const char *dir, const struct manifest *manifest,
                          uint64_t until, struct store *store, struct loaded *out,
                          struct problem *why) {
    struct file_journal_tail tail;
    enum status status = file_journal_scan(env, dir, manifest, &tail, why);
    if (status != OK) return status;
    if (manifest->base.generation && tail.cut < manifest->base.to)
        return problem_set(why, CORRUPT, 0, "the log ends before its snapshot does");
    struct loading loading = { .replay = replay_new(store),
                               .worker = worker_new(store),
                               .cut = tail.cut < until ? tail.cut : until };
    status = load_all(env, dir, manifest, &tail, store, &loading, why);
    if (status == OK) replay_end(loading.replay, loading.cut);
    struct store_stats stats;
    store_stats(store, NULL, &stats);
    *out = (struct loaded){ .keys = stats.keys,
                            .versions = stats.history_records,
                            .records = replay_records(loading.replay),
                            .cut = loading.cut };
    worker_free(loading.worker);
    replay_free(loading.replay);
    return status;
}
