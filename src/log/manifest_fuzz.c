/* manifest_fuzz.c: whatever the text, manifest_parse reads nothing beyond it; what it accepts can be written and
 * read again, and is the same.
 * The input: one byte that says whether the checksum is put right, then the text without its last line. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/env.h"
#include "log/crc32c.h"
#include "log/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 4096, CRC_LINE = sizeof "crc 01234567\n" - 1 };

static void check_again(const struct manifest *manifest) {
    struct env *env = env_sim_new(1);
    struct manifest again;
    enum status status = manifest_write(env, ".", manifest, NULL);
    assert(status == OK);
    status = manifest_read(env, ".", &again, NULL);
    assert(status == OK);
    assert(again.logs_count == manifest->logs_count);
    for (size_t i = 0; i < again.logs_count; i++)
        assert(memcmp(&again.logs[i], &manifest->logs[i], sizeof again.logs[i]) == 0);
    assert(memcmp(&again.base, &manifest->base, sizeof again.base) == 0);
    assert(again.shards == manifest->shards);
    assert(again.clean_seq == manifest->clean_seq && again.clean_cut == manifest->clean_cut);
    manifest_deinit(&again);
    env_sim_free(env);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > INPUT_MAX) return 0;
    bool mend = data[0] & 1;
    size_t len = size - 1, whole = len + (mend ? CRC_LINE : 0);
    char *text = malloc(whole + !whole); /* memory of its own: nothing lies behind it */
    memcpy(text, data + 1, len);
    if (mend) {
        char line[CRC_LINE + 1];
        snprintf(line, sizeof line, "crc %08x\n", crc32c(0, text, len));
        memcpy(text + len, line, CRC_LINE);
    }
    struct manifest manifest;
    struct problem why = {};
    enum status status = manifest_parse((struct bytes){ text, whole }, &manifest, &why);
    assert(status == OK || status == CORRUPT || status == UNSUPPORTED);
    if (status == OK) {
        check_again(&manifest);
        manifest_deinit(&manifest);
    } else {
        assert(why.status == status && why.text[0] != '\0');
    }
    free(text);
    return 0;
}
