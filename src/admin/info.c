/* info.c: INFO, under Redis' names: sections of name:value lines. What this server has not (yet) is
 * there with the value that says so, because dashboards ask for the name. */
#include "admin/info_calls.h"
#include "command/command.h"
#include "command/pulse.h"
#include "command/tracking.h"
#include "log/persist.h"

#include <inttypes.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/env.h"
#include "store/past.h"

enum { INFO_SIZE_MAX = 1024 * 1024, SECONDS_PER_DAY = 86400, HUMAN_MAX = 32 };

static const char no_replid[] = "0000000000000000000000000000000000000000";

struct info {
    struct call *call;
    struct pulse *pulse;
    struct store_stats stats; /* taken once: the sections agree */
    struct buffer text;
};

static uint64_t counted(const struct info *info, enum counter counter) {
    return store_counter(info->pulse->store, counter);
}

static void put_text(struct info *info, const char *name, const char *value) {
    buffer_format(&info->text, "%s:%s\r\n", name, value);
}

static void put_count(struct info *info, const char *name, uint64_t n) {
    buffer_format(&info->text, "%s:%" PRIu64 "\r\n", name, n);
}

static void put_ratio(struct info *info, const char *name, double n) {
    buffer_format(&info->text, "%s:%.2f\r\n", name, n);
}

/* name and name_human */
static void put_size(struct info *info, const char *name, uint64_t size) {
    char human[HUMAN_MAX];
    size_human(human, size);
    buffer_format(&info->text, "%s:%" PRIu64 "\r\n%s_human:%s\r\n", name, size, name, human);
}

