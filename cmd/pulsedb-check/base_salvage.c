/* base_salvage.c: the whole sections of a damaged snapshot become a whole snapshot.
 *
 *     1  look at both files: which shards are described, how many rows each should have and has
 *     2  write: what is missing of the frame is made up: STORE, a SHARD without tables, an END that says
 *        that everything before it is forgotten; KEYS and PAST are copied; each END says what is there now
 *
 * A shard that lost something forgets its past up to the snapshot's end: rather no answer than a
 * wrong one. What the log has of its keys comes back by replaying it. An undamaged snapshot is
 * copied byte by byte. */
#include <errno.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/varint.h"
#include "base_file.h"
#include "log/segment.h"
#include "salvage.h"

enum { END_FIELDS = 9, STORE_DATABASES = 16, OUT_SIZE = 1024 * 1024 };
enum end_field { VISITED, LAST, COMMITTED, FORGOTTEN, EXCLUDED, DELETION, DROPPED, KEYS, RECORDS };

struct saved_shard {
    bool described; /* its SHARD section is there */
    bool ended;     /* its END is, and says: */
    uint64_t end[END_FIELDS];
    uint64_t captured;
    uint64_t keys, records; /* rows there are */
    uint64_t dropped;       /* keys that cannot be used: it is not described */
};

struct out_part {
    struct env *env;
    struct env_file *file;
    char path[PATH_MAX];
    uint64_t id, size, rows;
    uint32_t sections;
    char *buffer;
    size_t buffered;
};

struct saving {
    struct env *env;
    const char *from, *to;
    uint32_t shards_count;
    struct manifest_base *base;
    struct base_losses *losses;
    struct saved_shard *shards;
    bool store, pins, writers, whole[2], present[2];
    struct problem *why;
};

/* --- looking --- */

static bool take_end(struct bytes content, struct saved_shard *shard) {
    for (size_t i = 0; i < END_FIELDS; i++)
        if (!varint_take(&content, &shard->end[i])) return false;
    return content.len == 0;
}

static void see_section(struct saving *saving, const struct snapshot_section *section,
                        struct bytes content) {
    if (section->kind == IMAGE_STORE) {
        uint64_t shards;
        saving->store = true;
        if (varint_take(&content, &shards) && shards > 0 && shards <= SHARDS_MAX)
            saving->shards_count = (uint32_t)shards;
    }
    saving->pins |= section->kind == IMAGE_PINS;
    saving->writers |= section->kind == IMAGE_ACTORS;
    if (section->shard >= SHARDS_MAX) return;
    struct saved_shard *shard = &saving->shards[section->shard];
    if (section->kind == IMAGE_SHARD) shard->described = varint_take(&content, &shard->captured);
    if (section->kind == IMAGE_KEYS) shard->keys += section->count;
    if (section->kind == IMAGE_PAST) shard->records += section->count;
    if (section->kind == IMAGE_END) shard->ended = take_end(content, shard);
}

static void raise_to(uint64_t *word, uint64_t least) {
    if (*word < least) *word = least;
}

/* The file of keys or of the past, open; OK, NOT_FOUND: it is not there or not to be used, `why`
 * says why. */
static enum status open_part(struct saving *saving, bool past, struct base_file *base) {
    char path[PATH_MAX];
    path_of_base(saving->from, saving->base->generation, past, path);
    enum status status = base_file_open(base, saving->env, path, saving->base->id, saving->why);
    if (status != OK) return status;
    if (base->header_status == UNSUPPORTED) {
        base_file_close(base);
        return problem_set(saving->why, UNSUPPORTED, 0, "%.200s is of a later version", path);
    }
    bool other = base->header_status == OK && saving->base->id && base->id != saving->base->id;
    if (other || !base->id) {
        base_file_close(base);
        return problem_set(saving->why, NOT_FOUND, 0,
                           other ? "%.200s is another snapshot's" : "%.200s has lost its header",
                           path);
    }
    if (!saving->base->id) saving->base->id = base->id;
    return OK;
}

