/* persist_snap.c: jobs that write a base: a snapshot, healing after a failed sync, turning the log on.
 *
 *     begin ── (heal, switch, or no log: a new log) ── capture ── step* ── the log durable past its end
 *          ── manifest: this base, the log from here on ── the old files go
 *
 * All three are the same but for what the log was before. A base is worth nothing without the log up to the
 * instant at which its last key was visited, so that is made durable before the manifest names it. */
#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#include "log/persist_inside.h"

enum {
    SNAP_NICE = 5,
    RETRY_RULE_MS = 5000,
    SAY_AGAIN_S = 60,
    NAP_NS = 50 * 1000 * 1000, /* a slow snapshot looks up so often */
    LOGS_MOST = 64,
    LOG_BYTES_LEAST = 512 * 1024 * 1024, /* some three seconds of replay */
    NS_PER_S = 1000 * 1000 * 1000,
};

static uint64_t changes(struct persist *persist) {
    return store_counter(persist->store, COUNTER_changes);
}

bool persist_ask(struct persist *persist, enum persist_job job, enum persist_cause cause) {
    pthread_mutex_lock(&persist->lock);
    bool free = persist->job == JOB_NONE && !persist->stop;
    if (free) {
        persist->job = job;
        persist->info.cause = cause;
        pthread_cond_signal(&persist->snap_bell);
    }
    pthread_mutex_unlock(&persist->lock);
    return free;
}

bool persist_snapshot(struct persist *persist, enum persist_cause cause) {
    if (persist_state(persist) == PERSIST_RECOVERING) return false;
    return persist_ask(persist, JOB_SNAPSHOT, cause);
}

void persist_snapshot_after(struct persist *persist) {
    pthread_mutex_lock(&persist->lock);
    bool busy = persist->job != JOB_NONE;
    persist->again = busy;
    pthread_mutex_unlock(&persist->lock);
    if (!busy) (void)persist_snapshot(persist, PERSIST_BY_COMMAND);
}

/* --- rules --- */

/* Whether a save rule is due. `lock` is held. */
static bool rule_due(const struct persist *persist, uint64_t changed, int64_t now_s) {
    const struct persist_settings *settings = &persist->settings;
    for (size_t i = 0; i < settings->save_count; i++)
        if (changed >= settings->save[i].changes &&
            now_s - persist->info.last_save_s >= (int64_t)settings->save[i].seconds)
            return true;
    return false;
}

static bool has_grown(struct persist *persist) {
    pthread_mutex_lock(&persist->lock);
    uint64_t limit = persist->settings.snapshot_log_bytes;
    pthread_mutex_unlock(&persist->lock);
    pthread_mutex_lock(&persist->manifest.lock);
    struct manifest_base base = persist->manifest.now.base;
    size_t logs = persist->manifest.now.logs_count;
    pthread_mutex_unlock(&persist->manifest.lock);
    if (logs > LOGS_MOST) return true; /* each start adds one */
    if (!limit) {
        limit = base.keys_size + base.past_size;
        if (limit < LOG_BYTES_LEAST) limit = LOG_BYTES_LEAST;
    }
    return file_journal_size(persist->journal, base.seq) >= limit;
}

void persist_apply_rules(struct persist *persist) {
    enum persist_state state = persist_state(persist);
    if (state != PERSIST_LOGGING && state != PERSIST_OFF) return;
    uint64_t now = persist_now(persist), total = changes(persist);
    int64_t now_s = (int64_t)(env_realtime_ns(persist->env) / NS_PER_S);
    pthread_mutex_lock(&persist->lock);
    uint64_t changed = total >= persist->changes_saved ? total - persist->changes_saved : total;
    uint64_t failed = persist->job_failed_ns;
    bool idle =
        persist->job == JOB_NONE && (!failed || now - failed >= (uint64_t)RETRY_RULE_MS * 1000000);
    bool due = idle && rule_due(persist, changed, now_s);
    pthread_mutex_unlock(&persist->lock);
    if (due)
        (void)persist_ask(persist, JOB_SNAPSHOT, PERSIST_BY_RULE);
    else if (idle && state == PERSIST_LOGGING && has_grown(persist))
        (void)persist_ask(persist, JOB_SNAPSHOT, PERSIST_BY_GROWTH);
}

/* --- one job --- */

static const char *const cause_words[] = {
    [PERSIST_BY_COMMAND] = "a command",       [PERSIST_BY_RULE] = "a save rule",
    [PERSIST_BY_GROWTH] = "the log's growth", [PERSIST_BY_REWRITE] = "BGREWRITEAOF",
    [PERSIST_BY_HEALING] = "a failed log",    [PERSIST_BY_SWITCH] = "appendonly yes",
};

/* From here on everything is recorded, in a log that knows nothing of what was before. */
static enum status begin_log(struct persist *persist, struct problem *why) {
    enum status status = journal_restart(persist->journal, why);
    if (status != OK) return status;
    store_redo_switch(persist->store, true);
    persist->recording = true;
    persist->pending = false;
    return OK;
}

