/* persist_load.c: from files back to data: the base, then the log up to its last whole batch.
 *
 * The log is looked at twice: once to find where it ends and whether that is an honest end (file_journal_scan),
 * once to apply it. So nothing is applied of a log that turns out to be damaged. Each loading
 * thread reads all of the log and applies its own shards' blocks: reading is cheap beside applying. */
#include <stdio.h>

#include "log/persist_inside.h"
#include "store/replay.h"

enum { PROGRESS_NS = 1000 * 1000 * 1000 };

struct load {
    struct persist *persist;
    const char *dir;
    const struct manifest *manifest;
    struct replay *replay;
    uint64_t cut, last_seq;
    unsigned threads;
    uint64_t said_ns;
};

struct load_thread {
    struct load *load;
    pthread_t thread;
    unsigned index;
    bool started;
    struct worker *worker;
    enum status status;
    struct problem why;
};

static void say_progress(struct load *load, const char *what, uint64_t done, uint64_t total) {
    struct persist *persist = load->persist;
    pthread_mutex_lock(&persist->lock);
    persist->info.load_bytes = done;
    persist->info.load_total = total;
    pthread_mutex_unlock(&persist->lock);
    uint64_t now = env_monotonic_ns(persist->env);
    if (now - load->said_ns < PROGRESS_NS) return;
    load->said_ns = now;
    log_line(persist->log, LOG_NOTICE, what, LOG_I("done", (int64_t)done),
             LOG_I("of", (int64_t)total));
}

static void base_progress(void *self, uint64_t bytes, uint64_t total, uint64_t keys) {
    struct load *load = self;
    (void)keys;
    say_progress(load, "Loading the snapshot: bytes", bytes, total);
}

static enum status apply_batch(void *self, const struct journal_batch *batch, struct problem *why) {
    struct load_thread *thread = self;
    struct load *load = thread->load;
    struct bytes rest = batch->bytes;
    struct redo_block block;
    enum status status;
    while ((status = redo_next_block(&rest, &block, why)) == OK) {
        bool mine = block.shard == REDO_ACTORS ? thread->index == 0
                                               : block.shard % load->threads == thread->index;
        if (!mine) continue;
        status = replay_block(load->replay, thread->worker, &block, load->cut, why);
        if (status != OK) break;
    }
    worker_reap(thread->worker);
    if (thread->index == 0)
        say_progress(load, "Replaying the log: batches", batch->seq - load->manifest->base.seq,
                     load->last_seq - load->manifest->base.seq + 1);
    if (status == NOT_FOUND) return OK;
    char text[PROBLEM_TEXT_MAX];
    snprintf(text, sizeof text, "%s", why->text);
    return problem_set(why, status, 0, "%.180s (batch %llu of the log)", text,
                       (unsigned long long)batch->seq);
}

static void *replay_run(void *self) {
    struct load_thread *thread = self;
    struct load *load = thread->load;
    thread->worker = worker_new(load->persist->store);
    thread->status =
        file_journal_read(load->persist->env, load->dir, load->manifest, load->manifest->base.seq,
                          load->last_seq, apply_batch, thread, &thread->why);
    thread->worker = worker_free(thread->worker);
    return NULL;
}

static enum status replay_log(struct load *load, struct problem *why) {
    struct load_thread threads[16] = { 0 };
    if (load->threads > COUNT_OF(threads)) load->threads = COUNT_OF(threads);
    for (unsigned i = 0; i < load->threads; i++) {
        threads[i].load = load;
        threads[i].index = i;
        threads[i].started =
            i > 0 && pthread_create(&threads[i].thread, NULL, replay_run, &threads[i]) == 0;
        if (i > 0 && !threads[i].started) replay_run(&threads[i]);
    }
    replay_run(&threads[0]);
    enum status status = OK;
    for (unsigned i = 0; i < load->threads; i++) {
        if (threads[i].started) pthread_join(threads[i].thread, NULL);
        if (threads[i].status == OK || status != OK) continue;
        status = threads[i].status;
        if (why) *why = threads[i].why;
    }
    return status;
}

static enum status apply_all(struct load *load, struct problem *why) {
    struct persist *persist = load->persist;
    const struct manifest_base *base = &load->manifest->base;
    if (base->generation) {
        enum status status = snapshot_load(persist->env, load->dir, base, persist->store,
                                           load->replay, load->threads, base_progress, load, why);
        if (status != OK) return status;
    }
    if (load->manifest->logs_count == 0) return OK;
    return replay_log(load, why);
}

enum status persist_load(struct persist *persist, const char *dir, const struct manifest *manifest,
                         uint64_t until, struct file_journal_tail *tail, struct problem *why) {
    enum status status = file_journal_scan(persist->env, dir, manifest, tail, why);
    if (status != OK) return status;
    const struct manifest_base *base = &manifest->base;
    if (base->generation && tail->cut < base->to)
        return problem_set(why, CORRUPT, 0,
                           "the log ends before its snapshot does: acknowledged data is missing. "
                           "`pulsedb-check repair` makes a copy of what is whole");
    if (until < base->to)
        return problem_set(why, UNSUPPORTED, 0,
                           "the snapshot there is younger than that instant: it can be restored "
                           "from a copy of the directory that is older, or read with GETAT");
    struct load load = { .persist = persist,
                         .dir = dir,
                         .manifest = manifest,
                         .replay = replay_new(persist->store),
                         .cut = tail->cut < until ? tail->cut : until,
                         .last_seq = tail->last_seq,
                         .threads = persist->options.load_threads,
                         .said_ns = env_monotonic_ns(persist->env) };
    if (load.threads < 1) load.threads = 1;
    status = apply_all(&load, why);
    if (status == OK) {
        uint64_t floor = tail->cut > tail->highest_cut ? tail->cut : tail->highest_cut;
        replay_end(load.replay, floor);
        pthread_mutex_lock(&persist->lock);
        persist->info.loaded_records = replay_records(load.replay);
        pthread_mutex_unlock(&persist->lock);
    }
    replay_free(load.replay);
    return status;
}
