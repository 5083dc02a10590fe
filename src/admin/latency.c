/* latency.c: LATENCY: what took longer than latency-monitor-threshold, and how long each command takes. */
#include "metrics/latency.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/buffer.h"
#include "base/env.h"
#include "command/command.h"
#include "command/observe.h"
#include "command/pulse.h"

static struct latency *latency_of(struct call *call) {
    return &call->pulse->observer->latency;
}

/* false: no event of this name has a sample. */
static bool read_event(struct call *call, struct bytes name, struct latency_history *out) {
    enum latency_event event;
    if (!latency_event_find(name, &event)) return false;
    latency_read(latency_of(call), event, out);
    return out->count > 0;
}

/* ---- LATEST, HISTORY, RESET ---- */

static enum outcome latency_latest(struct call *call) {
    struct latest {
        const char *name;
        struct latency_sample last;
        uint64_t max_ms;
    } found[LATENCY_EVENTS_COUNT];
    size_t count = 0;
    struct latency_history history;
    for (unsigned i = 0; i < LATENCY_EVENTS_COUNT; i++) {
        latency_read(latency_of(call), (enum latency_event)i, &history);
        if (history.count)
            found[count++] = (struct latest){ latency_event_name((enum latency_event)i),
                                              history.samples[history.count - 1], history.max_ms };
    }
    call->reply->writer->array(call->reply, count);
    for (size_t i = 0; i < count; i++) {
        call->reply->writer->array(call->reply, 4);
        reply_text(call, found[i].name);
        reply_int(call, found[i].last.second);
        reply_int(call, (int64_t)found[i].last.ms);
        reply_int(call, (int64_t)found[i].max_ms);
    }
    return DONE;
}

static enum outcome latency_history_run(struct call *call) {
    struct latency_history history;
    size_t count = read_event(call, call->args[2], &history) ? history.count : 0;
    call->reply->writer->array(call->reply, count);
    for (size_t i = 0; i < count; i++) {
        call->reply->writer->array(call->reply, 2);
        reply_int(call, history.samples[i].second);
        reply_int(call, (int64_t)history.samples[i].ms);
    }
    return DONE;
}

static enum outcome latency_reset_run(struct call *call) {
    int64_t count = 0;
    if (call->args_count == 2)
        for (unsigned i = 0; i < LATENCY_EVENTS_COUNT; i++)
            count += latency_reset(latency_of(call), (enum latency_event)i);
    for (size_t i = 2; i < call->args_count; i++) {
        enum latency_event event;
        if (latency_event_find(call->args[i], &event))
            count += latency_reset(latency_of(call), event);
    }
    return reply_int(call, count);
}

/* ---- GRAPH ---- */

enum { GRAPH_COLUMNS = 80, GRAPH_ROWS = 4, GRAPH_SIZE_MAX = 16 * 1024, LABEL_SIZE = 24 };

struct graph {
    const struct latency_sample *samples;
    size_t count;
    uint64_t low, high;
    char labels[GRAPH_COLUMNS][LABEL_SIZE]; /* how long ago: "12s", read downwards */
};

/* "59s", "3m", "7h", "2d" */
static void write_age(char out[LABEL_SIZE], int64_t seconds) {
    static const struct {
        int64_t seconds;
        char unit;
    } units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };
    size_t i = 0;
    while (i + 1 < COUNT_OF(units) && seconds < units[i].seconds) i++;
    snprintf(out, LABEL_SIZE, "%" PRId64 "%c", seconds > 0 ? seconds / units[i].seconds : 0,
             units[i].unit);
}