static void put_zeros(struct info *info, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) put_count(info, names[i], 0);
}
#define PUT_ZEROS(info, ...)                                \
    put_zeros((info), (const char *const[]){ __VA_ARGS__ }, \
              sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static double ratio(uint64_t a, uint64_t b) {
    return b ? (double)a / (double)b : 0;
}

static void server(struct info *info) {
    struct pulse *pulse = info->pulse;
    struct utsname system = {};
    uname(&system);
    uint64_t now_us = env_realtime_ns(pulse->env) / 1000;
    int64_t up = (int64_t)(now_us / 1000) - pulse->started_ms;
    uint64_t seconds = up > 0 ? (uint64_t)up / 1000 : 0;
    put_text(info, "redis_version", "7.2.4");
    put_text(info, "pulsedb_version", PULSE_VERSION);
    put_text(info, "redis_git_sha1", "00000000");
    put_text(info, "redis_git_dirty", "0");
    put_text(info, "redis_build_id", "0");
    put_text(info, "redis_mode", "standalone");
    buffer_format(&info->text, "os:%s %s %s\r\n", system.sysname, system.release, system.machine);
    put_count(info, "arch_bits", sizeof(void *) * 8);
    put_text(info, "monotonic_clock", "POSIX clock_gettime");
    put_text(info, "multiplexing_api", "epoll");
    put_text(info, "atomicvar_api", "c11-builtin");
    buffer_format(&info->text, "gcc_version:%d.%d.%d\r\n", __GNUC__, __GNUC_MINOR__,
                  __GNUC_PATCHLEVEL__);
    put_count(info, "process_id", (uint64_t)getpid());
    put_text(info, "process_supervised", "no");
    put_text(info, "run_id", pulse->run_id);
    put_count(info, "tcp_port", (uint64_t)setting_int(pulse->settings, port));
    put_count(info, "server_time_usec", now_us);
    put_count(info, "uptime_in_seconds", seconds);
    put_count(info, "uptime_in_days", seconds / SECONDS_PER_DAY);
    put_count(info, "hz", (uint64_t)setting_int(pulse->settings, hz));
    put_count(info, "configured_hz", (uint64_t)setting_int(pulse->settings, hz));
    put_count(info, "lru_clock", now_us / 1000000 & 0xffffff);
    put_text(info, "executable", pulse->executable ? pulse->executable : "");
    put_text(info, "config_file", pulse->config_file ? pulse->config_file : "");
    put_text(info, "io_threads_active", "0");
}

struct client_sums {
    uint64_t clients, blocked, memory;
};

static bool sum_client(void *self, struct session *session) {
    struct client_sums *sums = self;
    sums->clients++;
    sums->blocked += session_has(session, SESSION_BLOCKED);
    sums->memory += sizeof *session +
                    atomic_load_explicit(&session->query_size, memory_order_relaxed) +
                    atomic_load_explicit(&session->query_room, memory_order_relaxed) +
                    atomic_load_explicit(&session->multi_size, memory_order_relaxed) +
                    atomic_load_explicit(&session->output_size, memory_order_relaxed);
    return true;
}

static struct client_sums client_sums(struct pulse *pulse) {
    struct client_sums sums = {};
    sessions_each(pulse->sessions, sum_client, &sums);
    return sums;
}

static struct tracking_counts tracking_counts(const struct info *info) {
    struct tracking_counts counts = {};
    if (info->pulse->tracking) tracking_count(info->pulse->tracking, &counts);
    return counts;
}

static void clients(struct info *info) {
    struct pulse *pulse = info->pulse;
    struct client_sums sums = client_sums(pulse);
    put_count(info, "connected_clients", sums.clients);
    put_count(info, "cluster_connections", 0);
    put_count(info, "maxclients", (uint64_t)setting_int(pulse->settings, maxclients));
    put_count(info, "client_recent_max_input_buffer",
              atomic_load_explicit(&pulse->max_input_buffer, memory_order_relaxed));
    put_count(info, "client_recent_max_output_buffer",
              atomic_load_explicit(&pulse->max_output_buffer, memory_order_relaxed));
    put_count(info, "blocked_clients", sums.blocked);
    put_count(info, "tracking_clients", tracking_counts(info).clients);
    put_count(info, "pubsub_clients",
              atomic_load_explicit(&pulse->pubsub_clients, memory_order_relaxed));
    PUT_ZEROS(info, "clients_in_timeout_table", "total_blocking_keys",
              "total_blocking_keys_on_nokey");
}

static uint64_t memory_overhead(const struct store_stats *stats) {
    return stats->index_memory + stats->wheel_memory + stats->history_memory + stats->limbo_bytes;
}

static uint64_t memory_peak(struct pulse *pulse, uint64_t used) {
    uint64_t peak = atomic_load_explicit(&pulse->peak_memory, memory_order_relaxed);
    while (used > peak &&
           !atomic_compare_exchange_weak_explicit(&pulse->peak_memory, &peak, used,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    return used > peak ? used : peak;
}

static void memory_of_allocator(struct info *info, uint64_t used, uint64_t resident) {
    uint64_t beyond = resident > used ? resident - used : 0;
    put_ratio(info, "allocator_frag_ratio", 1);
    put_count(info, "allocator_frag_bytes", 0);
    put_ratio(info, "allocator_rss_ratio", ratio(resident, used));
    put_count(info, "allocator_rss_bytes", beyond);
    put_ratio(info, "rss_overhead_ratio", 1);
    put_count(info, "rss_overhead_bytes", 0);
    put_ratio(info, "mem_fragmentation_ratio", ratio(resident, used));
    put_count(info, "mem_fragmentation_bytes", beyond);
}

static void memory(struct info *info) {
    struct pulse *pulse = info->pulse;
    uint64_t used = pulse_used_memory(), resident = pulse_resident_memory();
    uint64_t peak = memory_peak(pulse, used);
    uint64_t dataset = info->stats.data_memory;
    put_size(info, "used_memory", used);
    put_size(info, "used_memory_rss", resident);
    put_size(info, "used_memory_peak", peak);
    buffer_format(&info->text, "used_memory_peak_perc:%.2f%%\r\n", 100 * ratio(used, peak));
    put_count(info, "used_memory_overhead", memory_overhead(&info->stats));
    put_count(info, "used_memory_startup", 0);
    put_count(info, "used_memory_dataset", dataset);
    buffer_format(&info->text, "used_memory_dataset_perc:%.2f%%\r\n", 100 * ratio(dataset, used));
    put_count(info, "allocator_allocated", used);
    put_count(info, "allocator_active", used);
    put_count(info, "allocator_resident", resident);
    put_size(info, "total_system_memory", pulse_machine_memory());
    put_size(info, "used_memory_lua", 0);
    PUT_ZEROS(info, "used_memory_vm_eval", "used_memory_scripts_eval", "number_of_cached_scripts",
              "number_of_functions", "number_of_libraries", "used_memory_vm_functions");
    put_size(info, "used_memory_vm_total", 0);
    put_count(info, "used_memory_functions", 0);
    put_size(info, "used_memory_scripts", 0);
    put_size(info, "maxmemory", (uint64_t)setting_int(pulse->settings, maxmemory));
    struct bytes policy =
        settings_get(pulse->settings, SETTING_ID_maxmemory_policy, info->call->arena);
    buffer_format(&info->text, "maxmemory_policy:%.*s\r\n", (int)policy.len, policy.data);
    memory_of_allocator(info, used, resident);
    PUT_ZEROS(info, "mem_not_counted_for_evict", "mem_replication_backlog",
              "mem_total_replication_buffers", "mem_clients_slaves");
    put_count(info, "mem_clients_normal", client_sums(pulse).memory);
    PUT_ZEROS(info, "mem_cluster_links", "mem_aof_buffer");
#ifdef PULSE_PLAIN_MALLOC
    put_text(info, "mem_allocator", "libc");
#else
    put_text(info, "mem_allocator", "jemalloc");
#endif
    PUT_ZEROS(info, "active_defrag_running", "lazyfree_pending_objects", "lazyfreed_objects");
}

static int64_t seconds(int64_t ms) {
    return ms < 0 ? -1 : ms / 1000;
}

static void put_signed(struct info *info, const char *name, int64_t n) {
    buffer_format(&info->text, "%s:%" PRId64 "\r\n", name, n);
}

static void loading(struct info *info, const struct persist_info *persist) {
    put_count(info, "loading_start_time", (uint64_t)(info->pulse->started_ms / 1000));
    put_count(info, "loading_total_bytes", persist->load_total);
    put_count(info, "loading_loaded_bytes", persist->load_bytes);
    put_ratio(info, "loading_loaded_perc", 100 * ratio(persist->load_bytes, persist->load_total));
    uint64_t now_ms = env_realtime_ns(info->pulse->env) / 1000000;
    uint64_t passed_ms = now_ms - (uint64_t)info->pulse->started_ms;
    put_count(info, "loading_loaded_seconds", passed_ms / 1000);
    uint64_t left = persist->load_total - persist->load_bytes;
    put_count(info, "loading_eta_seconds",
              persist->load_bytes ? passed_ms * left / persist->load_bytes / 1000 : 1);
}

/* Redis' two files are one thing here: a snapshot is RDB's and the AOF's base at once. */
static void snapshots(struct info *info, const struct persist_info *persist) {
    bool rewrites = persist->cause == PERSIST_BY_REWRITE;
    const char *status = persist->last_failed ? "err" : "ok";
    put_count(info, "current_save_keys_processed", persist->keys_done);
    put_count(info, "current_save_keys_total", persist->keys_total);
    put_count(info, "rdb_changes_since_last_save", persist->changes_since);
    put_count(info, "rdb_bgsave_in_progress", persist->snapshot_running && !rewrites);
    put_signed(info, "rdb_last_save_time",
               persist->last_save_s ? persist->last_save_s : info->pulse->started_ms / 1000);
    put_text(info, "rdb_last_bgsave_status", status);
    put_signed(info, "rdb_last_bgsave_time_sec", seconds(persist->last_took_ms));
    put_signed(info, "rdb_current_bgsave_time_sec", rewrites ? -1 : seconds(persist->running_ms));
    put_count(info, "rdb_saves", persist->snapshots);
    PUT_ZEROS(info, "rdb_last_cow_size", "rdb_last_load_keys_expired");
    put_count(info, "rdb_last_load_keys_loaded", persist->loaded_keys);
    put_count(info, "aof_enabled", persist->state != PERSIST_OFF);
    put_count(info, "aof_rewrite_in_progress", persist->snapshot_running && rewrites);
    PUT_ZEROS(info, "aof_rewrite_scheduled");
    put_signed(info, "aof_last_rewrite_time_sec", seconds(persist->last_took_ms));
    put_signed(info, "aof_current_rewrite_time_sec", rewrites ? seconds(persist->running_ms) : -1);
    put_text(info, "aof_last_bgrewrite_status", status);
    put_count(info, "aof_rewrites", persist->snapshots);
    put_count(info, "aof_rewrites_consecutive_failures", persist->last_failed);
    put_text(info, "aof_last_write_status", persist->last_write_ok ? "ok" : "err");
    PUT_ZEROS(info, "aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size");
}

static const char *const state_words[] = {
    [PERSIST_RECOVERING] = "recovering", [PERSIST_OFF] = "off",       [PERSIST_LOGGING] = "logging",
    [PERSIST_REFUSING] = "refusing",     [PERSIST_BROKEN] = "broken",
};

static void log_figures(struct info *info, const struct persist_info *persist) {
    if (persist->state != PERSIST_OFF) {
        put_count(info, "aof_current_size", persist->base_size + persist->log_size);
        put_count(info, "aof_base_size", persist->base_size);
        PUT_ZEROS(info, "aof_pending_rewrite", "aof_buffer_length", "aof_pending_bio_fsync",
                  "aof_delayed_fsync");
    }
    put_text(info, "log_state", state_words[persist->state]);
    put_count(info, "log_size", persist->log_size);
    put_count(info, "log_written_us", persist->written_cut / 1000);
    put_count(info, "log_durable_us", persist->synced_cut / 1000);
    put_count(info, "log_syncs", persist->syncs);
    put_count(info, "log_last_sync_ms", persist->sync_ms_last);
    put_count(info, "log_max_sync_ms", persist->sync_ms_max);
    put_count(info, "log_write_errors", persist->write_errors);
    put_count(info, "log_sync_errors", persist->sync_errors);
    put_count(info, "log_heals", persist->heals);
    put_count(info, "log_torn_bytes", persist->torn_bytes);
    put_count(info, "log_replayed_records", persist->loaded_records);
    put_count(info, "load_ms", persist->load_ms);
}

static void persistence(struct info *info) {
    struct persist_info persist = {
        .state = PERSIST_OFF, .last_write_ok = true, .last_took_ms = -1, .running_ms = -1
    };
    if (info->pulse->persist) persist_info(info->pulse->persist, &persist);
    bool loads = atomic_load_explicit(&info->pulse->gates, memory_order_relaxed) & PULSE_LOADING;
    put_count(info, "loading", loads);
    PUT_ZEROS(info, "async_loading", "current_cow_peak", "current_cow_size",
              "current_cow_size_age");
    put_ratio(info, "current_fork_perc", 0);
    snapshots(info, &persist);
    log_figures(info, &persist);
    if (loads) loading(info, &persist);
}

static double kilobytes(_Atomic uint64_t *rate) {
    return (double)atomic_load_explicit(rate, memory_order_relaxed) / 1024;
}

static void stats(struct info *info) {
    struct pulse *pulse = info->pulse;
    put_count(info, "total_connections_received", counted(info, COUNTER_connections_received));
    put_count(info, "total_commands_processed", counted(info, COUNTER_commands_processed));
    put_count(info, "instantaneous_ops_per_sec",
              atomic_load_explicit(&pulse->ops_per_second, memory_order_relaxed));
    put_count(info, "total_net_input_bytes", counted(info, COUNTER_net_input_bytes));
    put_count(info, "total_net_output_bytes", counted(info, COUNTER_net_output_bytes));
    PUT_ZEROS(info, "total_net_repl_input_bytes", "total_net_repl_output_bytes");
    put_ratio(info, "instantaneous_input_kbps", kilobytes(&pulse->input_per_second));
    put_ratio(info, "instantaneous_output_kbps", kilobytes(&pulse->output_per_second));
    put_ratio(info, "instantaneous_input_repl_kbps", 0);
    put_ratio(info, "instantaneous_output_repl_kbps", 0);
    put_count(info, "rejected_connections", counted(info, COUNTER_connections_rejected));
    PUT_ZEROS(info, "sync_full", "sync_partial_ok", "sync_partial_err");
    put_count(info, "expired_keys", counted(info, COUNTER_expired_keys));
    put_ratio(info, "expired_stale_perc", 0);
    PUT_ZEROS(info, "expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds",
              "evicted_keys");
    put_count(info, "evicted_clients", counted(info, COUNTER_clients_evicted));
    PUT_ZEROS(info, "total_eviction_exceeded_time", "current_eviction_exceeded_time");
    put_count(info, "keyspace_hits", counted(info, COUNTER_keyspace_hits));
    put_count(info, "keyspace_misses", counted(info, COUNTER_keyspace_misses));
    put_count(info, "pubsub_channels",
              atomic_load_explicit(&pulse->pubsub_channels, memory_order_relaxed));
    put_count(info, "pubsub_patterns",
              atomic_load_explicit(&pulse->pubsub_patterns, memory_order_relaxed));
    put_count(info, "pubsubshard_channels",
              atomic_load_explicit(&pulse->pubsub_shard_channels, memory_order_relaxed));
    PUT_ZEROS(info, "latest_fork_usec", "total_forks", "migrate_cached_sockets",
              "slave_expires_tracked_keys", "active_defrag_hits", "active_defrag_misses",
              "active_defrag_key_hits", "active_defrag_key_misses", "total_active_defrag_time",
              "current_active_defrag_time");
    struct tracking_counts tracked = tracking_counts(info);
    put_count(info, "tracking_total_keys", tracked.keys);
    put_count(info, "tracking_total_items", tracked.items);
    put_count(info, "tracking_total_prefixes", tracked.prefixes);
    PUT_ZEROS(info, "unexpected_error_replies");
    put_count(info, "total_error_replies", counted(info, COUNTER_error_replies));
    put_count(info, "dump_payload_sanitizations", 0);
    put_count(info, "total_reads_processed", counted(info, COUNTER_reads_processed));
    put_count(info, "total_writes_processed", counted(info, COUNTER_writes_processed));
    PUT_ZEROS(info, "io_threaded_reads_processed", "io_threaded_writes_processed");
    put_count(info, "client_query_buffer_limit_disconnections",
              counted(info, COUNTER_clients_closed_query));
    put_count(info, "client_output_buffer_limit_disconnections",
              counted(info, COUNTER_clients_closed_output));
    PUT_ZEROS(info, "reply_buffer_shrinks", "reply_buffer_expands");
    put_count(info, "acl_access_denied_auth", counted(info, COUNTER_auth_failures));
    put_count(info, "acl_access_denied_cmd", counted(info, COUNTER_commands_denied));
    put_count(info, "acl_access_denied_key", counted(info, COUNTER_keys_denied));
    put_count(info, "acl_access_denied_channel", counted(info, COUNTER_channels_denied));
}

static void replication(struct info *info) {
    put_text(info, "role", "master");
    put_text(info, "connected_slaves", "0");
    put_text(info, "master_failover_state", "no-failover");
    put_text(info, "master_replid", info->pulse->run_id);
    put_text(info, "master_replid2", no_replid);
    put_text(info, "master_repl_offset", "0");
    put_text(info, "second_repl_offset", "-1");
    put_text(info, "repl_backlog_active", "0");
    put_count(info, "repl_backlog_size",
              (uint64_t)setting_int(info->pulse->settings, repl_backlog_size));
    PUT_ZEROS(info, "repl_backlog_first_byte_offset", "repl_backlog_histlen");
}

static void put_time(struct info *info, const char *name, struct timeval time) {
    buffer_format(&info->text, "%s:%lld.%06lld\r\n", name, (long long)time.tv_sec,
                  (long long)time.tv_usec);
}

static void cpu(struct info *info) {
    struct rusage self = {}, children = {};
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    put_time(info, "used_cpu_sys", self.ru_stime);
    put_time(info, "used_cpu_user", self.ru_utime);
    put_time(info, "used_cpu_sys_children", children.ru_stime);
    put_time(info, "used_cpu_user_children", children.ru_utime);
    struct rusage thread = {};
    getrusage(RUSAGE_THREAD, &thread); /* all threads serve; this one answers for "main" */
    put_time(info, "used_cpu_sys_main_thread", thread.ru_stime);
    put_time(info, "used_cpu_user_main_thread", thread.ru_utime);
}

static void nothing(struct info *info) {
    (void)info;
}

static void commandstats(struct info *info) {
    info_commandstats(info->pulse, &info->text);
}

static void errorstats(struct info *info) {
    info_errorstats(info->pulse, &info->text);
}

static void latencystats(struct info *info) {
    info_latencystats(info->pulse, info->call->arena, &info->text);
}

static void cluster(struct info *info) {
    put_text(info, "cluster_enabled", "0");
}

static void keyspace(struct info *info) {
    for (uint32_t db = 0; db < store_databases(info->pulse->store); db++) {
        struct db_stats stats = {};
        store_db_stats(info->pulse->store, info->call->txn, db, &stats);
        if (stats.keys == 0) continue;
        buffer_format(&info->text,
                      "db%" PRIu32 ":keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=%" PRId64 "\r\n",
                      db, stats.keys, stats.expires, stats.average_ttl_ms);
    }
}

static void pulsedb(struct info *info) {
    struct store *store = info->pulse->store;
    const struct store_stats *stats = &info->stats;
    put_count(info, "shards", store_shards(store));
    put_count(info, "threads", info->pulse->loops_count);
    put_text(info, "history", store_settings(store).history ? "yes" : "no");
    put_count(info, "history_versions", stats->history_records);
    put_count(info, "history_bytes", stats->history_memory);
    put_count(info, "history_budget_bytes", stats->history_budget);
    put_count(info, "history_horizon_ms", past_horizon(store, info->call->txn) / 1000000);
    put_count(info, "history_pins_dropped", stats->pins_dropped);
    put_count(info, "last_stamp", stats->last_stamp);
    put_count(info, "tombstones", stats->tombstones);
    put_count(info, "data_bytes", stats->data_memory);
    put_count(info, "index_bytes", stats->index_memory);
    put_count(info, "index_buckets", stats->buckets);
    put_count(info, "index_overflow_buckets", stats->overflow_buckets);
    put_count(info, "wheel_bytes", stats->wheel_memory);
    put_count(info, "wheel_lag_ms", stats->wheel_lag_ms);
    put_count(info, "limbo_bytes", stats->limbo_bytes);
    put_count(info, "reads_unlocked", counted(info, COUNTER_reads_unlocked));
    put_count(info, "batches", counted(info, COUNTER_batches));
    PUT_ZEROS(info, "functions_loaded", "functions_calls", "functions_errors",
              "streams_dedup_entries");
    put_text(info, "journal_mode", "off");
    PUT_ZEROS(info, "journal_last_seq", "journal_ack_p99_us");
}

/* In the order in which they are shown. */
static const struct section {
    const char *name;
    const char *title;
    bool by_default;
    void (*put)(struct info *info);
} sections[] = {
    { "server", "Server", true, server },
    { "clients", "Clients", true, clients },
    { "memory", "Memory", true, memory },
    { "persistence", "Persistence", true, persistence },
    { "stats", "Stats", true, stats },
    { "replication", "Replication", true, replication },
    { "cpu", "CPU", true, cpu },
    { "modules", "Modules", true, nothing },
    { "commandstats", "Commandstats", false, commandstats },
    { "errorstats", "Errorstats", true, errorstats },
    { "latencystats", "Latencystats", false, latencystats },
    { "cluster", "Cluster", true, cluster },
    { "keyspace", "Keyspace", true, keyspace },
    { "pulsedb", "PulseDB", true, pulsedb },
};

static bool asked_for(const struct call *call, const struct section *section) {
    if (call->args_count == 1) return section->by_default;
    for (size_t i = 1; i < call->args_count; i++) {
        if (arg_is(call, i, BYTES("all")) || arg_is(call, i, BYTES("everything"))) return true;
        if (section->by_default && arg_is(call, i, BYTES("default"))) return true;
        if (arg_is(call, i, bytes_of(section->name))) return true;
    }
    return false;
}

static enum outcome info_run(struct call *call) {
    struct info info = { .call = call, .pulse = call->pulse };
    store_stats(call->pulse->store, call->txn, &info.stats);
    buffer_init(&info.text, INFO_SIZE_MAX);
    for (size_t i = 0; i < COUNT_OF(sections); i++) {
        if (!asked_for(call, &sections[i])) continue;
        buffer_format(&info.text, "%s# %s\r\n", info.text.len ? "\r\n" : "", sections[i].title);
        sections[i].put(&info);
    }
    call->reply->writer->verbatim(call->reply, buffer_bytes(&info.text));
    buffer_deinit(&info.text);
    return DONE;
}

COMMAND(info) = {
    .synopsis = "INFO [section [section ...]]",
    .summary = "Describes the server, section by section.",
    .since = "1.0.0",
    .history = "7.0.0: Several sections.",
    .group = "server",
    .complexity = "O(1)",
    .flags = CMD_LOADING | CMD_STALE,
    .acl = ACL_DANGEROUS,
    .tips = "nondeterministic_output request_policy:all_shards response_policy:special",
    .run = info_run,
};
