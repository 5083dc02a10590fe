/* persist.c: the life of what makes a store durable: open, recover, configure, stop. */
#include "log/persist.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "log/persist_inside.h"

enum { LOCK_NAME_ROOM = 8 };

/* --- opening --- */

static void locks_init(struct persist *persist) {
    pthread_mutex_init(&persist->append, NULL);
    pthread_mutex_init(&persist->sync, NULL);
    pthread_mutex_init(&persist->lock, NULL);
    pthread_mutex_init(&persist->manifest.lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&persist->bell, &monotonic);
    pthread_cond_init(&persist->snap_bell, NULL);
    pthread_cond_init(&persist->done, NULL);
    pthread_condattr_destroy(&monotonic);
}

static void locks_deinit(struct persist *persist) {
    pthread_mutex_destroy(&persist->append);
    pthread_mutex_destroy(&persist->sync);
    pthread_mutex_destroy(&persist->lock);
    pthread_mutex_destroy(&persist->manifest.lock);
    pthread_cond_destroy(&persist->bell);
    pthread_cond_destroy(&persist->snap_bell);
    pthread_cond_destroy(&persist->done);
}

static enum status take_dir(struct persist *persist, struct problem *why) {
    size_t size = strlen(persist->dir) + LOCK_NAME_ROOM;
    char *path = mem_new(size);
    snprintf(path, size, "%s/LOCK", persist->dir);
    int error = persist->env->ops->lock(persist->env, path, &persist->dir_lock);
    mem_free(path, size);
    if (error == 0) return OK;
    if (error == -EWOULDBLOCK)
        return problem_set(why, FULL, 0,
                           "another server uses the directory %s: two would destroy each other's "
                           "files. Give this one its own with --dir",
                           persist->dir);
    return problem_set(why, IO, -error, "cannot write in the directory %s (see --dir): %s",
                       persist->dir, strerror(-error));
}

static void new_manifest(struct persist *persist, unsigned shards, const struct siphash_key *seed) {
    struct manifest *manifest = &persist->manifest.now;
    manifest_init(manifest);
    env_random(persist->env, manifest->identity, sizeof manifest->identity);
    manifest->seed = *seed;
    manifest->shards = shards;
    manifest->base.seq = 1;
}

struct persist *persist_new(const struct persist_options *options, unsigned *shards,
                            struct siphash_key *seed, struct problem *why) {
    struct persist *persist = mem_new_zero(sizeof *persist);
    persist->options = *options;
    persist->env = options->env;
    persist->log = options->log;
    size_t size = strlen(options->dir) + 1;
    persist->dir = mem_new(size);
    memcpy(persist->dir, options->dir, size);
    locks_init(persist);
    redo_batch_init(&persist->batch);
    persist->state = PERSIST_RECOVERING;
    persist->info.last_write_ok = true;
    persist->info.last_took_ms = -1;
    if (take_dir(persist, why) != OK) return persist_free(persist);
    enum status status = manifest_read(persist->env, persist->dir, &persist->manifest.now, why);
    if (status == NOT_FOUND) {
        persist->fresh = true;
        new_manifest(persist, *shards, seed);
    } else if (status != OK) {
        return persist_free(persist);
    }
    *shards = persist->manifest.now.shards;
    *seed = persist->manifest.now.seed;
    return persist;
}

enum status persist_peek(struct env *env, const char *dir, unsigned *shards,
                         struct siphash_key *seed, struct problem *why) {
    struct manifest manifest;
    enum status status = manifest_read(env, dir, &manifest, why);
    if (status == NOT_FOUND)
        return problem_set(why, NOT_FOUND, 0, "there is no database in the directory %s", dir);
    if (status != OK) return status;
    *shards = manifest.shards;
    *seed = manifest.seed;
    manifest_deinit(&manifest);
    return OK;
}

/* --- recovering --- */