/* What column `at` shows in a row, counted from the bottom: the value's height in thirds of a row. */
static char graph_dot(const struct graph *graph, size_t at, unsigned row) {
    static const char fill[] = "_o#";
    unsigned levels = GRAPH_ROWS * 3;
    uint64_t range = graph->high > graph->low ? graph->high - graph->low : 1;
    double part = (double)(graph->samples[at].ms - graph->low) / (double)range;
    unsigned level = (unsigned)(part * levels);
    if (level >= levels) level = levels - 1;
    if (level < row * 3) return ' ';
    return level < row * 3 + 3 ? fill[level - row * 3] : '|';
}

static void draw_labels(const struct graph *graph, struct buffer *text) {
    size_t longest = 0;
    for (size_t i = 0; i < graph->count; i++)
        if (strlen(graph->labels[i]) > longest) longest = strlen(graph->labels[i]);
    for (size_t row = 0; row < longest; row++) {
        buffer_put(text, BYTES("\n"));
        for (size_t i = 0; i < graph->count; i++) {
            char c = row < strlen(graph->labels[i]) ? graph->labels[i][row] : ' ';
            buffer_put(text, (struct bytes){ &c, 1 });
        }
    }
}

static void draw(const struct graph *graph, struct buffer *text) {
    for (unsigned row = GRAPH_ROWS; row-- > 0;) {
        for (size_t i = 0; i < graph->count; i++) {
            char c = graph_dot(graph, i, row);
            buffer_put(text, (struct bytes){ &c, 1 });
        }
        buffer_put(text, BYTES("\n"));
    }
    draw_labels(graph, text);
    buffer_put(text, BYTES("\n"));
}

static int64_t now_s(struct call *call) {
    return (int64_t)(env_realtime_ns(call->pulse->env) / 1000000000);
}

static enum outcome latency_graph(struct call *call) {
    struct latency_history history;
    struct bytes name = call->args[2];
    if (!read_event(call, name, &history))
        return fail_format(call, "ERR No samples available for event '%.*s'",
                           (int)(name.len < 128 ? name.len : 128), name.data);
    struct graph graph = { .low = UINT64_MAX };
    graph.count = history.count < GRAPH_COLUMNS ? history.count : GRAPH_COLUMNS;
    graph.samples = history.samples + history.count - graph.count; /* the newest */
    for (size_t i = 0; i < graph.count; i++) {
        if (graph.samples[i].ms < graph.low) graph.low = graph.samples[i].ms;
        if (graph.samples[i].ms > graph.high) graph.high = graph.samples[i].ms;
        write_age(graph.labels[i], now_s(call) - graph.samples[i].second);
    }
    struct buffer text;
    buffer_init(&text, GRAPH_SIZE_MAX);
    buffer_format(&text,
                  "%.*s - high %" PRIu64 " ms, low %" PRIu64 " ms (all time high %" PRIu64 " ms)\n",
                  (int)name.len, name.data, graph.high, graph.low, history.max_ms);
    for (size_t i = 0; i < GRAPH_COLUMNS; i++) buffer_put(&text, BYTES("-"));
    buffer_put(&text, BYTES("\n"));
    draw(&graph, &text);
    call->reply->writer->verbatim(call->reply, buffer_bytes(&text));
    buffer_deinit(&text);
    return DONE;
}

/* ---- DOCTOR ---- */

static const char *const advice[LATENCY_EVENTS_COUNT] = {
    [LATENCY_COMMAND] = "SLOWLOG GET shows which commands those were.",
    [LATENCY_FAST_COMMAND] = "Commands that never take long did: this machine has too little "
                             "processor time, or a value was very large. SLOWLOG GET shows which.",
    [LATENCY_LOG_WRITE] = "The disk under `dir` takes writes slowly, or is shared.",
    [LATENCY_LOG_FSYNC] = "Answers wait for the disk's syncs: a faster disk, or "
                          "`appendfsync everysec`, which may lose the last second.",
    [LATENCY_LOG_FSYNC_OTHER] =
        "The disk under `dir` syncs slowly, or is shared. Answers wait only "
        "if one takes longer than 400 ms.",
    [LATENCY_EXPIRE_CYCLE] = "Many keys, or large ones, expire at the same time.",
};

