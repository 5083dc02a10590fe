/* image.c: walking the store for an image.
 *
 * A shard is described when it is captured: which databases, which tables, each table once however often it is
 * referred to. The walk then goes through those very tables, whatever FLUSH and SWAPDB do meanwhile: the log
 * tells that again. A key that a resize moves may be met twice, with two stamps; the newer one holds.
 *
 *     captured ─────── keys ───────── visited           bound: the shard's history as of `visited`;
 *        └ replay: what is newer than the key    └ replay all     what came after, nobody refers to
 *
 * What has more than COPY_MAX bytes becomes a section of its own, without its value being copied: a blob never
 * changes. A buffer does, so it is copied under the lock, however large it is; there are few, since only APPEND and
 * SETRANGE make them. */
#include "store/image.h"

#include "base/varint.h"
#include "store/shard.h"

enum {
    SLICE_ENTRIES = 64, /* visited at a time, with all that share their buckets: some 3 us */
    GATHER_MAX = 256,   /* entries on their way into the cache */
    COPY_MAX = 16 * 1024,
    BUFFERS_SIZE = 4 * 1024 * 1024, /* of all shards together */
    SECTION_MAX = 64 * 1024,
    SECTION_MIN = 4 * 1024,
    ROW_HEAD_MAX = 2 + 8 * VARINT_MAX, /* of a key, with what its section begins with */
    RECORD_HEAD_MAX = 4 + 9 * VARINT_MAX,
    ACTORS_A_SECTION = 1024, /* their lock is held meanwhile */
};

struct walked_table {
    struct index *index; /* one reference, until it is walked */
    uint64_t expected;   /* keys, as captured */
};

struct walked_shard {
    uint64_t captured, visited;
    struct history_mark bound; /* where its history ended when its last key was visited */
    uint64_t segment;          /* the next one to be copied */
    struct walked_table *tables;
    uint32_t tables_count, table; /* the one under way */
    uint64_t x;                   /* where to go on in it */
    struct buffer buffer;         /* the section under way */
    uint32_t rows;
    uint64_t keys, records; /* rows of all its sections */
};

/* A row whose value is not copied, on its way out. */
struct large {
    struct large *next;
    struct blob *blob; /* the value; one reference. NULL: the value is in `head` */
    uint32_t shard;
    size_t len, room; /* used, and set aside */
    char head[];
};

struct image {
    struct store *store;
    struct worker *worker;
    bool past, failed;
    struct walked_shard *shards;
    size_t section_size;
    uint32_t described;  /* shards whose SHARD section was handed out */
    uint32_t turn;       /* the shard to go on with */
    struct buffer other; /* sections that are not of one shard's keys */
    struct buffer *lent; /* what the last section lies in */
    struct large *large_first, **large_last;
    struct large *large_lent;
    struct segment *segment; /* a copy that is being written, and */
    uint32_t segment_shard, unit;
    uint32_t ended; /* shards whose END was handed out */
    uint64_t actors;
    bool told_store, told_pins;
    uint64_t keys_total;
    uint64_t last; /* the newest stamp of any END */
};

/* --- putting things into sections --- */

static void put(struct buffer *buffer, uint64_t n) {
    char *at = buffer_reserve(buffer, VARINT_MAX);
    if (at) buffer->len = (size_t)(varint_put(at, n) - buffer->data);
}

static void put_text(struct buffer *buffer, struct bytes text) {
    put(buffer, text.len);
    buffer_put(buffer, text);
}

/* Hands `buffer` out; the next call of anything empties it. */
static bool lend(struct image *image, struct buffer *buffer, uint8_t kind, uint32_t shard,
                 uint32_t count, struct image_section *out) {
    if (buffer->overflow) image->failed = true;
    image->lent = buffer;
    *out = (struct image_section){
        .kind = kind, .shard = (uint16_t)shard, .count = count, .bytes = buffer_bytes(buffer)
    };
    return true;
}

