/* describe.c: what a file says of itself: header, and each section or frame. Of a directory: of
 * each file in short. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base_file.h"
#include "check.h"
#include "log/manifest.h"
#include "log/rdb.h"
#include "log_file.h"
#include "records.h"

enum { KINDS = 256, NAMES_MAX = 1024 * 1024 };

struct describing {
    const struct request *request;
    bool each; /* a line for each frame and section */
    struct buffer out;
    int ends;
};

static void note(struct describing *describing, int ends) {
    if (ends > describing->ends) describing->ends = ends;
}

/* --- a log --- */

static void describe_frame(struct describing *describing, uint64_t at,
                           const struct journal_batch *frame, struct record_counts *all) {
    char cut[INSTANT_TEXT];
    struct buffer *out = &describing->out;
    struct record_counts counts = { .records = 0 };
    struct problem why;
    enum status status = batch_visit(frame, 0, NULL, &counts, &why);
    all->records += counts.records;
    all->actors += counts.actors;
    if (counts.first && (!all->first || counts.first < all->first)) all->first = counts.first;
    if (counts.last > all->last) all->last = counts.last;
    if (status != OK) note(describing, ends_by(status));
    if (!describing->each && status == OK) return;
    buffer_format(out,
                  "  %llu: frame %llu, %zu bytes, %u block%s, %llu record%s, %llu writer%s, cut %s "
                  "(%llu), synced %llu%s",
                  wide(at), wide(frame->seq), frame->bytes.len, frame->blocks,
                  plural(frame->blocks), wide(counts.records), plural(counts.records),
                  wide(counts.actors), plural(counts.actors), instant_text(frame->cut, cut),
                  wide(frame->cut), wide(frame->synced),
                  frame->flags & JOURNAL_CLEAN ? ", end of a shutdown in order" : "");
    if (status != OK) buffer_format(out, ", DAMAGED: %s", why.text);
    buffer_put(out, BYTES("\n"));
    say(out);
}

static void describe_frames(struct describing *describing, const struct log_file *log) {
    struct buffer *out = &describing->out;
    struct record_counts all = { .records = 0 };
    struct journal_batch frame;
    uint64_t at = SEGMENT_HEADER, end = at, frames = 0, first = 0, last = 0, bytes = 0;
    for (; log_file_seek(log, &at, &frame); end = at) {
        if (at != end) {
            note(describing, ENDS_DAMAGED);
            buffer_format(out, "  %llu: DAMAGED, %llu bytes are no frame\n", wide(end),
                          wide(at - end));
        }
        describe_frame(describing, at, &frame, &all);
        if (frames++ == 0) first = frame.seq;
        last = frame.seq;
        at += frame_size(frame.bytes.len);
        bytes += frame_size(frame.bytes.len);
    }
    char since[INSTANT_TEXT], until[INSTANT_TEXT];
    if (frames)
        buffer_format(out, "  %llu frame%s, %llu to %llu, %llu bytes: %llu record%s, %llu writer%s",
                      wide(frames), plural(frames), wide(first), wide(last), wide(bytes),
                      wide(all.records), plural(all.records), wide(all.actors), plural(all.actors));
    else
        buffer_put(out, BYTES("  no frames"));
    if (all.first)
        buffer_format(out, ", %s to %s", instant_text(all.first, since),
                      instant_text(all.last, until));
    buffer_put(out, BYTES("\n"));
    if (log_file_ends(log, end, last + 1)) return;
    note(describing, ENDS_TORN);
    buffer_format(out, "  %llu: torn, or damaged: what follows is no frame (verify DIR tells)\n",
                  wide(end));
}

