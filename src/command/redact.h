/* redact.h: which words of a command are secrets, so that no log shows them. For SLOWLOG, and whatever else
 * shows other clients' commands. Thread: any. */
#pragma once

#include "command/command.h"

/* Whether word `i` of this call is to be shown as REDACTED. A guess in doubt: words that cannot be
 * understood, where a secret may be, are secret. */
#define REDACTED BYTES("(redacted)")
bool word_is_secret(const struct command_info *info, const struct bytes *args, size_t i);
/* The call's words with its secrets replaced: `args` themselves when there are none, else a copy in the call's
 * arena. As many as args_count. */
const struct bytes *call_words_shown(const struct call *call);