/* What was handed out last is no longer looked at. */
static void take_back(struct image *image, struct image_section *out) {
    *out = (struct image_section){ 0 };
    if (image->lent) {
        buffer_clear(image->lent);
        buffer_shrink(image->lent, image->section_size * 4);
        image->lent = NULL;
    }
    if (image->large_lent) {
        blob_unref(image->large_lent->blob);
        mem_free(image->large_lent, sizeof(struct large) + image->large_lent->room);
        image->large_lent = NULL;
    }
}

/* --- capturing --- */

/* The number by which the table goes in this shard's image, from 1 on. */
static uint64_t table_number(struct image *image, struct walked_shard *walked,
                             struct index *index) {
    if (!index) return 0;
    uint32_t i = 0;
    while (i < walked->tables_count && walked->tables[i].index != index) i++;
    if (i < walked->tables_count) return i + 1;
    walked->tables =
        mem_resize(walked->tables, i * sizeof *walked->tables, (i + 1) * sizeof *walked->tables);
    uint64_t expected = atomic_load_explicit(&index->live, memory_order_relaxed);
    if (image->past) expected += atomic_load_explicit(&index->tombstones, memory_order_relaxed);
    walked->tables[i] = (struct walked_table){ index, expected };
    walked->tables_count++;
    index->refs++;
    index->walkers++;
    image->keys_total += expected;
    return i + 1;
}

/* Without the past no period is kept but one that UNFLUSH may still put back. */
static bool keeps(const struct image *image, const struct period *period) {
    return image->past || period->undoable;
}

static void put_database(struct image *image, struct walked_shard *walked, uint32_t number,
                         const struct database *database) {
    struct buffer *out = &image->other;
    uint64_t barrier = database->barrier, count = 0;
    for (uint32_t i = 0; i < database->periods_count; i++) {
        if (keeps(image, &database->periods[i]))
            count++;
        else
            raise(&barrier, database->periods[i].to);
    }
    put(out, number);
    put(out, database->since);
    put(out, barrier);
    put(out, table_number(image, walked, database_now(database)));
    put(out, count);
    for (uint32_t i = 0; i < database->periods_count; i++) {
        const struct period *period = &database->periods[i];
        if (!keeps(image, period)) continue;
        put(out, period->from);
        put(out, period->to);
        put(out, period->undoable);
        put(out, table_number(image, walked, period->index));
    }
}

static bool was_used(const struct database *database) {
    return database_now(database) || database->since || database->barrier ||
           database->periods_count;
}

/* The shard as it is at this instant; all that is stamped up to it is in what will be walked. */
static void capture(struct image *image, struct shard *shard) {
    struct walked_shard *walked = &image->shards[shard->number];
    buffer_init(&walked->buffer, SIZE_MAX / 2);
    lock_take(&shard->lock);
    shard_last_raise(shard, store_clock(image->store));
    walked->captured = walked->visited = shard_last(shard);
    for (uint32_t db = 0; db < image->store->databases; db++) {
        if (!was_used(&shard->databases[db])) continue;
        put_database(image, walked, db, &shard->databases[db]);
        walked->rows++;
    }
    lock_release(&shard->lock);
    put(&walked->buffer, walked->captured);
    put(&walked->buffer, walked->tables_count);
    for (uint32_t i = 0; i < walked->tables_count; i++)
        put(&walked->buffer, walked->tables[i].expected);
    buffer_put(&walked->buffer, buffer_bytes(&image->other));
    buffer_clear(&image->other);
}

