/* secret.h: the words of a call as others may see them.
 *
 * MONITOR, SLOWLOG and logs show what was asked; a password in it they show as "(redacted)". Which words are
 * secrets is said here and nowhere else. */
#pragma once

#include "command/call.h"

/* The call's words with its secrets replaced: `args` themselves when there are none, else a copy in the call's
 * arena. As many as args_count. */
const struct bytes *call_words_shown(const struct call *call);
