/* file_journal_scan.c: reading what a file journal has written, and deciding what its end means.
 *
 * A walk goes from frame to frame. The next one is good if its checksum is right under its file's id, its seq is
 * the last one's plus one and its cut is not below the last one's. Where there is none, the log goes on
 * in the next file, if that begins with it; else it ends here, for one of two reasons:
 *
 *     torn      what comes next was never acknowledged: a crash cut it short         cut it off
 *     damaged   it was: something is broken that had been durable                    refuse
 *
 * To tell them apart, everything behind is searched for frames that are whole. Each says up to which cut
 * things were durable when it was written; if that is past the last good frame, a durable frame is missing. So it
 * is if the manifest knows of a later frame: that of a sealed log, or of a shutdown in order.
 *
 * Frames below base.seq are walked only to get to it; they may be damaged, nobody needs them.
 */
#include <errno.h>
#include <limits.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/mem.h"
#include "log/frame.h"
#include "log/manifest.h"
#include "log/segment.h"

enum {
    CHUNK = 1024 * 1024, /* read at once */
    /* Bytes in a file can look like a frame's header by intent. Proving that they are none may cost this many
     * times the file; then the question is not answered. */
    LOOKALIKES_MAX = 256,
};

static unsigned long long wide(uint64_t n) {
    return n;
}

/* --- one file, through a window --- */

struct reader {
    struct env *env;
    struct env_file *file;
    uint64_t number;
    uint32_t seed, flags;
    uint64_t size; /* what lies behind is not part of the log */
    char *window;
    size_t cap, len;
    uint64_t at; /* of the window in the file */
};

static void reader_close(struct reader *reader) {
    if (!reader->file) return;
    reader->env->ops->close(reader->env, reader->file);
    mem_free(reader->window, reader->cap);
    *reader = (struct reader){};
}

static enum status cannot_read(struct problem *why, uint64_t number, int64_t error) {
    if (error == -ENOENT)
        return problem_set(why, CORRUPT, ENOENT,
                           "log.%llu.plog is missing: restore it, or run pulsedb-check repair",
                           wide(number));
    return problem_set(why, IO, (int)-error, "cannot read log.%llu.plog", wide(number));
}

static enum status reader_fill(struct reader *reader, uint64_t at, size_t cap,
                               struct problem *why) {
    if (cap > reader->cap) {
        char *window = mem_try(cap);
        if (!window)
            return problem_set(why, NO_MEMORY, 0, "no memory for %zu bytes of log.%llu.plog", cap,
                               wide(reader->number));
        mem_free(reader->window, reader->cap);
        reader->window = window;
        reader->cap = cap;
    }
    reader->at = at;
    reader->len = 0;
    while (reader->len < cap) {
        int64_t n = reader->env->ops->pread(reader->env, reader->file, reader->window + reader->len,
                                            cap - reader->len, at + reader->len);
        if (n < 0) return cannot_read(why, reader->number, n);
        if (n == 0) break;
        reader->len += (size_t)n;
    }
    if (reader->len < cap) reader->size = at + reader->len; /* it shrank meanwhile */
    return OK;
}

/* What lies at `at`: `needed` bytes or more, fewer only at the end. Borrowed until the next call. */
static enum status reader_get(struct reader *reader, uint64_t at, size_t needed, struct bytes *out,
                              struct problem *why) {
    uint64_t left = at < reader->size ? reader->size - at : 0;
    if (needed > left) needed = (size_t)left;
    bool there = at >= reader->at && at - reader->at <= reader->len &&
                 reader->len - (size_t)(at - reader->at) >= needed;
    if (!there) {
        size_t cap = needed > CHUNK ? needed : CHUNK;
        enum status status = reader_fill(reader, at, cap < left ? cap : (size_t)left, why);
        if (status != OK) return status;
    }
    if (needed == 0) {
        *out = (struct bytes){ "", 0 };
        return OK;
    }
    size_t skipped = (size_t)(at - reader->at);
    *out = (struct bytes){ reader->window + skipped, reader->len - skipped };
    if (out->len > reader->size - at) out->len = (size_t)(reader->size - at);
    return OK;
}

