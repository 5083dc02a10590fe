/* file_journal_open.c: taking up a journal where a scan says that it ends.
 *
 *     1  a new directory: the manifest first, so that files without one are always damage
 *     2  the frames of logs that are not sealed are written anew, to a log of their own: they may be in the page
 *        cache only, and if a sync of theirs has failed nothing but a new file will ever bring them to the
 *        disk; yet from now on they are shown to clients
 *     3  a new segment, durable
 *     4  what is torn off is copied aside: log.N.torn
 *     5  the manifest: the sealed logs, the copy, sealed as well, and the new one
 *     6  whatever else lies about is removed
 *
 * Until 5 the old manifest stands and a crash changes nothing; the same steps are taken again. So it is when the
 * disk does not take them: 2 leaves nothing behind then, but what 3 has made stays for the next try, as a manifest
 * that could not be written may stand all the same.
 */
#include <errno.h>
#include <limits.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/mem.h"
#include "log/file_journal.h"
#include "log/frame.h"

enum { COPY = 256 * 1024 };

struct opening {
    struct env *env;
    const char *dir;
    struct manifest was;
    struct file_journal_tail tail;
    uint64_t highest; /* number of any log here */
    bool spares[SPARES_MAX];
    bool taken, begun, aside; /* steps 2, 3 and 4 are done */
};

static bool see_name(void *self, const char *name) {
    struct opening *opening = self;
    uint64_t number;
    enum file_kind kind = file_kind(name, &number);
    if ((kind == FILE_LOG || kind == FILE_TORN) && number > opening->highest)
        opening->highest = number;
    if (kind == FILE_SPARE && number >= 1 && number <= SPARES_MAX)
        opening->spares[number - 1] = true;
    return true;
}

static enum status see_names(struct opening *opening, struct problem *why) {
    for (size_t i = 0; i < opening->was.logs_count; i++)
        if (opening->was.logs[i].number > opening->highest)
            opening->highest = opening->was.logs[i].number;
    int error = opening->env->ops->list(opening->env, opening->dir, see_name, opening);
    return error == 0 ? OK : problem_set(why, IO, -error, "cannot list %.200s", opening->dir);
}

static int copy_range(struct env *env, struct env_file *from, struct env_file *to, uint64_t at,
                      uint64_t end) {
    char *piece = mem_new(COPY);
    int error = 0;
    for (uint64_t done = 0; at + done < end && error == 0;) {
        uint64_t left = end - at - done;
        int64_t n = env->ops->pread(env, from, piece, left < COPY ? (size_t)left : COPY, at + done);
        if (n <= 0) {
            error = (int)n;
            break;
        }
        error = write_fully(env, to, piece, (size_t)n, done);
        done += (uint64_t)n;
    }
    mem_free(piece, COPY);
    return error == 0 ? env->ops->sync(env, to) : error;
}

static int put_aside(struct opening *opening, size_t log, const struct torn *torn) {
    struct env *env = opening->env;
    char path[PATH_MAX];
    struct env_file *from = NULL, *to = NULL;
    path_of_log(opening->dir, opening->was.logs[log].number, path);
    int error = env->ops->open(env, path, ENV_READ, &from);
    path_of_torn(opening->dir, opening->was.logs[log].number, path);
    if (error == 0) error = env->ops->open(env, path, ENV_WRITE | ENV_TRUNCATE, &to);
    if (error == 0) error = copy_range(env, from, to, torn->from, torn->to);
    env->ops->close(env, from);
    env->ops->close(env, to);
    return error;
}

/* Nobody has to have these bytes, so that failing to keep them is no reason not to start. */
static void put_torn_aside(struct opening *opening, struct problem *why) {
    size_t size = (opening->was.logs_count + 1) * sizeof(struct torn);
    struct torn *torn = mem_new_zero(size);
    struct file_journal_tail tail;
    enum status status =
        file_journal_survey(opening->env, opening->dir, &opening->was, &tail, torn, why);
    for (size_t i = 0; i < opening->was.logs_count && status == OK; i++) {
        if (torn[i].from == torn[i].to) continue;
        int error = put_aside(opening, i, &torn[i]);
        if (error < 0)
            problem_set(why, IO, -error, "the torn end of log.%llu.plog was not copied aside",
                        (unsigned long long)opening->was.logs[i].number);
    }
    mem_free(torn, size);
}

/* --- frames written anew --- */

struct copy {
    struct file_journal *file;
    struct log_segment *segment;
    char *piece; /* COPY bytes, to be written at segment->at */
    size_t filled;
};

static int copy_flush(struct copy *copy) {
    struct log_segment *segment = copy->segment;
    int error = write_fully(copy->file->env, segment->out, copy->piece, copy->filled, segment->at);
    if (error == 0) segment->at += copy->filled;
    copy->filled = 0;
    return error;
}

