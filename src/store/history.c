#include "store/history.h"

#include <stdlib.h>

#include "base/limits.h"

enum {
    SEGMENT_OWNED_MAX = 1024 * 1024, /* of large values: what is dropped at once stays small */
    PREFETCH_AHEAD = 128,
    RING_MIN = 4,
    RECORD_UNITS_MAX = SEGMENT_UNITS - SEGMENT_HEADER / 8
};

void history_init(struct history *history, uint32_t databases, struct pool *pool) {
    memset(history, 0, sizeof *history);
    history->pool = pool;
    history->databases = databases;
    history->db_records = mem_new_zero(databases * sizeof(uint64_t));
    history->head = 1; /* position 0 means none */
    history->tail = 0;
}

void history_deinit(struct history *history) {
    for (struct segment *segment; (segment = history_drop(history));)
        segment_free(history->pool, segment);
    mem_free(history->ring, history->ring_cap * sizeof(struct segment *));
    mem_free((void *)(uintptr_t)history->db_records, history->databases * sizeof(uint64_t));
}

static struct segment *segment_at(const struct history *history, uint64_t number) {
    return history->ring[number & (history->ring_cap - 1)];
}

static void ring_grow(struct history *history) {
    size_t cap = history->ring_cap ? history->ring_cap * 2 : RING_MIN;
    struct segment **ring = mem_new_zero(cap * sizeof *ring);
    for (uint64_t n = history->head; n <= history->tail; n++)
        ring[n & (cap - 1)] = segment_at(history, n);
    mem_free(history->ring, history->ring_cap * sizeof *ring);
    history->ring = ring;
    history->ring_cap = cap;
}