static enum status describe_log(struct describing *describing, const char *path,
                                struct problem *why) {
    struct log_file log;
    char size[SIZE_TEXT];
    struct buffer *out = &describing->out;
    enum status status = log_file_open(&log, describing->request->env, path, 0, why);
    if (status != OK) return status;
    buffer_format(out, "%s: a log, %s\n", path, size_text(log.size, size));
    if (log.header_status == OK) {
        buffer_format(out, "  number %llu, id %016llx", wide(log.header.number),
                      wide(log.header.id));
        if (log.header.first_seq)
            buffer_format(out, ", begins with frame %llu", wide(log.header.first_seq));
        buffer_format(out, "%s\n",
                      log.header.flags & SEGMENT_RECYCLED ? ", a file that was used before" : "");
        describe_frames(describing, &log);
    } else {
        note(describing, ends_by(log.header_status));
        buffer_format(out, "  0: DAMAGED: %s. Without it no frame can be proved\n",
                      log.header_why.text);
    }
    log_file_close(&log);
    return OK;
}

/* --- a snapshot --- */

struct kind_counts {
    uint64_t sections, rows, bytes;
};

static enum status describe_sections(struct describing *describing, struct base_file *base,
                                     struct kind_counts *kinds, struct problem *why) {
    struct buffer *out = &describing->out;
    struct snapshot_section section;
    struct bytes content;
    uint64_t at, damaged = 0;
    enum status status;
    for (;;) {
        uint64_t end = base->at;
        status = base_file_next(base, ALL_SECTIONS, &section, &content, &at, why);
        if (base->damaged > damaged)
            buffer_format(out, "  %llu: DAMAGED, %llu bytes are no section\n", wide(end),
                          wide(base->damaged - damaged));
        damaged = base->damaged;
        if (status != OK) break;
        struct kind_counts *kind = &kinds[section.kind];
        kind->sections++;
        kind->rows += section.count;
        kind->bytes += section.len;
        if (!describing->each) continue;
        buffer_format(out, "  %llu: section %u, %s, shard %u, %u row%s, %u bytes\n", wide(at),
                      section.number, section_name(section.kind), section.shard, section.count,
                      plural(section.count), section.len);
        say(out);
    }
    return status == NOT_FOUND ? OK : status;
}

static enum status describe_base(struct describing *describing, const char *path,
                                 struct problem *why) {
    struct base_file base;
    char size[SIZE_TEXT];
    struct buffer *out = &describing->out;
    enum status status = base_file_open(&base, describing->request->env, path, 0, why);
    if (status != OK) return status;
    buffer_format(out, "%s: a snapshot, %s\n", path, size_text(base.size, size));
    struct kind_counts kinds[KINDS] = { 0 };
    if (base.header_status == OK) {
        buffer_format(out, "  generation %llu, id %016llx, %s\n", wide(base.generation),
                      wide(base.id), base.past ? "older versions" : "keys");
        status = describe_sections(describing, &base, kinds, why);
    } else if (base.header_status == UNSUPPORTED) {
        buffer_format(out, "  version %u, features %#x: a newer version wrote it\n", base.version,
                      base.features);
    } else {
        buffer_put(out, BYTES("  0: DAMAGED: its header. Without it no section can be proved\n"));
    }
    note(describing, ends_by(base.header_status));
    for (unsigned kind = 0; kind < KINDS; kind++)
        if (kinds[kind].sections)
            buffer_format(out, "  %-8s %llu section%s, %llu row%s, %llu bytes\n",
                          section_name((uint8_t)kind), wide(kinds[kind].sections),
                          plural(kinds[kind].sections), wide(kinds[kind].rows),
                          plural(kinds[kind].rows), wide(kinds[kind].bytes));
    if (base.header_status == OK && !base.trailer) {
        buffer_put(out, BYTES("  DAMAGED: it does not end with a trailer that fits\n"));
        note(describing, ENDS_DAMAGED);
    }
    base_file_close(&base);
    return status;
}

/* --- other files --- */