static void diagnose(struct call *call, enum latency_event event, struct buffer *text) {
    struct latency_history history;
    latency_read(latency_of(call), event, &history);
    if (history.count == 0) return;
    uint64_t sum = 0;
    for (size_t i = 0; i < history.count; i++) sum += history.samples[i].ms;
    int64_t ago = now_s(call) - history.samples[history.count - 1].second;
    buffer_format(text,
                  "%s: slow in %zu seconds, %" PRIu64 " ms on average, %" PRIu64
                  " ms at worst, last %" PRId64 " s ago. %s\n",
                  latency_event_name(event), history.count, sum / history.count, history.max_ms,
                  ago > 0 ? ago : 0, advice[event]);
}

static enum outcome latency_doctor(struct call *call) {
    struct buffer text;
    buffer_init(&text, GRAPH_SIZE_MAX);
    for (unsigned i = 0; i < LATENCY_EVENTS_COUNT; i++)
        diagnose(call, (enum latency_event)i, &text);
    uint64_t threshold =
        atomic_load_explicit(&latency_of(call)->threshold_ms, memory_order_relaxed);
    if (threshold == 0)
        buffer_format(&text, "Nothing is watched: CONFIG SET latency-monitor-threshold "
                             "<milliseconds> begins it.\n");
    else if (text.len == 0)
        buffer_format(&text, "Nothing that is watched took %" PRIu64 " ms.\n", threshold);
    call->reply->writer->verbatim(call->reply, buffer_bytes(&text));
    buffer_deinit(&text);
    return DONE;
}

/* ---- HISTOGRAM ---- */

enum { BOUNDS = 36 }; /* the last: 68 seconds twice over, and over */

/* The bounds of Redis' histograms: 2^10 ns and doublings, up to the end of the bucket that begins there. */
static uint64_t bound_ns(unsigned i) {
    return (UINT64_C(1024) << i) + (UINT64_C(8) << i) - 1;
}

static void reply_histogram(struct call *call, const struct command_info *info,
                            const struct call_total *total) {
    struct ticks_rate rate = call->pulse->observer->rate;
    uint64_t counts[BOUNDS] = {};
    for (unsigned i = 0; i < CALL_BUCKETS; i++) {
        double ns = ticks_to_ns(rate, (call_bucket_begin(i) + call_bucket_begin(i + 1)) / 2);
        unsigned at = 0;
        while (at + 1 < BOUNDS && ns > (double)bound_ns(at)) at++;
        counts[at] += total->took[i];
    }
    size_t filled = 0;
    for (unsigned i = 0; i < BOUNDS; i++) filled += counts[i] > 0;
    const struct reply_writer *writer = call->reply->writer;
    reply_bulk(call, info->name);
    writer->map(call->reply, 2);
    reply_text(call, "calls");
    reply_int(call, (int64_t)total->calls);
    reply_text(call, "histogram_usec");
    writer->map(call->reply, filled);
    uint64_t sum = 0;
    for (unsigned i = 0; i < BOUNDS; i++) {
        if (!counts[i]) continue;
        sum += counts[i];
        reply_int(call, (int64_t)(bound_ns(i) / 1000));
        reply_int(call, (int64_t)sum);
    }
}

struct wanted { /* a growing list in the arena */
    const struct command_info **list;
    size_t count, cap;
};

static void want(struct call *call, struct wanted *wanted, const struct command_info *info) {
    struct call_total total;
    calls_total(call->pulse->observer->board, info->id, &total);
    if (total.calls == 0 || wanted->count == wanted->cap) return;
    wanted->list[wanted->count++] = info;
}

