/* monitor.h: MONITOR: sessions that are shown every command that runs.
 *
 *     dispatch ─ ran ─ monitor_show: one line, a post for each loop that has monitors ─ their loops write it
 *
 * While there is a monitor the gate PULSE_MONITORED is up, so that every command takes dispatch's long way; while
 * there is none, nothing is asked that was not asked anyway. Lines of one loop come in the order in which it ran
 * the commands. A monitor that does not read is closed at PUSHED_SIZE_MAX, or at what client-output-buffer-limit
 * says for normal clients, if that is less. */
#pragma once

#include "command/call.h"

struct monitors;

struct monitors *monitors_new(void);
struct monitors *monitors_free(struct monitors *monitors); /* always NULL */

/* false: there are MONITORS_MAX. Thread: the session's. */
MUST_USE bool monitor_start(struct session *session, struct pulse *pulse);
void monitor_stop(struct session *session, struct pulse *pulse); /* if it is one */
/* This call has run: those that watch are shown it, unless it is none of their business. */
void monitor_show(struct call *call);