struct image *image_begin(struct store *store, struct worker *worker, bool with_past) {
    struct image *image = mem_new_zero(sizeof *image);
    image->store = store;
    image->worker = worker;
    image->past = with_past;
    image->large_last = &image->large_first;
    image->section_size = BUFFERS_SIZE / store->shards_count;
    if (image->section_size > SECTION_MAX) image->section_size = SECTION_MAX;
    if (image->section_size < SECTION_MIN) image->section_size = SECTION_MIN;
    buffer_init(&image->other, SIZE_MAX / 2);
    image->shards = mem_new_zero(store->shards_count * sizeof *image->shards);
    for (unsigned i = 0; i < store->shards_count; i++) capture(image, store_shard(store, i));
    return image;
}

/* --- keys --- */

/* A pattern that stands in a newer list as well needs no second mention. */
static bool is_repeated(const struct patterns *newest, const struct patterns *list, size_t i) {
    for (const struct patterns *p = newest; p; p = p->older) {
        size_t end = p == list ? i : p->count;
        for (size_t n = 0; n < end; n++)
            if (bytes_equal(p->list[n], list->list[i])) return true;
        if (p == list) break;
    }
    return false;
}

static bool put_store(struct image *image, struct image_section *out) {
    struct store *store = image->store;
    struct buffer *buffer = &image->other;
    put(buffer, store->shards_count);
    put(buffer, store->databases);
    put(buffer, atomic_load_explicit(&store->resolution_seen_ns, memory_order_relaxed));
    const struct patterns *newest = atomic_load_explicit(&store->exclude, memory_order_acquire);
    uint32_t count = 0;
    for (const struct patterns *p = newest; p; p = p->older)
        for (size_t i = 0; i < p->count; i++) {
            if (is_repeated(newest, p, i)) continue;
            put_text(buffer, p->list[i]);
            count++;
        }
    image->told_store = true;
    return lend(image, buffer, IMAGE_STORE, 0, count, out);
}

/* A blob that holds the value and will not change, with a reference; NULL when memory is refused. */
static struct blob *steady_blob(const struct entry *entry, struct blob *blob) {
    bool changes = entry_encoding(entry) == STRING_BUFFER;
    return changes ? blob_of(blob_bytes(blob)) : blob_ref(blob);
}

static char *put_bytes(char *at, struct bytes bytes) {
    at = varint_put(at, bytes.len);
    bytes_move(at, bytes.data, bytes.len);
    return at + bytes.len;
}

/* Without the past an entry that had one only says so. */
static unsigned key_bits(const struct image *image, const struct entry *entry, uint64_t *position) {
    unsigned bits = (entry->words & ENTRY_EXPIRE ? IMAGE_KEY_EXPIRE : 0u) |
                    (entry->words & ENTRY_EXCLUDED ? IMAGE_KEY_EXCLUDED : 0u) |
                    (entry->words & ENTRY_PRUNED ? IMAGE_KEY_PRUNED : 0u) |
                    (entry->words & ENTRY_PURGED ? IMAGE_KEY_PURGED : 0u);
    *position = entry_history(entry);
    if (*position == 0) return bits;
    if (image->past) return bits | IMAGE_KEY_HISTORY;
    return bits | IMAGE_KEY_PRUNED;
}

static size_t value_size(const struct entry *entry) {
    struct blob *blob = entry_blob(entry);
    return blob ? blob->len : entry->vlen;
}

/* The row, but for a large value's bytes. */
static char *put_row(const struct image *image, const struct walked_shard *walked,
                     const struct entry *entry, char *at, bool large) {
    uint64_t position;
    unsigned bits = key_bits(image, entry, &position);
    *at++ = (char)entry->kind;
    *at++ = (char)bits;
    at = varint_put(at, entry->actor);
    at = varint_put(at, varint_fold((int64_t)(entry->stamp - walked->captured)));
    if (bits & IMAGE_KEY_EXPIRE) at = varint_put(at, varint_fold(entry_expire(entry)));
    if (bits & IMAGE_KEY_HISTORY) at = varint_put(at, position);
    at = put_bytes(at, entry_name(entry));
    if (entry_is_tombstone(entry)) return at;
    struct value value;
    entry_value(entry, &value);
    if (value.encoding == STRING_INT) return varint_put(at, varint_fold(value.number));
    if (large) return varint_put(at, value.bytes.len);
    return put_bytes(at, value.bytes);
}

