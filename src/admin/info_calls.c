/* info_calls.c: a line for each command that was called, and for each kind of error, as Redis writes
 * them. Commands stand in the order of their numbers. */
#include "admin/info_calls.h"

#include <inttypes.h>

#include "base/buffer.h"
#include "command/observe.h"
#include "command/pulse.h"

void info_commandstats(struct pulse *pulse, struct buffer *text) {
    const struct observer *observer = pulse->observer;
    for (size_t i = 0; i < commands_count(pulse->commands); i++) {
        const struct command_info *info = commands_at(pulse->commands, i);
        struct call_total total;
        calls_total(observer->board, info->id, &total);
        if (total.calls == 0 && total.rejected == 0) continue;
        double us = ticks_to_us(observer->rate, total.ticks);
        buffer_format(text,
                      "cmdstat_%.*s:calls=%" PRIu64 ",usec=%" PRIu64 ",usec_per_call=%.2f,"
                      "rejected_calls=%" PRIu64 ",failed_calls=%" PRIu64 "\r\n",
                      (int)info->name.len, info->name.data, total.calls, (uint64_t)us,
                      total.calls ? us / (double)total.calls : 0, total.rejected, total.failed);
    }
}

void info_errorstats(struct pulse *pulse, struct buffer *text) {
    struct observer *observer = pulse->observer;
    for (unsigned i = 0; i < error_words_count(&observer->errors); i++) {
        uint64_t n = calls_errors(observer->board, i);
        struct bytes word = error_words_at(&observer->errors, i);
        if (n)
            buffer_format(text, "errorstat_%.*s:count=%" PRIu64 "\r\n", (int)word.len, word.data,
                          n);
    }
}

void info_latencystats(struct pulse *pulse, struct arena *arena, struct buffer *text) {
    struct observer *observer = pulse->observer;
    if (!setting_int(pulse->settings, latency_tracking)) return;
    struct percentiles percentiles;
    observer_percentiles(observer, arena, &percentiles);
    for (size_t i = 0; i < commands_count(pulse->commands); i++) {
        const struct command_info *info = commands_at(pulse->commands, i);
        struct call_total total;
        calls_total(observer->board, info->id, &total);
        if (total.calls == 0) continue;
        buffer_format(text, "latency_percentiles_usec_%.*s:", (int)info->name.len, info->name.data);
        for (size_t p = 0; p < percentiles.count; p++) {
            uint64_t ticks = call_quantile(&total, percentiles.numbers[p] / 100);
            buffer_format(text, "%sp%.*s=%.3f", p ? "," : "", (int)percentiles.texts[p].len,
                          percentiles.texts[p].data, ticks_to_us(observer->rate, ticks));
        }
        buffer_put(text, BYTES("\r\n"));
    }
}