static enum status reader_check(struct reader *reader, const struct manifest_log *log,
                                struct problem *why) {
    struct bytes bytes;
    struct segment_header header;
    struct problem wrong = {};
    enum status status = reader_get(reader, 0, SEGMENT_HEADER, &bytes, why);
    if (status != OK) return status;
    if (bytes.len < SEGMENT_HEADER)
        status = problem_set(&wrong, CORRUPT, 0, "its header is not whole");
    else
        status = segment_header_decode(bytes.data, &header, &wrong);
    if (status == OK && (header.number != log->number || header.id != log->id))
        status = problem_set(&wrong, CORRUPT, 0, "it is another database's, or another log");
    if (status == OK) {
        reader->flags = header.flags;
        return OK;
    }
    return problem_set(why, status, 0, "log.%llu.plog cannot be used: %s%s", wide(log->number),
                       wrong.text,
                       status == CORRUPT ? "; restore it, or run pulsedb-check repair" : "");
}

static enum status reader_open(struct reader *reader, struct env *env, const char *dir,
                               const struct manifest_log *log, struct problem *why) {
    char path[PATH_MAX];
    path_of_log(dir, log->number, path);
    struct env_file *file;
    int error = env->ops->open(env, path, ENV_READ, &file);
    if (error < 0) return cannot_read(why, log->number, error);
    *reader = (struct reader){ .env = env, .file = file, .number = log->number };
    int64_t size = env->ops->size(env, file);
    enum status status = size < 0 ? cannot_read(why, log->number, size) : OK;
    if (status == OK) {
        reader->size = (uint64_t)size;
        if (log->end && log->end < reader->size) reader->size = log->end;
        reader->seed = frame_seed(log->id);
        status = reader_check(reader, log, why);
    }
    if (status != OK) reader_close(reader);
    return status;
}

/* The frame at `at`, if it is whole and its checksum right. NOT_FOUND: there is none. `*claimed` is the length
 * that the header claims, 0 if there is no header. */
static enum status reader_frame(struct reader *reader, uint64_t at, struct journal_batch *out,
                                uint64_t *claimed, struct problem *why) {
    struct bytes bytes;
    struct frame_header header;
    *claimed = 0;
    enum status status = reader_get(reader, at, FRAME_HEADER, &bytes, why);
    if (status != OK) return status;
    if (bytes.len < FRAME_HEADER || !frame_peek(bytes.data, &header)) return NOT_FOUND;
    *claimed = frame_size(header.len);
    if (*claimed > reader->size - at) return NOT_FOUND;
    status = reader_get(reader, at, (size_t)*claimed, &bytes, why);
    if (status != OK) return status;
    return frame_decode(bytes, reader->seed, out, NULL) == OK ? OK : NOT_FOUND;
}

/* Whether a header can be that of a frame which the log has got after frame `after`. */
static bool plausible(const char *at, uint64_t after) {
    struct frame_header header;
    uint32_t magic;
    memcpy(&magic, at, sizeof magic);
    return magic == FRAME_MAGIC && frame_peek(at, &header) && header.batch.seq > after &&
           header.batch.synced <= header.batch.cut;
}

/* The first frame at `*at` or behind it that is whole and later than frame `after`. */
static enum status reader_seek(struct reader *reader, uint64_t *at, uint64_t after,
                               struct journal_batch *out, struct problem *why) {
    uint64_t doubts = 0, end = *at;
    while (end + FRAME_HEADER <= reader->size) {
        struct bytes bytes;
        enum status status = reader_get(reader, end, FRAME_HEADER, &bytes, why);
        if (status != OK) return status;
        size_t i = 0;
        while (i + FRAME_HEADER <= bytes.len && !plausible(bytes.data + i, after)) i += FRAME_ALIGN;
        end += i;
        if (i + FRAME_HEADER > bytes.len) {
            if (i == 0) break; /* it shrank */
            continue;
        }
        uint64_t claimed;
        status = reader_frame(reader, end, out, &claimed, why);
        if (status == OK) *at = end;
        if (status != NOT_FOUND) return status;
        end += FRAME_ALIGN;
        if (claimed <= reader->size) doubts += claimed;
        if (doubts / LOOKALIKES_MAX > reader->size)
            return problem_set(
                why, CORRUPT, 0,
                "log.%llu.plog is damaged before offset %llu, and full of what looks "
                "like frames: run pulsedb-check repair",
                wide(reader->number), wide(end));
    }
    return NOT_FOUND;
}

/* Where the zeros begin that fill the file from `from` on. */
static enum status reader_zeros(struct reader *reader, uint64_t from, uint64_t *out,
                                struct problem *why) {
    uint64_t last = from;
    for (uint64_t at = from; at < reader->size;) {
        struct bytes bytes;
        enum status status = reader_get(reader, at, 1, &bytes, why);
        if (status != OK) return status;
        if (bytes.len == 0) break;
        for (size_t i = bytes.len; i > 0; i--) {
            if (bytes.data[i - 1] == 0) continue;
            last = at + i;
            break;
        }
        at += bytes.len;
    }
    *out = last;
    return OK;
}