/* What a section of keys begins with. */
static char *put_keys_head(const struct walked_shard *walked, char *at) {
    at = varint_put(at, walked->table + 1);
    return varint_put(at, walked->captured);
}

/* A row that is a section of its own. `blob`: its value, which is not copied; NULL: it has no large one. */
static bool put_alone(struct image *image, uint32_t shard, const struct entry *entry,
                      struct blob *blob) {
    struct walked_shard *walked = &image->shards[shard];
    size_t room = ROW_HEAD_MAX + entry_name(entry).len + (blob ? 0 : value_size(entry));
    struct large *large = mem_try(sizeof *large + room);
    struct blob *value = blob ? steady_blob(entry, blob) : NULL;
    if (!large || (blob && !value)) {
        mem_free(large, sizeof *large + room);
        blob_unref(value);
        return false;
    }
    char *at = put_row(image, walked, entry, put_keys_head(walked, large->head), blob);
    *large = (struct large){
        .blob = value, .shard = shard, .room = room, .len = (size_t)(at - large->head)
    };
    *image->large_last = large;
    image->large_last = &large->next;
    return true;
}

static bool put_among_others(struct image *image, struct walked_shard *walked,
                             const struct entry *entry) {
    struct buffer *buffer = &walked->buffer;
    char *at = buffer_reserve(buffer, ROW_HEAD_MAX + entry_name(entry).len + value_size(entry));
    if (UNLIKELY(!at)) return false;
    if (buffer->len == 0) at = put_keys_head(walked, at);
    at = put_row(image, walked, entry, at, false);
    buffer->len = (size_t)(at - buffer->data);
    walked->rows++;
    return true;
}

static void put_key(struct image *image, uint32_t shard, const struct entry *entry) {
    struct walked_shard *walked = &image->shards[shard];
    if (!image->past && entry_is_tombstone(entry)) return;
    walked->keys++;
    struct blob *blob = entry_blob(entry);
    if (blob && blob->len <= COPY_MAX) blob = NULL;
    bool alone = blob || entry_name(entry).len > COPY_MAX;
    bool put = UNLIKELY(alone) ? put_alone(image, shard, entry, blob)
                               : put_among_others(image, walked, entry);
    if (UNLIKELY(!put)) image->failed = true;
}

/* Entries that were met and are on their way into the cache. */
struct gathered {
    struct image *image;
    uint32_t shard;
    size_t met, count;
    struct entry *entries[GATHER_MAX];
};

static void put_gathered(struct gathered *gathered) {
    for (size_t i = 0; i < gathered->count; i++)
        put_key(gathered->image, gathered->shard, gathered->entries[i]);
    gathered->met += gathered->count;
    gathered->count = 0;
}

static void gather(void *self, struct entry *entry) {
    struct gathered *gathered = self;
    __builtin_prefetch(entry);
    __builtin_prefetch((char *)entry + 64);
    gathered->entries[gathered->count++] = entry;
    if (UNLIKELY(gathered->count == GATHER_MAX)) put_gathered(gathered);
}

/* The lock is held. */
static void let_go_of_table(struct image *image, struct walked_table *table) {
    table->index->walkers--;
    index_unref_later(image->store, image->worker, table->index);
    table->index = NULL;
}

/* The table under way is through; after the last one the shard's keys are. The lock is held. */
static void finish_table(struct image *image, struct shard *shard, struct walked_shard *walked) {
    let_go_of_table(image, &walked->tables[walked->table++]);
    if (walked->table < walked->tables_count) return;
    shard_last_raise(shard, store_clock(image->store));
    walked->visited = shard_last(shard);
    walked->bound = history_mark(&shard->history);
}