/* Where the log has to be replayed from, for what is captured after this. */
static enum status begin_base(struct persist *persist, enum persist_job job, uint64_t *seq,
                              struct problem *why) {
    enum status status = OK;
    pthread_mutex_lock(&persist->append);
    enum persist_state state = persist_state(persist);
    if (job == JOB_SNAPSHOT && state != PERSIST_LOGGING && state != PERSIST_OFF)
        status = problem_set(why, IO, EIO, "the log cannot be written");
    else if (job != JOB_SNAPSHOT || state == PERSIST_OFF)
        status = begin_log(persist, why);
    else if (!persist_write(persist, 0))
        status = problem_set(why, IO, EIO, "the log cannot be written");
    *seq = persist->next_seq;
    pthread_mutex_unlock(&persist->append);
    return status;
}

static enum status begin(struct persist *persist, enum persist_job job, struct problem *why) {
    uint64_t seq;
    enum status status = begin_base(persist, job, &seq, why);
    if (status != OK) return status;
    pthread_mutex_lock(&persist->manifest.lock);
    uint64_t base = persist->manifest.now.base.generation;
    pthread_mutex_unlock(&persist->manifest.lock);
    persist->generation = (base > persist->generation ? base : persist->generation) + 1;
    persist->named = false;
    pthread_mutex_lock(&persist->lock);
    struct snapshot_options options = { .env = persist->env,
                                        .dir = persist->dir,
                                        .store = persist->store,
                                        .worker = persist->snap_worker,
                                        .generation = persist->generation,
                                        .past = persist->settings.history_persist,
                                        .rate = persist->settings.snapshot_rate,
                                        .seq = seq };
    persist->job_changes = changes(persist);
    pthread_mutex_unlock(&persist->lock);
    persist->snapshot = snapshot_begin(&options, why);
    return persist->snapshot ? OK : why->status;
}

/* The log up to the snapshot's end is durable, then the manifest says what is the base now. */
static enum status adopt(struct persist *persist, const struct manifest_base *base,
                         struct problem *why) {
    pthread_mutex_lock(&persist->append);
    bool written = persist_write(persist, base->to);
    pthread_mutex_unlock(&persist->append);
    if (!written || !persist_sync(persist))
        return problem_set(why, IO, EIO, "the log cannot be written");
    persist->named = true;
    return file_journal_put_base(persist->journal, base, why);
}

void persist_stop_recording(struct persist *persist) {
    pthread_mutex_lock(&persist->append);
    store_redo_switch(persist->store, false);
    persist->recording = persist->pending = false;
    pthread_mutex_unlock(&persist->append);
}

/* What the job was for has come true, unless somebody wants something else by now. */
static void settle(struct persist *persist, enum persist_job job) {
    if (job == JOB_SNAPSHOT) return;
    pthread_mutex_lock(&persist->lock);
    bool appendonly = persist->settings.appendonly;
    pthread_mutex_unlock(&persist->lock);
    if (job == JOB_SWITCH && !appendonly) return;
    store_gate_reads(persist->store, atomic_load(&persist->fsync) == PERSIST_ALWAYS);
    persist_set_state(persist, PERSIST_LOGGING, 0);
    persist_ack(persist);
    if (job == JOB_HEAL) {
        log_write(persist->log, LOG_NOTICE,
                  "A new log and a new snapshot are durable: writes are taken again", NULL, 0);
        pthread_mutex_lock(&persist->lock);
        persist->info.heals++;
        persist->info.last_write_ok = true;
        pthread_mutex_unlock(&persist->lock);
    }
    if (persist->options.moved) persist->options.moved(persist->options.self);
}

static void end(struct persist *persist, enum persist_job job, enum status status,
                const struct problem *why) {
    struct snapshot_progress progress = { 0 };
    if (persist->snapshot) progress = snapshot_progress(persist->snapshot);
    persist->snapshot = snapshot_free(persist->snapshot, persist->named);
    if (status == OK) settle(persist, job);
    /* A log that was begun for one snapshot alone. */
    if (persist_state(persist) == PERSIST_OFF) persist_stop_recording(persist);
    uint64_t now = persist_now(persist);
    pthread_mutex_lock(&persist->lock);
    struct persist_info *info = &persist->info;
    int64_t took_ms = (int64_t)((now - persist->job_began_ns) / 1000000);
    enum persist_cause cause = info->cause;
    /* A disk that stays broken is tried five times a second: said once, then once a minute. */
    bool quiet = status != OK && job == JOB_HEAL && persist->heal_said_ns &&
                 now - persist->heal_said_ns < (uint64_t)SAY_AGAIN_S * NS_PER_S;
    if (!quiet) persist->heal_said_ns = status != OK && job == JOB_HEAL ? now : 0;
    info->last_failed = status != OK;
    if (status == OK) {
        info->snapshots++;
        info->last_took_ms = took_ms;
        info->last_save_s = (int64_t)(env_realtime_ns(persist->env) / NS_PER_S);
        persist->changes_saved = persist->job_changes;
        persist->job_failed_ns = 0;
    } else {
        info->failures++;
        persist->job_failed_ns = now ? now : 1;
    }
    persist->job = persist->again && !persist->stop ? JOB_SNAPSHOT : JOB_NONE;
    if (persist->again) info->cause = PERSIST_BY_COMMAND;
    persist->again = persist->job_runs = false;
    persist->jobs_done++;
    pthread_cond_broadcast(&persist->done);
    pthread_mutex_unlock(&persist->lock);
    if (status == OK)
        log_line(persist->log, LOG_NOTICE, "Snapshot done", LOG_S("for", cause_words[cause]),
                 LOG_I("keys", (int64_t)progress.keys_done),
                 LOG_I("bytes", (int64_t)progress.bytes), LOG_I("ms", took_ms));
    else if (!quiet)
        log_line(persist->log, LOG_WARNING, "Snapshot failed", LOG_S("for", cause_words[cause]),
                 LOG_S("error", why->text));
}

