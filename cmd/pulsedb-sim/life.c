/* life.c: what happens to a database: commands, bad weather for its disk, death in many ways, and every
 * time a start that must find what was promised.
 *
 *     start ──► rounds: time passes, commands run, the log takes its turns, answers leave
 *       ▲          │
 *       │          ├── a power cut, anywhere, also between two file calls: what was synced is left, and of
 *       │          │   the rest whatever POSIX allows
 *       │          ├── the process is killed: what was written is left
 *       └──────────┴── it is stopped in order: everything is left; perhaps a byte is changed after that
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "base/env.h"
#include "base/env_sim_disk.h"
#include "sim.h"
#include "store/store.h"

enum {
    MS = 1'000'000,
    TURNS_MAX = 10'000, /* of a log that says that there is more to do at once */
    CHORES_NS = 1 * MS,
    STARTS_MAX = 20,
};
static const uint64_t HEALS_NS = 60'000'000'000; /* writes are taken again after so much calm */

/* ---- weather ---- */

static const struct env_sim_faults calm = { .write_ns = 5'000, .sync_ns = 300'000 };

static void calm_down(struct sim *sim) {
    env_sim_faults(sim->env, &calm);
    sim->calm_since_ns = env_monotonic_ns(sim->env);
    trace(sim, "-- calm");
}

