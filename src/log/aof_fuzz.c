/* aof_fuzz.c: whatever the bytes of an append-only log or of its manifest, reading it ends with a
 * status, and nobody is told anything of one that is refused.
 * The input: one byte (even: the log; odd: the manifest, beside a log named x), then the bytes. */
#include "base/assert.h"
#include "base/env.h"
#include "log/aof.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 64 * 1024 };

struct told {
    uint64_t keys, commands;
};

static enum status tell_key(void *self, const struct rdb_key *key, struct problem *why) {
    struct told *told = self;
    (void)key;
    (void)why;
    told->keys++;
    return OK;
}

static enum status tell_command(void *self, const struct bytes *args, size_t count,
                                struct problem *why) {
    struct told *told = self;
    (void)why;
    assert(count > 0);
    for (size_t i = 0; i < count; i++) assert(args[i].len == 0 || args[i].data);
    told->commands++;
    return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > INPUT_MAX) return 0;
    bool manifest = data[0] & 1;
    struct bytes input = { (const char *)data + 1, size - 1 };
    struct env *env = env_sim_new(1);
    struct told told = { 0 };
    struct aof_visitor visitor = { .key = tell_key, .command = tell_command, .self = &told };
    struct aof_report report;
    struct problem why = { 0 };
    const char *path = manifest ? "a.manifest" : "x";
    enum status status = OK;
    if (manifest) status = env_replace_file(env, "x", BYTES("*1\r\n$4\r\nPING\r\n"), &why);
    assert(status == OK);
    status = env_replace_file(env, path, input, &why);
    assert(status == OK);
    status = aof_read(env, path, &visitor, &report, &why);
    assert(status == OK || why.status == status);
    assert(status == OK || (told.keys == 0 && told.commands == 0));
    assert(status != OK || report.rdb.keys == told.keys);
    assert(report.dropped <= input.len + sizeof "*1\r\n$4\r\nPING\r\n");
    env_sim_free(env);
    return 0;
}
