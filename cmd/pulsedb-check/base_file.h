/* base_file.h: the sections that are whole in one file of a snapshot, damage or not.
 *
 * Whether a snapshot is good is snapshot_verify's to say. Here a file is looked at for itself:
 * for describing it, and for saving what can be saved. A section proves itself by its checksum,
 * so the next whole one can be found behind any damage. */
#pragma once

#include <limits.h>

#include "base/env.h"
#include "log/snapshot_file.h"
#include "store/image.h"

struct base_file {
    struct env *env;
    struct env_file *file;
    char path[PATH_MAX];
    uint64_t size, at; /* at: of the next section */
    /* The header, as far as it is true: */
    enum status header_status; /* OK, CORRUPT, UNSUPPORTED */
    uint64_t generation, id;
    uint32_t version, features;
    bool past;
    /* So far: */
    uint64_t sections, rows;
    uint64_t damaged; /* bytes that were passed over */
    bool trailer;     /* it was reached, and fits what came before it */
    uint64_t doubts;
    char *window;
    size_t cap, len;
    uint64_t window_at;
};

/* `id` seeds the checksums if the header does not say (0: not known). NOT_FOUND, IO; a bad
 * header is told in header_status. After OK: base_file_close. */
MUST_USE enum status base_file_open(struct base_file *base, struct env *env, const char *path,
                                    uint64_t id, struct problem *why);
void base_file_close(struct base_file *base);
/* The next whole section, where it lies, and its content, borrowed until the next call.
 * `wanted`: bits 1 << kind; a section of another kind is taken on the word of its header, and
 * its content is not read. NOT_FOUND: no more. */
#define ALL_SECTIONS UINT32_MAX
MUST_USE enum status base_file_next(struct base_file *base, uint32_t wanted,
                                    struct snapshot_section *out, struct bytes *content,
                                    uint64_t *at, struct problem *why);
/* The name of a section's kind; NULL: there is none of that number. */
const char *section_name(uint8_t kind);
