/* inspect.c: looking under the bonnet: OBJECT and MEMORY for one key or all, DEBUG for tests. */
#include "admin/persistence.h"
#include "command/command.h"
#include "command/pulse.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef PULSE_PLAIN_MALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "base/buffer.h"
#include "base/env.h"
#include "base/glob.h"
#include "base/mem.h"

enum {
    EMBSTR_SIZE_MAX = 44,    /* Redis' border between embstr and raw */
    SHARED_INTEGERS = 10000, /* numbers below have no count of their own in Redis */
    SLEEP_SECONDS_MAX = 3600,
    STRINGMATCH_SIZE_MAX = 1024 * 1024,
    MALLOC_STATS_SIZE_MAX = 4 * 1024 * 1024,
};

/* ---- OBJECT ---- */

/* Reads a key without leaving a trace. */
static bool look(struct call *call, size_t i, struct value *value) {
    struct key key = call_key(call, i);
    uint8_t flags = call->txn->flags;
    call->txn->flags |= TXN_NO_TOUCH;
    bool found = txn_read(call->txn, &key, value);
    call->txn->flags = flags;
    return found;
}

static const char *encoding_name(const struct value *value) {
    if (value->encoding == STRING_INT) return "int";
    bool small = value->encoding == STRING_INLINE && value->bytes.len <= EMBSTR_SIZE_MAX;
    return small ? "embstr" : "raw";
}

static bool policy_is_lfu(struct call *call) {
    struct bytes policy =
        settings_get(call->pulse->settings, SETTING_ID_maxmemory_policy, call->arena);
    return bytes_ends_with(policy, BYTES("lfu"));
}

static int64_t references(const struct value *value) {
    bool shared =
        value->encoding == STRING_INT && value->number >= 0 && value->number < SHARED_INTEGERS;
    return shared ? INT_MAX : 1;
}

/* No time of reading is kept: what is known is when the key was last written. */
static int64_t idle_seconds(const struct call *call, const struct value *value) {
    int64_t born_ms = (int64_t)(value->stamp / 1000000);
    int64_t now_ms = worker_now_ms(call->worker);
    return now_ms > born_ms ? (now_ms - born_ms) / 1000 : 0;
}

static enum outcome object_encoding(struct call *call) {
    struct value value;
    if (!look(call, 2, &value)) return reply_null(call);
    return reply_text(call, encoding_name(&value));
}

static enum outcome object_refcount(struct call *call) {
    struct value value;
    if (!look(call, 2, &value)) return reply_null(call);
    return reply_int(call, references(&value));
}

static enum outcome object_idletime(struct call *call) {
    struct value value;
    if (!look(call, 2, &value)) return reply_null(call);
    if (policy_is_lfu(call))
        return fail(call, "ERR An LFU maxmemory policy is selected, idle time not tracked. Please "
                          "note that when switching between policies at runtime LRU and LFU data "
                          "will take some time to adjust.");
    return reply_int(call, idle_seconds(call, &value));
}

static enum outcome object_freq(struct call *call) {
    struct value value;
    if (!look(call, 2, &value)) return reply_null(call);
    if (!policy_is_lfu(call))
        return fail(call, "ERR An LFU maxmemory policy is not selected, access frequency not "
                          "tracked. Please note that when switching between policies at runtime "
                          "LRU and LFU data will take some time to adjust.");
    return reply_int(call, 0);
}

static enum outcome object_help(struct call *call) {
    static const char *const lines[] = {
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    How the value is kept: int, embstr or raw.",
        "FREQ <key>",
        "    How often it was used lately; needs an LFU maxmemory-policy.",
        "IDLETIME <key>",
        "    Seconds since it was last written.",
        "REFCOUNT <key>",
        "    How many share the value.",
        "HELP",
        "    Print this help.",
    };
    return reply_help(call, lines, COUNT_OF(lines));
}

COMMAND(object) = {
    .synopsis = "OBJECT",
    .summary = "How values are kept: a container.",
    .since = "2.2.3",
    .group = "generic",
    .complexity = "Depends on subcommand.",
    .flags = CMD_CONTAINER,
};

