/* persist_log.c: from redo buffers to a durable log: writing, syncing, and what follows when either fails. */
#include <errno.h>
#include <string.h>

#include "log/persist_inside.h"
#include "metrics/latency.h"

enum {
    NS_PER_MS = 1000 * 1000,
    TICK_NS = 100 * NS_PER_MS, /* the longest that the log thread sleeps */
    RETRY_NS = 200 * NS_PER_MS,
    OPEN_AGAIN_NS = 1000 * NS_PER_MS, /* a try may write a log's worth, and take it back */
    RULES_NS = 100 * NS_PER_MS,
    SWITCH_AGAIN_NS = 1000 * NS_PER_MS,
    /* everysec: what is acknowledged is durable within a second. A write waits at most for one sync to
     * end and for another, so the period is what is left of WINDOW_NS after two. */
    WINDOW_NS = 900 * NS_PER_MS,
    SLOW_NS = 400 * NS_PER_MS, /* a sync that takes longer: replies wait for it */
    PREPARE_BYTES = 256 * 1024,
};

static uint64_t load(const _Atomic uint64_t *word) {
    return atomic_load_explicit(word, memory_order_acquire);
}

static enum persist_fsync mode(const struct persist *persist) {
    return (enum persist_fsync)atomic_load_explicit(&persist->fsync, memory_order_relaxed);
}

enum persist_state persist_state(const struct persist *persist) {
    return (enum persist_state)atomic_load_explicit(&persist->state, memory_order_acquire);
}

static void tell(struct persist *persist) {
    if (persist->options.moved) persist->options.moved(persist->options.self);
}

void persist_set_state(struct persist *persist, enum persist_state state, int error) {
    enum persist_state before = persist_state(persist);
    atomic_store_explicit(&persist->error, error, memory_order_relaxed);
    atomic_store_explicit(&persist->state, state, memory_order_release);
    if (before != state) tell(persist);
}

const char *persist_refusal(const struct persist *persist) {
    enum persist_state state = persist_state(persist);
    if (state != PERSIST_REFUSING && state != PERSIST_BROKEN) return NULL;
    if (atomic_load_explicit(&persist->error, memory_order_relaxed) == ENOSPC)
        return "MISCONF Errors writing to the log: No space left on device. Reads go on; writes "
               "come back by themselves once there is space";
    return "MISCONF Errors writing to the log: Input/output error. Reads go on; writes come back "
           "by themselves once the disk takes them";
}

/* --- what may be answered --- */

uint64_t persist_acked(const struct persist *persist) {
    return load(&persist->acked_cut);
}

uint64_t persist_durable(const struct persist *persist) {
    return load(&persist->synced_cut);
}

bool persist_gates_reads(const struct persist *persist) {
    return mode(persist) == PERSIST_ALWAYS && persist_state(persist) != PERSIST_OFF;
}

/* Whether answers wait for the disk: always, or because it is too slow for the second. */
static bool waits(struct persist *persist) {
    if (mode(persist) == PERSIST_ALWAYS) return true;
    if (mode(persist) == PERSIST_NO) return false;
    if (atomic_load_explicit(&persist->slow, memory_order_relaxed)) return true;
    uint64_t began = load(&persist->sync_began_ns);
    return began && persist_now(persist) - began > SLOW_NS;
}

void persist_ack(struct persist *persist) {
    enum persist_state state = persist_state(persist);
    if (state == PERSIST_OFF) return;    /* whoever asks is told yes */
    if (state == PERSIST_BROKEN) return; /* what is written now is in no manifest yet */
    uint64_t cut = load(waits(persist) ? &persist->synced_cut : &persist->written_cut);
    if (cut > load(&persist->acked_cut)) persist_raise(&persist->acked_cut, cut);
}

/* --- what was slow --- */

static void note_slow(struct persist *persist, enum latency_event event, uint64_t ns) {
    if (persist->options.latency && latency_is_slow(persist->options.latency, ns / NS_PER_MS))
        latency_add(persist->options.latency, event, ns / NS_PER_MS,
                    (int64_t)(env_realtime_ns(persist->env) / 1000000000));
}

/* When something began that may turn out to be slow; 0 where nobody wants to know. */
static uint64_t watch_from(struct persist *persist) {
    const struct latency *latency = persist->options.latency;
    return latency && latency_is_slow(latency, UINT64_MAX) ? persist_now(persist) : 0;
}

/* --- writing --- */

static void note_write(struct persist *persist, bool ok, const struct problem *why) {
    pthread_mutex_lock(&persist->lock);
    persist->info.last_write_ok = ok;
    if (!ok) persist->info.write_errors++;
    pthread_mutex_unlock(&persist->lock);
    if (!ok && persist_state(persist) == PERSIST_LOGGING)
        log_line(persist->log, LOG_WARNING,
                 "The log cannot be written: writes are refused until it can, reads go on",
                 LOG_S("error", why->text));
}