static int copy_bytes(struct copy *copy, struct bytes bytes) {
    int error = 0;
    while (bytes.len > 0 && error == 0) {
        size_t room = COPY - copy->filled, n = bytes.len < room ? bytes.len : room;
        memcpy(copy->piece + copy->filled, bytes.data, n);
        copy->filled += n;
        bytes.data += n;
        bytes.len -= n;
        if (copy->filled == COPY) error = copy_flush(copy);
    }
    return error;
}

static enum status copy_frame(void *self, const struct journal_batch *batch, struct problem *why) {
    static const char zeros[FRAME_ALIGN];
    struct copy *copy = self;
    char header[FRAME_HEADER];
    frame_encode(batch, frame_seed(copy->segment->id), header);
    size_t padding = frame_size(batch->bytes.len) - FRAME_HEADER - batch->bytes.len;
    int error = copy_bytes(copy, (struct bytes){ header, sizeof header });
    if (error == 0) error = copy_bytes(copy, batch->bytes);
    if (error == 0) error = copy_bytes(copy, (struct bytes){ zeros, padding });
    copy->segment->last_seq = batch->seq;
    return error == 0 ? OK : problem_set(why, IO, -error, "cannot write the log anew");
}

/* A log with the frames from..to, durable and closed. NULL: `why`. */
static struct log_segment *copy_frames(struct opening *opening, struct file_journal *file,
                                       uint64_t from, uint64_t to, struct problem *why) {
    struct env *env = opening->env;
    struct log_segment *segment = file_journal_make(file, from, SEGMENT_HEADER, why);
    if (!segment) return NULL;
    struct copy copy = { .file = file, .segment = segment, .piece = mem_new(COPY) };
    enum status status =
        file_journal_read(env, opening->dir, &opening->was, from, to, copy_frame, &copy, why);
    int error = status == OK ? copy_flush(&copy) : 0;
    if (status == OK && error == 0) error = env->ops->sync(env, segment->syncer);
    if (error < 0) status = problem_set(why, IO, -error, "cannot write the log anew");
    mem_free(copy.piece, COPY);
    if (status != OK) {
        char path[PATH_MAX];
        path_of_log(opening->dir, segment->number, path);
        (void)env->ops->unlink(env, path); /* or the next tries would fill the disk */
        return log_segment_free(env, segment);
    }
    env->ops->close(env, segment->out);
    env->ops->close(env, segment->syncer);
    segment->out = segment->syncer = NULL;
    segment->synced_seq = segment->last_seq;
    if (segment->ready < segment->at) segment->ready = segment->at;
    segment->room = segment->ready;
    segment->sealed = true;
    return segment;
}

static struct log_segment *sealed_segment(const struct manifest_log *log) {
    struct log_segment *segment = mem_new(sizeof *segment);
    *segment = (struct log_segment){
        .number = log->number,
        .id = log->id,
        .first_seq = log->first_seq,
        .last_seq = log->last_seq,
        .synced_seq = log->last_seq,
        .at = log->end,
        .ready = log->end,
        .room = log->end,
        .sealed = true,
    };
    return segment;
}

/* What was there: the sealed logs as they are, of the others a copy. */
static enum status take_up(struct opening *opening, struct file_journal *file,
                           struct problem *why) {
    uint64_t next = opening->was.base.seq;
    for (size_t i = 0; i < opening->was.logs_count; i++) {
        const struct manifest_log *log = &opening->was.logs[i];
        if (log->end == 0) break;
        if (log->last_seq < next) continue;
        file_journal_add(file, sealed_segment(log));
        next = log->last_seq + 1;
    }
    if (next > opening->tail.last_seq) return OK;
    struct log_segment *copy = copy_frames(opening, file, next, opening->tail.last_seq, why);
    if (!copy) return why->status;
    file_journal_add(file, copy);
    return OK;
}

static void let_go_of_segments(struct file_journal *file) {
    pthread_mutex_lock(&file->lock);
    size_t count = file->count;
    file->count = 0;
    pthread_mutex_unlock(&file->lock);
    for (size_t i = 0; i < count; i++) log_segment_free(file->env, file->segments[i]);
}

static enum status begin(struct opening *opening, struct file_journal *file, struct problem *why) {
    uint64_t ready = SEGMENT_HEADER + (file->extend < BEGIN ? file->extend : BEGIN);
    struct log_segment *segment = file_journal_make(file, opening->tail.last_seq + 1, ready, why);
    if (!segment) return why->status;
    file_journal_add(file, segment);
    pthread_mutex_lock(&file->lock);
    file->current = file->count - 1;
    pthread_mutex_unlock(&file->lock);
    return OK;
}

enum status file_journal_go_on_opening(struct file_journal *file, struct problem *why) {
    struct opening *opening = file->opening;
    enum status status = OK;
    if (!opening->taken) {
        status = take_up(opening, file, why);
        if (status != OK) let_go_of_segments(file);
        opening->taken = status == OK;
    }
    if (status == OK && !opening->begun) {
        status = begin(opening, file, why);
        opening->begun = status == OK;
    }
    if (status != OK) return status;
    if (!opening->aside && opening->tail.torn_bytes > 0) put_torn_aside(opening, why);
    opening->aside = true;
    status = file_journal_list(file, &(struct listing){}, why);
    if (status != OK) return status;
    pthread_mutex_lock(&file->share->lock);
    (void)!manifest_sweep(file->env, file->dir, &file->share->now, NULL); /* or the next start */
    pthread_mutex_unlock(&file->share->lock);
    file_journal_end_opening(file, true);
    return OK;
}

