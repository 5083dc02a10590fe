/* starts.c: how a process ends, and that the next one finds what was promised.
 *
 *     cut      power: what was synced is left, and of the rest whatever POSIX allows
 *     killed   what was written is left
 *     stopped  in order: everything is left
 *
 * A start may die or be refused by the disk as well, and another is tried. When the disk is well it must not be
 * refused; nor when all that is wrong is that the disk is full: then writes are. */
#include <inttypes.h>

#include "base/env.h"
#include "sim.h"

enum { STARTS_MAX = 20 };

/* How the last process ended decides what must be found. */
struct ending {
    bool cut;   /* the power was cut since */
    bool whole; /* it was stopped in order */
    bool first; /* there was none */
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

static void recovered(struct sim *sim, const struct ending *ending) {
    struct promises *promises = &sim->promises;
    uint32_t found = check_recovered(sim, ending->whole ? sim->model.count - 1
                                          : ending->cut ? promises->durable
                                                        : promises->kill);
    check_past(sim, 10);
    promises->kill = found;
    if (ending->cut || ending->whole) promises->durable = found;
    promises->weak = 0; /* all that it found it has made durable, if that is what is asked */
    if (sim->fsync == PERSIST_NO || !sim->appendonly) promises->second_count = 0;
}

static void check_full(struct sim *sim, enum status status, const struct problem *why) {
    if (status != OK) sim_fail(sim, "it does not start on a full disk: %s", why->text);
    enum persist_state state = persist_state(sim->process.pulse.persist);
    if (state != (sim->appendonly ? PERSIST_REFUSING : PERSIST_OFF))
        sim_fail(sim, "it takes writes on a full disk");
    sim->tally.full_starts++;
}

/* One attempt. Whether it runs. */
static bool try_start(struct sim *sim, bool doomed, bool full, struct ending *ending) {
    if (doomed) env_sim_power_off_at(sim->env, 1 + below(sim, 60));
    struct problem why = {};
    enum status status = process_start(sim, &why);
    sim->tally.starts++;
    bool died = !env_sim_has_power(sim->env);
    if (sim->verbose && !died) show_disk(sim);
    trace(sim, "-- start, appendonly %s: %s%s%s", sim->appendonly ? "yes" : "no",
          status == OK ? "OK" : why.text, died ? ", died" : "", doomed ? " (doomed)" : "");
    if (died) {
        process_kill(sim);
        if (one_in(sim, 2)) cut_power(sim, ending);
        return false;
    }
    env_sim_power(sim->env, true); /* no longer doomed */
    if (full) check_full(sim, status, &why);
    if (status == OK) return true;
    sim->tally.failed_starts++;
    if (sim->calm_since_ns != 0)
        sim_fail(sim, "it does not start after mere crashes and faults: %s", why.text);
    weather_calm(sim);
    return false;
}

static void start(struct sim *sim, struct ending ending) {
    for (unsigned tries = 0;; tries++) {
        if (tries > STARTS_MAX && sim->calm_since_ns == 0) weather_calm(sim);
        if (one_in(sim, 3)) sim->fsync = (enum persist_fsync)below(sim, 3);
        if (sim->character.switches) sim->appendonly = !one_in(sim, 3);
        weather_clock(sim);
        bool doomed = sim->character.crashes && tries < STARTS_MAX && one_in(sim, 8);
        bool full = sim->character.errors && !ending.first && one_in(sim, 6);
        if (full) weather_full(sim);
        if (try_start(sim, doomed, full, &ending)) break;
    }
    recovered(sim, &ending);
}

void start_first(struct sim *sim) {
    sim->appendonly = true;
    start(sim, (struct ending){ .first = true });
}

static void stop_in_order(struct sim *sim, struct ending *ending) {
    struct problem why = {};
    if (sim->character.crashes && one_in(sim, 4))
        env_sim_power_off_at(sim->env, 1 + below(sim, 20));
    enum status status = process_stop(sim, &why);
    sim->tally.restarts++;
    bool died = !env_sim_has_power(sim->env);
    env_sim_power(sim->env, true);
    trace(sim, "-- stopped in order: %s%s", status == OK ? "OK" : why.text, died ? ", died" : "");
    ending->whole = status == OK;
    if (one_in(sim, 3)) cut_power(sim, ending);
}

void end_and_start(struct sim *sim) {
    struct ending ending = {};
    uint64_t how = below(sim, env_sim_has_power(sim->env) ? 4 : 3);
    if (how < 2) {
        cut_power(sim, &ending);
    } else if (how == 2) {
        process_kill(sim);
        sim->tally.kills++;
        trace(sim, "-- killed");
    } else {
        stop_in_order(sim, &ending);
    }
    if (sim->verbose) show_disk(sim);
    if (one_in(sim, 2)) env_sim_advance(sim->env, below(sim, 3'000'000'000));
    start(sim, ending);
}

void end_of_life(struct sim *sim) {
    env_sim_power(sim->env, true); /* as long as it is needed */
    weather_calm(sim);
    struct problem why = {};
    struct rot rot;
    struct ending ending = { .whole = process_stop(sim, &why) == OK };
    trace(sim, "-- the last stop: %s", ending.whole ? "OK" : why.text);
    bool rotten = ending.whole && sim->character.bit_rot && rot_begin(sim, &rot);
    enum status status = process_start(sim, &why);
    trace(sim, "-- the last start: %s", status == OK ? "OK" : why.text);
    if (rotten) {
        rot_end(sim, &rot, status != OK);
        if (status != OK) status = process_start(sim, &why);
    }
    if (status != OK) sim_fail(sim, "it does not start after it was stopped: %s", why.text);
    recovered(sim, &ending);
    check_past(sim, 100);
    process_kill(sim);
}
