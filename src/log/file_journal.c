/* file_journal.c: a journal in files: log.N.plog, one after another (file_journal.h has the picture).
 *
 * What a sync has to write is data and nothing else: a file's blocks, length and name, and its line in the
 * manifest are durable before a frame goes there. That is prepare's work; an append that finds nothing prepared
 * does it itself.
 *
 * Invariants:
 *   1. A frame is acknowledged only in a file that the manifest names, durably (after restart: will name,
 *      before anything of it counts).
 *   2. No file that a manifest on disk may name is changed but by frames at its end. A manifest that could
 *      not be written may stand all the same: so nothing is taken back then, it is written again.
 *   3. A log is sealed in the manifest (its end, its last frame) only once all of it is durable.
 *   4. After a failed append the next frame begins at the same place, so that nothing of the first is left over.
 */
#include <errno.h>
#include <limits.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/mem.h"
#include "log/file_journal.h"
#include "log/frame.h"

static const struct journal_ops file_ops;

static struct file_journal *file_of(struct journal *journal) {
    assert(journal->ops == &file_ops);
    return (struct file_journal *)journal;
}

static void hold(struct file_journal *file) {
    pthread_mutex_lock(&file->lock);
}

static void let_go(struct file_journal *file) {
    pthread_mutex_unlock(&file->lock);
}

static enum status stopped(struct problem *why) {
    return problem_set(why, STOPPED, 0, "the log has ended: a sync has failed, or it was closed");
}

/* --- files: under `making` --- */

void file_journal_add(struct file_journal *file, struct log_segment *segment) {
    hold(file);
    if (file->count == file->cap) {
        size_t cap = file->cap ? file->cap * 2 : 8, size = sizeof(struct log_segment *);
        file->segments = mem_resize(file->segments, file->cap * size, cap * size);
        file->cap = cap;
    }
    file->segments[file->count++] = segment;
    let_go(file);
}

struct log_segment *file_journal_make(struct file_journal *file, uint64_t first_seq, uint64_t ready,
                                      struct problem *why) {
    char path[PATH_MAX], *spare = NULL;
    for (unsigned i = 0; i < SPARES_MAX && !spare; i++) {
        if (!file->spares[i]) continue;
        file->spares[i] = false;
        path_of_spare(file->dir, i + 1, path);
        spare = path;
    }
    return log_segment_new(file->env, file->dir, file->next_number++, spare, first_seq, ready,
                           file->segment_size, why);
}

/* The file of a segment that no manifest names any more. It does not matter if this fails: the next start
 * sweeps. */
static void discard(struct file_journal *file, struct log_segment *segment, bool again) {
    char path[PATH_MAX], spare[PATH_MAX];
    path_of_log(file->dir, segment->number, path);
    bool kept = false;
    for (unsigned i = 0; i < SPARES_MAX && again && !kept; i++) {
        if (file->spares[i]) continue;
        path_of_spare(file->dir, i + 1, spare);
        kept = file->env->ops->rename(file->env, path, spare) == 0;
        file->spares[i] = kept;
    }
    if (!kept) (void)file->env->ops->unlink(file->env, path);
    log_segment_free(file->env, segment);
}

/* Whether all that is in it is durable and nothing more will come. Under `lock`. */
static bool is_done(const struct file_journal *file, size_t i) {
    const struct log_segment *segment = file->segments[i];
    return segment->sealed || (i < file->current && segment->synced_seq == segment->last_seq &&
                               !segment->out && !segment->syncer);
}

/* How many segments at the front hold nothing from `seq` on. Under `lock`. */
static size_t droppable(const struct file_journal *file, uint64_t seq) {
    size_t n = 0;
    while (n < file->current && file->segments[n]->last_seq < seq && is_done(file, n)) n++;
    return n;
}

/* The manifest's logs: the segments from the `first` on. `all_done`: the current one as well. */
static void list_segments(struct file_journal *file, size_t first, bool all_done,
                          struct manifest *out) {
    out->logs_count = 0;
    for (size_t i = first; i < file->count; i++) {
        const struct log_segment *segment = file->segments[i];
        struct manifest_log *log = manifest_add_log(out);
        log->number = segment->number;
        log->id = segment->id;
        log->first_seq = segment->first_seq;
        bool full = i < file->current || (all_done && i == file->current);
        if (!full || segment_is_empty(segment) || segment->synced_seq != segment->last_seq)
            continue;
        log->end = segment->at;
        log->last_seq = segment->last_seq;
    }
}

