/* persist.h: what makes a store durable: log, snapshots, recovery, and what to do when a disk fails.
 *
 *     loops ── changes ──► shards' redo buffers
 *       │                        │ redo_take
 *       │ persist_flush / want   ▼
 *       └──────────────►  frame ──► journal ──► sync ──► acked ──► replies leave
 *                                                 ▲
 *                    always: at once              │   everysec: within the second
 *
 * A reply may leave when every stamp that it shows is at or before persist_acked: under `always` that is the
 * durable cut, otherwise the written one, unless syncs are so slow that the second is in danger; then it
 * is the durable one too (RELIABILITY.md 4.6).
 *
 * States, and who moves on:
 *
 *     RECOVERING ──► LOGGING ──write fails──► REFUSING ──the same write again──► LOGGING
 *         │             │                         ▲ the disk takes no new log at the start
 *         │             └────sync fails──► BROKEN ──new log, new snapshot, both durable──► LOGGING
 *         └──► OFF (appendonly no; a snapshot makes a log for as long as it takes)
 *
 * In REFUSING and BROKEN writes are refused and reads go on. Threads: "pulse-log" writes and syncs,
 * "pulse-snap" makes snapshots; with options.threads false the owner calls persist_turn instead
 * (simulation).
 */
#pragma once

#include "log/journal.h"
#include "log/snapshot.h"

struct env;
struct latency;
struct log;
struct store;
struct persist;

enum persist_fsync {
    PERSIST_EVERYSEC = 0,
    PERSIST_ALWAYS = 1,
    PERSIST_NO = 2
}; /* as settings' words */
enum persist_state {
    PERSIST_RECOVERING,
    PERSIST_OFF,
    PERSIST_LOGGING,
    PERSIST_REFUSING,
    PERSIST_BROKEN,
};

struct persist_settings { /* may change while it runs */
    bool appendonly;
    enum persist_fsync fsync;
    bool history_persist;
    uint64_t snapshot_log_bytes; /* 0: as much as the base, at least 512 MiB */
    uint64_t snapshot_rate;      /* bytes a second; 0: no limit */
    struct {
        uint64_t seconds, changes;
    } save[16]; /* Redis' save rules */
    size_t save_count;
};

struct persist_options {
    struct env *env;
    struct log *log;
    const char *dir;
    bool threads;
    unsigned load_threads; /* 0: one */
    uint64_t segment_size; /* 0: the default; tests and simulation use small ones */
    /* Called when persist_acked has moved on or the state has changed. Thread: the log's. */
    void (*moved)(void *self);
    void *self;
    struct latency *latency; /* hears of slow writes and syncs; NULL: nobody does */
};

/* Takes the directory (a second server on it is refused) and reads its manifest. Before there is a store:
 * `*shards` and `*seed` are what the store must be made with; for a new directory they stay as they are. */
MUST_USE struct persist *persist_new(const struct persist_options *options, unsigned *shards,
                                     struct siphash_key *seed, struct problem *why);
/* What a store must be made with to hold the database in `dir`, for persist_restore. */
MUST_USE enum status persist_peek(struct env *env, const char *dir, unsigned *shards,
                                  struct siphash_key *seed, struct problem *why);
/* Loads what is there into the empty store and begins to log. Takes as long as it takes; says in the log how
 * far it is. Until it returns, state is PERSIST_RECOVERING. */
MUST_USE enum status persist_recover(struct persist *persist, struct store *store,
                                     const struct persist_settings *settings, struct problem *why);
/* The same, and `fill` puts into the store what came from elsewhere. If it fails, or the process dies before this
 * returns, nothing of that counts: the directory is as it was, or refuses to be started on. If it returns OK,
 * all of it is durable, in a snapshot, with `appendonly no` as well. */
MUST_USE enum status persist_import(struct persist *persist, struct store *store,
                                    const struct persist_settings *settings,
                                    enum status (*fill)(void *self, struct problem *why),
                                    void *self, struct problem *why);
/* Stops the threads. `in_order`: everything is written and synced first and a trailer says so. */
MUST_USE enum status persist_stop(struct persist *persist, bool in_order, struct problem *why);
struct persist *persist_free(struct persist *persist); /* always NULL; before the store goes */
void persist_configure(struct persist *persist, const struct persist_settings *settings);

/* --- replies --- */

enum persist_state persist_state(const struct persist *persist);
/* Whether writes are to be refused, and what to say (a literal). Any thread. */
const char *persist_refusal(const struct persist *persist);
/* Replies that show nothing younger may leave. Any thread. */
uint64_t persist_acked(const struct persist *persist);
/* What was changed up to here is on the disk. Any thread. */
uint64_t persist_durable(const struct persist *persist);
/* Asks for a sync that no setting asks for (WAITAOF under appendfsync no); `moved` tells. Any thread. */
void persist_want_sync(struct persist *persist);
/* Whether reads have to wait for what they show as well (`always`). Any thread. */
bool persist_gates_reads(const struct persist *persist);
/* What was changed up to `stamp` is to be made as safe as the settings ask: at once (everysec, no: it is written
 * when this returns, or the state is another) or soon (always: `moved` tells). Any thread, no lock held. */
void persist_flush(struct persist *persist, uint64_t stamp);

/* --- snapshots --- */

enum persist_cause {
    PERSIST_BY_COMMAND,
    PERSIST_BY_RULE,
    PERSIST_BY_GROWTH,
    PERSIST_BY_REWRITE,
    PERSIST_BY_HEALING,
    PERSIST_BY_SWITCH
};
/* Asks for a snapshot. false: one is under way already. */
bool persist_snapshot(struct persist *persist, enum persist_cause cause);
/* Asks for one after the one that is under way; at once if that has ended meanwhile. */
void persist_snapshot_after(struct persist *persist);
/* Waits until a snapshot that began after this call is durable (SAVE). While another one is under way: FULL, or,
 * to `queue`, after that. Without threads it does it itself. No shard may be held. */
MUST_USE enum status persist_save(struct persist *persist, bool queue, struct problem *why);

struct persist_info {
    enum persist_state state;
    bool snapshot_running;
    enum persist_cause cause;     /* of the one that runs, or the last one */
    uint64_t snapshots, failures; /* since the start */
    bool last_failed;
    int64_t last_save_s;              /* Unix time of the last good one; or of the start */
    int64_t last_took_ms, running_ms; /* -1: none */
    uint64_t keys_done, keys_total;
    uint64_t changes_since;       /* data changes since the last good one */
    uint64_t log_size, base_size; /* bytes */
    uint64_t syncs, sync_ms_last, sync_ms_max;
    uint64_t write_errors, sync_errors, heals;
    uint64_t written_cut, synced_cut;
    uint64_t torn_bytes; /* cut off at the last start */
    uint64_t loaded_keys, loaded_records;
    uint64_t load_ms;
    uint64_t load_bytes, load_total; /* while recovering */
    bool last_write_ok;
};
void persist_info(struct persist *persist, struct persist_info *out);

/* --- without threads --- */

/* Does what is due: writes, syncs, heals, or one step of a snapshot. Returns whether there is more to do at once. */
bool persist_turn(struct persist *persist);

/* --- to an instant: pulsedb --restore-to INSTANT --dir NEW --- */
/* Loads `from_dir` up to `instant` (ns) into the store, which belongs to a new directory. Called instead of
 * persist_recover's loading: makes a first snapshot there and logs on. A directory in which it did not finish
 * refuses to be started on. */
MUST_USE enum status persist_restore(struct persist *persist, struct store *store,
                                     const struct persist_settings *settings, const char *from_dir,
                                     uint64_t instant, struct problem *why);