static enum status look_at(struct saving *saving, bool past) {
    struct base_file base;
    enum status status = open_part(saving, past, &base);
    if (status != OK) return status;
    struct snapshot_section section;
    struct bytes content;
    uint64_t at;
    while ((status = base_file_next(&base, ALL_SECTIONS, &section, &content, &at, saving->why)) ==
           OK)
        see_section(saving, &section, content);
    saving->losses->damaged += base.damaged;
    saving->present[past] = true;
    saving->whole[past] = base.trailer && base.header_status == OK;
    base_file_close(&base);
    return status == NOT_FOUND ? OK : status;
}

/* Since when and until when the snapshot was taken, if no manifest says so. */
static void date(struct saving *saving) {
    struct manifest_base *base = saving->base;
    uint64_t from = UINT64_MAX, to = 0;
    for (uint32_t i = 0; i < saving->shards_count; i++) {
        const struct saved_shard *shard = &saving->shards[i];
        if (shard->described && shard->captured < from) from = shard->captured;
        if (shard->ended) raise_to(&to, shard->end[LAST]);
    }
    if (!base->to) base->to = to ? to : env_realtime_ns(saving->env);
    if (!base->from) base->from = from < base->to ? from : base->to;
}

/* What is missing, shard by shard; ends as they will be written. */
static void settle(struct saving *saving) {
    struct base_losses *losses = saving->losses;
    for (uint32_t i = 0; i < saving->shards_count; i++) {
        struct saved_shard *shard = &saving->shards[i];
        if (!shard->described) {
            shard->dropped = shard->keys;
            shard->keys = 0;
            losses->shards_lost++;
        }
        uint64_t *end = shard->end;
        bool lost = !shard->ended || !shard->described || end[KEYS] != shard->keys ||
                    end[RECORDS] != shard->records;
        if (!shard->ended) {
            losses->uncounted = true;
            losses->keys_lost += shard->dropped;
            for (size_t field = VISITED; field <= DROPPED; field++) end[field] = saving->base->to;
        } else {
            if (end[KEYS] > shard->keys) losses->keys_lost += end[KEYS] - shard->keys;
            if (end[RECORDS] > shard->records) losses->past_lost += end[RECORDS] - shard->records;
        }
        if (lost) {
            raise_to(&end[FORGOTTEN], end[LAST]);
            raise_to(&end[DELETION], end[LAST]);
            raise_to(&end[DROPPED], end[LAST]);
        }
        end[KEYS] = shard->keys;
        end[RECORDS] = shard->records;
        losses->keys += shard->keys;
        losses->past += shard->records;
    }
    losses->pins_lost = !saving->pins;
    losses->writers_lost = !saving->writers && !saving->whole[0];
}

/* --- writing --- */

static enum status out_flush(struct out_part *out, struct problem *why) {
    int error =
        write_fully(out->env, out->file, out->buffer, out->buffered, out->size - out->buffered);
    out->buffered = 0;
    if (error == 0) return OK;
    return problem_set(why, IO, -error, "cannot write %s", out->path);
}

static enum status out_put(struct out_part *out, struct bytes bytes, struct problem *why) {
    while (bytes.len > 0) {
        size_t room = OUT_SIZE - out->buffered, n = bytes.len < room ? bytes.len : room;
        memcpy(out->buffer + out->buffered, bytes.data, n);
        out->buffered += n;
        out->size += n;
        bytes.data += n;
        bytes.len -= n;
        enum status status = out->buffered == OUT_SIZE ? out_flush(out, why) : OK;
        if (status != OK) return status;
    }
    return OK;
}

