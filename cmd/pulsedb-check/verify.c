/* verify.c: is everything whole? It is asked with the functions that a start of the server asks
 * with.
 *
 * Beside a running server files come and go, and the end of the log moves while it is read. What
 * seems to be damaged then is looked at again, and is so only if it is damaged in the same place
 * twice. */
#include <stdio.h>

#include "base/mem.h"
#include "check.h"
#include "load.h"
#include "log/snapshot.h"
#include "log_file.h"
#include "records.h"
#include "store/store.h"

enum { TRIES = 10 };

struct log_facts {
    uint64_t first, last; /* frames */
    uint64_t since, until;
    uint64_t records;
};

struct finding {
    const struct request *request;
    bool used; /* a server is at work there */
    struct manifest manifest;
    struct file_journal_tail tail;
    struct log_facts *logs; /* of the manifest's */
    struct record_counts records;
    uint64_t keys, past;
    uint64_t leftovers;
    struct buffer text, wrong; /* the summary; a line for each damage */
    int ends;
};

static void note_wrong(struct finding *finding, const struct problem *why) {
    put_problem(&finding->wrong, why);
    buffer_put(&finding->wrong, BYTES("\n"));
    int ends = ends_by(why->status);
    if (ends > finding->ends) finding->ends = ends;
}

/* --- the log --- */

static enum status see_frame(void *self, const struct log_place *place,
                             const struct journal_batch *frame, struct problem *why) {
    struct finding *finding = self;
    struct log_facts *facts = &finding->logs[place->log];
    struct record_counts counts = { .records = 0 };
    if (!facts->first) facts->first = frame->seq;
    facts->last = frame->seq;
    struct problem found = { .status = OK };
    enum status status = batch_visit(frame, finding->manifest.shards, NULL, &counts, &found);
    facts->records += counts.records;
    if (counts.first && (!facts->since || counts.first < facts->since)) facts->since = counts.first;
    if (counts.last > facts->until) facts->until = counts.last;
    if (status == OK) return OK;
    return problem_set(why, status, 0, "%.80s, frame %llu at offset %llu: %.120s",
                       strrchr(place->file->path, '/') + 1, wide(frame->seq), wide(place->at),
                       found.text);
}

static void look_at_logs(struct finding *finding) {
    const struct request *request = finding->request;
    struct manifest *manifest = &finding->manifest;
    struct problem why = { .status = OK };
    finding->tail = (struct file_journal_tail){ .last_seq = manifest->base.seq - 1 };
    if (file_journal_scan(request->env, request->path, manifest, &finding->tail, &why) != OK)
        note_wrong(finding, &why);
    else if (manifest->base.generation && finding->tail.cut < manifest->base.to) {
        problem_set(&why, CORRUPT, 0,
                    "the log ends before its snapshot does: acknowledged changes are missing");
        note_wrong(finding, &why);
    }
    if (logs_visit(request->env, request->path, manifest, manifest->base.seq,
                   finding->tail.last_seq, see_frame, finding, &why) != OK)
        note_wrong(finding, &why);
    for (size_t i = 0; i < manifest->logs_count; i++) {
        const struct log_facts *facts = &finding->logs[i];
        struct record_counts *all = &finding->records;
        all->records += facts->records;
        if (facts->since && (!all->first || facts->since < all->first)) all->first = facts->since;
        if (facts->until > all->last) all->last = facts->until;
    }
}

