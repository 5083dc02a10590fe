/* import.c: data of a Redis: its RDB file key by key, its append-only file command by command, as one client. */
#include <errno.h>
#include <string.h>

#include "base/env.h"
#include "base/log.h"
#include "base/mem.h"
#include "command/acl.h"
#include "command/batch.h"
#include "log/aof.h"
#include "log/rdb_export.h"
#include "program.h"
#include "proto/reply.h"
#include "store/store.h"

struct import {
    struct program *program;
    struct worker *worker;
    struct batch *batch;
    struct session session;
    struct out out;
    struct reply reply;
};

static enum status take_key(void *self, const struct rdb_key *key, struct problem *why) {
    struct import *import = self;
    return rdb_import_key(import->program->pulse.store, import->worker, key, why);
}

/* The first line of an error reply, without its dash. */
static struct bytes error_of(const struct out *out) {
    const char *end = memchr(out->data, '\r', out->len);
    return (struct bytes){ out->data + 1, end ? (size_t)(end - out->data) - 1 : out->len - 1 };
}

static enum status take_command(void *self, const struct bytes *args, size_t count,
                                struct problem *why) {
    struct import *import = self;
    uint64_t errors = import->reply.errors;
    (void)batch_run_one(import->batch, &import->session, &import->reply, args, count);
    enum status status = OK;
    if (import->reply.errors != errors) {
        struct bytes error = error_of(&import->out);
        status = problem_set(why, UNSUPPORTED, 0, "the command %.*s was refused: %.*s",
                             (int)(args[0].len < 32 ? args[0].len : 32), args[0].data,
                             (int)(error.len < 120 ? error.len : 120), error.data);
    }
    out_sent(&import->out, out_pending(&import->out), 0);
    return status;
}

static enum status import_aof(struct program *program, struct worker *worker, const char *path,
                              struct problem *why) {
    struct pulse *pulse = &program->pulse;
    struct import *import = mem_new_zero(sizeof *import);
    import->program = program;
    import->worker = worker;
    import->batch = batch_new(pulse, worker);
    out_init(&import->out);
    import->reply = (struct reply){ .writer = &resp2_writer, .out = &import->out };
    session_init(&import->session, pulse, "import", "import", -1, NULL);
    acl_trust(&import->session);
    /* What was alive when a command was given is alive for it now. */
    worker_stop_time(worker);
    session_flag_set(&import->session, SESSION_LOADER, true);
    struct aof_report report;
    struct aof_visitor visitor = { take_key, take_command, import };
    enum status status = aof_read(pulse->env, path, &visitor, &report, why);
    if (status == OK) {
        log_line(pulse->log, LOG_NOTICE, "Imported Redis' append-only files", LOG_S("path", path),
                 LOG_I("files", (int64_t)report.files), LOG_I("keys", (int64_t)report.rdb.keys),
                 LOG_I("commands", (int64_t)report.commands));
        if (report.dropped)
            log_line(pulse->log, LOG_WARNING,
                     "The end of the last file was not whole: it was left out, as Redis does",
                     LOG_S("file", report.last), LOG_I("bytes", (int64_t)report.dropped));
    }
    session_deinit(&import->session, pulse);
    out_deinit(&import->out);
    import->batch = batch_free(import->batch);
    mem_free(import, sizeof *import);
    return status;
}

static enum status import_rdb(struct program *program, struct worker *worker, const char *path,
                              struct problem *why) {
    struct pulse *pulse = &program->pulse;
    struct rdb_report report;
    enum status status = rdb_import(pulse->env, path, pulse->store, worker, &report, why);
    if (status != OK) return status;
    log_line(pulse->log, LOG_NOTICE, "Imported an RDB file", LOG_S("path", path),
             LOG_I("version", report.version), LOG_I("keys", (int64_t)report.keys),
             LOG_I("expired", (int64_t)report.expired));
    return OK;
}

/* An RDB file alone, or something that begins with one (an append-only file): by what comes after it. */
static bool is_rdb(struct env *env, const char *path) {
    size_t len = strlen(path);
    if (len > 4 && strcmp(path + len - 4, ".rdb") == 0) return true;
    char magic[6] = "";
    struct env_file *file;
    if (len > 4 && strcmp(path + len - 4, ".aof") == 0) return false;
    if (env->ops->open(env, path, ENV_READ, &file) != 0) return false;
    bool read = env->ops->pread(env, file, magic, sizeof magic, 0) == sizeof magic;
    env->ops->close(env, file);
    return read && (memcmp(magic, "REDIS", 5) == 0 || memcmp(magic, "VALKEY", 6) == 0);
}

enum status import_file(struct program *program, const char *path, struct problem *why) {
    struct worker *worker = worker_new(program->pulse.store);
    worker_tick(worker);
    enum status status = is_rdb(program->pulse.env, path) ? import_rdb(program, worker, path, why)
                                                          : import_aof(program, worker, path, why);
    worker_free(worker);
    return status;
}