/* Some entries of one shard's table; true: its section is to be handed out. */
static bool visit_slice(struct image *image, uint32_t number) {
    struct walked_shard *walked = &image->shards[number];
    struct shard *shard = store_shard(image->store, number);
    struct index *index = walked->tables[walked->table].index;
    UNINITIALIZED struct gathered gathered;
    gathered.image = image;
    gathered.shard = number;
    gathered.met = gathered.count = 0;
    lock_take(&shard->lock);
    do walked->x = index_visit(index, walked->x, gather, &gathered);
    while (walked->x && gathered.met + gathered.count < SLICE_ENTRIES);
    put_gathered(&gathered);
    bool through = walked->x == 0;
    if (through) finish_table(image, shard, walked);
    lock_release(&shard->lock);
    if (through) worker_reap_if_due(image->worker);
    return walked->buffer.len >= image->section_size || (through && walked->rows);
}

/* The next shard of which something is left to do, in turn. */
static struct walked_shard *
take_turn(struct image *image, bool (*left)(const struct walked_shard *walked), uint32_t *number) {
    uint32_t count = image->store->shards_count;
    for (uint32_t i = 0; i < count; i++) {
        *number = (image->turn + i) % count;
        if (!left(&image->shards[*number])) continue;
        image->turn = *number + 1;
        return &image->shards[*number];
    }
    return NULL;
}

static bool has_keys(const struct walked_shard *walked) {
    return walked->table < walked->tables_count;
}

static bool lend_rows(struct image *image, uint32_t number, uint8_t kind,
                      struct image_section *out) {
    struct walked_shard *walked = &image->shards[number];
    uint32_t rows = walked->rows;
    walked->rows = 0;
    return lend(image, &walked->buffer, kind, number, rows, out);
}

static bool lend_large(struct image *image, struct image_section *out) {
    struct large *large = image->large_lent = image->large_first;
    image->large_first = large->next;
    if (!image->large_first) image->large_last = &image->large_first;
    *out = (struct image_section){ .kind = IMAGE_KEYS,
                                   .shard = (uint16_t)large->shard,
                                   .count = 1,
                                   .bytes = { large->head, large->len },
                                   .tail = large->blob ? blob_bytes(large->blob)
                                                       : (struct bytes){ 0 } };
    return true;
}

bool image_keys(struct image *image, struct image_section *out) {
    take_back(image, out);
    if (!image->told_store) return put_store(image, out);
    if (image->described < image->store->shards_count)
        return lend_rows(image, image->described++, IMAGE_SHARD, out);
    if (image->large_first) return lend_large(image, out);
    uint32_t number;
    if (!take_turn(image, has_keys, &number)) return false;
    if (visit_slice(image, number)) return lend_rows(image, number, IMAGE_KEYS, out);
    return true;
}

/* --- the past --- */

static bool has_segments(const struct walked_shard *walked) {
    return walked->bound.tail && walked->segment <= walked->bound.tail;
}

/* Copies the next segment that is still there. */
static void copy_segment(struct image *image, uint32_t number) {
    struct walked_shard *walked = &image->shards[number];
    struct shard *shard = store_shard(image->store, number);
    struct segment *copy = pool_take(&image->store->pool);
    lock_take(&shard->lock);
    raise(&walked->segment, shard->history.head);
    bool copied = has_segments(walked) && history_copy(&shard->history, walked->segment, copy);
    lock_release(&shard->lock);
    if (!copied) {
        walked->segment = walked->bound.tail + 1;
        pool_give(&image->store->pool, copy);
        return;
    }
    walked->segment++;
    image->segment = copy;
    image->segment_shard = number;
    image->unit = 0;
}

/* Where the part of the copy ends that somebody may refer to. */
static uint32_t units_to_write(const struct image *image) {
    const struct history_mark *bound = &image->shards[image->segment_shard].bound;
    const struct segment *segment = image->segment;
    bool cut = segment->number == bound->tail && bound->units < segment->units;
    return cut ? bound->units : segment->units;
}

