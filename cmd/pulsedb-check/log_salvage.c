/* log_salvage.c: which frames of the log are whole, and in a row.
 *
 * Every frame that is whole, in any of the files, is noted. Where two have the same number, the
 * file made later is right: the end of an earlier one was cut off, or copied. From the first
 * that is needed on they are taken until one is missing; what lies behind that is lost, because
 * a later change may build on what is not there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "log_file.h"
#include "records.h"
#include "salvage.h"

enum { LOG_SIZE_MAX = 64 * 1024 * 1024 };

struct noted {
    uint64_t seq, cut, synced, at, size;
    uint64_t records, first, last; /* stamps */
    size_t log;
};

struct gap { /* bytes that are neither frames nor free */
    size_t log;
    uint64_t at, size;
};

struct log_salvage {
    struct env *env;
    const char *dir;
    const struct manifest *manifest;
    bool known;
    struct noted *frames; /* ascending; one of each seq */
    size_t count, cap;
    struct gap *gaps;
    size_t gaps_count, gaps_cap;
};

static void raise_to(uint64_t *word, uint64_t least) {
    if (*word < least) *word = least;
}

/* --- noting --- */

static void note(struct log_salvage *salvage, const struct noted *frame) {
    if (salvage->count == salvage->cap) {
        size_t cap = salvage->cap ? salvage->cap * 2 : 256, size = sizeof *frame;
        salvage->frames = mem_resize(salvage->frames, salvage->cap * size, cap * size);
        salvage->cap = cap;
    }
    salvage->frames[salvage->count++] = *frame;
}

static void note_gap(struct log_salvage *salvage, size_t log, uint64_t at, uint64_t size) {
    if (size == 0) return;
    if (salvage->gaps_count == salvage->gaps_cap) {
        size_t cap = salvage->gaps_cap ? salvage->gaps_cap * 2 : 16, each = sizeof(struct gap);
        salvage->gaps = mem_resize(salvage->gaps, salvage->gaps_cap * each, cap * each);
        salvage->gaps_cap = cap;
    }
    salvage->gaps[salvage->gaps_count++] = (struct gap){ log, at, size };
}

/* Where what a file holds behind `end` ends: nothing is strange in zeros, or in what an earlier
 * log has left. */
static uint64_t strange_end(const struct log_file *file, uint64_t end, uint64_t next_seq) {
    if (log_file_ends(file, end, next_seq)) return end;
    uint64_t last = file->size;
    while (last > end && file->data[last - 1] == 0) last--;
    if (file->header.flags & SEGMENT_RECYCLED) last = end + FRAME_HEADER; /* at least */
    return last;
}

static void note_frames(struct log_salvage *salvage, size_t log, const struct log_file *file,
                        struct log_losses *losses) {
    struct journal_batch frame;
    uint64_t end = SEGMENT_HEADER, seq = 0;
    for (uint64_t at = end; log_file_seek(file, &at, &frame); end = at) {
        struct record_counts counts = { .records = 0 };
        enum status status = batch_visit(&frame, salvage->manifest->shards, NULL, &counts, NULL);
        struct noted noted = { .seq = frame.seq,
                               .cut = frame.cut,
                               .synced = frame.synced,
                               .at = at,
                               .size = frame_size(frame.bytes.len),
                               .records = counts.records,
                               .first = counts.first,
                               .last = counts.last,
                               .log = log };
        if (status == OK) note(salvage, &noted);
        note_gap(salvage, log, end, at - end + (status == OK ? 0 : noted.size));
        raise_to(&losses->highest, counts.last > frame.cut ? counts.last : frame.cut);
        seq = frame.seq;
        at += noted.size;
    }
    note_gap(salvage, log, end, strange_end(file, end, seq + 1) - end);
}

static int by_seq(const void *a, const void *b) {
    const struct noted *one = a, *other = b;
    if (one->seq != other->seq) return one->seq < other->seq ? -1 : 1;
    return one->log > other->log ? -1 : one->log < other->log; /* the later file first */
}

static enum status open_log(const struct log_salvage *salvage, size_t log, struct log_file *file,
                            struct problem *why) {
    const struct manifest_log *named = &salvage->manifest->logs[log];
    char path[PATH_MAX];
    path_of_log(salvage->dir, named->number, path);
    enum status status = log_file_open(file, salvage->env, path, named->id, why);
    if (status != OK) return status;
    if (named->end && named->end < file->size) file->size = (size_t)named->end;
    bool other = named->id && file->header.id != named->id;
    if (file->header_status != UNSUPPORTED && !other) return OK;
    log_file_close(file);
    if (other) return problem_set(why, CORRUPT, 0, "%.200s is another database's", path);
    return problem_set(why, UNSUPPORTED, 0, "%.200s is of a later version", path);
}

