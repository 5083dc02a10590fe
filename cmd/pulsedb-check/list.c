/* list.c: the changes in the log, one a line, in the order of their instants.
 *
 * A frame holds its shards' records one shard after another, and a record counts once a cut has
 * passed it. So they wait, as lines, until one has; then they are put in order. What changes a
 * whole database is a record of every shard: the first shard's is shown. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/glob.h"
#include "base/limits.h"
#include "base/mem.h"
#include "check.h"
#include "log_file.h"
#include "records.h"
#include "store/store.h"
#include "writers.h"

enum { VALUE_SHOWN = 64, TEXT_MAX = 512 * 1024 * 1024 };

struct line {
    uint64_t stamp, order;
    char *text;
    size_t len;
};

struct listing {
    const struct request *request;
    struct store *writers;
    struct arena arena;
    struct buffer text;
    struct line *lines; /* that no cut has passed yet */
    size_t count, cap;
    uint64_t order, shown, cut;
};

/* --- a line --- */

static void put_expiry(struct buffer *out, int64_t at_ms) {
    char instant[INSTANT_TEXT];
    if (at_ms == 0)
        buffer_put(out, BYTES(" never expires"));
    else if (at_ms < 0)
        buffer_format(out, " expires %lld", (long long)at_ms);
    else
        buffer_format(out, " expires %s",
                      instant_text((uint64_t)at_ms > UINT64_MAX / 1000000
                                       ? UINT64_MAX
                                       : (uint64_t)at_ms * 1000000,
                                   instant));
}

static void put_value(struct buffer *out, const struct redo_record *record) {
    if (record->encoding == STRING_INT) {
        buffer_format(out, " \"%lld\"", (long long)record->number);
    } else {
        buffer_put(out, BYTES(" "));
        put_quoted(out, record->bytes, VALUE_SHOWN);
        if (record->bytes.len > VALUE_SHOWN) buffer_format(out, " %zu bytes", record->bytes.len);
    }
    if (record->expire_at_ms) put_expiry(out, record->expire_at_ms);
}

static void put_args(struct buffer *out, const struct redo_record *record) {
    char instant[INSTANT_TEXT];
    switch ((enum effect_kind)record->op) {
    case EFFECT_SET: put_value(out, record); break;
    case EFFECT_EXPIRE: put_expiry(out, record->expire_at_ms); break;
    case EFFECT_SPLICE:
        buffer_format(out, " at %llu ", wide(record->offset));
        put_quoted(out, record->bytes, VALUE_SHOWN);
        buffer_format(out, " %zu bytes, then %llu in all", record->bytes.len, wide(record->length));
        break;
    case EFFECT_UNFLUSH: buffer_format(out, " of %s", instant_text(record->at, instant)); break;
    case EFFECT_PIN: buffer_format(out, " at %s", instant_text(record->at, instant)); break;
    case EFFECT_SWAP: buffer_format(out, " with db%u", record->other_db); break;
    case EFFECT_DELETE:
    case EFFECT_FLUSH:
    case EFFECT_PURGE:
    case EFFECT_UNPIN: break;
    }
}

static bool is_of_all(uint8_t op) {
    return op == EFFECT_FLUSH || op == EFFECT_UNFLUSH || op == EFFECT_SWAP;
}

static void put_actor(struct listing *listing, const struct redo_record *record) {
    struct bytes op, client;
    if (store_actor(listing->writers, record->actor, record->stamp, &listing->arena, &op,
                    &client)) {
        buffer_put(&listing->text, BYTES("  by "));
        buffer_put(&listing->text, op);
        if (client.len) {
            buffer_put(&listing->text, BYTES(" "));
            put_quoted(&listing->text, client, ACTOR_TEXT_MAX);
        }
    }
    arena_clear(&listing->arena);
}

static void put_line(struct listing *listing, const struct redo_record *record) {
    char instant[INSTANT_TEXT];
    struct buffer *out = &listing->text;
    buffer_clear(out);
    buffer_format(out, "%s %llu", instant_text(record->stamp, instant), wide(record->stamp));
    bool pin = record->op == EFFECT_PIN || record->op == EFFECT_UNPIN;
    if (!pin) buffer_format(out, " db%u", record->db);
    buffer_format(out, " %s", op_name(record->op));
    if (!is_of_all(record->op)) {
        buffer_put(out, BYTES(" "));
        put_quoted(out, record->key, SIZE_MAX);
    }
    put_args(out, record);
    put_actor(listing, record);
    buffer_put(out, BYTES("\n"));
}

/* --- waiting --- */

static bool is_asked_for(const struct request *request, uint16_t shard,
                         const struct redo_record *record) {
    if (record->stamp < request->from || record->stamp > request->to) return false;
    if (is_of_all(record->op)) return shard == 0;
    if (!request->key.data) return true;
    if (record->op == EFFECT_PIN || record->op == EFFECT_UNPIN) return false;
    return glob_match(request->key, record->key, false);
}

