/* latency.c: a ring of samples for each event, under one lock: what is slow is rare. */
#include "metrics/latency.h"

void latency_init(struct latency *latency) {
    memset(latency, 0, sizeof *latency);
    pthread_mutex_init(&latency->lock, NULL);
}

void latency_deinit(struct latency *latency) {
    pthread_mutex_destroy(&latency->lock);
}

static const char *const names[] = {
#define X(name, text) [LATENCY_##name] = text,
    LATENCY_EVENTS(X)
#undef X
};

const char *latency_event_name(enum latency_event event) {
    return names[event];
}

bool latency_event_find(struct bytes name, enum latency_event *event) {
    for (unsigned i = 0; i < LATENCY_EVENTS_COUNT; i++) {
        if (!bytes_equal_nocase(bytes_of(names[i]), name)) continue;
        *event = (enum latency_event)i;
        return true;
    }
    return false;
}

/* The newest of a ring that has any. */
static struct latency_sample *newest(struct latency_ring *ring) {
    return &ring->samples[(ring->next + LATENCY_SAMPLES - 1) % LATENCY_SAMPLES];
}

static void put(struct latency_ring *ring, struct latency_sample sample) {
    if (sample.ms > ring->max_ms) ring->max_ms = sample.ms;
    if (ring->count && newest(ring)->second == sample.second) {
        if (sample.ms > newest(ring)->ms) newest(ring)->ms = sample.ms;
        return;
    }
    ring->samples[ring->next] = sample;
    ring->next = (ring->next + 1) % LATENCY_SAMPLES;
    if (ring->count < LATENCY_SAMPLES) ring->count++;
}

void latency_add(struct latency *latency, enum latency_event event, uint64_t ms, int64_t now_s) {
    if (!latency_is_slow(latency, ms)) return;
    pthread_mutex_lock(&latency->lock);
    put(&latency->rings[event], (struct latency_sample){ now_s, ms });
    pthread_mutex_unlock(&latency->lock);
}

void latency_read(struct latency *latency, enum latency_event event, struct latency_history *out) {
    pthread_mutex_lock(&latency->lock);
    const struct latency_ring *ring = &latency->rings[event];
    out->count = ring->count;
    out->max_ms = ring->max_ms;
    size_t first = (ring->next + LATENCY_SAMPLES - ring->count) % LATENCY_SAMPLES;
    for (size_t i = 0; i < ring->count; i++)
        out->samples[i] = ring->samples[(first + i) % LATENCY_SAMPLES];
    pthread_mutex_unlock(&latency->lock);
}

bool latency_reset(struct latency *latency, enum latency_event event) {
    pthread_mutex_lock(&latency->lock);
    struct latency_ring *ring = &latency->rings[event];
    bool had = ring->count > 0;
    memset(ring, 0, sizeof *ring);
    pthread_mutex_unlock(&latency->lock);
    return had;
}
