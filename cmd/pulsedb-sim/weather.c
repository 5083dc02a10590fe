/* weather.c: when things go wrong, and how badly: the disk's faults, and the clock that somebody sets. */
#include <errno.h>
#include <inttypes.h>

#include "base/env.h"
#include "sim.h"

enum { MS = 1'000'000 };

static struct env_sim_faults calm(const struct sim *sim) {
    return (struct env_sim_faults){ .write_ns = 5'000,
                                    .sync_ns = 300'000,
                                    .look_ns = sim->character.look_ns };
}

void weather_calm(struct sim *sim) {
    struct env_sim_faults faults = calm(sim);
    env_sim_faults(sim->env, &faults);
    env_sim_fail_at(sim->env, 0, 0);
    sim->calm_since_ns = env_monotonic_ns(sim->env);
    trace(sim, "-- calm");
}

static uint32_t some(struct sim *sim) {
    return one_in(sim, 3) ? 1'000'000 : (uint32_t)below(sim, 300'000);
}

static void storm(struct sim *sim) {
    struct env_sim_faults faults = calm(sim);
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

void weather_full(struct sim *sim) {
    struct env_sim_faults faults = calm(sim);
    faults.disk_size = 1;
    env_sim_faults(sim->env, &faults);
    env_sim_fail_at(sim->env, 0, 0);
    sim->calm_since_ns = 0;
    trace(sim, "-- the disk is full");
}

void weather_change(struct sim *sim) {
    if (sim->calm_since_ns == 0) {
        if (one_in(sim, 25)) weather_calm(sim);
    } else if (sim->character.errors && one_in(sim, 120)) {
        storm(sim);
    } else if (sim->character.errors && one_in(sim, 200)) {
        env_sim_fail_at(sim->env, 1 + below(sim, 40), one_in(sim, 2) ? EIO : ENOSPC);
        sim->calm_since_ns = 0;
        trace(sim, "-- one call will fail");
    }
}

void weather_clock(struct sim *sim) {
    static const uint64_t sizes[] = { 10 * MS, 1'000 * (uint64_t)MS, 3'600'000 * (uint64_t)MS };
    if (!sim->character.clock_steps || !one_in(sim, 150)) return;
    int64_t ns = (int64_t)below(sim, sizes[below(sim, 3)]);
    if (one_in(sim, 2)) ns = -ns;
    env_sim_step_realtime(sim->env, ns);
    trace(sim, "-- the clock is set by %" PRId64 " ms", ns / MS);
}