static bool append(struct persist *persist, struct problem *why) {
    const struct redo_batch *batch = &persist->batch;
    struct journal_batch frame = { .seq = persist->next_seq,
                                   .cut = batch->cut,
                                   .synced = persist->synced_frame_cut,
                                   .blocks = batch->blocks,
                                   .bytes = buffer_bytes(&batch->bytes) };
    uint64_t began = watch_from(persist);
    enum status status = journal_append(persist->journal, &frame, why);
    if (began) note_slow(persist, LATENCY_LOG_WRITE, persist_now(persist) - began);
    if (status != OK) return false;
    persist->next_seq++;
    persist->frame_cut = batch->cut;
    persist->dirty = true;
    atomic_fetch_add_explicit(&persist->appended, batch->bytes.len, memory_order_relaxed);
    return true;
}

/* A batch that was taken is written, or stays pending: it is the only copy of its order. */
static bool write_batch(struct persist *persist) {
    struct problem why = { .status = OK };
    if (!append(persist, &why)) {
        persist->pending = true;
        note_write(persist, false, &why);
        enum persist_state state = persist_state(persist);
        if (state == PERSIST_LOGGING || state == PERSIST_REFUSING)
            persist_set_state(persist, why.status == STOPPED ? PERSIST_BROKEN : PERSIST_REFUSING,
                              why.error);
        return false;
    }
    if (persist->pending) note_write(persist, true, &why);
    persist->pending = false;
    persist_raise(&persist->written_cut, persist->batch.cut);
    return true;
}

bool persist_write(struct persist *persist, uint64_t at_least) {
    if (persist->pending && !write_batch(persist)) return false;
    redo_take(persist->store, at_least, &persist->batch);
    /* Nothing new: the cut moves on by itself, unless the log itself has to say so. */
    if (persist->batch.blocks == 0 && at_least <= persist->frame_cut) {
        persist_raise(&persist->written_cut, persist->batch.cut);
        return true;
    }
    return write_batch(persist);
}

bool persist_write_end(struct persist *persist) {
    if (!persist_write(persist, 0)) return false;
    return !persist->batch.left || persist_write(persist, persist->batch.left);
}

static void wake(struct persist *persist) {
    pthread_mutex_lock(&persist->lock);
    if (persist->log_asleep) pthread_cond_signal(&persist->bell);
    pthread_mutex_unlock(&persist->lock);
}

void persist_want_sync(struct persist *persist) {
    if (mode(persist) != PERSIST_NO) return; /* it comes by itself */
    atomic_store_explicit(&persist->sync_wanted, true, memory_order_release);
    wake(persist);
}

void persist_flush(struct persist *persist, uint64_t stamp) {
    if (stamp <= load(&persist->acked_cut)) return;
    if (persist_state(persist) == PERSIST_OFF) {
        persist_raise(&persist->acked_cut, stamp);
        return;
    }
    if (stamp > load(&persist->written_cut) && mode(persist) != PERSIST_ALWAYS) {
        pthread_mutex_lock(&persist->append);
        if (persist_state(persist) == PERSIST_LOGGING && stamp > load(&persist->written_cut))
            (void)!persist_write(persist, stamp); /* a failure shows in the state */
        pthread_mutex_unlock(&persist->append);
    }
    persist_ack(persist);
    if (stamp <= load(&persist->acked_cut)) return;
    persist_raise(&persist->wanted, stamp);
    wake(persist);
}

/* --- syncing --- */

static void note_sync(struct persist *persist, uint64_t took_ns, bool ok) {
    atomic_store_explicit(&persist->slow, took_ns > SLOW_NS, memory_order_relaxed);
    pthread_mutex_lock(&persist->lock);
    struct persist_info *info = &persist->info;
    info->syncs++;
    info->sync_errors += !ok;
    if (!ok) info->last_write_ok = false;
    info->sync_ms_last = took_ns / NS_PER_MS;
    if (info->sync_ms_last > info->sync_ms_max) info->sync_ms_max = info->sync_ms_last;
    pthread_mutex_unlock(&persist->lock);
    note_slow(persist,
              mode(persist) == PERSIST_ALWAYS ? LATENCY_LOG_FSYNC : LATENCY_LOG_FSYNC_OTHER,
              took_ns);
}