/* --- from frame to frame --- */

struct walk {
    struct env *env;
    const char *dir;
    const struct manifest *manifest;
    struct reader reader; /* of manifest->logs[log] */
    size_t log;
    uint64_t offset; /* where the next frame must be, or the log goes on elsewhere */
    uint64_t seq;    /* of the frame before it */
    uint64_t cut;    /* of the frame before it */
};

/* The log that frame `seq` is in, if it is in any. */
static size_t log_of(const struct manifest *manifest, uint64_t seq) {
    size_t log = 0;
    for (size_t i = 1; i < manifest->logs_count; i++)
        if (manifest->logs[i].first_seq && manifest->logs[i].first_seq <= seq) log = i;
    return log;
}

static enum status walk_begin(struct walk *walk, struct env *env, const char *dir,
                              const struct manifest *manifest, size_t log, struct problem *why) {
    *walk = (struct walk){
        .env = env, .dir = dir, .manifest = manifest, .log = log, .offset = SEGMENT_HEADER
    };
    if (log == manifest->logs_count) return OK;
    const struct manifest_log *first = &manifest->logs[log];
    walk->seq = first->first_seq ? first->first_seq - 1 : first[-1].last_seq;
    return reader_open(&walk->reader, env, dir, first, why);
}

static void walk_end(struct walk *walk) {
    reader_close(&walk->reader);
}

static bool follows(const struct walk *walk, const struct journal_batch *frame) {
    return frame->seq == walk->seq + 1 && frame->cut >= walk->cut;
}

/* Goes on to the next log if the frame that is wanted is its first one, or must be. NOT_FOUND: it is not. */
static enum status walk_next_log(struct walk *walk, struct problem *why) {
    const struct manifest_log *logs = walk->manifest->logs;
    if (walk->log + 1 >= walk->manifest->logs_count) return NOT_FOUND;
    bool must = logs[walk->log].end && logs[walk->log].last_seq == walk->seq;
    if (logs[walk->log].end && !must) return NOT_FOUND;
    struct reader next;
    enum status status = reader_open(&next, walk->env, walk->dir, &logs[walk->log + 1], why);
    if (status != OK) return status;
    struct journal_batch frame;
    uint64_t claimed;
    if (!must) status = reader_frame(&next, SEGMENT_HEADER, &frame, &claimed, why);
    if (!must && status == OK && !follows(walk, &frame)) status = NOT_FOUND;
    if (status != OK) {
        reader_close(&next);
        return status;
    }
    reader_close(&walk->reader);
    walk->reader = next;
    walk->log++;
    walk->offset = SEGMENT_HEADER;
    return OK;
}

/* The next good frame, its bytes borrowed until the next call. NOT_FOUND: there is none where the walk stands. */
static enum status walk_next(struct walk *walk, struct journal_batch *out, struct problem *why) {
    if (walk->log == walk->manifest->logs_count) return NOT_FOUND;
    for (;;) {
        uint64_t claimed;
        enum status status = reader_frame(&walk->reader, walk->offset, out, &claimed, why);
        if (status == OK && follows(walk, out)) {
            walk->offset += claimed;
            walk->seq = out->seq;
            walk->cut = out->cut;
            return OK;
        }
        if (status != OK && status != NOT_FOUND) return status;
        status = walk_next_log(walk, why);
        if (status != OK) return status;
    }
}

/* Goes over damage to frame `seq`, if there is one further on. NOT_FOUND: there is none, and the walk stands where it
 * stood. */
static enum status walk_skip_to(struct walk *walk, uint64_t seq, struct problem *why) {
    for (size_t log = walk->log; log < walk->manifest->logs_count; log++) {
        struct reader reader;
        struct journal_batch frame;
        enum status status =
            reader_open(&reader, walk->env, walk->dir, &walk->manifest->logs[log], why);
        if (status != OK) return status;
        uint64_t at = log == walk->log ? walk->offset : SEGMENT_HEADER;
        status = reader_seek(&reader, &at, walk->seq, &frame, why);
        while (status == OK && frame.seq < seq) {
            at += frame_size(frame.bytes.len);
            status = reader_seek(&reader, &at, walk->seq, &frame, why);
        }
        if (status == OK && frame.seq == seq) {
            reader_close(&walk->reader);
            walk->reader = reader;
            walk->log = log;
            walk->offset = at;
            walk->seq = seq - 1;
            walk->cut = 0;
            return OK;
        }
        reader_close(&reader);
        if (status != OK && status != NOT_FOUND) return status;
    }
    return NOT_FOUND;
}