static enum status out_section(struct out_part *out, uint8_t kind, uint16_t shard, uint32_t count,
                               struct bytes content, struct problem *why) {
    struct snapshot_section section = { .kind = kind,
                                        .shard = shard,
                                        .number = out->sections++,
                                        .count = count,
                                        .len = (uint32_t)content.len };
    char head[SNAPSHOT_SECTION];
    snapshot_put_section(&section, head);
    section.crc = snapshot_crc(out->id, head);
    if (content.len) section.crc = crc32c(section.crc, content.data, content.len);
    snapshot_put_section(&section, head);
    out->rows += count;
    enum status status = out_put(out, (struct bytes){ head, sizeof head }, why);
    return status == OK ? out_put(out, content, why) : status;
}

static enum status out_open(struct saving *saving, bool past, struct out_part *out) {
    *out = (struct out_part){ .env = saving->env, .id = saving->base->id };
    path_of_base(saving->to, saving->base->generation, past, out->path);
    int error = out->env->ops->open(out->env, out->path, ENV_WRITE | ENV_CREATE, &out->file);
    if (error < 0) return problem_set(saving->why, IO, -error, "cannot make %s", out->path);
    out->buffer = mem_new(OUT_SIZE);
    char header[SNAPSHOT_HEADER] = { 0 };
    memcpy(header, SNAPSHOT_MAGIC, 8);
    put_le(header + 8, SNAPSHOT_VERSION, 4);
    put_le(header + 16, saving->base->generation, 8);
    put_le(header + 24, out->id, 8);
    header[32] = past;
    put_le(header + SNAPSHOT_HEADER_CRC, crc32c(0, header, SNAPSHOT_HEADER_CRC), 4);
    return out_put(out, (struct bytes){ header, sizeof header }, saving->why);
}

/* The trailer, if all went well so far, and everything on the disk. */
static enum status out_close(struct out_part *out, enum status status, struct problem *why) {
    char content[SNAPSHOT_TRAILER_SIZE];
    put_le(content, out->sections + 1u, 8);
    put_le(content + 8, out->rows, 8);
    put_le(content + 16, out->size + SNAPSHOT_SECTION + SNAPSHOT_TRAILER_SIZE, 8);
    if (status == OK)
        status = out_section(out, SNAPSHOT_TRAILER, 0, 0, (struct bytes){ content, sizeof content },
                             why);
    if (status == OK) status = out_flush(out, why);
    int error = status == OK ? out->env->ops->sync(out->env, out->file) : 0;
    if (error < 0) status = problem_set(why, IO, -error, "cannot make %s durable", out->path);
    if (out->file) out->env->ops->close(out->env, out->file);
    if (out->buffer) mem_free(out->buffer, OUT_SIZE);
    return status;
}

static enum status put_store(struct saving *saving, struct out_part *out) {
    char content[3 * VARINT_MAX], *at = content;
    at = varint_put(at, saving->shards_count);
    at = varint_put(at, STORE_DATABASES);
    at = varint_put(at, 0); /* no resolution was ever set, as far as is known */
    return out_section(out, IMAGE_STORE, 0, 0, (struct bytes){ content, (size_t)(at - content) },
                       saving->why);
}

/* The shards of which nothing is known: no tables, and captured before any change. */
static enum status put_empty_shards(struct saving *saving, struct out_part *out) {
    static const char content[2] = { 0, 0 };
    enum status status = OK;
    for (uint32_t i = 0; i < saving->shards_count && status == OK; i++)
        if (!saving->shards[i].described)
            status = out_section(out, IMAGE_SHARD, (uint16_t)i, 0,
                                 (struct bytes){ content, sizeof content }, saving->why);
    return status;
}

static enum status put_end(struct saving *saving, struct out_part *out, uint32_t number) {
    char content[END_FIELDS * VARINT_MAX], *at = content;
    for (size_t i = 0; i < END_FIELDS; i++) at = varint_put(at, saving->shards[number].end[i]);
    return out_section(out, IMAGE_END, (uint16_t)number, 1,
                       (struct bytes){ content, (size_t)(at - content) }, saving->why);
}