static void store_settings_of(struct persist *persist, const struct persist_settings *settings) {
    pthread_mutex_lock(&persist->lock);
    persist->settings = *settings;
    pthread_mutex_unlock(&persist->lock);
    atomic_store(&persist->fsync, settings->fsync);
}

static enum status start_threads(struct persist *persist, struct problem *why) {
    if (!persist->options.threads) return OK;
    int error = pthread_create(&persist->log_thread, NULL, persist_log_run, persist);
    persist->log_started = error == 0;
    if (!error) {
        pthread_setname_np(persist->log_thread, "pulse-log");
        error = pthread_create(&persist->snap_thread, NULL, persist_snap_run, persist);
        persist->snap_started = error == 0;
    }
    if (error) return problem_set(why, IO, error, "cannot make a thread: %s", strerror(error));
    pthread_setname_np(persist->snap_thread, "pulse-snap");
    return OK;
}

/* The disk takes no new log: it was read all the same, so it can be shown. */
static void say_refusing(struct persist *persist, const struct problem *why) {
    pthread_mutex_lock(&persist->lock);
    persist->info.last_write_ok = false;
    persist->info.write_errors++;
    pthread_mutex_unlock(&persist->lock);
    log_line(persist->log, LOG_WARNING,
             "The log cannot be taken up: writes are refused until it can, reads go on",
             LOG_S("error", why->text), LOG_S("why", strerror(why->error)));
}

/* The journal continues after the tail; from now on changes are recorded, or not, as the settings say. */
static enum status begin_logging(struct persist *persist, const struct file_journal_tail *tail,
                                 bool appendonly, struct problem *why) {
    persist->journal = file_journal_open(persist->env, persist->dir, &persist->manifest, tail,
                                         persist->options.segment_size, why);
    if (!persist->journal) return why->status;
    bool open = file_journal_is_open(persist->journal);
    if (!open && persist->fresh) return why->status; /* there is nothing to show */
    persist->next_seq = file_journal_next_seq(persist->journal);
    persist->frame_cut = persist->synced_frame_cut = tail->cut;
    persist->batch.actors = store_actors_interned(persist->store);
    uint64_t now = store_now(persist->store);
    uint64_t durable = open ? tail->cut : file_journal_found_durable(persist->journal);
    persist_raise(&persist->written_cut, durable);
    persist_raise(&persist->synced_cut, durable);
    persist->recording = appendonly;
    store_redo_switch(persist->store, appendonly);
    store_gate_reads(persist->store, appendonly && persist->fsync == PERSIST_ALWAYS);
    pthread_mutex_lock(&persist->lock);
    persist->info.last_save_s = (int64_t)(now / 1000000000);
    persist->info.torn_bytes = tail->torn_bytes;
    persist->changes_saved = store_counter(persist->store, COUNTER_changes);
    pthread_mutex_unlock(&persist->lock);
    if (!open && appendonly) say_refusing(persist, why);
    enum persist_state state = open ? PERSIST_LOGGING : PERSIST_REFUSING;
    persist_set_state(persist, appendonly ? state : PERSIST_OFF, open ? 0 : why->error);
    persist_ack(persist);
    return start_threads(persist, why);
}

static void say_loaded(struct persist *persist, const struct file_journal_tail *tail,
                       uint64_t began_ns) {
    struct store_stats stats;
    store_stats(persist->store, NULL, &stats);
    uint64_t ms = (env_monotonic_ns(persist->env) - began_ns) / 1000000;
    pthread_mutex_lock(&persist->lock);
    persist->info.loaded_keys = stats.keys;
    persist->info.load_ms = ms;
    uint64_t records = persist->info.loaded_records;
    pthread_mutex_unlock(&persist->lock);
    log_line(persist->log, LOG_NOTICE, "Loaded", LOG_I("keys", (int64_t)stats.keys),
             LOG_I("versions", (int64_t)stats.history_records),
             LOG_I("log_records", (int64_t)records), LOG_I("ms", (int64_t)ms));
    if (tail->torn_bytes)
        log_line(persist->log, LOG_WARNING,
                 "The log ended in a torn write that was never acknowledged: it was cut off, a "
                 "copy is beside it",
                 LOG_I("bytes", (int64_t)tail->torn_bytes), LOG_I("log", (int64_t)tail->torn_log),
                 LOG_I("offset", (int64_t)tail->torn_at));
}

