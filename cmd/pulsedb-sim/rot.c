/* rot.c: after a stop in order, one file is not what was written: a bit of it has turned, or its end is gone.
 *
 * A start may refuse, or find everything all the same; nothing between. When it has refused it must have
 * harmed nothing: with the file as it was, everything is there. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "base/env.h"
#include "base/mem.h"
#include "sim.h"

enum { FILE_MAX = 1 << 30 };

struct pick {
    struct sim *sim;
    uint64_t seen;
    char name[NAME_MAX + 1];
};

static bool pick_file(void *self, const char *name) {
    struct pick *pick = self;
    if (one_in(pick->sim, ++pick->seen)) snprintf(pick->name, sizeof pick->name, "%s", name);
    return true;
}

static void damage(struct sim *sim, struct env_file *file, const char *path, size_t size) {
    const struct env_ops *ops = sim->env->ops;
    uint64_t at = below(sim, size);
    if (one_in(sim, 3)) {
        (void)ops->truncate(sim->env, file, at);
        trace(sim, "-- %s is cut off at %" PRIu64 " of %zu", path, at, size);
        return;
    }
    char byte = 0;
    (void)ops->pread(sim->env, file, &byte, 1, at);
    byte ^= (char)(1 << below(sim, 8));
    (void)ops->pwrite(sim->env, file, &byte, 1, at);
    trace(sim, "-- a bit of %s is flipped at %" PRIu64 " of %zu", path, at, size);
}

bool rot_begin(struct sim *sim, struct rot *rot) {
    struct env *env = sim->env;
    struct pick pick = { .sim = sim };
    if (env->ops->list(env, "data", pick_file, &pick) != 0 || pick.seen == 0) return false;
    snprintf(rot->path, sizeof rot->path, "data/%s", pick.name);
    if (env_read_file(env, rot->path, FILE_MAX, &rot->content, NULL) != OK) return false;
    struct env_file *file;
    if (rot->content.len == 0 || env->ops->open(env, rot->path, ENV_READ | ENV_WRITE, &file) != 0)
        return false;
    damage(sim, file, rot->path, rot->content.len);
    env->ops->close(env, file);
    return true;
}

void rot_end(struct sim *sim, struct rot *rot, bool mend) {
    struct env *env = sim->env;
    struct env_file *file;
    if (mend && env->ops->open(env, rot->path, ENV_READ | ENV_WRITE, &file) == 0) {
        (void)env->ops->pwrite(env, file, rot->content.data, rot->content.len, 0);
        env->ops->close(env, file);
        trace(sim, "-- %s is as it was", rot->path);
    }
    mem_free((void *)(uintptr_t)rot->content.data, rot->content.len);
}