static enum status put_missing_begin(struct saving *saving, struct out_part *out) {
    if (saving->store) return OK;
    enum status status = put_store(saving, out);
    return status == OK ? put_empty_shards(saving, out) : status;
}

static enum status put_one(struct saving *saving, struct out_part *out,
                           const struct snapshot_section *section, struct bytes content) {
    bool of_shard = section->kind >= IMAGE_SHARD && section->kind <= IMAGE_END;
    if (of_shard && section->shard >= saving->shards_count) return OK;
    if (section->kind == IMAGE_END) {
        bool ended = saving->shards[section->shard].ended;
        return ended ? put_end(saving, out, section->shard) : OK;
    }
    if (section->kind == IMAGE_KEYS && !saving->shards[section->shard].described) return OK;
    enum status status =
        out_section(out, section->kind, section->shard, section->count, content, saving->why);
    if (status != OK || section->kind != IMAGE_STORE) return status;
    return put_empty_shards(saving, out);
}

static enum status put_missing_end(struct saving *saving, struct out_part *out) {
    enum status status = OK;
    for (uint32_t i = 0; i < saving->shards_count && status == OK; i++)
        if (!saving->shards[i].ended) status = put_end(saving, out, i);
    if (status == OK && !saving->pins)
        status = out_section(out, IMAGE_PINS, 0, 0, (struct bytes){ "", 0 }, saving->why);
    return status;
}

static enum status write_part(struct saving *saving, bool past) {
    struct base_file base;
    struct out_part out;
    enum status status = open_part(saving, past, &base);
    if (status != OK) return status;
    status = out_open(saving, past, &out);
    if (status == OK && !past) status = put_missing_begin(saving, &out);
    while (status == OK) {
        struct snapshot_section section;
        struct bytes content;
        uint64_t at;
        status = base_file_next(&base, ALL_SECTIONS, &section, &content, &at, saving->why);
        if (status == OK && past == (section.kind == IMAGE_PAST))
            status = put_one(saving, &out, &section, content);
    }
    if (status == NOT_FOUND) status = past ? OK : put_missing_end(saving, &out);
    base_file_close(&base);
    status = out_close(&out, status, saving->why);
    if (past)
        saving->base->past_size = out.size;
    else
        saving->base->keys_size = out.size;
    return status;
}

static enum status save(struct saving *saving) {
    enum status status = look_at(saving, false);
    if (status != OK) return status;
    bool had_past = saving->base->past_size != 0 || saving->base->keys_size == 0;
    if (had_past) status = look_at(saving, true);
    bool past = had_past && status == OK;
    if (status != OK && status != NOT_FOUND) return status;
    if (saving->shards_count == 0)
        return problem_set(saving->why, NOT_FOUND, 0,
                           "the snapshot does not say how many shards there were");
    date(saving);
    saving->losses->shards = saving->shards_count;
    bool expected = saving->base->past_size != 0;
    settle(saving);
    saving->base->past_size = 0;
    status = write_part(saving, false);
    if (status == OK && past) status = write_part(saving, true);
    saving->losses->whole =
        saving->whole[0] && (past ? saving->whole[1] : !expected) && !saving->losses->past_lost;
    return status;
}

enum status base_salvage(struct env *env, const char *from, const char *to, uint32_t shards,
                         struct manifest_base *base, struct base_losses *losses,
                         struct problem *why) {
    *losses = (struct base_losses){ .whole = false };
    size_t size = SHARDS_MAX * sizeof(struct saved_shard);
    struct saving saving = { .env = env,
                             .from = from,
                             .to = to,
                             .shards_count = shards,
                             .base = base,
                             .losses = losses,
                             .shards = mem_new_zero(size),
                             .why = why };
    enum status status = save(&saving);
    mem_free(saving.shards, size);
    return status;
}