enum status log_salvage_begin(struct log_salvage **out, struct env *env, const char *dir,
                              const struct manifest *manifest, bool known,
                              struct log_losses *losses, struct problem *why) {
    struct log_salvage *salvage = mem_new_zero(sizeof *salvage);
    *salvage = (struct log_salvage){ .env = env, .dir = dir, .manifest = manifest, .known = known };
    *losses = (struct log_losses){ .frames = 0 };
    for (size_t i = 0; i < manifest->logs_count; i++) {
        struct log_file file;
        enum status status = open_log(salvage, i, &file, why);
        if (status == UNSUPPORTED || status == NO_MEMORY) {
            log_salvage_free(salvage);
            return status;
        }
        losses->unreadable += status != OK;
        if (status != OK) continue;
        size_t before = salvage->count;
        note_frames(salvage, i, &file, losses);
        if (file.header_status != OK && salvage->count == before) losses->unreadable++;
        log_file_close(&file);
    }
    if (salvage->count) qsort(salvage->frames, salvage->count, sizeof *salvage->frames, by_seq);
    size_t n = 0;
    for (size_t i = 0; i < salvage->count; i++)
        if (n == 0 || salvage->frames[n - 1].seq != salvage->frames[i].seq)
            salvage->frames[n++] = salvage->frames[i];
    salvage->count = n;
    *out = salvage;
    return OK;
}

uint64_t log_salvage_first_seq(const struct log_salvage *salvage, uint64_t from) {
    for (size_t i = 0; i < salvage->count; i++)
        if (salvage->frames[i].cut > from) return salvage->frames[i].seq;
    return salvage->count ? salvage->frames[salvage->count - 1].seq + 1 : 1;
}

uint64_t log_salvage_reach(const struct log_salvage *salvage, uint64_t seq) {
    for (size_t i = salvage->count; i > 0 && seq > 1; i--)
        if (salvage->frames[i - 1].seq == seq - 1) seq--;
    return seq;
}

/* --- choosing --- */

/* The frames in a row: from `*first` on, so many. */
static size_t chain(const struct log_salvage *salvage, uint64_t seq, size_t *first) {
    size_t i = 0, n = 0;
    while (i < salvage->count && salvage->frames[i].seq < seq) i++;
    *first = i;
    uint64_t cut = 0;
    while (i + n < salvage->count && salvage->frames[i + n].seq == seq + n &&
           salvage->frames[i + n].cut >= cut)
        cut = salvage->frames[i + n++].cut;
    return n;
}

static void say_where(const struct log_salvage *salvage, const struct noted *last,
                      uint64_t first_seq, struct log_losses *losses) {
    const struct manifest *manifest = salvage->manifest;
    uint64_t number = manifest->logs_count ? manifest->logs[0].number : 0;
    for (size_t i = 0; i < manifest->logs_count && !last; i++)
        if (manifest->logs[i].first_seq && manifest->logs[i].first_seq <= first_seq)
            number = manifest->logs[i].number;
    if (last) number = manifest->logs[last->log].number;
    losses->at = last ? last->at + last->size : 0;
    snprintf(losses->where, sizeof losses->where, "log.%llu.plog", (unsigned long long)number);
}

/* Whether a frame is missing behind the chain that somebody had been told of. */
static void judge(const struct log_salvage *salvage, const struct manifest_base *base, size_t next,
                  struct log_losses *losses) {
    const struct manifest *manifest = salvage->manifest;
    for (size_t i = next; i < salvage->count; i++) {
        const struct noted *frame = &salvage->frames[i];
        losses->frames_lost++;
        losses->records_lost += frame->records;
        losses->bytes_lost += frame->size;
        if (frame->first && (!losses->first_lost || frame->first < losses->first_lost))
            losses->first_lost = frame->first;
        raise_to(&losses->last_lost, frame->last);
        losses->damaged |= frame->synced > losses->cut;
    }
    for (size_t i = 0; i < manifest->logs_count && salvage->known; i++)
        losses->damaged |= manifest->logs[i].end && manifest->logs[i].last_seq > losses->last_seq;
    losses->damaged |= manifest->clean && manifest->clean_seq > losses->last_seq;
    losses->damaged |= base->generation && losses->cut < base->to;
    losses->damaged |= losses->unreadable > 0;
}

/* --- copying --- */

struct out_log {
    struct env *env;
    const char *dir;
    struct env_file *file;
    struct manifest_log *log;
    uint64_t number; /* of the last one */
    uint32_t seed;
    uint64_t at;
};

static enum status out_begin(struct out_log *out, struct manifest *manifest, uint64_t first_seq,
                             struct problem *why) {
    out->log = manifest_add_log(manifest);
    *out->log = (struct manifest_log){ .number = ++out->number, .first_seq = first_seq };
    env_random(out->env, &out->log->id, sizeof out->log->id);
    out->seed = frame_seed(out->log->id);
    out->at = SEGMENT_HEADER;
    char path[PATH_MAX], bytes[SEGMENT_HEADER];
    path_of_log(out->dir, out->log->number, path);
    struct segment_header header = { .number = out->log->number,
                                     .id = out->log->id,
                                     .first_seq = first_seq };
    segment_header_encode(&header, bytes);
    int error = out->env->ops->open(out->env, path, ENV_WRITE | ENV_CREATE, &out->file);
    if (error == 0) error = write_fully(out->env, out->file, bytes, sizeof bytes, 0);
    return error == 0 ? OK : problem_set(why, IO, -error, "cannot write %s", path);
}

