/* env.c: what can be said of files without knowing which world they are in. */
#include "base/env.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

/* Fills data[0..*len) or, when the file ends before that, lowers *len. */
static int read_whole(struct env *env, struct env_file *file, char *data, size_t *len) {
    size_t done = 0;
    while (done < *len) {
        int64_t n = env->ops->pread(env, file, data + done, *len - done, done);
        if (n < 0) return (int)n;
        if (n == 0) break;
        done += (size_t)n;
    }
    *len = done;
    return 0;
}

static int write_whole(struct env *env, struct env_file *file, struct bytes content) {
    size_t done = 0;
    while (done < content.len) {
        int64_t n = env->ops->pwrite(env, file, content.data + done, content.len - done, done);
        if (n < 0) return (int)n;
        if (n == 0) return -EIO; /* a file that takes nothing never will */
        done += (size_t)n;
    }
    return 0;
}

static enum status read_opened(struct env *env, struct env_file *file, const char *path,
                               size_t limit, struct bytes *out, struct problem *why) {
    int64_t file_size = env->ops->size(env, file);
    if (file_size < 0)
        return problem_set(why, IO, (int)-file_size, "cannot learn the size of %s", path);
    size_t size = (size_t)file_size;
    if (size > limit)
        return problem_set(why, LIMIT, 0, "%s has %zu bytes, more than the %zu allowed", path, size,
                           limit);
    if (size == 0) {
        *out = (struct bytes){};
        return OK;
    }
    char *data = mem_try(size);
    if (!data)
        return problem_set(why, NO_MEMORY, 0, "no memory for the %zu bytes of %s", size, path);
    size_t len = size;
    int error = read_whole(env, file, data, &len);
    if (error < 0) {
        mem_free(data, size);
        return problem_set(why, IO, -error, "cannot read %s", path);
    }
    if (len == 0) {
        mem_free(data, size);
        data = NULL;
    } else if (len < size) { /* it shrank meanwhile */
        data = mem_resize(data, size, len);
    }
    *out = (struct bytes){ data, len };
    return OK;
}

enum status env_read_file(struct env *env, const char *path, size_t limit, struct bytes *out,
                          struct problem *why) {
    struct env_file *file;
    int error = env->ops->open(env, path, ENV_READ, &file);
    if (error < 0)
        return problem_set(why, error == -ENOENT ? NOT_FOUND : IO, -error, "cannot open %s", path);
    enum status status = read_opened(env, file, path, limit, out, why);
    env->ops->close(env, file);
    return status;
}

/* The folder that holds `path`'s name. */
static void folder_of(const char *path, char out[PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    size_t len = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
    assert(len < PATH_MAX);
    memcpy(out, path, len);
    out[len] = '\0';
    if (len == 0) memcpy(out, ".", 2);
}

static int write_durably(struct env *env, const char *path, struct bytes content) {
    struct env_file *file;
    int error = env->ops->open(env, path, ENV_WRITE | ENV_TRUNCATE, &file);
    if (error < 0) return error;
    error = write_whole(env, file, content);
    if (error == 0) error = env->ops->sync(env, file);
    env->ops->close(env, file);
    return error;
}

enum status env_replace_file(struct env *env, const char *path, struct bytes content,
                             struct problem *why) {
    char temporary[PATH_MAX], folder[PATH_MAX];
    int len = snprintf(temporary, sizeof temporary, "%s.tmp", path);
    if (len < 0 || (size_t)len >= sizeof temporary)
        return problem_set(why, IO, ENAMETOOLONG, "cannot write a file with a name that long");
    folder_of(path, folder);

    int error = write_durably(env, temporary, content);
    if (error == 0) error = env->ops->rename(env, temporary, path);
    if (error < 0) {
        (void)env->ops->unlink(env,
                               temporary); /* a leftover would be overwritten by the next try */
        return problem_set(why, IO, -error, "cannot write %s", path);
    }
    error = env->ops->sync_dir(env, folder);
    if (error < 0) return problem_set(why, IO, -error, "cannot make %s durable", path);
    return OK;
}