/* --- the tail rule --- */

struct survey {
    struct walk walk;
    struct file_journal_tail tail;
    struct torn *torn; /* one for each log of the manifest */
};

static enum status damaged(const struct survey *survey, const char *proof, struct problem *why) {
    const struct walk *walk = &survey->walk;
    if (walk->log == walk->manifest->logs_count)
        return problem_set(why, CORRUPT, 0,
                           "the manifest names no log, but %s: run pulsedb-check repair", proof);
    enum status status = problem_set(
        why, CORRUPT, 0,
        "log.%llu.plog is damaged at offset %llu, after frame %llu: acknowledged changes are "
        "missing there (%s); run pulsedb-check repair",
        wide(walk->manifest->logs[walk->log].number), wide(walk->offset),
        wide(survey->tail.last_seq), proof);
    if (why) why->offset = walk->offset;
    return status;
}

static void note_good(struct survey *survey, const struct journal_batch *frame) {
    const struct walk *walk = &survey->walk;
    struct file_journal_tail *tail = &survey->tail;
    if (frame->cut > tail->highest_cut) tail->highest_cut = frame->cut;
    if (frame->seq < walk->manifest->base.seq) return;
    tail->last_seq = frame->seq;
    tail->cut = frame->cut;
    tail->bytes += frame_size(frame->bytes.len);
    bool sealed = walk->manifest->logs[walk->log].end > 0;
    uint64_t durable = sealed ? frame->cut : frame->synced;
    if (durable > tail->durable_cut) tail->durable_cut = durable;
}

static void note_torn(struct survey *survey, size_t log, uint64_t from, uint64_t to) {
    struct file_journal_tail *tail = &survey->tail;
    survey->torn[log] = (struct torn){ from, to };
    if (to == from) return;
    if (tail->torn_bytes == 0) {
        tail->torn_log = survey->walk.manifest->logs[log].number;
        tail->torn_at = from;
    }
    tail->torn_bytes += to - from;
}

/* Where what was torn ends in a file without whole frames behind `at`. In one that is used again what an
 * earlier log has left is no part of it: there only a header that fits tells. */
static enum status torn_end(const struct survey *survey, struct reader *reader, uint64_t at,
                            uint64_t *end, struct problem *why) {
    if (!(reader->flags & SEGMENT_RECYCLED)) return reader_zeros(reader, at, end, why);
    struct bytes bytes;
    struct frame_header header;
    *end = at;
    enum status status = reader_get(reader, at, FRAME_HEADER, &bytes, why);
    if (status != OK || bytes.len < FRAME_HEADER) return status;
    if (frame_peek(bytes.data, &header) && header.batch.seq == survey->walk.seq + 1) {
        uint64_t size = frame_size(header.len), left = reader->size - at;
        *end = at + (size < left ? size : left);
    }
    return OK;
}

/* Looks at what is left of one log for a proof. */
static enum status look_on_in(struct survey *survey, size_t log, struct problem *why) {
    const struct walk *walk = &survey->walk;
    struct reader reader;
    enum status status =
        reader_open(&reader, walk->env, walk->dir, &walk->manifest->logs[log], why);
    if (status != OK) return status;
    uint64_t from = log == walk->log ? walk->offset : SEGMENT_HEADER, at = from, end = from;
    struct journal_batch frame;
    while ((status = reader_seek(&reader, &at, walk->seq, &frame, why)) == OK) {
        at += frame_size(frame.bytes.len);
        if (frame.cut > survey->tail.highest_cut) survey->tail.highest_cut = frame.cut;
        if (frame.synced <= survey->tail.cut) continue;
        status = damaged(survey, "a later frame knows them to be durable", why);
        break;
    }
    if (status == NOT_FOUND) status = torn_end(survey, &reader, at, &end, why);
    if (status == OK) note_torn(survey, log, from, end);
    reader_close(&reader);
    return status;
}

