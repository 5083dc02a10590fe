/* process.c: the server's core in the simulated world, wired as pulsedb's main does it: settings, store,
 * log and commands. There is one thread, which calls in turn what are threads there. */
#include "base/env.h"
#include "base/log.h"
#include "command/observe.h"
#include "sim.h"
#include "store/store.h"

enum { WORKERS = 4 };

bool process_runs(const struct sim *sim) {
    return sim->process.worker != NULL;
}

static struct persist_settings settings_of(const struct sim *sim) {
    struct persist_settings settings = {
        .appendonly = sim->appendonly,
        .fsync = sim->fsync,
        .history_persist = sim->character.history_persist,
        .snapshot_log_bytes = sim->character.snapshot_log_bytes,
    };
    if (sim->character.save_changes > 0) {
        settings.save[0].seconds = 1;
        settings.save[0].changes = sim->character.save_changes;
        settings.save_count = 1;
    }
    return settings;
}

static bool log_configured(void *self, enum setting_id id, struct problem *why) {
    (void)id;
    (void)why;
    struct sim *sim = self;
    struct settings *now = sim->process.pulse.settings;
    promises_change(sim, (enum persist_fsync)setting_int(now, appendfsync),
                    setting_int(now, appendonly));
    struct persist_settings settings = settings_of(sim);
    persist_configure(sim->process.pulse.persist, &settings);
    return true;
}

/* As server_log_moved: commands that write ask the gate. */
static void log_moved(void *self) {
    static const char *const states[] = {
        [PERSIST_RECOVERING] = "recovering", [PERSIST_OFF] = "off",
        [PERSIST_LOGGING] = "logging",       [PERSIST_REFUSING] = "refusing",
        [PERSIST_BROKEN] = "broken",
    };
    struct sim *sim = self;
    struct pulse *pulse = &sim->process.pulse;
    enum persist_state state = persist_state(pulse->persist);
    if (state == PERSIST_LOGGING && sim->process.state == PERSIST_OFF)
        promises_change(sim, sim->fsync, true);
    if (state != sim->process.state) trace(sim, "-- the log is %s", states[state]);
    sim->process.state = state;
    if (state == PERSIST_LOGGING || state == PERSIST_OFF) sim->process.waits = false;
    const char *refusal = persist_refusal(pulse->persist);
    atomic_store(&pulse->refusal, refusal);
    atomic_store(&pulse->gates, refusal ? PULSE_REFUSING : 0);
}

static enum status recover(struct sim *sim, struct problem *why) {
    struct pulse *pulse = &sim->process.pulse;
    struct persist_options options = {
        .env = sim->env,
        .log = pulse->log,
        .dir = "data",
        .segment_size = sim->character.segment_size,
        .moved = log_moved,
        .self = sim,
    };
    unsigned shards = sim->character.shards;
    struct siphash_key seed;
    env_random(sim->env, &seed, sizeof seed);
    pulse->persist = persist_new(&options, &shards, &seed, why);
    if (!pulse->persist) return why->status;
    pulse->store = store_new(&(struct store_options){ .env = sim->env,
                                                      .shards = shards,
                                                      .databases = DBS,
                                                      .workers_max = WORKERS,
                                                      .seed = &seed });
    struct persist_settings settings = settings_of(sim);
    return persist_recover(pulse->persist, pulse->store, &settings, why);
}

/* From the newest to the oldest; takes a half-built process too. */
static void unmake(struct sim *sim) {
    struct process *process = &sim->process;
    struct pulse *pulse = &process->pulse;
    process->batch = batch_free(process->batch);
    if (process->worker) process->worker = worker_free(process->worker);
    pulse->persist = persist_free(pulse->persist);
    pulse->store = store_free(pulse->store);
    pulse->observer = observer_free(pulse->observer);
    pulse->sessions = sessions_free(pulse->sessions);
    pulse->settings = settings_free(pulse->settings);
    pulse->log = log_free(pulse->log);
}

static struct bytes fsync_word(enum persist_fsync fsync) {
    return fsync == PERSIST_ALWAYS ? BYTES("always")
           : fsync == PERSIST_NO   ? BYTES("no")
                                   : BYTES("everysec");
}

enum status process_start(struct sim *sim, struct problem *why) {
    struct process *process = &sim->process;
    *process = (struct process){};
    struct pulse *pulse = &process->pulse;
    pulse->env = sim->env;
    pulse->log = log_new(sim->env);
    log_configure(pulse->log, sim->verbose ? LOG_DEBUG : LOG_NOTHING, LOG_FORMAT_LOGFMT,
                  LOG_TIME_ISO8601);
    pulse->settings = settings_new();
    enum status status =
        settings_set(pulse->settings, SETTING_ID_appendfsync, fsync_word(sim->fsync), why);
    if (status == OK)
        status = settings_set(pulse->settings, SETTING_ID_appendonly,
                              sim->appendonly ? BYTES("yes") : BYTES("no"), why);
    if (status == OK) /* how long a command takes there is no part of the simulated world */
        status =
            settings_set(pulse->settings, SETTING_ID_slowlog_log_slower_than, BYTES("-1"), why);
    settings_on_change(pulse->settings, SETTING_ID_appendfsync, log_configured, sim);
    settings_on_change(pulse->settings, SETTING_ID_appendonly, log_configured, sim);
    pulse->sessions = sessions_new();
    pulse->observer = observer_new(sim->env, pulse->settings);
    pulse->commands = sim->commands;
    pulse->started_ms = (int64_t)(env_realtime_ns(sim->env) / 1'000'000);
    if (status == OK) status = recover(sim, why);
    if (status != OK) {
        unmake(sim);
        return status;
    }
    process->waits = persist_state(pulse->persist) == PERSIST_REFUSING;
    process->worker = worker_new(pulse->store);
    process->batch = batch_new(pulse, process->worker);
    clients_connect(sim);
    return OK;
}

void process_kill(struct sim *sim) {
    env_sim_power(sim->env, false);
    if (process_runs(sim)) clients_leave(sim);
    unmake(sim);
    env_sim_power(sim->env, true);
}

/* As main's: without a log a last snapshot is all there is. */
enum status process_stop(struct sim *sim, struct problem *why) {
    struct persist *persist = sim->process.pulse.persist;
    enum status status = OK;
    if (persist_state(persist) == PERSIST_OFF) status = persist_save(persist, true, why);
    if (status == OK) status = persist_stop(persist, true, why);
    if (status != OK) {
        process_kill(sim);
        return status;
    }
    clients_leave(sim);
    unmake(sim);
    return OK;
}