static void remove_base(struct file_journal *file, const struct manifest_base *base) {
    char path[PATH_MAX];
    path_of_base(file->dir, base->generation, false, path);
    (void)file->env->ops->unlink(file->env, path);
    if (base->past_size == 0) return;
    path_of_base(file->dir, base->generation, true, path);
    (void)file->env->ops->unlink(file->env, path);
}

/* The files that the manifest just written does not name any more. */
static void discard_unlisted(struct file_journal *file, size_t dropped) {
    for (; dropped > 0; dropped--) {
        hold(file);
        struct log_segment *segment = file->segments[0];
        file->count--;
        file->current--;
        memmove(file->segments, file->segments + 1, file->count * sizeof *file->segments);
        let_go(file);
        discard(file, segment, segment->ready <= file->segment_size);
    }
    for (size_t i = 0; i < file->abandoned_count; i++) discard(file, file->abandoned[i], false);
    mem_free(file->abandoned, file->abandoned_count * sizeof *file->abandoned);
    file->abandoned = NULL;
    file->abandoned_count = 0;
}

enum status file_journal_list(struct file_journal *file, const struct listing *listing,
                              struct problem *why) {
    struct manifest next;
    pthread_mutex_lock(&file->share->lock);
    struct manifest_base old = file->share->now.base;
    manifest_copy(&next, &file->share->now);
    if (listing->base) next.base = *listing->base;
    next.clean = listing->clean;
    next.clean_seq = listing->clean_seq;
    next.clean_cut = listing->clean_cut;
    hold(file);
    size_t dropped = droppable(file, next.base.seq), listed = file->count;
    bool fits = listed - dropped <= MANIFEST_LOGS_MAX;
    if (fits) list_segments(file, dropped, listing->clean, &next);
    let_go(file);
    for (size_t i = dropped; fits && i < file->count; i++) file->segments[i]->named = true;
    enum status status =
        fits ? manifest_write(file->env, file->dir, &next, why)
             : problem_set(why, LIMIT, 0, "there are %d log files already", MANIFEST_LOGS_MAX);
    if (status == OK) {
        struct manifest before = file->share->now;
        file->share->now = next;
        next = before;
    }
    pthread_mutex_unlock(&file->share->lock);
    manifest_deinit(&next);
    if (status != OK) return status;
    hold(file);
    for (size_t i = 0; i < file->count; i++) file->segments[i]->listed = true;
    file->detached = false;
    let_go(file);
    discard_unlisted(file, dropped);
    if (listing->base && old.generation && old.generation != listing->base->generation)
        remove_base(file, &old);
    return OK;
}

/* --- room: under `making` --- */

/* Zeros, so that `needed` bytes and some more are ready. */
static enum status extend(struct file_journal *file, struct log_segment *segment, uint64_t needed,
                          bool sync, struct problem *why) {
    hold(file);
    uint64_t to = segment->at + needed + file->extend, ready = segment->ready;
    if (to > segment->room) to = segment->room;
    let_go(file);
    if (to <= ready) return OK;
    bool sync_failed;
    enum status status =
        log_segment_extend(file->env, file->dir, segment, to, sync, &sync_failed, why);
    hold(file);
    if (status == OK) segment->ready = to;
    if (sync_failed) file->failed = true; /* frames before may be lost by it */
    let_go(file);
    return status;
}

/* The segment after the current one, made and listed. */
static enum status make_ahead(struct file_journal *file, struct problem *why) {
    hold(file);
    struct log_segment *ahead =
        file->current + 1 < file->count ? file->segments[file->current + 1] : NULL;
    bool listed = ahead && (ahead->listed || file->detached);
    let_go(file);
    if (!ahead) {
        ahead = file_journal_make(file, 0, SEGMENT_HEADER + file->extend, why);
        if (!ahead) return why ? why->status : IO;
        file_journal_add(file, ahead);
        listed = file->detached;
    }
    return listed ? OK : file_journal_list(file, &(struct listing){}, why);
}

/* Goes on to the segment ahead. Under `lock`; by the appender. Returns the handle to close. */
static struct env_file *go_on(struct file_journal *file) {
    struct log_segment *full = file->segments[file->current];
    struct log_segment *next = file->segments[++file->current];
    assert(segment_is_empty(next));
    next->first_seq = file->next_seq;
    next->last_seq = next->synced_seq = file->next_seq - 1;
    struct env_file *out = full->out;
    full->out = NULL;
    return out;
}

