/* blob.h: a string too large to lie in its entry.
 *
 * Shared by reference count between the live entry, the history and replies on their way out. A
 * blob that more than one may see never changes; a blob that is a BUFFER entry's only may grow in
 * place under its shard's lock, until it moves into history. Thread: references any.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/bytes.h"

struct blob {
    _Atomic uint32_t refs;
    uint32_t unused;
    uint64_t len; /* bytes of content */
    uint64_t cap; /* bytes of room in `data` */
    char data[];
};

/* One reference, the caller's. Content of `len` bytes is not yet there. NULL when memory is refused. */
struct blob *blob_try(uint64_t len, uint64_t cap);
struct blob *
blob_of(struct bytes bytes); /* a copy; never NULL (below MEM_TRY_MIN) or NULL when refused */
struct blob *blob_ref(struct blob *blob);
void blob_unref(struct blob *blob);          /* NULL is fine */
size_t blob_memory(const struct blob *blob); /* what the allocator sets aside for it */
void blob_release(void *blob);               /* blob_unref, as out_put_ref wants it */

static inline struct bytes blob_bytes(const struct blob *blob) {
    return (struct bytes){ blob->data, blob->len };
}