static enum status out_end(struct out_log *out, struct problem *why) {
    if (!out->file) return OK;
    int error = out->env->ops->sync(out->env, out->file);
    out->env->ops->close(out->env, out->file);
    out->file = NULL;
    if (error < 0) return problem_set(why, IO, -error, "cannot make the new log durable");
    out->log->end = out->at;
    return OK;
}

static enum status out_frame(struct out_log *out, struct manifest *manifest,
                             const struct journal_batch *frame, struct problem *why) {
    static const char zeros[FRAME_ALIGN];
    enum status status = OK;
    uint64_t size = frame_size(frame->bytes.len);
    if (out->file && out->at > SEGMENT_HEADER && out->at + size > LOG_SIZE_MAX)
        status = out_end(out, why);
    if (status == OK && !out->file) status = out_begin(out, manifest, frame->seq, why);
    if (status != OK) return status;
    char header[FRAME_HEADER];
    frame_encode(frame, out->seed, header);
    size_t padding = (size_t)size - FRAME_HEADER - frame->bytes.len;
    struct env *env = out->env;
    int error = write_fully(env, out->file, header, sizeof header, out->at);
    if (error == 0)
        error = write_fully(env, out->file, frame->bytes.data, frame->bytes.len,
                            out->at + FRAME_HEADER);
    if (error == 0)
        error =
            write_fully(env, out->file, zeros, padding, out->at + FRAME_HEADER + frame->bytes.len);
    if (error < 0) return problem_set(why, IO, -error, "cannot write the new log");
    out->at += size;
    out->log->last_seq = frame->seq;
    return OK;
}

/* A snapshot is worth nothing without the log up to its end: this frame says only that it is
 * there. */
static enum status out_base_end(struct out_log *out, struct manifest *manifest, uint64_t seq,
                                struct problem *why) {
    struct journal_batch end = { .seq = seq, .cut = manifest->base.to, .bytes = { "", 0 } };
    return out_frame(out, manifest, &end, why);
}

static enum status copy_frames(struct log_salvage *salvage, const struct noted *frames, size_t n,
                               struct out_log *out, struct manifest *manifest,
                               struct problem *why) {
    struct log_file file = { .size = 0 };
    size_t open = SIZE_MAX;
    enum status status = OK;
    for (size_t i = 0; i < n && status == OK; i++) {
        struct journal_batch frame;
        if (frames[i].log != open) {
            log_file_close(&file);
            status = open_log(salvage, frames[i].log, &file, why);
            if (status != OK) return status;
            open = frames[i].log;
        }
        if (log_file_frame(&file, frames[i].at, &frame))
            status = out_frame(out, manifest, &frame, why);
        else
            status = problem_set(why, IO, 0, "%.200s changes while it is read", file.path);
    }
    log_file_close(&file);
    return status;
}

enum status log_salvage_copy(struct log_salvage *salvage, const char *to, struct manifest *out,
                             struct log_losses *losses, struct problem *why) {
    const struct manifest_base *base = &out->base;
    size_t first, n = chain(salvage, base->seq, &first);
    const struct noted *frames = salvage->frames + first, *last = n ? &frames[n - 1] : NULL;
    losses->frames = n;
    losses->last_seq = base->seq + n - 1;
    losses->cut = last ? last->cut : 0;
    for (size_t i = 0; i < n; i++) losses->records += frames[i].records;
    for (size_t i = 0; i < salvage->gaps_count; i++) {
        const struct gap *gap = &salvage->gaps[i];
        bool behind =
            !last || gap->log > last->log || (gap->log == last->log && gap->at > last->at);
        losses->bytes_lost += behind ? gap->size : 0;
    }
    say_where(salvage, last, base->seq, losses);
    judge(salvage, base, first + n, losses);
    struct out_log writer = { .env = salvage->env, .dir = to };
    enum status status = copy_frames(salvage, frames, n, &writer, out, why);
    if (status == OK && base->generation && losses->cut < base->to)
        status = out_base_end(&writer, out, losses->last_seq + 1, why);
    enum status ended = out_end(&writer, why);
    return status == OK ? ended : status;
}

struct log_salvage *log_salvage_free(struct log_salvage *salvage) {
    if (!salvage) return NULL;
    mem_free(salvage->frames, salvage->cap * sizeof *salvage->frames);
    mem_free(salvage->gaps, salvage->gaps_cap * sizeof *salvage->gaps);
    mem_free(salvage, sizeof *salvage);
    return NULL;
}

enum status log_write_end(struct env *env, const char *dir, struct manifest *manifest,
                          uint64_t number, struct problem *why) {
    struct out_log writer = { .env = env, .dir = dir, .number = number - 1 };
    enum status status = out_base_end(&writer, manifest, manifest->base.seq, why);
    enum status ended = out_end(&writer, why);
    return status == OK ? ended : status;
}
