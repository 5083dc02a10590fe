/* instant.h: points in time as users write them (TIMETRAVEL.md, Instants).
 *
 *     1693353602000             Unix milliseconds: the end of that millisecond
 *     16, 19 digits             microseconds, nanoseconds: exact
 *     -250ms -90s -10m -2h -7d  that long before now
 *     2026-11-23T05:41:00.5Z    RFC 3339, with a fraction or an offset
 *     @name                     a restore point
 *     now                       the latest commit
 *
 * The future is now. */
#pragma once

#include "command/call.h"

/* Reads argument `i`; or answers what is wrong with it and returns false. */
MUST_USE bool arg_instant(struct call *call, size_t i, uint64_t *at);

/* The text alone: what does not name a restore point or now. false: malformed. */
MUST_USE bool instant_parse(struct bytes text, uint64_t now_ns, uint64_t *at);