static void size_add(_Atomic uint64_t *sum, uint64_t n) {
    atomic_store_explicit(sum, atomic_load_explicit(sum, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static void oldest_changed(struct history *history) {
    uint64_t oldest = 0;
    if (history->head <= history->tail) oldest = segment_at(history, history->head)->last;
    atomic_store_explicit(&history->oldest, oldest, memory_order_relaxed);
}

static COLD struct segment *segment_new(struct history *history) {
    if (history->tail + 1 - history->head >= history->ring_cap) ring_grow(history);
    struct segment *segment = pool_take(history->pool);
    memset(segment, 0, SEGMENT_HEADER);
    segment->number = ++history->tail;
    history->ring[segment->number & (history->ring_cap - 1)] = segment;
    size_add(&history->size, SEGMENT_SIZE);
    oldest_changed(history);
    return segment;
}

/* Whose state a record restores: when it was born, who made it, and the record before. */
struct origin {
    uint64_t prev, birth;
    uint16_t actor;
};

static inline struct origin origin_of(const struct entry *entry) {
    return (struct origin){ entry_history(entry), entry->stamp, entry->actor };
}

/* Room for a record with `len` bytes of payload; fills the header. */
static inline struct record *append(struct history *history, struct origin origin, uint64_t stamp,
                                    uint32_t db, unsigned kind, unsigned flags, size_t len,
                                    uint64_t *position) {
    static_assert(STRING_INLINE_MAX + 24 <= RECORD_LEN_MAX);
    static_assert(DATABASES_MAX <= 256 && SEGMENT_SIZE <= 65536);
    uint32_t units = (uint32_t)((sizeof(struct record) + len + 7) / 8);
    assert(units <= RECORD_UNITS_MAX);
    struct segment *segment =
        history->head <= history->tail ? segment_at(history, history->tail) : NULL;
    if (UNLIKELY(!segment || segment->units + units > RECORD_UNITS_MAX ||
                 segment->owned_size > SEGMENT_OWNED_MAX))
        segment = segment_new(history);
    struct record *record = (struct record *)(void *)(segment->mem + (size_t)segment->units * 8);
    *position = segment->number * SEGMENT_UNITS + segment->units;
    segment->units += units;
    if (segment->records++ == 0)
        segment->db = (uint16_t)db;
    else if (segment->db != db)
        segment->db = HISTORY_MIXED;
    size_add(&history->db_records[db], 1);
    if (stamp > segment->last)
        segment->last = stamp; /* else: what was loaded is newer than the log */
    if (segment->number == history->head)
        atomic_store_explicit(&history->oldest, segment->last, memory_order_relaxed);
    size_add(&history->records, 1);

    uint64_t prev = origin.prev, skip = 0;
    if (prev >= history_head(history)) {
        if (prev / SEGMENT_UNITS != segment->number) {
            skip = *position - prev;
        } else {
            const struct record *before = history_at(history, prev);
            if (before->skip) skip = *position - (prev - before->skip);
        }
    }
    if (UNLIKELY(skip > UINT32_MAX)) skip = 0;
    /* The bit fields of struct record, in two stores; gcc and clang lay them out from the low end. */
    uint64_t head[2] = { (prev & POSITION_MAX) | (uint64_t)db << 47 | (uint64_t)kind << 55,
                         skip | (uint64_t)len << 32 | (uint64_t)flags << 43 |
                             (uint64_t)origin.actor << 48 };
    memcpy(record, head, sizeof head);
    record->birth = origin.birth;
    /* Where the next records of this shard will go: by then the lines are here. */
    __builtin_prefetch((char *)record + PREFETCH_AHEAD, 1);
    __builtin_prefetch((char *)record + PREFETCH_AHEAD + 64, 1);
    return record;
}

static void own(struct history *history, uint64_t position, struct blob *blob) {
    struct segment *segment = segment_at(history, position / SEGMENT_UNITS);
    size_t size = blob_memory(blob);
    segment->owned++;
    segment->owned_size += size;
    size_add(&history->size, size);
}

uint64_t history_put_state(struct history *history, const struct entry *entry, uint64_t stamp,
                           bool tombstone, uint64_t hash, uint32_t db) {
    unsigned type = entry_type(entry), encoding = entry_encoding(entry);
    struct blob *blob = entry_blob(entry);
    struct bytes text = { 0 };
    size_t content = 8; /* a number or a pointer */
    if (type == VALUE_NONE) {
        content = 0;
    } else if (!(entry->words & ENTRY_VALUE)) {
        text = entry_inline(entry);
        content = text.len;
    }
    size_t expire = entry->words & ENTRY_EXPIRE ? 8 : 0, mark = tombstone ? 8 : 0;
    unsigned kind = (type == VALUE_NONE ? EFFECT_DELETE : EFFECT_SET) | type << 3 | encoding << 6;
    unsigned flags = (expire ? RECORD_EXPIRE : 0u) | (blob ? RECORD_OWNED : 0u) |
                     (tombstone ? RECORD_TOMBSTONE : 0u);
    uint64_t position;
    struct record *record = append(history, origin_of(entry), stamp, db, kind, flags,
                                   expire + content + mark, &position);
    unsigned char *at = record->payload;
    if (expire) memcpy(at, entry->data, 8);
    at += expire;
    if (text.len) {
        bytes_move(at, text.data, text.len);
    } else if (content) {
        uint64_t word = entry_load(entry, ENTRY_VALUE);
        memcpy(at, &word, 8);
    }
    if (blob) own(history, position, blob_ref(blob));
    if (tombstone) {
        uint64_t whom = (hash & ~(uint64_t)0xff) | db;
        memcpy(at + content, &whom, 8);
        segment_at(history, position / SEGMENT_UNITS)->tombstones++;
    }
    return position;
}

uint64_t history_put_expire(struct history *history, const struct entry *entry, uint64_t stamp,
                            uint32_t db) {
    uint64_t position;
    struct record *record =
        append(history, origin_of(entry), stamp, db, EFFECT_EXPIRE, 0, 8, &position);
    int64_t at = entry_expire(entry);
    memcpy(record->payload, &at, 8);
    return position;
}

uint64_t history_put_splice(struct history *history, const struct entry *entry, uint64_t stamp,
                            uint32_t db, const struct blob *blob, uint64_t offset, uint64_t len) {
    uint64_t kept = offset >= blob->len ? 0 : blob->len - offset < len ? blob->len - offset : len;
    struct bytes before = { blob->data + offset, kept };
    struct blob *copy = kept > STRING_INLINE_MAX ? blob_of(before) : NULL;
    uint64_t position;
    struct record *record = append(history, origin_of(entry), stamp, db, EFFECT_SPLICE,
                                   copy ? RECORD_OWNED : 0, 16 + (copy ? 8 : kept), &position);
    uint64_t words[3] = { offset, blob->len, (uint64_t)(uintptr_t)copy };
    memcpy(record->payload, words, copy ? 24 : 16);
    if (!copy && kept) memcpy(record->payload + 16, before.data, kept);
    if (copy) own(history, position, copy);
    return position;
}

void history_begin_loading(struct history *history) {
    assert(history->head == 1 && history->tail == 0);
    history->head = HISTORY_LOST / SEGMENT_UNITS + 1;
    history->tail = history->head - 1;
}

uint64_t history_put_loaded(struct history *history, const struct loaded_record *from,
                            uint64_t stamp) {
    const struct record_view *view = &from->view;
    bool set = view->kind == EFFECT_SET, splice = view->kind == EFFECT_SPLICE;
    bool number = view->kind == EFFECT_EXPIRE || (set && view->encoding == STRING_INT);
    assert(view->kind >= EFFECT_SET && view->kind <= EFFECT_SPLICE);
    size_t expire = set && view->expire_at_ms ? 8 : 0;
    size_t content = number || view->blob ? 8 : view->bytes.len;
    size_t len = expire + (splice ? 16u : 0u) + content + (from->tombstone ? 8u : 0u);
    assert(len <= RECORD_LEN_MAX);
    unsigned kind = view->kind | (unsigned)view->type << 3 | (unsigned)view->encoding << 6;
    unsigned flags = (expire ? RECORD_EXPIRE : 0u) | (view->blob ? RECORD_OWNED : 0u) |
                     (from->tombstone ? RECORD_TOMBSTONE : 0u);
    struct origin origin = { from->prev, from->birth, from->actor };
    uint64_t position;
    struct record *record = append(history, origin, stamp, from->db, kind, flags, len, &position);
    unsigned char *at = record->payload;
    if (expire) memcpy(at, &view->expire_at_ms, 8);
    at += expire;
    if (splice) {
        memcpy(at, &view->offset, 8);
        memcpy(at + 8, &view->length, 8);
        at += 16;
    }
    uintptr_t pointer = (uintptr_t)view->blob;
    if (number)
        memcpy(at, set ? &view->number : &view->expire_at_ms, 8);
    else if (view->blob)
        memcpy(at, &pointer, 8);
    else
        bytes_move(at, view->bytes.data, content);
    if (view->blob) own(history, position, view->blob);
    if (from->tombstone) {
        uint64_t whom = (from->hash & ~(uint64_t)0xff) | from->db;
        memcpy(at + content, &whom, 8);
        segment_at(history, position / SEGMENT_UNITS)->tombstones++;
    }
    return position;
}

const struct record *history_at(const struct history *history, uint64_t position) {
    uint64_t number = position / SEGMENT_UNITS;
    if (number < history->head || number > history->tail) return NULL;
    const struct segment *segment = segment_at(history, number);
    size_t unit = position % SEGMENT_UNITS;
    assert(unit < segment->units);
    return (const struct record *)(const void *)(segment->mem + unit * 8);
}

size_t record_size(const struct record *record) {
    return (sizeof *record + record->len + 7) & ~(size_t)7;
}

struct record_view record_view(const struct record *record) {
    const unsigned char *at = record->payload;
    size_t len = record->len - (record->flags & RECORD_TOMBSTONE ? 8u : 0u);
    struct record_view view = { .kind = record->kind,
                                .encoding = record->encoding,
                                .type = record->type };
    if (view.kind == EFFECT_EXPIRE) {
        memcpy(&view.expire_at_ms, at, 8);
        return view;
    }
    if (view.kind == EFFECT_SPLICE) {
        memcpy(&view.offset, at, 8);
        memcpy(&view.length, at + 8, 8);
        at += 16;
        len -= 16;
    }
    if (record->flags & RECORD_EXPIRE) {
        memcpy(&view.expire_at_ms, at, 8);
        at += 8;
        len -= 8;
    }
    if (record->flags & RECORD_OWNED) {
        uintptr_t pointer;
        memcpy(&pointer, at, 8);
        view.blob = (struct blob *)pointer;
        view.bytes = blob_bytes(view.blob);
    } else if (view.kind == EFFECT_SET && view.encoding == STRING_INT) {
        memcpy(&view.number, at, 8);
    } else {
        view.bytes = (struct bytes){ (const char *)at, len };
    }
    return view;
}

static void segment_each(const struct segment *segment, uint32_t from,
                         void (*visit)(void *self, const struct record *record, uint64_t position),
                         void *self) {
    for (uint32_t unit = from; unit < segment->units;) {
        const struct record *record =
            (const struct record *)(const void *)(segment->mem + (size_t)unit * 8);
        visit(self, record, segment->number * SEGMENT_UNITS + unit);
        unit += (uint32_t)(record_size(record) / 8);
    }
}

static void count_out(void *self, const struct record *record, uint64_t position) {
    struct history *history = self;
    (void)position;
    size_add(&history->db_records[record->db], UINT64_MAX);
}

static void let_go(void *self, const struct record *record, uint64_t position) {
    (void)self;
    (void)position;
    if (record->flags & RECORD_OWNED) blob_unref(record_view(record).blob);
}

static void take_hold(void *self, const struct record *record, uint64_t position) {
    (void)self;
    (void)position;
    if (record->flags & RECORD_OWNED) blob_ref(record_view(record).blob);
}

bool history_copy(const struct history *history, uint64_t number, struct segment *out) {
    if (number < history->head || number > history->tail) return false;
    const struct segment *segment = segment_at(history, number);
    memcpy(out, segment, SEGMENT_HEADER + (size_t)segment->units * 8);
    if (out->owned) segment_each(out, 0, take_hold, NULL);
    return true;
}

void segment_free(struct pool *pool, struct segment *segment) {
    if (!segment) return;
    if (segment->owned) segment_each(segment, 0, let_go, NULL);
    pool_give(pool, segment);
}

struct tombstone_visit {
    void (*visit)(void *self, uint64_t hash, uint32_t db, uint64_t position);
    void *self;
};

static void visit_tombstone(void *self, const struct record *record, uint64_t position) {
    struct tombstone_visit *v = self;
    if (!(record->flags & RECORD_TOMBSTONE)) return;
    uint64_t whom;
    memcpy(&whom, record->payload + record->len - 8, 8);
    v->visit(v->self, whom & ~(uint64_t)0xff, (uint32_t)(whom & 0xff), position);
}

void segment_tombstones(const struct segment *segment,
                        void (*visit)(void *self, uint64_t hash, uint32_t db, uint64_t position),
                        void *self) {
    if (!segment->tombstones) return;
    struct tombstone_visit v = { visit, self };
    segment_each(segment, 0, visit_tombstone, &v);
}

struct segment *history_drop(struct history *history) {
    if (history->head > history->tail) return NULL;
    struct segment *segment = segment_at(history, history->head);
    history->head++;
    if (segment->last > history->dropped) history->dropped = segment->last;
    size_add(&history->size, 0 - (SEGMENT_SIZE + segment->owned_size));
    size_add(&history->records, 0 - (uint64_t)segment->records);
    if (segment->db != HISTORY_MIXED)
        size_add(&history->db_records[segment->db], 0 - (uint64_t)segment->records);
    else
        segment_each(segment, 0, count_out, history);
    oldest_changed(history);
    return segment;
}

struct history_mark history_mark(const struct history *history) {
    bool none = history->head > history->tail;
    return (struct history_mark){ history->tail,
                                  none ? 0 : segment_at(history, history->tail)->units };
}

struct undone {
    struct history *history;
    struct segment *segment;
};

static void undo_record(void *self, const struct record *record, uint64_t position) {
    struct undone *undone = self;
    (void)position;
    undone->segment->records--;
    size_add(&undone->history->records, UINT64_MAX);
    size_add(&undone->history->db_records[record->db], UINT64_MAX);
    if (record->flags & RECORD_TOMBSTONE) undone->segment->tombstones--;
    if (!(record->flags & RECORD_OWNED)) return;
    struct blob *blob = record_view(record).blob;
    size_t size = blob_memory(blob);
    undone->segment->owned--;
    undone->segment->owned_size -= size;
    size_add(&undone->history->size, 0 - (uint64_t)size);
    blob_unref(blob);
}

void history_rewind(struct history *history, struct history_mark mark) {
    while (history->tail > mark.tail) {
        struct segment *segment = segment_at(history, history->tail);
        segment_each(segment, 0, undo_record, &(struct undone){ history, segment });
        history->tail--;
        size_add(&history->size, 0 - (uint64_t)SEGMENT_SIZE);
        pool_give(history->pool, segment);
    }
    oldest_changed(history);
    if (history->head > history->tail) return;
    struct segment *segment = segment_at(history, history->tail);
    segment_each(segment, mark.units, undo_record, &(struct undone){ history, segment });
    segment->units = mark.units;
}

void record_wipe(struct history *history, uint64_t position) {
    struct segment *segment = segment_at(history, position / SEGMENT_UNITS);
    struct record *record = (struct record *)(void *)(segment->mem + position % SEGMENT_UNITS * 8);
    size_t mark = record->flags & RECORD_TOMBSTONE ? 8 : 0;
    if (record->flags & RECORD_OWNED) {
        struct blob *blob = record_view(record).blob;
        size_t size = blob_memory(blob);
        segment->owned--;
        segment->owned_size -= size;
        size_add(&history->size, 0 - (uint64_t)size);
        blob_unref(blob);
        record->flags &= ~(unsigned)RECORD_OWNED & 31;
    }
    record->flags |= RECORD_WIPED;
    memset(record->payload, 0,
           record->len - mark); /* its head stays: the segment is walked by it */
}

void history_cut(struct history *history, uint64_t position) {
    struct segment *segment = segment_at(history, position / SEGMENT_UNITS);
    struct record *record = (struct record *)(void *)(segment->mem + position % SEGMENT_UNITS * 8);
    record->prev = 0;
    record->skip = 0;
}