static void put_logs(struct finding *finding) {
    struct buffer *out = &finding->text;
    char since[INSTANT_TEXT], until[INSTANT_TEXT], size[SIZE_TEXT];
    uint64_t first = finding->manifest.base.seq, last = finding->tail.last_seq;
    buffer_format(out, "  log         %zu file%s", finding->manifest.logs_count,
                  plural(finding->manifest.logs_count));
    if (last >= first)
        buffer_format(out, ", frames %llu to %llu, %llu change%s (%s)", wide(first), wide(last),
                      wide(finding->records.records), plural(finding->records.records),
                      size_text(finding->tail.bytes, size));
    buffer_put(out, BYTES("\n"));
    for (size_t i = 0; i < finding->manifest.logs_count; i++) {
        const struct manifest_log *log = &finding->manifest.logs[i];
        const struct log_facts *facts = &finding->logs[i];
        buffer_format(out, "    log.%llu.plog", wide(log->number));
        if (facts->first)
            buffer_format(out, "  frames %llu to %llu", wide(facts->first), wide(facts->last));
        else
            buffer_put(out, BYTES("  no frames"));
        if (facts->since)
            buffer_format(out, ", %s to %s", instant_text(facts->since, since),
                          instant_text(facts->until, until));
        buffer_format(out, ", %s\n", log->end ? "sealed" : "open");
    }
    if (finding->tail.cut)
        buffer_format(out, "  last cut    %s (%llu)\n", instant_text(finding->tail.cut, until),
                      wide(finding->tail.cut));
}

static void put_torn(struct finding *finding) {
    const struct file_journal_tail *tail = &finding->tail;
    if (!tail->torn_bytes || finding->used || finding->ends) return;
    buffer_format(
        &finding->text,
        "  torn        %llu bytes, from log.%llu.plog offset %llu on: a write that was cut "
        "short and never\n              acknowledged. The next start cuts it off and keeps "
        "a copy\n",
        wide(tail->torn_bytes), wide(tail->torn_log), wide(tail->torn_at));
    finding->ends = ENDS_TORN;
}

/* --- the base --- */

static void see_section(void *self, const struct image_section *section, bool past,
                        uint64_t offset) {
    struct finding *finding = self;
    (void)past;
    (void)offset;
    if (section->kind == IMAGE_KEYS) finding->keys += section->count;
    if (section->kind == IMAGE_PAST) finding->past += section->count;
}

static void look_at_base(struct finding *finding) {
    const struct manifest_base *base = &finding->manifest.base;
    const struct request *request = finding->request;
    char from[INSTANT_TEXT], to[INSTANT_TEXT], size[SIZE_TEXT];
    struct buffer *out = &finding->text;
    if (!base->generation) {
        buffer_put(out, BYTES("  base        none so far: everything is in the log\n"));
        return;
    }
    struct problem why = { .status = OK };
    enum status status =
        snapshot_verify(request->env, request->path, base, see_section, finding, &why);
    if (status != OK) note_wrong(finding, &why);
    buffer_format(out, "  base        generation %llu, taken %s to %s\n", wide(base->generation),
                  instant_text(base->from, from), instant_text(base->to, to));
    buffer_format(out, "    base.%llu.keys.snap  %llu row%s (%s)\n", wide(base->generation),
                  wide(finding->keys), plural(finding->keys), size_text(base->keys_size, size));
    if (base->past_size)
        buffer_format(out, "    base.%llu.past.snap  %llu version%s (%s)\n", wide(base->generation),
                      wide(finding->past), plural(finding->past), size_text(base->past_size, size));
}

/* --- the directory --- */

static bool see_name(void *self, const char *name) {
    struct finding *finding = self;
    uint64_t number;
    enum file_kind kind = file_kind(name, &number);
    bool named = kind == FILE_BASE && number == finding->manifest.base.generation;
    for (size_t i = 0; kind == FILE_LOG && i < finding->manifest.logs_count && !named; i++)
        named = finding->manifest.logs[i].number == number;
    if ((kind == FILE_LOG || kind == FILE_BASE) && !named) finding->leftovers++;
    return true;
}

static void put_database(struct finding *finding) {
    const struct manifest *manifest = &finding->manifest;
    struct buffer *out = &finding->text;
    buffer_format(out, "%s\n  database    ", finding->request->path);
    for (size_t i = 0; i < sizeof manifest->identity; i++)
        buffer_format(out, "%02x", manifest->identity[i]);
    const char *state = finding->used ? "a server is using it: only what was durable is looked at"
                        : manifest->clean ? "stopped in order"
                                          : "not stopped in order: the next start recovers it";
    buffer_format(out, "\n  shards      %u\n  state       %s\n", manifest->shards, state);
}