static enum status describe_manifest(struct describing *describing, const char *path,
                                     struct problem *why) {
    struct bytes text;
    struct buffer *out = &describing->out;
    enum status status =
        env_read_file(describing->request->env, path, MANIFEST_SIZE_MAX, &text, why);
    if (status != OK) return status;
    struct manifest manifest;
    struct problem wrong;
    buffer_format(out, "%s: a manifest, %zu bytes\n", path, text.len);
    enum status parsed = manifest_parse(text, &manifest, &wrong);
    if (parsed == OK) manifest_deinit(&manifest);
    for (size_t i = 0, start = 0; i <= text.len; i++) {
        if (i < text.len && text.data[i] != '\n') continue;
        if (i > start) {
            struct bytes line = { text.data + start, i - start };
            buffer_put(out, BYTES("  "));
            put_quoted(out, line, 200);
            buffer_put(out, BYTES("\n"));
        }
        start = i + 1;
    }
    if (parsed != OK) buffer_format(out, "  DAMAGED: %s\n", wrong.text);
    note(describing, ends_by(parsed));
    mem_free((char *)(uintptr_t)text.data, text.len);
    return OK;
}

/* What the file's first bytes say it is; or else its name. */
static enum status describe_file(struct describing *describing, const char *path,
                                 struct problem *why) {
    struct env *env = describing->request->env;
    struct env_file *file;
    char start[16] = { 0 };
    int error = env->ops->open(env, path, ENV_READ, &file);
    if (error < 0) return problem_set(why, IO, -error, "cannot open %s", path);
    int64_t n = env->ops->pread(env, file, start, sizeof start, 0);
    env->ops->close(env, file);
    if (n < 0) return problem_set(why, IO, (int)-n, "cannot read %s", path);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    uint64_t number;
    enum file_kind kind = file_kind(name, &number);
    if (memcmp(start, SNAPSHOT_MAGIC, 8) == 0 || kind == FILE_BASE)
        return describe_base(describing, path, why);
    if (memcmp(start, "PULSELOG", 8) == 0 || kind == FILE_LOG || kind == FILE_SPARE)
        return describe_log(describing, path, why);
    if (memcmp(start, "pulsedb-manifest", 16) == 0 || strcmp(name, "MANIFEST") == 0)
        return describe_manifest(describing, path, why);
    if (kind == FILE_TORN) {
        buffer_format(&describing->out,
                      "%s: what was cut off the end of log.%llu.plog when the server started: it "
                      "was never acknowledged\n",
                      path, wide(number));
        return OK;
    }
    if (rdb_is((struct bytes){ start, sizeof start }))
        return problem_set(why, UNSUPPORTED, 0,
                           "%s is an RDB file: pulsedb-check rdb looks at such files", path);
    return problem_set(why, IO, 0, "%s is not a file of ours", path);
}

static bool keep_name(void *self, const char *name) {
    struct buffer *names = self;
    uint64_t number;
    if (file_kind(name, &number) != FILE_OTHER || strcmp(name, "MANIFEST") == 0)
        buffer_put(names, (struct bytes){ name, strlen(name) + 1 });
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum status describe_dir(struct describing *describing, struct buffer *names,
                                struct problem *why) {
    size_t count = 0, n = 0;
    for (size_t i = 0; i < names->len; i++) count += names->data[i] == '\0';
    if (count == 0)
        return problem_set(why, NOT_FOUND, 0, "%s holds no database", describing->request->path);
    const char **list = mem_new(count * sizeof *list);
    for (size_t at = 0; at < names->len; at += strlen(names->data + at) + 1)
        list[n++] = names->data + at;
    qsort(list, count, sizeof *list, by_name);
    enum status status = OK;
    for (size_t i = 0; i < count && status == OK; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", describing->request->path, list[i]);
        status = describe_file(describing, path, why);
        say(&describing->out);
    }
    mem_free(list, count * sizeof *list);
    return status;
}

int check_describe(const struct request *request) {
    struct describing describing = { .request = request };
    struct buffer names;
    struct problem why = { .status = OK };
    buffer_init(&names, NAMES_MAX);
    buffer_init(&describing.out, MANIFEST_SIZE_MAX * 2);
    int error = request->env->ops->list(request->env, request->path, keep_name, &names);
    describing.each = error < 0;
    enum status status = error < 0 ? describe_file(&describing, request->path, &why)
                                   : describe_dir(&describing, &names, &why);
    say(&describing.out);
    buffer_deinit(&names);
    buffer_deinit(&describing.out);
    if (status != OK) return complain(&why);
    return describing.ends;
}