bool persist_sync(struct persist *persist) {
    struct problem why = { .status = OK };
    pthread_mutex_lock(&persist->sync);
    pthread_mutex_lock(&persist->append);
    uint64_t cut = load(&persist->written_cut), frame_cut = persist->frame_cut, acked;
    bool dirty = persist->dirty;
    persist->dirty = false;
    pthread_mutex_unlock(&persist->append);
    bool ok = true;
    if (dirty) {
        uint64_t began = persist_now(persist);
        atomic_store_explicit(&persist->sync_began_ns, began ? began : 1, memory_order_release);
        ok = journal_sync(persist->journal, &acked, &why) == OK;
        atomic_store_explicit(&persist->sync_began_ns, 0, memory_order_release);
        note_sync(persist, persist_now(persist) - began, ok);
    }
    if (ok) {
        pthread_mutex_lock(&persist->append);
        if (frame_cut > persist->synced_frame_cut) persist->synced_frame_cut = frame_cut;
        pthread_mutex_unlock(&persist->append);
        persist_raise(&persist->synced_cut, cut);
    } else {
        pthread_mutex_lock(&persist->append);
        persist->dirty = true; /* nobody after us may think that it is durable */
        pthread_mutex_unlock(&persist->append);
    }
    if (!ok &&
        (persist_state(persist) == PERSIST_LOGGING || persist_state(persist) == PERSIST_REFUSING)) {
        log_line(persist->log, LOG_WARNING,
                 "The log could not be made durable: what the disk holds of it is not known any "
                 "more. Writes "
                 "are refused, reads go on; a new log and a new snapshot from memory follow",
                 LOG_S("error", why.text));
        persist_set_state(persist, PERSIST_BROKEN, why.error);
    }
    pthread_mutex_unlock(&persist->sync);
    return ok;
}

/* --- the log thread --- */

static bool write_all(struct persist *persist) {
    pthread_mutex_lock(&persist->append);
    uint64_t wanted = load(&persist->wanted), seen = store_past_seen(persist->store);
    bool ok = persist_write(persist, wanted > seen ? wanted : seen);
    pthread_mutex_unlock(&persist->append);
    return ok;
}

/* When the next sync has to begin so that the second holds. */
static uint64_t period(struct persist *persist) {
    pthread_mutex_lock(&persist->lock);
    uint64_t took = persist->info.sync_ms_last * NS_PER_MS;
    pthread_mutex_unlock(&persist->lock);
    return 2 * took < WINDOW_NS ? WINDOW_NS - took : 0;
}

static void write_and_sync(struct persist *persist, uint64_t now) {
    persist->next_sync_ns = now + period(persist);
    if (write_all(persist) && persist_sync(persist)) persist_ack(persist);
    tell(persist);
}

static bool is_wanted(struct persist *persist) {
    return load(&persist->wanted) > load(&persist->acked_cut);
}

static void round_logging(struct persist *persist, uint64_t now) {
    switch (mode(persist)) {
    case PERSIST_ALWAYS:
    case PERSIST_EVERYSEC:
        if (is_wanted(persist) || now >= persist->next_sync_ns) write_and_sync(persist, now);
        return;
    case PERSIST_NO:
        if (atomic_exchange_explicit(&persist->sync_wanted, false, memory_order_acq_rel)) {
            write_and_sync(persist, now);
            return;
        }
        if (now < persist->next_sync_ns && !is_wanted(persist)) return;
        persist->next_sync_ns = now + WINDOW_NS;
        if (write_all(persist)) persist_ack(persist);
        tell(persist);
        return;
    }
}

/* A log that the start could not take up: until then there is none to write to. */
static bool see_open(struct persist *persist, uint64_t now) {
    if (file_journal_is_open(persist->journal)) return true;
    if (now < persist->retry_ns) return false;
    struct problem why = { .status = OK };
    if (journal_prepare(persist->journal, &why) == OK) return true;
    persist->retry_ns = persist_now(persist) + OPEN_AGAIN_NS;
    if (file_journal_is_open(persist->journal)) return true;
    persist_set_state(persist, PERSIST_REFUSING, why.error);
    return false;
}

/* The same write again: it was refused, so nothing of it counts; nothing was lost by it either. What was written
 * before it has its second all the same. */
static void round_refusing(struct persist *persist, uint64_t now) {
    if (!see_open(persist, now)) return;
    if (now >= persist->next_sync_ns && mode(persist) != PERSIST_NO) {
        persist->next_sync_ns = now + period(persist);
        if (!persist_sync(persist)) return;
        persist_ack(persist);
    }
    if (now < persist->retry_ns) return;
    persist->retry_ns = now + RETRY_NS;
    struct problem why;
    (void)journal_prepare(persist->journal, &why); /* append will say what is wrong */
    if (!write_all(persist) || !persist_sync(persist)) return;
    note_write(persist, true, &why);
    log_write(persist->log, LOG_NOTICE, "The log can be written again: writes are taken", NULL, 0);
    persist_set_state(persist, PERSIST_LOGGING, 0);
    persist_ack(persist);
    tell(persist);
}