/* A record in neutral form, but for a large value's bytes. `before`: the position of the one before it in the section. */
static char *put_record(const struct segment *segment, const struct record *record,
                        const struct record_view *view, uint64_t position, uint64_t before,
                        char *at, bool large) {
    bool set = view->kind == EFFECT_SET, tombstone = record->flags & RECORD_TOMBSTONE;
    *at++ = (char)view->kind;
    *at++ = (char)(view->type | view->encoding << 4);
    *at++ = (char)((set && view->expire_at_ms ? IMAGE_PAST_EXPIRE : 0) |
                   (tombstone ? IMAGE_PAST_TOMBSTONE : 0));
    *at++ = (char)record->db;
    at = varint_put(at, position - before);
    at = varint_put(at, record->prev ? position - record->prev : 0);
    at = varint_put(at, record->actor);
    at = varint_put(at, varint_fold((int64_t)(segment->last - record->birth)));
    if (tombstone) {
        uint64_t whom;
        memcpy(&whom, record->payload + record->len - 8, 8);
        at = varint_put(at, whom >> 8);
    }
    if (view->kind == EFFECT_DELETE) return at;
    if (view->kind == EFFECT_EXPIRE || view->expire_at_ms)
        at = varint_put(at, varint_fold(view->expire_at_ms));
    if (view->kind == EFFECT_EXPIRE) return at;
    if (set && view->encoding == STRING_INT) return varint_put(at, varint_fold(view->number));
    if (view->kind == EFFECT_SPLICE) {
        at = varint_put(at, view->offset);
        at = varint_put(at, view->length);
    }
    return large ? varint_put(at, view->bytes.len) : put_bytes(at, view->bytes);
}

/* Writes records of the copy into `other` until it is full, or up to one that needs a section of its own:
 * that is then the only one, and its bytes are the tail. */
static void put_records(struct image *image, uint32_t end, uint32_t *rows, struct bytes *tail) {
    const struct segment *segment = image->segment;
    struct buffer *out = &image->other;
    uint64_t start = segment->number * SEGMENT_UNITS, before = 0;
    put(out, segment->last);
    while (image->unit < end && out->len < image->section_size && !tail->len) {
        const struct record *record =
            (const struct record *)(const void *)(segment->mem + (size_t)image->unit * 8);
        uint32_t units = (uint32_t)(record_size(record) / 8);
        if (record->flags & RECORD_WIPED) { /* reads as dropped */
            image->unit += units;
            continue;
        }
        struct record_view view = record_view(record);
        bool large = view.bytes.len > COPY_MAX;
        if (large && *rows) return;
        char *at = buffer_reserve(out, RECORD_HEAD_MAX + (large ? 0 : view.bytes.len));
        if (!at) return;
        uint64_t position = start + image->unit;
        at = put_record(segment, record, &view, position, before, at, large);
        out->len = (size_t)(at - out->data);
        if (large) *tail = view.bytes;
        before = position;
        image->unit += units;
        ++*rows;
    }
}

bool image_past(struct image *image, struct image_section *out) {
    take_back(image, out);
    if (image->segment && image->unit >= units_to_write(image)) {
        segment_free(&image->store->pool, image->segment);
        image->segment = NULL;
    }
    if (!image->segment) {
        uint32_t number;
        if (!image->past || !take_turn(image, has_segments, &number)) return false;
        copy_segment(image, number);
        if (!image->segment) return true;
    }
    uint32_t rows = 0;
    struct bytes tail = { 0 };
    put_records(image, units_to_write(image), &rows, &tail);
    image->shards[image->segment_shard].records += rows;
    lend(image, &image->other, rows ? IMAGE_PAST : 0, image->segment_shard, rows, out);
    if (image->other.overflow) return false;
    out->tail = tail;
    return true;
}

