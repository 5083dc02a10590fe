/* life.c: what happens to a database: commands, time, orders to save, and every now and then its end.
 *
 *     start ──► rounds: time passes, commands run, the log takes its turns, answers leave ──► end
 *       ▲                                                                                      │
 *       └───────────── starts.c: what was promised is found ◄──────────────────────────────────┘
 */
#include "base/env.h"
#include "base/env_sim_disk.h"
#include "sim.h"
#include "store/store.h"

enum {
    MS = 1'000'000,
    TURNS_MAX = 10'000, /* of a log that says that there is more to do at once */
    CHORES_NS = 1 * MS,
};
static const uint64_t HEALS_NS = 60'000'000'000; /* writes are taken again after so much calm */

static void turn(struct sim *sim, uint64_t turns) {
    while (turns-- > 0 && persist_turn(sim->process.pulse.persist)) continue;
}

/* What has gone wrong is over: it must be well again, and nobody kept waiting. */
static void check_health(struct sim *sim) {
    uint64_t now = env_monotonic_ns(sim->env);
    if (sim->calm_since_ns == 0 || now - sim->calm_since_ns < HEALS_NS) return;
    if (!env_sim_has_power(sim->env)) return;
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
    if (ok && bytes_equal(word, BYTES("SAVE")) && env_sim_has_power(sim->env))
        sim->promises.kill = sim->promises.durable = sim->model.count - 1;
}

static void configure(struct sim *sim) {
    static const struct bytes words[] = { BYTES("everysec"), BYTES("always"), BYTES("no") };
    bool log = sim->character.switches && one_in(sim, 2);
    if (!one_in(sim, 100)) return;
    struct bytes word = log ? (sim->appendonly ? BYTES("no") : BYTES("yes")) : words[below(sim, 3)];
    order(sim, 4,
          (struct bytes[]){ BYTES("CONFIG"), BYTES("SET"),
                            log ? BYTES("appendonly") : BYTES("appendfsync"), word });
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
        if (!env_sim_has_power(sim->env)) return;
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
        configure(sim);
        worker_tick(process->worker); /* the disk may have been slow */
        if (one_in(sim, 200)) check_present(sim);
        promises_ripen(sim);
        check_health(sim);
    }
}

static void draw_character(struct sim *sim) {
    sim->character = (struct character){
        .shards = 1u << below(sim, 4),
        .segment_size = 16384u << below(sim, 5),
        .snapshot_log_bytes = 32768u << below(sim, 6),
        .look_ns = one_in(sim, 2) ? 0 : below(sim, 100'000),
        .history_persist = !one_in(sim, 4),
        .crashes = !one_in(sim, 6),
        .errors = !one_in(sim, 3),
        .clock_steps = one_in(sim, 2),
        .bit_rot = one_in(sim, 3),
        .switches = one_in(sim, 4),
        .save_changes = one_in(sim, 3) ? 1 + below(sim, 500) : 0,
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
    weather_calm(sim);
    (void)sim->env->ops->mkdir(sim->env, "data");
    (void)sim->env->ops->sync_dir(sim->env, ".");
    start_first(sim);
    for (sim->step = 0; sim->step < sim->steps; sim->step++) {
        weather_change(sim);
        weather_clock(sim);
        if (sim->character.crashes && one_in(sim, 100))
            env_sim_power_off_at(sim->env, 1 + below(sim, 40));
        live(sim);
        if (!env_sim_has_power(sim->env) || one_in(sim, 150)) end_and_start(sim);
    }
    end_of_life(sim);
    model_deinit(&sim->model);
    arena_deinit(&sim->arena);
    sim->env = env_sim_free(sim->env);
}