/* Whether the segment is full for a frame of so many bytes. An empty one never is: it becomes as long as it
 * takes. Under `lock`. */
static bool is_full(const struct log_segment *segment, uint64_t size) {
    return !segment_is_empty(segment) && size > segment->room - segment->at;
}

/* Without a disk call: the segment in which `size` bytes are ready, or NULL. Under `lock`. */
static struct log_segment *ready_place(struct file_journal *file, uint64_t size,
                                       struct env_file **close) {
    struct log_segment *segment = file->segments[file->current];
    if (is_full(segment, size)) {
        if (file->current + 1 == file->count) return NULL;
        struct log_segment *ahead = file->segments[file->current + 1];
        if (!ahead->listed && !file->detached) return NULL;
        *close = go_on(file);
        segment = ahead;
    }
    return size <= segment->ready - segment->at ? segment : NULL;
}

static enum status make_place(struct file_journal *file, uint64_t size, struct problem *why) {
    hold(file);
    struct log_segment *segment = file->segments[file->current];
    bool full = is_full(segment, size);
    if (!full && size > segment->room - segment->at) segment->room = segment->at + size;
    let_go(file);
    return full ? make_ahead(file, why) : extend(file, segment, size, false, why);
}

/* Where the next frame goes. */
static enum status find_place(struct file_journal *file, uint64_t size, struct log_segment **out,
                              struct problem *why) {
    for (;;) {
        struct env_file *close = NULL;
        hold(file);
        bool moves = is_full(file->segments[file->current], size);
        bool lost = moves && file->soiled;
        struct log_segment *segment = lost ? NULL : ready_place(file, size, &close);
        let_go(file);
        file->env->ops->close(file->env, close);
        if (lost)
            return problem_set(why, INVALID, 0,
                               "after a failed append the same one must be tried again");
        if (segment) {
            *out = segment;
            return OK;
        }
        pthread_mutex_lock(&file->making);
        enum status status = make_place(file, size, why);
        pthread_mutex_unlock(&file->making);
        if (status != OK) return status;
    }
}

/* --- append --- */

static bool is_open(struct file_journal *file) {
    hold(file);
    bool open = file->open;
    let_go(file);
    return open;
}

/* Under `making`. */
static enum status see_open(struct file_journal *file, struct problem *why) {
    struct problem unwanted;
    return file->opening ? file_journal_go_on_opening(file, why ? why : &unwanted) : OK;
}

/* The header, the payload and its padding, in pieces of SCRATCH. */
static int write_frame(struct file_journal *file, struct log_segment *segment,
                       const struct journal_batch *batch) {
    struct bytes rest = batch->bytes;
    size_t filled = FRAME_HEADER;
    uint64_t at = segment->at, end = segment->at + frame_size(rest.len);
    frame_encode(batch, frame_seed(segment->id), file->scratch);
    while (at < end) {
        size_t n = rest.len < SCRATCH - filled ? rest.len : SCRATCH - filled;
        if (n > 0) {
            memcpy(file->scratch + filled, rest.data, n);
            rest.data += n;
            rest.len -= n;
            filled += n;
        }
        while (rest.len == 0 && filled < SCRATCH && at + filled < end) file->scratch[filled++] = 0;
        int error = write_fully(file->env, segment->out, file->scratch, filled, at);
        if (error < 0) return error;
        at += filled;
        filled = 0;
    }
    return 0;
}

static enum status check_batch(struct file_journal *file, const struct journal_batch *batch,
                               struct problem *why) {
    hold(file);
    bool ended = file->failed || file->closed;
    uint64_t next = file->next_seq, cut = file->cut;
    let_go(file);
    if (ended) return stopped(why);
    if (batch->seq != next)
        return problem_set(why, INVALID, 0, "frame %llu cannot follow %llu: another has written",
                           (unsigned long long)batch->seq, (unsigned long long)(next - 1));
    if (batch->cut < cut || batch->synced > batch->cut)
        return problem_set(why, INVALID, 0, "a frame's cut cannot be before what it follows");
    if (batch->bytes.len > FRAME_PAYLOAD_MAX)
        return problem_set(why, LIMIT, 0, "a frame cannot be that large");
    return OK;
}