static enum status step(struct persist *persist, struct manifest_base *base, uint64_t *wait_ns,
                        struct problem *why) {
    enum status status = snapshot_step(persist->snapshot, base, wait_ns, why);
    struct snapshot_progress progress = snapshot_progress(persist->snapshot);
    pthread_mutex_lock(&persist->lock);
    persist->info.keys_done = progress.keys_done;
    persist->info.keys_total = progress.keys_total;
    pthread_mutex_unlock(&persist->lock);
    return status;
}

bool persist_snap_step(struct persist *persist, uint64_t *wait_ns) {
    struct problem why = { .status = OK };
    *wait_ns = 0;
    pthread_mutex_lock(&persist->lock);
    enum persist_job job = persist->job;
    bool starts = job != JOB_NONE && !persist->job_runs;
    if (starts) {
        persist->job_runs = true;
        persist->job_began_ns = persist_now(persist);
    }
    bool stop = persist->stop;
    pthread_mutex_unlock(&persist->lock);
    if (job == JOB_NONE) return false;
    if (!persist->snap_worker) persist->snap_worker = worker_new(persist->store);
    worker_tick(persist->snap_worker);

    struct manifest_base base;
    enum status status = starts ? begin(persist, job, &why) : OK;
    if (status == OK && stop)
        status = problem_set(&why, STOPPED, 0, "the server stops");
    else if (status == OK)
        status = step(persist, &base, wait_ns, &why);
    worker_reap(persist->snap_worker);
    if (status == NEED_MORE) return true;
    if (status == OK) status = adopt(persist, &base, &why);
    end(persist, job, status, &why);
    return false;
}

static bool is_stopping(struct persist *persist) {
    pthread_mutex_lock(&persist->lock);
    bool stop = persist->stop;
    pthread_mutex_unlock(&persist->lock);
    return stop;
}

void *persist_snap_run(void *self) {
    struct persist *persist = self;
    /* It can wait; who serves cannot. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + SNAP_NICE);
    persist->snap_worker = worker_new(persist->store);
    pthread_mutex_lock(&persist->lock);
    while (!persist->stop || persist->job_runs) {
        if (persist->job == JOB_NONE) {
            pthread_cond_wait(&persist->snap_bell, &persist->lock);
            continue;
        }
        pthread_mutex_unlock(&persist->lock);
        uint64_t wait_ns;
        bool more = persist_snap_step(persist, &wait_ns);
        while (more && wait_ns && !is_stopping(persist)) {
            uint64_t nap = wait_ns < NAP_NS ? wait_ns : NAP_NS;
            persist->env->ops->sleep_ns(persist->env, nap);
            wait_ns -= nap;
        }
        pthread_mutex_lock(&persist->lock);
    }
    pthread_mutex_unlock(&persist->lock);
    persist->snap_worker = worker_free(persist->snap_worker);
    return NULL;
}

enum status persist_save(struct persist *persist, bool queue, struct problem *why) {
    pthread_mutex_lock(&persist->lock);
    bool busy = persist->job != JOB_NONE;
    uint64_t target = persist->jobs_done + (busy ? 2 : 1);
    bool refused = persist->stop || (busy && !queue);
    if (busy && queue) {
        persist->again = true;
    } else if (!refused) {
        persist->job = JOB_SNAPSHOT;
        persist->info.cause = PERSIST_BY_COMMAND;
        pthread_cond_signal(&persist->snap_bell);
    }
    pthread_mutex_unlock(&persist->lock);
    if (refused) return problem_set(why, FULL, 0, "Background save already in progress");
    uint64_t wait_ns;
    while (!persist->snap_started && persist->jobs_done < target)
        (void)persist_snap_step(persist, &wait_ns);
    pthread_mutex_lock(&persist->lock);
    while (persist->jobs_done < target) pthread_cond_wait(&persist->done, &persist->lock);
    bool failed = persist->info.last_failed;
    pthread_mutex_unlock(&persist->lock);
    return failed ? problem_set(why, IO, 0, "the snapshot failed: the server's log says why") : OK;
}