static void put_leftovers(struct finding *finding) {
    const struct request *request = finding->request;
    if (finding->used) return; /* they come and go */
    (void)!request->env->ops->list(request->env, request->path, see_name, finding);
    if (finding->leftovers)
        buffer_format(&finding->text,
                      "  left over   %llu file%s that MANIFEST does not name: the next start "
                      "removes them\n",
                      wide(finding->leftovers), plural(finding->leftovers));
}

static void try_loading(struct finding *finding) {
    const struct request *request = finding->request;
    struct problem why = { .status = OK };
    struct loaded loaded;
    struct store *store = store_for(request->env, &finding->manifest, &why);
    if (store && database_load(request->env, request->path, &finding->manifest, UINT64_MAX, store,
                               &loaded, &why) == OK)
        buffer_format(&finding->text,
                      "  loaded      %llu key%s, %llu older version%s, %llu change%s of the log "
                      "applied\n",
                      wide(loaded.keys), plural(loaded.keys), wide(loaded.versions),
                      plural(loaded.versions), wide(loaded.records), plural(loaded.records));
    else
        note_wrong(finding, &why);
    store_free(store);
}

/* One look at everything. NOT OK: there is no manifest to go by. */
static enum status look(struct finding *finding, struct problem *why) {
    const struct request *request = finding->request;
    enum status status = manifest_read(request->env, request->path, &finding->manifest, why);
    if (status != OK) return status;
    size_t size = (finding->manifest.logs_count + 1) * sizeof *finding->logs;
    finding->logs = mem_new_zero(size);
    if (finding->manifest.shards & (finding->manifest.shards - 1)) {
        struct problem strange;
        problem_set(&strange, CORRUPT, 0, "MANIFEST says %u shards, which no server makes",
                    finding->manifest.shards);
        note_wrong(finding, &strange);
    }
    put_database(finding);
    look_at_base(finding);
    look_at_logs(finding);
    put_logs(finding);
    put_torn(finding);
    put_leftovers(finding);
    if (request->load && finding->ends < ENDS_DAMAGED) try_loading(finding);
    mem_free(finding->logs, size);
    manifest_deinit(&finding->manifest);
    return OK;
}

static void finding_init(struct finding *finding, const struct request *request) {
    enum { TEXT_MAX = 64 * 1024 * 1024 };
    *finding = (struct finding){ .request = request, .used = dir_is_used(request->path) };
    buffer_init(&finding->text, TEXT_MAX);
    buffer_init(&finding->wrong, TEXT_MAX);
}

static void finding_deinit(struct finding *finding) {
    buffer_deinit(&finding->text);
    buffer_deinit(&finding->wrong);
}

static void say_verdict(struct finding *finding) {
    static const char *const verdicts[] = {
        [ENDS_WHOLE] = "Whole.",
        [ENDS_TORN] = "Whole: everything that was acknowledged is there.",
        [ENDS_DAMAGED] = "DAMAGED. The server will not start on it. Leave the directory as it is; "
                         "restore what is missing from a\nbackup, or make a copy of what is whole: "
                         "pulsedb-check repair DIR --to NEWDIR",
        [ENDS_UNREADABLE] = "It cannot be read.",
        [ENDS_NEWER] = "A newer version wrote it: verify it with that one. Nothing was changed.",
    };
    say(&finding->text);
    if (finding->wrong.len) fputs("\n", stdout);
    say(&finding->wrong);
    printf("\n%s\n", verdicts[finding->ends]);
}

int check_verify(const struct request *request) {
    struct finding finding, before;
    struct problem why = { .status = OK };
    finding_init(&finding, request);
    enum status status = look(&finding, &why);
    for (int i = 1; i < TRIES && (status != OK || finding.ends > ENDS_TORN); i++) {
        if (!finding.used && !dir_is_used(request->path)) break;
        before = finding;
        finding_init(&finding, request);
        status = look(&finding, &why);
        bool same = bytes_equal(buffer_bytes(&before.wrong), buffer_bytes(&finding.wrong));
        finding_deinit(&before);
        if (status != OK || same) break;
    }
    if (status == OK) say_verdict(&finding);
    int ends = status == OK ? finding.ends : complain(&why);
    finding_deinit(&finding);
    return ends;
}
