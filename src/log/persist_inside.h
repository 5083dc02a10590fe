/* persist_inside.h: what the files persist*.c share.
 *
 * Lock order: append, sync, lock, then the manifest's and the store's. `append` is held while a batch is taken
 * and written, so that batches are in the order of their cuts; `sync` while the journal syncs; `lock` for a few words. */
#pragma once

#include <pthread.h>

#include "base/env.h"
#include "base/log.h"
#include "log/persist.h"
#include "store/epoch.h"
#include "store/redo.h"
#include "store/store.h"

enum persist_job { JOB_NONE, JOB_SNAPSHOT, JOB_HEAL, JOB_SWITCH };

struct persist {
    struct persist_options options;
    struct env *env;
    struct log *log;
    char *dir;
    struct env_file *dir_lock;
    struct store *store;
    bool fresh; /* the directory was empty */

    struct manifest_share manifest;
    struct journal *journal; /* NULL while recovering */

    pthread_mutex_t append;
    struct redo_batch batch;   /* append */
    bool recording;            /* append: the store records, so there is something to write */
    bool pending;              /* append: `batch` was taken and could not be written yet */
    bool dirty;                /* append: there are frames that were not synced */
    uint64_t next_seq;         /* append */
    uint64_t frame_cut;        /* append: of the last frame */
    uint64_t synced_frame_cut; /* append: of the last one that is durable */

    pthread_mutex_t sync;

    _Atomic int state, fsync;
    _Atomic uint64_t written_cut, synced_cut, acked_cut, wanted;
    _Atomic bool sync_wanted;       /* persist_want_sync */
    _Atomic uint64_t sync_began_ns; /* monotonic; 0: none is under way */
    _Atomic bool slow;         /* the last sync took so long that the next may break the second */
    _Atomic int error;         /* errno of what made the state REFUSING or BROKEN */
    _Atomic uint64_t appended; /* bytes of frames since the last prepare */

    pthread_mutex_t lock;
    pthread_cond_t bell, snap_bell, done; /* lock */
    bool log_asleep, stop;                /* lock */
    struct persist_settings settings;     /* lock */
    bool configured;                      /* lock: they were changed */
    struct persist_info info;             /* lock: counts and times */
    enum persist_job job;                 /* lock: asked for or under way */
    bool job_runs;                        /* lock */
    bool again;                           /* lock: and another one after it */
    uint64_t jobs_done;                   /* lock: well or badly */
    uint64_t changes_saved; /* lock: the store's count at the last good snapshot's beginning */
    uint64_t job_changes;   /* lock: the same of the one under way */
    uint64_t job_began_ns;  /* lock */
    uint64_t heal_said_ns;  /* lock: when a heal's failure was logged; 0: not since a good one */
    uint64_t job_failed_ns; /* lock: monotonic; 0: the last one was good */

    uint64_t next_sync_ns, retry_ns, rules_ns; /* the log thread's */
    pthread_t log_thread, snap_thread;
    bool log_started, snap_started;

    struct worker *snap_worker; /* the snapshot thread's */
    struct snapshot *snapshot;
    uint64_t generation; /* of the last one that was begun: never used again */
    bool named;          /* a manifest may name its files, whatever came of writing that */
};

static inline uint64_t persist_now(struct persist *persist) { /* monotonic ns */
    return env_monotonic_ns(persist->env);
}

static inline void persist_raise(_Atomic uint64_t *word, uint64_t least) {
    uint64_t now = atomic_load_explicit(word, memory_order_relaxed);
    while (now < least && !atomic_compare_exchange_weak_explicit(
                              word, &now, least, memory_order_release, memory_order_relaxed)) {
    }
}

/* persist_log.c */

/* Takes what was recorded and writes it; the cut is at least `at_least`. `append` is held. On failure the state becomes
 * REFUSING and the batch stays pending. */
MUST_USE bool persist_write(struct persist *persist, uint64_t at_least);
/* The same up to the newest record there is: stamps may be ahead of the clock, and so of a cut. */
MUST_USE bool persist_write_end(struct persist *persist);
/* Makes what was written durable. On failure the state becomes BROKEN. `append` must not be held. */
MUST_USE bool persist_sync(struct persist *persist);
void persist_set_state(struct persist *persist, enum persist_state state, int error);
void persist_ack(struct persist *persist);
/* One round of the log thread. Returns when the next is due, monotonic ns; 0: at once. */
uint64_t persist_log_round(struct persist *persist);
void *persist_log_run(void *persist); /* a thread */

/* persist_snap.c */

/* One step of the job that was asked for, if any. true: there is more to do, after `*wait_ns`. */
bool persist_snap_step(struct persist *persist, uint64_t *wait_ns);
void *persist_snap_run(void *persist); /* a thread */
/* What makes a snapshot by itself: save rules, growth. */
void persist_apply_rules(struct persist *persist);
/* The store records no more; what was not written is dropped. */
void persist_stop_recording(struct persist *persist);
/* Asks for a job; false: there is one. */
bool persist_ask(struct persist *persist, enum persist_job job, enum persist_cause cause);

/* persist_load.c */
MUST_USE enum status persist_load(struct persist *persist, const char *dir,
                                  const struct manifest *manifest, uint64_t until,
                                  struct file_journal_tail *tail, struct problem *why);