/* --- the settings come true --- */

static void switch_off(struct persist *persist) {
    pthread_mutex_lock(&persist->append);
    bool written = persist_write_end(persist);
    pthread_mutex_unlock(&persist->append);
    if (written)
        (void)!persist_sync(persist); /* what it says no longer matters: nothing is promised */
    persist_set_state(persist, PERSIST_OFF, 0);
    persist_stop_recording(persist);
    store_gate_reads(persist->store, false);
    persist_raise(&persist->acked_cut, load(&persist->written_cut));
    persist_raise(&persist->acked_cut, load(&persist->wanted));
    tell(persist);
}

/* What was answered under another rule is made to keep the one of `always`. */
static void keep_promise(struct persist *persist) {
    pthread_mutex_lock(&persist->append);
    bool written = persist_write_end(persist);
    pthread_mutex_unlock(&persist->append);
    if (written && persist_sync(persist)) persist_ack(persist);
    tell(persist);
}

/* A job under way ends first: it looks at the settings itself. */
static void follow_settings(struct persist *persist, uint64_t now) {
    enum persist_state state = persist_state(persist);
    pthread_mutex_lock(&persist->lock);
    bool appendonly = persist->settings.appendonly, changed = persist->configured;
    bool busy = persist->job != JOB_NONE;
    uint64_t failed = persist->job_failed_ns;
    persist->configured = false;
    pthread_mutex_unlock(&persist->lock);
    if (!appendonly && state != PERSIST_OFF && !busy) switch_off(persist);
    if (appendonly && state == PERSIST_OFF && !busy && (!failed || now - failed >= SWITCH_AGAIN_NS))
        (void)persist_ask(persist, JOB_SWITCH, PERSIST_BY_SWITCH);
    if (changed && mode(persist) == PERSIST_ALWAYS && persist_state(persist) == PERSIST_LOGGING)
        keep_promise(persist);
}

static void prepare(struct persist *persist) {
    struct problem why;
    if (load(&persist->appended) < PREPARE_BYTES) return;
    atomic_store_explicit(&persist->appended, 0, memory_order_relaxed);
    (void)journal_prepare(persist->journal, &why); /* else append will say so when it has no room */
}

/* While a snapshot makes a log of its own: what is recorded must not pile up in memory. */
static void write_if_recording(struct persist *persist) {
    pthread_mutex_lock(&persist->append);
    if (persist->recording) (void)!persist_write(persist, 0); /* the snapshot's end will say */
    pthread_mutex_unlock(&persist->append);
    prepare(persist);
}

uint64_t persist_log_round(struct persist *persist) {
    uint64_t now = persist_now(persist);
    if (persist_state(persist) == PERSIST_RECOVERING) return now + TICK_NS;
    follow_settings(persist, now);
    switch (persist_state(persist)) {
    case PERSIST_RECOVERING: break;
    case PERSIST_OFF: write_if_recording(persist); break;
    case PERSIST_LOGGING:
        round_logging(persist, now);
        if (persist_state(persist) == PERSIST_LOGGING) prepare(persist);
        break;
    case PERSIST_REFUSING: round_refusing(persist, now); break;
    case PERSIST_BROKEN:
        write_if_recording(persist);
        if (now < persist->retry_ns) break;
        persist->retry_ns = now + RETRY_NS;
        (void)persist_ask(persist, JOB_HEAL, PERSIST_BY_HEALING);
        break;
    }
    if (now >= persist->rules_ns) {
        persist->rules_ns = now + RULES_NS;
        persist_apply_rules(persist);
    }
    if (persist_state(persist) == PERSIST_LOGGING && is_wanted(persist)) return 0;
    uint64_t next = now + TICK_NS;
    return persist_state(persist) == PERSIST_LOGGING && persist->next_sync_ns < next
               ? persist->next_sync_ns
               : next;
}

void *persist_log_run(void *self) {
    struct persist *persist = self;
    pthread_mutex_lock(&persist->lock);
    while (!persist->stop) {
        pthread_mutex_unlock(&persist->lock);
        uint64_t next = persist_log_round(persist);
        pthread_mutex_lock(&persist->lock);
        /* Whoever wants more from here on takes the lock and sees that we sleep. */
        uint64_t now = persist_now(persist);
        bool wanted = persist_state(persist) == PERSIST_LOGGING && is_wanted(persist);
        if (persist->stop || persist->configured || wanted || next <= now) continue;
        persist->log_asleep = true;
        struct timespec until = { .tv_sec = (time_t)(next / 1000000000),
                                  .tv_nsec = (long)(next % 1000000000) };
        pthread_cond_timedwait(&persist->bell, &persist->lock, &until);
        persist->log_asleep = false;
    }
    pthread_mutex_unlock(&persist->lock);
    return NULL;
}