static enum status load_own(struct persist *persist, struct file_journal_tail *tail,
                            struct problem *why) {
    uint64_t began_ns = env_monotonic_ns(persist->env);
    struct manifest *manifest = &persist->manifest.now;
    *tail = (struct file_journal_tail){ .last_seq = manifest->base.seq - 1 };
    if (persist->fresh) return OK;
    enum status status = persist_load(persist, persist->dir, manifest, UINT64_MAX, tail, why);
    if (status == OK) say_loaded(persist, tail, began_ns);
    return status;
}

enum status persist_recover(struct persist *persist, struct store *store,
                            const struct persist_settings *settings, struct problem *why) {
    persist->store = store;
    store_settings_of(persist, settings);
    struct file_journal_tail tail;
    enum status status = load_own(persist, &tail, why);
    return status == OK ? begin_logging(persist, &tail, settings->appendonly, why) : status;
}

/* begin_logging for a store that holds what no log has: the base that follows is the first to have it. Until then
 * an old directory is what it was, and a new one is not one that lacks everything. */
static enum status begin_with_base(struct persist *persist, const struct file_journal_tail *tail,
                                   bool appendonly, struct problem *why) {
    enum status status = OK;
    if (persist->fresh) status = manifest_unfinished(persist->env, persist->dir, why);
    if (status == OK) status = begin_logging(persist, tail, appendonly, why);
    if (status == OK) status = persist_save(persist, false, why);
    if (status == OK && persist->fresh) status = manifest_finished(persist->env, persist->dir, why);
    return status;
}

enum status persist_import(struct persist *persist, struct store *store,
                           const struct persist_settings *settings,
                           enum status (*fill)(void *self, struct problem *why), void *self,
                           struct problem *why) {
    persist->store = store;
    store_settings_of(persist, settings);
    struct file_journal_tail tail;
    enum status status = load_own(persist, &tail, why);
    if (status == OK) status = fill(self, why);
    return status == OK ? begin_with_base(persist, &tail, settings->appendonly, why) : status;
}

enum status persist_restore(struct persist *persist, struct store *store,
                            const struct persist_settings *settings, const char *from_dir,
                            uint64_t instant, struct problem *why) {
    persist->store = store;
    store_settings_of(persist, settings);
    if (!persist->fresh)
        return problem_set(
            why, INVALID, 0,
            "the directory %s holds a database already: --restore-to makes a new one",
            persist->dir);
    struct manifest from;
    enum status status = manifest_read(persist->env, from_dir, &from, why);
    if (status == NOT_FOUND)
        return problem_set(why, NOT_FOUND, 0, "there is no database in the directory %s", from_dir);
    if (status != OK) return status;
    struct file_journal_tail tail;
    uint64_t began_ns = env_monotonic_ns(persist->env);
    status = persist_load(persist, from_dir, &from, instant, &tail, why);
    manifest_deinit(&from);
    if (status != OK) return status;
    if (from.base.generation == 0 && persist->info.loaded_records == 0)
        return problem_set(why, NOT_FOUND, 0,
                           "the log in %s begins after that instant, or is empty", from_dir);
    say_loaded(persist, &(struct file_journal_tail){ 0 }, began_ns);
    struct file_journal_tail start = { .last_seq = persist->manifest.now.base.seq - 1,
                                       .cut = store_now(store) };
    return begin_with_base(persist, &start, settings->appendonly, why);
}

/* --- changing the settings --- */

