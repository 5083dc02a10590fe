/* main.c: pulsedb-sim: many lives of a database, one for each seed, until one goes wrong.
 *
 * See docs/simulation.md. */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/env.h"
#include "base/env_sim_disk.h"
#include "base/mem.h"
#include "sim.h"

enum { STEPS = 1'500 };

static const char help[] =
    "Usage: pulsedb-sim [--seed N | --seeds A..B] [--steps M] [--verbose]\n"
    "\n"
    "Runs the server's core in a simulated world, with power cuts, failing disks and clocks that "
    "jump,\n"
    "and compares every answer and every recovery with a model. A run depends on its seed alone.\n"
    "\n"
    "  --seed N        one life (1)\n"
    "  --seeds A..B    one after another\n"
    "  --steps M       rounds of commands in a life (1500)\n"
    "  --verbose       what happens, as it happens\n";

static const char *const fsync_words[] = {
    [PERSIST_EVERYSEC] = "everysec", [PERSIST_ALWAYS] = "always", [PERSIST_NO] = "no"
};

uint64_t below(struct sim *sim, uint64_t limit) {
    return chance_below(&sim->chance, limit);
}

bool one_in(struct sim *sim, uint64_t n) {
    return below(sim, n) == 0;
}

void digest(struct sim *sim, struct bytes bytes) {
    for (size_t i = 0; i < bytes.len; i++)
        sim->digest = (sim->digest ^ (unsigned char)bytes.data[i]) * 0x100'0000'01b3u;
}

void trace(struct sim *sim, const char *format, ...) {
    char *line = sim->trace[sim->traced++ % TRACE_LINES];
    int at = snprintf(line, TRACE_TEXT, "%u ", sim->step);
    va_list args;
    va_start(args, format);
    vsnprintf(line + at, TRACE_TEXT - (size_t)at, format, args);
    va_end(args);
    digest(sim, bytes_of(line));
    for (char *c = line; *c; c++)
        if (*c < ' ') *c = ' ';
    if (sim->verbose) puts(line);
}

static void show_trace(const struct sim *sim) {
    size_t from = sim->traced > TRACE_LINES ? sim->traced - TRACE_LINES : 0;
    const struct character *c = &sim->character;
    printf("seed %" PRIu64 ", step %u; %u shards, segments of %" PRIu64 ", snapshots at %" PRIu64
           ", history-persist %s, appendfsync %s; before it:\n",
           sim->seed, sim->step, c->shards, c->segment_size, c->snapshot_log_bytes,
           c->history_persist ? "yes" : "no", fsync_words[sim->fsync]);
    for (size_t i = from; i < sim->traced; i++) printf("  %s\n", sim->trace[i % TRACE_LINES]);
    fflush(stdout);
}

static bool show_file(void *self, const char *name) {
    struct env *env = self;
    char path[TRACE_TEXT];
    struct env_file *file;
    snprintf(path, sizeof path, "data/%s", name);
    if (env->ops->open(env, path, ENV_READ, &file) != 0) return true;
    printf("  %-28s %8lld\n", path, (long long)env->ops->size(env, file));
    env->ops->close(env, file);
    return true;
}

void show_disk(struct sim *sim) {
    struct bytes text;
    env_sim_observe(sim->env, true);
    puts("on the disk:");
    (void)sim->env->ops->list(sim->env, "data", show_file, sim->env);
    if (env_read_file(sim->env, "data/MANIFEST", MANIFEST_SIZE_MAX, &text, NULL) == OK) {
        printf("%.*s\n", (int)text.len, text.data);
        mem_free((void *)(uintptr_t)text.data, text.len);
    }
    env_sim_observe(sim->env, false);
}

_Noreturn void sim_fail(struct sim *sim, const char *format, ...) {
    env_sim_power(sim->env, true);
    show_disk(sim);
    show_trace(sim);
    printf("FAILED: seed %" PRIu64 ", step %u: ", sim->seed, sim->step);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    puts("");
    fflush(stdout);
    _exit(1); /* what is in the middle of its work cannot be freed */
}

static struct sim *running;

/* An assertion of the server's. */
static void aborted(int signal_number) {
    (void)signal_number;
    if (running) show_trace(running);
    printf("FAILED: seed %" PRIu64 ": it ended itself\n", running ? running->seed : 0);
    fflush(stdout);
    _exit(1);
}

static void say(const struct sim *sim) {
    const struct tally *t = &sim->tally;
    printf("seed %" PRIu64 ": %" PRIu64 " commands, %" PRIu64 " commits, %" PRIu64
           " starts (%" PRIu64 " failed, %" PRIu64 " on a full disk), %" PRIu64
           " power cuts, %" PRIu64 " kills, %" PRIu64 " stops, %" PRIu64 " refusals, %" PRIu64
           " commits lost, %" PRIu64 " looks back; digest %016" PRIx64 "\n",
           sim->seed, t->commands, t->commits, t->starts, t->failed_starts, t->full_starts, t->cuts,
           t->kills, t->restarts, t->refusals, t->lost, t->past, sim->digest);
}

static bool take_number(const char *text, const char **end, uint64_t *out) {
    char *stop;
    *out = strtoull(text, &stop, 10);
    *end = stop;
    return stop != text;
}

struct options {
    uint64_t first, last, steps;
    bool verbose;
};

static bool parse(int argc, char **argv, struct options *options) {
    const char *end;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--verbose") == 0) {
            options->verbose = true;
            continue;
        }
        i++;
        if (strcmp(argv[i - 1], "--seed") == 0) {
            if (!take_number(value, &end, &options->first) || *end) return false;
            options->last = options->first;
        } else if (strcmp(argv[i - 1], "--seeds") == 0) {
            if (!take_number(value, &end, &options->first) || strncmp(end, "..", 2) != 0)
                return false;
            if (!take_number(end + 2, &end, &options->last) || *end) return false;
        } else if (strcmp(argv[i - 1], "--steps") == 0) {
            if (!take_number(value, &end, &options->steps) || *end || options->steps > UINT32_MAX)
                return false;
        } else {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv) {
    struct options options = { .first = 1, .last = 1, .steps = STEPS };
    if (!parse(argc, argv, &options)) {
        fputs(help, stderr);
        return 2;
    }
    signal(SIGABRT, aborted);
    struct commands *commands = commands_new();
    static struct sim sim;
    for (uint64_t seed = options.first; seed <= options.last; seed++) {
        sim = (struct sim){ .seed = seed,
                            .steps = (uint32_t)options.steps,
                            .verbose = options.verbose,
                            .commands = commands };
        running = &sim;
        sim_run(&sim);
        say(&sim);
    }
    commands_free(commands);
    return 0;
}