/* The walk has come to its end. OK: rightly so. */
static enum status look_on(struct survey *survey, struct problem *why) {
    const struct manifest *manifest = survey->walk.manifest;
    const struct file_journal_tail *tail = &survey->tail;
    for (size_t i = survey->walk.log; i < manifest->logs_count; i++)
        if (manifest->logs[i].end && manifest->logs[i].last_seq > tail->last_seq)
            return damaged(survey, "the manifest knows of a later frame", why);
    if (manifest->clean) { /* then nothing was written after it */
        bool whole = manifest->clean_seq <= tail->last_seq && manifest->clean_cut <= tail->cut;
        return whole ? OK : damaged(survey, "the shutdown in order knows of a later frame", why);
    }
    for (size_t i = survey->walk.log; i < manifest->logs_count; i++) {
        enum status status = look_on_in(survey, i, why);
        if (status != OK) return status;
    }
    return OK;
}

/* Each file that is needed is there and is the one that the manifest means. */
static enum status check_files(struct env *env, const char *dir, const struct manifest *manifest,
                               size_t start, struct problem *why) {
    for (size_t i = start; i < manifest->logs_count; i++) {
        struct reader reader;
        enum status status = reader_open(&reader, env, dir, &manifest->logs[i], why);
        if (status != OK) return status;
        reader_close(&reader);
    }
    if (manifest->logs_count && manifest->logs[0].first_seq > manifest->base.seq)
        return problem_set(why, CORRUPT, 0,
                           "the log begins with frame %llu, and %llu is needed: restore what is "
                           "missing, or run pulsedb-check repair",
                           wide(manifest->logs[0].first_seq), wide(manifest->base.seq));
    return OK;
}

static enum status survey_run(struct survey *survey, size_t start, struct problem *why) {
    struct walk *walk = &survey->walk;
    const struct manifest_base *base = &walk->manifest->base;
    enum status status = walk_begin(walk, walk->env, walk->dir, walk->manifest, start, why);
    while (status == OK) {
        struct journal_batch frame;
        status = walk_next(walk, &frame, why);
        if (status == OK) note_good(survey, &frame);
        if (status != NOT_FOUND) continue;
        if (walk->seq + 1 < base->seq) status = walk_skip_to(walk, base->seq, why);
        if (status != NOT_FOUND) continue;
        status = look_on(survey, why);
        break;
    }
    walk_end(walk);
    return status;
}

enum status file_journal_survey(struct env *env, const char *dir, const struct manifest *manifest,
                                struct file_journal_tail *out, struct torn *torn,
                                struct problem *why) {
    const struct manifest_base *base = &manifest->base;
    assert(base->seq > 0);
    size_t start = manifest->logs_count ? log_of(manifest, base->seq) : 0;
    enum status status = check_files(env, dir, manifest, start, why);
    if (status != OK) return status;
    struct survey survey = {
        .walk = { .env = env, .dir = dir, .manifest = manifest },
        .torn = torn,
        .tail = { .last_seq = base->seq - 1,
                  .cut = base->from,
                  .durable_cut = base->to,
                  .highest_cut = base->to > base->from ? base->to : base->from },
    };
    status = survey_run(&survey, start, why);
    if (status == OK || status == CORRUPT) *out = survey.tail;
    return status;
}

enum status file_journal_scan(struct env *env, const char *dir, const struct manifest *manifest,
                              struct file_journal_tail *out, struct problem *why) {
    size_t size = (manifest->logs_count + 1) * sizeof(struct torn); /* never 0 */
    struct torn *torn = mem_new_zero(size);
    enum status status = file_journal_survey(env, dir, manifest, out, torn, why);
    mem_free(torn, size);
    return status;
}

enum status file_journal_read(struct env *env, const char *dir, const struct manifest *manifest,
                              uint64_t from_seq, uint64_t to_seq,
                              enum status (*visit)(void *self, const struct journal_batch *batch,
                                                   struct problem *why),
                              void *self, struct problem *why) {
    if (from_seq > to_seq) return OK;
    if (manifest->logs_count == 0 || manifest->logs[0].first_seq > from_seq)
        return problem_set(why, NOT_FOUND, 0, "frame %llu is not in the log", wide(from_seq));
    struct walk walk;
    enum status status = walk_begin(&walk, env, dir, manifest, log_of(manifest, from_seq), why);
    while (status == OK && walk.seq < to_seq) {
        struct journal_batch frame;
        status = walk_next(&walk, &frame, why);
        if (status == NOT_FOUND && walk.seq + 1 < from_seq)
            status = walk_skip_to(&walk, from_seq, why);
        else if (status == OK && frame.seq >= from_seq)
            status = visit(self, &frame, why);
        if (status == NOT_FOUND)
            status = problem_set(why, CORRUPT, 0, "the log ends after frame %llu, before %llu",
                                 wide(walk.seq), wide(to_seq));
    }
    walk_end(&walk);
    return status;
}
