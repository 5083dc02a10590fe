#include "store/blob.h"

#include "base/assert.h"
#include "base/mem.h"

static size_t blob_size(uint64_t cap) {
    return sizeof(struct blob) + cap;
}

struct blob *blob_try(uint64_t len, uint64_t cap) {
    assert(len <= cap);
    size_t size = mem_class(blob_size(cap)); /* the class's slack is room to grow */
    struct blob *blob = size < MEM_TRY_MIN ? mem_new(size) : mem_try(size);
    if (!blob) return NULL;
    blob->refs = 1;
    blob->unused = 0;
    blob->len = len;
    blob->cap = size - sizeof(struct blob);
    return blob;
}

struct blob *blob_of(struct bytes bytes) {
    struct blob *blob = blob_try(bytes.len, bytes.len);
    if (blob && bytes.len) memcpy(blob->data, bytes.data, bytes.len);
    return blob;
}

struct blob *blob_ref(struct blob *blob) {
    uint32_t before = atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    assert(before > 0);
    return blob;
}

void blob_unref(struct blob *blob) {
    if (!blob) return;
    uint32_t before = atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1) mem_free(blob, blob_size(blob->cap));
}

size_t blob_memory(const struct blob *blob) {
    return mem_class(blob_size(blob->cap));
}

void blob_release(void *blob) {
    blob_unref(blob);
}
