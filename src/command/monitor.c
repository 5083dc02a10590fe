#include "command/monitor.h"

#include <inttypes.h>
#include <pthread.h>

#include "base/buffer.h"
#include "base/env.h"
#include "base/mem.h"
#include "command/command.h"
#include "command/handle.h"
#include "command/pulse.h"
#include "command/redact.h"

struct monitors {
    pthread_mutex_t lock; /* a leaf */
    size_t count;
    uint64_t handles[MONITORS_MAX]; /* lock */
};

/* A line on its way to the monitors of one loop. */
struct line_post {
    struct post post;
    struct sessions *sessions;
    size_t handles_count, size;
    uint64_t handles[]; /* then the line */
};

struct monitors *monitors_new(void) {
    struct monitors *monitors = mem_new_zero(sizeof *monitors);
    pthread_mutex_init(&monitors->lock, NULL);
    return monitors;
}

struct monitors *monitors_free(struct monitors *monitors) {
    if (!monitors) return NULL;
    pthread_mutex_destroy(&monitors->lock);
    mem_free(monitors, sizeof *monitors);
    return NULL;
}

bool monitor_start(struct session *session, struct pulse *pulse) {
    struct monitors *monitors = pulse->monitors;
    if (session_has(session, SESSION_MONITOR)) return true;
    pthread_mutex_lock(&monitors->lock);
    bool room = monitors->count < MONITORS_MAX;
    if (room) {
        monitors->handles[monitors->count++] = handle_of(session);
        session_flag_set(session, SESSION_MONITOR, true);
        atomic_fetch_or_explicit(&pulse->gates, PULSE_MONITORED, memory_order_release);
    }
    pthread_mutex_unlock(&monitors->lock);
    return room;
}

void monitor_stop(struct session *session, struct pulse *pulse) {
    if (LIKELY(!session_has(session, SESSION_MONITOR))) return;
    struct monitors *monitors = pulse->monitors;
    session_flag_set(session, SESSION_MONITOR, false);
    pthread_mutex_lock(&monitors->lock);
    size_t at = 0;
    while (monitors->handles[at] != handle_of(session)) at++;
    monitors->handles[at] = monitors->handles[--monitors->count];
    if (monitors->count == 0)
        atomic_fetch_and_explicit(&pulse->gates, ~(uint32_t)PULSE_MONITORED, memory_order_release);
    pthread_mutex_unlock(&monitors->lock);
}

/* ---- the line ---- */

/* As Redis quotes it. */
static void put_quoted(struct buffer *line, struct bytes word) {
    static const char plain[] = "\\\"\n\r\t\a\b", letters[] = "\\\"nrtab";
    buffer_put(line, BYTES("\""));
    for (size_t i = 0; i < word.len; i++) {
        unsigned char c = (unsigned char)word.data[i];
        const char *special = c ? strchr(plain, c) : NULL;
        if (special)
            buffer_put(line, (struct bytes){ (char[]){ '\\', letters[special - plain] }, 2 });
        else if (c >= ' ' && c <= '~')
            buffer_put(line, (struct bytes){ word.data + i, 1 });
        else
            buffer_format(line, "\\x%02x", c);
    }
    buffer_put(line, BYTES("\""));
}

/* A word that the line has no room for is cut, and so is the line after it. */
static void put_words(struct buffer *line, const struct bytes *words, size_t count) {
    enum { ESCAPED_MAX = 4, ROOM_LEFT = 128 };
    for (size_t i = 0; i < count; i++) {
        size_t room = (MONITOR_LINE_MAX - line->len) / ESCAPED_MAX;
        size_t fits = room > ROOM_LEFT ? room - ROOM_LEFT : 0;
        bool whole = fits && words[i].len <= fits;
        buffer_put(line, BYTES(" "));
        put_quoted(line, (struct bytes){ words[i].data, whole ? words[i].len : fits });
        if (whole) continue;
        buffer_format(line, " ... (%zu more bytes, %zu more arguments)", words[i].len - fits,
                      count - i - 1);
        return;
    }
}

static void put_line(struct buffer *line, const struct call *call) {
    uint64_t now_us = env_realtime_ns(call->pulse->env) / 1000;
    const struct session *session = call->session;
    bool local = session_has(session, SESSION_UNIX);
    struct bytes from =
        local ? settings_text(call->pulse->settings, SETTING_ID_unixsocket, call->arena)
              : bytes_of(session->address);
    buffer_format(line, "+%" PRIu64 ".%06" PRIu64 " [%u %s%.*s]", now_us / 1000000,
                  now_us % 1000000, session->db, local ? "unix:" : "", (int)from.len, from.data);
    put_words(line, call_words_shown(call), call->args_count);
    buffer_put(line, BYTES("\r\n"));
}

/* ---- on its way ---- */

static void deliver(struct post *post, struct mailbox *mailbox) {
    struct line_post *line = (void *)post;
    const char *text = (const char *)(line->handles + line->handles_count);
    for (size_t i = 0; mailbox && i < line->handles_count; i++) {
        struct session *session = sessions_find(line->sessions, handle_id(line->handles[i]));
        if (!session || !session_has(session, SESSION_MONITOR)) continue;
        struct reply *reply = session_push_bounded(session);
        if (!reply) continue;
        out_put(reply->out, (struct bytes){ text, line->size });
        session_pushed(session, 0);
    }
    mem_free(line, sizeof *line + post->size);
}

static void send_line(struct pulse *pulse, struct bytes text, const uint64_t *handles,
                      size_t count) {
    size_t size = count * sizeof *handles + text.len;
    struct line_post *line = mem_new(sizeof *line + size);
    *line = (struct line_post){ .post = { .size = size, .deliver = deliver },
                                .sessions = pulse->sessions,
                                .handles_count = count,
                                .size = text.len };
    memcpy(line->handles, handles, count * sizeof *handles);
    memcpy((char *)(line->handles + count), text.data, text.len);
    post_send(pulse, pulse->loops[handle_loop(handles[0])], &line->post);
}

static COLD void show(struct call *call) {
    struct monitors *monitors = call->pulse->monitors;
    struct buffer line;
    buffer_init(&line, 2 * MONITOR_LINE_MAX);
    put_line(&line, call);
    pthread_mutex_lock(
        &monitors->lock); /* held while it is sent: who has left is sent nothing more */
    size_t count = monitors->count, sent = 0;
    UNINITIALIZED uint64_t handles[MONITORS_MAX];
    for (unsigned loop = 0; !line.overflow && sent < count; loop++) {
        size_t here = 0;
        for (size_t i = 0; i < count; i++)
            if (handle_loop(monitors->handles[i]) == loop) handles[here++] = monitors->handles[i];
        if (here) send_line(call->pulse, buffer_bytes(&line), handles, here);
        sent += here;
    }
    pthread_mutex_unlock(&monitors->lock);
    buffer_deinit(&line);
}

void monitor_show(struct call *call) {
    uint32_t gates = atomic_load_explicit(&call->pulse->gates, memory_order_relaxed);
    if (LIKELY(!(gates & PULSE_MONITORED)) || gates & PULSE_LOADING) return;
    if (call->info->flags & (CMD_SKIP_MONITOR | CMD_ADMIN)) return;
    show(call);
}