static uint32_t some(struct sim *sim) {
    return one_in(sim, 3) ? 1'000'000 : (uint32_t)below(sim, 300'000);
}

static void storm(struct sim *sim) {
    struct env_sim_faults faults = calm;
    uint64_t kinds = 1 + below(sim, 63);
    if (kinds & 1) {
        faults.write_errors = some(sim);
        faults.write_error = one_in(sim, 2) ? EIO : ENOSPC;
    }
    if (kinds & 2) faults.sync_errors = some(sim);
    if (kinds & 4) faults.short_writes = some(sim);
    if (kinds & 8) faults.disk_size = 1 + below(sim, 1 << (14 + below(sim, 8)));
    if (kinds & 16) faults.sync_ns = (1 + below(sim, 3'000)) * MS;
    if (kinds & 32) faults.write_ns = (1 + below(sim, 20)) * MS;
    env_sim_faults(sim->env, &faults);
    sim->calm_since_ns = 0;
    trace(sim,
          "-- storm: %u write errors (%d), %u sync errors, %u short writes, disk %" PRIu64
          ", sync %" PRIu64 " ms, write %" PRIu64 " ms",
          faults.write_errors, faults.write_error, faults.sync_errors, faults.short_writes,
          faults.disk_size, faults.sync_ns / MS, faults.write_ns / MS);
}

static void weather(struct sim *sim) {
    if (sim->calm_since_ns == 0) {
        if (one_in(sim, 25)) calm_down(sim);
    } else if (sim->character.errors && one_in(sim, 120)) {
        storm(sim);
    }
}

static void step_clock(struct sim *sim) {
    if (!sim->character.clock_steps || !one_in(sim, 150)) return;
    static const uint64_t sizes[] = { 10 * MS, 1'000 * (uint64_t)MS, 3'600'000 * (uint64_t)MS };
    int64_t ns = (int64_t)below(sim, sizes[below(sim, 3)]);
    if (one_in(sim, 2)) ns = -ns;
    env_sim_step_realtime(sim->env, ns);
    trace(sim, "-- the clock is set by %" PRId64 " ms", ns / MS);
}

/* ---- starts ---- */

/* How the last process ended decides what must be found. */
struct ending {
    bool cut;   /* the power was cut since */
    bool whole; /* it was stopped in order */
};

static void cut_power(struct sim *sim, struct ending *ending) {
    if (process_runs(sim)) promises_ripen(sim);
    process_kill(sim);
    bool torn = !one_in(sim, 4);
    trace(sim, "-- power cut%s", torn ? ", torn" : "");
    if (torn)
        env_sim_crash_torn(sim->env);
    else
        env_sim_crash(sim->env);
    sim->tally.cuts++;
    sim->promises.second_count = 0;
    ending->cut = true;
}

static uint32_t least(const struct sim *sim, const struct ending *ending) {
    if (ending->whole) return sim->model.count - 1;
    return ending->cut ? sim->promises.durable : sim->promises.kill;
}

static void recovered(struct sim *sim, const struct ending *ending) {
    check_recovered(sim, least(sim, ending));
    check_past(sim, 10);
    uint32_t last = sim->model.count - 1;
    sim->promises.kill = last;
    if (ending->cut || ending->whole) sim->promises.durable = last;
    sim->promises.weak = 0; /* all that it found it has made durable, if that is what is asked */
}

static void start(struct sim *sim, struct ending ending) {
    for (unsigned tries = 0;; tries++) {
        if (tries > STARTS_MAX && sim->calm_since_ns == 0) calm_down(sim);
        bool doomed = sim->character.crashes && tries < STARTS_MAX && one_in(sim, 8);
        if (doomed) env_sim_power_off_at(sim->env, 1 + below(sim, 60));
        if (one_in(sim, 3)) sim->fsync = (enum persist_fsync)below(sim, 3);
        step_clock(sim);
        struct problem why = {};
        enum status status = process_start(sim, &why);
        sim->tally.starts++;
        bool died = !env_sim_has_power(sim->env);
        if (sim->verbose && !died) show_disk(sim);
        trace(sim, "-- start: %s%s%s", status == OK ? "OK" : why.text, died ? ", died" : "",
              doomed ? " (doomed)" : "");
        if (!died) {
            env_sim_power(sim->env, true); /* no longer doomed */
            if (status == OK) break;
            sim->tally.failed_starts++;
            if (sim->calm_since_ns != 0)
                sim_fail(sim, "it does not start after mere crashes and faults: %s", why.text);
            calm_down(sim);
            continue;
        }
        if (one_in(sim, 2))
            cut_power(sim, &ending);
        else
            process_kill(sim);
    }
    if (sim->fsync == PERSIST_NO) sim->promises.second_count = 0; /* nobody syncs them */
    recovered(sim, &ending);
}

/* ---- endings ---- */

static void end(struct sim *sim) {
    struct ending ending = {};
    struct problem why = {};
    uint64_t how = below(sim, 4);
    if (!env_sim_has_power(sim->env) && how == 3) how = below(sim, 3);
    if (how < 2) {
        cut_power(sim, &ending);
    } else if (how == 2) {
        process_kill(sim);
        sim->tally.kills++;
        trace(sim, "-- killed");
    } else {
        ending.whole = process_stop(sim, &why) == OK;
        sim->tally.restarts++;
        bool died = !env_sim_has_power(sim->env);
        trace(sim, "-- stopped in order: %s%s", ending.whole ? "OK" : why.text,
              died ? ", died" : "");
        env_sim_power(sim->env, true);
        if (died || one_in(sim, 3)) cut_power(sim, &ending);
    }
    if (sim->verbose) show_disk(sim);
    if (one_in(sim, 2)) env_sim_advance(sim->env, below(sim, 3'000) * MS);
    start(sim, ending);
}

/* ---- rounds ---- */

static void turn(struct sim *sim, uint64_t turns) {
    while (turns-- > 0 && persist_turn(sim->process.pulse.persist)) continue;
}

/* What has gone wrong is over: it must be well again, and nobody kept waiting. */
static void check_health(struct sim *sim) {
    uint64_t now = env_monotonic_ns(sim->env);
    if (sim->calm_since_ns == 0 || now - sim->calm_since_ns < HEALS_NS) return;
    const char *refusal = persist_refusal(sim->process.pulse.persist);
    if (refusal)
        sim_fail(sim, "the disk is well for a minute, and writes are refused: %s", refusal);
    turn(sim, TURNS_MAX);
    env_sim_advance(sim->env, 10 * MS);
    turn(sim, TURNS_MAX);
    if (!env_sim_has_power(sim->env)) return;
    clients_hear(sim);
    if (clients_wait(sim)) sim_fail(sim, "the disk is well for a minute, and answers wait");
}

/* A command to the whole server, by nobody of the clients; whether it was well. */
static bool order(struct sim *sim, size_t count, const struct bytes *words) {
    struct bytes reply = ask(sim, 0, count, words);
    trace(sim, "-- %.*s%s%.*s: %.*s", (int)words[0].len, words[0].data, count > 1 ? " ... " : "",
          count > 1 ? (int)words[count - 1].len : 0, words[count - 1].data,
          (int)(reply.len > 2 ? reply.len - 2 : 0), reply.data);
    bool ok = reply.len > 0 && reply.data[0] == '+';
    arena_clear(&sim->arena);
    return ok;
}

static void save(struct sim *sim) {
    if (!one_in(sim, 40)) return;
    struct bytes word = one_in(sim, 4)   ? BYTES("SAVE")
                        : one_in(sim, 2) ? BYTES("BGSAVE")
                                         : BYTES("BGREWRITEAOF");
    bool ok = order(sim, 1, &word);
    if (ok && word.len == 4 && env_sim_has_power(sim->env))
        sim->promises.kill = sim->promises.durable = sim->model.count - 1;
}

static void choose_fsync(struct sim *sim) {
    static const struct bytes words[] = { BYTES("everysec"), BYTES("always"), BYTES("no") };
    if (!one_in(sim, 100)) return;
    order(sim, 4,
          (struct bytes[]){ BYTES("CONFIG"), BYTES("SET"), BYTES("appendfsync"),
                            words[below(sim, 3)] });
}

static void pass(struct sim *sim, uint64_t ns) {
    env_sim_advance(sim->env, ns);
    sim->lived_ns += ns;
}

static void pass_time(struct sim *sim) {
    pass(sim, below(sim, one_in(sim, 8) ? 50 * MS : 3 * MS));
    if (!one_in(sim, 60)) return;
    for (uint64_t n = below(sim, 60); n > 0; n--) { /* nobody has anything to do */
        pass(sim, 40 * MS);
        turn(sim, 3);
        clients_hear(sim);
        promises_ripen(sim);
    }
}

static void live(struct sim *sim) {
    struct process *process = &sim->process;
    pass_time(sim);
    worker_tick(process->worker);
    if (one_in(sim, 4)) worker_chores(process->worker, 0, 1, CHORES_NS);
    if (one_in(sim, 20)) store_janitor(process->pulse.store);
    if (env_sim_has_power(sim->env)) clients_round(sim);
    turn(sim, one_in(sim, 10) ? TURNS_MAX : below(sim, 6));
    if (env_sim_has_power(sim->env)) {
        clients_hear(sim);
        save(sim);
        choose_fsync(sim);
        worker_tick(process->worker); /* the disk may have been slow */
        if (one_in(sim, 200)) check_present(sim);
        promises_ripen(sim);
        check_health(sim);
    }
}

/* ---- after it was stopped in order: a byte that is not what was written ---- */

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

static void rot(struct sim *sim) {
    struct env *env = sim->env;
    struct pick pick = { .sim = sim };
    if (env->ops->list(env, "data", pick_file, &pick) != 0 || pick.seen == 0) return;
    char path[NAME_MAX + 16];
    snprintf(path, sizeof path, "data/%s", pick.name);
    struct env_file *file;
    if (env->ops->open(env, path, ENV_READ | ENV_WRITE, &file) != 0) return;
    int64_t size = env->ops->size(env, file);
    uint64_t at = size > 0 ? below(sim, (uint64_t)size) : 0;
    if (size > 0 && one_in(sim, 3)) {
        (void)env->ops->truncate(env, file, at);
        trace(sim, "-- %s is cut off at %" PRIu64 " of %" PRId64, path, at, size);
    } else if (size > 0) {
        char byte = 0;
        (void)env->ops->pread(env, file, &byte, 1, at);
        byte ^= (char)(1 << below(sim, 8));
        (void)env->ops->pwrite(env, file, &byte, 1, at);
        trace(sim, "-- a bit of %s is flipped at %" PRIu64 " of %" PRId64, path, at, size);
    }
    env->ops->close(env, file);
}

static void end_of_life(struct sim *sim) {
    env_sim_power(sim->env, true);
    calm_down(sim);
    struct problem why = {};
    enum status status = process_stop(sim, &why);
    struct ending ending = { .whole = status == OK };
    trace(sim, "-- the last stop: %s", status == OK ? "OK" : why.text);
    if (status == OK && sim->character.bit_rot) rot(sim);
    bool rotten = status == OK && sim->character.bit_rot;
    status = process_start(sim, &why);
    trace(sim, "-- the last start: %s", status == OK ? "OK" : why.text);
    if (status == OK) {
        recovered(sim, &ending);
        check_past(sim, 100);
        process_kill(sim);
    } else if (!rotten) {
        sim_fail(sim, "it does not start after it was stopped in order: %s", why.text);
    }
}

static void draw_character(struct sim *sim) {
    sim->character = (struct character){
        .shards = 1u << below(sim, 4),
        .segment_size = 16384u << below(sim, 5),
        .snapshot_log_bytes = 32768u << below(sim, 6),
        .history_persist = !one_in(sim, 4),
        .crashes = !one_in(sim, 6),
        .errors = !one_in(sim, 3),
        .clock_steps = one_in(sim, 2),
        .bit_rot = one_in(sim, 3),
    };
    sim->fsync = (enum persist_fsync)below(sim, 3);
}

void sim_run(struct sim *sim) {
    uint64_t seed = sim->seed;
    sim->chance = chance_next(&seed); /* so that one seed's luck is not the next one's, later */
    sim->env = env_sim_new(sim->seed);
    model_init(&sim->model);
    arena_init(&sim->arena);
    draw_character(sim);
    calm_down(sim);
    (void)sim->env->ops->mkdir(sim->env, "data");
    (void)sim->env->ops->sync_dir(sim->env, ".");
    start(sim, (struct ending){});
    for (sim->step = 0; sim->step < sim->steps; sim->step++) {
        weather(sim);
        step_clock(sim);
        if (sim->character.crashes && one_in(sim, 100))
            env_sim_power_off_at(sim->env, 1 + below(sim, 40));
        live(sim);
        if (!env_sim_has_power(sim->env) || one_in(sim, 150)) end(sim);
    }
    end_of_life(sim);
    model_deinit(&sim->model);
    arena_deinit(&sim->arena);
    sim->env = env_sim_free(sim->env);
}