/* --- the rest --- */

static bool put_end(struct image *image, uint32_t number, struct image_section *out) {
    struct walked_shard *walked = &image->shards[number];
    struct shard *shard = store_shard(image->store, number);
    struct buffer *buffer = &image->other;
    lock_take(&shard->lock);
    uint64_t last = shard_last(shard), forgotten = shard->forgotten;
    uint64_t deletion_forgotten = shard->deletion_forgotten;
    if (!image->past) forgotten = deletion_forgotten = last; /* tombstones were left out */
    put(buffer, walked->visited);
    put(buffer, last);
    put(buffer, shard->committed);
    put(buffer, forgotten);
    put(buffer, shard->excluded_forgotten);
    put(buffer, deletion_forgotten);
    put(buffer, shard->history.dropped);
    lock_release(&shard->lock);
    put(buffer, walked->keys);
    put(buffer, walked->records);
    raise(&image->last, last);
    return lend(image, buffer, IMAGE_END, number, 1, out);
}

struct rows_writer {
    struct buffer *buffer;
    uint32_t count;
};

static void put_actor(void *self, const struct actor_row *row) {
    struct rows_writer *writer = self;
    put(writer->buffer, row->n);
    put(writer->buffer, row->since);
    put_text(writer->buffer, row->op);
    put_text(writer->buffer, row->client);
    writer->count++;
}

static void put_pin(void *self, struct bytes name, uint64_t at) {
    struct rows_writer *writer = self;
    put_text(writer->buffer, name);
    put(writer->buffer, at);
    writer->count++;
}

bool image_rest(struct image *image, struct image_section *out) {
    take_back(image, out);
    if (image->ended < image->store->shards_count) return put_end(image, image->ended++, out);
    struct rows_writer writer = { .buffer = &image->other };
    if (image->actors < store_actors_interned(image->store)) {
        image->actors =
            actors_visit_some(image->store, image->actors, ACTORS_A_SECTION, put_actor, &writer);
        return lend(image, &image->other, IMAGE_ACTORS, 0, writer.count, out);
    }
    if (image->told_pins) return false;
    image->told_pins = true;
    store_pins(image->store, put_pin, &writer);
    return lend(image, &image->other, IMAGE_PINS, 0, writer.count, out);
}

/* --- the whole --- */

bool image_failed(const struct image *image) {
    return image->failed;
}

struct image_progress image_progress(const struct image *image) {
    struct image_progress progress = { .keys_total = image->keys_total,
                                       .captured = image->shards[0].captured,
                                       .ended = image->last };
    for (unsigned i = 0; i < image->store->shards_count; i++) {
        progress.keys_done += image->shards[i].keys;
        if (image->shards[i].captured < progress.captured)
            progress.captured = image->shards[i].captured;
    }
    return progress;
}

static void let_go_of_tables(struct image *image, uint32_t number) {
    struct walked_shard *walked = &image->shards[number];
    struct shard *shard = store_shard(image->store, number);
    lock_take(&shard->lock);
    for (; walked->table < walked->tables_count; walked->table++)
        let_go_of_table(image, &walked->tables[walked->table]);
    lock_release(&shard->lock);
    mem_free(walked->tables, walked->tables_count * sizeof *walked->tables);
    buffer_deinit(&walked->buffer);
}

struct image *image_end(struct image *image) {
    if (!image) return NULL;
    struct image_section none;
    take_back(image, &none);
    while (image->large_first) {
        image->large_lent = image->large_first;
        image->large_first = image->large_first->next;
        take_back(image, &none);
    }
    segment_free(&image->store->pool, image->segment);
    for (uint32_t i = 0; i < image->store->shards_count; i++) let_go_of_tables(image, i);
    mem_free(image->shards, image->store->shards_count * sizeof *image->shards);
    buffer_deinit(&image->other);
    mem_free(image, sizeof *image);
    return NULL;
}