static void add_record(void *self, uint16_t shard, const struct redo_record *record) {
    struct listing *listing = self;
    if (!is_asked_for(listing->request, shard, record)) return;
    put_line(listing, record);
    if (listing->count == listing->cap) {
        size_t cap = listing->cap ? listing->cap * 2 : 256, size = sizeof *listing->lines;
        listing->lines = mem_resize(listing->lines, listing->cap * size, cap * size);
        listing->cap = cap;
    }
    struct line *line = &listing->lines[listing->count++];
    *line = (struct line){ .stamp = record->stamp,
                           .order = listing->order++,
                           .text = mem_new(listing->text.len + 1),
                           .len = listing->text.len };
    memcpy(line->text, listing->text.data ? listing->text.data : "", line->len);
}

static void add_actor(void *self, const struct actor_row *row) {
    struct listing *listing = self;
    writers_add(listing->writers, row);
}

static int by_stamp(const void *a, const void *b) {
    const struct line *one = a, *other = b;
    if (one->stamp != other->stamp) return one->stamp < other->stamp ? -1 : 1;
    return one->order < other->order ? -1 : one->order > other->order;
}

static void show(struct listing *listing, struct line *line) {
    if (listing->shown < listing->request->limit) {
        (void)!fwrite(line->text, 1, line->len, stdout);
        listing->shown++;
    }
    mem_free(line->text, line->len + 1);
}

/* The lines that `cut` has passed. */
static void show_passed(struct listing *listing, uint64_t cut) {
    if (listing->count) qsort(listing->lines, listing->count, sizeof *listing->lines, by_stamp);
    size_t n = 0;
    while (n < listing->count && listing->lines[n].stamp <= cut)
        show(listing, &listing->lines[n++]);
    listing->count -= n;
    if (listing->count)
        memmove(listing->lines, listing->lines + n, listing->count * sizeof *listing->lines);
}

static enum status see_frame(void *self, const struct log_place *place,
                             const struct journal_batch *frame, struct problem *why) {
    struct listing *listing = self;
    struct record_counts counts = { .records = 0 };
    /* Who wrote the records of a batch is told at its end. */
    struct record_visitor actors = { .actor = add_actor, .self = listing },
                          records = { .record = add_record, .self = listing };
    struct problem found = { .status = OK };
    enum status status = batch_visit(frame, 0, &actors, &counts, &found);
    if (status != OK)
        return problem_set(why, status, 0, "%.80s, frame %llu at offset %llu: %.120s",
                           strrchr(place->file->path, '/') + 1, wide(frame->seq), wide(place->at),
                           found.text);
    (void)!batch_visit(frame, 0, &records, &counts, NULL);
    show_passed(listing, frame->cut);
    listing->cut = frame->cut;
    bool enough = listing->shown >= listing->request->limit || frame->cut > listing->request->to;
    return enough ? STOPPED : OK;
}

/* --- the whole --- */

static enum status list(struct listing *listing, struct problem *why) {
    const struct request *request = listing->request;
    struct manifest manifest;
    struct problem damage = { .status = OK };
    enum status status = manifest_read(request->env, request->path, &manifest, why);
    if (status != OK) return status;
    struct file_journal_tail tail = { .last_seq = manifest.base.seq - 1 };
    bool used = dir_is_used(request->path);
    enum status scanned = file_journal_scan(request->env, request->path, &manifest, &tail, &damage);
    writers_read(listing->writers, request->env, request->path, &manifest);
    status = logs_visit(request->env, request->path, &manifest, manifest.base.seq, tail.last_seq,
                        see_frame, listing, why);
    manifest_deinit(&manifest);
    if (status == STOPPED) return OK;
    if (status != OK || scanned == OK || used) return status;
    *why = damage;
    return scanned;
}

int check_list(const struct request *request) {
    struct listing listing = {
        .request = request,
        .writers = writers_new(request->env),
    };
    struct problem why = { .status = OK };
    arena_init(&listing.arena);
    buffer_init(&listing.text, TEXT_MAX);
    enum status status = list(&listing, &why);
    if (status == OK && listing.count && listing.cut <= request->to &&
        listing.shown < request->limit)
        fprintf(stderr,
                "pulsedb-check: %zu change%s after the last cut %s not shown: nobody was told that "
                "it was done\n",
                listing.count, plural(listing.count), listing.count == 1 ? "is" : "are");
    for (size_t i = 0; i < listing.count; i++)
        mem_free(listing.lines[i].text, listing.lines[i].len + 1);
    mem_free(listing.lines, listing.cap * sizeof *listing.lines);
    buffer_deinit(&listing.text);
    arena_deinit(&listing.arena);
    store_free(listing.writers);
    return status == OK ? ENDS_WHOLE : complain(&why);
}