/* The rest is the log thread's to do (persist_follow_settings): whoever calls may hold shards, and may not wait. */
void persist_configure(struct persist *persist, const struct persist_settings *settings) {
    store_settings_of(persist, settings);
    if (persist_state(persist) == PERSIST_RECOVERING) return;
    store_gate_reads(persist->store, persist_gates_reads(persist));
    pthread_mutex_lock(&persist->lock);
    persist->configured = true;
    pthread_cond_signal(&persist->bell);
    pthread_mutex_unlock(&persist->lock);
}

/* --- figures --- */

void persist_info(struct persist *persist, struct persist_info *out) {
    uint64_t now = env_monotonic_ns(persist->env);
    uint64_t total = persist->store ? store_counter(persist->store, COUNTER_changes) : 0;
    pthread_mutex_lock(&persist->lock);
    *out = persist->info;
    out->state = persist_state(persist);
    out->snapshot_running = persist->job != JOB_NONE;
    out->running_ms = persist->job_runs ? (int64_t)((now - persist->job_began_ns) / 1000000) : -1;
    out->changes_since = total >= persist->changes_saved ? total - persist->changes_saved : total;
    pthread_mutex_unlock(&persist->lock);
    out->written_cut = atomic_load_explicit(&persist->written_cut, memory_order_relaxed);
    out->synced_cut = atomic_load_explicit(&persist->synced_cut, memory_order_relaxed);
    if (out->state == PERSIST_RECOVERING) return;
    pthread_mutex_lock(&persist->manifest.lock);
    struct manifest_base base = persist->manifest.now.base;
    pthread_mutex_unlock(&persist->manifest.lock);
    out->base_size = base.keys_size + base.past_size;
    out->log_size = file_journal_size(persist->journal, base.seq);
}

/* --- without threads --- */

bool persist_turn(struct persist *persist) {
    uint64_t wait_ns = 0;
    bool more = persist_log_round(persist) == 0;
    more |= persist_snap_step(persist, &wait_ns);
    return more;
}

/* --- the end --- */

static void join_threads(struct persist *persist) {
    pthread_mutex_lock(&persist->lock);
    persist->stop = true;
    pthread_cond_broadcast(&persist->bell);
    pthread_cond_broadcast(&persist->snap_bell);
    pthread_mutex_unlock(&persist->lock);
    if (persist->snap_started) pthread_join(persist->snap_thread, NULL);
    if (persist->log_started) pthread_join(persist->log_thread, NULL);
    persist->snap_started = persist->log_started = false;
    persist->snapshot = snapshot_free(persist->snapshot, false);
    persist->snap_worker = worker_free(persist->snap_worker);
}

static enum status close_log(struct persist *persist, struct problem *why) {
    if (!file_journal_is_open(persist->journal)) {
        enum status status = journal_prepare(persist->journal, why);
        if (status != OK) return status;
    }
    pthread_mutex_lock(&persist->append);
    bool written = persist_write_end(persist);
    pthread_mutex_unlock(&persist->append);
    if (!written || !persist_sync(persist))
        return problem_set(why, IO, EIO, "the end of the log could not be written");
    persist_ack(persist);
    return file_journal_close_clean(persist->journal, persist->written_cut, why);
}

enum status persist_stop(struct persist *persist, bool in_order, struct problem *why) {
    join_threads(persist);
    enum persist_state state = persist_state(persist);
    if (!in_order || !persist->journal || state == PERSIST_RECOVERING) return OK;
    if (state == PERSIST_OFF) return OK;
    return close_log(persist, why);
}

struct persist *persist_free(struct persist *persist) {
    if (!persist) return NULL;
    join_threads(persist);
    persist->journal = journal_free(persist->journal);
    if (persist->dir_lock) persist->env->ops->close(persist->env, persist->dir_lock);
    manifest_deinit(&persist->manifest.now);
    redo_batch_deinit(&persist->batch);
    locks_deinit(persist);
    mem_free(persist->dir, strlen(persist->dir) + 1);
    mem_free(persist, sizeof *persist);
    return NULL;
}
