#include "base_file.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"

enum {
    WINDOW = 1024 * 1024,
    LOOKALIKES_MAX = 64, /* bytes of false sections may be checked so many times the file's size */
};

static enum status fill(struct base_file *base, uint64_t at, size_t len, struct problem *why) {
    size_t cap = len > WINDOW ? len : WINDOW;
    if (cap > base->cap || (base->cap > WINDOW && cap == WINDOW)) {
        mem_free(base->window, base->cap);
        base->cap = base->len = 0;
        base->window = mem_try(cap);
        if (!base->window)
            return problem_set(why, NO_MEMORY, 0, "no memory to read %s", base->path);
        base->cap = cap;
    }
    base->window_at = at;
    base->len = 0;
    while (base->len < cap) {
        int64_t n = base->env->ops->pread(base->env, base->file, base->window + base->len,
                                          cap - base->len, at + base->len);
        if (n < 0) return problem_set(why, IO, (int)-n, "cannot read %s", base->path);
        if (n == 0) break;
        base->len += (size_t)n;
    }
    return OK;
}

/* The `len` bytes at `at`, fewer only if the file ends; borrowed until the next call. */
static enum status view(struct base_file *base, uint64_t at, size_t len, struct bytes *out,
                        struct problem *why) {
    bool there = at >= base->window_at && at - base->window_at <= base->len &&
                 base->len - (at - base->window_at) >= len;
    if (!there) {
        enum status status = fill(base, at, len, why);
        if (status != OK) return status;
    }
    size_t skipped = (size_t)(at - base->window_at), left = base->len - skipped;
    *out = (struct bytes){ base->window + skipped, left < len ? left : len };
    return OK;
}

static enum status read_header(struct base_file *base, struct problem *why) {
    struct bytes header;
    base->header_status = CORRUPT;
    enum status status = view(base, 0, SNAPSHOT_HEADER, &header, why);
    if (status != OK || header.len < SNAPSHOT_HEADER) return status;
    if (memcmp(header.data, SNAPSHOT_MAGIC, 8) != 0) return OK;
    if (get_le(header.data + SNAPSHOT_HEADER_CRC, 4) != crc32c(0, header.data, SNAPSHOT_HEADER_CRC))
        return OK;
    base->version = (uint32_t)get_le(header.data + 8, 4);
    base->features = (uint32_t)get_le(header.data + 12, 4);
    bool known = base->version == SNAPSHOT_VERSION && base->features == 0;
    base->header_status = known ? OK : UNSUPPORTED;
    base->generation = get_le(header.data + 16, 8);
    base->id = get_le(header.data + 24, 8);
    base->past = header.data[32] != 0;
    return OK;
}

enum status base_file_open(struct base_file *base, struct env *env, const char *path, uint64_t id,
                           struct problem *why) {
    *base = (struct base_file){ .env = env, .id = id, .at = SNAPSHOT_HEADER };
    snprintf(base->path, sizeof base->path, "%s", path);
    int error = env->ops->open(env, path, ENV_READ, &base->file);
    if (error < 0)
        return problem_set(why, error == -ENOENT ? NOT_FOUND : IO, -error, "cannot open %s", path);
    int64_t size = env->ops->size(env, base->file);
    enum status status = OK;
    if (size < 0)
        status = problem_set(why, IO, (int)-size, "cannot look at %s", path);
    else
        base->size = (uint64_t)size;
    if (status == OK) status = read_header(base, why);
    if (status != OK) base_file_close(base);
    return status;
}

void base_file_close(struct base_file *base) {
    base->env->ops->close(base->env, base->file);
    mem_free(base->window, base->cap);
    base->file = NULL;
    base->window = NULL;
    base->cap = base->len = 0;
}

const char *section_name(uint8_t kind) {
    switch (kind) {
    case IMAGE_STORE: return "store";
    case IMAGE_SHARD: return "shard";
    case IMAGE_KEYS: return "keys";
    case IMAGE_PAST: return "past";
    case IMAGE_END: return "end";
    case IMAGE_ACTORS: return "actors";
    case IMAGE_PINS: return "pins";
    case SNAPSHOT_TRAILER: return "trailer";
    default: return NULL;
    }
}

/* Whether these bytes can be the first of a section that ends in the file. */
static bool plausible(const struct base_file *base, uint64_t at, const char *head) {
    if (head[1] || get_le(head + 16, 4) || !section_name((uint8_t)head[0])) return false;
    return get_le(head + 12, 4) <= base->size - at - SNAPSHOT_SECTION;
}

static bool is_wanted(uint32_t wanted, uint8_t kind) {
    return kind == SNAPSHOT_TRAILER || wanted >> kind & 1;
}

/* The section at `at`. NOT_FOUND: there is no whole one. */
static enum status read_section(struct base_file *base, uint64_t at, uint32_t wanted,
                                struct snapshot_section *out, struct bytes *content,
                                struct problem *why) {
    struct bytes bytes;
    enum status status = view(base, at, SNAPSHOT_SECTION, &bytes, why);
    if (status != OK) return status;
    if (bytes.len < SNAPSHOT_SECTION || !plausible(base, at, bytes.data)) return NOT_FOUND;
    *out = snapshot_get_section(bytes.data);
    *content = (struct bytes){ NULL, 0 };
    if (!is_wanted(wanted, out->kind)) return OK;
    size_t len = SNAPSHOT_SECTION + (size_t)out->len;
    status = view(base, at, len, &bytes, why);
    if (status != OK) return status;
    if (bytes.len < len) return NOT_FOUND;
    *content = (struct bytes){ bytes.data + SNAPSHOT_SECTION, out->len };
    uint32_t crc = crc32c(snapshot_crc(base->id, bytes.data), content->data, content->len);
    if (crc == out->crc) return OK;
    base->doubts += len;
    return NOT_FOUND;
}

/* The next whole section behind damage. */
static enum status seek(struct base_file *base, uint64_t *at, struct snapshot_section *out,
                        struct bytes *content, struct problem *why) {
    while (*at + SNAPSHOT_SECTION <= base->size) {
        enum status status = read_section(base, *at, ALL_SECTIONS, out, content, why);
        if (status != NOT_FOUND) return status;
        if (base->doubts / LOOKALIKES_MAX > base->size) break;
        ++*at;
    }
    *at = base->size;
    return NOT_FOUND;
}

static bool trailer_fits(const struct base_file *base, uint64_t at, struct bytes content) {
    return content.len == SNAPSHOT_TRAILER_SIZE && get_le(content.data, 8) == base->sections + 1 &&
           get_le(content.data + 8, 8) == base->rows &&
           get_le(content.data + 16, 8) == base->size &&
           at + SNAPSHOT_SECTION + SNAPSHOT_TRAILER_SIZE == base->size;
}

enum status base_file_next(struct base_file *base, uint32_t wanted, struct snapshot_section *out,
                           struct bytes *content, uint64_t *at, struct problem *why) {
    if (base->at >= base->size) return NOT_FOUND;
    *at = base->at;
    enum status status = read_section(base, *at, wanted, out, content, why);
    if (status == NOT_FOUND) {
        status = seek(base, at, out, content, why);
        if (status != OK && status != NOT_FOUND) return status;
        base->damaged += *at - base->at;
    }
    base->at = *at;
    if (status != OK) return status;
    base->at += SNAPSHOT_SECTION + (uint64_t)out->len;
    if (out->kind == SNAPSHOT_TRAILER) {
        base->trailer = base->damaged == 0 && trailer_fits(base, *at, *content);
        return NOT_FOUND;
    }
    base->sections++;
    base->rows += out->count;
    return OK;
}
