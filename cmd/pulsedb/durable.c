/* durable.c: the program's half of what makes it durable: settings, directory, start and end. */
#include <errno.h>
#include <stdlib.h>

#include "base/env.h"
#include "base/log.h"
#include "command/observe.h"
#include "history/instant.h"
#include "log/persist.h"
#include "program.h"
#include "server/server.h"
#include "store/store.h"

static void log_moved(void *self) {
    struct program *program = self;
    if (program->server) server_log_moved(program->server);
}

/* Redis' save rules. A log makes them needless: with one they count only if somebody has set them. */
static bool save_rules(struct settings *settings, struct persist_settings *out,
                       struct problem *why) {
    struct arena arena;
    arena_init(&arena);
    size_t count;
    struct bytes *words = settings_words(settings, SETTING_ID_save, &arena, &count);
    bool usual = out->appendonly && settings_is_default(settings, SETTING_ID_save);
    out->save_count = 0;
    bool ok = count % 2 == 0 && count / 2 <= COUNT_OF(out->save);
    for (size_t i = 0; ok && !usual && i + 1 < count; i += 2) {
        int64_t seconds = 0, changes = 0;
        ok = int_parse(words[i], &seconds) && int_parse(words[i + 1], &changes) && seconds >= 1 &&
             changes >= 0;
        out->save[out->save_count].seconds = (uint64_t)seconds;
        out->save[out->save_count++].changes = (uint64_t)changes;
    }
    arena_deinit(&arena);
    if (!ok)
        problem_set(why, INVALID, 0,
                    "Invalid save parameters: pairs of seconds and changes, at most %zu",
                    COUNT_OF(out->save));
    return ok;
}

static bool persist_settings_of(struct pulse *pulse, struct persist_settings *out,
                                struct problem *why) {
    struct settings *settings = pulse->settings;
    *out = (struct persist_settings){
        .appendonly = setting_int(settings, appendonly),
        .fsync = (enum persist_fsync)setting_int(settings, appendfsync),
        .history_persist = setting_int(settings, history_persist),
        .snapshot_log_bytes = (uint64_t)setting_int(settings, snapshot_log_bytes),
        .snapshot_rate = (uint64_t)setting_int(settings, snapshot_rate),
    };
    return save_rules(settings, out, why);
}

static bool configure_persist(void *self, enum setting_id id, struct problem *why) {
    (void)id;
    struct pulse *pulse = self;
    struct persist_settings settings;
    if (!persist_settings_of(pulse, &settings, why)) return false;
    persist_configure(pulse->persist, &settings);
    return true;
}

/* The directory decides how many shards there are and how keys are hashed; a new one takes our word. */
enum status durable_open(struct program *program, struct problem *why) {
    struct pulse *pulse = &program->pulse;
    if (!realpath(".", program->dir))
        return problem_set(why, IO, errno, "cannot find the directory: %s", strerror(errno));
    unsigned wanted = (unsigned)setting_int(pulse->settings, shards), shards = wanted;
    env_random(pulse->env, &program->seed, sizeof program->seed);
    struct persist_options options = { .env = pulse->env,
                                       .log = pulse->log,
                                       .dir = program->dir,
                                       .threads = true,
                                       .load_threads = server_threads(pulse->settings),
                                       .moved = log_moved,
                                       .self = program,
                                       .latency = &pulse->observer->latency };
    if (program->restore_to &&
        persist_peek(pulse->env, program->restore_path, &shards, &program->seed, why) != OK)
        return why->status;
    pulse->persist = persist_new(&options, &shards, &program->seed, why);
    if (!pulse->persist) return why->status;
    program->shards = shards;
    if (shards != wanted)
        log_line(pulse->log, LOG_NOTICE,
                 "The directory keeps the number of shards it was made with",
                 LOG_I("shards", shards), LOG_I("wanted", wanted));
    return OK;
}

static const enum setting_id settings_of_persist[] = {
    SETTING_ID_appendonly,         SETTING_ID_appendfsync,   SETTING_ID_history_persist,
    SETTING_ID_snapshot_log_bytes, SETTING_ID_snapshot_rate, SETTING_ID_save,
};

static enum status import(void *self, struct problem *why) {
    struct program *program = self;
    struct store_stats stats;
    store_stats(program->pulse.store, NULL, &stats);
    if (stats.keys)
        return problem_set(why, INVALID, 0,
                           "--import takes an empty directory, and there are %llu keys here: start "
                           "without it, or give it a new --dir",
                           (unsigned long long)stats.keys);
    return import_file(program, program->import_path, why);
}

enum status durable_load(struct program *program, struct problem *why) {
    struct pulse *pulse = &program->pulse;
    struct persist_settings settings;
    if (!persist_settings_of(pulse, &settings, why)) return INVALID;
    enum status status =
        program->import
            ? persist_import(pulse->persist, pulse->store, &settings, import, program, why)
            : persist_recover(pulse->persist, pulse->store, &settings, why);
    if (status != OK) return status;
    for (size_t i = 0; i < COUNT_OF(settings_of_persist); i++)
        settings_on_change(pulse->settings, settings_of_persist[i], configure_persist, pulse);
    /* What was said meanwhile, by CONFIG SET. */
    return configure_persist(pulse, SETTING_ID_appendonly, why) ? OK : INVALID;
}

enum status durable_restore(struct program *program, struct problem *why) {
    struct pulse *pulse = &program->pulse;
    struct persist_settings settings;
    uint64_t instant;
    if (!instant_parse(bytes_of(program->restore_to), env_realtime_ns(pulse->env), &instant))
        return problem_set(why, INVALID, 0,
                           "--restore-to takes an instant: Unix milliseconds, -10m, or "
                           "2026-11-23T05:41:00Z, not %s",
                           program->restore_to);
    if (!persist_settings_of(pulse, &settings, why)) return INVALID;
    enum status status = persist_restore(pulse->persist, pulse->store, &settings,
                                         program->restore_path, instant, why);
    if (status != OK) return status;
    status = persist_stop(pulse->persist, true, why);
    if (status == OK)
        log_line(pulse->log, LOG_NOTICE, "Restored. Start a server on it with --dir",
                 LOG_S("from", program->restore_path), LOG_S("dir", program->dir));
    return status;
}

/* Everything that was answered is on disk before we go. */
enum status durable_stop(struct program *program, struct problem *why) {
    struct pulse *pulse = &program->pulse;
    enum status status = OK;
    bool saves = atomic_load(&pulse->shutdown_save) != SHUTDOWN_NOSAVE;
    struct persist_settings settings;
    if (saves && !program->load_failed && persist_settings_of(pulse, &settings, why) &&
        persist_state(pulse->persist) == PERSIST_OFF &&
        (settings.save_count || atomic_load(&pulse->shutdown_save) == SHUTDOWN_SAVE)) {
        log_write(pulse->log, LOG_NOTICE, "Saving a last snapshot", NULL, 0);
        status = persist_save(pulse->persist, true, why);
    }
    enum status stopped = persist_stop(pulse->persist, !program->load_failed, why);
    return status != OK ? status : stopped;
}
