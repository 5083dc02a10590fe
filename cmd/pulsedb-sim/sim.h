/* sim.h: a whole life of a database in a world that means it ill, from one seed.
 *
 *     life.c      what happens: time passes, commands, orders
 *       │
 *       ├── weather.c    what goes wrong meanwhile
 *       ├── starts.c     how it ends, and begins again
 *       │     └── rot.c       after a byte has changed
 *       ├── client.c     clients: commands, their answers, when those may leave
 *       ├── process.c    the server's core, wired: store, log, commands; one thread
 *       ├── check.c      after a start: is what is there what must be there?
 *       └── model.c      what must be there
 *
 * Nothing here takes time or chance from elsewhere than the seed: the same seed is the same run, bit for
 * bit. Single-threaded.
 */
#pragma once

#include "base/arena.h"
#include "command/batch.h"
#include "command/pulse.h"
#include "log/persist.h"
#include "model.h"
#include "proto/out.h"

enum {
    CLIENTS = 5,
    WAITING_MAX = 64, /* answers of one client that have not left */
    TRACE_LINES = 40,
    TRACE_TEXT = 160,
};

/* What a world is like from start to end; drawn from the seed. */
struct character {
    unsigned shards;
    uint64_t segment_size, snapshot_log_bytes;
    uint64_t look_ns; /* the slower a clock, the smaller the steps of a snapshot */
    bool history_persist;
    bool crashes, errors, clock_steps, bit_rot;
    bool switches;         /* appendonly is turned off and on */
    uint64_t save_changes; /* a save rule: a second and so many; 0: none */
};

/* The server. What is NULL is not there: it has died, or not been born. */
struct process {
    struct pulse pulse;
    struct worker *worker;
    struct batch *batch;
    enum persist_state state; /* as last heard of */
    bool waits; /* for a log of its own since it started: what it found is not made durable yet */
};

/* An answer that waits for what it shows to be safe. */
struct waiting {
    uint64_t gate;
    uint32_t made;  /* the commit it acknowledges; 0: none */
    uint32_t shown; /* the newest commit that can be seen in it */
};

struct client {
    struct sim *sim;
    struct session session;
    struct reply reply;
    struct out out;
    uint32_t number, db;
    uint64_t gate;
    struct waiting waiting[WAITING_MAX];
    size_t waiting_count;
};

/* What must survive, as commits. */
struct promises {
    uint32_t kill;    /* whatever has been acknowledged: survives the process */
    uint32_t durable; /* survives a power cut */
    uint32_t
        weak; /* before appendfsync became `always`: up to this one it was written, and no more */
    struct {
        uint32_t commit;
        uint64_t at_ns;
    } second[4096]; /* acknowledged under everysec, not a second ago: ascending in both */
    size_t second_from, second_count;
};

struct tally {
    uint64_t commands, commits, starts, cuts, kills, restarts, failed_starts, full_starts, refusals,
        lost, past;
};

struct sim {
    uint64_t seed, chance;
    uint32_t step, steps;
    bool verbose;
    struct character character;
    struct env *env;
    struct commands *commands;
    struct process process;
    struct model model;
    struct client clients[CLIENTS], nobody;
    struct promises promises;
    enum persist_fsync fsync;
    bool appendonly;
    uint64_t words; /* texts made so far: no two are the same */
    /* The time that passed between turns of the log. What a disk takes is not in it: here it makes the
     * whole server wait, there a thread of its own. */
    uint64_t lived_ns;
    uint64_t calm_since_ns; /* nothing has gone wrong since then; 0: it does now */
    uint64_t digest;
    struct tally tally;
    struct arena arena; /* of one round */
    char trace[TRACE_LINES][TRACE_TEXT];
    size_t traced;
};

/* chance */
uint64_t below(struct sim *sim, uint64_t limit);
bool one_in(struct sim *sim, uint64_t n);

/* main.c */
PRINTF(2, 3) void trace(struct sim *sim, const char *format, ...);
/* What lies in the directory, and what of it is the database. */
void show_disk(struct sim *sim);
/* Says what is wrong with this seed, and ends the program. */
PRINTF(2, 3) _Noreturn void sim_fail(struct sim *sim, const char *format, ...);
/* What was answered or found becomes part of the run's digest. */
void digest(struct sim *sim, struct bytes bytes);

/* life.c */
void sim_run(struct sim *sim);

/* weather.c */
void weather_calm(struct sim *sim);
void weather_change(struct sim *sim);
void weather_full(struct sim *sim); /* the disk takes not one byte more, and has no other faults */
void weather_clock(struct sim *sim);

/* starts.c */
void start_first(struct sim *sim);
void end_and_start(struct sim *sim);
void end_of_life(struct sim *sim); /* in order; and that the next would find all */

/* rot.c */
struct rot {
    char path[320];
    struct bytes content; /* owned */
};
bool rot_begin(struct sim *sim, struct rot *rot); /* false: there is nothing that could */
void rot_end(struct sim *sim, struct rot *rot, bool mend);

/* process.c */
enum status process_start(struct sim *sim, struct problem *why);
void process_kill(struct sim *sim); /* it does nothing more from now on; what it wrote stays */
/* In order. Not OK: the disk would not, and it was killed. */
enum status process_stop(struct sim *sim, struct problem *why);
bool process_runs(const struct sim *sim);

/* client.c */
void clients_connect(struct sim *sim);
void clients_leave(struct sim *sim);
void clients_round(struct sim *sim); /* some commands, all in one batch */
void clients_hear(struct sim *sim);  /* answers that may leave do */
bool clients_wait(const struct sim *sim);
/* One command of nobody's; the answer lies in the arena. */
struct bytes ask(struct sim *sim, uint32_t db, size_t count, const struct bytes *words);

/* What is acknowledged is worth something else from now on. */
void promises_change(struct sim *sim, enum persist_fsync fsync, bool appendonly);
void promises_ripen(struct sim *sim); /* what was acknowledged a second ago is durable now */

/* check.c: the recovered state is the model's after some commit from `least` on; the model is cut there. Returns the
 * first commit that it may be as well: the next start cannot be asked for more. */
uint32_t check_recovered(struct sim *sim, uint32_t least);
void check_present(struct sim *sim); /* it is the model's after the last commit */
void check_past(struct sim *sim, unsigned questions);