/* "get", "client|list", or "client" for all of its own; what is not known is left out. */
static void want_named(struct call *call, struct wanted *wanted, struct bytes name) {
    const struct commands *commands = call->pulse->commands;
    for (size_t i = 0; i < commands_count(commands); i++) {
        const struct command_info *info = commands_at(commands, i);
        bool in_it = info->parent && bytes_equal_nocase(info->parent->name, name);
        if (in_it || bytes_equal_nocase(info->name, name)) want(call, wanted, info);
    }
}

static enum outcome latency_histogram(struct call *call) {
    size_t all = commands_count(call->pulse->commands);
    struct wanted wanted = { .cap = all };
    wanted.list = arena_new(call->arena, all * sizeof(void *));
    for (size_t i = 0; call->args_count == 2 && i < all; i++)
        want(call, &wanted, commands_at(call->pulse->commands, i));
    for (size_t i = 2; i < call->args_count; i++) want_named(call, &wanted, call->args[i]);
    call->reply->writer->map(call->reply, wanted.count);
    for (size_t i = 0; i < wanted.count; i++) {
        struct call_total total;
        calls_total(call->pulse->observer->board, wanted.list[i]->id, &total);
        reply_histogram(call, wanted.list[i], &total);
    }
    return DONE;
}

static enum outcome latency_help(struct call *call) {
    static const char *const lines[] = {
        "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "DOCTOR",
        "    What was slow, in words.",
        "GRAPH <event>",
        "    Draw the samples of an event.",
        "HISTOGRAM [COMMAND ...]",
        "    How many calls of these commands, or of all, took at most so many microseconds.",
        "HISTORY <event>",
        "    The samples of an event: when, and how many milliseconds.",
        "LATEST",
        "    The newest sample of each event, and its longest.",
        "RESET [<event> ...]",
        "    Forget the samples of these events, or of all.",
        "HELP",
        "    Print this help.",
    };
    return reply_help(call, lines, COUNT_OF(lines));
}

enum { LATENCY_FLAGS = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE };
#define LATENCY_TIPS "nondeterministic_output request_policy:all_nodes response_policy:special"

COMMAND(latency) = {
    .synopsis = "LATENCY",
    .summary = "What took long: a container.",
    .since = "2.8.13",
    .group = "server",
    .complexity = "Depends on subcommand.",
    .flags = CMD_CONTAINER,
};

#define LATENCY(name_, run_, since_, synopsis_, summary_, complexity_, tips_) \
    COMMAND(latency_##name_) = { .synopsis = "LATENCY " synopsis_,            \
                                 .summary = (summary_),                       \
                                 .since = (since_),                           \
                                 .group = "server",                           \
                                 .complexity = (complexity_),                 \
                                 .flags = LATENCY_FLAGS,                      \
                                 .tips = (tips_),                             \
                                 .run = (run_) }

LATENCY(latest, latency_latest, "2.8.13", "LATEST", "Shows the newest sample of each event.",
        "O(1)", LATENCY_TIPS);
LATENCY(history, latency_history_run, "2.8.13", "HISTORY event", "Shows the samples of an event.",
        "O(1)", LATENCY_TIPS);
LATENCY(reset, latency_reset_run, "2.8.13", "RESET [event [event ...]]", "Forgets samples.", "O(1)",
        "request_policy:all_nodes response_policy:all_succeeded");
LATENCY(graph, latency_graph, "2.8.13", "GRAPH event", "Draws the samples of an event.", "O(1)",
        LATENCY_TIPS);
LATENCY(doctor, latency_doctor, "2.8.13", "DOCTOR", "Says in words what was slow.", "O(1)",
        LATENCY_TIPS);
LATENCY(histogram, latency_histogram, "7.0.0", "HISTOGRAM [command [command ...]]",
        "Shows how long commands take.",
        "O(N) where N is the number of commands with latency information being retrieved.",
        LATENCY_TIPS);

COMMAND(latency_help) = {
    .synopsis = "LATENCY HELP",
    .summary = "Prints what the subcommands are.",
    .since = "2.8.13",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE,
    .run = latency_help,
};