static enum status file_append(struct journal *journal, const struct journal_batch *batch,
                               struct problem *why) {
    struct file_journal *file = file_of(journal);
    struct log_segment *segment = NULL;
    uint64_t size = frame_size(batch->bytes.len);
    enum status status = OK;
    if (!is_open(file)) {
        pthread_mutex_lock(&file->making);
        status = see_open(file, why);
        pthread_mutex_unlock(&file->making);
    }
    if (status == OK) status = check_batch(file, batch, why);
    if (status == OK) status = find_place(file, size, &segment, why);
    if (status != OK) return status;
    int error = write_frame(file, segment, batch);
    hold(file);
    file->soiled = error < 0;
    if (error == 0) {
        segment->at += size;
        segment->last_seq = batch->seq;
        file->next_seq = batch->seq + 1;
        file->cut = batch->cut;
        assert(segment->at <= segment->ready);
        if (batch->flags & JOURNAL_CLEAN) file->closed = true;
    }
    let_go(file);
    if (error == 0) return OK;
    return problem_set(why, IO, -error, "cannot write to log.%llu.plog",
                       (unsigned long long)segment->number);
}

/* --- sync --- */

/* The oldest segment with frames up to `seq` that are not durable, and how far it goes. */
static struct log_segment *oldest_unsynced(struct file_journal *file, uint64_t seq,
                                           uint64_t *goal) {
    for (size_t i = 0; i <= file->current; i++) {
        struct log_segment *segment = file->segments[i];
        if (segment->synced_seq == segment->last_seq || segment->synced_seq >= seq) continue;
        *goal = segment->last_seq;
        return segment;
    }
    return NULL;
}

/* The handle of a segment that is full and durable, if one still has it. */
static struct env_file *take_idle_syncer(struct file_journal *file) {
    for (size_t i = 0; i < file->current; i++) {
        struct log_segment *segment = file->segments[i];
        if (!segment->syncer || segment->synced_seq != segment->last_seq) continue;
        struct env_file *handle = segment->syncer;
        segment->syncer = NULL;
        return handle;
    }
    return NULL;
}

static void close_idle_syncers(struct file_journal *file) {
    for (;;) {
        hold(file);
        struct env_file *handle = take_idle_syncer(file);
        let_go(file);
        if (!handle) return;
        file->env->ops->close(file->env, handle);
    }
}

static enum status sync_to(struct file_journal *file, uint64_t target, struct problem *why) {
    for (;;) {
        uint64_t goal;
        hold(file);
        struct log_segment *segment = file->failed ? NULL : oldest_unsynced(file, target, &goal);
        bool failed = file->failed;
        let_go(file);
        if (failed) return stopped(why);
        if (!segment) return OK;
        int error = file->env->ops->sync(file->env, segment->syncer);
        hold(file);
        if (error == 0) segment->synced_seq = goal;
        file->failed = error < 0;
        let_go(file);
        if (error < 0)
            return problem_set(why, IO, -error, "cannot make log.%llu.plog durable",
                               (unsigned long long)segment->number);
    }
}

static enum status file_sync(struct journal *journal, uint64_t *acked, struct problem *why) {
    struct file_journal *file = file_of(journal);
    if (!is_open(file)) return problem_set(why, IO, EIO, "the log is not open");
    pthread_mutex_lock(&file->syncing);
    hold(file);
    uint64_t target = file->next_seq - 1;
    let_go(file);
    enum status status = sync_to(file, target, why);
    if (status == OK) {
        close_idle_syncers(file);
        *acked = target;
    }
    pthread_mutex_unlock(&file->syncing);
    return status;
}

/* --- prepare, trim, restart, read, free --- */

/* What is full is made durable, so that it can be sealed, even if nobody asks for syncs. */
static enum status settle_full(struct file_journal *file, struct problem *why) {
    hold(file);
    uint64_t last = file->segments[file->current]->first_seq - 1, goal;
    bool settled = !oldest_unsynced(file, last, &goal);
    let_go(file);
    if (settled) return OK;
    pthread_mutex_lock(&file->syncing);
    enum status status = sync_to(file, last, why);
    if (status == OK) close_idle_syncers(file);
    pthread_mutex_unlock(&file->syncing);
    return status;
}

