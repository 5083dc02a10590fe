/* handle.h: a session's name for other threads: its id and, in the low byte, the number of its loop.
 *
 * Enough to send it a post without looking it up: the loop finds the session, or that it is gone. */
#pragma once

#include "base/assert.h"
#include "base/limits.h"
#include "command/session.h"

enum { HANDLE_LOOP_BITS = 8 };
static_assert(WORKERS_MAX <= 1 << HANDLE_LOOP_BITS, "a loop's number fits");

static inline uint64_t handle_new(uint64_t id, unsigned loop) {
    return id << HANDLE_LOOP_BITS | loop;
}
static inline uint64_t handle_of(const struct session *session) {
    return handle_new(session->id, session->mailbox->number);
}
static inline uint64_t handle_id(uint64_t handle) {
    return handle >> HANDLE_LOOP_BITS;
}
static inline unsigned handle_loop(uint64_t handle) {
    return (unsigned)(handle & ((1u << HANDLE_LOOP_BITS) - 1));
}