#define OBJECT(name_, since_, synopsis_, summary_)                      \
    COMMAND(object_##name_) = { .synopsis = "OBJECT " synopsis_ " key", \
                                .summary = (summary_),                  \
                                .since = (since_),                      \
                                .group = "generic",                     \
                                .complexity = "O(1)",                   \
                                .flags = CMD_READONLY,                  \
                                .keys = KEY_RO,                         \
                                .acl = ACL_KEYSPACE,                    \
                                .tips = "nondeterministic_output",      \
                                .run = object_##name_ }
OBJECT(encoding, "2.2.3", "ENCODING", "Tells how a value is kept.");
OBJECT(refcount, "2.2.3", "REFCOUNT", "Tells how many share a value.");
OBJECT(idletime, "2.2.3", "IDLETIME", "Tells for how many seconds a key was not written.");
OBJECT(freq, "4.0.0", "FREQ", "Tells how often a key was used lately.");

COMMAND(object_help) = {
    .synopsis = "OBJECT HELP",
    .summary = "Prints what the subcommands are.",
    .since = "6.2.0",
    .group = "generic",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE,
    .acl = ACL_KEYSPACE,
    .run = object_help,
};

/* ---- MEMORY ---- */

static enum outcome memory_usage(struct call *call) {
    int64_t samples;
    for (struct words w = call_rest(call, 3); words_left(&w);) {
        size_t value;
        if (!words_take_value(&w, BYTES("SAMPLES"), &value)) return fail(call, ERR_SYNTAX);
        if (!arg_int(call, value, &samples)) return FAILED;
        if (samples < 0) return fail(call, ERR_SYNTAX);
    }
    struct key key = call_key(call, 2);
    size_t size = store_key_memory(call->txn, &key);
    return size ? reply_int(call, (int64_t)size) : reply_null(call);
}

static void put_figure(struct call *call, const char *name, uint64_t n) {
    reply_text(call, name);
    reply_int(call, (int64_t)n);
}

static void put_share(struct call *call, const char *name, double n) {
    reply_text(call, name);
    call->reply->writer->number(call->reply, n);
}

static double share(uint64_t a, uint64_t b) {
    return b ? (double)a / (double)b : 0;
}

static enum outcome memory_stats(struct call *call) {
    static const char *const zeros[] = { "replication.backlog", "clients.slaves", "clients.normal",
                                         "cluster.links",       "aof.buffer",     "lua.caches",
                                         "functions.caches" };
    struct store_stats stats;
    store_stats(call->pulse->store, call->txn, &stats);
    uint64_t used = pulse_used_memory(), resident = pulse_resident_memory();
    uint64_t peak = atomic_load_explicit(&call->pulse->peak_memory, memory_order_relaxed);
    if (peak < used) peak = used;
    uint64_t overhead =
        stats.index_memory + stats.wheel_memory + stats.history_memory + stats.limbo_bytes;
    uint64_t beyond = resident > used ? resident - used : 0;
    call->reply->writer->map(call->reply, 27);
    put_figure(call, "peak.allocated", peak);
    put_figure(call, "total.allocated", used);
    put_figure(call, "startup.allocated", 0);
    for (size_t i = 0; i < COUNT_OF(zeros); i++) put_figure(call, zeros[i], 0);
    put_figure(call, "overhead.total", overhead);
    put_figure(call, "keys.count", stats.keys);
    put_figure(call, "keys.bytes-per-key",
               stats.keys ? (stats.data_memory + stats.index_memory) / stats.keys : 0);
    put_figure(call, "dataset.bytes", stats.data_memory);
    put_share(call, "dataset.percentage", 100 * share(stats.data_memory, used));
    put_share(call, "peak.percentage", 100 * share(used, peak));
    put_figure(call, "allocator.allocated", used);
    put_figure(call, "allocator.active", used);
    put_figure(call, "allocator.resident", resident);
    put_share(call, "allocator-fragmentation.ratio", 1);
    put_figure(call, "allocator-fragmentation.bytes", 0);
    put_share(call, "allocator-rss.ratio", share(resident, used));
    put_figure(call, "allocator-rss.bytes", beyond);
    put_share(call, "rss-overhead.ratio", 1);
    put_figure(call, "rss-overhead.bytes", 0);
    put_share(call, "fragmentation", share(resident, used));
    put_figure(call, "fragmentation.bytes", beyond);
    return DONE;
}

static enum outcome memory_doctor(struct call *call) {
    struct store_stats stats;
    store_stats(call->pulse->store, call->txn, &stats);
    uint64_t used = pulse_used_memory(), resident = pulse_resident_memory();
    struct buffer text;
    buffer_init(&text, MALLOC_STATS_SIZE_MAX);
    if (used > (uint64_t)64 << 20 && resident > used + used / 2)
        buffer_format(&text,
                      "* Resident memory is %.1f times what is in use: MEMORY PURGE gives "
                      "free pages back.\n",
                      share(resident, used));
    if (stats.history_memory > stats.data_memory && stats.history_memory > (uint64_t)64 << 20)
        buffer_format(&text, "* The past takes more memory than the present: history-memory and "
                             "history-window bound it.\n");
    if (stats.wheel_lag_ms > 1000)
        buffer_format(&text, "* Expiry is %" PRIu64 " ms behind.\n", stats.wheel_lag_ms);
    if (text.len == 0) buffer_format(&text, "No problem found.\n");
    call->reply->writer->verbatim(call->reply, buffer_bytes(&text));
    buffer_deinit(&text);
    return DONE;
}

#ifdef PULSE_PLAIN_MALLOC
static enum outcome memory_purge(struct call *call) {
    return reply_ok(call);
}

static enum outcome memory_malloc_stats(struct call *call) {
    return reply_text(call, "Stats not supported for the current allocator");
}
#else
static enum outcome memory_purge(struct call *call) {
    char name[32];
    snprintf(name, sizeof name, "arena.%u.purge", (unsigned)MALLCTL_ARENAS_ALL);
    if (mallctl(name, NULL, NULL, NULL, 0) != 0) return fail(call, "ERR Error purging dirty pages");
    return reply_ok(call);
}

static void collect(void *self, const char *text) {
    buffer_put(self, bytes_of(text));
}

static enum outcome memory_malloc_stats(struct call *call) {
    struct buffer text;
    buffer_init(&text, MALLOC_STATS_SIZE_MAX);
    malloc_stats_print(collect, &text, NULL);
    call->reply->writer->verbatim(call->reply, buffer_bytes(&text));
    buffer_deinit(&text);
    return DONE;
}
#endif

static enum outcome memory_help(struct call *call) {
    static const char *const lines[] = {
        "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "DOCTOR",
        "    What looks wrong.",
        "MALLOC-STATS",
        "    What the allocator says of itself.",
        "PURGE",
        "    Give free pages back to the system.",
        "STATS",
        "    What takes how much.",
        "USAGE <key> [SAMPLES <count>]",
        "    The bytes that a key and its value take.",
        "HELP",
        "    Print this help.",
    };
    return reply_help(call, lines, COUNT_OF(lines));
}

COMMAND(memory) = {
    .synopsis = "MEMORY",
    .summary = "Who takes memory: a container.",
    .since = "4.0.0",
    .group = "server",
    .complexity = "Depends on subcommand.",
    .flags = CMD_CONTAINER,
};

COMMAND(memory_usage) = {
    .synopsis = "MEMORY USAGE key [SAMPLES count:int]",
    .summary = "Tells how many bytes a key takes.",
    .since = "4.0.0",
    .group = "server",
    .complexity = "O(N) where N is the number of samples.",
    .flags = CMD_READONLY,
    .keys = KEY_RO,
    .run = memory_usage,
};

#define MEMORY(name_, synopsis_, summary_, complexity_, flags_, tips_) \
    COMMAND(memory_##name_) = { .synopsis = "MEMORY " synopsis_,       \
                                .summary = (summary_),                 \
                                .since = "4.0.0",                      \
                                .group = "server",                     \
                                .complexity = (complexity_),           \
                                .flags = (flags_),                     \
                                .tips = (tips_),                       \
                                .run = memory_##name_ }
MEMORY(doctor, "DOCTOR", "Tells what looks wrong.", "O(1)", 0,
       "nondeterministic_output request_policy:all_shards response_policy:special");
MEMORY(stats, "STATS", "Tells what takes how much.", "O(1)", 0,
       "nondeterministic_output request_policy:all_shards response_policy:special");
MEMORY(malloc_stats, "MALLOC-STATS", "Shows the allocator's own report.",
       "Depends on how much memory is allocated, could be slow", 0,
       "nondeterministic_output request_policy:all_shards response_policy:special");
MEMORY(purge, "PURGE", "Gives free pages back to the system.",
       "Depends on how much memory is allocated, could be slow", 0,
       "request_policy:all_shards response_policy:all_succeeded");
MEMORY(help, "HELP", "Prints what the subcommands are.", "O(1)", CMD_LOADING | CMD_STALE, NULL);

/* ---- DEBUG ---- */

static bool debug_allowed(struct call *call) {
    int64_t who = setting_int(call->pulse->settings, enable_debug_command); /* no, yes, local */
    if (who == 1 || (who == 2 && session_is_local(call->session))) return true;
    fail(call, "ERR DEBUG command not allowed. If the enable-debug-command option is set to "
               "\"local\", you can run it from a local connection, otherwise you need to set this "
               "option in the configuration file, and then restart the server.");
    return false;
}

/* The number at the beginning of a word, as atof has it: 0 without one. */
static double number_at(struct call *call, size_t i) {
    struct bytes word = call->args[i];
    if (word.len > 64) return 0;
    double number =
        strtod(arena_format(call->arena, "%.*s%c", (int)word.len, word.data, 0).data, NULL);
    return isnan(number) ? 0 : number;
}

/* Stops this loop, with whatever else it serves. */
static enum outcome debug_sleep(struct call *call) {
    double seconds = number_at(call, 2);
    if (seconds < 0) seconds = 0;
    if (seconds > SLEEP_SECONDS_MAX) seconds = SLEEP_SECONDS_MAX;
    struct env *env = call->pulse->env;
    env->ops->sleep_ns(env, (uint64_t)(seconds * 1e9));
    return reply_ok(call);
}

static enum outcome debug_object(struct call *call) {
    struct value value;
    if (!look(call, 2, &value)) return fail(call, ERR_NO_SUCH_KEY);
    int64_t idle = idle_seconds(call, &value);
    struct bytes text =
        arena_format(call->arena,
                     "Value at:0x%" PRIx64 " refcount:%" PRId64
                     " encoding:%s serializedlength:%zu lru:%" PRIu64 " lru_seconds_idle:%" PRId64,
                     value.stamp, references(&value), encoding_name(&value),
                     value_text_len(&value) + 1, value.stamp / 1000000000 & 0xffffff, idle);
    call->reply->writer->status(call->reply, text);
    return DONE;
}

static enum outcome debug_set_active_expire(struct call *call) {
    struct store *store = call->pulse->store;
    struct store_settings settings = store_settings(store);
    settings.active_expire = number_at(call, 2) != 0;
    store_configure(store, &settings);
    return reply_ok(call);
}

/* Whether a pattern matches a text of so many 'a', to time how long that takes. */
static enum outcome debug_stringmatch_len(struct call *call) {
    int64_t len;
    if (!arg_int_range(call, 2, 0, STRINGMATCH_SIZE_MAX, &len)) return FAILED;
    char *text = arena_new(call->arena, (size_t)len + 1);
    memset(text, 'a', (size_t)len);
    return reply_int(call, glob_match(call->args[3], (struct bytes){ text, (size_t)len }, false));
}

static enum outcome debug_help(struct call *call) {
    static const char *const lines[] = {
        "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "OBJECT <key>",
        "    What is known of a key's value.",
        "RELOAD",
        "    Write everything as an RDB file, flush, and read it back.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    0: keys whose time is over go when they are next used, not before.",
        "SLEEP <seconds>",
        "    Do nothing for so long.",
        "STRINGMATCH-LEN <len> <pattern>",
        "    Match a pattern against so many times 'a'.",
        "HELP",
        "    Print this help.",
    };
    return reply_help(call, lines, COUNT_OF(lines));
}

static enum outcome debug(struct call *call) {
    static const struct {
        const char *name;
        size_t words;
        enum outcome (*run)(struct call *call);
    } parts[] = {
        { "sleep", 3, debug_sleep },
        { "object", 3, debug_object },
        { "reload", 2, debug_reload },
        { "set-active-expire", 3, debug_set_active_expire },
        { "stringmatch-len", 4, debug_stringmatch_len },
        { "help", 2, debug_help },
    };
    if (!debug_allowed(call)) return FAILED;
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (call->args_count == parts[i].words && arg_is(call, 1, bytes_of(parts[i].name)))
            return parts[i].run(call);
    return fail_subcommand_words(call);
}

COMMAND(debug) = {
    .synopsis = "DEBUG subcommand [argument ...]",
    .summary = "For tests and for those who look for a fault.",
    .since = "1.0.0",
    .group = "server",
    .complexity = "Depends on subcommand.",
    /* Unlocked: the key of OBJECT is none of the synopsis', so nobody locks its shard before. */
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_UNLOCKED,
    .run = debug,
};
