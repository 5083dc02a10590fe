/* batch.h: many commands at once.
 *
 * A loop gathers commands from all connections that have some, at most BATCH_MAX, adds them here and
 * runs them. Adding hashes a command's first key and prefetches its bucket; running prefetches all
 * entries, then runs the commands in the order of adding. The misses of a batch overlap: at ten
 * million keys this is 98 against 416 ns for a GET (STORE.md 3).
 *
 * Thread: the worker's.
 */
#pragma once

#include "command/call.h"

struct batch;

struct batch *batch_new(struct pulse *pulse, struct worker *worker);
struct batch *batch_free(struct batch *batch); /* always NULL */

enum batch_result {
    BATCH_DONE,    /* answered */
    BATCH_BLOCKED, /* not answered: bring it again when the session's carrier is told to resume */
    BATCH_CLOSE,   /* answered: send what waits, then close */
    BATCH_SKIPPED, /* not run: its output has grown too large, or it is closing or paused */
};

/* Room for the words of the next command; `*cap` is how many. Valid until batch_add. */
struct bytes *batch_args(struct batch *batch, size_t *cap);
/* Adds one command (count > 0). `args` is batch_args' array or any that lives until the run. The session and
 * reply are the connection's; commands of one connection run in the order of adding. `owner` comes
 * back to `ended`. */
void batch_add(struct batch *batch, struct session *session, struct reply *reply,
               const struct bytes *args, size_t count, void *owner);
size_t batch_count(const struct batch *batch);
bool batch_full(const struct batch *batch);
/* Runs them all. `ended` is called after each, in order, with its owner. A command after one of the
 * same owner that ended otherwise than BATCH_DONE is BATCH_SKIPPED, and so is each one whose output
 * already holds OUTPUT_PAUSE_SIZE: the caller keeps its bytes and brings it again. */
void batch_run(struct batch *batch, void (*ended)(void *owner, enum batch_result result));

/* Counts an error that was answered to what is no command (not RESP). */
void batch_note_error(struct batch *batch, const struct reply *reply);

/* One command at once, outside a batch (tests, HTTP, scripts). */
enum batch_result batch_run_one(struct batch *batch, struct session *session, struct reply *reply,
                                const struct bytes *args, size_t count);