static bool has_segment(const struct file_journal *file, uint64_t number) {
    for (size_t i = 0; i < file->count; i++)
        if (file->segments[i]->number == number) return true;
    return false;
}

static struct opening *opening_free(struct opening *opening) {
    manifest_deinit(&opening->was);
    mem_free(opening, sizeof *opening);
    return NULL;
}

void file_journal_end_opening(struct file_journal *file, bool opened) {
    struct opening *opening = file->opening;
    for (size_t i = 0; i < opening->was.logs_count && !opened; i++)
        if (!has_segment(file, opening->was.logs[i].number))
            file_journal_add(file, sealed_segment(&opening->was.logs[i]));
    pthread_mutex_lock(&file->lock);
    file->opening = opening_free(opening);
    file->open = opened;
    pthread_mutex_unlock(&file->lock);
}

/* --- what was found, while it is not written anew --- */

static bool same_content(struct env *env, struct env_file *seen, struct env_file *on_disk) {
    char *pieces = mem_new(2 * COPY);
    int64_t n = 0, m = 0;
    for (uint64_t at = 0;; at += (uint64_t)n) {
        n = env->ops->pread(env, seen, pieces, COPY, at);
        m = n > 0 ? env->ops->pread(env, on_disk, pieces + COPY, (size_t)n, at) : n;
        if (n <= 0 || m != n || memcmp(pieces, pieces + COPY, (size_t)n) != 0) break;
    }
    mem_free(pieces, 2 * COPY);
    return n == 0;
}

/* A sync that fails says so to one who asks, and is fine the next time (fsync(2)): so the disk is asked itself. */
static bool is_on_disk(struct env *env, const char *path) {
    struct env_file *seen = NULL, *on_disk = NULL;
    int error = env->ops->open(env, path, ENV_READ, &seen);
    if (error == 0) error = env->ops->sync(env, seen);
    if (error == 0) error = env->ops->open(env, path, ENV_READ | ENV_DISK, &on_disk);
    bool same = error == -EINVAL || /* no such question here: the sync's word is all there is */
                (error == 0 && same_content(env, seen, on_disk));
    env->ops->close(env, seen);
    env->ops->close(env, on_disk);
    return same;
}

uint64_t file_journal_found_durable(struct journal *journal) {
    struct file_journal *file = (struct file_journal *)journal;
    pthread_mutex_lock(&file->making);
    const struct opening *opening = file->opening;
    assert(opening);
    uint64_t cut = opening->tail.cut;
    /* The manifest may be one whose name was not durable yet when the process died. */
    if (file->env->ops->sync_dir(file->env, file->dir) < 0) cut = 0;
    for (size_t i = 0; i < opening->was.logs_count && cut > 0; i++) {
        const struct manifest_log *log = &opening->was.logs[i];
        char path[PATH_MAX];
        path_of_log(file->dir, log->number, path);
        if (log->end == 0 && !is_on_disk(file->env, path)) cut = opening->tail.durable_cut;
    }
    pthread_mutex_unlock(&file->making);
    return cut;
}

/* --- */

static enum status look_round(struct opening *opening, struct problem *why) {
    enum status status = OK;
    if (opening->was.logs_count == 0)
        status = manifest_write(opening->env, opening->dir, &opening->was, why);
    return status == OK ? see_names(opening, why) : status;
}

struct journal *file_journal_open(struct env *env, const char *dir, struct manifest_share *manifest,
                                  const struct file_journal_tail *tail, uint64_t segment,
                                  struct problem *why) {
    struct opening *opening = mem_new(sizeof *opening);
    *opening = (struct opening){ .env = env, .dir = dir, .tail = *tail };
    struct problem unwanted;
    if (!why) why = &unwanted;
    pthread_mutex_lock(&manifest->lock);
    manifest_copy(&opening->was, &manifest->now);
    pthread_mutex_unlock(&manifest->lock);
    if (look_round(opening, why) != OK) {
        opening_free(opening);
        return NULL;
    }
    struct file_journal *file = file_journal_new(
        env, dir, manifest, segment ? segment : SEGMENT_SIZE, opening->highest + 1);
    memcpy(file->spares, opening->spares, sizeof file->spares);
    opening->dir = file->dir;
    file->opening = opening;
    file->next_seq = tail->last_seq + 1;
    file->cut = tail->cut;
    pthread_mutex_lock(&file->making);
    enum status status = file_journal_go_on_opening(file, why);
    pthread_mutex_unlock(&file->making);
    return status == OK || status == IO ? &file->journal : journal_free(&file->journal);
}