static enum status prepare_locked(struct file_journal *file, struct problem *why) {
    hold(file);
    bool ended = file->failed || file->closed;
    struct log_segment *current = file->segments[file->current];
    /* The next one is made when half of this one is full: early enough at any speed, and a server that
     * writes little needs one file. */
    bool half = current->at > current->room / 2;
    bool short_of = current->ready - current->at < file->extend / 2;
    let_go(file);
    if (ended) return OK;
    enum status status = short_of ? extend(file, current, 0, true, why) : OK;
    if (status == OK) status = settle_full(file, why);
    if (status == OK && half) status = make_ahead(file, why);
    return status;
}

static enum status file_prepare(struct journal *journal, struct problem *why) {
    struct file_journal *file = file_of(journal);
    pthread_mutex_lock(&file->making);
    enum status status = see_open(file, why);
    if (status == OK) status = prepare_locked(file, why);
    pthread_mutex_unlock(&file->making);
    return status;
}

/* The base decides what recovery needs; what somebody else still reads may be more. */
static enum status file_trim(struct journal *journal, uint64_t to_seq, struct problem *why) {
    struct file_journal *file = file_of(journal);
    pthread_mutex_lock(&file->making);
    pthread_mutex_lock(&file->share->lock);
    uint64_t needed = file->share->now.base.seq;
    pthread_mutex_unlock(&file->share->lock);
    hold(file);
    bool any =
        file->open && !file->detached && droppable(file, to_seq < needed ? to_seq : needed) > 0;
    let_go(file);
    enum status status = any ? file_journal_list(file, &(struct listing){}, why) : OK;
    pthread_mutex_unlock(&file->making);
    return status;
}

/* Puts the segments aside until a manifest is written that does not name them; what no manifest can name goes at
 * once, or tries that fail would fill the disk. */
static void abandon(struct file_journal *file) {
    size_t old = file->abandoned_count, size = sizeof *file->abandoned, kept = old;
    struct log_segment **all = mem_new_zero((old + file->count) * size);
    if (old) memcpy(all, file->abandoned, old * size);
    hold(file);
    size_t count = file->count;
    struct log_segment **left = file->segments;
    file->count = file->current = 0;
    let_go(file);
    for (size_t i = 0; i < count; i++) {
        struct log_segment *segment = left[i];
        if (!segment->named && !segment->listed && !segment->sealed) {
            discard(file, segment, false);
            continue;
        }
        file->env->ops->close(file->env, segment->out);
        file->env->ops->close(file->env, segment->syncer);
        segment->out = segment->syncer = NULL;
        all[kept++] = segment;
    }
    mem_free(file->abandoned, old * size);
    file->abandoned = kept ? mem_new(kept * size) : NULL;
    file->abandoned_count = kept;
    if (kept) memcpy(file->abandoned, all, kept * size);
    mem_free(all, (old + count) * size);
}

static enum status file_restart(struct journal *journal, struct problem *why) {
    struct file_journal *file = file_of(journal);
    struct problem problem = {};
    pthread_mutex_lock(&file->making);
    uint64_t ready = SEGMENT_HEADER + file->extend;
    struct log_segment *segment = file_journal_make(file, file->next_seq, ready, &problem);
    if (segment) {
        pthread_mutex_lock(&file->syncing); /* whose handles are closed */
        if (file->opening) file_journal_end_opening(file, false);
        abandon(file);
        file_journal_add(file, segment);
        hold(file);
        file->failed = file->closed = file->soiled = false;
        file->detached = file->open = true;
        let_go(file);
        pthread_mutex_unlock(&file->syncing);
    }
    pthread_mutex_unlock(&file->making);
    if (segment) return OK;
    if (why) *why = problem;
    return problem.status;
}

static enum status file_read(struct journal *journal, uint64_t from_seq,
                             enum status (*visit)(void *self, const struct journal_batch *batch,
                                                  struct problem *why),
                             void *self, struct problem *why) {
    struct file_journal *file = file_of(journal);
    struct manifest view;
    manifest_init(&view);
    hold(file);
    list_segments(file, 0, false, &view);
    uint64_t last = file->next_seq - 1;
    let_go(file);
    enum status status =
        file_journal_read(file->env, file->dir, &view, from_seq, last, visit, self, why);
    manifest_deinit(&view);
    return status;
}

