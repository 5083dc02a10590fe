/* observe.c: the settings' thresholds in ticks, and what is done with a command that reached one. */
#include "command/observe.h"

#include <stdio.h>

#include "base/env.h"
#include "base/mem.h"
#include "base/number.h"
#include "command/pulse.h"
#include "command/redact.h"

enum { US_PER_MS = 1000 };

/* ---- settings ---- */

static uint64_t slowlog_ticks(struct observer *observer) {
    int64_t us = setting_int(observer->settings, slowlog_log_slower_than);
    return us < 0 ? UINT64_MAX : ticks_of_us(observer->rate, (uint64_t)us);
}

static uint64_t latency_ticks(struct observer *observer) {
    uint64_t ms = atomic_load_explicit(&observer->latency.threshold_ms, memory_order_relaxed);
    if (ms == 0) return UINT64_MAX;
    return ticks_of_us(observer->rate, ms < UINT64_MAX / US_PER_MS ? ms * US_PER_MS : UINT64_MAX);
}

static void configure(struct observer *observer) {
    atomic_store_explicit(&observer->latency.threshold_ms,
                          (uint64_t)setting_int(observer->settings, latency_monitor_threshold),
                          memory_order_relaxed);
    slowlog_limit(observer->slowlog, (uint64_t)setting_int(observer->settings, slowlog_max_len));
    uint64_t of_slowlog = slowlog_ticks(observer), of_latency = latency_ticks(observer);
    uint64_t least = of_slowlog < of_latency ? of_slowlog : of_latency;
    if (least > CALL_TICKS_MAX) least = CALL_TICKS_MAX;
    atomic_store_explicit(&observer->slowlog_ticks, of_slowlog, memory_order_relaxed);
    atomic_store_explicit(&observer->slow_ticks, least, memory_order_relaxed);
}

static bool changed(void *self, enum setting_id id, struct problem *why) {
    (void)id;
    (void)why;
    configure(self);
    return true;
}

static bool percentiles_changed(void *self, enum setting_id id, struct problem *why) {
    struct observer *observer = self;
    struct arena arena;
    arena_init(&arena);
    size_t count;
    struct bytes *words = settings_words(observer->settings, id, &arena, &count);
    bool good = count <= PERCENTILES_MAX;
    if (!good) problem_set(why, INVALID, 0, "at most %d percentiles", PERCENTILES_MAX);
    for (size_t i = 0; good && i < count; i++) {
        double n;
        if (!double_parse(words[i], &n)) {
            problem_set(why, INVALID, 0, "Invalid latency-tracking-info-percentiles parameters");
            good = false;
        } else if (!(n >= 0 && n <= 100)) {
            problem_set(why, INVALID, 0,
                        "latency-tracking-info-percentiles parameters should sit between "
                        "[0.0,100.0]");
            good = false;
        }
    }
    arena_deinit(&arena);
    return good;
}

void observer_percentiles(struct observer *observer, struct arena *arena, struct percentiles *out) {
    size_t count;
    struct bytes *words = settings_words(
        observer->settings, SETTING_ID_latency_tracking_info_percentiles, arena, &count);
    out->count = 0;
    for (size_t i = 0; i < count && out->count < PERCENTILES_MAX; i++) {
        double n;
        if (!double_parse(words[i], &n) || !(n >= 0 && n <= 100)) continue; /* a file's */
        out->texts[out->count] = words[i];
        out->numbers[out->count++] = n;
    }
}

struct observer *observer_new(struct env *env, struct settings *settings) {
    struct observer *observer = mem_new_zero(sizeof *observer);
    observer->env = env;
    observer->settings = settings;
    observer->rate = ticks_rate_measure();
    observer->board = calls_board_new();
    observer->slowlog = slowlog_new();
    latency_init(&observer->latency);
    error_words_init(&observer->errors);
    configure(observer);
    static const enum setting_id heard[] = { SETTING_ID_slowlog_log_slower_than,
                                             SETTING_ID_slowlog_max_len,
                                             SETTING_ID_latency_monitor_threshold };
    for (size_t i = 0; i < COUNT_OF(heard); i++)
        settings_on_change(settings, heard[i], changed, observer);
    settings_on_change(settings, SETTING_ID_latency_tracking_info_percentiles, percentiles_changed,
                       observer);
    return observer;
}

struct observer *observer_free(struct observer *observer) {
    if (!observer) return NULL;
    observer->board = calls_board_free(observer->board);
    observer->slowlog = slowlog_free(observer->slowlog);
    latency_deinit(&observer->latency);
    error_words_deinit(&observer->errors);
    mem_free(observer, sizeof *observer);
    return NULL;
}

/* ---- what took long ---- */

static int64_t now_s(struct observer *observer) {
    return (int64_t)(env_realtime_ns(observer->env) / 1000000000);
}

static void keep_in_slowlog(struct observer *observer, const struct call *call, uint64_t us) {
    struct bytes shown[SLOWLOG_WORDS_MAX], cut[SLOWLOG_WORDS_MAX];
    char scratch[SLOWLOG_SCRATCH];
    size_t count = slowlog_cut(call->args, call->args_count, cut, scratch);
    for (size_t i = 0; i < count; i++) {
        bool left_out = i + 1 == count && count < call->args_count; /* "... (9 more arguments)" */
        bool secret = !left_out && word_is_secret(call->info, call->args, i);
        shown[i] = secret ? REDACTED : cut[i];
    }
    struct slowlog_entry entry = {
        .second = now_s(observer),
        .us = us,
        .address = bytes_of(call->session->address),
        .name = call->session->name,
        .words_count = count,
        .words = shown,
    };
    slowlog_put(observer->slowlog, &entry);
}

uint64_t observer_slow(struct observer *observer, const struct call *call, uint64_t ticks) {
    if ((int64_t)ticks < 0) ticks = 0; /* another processor's counter */
    uint64_t us = (uint64_t)ticks_to_us(observer->rate, ticks);
    uint32_t flags = call->info->flags;
    if (ticks >= atomic_load_explicit(&observer->slowlog_ticks, memory_order_relaxed) &&
        !(flags & CMD_SKIP_SLOWLOG))
        keep_in_slowlog(observer, call, us);
    if (latency_is_slow(&observer->latency, us / US_PER_MS))
        latency_add(&observer->latency, flags & CMD_FAST ? LATENCY_FAST_COMMAND : LATENCY_COMMAND,
                    us / US_PER_MS, now_s(observer));
    return ticks < CALL_TICKS_MAX ? ticks : CALL_TICKS_MAX - 1;
}

void observer_errors(struct observer *observer, struct calls *calls, struct bytes code,
                     uint64_t n) {
    calls_error(calls, error_words_number(&observer->errors, code), n);
}