static struct journal *file_free(struct journal *journal) {
    struct file_journal *file = file_of(journal);
    if (file->opening) file_journal_end_opening(file, false);
    for (size_t i = 0; i < file->count; i++) log_segment_free(file->env, file->segments[i]);
    for (size_t i = 0; i < file->abandoned_count; i++)
        log_segment_free(file->env, file->abandoned[i]);
    mem_free(file->segments, file->cap * sizeof *file->segments);
    mem_free(file->abandoned, file->abandoned_count * sizeof *file->abandoned);
    mem_free(file->scratch, SCRATCH);
    mem_free(file->dir, strlen(file->dir) + 1);
    pthread_mutex_destroy(&file->making);
    pthread_mutex_destroy(&file->syncing);
    pthread_mutex_destroy(&file->lock);
    mem_free(file, sizeof *file);
    return NULL;
}

static const struct journal_ops file_ops = {
    .append = file_append,
    .sync = file_sync,
    .read = file_read,
    .trim = file_trim,
    .restart = file_restart,
    .prepare = file_prepare,
    .free = file_free,
};

struct file_journal *file_journal_new(struct env *env, const char *dir,
                                      struct manifest_share *manifest, uint64_t segment,
                                      uint64_t next_number) {
    struct file_journal *file = mem_new(sizeof *file);
    *file = (struct file_journal){
        .journal = { &file_ops },
        .env = env,
        .share = manifest,
        .segment_size = segment,
        .extend = segment / 4 < EXTEND ? segment / 4 : EXTEND,
        .next_number = next_number,
        .scratch = mem_new(SCRATCH),
    };
    size_t size = strlen(dir) + 1;
    file->dir = mem_new(size);
    memcpy(file->dir, dir, size);
    pthread_mutex_init(&file->making, NULL);
    pthread_mutex_init(&file->syncing, NULL);
    pthread_mutex_init(&file->lock, NULL);
    return file;
}

bool file_journal_is_open(const struct journal *journal) {
    return is_open(file_of((struct journal *)(uintptr_t)journal));
}

uint64_t file_journal_next_seq(const struct journal *journal) {
    struct file_journal *file = file_of((struct journal *)(uintptr_t)journal);
    hold(file);
    uint64_t seq = file->next_seq;
    let_go(file);
    return seq;
}

uint64_t file_journal_size(const struct journal *journal, uint64_t since_seq) {
    struct file_journal *file = file_of((struct journal *)(uintptr_t)journal);
    uint64_t total = 0;
    hold(file);
    for (size_t i = 0; i < file->count && i <= file->current; i++) {
        const struct log_segment *segment = file->segments[i];
        if (segment_is_empty(segment) || segment->last_seq < since_seq) continue;
        uint64_t bytes = segment->at - SEGMENT_HEADER;
        uint64_t frames = segment->last_seq - segment->first_seq + 1;
        uint64_t left = segment->last_seq - since_seq + 1;
        /* frames within a segment are taken to be of one size */
        total += left < frames ? (uint64_t)((double)bytes / (double)frames * (double)left) : bytes;
    }
    let_go(file);
    return total;
}

enum status file_journal_put_base(struct journal *journal, const struct manifest_base *base,
                                  struct problem *why) {
    struct file_journal *file = file_of(journal);
    pthread_mutex_lock(&file->making);
    hold(file);
    bool failed = file->failed || !file->open;
    bool fits = !failed && base->seq >= file->segments[0]->first_seq && base->seq <= file->next_seq;
    let_go(file);
    enum status status;
    if (failed)
        status = stopped(why);
    else if (!fits)
        status = problem_set(why, INVALID, 0, "the log does not begin where the base ends");
    else
        status = file_journal_list(file, &(struct listing){ .base = base }, why);
    pthread_mutex_unlock(&file->making);
    return status;
}

enum status file_journal_close_clean(struct journal *journal, uint64_t cut, struct problem *why) {
    struct file_journal *file = file_of(journal);
    hold(file);
    bool closed = file->closed, detached = file->detached;
    if (closed) cut = file->cut; /* the trailer is there, and the manifest was not written */
    struct journal_batch trailer = {
        .seq = file->next_seq, .cut = cut, .synced = cut, .flags = JOURNAL_CLEAN
    };
    let_go(file);
    if (detached) return problem_set(why, INVALID, 0, "the manifest does not know the new log yet");
    enum status status = closed ? OK : file_append(journal, &trailer, why);
    uint64_t acked;
    if (status == OK) status = file_sync(journal, &acked, why);
    if (status != OK) return status;
    pthread_mutex_lock(&file->making);
    status = file_journal_list(
        file, &(struct listing){ .clean = true, .clean_seq = acked, .clean_cut = cut }, why);
    pthread_mutex_unlock(&file->making);
    return status;
}
